//! Activity penalties: what makes hidden units sparse. They act on h before dropout, and are added once a mini-batch.
//!
//! With B samples, weight λ and h̄_j the mean of unit j over the mini-batch (sums over units are sums, never means):
//!
//! | kind | R | ∂R/∂h_ij |
//! | --- | --- | --- |
//! | `l1` | (λ/B) Σ \|h\| | (λ/B) sgn h |
//! | `student_t` | (λ/B) Σ ln(1 + h²) | (λ/B) 2h / (1 + h²) |
//! | `mean_square(p)` | λ Σ_j (p − h̄_j)² | (2λ/B) (h̄_j − p), for units that are off too |
//! | `kl_mean(p)` | λ Σ_j KL(p ‖ h̄_j) | (λ/B) ((1−p)/(1−h̄_j) − p/h̄_j) |
//! | `ce_mean(p)` | λ Σ_j −p ln h̄_j − (1−p) ln(1−h̄_j) | as `kl_mean` |
//! | `kl_elem(p)` | (λ/B) Σ KL(p ‖ h) | by a: (λ/B) (h − p) |
//!
//! The last three want sigmoid units. `kl_mean` and `ce_mean` clamp h̄ to [1e-6, 1 − 1e-6], in value and gradient. A smaller
//! mini-batch means a stronger penalty on means: E[h̄²] is the mean's square plus the variance over B.

use std::fmt;
use std::str::FromStr;

use crate::aligned::{Block, as_floats, as_floats_mut};
use crate::error::{Error, Result};
use crate::kernels::{Kernels, LogLoss, LossInputs, LossKind};
use crate::ln::ln;
use crate::network::{Activation, Shape};

/// Which penalty, with its target p where it has one.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum PenaltyKind {
    /// The absolute value.
    L1,
    /// The negative log-density of Student's t distribution.
    StudentT,
    /// The squared distance of a unit's mean from p.
    MeanSquare(f64),
    /// The Kullback-Leibler divergence of a unit's mean from p.
    KlMean(f64),
    /// The cross-entropy of a unit's mean with p.
    CeMean(f64),
    /// The Kullback-Leibler divergence of every single value from p.
    KlElem(f64),
}

/// A penalty and its weight λ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Penalty {
    /// Which.
    pub kind: PenaltyKind,
    /// λ, at least 0.
    pub weight: f64,
}

/// Means are kept this far from 0 and 1 by `kl_mean` and `ce_mean`.
const DELTA: f64 = 1e-6;

impl PenaltyKind {
    /// The name without its target.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            PenaltyKind::L1 => "l1",
            PenaltyKind::StudentT => "student_t",
            PenaltyKind::MeanSquare(_) => "mean_square",
            PenaltyKind::KlMean(_) => "kl_mean",
            PenaltyKind::CeMean(_) => "ce_mean",
            PenaltyKind::KlElem(_) => "kl_elem",
        }
    }

    const fn target(self) -> Option<f64> {
        match self {
            PenaltyKind::L1 | PenaltyKind::StudentT => None,
            PenaltyKind::MeanSquare(p) | PenaltyKind::KlMean(p) | PenaltyKind::CeMean(p) | PenaltyKind::KlElem(p) => Some(p),
        }
    }

    const fn wants_sigmoid(self) -> bool {
        matches!(self, PenaltyKind::KlMean(_) | PenaltyKind::CeMean(_) | PenaltyKind::KlElem(_))
    }
}

impl Penalty {
    /// Fails unless λ and p are in their ranges and the penalty goes with the activation.
    pub(super) fn check(&self, activation: Activation) -> Result<()> {
        let error = |option, expected, found: String| Err(Error::Config { option, expected, found });
        if !(self.weight >= 0.0 && self.weight < f64::from(f32::MAX)) {
            return error("penalty_weight", "a finite number, at least 0", self.weight.to_string());
        }
        let target_fits = match self.kind {
            PenaltyKind::L1 | PenaltyKind::StudentT => true,
            PenaltyKind::MeanSquare(p) => p.is_finite(),
            PenaltyKind::KlMean(p) | PenaltyKind::CeMean(p) | PenaltyKind::KlElem(p) => 0.0 < p && p < 1.0,
        };
        if !target_fits {
            return error("penalty", "a finite target, above 0 and below 1 for kl_* and ce_*", self.kind.to_string());
        }
        if self.kind.wants_sigmoid() && activation != Activation::Sigmoid {
            return error("penalty", "l1, student_t or mean_square with units other than sigmoid", self.kind.to_string());
        }
        Ok(())
    }

    /// The penalty of a mini-batch, and the means of its units where the gradient needs them. `hidden` and `pre_activations` have
    /// one row a sample, padded.
    pub(super) fn batch(
        &self,
        kernels: Kernels,
        shape: &Shape,
        hidden: &[Block],
        pre_activations: &[Block],
        samples: usize,
    ) -> Result<BatchPenalty> {
        let mut batch = BatchPenalty { kind: self.kind, scale: self.weight / samples as f64, value: 0.0, means: Vec::new() };
        let row = shape.row_blocks();
        let rows = |table| as_floats(table).chunks_exact((row * crate::aligned::LANES).max(1)).take(samples);
        let units = || (0..shape.hidden() * shape.groups().len()).map(|unit| shape.unit_position(unit));
        match self.kind {
            PenaltyKind::L1 | PenaltyKind::StudentT => {
                let of = |h: f64| if self.kind == PenaltyKind::L1 { h.abs() } else { ln(1.0 + h * h) };
                batch.value = batch.scale * rows(hidden).flatten().map(|h| of(f64::from(*h))).sum::<f64>();
            }
            PenaltyKind::KlElem(p) => {
                for i in 0..samples {
                    let a = &pre_activations[i * row..(i + 1) * row];
                    let mut gradient = vec![Block::ZERO; row];
                    batch.value += batch.scale * divergence(kernels, shape, p, a, 1.0, &mut gradient)?;
                }
                let entropy = p * ln(p) + (1.0 - p) * ln(1.0 - p);
                batch.value += self.weight * entropy * units().count() as f64;
            }
            PenaltyKind::MeanSquare(p) | PenaltyKind::KlMean(p) | PenaltyKind::CeMean(p) => {
                batch.means = vec![0.0; row * crate::aligned::LANES];
                for row in rows(hidden) {
                    batch.means.iter_mut().zip(row).for_each(|(mean, h)| *mean += f64::from(*h));
                }
                batch.means.iter_mut().for_each(|mean| *mean /= samples as f64);
                let of = |mean: f64| {
                    let m = clamp(mean);
                    let cross_entropy = -p * ln(m) - (1.0 - p) * ln(1.0 - m);
                    match self.kind {
                        PenaltyKind::MeanSquare(_) => (p - mean) * (p - mean),
                        PenaltyKind::KlMean(_) => cross_entropy + p * ln(p) + (1.0 - p) * ln(1.0 - p),
                        _ => cross_entropy,
                    }
                };
                batch.value = self.weight * units().map(|position| of(batch.means[position])).sum::<f64>();
            }
        }
        Ok(batch)
    }
}

/// A penalty on one mini-batch.
#[derive(Clone, Debug)]
pub(super) struct BatchPenalty {
    kind: PenaltyKind,
    /// λ/B.
    scale: f64,
    /// R.
    pub(super) value: f64,
    /// h̄ by position in the hidden vector.
    means: Vec<f64>,
}

impl BatchPenalty {
    /// Adds ∂R/∂h of one sample to `d_hidden`, in the places of units; padding is left alone.
    pub(super) fn add_by_hidden(&self, shape: &Shape, hidden: &[Block], d_hidden: &mut [Block]) {
        let (h, d) = (as_floats(hidden), as_floats_mut(d_hidden));
        for position in (0..shape.hidden() * shape.groups().len()).map(|unit| shape.unit_position(unit)) {
            let x = f64::from(h[position]);
            let gradient = match self.kind {
                PenaltyKind::L1 if x == 0.0 => 0.0,
                PenaltyKind::L1 => x.signum(),
                PenaltyKind::StudentT => 2.0 * x / (1.0 + x * x),
                PenaltyKind::MeanSquare(p) => 2.0 * (self.means[position] - p),
                PenaltyKind::KlMean(p) | PenaltyKind::CeMean(p) => {
                    let mean = clamp(self.means[position]);
                    (1.0 - p) / (1.0 - mean) - p / mean
                }
                PenaltyKind::KlElem(_) => continue,
            };
            d[position] += (self.scale * gradient) as f32;
        }
    }

    /// Adds ∂R/∂a of one sample to `d_pre_activations`, for the penalty that is stated by a.
    pub(super) fn add_by_pre_activations(
        &self,
        kernels: Kernels,
        shape: &Shape,
        pre_activations: &[Block],
        d_pre_activations: &mut [Block],
    ) -> Result<()> {
        let PenaltyKind::KlElem(p) = self.kind else { return Ok(()) };
        let mut gradient = vec![Block::ZERO; pre_activations.len()];
        divergence(kernels, shape, p, pre_activations, self.scale as f32, &mut gradient)?;
        for (d, g) in as_floats_mut(d_pre_activations).iter_mut().zip(as_floats(&gradient)) {
            *d += g;
        }
        Ok(())
    }
}

/// Σ p·softplus(−a) + (1−p)·softplus(a) over a sample's units, and its gradient `scale · (σ(a) − p)`: the log-loss with target p.
fn divergence(kernels: Kernels, shape: &Shape, p: f64, a: &[Block], scale: f32, gradient: &mut [Block]) -> Result<f64> {
    let same = |value: f32| vec![Block([value; crate::aligned::LANES]); a.len()];
    let mut units = same(0.0);
    for unit in 0..shape.hidden() * shape.groups().len() {
        as_floats_mut(&mut units)[shape.unit_position(unit)] = 1.0;
    }
    let inputs = LossInputs { targets: &same(p as f32), weights: &units, positive_weights: &same(1.0), offsets: &same(0.0) };
    gradient.copy_from_slice(a);
    kernels.log_loss(&LogLoss { kind: LossKind::Logit, eps: 0.0, limit: f32::INFINITY, scale }, inputs, gradient)
}

/// NaN stays NaN.
fn clamp(mean: f64) -> f64 {
    mean.clamp(DELTA, 1.0 - DELTA)
}

impl fmt::Display for PenaltyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        self.target().map_or(Ok(()), |p| write!(f, ":{p}"))
    }
}

impl FromStr for PenaltyKind {
    type Err = Error;

    /// Reads `name` or `name:p`; `mean_square` has p = 0 unless told otherwise.
    fn from_str(text: &str) -> Result<Self> {
        let unknown = || Error::Config {
            option: "penalty",
            expected: "l1, student_t, mean_square[:p], kl_mean:p, ce_mean:p or kl_elem:p",
            found: format!("{text:?}"),
        };
        let (name, target) = match text.split_once(':') {
            None => (text, None),
            Some((name, p)) => (name, Some(p.parse::<f64>().map_err(|_| unknown())?)),
        };
        match (name, target) {
            ("l1", None) => Ok(PenaltyKind::L1),
            ("student_t", None) => Ok(PenaltyKind::StudentT),
            ("mean_square", p) => Ok(PenaltyKind::MeanSquare(p.unwrap_or(0.0))),
            ("kl" | "kl_mean", Some(p)) => Ok(PenaltyKind::KlMean(p)),
            ("ce_mean", Some(p)) => Ok(PenaltyKind::CeMean(p)),
            ("kl_elem", Some(p)) => Ok(PenaltyKind::KlElem(p)),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::activation;
    use crate::layers::tests::random_blocks;
    use crate::network::{Network, OutputLayout, Pooling};

    #[test]
    fn gradients_are_finite_differences_of_the_whole_mini_batch() {
        for (kind, activation) in [
            (PenaltyKind::L1, Activation::Relu),
            (PenaltyKind::StudentT, Activation::Tlin(0.1)),
            (PenaltyKind::MeanSquare(0.2), Activation::Relu),
            (PenaltyKind::KlMean(0.05), Activation::Sigmoid),
            (PenaltyKind::CeMean(0.3), Activation::Sigmoid),
            (PenaltyKind::KlElem(0.1), Activation::Sigmoid),
        ] {
            for (hidden, samples) in [(3, 1), (17, 4)] {
                let shape = Shape::new(0, hidden, &[1, 1], OutputLayout::TagMajor).unwrap();
                let network = Network { shape: shape.clone(), pooling: Pooling::Sum, activation, eps: 0.0 };
                let penalty = Penalty { kind, weight: 0.7 };
                let kernels = Kernels::best();
                let row = shape.row_blocks();
                let a = random_blocks(4, row * samples);
                let run = |a: &[Block]| {
                    let mut h = a.to_vec();
                    for (a, h) in a.chunks(row).zip(h.chunks_mut(row)) {
                        activation::forward(kernels, &network, a, h).unwrap();
                    }
                    let batch = penalty.batch(kernels, &shape, &h, a, samples).unwrap();
                    (batch, h)
                };
                let (batch, h) = run(&a);
                for unit in [0, hidden - 1, hidden, 2 * hidden - 1] {
                    let (sample, position) = (samples - 1, shape.unit_position(unit));
                    let range = sample * row..(sample + 1) * row;
                    let mut d = vec![Block::ZERO; row];
                    batch.add_by_hidden(&shape, &h[range.clone()], &mut d);
                    kernels.activate_backward(activation, &a[range.clone()], &h[range.clone()], &mut d).unwrap();
                    batch.add_by_pre_activations(kernels, &shape, &a[range], &mut d).unwrap();
                    let at = |step: f32| {
                        let mut moved = a.clone();
                        as_floats_mut(&mut moved[sample * row..])[position] += step;
                        run(&moved).0.value
                    };
                    let difference = (at(1e-3) - at(-1e-3)) / 2e-3;
                    let exact = f64::from(as_floats(&d)[position]);
                    assert!((difference - exact).abs() < 2e-3, "{kind}: {difference} against {exact}");
                }
            }
        }
    }

    #[test]
    fn names_ranges_and_units() {
        for text in ["l1", "student_t", "mean_square:0", "kl_mean:0.05", "ce_mean:0.5", "kl_elem:0.1"] {
            assert_eq!(text.parse::<PenaltyKind>().unwrap().to_string(), text);
        }
        assert_eq!("mean_square".parse::<PenaltyKind>().unwrap(), PenaltyKind::MeanSquare(0.0));
        for text in ["kl_mean", "ce_mean", "kl_elem", "l1:0.1", "student_t:1", "kl_mean:x", "l2", ""] {
            assert!(text.parse::<PenaltyKind>().is_err(), "{text}");
        }
        let check = |kind, weight, activation| Penalty { kind, weight }.check(activation).is_ok();
        assert!(check(PenaltyKind::KlMean(0.1), 1.0, Activation::Sigmoid));
        assert!(!check(PenaltyKind::KlMean(0.1), 1.0, Activation::Relu));
        assert!(!check(PenaltyKind::KlElem(1.0), 1.0, Activation::Sigmoid));
        assert!(!check(PenaltyKind::L1, -1.0, Activation::Relu));
        assert!(check(PenaltyKind::L1, 0.0, Activation::Relu));
        assert!(!check(PenaltyKind::L1, f64::from(f32::MAX), Activation::Relu));
        for kind in [PenaltyKind::KlMean, PenaltyKind::CeMean, PenaltyKind::KlElem] {
            assert!(check(kind(0.5), 1.0, Activation::Sigmoid) && !check(kind(0.5), 1.0, Activation::Tlin(0.1)));
            assert!(!check(kind(0.0), 1.0, Activation::Sigmoid) && !check(kind(1.0), 1.0, Activation::Sigmoid));
        }
        assert!(check(PenaltyKind::MeanSquare(-2.0), 1.0, Activation::Relu));
        assert!(!check(PenaltyKind::MeanSquare(f64::INFINITY), 1.0, Activation::Relu));
        assert!(!check(PenaltyKind::L1, f64::NAN, Activation::Relu));
    }

    /// Where every term counts, means of 0 and 1 among them.
    #[test]
    fn values_and_gradients_are_those_of_the_table() {
        let shape = Shape::new(0, 3, &[1, 1], OutputLayout::TagMajor).unwrap();
        let (kernels, row, weight) = (Kernels::best(), shape.row_blocks(), 0.7);
        let values = [[0.25, 0.5, 0.75, 0.125, 1.0, 0.0], [0.5, -0.125, 0.875, 0.25, 1.0, 0.0]];
        let mut blocks = vec![Block::ZERO; 2 * row];
        for (sample, values) in values.iter().enumerate() {
            for (unit, value) in values.iter().enumerate() {
                as_floats_mut(&mut blocks[sample * row..])[shape.unit_position(unit)] = *value;
            }
        }
        let cross_entropy = |p: f64, q: f64| -p * q.ln() - (1.0 - p) * (1.0 - q).ln();
        let kl = |p: f64, q: f64| cross_entropy(p, q) - cross_entropy(p, p);
        let sigma = |a: f64| 1.0 / (1.0 + (-a).exp());
        let bounded = |mean: f64| mean.clamp(1e-6, 1.0 - 1e-6);
        let by_mean = |p: f64, mean: f64| (1.0 - p) / (1.0 - bounded(mean)) - p / bounded(mean);
        let all = |of: &dyn Fn(f64) -> f64| values.iter().flatten().map(|h| of(f64::from(*h))).sum::<f64>() / 2.0;
        let means: Vec<f64> = (0..6).map(|unit| f64::from(values[0][unit] + values[1][unit]) / 2.0).collect();
        let of_means = |of: &dyn Fn(f64) -> f64| means.iter().map(|mean| of(*mean)).sum::<f64>();
        // R/λ, and B/λ of the gradient by the value of one unit of one sample, and by its mean.
        type Slope<'a> = &'a dyn Fn(f64, f64) -> f64;
        let sign = |h: f64| if h == 0.0 { 0.0 } else { h.signum() };
        let cases: [(PenaltyKind, f64, Slope<'_>); 6] = [
            (PenaltyKind::L1, all(&f64::abs), &|h, _| sign(h)),
            (PenaltyKind::StudentT, all(&|h| (1.0 + h * h).ln()), &|h, _| 2.0 * h / (1.0 + h * h)),
            (PenaltyKind::MeanSquare(0.2), of_means(&|mean| (0.2 - mean).powi(2)), &|_, mean| 2.0 * (mean - 0.2)),
            (PenaltyKind::KlMean(0.05), of_means(&|mean| kl(0.05, bounded(mean))), &|_, mean| by_mean(0.05, mean)),
            (PenaltyKind::CeMean(0.3), of_means(&|mean| cross_entropy(0.3, bounded(mean))), &|_, mean| by_mean(0.3, mean)),
            (PenaltyKind::KlElem(0.1), all(&|a| kl(0.1, sigma(a))), &|a, _| sigma(a) - 0.1),
        ];
        for (kind, value, slope) in cases {
            let batch = Penalty { kind, weight }.batch(kernels, &shape, &blocks, &blocks, 2).unwrap();
            assert!((batch.value / (weight * value) - 1.0).abs() < 1e-5, "{kind}: {} for {}", batch.value, weight * value);
            for (sample, values) in values.iter().enumerate() {
                let of_sample = &blocks[sample * row..(sample + 1) * row];
                let mut d = vec![Block([0.5; crate::aligned::LANES]); row];
                batch.add_by_hidden(&shape, of_sample, &mut d);
                batch.add_by_pre_activations(kernels, &shape, of_sample, &mut d).unwrap();
                for (unit, h) in values.iter().enumerate() {
                    let exact = 0.5 + weight / 2.0 * slope(f64::from(*h), means[unit]);
                    let found = f64::from(as_floats(&d)[shape.unit_position(unit)]);
                    assert!((found / exact - 1.0).abs() < 1e-5, "{kind}: {found} for {exact}");
                }
            }
        }
    }
}
