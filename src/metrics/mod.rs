//! How good scores are: probabilities of tags, compared with the tags that samples have.
//!
//! Everything is summed in `f64`, in the order of the samples, from scores of type `f32` (or `f64`). A value that is not defined
//! (a curve without positives, a mean over nothing) is `None`, never a stand-in; a score that is no probability, NaN above all,
//! is an error when [`Predictions`] are made, so that no measure has to look for it again.
//!
//! | measure | where |
//! | --- | --- |
//! | log-loss, Brier score, expected calibration error | [`Predictions`] |
//! | precision, recall, nDCG, PSP at k | [`Predictions::ranking`] |
//! | ROC-AUC, average precision, best thresholds of a tag | [`ThresholdCurve`] |
//! | precision, recall, F1 at given thresholds | [`Confusion`] |
//! | zero, dead and always-on hidden units | [`Sparsity`] |
//! | all that `eval` reports, in one call | [`Evaluation`], and its cheaper half, [`Summary`] |
//! | one of these by its name | [`Metric`] |

mod confusion;
mod curve;
mod evaluation;
mod metric;
mod pairs;
mod predictions;
mod ranking;
mod sparsity;

pub use confusion::Confusion;
pub use curve::{OperatingPoint, ThresholdCurve};
#[cfg(feature = "report")]
pub(crate) use evaluation::CALIBRATION_BINS;
pub use evaluation::{Evaluation, Mean, Options, Summary, TagEvaluation};
pub use metric::Metric;
pub use predictions::Predictions;
pub(crate) use predictions::for_each_column;
#[cfg(feature = "report")]
pub(crate) use ranking::top_k;
pub use ranking::{Propensities, Ranking};
pub use sparsity::Sparsity;
