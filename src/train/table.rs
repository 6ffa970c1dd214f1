//! A parameter with many rows, of which a mini-batch touches a few: W1, and output weights that are scored by lists of pairs.
//!
//! Rows that a step does not touch are not written. Where they decay in every step all the same, they catch up when they are next
//! read ([`super::decay`]).

use super::codec::Codec;
use super::config::{DecayMode, TrainConfig};
use super::decay::{LazyDecay, Missed};
use super::optimizer::{Rule, StepRows, Sums};
use super::undo::Undo;
use crate::aligned::{Block, LANES};
use crate::buffer::Buffer;
use crate::error::Result;
use crate::kernels::{Kernels, ProximalSteps};

/// The optimiser's memory of the parameter; the weights are elsewhere.
#[derive(Debug)]
pub(super) struct Table {
    size: TableSize,
    sums: Sums,
    lazy: Option<LazyDecay>,
    undo: Undo,
}

/// The rows that a mini-batch touches, ascending.
#[derive(Clone, Copy, Debug)]
pub(super) struct Touched<'a> {
    /// Of W1.
    pub(super) w1: &'a [u32],
    /// Of W2, where its rows are outputs.
    pub(super) outputs: &'a [u32],
}

/// The size of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableSize {
    pub(super) rows: usize,
    /// Weights in a row.
    pub(super) length: usize,
    /// Blocks in a row.
    pub(super) width: usize,
}

impl Table {
    /// The memory of a parameter that is called `what` where there is none for it.
    pub(super) fn new(config: &TrainConfig, rowwise: bool, what: &'static str, size: TableSize) -> Result<Self> {
        Ok(Table {
            size,
            sums: Sums::new(config, rowwise, what, size.rows * size.width, size.rows)?,
            lazy: LazyDecay::new(config, size.rows),
            undo: Undo::default(),
        })
    }

    /// Brings rows up to date, before they are read. [`Table::undo`] takes it back.
    pub(super) fn catch_up(&mut self, rule: &Rule, kernels: Kernels, rows: &[u32], weights: &mut [Block]) -> Result<()> {
        let Some(lazy) = &mut self.lazy else { return Ok(()) };
        self.undo.keep(lazy, rows, self.size.width, weights, &self.sums);
        for row in rows.iter().map(|row| *row as usize) {
            catch_up(rule, kernels, lazy, self.size, row, weights, &mut self.sums)?;
            lazy.touch(row);
        }
        Ok(())
    }

    /// Takes the last [`Table::catch_up`] back.
    pub(super) fn undo(&mut self, rows: &[u32], weights: &mut [Block]) {
        if let Some(lazy) = &mut self.lazy {
            self.undo.restore(lazy, rows, self.size.width, weights, &mut self.sums);
        }
    }

    /// Begins a step at rate `lr`, to be taken on the rows that [`Table::catch_up`] was told.
    pub(super) fn begin<'a>(
        &'a mut self,
        rule: &Rule,
        kernels: Kernels,
        lr: f64,
        rows: &[u32],
        weights: &'a mut [Block],
    ) -> StepRows<'a> {
        if let Some(lazy) = &mut self.lazy {
            lazy.advance(lr, rule.l1, rule.l2);
            rows.iter().for_each(|row| lazy.touch(*row as usize));
        }
        StepRows::new(rule.constants(kernels, lr), self.size.width, weights, self.sums.memory(self.size.length))
    }

    /// Catches all rows up where the log of their decay has grown long.
    pub(super) fn flush_if_due(&mut self, rule: &Rule, kernels: Kernels, weights: &mut [Block]) -> Result<()> {
        let Some(lazy) = self.lazy.as_mut().filter(|lazy| lazy.wants_flush()) else { return Ok(()) };
        for row in 0..self.size.rows {
            catch_up(rule, kernels, lazy, self.size, row, weights, &mut self.sums)?;
        }
        lazy.restart();
        Ok(())
    }

    /// Copies of the weights and their sums with all decay applied, if rows decay lazily.
    fn caught_up(&self, rule: &Rule, kernels: Kernels, weights: &[Block]) -> Option<(Buffer<Block>, Sums)> {
        let lazy = self.lazy.as_ref()?;
        let mut weights = Buffer::from(weights);
        // Decoupled decay asks no sums.
        let mut sums = if rule.mode == DecayMode::Decoupled { Sums::One } else { self.sums.clone() };
        for row in 0..self.size.rows {
            catch_up(rule, kernels, lazy, self.size, row, &mut weights, &mut sums).ok()?;
        }
        Some((weights, sums))
    }

    /// The weights with all decay applied; `None` if they are so already.
    pub(super) fn decayed(&self, rule: &Rule, kernels: Kernels, weights: &[Block]) -> Option<Buffer<Block>> {
        self.caught_up(rule, kernels, weights).map(|(weights, _)| weights)
    }

    /// The squared-gradient sum of every weight, all decay applied.
    pub(super) fn squares(&self, rule: &Rule, kernels: Kernels, weights: &[Block]) -> Buffer<Block> {
        let replayed =
            self.lazy.as_ref().is_some_and(LazyDecay::replays).then(|| self.caught_up(rule, kernels, weights)).flatten();
        let sums = replayed.as_ref().map_or(&self.sums, |(_, sums)| sums);
        sums.spread(weights.len(), |place| place / (self.size.width * LANES))
    }

    /// Writes or reads sums and clocks; which there are follows from the configuration.
    pub(super) fn visit(&mut self, codec: &mut dyn Codec) -> Result<()> {
        self.sums.visit(codec)?;
        self.lazy.as_mut().map_or(Ok(()), |lazy| lazy.visit(codec))
    }

    /// All rows count as decayed up to the present step.
    pub(super) fn restart(&mut self) {
        if let Some(lazy) = &mut self.lazy {
            lazy.restart();
        }
    }
}

/// Applies the decay that a row has missed to its weights, and to its sums if it enters them.
fn catch_up(
    rule: &Rule,
    kernels: Kernels,
    lazy: &LazyDecay,
    size: TableSize,
    row: usize,
    table: &mut [Block],
    sums: &mut Sums,
) -> Result<()> {
    let TableSize { length, width, .. } = size;
    let weights = &mut table[row * width..(row + 1) * width];
    match lazy.missed(row) {
        None => Ok(()),
        Some(Missed::Shrink(shrink)) => {
            kernels.shrink(&shrink, weights);
            Ok(())
        }
        Some(Missed::Proximal(rates)) => {
            let steps = ProximalSteps { l1: rule.l1, l2: rule.l2, denominator: rule.denominator, rates };
            kernels.proximal(&steps, weights, &sums.of_row(row, width))
        }
        Some(Missed::Replay(rates)) => {
            let mut gradient = vec![Block::ZERO; width];
            rates.iter().try_for_each(|&lr| {
                gradient.fill(Block::ZERO);
                let mut rows = StepRows::new(rule.constants(kernels, lr), width, table, sums.memory(length));
                rows.step(row, &mut gradient)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::objective::{Anchor, Objective};
    use super::super::optimizer::Optimizer;
    use super::super::parameters::Parameters;
    use super::*;
    use crate::ids::Sets;

    const NOTHING: Touched<'_> = Touched { w1: &[], outputs: &[] };

    /// An anchor model, both of whose tables decay lazily, and all of whose weights are 1.
    fn decaying(decay: DecayMode) -> (Optimizer, Parameters) {
        let objective = Objective::Anchor(Anchor::default());
        let config = TrainConfig { objective, decay, l2: 1e-3, lr_decay: 1e-3, hidden: 16, ..TrainConfig::default() };
        let shape = config.shape(3, 2).unwrap();
        (Optimizer::new(&config, &shape).unwrap(), Parameters::filled(&shape, false, 1.0).unwrap())
    }

    #[test]
    fn all_rows_are_caught_up_when_the_log_is_long() {
        for decay in [DecayMode::Prox, DecayMode::Coupled] {
            let (kernels, (mut optimizer, mut parameters)) = (Kernels::best(), decaying(decay));
            let flushed = (1..2000).find(|_| {
                optimizer.begin(kernels, 0.1, NOTHING, &mut parameters);
                optimizer.flush_if_due(kernels, &mut parameters).unwrap();
                parameters.w1[0].0[0] != 1.0
            });
            assert_eq!(flushed, Some(1024), "{decay}");
            assert!(parameters.w1.iter().chain(&parameters.w2[..]).all(|row| row.0.iter().all(|w| *w < 1.0)));
            assert_eq!(optimizer.decayed_w1(kernels, &parameters.w1).as_ref(), Some(&parameters.w1));
            assert_eq!(optimizer.decayed_w2(kernels, &parameters.w2).as_ref(), Some(&parameters.w2));
        }
    }

    #[test]
    fn rows_that_are_caught_up_have_missed_nothing() {
        for &decay in DecayMode::ALL {
            let (kernels, (mut optimizer, mut parameters)) = (Kernels::best(), decaying(decay));
            optimizer.begin(kernels, 0.1, NOTHING, &mut parameters);
            let touched = Touched { w1: &[1], outputs: &[0] };
            optimizer.catch_up(kernels, touched, &mut parameters).unwrap();
            let once = parameters.clone();
            assert!(once.w1[1] != once.w1[0] && once.w2[0] != once.w2[1], "{decay}");
            optimizer.catch_up(kernels, touched, &mut parameters).unwrap();
            assert_eq!(parameters, once, "{decay}");
        }
    }

    /// More than 4 MiB of weights and sums, whose rows are asked for ahead of their step.
    #[test]
    fn rows_of_large_tables_are_stepped_on_like_others() {
        let config = TrainConfig { hidden: 1024, ..TrainConfig::default() };
        let shape = config.shape(600, 1).unwrap();
        let (kernels, width, ids) = (Kernels::best(), shape.row_blocks(), (0..600).step_by(15).collect::<Vec<u32>>());
        let terms: Vec<Block> = (1..=10).flat_map(|n| vec![Block([n as f32; LANES]); width]).collect();
        let (samples, starts): (Vec<u32>, Vec<usize>) = ((0..10).cycle().take(ids.len()).collect(), (0..=ids.len()).collect());
        let run = |at_once: bool| {
            let mut parameters = Parameters::filled(&shape, false, 1.0).unwrap();
            assert!(2 * size_of_val(&parameters.w1[..]) > crate::kernels::PREFETCH_FROM);
            let mut optimizer = Optimizer::new(&config, &shape).unwrap();
            let mut rows = optimizer.begin(kernels, 0.1, NOTHING, &mut parameters).w1;
            if at_once {
                rows.step_bags(&ids, 0, &terms, Sets::new(&samples, &starts).unwrap()).unwrap();
            } else {
                for (id, term) in ids.iter().zip(terms.chunks(width).cycle()) {
                    rows.step(*id as usize, &mut term.to_vec()).unwrap();
                }
            }
            parameters.w1
        };
        assert_eq!(run(true), run(false));
    }
}
