//! What a threshold can achieve for one tag: ROC-AUC, average precision, and the threshold that serves a purpose best.

use super::Confusion;

/// The outcome of every threshold that matters for a tag.
///
/// Only scores of positives do: lowering a threshold between two of them adds false positives and nothing else. So the positives
/// are sorted, few as they are, and each negative is merely counted into its place.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::metrics::ThresholdCurve;
///
/// // The samples 0 and 2 have the tag.
/// let curve = ThresholdCurve::new(&[0.9, 0.8, 0.7, 0.1], &[0, 2]);
/// assert_eq!(curve.auc(), Some(0.75));
/// let sure = curve.best_precision(0.5);
/// println!("{:?} {sure:?}", curve.best_f1());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ThresholdCurve {
    positives: u64,
    negatives: u64,
    /// By descending score.
    steps: Vec<Step>,
}

/// Samples at or above a distinct score of positives.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Step {
    score: f64,
    /// Positives with this very score, at least 1.
    tied_positives: u64,
    /// Negatives with this very score.
    tied_negatives: u64,
    true_positives: u64,
    false_positives: u64,
}

/// A threshold and what it achieves. A sample is given the tag iff its score is at or above the threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OperatingPoint {
    /// The threshold: a score that occurs.
    pub threshold: f64,
    /// Share of right ones among the tags given.
    pub precision: f64,
    /// Share of the positives that are found.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
}

impl ThresholdCurve {
    /// From the `scores` of a tag, none of them NaN, and the `positives`: the samples that have the tag, each once.
    /// They must exist, as with a slice.
    #[must_use]
    pub fn new(scores: &[f64], positives: &[u32]) -> Self {
        let mut of_positives: Vec<f64> = positives.iter().map(|&sample| scores[sample as usize]).collect();
        of_positives.sort_unstable_by(|a, b| b.total_cmp(a));
        let mut distinct = of_positives.clone();
        distinct.dedup();

        // Samples with each distinct score, and strictly between it and the next higher one.
        let mut tied = vec![0u64; distinct.len()];
        let mut above = vec![0u64; distinct.len()];
        if let Some(&lowest) = distinct.last() {
            for &score in scores.iter().filter(|&&score| score >= lowest) {
                let place = distinct.partition_point(|&higher| higher > score);
                let exact = u64::from(distinct[place] == score);
                tied[place] += exact;
                above[place] += 1 - exact;
            }
        }

        let mut steps = Vec::with_capacity(distinct.len());
        let (mut true_positives, mut false_positives) = (0, 0);
        for (tied_positives, (tied, above)) in of_positives.chunk_by(|a, b| a == b).zip(tied.into_iter().zip(above)) {
            let score = tied_positives[0];
            let tied_positives = tied_positives.len() as u64;
            let tied_negatives = tied - tied_positives;
            true_positives += tied_positives;
            false_positives += above + tied_negatives;
            steps.push(Step { score, tied_positives, tied_negatives, true_positives, false_positives });
        }
        let positives = positives.len() as u64;
        ThresholdCurve { positives, negatives: scores.len() as u64 - positives, steps }
    }

    /// Samples that have the tag.
    #[must_use]
    pub fn positives(&self) -> u64 {
        self.positives
    }

    /// Samples that do not.
    #[must_use]
    pub fn negatives(&self) -> u64 {
        self.negatives
    }

    /// The decisions at each distinct score of positives as threshold, by descending threshold.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = Confusion> {
        self.steps.iter().map(|step| self.confusion(step))
    }

    /// ROC-AUC: the chance that a positive scores above a negative, ties counting half. `None` without positives or negatives.
    #[must_use]
    pub fn auc(&self) -> Option<f64> {
        let pairs = u128::from(self.positives) * u128::from(self.negatives);
        // Twice the pairs in the right order, exactly.
        let right = |step: &Step| {
            let below = self.negatives - step.false_positives;
            u128::from(step.tied_positives) * (2 * u128::from(below) + u128::from(step.tied_negatives))
        };
        (pairs > 0).then(|| self.steps.iter().map(right).sum::<u128>() as f64 / (2.0 * pairs as f64))
    }

    /// Average precision: `Σ (R_n - R_{n-1}) P_n` over distinct thresholds, without interpolation. `None` without positives.
    #[must_use]
    pub fn average_precision(&self) -> Option<f64> {
        let gain = |step: &Step| {
            step.tied_positives as f64 * (step.true_positives as f64 / (step.true_positives + step.false_positives) as f64)
        };
        (self.positives > 0).then(|| self.steps.iter().map(gain).sum::<f64>() / self.positives as f64)
    }

    /// The threshold with the largest F1; of equals, the largest. `None` without positives.
    #[must_use]
    pub fn best_f1(&self) -> Option<OperatingPoint> {
        self.best(|_| true, |point| point.f1)
    }

    /// The threshold with the largest recall among those whose precision reaches `target`; of equals, the largest. `None` when
    /// there is none: the tag should never be given.
    #[must_use]
    pub fn best_recall(&self, target: f64) -> Option<OperatingPoint> {
        let reaches = |step: &Step| step.true_positives as f64 >= target * (step.true_positives + step.false_positives) as f64;
        self.best(reaches, |point| point.recall)
    }

    /// The threshold with the largest precision among those whose recall reaches `target`; of equals, the largest. `None` without
    /// positives, or for a target above 1.
    #[must_use]
    pub fn best_precision(&self, target: f64) -> Option<OperatingPoint> {
        // A quotient, because 0.55 of 100 positives is more than 55 if it is a product.
        let reaches = |step: &Step| step.true_positives as f64 / self.positives as f64 >= target;
        self.best(reaches, |point| point.precision)
    }

    fn best(&self, allowed: impl Fn(&Step) -> bool, value: impl Fn(&OperatingPoint) -> f64) -> Option<OperatingPoint> {
        let points = self.steps.iter().filter(|step| allowed(step)).map(|step| self.point(step));
        points.reduce(|best, point| if value(&point) > value(&best) { point } else { best })
    }

    fn point(&self, step: &Step) -> OperatingPoint {
        let confusion = self.confusion(step);
        OperatingPoint {
            threshold: step.score,
            precision: confusion.precision().unwrap_or(0.0),
            recall: confusion.recall().unwrap_or(0.0),
            f1: confusion.f1(),
        }
    }

    fn confusion(&self, step: &Step) -> Confusion {
        Confusion {
            true_positives: step.true_positives,
            false_positives: step.false_positives,
            false_negatives: self.positives - step.true_positives,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Philox, unit};

    /// All pairs and all thresholds, straight from the definitions.
    #[expect(clippy::type_complexity, reason = "four optional measures, read once")]
    fn naive(scores: &[f64], positives: &[u32]) -> (Option<f64>, Option<f64>, Option<(f64, f64)>, Option<(f64, f64)>) {
        let is_positive = |i: usize| positives.contains(&(i as u32));
        let (pos, neg): (Vec<usize>, Vec<usize>) = (0..scores.len()).partition(|&i| is_positive(i));
        let mut auc = 0.0;
        for (&p, &n) in pos.iter().flat_map(|p| neg.iter().map(move |n| (p, n))) {
            auc += if scores[p] > scores[n] { 1.0 } else { 0.5 * f64::from(u8::from(scores[p] == scores[n])) };
        }
        let mut taus = scores.to_vec();
        taus.sort_by(|a, b| b.total_cmp(a));
        taus.dedup();
        let (mut ap, mut recall_before) = (0.0, 0.0);
        let (mut by_f1, mut by_precision) = (None::<(f64, f64)>, None::<(f64, f64)>);
        for tau in taus {
            let tp = pos.iter().filter(|&&i| scores[i] >= tau).count() as f64;
            let fp = neg.iter().filter(|&&i| scores[i] >= tau).count() as f64;
            let recall = tp / pos.len() as f64;
            ap += (recall - recall_before) * tp / (tp + fp);
            recall_before = recall;
            let f1 = 2.0 * tp / (tp + fp + pos.len() as f64);
            if by_f1.is_none_or(|(_, best)| f1 > best) {
                by_f1 = Some((tau, f1));
            }
            if tp > 0.0 && tp >= 0.6 * (tp + fp) && by_precision.is_none_or(|(_, best)| recall > best) {
                by_precision = Some((tau, recall));
            }
        }
        let some = !pos.is_empty();
        let auc = (some && !neg.is_empty()).then(|| auc / (pos.len() * neg.len()) as f64);
        (auc, some.then_some(ap), by_f1.filter(|_| some), by_precision)
    }

    #[test]
    fn agrees_with_the_definitions_on_tied_scores() {
        let rng = Philox::new(3);
        for case in 0..300 {
            let samples = 1 + case % 40;
            let levels = [2.0, 7.0, 1e6][case as usize % 3];
            let word = |i: u32, lane: usize| unit(rng.block([i, case, 0, 0])[lane]);
            let scores: Vec<f64> = (0..samples).map(|i| (f64::from(word(i, 0)) * levels).floor() / levels).collect();
            let rate = word(0, 2);
            let positives: Vec<u32> = (0..samples).filter(|&i| word(i, 1) < rate).collect();
            let curve = ThresholdCurve::new(&scores, &positives);
            let (auc, ap, by_f1, by_precision) = naive(&scores, &positives);
            let close = |a: Option<f64>, b: Option<f64>| {
                assert_eq!(a.is_some(), b.is_some());
                assert!(a.zip(b).is_none_or(|(a, b)| (a - b).abs() < 1e-12), "{a:?} {b:?}");
            };
            close(curve.auc(), auc);
            close(curve.average_precision(), ap);
            assert_eq!(curve.best_f1().map(|p| (p.threshold, p.f1)), by_f1);
            assert_eq!(curve.best_recall(0.6).map(|p| (p.threshold, p.recall)), by_precision);
        }
    }

    #[test]
    fn precision_is_the_best_that_recall_allows() {
        // From the best score down: + - - + + - : precision 1, 1/3 .. 2/4, 3/5, 3/6 at recall 1/3, 1/3, 2/3, 1, 1.
        let curve = ThresholdCurve::new(&[0.9, 0.8, 0.7, 0.6, 0.5, 0.4], &[0, 3, 4]);
        let threshold = |target| curve.best_precision(target).map(|point| point.threshold);
        assert_eq!(
            [0.0, 0.3, 0.4, 0.7, 1.0, 1.1].map(threshold),
            [Some(0.9), Some(0.9), Some(0.5), Some(0.5), Some(0.5), None]
        );
        // Of equal precisions the largest threshold.
        let tied = ThresholdCurve::new(&[0.9, 0.8], &[0, 1]);
        assert_eq!(tied.best_precision(0.5).map(|point| (point.threshold, point.recall)), Some((0.9, 0.5)));
        // 55 of 100 are a recall of 0.55.
        let scores: Vec<f64> = (0..100).map(|i| 1.0 - f64::from(i) / 128.0).collect();
        let all: Vec<u32> = (0..100).collect();
        let found = ThresholdCurve::new(&scores, &all).best_precision(0.55).map(|point| point.threshold);
        assert_eq!(found, Some(scores[54]));
    }

    #[test]
    fn zero_has_no_sign() {
        let curve = ThresholdCurve::new(&[-0.0, 0.0, 0.0, -0.0], &[0, 2]);
        assert_eq!((curve.auc(), curve.average_precision()), (Some(0.5), Some(0.5)));
    }

    #[test]
    fn undefined_is_none() {
        let nobody = ThresholdCurve::new(&[0.1, 0.2], &[]);
        assert_eq!((nobody.auc(), nobody.average_precision()), (None, None));
        assert!(nobody.best_f1().is_none() && nobody.best_recall(0.0).is_none() && nobody.best_precision(0.0).is_none());
        let everybody = ThresholdCurve::new(&[0.1, 0.2], &[0, 1]);
        assert_eq!((everybody.auc(), everybody.average_precision()), (None, Some(1.0)));
        assert_eq!(everybody.best_recall(1.0).map(|p| (p.threshold, p.recall)), Some((0.1, 1.0)));
    }
}
