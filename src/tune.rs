//! Calibration and thresholds from items that the network has not learnt from, tag by tag: validation data ([`tune`]), or the training
//! items themselves, each scored by a network that did without it ([`tune_on`]).
//!
//! Thresholds are chosen on calibrated scores. The threshold of a tag that is calibrated without being given a new one is carried
//! over to the new scores, so that decisions stay.
//!
//! Provenance of a tuned model:
//!
//! | key | value |
//! | --- | --- |
//! | `calibrate.method` | the method, [`Method`] |
//! | `calibrate.data`, `calibrate.samples`, `calibrate.tags` | as those of `tune`, for the tags that were calibrated |
//! | `calibrate.pooled` | ids of those among them that got the common map, for want of items |
//! | `tune.threshold` | the rule, [`ThresholdRule`] |
//! | `tune.data` | hash of the items chosen on in the model's ids, [`Dataset::fingerprint`]; of folds in their order |
//! | `tune.samples` | samples in it |
//! | `tune.tags` | ids of the tags whose thresholds were set |
//! | `tune.folds`, `calibrate.folds` | folds of these data, each scored by a model of its own; the keys are not there if this one did |
//!
//! They tell of the last tuning; another one of other tags keeps the thresholds of the first, but not its keys.
//!
//! ```
//! # fn main() -> tagomatic::Result<()> {
//! use tagomatic::calibrate::Method;
//! use tagomatic::data::Dataset;
//! use tagomatic::tune::{ThresholdRule, Wishes, tune};
//! # let tagger = tagomatic::Tagger::new(tagomatic::Model::open("models/movies.tagm")?);
//! # let mut valid = Dataset::new();
//! # (0..200).try_for_each(|n| valid.push(&[n, n + 1, 2 * n], &[n % 60], 1.0).map(drop))?;
//! let wishes = Wishes { threshold: ThresholdRule::F1, calibrate: Some(Method::Platt), tags: None };
//! let tuned = tune(&tagger, &valid, wishes, None)?;
//! println!("macro-F1 from {:.3} to {:.3}", tuned.before.macro_f1, tuned.after.macro_f1);
//! // tuned.model.save("tuned.tagm")?;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::str::FromStr;

use crate::calibrate::{KnownPairs, Method, fit_known};
use crate::calibration::{Calibration, Curve};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::evaluate::{distribution, logits};
use crate::format::{Model, ModelParts, Provenance};
use crate::layers::Net;
use crate::metrics::{self, Evaluation, Options, Predictions};
use crate::tagger::Tagger;
use crate::tags::Tags;
use crate::train::Unseen;

/// How the threshold of a tag is found. Of thresholds that serve equally well, the largest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ThresholdRule {
    /// The largest F1.
    F1,
    /// The largest recall among those that reach this precision, in (0, 1]. Where none does, the tag is never given.
    Precision(f64),
    /// The largest precision among those that reach this recall, in (0, 1].
    Recall(f64),
    /// This one, in [0, 1], whatever the data are.
    Fixed(f32),
}

impl ThresholdRule {
    /// Fails unless its number is in its range.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(self) -> Result<()> {
        let ok = match self {
            ThresholdRule::F1 => true,
            ThresholdRule::Precision(target) | ThresholdRule::Recall(target) => target > 0.0 && target <= 1.0,
            // -0 is refused, as by the tags: a threshold has one spelling.
            ThresholdRule::Fixed(threshold) => threshold.is_sign_positive() && threshold <= 1.0,
        };
        if ok { Ok(()) } else { Err(Self::refuse(self.to_string())) }
    }

    fn refuse(found: String) -> Error {
        let expected = "f1, precision:P or recall:R with a number in (0, 1], or a number in [0, 1]";
        Error::Config { option: "threshold", expected, found }
    }

    /// The threshold for a tag with these scores and positives; `None` to leave it as it is.
    fn choose(self, scores: &[f64], positives: &[u32]) -> Option<f32> {
        let point = match self {
            ThresholdRule::Fixed(threshold) => return Some(threshold),
            _ if positives.is_empty() => return None,
            ThresholdRule::F1 => metrics::ThresholdCurve::new(scores, positives).best_f1(),
            ThresholdRule::Precision(target) => metrics::ThresholdCurve::new(scores, positives).best_recall(target),
            ThresholdRule::Recall(target) => metrics::ThresholdCurve::new(scores, positives).best_precision(target),
        };
        // Nothing is lost: thresholds are scores, and these were `f32`.
        Some(point.map_or(f32::INFINITY, |point| point.threshold as f32))
    }
}

impl fmt::Display for ThresholdRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ThresholdRule::F1 => f.write_str("f1"),
            ThresholdRule::Precision(target) => write!(f, "precision:{target}"),
            ThresholdRule::Recall(target) => write!(f, "recall:{target}"),
            ThresholdRule::Fixed(threshold) => write!(f, "{threshold}"),
        }
    }
}

impl FromStr for ThresholdRule {
    type Err = Error;

    /// Reads `f1`, `precision:P`, `recall:R`, or a number.
    fn from_str(text: &str) -> Result<Self> {
        let rule = match text.split_once(':') {
            None if text == "f1" => Some(ThresholdRule::F1),
            None => text.parse().ok().map(ThresholdRule::Fixed),
            Some(("precision", target)) => target.parse().ok().map(ThresholdRule::Precision),
            Some(("recall", target)) => target.parse().ok().map(ThresholdRule::Recall),
            Some(_) => None,
        };
        rule.filter(|rule| rule.check().is_ok()).ok_or_else(|| Self::refuse(format!("{text:?}")))
    }
}

/// What is to be tuned.
#[derive(Clone, Copy, Debug)]
pub struct Wishes<'a> {
    /// How thresholds are found.
    pub threshold: ThresholdRule,
    /// How scores are calibrated; `None` leaves the calibration as it is. One that the model has already is replaced, not added to.
    pub calibrate: Option<Method>,
    /// Indices of the tags to be tuned; `None` for all.
    pub tags: Option<&'a [usize]>,
}

/// A model with another calibration or other thresholds, and what they do on the data that they were chosen on.
#[derive(Debug)]
pub struct Tuned {
    /// The model.
    pub model: Model,
    /// Measures with the old calibration and thresholds.
    pub before: Evaluation,
    /// Measures with the new ones. Other data are needed to tell how good they are.
    pub after: Evaluation,
    /// Indices of the tags that were to be tuned but have no positives in the data: their thresholds are what they were.
    pub kept: Vec<usize>,
    /// Indices of the tags that have the common map, for want of items. Empty if nothing was calibrated.
    pub pooled: Vec<usize>,
    /// Pairs of items and tags that are excluded ([`Dataset::excluded`]): nothing was chosen on them, but the measures count them as
    /// negatives, as [`evaluate`](crate::evaluate::evaluate()) does.
    pub excluded_pairs: usize,
}

/// Calibrates scores and chooses thresholds on `valid`, as `wishes` say, and stores them. `valid` must be neither training nor test
/// data. The work is divided between the threads of `pool` if there is one; results do not depend on it.
///
/// A tag without positives in `valid` keeps its threshold, unless the rule is a fixed number. Tags that are excluded for an item are no
/// negatives of it.
///
/// # Errors
/// [`Error::Config`] for a rule out of its range; [`Error::Length`] for a tag that the model does not have; [`Error::NoData`] without
/// samples or tags; [`Error::KeywordOutOfRange`] or [`Error::Sample`] if a sample does not fit the model.
pub fn tune(tagger: &Tagger, valid: &Dataset, wishes: Wishes<'_>, pool: Option<&rayon::ThreadPool>) -> Result<Tuned> {
    // Before the work.
    wishes.threshold.check()?;
    let logits = logits(tagger, valid, pool)?;
    choose(tagger, Basis::new(valid, &logits, None), wishes)
}

/// As [`tune()`], on the scores that other networks gave to items that they had not learnt from.
///
/// The model's reference for [`crate::drift`] is made of these scores too.
///
/// # Errors
/// As [`tune()`]; [`Error::Length`] unless there is a logit for each item and tag of the model.
pub fn tune_on(tagger: &Tagger, unseen: &Unseen, wishes: Wishes<'_>) -> Result<Tuned> {
    choose(tagger, Basis::new(&unseen.items, &unseen.logits, Some(unseen.folds)), wishes)
}

/// What is chosen on.
#[derive(Clone, Copy)]
struct Basis<'a> {
    items: &'a Dataset,
    fingerprint: u64,
    /// Items x tags, before any calibration.
    logits: &'a [f32],
    /// The networks that computed them, if not the one that is tuned.
    folds: Option<u32>,
}

impl<'a> Basis<'a> {
    fn new(items: &'a Dataset, logits: &'a [f32], folds: Option<u32>) -> Self {
        Basis { items, fingerprint: items.fingerprint(), logits, folds }
    }

    /// Tells what was chosen on, for the tags with these ids.
    fn describe(self, provenance: &mut Provenance, prefix: &str, ids: String) -> Result<()> {
        provenance.insert(format!("{prefix}.data"), format!("{:016x}", self.fingerprint))?;
        provenance.insert(format!("{prefix}.samples"), self.items.len().to_string())?;
        provenance.insert(format!("{prefix}.tags"), ids)?;
        let key = format!("{prefix}.folds");
        provenance.remove(&key);
        self.folds.map_or(Ok(()), |folds| provenance.insert(key, folds.to_string()))
    }
}

fn choose(tagger: &Tagger, basis: Basis<'_>, wishes: Wishes<'_>) -> Result<Tuned> {
    let Wishes { threshold: rule, calibrate, tags } = wishes;
    let Basis { items, logits, .. } = basis;
    rule.check()?;
    let model = tagger.model();
    let mut wanted = vec![tags.is_none(); model.tags().len()];
    for &tag in tags.unwrap_or_default() {
        let found = wanted.len();
        *wanted.get_mut(tag).ok_or(Error::Length { what: "tags", expected: tag.saturating_add(1), found })? = true;
    }
    let old = tagger.net();
    let mut scores = logits.to_vec();
    old.scores(&mut scores);
    let measure = |predictions: &Predictions<'_>, tags: &Tags| {
        let thresholds: Vec<f32> = tags.iter().map(|tag| tag.threshold).collect();
        let options = Options { eps: f64::from(model.network().eps), propensities: None };
        Evaluation::new(predictions, &thresholds, options)
    };
    let before = measure(&Predictions::new(&scores, wanted.len(), items.tag_sets())?, model.tags())?;

    let known = KnownPairs::of(items, wanted.len());
    let mut tuned = model.tags().clone();
    let mut provenance = model.provenance()?;
    let mut extensions = model.extensions().clone();
    let mut pooled = Vec::new();
    if let Some(method) = calibrate {
        let fitted = fit_known(method, logits, &known)?;
        let old_curve = |tag| old.calibration.map_or_else(Curve::identity, |calibration| calibration.curve(tag));
        let new = fitted.curves.into_iter().enumerate();
        let curves: Vec<Curve> = new.map(|(tag, curve)| if wanted[tag] { curve } else { old_curve(tag) }).collect();
        pooled.extend(fitted.pooled.into_iter().filter(|&tag| wanted[tag]));
        extensions.calibration = Some(Calibration::new(&curves)?);
        provenance.insert("calibrate.method", method.name())?;
        provenance.insert("calibrate.pooled", ids_of(&tuned, |tag| pooled.contains(&tag)))?;
        basis.describe(&mut provenance, "calibrate", ids_of(&tuned, |tag| wanted[tag]))?;
    }
    // On items that were not learnt from, by this network or others like it.
    extensions.scores = Some(distribution(logits, wanted.len())?);
    let new = Net { calibration: extensions.calibration.as_ref(), ..old };
    scores.copy_from_slice(logits);
    new.scores(&mut scores);
    let predictions = Predictions::new(&scores, tuned.len(), items.tag_sets())?;
    let mut chosen = vec![None; tuned.len()];
    known.for_each_tag(&scores, |tag, scores, positives| {
        if wanted[tag] {
            chosen[tag] = rule.choose(scores, positives);
        }
    });
    for (tag, chosen) in chosen.iter().enumerate() {
        let carried = || if wanted[tag] { carry(model.tags()[tag].threshold, tag, &old, &new) } else { tuned[tag].threshold };
        let threshold = chosen.unwrap_or_else(carried);
        tuned.set_threshold(tag, threshold)?;
    }
    provenance.insert("tune.threshold", rule.to_string())?;
    basis.describe(&mut provenance, "tune", ids_of(&tuned, |tag| chosen[tag].is_some()))?;
    let parts = ModelParts { tags: &tuned, extensions: &extensions, ..model.parts(&provenance) };
    Ok(Tuned {
        model: parts.to_model()?,
        before,
        after: measure(&predictions, &tuned)?,
        kept: (0..tuned.len()).filter(|&tag| wanted[tag] && chosen[tag].is_none()).collect(),
        pooled,
        excluded_pairs: items.exclusions().ids().len(),
    })
}

/// The ids of the tags at those indices.
fn ids_of(tags: &Tags, is_wanted: impl Fn(usize) -> bool) -> String {
    let ids: Vec<String> =
        tags.iter().enumerate().filter(|(index, _)| is_wanted(*index)).map(|(_, tag)| tag.id.to_string()).collect();
    ids.join(",")
}

/// The score of a tag at a logit, by a net with the calibration that is meant.
fn score(net: &Net<'_>, tag: usize, logit: f32) -> f32 {
    let mut score = [net.calibration.map_or(logit, |calibration| calibration.curve(tag).map(logit))];
    Net { calibration: None, ..*net }.scores(&mut score);
    score[0]
}

/// The threshold on the new scale that gives a tag at the logits at which `threshold` gave it on the old one.
fn carry(threshold: f32, tag: usize, old: &Net<'_>, new: &Net<'_>) -> f32 {
    if score(old, tag, f32::MAX) < threshold {
        // It is never given, and so above every score on any scale.
        return threshold;
    }
    // Floats in the order of their values; the first whose score reaches the threshold.
    let float = |key: u32| f32::from_bits(if key >> 31 == 0 { !key } else { key & 0x7FFF_FFFF });
    let (mut low, mut high) = (0x0080_0000, 0xFF7F_FFFF);
    while low < high {
        let middle = low + (high - low) / 2;
        if score(old, tag, float(middle)) >= threshold { high = middle } else { low = middle + 1 }
    }
    score(new, tag, float(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_back() {
        for text in ["f1", "precision:0.9", "recall:1", "0.25", "0", "1"] {
            assert_eq!(text.parse::<ThresholdRule>().unwrap().to_string(), text);
        }
        let bad = [
            "",
            "f2",
            "f1:1",
            "precision",
            "precision:0",
            "precision:1.1",
            "recall:x",
            "recall:NaN",
            "-0",
            "1.1",
            "inf",
            "NaN",
        ];
        for text in bad {
            assert!(matches!(text.parse::<ThresholdRule>(), Err(Error::Config { option: "threshold", .. })), "{text}");
        }
    }

    #[test]
    fn every_finite_float_has_its_place() {
        let keys = [0x0080_0000_u32, 0x7FFF_FFFF, 0x8000_0000, 0xFF7F_FFFF];
        let float = |key: u32| f32::from_bits(if key >> 31 == 0 { !key } else { key & 0x7FFF_FFFF });
        assert_eq!(keys.map(float).map(f32::to_bits), [f32::MIN, -0.0, 0.0, f32::MAX].map(f32::to_bits));
    }

    #[test]
    fn a_threshold_serves_its_rule() {
        // From the best score down: + - + + -
        let (scores, positives) = ([0.75, 0.625, 0.5, 0.25, 0.125], [0, 2, 3]);
        let choose = |rule: ThresholdRule| rule.choose(&scores, &positives);
        assert_eq!(choose(ThresholdRule::F1), Some(0.25));
        assert_eq!(choose(ThresholdRule::Precision(0.75)), Some(0.25));
        assert_eq!(choose(ThresholdRule::Precision(0.9)), Some(0.75));
        assert_eq!(choose(ThresholdRule::Recall(0.3)), Some(0.75));
        assert_eq!(choose(ThresholdRule::Recall(0.5)), Some(0.25));
        assert_eq!(ThresholdRule::Precision(0.9).choose(&scores, &[1]), Some(f32::INFINITY));
        for rule in [ThresholdRule::F1, ThresholdRule::Precision(0.5), ThresholdRule::Recall(0.5)] {
            assert_eq!(rule.choose(&scores, &[]), None);
        }
        assert_eq!(ThresholdRule::Fixed(0.3).choose(&scores, &[]), Some(0.3));
    }
}
