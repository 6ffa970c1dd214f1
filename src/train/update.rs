//! Gradients of the parameters, each row summed over the samples in order and handed to the optimiser.
//!
//! A row is written by one thread, and its sum does not depend on which: so training is the same for every number of threads.

use std::ops::Range;

use super::batch::Keywords;
use super::optimizer::{OutputStep, Step, StepRows};
use super::pass::Pass;
use crate::aligned::{Block, LANES, as_floats, as_floats_mut};
use crate::error::Result;
use crate::kernels::{Kernels, Rows};
use crate::layers::{embedding_bag, output};
use crate::network::{OutputLayout, Shape};
use crate::workers::Workers;

/// What the updates of one step read.
pub(super) struct Update<'a> {
    pub(super) kernels: Kernels,
    pub(super) shape: &'a Shape,
    pub(super) keywords: &'a Keywords,
    pub(super) pass: &'a mut Pass,
    pub(super) samples: usize,
    pub(super) workers: Workers,
}

impl Update<'_> {
    /// Takes the step on all parameters.
    pub(super) fn run(&mut self, mut step: Step<'_>) -> Result<()> {
        let all: Vec<u32> = (0..).take(self.samples).collect();
        with_buffer(self.shape.row_blocks(), |gradient| {
            let gradient = &mut gradient[..self.shape.row_blocks()];
            self.kernels.sum_rows(Rows::new(&self.pass.d_pre_activations, gradient.len()), None, &all, gradient)?;
            step.b1.step(0, gradient)
        })?;
        with_buffer(self.shape.slot_blocks(), |gradient| {
            let gradient = &mut gradient[..self.shape.slot_blocks()];
            self.kernels.sum_rows(Rows::new(&self.pass.delta, gradient.len()), None, &all, gradient)?;
            step.b2.step(0, gradient)
        })?;
        self.output_weights(&all, &mut step.w2)?;
        step.w2.finish(self.shape)?;
        let factor = self.keywords.factor();
        if factor != 1.0 {
            // The hidden biases have had their step: from here on dL/da stands for what a keyword's row sees of it.
            as_floats_mut(&mut self.pass.d_pre_activations).iter_mut().for_each(|d| *d *= factor);
        }
        self.rows_of_w1(0..self.keywords.rows.len(), 0, step.w1)
    }

    /// Steps on the rows of W1 of the keywords at `places`. `table` begins at row `first`.
    fn rows_of_w1(&self, places: Range<usize>, first: usize, mut table: StepRows<'_>) -> Result<()> {
        let width = self.shape.row_blocks();
        let rows = &self.keywords.rows;
        if self.workers.divides(places.len(), width * (self.keywords.pairs_per_row() + 4)) {
            let middle = places.start + places.len() / 2;
            let boundary = rows[middle] as usize;
            let (left, right) = table.split_at(boundary - first);
            let (left, right) = self.workers.join(
                || self.rows_of_w1(places.start..middle, first, left),
                || self.rows_of_w1(middle..places.end, boundary, right),
            );
            return left.and(right);
        }
        with_buffer(2 * width, |buffer| {
            let (zero, gradients) = buffer.split_at_mut(width);
            for start in places.clone().step_by(gradients.len() / width.max(1)) {
                let some = start..places.end.min(start + gradients.len() / width.max(1));
                let gradients = &mut gradients[..some.len() * width];
                let samples = self.keywords.samples_of(some.clone());
                embedding_bag::backward_rows(self.kernels, &self.pass.d_pre_activations, samples, zero, gradients)?;
                table.step_rows(&rows[start..places.end], first, gradients)?;
            }
            Ok(())
        })
    }

    fn output_weights(&self, all: &[u32], w2: &mut OutputStep<'_>) -> Result<()> {
        for group in self.shape.groups() {
            match self.shape.layout() {
                OutputLayout::TagMajor => {
                    // A tag's row is the sum of hidden vectors, each times the tag's δ.
                    let output_rows = OutputRows {
                        rows: Rows { blocks: &self.pass.hidden, stride: self.shape.row_blocks(), first: group.hidden.start },
                        factors: as_floats(&self.pass.delta),
                        stride: self.shape.slot_blocks() * LANES,
                        offset: group.slots.start,
                        width: group.hidden.len(),
                    };
                    self.output_rows(&output_rows, 0, all, w2.rows(group.w2.clone(), output_rows.width))?;
                }
                OutputLayout::Panels => {
                    for panel in self.shape.panels(group) {
                        // A unit's row is the sum of the samples' δ, each times the unit's value.
                        let output_rows = OutputRows {
                            rows: Rows { blocks: &self.pass.delta, stride: self.shape.slot_blocks(), first: panel.slots.start },
                            factors: as_floats(&self.pass.hidden),
                            stride: self.shape.row_blocks() * LANES,
                            offset: group.hidden.start * LANES,
                            width: panel.slots.len(),
                        };
                        self.output_rows(&output_rows, 0, all, w2.rows(panel.w2.clone(), output_rows.width))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Steps on output rows from row `first_row` on, as many as `rows` holds.
    fn output_rows(&self, form: &OutputRows<'_>, first_row: usize, all: &[u32], mut rows: StepRows<'_>) -> Result<()> {
        let count = rows.count();
        if self.workers.divides(count, form.width * (self.samples + 4)) {
            let middle = count / 2;
            let (left, right) = rows.split_at(middle);
            let (left, right) = self.workers.join(
                || self.output_rows(form, first_row, all, left),
                || self.output_rows(form, first_row + middle, all, right),
            );
            return left.and(right);
        }
        let mut gradient = vec![Block::ZERO; form.width];
        let (mut samples, mut factors) = (Vec::with_capacity(all.len()), Vec::with_capacity(all.len()));
        for row in 0..count {
            samples.clear();
            factors.clear();
            for &sample in all {
                let factor = form.factors[sample as usize * form.stride + form.offset + first_row + row];
                if factor != 0.0 {
                    samples.push(sample);
                    factors.push(factor);
                }
            }
            output::backward_row(self.kernels, form.rows, &samples, &factors, &mut gradient)?;
            rows.step(row, &mut gradient)?;
        }
        Ok(())
    }
}

/// Blocks of a buffer on the stack: 16 KiB, which the nearest cache holds beside the rows that are read.
const BUFFER: usize = 256;

/// Runs `work` with a buffer of zeros, at least `least` blocks long.
fn with_buffer<R>(least: usize, work: impl FnOnce(&mut [Block]) -> R) -> R {
    if least <= BUFFER { work(&mut [Block::ZERO; BUFFER]) } else { work(&mut vec![Block::ZERO; least]) }
}

/// Rows of W2 that lie side by side and have gradients of the same form: row r is the sum over samples i of
/// `factors[i·stride + offset + r]` times row i of `rows`.
struct OutputRows<'a> {
    rows: Rows<'a>,
    factors: &'a [f32],
    /// Floats from one sample's factors to the next.
    stride: usize,
    /// Floats before the factor of row 0.
    offset: usize,
    /// Blocks in a row.
    width: usize,
}
