//! Taking back what was done to rows before a step was known to fail.

use super::decay::LazyDecay;
use super::optimizer::Sums;
use crate::aligned::{Block, LANES, as_floats_mut};
use crate::kernels::Squares;

/// What a step that fails has to put back: the rows that were caught up with their decay before it could be known to fail.
#[derive(Debug, Default)]
pub(super) struct Undo {
    weights: Vec<Block>,
    /// Sums of these rows; only replayed decay changes them.
    sums: Vec<Block>,
    seen: Vec<u32>,
}

impl Undo {
    pub(super) fn keep(&mut self, lazy: &LazyDecay, rows: &[u32], width: usize, weights: &[Block], sums: &Sums) {
        self.weights.clear();
        self.sums.clear();
        self.seen.clear();
        for row in rows.iter().map(|row| *row as usize) {
            self.weights.extend_from_slice(&weights[row * width..(row + 1) * width]);
            self.seen.push(lazy.seen(row));
            match sums.of_row(row, width) {
                Squares::Each(sums) if lazy.replays() => self.sums.extend_from_slice(sums),
                Squares::Same(sum) if lazy.replays() => self.sums.push(Block([sum; LANES])),
                _ => {}
            }
        }
    }

    pub(super) fn restore(&self, lazy: &mut LazyDecay, rows: &[u32], width: usize, weights: &mut [Block], sums: &mut Sums) {
        for (n, (&row, &seen)) in rows.iter().zip(&self.seen).enumerate() {
            let row = row as usize;
            let (range, kept) = (row * width..(row + 1) * width, n * width..(n + 1) * width);
            weights[range.clone()].copy_from_slice(&self.weights[kept.clone()]);
            lazy.untouch(row, seen);
            match sums {
                Sums::EachWeight(sums) if lazy.replays() => sums[range].copy_from_slice(&self.sums[kept]),
                Sums::EachRow(sums) if lazy.replays() => as_floats_mut(sums)[row] = self.sums[n].0[0],
                _ => {}
            }
        }
    }
}
