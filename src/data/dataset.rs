//! Samples: sets of keyword ids and tag ids.

use std::path::Path;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3Default;

use super::builder::DatasetBuilder;
use crate::column::Column;
use crate::csr::Csr;
use crate::error::{Error, Result};
use crate::rng::Philox;

/// Samples, each a set of keywords, a set of tags and a weight. Clones share their keywords and weights until one of them grows.
/// Samples are in memory, or in files of which little is in memory at a time, see [`Corpus::in_files`](super::Corpus); all is the same
/// of both.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::data::Dataset;
/// use tagomatic::rng::Philox;
///
/// let mut dataset = Dataset::new();
/// for sample in 0..10 {
///     dataset.push(&[sample, 20, sample], &[sample % 2], 1.0)?;
/// }
/// assert_eq!((dataset.keywords(3), dataset.tags(3)), (&[3, 20][..], &[1][..]));
/// let (train, valid) = dataset.split(Philox::new(1), 0.2)?;
/// assert_eq!(train.len() + valid.len(), dataset.len());
/// let valid = dataset.subset(valid)?;
/// println!("{} to validate on", valid.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    pub(super) keywords: Arc<Csr>,
    pub(super) tags: Arc<Csr>,
    /// Tags that a sample lacks without being a negative of them. Without rows if no sample has any.
    pub(super) excluded: Arc<Csr>,
    pub(super) weights: Arc<Column<f32>>,
    /// The folder of the files.
    pub(super) folder: Option<Arc<Path>>,
}

impl PartialEq for Dataset {
    fn eq(&self, other: &Self) -> bool {
        (&self.keywords, &self.tags, &self.excluded, &self.weights)
            == (&other.keywords, &other.tags, &other.excluded, &other.weights)
    }
}

/// What [`Dataset::push`] dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Repeats among the keywords.
    pub repeated_keywords: usize,
    /// Repeats among the tags.
    pub repeated_tags: usize,
}

impl Dataset {
    /// No samples.
    #[must_use]
    pub fn new() -> Self {
        Dataset::default()
    }

    /// The number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// Whether there are no samples.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// Appends a sample; keywords and tags in any order, repeats counting once.
    ///
    /// # Errors
    ///
    /// [`Error::Sample`] for a weight that is negative or not finite, [`Error::TooLarge`] after 2^32 - 1 samples.
    pub fn push(&mut self, keywords: &[u32], tags: &[u32], weight: f32) -> Result<Pushed> {
        self.push_excluding(keywords, tags, &[], weight)
    }

    /// As [`push`](Self::push), for a sample that is no negative of the tags `excluded`.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn push_excluding(&mut self, keywords: &[u32], tags: &[u32], excluded: &[u32], weight: f32) -> Result<Pushed> {
        check_weight(self.len(), weight)?;
        let repeated_keywords = Arc::make_mut(&mut self.keywords).push(keywords.iter().copied())?;
        let repeated_tags = Arc::make_mut(&mut self.tags).push(tags.iter().copied())?;
        let has_tag = |tag: &u32| self.tags.row(self.weights.len()).binary_search(tag).is_ok();
        let mut excluded = excluded.iter().copied().filter(|tag| !has_tag(tag)).peekable();
        if excluded.peek().is_some() || !self.excluded.is_empty() {
            let excluded_of_all = Arc::make_mut(&mut self.excluded);
            while excluded_of_all.len() < self.weights.len() {
                excluded_of_all.push([])?;
            }
            excluded_of_all.push(excluded)?;
        }
        Arc::make_mut(&mut self.weights).to_mut().push(weight);
        Ok(Pushed { repeated_keywords, repeated_tags })
    }

    /// The keywords of sample `i`, ascending and unique. The sample must exist, as with a slice.
    #[must_use]
    pub fn keywords(&self, i: usize) -> &[u32] {
        self.keywords.row(i)
    }

    /// The tags of sample `i`, ascending and unique. The sample must exist, as with a slice.
    #[must_use]
    pub fn tags(&self, i: usize) -> &[u32] {
        self.tags.row(i)
    }

    /// The tags that sample `i` lacks without being a negative of them, ascending and unique. The sample must exist.
    #[must_use]
    pub fn excluded(&self, i: usize) -> &[u32] {
        if self.excluded.is_empty() { &[] } else { self.excluded.row(i) }
    }

    /// [`excluded`](Self::excluded) of all samples, or no rows if that is empty for every one.
    #[must_use]
    pub fn exclusions(&self) -> &Csr {
        &self.excluded
    }

    /// The weight of sample `i`, which must exist, as with a slice.
    #[must_use]
    pub fn weight(&self, i: usize) -> f32 {
        self.weights.touch(1);
        self.weights[i]
    }

    /// Reads where the rows of some samples are, and no more: one after the other, so that the memory of many is waited for at a time. Does
    /// nothing for samples in files, of which little is to be in memory at a time.
    pub(crate) fn look_up(&self, samples: &[u32]) {
        if self.weights.is_in_file() {
            return;
        }
        let read = samples.iter().fold(0, |read, &i| {
            let i = i as usize;
            read ^ self.keywords.start(i) ^ self.tags.start(i) ^ u64::from(self.weights[i].to_bits())
        });
        std::hint::black_box(read);
    }

    /// The tags of all samples.
    #[must_use]
    pub fn tag_sets(&self) -> &Csr {
        &self.tags
    }

    /// The mean number of keywords of a sample; 0 without samples.
    #[must_use]
    pub fn mean_keywords(&self) -> f64 {
        if self.is_empty() { 0.0 } else { self.keywords.ids().len() as f64 / self.len() as f64 }
    }

    /// How many samples have each of the tags below `tags`; larger ones are not counted.
    #[must_use]
    pub fn tag_counts(&self, tags: usize) -> Vec<u64> {
        self.tags.counts(tags)
    }

    /// How many samples have each of the keywords below `keywords`; larger ones are not counted.
    #[must_use]
    pub fn keyword_counts(&self, keywords: usize) -> Vec<u64> {
        self.keywords.counts(keywords)
    }

    /// The same samples, whose keywords and weights are shared, with the tags `tags` alone: the first of these as tag 0, and so on.
    ///
    /// # Errors
    ///
    /// None.
    pub fn of_tags(&self, tags: &[u32]) -> Result<Dataset> {
        let only = |sets: &Csr| {
            let mut only = Csr::new();
            let places = |row: &[u32]| {
                (0..).zip(tags).filter(|(_, tag)| row.binary_search(tag).is_ok()).map(|(place, _)| place).collect::<Vec<u32>>()
            };
            sets.rows().try_for_each(|row| only.push(places(row)).map(drop))?;
            Ok(only)
        };
        let [tags, excluded] = [only(&self.tags)?, only(&self.excluded)?].map(Arc::new);
        Ok(Dataset { tags, excluded, ..self.clone() })
    }

    /// The same samples without some keywords.
    ///
    /// # Errors
    ///
    /// None.
    pub fn without_keywords(&self, keywords: &[u32]) -> Result<Dataset> {
        let mut kept = Csr::new();
        self.keywords
            .rows()
            .try_for_each(|row| kept.push(row.iter().copied().filter(|id| !keywords.contains(id))).map(drop))?;
        Ok(Dataset { keywords: Arc::new(kept), ..self.clone() })
    }

    /// The given samples, which must exist, in the given order; in files if these are.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] for more than 2^32 - 1 samples; [`Error::Io`].
    pub fn subset(&self, samples: impl IntoIterator<Item = usize>) -> Result<Dataset> {
        let mut subset = DatasetBuilder::like(self)?;
        for i in samples {
            subset.push_excluding(self.keywords(i), self.tags(i), self.excluded(i), self.weight(i))?;
        }
        subset.finish()
    }

    /// Splits the indices of the samples into (training, validation), each ascending: sample `i` goes to validation with
    /// probability `fraction`, decided by the seed and `i` alone.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] unless `0 <= fraction <= 1`.
    pub fn split(&self, rng: Philox, fraction: f64) -> Result<(Vec<usize>, Vec<usize>)> {
        if !(0.0..=1.0).contains(&fraction) {
            return Err(Error::Config {
                option: "validation fraction",
                expected: "a number from 0 to 1",
                found: fraction.to_string(),
            });
        }
        // Samples are numbered by 32 bits.
        let (valid, train) = (0..self.len()).partition(|&i| f64::from(rng.split(i as u32)) < fraction);
        Ok((train, valid))
    }

    /// As [`split`](Self::split), but so that the training side can train each of `tags` tags: a sample that would leave it without
    /// an item that has some tag, or without one that lacks it, stays there. The side of a sample then hangs on those before it.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] unless `0 <= fraction <= 1`.
    pub fn split_trainable(&self, rng: Philox, fraction: f64, tags: usize) -> Result<(Vec<usize>, Vec<usize>)> {
        let (mut train, mut valid) = self.split(rng, fraction)?;
        self.keep_trainable(&mut train, &mut valid, tags);
        Ok((train, valid))
    }

    /// Moves the samples of `others` to `train` without which that could not train each of `tags` tags. Both are ascending, before and
    /// after.
    pub(crate) fn keep_trainable(&self, train: &mut Vec<usize>, others: &mut Vec<usize>, tags: usize) {
        // Of each tag in `train`.
        let (mut positives, mut excluded) = (vec![0_usize; tags], vec![0_usize; tags]);
        let count = |counts: &mut [usize], tags: &[u32]| {
            for &tag in tags {
                if let Some(n) = counts.get_mut(tag as usize) {
                    *n += 1;
                }
            }
        };
        for &i in train.iter() {
            count(&mut positives, self.tags(i));
            count(&mut excluded, self.excluded(i));
        }
        others.retain(|&i| {
            let mut of_sample = self.tags(i).iter().map(|&tag| tag as usize).peekable();
            let mut not_of_sample = self.excluded(i).iter().map(|&tag| tag as usize).peekable();
            let is_needed = (0..tags).any(|tag| {
                if of_sample.next_if_eq(&tag).is_some() {
                    return positives[tag] == 0;
                }
                not_of_sample.next_if_eq(&tag).is_none() && positives[tag] + excluded[tag] == train.len()
            });
            if is_needed {
                count(&mut positives, self.tags(i));
                count(&mut excluded, self.excluded(i));
                train.push(i);
            }
            !is_needed
        });
        train.sort_unstable();
    }

    /// A hash of the content, order of samples included; the same on every platform. It tells data sets apart, it does not
    /// protect against forgery.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Xxh3Default::new();
        let mut bytes = Vec::new();
        for i in 0..self.len() {
            bytes.clear();
            // What nothing is excluded from has the hash that it had before there were exclusions.
            let excluded = (!self.excluded.is_empty()).then(|| self.excluded(i));
            for ids in [self.keywords(i), self.tags(i)].into_iter().chain(excluded) {
                bytes.extend_from_slice(&(ids.len() as u64).to_le_bytes());
                bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
            }
            bytes.extend_from_slice(&self.weight(i).to_bits().to_le_bytes());
            hash.update(&bytes);
        }
        hash.digest()
    }
}

/// Fails for a weight that no sample can have.
pub(super) fn check_weight(sample: usize, weight: f32) -> Result<()> {
    if weight.is_finite() && weight >= 0.0 {
        return Ok(());
    }
    Err(Error::Sample { sample, expected: "a finite weight of 0 or more".to_owned(), found: weight.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Dataset {
        let mut data = Dataset::new();
        data.push(&[5, 2, 5], &[1], 1.0).unwrap();
        data.push(&[], &[], 0.0).unwrap();
        data.push(&[3], &[2, 0, 2], 2.5).unwrap();
        data
    }

    #[test]
    fn samples_are_canonical() {
        fn max(sets: &Csr) -> Option<&u32> {
            sets.ids().iter().max()
        }
        let data = sample();
        assert_eq!((data.len(), data.keywords(0), data.tags(2), data.weight(2)), (3, &[2, 5][..], &[0, 2][..], 2.5));
        assert_eq!((data.mean_keywords(), max(&data.keywords), max(&data.tags)), (1.0, Some(&5), Some(&2)));
        assert_eq!(data.tag_counts(2), [1, 1]);
        assert_eq!(Dataset::new().push(&[1, 1, 1], &[0, 0], 1.0).unwrap(), Pushed { repeated_keywords: 2, repeated_tags: 1 });
        assert_eq!((Dataset::new().mean_keywords(), max(&Dataset::new().keywords)), (0.0, None));
    }

    #[test]
    fn bad_weights_are_refused_and_leave_no_trace() {
        let mut data = sample();
        for weight in [-1.0, f32::NAN, f32::INFINITY] {
            assert!(matches!(data.push(&[1], &[1], weight), Err(Error::Sample { sample: 3, .. })));
        }
        assert_eq!(data, sample());
    }

    #[test]
    fn a_split_covers_every_sample_once_and_keeps_its_side() {
        let mut data = Dataset::new();
        for i in 0..1000 {
            data.push(&[i], &[], 1.0).unwrap();
        }
        let rng = Philox::new(7);
        let (train, valid) = data.split(rng, 0.2).unwrap();
        assert!((150..250).contains(&valid.len()), "{}", valid.len());
        let mut all = [train.clone(), valid.clone()].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..1000));
        assert!(valid.iter().all(|&i| rng.split(i as u32) < 0.2));
        // A larger fraction moves samples to one side only, and more samples change nothing for those before them.
        assert!(data.split(rng, 0.3).unwrap().0.iter().all(|i| train.contains(i)));
        assert_eq!(data.subset(0..500).unwrap().split(rng, 0.2).unwrap().1, valid[..valid.partition_point(|&i| i < 500)]);
        assert_eq!(data.subset(valid.iter().copied()).unwrap().keywords(0), [valid[0] as u32]);
        assert!(data.split(rng, 0.0).unwrap().1.is_empty() && data.split(rng, 1.0).unwrap().0.is_empty());
        assert!(matches!(data.split(rng, f64::NAN), Err(Error::Config { .. })));
    }

    #[test]
    fn a_trainable_split_leaves_no_tag_without_items() {
        let mut data = Dataset::new();
        // Tag 0 is on every second sample, tags 1.. on one each, tag 9 on all but one, tag 10 on none.
        for i in 0..200u32 {
            let mut tags = vec![];
            tags.extend((i % 2 == 0).then_some(0));
            tags.extend((i % 20 == 7).then_some(1 + i / 20 % 8));
            tags.extend((i != 77).then_some(9));
            data.push(&[i], &tags, 1.0).unwrap();
        }
        let rng = Philox::new(3);
        for fraction in [0.0, 0.1, 0.5, 0.9, 1.0] {
            let (train, valid) = data.split_trainable(rng, fraction, 10).unwrap();
            let mut all = [train.clone(), valid.clone()].concat();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..200) && train.is_sorted() && valid.is_sorted());
            assert!(valid.iter().all(|i| data.split(rng, fraction).unwrap().1.contains(i)));
            let counts = data.subset(train.iter().copied()).unwrap().tag_counts(10);
            assert!(counts.iter().all(|&n| 0 < n && n < train.len() as u64), "{fraction}: {counts:?}");
            if fraction == 0.1 {
                assert!(!valid.is_empty());
            }
        }
        // What no split can give is not asked for: a tag that is nowhere, or everywhere.
        assert_eq!(data.split_trainable(rng, 0.5, 0).unwrap(), data.split(rng, 0.5).unwrap());
        assert!(data.split_trainable(rng, 0.5, 11).unwrap().1.len() > 50);
        assert!(matches!(data.split_trainable(rng, -0.1, 1), Err(Error::Config { .. })));

        // Samples that are no negatives of a tag do not serve as such: two are left here that do.
        let mut data = Dataset::new();
        for i in 0..40u32 {
            let (tags, excluded): (&[u32], &[u32]) = if i % 4 == 0 {
                (&[0], &[])
            } else if i % 19 == 2 {
                (&[], &[])
            } else {
                (&[], &[0])
            };
            data.push_excluding(&[i], tags, excluded, 1.0).unwrap();
        }
        let (train, valid) = data.split_trainable(rng, 1.0, 1).unwrap();
        assert_eq!((train, valid.len()), (vec![0, 2], 38), "the first that has the tag, and the first negative");
    }

    #[test]
    fn the_fingerprint_sees_every_part() {
        let data = sample();
        let mut others = vec![Dataset::new(), data.subset([0, 2, 1]).unwrap(), data.subset([0, 1]).unwrap()];
        for (keywords, tags, weight) in [(&[2, 5][..], &[1][..], 2.0), (&[2], &[1, 5], 1.0), (&[2, 5, 1], &[], 1.0)] {
            let mut other = Dataset::new();
            other.push(keywords, tags, weight).unwrap();
            other.push(&[], &[], 0.0).unwrap();
            other.push(&[3], &[2, 0], 2.5).unwrap();
            others.push(other);
        }
        let mut prints: Vec<u64> = others.iter().chain([&data]).map(Dataset::fingerprint).collect();
        prints.sort_unstable();
        prints.dedup();
        assert_eq!(prints.len(), 7);
        // It stands in model files and checkpoints, so it must never change.
        assert_eq!(data.fingerprint(), 14_475_157_025_459_930_201);
    }
}
