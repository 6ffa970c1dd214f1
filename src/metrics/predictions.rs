//! Scores and the truth about them, checked once.

use crate::csr::Csr;
use crate::error::{Error, Result};

/// Tags whose columns are gathered together: a cache line of `f32` scores.
const COLUMNS: usize = 16;

/// Scores of all tags for some samples, with the tags that the samples really have.
#[derive(Clone, Copy, Debug)]
pub struct Predictions<'a, S = f32> {
    scores: &'a [S],
    tags: usize,
    truth: &'a Csr,
}

impl<'a, S: Copy + Into<f64>> Predictions<'a, S> {
    /// Scores of shape samples x `tags`, row-major; row `i` of `truth` holds the tags of sample `i`.
    ///
    /// # Errors
    ///
    /// [`Error::NoData`] without samples or without tags, [`Error::Length`] for another shape, [`Error::Sample`] for a score
    /// outside [0, 1], NaN included, or for a true tag that does not exist.
    pub fn new(scores: &'a [S], tags: usize, truth: &'a Csr) -> Result<Self> {
        if tags == 0 || truth.is_empty() {
            let what = if tags == 0 { "no tags to measure" } else { "no samples to measure on" };
            return Err(Error::NoData { what: what.to_owned(), cure: "give at least one sample and one tag" });
        }
        let pairs =
            tags.checked_mul(truth.len()).ok_or(Error::TooLarge { what: "pairs to measure", limit: usize::MAX as u64 })?;
        Error::check_length("scores (samples x tags)", pairs, scores.len())?;
        // NaN is in no range.
        let is_probability = |&s: &S| (0.0..=1.0).contains(&s.into());
        if let Some(bad) = scores.iter().position(|s| !is_probability(s)) {
            let found: f64 = scores[bad].into();
            return Err(Error::Sample {
                sample: bad / tags,
                expected: format!("a score from 0 to 1 for tag {}", bad % tags),
                found: found.to_string(),
            });
        }
        let beyond = |row: &[u32]| row.last().copied().filter(|&tag| tag as usize >= tags);
        if let Some((sample, tag)) = truth.rows().enumerate().find_map(|(sample, row)| Some((sample, beyond(row)?))) {
            return Err(Error::Sample { sample, expected: format!("tags below {tags}"), found: format!("tag {tag}") });
        }
        Ok(Predictions { scores, tags, truth })
    }

    /// The number of samples, at least 1.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.truth.len()
    }

    /// The number of tags, at least 1.
    #[must_use]
    pub fn tags(&self) -> usize {
        self.tags
    }

    /// The scores of each sample with the tags it has, in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = (&'a [S], &'a [u32])> {
        self.scores.chunks_exact(self.tags).zip(self.truth.rows())
    }

    /// Calls `see(score, whether the sample has the tag)` for all pairs: sample by sample, tags ascending.
    pub(crate) fn for_each_pair(&self, mut see: impl FnMut(f64, bool)) {
        for (mut scores, truth) in self.rows() {
            let mut passed = 0;
            for &tag in truth {
                let (negatives, rest) = scores.split_at(tag as usize - passed);
                negatives.iter().for_each(|&s| see(s.into(), false));
                see(rest[0].into(), true);
                scores = &rest[1..];
                passed = tag as usize + 1;
            }
            scores.iter().for_each(|&s| see(s.into(), false));
        }
    }

    /// Calls `see(tag, its scores in sample order, the samples that have it)` for each tag in order.
    pub fn for_each_tag(&self, mut see: impl FnMut(usize, &[f64], &[u32])) {
        let positives = self.truth.transposed(self.tags);
        for_each_column(self.scores, self.tags, |tag, scores| see(tag, scores, positives.row(tag)));
    }
}

/// Calls `see(column, its values from top to bottom)` for each column in order of a table with `columns` columns, row-major.
pub(crate) fn for_each_column<V: Copy + Into<f64>>(values: &[V], columns: usize, mut see: impl FnMut(usize, &[f64])) {
    let rows = values.len().checked_div(columns).unwrap_or(0);
    let mut gathered = vec![0.0; rows * COLUMNS.min(columns)];
    for first in (0..columns).step_by(COLUMNS) {
        let width = COLUMNS.min(columns - first);
        for (row, values) in values.chunks_exact(columns).enumerate() {
            for (column, &value) in values[first..first + width].iter().enumerate() {
                gathered[column * rows + row] = value.into();
            }
        }
        for column in 0..width {
            see(first + column, &gathered[column * rows..][..rows]);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::metrics) fn truth(rows: &[&[u32]]) -> Csr {
        let mut truth = Csr::new();
        for row in rows {
            truth.push(row.iter().copied()).unwrap();
        }
        truth
    }

    #[test]
    fn pairs_and_columns_show_the_same_table() {
        let (samples, tags) = (5, 37);
        let scores: Vec<f32> = (0..samples * tags).map(|i| i as f32 / 1000.0).collect();
        let truth = truth(&[&[0, 36], &[], &[5, 6, 7], &[35], &[16]]);
        let predictions = Predictions::new(&scores, tags, &truth).unwrap();
        let mut pairs = Vec::new();
        predictions.for_each_pair(|s, y| pairs.push((s, y)));
        let mut seen = 0;
        predictions.for_each_tag(|tag, column, positives| {
            assert_eq!(tag, seen);
            seen += 1;
            for (sample, &score) in column.iter().enumerate() {
                assert_eq!(pairs[sample * tags + tag], (score, positives.contains(&(sample as u32))));
            }
        });
        assert_eq!((seen, pairs.len()), (tags, samples * tags));
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        let truth = truth(&[&[0], &[1]]);
        for bad in [f32::NAN, -0.1, 1.5, f32::INFINITY] {
            let error = Predictions::new(&[0.5, 0.5, 0.5, bad], 2, &truth).unwrap_err();
            assert!(matches!(error, Error::Sample { sample: 1, .. }), "{error}");
        }
        assert!(Predictions::new(&[-0.0f32, 0.0, 1.0, 0.5], 2, &truth).is_ok());
    }

    #[test]
    fn shapes_must_agree() {
        let truth = truth(&[&[0], &[2]]);
        assert!(matches!(Predictions::new(&[0.5f32; 5], 3, &truth), Err(Error::Length { expected: 6, found: 5, .. })));
        assert!(matches!(Predictions::new(&[0.5f32; 4], 2, &truth), Err(Error::Sample { sample: 1, .. })));
        assert!(matches!(Predictions::<f32>::new(&[], 0, &truth), Err(Error::NoData { .. })));
        assert!(matches!(Predictions::<f32>::new(&[], 2, &Csr::new()), Err(Error::NoData { .. })));
        assert!(matches!(Predictions::new(&[0.5f32], usize::MAX, &truth), Err(Error::TooLarge { .. })));
    }
}
