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
use crate::calibration::{Calibration, Curve, Knot};
use crate::distribution::{LogitDistribution, ScoreDistribution};
use crate::error::{Error, Result};

/// The parts of a model that not every model has. They are kept by whatever changes another part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extensions {
    /// The maps from the network's logits to calibrated ones, one for each tag.
    pub calibration: Option<Calibration>,
    /// What rounding the weights has done to the logits.
    pub logit_error: Option<LogitError>,
    /// How the logits of each tag were distributed when the model was trained.
    pub scores: Option<ScoreDistribution>,
}

impl Extensions {
    /// Reads the sections that a file has. `bytes` is the whole file, whose header that is; `tags` is the model's number of tags.
    pub(super) fn parse(header: &Header, bytes: &[u8], tags: usize) -> Result<Self> {
        let body = |extension| -> Result<Option<&[u8]>> {
            let Some(section) = header.extension(extension) else { return Ok(None) };
            section.verify(bytes)?;
            Ok(Some(&bytes[section.body.clone()]))
        };
        Self::read(body, tags)
    }

    /// Reads the bodies that there are.
    fn read<'a>(body: impl Fn(Extension) -> Result<Option<&'a [u8]>>, tags: usize) -> Result<Self> {
        Ok(Extensions {
            calibration: body(Extension::Calibration)?.map(|body| parse_calibration(body, tags)).transpose()?,
            logit_error: body(Extension::LogitError)?.map(LogitError::parse).transpose()?,
            scores: body(Extension::Scores)?.map(|body| parse_scores(body, tags)).transpose()?,
        })
    }

    /// The kinds of the sections, as [`Extensions::bodies`] names them.
    #[cfg(feature = "safetensors")]
    pub(crate) fn kinds() -> impl Iterator<Item = &'static str> {
        [Extension::Calibration, Extension::LogitError, Extension::Scores].into_iter().map(Extension::name)
    }

    /// The bodies of the sections of a model with so many tags, by kind.
    ///
    /// # Errors
    /// As [`ModelParts::to_model`](super::ModelParts::to_model).
    #[cfg(feature = "safetensors")]
    pub(crate) fn bodies(&self, tags: usize) -> Result<impl Iterator<Item = (&'static str, Vec<u8>)>> {
        Ok(self.write(tags)?.into_iter().map(|(extension, body)| (extension.name(), body)))
    }

    /// Reads such bodies.
    ///
    /// # Errors
    /// [`Error::Model`] if one is not as the format demands.
    #[cfg(feature = "safetensors")]
    pub(crate) fn of_bodies<'a>(body: impl Fn(&str) -> Option<&'a [u8]>, tags: usize) -> Result<Self> {
        Self::read(|extension| Ok(body(extension.name())), tags)
    }

    /// The bodies of the sections that a model with so many tags has, ascending by kind.
    ///
    /// # Errors
    /// [`Error::Config`] if something is out of its range; [`Error::Length`] if a calibration or distribution is of another number of tags.
    pub(super) fn write(&self, tags: usize) -> Result<Vec<(Extension, Vec<u8>)>> {
        let calibration = self.calibration.as_ref().map(|calibration| write_calibration(calibration, tags));
        let scores = self.scores.as_ref().map(|scores| write_scores(scores, tags));
        let bodies = [
            (Extension::Calibration, calibration.transpose()?),
            (Extension::LogitError, self.logit_error.map(LogitError::write).transpose()?),
            (Extension::Scores, scores.transpose()?),
        ];
        Ok(bodies.into_iter().filter_map(|(extension, body)| Some((extension, body?))).collect())
    }
}

/// For each tag the slope and the end of its knots; then the knots of all.
fn parse_calibration(body: &[u8], tags: usize) -> Result<Calibration> {
    let fault = |expected: String, found: String| Error::model(Extension::Calibration.name(), expected, found);
    let cut = |expected: String| fault(expected, format!("{} bytes", body.len()));
    let heads = tags.checked_mul(8).and_then(|length| body.split_at_checked(length));
    let (heads, knots) = heads.ok_or_else(|| cut(format!("8 bytes for each of {tags} tags")))?;
    let count = knots.len() / 8;
    let (mut heads, mut knots) = (Fields(heads), Fields(knots));
    let (mut curves, mut start) = (Vec::with_capacity(tags), 0);
    for tag in 0..tags {
        let head = heads.f32().zip(heads.u32()).and_then(|(slope, end)| Some((slope, usize::try_from(end).ok()?)));
        let (slope, end) = head.filter(|(_, end)| (start..=count).contains(end)).ok_or_else(|| {
            fault(format!("ends of knots that ascend to at most {count}"), format!("another one, of tag {tag}"))
        })?;
        let knot = |_| Some(Knot { from: knots.f32()?, to: knots.f32()? });
        curves.push(Curve { slope, knots: (start..end).filter_map(knot).collect() });
        start = end;
    }
    if !knots.0.is_empty() {
        return Err(cut(format!("{} bytes", 8 * (tags + start))));
    }
    Calibration::new(&curves).map_err(|error| fault("maps that never fall".to_owned(), error.to_string()))
}

fn write_calibration(calibration: &Calibration, tags: usize) -> Result<Vec<u8>> {
    Error::check_length("calibration (maps for all tags)", tags, calibration.len())?;
    let (mut heads, mut knots, mut end) = (Vec::new(), Vec::new(), 0_usize);
    for tag in 0..tags {
        let curve = calibration.curve(tag);
        end += curve.knots.len();
        let too_many = |_| Error::TooLarge { what: "knots of a calibration", limit: u32::MAX.into() };
        heads.extend(curve.slope.to_le_bytes());
        heads.extend(u32::try_from(end).map_err(too_many)?.to_le_bytes());
        knots.extend(curve.knots.iter().flat_map(|knot| [knot.from, knot.to]).flat_map(f32::to_le_bytes));
    }
    heads.append(&mut knots);
    Ok(heads)
}

/// For each tag its bounds, then its counts.
fn parse_scores(body: &[u8], tags: usize) -> Result<ScoreDistribution> {
    let fault = |expected: String, found: String| Error::model(Extension::Scores.name(), expected, found);
    let mut fields = Fields(body);
    let read = (0..tags).map_while(|_| {
        let mut of_tag = LogitDistribution::default();
        for bound in &mut of_tag.bounds {
            *bound = fields.f32()?;
        }
        for count in &mut of_tag.counts {
            *count = fields.u32()?;
        }
        Some(of_tag)
    });
    let read: Vec<LogitDistribution> = read.collect();
    if read.len() != tags || !fields.0.is_empty() {
        return Err(fault(format!("92 bytes for each of {tags} tags"), format!("{} bytes", body.len())));
    }
    ScoreDistribution::new(read).map_err(|error| fault("bounds that do not fall".to_owned(), error.to_string()))
}

fn write_scores(scores: &ScoreDistribution, tags: usize) -> Result<Vec<u8>> {
    Error::check_length("score distribution (for all tags)", tags, scores.tags().len())?;
    let of_tag = |tag: &LogitDistribution| {
        tag.bounds.map(f32::to_le_bytes).into_iter().chain(tag.counts.map(u32::to_le_bytes)).flatten().collect::<Vec<u8>>()
    };
    Ok(scores.tags().iter().flat_map(of_tag).collect())
}

/// How far the logits of a model whose weights were rounded are from those before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogitError {
    /// The largest difference that was seen, finite and not negative.
    pub measured: f64,
    /// What no difference surpasses for a set of up to `keywords` keywords, at least as large as `measured`; +∞ if that is unknown.
    pub bound: f64,
    /// See `bound`.
    pub keywords: u64,
}

impl LogitError {
    const RULE: &str = "0 <= measured <= bound, measured finite, not -0";

    /// What two roundings, one after the other, do at most.
    pub(crate) fn and(self, other: Self) -> Self {
        LogitError {
            measured: (self.measured + other.measured).min(f64::MAX),
            bound: self.bound + other.bound,
            keywords: self.keywords.min(other.keywords),
        }
    }

    fn is_sound(self) -> bool {
        let positive = self.measured.is_sign_positive() && self.bound.is_sign_positive();
        positive && self.measured.is_finite() && self.measured <= self.bound
    }

    fn parse(body: &[u8]) -> Result<Self> {
        let fault = |expected: &str, found: String| Error::model(Extension::LogitError.name(), expected, found);
        let mut fields = Fields(body);
        let read = (|| {
            let error = LogitError { measured: fields.f64()?, bound: fields.f64()?, keywords: fields.u64()? };
            fields.0.is_empty().then_some(error)
        })();
        let error = read.ok_or_else(|| fault("24 bytes", format!("{} bytes", body.len())))?;
        if error.is_sound() { Ok(error) } else { Err(fault(Self::RULE, format!("{error:?}"))) }
    }

    fn write(self) -> Result<Vec<u8>> {
        if !self.is_sound() {
            return Err(Error::Config { option: "logit error", expected: Self::RULE, found: format!("{self:?}") });
        }
        Ok([self.measured.to_le_bytes(), self.bound.to_le_bytes(), self.keywords.to_le_bytes()].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_roundings_do_as_much_as_both() {
        let error = |measured, bound, keywords| LogitError { measured, bound, keywords };
        assert_eq!(error(0.25, 1.0, 64).and(error(0.5, 2.0, 8)), error(0.75, 3.0, 8));
        assert_eq!(error(0.25, 1.0, 8).and(error(0.5, f64::INFINITY, 64)), error(0.75, f64::INFINITY, 8));
        let most = error(f64::MAX, f64::MAX, 1);
        assert_eq!(most.and(most), error(f64::MAX, f64::INFINITY, 1));
    }
}
