//! Sections of any content as a mapped model, whose vocabulary and weights nobody has checked.

#![allow(unsafe_code, reason = "mapping is the caller's promise that the file does not change")]

use std::fs;

use super::source::Source;
use super::{container, serve};
use tagomatic::Model;

pub fn run(input: &[u8]) {
    let mut bytes = container::unpack(input);
    // Also a file whose sections are not what the table says.
    if let [.., at, change] = *input
        && let Some(length) = bytes.len().checked_sub(512)
    {
        bytes[512 + usize::from(at) * 37 % length.max(1)..].iter_mut().take(1).for_each(|byte| *byte ^= change);
    }
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), &bytes).expect("a temporary file");
    // SAFETY: the file is this call's alone, and is not written to any more.
    match unsafe { Model::map(file.path()) } {
        Ok(model) => serve::unverified(model, &mut Source::new(input)),
        Err(error) => serve::refused(&error),
    }
}
