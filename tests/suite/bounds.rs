//! What the library and the program take of a machine, at most: stack, and memory for models and for items.

use tagomatic::{Error, Model, Tagger};

const MOVIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/movies.tagm");

/// All of serving fits in a stack that is small even beside what systems give to threads.
#[test]
fn opening_and_scoring_need_little_stack() {
    const STACK: usize = 64 << 10;
    let serve = || {
        let tagger = Tagger::new(Model::open(MOVIES).unwrap());
        tagger.model().verify().unwrap();
        let (mut scratch, mut scores) = (tagger.scratch(), vec![0.0; tagger.tags().len()]);
        tagger.score_keywords(["zombie", "undead"], &mut scratch, &mut scores).unwrap();
        let ids: Vec<u32> = (0..tagger.model().network().shape.keywords() as u32).collect();
        tagger.score(&ids, &mut scratch, &mut scores).unwrap();
        let (first, starts) = (scores.clone(), [0, ids.len()]);
        tagger.score_batch(&ids, &starts, &mut scratch, &mut scores).unwrap();
        assert_eq!(first, scores);
        let explanation = tagomatic::explain::explain(&tagger, &ids[..30], 0).unwrap();
        assert!(explanation.logit.is_finite());
        tagger.signature().unwrap()
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(serve).unwrap();
    assert_eq!(thread.join().unwrap(), serve());
}

#[test]
fn models_are_bounded() {
    let bytes = std::fs::metadata(MOVIES).unwrap().len();
    assert!(Model::open_within(MOVIES, bytes).is_ok());
    let error = Model::open_within(MOVIES, bytes - 1).unwrap_err();
    assert!(matches!(error, Error::Model { section: "file", .. }));
    let said = error.to_string();
    assert!(said.contains("movies.tagm") && said.contains(&format!("at most {} bytes", bytes - 1)), "{said}");
    assert!(said.contains(&format!("found {bytes} bytes")), "{said}");
}

#[cfg(feature = "mmap")]
#[allow(unsafe_code, reason = "mapping a file")]
#[test]
fn mapped_models_are_bounded() {
    let bytes = std::fs::metadata(MOVIES).unwrap().len();
    // SAFETY: nobody writes into the file while the test runs.
    let map = |limit| unsafe { Model::map_within(MOVIES, limit, &[]) };
    assert!(map(bytes).is_ok());
    assert_eq!(map(bytes - 1).unwrap_err().to_string(), Model::open_within(MOVIES, bytes - 1).unwrap_err().to_string());
}

#[cfg(feature = "cli")]
mod program {
    use std::fmt::Write as _;
    use std::process::Command;

    use super::super::cli::Place;

    #[test]
    fn models_are_bounded() {
        let place = Place::with_model();
        let bytes = std::fs::metadata(place.path("m.tagm")).unwrap().len();
        place.text(&format!("verify m.tagm --max-model {bytes}"));
        place.fails(1, &format!("verify m.tagm --max-model {}", bytes - 1), &["m.tagm", "found", "(raise --max-model)"]);
        // Standard input has no end of its own.
        let mut tag = place.command("tag - items.jsonl --max-model 100000");
        let output = tag.stdin(std::fs::File::open("/dev/zero").unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("at most 100000 bytes"));
    }

    /// Under a limit to the process's own memory that the items in memory exceed, a training with its items in files ends in the same
    /// bytes as one without a limit.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_training_from_files_fits_where_its_items_do_not() {
        const ITEMS: usize = 40_000;
        const KEYWORDS: usize = 80;
        const LIMIT: usize = 14 << 10;
        let place = Place::new();
        let mut items = String::new();
        for item in 0..ITEMS {
            let _ = write!(items, "{}", item % 2);
            let (start, step) = (item * 7 % 50, 1 + item % 3);
            (0..KEYWORDS).for_each(|k| {
                let _ = write!(items, " {}:1", start + k * step);
            });
            items.push('\n');
        }
        place.write("items.txt", items);
        let train = "train items.txt --format libsvm --hidden 4 --epochs 1 --no-refit --threads 1";
        let limited = |options: &str| {
            let script = format!("ulimit -d {LIMIT} && exec \"$1\" {train} {options}");
            let mut shell = Command::new("sh");
            shell.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_tagomatic")]).current_dir(place.path(""));
            shell.output().unwrap()
        };
        place.text(&format!("{train} --out whole.tagm"));
        assert!(!limited("--out memory.tagm").status.success(), "the limit does not bind");
        let output = limited("--out files.tagm --cache .");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(std::fs::read(place.path("files.tagm")).unwrap() == std::fs::read(place.path("whole.tagm")).unwrap());
    }
}
