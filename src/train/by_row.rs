//! The other way round: from the ids of each sample to the samples of each id.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::ids::Sets;

/// The distinct ids of a mini-batch, and the samples that have each.
#[derive(Clone, Debug, Default)]
pub(super) struct ByRow {
    /// The distinct ids, ascending.
    pub(super) rows: Vec<u32>,
    /// The samples with id `rows[r]` are `samples[starts[r]..starts[r + 1]]`, ascending.
    samples: Vec<u32>,
    starts: Vec<usize>,
    /// How many samples were taken in.
    count: usize,
    /// Ids are below it.
    end: usize,
    sorter: Sorter,
}

impl ByRow {
    /// Nothing yet, for ids below `end`.
    pub(super) fn new(end: usize) -> Self {
        ByRow { end, ..ByRow::default() }
    }

    /// Ids are below it.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// Takes in the ids of samples: those of sample i are the set `ids[starts[i]..starts[i + 1]]`.
    ///
    /// # Errors
    /// [`Error::TooLarge`] of `what` from 2^32 ids on.
    pub(super) fn load(&mut self, what: &'static str, ids: &[u32], starts: &[usize]) -> Result<()> {
        if ids.len() > u32::MAX as usize {
            return Err(Error::TooLarge { what, limit: u32::MAX.into() });
        }
        self.count = starts.len().saturating_sub(1);
        let ByRow { rows, samples, starts: ends, sorter, .. } = self;
        if self.count == 1 {
            // Its ids are the rows.
            rows.clear();
            rows.extend_from_slice(ids);
            ends.clear();
            ends.extend(0..=ids.len());
            samples.clear();
            samples.resize(ids.len(), 0);
            return Ok(());
        }
        let pairs = sorter.sort(ids, starts, self.end);
        samples.clear();
        samples.extend(pairs.iter().map(|pair| *pair as u32));
        // Where a row ends is not to be foreseen, so each pair is written down as its row's last, and stays if it is.
        rows.resize(pairs.len(), 0);
        ends.resize(pairs.len() + 1, 0);
        ends[0] = 0;
        let (row, row_end) = (&mut rows[..], &mut ends[..]);
        let (mut distinct, mut last) = (0, u64::MAX);
        for (end, pair) in (1..).zip(pairs) {
            let id = pair >> 32;
            distinct += usize::from(id != last);
            (row[distinct - 1], row_end[distinct]) = (id as u32, end);
            last = id;
        }
        rows.truncate(distinct);
        ends.truncate(distinct + 1);
        Ok(())
    }

    /// The samples that have the ids at these places of `rows`, a set for each.
    pub(super) fn samples_of(&self, places: Range<usize>) -> Sets<'_> {
        Sets::known(&self.samples, &self.starts[places.start..=places.end], self.count as u64)
    }

    /// The samples that have id `rows[place]`, ascending.
    pub(super) fn samples_of_one(&self, place: usize) -> &[u32] {
        &self.samples[self.starts[place]..self.starts[place + 1]]
    }

    /// The place of an id in `rows`, if it is there.
    pub(super) fn place_of(&self, id: u32) -> Option<usize> {
        self.rows.binary_search(&id).ok()
    }

    /// What steps on the rows at `places` cost, in rows read: one a pair, and about 4 for the step itself.
    pub(super) fn cost(&self, places: Range<usize>) -> usize {
        self.cost_before(places.end) - self.cost_before(places.start)
    }

    /// What steps on the rows before `place` cost.
    fn cost_before(&self, place: usize) -> usize {
        self.starts[place] + 4 * place
    }

    /// The place that divides `places`, two at least, into halves of about the same [cost](Self::cost). Few rows hold most pairs.
    pub(super) fn middle(&self, places: Range<usize>) -> usize {
        let half = self.cost_before(places.start).midpoint(self.cost_before(places.end));
        let (mut low, mut high) = (places.start + 1, places.end - 1);
        while low < high {
            let middle = low.midpoint(high);
            if self.cost_before(middle) < half { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// The mean number of samples of a row, at least 1.
    pub(super) fn samples_per_row(&self) -> usize {
        self.samples.len().div_ceil(self.rows.len().max(1)).max(1)
    }
}

/// Sorts pairs of an id and a sample by id, digit by digit from the least: how many ids there can be matters only for the number and the width
/// of digits.
#[derive(Clone, Debug, Default)]
struct Sorter {
    /// Ids in the high halves, samples in the low ones.
    pairs: Vec<u64>,
    room: Vec<u64>,
    /// Where the next pair with a digit goes.
    places: Vec<u32>,
}

impl Sorter {
    /// The pairs of samples whose ids, below `end`, are `ids[starts[i]..starts[i + 1]]`; those of one id in the order of samples.
    fn sort(&mut self, ids: &[u32], starts: &[usize], end: usize) -> &[u64] {
        let bits = usize::BITS - end.saturating_sub(1).leading_zeros();
        // Few digits: the last one of ids by frequency is mostly 0, and each count of it waits for the one before. But they are to have no
        // more than some times as many values as there are pairs, and so few that their counts are near.
        let most = (ids.len().max(1).ilog2() + 2).clamp(8, 16);
        let digits = bits.div_ceil(most).max(1);
        let width = bits.div_ceil(digits);
        self.pairs.resize(ids.len(), 0);
        self.room.resize(ids.len(), 0);
        self.places.resize(1 << width, 0);
        let places = &mut self.places[..1 << width];

        let digit = |id: u32| id as usize % (1 << width);
        count(places, ids.iter().map(|id| digit(*id)));
        let pairs = &mut self.pairs[..];
        for (sample, bounds) in (0_u64..).zip(starts.windows(2)) {
            for &id in &ids[bounds[0]..bounds[1]] {
                let place = &mut places[digit(id)];
                pairs[*place as usize] = u64::from(id) << 32 | sample;
                *place += 1;
            }
        }
        for number in 1..digits {
            let digit = |pair: u64| (pair >> (32 + number * width)) as usize % (1 << width);
            count(places, self.pairs.iter().map(|pair| digit(*pair)));
            let room = &mut self.room[..];
            for &pair in &self.pairs {
                let place = &mut places[digit(pair)];
                room[*place as usize] = pair;
                *place += 1;
            }
            std::mem::swap(&mut self.pairs, &mut self.room);
        }
        &self.pairs
    }
}

/// Turns `places` into where the first pair with each digit goes.
fn count(places: &mut [u32], digits: impl Iterator<Item = usize>) {
    places.fill(0);
    digits.for_each(|digit| places[digit] += 1);
    let mut end = 0;
    for place in places {
        end += std::mem::replace(place, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batch after batch through the same buffers; ids of one to four digits, of few bits and of many.
    #[test]
    fn rows_and_their_samples_are_the_transposed_samples() {
        for end in [1, 200, 10_000, 1 << 31] {
            let mut by_row = ByRow::new(end);
            let last = end as u32 - 1;
            let of = |ids: &[u32]| {
                let mut set: Vec<u32> = ids.iter().map(|id| id.wrapping_mul(2_654_435_761) % end as u32).collect();
                crate::ids::canonicalize(&mut set);
                set
            };
            let many: Vec<Vec<u32>> =
                (0..50).map(|sample| of(&(0..400).map(|n| n * (sample + 1)).collect::<Vec<_>>())).collect();
            let batches = [
                vec![of(&[0, 63, 64, 4095]), of(&[63, 4096]), vec![], of(&[0, 1])],
                vec![vec![]],
                many,
                vec![],
                vec![vec![last], vec![last], of(&[5, 9])],
                vec![of(&[3, 5])],
                vec![of(&[0, 63, 64]), vec![last]],
            ];
            for batch in batches {
                let ends = batch.iter().scan(0, |end, ids| {
                    *end += ids.len();
                    Some(*end)
                });
                let starts: Vec<usize> = std::iter::once(0).chain(ends).collect();
                by_row.load("ids", &batch.concat(), &starts).unwrap();
                let mut expected: Vec<(u32, u32)> =
                    (0..).zip(&batch).flat_map(|(sample, ids)| ids.iter().map(move |id| (*id, sample))).collect();
                expected.sort_unstable();
                let sets = by_row.samples_of(0..by_row.rows.len());
                let found: Vec<(u32, u32)> = by_row
                    .rows
                    .iter()
                    .zip(sets.iter())
                    .flat_map(|(row, (samples, _))| samples.iter().map(|sample| (*row, *sample)))
                    .collect();
                assert_eq!(found, expected, "ids below {end}");
                assert_eq!(by_row.rows.len(), sets.len());
                let all = 0..by_row.rows.len();
                assert_eq!(by_row.cost(all.clone()), expected.len() + 4 * all.len());
                if all.len() > 1 {
                    // By no more than a row away from the best place.
                    let middle = by_row.middle(all.clone());
                    assert!(0 < middle && middle < all.end);
                    let larger = |middle| by_row.cost(0..middle).max(by_row.cost(middle..all.end));
                    assert!((1..all.end).all(|other| larger(other) + by_row.cost(middle - 1..middle) >= larger(middle)));
                }
            }
        }
    }
}
