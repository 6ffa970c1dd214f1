//! How far measures vary with the choice of samples: the bootstrap (Efron 1979).
//!
//! A *resample* draws as many samples as there are, with replacement; a measure's interval holds the middle 95 % of its values on
//! [`RESAMPLES`] resamples (the percentile method). Draws depend on a fixed seed, so a report is always the same.

use rayon::prelude::*;

use crate::metrics::{Predictions, top_k};
use crate::rng::Philox;

/// Resamples.
const RESAMPLES: u32 = 500;

/// The part of the values that is left out at each end.
const TAIL: f64 = 0.025;

const SEED: u64 = 0x626F_6F74;

/// An interval that holds the middle 95 % of a measure's values on resamples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Intervals of measures; `None` where a measure is not defined on most resamples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Intervals {
    /// Of the precision of the first tag.
    pub p_at_1: Option<Interval>,
    /// Of the precision of the first 3 tags.
    pub p_at_3: Option<Interval>,
    /// Of the precision of the first 5 tags.
    pub p_at_5: Option<Interval>,
    /// Of the F1 of all decisions together.
    pub micro_f1: Option<Interval>,
    /// Of the mean ROC-AUC.
    pub macro_auc: Option<Interval>,
    /// Of the mean average precision.
    pub macro_ap: Option<Interval>,
}

/// The measures of a resample, in the order of the fields of [`Intervals`].
type Measures = [Option<f64>; 6];

impl Intervals {
    /// The intervals of `predictions`, a sample given a tag iff its score is at or above the tag's threshold; on the present rayon
    /// pool if `parallel`.
    pub(super) fn new(predictions: &Predictions<'_>, thresholds: &[f32], parallel: bool) -> Self {
        Self::of_resamples(&Bootstrap::new(predictions, thresholds), RESAMPLES, parallel)
    }

    fn of_resamples(bootstrap: &Bootstrap, resamples: u32, parallel: bool) -> Self {
        let values: Vec<Measures> = if parallel {
            (0..resamples).into_par_iter().map(|number| bootstrap.resample(number)).collect()
        } else {
            (0..resamples).map(|number| bootstrap.resample(number)).collect()
        };
        let interval = |measure: usize| interval(values.iter().filter_map(|values| values[measure]).collect(), values.len());
        Intervals {
            p_at_1: interval(0),
            p_at_3: interval(1),
            p_at_5: interval(2),
            micro_f1: interval(3),
            macro_auc: interval(4),
            macro_ap: interval(5),
        }
    }
}

/// The middle of `values`; `None` if fewer than half of `resamples` have one.
fn interval(mut values: Vec<f64>, resamples: usize) -> Option<Interval> {
    if values.is_empty() || values.len() < resamples / 2 {
        return None;
    }
    values.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| values[(share * (values.len() - 1) as f64).round() as usize];
    Some(Interval { low: at(TAIL), high: at(1.0 - TAIL) })
}

/// What resamples are measured by: sums that samples have a part in, and the order of samples by each tag's scores.
struct Bootstrap {
    samples: Vec<Sample>,
    /// Each tag's samples by descending score.
    ranked: Vec<Ranked>,
}

/// The parts of one sample in the sums over all.
struct Sample {
    tagged: bool,
    /// Right ones among the first 1, 3 and 5 tags.
    hits: [u32; 3],
    /// Tags given and right.
    right: u32,
    /// Tags given, and tags of the sample.
    given_and_true: u32,
}

/// A place in a tag's ranking.
#[derive(Clone, Copy)]
struct Ranked {
    sample: u32,
    positive: bool,
    /// Whether the next one has another score.
    last_of_ties: bool,
}

impl Bootstrap {
    fn new(predictions: &Predictions<'_>, thresholds: &[f32]) -> Self {
        let mut best = Vec::new();
        let sample = |(scores, truth): (&[f32], &[u32])| {
            top_k(scores, 5, &mut best);
            let is_true = |tag: u32| truth.binary_search(&tag).is_ok();
            let hits = [1, 3, 5].map(|k| best.iter().take(k).filter(|(tag, _)| is_true(*tag)).count() as u32);
            let given = || (0..).zip(scores.iter().zip(thresholds)).filter(|(_, (score, threshold))| score >= threshold);
            let right = given().filter(|(tag, _)| is_true(*tag)).count() as u32;
            Sample { tagged: !truth.is_empty(), hits, right, given_and_true: (given().count() + truth.len()) as u32 }
        };
        let samples = predictions.rows().map(sample).collect();
        let mut ranked = Vec::with_capacity(predictions.samples() * predictions.tags());
        predictions.for_each_tag(|_, scores, positives| {
            let mut order: Vec<u32> = (0..scores.len() as u32).collect();
            order.sort_unstable_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]).then(a.cmp(&b)));
            for (place, &sample) in order.iter().enumerate() {
                let next = order.get(place + 1).map(|&next| scores[next as usize]);
                ranked.push(Ranked {
                    sample,
                    positive: positives.binary_search(&sample).is_ok(),
                    last_of_ties: next != Some(scores[sample as usize]),
                });
            }
        });
        Bootstrap { samples, ranked }
    }

    /// The measures of resample `number`.
    fn resample(&self, number: u32) -> Measures {
        let samples = self.samples.len();
        let rng = Philox::new(SEED);
        let mut counts = vec![0u32; samples];
        for first in (0..samples).step_by(4) {
            let block = rng.block([first as u32, number, 0, 0]);
            for word in block.iter().take(samples - first) {
                counts[((u64::from(*word) * samples as u64) >> 32) as usize] += 1;
            }
        }
        self.measure(&counts)
    }

    /// The measures of the samples, each taken `counts` times.
    fn measure(&self, counts: &[u32]) -> Measures {
        let (mut tagged, mut hits, mut right, mut given_and_true) = (0u64, [0u64; 3], 0u64, 0u64);
        for (sample, &count) in self.samples.iter().zip(counts) {
            let count = u64::from(count);
            tagged += count * u64::from(sample.tagged);
            for (sum, hits) in hits.iter_mut().zip(sample.hits) {
                *sum += count * u64::from(hits);
            }
            right += count * u64::from(sample.right);
            given_and_true += count * u64::from(sample.given_and_true);
        }
        let precision = |at: usize, k: u64| (tagged > 0).then(|| hits[at] as f64 / (k * tagged) as f64);
        let micro_f1 = (given_and_true > 0).then(|| 2.0 * right as f64 / given_and_true as f64);
        let (mut aucs, mut aps) = (Sum::default(), Sum::default());
        for ranked in self.ranked.chunks_exact(counts.len()) {
            let (auc, ap) = areas(ranked, counts);
            aucs.add(auc);
            aps.add(ap);
        }
        [precision(0, 1), precision(1, 3), precision(2, 5), micro_f1, aucs.mean(), aps.mean()]
    }
}

/// ROC-AUC and average precision of a tag.
fn areas(ranked: &[Ranked], counts: &[u32]) -> (Option<f64>, Option<f64>) {
    let (mut positives, mut negatives) = (0u64, 0u64);
    let (mut tied_positives, mut tied_negatives) = (0u64, 0u64);
    // Twice the pairs in the right order, and the sum of precisions at positives.
    let (mut pairs, mut precisions) = (0u64, 0.0);
    for place in ranked {
        let count = u64::from(counts[place.sample as usize]);
        if place.positive {
            tied_positives += count;
        } else {
            tied_negatives += count;
        }
        if place.last_of_ties {
            positives += tied_positives;
            // Each negative here is below all positives so far, but for those that it ties with.
            pairs += tied_negatives * (2 * positives - tied_positives);
            negatives += tied_negatives;
            if tied_positives > 0 {
                precisions += tied_positives as f64 * (positives as f64 / (positives + negatives) as f64);
            }
            (tied_positives, tied_negatives) = (0, 0);
        }
    }
    let auc = (positives > 0 && negatives > 0).then(|| pairs as f64 / (2.0 * positives as f64 * negatives as f64));
    (auc, (positives > 0).then(|| precisions / positives as f64))
}

/// A sum over those values that are defined.
#[derive(Default)]
struct Sum {
    sum: f64,
    defined: usize,
}

impl Sum {
    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.sum += value;
            self.defined += 1;
        }
    }

    fn mean(&self) -> Option<f64> {
        (self.defined > 0).then(|| self.sum / self.defined as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csr::Csr;
    use crate::metrics::{Evaluation, Options};
    use crate::rng::unit;

    const TAGS: usize = 7;

    /// Scores on a coarse grid, so that many tie, and the tags of each sample.
    fn table(samples: u32) -> (Vec<f32>, Csr) {
        let rng = Philox::new(5);
        let word = |i: u32, tag: u32, lane: usize| unit(rng.block([i, tag, 0, 0])[lane]);
        let mut truth = Csr::new();
        let mut scores = Vec::new();
        for i in 0..samples {
            truth.push((0..TAGS as u32).filter(|&tag| word(i, tag, 0) < 0.3)).unwrap();
            scores.extend((0..TAGS as u32).map(|tag| {
                let shift = if word(i, tag, 0) < 0.3 { 0.3 } else { 0.0 };
                ((0.7 * word(i, tag, 1) + shift) * 16.0).floor() / 16.0
            }));
        }
        (scores, truth)
    }

    #[test]
    fn the_samples_themselves_have_the_measures_of_the_evaluation() {
        let (scores, truth) = table(300);
        let predictions = Predictions::new(&scores, TAGS, &truth).unwrap();
        let thresholds = [0.5; TAGS];
        let found = Bootstrap::new(&predictions, &thresholds).measure(&[1; 300]);
        let evaluation = Evaluation::new(&predictions, &thresholds, Options { eps: 1e-4, propensities: None }).unwrap();
        let summary = evaluation.summary;
        let expected = [
            summary.p_at_1,
            summary.p_at_3,
            summary.p_at_5,
            Some(evaluation.micro_f1),
            evaluation.macro_auc.value,
            evaluation.macro_ap.value,
        ];
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found.unwrap() - expected.unwrap()).abs() < 1e-12, "{found:?} {expected:?}");
        }
    }

    /// Copies of a sample count as so many samples.
    #[test]
    fn counts_are_copies() {
        let (scores, truth) = table(60);
        let predictions = Predictions::new(&scores, TAGS, &truth).unwrap();
        let counts: Vec<u32> = (0..60).map(|i| i % 4).collect();
        let (mut copied_scores, mut copied_truth) = (Vec::new(), Csr::new());
        for ((scores, truth), &count) in predictions.rows().zip(&counts) {
            for _ in 0..count {
                copied_scores.extend_from_slice(scores);
                copied_truth.push(truth.iter().copied()).unwrap();
            }
        }
        let copies = Predictions::new(&copied_scores, TAGS, &copied_truth).unwrap();
        let found = Bootstrap::new(&predictions, &[0.4; TAGS]).measure(&counts);
        let expected = Bootstrap::new(&copies, &[0.4; TAGS]).measure(&vec![1; copied_truth.len()]);
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found.unwrap() - expected.unwrap()).abs() < 1e-12, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn intervals_hold_the_measure_and_shrink_with_more_samples() {
        let intervals = |samples| {
            let (scores, truth) = table(samples);
            let predictions = Predictions::new(&scores, TAGS, &truth).unwrap();
            let bootstrap = Bootstrap::new(&predictions, &[0.5; TAGS]);
            let measure = bootstrap.measure(&vec![1; samples as usize])[0].unwrap();
            let intervals = Intervals::of_resamples(&bootstrap, 100, false);
            let Interval { low, high } = intervals.p_at_1.unwrap();
            assert!(low < measure && measure < high, "{low} {measure} {high}");
            assert_eq!(intervals, Intervals::of_resamples(&bootstrap, 100, false));
            high - low
        };
        // Sixteen times the samples, a quarter of the width.
        let ratio = intervals(50) / intervals(800);
        assert!((2.5..6.0).contains(&ratio), "{ratio}");
    }

    #[test]
    fn what_is_never_defined_has_no_interval() {
        let mut truth = Csr::new();
        truth.push([]).unwrap();
        let predictions = Predictions::new(&[0.1f32, 0.2], 2, &truth).unwrap();
        let intervals = Intervals::of_resamples(&Bootstrap::new(&predictions, &[0.5; 2]), 10, false);
        assert_eq!(intervals, Intervals::default());
        assert_eq!(interval(vec![0.3], 10), None);
        assert_eq!(interval(vec![0.3, 0.1, 0.2], 4), Some(Interval { low: 0.1, high: 0.3 }));
    }
}
