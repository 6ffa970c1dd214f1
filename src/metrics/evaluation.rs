//! Everything that is reported about a model on a data set, in one call.

use super::{Confusion, Predictions, Propensities, ThresholdCurve};
use crate::error::{Error, Result};

/// Bins of the expected calibration error.
pub(crate) const CALIBRATION_BINS: usize = 15;

/// What measures depend on besides scores and truth.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The clamp of probabilities in the log-loss: the model's.
    pub eps: f64,
    /// From the training data, for PSP.
    pub propensities: Option<&'a Propensities>,
}

/// Measures that need no look at single tags: the cheaper half of an [`Evaluation`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Samples measured on.
    pub samples: usize,
    /// Those with at least one tag, over which the measures at k are means.
    pub tagged: usize,
    /// Log-loss, a mean over all (sample, tag) pairs.
    pub log_loss: f64,
    /// Brier score.
    pub brier: f64,
    /// Expected calibration error in 15 bins.
    pub ece: f64,
    /// Precision of the first tag.
    pub p_at_1: Option<f64>,
    /// Precision of the first 3 tags.
    pub p_at_3: Option<f64>,
    /// Precision of the first 5 tags.
    pub p_at_5: Option<f64>,
    /// Normalised discounted cumulative gain of the first 5 tags.
    pub ndcg_at_5: Option<f64>,
    /// Propensity-scored precision of the first 5 tags.
    pub psp_at_5: Option<f64>,
}

impl Summary {
    /// Measures `predictions`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for an `eps` out of range, [`Error::Length`] for propensities of other tags.
    pub fn new<S: Copy + Into<f64>>(predictions: &Predictions<'_, S>, options: Options<'_>) -> Result<Self> {
        let [one, three, five] = predictions.rankings([1, 3, 5], options.propensities)?;
        Ok(Summary {
            samples: predictions.samples(),
            tagged: five.samples,
            log_loss: predictions.log_loss(options.eps)?,
            brier: predictions.brier(),
            ece: predictions.calibration_error(CALIBRATION_BINS).unwrap_or(0.0),
            p_at_1: one.precision,
            p_at_3: three.precision,
            p_at_5: five.precision,
            ndcg_at_5: five.ndcg,
            psp_at_5: five.psp,
        })
    }
}

/// A mean over those tags for which a measure is defined.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mean {
    /// The mean; `None` over no tags.
    pub value: Option<f64>,
    /// The number of those tags.
    pub defined: usize,
}

impl Mean {
    fn of(values: impl Iterator<Item = Option<f64>>) -> Self {
        let (sum, defined) = values.flatten().fold((0.0, 0), |(sum, n), value| (sum + value, n + 1));
        Mean { value: (defined > 0).then(|| sum / defined as f64), defined }
    }
}

/// Measures of one tag.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TagEvaluation {
    /// Samples that have the tag.
    pub positives: usize,
    /// ROC-AUC; `None` without positives or without negatives.
    pub auc: Option<f64>,
    /// Average precision; `None` without positives.
    pub ap: Option<f64>,
    /// Precision at the threshold; `None` if the tag was never given.
    pub precision: Option<f64>,
    /// Recall at the threshold; `None` without positives.
    pub recall: Option<f64>,
    /// F1 at the threshold.
    pub f1: f64,
    /// The tag is given at or above this score.
    pub threshold: f64,
}

/// All measures.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::csr::Csr;
/// use tagomatic::metrics::{Evaluation, Options, Predictions};
///
/// let mut truth = Csr::new();
/// truth.push([0])?;
/// truth.push([0, 1])?;
/// truth.push([])?;
/// // Three samples, two tags.
/// let scores = [0.9, 0.1, 0.6, 0.7, 0.4, 0.2];
/// let predictions = Predictions::new(&scores, 2, &truth)?;
/// let measures = Evaluation::new(&predictions, &[0.5, 0.5], Options { eps: 1e-4, propensities: None })?;
/// assert_eq!((measures.micro_f1, measures.macro_auc.value), (1.0, Some(1.0)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Measures over all tags together.
    pub summary: Summary,
    /// F1 of the decisions of all tags together.
    pub micro_f1: f64,
    /// Mean F1 of all tags.
    pub macro_f1: f64,
    /// Mean ROC-AUC.
    pub macro_auc: Mean,
    /// Mean average precision.
    pub macro_ap: Mean,
    /// Each tag, in order.
    pub tags: Vec<TagEvaluation>,
}

impl Evaluation {
    /// Measures `predictions`; a sample is given a tag iff its score is at or above the tag's threshold. A threshold above 1 never
    /// gives the tag.
    ///
    /// # Errors
    ///
    /// As [`Summary::new`]; [`Error::Length`] unless there is a threshold for each tag; [`Error::Config`] if one is NaN.
    pub fn new<S: Copy + Into<f64>>(predictions: &Predictions<'_, S>, thresholds: &[S], options: Options<'_>) -> Result<Self> {
        Error::check_length("thresholds", predictions.tags(), thresholds.len())?;
        if let Some(tag) = thresholds.iter().position(|&threshold| threshold.into().is_nan()) {
            return Err(Error::Config { option: "thresholds", expected: "numbers", found: format!("NaN for tag {tag}") });
        }
        let summary = Summary::new(predictions, options)?;
        let mut tags = Vec::with_capacity(predictions.tags());
        let mut confusions = Vec::with_capacity(predictions.tags());
        predictions.for_each_tag(|tag, scores, positives| {
            let threshold = thresholds[tag].into();
            let confusion = Confusion::at(threshold, scores, positives);
            let curve = ThresholdCurve::new(scores, positives);
            confusions.push(confusion);
            tags.push(TagEvaluation {
                positives: positives.len(),
                auc: curve.auc(),
                ap: curve.average_precision(),
                precision: confusion.precision(),
                recall: confusion.recall(),
                f1: confusion.f1(),
                threshold,
            });
        });
        Ok(Evaluation {
            summary,
            micro_f1: confusions.into_iter().sum::<Confusion>().f1(),
            macro_f1: tags.iter().map(|tag| tag.f1).sum::<f64>() / tags.len() as f64,
            macro_auc: Mean::of(tags.iter().map(|tag| tag.auc)),
            macro_ap: Mean::of(tags.iter().map(|tag| tag.ap)),
            tags,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::predictions::tests::truth;
    use super::*;

    const PLAIN: Options<'static> = Options { eps: 1e-4, propensities: None };

    #[test]
    fn tags_that_cannot_be_measured_are_left_out_of_means() {
        // Tag 0 is measurable, tag 1 has no positives, tag 2 has no negatives.
        let truth = truth(&[&[0, 2], &[2]]);
        let scores = [0.9f32, 0.2, 0.8, 0.1, 0.7, 0.6];
        let evaluation = Evaluation::new(&Predictions::new(&scores, 3, &truth).unwrap(), &[0.5, 0.9, 0.7], PLAIN).unwrap();
        assert_eq!(evaluation.macro_auc, Mean { value: Some(1.0), defined: 1 });
        assert_eq!(evaluation.macro_ap, Mean { value: Some(1.0), defined: 2 });
        assert_eq!(evaluation.tags[1].precision, None);
        assert_eq!(evaluation.tags[1].recall, None);
        assert_eq!(evaluation.tags.iter().map(|tag| tag.positives).collect::<Vec<_>>(), [1, 0, 2]);
        assert_eq!(evaluation.micro_f1, 4.0 / 5.0);
        assert_eq!(evaluation.macro_f1, (1.0 + 0.0 + 2.0 / 3.0) / 3.0);
        assert_eq!((evaluation.summary.samples, evaluation.summary.p_at_1), (2, Some(0.5)));
    }

    #[test]
    fn a_score_equal_to_its_threshold_in_f32_gives_the_tag() {
        let truth = truth(&[&[0]]);
        let predictions = Predictions::new(&[0.7f32], 1, &truth).unwrap();
        assert_eq!(Evaluation::new(&predictions, &[0.7], PLAIN).unwrap().micro_f1, 1.0);
    }

    #[test]
    fn thresholds_are_checked() {
        let truth = truth(&[&[0]]);
        let predictions = Predictions::new(&[0.7f32], 1, &truth).unwrap();
        assert!(matches!(Evaluation::new(&predictions, &[], PLAIN), Err(Error::Length { .. })));
        assert!(matches!(Evaluation::new(&predictions, &[f32::NAN], PLAIN), Err(Error::Config { .. })));
        assert_eq!(Evaluation::new(&predictions, &[f32::INFINITY], PLAIN).unwrap().tags[0].precision, None);
    }
}
