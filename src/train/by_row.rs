//! The other way round: from the ids of each sample to the samples of each id.

/// The distinct ids of a mini-batch, and the samples that have each.
#[derive(Clone, Debug, Default)]
pub(super) struct ByRow {
    /// The distinct ids, ascending.
    pub(super) rows: Vec<u32>,
    /// The samples with id `rows[r]` are `samples[starts[r]..starts[r + 1]]`, ascending.
    samples: Vec<u32>,
    starts: Vec<usize>,
    /// For each id that there can be its place in `rows`, or `ABSENT`.
    place: Vec<u32>,
}

const ABSENT: u32 = u32::MAX;

impl ByRow {
    /// Nothing yet, for ids below `ids`.
    pub(super) fn new(ids: usize) -> Self {
        ByRow { place: vec![ABSENT; ids], ..ByRow::default() }
    }

    /// Takes in the ids of samples: those of sample i are `ids[starts[i]..starts[i + 1]]`.
    pub(super) fn load(&mut self, ids: &[u32], starts: &[usize]) {
        self.rows.clear();
        for &id in ids {
            let place = &mut self.place[id as usize];
            if *place == ABSENT {
                *place = 0;
                self.rows.push(id);
            }
        }
        self.rows.sort_unstable();
        for (r, &row) in (0..).zip(&self.rows) {
            self.place[row as usize] = r;
        }
        // A counting sort: sizes, then starts, then every sample to the end of its row's part so far.
        self.starts.clear();
        self.starts.resize(self.rows.len() + 1, 0);
        for &id in ids {
            self.starts[self.place[id as usize] as usize + 1] += 1;
        }
        for r in 0..self.rows.len() {
            self.starts[r + 1] += self.starts[r];
        }
        self.samples.resize(ids.len(), 0);
        for (sample, bounds) in (0..).zip(starts.windows(2)) {
            for &id in &ids[bounds[0]..bounds[1]] {
                let end = &mut self.starts[self.place[id as usize] as usize];
                self.samples[*end] = sample;
                *end += 1;
            }
        }
        // Each start has moved to its row's end, which is the next row's start.
        self.starts.rotate_right(1);
        self.starts[0] = 0;
        for &row in &self.rows {
            self.place[row as usize] = ABSENT;
        }
    }

    /// The samples that have id `rows[place]`, ascending.
    pub(super) fn samples_of(&self, place: usize) -> &[u32] {
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
