//! Where a command writes what it makes, and what it then says.

use std::ffi::OsStr;
use std::fmt::{self, Display, Formatter};
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use tagomatic::Model;
use tagomatic::atomic::NewFile;

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

    /// The end of its name, which tells how it is read.
    fn ending(self) -> Option<&'a str> {
        self.path.extension().and_then(OsStr::to_str)
    }

    fn refused(self, expected: &str, cure: &str) -> Failure {
        Failure::Usage(format!("{}: expected {expected}, found {self} ({cure})", self.option))
    }

    /// Fails early if it is one of the files that the command reads, or if `can_save` says that nothing could be saved there.
    pub(super) fn check(
        self,
        inputs: impl IntoIterator<Item = impl AsRef<Path>>,
        can_save: impl FnOnce(&Path) -> tagomatic::Result<()>,
    ) -> Result<()> {
        if self.ending() == Some("zst") {
            return Err(self.refused("another name", "zstd is only read: write a file in .gz, or compress it afterwards"));
        }
        if self.is_stdout() {
            return Ok(());
        }
        load::check_apart(self.option, self.path, inputs)?;
        can_save(self.path).map_err(Failure::saving)
    }

    /// As [`Target::check`], for what is never compressed: it is mapped, followed as it grows, or not written from beginning to end.
    pub(super) fn check_plain(
        self,
        inputs: impl IntoIterator<Item = impl AsRef<Path>>,
        can_save: impl FnOnce(&Path) -> tagomatic::Result<()>,
    ) -> Result<()> {
        if matches!(self.ending(), Some("gz" | "zst")) {
            return Err(self.refused("the name of a file that is not compressed", "leave out the ending"));
        }
        self.check(inputs, can_save)
    }

    /// Begins what is written there; it is compressed if the name ends in `.gz`. `doing` is what an error calls it.
    pub(super) fn create(self, doing: &'static str) -> Result<Sink> {
        if self.is_stdout() {
            return Ok(Sink::Stdout);
        }
        let file = NewFile::create(self.path, doing).map_err(Failure::saving)?;
        Ok(if self.ending() == Some("gz") {
            Sink::Gzip(GzEncoder::new(file, Compression::default()))
        } else {
            Sink::File(file)
        })
    }

    /// Writes `bytes`, and tells the results: on standard error where the bytes take standard output.
    pub(super) fn write(self, doing: &'static str, bytes: &[u8], results: &str) -> Result<()> {
        let mut sink = self.create(doing)?;
        sink.write(bytes)?;
        sink.publish()?;
        self.tell(results)
    }

    /// The same, but a file is written by `save`.
    pub(super) fn write_by(self, bytes: &[u8], save: impl FnOnce(&Path) -> tagomatic::Result<()>, results: &str) -> Result<()> {
        if self.is_stdout() {
            output::print(bytes)?;
        } else {
            save(self.path).map_err(Failure::saving)?;
        }
        self.tell(results)
    }

    /// As [`Target::check_plain`], for a model in the format of this program.
    pub(super) fn check_model(self, inputs: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<()> {
        if is_safetensors(self.path) {
            return Err(self.refused("another name", "`tagomatic convert M.tagm M.safetensors` makes such a file of a model"));
        }
        self.check_plain(inputs, |path| Model::check_save(path))
    }

    /// As [`Target::write`], for a model.
    pub(super) fn write_model(self, model: &Model, results: &str) -> Result<()> {
        self.write_by(model.bytes(), |path| model.save(path), results)
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

/// Whether it is called a file of safetensors.
pub(super) fn is_safetensors(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"))
}

/// What is being written, piece by piece. A file is gone unless it is published.
pub(super) enum Sink {
    Stdout,
    File(NewFile),
    Gzip(GzEncoder<NewFile>),
}

impl Sink {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Sink::Stdout => output::print(bytes),
            Sink::File(file) => Ok(file.write_all(bytes).map_err(|error| file.error(error))?),
            Sink::Gzip(file) => Ok(file.write_all(bytes).map_err(|error| file.get_ref().error(error))?),
        }
    }

    /// Ends it; a file takes its place.
    pub(super) fn publish(self) -> Result<()> {
        match self {
            Sink::Stdout => Ok(()),
            Sink::File(file) => Ok(file.publish()?),
            Sink::Gzip(mut file) => {
                file.try_finish().map_err(|error| file.get_ref().error(error))?;
                Ok(file.finish().map_err(|error| Failure::Work(error.to_string()))?.publish()?)
            }
        }
    }
}
