//! Sigmoid, and the log-loss with its gradient.
//!
//! `exp` is Cephes' `expf` (Moshier): argument reduction by ln 2 in two parts, a polynomial of degree 5.
//! `log1p` on [0, 1] is `2 atanh(x / (2 + x))` by its series. The tests of this module hold what is made of them, σ and softplus, to
//! 2.6 and 4 ulp.

use super::simd::{EXPONENT_SHIFT, Simd};
use crate::aligned::{Block, LANES};
use crate::named::named;

/// Coefficients of e^r on [-ln 2 / 2, ln 2 / 2], highest power first: e^r ≈ 1 + r + r²·poly(r).
pub(super) const EXP_POLY: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.0e-1];
/// ln 2 in two parts; the first has few enough bits that its multiples are exact.
pub(super) const LN2_HIGH: f32 = 0.693_359_4;
pub(super) const LN2_LOW: f32 = -2.121_944_4e-4;
/// Below this, e^x is flushed to 0: it would not be a normal number.
pub(super) const EXP_UNDERFLOW: f32 = -87.336_5;
/// Coefficients of atanh(s) / s in s², highest power first: 1/17, 1/15, ..., 1/3, 1.
pub(super) const ATANH_POLY: [f32; 9] =
    [1.0 / 17.0, 1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0];

/// Which log-loss, see [`super::Kernels::log_loss`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LossKind {
    /// The value of the clamped loss with the gradient of the unclamped one ("straight through"): bounded values, and a
    /// confidently wrong score is still corrected.
    ClampSte,
    /// The unclamped loss on the logit.
    Logit,
    /// The clamped loss with its true gradient, which is 0 where the clamp acts.
    ClampTorch,
}

named!(LossKind, "loss", "clamp_ste, logit or clamp_torch", {
    ClampSte => "clamp_ste",
    Logit => "logit",
    ClampTorch => "clamp_torch",
});

/// Constants of [`super::Kernels::log_loss`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogLoss {
    /// Which loss.
    pub kind: LossKind,
    /// The clamp of probabilities, `[eps, 1 - eps]`.
    pub eps: f32,
    /// Bounds of -ln p for the clamped p: `-ln(1 - eps)` and `-ln(eps)`.
    pub bounds: [f32; 2],
    /// Factor on the gradient (the loss's reduction), at least 0; the returned loss is not scaled.
    pub scale: f32,
}

/// The operands of [`super::Kernels::log_loss`], equally long; one float a tag slot.
#[derive(Clone, Copy, Debug)]
pub struct LossInputs<'a> {
    /// Logits.
    pub logits: &'a [Block],
    /// Targets in [0, 1].
    pub targets: &'a [Block],
    /// Pair weights, at least 0; 0 leaves the pair out.
    pub weights: &'a [Block],
    /// Weights of positives.
    pub positive_weights: &'a [Block],
    /// ln π, subtracted from the logits.
    pub offsets: &'a [Block],
}

/// e^x for x <= 0; 0 below [`EXP_UNDERFLOW`].
#[inline(always)]
pub(super) fn exp_negative<S: Simd>(s: S, x: S::F) -> S::F {
    let shifted = s.add(s.mul(x, s.splat(std::f32::consts::LOG2_E)), s.splat(EXPONENT_SHIFT));
    let n = s.sub(shifted, s.splat(EXPONENT_SHIFT));
    let r = s.sub(s.sub(x, s.mul(n, s.splat(LN2_HIGH))), s.mul(n, s.splat(LN2_LOW)));
    let poly = horner(s, &EXP_POLY, r);
    let e = s.add(s.add(s.mul(s.mul(poly, r), r), r), s.splat(1.0));
    s.select(s.less(x, s.splat(EXP_UNDERFLOW)), s.splat(0.0), s.mul(e, s.exp2_shifted(shifted)))
}

#[inline(always)]
fn horner<S: Simd, const N: usize>(s: S, coefficients: &[f32; N], x: S::F) -> S::F {
    let mut sum = s.splat(coefficients[0]);
    for &c in &coefficients[1..] {
        sum = s.add(s.mul(sum, x), s.splat(c));
    }
    sum
}

/// ln(1 + e) for e in [0, 1].
#[inline(always)]
fn log1p_unit<S: Simd>(s: S, e: S::F) -> S::F {
    let ratio = s.div(e, s.add(e, s.splat(2.0)));
    let poly = horner(s, &ATANH_POLY, s.mul(ratio, ratio));
    s.mul(s.add(ratio, ratio), poly)
}

/// σ(x) and σ(-x), given e = exp(-|x|); neither is computed as 1 minus the other.
#[inline(always)]
pub(super) fn sigmoid_pair<S: Simd>(s: S, x: S::F, e: S::F) -> (S::F, S::F) {
    let one = s.splat(1.0);
    let denominator = s.add(one, e);
    let negative = s.less(x, s.splat(0.0));
    let large = s.div(one, denominator);
    let small = s.div(e, denominator);
    (s.select(negative, small, large), s.select(negative, large, small))
}

/// `x` within bounds; NaN stays.
#[inline(always)]
fn clamp<S: Simd>(s: S, x: S::F, low: S::F, high: S::F) -> S::F {
    let x = s.select(s.less(x, low), low, x);
    s.select(s.less(high, x), high, x)
}

/// See [`super::Kernels::sigmoid`].
#[inline(always)]
pub(super) fn sigmoid<S: Simd>(s: S, eps: f32, x: &mut [f32]) {
    let (blocks, rest) = x.as_chunks_mut::<LANES>();
    // Some at a time: each is one long chain of dependent operations.
    let (fours, blocks) = blocks.as_chunks_mut::<4>();
    for four in fours {
        let p = sigmoids(s, eps, [s.load(&four[0]), s.load(&four[1]), s.load(&four[2]), s.load(&four[3])]);
        for (p, block) in p.into_iter().zip(four) {
            s.store(p, block);
        }
    }
    for block in blocks {
        let [p] = sigmoids(s, eps, [s.load(block)]);
        s.store(p, block);
    }
    if !rest.is_empty() {
        let [p] = sigmoids(s, eps, [s.load_part(rest)]);
        s.store_part(p, rest);
    }
}

/// `clamp(σ(z), eps, 1 − eps)`.
#[inline(always)]
pub(super) fn sigmoids<S: Simd, const N: usize>(s: S, eps: f32, mut z: [S::F; N]) -> [S::F; N] {
    for z in &mut z {
        let e = exp_negative(s, s.sub(s.splat(0.0), s.abs(*z)));
        let numerator = s.select(s.less(*z, s.splat(0.0)), e, s.splat(1.0));
        let p = s.div(numerator, s.add(s.splat(1.0), e));
        *z = clamp(s, p, s.splat(eps), s.splat(1.0 - eps));
    }
    z
}

/// See [`super::Kernels::log_loss`]. All slices are equally long.
#[inline(always)]
pub(super) fn log_loss<S: Simd>(s: S, loss: &LogLoss, x: LossInputs<'_>, gradient: &mut [Block]) -> f64 {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    let mut sums = [0.0_f64; LANES];
    for (i, gradient) in gradient.iter_mut().enumerate() {
        let u = s.sub(s.load(&x.logits[i]), s.load(&x.offsets[i]));
        let e = exp_negative(s, s.sub(zero, s.abs(u)));
        let (positive_weight, weight) = (s.load(&x.positive_weights[i]), s.load(&x.weights[i]));
        let pairs: Pairs<S> = Pairs { u, e, log1p: log1p_unit(s, e), positive_weight, weight };
        let y = s.load(&x.targets[i]);
        let is_positive = s.equal(y, one);
        // Weights that are infinite or NaN make NaN even of what they do not count for.
        let is_finite = s.less_or_equal(s.abs(positive_weight), s.splat(f32::MAX));
        let is_hard = (s.bits(is_positive) | s.bits(s.equal(y, zero))) & s.bits(is_finite) == 0xFFFF;
        let (value, g) = if is_hard && loss.kind != LossKind::ClampTorch {
            pairs.hard(s, loss, is_positive)
        } else {
            pairs.soft(s, loss, y)
        };
        s.store(g, gradient);
        s.add_to_f64(value, &mut sums);
    }
    tree_sum_f64(sums)
}

/// A sample and 16 tags.
struct Pairs<S: Simd> {
    /// Logits.
    u: S::F,
    /// exp(-|u|), and ln(1 + exp(-|u|)).
    e: S::F,
    log1p: S::F,
    positive_weight: S::F,
    weight: S::F,
}

impl<S: Simd> Pairs<S> {
    /// Their losses and gradients, with any targets.
    #[inline(always)]
    fn soft(&self, s: S, loss: &LogLoss, y: S::F) -> (S::F, S::F) {
        let (u, zero) = (self.u, s.splat(0.0));
        let (positive, negative) = (s.mul(self.positive_weight, y), s.sub(s.splat(1.0), y));
        let (sigma, sigma_of_minus) = sigmoid_pair(s, u, self.e);
        let is_negative = s.less(u, zero);
        // -ln σ(u) and -ln σ(-u): softplus(-u) and softplus(u).
        let loss_of_one = clamp_loss(s, loss, s.add(s.select(is_negative, s.sub(zero, u), zero), self.log1p));
        let loss_of_zero = clamp_loss(s, loss, s.add(s.select(is_negative, zero, u), self.log1p));
        // A term with coefficient 0 is left out, even where its factor is infinite.
        let of_one = s.select(s.equal(positive, zero), zero, s.mul(positive, loss_of_one));
        let of_zero = s.select(s.equal(negative, zero), zero, s.mul(negative, loss_of_zero));
        let g = s.sub(s.mul(negative, sigma), s.mul(positive, sigma_of_minus));
        let (value, mut g) = self.weighted(s, loss, s.add(of_one, of_zero), g);
        if loss.kind == LossKind::ClampTorch {
            // At the end: outside of the clamp it is 0 whatever the weight, infinite ones too.
            g = s.select(s.less(s.splat(loss.eps), sigma), g, zero);
            g = s.select(s.less(s.splat(loss.eps), sigma_of_minus), g, zero);
        }
        (value, g)
    }

    /// The same bits as [`Pairs::soft`] where each target is 0 or 1 and weights are finite: of the two terms only the one that counts is
    /// computed.
    #[inline(always)]
    fn hard(&self, s: S, loss: &LogLoss, is_positive: S::M) -> (S::F, S::F) {
        let (zero, one) = (s.splat(0.0), s.splat(1.0));
        let coefficient = s.select(is_positive, self.positive_weight, one);
        // -ln σ(-v) and σ(v), for v = -u of a positive.
        let v = s.select(is_positive, s.sub(zero, self.u), self.u);
        let is_negative = s.less(v, zero);
        let loss_of_true = clamp_loss(s, loss, s.add(s.select(is_negative, zero, v), self.log1p));
        let value = s.select(s.equal(coefficient, zero), zero, s.mul(coefficient, loss_of_true));
        let g = s.mul(coefficient, s.div(s.select(is_negative, self.e, one), s.add(one, self.e)));
        self.weighted(s, loss, value, s.select(is_positive, s.sub(zero, g), g))
    }

    /// Losses and gradients times the weights of the pairs; 0 where these are.
    #[inline(always)]
    fn weighted(&self, s: S, loss: &LogLoss, value: S::F, g: S::F) -> (S::F, S::F) {
        let zero = s.splat(0.0);
        let scored = s.less(zero, self.weight);
        let g = s.mul(s.mul(g, self.weight), s.splat(loss.scale));
        (s.select(scored, s.mul(self.weight, value), zero), s.select(scored, g, zero))
    }
}

#[inline(always)]
fn clamp_loss<S: Simd>(s: S, loss: &LogLoss, x: S::F) -> S::F {
    let [low, high] = loss.bounds;
    if loss.kind == LossKind::Logit { x } else { clamp(s, x, s.splat(low), s.splat(high)) }
}

/// Like [`super::tree_sum`], in f64.
#[inline(always)]
pub(super) fn tree_sum_f64(mut sums: [f64; LANES]) -> f64 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
        half /= 2;
    }
    sums[0]
}
