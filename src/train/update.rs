//! Gradients of the parameters, each row summed over the samples in order and handed to the optimiser.
//!
//! A row is written by one thread, and its sum does not depend on which: so training is the same for every number of threads.

use std::ops::Range;

use super::batch::Keywords;
use super::by_row::ByRow;
use super::optimizer::{OutputStep, Step, StepRows, UnitStep};
use super::pairs::{OutputGradients, Outputs};
use super::pass::Pass;
use crate::aligned::{Block, LANES, as_floats, as_floats_mut};
use crate::error::Result;
use crate::ids::Sets;
use crate::kernels::{Kernels, PANEL_BLOCKS, Product, Rows, RowsMut, is_dense};
use crate::layers::embedding_bag;
use crate::network::{Group, OutputLayout, Shape};
use crate::workers::Workers;

/// What the updates of one step work on.
pub(super) struct Update<'a> {
    pub(super) kernels: Kernels,
    pub(super) shape: &'a Shape,
    pub(super) keywords: &'a Keywords,
    pub(super) outputs: Outputs<'a>,
    /// The rows of W1 that the step is on, ascending: those of keywords, and of outputs where these are W1 too.
    pub(super) rows_of_w1: &'a [u32],
    pub(super) pass: &'a mut Pass,
    pub(super) scratch: &'a mut UpdateScratch,
    pub(super) samples: usize,
    pub(super) workers: Workers,
}

/// Buffers of [`Update`].
#[derive(Clone, Debug, Default)]
pub(super) struct UpdateScratch {
    /// Every sample.
    all: Vec<u32>,
    lists: UnitLists,
}

/// The share of active units from which gradients of output weights in many panels are dense products: with 44 % of 16 panels the sparse form
/// took 0.7 of the dense one's time.
const DENSE_GRADIENTS_FROM: f64 = 0.65;

/// By how much less with one panel: listing the active units takes as long as so many of them in a panel.
const LISTING: f64 = 0.5;

impl Update<'_> {
    /// Takes the step on all parameters.
    pub(super) fn run(self, step: Step<'_>) -> Result<()> {
        self.scratch.all.clear();
        self.scratch.all.extend((0..).take(self.samples));
        if let Some(b1) = step.b1 {
            self.bias(&self.pass.d_pre_activations, self.shape.row_blocks(), b1)?;
        }
        let factor = self.keywords.factor;
        if factor != 1.0 {
            // The hidden biases have had their step: from here on dL/da stands for what a keyword's row sees of it.
            as_floats_mut(&mut self.pass.d_pre_activations).iter_mut().for_each(|d| *d *= factor);
        }
        // From here on the pass is only read, and the layers write different parameters: both can be stepped on at a time.
        let mut lists = std::mem::take(&mut self.scratch.lists);
        let (w1, b2, output) = (step.w1, step.b2, step.output);
        let tied = matches!(output, OutputStep::Tied);
        let output_layer = || self.output_layer(b2, output, &mut lists);
        let first_layer = || match self.outputs {
            Outputs::Listed(pairs) if tied => self.tied_rows(w1, &pairs.by_row, pairs.gradients(&self.pass.delta)),
            _ => self.rows_of_w1(w1),
        };
        // Rows of W1 that are worth dividing are worth a thread beside the output layer, however small that is.
        let (output_layer, first_layer) = if self.divides_rows(0..self.keywords.by_row.rows.len()) {
            self.workers.join(output_layer, first_layer)
        } else {
            (output_layer(), first_layer())
        };
        self.scratch.lists = lists;
        output_layer.and(first_layer)
    }

    fn output_layer(&self, b2: Option<StepRows<'_>>, output: OutputStep<'_>, lists: &mut UnitLists) -> Result<()> {
        match self.outputs {
            Outputs::All => {
                if let Some(b2) = b2 {
                    self.bias(&self.pass.delta, self.shape.slot_blocks(), b2)?;
                }
                if let OutputStep::Units(mut w2) = output {
                    self.output_weights(&mut w2, lists)?;
                    w2.finish(self.shape)?;
                }
            }
            Outputs::Listed(pairs) => {
                let gradients = pairs.gradients(&self.pass.delta);
                if let Some(mut b2) = b2 {
                    gradients.step_biases(&mut b2)?;
                }
                if let OutputStep::Rows(w2) = output {
                    let gradient =
                        |place, out: &mut [Block]| gradients.add_row(self.kernels, place, &self.pass.hidden, None, out);
                    self.rows_one_by_one(&pairs.by_row.rows, pairs.by_row.samples_per_row(), w2, gradient)?;
                }
            }
        }
        Ok(())
    }

    /// Whether steps on the rows of W1 of the keywords at `places` are worth dividing.
    fn divides_rows(&self, places: Range<usize>) -> bool {
        places.len() > 1 && self.workers.divides(self.keywords.by_row.cost(places), self.shape.row_blocks())
    }

    /// Steps on the rows of W1 where they are output weights too: each is the sum of its samples' da, and of its gradient as one of these.
    fn tied_rows(&self, table: StepRows<'_>, scored: &ByRow, as_output: OutputGradients<'_>) -> Result<()> {
        let by_keyword = &self.keywords.by_row;
        self.rows_one_by_one(self.rows_of_w1, by_keyword.samples_per_row(), table, |place, out| {
            let row = self.rows_of_w1[place];
            match by_keyword.place_of(row) {
                Some(place) => {
                    let samples = by_keyword.samples_of_one(place);
                    embedding_bag::backward_row(self.kernels, &self.pass.d_pre_activations, samples, out)?;
                }
                None => out.fill(Block::ZERO),
            }
            let Some(place) = scored.place_of(row) else { return Ok(()) };
            let as_input = out.to_vec();
            as_output.add_row(self.kernels, place, &self.pass.hidden, Some(&as_input), out)
        })
    }

    /// Steps on a bias, whose gradient is the sum of all samples' rows.
    fn bias(&self, rows: &[Block], width: usize, mut bias: StepRows<'_>) -> Result<()> {
        with_buffer(width, |buffer| {
            let gradient = &mut buffer[..width];
            self.kernels.sum_rows(Rows::new(rows, width), None, &self.scratch.all, gradient)?;
            bias.step(0, gradient)
        })
    }

    /// Steps on the rows of W1 of the keywords.
    fn rows_of_w1(&self, table: StepRows<'_>) -> Result<()> {
        let by_row = &self.keywords.by_row;
        let halve = |places: Range<usize>| self.divides_rows(places.clone()).then(|| by_row.middle(places));
        RowParts { workers: self.workers, rows: &by_row.rows, halve }.run(table, &|places, first, mut table| {
            table.step_bags(&by_row.rows[places.clone()], first, &self.pass.d_pre_activations, by_row.samples_of(places))
        })
    }

    /// Steps on rows of a table one after the other; `gradient(place, out)` writes the gradient of the row at a place among the rows.
    fn rows_one_by_one(
        &self,
        rows: &[u32],
        samples_per_row: usize,
        table: StepRows<'_>,
        gradient: impl Fn(usize, &mut [Block]) -> Result<()> + Sync,
    ) -> Result<()> {
        let cost = self.shape.row_blocks() * (samples_per_row + 4);
        let halve = |places: Range<usize>| self.workers.divides(places.len(), cost).then(|| places.start.midpoint(places.end));
        RowParts { workers: self.workers, rows, halve }.run(table, &|places, first, mut table| {
            let mut sum = vec![Block::ZERO; table.width()];
            for place in places {
                gradient(place, &mut sum)?;
                table.step(rows[place] as usize - first, &mut sum)?;
            }
            Ok(())
        })
    }

    fn output_weights(&self, w2: &mut UnitStep<'_>, lists: &mut UnitLists) -> Result<()> {
        let hidden = as_floats(&self.pass.hidden);
        for group in self.shape.groups() {
            match self.shape.layout() {
                OutputLayout::TagMajor => {
                    // A tag's row is the sum of hidden vectors, each times the tag's δ.
                    let rows = OutputRows {
                        rows: Rows { blocks: &self.pass.hidden, stride: self.shape.row_blocks(), first: group.hidden.start },
                        factors: &as_floats(&self.pass.delta)[group.slots.start..],
                        stride: self.shape.slot_blocks() * LANES,
                        lists: None,
                        width: group.hidden.len(),
                    };
                    self.output_rows(&rows, 0, w2.rows(group.w2.clone(), rows.width))?;
                }
                OutputLayout::Panels => {
                    let (stride, units) = (self.shape.row_blocks() * LANES, self.shape.hidden());
                    let factors = &hidden[group.hidden.start * LANES..];
                    let active = factors.chunks(stride.max(1)).map(|h| h[..units].iter().filter(|h| **h != 0.0).count()).sum();
                    let count = Shape::panel_count(group);
                    let dense = is_dense(active, self.samples, units, DENSE_GRADIENTS_FROM - LISTING / count.max(1) as f64);
                    if !dense {
                        lists.load(factors, stride, units, self.samples);
                    }
                    let panels = Panels { group, factors, lists: (!dense).then_some(&*lists) };
                    self.panels(&panels, 0..count, w2.rows(group.w2.clone(), 1))?;
                }
            }
        }
        Ok(())
    }

    /// Steps on the weights of some panels of a group, of which `blocks` are the blocks.
    fn panels(&self, of: &Panels<'_>, numbers: Range<usize>, blocks: StepRows<'_>) -> Result<()> {
        let panel = |number| self.shape.panel(of.group, number);
        let cost = self.shape.hidden() * PANEL_BLOCKS * (self.samples + 4) / NEAR;
        if self.workers.divides(numbers.len(), cost) {
            let middle = numbers.start.midpoint(numbers.end);
            let (left, right) = blocks.split_at(panel(middle).w2.start - panel(numbers.start).w2.start);
            let (left, right) = self
                .workers
                .join(|| self.panels(of, numbers.start..middle, left), || self.panels(of, middle..numbers.end, right));
            return left.and(right);
        }
        let mut rest = blocks;
        for panel in numbers.map(panel) {
            // A unit's row is the sum of the samples' δ, each times the unit's value.
            let rows = OutputRows {
                rows: Rows { blocks: &self.pass.delta, stride: self.shape.slot_blocks(), first: panel.slots.start },
                factors: of.factors,
                stride: self.shape.row_blocks() * LANES,
                lists: of.lists,
                width: panel.slots.len(),
            };
            let (blocks, right) = rest.split_at(panel.w2.len());
            self.output_rows(&rows, 0, blocks.in_rows_of(rows.width))?;
            rest = right;
        }
        Ok(())
    }

    /// Steps on output rows from row `first` on, as many as `rows` holds.
    fn output_rows(&self, form: &OutputRows<'_>, first: usize, mut rows: StepRows<'_>) -> Result<()> {
        let count = rows.count();
        if count >= 2 * LEAST_ROWS && self.workers.divides(count, form.width * (self.samples + 4) / NEAR) {
            let middle = count / 2;
            let (left, right) = rows.split_at(middle);
            let (left, right) =
                self.workers.join(|| self.output_rows(form, first, left), || self.output_rows(form, first + middle, right));
            return left.and(right);
        }
        // Listed, the samples' rows are to stay near, too.
        let blocks = if form.lists.is_some() { BUFFER / 4 } else { BUFFER };
        let at_once = (blocks / form.width.max(1)).max(1);
        with_buffer(form.width, |buffer| {
            for start in (0..count).step_by(at_once) {
                let gradients = &mut buffer[..at_once.min(count - start) * form.width];
                form.gradients(self.kernels, self.samples, first + start, gradients)?;
                rows.step(start, gradients)?;
            }
            Ok(())
        })
    }
}

/// Some rows of a table, in parts that threads take.
struct RowParts<'a, H> {
    workers: Workers,
    /// The rows, ascending.
    rows: &'a [u32],
    /// The place that divides some places among them, if these are worth dividing.
    halve: H,
}

impl<H: Fn(Range<usize>) -> Option<usize> + Sync> RowParts<'_, H> {
    /// Calls `step(places, first, table)` for parts of the rows; the table of a part begins at row `first`.
    fn run(&self, table: StepRows<'_>, step: &(impl Fn(Range<usize>, usize, StepRows<'_>) -> Result<()> + Sync)) -> Result<()> {
        self.run_part(0..self.rows.len(), 0, table, step)
    }

    fn run_part(
        &self,
        places: Range<usize>,
        first: usize,
        table: StepRows<'_>,
        step: &(impl Fn(Range<usize>, usize, StepRows<'_>) -> Result<()> + Sync),
    ) -> Result<()> {
        let Some(middle) = (self.halve)(places.clone()) else { return step(places, first, table) };
        let boundary = self.rows[middle] as usize;
        let (left, right) = table.split_at(boundary - first);
        let (left, right) = self.workers.join(
            || self.run_part(places.start..middle, first, left, step),
            || self.run_part(middle..places.end, boundary, right, step),
        );
        left.and(right)
    }
}

/// What the steps on panels of a group read.
struct Panels<'a> {
    group: &'a Group,
    /// The hidden values of the group in the first sample, and all that follow.
    factors: &'a [f32],
    /// See [`OutputRows::lists`].
    lists: Option<&'a UnitLists>,
}

/// Rows of W2 that lie side by side and have gradients of the same form: row r is the sum over samples i of
/// `factors[i·stride + r]` times row i of `rows`.
struct OutputRows<'a> {
    rows: Rows<'a>,
    factors: &'a [f32],
    /// Floats from one sample's factors to the next.
    stride: usize,
    /// The factors that are not 0, where enough are 0 to leave them out.
    lists: Option<&'a UnitLists>,
    /// Blocks in a row.
    width: usize,
}

impl OutputRows<'_> {
    /// Writes the gradients of the rows from row `first` on.
    fn gradients(&self, kernels: Kernels, samples: usize, first: usize, gradients: &mut [Block]) -> Result<()> {
        let count = gradients.len().checked_div(self.width).unwrap_or(0);
        if let Some(lists) = self.lists {
            gradients.fill(Block::ZERO);
            return lists
                .parts(first..first + count, samples)
                .try_for_each(|sets| kernels.sum_weighted_bags(self.rows, sets, &lists.values, gradients));
        }
        let product = Product {
            items: count,
            terms: samples,
            factors: &self.factors[first..],
            item_stride: 1,
            term_stride: self.stride,
            rows: self.rows,
            width: self.width,
        };
        kernels.product(product, &mut RowsMut { blocks: gradients, stride: self.width, first: 0 })
    }
}

/// Rows of output weights that one thread takes at least: for each such part all samples are read again. Where rows are tags there
/// are fewer, and they are little beside W1.
const LEAST_ROWS: usize = 32;

/// How many times faster the blocks of a product are read than the rows of tables, which are not near.
const NEAR: usize = 8;

/// Samples whose δ of a panel the nearest cache holds.
const PART: usize = 64;

/// For each hidden unit of a group, the samples in which it is not 0, and its values in them: [`PART`] samples after the other.
#[derive(Clone, Debug, Default)]
struct UnitLists {
    units: usize,
    /// Those of unit u in part p lie from `starts[p * units + u]` on, to the next.
    starts: Vec<usize>,
    samples: Vec<u32>,
    values: Vec<f32>,
}

impl UnitLists {
    /// Lists the units of `samples` samples; the values of sample i begin at `hidden[i * stride]`.
    fn load(&mut self, hidden: &[f32], stride: usize, units: usize, samples: usize) {
        let UnitLists { starts, samples: numbers, values, .. } = self;
        self.units = units;
        numbers.resize(units * samples, 0);
        values.resize(units * samples, 0.0);
        starts.clear();
        let (list, of) = (&mut numbers[..], &mut values[..]);
        let mut end = 0;
        for first in (0..samples).step_by(PART) {
            let part = &hidden[first * stride..];
            for unit in 0..units {
                starts.push(end);
                for (sample, hidden) in part.chunks(stride.max(1)).take(PART.min(samples - first)).enumerate() {
                    // Which units are on is not to be foreseen, so each is written down, and stays if it is.
                    let value = hidden[unit];
                    (list[end], of[end]) = ((first + sample) as u32, value);
                    end += usize::from(value != 0.0);
                }
            }
        }
        starts.push(end);
    }

    /// The lists of some units in one part after the other, of so many samples in all: a set of samples for each unit.
    fn parts(&self, units: Range<usize>, samples: usize) -> impl Iterator<Item = Sets<'_>> {
        (0..samples.div_ceil(PART)).map(move |part| {
            let starts = &self.starts[part * self.units..][units.start..=units.end];
            Sets::known(&self.samples, starts, samples as u64)
        })
    }
}

/// Blocks of a buffer on the stack: 16 KiB, which the nearest cache holds beside the rows that are read.
const BUFFER: usize = 256;

/// Runs `work` with a buffer at least `least` blocks long.
fn with_buffer<R>(least: usize, work: impl FnOnce(&mut [Block]) -> R) -> R {
    if least <= BUFFER { work(&mut [Block::ZERO; BUFFER]) } else { work(&mut vec![Block::ZERO; least]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_the_samples_in_which_a_unit_is_on() {
        let mut lists = UnitLists::default();
        lists.load(&[0.0], 1, 1, 1);
        assert_eq!(lists.starts, [0, 0]);
        lists.load(&[1.0, 0.0, -2.0, 9.0, 0.0, 0.0, 3.0, 9.0], 4, 3, 2);
        let of_parts = |lists: &UnitLists, units: Range<usize>, samples| -> Vec<(Vec<u32>, Vec<f32>)> {
            let sets = lists.parts(units, samples).flat_map(|sets| sets.places().collect::<Vec<_>>());
            sets.map(|(places, set)| (set.to_vec(), lists.values[places].to_vec())).collect()
        };
        let expected = [(vec![0], vec![1.0]), (vec![], vec![]), (vec![0, 1], vec![-2.0, 3.0])];
        assert_eq!(of_parts(&lists, 0..3, 2), expected);
        // A unit that is always on, and one that is on in the first sample of each part.
        let samples = 2 * PART + 5;
        let hidden: Vec<f32> = (0..samples).flat_map(|i| [1.0, f32::from(u8::from(i % PART == 0))]).collect();
        lists.load(&hidden, 2, 2, samples);
        let always = [0..PART, PART..2 * PART, 2 * PART..samples].map(|part| part.map(|i| i as u32).collect::<Vec<u32>>());
        let found = of_parts(&lists, 0..1, samples);
        assert_eq!(found.iter().map(|(set, _)| set).collect::<Vec<_>>(), always.iter().collect::<Vec<_>>());
        let found = of_parts(&lists, 1..2, samples);
        assert_eq!(found.iter().flat_map(|(set, _)| set.clone()).collect::<Vec<_>>(), [0, PART as u32, 2 * PART as u32]);
    }

    #[test]
    fn a_buffer_is_as_long_as_it_has_to_be() {
        for least in [0, 1, BUFFER, BUFFER + 1, 10 * BUFFER] {
            assert!(with_buffer(least, |buffer| buffer.len()) >= least, "{least}");
        }
    }
}
