//! Sampled negatives: a tag is trained on all its positives and, in each epoch, on a few of the samples without it.
//!
//! A network so trained sees odds that are too high by the inverse of the share of negatives that it sees, the *rate* ρ; training
//! on `z - ln ρ` makes up for it (King and Zeng, *Logistic regression in rare events data*, 2001).

use super::Dataset;
use crate::csr::Csr;
use crate::error::{Error, Result};
use crate::ln::ln;
use crate::rng::{Philox, without_replacement};

/// How many negatives a tag gets, and which share of all of them that is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quota {
    /// Negatives drawn in each epoch, `m = min(pool, floor(ratio * positives + 1/2))`.
    pub negatives: usize,
    /// The rate `ρ = m / pool`, in (0, 1].
    pub rate: f64,
}

impl Quota {
    /// The quota of `tag` with that many positives and a pool of that many negatives.
    ///
    /// # Errors
    ///
    /// [`Error::UntrainableTag`] without positives or with an empty pool; [`Error::Config`] for a `ratio` that is negative, not
    /// finite, or so small that the tag would get no negative at all: its rate would be 0, and no correction exists.
    pub fn new(tag: &str, positives: usize, pool: usize, ratio: f64) -> Result<Self> {
        const OPTION: &str = "negatives";
        if !(ratio.is_finite() && ratio >= 0.0) {
            return Err(Error::Config { option: OPTION, expected: "a finite ratio above 0", found: ratio.to_string() });
        }
        if positives == 0 || pool == 0 {
            return Err(Error::UntrainableTag { tag: tag.to_owned(), positives, negatives: pool });
        }
        let wanted = (ratio * positives as f64 + 0.5).floor();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is capped by the pool")]
        let negatives = (wanted as usize).min(pool);
        if negatives == 0 {
            return Err(Error::Config {
                option: OPTION,
                expected: "a ratio that gives every tag at least one negative",
                found: format!("{ratio}, which gives tag {tag:?} none for its {positives} positives"),
            });
        }
        Ok(Quota { negatives, rate: negatives as f64 / pool as f64 })
    }

    /// The negatives of tag number `tag` in `epoch`, ascending, out of `pool`.
    #[must_use]
    pub fn draw(&self, rng: Philox, tag: u32, epoch: u32, pool: impl Iterator<Item = u32>) -> Vec<u32> {
        without_replacement(pool, self.negatives, |item| rng.negative_key(item, tag, epoch))
    }
}

/// What has to be added to a logit that was trained on a share `negative_rate` of the negatives and `positive_rate` of the positives,
/// with positives weighted `positive_weight`: `ln ρ − ln ρ⁺ − ln w` (King and Zeng 2001).
#[must_use]
pub fn logit_correction(negative_rate: f64, positive_rate: f64, positive_weight: f64) -> f64 {
    ln(negative_rate) - ln(positive_rate) - ln(positive_weight)
}

/// The negatives of all tags of a data set, where the pool of a tag is every sample without it that is not excluded.
#[derive(Clone, Debug)]
pub struct NegativeSampler {
    rng: Philox,
    samples: u32,
    /// The samples that have each tag.
    positives: Csr,
    /// The samples that are no negatives of each tag either.
    excluded: Csr,
    quotas: Vec<Quota>,
}

impl NegativeSampler {
    /// Prepares to draw `ratio` negatives a positive for the tags of `dataset`, which are called `names`.
    ///
    /// # Errors
    ///
    /// As [`Quota::new`].
    pub fn new<N: AsRef<str>>(rng: Philox, dataset: &Dataset, names: &[N], ratio: f64) -> Result<Self> {
        let tags = dataset.tag_sets();
        let [positives, excluded] = [tags, dataset.exclusions()].map(|sets| sets.transposed(names.len()));
        let samples =
            u32::try_from(tags.len()).map_err(|_| Error::TooLarge { what: "samples of a data set", limit: u32::MAX.into() })?;
        let quota = |(name, (having, excluded)): (&N, (&[u32], &[u32]))| {
            Quota::new(name.as_ref(), having.len(), tags.len() - having.len() - excluded.len(), ratio)
        };
        let quotas = names.iter().zip(positives.rows().zip(excluded.rows())).map(quota).collect::<Result<_>>()?;
        Ok(NegativeSampler { rng, samples, positives, excluded, quotas })
    }

    /// The number of tags.
    #[must_use]
    pub fn tags(&self) -> usize {
        self.quotas.len()
    }

    /// The quota of each tag; the same in every epoch.
    #[must_use]
    pub fn quotas(&self) -> &[Quota] {
        &self.quotas
    }

    /// The negatives of `tag`, which must exist, in `epoch`, ascending. Tags are independent of each other: draw them in any
    /// order, on any thread.
    #[must_use]
    pub fn draw(&self, tag: u32, epoch: u32) -> Vec<u32> {
        let quota = self.quotas[tag as usize];
        let [having, excluded] = [&self.positives, &self.excluded].map(|samples| samples.row(tag as usize));
        let [mut no_more, mut never] = [having, excluded].map(|samples| samples.iter().copied().peekable());
        let without =
            (0..self.samples).filter(|&sample| no_more.next_if_eq(&sample).is_none() && never.next_if_eq(&sample).is_none());
        if quota.negatives == self.samples as usize - having.len() - excluded.len() {
            return without.collect();
        }
        quota.draw(self.rng, tag, epoch, without)
    }

    /// The pairs to score in an epoch: all positives, and as negatives of tag `t` the `t`-th of `drawn` (see
    /// [`draw`](Self::draw)).
    #[must_use]
    pub fn scored(&self, drawn: impl IntoIterator<Item = Vec<u32>>) -> ScoredPairs {
        let words = self.tags().div_ceil(64);
        let mut scored = ScoredPairs { words, bits: vec![0; words * self.samples as usize] };
        for (tag, having) in self.positives.rows().enumerate() {
            scored.mark(tag, having);
        }
        for (tag, negatives) in drawn.into_iter().take(self.tags()).enumerate() {
            scored.mark(tag, &negatives);
        }
        scored
    }

    /// The pairs to score in `epoch`.
    #[must_use]
    pub fn epoch(&self, epoch: u32) -> ScoredPairs {
        self.scored((0u32..).zip(&self.quotas).map(|(tag, _)| self.draw(tag, epoch)))
    }
}

/// Which (sample, tag) pairs are scored: a bit for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoredPairs {
    /// Words of a sample's row.
    words: usize,
    bits: Vec<u64>,
}

impl ScoredPairs {
    /// All pairs of `samples` samples and `tags` tags but those that are excluded: row i of `exclusions` holds the tags of sample i.
    #[must_use]
    pub fn all_but(exclusions: &Csr, samples: usize, tags: usize) -> Self {
        let words = tags.div_ceil(64);
        let row = |word: usize| if word + 1 < words || tags.is_multiple_of(64) { u64::MAX } else { (1 << (tags % 64)) - 1 };
        let mut scored = ScoredPairs { words, bits: (0..words * samples).map(|at| row(at % words)).collect() };
        for (sample, excluded) in exclusions.rows().enumerate() {
            for &tag in excluded.iter().take_while(|tag| (**tag as usize) < tags) {
                scored.bits[sample * words + tag as usize / 64] &= !(1 << (tag % 64));
            }
        }
        scored
    }

    fn mark(&mut self, tag: usize, samples: &[u32]) {
        for &sample in samples {
            self.bits[sample as usize * self.words + tag / 64] |= 1 << (tag % 64);
        }
    }

    /// The row of `sample`, which must exist: bit `t mod 64` of word `t div 64` is tag `t`. Bits beyond the tags are 0.
    #[must_use]
    pub fn row(&self, sample: usize) -> &[u64] {
        &self.bits[sample * self.words..(sample + 1) * self.words]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `sample` is scored on `tag`.
    fn contains(scored: &ScoredPairs, sample: usize, tag: usize) -> bool {
        scored.row(sample)[tag / 64] >> (tag % 64) & 1 == 1
    }

    /// The number of scored pairs.
    fn count_of(scored: &ScoredPairs) -> u64 {
        scored.bits.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Sample i has tag t < 70 iff t + 2 divides i, and is no negative of it either if t + 2 divides i + 1 and i mod 4 is 1.
    fn dataset() -> (Dataset, Vec<String>) {
        let mut dataset = Dataset::new();
        for i in 0..300u32 {
            let dividing = |n: u32| (0..70).filter(|t| n.is_multiple_of(t + 2)).collect::<Vec<_>>();
            let excluded = if i % 4 == 1 { dividing(i + 1) } else { Vec::new() };
            dataset.push_excluding(&[], &dividing(i), &excluded, 1.0).unwrap();
        }
        (dataset, (0..70).map(|t| format!("multiples of {}", t + 2)).collect())
    }

    #[test]
    fn an_epoch_scores_all_positives_and_the_drawn_negatives() {
        let (dataset, names) = dataset();
        let negatives = NegativeSampler::new(Philox::new(5), &dataset, &names, 1.5).unwrap();
        let scored = negatives.epoch(3);
        let mut count = 0;
        for tag in 0..70 {
            let drawn = negatives.draw(tag, 3);
            assert!(drawn.is_sorted_by(|a, b| a < b));
            assert_eq!(drawn.len(), negatives.quotas()[tag as usize].negatives);
            for sample in 0..300 {
                let positive = dataset.tags(sample).contains(&tag);
                let negative = drawn.contains(&(sample as u32));
                assert!(!(negative && (positive || dataset.excluded(sample).contains(&tag))));
                assert_eq!(contains(&scored, sample, tag as usize), positive || negative);
                count += u64::from(positive || negative);
            }
        }
        assert_eq!(count_of(&scored), count);
        assert_eq!(negatives.epoch(3), scored);
        assert_ne!(negatives.epoch(4), scored);
    }

    #[test]
    fn a_large_ratio_takes_the_whole_pool() {
        let (dataset, names) = dataset();
        let negatives = NegativeSampler::new(Philox::new(5), &dataset, &names, 1e300).unwrap();
        assert!(negatives.quotas().iter().all(|quota| quota.rate == 1.0));
        let excluded = dataset.exclusions().ids().len() as u64;
        assert_eq!(count_of(&negatives.epoch(0)), 300 * 70 - excluded);
        assert_eq!(negatives.epoch(0), ScoredPairs::all_but(dataset.exclusions(), 300, 70));
        let beyond = ScoredPairs::all_but(dataset.exclusions(), 300, 64);
        assert!((0..300).all(|sample| beyond.row(sample) == &negatives.epoch(0).row(sample)[..1]));
    }

    #[test]
    fn quotas_round_to_nearest() {
        let quota = |positives, pool, ratio| Quota::new("t", positives, pool, ratio).unwrap();
        assert_eq!(quota(5, 100, 0.5), Quota { negatives: 3, rate: 0.03 });
        assert_eq!(quota(1, 100, 0.5).negatives, 1);
        assert_eq!(quota(7, 3, 1.0), Quota { negatives: 3, rate: 1.0 });
    }

    #[test]
    fn what_cannot_be_trained_is_named() {
        for (positives, negatives) in [(0, 5), (5, 0)] {
            let error = Quota::new("sea", positives, negatives, 1.0).unwrap_err();
            assert!(matches!(&error, Error::UntrainableTag { tag, .. } if tag == "sea"), "{error}");
        }
        for ratio in [-1.0, f64::NAN, f64::INFINITY, 0.0, 0.01] {
            assert!(matches!(Quota::new("sea", 5, 5, ratio), Err(Error::Config { option: "negatives", .. })), "{ratio}");
        }
    }
}
