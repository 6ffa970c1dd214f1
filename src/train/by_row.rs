//! The other way round: from the ids of each sample to the samples of each id.

use std::ops::Range;

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
    /// How many ids there can be.
    ids: usize,
    sorter: Sorter,
}

impl ByRow {
    /// Nothing yet, for ids below `ids`.
    pub(super) fn new(ids: usize) -> Self {
        ByRow { ids, ..ByRow::default() }
    }

    /// How many ids there can be.
    pub(super) fn ids(&self) -> usize {
        self.ids
    }

    /// Takes in the ids of samples, fewer than 2^32 in all: those of sample i are the set `ids[starts[i]..starts[i + 1]]`.
    pub(super) fn load(&mut self, ids: &[u32], starts: &[usize]) {
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
            return;
        }
        let pairs = sorter.sort(ids, starts, self.ids);
        samples.clear();
        samples.extend(pairs.iter().map(|pair| *pair as u32));
        // Where a row ends is not to be foreseen, so each pair is written down as its row's last, and stays if it is.
        rows.resize(pairs.len(), 0);
        ends.resize(pairs.len() + 1, 0);
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

    /// The mean number of samples of a row, at least 1.
    pub(super) fn samples_per_row(&self) -> usize {
        self.samples.len().div_ceil(self.rows.len().max(1)).max(1)
    }
}

/// Sorts pairs of an id and a sample by id, digit by digit from the least: the time does not depend on how many ids there can be, as long
/// as they have as many digits.
#[derive(Clone, Debug, Default)]
struct Sorter {
    /// Ids in the high halves, samples in the low ones.
    pairs: Vec<u64>,
    room: Vec<u64>,
    /// Where the next pair with a digit goes.
    places: Vec<u32>,
}

impl Sorter {
    /// The pairs of samples that have `sets`, of ids below `end`; those of one id in the order of samples.
    fn sort(&mut self, ids: &[u32], starts: &[usize], end: usize) -> &[u64] {
        let bits = usize::BITS - end.saturating_sub(1).leading_zeros();
        // Counts of a digit should not be more than there are pairs, nor be far.
        let most = (ids.len().max(1).ilog2() + 1).clamp(8, 14);
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

    /// Batch after batch through the same buffers, ids at the ends of words and beyond one word of words.
    #[test]
    fn rows_and_their_samples_are_the_transposed_samples() {
        let mut by_row = ByRow::new(10_000);
        let batches: [&[&[u32]]; 6] = [
            &[&[0, 63, 64, 4095, 4096, 9999], &[63, 4096], &[], &[0, 1]],
            &[&[]],
            &[],
            &[&[9999], &[9999], &[5, 9999]],
            &[&[3, 5, 9999]],
            &[&[0, 63, 64, 4095, 4096, 9999], &[1, 2, 3]],
        ];
        for batch in batches {
            let ends = batch.iter().scan(0, |end, ids| {
                *end += ids.len();
                Some(*end)
            });
            by_row.load(&batch.concat(), &std::iter::once(0).chain(ends).collect::<Vec<usize>>());
            let mut expected: Vec<(u32, u32)> =
                (0..).zip(batch).flat_map(|(sample, ids)| ids.iter().map(move |id| (*id, sample))).collect();
            expected.sort_unstable();
            let sets = by_row.samples_of(0..by_row.rows.len());
            let found: Vec<(u32, u32)> = by_row
                .rows
                .iter()
                .zip(sets.iter())
                .flat_map(|(row, (samples, _))| samples.iter().map(|sample| (*row, *sample)))
                .collect();
            assert_eq!(found, expected);
            assert_eq!(by_row.rows.len(), sets.len());
        }
    }
}
