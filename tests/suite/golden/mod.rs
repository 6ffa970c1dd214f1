//! The golden vectors: values computed in f64 by an implementation independent of this project.
//!
//! Files are known by what they hold, not by their names. They are read from `tests/golden`, or from the folder that the variable `TAGOMATIC_GOLDEN` names.

mod data;
mod edges;
mod network;

use std::path::{Path, PathBuf};

use serde_json::Value;
use tagomatic::Level;

/// Options whose subject is not built yet. A case that needs anything else must run.
const NOT_BUILT: &[&str] = &[];

/// Fails unless `option` is listed as not built.
#[track_caller]
fn not_built(option: &str) {
    assert!(NOT_BUILT.contains(&option), "{option}: cannot be run, and is not on the list of what is not built");
}

#[test]
fn every_file_runs_or_asks_for_what_is_not_built() {
    let (mut run, mut left_out) = (0, 0);
    for (path, file) in case_files() {
        println!("{}", path.display());
        let has = |key| file.get(key).is_some();
        if has("model") {
            let missing = network::missing_options(&file);
            missing.iter().for_each(|option| not_built(option));
            if missing.is_empty() {
                Level::available().for_each(|level| network::check(&path, &file, level));
            } else {
                left_out += 1;
                continue;
            }
        } else if has("kat") {
            data::random_numbers(&file);
        } else if has("prior_bias") {
            edges::initial_values(&file);
        } else if has("correction") {
            list(&file["correction"]).iter().for_each(edges::sampling_correction);
            data::negatives_of_tags(&file);
        } else if has("constant") {
            edges::decay_catch_up(&file);
        } else if file["cases"][0].get("kind").is_some() {
            list(&file["cases"]).iter().for_each(edges::check);
        } else if file["cases"][0].get("expect").is_some() {
            data::measures(&file);
        } else {
            panic!("{}: no test for a file with these keys", path.display());
        }
        run += 1;
    }
    println!("{run} files run, {left_out} that ask for what is not built");
    assert!(run > 0);
}

fn folder() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    std::env::var_os("TAGOMATIC_GOLDEN").map_or_else(default, PathBuf::from)
}

/// Every JSON file of the folder.
fn case_files() -> Vec<(PathBuf, Value)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// A number of 64 bits, which is a string where JSON's numbers would not do.
pub(super) fn u64_of(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

pub(super) fn u32_of(value: &Value) -> u32 {
    u32::try_from(u64_of(value)).unwrap()
}

pub(super) fn f64_of(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

fn floats(value: &Value) -> Vec<f32> {
    list(value).iter().map(|x| f64_of(x) as f32).collect()
}

/// All numbers of a value that is a number, a list, or a list of lists.
fn flat(value: &Value) -> Vec<f64> {
    match value.as_array() {
        Some(values) => values.iter().flat_map(flat).collect(),
        None => vec![f64_of(value)],
    }
}

/// Fails unless `|found - expected| <= tolerance · max(1, |expected|)`, element by element.
fn close(what: &str, found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let found = f64::from(found);
        let same = found == expected || (found.is_nan() && expected.is_nan());
        let error = (found - expected).abs();
        assert!(same || error <= tolerance * expected.abs().max(1.0), "{what}[{i}]: {found}, expected {expected}");
    }
}

/// One value a tag from a list, a single number or null.
fn per_tag(value: &Value, tags: usize) -> Option<Vec<f64>> {
    match value {
        Value::Null => None,
        Value::Array(_) => Some(flat(value)),
        value => Some(vec![f64_of(value); tags]),
    }
}
