//! A mini-batch: samples as the caller gives them, and its keywords sorted by row.

use crate::aligned::{Block, as_floats_mut};
use crate::error::{Error, Result};
use crate::network::Shape;
use crate::rng::{DropoutLayer, Philox};

/// The targets of a sample.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// The tags that it has, ascending; their targets are 1, all others 0.
    Tags(&'a [u32]),
    /// One target in `[0, 1]` a tag.
    Soft(&'a [f32]),
}

/// How much each pair of a sample and a tag counts; a pair with weight 0 is not scored.
#[derive(Clone, Copy, Debug)]
pub enum PairWeights<'a> {
    /// Every tag counts as much.
    All(f32),
    /// Some tags count, the others not.
    Scored {
        /// The tags that count: tag t is bit t mod 64 of word t div 64.
        tags: &'a [u64],
        /// How much they count.
        weight: f32,
        /// A factor on the weight for each tag whose target is 0.
        negatives: Option<&'a [f32]>,
    },
    /// One weight a tag.
    PerTag(&'a [f32]),
}

/// One sample of a mini-batch.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Its number in the data set: together with the step it names its dropout decisions.
    pub index: u32,
    /// Its keyword ids, ascending and unique.
    pub keywords: &'a [u32],
    /// What it should score.
    pub targets: Targets<'a>,
    /// What counts.
    pub weights: PairWeights<'a>,
}

impl Sample<'_> {
    /// Fails unless ids, targets and weights fit `shape` and are in range.
    pub(super) fn check(&self, shape: &Shape) -> Result<()> {
        check_ascending("keyword ids", self.keywords)?;
        if let Some(&id) = self.keywords.last().filter(|id| **id as usize >= shape.keywords()) {
            return Err(Error::KeywordOutOfRange { id, keywords: shape.keywords() });
        }
        let tags = shape.tags();
        let in_range = |option, ok: bool, expected, found: f32| {
            if ok { Ok(()) } else { Err(Error::Config { option, expected, found: found.to_string() }) }
        };
        match self.targets {
            Targets::Tags(positives) => {
                check_ascending("tags", positives)?;
                if let Some(&tag) = positives.last().filter(|tag| **tag as usize >= tags) {
                    return Err(Error::Config { option: "tag", expected: "a tag of the model", found: tag.to_string() });
                }
            }
            Targets::Soft(targets) => {
                Error::check_length("targets", tags, targets.len())?;
                for &y in targets {
                    in_range("target", (0.0..=1.0).contains(&y), "a number in [0, 1]", y)?;
                }
            }
        }
        let weight_fits = |&m: &f32| in_range("weight", m >= 0.0 && m.is_finite(), "a finite number, at least 0", m);
        match self.weights {
            PairWeights::All(m) => weight_fits(&m),
            PairWeights::Scored { tags: words, weight: m, negatives } => {
                Error::check_length("scored tags, words", tags.div_ceil(64), words.len())?;
                if let Some(factors) = negatives {
                    Error::check_length("weights of negatives", tags, factors.len())?;
                    factors.iter().try_for_each(weight_fits)?;
                }
                let beyond = words.last().filter(|word| !tags.is_multiple_of(64) && **word >> (tags % 64) != 0);
                if let Some(word) = beyond {
                    let found = format!("a last word of {word:#x}");
                    return Err(Error::Config { option: "scored tags", expected: "bits of the model's tags only", found });
                }
                weight_fits(&m)
            }
            PairWeights::PerTag(weights) => {
                Error::check_length("pair weights", tags, weights.len())?;
                weights.iter().try_for_each(weight_fits)
            }
        }
    }

    /// The number of tags that count.
    pub(super) fn scored(&self, tags: usize) -> usize {
        match self.weights {
            PairWeights::All(m) => usize::from(m > 0.0) * tags,
            PairWeights::Scored { tags: words, weight: m, .. } => {
                usize::from(m > 0.0) * words.iter().map(|word| word.count_ones() as usize).sum::<usize>()
            }
            PairWeights::PerTag(weights) => weights.iter().filter(|m| **m > 0.0).count(),
        }
    }

    /// Writes targets and pair weights, one float a tag slot; slots without a tag get weight 0.
    pub(super) fn spread(&self, shape: &Shape, targets: &mut [Block], weights: &mut [Block]) {
        let (y, m) = (as_floats_mut(targets), as_floats_mut(weights));
        y.fill(0.0);
        m.fill(0.0);
        if let Targets::Tags(positives) = self.targets {
            for &tag in positives {
                y[shape.slot(tag as usize)] = 1.0;
            }
        }
        for group in shape.groups() {
            let (y, m) = (&mut y[group.slots.clone()], &mut m[group.slots.clone()]);
            if let Targets::Soft(targets) = self.targets {
                y.copy_from_slice(&targets[group.tags.clone()]);
            }
            match self.weights {
                PairWeights::All(weight) => m.fill(weight),
                PairWeights::PerTag(weights) => m.copy_from_slice(&weights[group.tags.clone()]),
                PairWeights::Scored { tags: words, weight, negatives } => {
                    for ((m, y), tag) in m.iter_mut().zip(y.iter()).zip(group.tags.clone()) {
                        let factor = negatives.filter(|_| *y == 0.0).map_or(1.0, |factors| factors[tag]);
                        *m = if words[tag / 64] >> (tag % 64) & 1 == 1 { weight * factor } else { 0.0 };
                    }
                }
            }
        }
    }
}

fn check_ascending(what: &'static str, ids: &[u32]) -> Result<()> {
    match ids.windows(2).find(|pair| pair[0] >= pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Error::Config {
            option: what,
            expected: "ascending, without repeats",
            found: format!("{} before {}", pair[0], pair[1]),
        }),
    }
}

/// The keywords of a mini-batch that input dropout keeps, by sample and by row.
#[derive(Clone, Debug, Default)]
pub(super) struct Keywords {
    /// The keywords of sample i are `ids[starts[i]..starts[i + 1]]`.
    ids: Vec<u32>,
    starts: Vec<usize>,
    /// The distinct keywords, ascending.
    pub(super) rows: Vec<u32>,
    /// The samples with keyword `rows[r]` are `row_samples[row_starts[r]..row_starts[r + 1]]`, ascending.
    row_samples: Vec<u32>,
    row_starts: Vec<usize>,
    /// For each keyword of the vocabulary its place in `rows`, or `ABSENT`.
    place: Vec<u32>,
    /// As many factors, all the same, as the longest list of keywords or samples; empty when they are all 1.
    factors: Vec<f32>,
}

const ABSENT: u32 = u32::MAX;

impl Keywords {
    pub(super) fn new(shape: &Shape) -> Self {
        Keywords { place: vec![ABSENT; shape.keywords()], ..Keywords::default() }
    }

    /// Takes in a mini-batch; `dropout` is its generator, rate and threshold, and the step.
    pub(super) fn load(&mut self, samples: &[Sample<'_>], dropout: Option<(Philox, f64, u32)>, step: u64) {
        self.ids.clear();
        self.starts.clear();
        self.starts.push(0);
        self.factors.clear();
        for sample in samples {
            match dropout {
                None => self.ids.extend_from_slice(sample.keywords),
                Some((rng, _, threshold)) => {
                    let (keywords, ids) = (sample.keywords, &mut self.ids);
                    // Only the low word of the step names a decision.
                    let step = step as u32;
                    rng.dropout(DropoutLayer::Input, sample.index, step, threshold, keywords.iter().copied(), |n, kept| {
                        if kept {
                            ids.push(keywords[n]);
                        }
                    });
                }
            }
            self.starts.push(self.ids.len());
        }
        self.transpose(samples.len());
        if let Some((_, rate, _)) = dropout {
            let longest = self.starts.windows(2).map(|s| s[1] - s[0]).chain([samples.len()]).max().unwrap_or(0);
            self.factors.resize(longest, (1.0 / (1.0 - rate)) as f32);
        }
    }

    fn transpose(&mut self, samples: usize) {
        self.rows.clear();
        for &id in &self.ids {
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
        self.row_starts.clear();
        self.row_starts.resize(self.rows.len() + 1, 0);
        for &id in &self.ids {
            self.row_starts[self.place[id as usize] as usize + 1] += 1;
        }
        for r in 0..self.rows.len() {
            self.row_starts[r + 1] += self.row_starts[r];
        }
        self.row_samples.resize(self.ids.len(), 0);
        for sample in 0..samples {
            for n in self.starts[sample]..self.starts[sample + 1] {
                let end = &mut self.row_starts[self.place[self.ids[n] as usize] as usize];
                self.row_samples[*end] = sample as u32;
                *end += 1;
            }
        }
        // Each start has moved to its row's end, which is the next row's start.
        self.row_starts.rotate_right(1);
        self.row_starts[0] = 0;
        for &row in &self.rows {
            self.place[row as usize] = ABSENT;
        }
    }

    /// The kept keywords of a sample, and their factors if they are not all 1.
    pub(super) fn of_sample(&self, sample: usize) -> (&[u32], Option<&[f32]>) {
        self.with_factors(&self.ids[self.starts[sample]..self.starts[sample + 1]])
    }

    /// The samples that hold keyword `rows[place]`, ascending, and the keyword's factors.
    pub(super) fn samples_of(&self, place: usize) -> (&[u32], Option<&[f32]>) {
        self.with_factors(&self.row_samples[self.row_starts[place]..self.row_starts[place + 1]])
    }

    fn with_factors<'a>(&'a self, ids: &'a [u32]) -> (&'a [u32], Option<&'a [f32]>) {
        (ids, (!self.factors.is_empty()).then(|| &self.factors[..ids.len()]))
    }

    /// The mean number of pairs a row takes part in, at least 1.
    pub(super) fn pairs_per_row(&self) -> usize {
        self.ids.len().div_ceil(self.rows.len().max(1)).max(1)
    }

    /// The factor on kept keywords.
    pub(super) fn factor(&self) -> f32 {
        self.factors.first().copied().unwrap_or(1.0)
    }
}
