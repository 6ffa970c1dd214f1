//! Curves of scores: ROC, precision and recall, one threshold for all tags, reliability.

use crate::error::{Error, Result};
use crate::metrics::{CALIBRATION_BINS, Predictions, ThresholdCurve};

/// Points between 0 and 1 at which curves of many tags are averaged.
const GRID: usize = 100;

/// The least distance between points of a curve that are both kept.
const STEP: f64 = 1.0 / 400.0;

/// Curves of the scores of all tags. Points are (x, y), x ascending.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// The ROC of all pairs: (share of negatives given, share of positives given).
    pub roc: Vec<(f64, f64)>,
    /// The mean of the tags' ROCs at each share of negatives; empty if no tag has one.
    pub mean_roc: Vec<(f64, f64)>,
    /// (Recall, precision) of all pairs.
    pub precision_recall: Vec<(f64, f64)>,
    /// The mean of the tags' precisions at each recall; empty if no tag has one.
    pub mean_precision_recall: Vec<(f64, f64)>,
    /// What one threshold for all tags achieves, from 0.01 to 0.99.
    pub thresholds: Vec<Operation>,
    /// Confidence and frequency, in bins of equal width; bins without pairs are left out.
    pub reliability: Vec<ReliabilityBin>,
}

/// What one threshold for all tags achieves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Operation {
    /// The threshold.
    pub threshold: f64,
    /// Share of right ones among the tags given; `None` if none is.
    pub precision: Option<f64>,
    /// Share of those given among the right ones; `None` if there are none.
    pub recall: Option<f64>,
    /// F1 of all decisions together.
    pub micro_f1: f64,
    /// Mean F1 of the tags.
    pub macro_f1: f64,
}

/// The pairs whose scores lie in one bin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReliabilityBin {
    /// Mean score.
    pub confidence: f64,
    /// Share of positives.
    pub frequency: f64,
    /// Pairs, at least 1.
    pub pairs: u64,
}

impl Curves {
    /// The curves of `predictions`.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more than 2³² pairs.
    pub fn new(predictions: &Predictions<'_>) -> Result<Self> {
        let pooled = pooled(predictions)?;
        let (mut mean_roc, mut mean_precision_recall) = (GridMean::default(), GridMean::default());
        predictions.for_each_tag(|_, scores, positives| {
            let curve = ThresholdCurve::new(scores, positives);
            if !positives.is_empty() && positives.len() < scores.len() {
                mean_roc.add(&roc(&curve), false);
            }
            if !positives.is_empty() {
                mean_precision_recall.add(&precision_recall(&curve), true);
            }
        });
        Ok(Curves {
            roc: thinned(&roc(&pooled)),
            mean_roc: mean_roc.points(),
            precision_recall: thinned(&precision_recall(&pooled)),
            mean_precision_recall: mean_precision_recall.points(),
            thresholds: thresholds(predictions),
            reliability: reliability(predictions),
        })
    }
}

/// The curve of all pairs.
fn pooled(predictions: &Predictions<'_>) -> Result<ThresholdCurve> {
    let pairs = predictions.samples() * predictions.tags();
    if u32::try_from(pairs).is_err() {
        return Err(Error::TooLarge { what: "pairs to report on", limit: u32::MAX.into() });
    }
    let (mut scores, mut positives) = (Vec::with_capacity(pairs), Vec::new());
    for (row, truth) in predictions.rows() {
        positives.extend(truth.iter().map(|tag| scores.len() as u32 + tag));
        scores.extend(row.iter().map(|&score| f64::from(score)));
    }
    Ok(ThresholdCurve::new(&scores, &positives))
}

/// From (0, 0) to (1, 1); nothing without positives or without negatives.
fn roc(curve: &ThresholdCurve) -> Vec<(f64, f64)> {
    let (positives, negatives) = (curve.positives() as f64, curve.negatives() as f64);
    if positives == 0.0 || negatives == 0.0 {
        return Vec::new();
    }
    let mut points = vec![(0.0, 0.0)];
    points.extend(
        curve
            .steps()
            .map(|confusion| (confusion.false_positives as f64 / negatives, confusion.true_positives as f64 / positives)),
    );
    points.push((1.0, 1.0));
    points
}

/// From the highest threshold to full recall.
fn precision_recall(curve: &ThresholdCurve) -> Vec<(f64, f64)> {
    curve.steps().filter_map(|confusion| Some((confusion.recall()?, confusion.precision()?))).collect()
}

/// The first and the last point, and between them those that are some way from the one before.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for &(x, y) in points {
        if kept.last().is_none_or(|last| (x - last.0).abs() + (y - last.1).abs() >= STEP) {
            kept.push((x, y));
        }
    }
    if let Some(last) = points.last().filter(|last| kept.last() != Some(last)) {
        kept.push(*last);
    }
    kept
}

/// A mean of curves at the points of a grid.
#[derive(Default)]
struct GridMean {
    sums: Vec<f64>,
    curves: usize,
}

impl GridMean {
    /// Adds a curve of points with x ascending to 1: its y at the first point that reaches a grid point's x, or at the last point
    /// that does not exceed it.
    fn add(&mut self, points: &[(f64, f64)], reaching: bool) {
        self.curves += 1;
        self.sums.resize(GRID + 1, 0.0);
        for (i, sum) in self.sums.iter_mut().enumerate() {
            let x = i as f64 / GRID as f64;
            let place = if reaching {
                points.partition_point(|point| point.0 < x)
            } else {
                points.partition_point(|point| point.0 <= x).saturating_sub(1)
            };
            *sum += points[place.min(points.len() - 1)].1;
        }
    }

    fn points(&self) -> Vec<(f64, f64)> {
        (0..).zip(&self.sums).map(|(i, sum)| (f64::from(i) / GRID as f64, sum / self.curves as f64)).collect()
    }
}

/// Counts at thresholds 0.01 to 0.99: those at or above each.
struct Above {
    positives: [u64; 99],
    all: [u64; 99],
}

fn thresholds(predictions: &Predictions<'_>) -> Vec<Operation> {
    let taus: [f64; 99] = std::array::from_fn(|i| (i + 1) as f64 / 100.0);
    let mut total = Above { positives: [0; 99], all: [0; 99] };
    let (mut f1_sums, mut true_pairs) = ([0.0; 99], 0);
    let f1 = |right: u64, given: u64, positives: u64| {
        if given + positives > 0 { 2.0 * right as f64 / (given + positives) as f64 } else { 0.0 }
    };
    predictions.for_each_tag(|_, scores, positives| {
        // Samples whose score reaches so many of the thresholds, then those that reach at least so many.
        let mut above = Above { positives: [0; 99], all: [0; 99] };
        let reached = |score: f64| taus.partition_point(|&tau| tau <= score).checked_sub(1);
        scores.iter().filter_map(|&score| reached(score)).for_each(|last| above.all[last] += 1);
        let of_positives = positives.iter().filter_map(|&sample| reached(scores[sample as usize]));
        of_positives.for_each(|last| above.positives[last] += 1);
        let (mut right, mut given) = (0, 0);
        for i in (0..taus.len()).rev() {
            right += above.positives[i];
            given += above.all[i];
            total.positives[i] += right;
            total.all[i] += given;
            f1_sums[i] += f1(right, given, positives.len() as u64);
        }
        true_pairs += positives.len() as u64;
    });
    let ratio = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    let operation = |i: usize| {
        let (right, given) = (total.positives[i], total.all[i]);
        Operation {
            threshold: taus[i],
            precision: ratio(right, given),
            recall: ratio(right, true_pairs),
            micro_f1: f1(right, given, true_pairs),
            macro_f1: f1_sums[i] / predictions.tags() as f64,
        }
    };
    (0..taus.len()).map(operation).collect()
}

fn reliability(predictions: &Predictions<'_>) -> Vec<ReliabilityBin> {
    let mut bins = [(0.0, 0u64, 0u64); CALIBRATION_BINS];
    predictions.for_each_pair(|score, positive| {
        let (sum, positives, pairs) = &mut bins[((score * CALIBRATION_BINS as f64) as usize).min(CALIBRATION_BINS - 1)];
        *sum += score;
        *positives += u64::from(positive);
        *pairs += 1;
    });
    let filled = bins.into_iter().filter(|(_, _, pairs)| *pairs > 0);
    filled
        .map(|(sum, positives, pairs)| ReliabilityBin {
            confidence: sum / pairs as f64,
            frequency: positives as f64 / pairs as f64,
            pairs,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csr::Csr;
    use crate::metrics::Confusion;

    fn truth(rows: &[&[u32]]) -> Csr {
        let mut truth = Csr::new();
        rows.iter().for_each(|row| {
            truth.push(row.iter().copied()).unwrap();
        });
        truth
    }

    #[test]
    fn curves_by_hand() {
        // Tag 0: + .9, - .6, + .3. Tag 1: - .8, - .5, + .5.
        let truth = truth(&[&[0], &[], &[0, 1]]);
        let scores = [0.9f32, 0.8, 0.6, 0.5, 0.3, 0.5];
        let curves = Curves::new(&Predictions::new(&scores, 2, &truth).unwrap()).unwrap();
        let third = 1.0 / 3.0;
        assert_eq!(curves.roc, [(0.0, 0.0), (0.0, third), (1.0, 2.0 * third), (1.0, 1.0)]);
        assert_eq!(curves.precision_recall, [(third, 1.0), (2.0 * third, 0.4), (1.0, 0.5)]);
        assert_eq!((curves.mean_roc[0], curves.mean_roc[99]), ((0.0, 0.25), (0.99, 0.25)));
        assert_eq!(curves.mean_roc[100], (1.0, 1.0));
        // At recall one half: 1 of tag 0, and what tag 1 has at full recall, 1/3.
        assert_eq!(curves.mean_precision_recall[50], (0.5, (1.0 + third) / 2.0));
        assert_eq!(curves.mean_precision_recall[100], (1.0, (2.0 * third + third) / 2.0));
    }

    #[test]
    fn one_threshold_for_all_tags_is_what_confusion_counts() {
        let truth = truth(&[&[0], &[1], &[0, 1], &[]]);
        let scores = [0.5f32, 0.005, 0.25, 0.75, 0.99, 0.5, 1.0, 0.0];
        let predictions = Predictions::new(&scores, 2, &truth).unwrap();
        let found = thresholds(&predictions);
        assert_eq!(found.len(), 99);
        for operation in found {
            let (mut all, mut f1) = (Confusion::default(), 0.0);
            predictions.for_each_tag(|_, scores, positives| {
                let confusion = Confusion::at(operation.threshold, scores, positives);
                f1 += confusion.f1() / 2.0;
                all = [all, confusion].into_iter().sum();
            });
            assert_eq!((operation.precision, operation.recall, operation.micro_f1), (all.precision(), all.recall(), all.f1()));
            assert!((operation.macro_f1 - f1).abs() < 1e-15);
        }
    }

    #[test]
    fn bins_are_those_of_the_calibration_error() {
        let truth = truth(&[&[0], &[], &[0], &[]]);
        let scores = [1.0f32, 0.95, 0.02, 0.04];
        let predictions = Predictions::new(&scores, 1, &truth).unwrap();
        let bins = reliability(&predictions);
        let [low, high] = bins[..] else { panic!("{bins:?}") };
        assert_eq!((low.pairs, low.frequency, high.pairs, high.frequency), (2, 0.5, 2, 0.5));
        let gaps = bins.iter().map(|bin| bin.pairs as f64 * (bin.confidence - bin.frequency).abs()).sum::<f64>() / 4.0;
        assert!((gaps - predictions.calibration_error(CALIBRATION_BINS).unwrap()).abs() < 1e-12);
    }

    #[test]
    fn long_curves_are_thinned_and_keep_their_ends() {
        let points: Vec<(f64, f64)> = (0..=100_000).map(|i| (f64::from(i) / 1e5, f64::from(i) / 1e5)).collect();
        let thin = thinned(&points);
        assert!((300..=900).contains(&thin.len()), "{}", thin.len());
        assert_eq!((thin.first(), thin.last()), (points.first(), points.last()));
        assert_eq!(thinned(&points[..1]).len(), 1);
        assert_eq!(thinned(&[]), []);
    }

    #[test]
    fn what_cannot_be_drawn_is_empty() {
        let truth = truth(&[&[]]);
        let curves = Curves::new(&Predictions::new(&[0.5f32], 1, &truth).unwrap()).unwrap();
        assert!(curves.roc.is_empty() && curves.mean_roc.is_empty());
        assert!(curves.precision_recall.is_empty() && curves.mean_precision_recall.is_empty());
        assert_eq!(curves.thresholds[0].recall, None);
    }
}
