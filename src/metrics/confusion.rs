//! Right and wrong decisions of one tag, or of many together.

use std::iter::Sum;

/// Counts of decisions. Of several tags they add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Given, and right.
    pub true_positives: u64,
    /// Given, and wrong.
    pub false_positives: u64,
    /// Not given, but should have been.
    pub false_negatives: u64,
}

impl Confusion {
    /// From the `scores` of a tag and the samples that have it, when it is given iff the score is at or above `threshold`.
    /// These samples must exist, as with a slice.
    #[must_use]
    pub fn at(threshold: f64, scores: &[f64], positives: &[u32]) -> Self {
        let given = scores.iter().filter(|&&score| score >= threshold).count() as u64;
        let right = positives.iter().filter(|&&sample| scores[sample as usize] >= threshold).count() as u64;
        Confusion { true_positives: right, false_positives: given - right, false_negatives: positives.len() as u64 - right }
    }

    /// Share of right ones among those given; `None` if none was.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        ratio(self.true_positives, self.true_positives + self.false_positives)
    }

    /// Share of those given among the right ones; `None` if there are none.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        ratio(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// `2 TP / (2 TP + FP + FN)`, and 0 for a tag that neither was given nor should have been.
    #[must_use]
    pub fn f1(&self) -> f64 {
        let twice = 2 * self.true_positives;
        ratio(twice, twice + self.false_positives + self.false_negatives).unwrap_or(0.0)
    }
}

impl Sum for Confusion {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Confusion::default(), |a, b| Confusion {
            true_positives: a.true_positives + b.true_positives,
            false_positives: a.false_positives + b.false_positives,
            false_negatives: a.false_negatives + b.false_negatives,
        })
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_at_the_threshold_gives_the_tag() {
        let confusion = Confusion::at(0.5, &[0.5, 0.4, 0.9, 0.5], &[0, 1]);
        assert_eq!(confusion, Confusion { true_positives: 1, false_positives: 2, false_negatives: 1 });
        assert_eq!((confusion.precision(), confusion.recall(), confusion.f1()), (Some(1.0 / 3.0), Some(0.5), 0.4));
    }

    #[test]
    fn nothing_given_and_nothing_to_find() {
        let nothing = Confusion::at(0.5, &[0.1], &[]);
        assert_eq!((nothing.precision(), nothing.recall(), nothing.f1()), (None, None, 0.0));
        let sum: Confusion = [nothing, Confusion::at(0.5, &[0.7], &[0])].into_iter().sum();
        assert_eq!(sum, Confusion { true_positives: 1, ..Confusion::default() });
    }
}
