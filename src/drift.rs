//! Whether scores are still what they were in training.
//!
//! A model remembers how its scores were distributed ([`ScoreDistribution`](crate::distribution::ScoreDistribution)). A [`Drift`] counts those that are served today, and tells for
//! each tag how far the two distributions are apart, as the population stability index (PSI) of twelve bins:
//!
//! ```text
//! Σ_bins (observed − expected) · ln(observed / expected)
//! ```
//!
//! of shares of items. It is 0 where nothing has changed; by custom up to 0.1 is little, and from 0.25 on much. Few items differ by chance:
//! that alone gives [`Drift::noise`] on average.
//!
//! The distribution is that on the items that were validated on, before the network was trained anew on all of them, where it was: then the two
//! networks differ a little too. Tuning a model on items of its own ([`tune`](../tune/index.html)) measures it anew, of the network that is
//! served. An average of several networks has none before that.
//!
//! A `Drift` belongs to one thread, which records without a lock or an allocation; whoever wants the sum of all [merges](Drift::merge) them.
//! Who does not record pays nothing. A record costs a few nanoseconds a tag: where that is too much, record every tenth item.
//!
//! ```
//! use tagomatic::drift::Drift;
//! use tagomatic::{Model, Tagger};
//!
//! # fn main() -> tagomatic::Result<()> {
//! let tagger = Tagger::new(Model::open("models/movies.tagm")?);
//! let (mut scratch, mut scores) = (tagger.scratch(), vec![0.0; tagger.tags().len()]);
//! let mut drift = Drift::new(&tagger).expect("the model of one network, trained by 0.1.0");
//! for keywords in [["zombie", "horror"], ["wedding", "love"]] {
//!     tagger.score_keywords(keywords, &mut scratch, &mut scores)?;
//!     drift.record(&scores)?;
//! }
//! assert_eq!(drift.items(), 2);
//! assert!(drift.psi(0).is_some());
//! # Ok(())
//! # }
//! ```

use crate::distribution::{BINS, BOUNDS, LogitDistribution, bin};
use crate::error::{Error, Result};
use crate::tagger::Tagger;

/// Counts of the scores that are served, and what to hold them against.
#[derive(Clone, Debug, PartialEq)]
pub struct Drift {
    tags: Vec<TagDrift>,
    items: u64,
    not_numbers: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct TagDrift {
    /// Bounds as scores. Of bins with the same upper bound the first one counts for all.
    bounds: [f32; BOUNDS],
    is_bin: [bool; BINS],
    expected: [u64; BINS],
    observed: [u64; BINS],
}

impl TagDrift {
    fn new(bounds: [f32; BOUNDS], highest: f32, counts: [u32; BINS]) -> Self {
        let (mut is_bin, mut expected) = ([true; BINS], counts.map(u64::from));
        for bin in (1..BINS).rev() {
            let upper = bounds.get(bin).copied().unwrap_or(highest);
            if upper <= bounds[bin - 1] {
                // No score can be in it: clamped ones are all the same.
                is_bin[bin] = false;
                expected[bin - 1] += std::mem::take(&mut expected[bin]);
            }
        }
        TagDrift { bounds, is_bin, expected, observed: [0; BINS] }
    }

    /// Items that are expected, and observed, and bins.
    fn totals(&self) -> Option<(f64, f64, f64)> {
        let total = |counts: &[u64; BINS]| counts.iter().sum::<u64>() as f64;
        let (expected, observed) = (total(&self.expected), total(&self.observed));
        let bins = self.is_bin.iter().filter(|is_bin| **is_bin).count() as f64;
        (expected > 0.0 && observed > 0.0).then_some((expected, observed, bins))
    }
}

impl Drift {
    /// No scores yet of `tagger`; `None` if its model does not remember how they were distributed.
    #[must_use]
    pub fn new(tagger: &Tagger) -> Option<Self> {
        let reference = tagger.model().extensions().scores.as_ref()?.tags();
        // The same arithmetic as scoring: a logit at a bound gets the bound as its score, to the bit.
        let scores = |mut logits: Vec<f32>| {
            tagger.net().scores(&mut logits);
            logits
        };
        let bounds: Vec<Vec<f32>> =
            (0..BOUNDS).map(|bound| scores(reference.iter().map(|tag| tag.bounds[bound]).collect())).collect();
        let highest = scores(vec![f32::MAX; reference.len()]);
        let of_tag = |(tag, known): (usize, &LogitDistribution)| {
            TagDrift::new(std::array::from_fn(|bound| bounds[bound][tag]), highest[tag], known.counts)
        };
        Some(Drift { tags: reference.iter().enumerate().map(of_tag).collect(), items: 0, not_numbers: 0 })
    }

    /// Counts the scores of an item, or of several, one after the other. Of the scores that are NaN [`Drift::not_numbers`] tells; they are
    /// in no bin.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is a score for each tag of each item.
    pub fn record(&mut self, scores: &[f32]) -> Result<()> {
        let tags = self.tags.len().max(1);
        Error::check_length("scores of whole items", scores.len().next_multiple_of(tags), scores.len())?;
        for item in scores.chunks_exact(tags) {
            self.items += 1;
            for (tag, &score) in self.tags.iter_mut().zip(item) {
                let is_number = !score.is_nan();
                tag.observed[bin(&tag.bounds, score)] += u64::from(is_number);
                self.not_numbers += u64::from(!is_number);
            }
        }
        Ok(())
    }

    /// Adds what another thread has counted.
    ///
    /// # Errors
    /// [`Error::Config`] if it was of another model.
    pub fn merge(&mut self, other: &Drift) -> Result<()> {
        let same = |(a, b): (&TagDrift, &TagDrift)| a.bounds == b.bounds && a.expected == b.expected;
        if self.tags.len() != other.tags.len() || !self.tags.iter().zip(&other.tags).all(same) {
            let (expected, found) = ("counts of the same model", "those of another".to_owned());
            return Err(Error::Config { option: "drift", expected, found });
        }
        self.items += other.items;
        self.not_numbers += other.not_numbers;
        for (to, from) in self.tags.iter_mut().zip(&other.tags) {
            to.observed.iter_mut().zip(from.observed).for_each(|(to, from)| *to += from);
        }
        Ok(())
    }

    /// Forgets what was counted: to look at each hour for itself, say.
    pub fn clear(&mut self) {
        (self.items, self.not_numbers) = (0, 0);
        self.tags.iter_mut().for_each(|tag| tag.observed = [0; BINS]);
    }

    /// Items that were counted.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.items
    }

    /// Scores that were NaN, of all tags: more than 0 means that the model is a damaged file, mapped without
    /// [`Model::verify`](crate::Model::verify), or that the scores are not those of a tagger.
    #[must_use]
    pub fn not_numbers(&self) -> u64 {
        self.not_numbers
    }

    /// How far the scores of the tag at index `tag` are from those in training, as the [module](self) says; `None` before any item, for a
    /// tag of which nothing is known, or if there is no such tag. Each bin counts half an item more than it has, so that empty ones are
    /// not infinitely far.
    #[must_use]
    pub fn psi(&self, tag: usize) -> Option<f64> {
        let tag = self.tags.get(tag)?;
        let (expected, observed, bins) = tag.totals()?;
        let share = |count: u64, total: f64| (count as f64 + 0.5) / (total + 0.5 * bins);
        let part = |bin: usize| {
            let (e, o) = (share(tag.expected[bin], expected), share(tag.observed[bin], observed));
            (o - e) * (o / e).ln()
        };
        Some((0..BINS).filter(|&bin| tag.is_bin[bin]).map(part).sum())
    }

    /// What [`Drift::psi`] is on average by chance, if nothing has changed: (bins − 1) · (1 / expected items + 1 / observed items).
    #[must_use]
    pub fn noise(&self, tag: usize) -> Option<f64> {
        let (expected, observed, bins) = self.tags.get(tag)?.totals()?;
        Some((bins - 1.0) * (1.0 / expected + 1.0 / observed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psi_is_that_of_the_definition() {
        let mut tag = TagDrift::new(std::array::from_fn(|n| (n + 1) as f32 / 20.0), 0.9, [10; BINS]);
        tag.observed = [10; BINS];
        let mut drift = Drift { tags: vec![tag], items: 120, not_numbers: 0 };
        assert_eq!(drift.psi(0), Some(0.0));
        assert!((drift.noise(0).unwrap() - 11.0 / 60.0).abs() < 1e-12);
        drift.tags[0].observed = [120, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let share = |count: f64| (count + 0.5) / 126.0;
        let empty = (share(0.0) - share(10.0)) * (share(0.0) / share(10.0)).ln();
        let full = (share(120.0) - share(10.0)) * (share(120.0) / share(10.0)).ln();
        assert!((drift.psi(0).unwrap() - 11.0 * empty - full).abs() < 1e-12);
        assert_eq!((drift.psi(1), drift.noise(1)), (None, None));
        drift.clear();
        assert_eq!((drift.psi(0), drift.items()), (None, 0));
        // What is no number is in no bin, and is told.
        drift.record(&[f32::NAN, 0.01, -f32::NAN]).unwrap();
        assert_eq!((drift.tags[0].observed.iter().sum::<u64>(), drift.items(), drift.not_numbers()), (1, 3, 2));
        let other = drift.clone();
        drift.merge(&other).unwrap();
        assert_eq!((drift.tags[0].observed[0], drift.not_numbers()), (2, 4));
        drift.clear();
        assert_eq!(drift.not_numbers(), 0);
    }

    #[test]
    fn bins_that_no_score_can_be_in_are_none() {
        // The lowest three bounds are clamped to the same score, and the highest is the highest score.
        let bounds = [0.01, 0.01, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.99];
        let tag = TagDrift::new(bounds, 0.99, std::array::from_fn(|n| n as u32 + 1));
        assert_eq!(tag.expected, [6, 0, 0, 4, 5, 6, 7, 8, 9, 10, 23, 0]);
        assert_eq!(tag.is_bin.iter().filter(|is_bin| **is_bin).count(), 9);
        assert_eq!([0.01, 0.05, 0.1, 0.99].map(|score| bin(&bounds, score)), [0, 3, 3, 10]);
    }
}
