//! A training that is killed at any instant goes on, and ends in the same bytes.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use tagomatic::rng::Philox;

use super::cli::Place;

const OPTIONS: &str = "--epochs 6 --hidden 16 --l2 0.001 --negatives 2 --threads 1";

/// Kills in the suite, of trainings and other commands together; `TAGOMATIC_KILLS` asks for more.
pub(super) fn kills() -> u32 {
    std::env::var("TAGOMATIC_KILLS").map_or(50, |kills| kills.parse().unwrap())
}

/// When the checkpoint was last replaced.
fn saved_at(checkpoint: &Path) -> Option<SystemTime> {
    fs::metadata(checkpoint).and_then(|metadata| metadata.modified()).ok()
}

fn is_running(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_none()
}

#[test]
fn kills_at_any_instant_change_nothing() {
    println!("{}", kill_at_any_instant(kills().div_ceil(4), 1));
}

#[test]
fn kills_at_any_instant_change_nothing_of_an_average() {
    println!("{}", kill_at_any_instant(kills().div_ceil(4), 2));
}

/// Of the kills one half comes at any time after the start, the other at any time after a checkpoint, of late of the second
/// network: so the first half hits reading, and the second training, saving, the refit, and the
/// network that follows. Tells how many there were.
fn kill_at_any_instant(kills: u32, networks: u32) -> String {
    let options = format!("{OPTIONS} --average {networks}");
    let place = Place::new();
    // Neither checkpoints nor a curve.
    place.text(&format!("train items.jsonl --out whole.tagm {options}"));
    let whole = fs::read(place.path("whole.tagm")).unwrap();
    let options = format!("{options} --curve curve.jsonl");
    place.text(&format!("train items.jsonl --out m.tagm {options}"));
    let curve = fs::read_to_string(place.path("curve.jsonl")).unwrap();
    assert!(curve.contains("\"phase\":\"fit\"") && curve.contains("\"phase\":\"refit\""));
    let of: Vec<bool> = (1..=3).map(|network| curve.contains(&format!("{{\"network\":{network},"))).collect();
    assert_eq!(of, [networks > 1, networks > 1, false]);
    let (folder, model) = (place.path("checkpoints"), place.path("m.tagm"));
    fs::remove_file(&model).unwrap();
    let checkpoint = folder.join("last.tagc");
    let all = ["best.tagm", "last.tagc", "lock", "best-2.tagm", "last-2.tagc"];
    let mut files = all[..if networks == 1 { 3 } else { 5 }].to_vec();
    files.sort_unstable();
    let (mut kill, mut resumed, mut in_the_last, mut finished) = (0, 0, 0, 0);
    while kill < kills || finished == 0 {
        let option = if checkpoint.exists() { "--resume" } else { "--checkpoint" };
        let command = format!("train items.jsonl --out m.tagm {options} {option} checkpoints --checkpoint-steps 1");
        let mut child = place.command(&command).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        resumed += u32::from(option == "--resume");
        let [chance, instant, ..] = Philox::new(1).block([kill, finished, 0, 60]);
        if kill < kills {
            let watched = if networks > 1 && kill >= kills / 2 { folder.join("last-2.tagc") } else { checkpoint.clone() };
            let before = saved_at(&watched);
            while chance % 2 == 0 && is_running(&mut child) && saved_at(&watched) == before {
                std::thread::sleep(Duration::from_micros(50));
            }
            std::thread::sleep(Duration::from_micros(u64::from(instant) % if chance % 2 == 0 { 20_000 } else { 60_000 }));
        }
        if kill < kills && is_running(&mut child) {
            child.kill().unwrap();
            child.wait().unwrap();
            kill += 1;
            in_the_last += u32::from(folder.join("last-2.tagc").exists());
            assert!(fs::read(&model).map_or(true, |bytes| bytes == whole), "half a model");
            continue;
        }
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(fs::read(&model).unwrap() == whole, "other bytes after {kill} kills");
        assert!(fs::read_to_string(place.path("curve.jsonl")).unwrap() == curve, "another curve after {kill} kills");
        let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, files);
        files
            .iter()
            .filter(|name| name.ends_with("tagm"))
            .for_each(|name| drop(place.text(&format!("verify checkpoints/{name}"))));
        finished += 1;
        fs::remove_dir_all(&folder).unwrap();
        fs::remove_file(&model).unwrap();
    }
    assert!(resumed > 0 && (in_the_last > 0) == (networks > 1));
    format!("{kill} kills, {in_the_last} of them in the second network, {resumed} resumed, {finished} trainings finished")
}

#[cfg(unix)]
#[test]
fn signals_leave_a_checkpoint() {
    let place = Place::new();
    let endless = "train items.jsonl --out m.tagm --epochs 1000000 --valid-fraction 0 --hidden 16 --threads 1";
    for (signal, option, networks) in [("-INT", "--checkpoint", 1), ("-TERM", "--resume", 2)] {
        let checkpoint = place.path("checkpoints/last.tagc");
        let before = saved_at(&checkpoint);
        let command = format!("{endless} --average {networks} {option} checkpoints");
        let mut child = place.command(&command).stderr(Stdio::piped()).spawn().unwrap();
        while saved_at(&checkpoint) == before && is_running(&mut child) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("interrupted after ") && stderr.contains("--resume checkpoints"), "{stderr}");
        assert_eq!(stderr.contains(" steps of network 1/2 "), networks == 2, "{stderr}");
    }
    assert_eq!(place.names(), ["checkpoints", "items.jsonl"]);
}

/// What is calibrated on would be scores of networks that were ended with the training.
#[cfg(unix)]
#[test]
fn signals_in_the_folds_leave_no_model() {
    let place = Place::new();
    let train = "train items.jsonl --out m.tagm --epochs 2 --hidden 4 --threads 1 --calibrate platt --folds 400";
    let checkpoints = "--checkpoint checkpoints --checkpoint-steps 1";
    let mut child = place.command(&format!("{train} {checkpoints}")).stderr(Stdio::piped()).spawn().unwrap();
    let checkpoint = place.path("checkpoints/last.tagc");
    let mut before = None;
    // Where no step is followed by a checkpoint the folds are under way.
    while before.is_none() || saved_at(&checkpoint) != before {
        before = saved_at(&checkpoint);
        std::thread::sleep(Duration::from_millis(100));
        assert!(is_running(&mut child), "the folds end too early for this test");
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("interrupted in the folds (go on with --resume checkpoints)"), "{stderr}");
    assert_eq!(place.names(), ["checkpoints", "items.jsonl"]);
    // The network is there, the folds begin anew.
    let options = "--epochs 2 --hidden 4 --threads 1 --calibrate platt";
    place.text(&format!("train items.jsonl --out whole.tagm {options}"));
    place.text(&format!("train items.jsonl --out m.tagm {options} --resume checkpoints"));
    assert!(fs::read(place.path("m.tagm")).unwrap() == fs::read(place.path("whole.tagm")).unwrap());
}

/// Items with many keywords have two networks by default.
#[test]
fn what_is_kept_of_a_training_does_not_change_it() {
    let place = Place::new();
    let item = |n: usize| {
        let keywords: Vec<String> = (0..30).map(|k| format!("\"k{}\"", k * (n % 7 + 1) % 41)).collect();
        format!("{{\"keywords\":[{}],\"tags\":[\"t{}\"]}}\n", keywords.join(","), n % 7 % 2)
    };
    place.write("long.jsonl", (0..80).map(item).collect::<String>());
    let train = |options: &str| {
        place.text(&format!("train long.jsonl --out m.tagm --epochs 2 --threads 1 {options}"));
        fs::read(place.path("m.tagm")).unwrap()
    };
    let plain = train("");
    let model = tagomatic::Model::from_bytes(&plain).unwrap();
    assert_eq!(model.provenance().unwrap().get("fit.average"), Some("2"));
    for options in ["--checkpoint c", "--resume c", "--curve curve.jsonl"] {
        assert!(train(options) == plain, "{options}");
    }
}

#[test]
fn what_cannot_be_resumed_is_told() {
    let place = Place::new();
    let train = |data: &str, options: &str| format!("train {data} --out m.tagm --epochs 2 --hidden 4 --threads 1 {options}");
    place.fails(1, &train("items.jsonl", "--resume none"), &["none/last.tagc", "begin with --checkpoint none"]);
    place.text(&train("items.jsonl", "--checkpoint c --checkpoint-seconds 0"));
    place.fails(1, &train("items.jsonl", "--checkpoint c"), &["c/last.tagc", "resume it"]);
    let differs = ["c/last.tagc", "train.lr: expected 0.05 as in the checkpoint, found 0.1", "train.seed"];
    place.fails(1, &train("items.jsonl", "--resume c --lr 0.1 --seed 7"), &differs);
    let items = fs::read_to_string(place.path("items.jsonl")).unwrap();
    place.write("more.jsonl", items.replacen("\"a0\"", "\"a1\"", 1));
    place.fails(1, &train("more.jsonl", "--resume c"), &["data.fingerprint: expected"]);
    place.fails(1, &train("items.jsonl", "--resume c --valid more.jsonl"), &["data.valid_fingerprint"]);
    fs::write(place.path("c/last.tagc"), "{}").unwrap();
    place.fails(1, &train("items.jsonl", "--resume c"), &["c/last.tagc: not a valid checkpoint", "magic"]);
    place.text(&train("items.jsonl", "--checkpoint two --average 2 --checkpoint-seconds 0"));
    // Finished networks stay, of a longer average too.
    place.text(&train("items.jsonl", "--resume two --average 3"));
    place.text(&train("items.jsonl", "--average 3").replace("m.tagm", "whole.tagm"));
    assert!(fs::read(place.path("m.tagm")).unwrap() == fs::read(place.path("whole.tagm")).unwrap());
    let names = fs::read_dir(place.path("two")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.ends_with(".tagc")).count(), 3);
    // The second network of another training beside the first one of this.
    for (other, differs) in [("items.jsonl", "train.lr: expected 0.1"), ("more.jsonl", "data.fingerprint: expected")] {
        let options = if other == "items.jsonl" { "--lr 0.1" } else { "" };
        place.text(&train(other, &format!("--checkpoint other --average 2 {options}")));
        fs::copy(place.path("other/last-2.tagc"), place.path("two/last-2.tagc")).unwrap();
        fs::remove_dir_all(place.path("other")).unwrap();
        place.fails(1, &train("items.jsonl", "--resume two --average 2"), &["two/last-2.tagc", differs]);
    }
    fs::copy(place.path("two/last.tagc"), place.path("two/last-2.tagc")).unwrap();
    place.fails(
        1,
        &train("items.jsonl", "--resume two --average 2"),
        &["two/last-2.tagc", "train.seed: expected 1 as", "found 2"],
    );
    fs::remove_file(place.path("two/last.tagc")).unwrap();
    place.fails(1, &train("items.jsonl", "--checkpoint two --average 2"), &[".tagc", "resume it"]);
    place.fails(2, &train("items.jsonl", "--resume c --checkpoint c"), &["cannot be used with"]);
    place.fails(2, &train("items.jsonl", "--checkpoint d --checkpoint-steps 0"), &["--checkpoint-steps"]);
    place.fails(2, &train("items.jsonl", "--curve items.jsonl"), &["--curve: expected a file of its own"]);
}
