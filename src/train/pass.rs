//! The forward and backward pass over a mini-batch, up to the gradients by pre-activations and logits.
//!
//! Without a penalty some samples go forward and back at once. A penalty may ask for the means of units over the whole mini-batch:
//! then all samples go forward, the penalty is computed, and all go back.

use super::batch::{Keywords, Sample};
use super::dropout::Dropout;
use super::pairs::{Outputs, PairScratch};
use super::penalty::{BatchPenalty, Penalty};
use crate::aligned::{Block, LANES, as_floats_mut};
use crate::buffer::Buffer;
use crate::error::Result;
use crate::kernels::{ActiveUnits, Kernels, LogLoss, LossInputs};
use crate::layers::{activation, embedding_bag, output};
use crate::network::{Network, Pooling, Weights};
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
    /// Of hidden units.
    pub(super) dropout: Option<Dropout>,
    pub(super) step: u64,
}

/// What a pass leaves: a row a sample in each of these tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Pass {
    /// Hidden vectors after dropout.
    pub(super) hidden: Buffer<Block>,
    /// Until a sample goes back a, which nobody needs after that; then dL/da, divided by the number of keywords where their mean is taken. Once
    /// the hidden biases have had their step, that times the factor of input dropout.
    pub(super) d_pre_activations: Buffer<Block>,
    /// dL/dz.
    pub(super) delta: Buffer<Block>,
    /// Unreduced losses.
    pub(super) losses: Vec<f64>,
    pub(super) extents: Extents,
    /// The penalty, 0 without one.
    pub(super) penalty: f64,
    /// Hidden vectors before dropout, where [`PassInputs::needs_undropped`].
    undropped: Buffer<Block>,
    scratch: Vec<Scratch>,
}

/// The largest magnitude in each table; not a number where one of its numbers is not finite.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extents {
    pub(super) hidden: f32,
    pub(super) d_pre_activations: f32,
    pub(super) delta: f32,
}

impl Extents {
    /// Those of two parts together.
    fn union(self, other: Self) -> Self {
        let larger = |a: f32, b: f32| if a.is_nan() || a > b { a } else { b };
        Extents {
            hidden: larger(self.hidden, other.hidden),
            d_pre_activations: larger(self.d_pre_activations, other.d_pre_activations),
            delta: larger(self.delta, other.delta),
        }
    }
}

/// Buffers for the samples of one leaf after the other.
#[derive(Clone, Debug, Default)]
struct Scratch {
    output: output::OutputScratch,
    pairs: PairScratch,
    /// A row a sample.
    d_hidden: Vec<Block>,
    /// Of one sample after another.
    targets: Vec<Block>,
    pair_weights: Vec<Block>,
    units: Vec<u32>,
    values: Vec<f32>,
    numbers: Vec<u32>,
    masks: Vec<u32>,
}

/// Samples that go through the layers together, so that what is read for one is near for the next: the smallest part that a
/// mini-batch is divided into. A multiple of the items in a tile of the output layer on every level.
const LEAF: usize = 12;

/// Which way samples go.
#[derive(Clone, Copy)]
enum Direction<'a> {
    ForwardAndBack,
    Forward,
    Back(&'a BatchPenalty),
}

impl PassInputs<'_> {
    /// Blocks of a sample's hidden vector, and of its δ.
    fn widths(&self) -> (usize, usize) {
        let shape = &self.network.shape;
        (shape.row_blocks(), self.outputs.delta_blocks(shape))
    }

    /// What a sample costs, in blocks read.
    fn cost(&self) -> usize {
        let (row, slots) = self.widths();
        self.outputs.blocks_read(&self.network.shape) + row * 32 + slots * 8
    }

    /// Whether gradients depend on h before dropout.
    fn needs_undropped(&self) -> bool {
        self.penalty.is_some() || !self.network.activation.is_sparse()
    }

    /// The factor on units that hidden dropout keeps.
    fn multiplier(&self) -> f32 {
        self.dropout.map_or(1.0, |dropout| dropout.factor)
    }

    /// Decides for each of `units` whether hidden dropout keeps it in sample `i`, see [`Dropout::decide`].
    fn drop_units(&self, i: usize, units: &[u32], numbers: &mut [u32], masks: &mut [u32]) {
        let Some(dropout) = self.dropout else { return };
        // Decisions go by the number of a unit, which does not count padding.
        let numbers = &mut numbers[..units.len()];
        for (number, unit) in numbers.iter_mut().zip(units) {
            *number = self.network.shape.unit_number(*unit);
        }
        dropout.decide(self.samples[i].index, self.step, numbers, masks);
    }
}

impl Pass {
    /// Runs all samples of `inputs`.
    pub(super) fn run(&mut self, inputs: &PassInputs<'_>, workers: Workers) -> Result<()> {
        let samples = inputs.samples.len();
        let (row, slots) = inputs.widths();
        const WHAT: &str = "a mini-batch, for this machine's memory";
        self.hidden.resize(WHAT, samples * row)?;
        self.d_pre_activations.resize(WHAT, samples * row)?;
        self.delta.resize(WHAT, samples * slots)?;
        self.losses.resize(samples, 0.0);
        self.undropped.resize(WHAT, if inputs.needs_undropped() { samples * row } else { 0 })?;
        if self.scratch.len() < samples.div_ceil(LEAF) {
            self.scratch.resize_with(samples.div_ceil(LEAF), Scratch::default);
        }
        self.penalty = 0.0;
        if let Some(penalty) = inputs.penalty {
            self.run_all(inputs, Direction::Forward, workers)?;
            let batch =
                penalty.batch(inputs.kernels, &inputs.network.shape, &self.undropped, &self.d_pre_activations, samples)?;
            self.penalty = batch.value;
            self.extents = self.run_all(inputs, Direction::Back(&batch), workers)?;
        } else {
            self.extents = self.run_all(inputs, Direction::ForwardAndBack, workers)?;
        }
        Ok(())
    }

    fn run_all(&mut self, inputs: &PassInputs<'_>, direction: Direction<'_>, workers: Workers) -> Result<Extents> {
        let all = SampleRows {
            first: 0,
            hidden: &mut self.hidden,
            d_pre_activations: &mut self.d_pre_activations,
            delta: &mut self.delta,
            undropped: &mut self.undropped,
            losses: &mut self.losses,
        };
        all.run(&mut self.scratch, inputs, direction, workers)
    }
}

impl Scratch {
    /// Makes room for so many samples.
    fn resize(&mut self, samples: usize, inputs: &PassInputs<'_>) {
        let (row, slots) = inputs.widths();
        if let Outputs::All = inputs.outputs {
            for buffer in [&mut self.targets, &mut self.pair_weights] {
                buffer.resize(slots, Block::ZERO);
            }
        }
        // Padding is never written, and stays 0.
        self.d_hidden.resize(samples * row, Block::ZERO);
        for buffer in [&mut self.units, &mut self.numbers, &mut self.masks] {
            buffer.resize(row * LANES, 0);
        }
        self.values.resize(row * LANES, 0.0);
    }
}

/// The rows of the samples `first..` in each table.
struct SampleRows<'a> {
    first: usize,
    hidden: &'a mut [Block],
    d_pre_activations: &'a mut [Block],
    delta: &'a mut [Block],
    /// Empty where it is not needed.
    undropped: &'a mut [Block],
    losses: &'a mut [f64],
}

impl SampleRows<'_> {
    /// Takes those of the first `samples` samples off; there are so many.
    fn split_off(&mut self, samples: usize, inputs: &PassInputs<'_>) -> Self {
        let (row, slots) = inputs.widths();
        let first = self.first;
        self.first += samples;
        SampleRows {
            first,
            hidden: self.hidden.split_off_mut(..samples * row).unwrap_or_default(),
            d_pre_activations: self.d_pre_activations.split_off_mut(..samples * row).unwrap_or_default(),
            delta: self.delta.split_off_mut(..samples * slots).unwrap_or_default(),
            undropped: self.undropped.split_off_mut(..samples * row).unwrap_or_default(),
            losses: self.losses.split_off_mut(..samples).unwrap_or_default(),
        }
    }

    /// Runs all of them, in leaves; there are buffers for each leaf. Returns the extents of what is in the tables once they have gone back.
    fn run(
        mut self,
        buffers: &mut [Scratch],
        inputs: &PassInputs<'_>,
        direction: Direction<'_>,
        workers: Workers,
    ) -> Result<Extents> {
        let samples = self.losses.len();
        if samples > LEAF && workers.divides(samples, inputs.cost()) {
            let leaves = samples.div_ceil(LEAF) / 2;
            let left = self.split_off(leaves * LEAF, inputs);
            let (buffers, buffers_right) = buffers.split_at_mut(leaves);
            let (left, right) = workers
                .join(|| left.run(buffers, inputs, direction, workers), || self.run(buffers_right, inputs, direction, workers));
            return Ok(left?.union(right?));
        }
        let mut extents = Extents::default();
        // Leaves that run one after the other share buffers, which so stay near.
        let Some(scratch) = buffers.first_mut() else { return Ok(extents) };
        scratch.resize(samples.min(LEAF), inputs);
        while !self.losses.is_empty() {
            let mut leaf = self.split_off(self.losses.len().min(LEAF), inputs);
            if !matches!(direction, Direction::Back(_)) {
                leaf.forward(inputs, scratch)?;
            }
            match direction {
                Direction::Forward => continue,
                Direction::ForwardAndBack => leaf.back(inputs, None, scratch)?,
                Direction::Back(penalty) => leaf.back(inputs, Some(penalty), scratch)?,
            }
            leaf.back_to_rows(inputs);
            extents = extents.union(leaf.extents(inputs.kernels));
        }
        Ok(extents)
    }

    /// Leaves a, h, δ and the losses in the rows.
    fn forward(&mut self, inputs: &PassInputs<'_>, scratch: &mut Scratch) -> Result<()> {
        let PassInputs { kernels, network, weights, .. } = *inputs;
        let samples = self.first..self.first + self.losses.len();
        let bags = inputs.keywords.of_samples(samples.clone());
        match network.pooling {
            Pooling::Sum => embedding_bag::forward(kernels, weights, bags, self.d_pre_activations)?,
            Pooling::Mean => {
                let keywords = inputs.samples[samples].iter().map(|sample| sample.keywords.len());
                embedding_bag::forward_mean(kernels, weights, bags, keywords, self.d_pre_activations)?;
            }
        }
        activation::forward(kernels, network, self.d_pre_activations, self.hidden)?;
        if !self.undropped.is_empty() {
            self.undropped.copy_from_slice(self.hidden);
        }
        if inputs.dropout.is_some() {
            self.drop_hidden(inputs, scratch)?;
        }
        if let Outputs::Listed(pairs) = inputs.outputs {
            let (row, stride) = inputs.widths();
            for (i, loss) in self.losses.iter_mut().enumerate() {
                let (hidden, delta) = (&self.hidden[i * row..(i + 1) * row], &mut self.delta[i * stride..(i + 1) * stride]);
                *loss = pairs.score(inputs, self.first + i, hidden, &mut scratch.pairs, delta)?;
            }
            return Ok(());
        }
        let hidden = output::HiddenItems { items: self.losses.len(), blocks: self.hidden };
        // Logits, until the loss of their sample is known.
        output::forward(kernels, &network.shape, weights, hidden, &mut scratch.output, self.delta)?;
        let Scratch { targets, pair_weights, .. } = scratch;
        let (_, slots) = inputs.widths();
        for (i, loss) in self.losses.iter_mut().enumerate() {
            let delta = &mut self.delta[i * slots..(i + 1) * slots];
            inputs.samples[self.first + i].spread(&network.shape, targets, pair_weights);
            let pairs = LossInputs {
                targets,
                weights: pair_weights,
                positive_weights: inputs.positive_weights,
                offsets: inputs.offsets,
            };
            *loss = kernels.log_loss(&inputs.loss, pairs, delta)?;
        }
        Ok(())
    }

    /// Drops hidden units, and multiplies those that are kept.
    fn drop_hidden(&mut self, inputs: &PassInputs<'_>, scratch: &mut Scratch) -> Result<()> {
        let (row, multiplier) = (inputs.network.shape.row_blocks(), inputs.multiplier());
        let Scratch { units, values, numbers, masks, .. } = scratch;
        for i in 0..self.losses.len() {
            let hidden = &mut self.hidden[i * row..(i + 1) * row];
            let on = inputs.kernels.list_active(hidden, ActiveUnits { units, values })?;
            let h = as_floats_mut(hidden);
            inputs.drop_units(self.first + i, &units[..on], numbers, masks);
            for ((unit, value), mask) in units[..on].iter().zip(&*values).zip(&*masks) {
                h[*unit as usize] = f32::from_bits((value * multiplier).to_bits() & mask);
            }
        }
        Ok(())
    }

    /// Turns a into dL/da.
    fn back(&mut self, inputs: &PassInputs<'_>, penalty: Option<&BatchPenalty>, scratch: &mut Scratch) -> Result<()> {
        let PassInputs { kernels, network, weights, .. } = *inputs;
        let (shape, activation) = (&network.shape, network.activation);
        let items = self.losses.len();
        let hidden = output::HiddenItems { items, blocks: self.hidden };
        let d_hidden = &mut scratch.d_hidden[..self.hidden.len()];
        let every_unit = !activation.is_sparse();
        match inputs.outputs {
            Outputs::All => output::backward_hidden(
                kernels,
                shape,
                weights.w2,
                self.delta,
                hidden,
                every_unit,
                &mut scratch.output,
                d_hidden,
            )?,
            Outputs::Listed(pairs) => {
                let (row, stride) = inputs.widths();
                for i in 0..items {
                    let (delta, d_hidden) = (&self.delta[i * stride..(i + 1) * stride], &mut d_hidden[i * row..(i + 1) * row]);
                    pairs.backward_hidden(inputs, self.first + i, delta, d_hidden)?;
                }
            }
        }
        let multiplier = inputs.multiplier();
        if multiplier != 1.0 {
            as_floats_mut(d_hidden).iter_mut().for_each(|d| *d *= multiplier);
        }
        if !every_unit {
            // Units that are off pass nothing on, whether they were dropped or not.
            kernels.activate_backward(activation, self.d_pre_activations, self.hidden, d_hidden)?;
            // With a penalty they have their derivative once more below, which is 0 or 1.
            if penalty.is_none() {
                self.d_pre_activations.copy_from_slice(d_hidden);
                return Ok(());
            }
        } else if inputs.dropout.is_some() {
            self.drop_gradients(inputs, scratch);
        }
        let row = shape.row_blocks();
        let d_hidden = &mut scratch.d_hidden[..self.hidden.len()];
        let rows = d_hidden.chunks_exact_mut(row.max(1)).zip(self.undropped.chunks_exact(row.max(1)));
        if let Some(penalty) = penalty {
            rows.for_each(|(d_hidden, undropped)| penalty.add_by_hidden(shape, undropped, d_hidden));
        }
        kernels.activate_backward(activation, self.d_pre_activations, self.undropped, d_hidden)?;
        let rows = d_hidden.chunks_exact_mut(row.max(1)).zip(self.d_pre_activations.chunks_exact_mut(row.max(1)));
        for (d_hidden, d_pre_activations) in rows {
            if let Some(penalty) = penalty {
                penalty.add_by_pre_activations(kernels, shape, d_pre_activations, d_hidden)?;
            }
            d_pre_activations.copy_from_slice(d_hidden);
        }
        Ok(())
    }

    /// Turns dL/da into what the rows of keywords see of it. Networks that take their mean have no hidden bias, which would see dL/da itself.
    fn back_to_rows(&mut self, inputs: &PassInputs<'_>) {
        if inputs.network.pooling == Pooling::Mean {
            let row = inputs.network.shape.row_blocks().max(1);
            for (sample, d) in inputs.samples[self.first..].iter().zip(self.d_pre_activations.chunks_exact_mut(row)) {
                embedding_bag::backward_mean(sample.keywords.len(), d);
            }
        }
    }

    fn extents(&self, kernels: Kernels) -> Extents {
        Extents {
            hidden: kernels.magnitude(self.hidden),
            d_pre_activations: kernels.magnitude(self.d_pre_activations),
            delta: kernels.magnitude(self.delta),
        }
    }

    /// Clears the gradients of hidden units that were dropped, where a unit's own value does not tell.
    fn drop_gradients(&self, inputs: &PassInputs<'_>, scratch: &mut Scratch) {
        let shape = &inputs.network.shape;
        let Scratch { d_hidden, units, numbers, masks, .. } = scratch;
        let all = &mut units[..shape.hidden() * shape.groups().len()];
        for (number, unit) in all.iter_mut().enumerate() {
            *unit = shape.unit_position(number) as u32;
        }
        for (i, d_hidden) in d_hidden.chunks_exact_mut(shape.row_blocks().max(1)).take(self.losses.len()).enumerate() {
            let d = as_floats_mut(d_hidden);
            inputs.drop_units(self.first + i, all, numbers, masks);
            for (unit, mask) in all.iter().zip(&*masks) {
                let d = &mut d[*unit as usize];
                *d = f32::from_bits(d.to_bits() & mask);
            }
        }
    }
}
