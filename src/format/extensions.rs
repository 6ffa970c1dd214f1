//! What a model can have beyond the twelve sections that every file has.
//!
//! Each is a section of its own, there or not. To add one:
//!
//! 1. `header.rs`: a variant of [`Extension`] with its kind, in its place by kind, and its flags.
//! 2. Here: a type with `parse` (every byte is checked, and what is accepted would be written the same) and `write`.
//! 3. Here: a field of [`Extensions`], and its line in [`Extensions::parse`] and [`Extensions::write`].
//! 4. `FORMAT.md`: its row in the table of extensions. The tests of the format damage every byte of every section that their
//!    model has: give it the new one.
//!
//! These sections are small; they are checked and read whenever a model is opened, like tags.

use super::header::{Extension, Fields, Header};
use crate::error::{Error, Result};

/// The parts of a model that not every model has. They are kept by whatever changes another part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extensions {
    /// What rounding the weights has done to the logits.
    pub logit_error: Option<LogitError>,
}

impl Extensions {
    /// Reads the sections that a file has. `bytes` is the whole file, whose header that is.
    pub(super) fn parse(header: &Header, bytes: &[u8]) -> Result<Self> {
        let body = |extension| -> Result<Option<&[u8]>> {
            let Some(section) = header.extension(extension) else { return Ok(None) };
            section.verify(bytes)?;
            Ok(Some(&bytes[section.body.clone()]))
        };
        Ok(Extensions { logit_error: body(Extension::LogitError)?.map(LogitError::parse).transpose()? })
    }

    /// The bodies of the sections that a model has, ascending by kind.
    ///
    /// # Errors
    /// [`Error::Config`] if something is out of its range.
    pub(super) fn write(&self) -> Result<Vec<(Extension, Vec<u8>)>> {
        let bodies = [(Extension::LogitError, self.logit_error.map(LogitError::write).transpose()?)];
        Ok(bodies.into_iter().filter_map(|(extension, body)| Some((extension, body?))).collect())
    }
}

/// How far the logits of a model whose weights were rounded are from those before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogitError {
    /// The largest difference that was seen, finite and not negative.
    pub measured: f64,
    /// A bound for a set of any keywords, at least as large as `measured`; +∞ if none is known.
    pub bound: f64,
}

impl LogitError {
    const RULE: &str = "0 <= measured <= bound, measured finite, not -0";

    fn is_sound(self) -> bool {
        let positive = self.measured.is_sign_positive() && self.bound.is_sign_positive();
        positive && self.measured.is_finite() && self.measured <= self.bound
    }

    fn parse(body: &[u8]) -> Result<Self> {
        let fault = |expected: &str, found: String| Error::model(Extension::LogitError.name(), expected, found);
        let mut fields = Fields(body);
        let read = (|| {
            let error = LogitError { measured: fields.f64()?, bound: fields.f64()? };
            fields.0.is_empty().then_some(error)
        })();
        let error = read.ok_or_else(|| fault("16 bytes", format!("{} bytes", body.len())))?;
        if error.is_sound() { Ok(error) } else { Err(fault(Self::RULE, format!("{error:?}"))) }
    }

    fn write(self) -> Result<Vec<u8>> {
        if !self.is_sound() {
            return Err(Error::Config { option: "logit error", expected: Self::RULE, found: format!("{self:?}") });
        }
        Ok([self.measured, self.bound].map(f64::to_le_bytes).concat())
    }
}
