//! The forward and backward pass over a mini-batch, up to the gradients by pre-activations and logits.

use super::batch::{Keywords, Sample};
use super::workers::Workers;
use crate::aligned::{Block, LANES, as_floats_mut};
use crate::error::Result;
use crate::kernels::{Kernels, LogLoss, LossInputs};
use crate::layers::{Active, activation, embedding_bag, output};
use crate::network::{Network, Weights};
use crate::rng::{DropoutLayer, Philox};

/// What a pass reads, the same for every sample.
#[derive(Clone, Copy)]
pub(super) struct PassInputs<'a> {
    pub(super) kernels: Kernels,
    pub(super) network: &'a Network,
    pub(super) weights: Weights<'a>,
    pub(super) keywords: &'a Keywords,
    pub(super) samples: &'a [Sample<'a>],
    pub(super) loss: LogLoss,
    /// Weights of positives, one a tag slot.
    pub(super) positive_weights: &'a [Block],
    /// ln π, one a tag slot.
    pub(super) offsets: &'a [Block],
    /// Generator, rate and threshold of hidden dropout.
    pub(super) dropout: Option<(Philox, f64, u32)>,
    pub(super) step: u64,
}

/// What a pass leaves: a row a sample in each of these tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Pass {
    /// Hidden vectors after dropout.
    pub(super) hidden: Vec<Block>,
    /// dL/da.
    pub(super) d_pre_activations: Vec<Block>,
    /// dL/dz.
    pub(super) delta: Vec<Block>,
    /// Unreduced losses.
    pub(super) losses: Vec<f64>,
    scratch: Vec<Scratch>,
}

/// Buffers for one sample after another.
#[derive(Clone, Debug, Default)]
struct Scratch {
    logits: Vec<Block>,
    targets: Vec<Block>,
    pair_weights: Vec<Block>,
    units: Vec<u32>,
    values: Vec<f32>,
    d_active: Vec<f32>,
    relative: Vec<u32>,
    hidden: output::HiddenScratch,
}

/// Samples that share a [`Scratch`]: the smallest part that a mini-batch is divided into.
const LEAF: usize = 8;

impl Pass {
    /// Runs all samples of `inputs`.
    pub(super) fn run(&mut self, inputs: &PassInputs<'_>, workers: Workers) -> Result<()> {
        let samples = inputs.samples.len();
        let shape = &inputs.network.shape;
        let (row, slots) = (shape.row_blocks(), shape.slot_blocks());
        self.hidden.resize(samples * row, Block::ZERO);
        self.d_pre_activations.resize(samples * row, Block::ZERO);
        self.delta.resize(samples * slots, Block::ZERO);
        self.losses.resize(samples, 0.0);
        if self.scratch.len() < samples.div_ceil(LEAF) {
            self.scratch.resize_with(samples.div_ceil(LEAF), Scratch::default);
        }
        for scratch in &mut self.scratch {
            scratch.fit(row, slots);
        }
        let part = Part {
            first: 0,
            hidden: &mut self.hidden,
            d_pre_activations: &mut self.d_pre_activations,
            delta: &mut self.delta,
            losses: &mut self.losses,
            scratch: &mut self.scratch,
        };
        part.run(inputs, workers)
    }
}

impl Scratch {
    fn fit(&mut self, row: usize, slots: usize) {
        for buffer in [&mut self.logits, &mut self.targets, &mut self.pair_weights] {
            buffer.resize(slots, Block::ZERO);
        }
        for buffer in [&mut self.units, &mut self.relative] {
            buffer.resize(row * LANES, 0);
        }
        for buffer in [&mut self.values, &mut self.d_active] {
            buffer.resize(row * LANES, 0.0);
        }
    }
}

/// A part of a mini-batch: the rows of samples `first..` in each table.
struct Part<'a> {
    first: usize,
    hidden: &'a mut [Block],
    d_pre_activations: &'a mut [Block],
    delta: &'a mut [Block],
    losses: &'a mut [f64],
    scratch: &'a mut [Scratch],
}

impl<'a> Part<'a> {
    fn run(self, inputs: &PassInputs<'_>, workers: Workers) -> Result<()> {
        let shape = &inputs.network.shape;
        let cost = shape.w2_blocks() * 2 + shape.row_blocks() * 32 + shape.slot_blocks() * 8;
        let samples = self.losses.len();
        if samples > LEAF && workers.divides(samples, cost) {
            let (left, right) = self.split(shape.row_blocks(), shape.slot_blocks());
            let (left, right) = workers.join(|| left.run(inputs, workers), || right.run(inputs, workers));
            return left.and(right);
        }
        self.run_here(inputs)
    }

    /// Two halves, the left one a multiple of [`LEAF`] samples long.
    fn split(self, row: usize, slots: usize) -> (Part<'a>, Part<'a>) {
        let leaves = self.losses.len().div_ceil(LEAF) / 2;
        let middle = leaves * LEAF;
        let (hidden, hidden_right) = self.hidden.split_at_mut(middle * row);
        let (d_pre_activations, d_pre_activations_right) = self.d_pre_activations.split_at_mut(middle * row);
        let (delta, delta_right) = self.delta.split_at_mut(middle * slots);
        let (losses, losses_right) = self.losses.split_at_mut(middle);
        let (scratch, scratch_right) = self.scratch.split_at_mut(leaves);
        let right = Part {
            first: self.first + middle,
            hidden: hidden_right,
            d_pre_activations: d_pre_activations_right,
            delta: delta_right,
            losses: losses_right,
            scratch: scratch_right,
        };
        (Part { first: self.first, hidden, d_pre_activations, delta, losses, scratch }, right)
    }

    fn run_here(self, inputs: &PassInputs<'_>) -> Result<()> {
        let shape = &inputs.network.shape;
        let (row, slots) = (shape.row_blocks(), shape.slot_blocks());
        let Some(scratch) = self.scratch.first_mut() else { return Ok(()) };
        for (i, loss) in self.losses.iter_mut().enumerate() {
            let tables = Tables {
                hidden: &mut self.hidden[i * row..(i + 1) * row],
                d_pre_activations: &mut self.d_pre_activations[i * row..(i + 1) * row],
                delta: &mut self.delta[i * slots..(i + 1) * slots],
            };
            *loss = run_sample(inputs, self.first + i, scratch, tables)?;
        }
        Ok(())
    }
}

/// One sample's rows.
struct Tables<'a> {
    hidden: &'a mut [Block],
    d_pre_activations: &'a mut [Block],
    delta: &'a mut [Block],
}

fn run_sample(inputs: &PassInputs<'_>, i: usize, scratch: &mut Scratch, tables: Tables<'_>) -> Result<f64> {
    let PassInputs { kernels, network, weights, .. } = *inputs;
    let sample = &inputs.samples[i];
    let Tables { hidden, d_pre_activations, delta } = tables;

    let (ids, factors) = inputs.keywords.of_sample(i);
    // The pre-activations are not needed once the active units are known: their gradient takes their place.
    embedding_bag::forward(kernels, weights, embedding_bag::Bag { ids, factors }, d_pre_activations)?;
    let (units, values) = (&mut scratch.units, &mut scratch.values);
    let mut count = activation::forward(kernels, network.activation, d_pre_activations, hidden, units, values)?;
    let mut multiplier = 1.0;
    if let Some((rng, rate, threshold)) = inputs.dropout {
        multiplier = (1.0 / (1.0 - rate)) as f32;
        let on = count;
        count = 0;
        let h = as_floats_mut(hidden);
        let numbers = &mut scratch.relative[..on];
        for (number, unit) in numbers.iter_mut().zip(units.iter()) {
            *number = network.shape.unit_number(*unit);
        }
        let numbers = numbers.iter().copied();
        rng.dropout(DropoutLayer::Hidden, sample.index, inputs.step as u32, threshold, numbers, |n, kept| {
            let unit = units[n];
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
    let active = Active { units: &units[..count], values: &values[..count] };
    output::forward(kernels, &network.shape, weights, hidden, active, &mut scratch.relative, &mut scratch.logits)?;

    sample.spread(&network.shape, &mut scratch.targets, &mut scratch.pair_weights);
    let loss = kernels.log_loss(
        &inputs.loss,
        LossInputs {
            logits: &scratch.logits,
            targets: &scratch.targets,
            weights: &scratch.pair_weights,
            positive_weights: inputs.positive_weights,
            offsets: inputs.offsets,
        },
        delta,
    )?;

    let d_active = &mut scratch.d_active[..count];
    output::backward_hidden(kernels, &network.shape, weights.w2, delta, active, &mut scratch.hidden, d_active)?;
    if multiplier != 1.0 {
        for d in d_active.iter_mut() {
            *d *= multiplier;
        }
    }
    activation::backward(network.activation, active, d_active, d_pre_activations);
    Ok(loss)
}
