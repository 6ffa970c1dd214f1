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
    /// For each id that there can be 0; while ids are taken in, a count or a place.
    counts: Vec<u32>,
    distinct: IdSet,
}

impl ByRow {
    /// Nothing yet, for ids below `ids`.
    pub(super) fn new(ids: usize) -> Self {
        ByRow { counts: vec![0; ids], distinct: IdSet::new(ids), ..ByRow::default() }
    }

    /// How many ids there can be.
    pub(super) fn ids(&self) -> usize {
        self.counts.len()
    }

    /// Takes in the ids of samples, fewer than 2^32 in all: those of sample i are the set `ids[starts[i]..starts[i + 1]]`.
    pub(super) fn load(&mut self, ids: &[u32], starts: &[usize]) {
        self.count = starts.len().saturating_sub(1);
        if self.count == 1 {
            // Its ids are the rows.
            self.rows.clear();
            self.rows.extend_from_slice(ids);
            self.starts.clear();
            self.starts.extend(0..=ids.len());
            self.samples.clear();
            self.samples.resize(ids.len(), 0);
            return;
        }
        // Which ids are new is not to be foreseen, so each is written down, and stays if it is.
        self.rows.resize(ids.len(), 0);
        let mut distinct = 0;
        for &id in ids {
            let count = &mut self.counts[id as usize];
            self.rows[distinct] = id;
            distinct += usize::from(*count == 0);
            *count += 1;
        }
        self.distinct.sort(&mut self.rows, distinct);
        // A counting sort: sizes become starts, then every sample goes to the end of its row's part so far.
        self.starts.clear();
        let mut start = 0;
        for &row in &self.rows {
            self.starts.push(start as usize);
            let count = &mut self.counts[row as usize];
            start += std::mem::replace(count, start);
        }
        self.starts.push(start as usize);
        self.samples.resize(ids.len(), 0);
        for (sample, bounds) in (0..).zip(starts.windows(2)) {
            for &id in &ids[bounds[0]..bounds[1]] {
                let place = &mut self.counts[id as usize];
                self.samples[*place as usize] = sample;
                *place += 1;
            }
        }
        for &row in &self.rows {
            self.counts[row as usize] = 0;
        }
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

/// Sorts ids by means of a set of bits, in time that grows with their number alone.
#[derive(Clone, Debug, Default)]
struct IdSet {
    /// Bit i of all is 0 between sorts.
    bits: Vec<u64>,
    /// Bit w tells that word w of `bits` is not 0.
    words: Vec<u64>,
}

impl IdSet {
    fn new(ids: usize) -> Self {
        let words = ids.div_ceil(64);
        IdSet { bits: vec![0; words], words: vec![0; words.div_ceil(64)] }
    }

    /// Sorts the first `count` of `ids`, which differ, and drops the others.
    fn sort(&mut self, ids: &mut Vec<u32>, count: usize) {
        ids.truncate(count);
        for &id in ids.iter() {
            let word = id as usize / 64;
            self.bits[word] |= 1 << (id % 64);
            self.words[word / 64] |= 1 << (word % 64);
        }
        ids.clear();
        for (first, word) in (0..).step_by(64).zip(&mut self.words) {
            for at in ones(std::mem::take(word)) {
                let word: u32 = first + at;
                ids.extend(ones(std::mem::take(&mut self.bits[word as usize])).map(|bit| word * 64 + bit));
            }
        }
    }
}

/// The places of the bits of `word` that are 1, ascending.
fn ones(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let place = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (place < 64).then_some(place)
    })
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
