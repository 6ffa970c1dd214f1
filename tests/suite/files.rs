//! A file that a command reads is never the one that it writes.

use std::fs;

use super::cli::{Place, items};

#[test]
fn no_command_writes_over_what_it_reads() {
    let place = Place::with_model();
    place.write("train.jsonl", items());
    place.write("r.toml", "[tags.low]\n");
    place.write("c.toml", "epochs = 1\n");
    let contents =
        || ["items.jsonl", "train.jsonl", "m.tagm", "r.toml", "c.toml"].map(|name| fs::read(place.path(name)).unwrap());
    let before = contents();
    for (arguments, option, file) in [
        ("train items.jsonl --init m.tagm --curve m.tagm --out n.tagm", "--curve", "m.tagm"),
        ("train items.jsonl --tags r.toml --curve ./r.toml --out n.tagm", "--curve", "r.toml"),
        ("train items.jsonl --config c.toml --curve c.toml --out n.tagm", "--curve", "c.toml"),
        ("train items.jsonl --config c.toml --out c.toml", "--out", "c.toml"),
        // No file yet, and the curve would be gone.
        ("train items.jsonl --curve ./n.tagm --out n.tagm", "--curve", "n.tagm"),
        ("check train.jsonl --split .", "--split", "train.jsonl"),
        ("tags taxonomy m.tagm --out m.tagm", "--out", "m.tagm"),
        ("tags taxonomy m.tagm --on items.jsonl --out items.jsonl", "--out", "items.jsonl"),
        ("tune m.tagm items.jsonl --tags r.toml --out r.toml", "--out", "r.toml"),
    ] {
        place.fails(2, arguments, &[option, "expected a file of its own", file]);
        assert!(contents() == before, "{arguments}");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_no_model_and_is_not_waited_for() {
    let place = Place::new();
    let made = std::process::Command::new("mkfifo").arg(place.path("pipe")).status().unwrap();
    assert!(made.success());
    place.fails(1, "info pipe", &["pipe", "expected a regular file, found a pipe or device"]);
}

#[test]
fn what_a_file_says_is_no_option() {
    let place = Place::with_model();
    place.text("convert m.tagm i8.tagm --weights i8");
    let refused = ["weights: expected f32, f16 or bf16", "before it was rounded", "found i8"];
    place.fails(1, "tags remove i8.tagm low --out n.tagm", &refused);
    place.fails(1, "tags merge i8.tagm --out n.tagm", &refused);
    place.fails(1, "tags add i8.tagm --name new --examples items.jsonl --negatives items.jsonl --out n.tagm", &refused);
}
