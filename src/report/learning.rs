//! How a training went, as the model remembers it.

use crate::error::{Error, Result};
use crate::format::{Model, Provenance};

/// Training loss and validation score by epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LearningCurve {
    /// Of each epoch the mean training loss of the pairs scored.
    pub log_losses: Vec<f64>,
    /// Of each epoch the macro average precision on the validation items; empty without validation.
    pub valid_macro_aps: Vec<f64>,
    /// The epoch that was kept, counted from 1.
    pub best_epoch: Option<u32>,
}

impl LearningCurve {
    /// The curve in a model's provenance; `None` without one.
    ///
    /// # Errors
    /// [`Error::Model`] if what stands there is no list of numbers.
    pub fn of_model(model: &Model) -> Result<Option<Self>> {
        Self::of(&model.provenance()?)
    }

    fn of(provenance: &Provenance) -> Result<Option<Self>> {
        let Some(log_losses) = provenance.get(Provenance::CURVE_LOG_LOSS) else { return Ok(None) };
        let valid_macro_aps = provenance.get(Provenance::CURVE_VALID_MACRO_AP).map_or(Ok(Vec::new()), numbers)?;
        let best_epoch = provenance.get("fit.best_epoch").and_then(|epoch| epoch.parse().ok());
        Ok(Some(LearningCurve { log_losses: numbers(log_losses)?, valid_macro_aps, best_epoch }))
    }
}

fn numbers(text: &str) -> Result<Vec<f64>> {
    let number = |word: &str| word.parse::<f64>().ok().filter(|number| number.is_finite());
    text.split_whitespace()
        .map(|word| number(word).ok_or_else(|| Error::model("PROV", "a learning curve of numbers", format!("{word:?}"))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_read_back() {
        let mut provenance = Provenance::new();
        assert_eq!(LearningCurve::of(&provenance).unwrap(), None);
        provenance.insert(Provenance::CURVE_LOG_LOSS, "0.5 0.25").unwrap();
        provenance.insert("fit.best_epoch", "2").unwrap();
        let curve = LearningCurve { log_losses: vec![0.5, 0.25], valid_macro_aps: Vec::new(), best_epoch: Some(2) };
        assert_eq!(LearningCurve::of(&provenance).unwrap(), Some(curve));
        for bad in ["0.5 x", "NaN", "0.5,0.25"] {
            provenance.insert(Provenance::CURVE_VALID_MACRO_AP, bad).unwrap();
            assert!(matches!(LearningCurve::of(&provenance), Err(Error::Model { section: "PROV", .. })), "{bad}");
        }
    }
}
