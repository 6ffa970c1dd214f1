//! What can go wrong. Every message says where, what was expected, what was found, and the cure where there is one.

use std::fmt;
use std::path::{Path, PathBuf};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every failure of this crate.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done, as in "read the model".
        doing: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The bytes are not a valid model file.
    Model {
        /// The file, when there is one.
        path: Option<PathBuf>,
        /// The section at fault: `header`, `section table`, or a section's name.
        section: &'static str,
        /// What the format demands there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// The model file is sound as far as this version can tell, but needs a newer one.
    NewerModel {
        /// The file, when there is one.
        path: Option<PathBuf>,
        /// What in it this version does not know.
        what: String,
    },
    /// A safetensors file is not one that a model can be made of.
    Safetensors {
        /// The file, when there is one.
        path: Option<PathBuf>,
        /// The tensor or entry at fault.
        part: String,
        /// What must stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// The bytes are not a valid checkpoint of a training.
    Checkpoint {
        /// The file, when there is one.
        path: Option<PathBuf>,
        /// The part at fault.
        part: &'static str,
        /// What must stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A checkpoint is of another training: its data or its configuration differ.
    OtherTraining {
        /// The checkpoint, when it is a file.
        path: Option<PathBuf>,
        /// All that differs.
        differences: Vec<Difference>,
    },
    /// A name that cannot be.
    BadName {
        /// `keyword`, `tag` or `provenance key`.
        what: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A parameter cannot be stored in a model: it is not finite, or is padding and not zero.
    BadWeight {
        /// `W1`, `b1`, `W2` or `b2`.
        tensor: &'static str,
        /// Its index among the tensor's floats, padding included.
        index: usize,
        /// Its value.
        value: f32,
        /// What it must be.
        expected: &'static str,
    },
    /// A line of a data file can't be read.
    Data {
        /// The file, or `-` for standard input.
        source: String,
        /// The line, counted from 1.
        line: u64,
        /// The column in bytes, counted from 1; 0 when the whole line is meant.
        column: u64,
        /// What was expected there.
        expected: String,
        /// What was found.
        found: String,
    },
    /// Tag rules contradict themselves, or do not fit the data.
    Rules {
        /// The file.
        source: String,
        /// The line, counted from 1; 0 for rules that were not read.
        line: u64,
        /// What was expected there and what was found.
        problem: String,
        /// What to do about it.
        cure: &'static str,
    },
    /// Models cannot be merged.
    Unmergeable {
        /// The model that does not go with the first one, counted from 0.
        model: usize,
        /// In what it does not.
        what: &'static str,
        /// What the first one has.
        expected: String,
        /// What it has.
        found: String,
        /// What to do about it.
        cure: &'static str,
    },
    /// A sample in memory breaks a rule.
    Sample {
        /// The sample, counted from 0.
        sample: usize,
        /// What was expected of it.
        expected: String,
        /// What it has.
        found: String,
    },
    /// There is nothing to learn from, or nothing to measure on.
    NoData {
        /// Which data is empty and why.
        what: String,
        /// What to do about it.
        cure: &'static str,
    },
    /// An option's value is out of its range, or does not go with another option.
    Config {
        /// The option.
        option: &'static str,
        /// The values it takes.
        expected: &'static str,
        /// The value given.
        found: String,
    },
    /// This machine, or this build, cannot run kernels of that level.
    UnsupportedLevel {
        /// The level asked for.
        wanted: &'static str,
        /// The best level that it can run.
        best: &'static str,
    },
    /// A keyword id that the model does not have.
    KeywordOutOfRange {
        /// The id.
        id: u32,
        /// The number of keywords; ids are below it.
        keywords: usize,
        /// Which item of a batch has it, the first one.
        item: Option<usize>,
    },
    /// A slice has the wrong length.
    Length {
        /// Which slice.
        what: &'static str,
        /// The length it must have.
        expected: usize,
        /// The length it has.
        found: usize,
    },
    /// A sum or size exceeds what the machine or the format can hold.
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The largest that can be held.
        limit: u64,
    },
    /// A model that is to replace another does not answer as that one does.
    Contract {
        /// `keywords` or `tags`.
        what: &'static str,
        /// What the old model has.
        expected: String,
        /// What the new one has.
        found: String,
    },
    /// A tag cannot be trained: it has no positive or no negative item.
    UntrainableTag {
        /// The tag.
        tag: String,
        /// Its positive items.
        positives: usize,
        /// Items without it.
        negatives: usize,
    },
    /// A loss, gradient or weight is not finite, or is about to overflow. A step that finds it changes nothing; where weights are found
    /// so after an epoch, those of the best epoch before are back, if there was validation.
    NonFinite {
        /// What is not finite.
        what: &'static str,
        /// The tag at fault, when one can be named.
        tag: Option<String>,
        /// Epochs begun.
        epoch: u32,
        /// The step, counted from 1.
        step: u64,
        /// The learning rate in force.
        lr: f64,
    },
}

/// Something that two trainings do not have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs, by its key in the provenance of models.
    pub what: String,
    /// Its value in the checkpoint; `None` if it has none.
    pub saved: Option<String>,
    /// Its value in the training that was to go on; `None` if it has none.
    pub given: Option<String>,
}

impl Error {
    #[cfg(feature = "train")]
    pub(crate) fn checkpoint(part: &'static str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Error::Checkpoint { path: None, part, expected: expected.into(), found: found.into() }
    }

    pub(crate) fn io(path: &Path, doing: &'static str, source: std::io::Error) -> Self {
        Error::Io { path: path.to_owned(), doing, source }
    }

    pub(crate) fn model(section: &'static str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Error::Model { path: None, section, expected: expected.into(), found: found.into() }
    }

    pub(crate) fn newer_model(what: String) -> Self {
        Error::NewerModel { path: None, what }
    }

    /// The same error with the file's name, if it is about a file's content and has none yet.
    #[must_use]
    pub fn in_file(self, file: &Path) -> Self {
        match self {
            Error::Model { path: None, section, expected, found } => {
                Error::Model { path: Some(file.to_owned()), section, expected, found }
            }
            Error::Safetensors { path: None, part, expected, found } => {
                Error::Safetensors { path: Some(file.to_owned()), part, expected, found }
            }
            Error::Checkpoint { path: None, part, expected, found } => {
                Error::Checkpoint { path: Some(file.to_owned()), part, expected, found }
            }
            Error::OtherTraining { path: None, differences } => {
                Error::OtherTraining { path: Some(file.to_owned()), differences }
            }
            Error::NewerModel { path: None, what } => Error::NewerModel { path: Some(file.to_owned()), what },
            other => other,
        }
    }

    /// Fails unless a slice has the expected length.
    #[inline]
    pub(crate) fn check_length(what: &'static str, expected: usize, found: usize) -> Result<()> {
        if expected == found { Ok(()) } else { Err(Error::Length { what, expected, found }) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { path, doing, source } => write!(f, "cannot {doing}: {}: {source}", path.display()),
            Error::Model { path, section, expected, found } => {
                match path {
                    Some(path) => write!(f, "{}: not a valid model", path.display())?,
                    None => write!(f, "not a valid model")?,
                }
                write!(
                    f,
                    ": {section}: expected {expected}, found {found} (restore the file from a good copy, or train it again)"
                )
            }
            Error::NewerModel { path, what } => {
                if let Some(path) = path {
                    write!(f, "{}: ", path.display())?;
                }
                write!(f, "the model needs a newer tagomatic: it has {what} (update tagomatic)")
            }
            Error::Safetensors { path, part, expected, found } => {
                if let Some(path) = path {
                    write!(f, "{}: ", path.display())?;
                }
                write!(f, "not a model as safetensors: {part}: expected {expected}, found {found}")
            }
            Error::Checkpoint { path, part, expected, found } => {
                if let Some(path) = path {
                    write!(f, "{}: ", path.display())?;
                }
                write!(f, "not a valid checkpoint: {part}: expected {expected}, found {found} (begin the training again)")
            }
            Error::OtherTraining { path, differences } => {
                if let Some(path) = path {
                    write!(f, "{}: ", path.display())?;
                }
                write!(f, "the checkpoint is of another training")?;
                for (n, Difference { what, saved, given }) in differences.iter().enumerate() {
                    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
                    let separator = if n == 0 { ": " } else { "; " };
                    write!(f, "{separator}{what}: expected {} as in the checkpoint, found {}", value(saved), value(given))?;
                }
                write!(f, " (give the same data and options, or begin another training in another folder)")
            }
            Error::BadName { what, name, problem } => write!(f, "{what} {name:?}: {problem}"),
            Error::BadWeight { tensor, index, value, expected } => {
                write!(
                    f,
                    "{tensor}[{index}]: expected {expected}, found {value} (check the training, or what filled the tensor)"
                )
            }
            Error::Data { source, line, column, expected, found } => {
                write!(f, "{source}:{line}")?;
                if *column > 0 {
                    write!(f, ":{column}")?;
                }
                write!(f, ": expected {expected}, found {found}")
            }
            Error::Rules { source, line, problem, cure } => write!(f, "{source}:{line}: {problem} ({cure})"),
            Error::Unmergeable { model, what, expected, found, cure } => {
                write!(
                    f,
                    "model {} cannot be merged with the first: {what}: expected {expected}, found {found} ({cure})",
                    model + 1
                )
            }
            Error::Sample { sample, expected, found } => {
                write!(f, "sample {sample} (counted from 0): expected {expected}, found {found}")
            }
            Error::NoData { what, cure } => write!(f, "{what}: {cure}"),
            Error::Config { option, expected, found } => write!(f, "{option}: expected {expected}, found {found}"),
            Error::UnsupportedLevel { wanted, best } => {
                write!(f, "kernel level {wanted}: not available on this machine; the best here is {best}")
            }
            Error::KeywordOutOfRange { id, keywords, item } => {
                write!(f, "keyword id {id}")?;
                item.map_or(Ok(()), |item| write!(f, " of item {item} of the batch"))?;
                write!(f, ": expected an id below the model's {keywords} keywords")
            }
            Error::Length { what, expected, found } => write!(f, "{what}: expected length {expected}, found {found}"),
            Error::TooLarge { what, limit } => write!(f, "{what}: too large; at most {limit}"),
            Error::Contract { what, expected, found } => write!(
                f,
                "the new model's {what}: expected {expected}, as in the model that it is to replace, found {found} (allow it in the \
                 contract, or serve it beside the old one)"
            ),
            Error::UntrainableTag { tag, positives, negatives } => write!(
                f,
                "tag {tag:?} cannot be trained: expected positive and negative items, found {positives} positive and \
                 {negatives} negative (add items, or leave the tag out)"
            ),
            Error::NonFinite { what, tag, epoch, step, lr } => {
                write!(f, "{what} is not finite")?;
                if let Some(tag) = tag {
                    write!(f, " for tag {tag:?}")?;
                }
                write!(
                    f,
                    " in epoch {epoch}, step {step}, at learning rate {lr} (lower the learning rate, or check the initial weights)"
                )
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
