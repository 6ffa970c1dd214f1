//! Gradients of the parameters, each row summed over the samples in order and handed to the optimiser.
//!
//! A row is written by one thread, and its sum does not depend on which: so training is the same for every number of threads.

use super::batch::Keywords;
use super::optimizer::{OutputStep, Step, StepRows, UnitStep};
use super::pairs::{OutputGradients, Outputs, RowSteps};
use super::pass::Pass;
use crate::aligned::{Block, LANES, as_floats};
use crate::error::Result;
use crate::kernels::{Kernels, Rows};
use crate::layers::embedding_bag::{self, Bag};
use crate::layers::output;
use crate::network::{OutputLayout, Shape};
use crate::workers::Workers;

/// What the updates of one step read.
#[derive(Clone, Copy)]
pub(super) struct Update<'a> {
    pub(super) kernels: Kernels,
    pub(super) shape: &'a Shape,
    pub(super) keywords: &'a Keywords,
    pub(super) outputs: Outputs<'a>,
    /// The rows of W1 that the step is on, ascending.
    pub(super) rows: &'a [u32],
    pub(super) pass: &'a Pass,
    pub(super) samples: usize,
    pub(super) workers: Workers,
}

impl Update<'_> {
    /// Takes the step on all parameters.
    pub(super) fn run(&self, step: Step<'_>) -> Result<()> {
        let all: Vec<u32> = (0..).take(self.samples).collect();
        let listed = match self.outputs {
            Outputs::All => None,
            Outputs::Listed(pairs) => Some((pairs, pairs.gradients(&self.pass.delta))),
        };
        let tied = listed.filter(|_| matches!(step.output, OutputStep::Tied)).map(|(_, gradients)| gradients);
        self.rows_of_w1(step.w1, tied)?;
        match (step.output, listed) {
            (OutputStep::Units(mut w2), _) => {
                self.output_weights(&all, &mut w2)?;
                w2.finish(self.shape)?;
            }
            (OutputStep::Rows(w2), Some((pairs, gradients))) => {
                let cost = self.shape.row_blocks() * (pairs.pairs_per_row() + 4);
                RowSteps { workers: self.workers, cost, rows: pairs.rows() }
                    .run(w2, &|place, out| gradients.add_row(self.kernels, place, &self.pass.hidden, None, out))?;
            }
            (OutputStep::Rows(_) | OutputStep::Tied, _) => {}
        }
        if let Some(mut b1) = step.b1 {
            let mut gradient = vec![Block::ZERO; self.shape.row_blocks()];
            embedding_bag::backward_row(self.kernels, &self.pass.d_pre_activations, Bag::of(&all), &mut gradient)?;
            b1.step(0, &mut gradient)?;
        }
        match (step.b2, listed) {
            (Some(mut b2), Some((_, gradients))) => gradients.step_biases(&mut b2),
            (Some(mut b2), None) => {
                let mut gradient = vec![Block::ZERO; self.shape.slot_blocks()];
                self.kernels.sum_rows(Rows::new(&self.pass.delta, gradient.len()), None, &all, &mut gradient)?;
                b2.step(0, &mut gradient)
            }
            (None, _) => Ok(()),
        }
    }

    /// Steps on the rows of W1: each is the sum of its samples' da, and of what it is as a row of output weights if it is one.
    fn rows_of_w1(&self, table: StepRows<'_>, tied: Option<OutputGradients<'_>>) -> Result<()> {
        let cost = self.shape.row_blocks() * (self.keywords.samples_per_row() + 4);
        let da = &self.pass.d_pre_activations;
        let steps = RowSteps { workers: self.workers, cost, rows: self.rows };
        let as_input = |place, out: &mut [Block]| {
            let (ids, factors) = self.keywords.samples_of(place);
            embedding_bag::backward_row(self.kernels, da, Bag { ids, factors }, out)
        };
        let Some(tied) = tied else { return steps.run(table, &as_input) };
        steps.run(table, &|place, out| {
            let row = self.rows[place];
            match self.keywords.place_of(row) {
                Some(place) => as_input(place, out)?,
                None => out.fill(Block::ZERO),
            }
            let Some(place) = tied.place_of(row) else { return Ok(()) };
            let as_input = out.to_vec();
            tied.add_row(self.kernels, place, &self.pass.hidden, Some(&as_input), out)
        })
    }

    fn output_weights(&self, all: &[u32], w2: &mut UnitStep<'_>) -> Result<()> {
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
