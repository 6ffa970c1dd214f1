//! Names of files that commands write: what a name says of its content is true.

use std::fs;
use std::io::Read;

use flate2::read::GzDecoder;

use super::cli::Place;

fn decompressed(place: &Place, name: &str) -> String {
    let mut text = String::new();
    GzDecoder::new(fs::File::open(place.path(name)).unwrap()).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn results_are_compressed_where_the_name_says_so() {
    let place = Place::with_model();
    for (arguments, name) in [
        ("features m.tagm items.jsonl --what keywords --out", "k.jsonl"),
        ("eval m.tagm items.jsonl --report", "r.html"),
        ("tags taxonomy m.tagm --min-similarity -1 --out", "rules.toml"),
    ] {
        place.text(&format!("{arguments} {name}"));
        place.text(&format!("{arguments} {name}.gz"));
        let plain = fs::read_to_string(place.path(name)).unwrap();
        assert!(!plain.is_empty() && decompressed(&place, &format!("{name}.gz")) == plain, "{arguments}");
        place.fails(2, &format!("{arguments} {name}.zst"), &[&format!("found {name}.zst"), "zstd is only read", ".gz"]);
    }
    // They are read back.
    let train =
        |rules: &str| place.text(&format!("train items.jsonl --out t.tagm --epochs 1 --hidden 4 --tags {rules} --json"));
    assert!(train("rules.toml").contains("\"tags\"") && train("rules.toml.gz").contains("\"tags\""));
    place.fails(2, "features m.tagm items.jsonl --out f.npy.gz", &["--out: ", "not compressed", "f.npy.gz"]);
}

#[test]
fn models_have_no_names_of_other_files() {
    let place = Place::with_model();
    for command in [
        "train items.jsonl --epochs 1 --out OUT",
        "demo --epochs 1 --out OUT",
        "tune m.tagm items.jsonl --out OUT",
        "convert m.tagm OUT --weights f16",
        "tags remove m.tagm low --out OUT",
        "tags rename m.tagm low deep --out OUT",
        "tags merge m.tagm --out OUT",
        "tags add m.tagm --name n --examples items.jsonl --negatives items.jsonl --out OUT",
    ] {
        for name in ["x.gz", "x.tagm.zst"] {
            place.fails(2, &command.replace("OUT", name), &["not compressed", name]);
        }
        if !command.starts_with("convert") {
            let words = ["expected another name, found x.safetensors", "tagomatic convert"];
            place.fails(2, &command.replace("OUT", "x.safetensors"), &words);
        }
    }
    place.text("convert m.tagm x.safetensors");
    place.text("convert x.safetensors y.tagm");
}

#[test]
fn a_curve_is_a_file() {
    let place = Place::new();
    for (name, words) in [("-", "standard output takes the results"), ("c.jsonl.gz", "not compressed")] {
        place.fails(2, &format!("train items.jsonl --out m.tagm --curve {name}"), &["--curve: ", words]);
    }
}
