//! The measures by which trainings are compared, by name.

use super::Evaluation;
use crate::named::named;

/// A measure of a model on a data set, one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Mean average precision of the tags: asks for good ranking of rare tags too.
    MacroAp,
    /// Mean ROC-AUC of the tags.
    MacroAuc,
    /// F1 of all decisions together, at the tags' thresholds.
    MicroF1,
    /// Mean F1 of the tags, at their thresholds.
    MacroF1,
    /// Precision of the first tag.
    PAt1,
    /// Precision of the first 3 tags.
    PAt3,
    /// Precision of the first 5 tags.
    PAt5,
    /// Normalised discounted cumulative gain of the first 5 tags.
    NdcgAt5,
    /// Log-loss, less is better.
    LogLoss,
    /// Brier score, less is better.
    Brier,
    /// Expected calibration error, less is better.
    Ece,
}

named!(Metric, "metric", "one of macro_ap, macro_auc, micro_f1, macro_f1, p_at_1, p_at_3, p_at_5, ndcg_at_5, log_loss, brier, ece", {
    MacroAp => "macro_ap",
    MacroAuc => "macro_auc",
    MicroF1 => "micro_f1",
    MacroF1 => "macro_f1",
    PAt1 => "p_at_1",
    PAt3 => "p_at_3",
    PAt5 => "p_at_5",
    NdcgAt5 => "ndcg_at_5",
    LogLoss => "log_loss",
    Brier => "brier",
    Ece => "ece",
});

impl Metric {
    /// Its value in `evaluation`; `None` where it is undefined.
    #[must_use]
    pub fn of(self, evaluation: &Evaluation) -> Option<f64> {
        let summary = &evaluation.summary;
        match self {
            Metric::MacroAp => evaluation.macro_ap.value,
            Metric::MacroAuc => evaluation.macro_auc.value,
            Metric::MicroF1 => Some(evaluation.micro_f1),
            Metric::MacroF1 => Some(evaluation.macro_f1),
            Metric::PAt1 => summary.p_at_1,
            Metric::PAt3 => summary.p_at_3,
            Metric::PAt5 => summary.p_at_5,
            Metric::NdcgAt5 => summary.ndcg_at_5,
            Metric::LogLoss => Some(summary.log_loss),
            Metric::Brier => Some(summary.brier),
            Metric::Ece => Some(summary.ece),
        }
    }

    /// Whether less of it is better.
    #[must_use]
    pub const fn is_loss(self) -> bool {
        matches!(self, Metric::LogLoss | Metric::Brier | Metric::Ece)
    }
}
