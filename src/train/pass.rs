//! The forward and backward pass over a mini-batch, up to the gradients by pre-activations and logits.
//!
//! Without a penalty each sample goes forward and back at once. A penalty may ask for the means of units over the whole mini-batch:
//! then all samples go forward, the penalty is computed, and all go back.

use super::batch::{Keywords, Sample};
use super::pairs::{Outputs, PairScratch};
use super::penalty::{BatchPenalty, Penalty};
use crate::aligned::{Block, LANES, as_floats_mut};
use crate::error::Result;
use crate::kernels::{ActiveUnits, Kernels, LogLoss, LossInputs};
use crate::layers::{Active, activation, embedding_bag, output};
use crate::network::{Network, Pooling, Weights};
use crate::rng::{DropoutLayer, Philox};
use crate::workers::Workers;

/// What a pass reads, the same for every sample.
#[derive(Clone, Copy)]
pub(super) struct PassInputs<'a> {
    pub(super) kernels: Kernels,
    pub(super) network: &'a Network,
    pub(super) weights: Weights<'a>,
    pub(super) keywords: &'a Keywords,
    pub(super) samples: &'a [Sample<'a>],
    pub(super) outputs: Outputs<'a>,
    pub(super) loss: LogLoss,
    /// Weights of positives, one a tag slot.
    pub(super) positive_weights: &'a [Block],
    /// ln π, one a tag slot.
    pub(super) offsets: &'a [Block],
    pub(super) penalty: Option<Penalty>,
    /// Generator, rate and threshold of hidden dropout.
    pub(super) dropout: Option<(Philox, f64, u32)>,
    pub(super) step: u64,
}

/// What a pass leaves: a row a sample in each of these tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Pass {
    /// Hidden vectors after dropout.
    pub(super) hidden: Vec<Block>,
    /// dL/da, divided by the number of keywords where their mean is taken. Until a sample goes back it holds a, which nobody needs
    /// after that.
    pub(super) d_pre_activations: Vec<Block>,
    /// dL/dz.
    pub(super) delta: Vec<Block>,
    /// Unreduced losses.
    pub(super) losses: Vec<f64>,
    /// The penalty, 0 without one.
    pub(super) penalty: f64,
    /// Hidden vectors before dropout, where [`PassInputs::needs_undropped`].
    undropped: Vec<Block>,
    scratch: Vec<Scratch>,
}

/// Buffers for one sample after another.
#[derive(Clone, Debug, Default)]
struct Scratch {
    logits: Vec<Block>,
    targets: Vec<Block>,
    pair_weights: Vec<Block>,
    d_hidden: Vec<Block>,
    units: Vec<u32>,
    /// The units before dropout.
    listed: Vec<u32>,
    values: Vec<f32>,
    d_active: Vec<f32>,
    numbers: Vec<u32>,
    hidden: output::HiddenScratch,
    pairs: PairScratch,
}

/// Samples that share a [`Scratch`]: the smallest part that a mini-batch is divided into.
const LEAF: usize = 8;

/// Which way samples go.
#[derive(Clone, Copy)]
enum Direction<'a> {
    ForwardAndBack,
    Forward,
    Back(&'a BatchPenalty),
}

impl PassInputs<'_> {
    /// Whether gradients depend on h before dropout.
    fn needs_undropped(&self) -> bool {
        self.penalty.is_some() || !self.network.activation.is_sparse()
    }

    /// The factor on units that hidden dropout keeps.
    fn multiplier(&self) -> f32 {
        self.dropout.map_or(1.0, |(_, rate, _)| (1.0 / (1.0 - rate)) as f32)
    }

    /// Decides for each of `units` whether hidden dropout keeps it in sample `i`, and calls `keep(position, kept)`.
    fn drop_units(&self, i: usize, units: &[u32], numbers: &mut [u32], keep: impl FnMut(usize, bool)) {
        let Some((rng, _, threshold)) = self.dropout else { return };
        // Decisions go by the number of a unit, which does not count padding.
        let numbers = &mut numbers[..units.len()];
        for (number, unit) in numbers.iter_mut().zip(units) {
            *number = self.network.shape.unit_number(*unit);
        }
        // Only the low word of the step names a decision.
        let step = self.step as u32;
        rng.dropout(DropoutLayer::Hidden, self.samples[i].index, step, threshold, numbers.iter().copied(), keep);
    }
}

impl Pass {
    /// Runs all samples of `inputs`.
    pub(super) fn run(&mut self, inputs: &PassInputs<'_>, workers: Workers) -> Result<()> {
        let samples = inputs.samples.len();
        let shape = &inputs.network.shape;
        let (row, slots) = (shape.row_blocks(), inputs.outputs.delta_blocks(shape));
        self.hidden.resize(samples * row, Block::ZERO);
        self.d_pre_activations.resize(samples * row, Block::ZERO);
        self.delta.resize(samples * slots, Block::ZERO);
        self.losses.resize(samples, 0.0);
        self.undropped.resize(if inputs.needs_undropped() { samples * row } else { 0 }, Block::ZERO);
        if self.scratch.len() < samples.div_ceil(LEAF) {
            self.scratch.resize_with(samples.div_ceil(LEAF), Scratch::default);
        }
        for scratch in &mut self.scratch {
            scratch.resize(row, if let Outputs::All = inputs.outputs { slots } else { 0 });
        }
        self.penalty = 0.0;
        if let Some(penalty) = inputs.penalty {
            self.range().run(inputs, Direction::Forward, workers)?;
            let batch = penalty.batch(inputs.kernels, shape, &self.undropped, &self.d_pre_activations, samples)?;
            self.penalty = batch.value;
            self.range().run(inputs, Direction::Back(&batch), workers)?;
        } else {
            self.range().run(inputs, Direction::ForwardAndBack, workers)?;
        }
        if inputs.network.pooling == Pooling::Mean {
            for (sample, d) in inputs.samples.iter().zip(self.d_pre_activations.chunks_exact_mut(row.max(1))) {
                embedding_bag::backward_mean(sample.keywords.len(), d);
            }
        }
        Ok(())
    }

    /// All samples.
    fn range(&mut self) -> SampleRange<'_> {
        SampleRange {
            first: 0,
            hidden: &mut self.hidden,
            d_pre_activations: &mut self.d_pre_activations,
            delta: &mut self.delta,
            undropped: &mut self.undropped,
            losses: &mut self.losses,
            scratch: &mut self.scratch,
        }
    }
}

impl Scratch {
    fn resize(&mut self, row: usize, slots: usize) {
        for buffer in [&mut self.logits, &mut self.targets, &mut self.pair_weights] {
            buffer.resize(slots, Block::ZERO);
        }
        self.d_hidden.resize(row, Block::ZERO);
        for buffer in [&mut self.units, &mut self.listed, &mut self.numbers] {
            buffer.resize(row * LANES, 0);
        }
        for buffer in [&mut self.values, &mut self.d_active] {
            buffer.resize(row * LANES, 0.0);
        }
    }
}

/// The rows of the samples `first..` in each table.
struct SampleRange<'a> {
    first: usize,
    hidden: &'a mut [Block],
    d_pre_activations: &'a mut [Block],
    delta: &'a mut [Block],
    /// Empty where it is not needed.
    undropped: &'a mut [Block],
    losses: &'a mut [f64],
    scratch: &'a mut [Scratch],
}

impl<'a> SampleRange<'a> {
    fn run(self, inputs: &PassInputs<'_>, direction: Direction<'_>, workers: Workers) -> Result<()> {
        let shape = &inputs.network.shape;
        let slots = inputs.outputs.delta_blocks(shape);
        let cost = inputs.outputs.blocks_read(shape) * 2 + shape.row_blocks() * 32 + slots * 8;
        let samples = self.losses.len();
        if samples > LEAF && workers.divides(samples, cost) {
            let (left, right) = self.split(shape.row_blocks(), slots);
            let (left, right) = workers.join(|| left.run(inputs, direction, workers), || right.run(inputs, direction, workers));
            return left.and(right);
        }
        self.run_here(inputs, direction)
    }

    /// Two halves, the left one a multiple of [`LEAF`] samples long.
    fn split(self, row: usize, slots: usize) -> (Self, Self) {
        let leaves = self.losses.len().div_ceil(LEAF) / 2;
        let middle = leaves * LEAF;
        let kept = if self.undropped.is_empty() { 0 } else { middle * row };
        let (hidden, hidden_right) = self.hidden.split_at_mut(middle * row);
        let (d_pre_activations, d_pre_activations_right) = self.d_pre_activations.split_at_mut(middle * row);
        let (delta, delta_right) = self.delta.split_at_mut(middle * slots);
        let (undropped, undropped_right) = self.undropped.split_at_mut(kept);
        let (losses, losses_right) = self.losses.split_at_mut(middle);
        let (scratch, scratch_right) = self.scratch.split_at_mut(leaves);
        let right = SampleRange {
            first: self.first + middle,
            hidden: hidden_right,
            d_pre_activations: d_pre_activations_right,
            delta: delta_right,
            undropped: undropped_right,
            losses: losses_right,
            scratch: scratch_right,
        };
        (SampleRange { first: self.first, hidden, d_pre_activations, delta, undropped, losses, scratch }, right)
    }

    fn run_here(self, inputs: &PassInputs<'_>, direction: Direction<'_>) -> Result<()> {
        let shape = &inputs.network.shape;
        let (row, slots) = (shape.row_blocks(), inputs.outputs.delta_blocks(shape));
        let Some(scratch) = self.scratch.first_mut() else { return Ok(()) };
        for (i, loss) in self.losses.iter_mut().enumerate() {
            let kept = if self.undropped.is_empty() { 0..0 } else { i * row..(i + 1) * row };
            let mut sample = SampleRows {
                i: self.first + i,
                hidden: &mut self.hidden[i * row..(i + 1) * row],
                d_pre_activations: &mut self.d_pre_activations[i * row..(i + 1) * row],
                delta: &mut self.delta[i * slots..(i + 1) * slots],
                undropped: &mut self.undropped[kept],
            };
            match direction {
                Direction::Forward => (*loss, _) = sample.forward(inputs, scratch)?,
                Direction::ForwardAndBack => {
                    let active;
                    (*loss, active) = sample.forward(inputs, scratch)?;
                    sample.back(inputs, None, active, scratch)?;
                }
                Direction::Back(penalty) => {
                    let list = ActiveUnits { units: &mut scratch.units, values: &mut scratch.values };
                    let active = inputs.kernels.list_active(sample.hidden, list)?;
                    sample.back(inputs, Some(penalty), active, scratch)?;
                }
            }
        }
        Ok(())
    }
}

/// One sample's rows.
struct SampleRows<'a> {
    i: usize,
    hidden: &'a mut [Block],
    d_pre_activations: &'a mut [Block],
    delta: &'a mut [Block],
    undropped: &'a mut [Block],
}

impl SampleRows<'_> {
    /// Leaves a, h, and δ in the rows, and the active units in `scratch`; returns the loss and the number of active units.
    fn forward(&mut self, inputs: &PassInputs<'_>, scratch: &mut Scratch) -> Result<(f64, usize)> {
        let PassInputs { kernels, network, weights, .. } = *inputs;
        let (ids, factors) = inputs.keywords.of_sample(self.i);
        let bag = embedding_bag::Bag { ids, factors };
        match network.pooling {
            Pooling::Sum => embedding_bag::forward(kernels, weights, bag, self.d_pre_activations)?,
            Pooling::Mean => {
                let keywords = inputs.samples[self.i].keywords.len();
                embedding_bag::forward_mean(kernels, weights, bag, keywords, self.d_pre_activations)?;
            }
        }
        activation::forward(kernels, network, self.d_pre_activations, self.hidden)?;
        if !self.undropped.is_empty() {
            self.undropped.copy_from_slice(self.hidden);
        }
        let Scratch { units, listed, values, numbers, .. } = scratch;
        let mut count = kernels.list_active(self.hidden, ActiveUnits { units, values })?;
        if inputs.dropout.is_some() {
            let (multiplier, h) = (inputs.multiplier(), as_floats_mut(self.hidden));
            std::mem::swap(units, listed);
            let on = std::mem::replace(&mut count, 0);
            inputs.drop_units(self.i, &listed[..on], numbers, |n, kept| {
                let unit = listed[n];
                if kept {
                    let value = values[n] * multiplier;
                    (units[count], values[count]) = (unit, value);
                    h[unit as usize] = value;
                    count += 1;
                } else {
                    h[unit as usize] = 0.0;
                }
            });
        }
        if let Outputs::Listed(pairs) = inputs.outputs {
            return Ok((pairs.score(inputs, self.i, self.hidden, &mut scratch.pairs, self.delta)?, count));
        }
        let active = Active { units: &scratch.units[..count], values: &scratch.values[..count] };
        let numbers = &mut scratch.numbers;
        output::forward(kernels, &network.shape, weights, self.hidden, active, numbers, &mut scratch.logits)?;

        inputs.samples[self.i].spread(&network.shape, &mut scratch.targets, &mut scratch.pair_weights);
        let pairs = LossInputs {
            logits: &scratch.logits,
            targets: &scratch.targets,
            weights: &scratch.pair_weights,
            positive_weights: inputs.positive_weights,
            offsets: inputs.offsets,
        };
        Ok((kernels.log_loss(&inputs.loss, pairs, self.delta)?, count))
    }

    /// Turns a into dL/da, given the `count` active units in `scratch`.
    fn back(
        &mut self,
        inputs: &PassInputs<'_>,
        penalty: Option<&BatchPenalty>,
        mut count: usize,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let PassInputs { kernels, network, weights, .. } = *inputs;
        let shape = &network.shape;
        let dense = !network.activation.is_sparse();
        if dense {
            // Every unit passes a gradient on, but for those that were dropped.
            count = shape.hidden() * shape.groups().len();
            for (number, unit) in scratch.units[..count].iter_mut().enumerate() {
                *unit = shape.unit_position(number) as u32;
            }
            if inputs.dropout.is_some() {
                let Scratch { units, listed, numbers, .. } = scratch;
                std::mem::swap(units, listed);
                let all = std::mem::replace(&mut count, 0);
                inputs.drop_units(self.i, &listed[..all], numbers, |n, kept| {
                    if kept {
                        units[count] = listed[n];
                        count += 1;
                    }
                });
            }
        }
        let active = Active { units: &scratch.units[..count], values: &scratch.values[..count] };
        let d_active = &mut scratch.d_active[..count];
        match inputs.outputs {
            Outputs::All => {
                output::backward_hidden(kernels, shape, weights.w2, self.delta, active, &mut scratch.hidden, d_active)?;
            }
            Outputs::Listed(pairs) => {
                pairs.backward_hidden(inputs, self.i, self.delta, active, &mut scratch.pairs, d_active)?;
            }
        }
        let multiplier = inputs.multiplier();
        if multiplier != 1.0 {
            d_active.iter_mut().for_each(|d| *d *= multiplier);
        }
        if !dense && penalty.is_none() {
            activation::backward_sparse(active, d_active, self.d_pre_activations);
            return Ok(());
        }
        let d_hidden = &mut scratch.d_hidden;
        d_hidden.fill(Block::ZERO);
        activation::scatter(active.units, d_active, d_hidden);
        if let Some(penalty) = penalty {
            penalty.add_by_hidden(shape, self.undropped, d_hidden);
        }
        kernels.activate_backward(network.activation, self.d_pre_activations, self.undropped, d_hidden)?;
        if let Some(penalty) = penalty {
            penalty.add_by_pre_activations(kernels, shape, self.d_pre_activations, d_hidden)?;
        }
        self.d_pre_activations.copy_from_slice(d_hidden);
        Ok(())
    }
}
