//! What fuzzing starts from and what it has found, through what the fuzz targets do: `fuzz/` without its fuzzer. That folder is no part of
//! the package, so neither is this test.

#![cfg(all(feature = "capi", feature = "jsonl", feature = "live", feature = "rules"))]
#![allow(clippy::unwrap_used, reason = "a test that finds something else than it expects must fail")]
#![allow(unreachable_pub, reason = "the bodies are public in the package of the fuzz targets")]

use std::fs;
use std::path::{Path, PathBuf};

use bodies::container::pack;
use bodies::parts;
use tagomatic::data::{Format, input, write_item};
use tagomatic::rng::Philox;

#[path = "../fuzz/src/lib.rs"]
mod bodies;

/// Bytes of all seeds at most.
const ROOM: u64 = 300_000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of a folder, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn replay(target: &str, run: fn(&[u8])) {
    let folder = |kind: &str| root().join("fuzz").join(kind).join(target);
    let seeds = files(&folder("seeds"));
    assert!(!seeds.is_empty(), "no seeds");
    for path in seeds.into_iter().chain(files(&folder("regressions"))) {
        let bytes = fs::read(&path).unwrap();
        assert!(std::panic::catch_unwind(|| run(&bytes)).is_ok(), "{} breaks a promise", path.display());
    }
}

macro_rules! targets {
    ($($target:ident),*) => {
        const TARGETS: &[&str] = &[$(stringify!($target)),*];

        $(#[test]
        fn $target() {
            replay(stringify!($target), bodies::$target::run);
        })*
    };
}

targets!(
    accumulator_walk,
    capi,
    kernels_match_scalar,
    load_model,
    load_model_after_valid_header,
    map_model,
    model_roundtrip,
    parse_fasttext,
    parse_jsonl,
    parse_libsvm,
    tag_rules,
    train_step_numerics
);

#[test]
fn every_target_is_here_and_its_seeds_are_small() {
    let names = |folder: &str| -> Vec<_> {
        files(&root().join("fuzz").join(folder))
            .iter()
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("fuzz_targets"), TARGETS);
    assert_eq!(names("seeds"), TARGETS);
    assert!(names("regressions").iter().all(|name| TARGETS.contains(&name.as_str())));
    let seeds = TARGETS.iter().flat_map(|target| files(&root().join("fuzz/seeds").join(target)));
    let bytes: u64 = seeds.map(|path| path.metadata().unwrap().len()).sum();
    assert!(bytes < ROOM, "{bytes} bytes");
}

/// Small models, films, rules and noise.
#[test]
#[ignore = "writes fuzz/seeds"]
fn write_seeds() {
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let folder = root().join("fuzz/seeds").join(target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), bytes).unwrap();
    };
    let mut models = parts::fixed();
    models.sort_by_key(|model| model.byte_len());
    for (number, model) in models.iter().take(8).enumerate() {
        let name = format!("model-{number}");
        write("load_model", &name, model.bytes());
        write("load_model_after_valid_header", &name, &pack(model, number as u8));
        write("map_model", &name, &pack(model, number as u8));
    }

    let mut lines = vec![255];
    let mut words = vec![255];
    for item in tagomatic::data::Reader::new(
        input::open(&root().join("models/movies-train.jsonl.gz")).unwrap(),
        Format::JsonLines,
        "films",
    )
    .take(4)
    {
        let item = item.unwrap();
        write_item(&mut lines, "lines", Format::JsonLines, 0, &item).unwrap();
        let item = tagomatic::data::Item { tags: item.tags.iter().map(|tag| tag.replace(' ', "_")).collect(), ..item };
        write_item(&mut words, "words", Format::FastText, 0, &item).unwrap();
    }
    write("parse_jsonl", "films", &lines);
    write("parse_jsonl", "all", b"\xff\xef\xbb\xbf{\"id\":-1.5,\"title\":{\"x\":[1,null,true]},\"keywords\":[\"sea\",\"s\\u00e9a\"],\"tags\":[\"t\"],\"weight\":0.25}\r\n\n{\"id\":\"a\",\"keywords\":[]}");
    write("parse_fasttext", "films", &words);
    write("parse_fasttext", "all", b"\xff__label__sea shark \tbeach __label__horror \xc3\xa9\r\n\nb");
    write("parse_libsvm", "libsvm", b"\xf83,17 5:1 92:1 1024:0.5 # words\n\n 5:1 92:0\r\n7");
    write("parse_libsvm", "libsvm-one-based", b"\xf93,17 5:1 92:1e-3 1024:-0.5\n1 1:1");
    write("parse_libsvm", "xc", b"\xfa3 10 4\n0,3 9:1\n\n 1:1\n\n");
    write("parse_libsvm", "xc-one-based", b"\xfb2 2000 40\n3,17 5:1 2000:1\n1 1:1\n");
    let rules = b"others = \"keep\"\nnext_id = 40\n[tags.undead]\nid = 3\nany = [\"zombie\", \"vampire\"]\nany_keywords = [\"undead\"]\n\
        none = [\"genre/Comedy\"]\nnear = [\"supernatural\"]\nparents = [\"frightening\"]\nwithhold = true\n\n[tags.frightening]\n\
        any = [\"genre/Horror\"]\n\n[tags.\"the west\"]\naliases = [\"genre/Western\"]\nall_keywords = [\"ape\", \"city\"]\n\
        near_keywords = [\"x\"]\nnone_keywords = [\"y\"]\nwithhold = [\"ape\"]\ndeprecated = true\n";
    write("tag_rules", "films", rules);

    let noise = |seed: u64, first: u8, length: u32| -> Vec<u8> {
        let word = |i| Philox::new(seed).block([i, 0, 0, 0])[0];
        std::iter::once(first).chain((0..length).map(|i| word(i) as u8)).collect()
    };
    for first in 0..15 {
        write("kernels_match_scalar", &format!("kernel-{first:02}"), &noise(1, first, 160));
    }
    for first in 0..8 {
        let name = format!("noise-{first}");
        write("accumulator_walk", &name, &noise(2, 4 * first, 90));
        // A model, whole and served live, then each of the calls that learn, replace or tell why.
        let call = [4, 5, 6, 10, 16, 17, 18, 20][usize::from(first)];
        let open = [&[0, 0, 0, first, 0, 0, 0][..], &[17, 0, 0, 2, 1, 0, 0, 0]].concat();
        write("capi", &name, &[open, noise(u64::from(first), call, 200)].concat());
        write("model_roundtrip", &name, &noise(u64::from(first), first, 500));
        write("train_step_numerics", &name, &noise(u64::from(first), first, 300));
    }
}
