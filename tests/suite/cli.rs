//! The program, from the outside.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flate2::{Compression, write::GzEncoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::Value;
use tagomatic::Level;
use tempfile::TempDir;

/// What `eval` tells, of a model and of each tag.
const MEASURES: [&str; 17] = [
    "samples",
    "log_loss",
    "p_at_1",
    "p_at_3",
    "p_at_5",
    "ndcg_at_5",
    "psp_at_5",
    "micro_f1",
    "macro_f1",
    "macro_auc",
    "macro_ap",
    "brier",
    "ece",
    "zeros",
    "dead_units",
    "always_on_units",
    "tags",
];
const TAG_MEASURES: [&str; 8] = ["tag", "positives", "auc", "ap", "precision", "recall", "f1", "threshold"];

/// A folder with some data, where the program runs.
pub(super) struct Place {
    folder: TempDir,
}

impl Place {
    /// `items.jsonl` holds 400 items with three tags that follow from keywords.
    pub(super) fn new() -> Self {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        place.write("items.jsonl", items());
        place
    }

    /// With a model `m.tagm` too.
    pub(super) fn with_model() -> Self {
        let place = Place::new();
        place.train("m.tagm");
        place
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    pub(super) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The program with arguments separated by spaces.
    pub(super) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tagomatic"));
        command.args(arguments.split_whitespace()).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env_remove("TAGOMATIC_LEVEL").env("TMPDIR", self.folder.path());
        command
    }

    pub(super) fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What the program prints; it must not fail.
    pub(super) fn text(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The document that the program prints with `--json`.
    pub(super) fn json(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.text(&format!("{arguments} --json"))).unwrap()
    }

    fn train(&self, out: &str) -> Value {
        self.json(&format!("train items.jsonl --out {out} --epochs 3 --hidden 16 --threads 1"))
    }

    /// The program must fail with this status and one message in which all of `words` stand, and leave no file.
    pub(super) fn fails(&self, status: i32, arguments: &str, words: &[&str]) {
        self.fails_in(&mut self.command(arguments), status, words);
    }

    pub(super) fn fails_in(&self, command: &mut Command, status: i32, words: &[&str]) {
        let before = self.names();
        let output = command.output().unwrap();
        let stderr = stderr(&output);
        assert_eq!(output.status.code(), Some(status), "{command:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{command:?}");
        assert_eq!(stderr.matches("error: ").count(), 1, "{command:?}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{command:?}: no {word:?} in: {stderr}");
        }
        assert_eq!(self.names(), before, "{command:?}");
    }
}

pub(super) fn items() -> String {
    let mut lines = String::new();
    for i in 0_usize..400 {
        let (a, b) = (i * 7 % 30, i * 11 % 17);
        let mut tags = vec![];
        tags.extend((a < 12).then_some("\"low\""));
        tags.extend((b % 2 == 0).then_some("\"even\""));
        tags.extend((a + b > 40).then_some("\"rare\""));
        lines += &format!("{{\"id\":{i},\"keywords\":[\"a{a}\",\"b{b}\",\"c{}\"],\"tags\":[{}]}}\n", i % 5, tags.join(","));
    }
    lines
}

pub(super) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
pub(super) fn assert_fields(object: &Value, fields: &[&str]) {
    for field in fields {
        assert!(object.get(field).is_some(), "no {field:?} in {object}");
    }
}

#[track_caller]
fn assert_measures(object: &Value) {
    assert_fields(object, &MEASURES);
    for tag in object["tags"].as_array().unwrap() {
        assert_fields(tag, &TAG_MEASURES);
    }
}

#[test]
fn train_makes_a_model_and_tells_how() {
    let place = Place::new();
    let report = place.train("m.tagm");
    assert_fields(&report, &["seconds", "samples_per_second", "log_loss", "zeros", "dead_units", "best_epoch"]);
    assert_measures(&report["valid"]);
    assert_eq!(report["epochs"], 3);
    assert_eq!(report["samples"].as_u64().unwrap() + report["valid_samples"].as_u64().unwrap(), 400);
    assert_eq!(report["model_bytes"], fs::metadata(place.path("m.tagm")).unwrap().len());
    assert_eq!(report["signature"].as_str().unwrap().len(), 16);
    assert_eq!(place.names(), ["items.jsonl", "m.tagm"]);
    assert_eq!(place.json("verify m.tagm"), serde_json::json!({"ok": true, "signature": report["signature"]}));

    let summary = place.text("train items.jsonl --out n.tagm --epochs 3 --hidden 16 --threads 1");
    assert!(summary.contains("saved n.tagm") && summary.contains(report["signature"].as_str().unwrap()), "{summary}");
    assert_eq!(fs::read(place.path("m.tagm")).unwrap(), fs::read(place.path("n.tagm")).unwrap());
    let stdout = place.run("train items.jsonl --out - --epochs 3 --hidden 16").stdout;
    assert_eq!(stdout, fs::read(place.path("m.tagm")).unwrap());
}

#[test]
fn the_model_does_not_depend_on_threads_or_level() {
    let place = Place::new();
    let model = |threads: usize, level: Level, options: &str| {
        let arguments = format!("train items.jsonl --out m.tagm --epochs 2 --threads {threads} {options}");
        let output = place.command(&arguments).env("TAGOMATIC_LEVEL", level.name()).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        fs::read(place.path("m.tagm")).unwrap()
    };
    // The second is work enough to be divided.
    for options in ["--hidden 20 --negatives 2 --l1 0.001 --l2 0.001", "--hidden 512 --batch 400"] {
        let first = model(1, Level::Scalar, options);
        for level in Level::available() {
            for threads in [1, 2] {
                assert!(model(threads, level, options) == first, "{level}, {threads} threads, {options:?}");
            }
        }
    }
}

#[test]
fn validation_is_optional_or_a_file_of_its_own() {
    let place = Place::new();
    let none = place.json("train items.jsonl --out m.tagm --epochs 1 --hidden 4 --valid-fraction 0");
    assert!(none["valid"].is_null() && none["zeros"].is_number());
    assert_eq!((&none["samples"], &none["valid_samples"]), (&400.into(), &0.into()));

    place.write("valid.jsonl", "{\"keywords\":[\"a1\",\"new\"],\"tags\":[\"low\",\"alien\"]}\n");
    let own = place.json("train items.jsonl --valid valid.jsonl --out m.tagm --epochs 1 --hidden 4");
    assert_eq!((&own["samples"], &own["valid"]["samples"]), (&400.into(), &1.into()));
    assert_eq!((&own["valid_left"]["unknown_keywords"], &own["valid_left"]["unknown_tags"]), (&1.into(), &1.into()));
    assert!(own["valid"]["macro_auc"].is_null(), "one item has no positive and negative");

    let untrained = place.json("train items.jsonl --out m.tagm --epochs 0 --hidden 4");
    assert!(untrained["log_loss"].is_null() && untrained["valid"]["log_loss"].is_number());
    assert_eq!((&untrained["epochs"], &untrained["best_epoch"]), (&0.into(), &0.into()));
}

#[test]
fn compressed_data_and_standard_input_make_the_same_model() {
    let place = Place::with_model();
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(items().as_bytes()).unwrap();
    place.write("items.jsonl.gz", gz.finish().unwrap());
    place.write("items.jsonl.zst", compress_to_vec(items().as_bytes(), CompressionLevel::Fastest));
    let half = items().lines().take(200).map(|line| format!("{line}\n")).collect::<String>();
    place.write("one.jsonl", &half);
    place.write("two.jsonl", &items()[half.len()..]);
    for data in ["items.jsonl.gz", "items.jsonl.zst", "one.jsonl two.jsonl", "-"] {
        let mut command = place.command(&format!("train {data} --out n.tagm --epochs 3 --hidden 16"));
        command.stdin(fs::File::open(place.path("items.jsonl")).unwrap());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{data}: {}", stderr(&output));
        assert!(fs::read(place.path("m.tagm")).unwrap() == fs::read(place.path("n.tagm")).unwrap(), "{data}");
    }
}

#[test]
fn tag_streams_items_in_order() {
    let place = Place::with_model();
    let lines = |arguments: &str| -> Vec<Value> {
        place.text(arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let one = place.text("tag m.tagm items.jsonl --json --all --threads 1");
    assert_eq!(place.text("tag m.tagm items.jsonl --json --all --threads 3"), one);
    let all = lines("tag m.tagm items.jsonl --json --all");
    assert_eq!(all.len(), 400);
    for (i, line) in all.iter().enumerate() {
        assert_eq!(line["id"], i.to_string());
        assert_eq!((&line["known"], &line["unknown"]), (&3.into(), &Value::Array(vec![])));
        let scores: Vec<f64> = line["tags"].as_array().unwrap().iter().map(|tag| tag["score"].as_f64().unwrap()).collect();
        assert!(scores.len() == 3 && scores.is_sorted_by(|a, b| a >= b), "{line}");
    }
    let given = |arguments: &str| -> Vec<Vec<Value>> {
        let lines = lines(&format!("tag m.tagm items.jsonl --json {arguments}"));
        lines.into_iter().map(|mut line| line["tags"].take().as_array().unwrap().clone()).collect()
    };
    let with = |least: f64, top: usize| -> Vec<Vec<Value>> {
        let tags = all.iter().map(|line| line["tags"].as_array().unwrap());
        tags.map(|tags| tags.iter().filter(|tag| tag["score"].as_f64().unwrap() >= least).take(top).cloned().collect())
            .collect()
    };
    assert_eq!(given(""), with(0.5, 9));
    assert_eq!(given("--top 2"), with(0.0, 2));
    assert_eq!(given("--min-score 0.25"), with(0.25, 9));
    assert_eq!(given("--min-score 0.25 --top 1"), with(0.25, 1));
}

#[test]
fn tag_names_what_it_does_not_know() {
    let place = Place::with_model();
    place.write("odd.jsonl", "{\"keywords\":[\"new\",\"a1\",\"new\",\"a1\",\"b\\t2\"]}\n{\"id\":\"x\\ty\",\"keywords\":[]}\n");
    let text = place.text("tag m.tagm odd.jsonl --json");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines[0]["id"].is_null());
    assert_eq!((&lines[0]["known"], &lines[0]["unknown"]), (&1.into(), &serde_json::json!(["new", "b\t2"])));
    let text = place.text("tag m.tagm odd.jsonl --top 1");
    let ids: Vec<&str> = text.lines().map(|line| line.split_once('\t').unwrap().0).collect();
    assert_eq!(ids, ["#1", "x\\ty"]);
}

#[test]
fn what_stands_before_a_malformed_line_is_written() {
    let place = Place::with_model();
    place.write("broken.jsonl", items() + "{\"keywords\":[\"a1\",7]}\n{\"id\":\"last\",\"keywords\":[\"a1\"]}\n");
    let output = place.run("tag m.tagm broken.jsonl --json");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, place.text("tag m.tagm items.jsonl --json").as_bytes());
    assert!(stderr(&output).contains("broken.jsonl:401:19: expected a string, found the number 7"), "{}", stderr(&output));

    let output = place.run("tag m.tagm broken.jsonl --json --on-error skip");
    assert!(output.status.success() && stderr(&output).contains("malformed lines skipped: 1"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().count() == 401 && text.lines().last().unwrap().starts_with("{\"id\":\"last\""));
    assert_eq!(place.json("eval m.tagm broken.jsonl --on-error skip")["skipped"], 1);
}

#[test]
fn eval_measures() {
    let place = Place::with_model();
    let measures = place.json("eval m.tagm items.jsonl");
    assert_measures(&measures);
    assert_eq!(
        (&measures["samples"], &measures["unknown_keywords"], &measures["unknown_tags"]),
        (&400.into(), &0.into(), &0.into())
    );
    assert!(measures["psp_at_5"].is_number(), "the model remembers its training data's counts");
    assert!(measures["tags"][0]["auc"].as_f64().unwrap() > 0.8, "{measures}");
    assert_eq!(place.json("eval m.tagm items.jsonl --threads 1"), measures);

    place.write("one.jsonl", "{\"keywords\":[\"new\"],\"tags\":[\"alien\",\"rare\"]}\n");
    let undefined = place.json("eval m.tagm one.jsonl");
    assert_eq!((&undefined["unknown_keywords"], &undefined["unknown_tags"]), (&1.into(), &1.into()));
    assert!(undefined["macro_auc"].is_null() && undefined["tags"][0]["ap"].is_null());
    let text = place.text("eval m.tagm items.jsonl");
    assert!(["P@1", "macro-AUC", "even", "low", "rare"].iter().all(|word| text.contains(word)), "{text}");
}

#[test]
fn info_tells_what_the_file_holds() {
    let place = Place::with_model();
    let info = place.json("info m.tagm");
    assert_fields(&info, &["format_version", "sections", "level"]);
    assert_eq!(
        (&info["keywords"], &info["hidden"], &info["tags"], &info["groups"]),
        (&52.into(), &16.into(), &3.into(), &1.into())
    );
    assert_eq!((&info["activation"], &info["weights"]), (&"relu".into(), &"f32".into()));
    assert_eq!(info["bytes"], fs::metadata(place.path("m.tagm")).unwrap().len());
    for section in info["sections"].as_array().unwrap() {
        assert_fields(section, &["name", "offset", "bytes"]);
    }
    let made = &info["provenance"];
    assert_fields(made, &["created_by", "data.fingerprint", "data.samples", "data.tag_counts", "fit.best_epoch", "train.seed"]);
    assert_fields(made, &["data.valid_samples", "data.min_count", "fit.epochs", "fit.valid_log_loss", "fit.valid_macro_ap"]);
    let levels: Vec<&str> = Level::available().map(Level::name).collect();
    assert_eq!((&info["levels"], &info["level"]), (&levels.into(), &Level::best().name().into()));
    assert!(place.text("info m.tagm").contains("train.seed"));
}

#[test]
fn demo_needs_nothing_but_the_program() {
    let place = Place::new();
    let demo = place.json("demo --epochs 1");
    assert_fields(&demo["train"], &["epochs", "seconds", "samples_per_second", "log_loss", "model_bytes", "signature"]);
    assert_measures(&demo["train"]["valid"]);
    assert_measures(&demo["eval"]);
    let examples = demo["examples"].as_array().unwrap();
    assert_eq!(examples.len(), 10);
    for example in examples {
        assert_fields(example, &["id", "keywords", "truth", "tags", "known", "unknown"]);
    }
    assert_eq!(place.names(), ["items.jsonl"], "the temporary folder is gone");
}

#[test]
fn bench_measures_this_machine() {
    let place = Place::with_model();
    let measured = place.json("bench m.tagm items.jsonl --seconds 0.01");
    assert_fields(
        &measured,
        &["level", "samples", "batch_samples_per_second", "bytes_per_sample", "share_of_limit", "open_us"],
    );
    assert_fields(&measured["single_ns"], &["p50", "p99", "p999"]);
    assert_eq!(measured["samples"], 400);
    let ns = |name: &str| measured["single_ns"][name].as_f64().unwrap();
    assert!(ns("p50") <= ns("p99") && ns("p99") <= ns("p999") && measured["bytes_per_sample"].as_f64().unwrap() > 0.0);
}

#[test]
fn bad_data_are_placed() {
    let place = Place::with_model();
    let line = |keywords: &str, tags: &str| format!("{{\"keywords\":[{keywords}],\"tags\":[{tags}]}}\n");
    place.write("empty.jsonl", "");
    place.write("broken.jsonl", line("\"a\"", "\"x\"") + "{\"keywords\": [\"a\"\n");
    place.write("untagged.jsonl", line("\"a\"", "").repeat(3));
    place.write("everywhere.jsonl", line("\"a\"", "\"x\"") + &line("\"a\"", "\"x\", \"y\""));
    place.write("odd.jsonl", line("\"a\"", "\"x\\n\"") + &line("\"a\"", ""));
    place.write("rare.jsonl", line("\"a\"", "\"x\"") + &line("\"b\"", ""));
    place.write("plain.jsonl.gz", items());
    for (name, words) in [
        ("missing", &["cannot open: missing.jsonl", "check the path"][..]),
        ("empty", &["empty.jsonl: no items", "give at least two"]),
        ("broken", &["broken.jsonl:2:", "expected", "found", "--on-error skip"]),
        ("untagged", &["untagged.jsonl: no item has a tag"]),
        ("everywhere", &["everywhere.jsonl: tag \"x\"", "2 positive and 0 negative"]),
        ("odd", &["tag \"x\\n\"", "control characters"]),
        ("rare", &["rare.jsonl: no keyword is left"]),
    ] {
        place.fails(1, &format!("train {name}.jsonl --out n.tagm"), words);
        place.fails(1, &format!("train {name}.jsonl --out n.tagm --json"), words);
    }
    place.fails(1, "train plain.jsonl.gz --out n.tagm", &["plain.jsonl.gz", "gzip"]);
    place.fails(1, "train items.jsonl --valid empty.jsonl --out n.tagm", &["empty.jsonl: no items"]);
    place.fails(1, "eval m.tagm empty.jsonl", &["empty.jsonl: no items to measure on"]);
    place.fails(1, "eval m.tagm broken.jsonl", &["broken.jsonl:2:"]);
    place.fails(1, "tag m.tagm missing.jsonl", &["cannot open: missing.jsonl"]);
}

#[test]
fn bad_models_are_refused_when_opened() {
    let place = Place::with_model();
    let model = fs::read(place.path("m.tagm")).unwrap();
    place.write("half.tagm", &model[..model.len() / 2]);
    place.write("text.tagm", "These are not the bytes that you are looking for.\n".repeat(20));
    let mut flipped = model.clone();
    flipped[model.len() * 2 / 3] ^= 1;
    place.write("flipped.tagm", flipped);
    for (name, words) in [
        ("half", &["half.tagm: not a valid model: header", "cut short", "good copy"][..]),
        ("text", &["text.tagm: not a valid model: header", "text that starts with \"These are"]),
        ("flipped", &["flipped.tagm: not a valid model: ", "checksum"]),
        ("missing", &["cannot read the model: missing.tagm", "check the path"]),
    ] {
        for arguments in ["info MODEL", "tag MODEL items.jsonl", "eval MODEL items.jsonl", "verify MODEL"] {
            place.fails(1, &arguments.replace("MODEL", &format!("{name}.tagm")), words);
        }
        let output = place.run(&format!("verify {name}.tagm --json"));
        let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &verdict["ok"]), (Some(1), &false.into()));
        assert!(verdict["error"].as_str().unwrap().contains(&format!("{name}.tagm")));
    }
}

#[test]
fn where_nothing_can_be_saved_nothing_is_trained() {
    let place = Place::new();
    place.fails(1, "train items.jsonl --out no/such/m.tagm", &["no/such/m.tagm", "make the folder first"]);
    place.fails(1, "train missing.jsonl --out no/such/m.tagm", &["no/such/m.tagm"]);
    place.fails(1, "train items.jsonl --out .", &["cannot save the model: .: "]);
    place.fails(2, "train items.jsonl --out items.jsonl", &["--out: expected a file of its own, found items.jsonl"]);
    assert_eq!(fs::read_to_string(place.path("items.jsonl")).unwrap(), items());
}

#[test]
fn wrong_usage_is_told_from_failure() {
    let place = Place::with_model();
    place.fails(2, "train items.jsonl --out n.tagm --frobnicate", &["--frobnicate"]);
    place.fails(2, "train items.jsonl", &["--out"]);
    place.fails(2, "frobnicate", &["frobnicate"]);
    place.fails(2, "info m.tagm --threads 0", &["--threads", "1..="]);
    for (option, words) in [
        ("--eps 0.7", ["--eps: expected", "[0, 0.5)", "found 0.7"]),
        ("--eps -0", ["--eps: expected", "not -0", "found -0"]),
        ("--dropout-hidden 1", ["--dropout-hidden: expected", "[0, 1)", "found 1"]),
        ("--lr -1", ["--lr: expected", "at least 0", "found -1"]),
        ("--negatives 0", ["--negatives: expected", "above 0", "found 0"]),
        ("--negatives some", ["--negatives", "\"all\" or", "above 0"]),
        ("--loss hinge", ["--loss", "clamp_ste, logit or clamp_torch", "hinge"]),
        ("--rowwise w3", ["--rowwise", "none, or some of w1", "w3"]),
        ("--valid-fraction 1", ["--valid-fraction", "expected", "[0, 1)"]),
        ("--on-error cry", ["--on-error", "stop", "skip"]),
    ] {
        place.fails(2, &format!("train missing.jsonl --out n.tagm {option}"), &words);
    }
    place.fails(2, "demo --out -", &["--out: expected a file"]);
    place.fails(2, "tag m.tagm --all --top 3", &["--all", "--top"]);
    place.fails(2, "tag m.tagm --min-score 2", &["--min-score", "from 0 to 1"]);
    let unavailable = Level::ALL.iter().find(|level| !level.is_available()).map(|level| level.name());
    for level in ["sse9", ""].into_iter().chain(unavailable) {
        let mut command = place.command("info m.tagm");
        place.fails_in(
            command.env("TAGOMATIC_LEVEL", level),
            2,
            &["TAGOMATIC_LEVEL", "scalar, portable", &format!("{level:?}")],
        );
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let place = Place::with_model();
    place.write("many.jsonl", items().repeat(30));
    for arguments in ["tag m.tagm many.jsonl --json --all", "eval m.tagm items.jsonl", "info m.tagm --json"] {
        let mut child = place.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""), "{arguments}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let place = Place::with_model();
    let full = fs::OpenOptions::new().write(true).open(Path::new("/dev/full")).unwrap();
    let output = place.command("tag m.tagm items.jsonl").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("error: cannot write to standard output"), "{}", stderr(&output));
}

#[test]
fn nothing_is_said_of_progress_where_there_is_no_terminal() {
    let place = Place::new();
    let output = place.run("train items.jsonl --out m.tagm --epochs 2 --hidden 4 --patience 0");
    assert_eq!(stderr(&output), "");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("log-loss             █▁  0."), "{text}");
    assert!(text.contains("validation macro_ap  ▁█  0."), "{text}");
}

#[test]
fn the_learning_curve_is_written_as_it_comes() {
    let place = Place::new();
    place.text(
        "train items.jsonl --out m.tagm --epochs 2 --hidden 4 --penalty mean_square --penalty-weight 0.1 --curve c.jsonl",
    );
    let curve = fs::read_to_string(place.path("c.jsonl")).unwrap();
    let points: Vec<Value> = curve.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((points[0]["phase"].as_str(), points[0]["epoch"].as_u64()), (Some("fit"), Some(1)));
    assert!(points[0]["penalty"].as_f64().unwrap() > 0.0 && points[0]["log_loss"].as_f64().unwrap() > 0.0);
    assert_fields(&points[0]["valid"], &["macro_ap", "macro_auc", "micro_f1", "log_loss", "p_at_1"]);
    assert_fields(&points[0], &["penalty", "zeros", "dead_units", "always_on_units", "mean_activity"]);
    let last = &points[points.len() - 1];
    assert!(last["phase"] == "refit" && last["valid"].is_null());
}

#[test]
fn an_epoch_in_which_all_units_are_dead_is_told_with_the_cure() {
    let place = Place::new();
    let output = place.run("train items.jsonl --out m.tagm --epochs 1 --hidden 4 --activation trec:50");
    assert!(stderr(&output).contains("warning: all 4 hidden units are zero"), "{}", stderr(&output));
    assert!(stderr(&output).contains("lower the threshold"), "{}", stderr(&output));
    let output = place.run("train items.jsonl --out m.tagm --epochs 1 --hidden 4 --penalty mean_square --penalty-weight 0.1");
    assert!(!stderr(&output).contains("warning"), "{}", stderr(&output));
}

#[test]
fn options_of_adagrad_are_told_in_the_model() {
    let place = Place::new();
    place.text("train items.jsonl --out m.tagm --epochs 1 --hidden 4 --epsilon 1e-6 --epsilon-place inside --rowwise w1,B2");
    let made = &place.json("info m.tagm")["provenance"];
    let found = ["train.epsilon", "train.epsilon_place", "train.rowwise"].map(|key| &made[key]);
    assert_eq!(found, [&Value::from("0.000001"), &"inside".into(), &"W1,b2".into()]);
}

#[test]
fn a_file_gives_options_and_what_is_typed_wins() {
    let place = Place::new();
    place.write("c.toml", "# A comment\nhidden = 5\nlr = 0.25\nnegatives = 2\nactivation = \"tlin:0.2\"\npenalty = \"l1\"\n");
    place.text("--threads 1 train items.jsonl --epochs 1 --penalty-weight 0.5 --lr 0.125 --config c.toml --out m.tagm");
    let made = &place.json("info m.tagm")["provenance"];
    for (key, value) in
        [("hidden", "5"), ("lr", "0.125"), ("negatives", "2"), ("activation", "tlin:0.2"), ("penalty", "l1"), ("epochs", "1")]
    {
        assert_eq!(made[&format!("train.{key}")], value, "{key}");
    }
    for (content, words) in [
        ("hidden = 5\n\nlearning_rate = 1\n", &["c.toml:3: expected one of objective, ", "found \"learning_rate\""][..]),
        ("hidden = 5\nlr = \"fast\"", &["c.toml:2: ", "'fast'", "--lr"]),
        ("hidden = 5\nlr = [1]", &["c.toml:2: expected a string, a number, true", "found array"]),
        ("hidden = 5\nlr = ", &["c.toml:2: "]),
        ("hidden = 5\nhidden = 6", &["c.toml:2: "]),
        ("out = \"elsewhere\"", &["c.toml:1: expected one of"]),
        ("lr = -1", &["--lr: expected", "found -1"]),
        ("penalty = \"l1\"", &["--penalty, --penalty-weight: expected both"]),
    ] {
        place.write("c.toml", content);
        place.fails(2, "train items.jsonl --out n.tagm --config c.toml", words);
    }
    place.fails(1, "train items.jsonl --out n.tagm --config d.toml", &["d.toml", "cannot read"]);
}

/// One number of all that training promises: the file in `models/`, made on another machine by the command on its card, byte for
/// byte.
#[test]
fn the_shipped_model_is_what_its_command_makes() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("movies.tagm");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO_BIN_EXE_tagomatic"))
        .current_dir(root)
        .args(["train", "models/movies-train.jsonl.gz", "--hidden", "48", "--dropout-hidden", "0.1", "--out"])
        .arg(&out)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(fs::read(out).unwrap() == fs::read(root.join("models/movies.tagm")).unwrap());
    let card = fs::read_to_string(root.join("models/movies.md")).unwrap();
    let tagger = tagomatic::Tagger::new(tagomatic::Model::open(root.join("models/movies.tagm")).unwrap());
    assert!(card.contains(&format!("{:016x}", tagger.signature().unwrap())));
}

#[test]
fn tags_near_a_tag() {
    let place = Place::with_model();
    let report = place.json("tags near m.tagm low");
    assert_eq!(report["tag"], "low");
    let near = report["near"].as_array().unwrap();
    let mut names: Vec<&str> = near.iter().map(|near| near["tag"].as_str().unwrap()).collect();
    let cosines: Vec<f64> = near.iter().map(|near| near["similarity"].as_f64().unwrap()).collect();
    assert!(cosines[0] >= cosines[1] && cosines.iter().all(|cosine| cosine.abs() <= 1.0), "{cosines:?}");
    assert_eq!(place.json("tags near m.tagm low --top 1")["near"].as_array().unwrap()[..], near[..1]);
    assert!(place.text("tags near m.tagm low").contains(&format!("{:.4}", cosines[0])));
    names.sort_unstable();
    assert_eq!(names, ["even", "rare"]);
    place.fails(2, "tags near m.tagm nothing", &["TAG", "m.tagm", "nothing"]);
}
