//! The order in which an epoch visits its samples: by ascending random key, worked out piece by piece.
//!
//! To sort all keys at once takes 16 bytes a sample. Here keys are taken in ranges, so that no more than about [`PIECE`] samples are
//! sorted at a time; a range costs one look at every sample's key. The order is that of [`Philox::permutation`].

use crate::rng::Philox;

/// Samples in a range of keys, about.
const PIECE: usize = 1 << 22;

/// An order, and a place in it.
#[derive(Clone, Debug)]
pub(super) struct Order {
    rng: Philox,
    samples: u32,
    epoch: u32,
    /// Ranges of keys.
    ranges: u64,
    /// The next one.
    next: u64,
    /// Samples that are worked out, from the place on, in reverse.
    piece: Vec<u32>,
}

impl Order {
    /// The order of those of `samples` samples that are `kept`, in `epoch`, from place `from` on.
    pub(super) fn new(rng: Philox, samples: u32, epoch: u32, from: u64, kept: impl Fn(u32) -> bool) -> Self {
        Self::in_pieces(rng, samples, epoch, from, PIECE, kept)
    }

    fn in_pieces(rng: Philox, samples: u32, epoch: u32, mut from: u64, piece: usize, kept: impl Fn(u32) -> bool) -> Self {
        let ranges = (samples as usize).div_ceil(piece).max(1) as u64;
        let mut order = Order { rng, samples, epoch, ranges, next: 0, piece: Vec::new() };
        while order.next < order.ranges {
            order.work_out(&kept);
            let left = order.piece.len() as u64;
            if from < left {
                order.piece.truncate((left - from) as usize);
                return order;
            }
            from -= left;
            order.piece.clear();
        }
        order
    }

    /// Replaces `batch` by the next `size` samples, fewer at the end; `kept` is what the order was made with.
    pub(super) fn next(&mut self, size: usize, batch: &mut Vec<u32>, kept: impl Fn(u32) -> bool) {
        batch.clear();
        while batch.len() < size {
            match self.piece.pop() {
                Some(sample) => batch.push(sample),
                None if self.next < self.ranges => self.work_out(&kept),
                None => return,
            }
        }
    }

    /// Takes back the samples of the last [`Order::next`]: they come first in the next one.
    pub(super) fn put_back(&mut self, batch: &[u32]) {
        self.piece.extend(batch.iter().rev());
    }

    /// Works out the next range.
    fn work_out(&mut self, kept: impl Fn(u32) -> bool) {
        self.piece = self.rng.shuffled(self.samples, self.epoch, self.next, self.ranges);
        self.piece.retain(|sample| kept(*sample));
        self.piece.reverse();
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_permutation_from_any_place() {
        let rng = Philox::new(3);
        for (samples, piece) in [(0, 10), (1, 1), (1000, 64), (1000, 1000), (1000, 7)] {
            let kept = |sample: u32| sample % 10 != 3;
            let mut whole = rng.permutation(samples, 5);
            whole.retain(|sample| kept(*sample));
            for from in [0, 1, 63, 64, 65, 500, 999, 1000, 2000] {
                let mut order = Order::in_pieces(rng, samples, 5, from, piece, kept);
                let (mut found, mut batch) = (Vec::new(), Vec::new());
                loop {
                    order.next(32, &mut batch, kept);
                    order.put_back(&batch);
                    order.next(32, &mut batch, kept);
                    found.extend_from_slice(&batch);
                    if batch.len() < 32 {
                        break;
                    }
                }
                assert_eq!(found, whole[whole.len().min(from as usize)..], "{samples} {piece} {from}");
            }
        }
    }
}
