//! Thresholds from validation data, tag by tag.
//!
//! Provenance of a tuned model:
//!
//! | key | value |
//! | --- | --- |
//! | `tune.threshold` | the rule, [`ThresholdRule`] |
//! | `tune.data` | hash of the validation data in the model's ids, [`Dataset::fingerprint`] |
//! | `tune.samples` | samples in it |
//! | `tune.tags` | ids of the tags whose thresholds were set |
//!
//! They tell of the last tuning; another one of other tags keeps the thresholds of the first, but not its keys.

use std::fmt;
use std::str::FromStr;

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::evaluate::scores;
use crate::format::{Model, ModelParts};
use crate::metrics::{Curve, Evaluation, Options, Predictions};
use crate::tagger::Tagger;

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
            ThresholdRule::F1 => Curve::new(scores, positives).best_f1(),
            ThresholdRule::Precision(target) => Curve::new(scores, positives).best_recall(target),
            ThresholdRule::Recall(target) => Curve::new(scores, positives).best_precision(target),
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

/// A model with other thresholds, and what they do on the data that they were chosen on.
#[derive(Debug)]
pub struct Tuned {
    /// The model.
    pub model: Model,
    /// Measures with the old thresholds.
    pub before: Evaluation,
    /// Measures with the new ones. Other data are needed to tell how good they are.
    pub after: Evaluation,
    /// Indices of the tags that were to be tuned but have no positives in the data: their thresholds are what they were.
    pub kept: Vec<usize>,
}

/// Chooses thresholds for the tags at the indices `tags` (`None` for all) by `rule` on `valid`, and stores them. `valid` must be
/// neither training nor test data. The work is divided between the threads of `pool` if there is one; results do not depend on it.
///
/// A tag without positives in `valid` keeps its threshold, unless the rule is a fixed number.
///
/// # Errors
/// [`Error::Config`] for a rule out of its range; [`Error::Length`] for a tag that the model does not have; [`Error::NoData`] without
/// samples or tags; [`Error::KeywordOutOfRange`] or [`Error::Sample`] if a sample does not fit the model.
pub fn tune(
    tagger: &Tagger,
    valid: &Dataset,
    rule: ThresholdRule,
    tags: Option<&[usize]>,
    pool: Option<&rayon::ThreadPool>,
) -> Result<Tuned> {
    rule.check()?;
    let model = tagger.model();
    let mut tuned = model.tags().clone();
    let mut wanted = vec![tags.is_none(); tuned.len()];
    for &tag in tags.unwrap_or_default() {
        let found = wanted.len();
        *wanted.get_mut(tag).ok_or(Error::Length { what: "tags", expected: tag + 1, found })? = true;
    }

    let scores = scores(tagger, valid, pool)?;
    let predictions = Predictions::new(&scores, tuned.len(), valid.tag_sets())?;
    let mut chosen = vec![None; tuned.len()];
    predictions.for_each_tag(|tag, scores, positives| {
        if wanted[tag] {
            chosen[tag] = rule.choose(scores, positives);
        }
    });
    for (tag, threshold) in chosen.iter().enumerate() {
        if let Some(threshold) = *threshold {
            tuned.set_threshold(tag, threshold)?;
        }
    }

    let measure = |tags: &crate::tags::Tags| {
        let thresholds: Vec<f32> = tags.iter().map(|tag| tag.threshold).collect();
        let options = Options { eps: f64::from(model.network().eps), propensities: None };
        Evaluation::new(&predictions, &thresholds, options)
    };
    let mut provenance = model.provenance()?;
    let set = chosen.iter().zip(&tuned).filter(|(threshold, _)| threshold.is_some());
    let ids: Vec<String> = set.map(|(_, tag)| tag.id.to_string()).collect();
    provenance.insert("tune.threshold", rule.to_string())?;
    provenance.insert("tune.data", format!("{:016x}", valid.fingerprint()))?;
    provenance.insert("tune.samples", valid.len().to_string())?;
    provenance.insert("tune.tags", ids.join(","))?;
    let parts = ModelParts { tags: &tuned, ..model.parts(&provenance) };
    Ok(Tuned {
        model: parts.to_model()?,
        before: measure(model.tags())?,
        after: measure(&tuned)?,
        kept: (0..tuned.len()).filter(|&tag| wanted[tag] && chosen[tag].is_none()).collect(),
    })
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
