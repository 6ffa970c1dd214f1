//! What a training has come to.

use super::optimizer::Optimizer;
use super::parameters::Parameters;
use crate::aligned::Block;

/// All that steps change. With the configuration, the names and the data, it decides every later step.
#[derive(Debug)]
pub(super) struct State {
    pub(super) parameters: Parameters,
    /// Squared-gradient sums, and the clocks of rows that decay lazily.
    pub(super) optimizer: Optimizer,
    /// What is added to the output bias of the model that is served, one a tag slot.
    pub(super) shifts: Vec<Block>,
    /// Steps taken.
    pub(super) step: u64,
    /// Epochs begun.
    pub(super) epoch: u32,
}
