//! The golden vectors: values computed in f64 by an implementation independent of this project.
//!
//! They are read from `tests/golden`, or from the folder that the variable `TAGOMATIC_GOLDEN` names.

use std::path::{Path, PathBuf};

use serde_json::Value;

fn folder() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    std::env::var_os("TAGOMATIC_GOLDEN").map_or_else(default, PathBuf::from)
}

/// Every JSON file of the folder.
pub(crate) fn case_files() -> Vec<(PathBuf, Value)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// A number of 64 bits, which is a string where JSON's numbers would not do.
pub(crate) fn u64_of(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

pub(crate) fn u32_of(value: &Value) -> u32 {
    u32::try_from(u64_of(value)).unwrap()
}

pub(crate) fn f64_of(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}
