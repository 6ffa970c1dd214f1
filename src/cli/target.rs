//! Where a command writes what it makes, and what it then says.

use std::fmt::{self, Display, Formatter};
use std::path::Path;

use tagomatic::Model;

use super::failure::{Failure, Result};
use super::{load, output};

/// A file, or standard output for `-`.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    /// The option that names it.
    option: &'static str,
    path: &'a Path,
}

impl Display for Target<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_stdout() { f.write_str("standard output") } else { self.path.display().fmt(f) }
    }
}

impl<'a> Target<'a> {
    pub(super) fn new(option: &'static str, path: &'a Path) -> Self {
        Target { option, path }
    }

    pub(super) fn is_stdout(self) -> bool {
        self.path == Path::new("-")
    }

    /// Fails early if it is one of the files that the command reads, or if `can_save` says that nothing could be saved there.
    pub(super) fn check(
        self,
        inputs: impl IntoIterator<Item = impl AsRef<Path>>,
        can_save: impl FnOnce(&Path) -> tagomatic::Result<()>,
    ) -> Result<()> {
        if self.is_stdout() {
            return Ok(());
        }
        load::check_apart(self.option, self.path, inputs)?;
        can_save(self.path).map_err(Failure::saving)
    }

    /// Writes `bytes`, a file by `save`, and tells the results: on standard error where the bytes take standard output.
    pub(super) fn write(self, bytes: &[u8], save: impl FnOnce(&Path) -> tagomatic::Result<()>, results: &str) -> Result<()> {
        if self.is_stdout() {
            output::print(bytes)?;
        } else {
            save(self.path).map_err(Failure::saving)?;
        }
        self.tell(results)
    }

    /// As [`Target::check`], for a model.
    pub(super) fn check_model(self, inputs: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<()> {
        self.check(inputs, |path| Model::check_save(path))
    }

    /// As [`Target::write`], for a model.
    pub(super) fn write_model(self, model: &Model, results: &str) -> Result<()> {
        self.write(model.bytes(), |path| model.save(path), results)
    }

    /// Tells the results of what has been written.
    pub(super) fn tell(self, results: &str) -> Result<()> {
        if self.is_stdout() {
            output::print_aside(results);
            return Ok(());
        }
        output::print(results)
    }
}
