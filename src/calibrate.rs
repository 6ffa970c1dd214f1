//! Fits a [`Calibration`](crate::calibration::Calibration) to the logits that a model gives to validation data.
//!
//! | method | map of a tag | source |
//! | --- | --- | --- |
//! | [`Method::Platt`] | `a·z + b`, a > 0 | Platt 1999, with his smoothed targets; Newton's method as in Lin, Lin & Weng 2007 |
//! | [`Method::Isotonic`] | the same, then a rising map, linear between the means of pooled violators | Oron & Flournoy 2017 |
//!
//! The shape is that of all tags together, after Platt's scaling; a tag with 1,000 positives and negatives or more has one of
//! its own, straight from its logits: isotonic regression overfits below that (Niculescu-Mizil & Caruana 2005). Pools have 10
//! positives and 10 negatives at least. Interpolation instead of the usual steps (*centered isotonic regression*) keeps the
//! order of items that a step would tie. A tag with fewer than 10 positives or negatives gets the slope and shift that are
//! fitted to the pairs of all tags together. Tags that are excluded for an item, as near-synonyms, are no negatives of it here either.
//!
//! ```
//! # fn main() -> tagomatic::Result<()> {
//! use tagomatic::calibrate::{Method, fit};
//! use tagomatic::data::Dataset;
//!
//! // A network that is too sure: of four items with logit 4 one lacks the tag, of four with logit -4 one has it.
//! let (mut items, mut logits) = (Dataset::new(), Vec::new());
//! for item in 0..48 {
//!     let high = item % 2 == 0;
//!     let tags: &[u32] = if high != (item % 8 < 2) { &[0] } else { &[] };
//!     items.push(&[], tags, 1.0)?;
//!     logits.push(if high { 4.0 } else { -4.0 });
//! }
//! let fitted = fit(Method::Platt, &logits, 1, &items)?;
//! assert!(fitted.curves[0].map(4.0) < 2.0);
//! # Ok(())
//! # }
//! ```

use crate::calibration::{Curve, Knot, LARGEST};
use crate::csr::Csr;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::ln::{exp, ln};
use crate::metrics::for_each_column;
use crate::named::named;

/// How logits are mapped to calibrated ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A slope and a shift.
    Platt,
    /// Any map that does not fall.
    Isotonic,
}

named!(Method, "calibrate", "platt or isotonic", {
    Platt => "platt",
    Isotonic => "isotonic",
});

/// The maps that were found.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The map of each tag.
    pub curves: Vec<Curve>,
    /// Tags that have the common slope and shift, for want of items.
    pub pooled: Vec<usize>,
}

/// Positives, and negatives, from which on a tag has a slope and a shift of its own.
const NEEDS: usize = 10;

/// Those from which on it has a shape of its own.
const NEEDS_FOR_SHAPE: usize = 1000;

/// Positives, and negatives, of a pool at least.
const POOL: usize = 10;

/// Fits maps to `logits`, samples of `items` x tags, row-major: those that the network computes, before any calibration. The maps depend
/// on these and the tags of the samples alone.
///
/// # Errors
/// [`Error::Length`] unless there are as many logits; [`Error::Sample`] for one that is not finite.
pub fn fit(method: Method, logits: &[f32], tags: usize, items: &Dataset) -> Result<Fitted> {
    fit_known(method, logits, &KnownPairs::of(items, tags))
}

/// [`fit`] to pairs that somebody has a use for besides.
pub(crate) fn fit_known(method: Method, logits: &[f32], known: &KnownPairs) -> Result<Fitted> {
    let tags = known.positives.len();
    Error::check_length("logits (samples x tags)", known.samples.saturating_mul(tags), logits.len())?;
    if let Some(place) = logits.iter().position(|logit| !logit.is_finite()) {
        let expected = format!("a finite logit for tag {}", place % tags);
        return Err(Error::Sample { sample: place / tags, expected, found: logits[place].to_string() });
    }
    let needs = |tag: usize, count: usize| known.counts(tag).into_iter().min() >= Some(count);
    let every = logits.len().div_ceil(POOLED).max(1);
    let mut pairs = Pairs::default();

    let pooled: Vec<usize> = (0..tags).filter(|&tag| !needs(tag, NEEDS)).collect();
    let mut lines = vec![Line { slope: 1.0, shift: 0.0 }; tags];
    if !pooled.is_empty() {
        known.for_each_tag(logits, |_, column, positives| pairs.extend(column, positives, every));
        // Without a positive, or without a negative, there is nothing to learn about either.
        if pairs.positives > 0 && pairs.positives < pairs.all.len() {
            lines.fill(platt(&pairs));
        }
    }
    known.for_each_tag(logits, |tag, column, positives| {
        if needs(tag, NEEDS) {
            pairs.clear();
            pairs.extend(column, positives, 1);
            lines[tag] = platt(&pairs);
        }
    });
    if method == Method::Platt {
        return Ok(Fitted { curves: lines.into_iter().map(Line::curve).collect(), pooled });
    }

    pairs.clear();
    known.for_each_tag(logits, |tag, column, positives| {
        let mapped: Vec<f64> = column.iter().map(|z| lines[tag].slope * z + lines[tag].shift).collect();
        pairs.extend(&mapped, positives, every);
    });
    let shape = isotonic(&mut pairs, POOL);
    let mut curves: Vec<Curve> = lines.iter().map(|line| shape.after(*line)).collect();
    known.for_each_tag(logits, |tag, column, positives| {
        if needs(tag, NEEDS_FOR_SHAPE) {
            pairs.clear();
            pairs.extend(column, positives, 1);
            curves[tag] = isotonic(&mut pairs, POOL).after(Line { slope: 1.0, shift: 0.0 });
        }
    });
    Ok(Fitted { curves, pooled })
}

/// The pairs of samples and tags of which it is known whether the sample has the tag: all but those that are excluded.
pub(crate) struct KnownPairs {
    samples: usize,
    /// For each tag, the samples that have it.
    positives: Csr,
    /// Those that are no negatives of it.
    excluded: Csr,
}

impl KnownPairs {
    pub(crate) fn of(items: &Dataset, tags: usize) -> Self {
        let [positives, excluded] = [items.tag_sets(), items.exclusions()].map(|sets| sets.transposed(tags));
        KnownPairs { samples: items.len(), positives, excluded }
    }

    /// Positives and negatives of a tag.
    fn counts(&self, tag: usize) -> [usize; 2] {
        let [positives, excluded] = [&self.positives, &self.excluded].map(|sets| sets.row(tag).len());
        [positives, self.samples - positives - excluded]
    }

    /// Calls `see(tag, its values in the order of the samples, the places in them of those that have it)` for each tag in order, where
    /// `values` is a table of samples x tags.
    pub(crate) fn for_each_tag(&self, values: &[f32], mut see: impl FnMut(usize, &[f64], &[u32])) {
        for_each_column(values, self.positives.len(), |tag, column| {
            let (positives, excluded) = (self.positives.row(tag), self.excluded.row(tag));
            if excluded.is_empty() {
                return see(tag, column, positives);
            }
            let is_excluded = |sample: u32| excluded.binary_search(&sample).is_ok();
            let known = (0..).zip(column).filter(|(sample, _)| !is_excluded(*sample)).map(|(_, value)| *value);
            // A place is as far from its sample as there are excluded ones before that.
            let place = |sample: &u32| sample - excluded.partition_point(|excluded| excluded < sample) as u32;
            see(tag, &known.collect::<Vec<f64>>(), &positives.iter().map(place).collect::<Vec<u32>>());
        });
    }
}

/// About as many pairs as common maps are fitted to: of more, those of every second, third, ... sample are taken.
const POOLED: usize = 1 << 22;

/// Logits, and whether the tag was there.
#[derive(Default)]
struct Pairs {
    all: Vec<(f64, bool)>,
    positives: usize,
}

impl Pairs {
    fn clear(&mut self) {
        self.all.clear();
        self.positives = 0;
    }

    /// Adds the logits of a tag, of one sample in `every`; the samples `positives` have it.
    fn extend(&mut self, logits: &[f64], positives: &[u32], every: usize) {
        let start = self.all.len();
        self.all.extend(logits.iter().step_by(every).map(|&logit| (logit, false)));
        for sample in positives.iter().map(|&sample| sample as usize).filter(|sample| sample.is_multiple_of(every)) {
            self.all[start + sample / every].1 = true;
            self.positives += 1;
        }
    }

    /// What a certain yes and a certain no are taken for: with n of a kind, n + 1 of n + 2.
    fn targets(&self) -> (f64, f64) {
        let (positives, negatives) = (self.positives as f64, (self.all.len() - self.positives) as f64);
        ((positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))
    }
}

/// Slopes are not below this: a tag whose items the network orders wrongly is left almost without order, not turned round.
const LEAST_SLOPE: f64 = 1e-3;

/// A slope, above 0, and a shift.
#[derive(Clone, Copy, Debug)]
struct Line {
    slope: f64,
    shift: f64,
}

impl Line {
    fn curve(self) -> Curve {
        Curve::linear(number(self.slope), number(self.shift))
    }
}

/// Minimises the log-loss of `a·z + b` with the smoothed targets.
fn platt(pairs: &Pairs) -> Line {
    let (yes, no) = pairs.targets();
    let n = pairs.all.len() as f64;
    let loss = |a: f64, b: f64| -> f64 {
        let of = |&(z, is_positive): &(f64, bool)| {
            let u = a * z + b;
            let target = if is_positive { yes } else { no };
            // softplus(u) - target·u
            u.max(0.0) + ln(1.0 + exp(-u.abs())) - target * u
        };
        pairs.all.iter().map(of).sum::<f64>() / n
    };
    let (mut a, mut b) = (1.0, 0.0);
    let mut best = loss(a, b);
    for _ in 0..50 {
        // Gradient and Hessian, which a little ridge keeps invertible where all logits are the same.
        let (mut ga, mut gb, mut haa, mut hab, mut hbb) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for &(z, is_positive) in &pairs.all {
            let u = a * z + b;
            let e = exp(-u.abs());
            let p = if u >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) };
            let error = p - if is_positive { yes } else { no };
            let weight = p * (1.0 - p);
            ga += error * z;
            gb += error;
            haa += weight * z * z;
            hab += weight * z;
            hbb += weight;
        }
        let ridge = 1e-9 * n;
        (haa, hbb) = (haa + ridge, hbb + ridge);
        let determinant = haa * hbb - hab * hab;
        let (da, db) = ((hbb * ga - hab * gb) / determinant, (haa * gb - hab * ga) / determinant);
        let mut step = 1.0;
        let found = loop {
            let next = ((a - step * da).max(LEAST_SLOPE), b - step * db);
            let value = loss(next.0, next.1);
            // NaN is no improvement.
            if value < best {
                break Some((next, value));
            }
            step /= 2.0;
            if step < 1e-8 {
                break None;
            }
        };
        let Some((next, value)) = found else { break };
        let gain = best - value;
        ((a, b), best) = (next, value);
        if gain <= 1e-12 * best {
            break;
        }
    }
    Line { slope: a, shift: b }
}

/// As a number of a map: in its range, and 0 without a sign.
fn number(x: f64) -> f32 {
    (x as f32).clamp(-LARGEST, LARGEST) + 0.0
}

/// Neighbours that were pooled.
struct Pool {
    logits: f64,
    positives: f64,
    pairs: f64,
}

impl Pool {
    fn add(&mut self, other: &Pool) {
        self.logits += other.logits;
        self.positives += other.positives;
        self.pairs += other.pairs;
    }

    fn rate(&self) -> f64 {
        self.positives / self.pairs
    }
}

/// A map through points, ascending; slope 1 before the first and after the last. Without points it changes nothing.
struct Shape {
    points: Vec<(f64, f64)>,
}

impl Shape {
    /// The map that applies `line` first.
    fn after(&self, line: Line) -> Curve {
        let mut knots: Vec<Knot> = Vec::with_capacity(self.points.len());
        for &(x, y) in &self.points {
            let knot = Knot { from: number((x - line.shift) / line.slope), to: number(y) };
            // Two points can be one in `f32`.
            knots.pop_if(|last| last.from >= knot.from);
            knots.push(knot);
        }
        if knots.is_empty() { line.curve() } else { Curve { slope: number(line.slope), knots } }
    }
}

/// Isotonic regression by pooling adjacent violators, then neighbours until each pool has `least` positives and negatives.
fn isotonic(pairs: &mut Pairs, least: usize) -> Shape {
    if pairs.positives == 0 || pairs.positives == pairs.all.len() {
        return Shape { points: Vec::new() };
    }
    let (yes, no) = pairs.targets();
    // By logit; the order of equals does not matter, they are one pool.
    pairs.all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut pools: Vec<Pool> = Vec::new();
    for equal in pairs.all.chunk_by(|a, b| a.0 == b.0) {
        let count = equal.len() as f64;
        let positives = equal.iter().filter(|pair| pair.1).count() as f64;
        let mut pool = Pool { logits: equal[0].0 * count, positives, pairs: count };
        while let Some(last) = pools.pop_if(|last| last.rate() >= pool.rate()) {
            pool.add(&last);
        }
        pools.push(pool);
    }
    let is_small = |pool: &Pool| pool.positives.min(pool.pairs - pool.positives) < least as f64;
    let mut large: Vec<Pool> = Vec::new();
    for pool in pools {
        match large.last_mut() {
            Some(last) if is_small(last) => last.add(&pool),
            _ => large.push(pool),
        }
    }
    if large.len() > 1
        && let Some(rest) = large.pop_if(|last| is_small(last))
        && let Some(last) = large.last_mut()
    {
        last.add(&rest);
    }
    let point = |pool: &Pool| {
        let rate = pool.rate().clamp(no, yes);
        (pool.logits / pool.pairs, ln(rate) - ln(1.0 - rate))
    };
    Shape { points: large.iter().map(point).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Calibration;
    use crate::rng::{Philox, unit};

    fn sigma(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    /// Logits spread over [-6, 6), and tags that are there as often as `probability` of the logit and the tag says.
    fn sample(samples: u32, tags: usize, probability: impl Fn(f64, usize) -> f64) -> (Vec<f32>, Dataset) {
        let rng = Philox::new(5);
        let (mut logits, mut items) = (Vec::new(), Dataset::new());
        for i in 0..samples {
            let mut row = Vec::new();
            for tag in 0..tags {
                let [a, b, ..] = rng.block([i, tag as u32, 0, 0]);
                let logit = 12.0 * unit(a) - 6.0;
                logits.push(logit);
                row.extend((f64::from(unit(b)) < probability(f64::from(logit), tag)).then_some(tag as u32));
            }
            items.push(&[], &row, 1.0).unwrap();
        }
        (logits, items)
    }

    #[test]
    fn platt_finds_the_slope_and_the_shift() {
        let (logits, items) = sample(40_000, 2, |z, tag| if tag == 0 { sigma(0.5 * z - 1.0) } else { sigma(2.0 * z + 0.5) });
        let Fitted { curves, pooled } = fit(Method::Platt, &logits, 2, &items).unwrap();
        assert!(pooled.is_empty());
        for (curve, (a, b)) in curves.iter().zip([(0.5, -1.0), (2.0, 0.5)]) {
            assert!((curve.slope - a).abs() < 0.05 && (curve.knots[0].to - b).abs() < 0.06, "{curve:?}");
            assert_eq!((curve.knots.len(), curve.knots[0].from), (1, 0.0));
        }
    }

    #[test]
    fn isotonic_finds_any_rising_map() {
        // No sigmoid: it rises like a square.
        let truth_of = |z: f64| 0.05 + 0.9 * ((z + 6.0) / 12.0) * ((z + 6.0) / 12.0);
        let (logits, items) = sample(40_000, 1, |z, _| truth_of(z));
        let Fitted { curves, pooled } = fit(Method::Isotonic, &logits, 1, &items).unwrap();
        assert!(pooled.is_empty());
        for z in [-5.0, -3.0, -1.0, 0.0, 2.0, 4.0, 5.0] {
            let found = sigma(f64::from(curves[0].map(z)));
            assert!((found - truth_of(f64::from(z))).abs() < 0.04, "{z}: {found}");
        }
        Calibration::new(&curves).unwrap();
    }

    #[test]
    fn pools_by_hand() {
        // Sorted: - + - + +; the second and the third are pooled.
        let mut pairs = Pairs::default();
        pairs.extend(&[3.0, 0.0, 2.0, 1.0, 4.0], &[0, 3, 4], 1);
        let curve = isotonic(&mut pairs, 0).after(Line { slope: 1.0, shift: 0.0 });
        let mut third = Pairs::default();
        third.extend(&[3.0, 0.0, 2.0, 1.0, 4.0], &[0, 3, 4], 3);
        assert_eq!((third.all, third.positives), (vec![(3.0, true), (1.0, true)], 2));
        let (yes, no) = (4.0_f64 / 5.0, 1.0_f64 / 4.0);
        let logit = |p: f64| (p / (1.0 - p)).ln();
        let expected = [(0.0, logit(no)), (1.5, 0.0), (3.5, logit(yes))];
        assert_eq!(curve.knots.len(), 3, "{curve:?}");
        for (knot, (from, to)) in curve.knots.iter().zip(expected) {
            assert!(knot.from == from && (f64::from(knot.to) - to).abs() < 1e-6, "{knot:?}");
        }
        // With a positive and a negative a pool at least: - + - and + +, and so all together.
        assert_eq!(isotonic(&mut pairs, 1).points.len(), 1);
        // After 2z + 1 the same knots are reached from where that is them.
        let after = isotonic(&mut pairs, 0).after(Line { slope: 2.0, shift: 1.0 });
        assert!(after.knots.iter().map(|knot| knot.from).eq([-0.5, 0.25, 1.25]) && after.slope == 2.0, "{after:?}");
        assert!(after.knots.iter().zip(&curve.knots).all(|(a, b)| a.to == b.to));
    }

    #[test]
    fn rare_tags_share_a_map() {
        // Tag 1 has nearly no positives, tag 2 nearly no negatives.
        let (logits, items) = sample(3000, 3, |z, tag| [sigma(0.5 * z), 0.001, 0.999][tag]);
        for method in [Method::Platt, Method::Isotonic] {
            let Fitted { curves, pooled } = fit(method, &logits, 3, &items).unwrap();
            assert_eq!(pooled, [1, 2]);
            assert_eq!(curves[1], curves[2]);
            assert_ne!(curves[0], curves[1]);
        }
    }

    #[test]
    fn what_is_excluded_counts_for_nothing() {
        let (logits, items) = sample(3000, 2, |z, tag| sigma(0.5 * z - tag as f64));
        // Beside each sample one that lacks the tags without being a negative of them, at a logit where that would tell.
        let (mut with, mut more) = (Dataset::new(), Vec::new());
        for (i, row) in logits.chunks(2).enumerate() {
            with.push_excluding(&[], &[], &[0, 1], 1.0).unwrap();
            with.push(&[], items.tags(i), 1.0).unwrap();
            more.extend([5.0, 5.0, row[0], row[1]]);
        }
        for method in [Method::Platt, Method::Isotonic] {
            assert_eq!(fit(method, &more, 2, &with).unwrap(), fit(method, &logits, 2, &items).unwrap());
        }
        // Where half of a tag is excluded, the other half alone decides whether it has a map of its own.
        let mut few = Dataset::new();
        (0..40).for_each(|i| {
            few.push_excluding(&[], if i < 15 { &[0] } else { &[] }, if i < 35 { &[0] } else { &[] }, 1.0).unwrap();
        });
        assert_eq!(fit(Method::Platt, &[0.5; 40], 1, &few).unwrap().pooled, [0]);
    }

    /// All that validation data can be, short of something that is no data.
    #[test]
    fn every_fit_is_a_map() {
        let rng = Philox::new(8);
        for case in 0..200_u32 {
            let samples = [0, 1, 30, 200][case as usize % 4];
            let word = |i: u32| rng.block([i, case, 0, 0]);
            let scale = [0.0, 1.0, 1e-30, 1e20, f32::MAX][case as usize / 4 % 5];
            let (mut logits, mut items) = (Vec::new(), Dataset::new());
            for i in 0..samples {
                let [a, b, c, _] = word(i);
                logits.extend([scale * (2.0 * unit(a) - 1.0), scale * (2.0 * unit(b) - 1.0).round()]);
                // Also tags that the logits have the wrong way round, and tags that all have.
                let wrong = unit(a) < 0.5;
                let tags =
                    [(wrong, 0), (c % 3 > 0 || case % 7 == 0, 1)].into_iter().filter_map(|(has, tag)| has.then_some(tag));
                // One case in three has near-synonyms.
                let excluded: &[u32] = if case % 3 == 0 && c % 5 == 0 { &[0, 1] } else { &[] };
                items.push_excluding(&[], &tags.collect::<Vec<u32>>(), excluded, 1.0).unwrap();
            }
            for method in [Method::Platt, Method::Isotonic] {
                let fitted = fit(method, &logits, 2, &items).unwrap();
                Calibration::new(&fitted.curves).unwrap_or_else(|error| panic!("{method} {case}: {error}"));
                assert_eq!(fit(method, &logits, 2, &items).unwrap(), fitted);
            }
        }
        assert!(matches!(fit(Method::Platt, &[0.0], 2, &Dataset::new()), Err(Error::Length { .. })));
        let mut items = Dataset::new();
        items.push(&[], &[0], 1.0).unwrap();
        assert!(matches!(fit(Method::Platt, &[0.0, f32::NAN], 2, &items), Err(Error::Sample { sample: 0, .. })));
    }
}
