//! Saves that fail or are killed, at any call to the system and at any instant: at the output's path stands the old file or the new one,
//! and the same command then ends in the same bytes.

use std::fs;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use tagomatic::rng::Philox;

use super::cli::Place;
use super::lost::kills;

/// Commands that save a model, and what stands at its path before.
const SAVES: [&str; 5] = [
    "convert m.tagm out.tagm --weights f16",
    "tune m.tagm items.jsonl --out out.tagm",
    "tags merge a.tagm b.tagm --out out.tagm",
    "tags add m.tagm --name new --examples examples.jsonl --negatives items.jsonl --out out.tagm",
    "train items.jsonl --out out.tagm --epochs 1 --hidden 8 --threads 1",
];
const OLD: &[u8] = b"what was there before";

/// A folder with what the commands read, and the bytes that each writes.
fn prepare() -> (Place, Vec<Vec<u8>>) {
    let place = Place::with_model();
    place.text("tags remove m.tagm low --out a.tagm");
    place.text("tags remove m.tagm even rare --out b.tagm");
    let items = fs::read_to_string(place.path("items.jsonl")).unwrap();
    place.write("examples.jsonl", items.split_inclusive('\n').take(30).collect::<String>());
    let bytes = |command: &&str| {
        place.text(command);
        fs::read(place.path("out.tagm")).unwrap()
    };
    let whole = SAVES.iter().map(bytes).collect();
    (place, whole)
}

/// Of the files in the folder those that no command was asked for.
fn unfinished(place: &Place) -> Vec<String> {
    place.names().into_iter().filter(|name| name.starts_with(".tagomatic-")).collect()
}

fn clear(place: &Place) {
    unfinished(place).iter().for_each(|name| fs::remove_file(place.path(name)).unwrap());
}

/// Whether the new file is there, rather than the old one.
#[track_caller]
fn is_new(place: &Place, new: &[u8], what: &str) -> bool {
    let found = fs::read(place.path("out.tagm")).unwrap();
    assert!(found == OLD || found == new, "{what}: neither the old file nor the new one");
    found == new
}

/// Kills in the suite are few; `TAGOMATIC_KILLS` asks for more. One half comes at any time after the start, the other when a file is
/// in the making.
#[test]
fn kills_at_any_instant_leave_the_old_file_or_the_new_one() {
    let (place, whole) = prepare();
    let (kills, mut kill, mut runs, mut saved) = (kills() / 2, 0, 0, 0);
    let mut longest = [Duration::ZERO; SAVES.len()];
    while kill < kills {
        let which = kill as usize % SAVES.len();
        place.write("out.tagm", OLD);
        let [chance, instant, ..] = Philox::new(2).block([kill, runs, 0, 60]);
        runs += 1;
        let start = Instant::now();
        let mut child = place.command(SAVES[which]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let part = f64::from(instant) / f64::from(u32::MAX);
        if longest[which] == Duration::ZERO {
            // Nothing is known of its time: this run is to tell it.
            assert!(child.wait().unwrap().success());
            longest[which] = start.elapsed();
        } else if chance % 2 == 0 {
            std::thread::sleep(longest[which].mul_f64(part));
        } else {
            while unfinished(&place).is_empty() && child.try_wait().unwrap().is_none() {}
            std::thread::sleep(Duration::from_millis(1).mul_f64(part));
        }
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            child.wait().unwrap();
            kill += 1;
            saved += u32::from(is_new(&place, &whole[which], SAVES[which]));
            // What the killed process left is in nobody's way.
            place.text(SAVES[which]);
        }
        assert!(is_new(&place, &whole[which], SAVES[which]), "{}", SAVES[which]);
    }
    println!("{kill} kills, {saved} of them when the new file was there, in {runs} runs");
}

/// Runs the command while calls to the system fail; see `tests/faults/faults.c`. Gives the calls that were met too.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn faulty(place: &Place, command: &str, how: &str, at: Option<usize>) -> (Output, Vec<String>) {
    let mut command = place.command(command);
    command.env("LD_PRELOAD", place.path("faults.so")).env("FAULT_LOG", place.path("calls")).env("FAULT_HOW", how);
    if let Some(at) = at {
        command.env("FAULT_AT", at.to_string());
    }
    let output = command.output().unwrap();
    (output, fs::read_to_string(place.path("calls")).unwrap().lines().map(str::to_owned).collect())
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn build_faults(place: &Place) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/faults.c");
    let mut cc = std::process::Command::new("cc");
    cc.args(["-std=c11", "-D_GNU_SOURCE", "-O1", "-fPIC", "-shared", source, "-ldl", "-o"]).arg(place.path("faults.so"));
    let output = cc.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Every call in turn: to open, read, write, bring to the disk, rename, ... A call that was only interrupted or did part of its work is
/// no failure.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn any_failing_call_leaves_the_old_file_or_the_new_one() {
    let (place, whole) = prepare();
    build_faults(&place);
    let mut runs = 0;
    for (command, whole) in SAVES.iter().zip(&whole) {
        // The first command meets every fault; what others do otherwise is before the save.
        let first = *command == SAVES[0];
        place.write("out.tagm", OLD);
        let (output, calls) = faulty(&place, command, "", None);
        assert!(output.status.success() && is_new(&place, whole, command));
        for name in ["open64", "write", "fsync", "fchmod", "rename", "statx", "unlink", "close"] {
            assert!(calls.iter().any(|call| call == name), "{command}: no {name} among {calls:?}");
        }
        let hows: &[&str] = if first { &["EINTR", "SHORT", "EIO", "ENOSPC", "FULL", "KILL"] } else { &["FULL", "KILL"] };
        for how in hows {
            let harmless = matches!(*how, "EINTR" | "SHORT");
            // None: each call, as often as it is met.
            let every = harmless.then_some(0);
            for at in every.into_iter().chain(1..=calls.len()) {
                place.write("out.tagm", OLD);
                let what = || format!("{command}: {how} at call {at}, {:?}", at.checked_sub(1).map(|call| &calls[call]));
                let (output, _) = faulty(&place, command, how, Some(at));
                runs += 1;
                let new = is_new(&place, whole, &what());
                let stderr = String::from_utf8_lossy(&output.stderr);
                if output.status.success() {
                    assert!(new && *how != "KILL", "{}", what());
                } else {
                    assert!(!harmless, "{}: {stderr}", what());
                    assert!(*how == "KILL" || output.status.code() == Some(1), "{}: {stderr}", what());
                    assert!(*how == "KILL" || stderr.matches("error: ").count() == 1, "{}: {stderr}", what());
                }
                let may_leave = *how == "KILL" || (at > 0 && calls[at - 1] == "unlink");
                assert!(may_leave || unfinished(&place).is_empty(), "{}: {:?}", what(), place.names());
                if *how == "KILL" {
                    place.text(command);
                    assert!(is_new(&place, whole, command));
                }
                clear(&place);
            }
        }
    }
    println!("{runs} runs");
}

/// Calls that fail while a checkpoint is saved end the training; what is there then is gone on with to the same bytes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn trainings_whose_checkpoints_fail_go_on() {
    const FAULTS: u32 = 30;
    let place = Place::new();
    build_faults(&place);
    let train = |option: &str| {
        format!("train items.jsonl --out out.tagm --epochs 2 --hidden 8 --threads 1 {option} c --checkpoint-steps 2")
    };
    let (output, calls) = faulty(&place, &train("--checkpoint"), "", None);
    assert!(output.status.success());
    let whole = fs::read(place.path("out.tagm")).unwrap();
    let mut resumed = 0;
    for fault in 0..FAULTS {
        fs::remove_dir_all(place.path("c")).unwrap();
        place.write("out.tagm", OLD);
        let how = ["ENOSPC", "EIO", "FULL", "KILL", "EINTR", "SHORT"][fault as usize % 6];
        let at = Philox::new(3).block([fault, 0, 0, 60])[0] as usize % calls.len() + 1;
        let (output, _) = faulty(&place, &train("--checkpoint"), how, Some(at));
        let what = format!("{how} at call {at}, {:?}", calls[at - 1]);
        let new = is_new(&place, &whole, &what);
        assert!(new || !matches!(how, "EINTR" | "SHORT"), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        let option = if place.path("c/last.tagc").exists() { "--resume" } else { "--checkpoint" };
        resumed += u32::from(option == "--resume");
        place.text(&train(option));
        assert!(is_new(&place, &whole, &what), "{what}");
        clear(&place);
    }
    assert!(resumed > FAULTS / 2, "{resumed}");
}

/// A limit that the system sets to the size of a file, and a file system that is full.
#[cfg(target_os = "linux")]
#[test]
fn without_space_the_old_file_stays() {
    use std::process::Command;
    let (place, whole) = prepare();
    let program = env!("CARGO_BIN_EXE_tagomatic");
    // What a shell runs in the folder; it ends as the program does.
    let shell = |wrapper: &[&str], script: &str| {
        let mut command = Command::new(wrapper.first().unwrap_or(&"sh"));
        command.args(wrapper.get(1..).unwrap_or_default()).args(["-c", script, "sh", program]);
        command.current_dir(place.path("")).output().unwrap()
    };
    for (command, whole) in SAVES.iter().zip(&whole) {
        place.write("out.tagm", OLD);
        let blocks = (whole.len() - 1) / 1024;
        // A signal that nobody takes would end the program; this way the call fails.
        let output = shell(&[], &format!("ulimit -f {blocks} 2>/dev/null; trap '' XFSZ; exec \"$1\" {command}"));
        // In blocks of 512 bytes or of 1024, as the shell has it: too little by half or by some bytes.
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && stderr.contains("File too large"), "{command}: {stderr}");
        assert!(!is_new(&place, whole, command) && unfinished(&place).is_empty(), "{command}");
    }
    let namespace = ["unshare", "--mount", "--map-root-user", "sh"];
    if !shell(&namespace, "mkdir -p full && mount -t tmpfs -o size=64k tmpfs full").status.success() {
        println!("skipped: a full file system, for mounting one is not allowed here");
        return;
    }
    for (command, whole) in SAVES.iter().zip(&whole) {
        let command = command.replace("out.tagm", "full/out.tagm");
        let room = whole.len() / 4096 * 4 - 4;
        let script = format!(
            "mount -t tmpfs -o size=64k tmpfs full && echo old >full/out.tagm && \
             head -c $((60 - {room}))k /dev/zero >full/rest && ! \"$1\" {command} && ls -A full && exec cat full/out.tagm"
        );
        let output = shell(&namespace, &script);
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && stderr.contains("No space left on device"), "{command}: {stderr}");
        assert!(stdout == "out.tagm\nrest\nold\n", "{command}: {stdout}");
    }
}
