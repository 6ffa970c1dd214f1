//! The layers of the [network](crate::network), forward and backward side by side, each with its gradient check.
//!
//! Layers own nothing. They take slices of parameters and buffers and call [kernels](crate::kernels).

pub mod activation;
pub mod embedding_bag;
pub mod output;
pub mod sigmoid_loss;

use crate::aligned::{Block, LANES, as_floats};
use crate::error::{Error, Result};
use crate::kernels::{ActiveUnits, Kernels};
use crate::network::{Network, OutputLayout, Shape, Weights};

/// The hidden units of one sample that are not zero, ascending, and their values.
#[derive(Clone, Copy, Debug)]
pub struct Active<'a> {
    /// Unit numbers: positions in the hidden vector, padding included.
    pub units: &'a [u32],
    /// The values of these units.
    pub values: &'a [f32],
}

/// Everything that one sample needs on its way from keywords to logits.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    pre_activations: Vec<Block>,
    hidden: Vec<Block>,
    units: Vec<u32>,
    values: Vec<f32>,
    relative: Vec<u32>,
    /// Logits, one a tag slot; scores after [`Forward::scores`].
    pub(crate) logits: Vec<Block>,
}

impl Forward {
    pub(crate) fn new(shape: &Shape) -> Self {
        let blocks = shape.row_blocks();
        Forward {
            pre_activations: vec![Block::ZERO; blocks],
            hidden: vec![Block::ZERO; blocks],
            units: vec![0; blocks * LANES],
            values: vec![0.0; blocks * LANES],
            relative: vec![0; blocks * LANES],
            logits: vec![Block::ZERO; shape.slot_blocks()],
        }
    }

    /// Computes the logits of the sample with keywords `ids`, which ascend.
    ///
    /// # Errors
    /// [`Error::KeywordOutOfRange`]; [`Error::Length`] if this was made for another shape.
    pub(crate) fn run(&mut self, kernels: Kernels, network: &Network, weights: Weights<'_>, ids: &[u32]) -> Result<()> {
        // The last is the largest. Kernels check ids too, but only where there are hidden units to look up.
        if let Some(&id) = ids.last().filter(|id| **id as usize >= network.shape.keywords()) {
            return Err(Error::KeywordOutOfRange { id, keywords: network.shape.keywords() });
        }
        embedding_bag::forward(kernels, weights, embedding_bag::Bag::of(ids), &mut self.pre_activations)?;
        activation::forward(kernels, network, &self.pre_activations, &mut self.hidden)?;
        // Dot products with whole rows have no use for the list.
        let active = match network.shape.layout() {
            OutputLayout::Panels => self.list_active(kernels)?,
            OutputLayout::TagMajor => 0,
        };
        let active = Active { units: &self.units[..active], values: &self.values[..active] };
        output::forward(kernels, &network.shape, weights, &self.hidden, active, &mut self.relative, &mut self.logits)
    }

    /// Turns the logits of the last [`Forward::run`] into scores, and copies these to `scores`, one float a tag.
    pub(crate) fn scores(&mut self, kernels: Kernels, network: &Network, scores: &mut [f32]) {
        kernels.sigmoid(network.eps, &mut self.logits);
        network.shape.gather_slots(&self.logits, scores);
    }

    /// Copies the hidden units of the last [`Forward::run`], without padding.
    pub(crate) fn copy_hidden(&self, shape: &Shape, hidden: &mut [f32]) {
        let floats = as_floats(&self.hidden);
        for (group, hidden) in shape.groups().iter().zip(hidden.chunks_mut(shape.hidden().max(1))) {
            let first = group.hidden.start * LANES;
            hidden.copy_from_slice(&floats[first..first + shape.hidden()]);
        }
    }

    fn list_active(&mut self, kernels: Kernels) -> Result<usize> {
        kernels.list_active(&self.hidden, ActiveUnits { units: &mut self.units, values: &mut self.values })
    }

    /// The hidden units of the last [`Forward::run`] that are not zero.
    ///
    /// # Errors
    /// None.
    #[cfg(feature = "train")]
    pub(crate) fn active(&mut self, kernels: Kernels) -> Result<Active<'_>> {
        let active = self.list_active(kernels)?;
        Ok(Active { units: &self.units[..active], values: &self.values[..active] })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::aligned::{Block, LANES, as_floats_mut};
    use crate::rng::{Philox, unit};

    /// Deterministic numbers in [-1, 1).
    pub(crate) fn random_blocks(seed: u64, blocks: usize) -> Vec<Block> {
        let mut out = vec![Block::ZERO; blocks];
        for (i, x) in as_floats_mut(&mut out).iter_mut().enumerate() {
            *x = unit(Philox::new(seed).block([i as u32, 0, 0, LANES as u32])[0]) * 2.0 - 1.0;
        }
        out
    }
}
