//! The shipped model and its signature, in a program of its own for machines that have little else, and in a module for pages.

use tagomatic::{Level, Model, Result, Tagger};

static MODEL: &[u8] = include_bytes!("../../../../models/movies.tagm");

/// The signature of the model at a level.
///
/// # Errors
/// As of `Model::from_static` and `Tagger::with_level`.
pub fn signature_at(level: Level) -> Result<u64> {
    Tagger::with_level(Model::from_static(MODEL)?, level)?.signature()
}

/// The signature at the best level of this machine; 0 if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn signature() -> u64 {
    signature_at(Level::best()).unwrap_or(0)
}
