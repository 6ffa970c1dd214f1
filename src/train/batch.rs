//! A mini-batch: samples as they are given, and their keywords sorted by row.

use std::ops::Range;

use super::by_row::ByRow;
use super::dropout::Dropout;
use crate::aligned::{Block, as_floats_mut};
use crate::error::{Error, Result};
use crate::ids::{Sets, ascends};
use crate::layers::embedding_bag::Bags;
use crate::network::Shape;

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
    /// The tags whose target is above 0 count, and these others, each as often as it is listed, in any order.
    Listed {
        /// The others. Those whose target is above 0 are passed over.
        negatives: &'a [u32],
        /// How much each counts.
        weight: f32,
    },
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
    /// Fails unless ids, targets and weights fit `shape`, are in range and in order.
    pub(super) fn check(&self, shape: &Shape) -> Result<()> {
        check_ascending("keyword ids", self.keywords)?;
        if let Targets::Tags(positives) = self.targets {
            check_ascending("tags", positives)?;
        }
        self.check_keywords(shape)?;
        self.check_pairs(shape)
    }

    /// [`Sample::check`] of some samples where keywords and tags are known to ascend without repeats.
    pub(super) fn check_ranges(samples: &[Self], shape: &Shape) -> Result<()> {
        // One after the other, so that many ids at random places in memory are waited for at a time.
        samples.iter().try_for_each(|sample| sample.check_keywords(shape))?;
        samples.iter().try_for_each(|sample| sample.check_pairs(shape))
    }

    fn check_keywords(&self, shape: &Shape) -> Result<()> {
        match self.keywords.last() {
            Some(&id) if id as usize >= shape.keywords() => {
                Err(Error::KeywordOutOfRange { id, keywords: shape.keywords(), item: None })
            }
            _ => Ok(()),
        }
    }

    /// Fails unless targets and weights fit `shape` and are in range.
    fn check_pairs(&self, shape: &Shape) -> Result<()> {
        let tags = shape.tags();
        let in_range = |option, ok: bool, expected, found: f32| {
            if ok { Ok(()) } else { Err(Error::Config { option, expected, found: found.to_string() }) }
        };
        match self.targets {
            Targets::Tags(positives) => {
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
            PairWeights::Listed { negatives, weight: m } => {
                if let Some(tag) = negatives.iter().find(|tag| **tag as usize >= tags) {
                    return Err(Error::Config { option: "tag", expected: "a tag of the model", found: tag.to_string() });
                }
                weight_fits(&m)
            }
        }
    }

    /// The tags whose targets are 1, where these are told by tags.
    fn positives(&self) -> &[u32] {
        if let Targets::Tags(positives) = self.targets { positives } else { &[] }
    }

    /// The target of a tag.
    fn target(&self, tag: u32) -> f32 {
        match self.targets {
            Targets::Tags(positives) => f32::from(u8::from(positives.binary_search(&tag).is_ok())),
            Targets::Soft(targets) => targets[tag as usize],
        }
    }

    /// The weight of a tag with this target, where tags are not listed.
    fn weight(&self, tag: usize, target: f32) -> f32 {
        match self.weights {
            PairWeights::All(weight) => weight,
            PairWeights::PerTag(weights) => weights[tag],
            PairWeights::Scored { tags: words, weight, negatives } => {
                let factor = negatives.filter(|_| target == 0.0).map_or(1.0, |factors| factors[tag]);
                if words[tag / 64] >> (tag % 64) & 1 == 1 { weight * factor } else { 0.0 }
            }
            PairWeights::Listed { .. } => 0.0,
        }
    }

    /// Calls `score(tag, target, weight)` for each of `tags` tags that counts, ascending.
    pub(super) fn for_each_scored(&self, tags: usize, mut score: impl FnMut(u32, f32, f32)) {
        let PairWeights::Listed { negatives, weight } = self.weights else {
            let mut positives = self.positives().iter().peekable();
            for tag in (0..).take(tags) {
                let target = match self.targets {
                    Targets::Tags(_) => f32::from(u8::from(positives.next_if_eq(&&tag).is_some())),
                    Targets::Soft(targets) => targets[tag as usize],
                };
                let weight = self.weight(tag as usize, target);
                if weight > 0.0 {
                    score(tag, target, weight);
                }
            }
            return;
        };
        if weight == 0.0 {
            return;
        }
        let mut listed: Vec<u32> = negatives.iter().copied().filter(|tag| self.target(*tag) == 0.0).collect();
        match self.targets {
            Targets::Tags(positives) => listed.extend_from_slice(positives),
            Targets::Soft(targets) => listed.extend((0..).zip(targets).filter(|(_, y)| **y > 0.0).map(|(tag, _)| tag)),
        }
        listed.sort_unstable();
        for repeats in listed.chunk_by(|a, b| a == b) {
            score(repeats[0], self.target(repeats[0]), weight * repeats.len() as f32);
        }
    }

    /// The number of tags that count.
    pub(super) fn scored(&self, tags: usize) -> usize {
        match self.weights {
            PairWeights::All(m) => usize::from(m > 0.0) * tags,
            PairWeights::Scored { tags: words, weight: m, negatives } if negatives.is_none_or(|all| !all.contains(&0.0)) => {
                usize::from(m > 0.0) * words.iter().map(|word| word.count_ones() as usize).sum::<usize>()
            }
            PairWeights::Scored { .. } | PairWeights::Listed { .. } => {
                let mut scored = 0;
                self.for_each_scored(tags, |_, _, _| scored += 1);
                scored
            }
            PairWeights::PerTag(weights) => weights.iter().filter(|m| **m > 0.0).count(),
        }
    }

    /// Writes targets and pair weights, one float a tag slot; slots without a tag get weight 0.
    pub(super) fn spread(&self, shape: &Shape, targets: &mut [Block], weights: &mut [Block]) {
        let (y, m) = (as_floats_mut(targets), as_floats_mut(weights));
        y.fill(0.0);
        let (mut positives, mut end) = (self.positives(), 0);
        for group in shape.groups() {
            m[end..group.slots.start].fill(0.0);
            end = group.slots.end;
            let (y, m) = (&mut y[group.slots.clone()], &mut m[group.slots.clone()]);
            let of_group;
            let is_before = |tag: &u32| (*tag as usize) < group.tags.end;
            // Mostly all are, and a search in ids that are not near yet waits for memory at each step.
            let all = positives.last().is_none_or(is_before);
            let count = if all { positives.len() } else { positives.partition_point(is_before) };
            (of_group, positives) = positives.split_at(count);
            for &tag in of_group {
                y[tag as usize - group.tags.start] = 1.0;
            }
            if let Targets::Soft(targets) = self.targets {
                y.copy_from_slice(&targets[group.tags.clone()]);
            }
            match self.weights {
                PairWeights::All(weight) => m.fill(weight),
                PairWeights::PerTag(weights) => m.copy_from_slice(&weights[group.tags.clone()]),
                PairWeights::Scored { .. } => {
                    for ((m, y), tag) in m.iter_mut().zip(y.iter()).zip(group.tags.clone()) {
                        *m = self.weight(tag, *y);
                    }
                }
                PairWeights::Listed { .. } => m.fill(0.0),
            }
        }
        m[end..].fill(0.0);
        if matches!(self.weights, PairWeights::Listed { .. }) {
            self.for_each_scored(shape.tags(), |tag, _, weight| m[shape.slot(tag as usize)] = weight);
        }
    }
}

fn check_ascending(what: &'static str, ids: &[u32]) -> Result<()> {
    if ascends(ids) {
        return Ok(());
    }
    let found = ids.windows(2).find(|pair| pair[0] >= pair[1]).map(|pair| format!("{} before {}", pair[0], pair[1]));
    Err(Error::Config { option: what, expected: "ascending, without repeats", found: found.unwrap_or_default() })
}

/// A mini-batch of a data set.
pub(super) struct MiniBatch<'a> {
    /// The numbers of its samples.
    pub(super) numbers: Vec<u32>,
    pub(super) samples: Vec<Sample<'a>>,
    pub(super) keywords: Keywords,
}

impl MiniBatch<'_> {
    /// One without samples.
    pub(super) fn new(shape: &Shape) -> Self {
        MiniBatch { numbers: Vec::new(), samples: Vec::new(), keywords: Keywords::new(shape) }
    }
}

/// The keywords of a mini-batch that input dropout keeps, by sample and by row.
#[derive(Clone, Debug)]
pub(super) struct Keywords {
    /// The keywords of sample i are `ids[starts[i]..starts[i + 1]]`.
    ids: Vec<u32>,
    starts: Vec<usize>,
    pub(super) by_row: ByRow,
    /// Which keywords of one sample after another are kept.
    masks: Vec<u32>,
    /// The factor on kept keywords.
    pub(super) factor: f32,
}

impl Keywords {
    pub(super) fn new(shape: &Shape) -> Self {
        let by_row = ByRow::new(shape.keywords());
        Keywords { ids: Vec::new(), starts: Vec::new(), by_row, masks: Vec::new(), factor: 1.0 }
    }

    /// Takes in the samples that step `step` is to be taken on.
    ///
    /// # Errors
    /// [`Error::TooLarge`] from 2^32 pairs of sample and keyword on.
    pub(super) fn load(&mut self, samples: &[Sample<'_>], dropout: Option<Dropout>, step: u64) -> Result<()> {
        self.ids.clear();
        self.starts.clear();
        self.starts.push(0);
        self.factor = dropout.map_or(1.0, |dropout| dropout.factor);
        for sample in samples {
            match dropout {
                None => self.ids.extend_from_slice(sample.keywords),
                Some(dropout) => {
                    let (keywords, mut end) = (sample.keywords, self.ids.len());
                    self.masks.resize(keywords.len(), 0);
                    dropout.decide(sample.index, step, keywords, &mut self.masks);
                    self.ids.resize(end + keywords.len(), 0);
                    for (id, mask) in keywords.iter().zip(&self.masks) {
                        self.ids[end] = *id;
                        end += (mask & 1) as usize;
                    }
                    self.ids.truncate(end);
                }
            }
            self.starts.push(self.ids.len());
        }
        self.by_row.load("keywords of all samples of a mini-batch", &self.ids, &self.starts)
    }

    /// The kept keywords of some samples.
    pub(super) fn of_samples(&self, samples: Range<usize>) -> Bags<'_> {
        let sets = Sets::known(&self.ids, &self.starts[samples.start..=samples.end], self.by_row.end() as u64);
        Bags { sets, factor: self.factor }
    }
}
