//! What is typed: options that would do nothing, names, numbers and the file of `--config`.

use std::fs::File;
use std::io::Write;

use flate2::{Compression, write::GzEncoder};

use super::cli::{Place, items, stderr};

#[test]
fn options_that_would_do_nothing_are_refused() {
    let place = Place::new();
    place.write("c.toml", "decoder = \"tied\"\n");
    for (options, words) in [
        ("--anchor mean", ["--anchor: ", "--objective anchor"]),
        ("--decoder tied", ["--decoder: ", "--pretrain"]),
        ("--config c.toml", ["--decoder: ", "--pretrain"]),
        ("--decoder-negatives 5", ["--decoder-negatives: ", "--pretrain"]),
        ("--correction shift", ["--correction: ", "--negatives RATIO"]),
        ("--correction shift --negatives 2 --objective anchor", ["--correction: ", "not --objective anchor"]),
        ("--objective anchor --activation sigmoid", ["--activation: ", "--anchor hidden"]),
        ("--objective anchor --anchor mean --hidden-bias false", ["--hidden-bias: ", "--anchor hidden"]),
        ("--optimizer sgd --epsilon 0.1", ["--epsilon: ", "--optimizer adagrad"]),
        ("--optimizer sgd --rowwise w1", ["--rowwise: ", "--optimizer adagrad"]),
        ("--optimizer sgd --epsilon-place inside", ["--epsilon-place: ", "--optimizer adagrad"]),
        ("--checkpoint-steps 5", ["--checkpoint-steps: ", "--checkpoint or --resume"]),
        ("--checkpoint-seconds 5", ["--checkpoint-seconds: ", "--checkpoint or --resume"]),
    ] {
        place.fails(2, &format!("train items.jsonl --out m.tagm {options}"), &words);
    }
    for options in [
        "--objective anchor --anchor hidden --activation sigmoid",
        "--pretrain 1 --decoder tied --optimizer adagrad --rowwise w1",
        "--negatives 2 --correction shift",
        "--objective per-tag --correction shift",
        // Like the command that a search tells.
        "--optimizer sgd --lr 0.01 --initial-square 1",
    ] {
        place.text(&format!("train items.jsonl --out m.tagm --epochs 1 --hidden 4 {options}"));
    }
}

#[test]
fn a_file_of_options_is_natural_toml() {
    let place = Place::new();
    place.write("c.toml", "hidden-bias = false\nrowwise = [\"w1\", \"b1\"]\ninitial_square = 0.5\nhidden = 4\nepochs = 1\n");
    place.text("train items.jsonl --out m.tagm --config c.toml");
    let made = &place.json("info m.tagm")["provenance"];
    for (key, value) in [("hidden_bias", "false"), ("rowwise", "W1,b1"), ("initial_square", "0.5")] {
        assert_eq!(made[&format!("train.{key}")], value, "{key}");
    }
    place.write("c.toml", "l1 = 1\nlr-decay = 0.1\nlr_decay = 0.2\n");
    place.fails(2, "train items.jsonl --out n.tagm --config c.toml", &["c.toml:", "expected lr-decay once"]);
}

#[cfg(unix)]
#[test]
fn the_program_may_be_called_like_its_command() {
    let place = Place::new();
    place.write("c.toml", "hidden = 4\nepochs = 1\n");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tagomatic"), place.path("train")).unwrap();
    let mut command = std::process::Command::new("./train");
    command.current_dir(place.path("")).args(["train", "items.jsonl", "--out", "m.tagm", "--config", "c.toml"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn keywords_may_hold_commas_and_blanks() {
    let place = Place::new();
    place.write("films.jsonl", items().replace("\"a1\"", "\"sci-fi, old\""));
    place.text("train films.jsonl --out m.tagm --epochs 1 --hidden 4");
    for command in ["explain m.tagm --tag low", "tags near m.tagm"] {
        let said = |keywords: &[&str]| place.command(command).args(keywords).output().unwrap();
        let json = said(&["--keywords", " a3 , b1", "--keyword", "sci-fi, old", "--keyword", " b1", "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(report["unknown"], serde_json::json!([" b1"]), "{command}");
        let output = said(&["--keyword", "no, none", "--keywords", "never"]);
        let text = String::from_utf8(output.stdout.clone()).unwrap() + &stderr(&output);
        assert!(text.contains("never, \"no, none\""), "{command}: {text}");
    }
    place.fails(2, "explain m.tagm --tag low", &["--keywords"]);
    place.fails(2, "tags near m.tagm", &["TAG"]);
    place.fails(2, "tags near m.tagm low --keyword a3", &["cannot be used with"]);
}

#[test]
fn names_that_are_nearly_right_are_guessed() {
    let place = Place::with_model();
    for arguments in [
        "explain m.tagm --keywords a1 --tag evne",
        "tune m.tagm items.jsonl --out n.tagm --tag Even",
        "tags near m.tagm evens",
        "tags rename m.tagm EVEN odd --out n.tagm",
        "train items.jsonl --out n.tagm --objective per-tag --epochs 1 --only evn",
    ] {
        place.fails(2, arguments, &["(is \"even\" meant?)"]);
    }
}

#[test]
fn a_tag_alone_in_its_group_has_none_near() {
    let place = Place::new();
    place.text("train items.jsonl --out bank.tagm --objective per-tag --epochs 1 --hidden 4");
    let report = place.json("tags near bank.tagm low");
    assert_eq!(report["near"], serde_json::json!([]));
    assert!(report["reason"].as_str().unwrap().contains("no common hidden units"), "{report}");
    let output = place.run("tags near bank.tagm low");
    assert!(output.status.success() && stderr(&output).contains("nothing is near: tags of different groups"));
    place.text("train items.jsonl --out m.tagm --epochs 1 --hidden 4");
    assert!(place.json("tags near m.tagm low")["reason"].is_null());
    place.text("tags remove m.tagm low even rare --out none.tagm");
    place.fails(1, "explain none.tagm --keywords a1", &["none.tagm: expected a model with tags", "tags add"]);
}

#[test]
fn without_tags_of_the_model_nothing_is_measured() {
    let place = Place::with_model();
    place.write("other.jsonl", "{\"keywords\":[\"a1\"],\"tags\":[\"alien\"]}\n".repeat(3));
    place.write("none.jsonl", "{\"keywords\":[\"a1\"]}\n");
    for command in ["eval m.tagm DATA --report r.html", "tune m.tagm DATA --out n.tagm"] {
        let words = ["other.jsonl: expected items with tags of the model", "found 3 items", "\"alien\""];
        place.fails(1, &command.replace("DATA", "other.jsonl"), &words);
        place.fails(1, &command.replace("DATA", "none.jsonl"), &["found 1 items none of which has one:"]);
    }
}

#[test]
fn seconds_and_sizes_are_sensible() {
    let place = Place::with_model();
    for seconds in ["inf", "nan", "0", "1e-9", "1e9", "-1"] {
        place.fails(2, &format!("bench m.tagm items.jsonl --seconds={seconds}"), &["--seconds", "from 0.001 to 3600"]);
    }
    place.text("tag m.tagm items.jsonl --max-line 1K --max-model 1G");
    place.fails(2, "tag m.tagm items.jsonl --max-line 1T", &["--max-line", "16M"]);
    assert!(place.text("tag --help").contains("[default: 16M]"));
}

#[test]
fn compressed_bytes_are_known_under_any_name() {
    let place = Place::with_model();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(items().as_bytes()).unwrap();
    place.write("items.dat", gzip.finish().unwrap());
    let words = ["found the byte 0x8B, which looks like gzip", "end in .gz", "decompress what is piped in"];
    place.fails(1, "tag m.tagm items.dat", &words);
    let mut command = place.command("tag m.tagm -");
    place.fails_in(command.stdin(File::open(place.path("items.dat")).unwrap()), 1, &words);
}
