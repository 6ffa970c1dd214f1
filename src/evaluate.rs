//! Scores a data set and measures the scores.

use crate::aligned::{LANES, as_floats};
use crate::data::Dataset;
use crate::error::Result;
use crate::kernels::Kernels;
use crate::layers::Forward;
use crate::metrics::{Evaluation, Options, Predictions, Propensities};
use crate::network::{Network, Weights};
use crate::train::Workers;
use crate::{Model, Tagger};

/// Measures of a model on a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// Measures of the scores.
    pub evaluation: Evaluation,
    /// Share of hidden activations that are zero; `None` without hidden units.
    pub zeros: Option<f64>,
    /// Hidden units that are zero for every sample.
    pub dead_units: usize,
    /// Hidden units that are zero for no sample.
    pub always_on_units: usize,
}
