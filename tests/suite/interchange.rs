//! Data in the formats of others, through the program.

use std::fmt::Write as _;

use super::cli::Place;

/// 200 items in each format; keyword 0 or 1 decides tag 0, keyword 2 comes and goes.
fn files(place: &Place) {
    let (mut json, mut svm, mut xc, mut words) = (String::new(), String::new(), "200 4 1\n".to_owned(), String::new());
    for i in 0..200u32 {
        let (decides, other) = (i % 2, if i % 3 == 0 { 2 } else { 3 });
        let tagged = decides == 0;
        let (tag, label) = if tagged { ("\"0\"", "0") } else { ("", "") };
        writeln!(json, "{{\"keywords\":[\"{decides}\",\"{other}\"],\"tags\":[{tag}]}}").unwrap();
        writeln!(svm, "{label} {}:1 {}:0.5 4:0", decides + 1, other + 1).unwrap();
        writeln!(xc, "{label} {decides}:1 {other}:1").unwrap();
        writeln!(words, "{}{decides} {other}", if tagged { "__label__0 " } else { "" }).unwrap();
    }
    for (name, text) in [("a.jsonl", json), ("a.svm", svm), ("a.xc", xc), ("a.txt", words)] {
        place.write(name, text);
    }
}

#[test]
fn the_same_items_make_the_same_model_in_every_format() {
    let place = Place::new();
    files(&place);
    let train = |arguments: &str, out: &str| {
        let report = place.json(&format!("train {arguments} --out {out} --epochs 2 --hidden 4"));
        (std::fs::read(place.path(out)).unwrap(), report)
    };
    let (expected, _) = train("a.jsonl", "a.tagm");
    for arguments in ["a.svm --format libsvm --one-based", "a.xc --format xc", "a.txt --format fasttext"] {
        let (model, report) = train(arguments, "b.tagm");
        assert!(model == expected, "{arguments}");
        assert_eq!(report["binarized"], if arguments.starts_with("a.svm") { 200 } else { 0 }, "{arguments}");
    }
    let evaluated = place.json("eval a.tagm a.jsonl");
    assert_eq!(place.json("eval a.tagm a.xc --format xc"), evaluated);
    let tags = |arguments: &str| place.text(&format!("tag a.tagm {arguments} --all"));
    assert_eq!(tags("a.txt --format fasttext"), tags("a.jsonl"));
}

#[test]
fn formats_are_never_guessed() {
    let place = Place::with_model();
    files(&place);
    place.write("zero.svm", "1 0:1\n");
    for (status, arguments, words) in [
        (1, "tag m.tagm a.xc", &["a.xc:1:1: expected a JSON object"][..]),
        (1, "tag m.tagm zero.svm --format libsvm --one-based", &["zero.svm:1:3: expected an index from 1"]),
        (
            1,
            "tag m.tagm a.jsonl --max-line 10",
            &["a.jsonl:1: expected a line of at most 10 bytes, found a longer one: raise --max-line"],
        ),
        (2, "tag m.tagm a.jsonl --one-based", &["--one-based", "--format"]),
        (2, "tag m.tagm a.jsonl --format csv", &["--format", "csv", "libsvm"]),
    ] {
        place.fails(status, arguments, words);
    }
}
