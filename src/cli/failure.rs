//! Why a command ends early.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;

use tagomatic::Error;

pub(super) type Result<T, E = Failure> = std::result::Result<T, E>;

#[derive(Debug)]
pub(super) enum Failure {
    /// The work failed.
    Work(String),
    /// The command line asks for what cannot be.
    Usage(String),
    /// The user has ended a training that has no checkpoints.
    Interrupted,
    /// Nobody reads on; that is no error.
    ClosedPipe,
}

impl Failure {
    /// A failure of a write to standard output.
    pub(super) fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
            _ => Failure::Work(format!("cannot write to standard output: {error}")),
        }
    }

    /// With words before its message. It is then a failure of the work: what asked for too much was not the command line.
    pub(super) fn prefixed(self, words: impl Display) -> Self {
        match self {
            Failure::Work(message) | Failure::Usage(message) => Failure::Work(format!("{words}: {message}")),
            failure @ (Failure::Interrupted | Failure::ClosedPipe) => failure,
        }
    }

    /// A failure to save a model: a missing folder is the commonest mistake of all.
    pub(super) fn saving(error: Error) -> Self {
        match &error {
            Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Failure::Work(format!("{error} (make the folder first)"))
            }
            _ => error.into(),
        }
    }

    /// An error of what is done with a model: an option that it tells of is one of the model, not of the command.
    pub(super) fn of_model(error: Error) -> Self {
        match error {
            Error::Config { .. } => Failure::Work(error.to_string()),
            error => error.into(),
        }
    }

    /// An error about all that stands in `files`, which knows only half of it.
    pub(super) fn in_files(error: Error, files: &[PathBuf]) -> Self {
        match error {
            Error::NoData { .. } | Error::UntrainableTag { .. } => {
                let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
                Failure::Work(format!("{}: {error}", names.join(", ")))
            }
            error => error.into(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            // The library's names of options are those of the command line.
            Error::Config { option, expected, found } => {
                Failure::Usage(format!("--{}: expected {expected}, found {found}", option.replace('_', "-")))
            }
            Error::UnsupportedLevel { .. } => Failure::Usage(error.to_string()),
            Error::Data { .. } => Failure::Work(format!("{error} (mend the line, or go on without it: --on-error skip)")),
            Error::Io { ref source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Failure::Work(format!("{error} (check the path)"))
            }
            error => Failure::Work(error.to_string()),
        }
    }
}
