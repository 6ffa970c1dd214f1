//! What a training has come to.

use super::codec::Codec;
use super::optimizer::Optimizer;
use super::parameters::Parameters;
use crate::aligned::Block;
use crate::error::Result;
use crate::network::Network;

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

impl State {
    /// Passes over all of it.
    pub(super) fn visit(&mut self, codec: &mut dyn Codec, network: &Network) -> Result<()> {
        codec.u64("step", &mut self.step, |step| step < u64::MAX / 2)?;
        codec.u32("epoch", &mut self.epoch, |epoch| epoch < u32::MAX / 2)?;
        codec.floats("shifts of output biases", &mut self.shifts, f32::is_finite)?;
        self.parameters.visit(codec, network)?;
        self.optimizer.visit(codec)
    }
}
