//! A training that is killed at any instant goes on, and ends in the same bytes.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use tagomatic::rng::Philox;

use super::cli::Place;

const OPTIONS: &str = "--epochs 6 --hidden 16 --l2 0.001 --negatives 2 --threads 1 --curve curve.jsonl";

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

/// Of the kills one half comes at any time after the start, the other at any time after a checkpoint: so the first half hits
/// reading, and the second training, saving, and the refit.
#[test]
fn kills_at_any_instant_change_nothing() {
    let kills = kills().div_ceil(2);
    let place = Place::new();
    place.text(&format!("train items.jsonl --out whole.tagm {OPTIONS}"));
    let whole = fs::read(place.path("whole.tagm")).unwrap();
    let curve = fs::read_to_string(place.path("curve.jsonl")).unwrap();
    assert!(curve.contains("\"phase\":\"fit\"") && curve.contains("\"phase\":\"refit\""));
    let (folder, model) = (place.path("checkpoints"), place.path("m.tagm"));
    let checkpoint = folder.join("last.tagc");
    let (mut kill, mut resumed, mut finished) = (0, 0, 0);
    while kill < kills || finished == 0 {
        let option = if checkpoint.exists() { "--resume" } else { "--checkpoint" };
        let command = format!("train items.jsonl --out m.tagm {OPTIONS} {option} checkpoints --checkpoint-steps 1");
        let mut child = place.command(&command).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        resumed += u32::from(option == "--resume");
        let [chance, instant, ..] = Philox::new(1).block([kill, finished, 0, 60]);
        if kill < kills {
            let before = saved_at(&checkpoint);
            while chance % 2 == 0 && is_running(&mut child) && saved_at(&checkpoint) == before {
                std::thread::sleep(Duration::from_micros(50));
            }
            std::thread::sleep(Duration::from_micros(u64::from(instant) % if chance % 2 == 0 { 20_000 } else { 60_000 }));
        }
        if kill < kills && is_running(&mut child) {
            child.kill().unwrap();
            child.wait().unwrap();
            kill += 1;
            assert!(fs::read(&model).map_or(true, |bytes| bytes == whole), "half a model");
            continue;
        }
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(fs::read(&model).unwrap() == whole, "other bytes after {kill} kills");
        assert!(fs::read_to_string(place.path("curve.jsonl")).unwrap() == curve, "another curve after {kill} kills");
        let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["best.tagm", "last.tagc", "lock"]);
        place.text("verify checkpoints/best.tagm");
        finished += 1;
        fs::remove_dir_all(&folder).unwrap();
        fs::remove_file(&model).unwrap();
    }
    assert!(resumed > 0);
    println!("{kill} kills, {resumed} resumed, {finished} trainings finished");
}

#[cfg(unix)]
#[test]
fn signals_leave_a_checkpoint() {
    let place = Place::new();
    let endless = "train items.jsonl --out m.tagm --epochs 1000000 --valid-fraction 0 --hidden 16 --threads 1";
    for (signal, option) in [("-INT", "--checkpoint"), ("-TERM", "--resume")] {
        let checkpoint = place.path("checkpoints/last.tagc");
        let before = saved_at(&checkpoint);
        let mut child = place.command(&format!("{endless} {option} checkpoints")).stderr(Stdio::piped()).spawn().unwrap();
        while saved_at(&checkpoint) == before && is_running(&mut child) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("interrupted after ") && stderr.contains("--resume checkpoints"), "{stderr}");
    }
    assert_eq!(place.names(), ["checkpoints", "items.jsonl"]);
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
    place.fails(2, &train("items.jsonl", "--resume c --checkpoint c"), &["cannot be used with"]);
    place.fails(2, &train("items.jsonl", "--checkpoint d --checkpoint-steps 0"), &["--checkpoint-steps"]);
    place.fails(2, &train("items.jsonl", "--curve items.jsonl"), &["--curve: expected a file of its own"]);
}
