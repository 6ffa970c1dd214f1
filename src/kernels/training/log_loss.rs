//! The log-loss with its gradient.
//!
//! `log1p` on [0, 1] is `2 atanh(x / (2 + x))` by its series. Tests hold the softplus that is made of it to 4 ulp.
//!
//! Of many tags whose pairs count 0 or 1, losses of kind `clamp_ste` are one logarithm, `Σ ln(1 + e) = ln Π (1 + e)`: right to 2⁻²⁴ a pair, where
//! losses that are much smaller are lost. That is enough for what a training tells; who decides by a loss takes `logit`.

use crate::aligned::{Block, LANES};
use crate::error::Result;
use crate::kernels::sigmoid::{exp_minus_abs, horner, sigmoid_pair};
use crate::kernels::simd::Simd;
use crate::ln::ln;
use crate::named::named;
use crate::network::check_eps;

/// Coefficients of atanh(s) / s in s², highest power first: 1/17, 1/15, ..., 1/3, 1.
pub(super) const ATANH_POLY: [f32; 9] =
    [1.0 / 17.0, 1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0];

/// Which log-loss, see [`crate::kernels::Kernels::log_loss`].
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

/// Constants of [`crate::kernels::Kernels::log_loss`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogLoss {
    /// Which loss.
    pub kind: LossKind,
    /// The clamp of probabilities, `[eps, 1 - eps]`.
    pub eps: f32,
    /// The logit of 1 - eps: where the clamp begins.
    pub limit: f32,
    /// Factor on the gradient (the loss's reduction), at least 0; the returned loss is not scaled.
    pub scale: f32,
}

impl LogLoss {
    /// The loss `kind` with probabilities clamped to `[eps, 1 − eps]`.
    ///
    /// # Errors
    /// [`Error::Config`](crate::error::Error::Config) unless `0 <= eps < 0.5`, and for -0.
    pub fn new(kind: LossKind, eps: f64, scale: f64) -> Result<Self> {
        let clamp = check_eps(eps)?;
        // Without a clamp there is nothing outside it: all losses have the gradient of the logit loss.
        let kind = if clamp == 0.0 && kind == LossKind::ClampTorch { LossKind::ClampSte } else { kind };
        Ok(LogLoss { kind, eps: clamp, limit: (ln(1.0 - eps) - ln(eps)) as f32, scale: scale as f32 })
    }
}

/// The operands of [`crate::kernels::Kernels::log_loss`] beside the logits, as long as these; one float a tag slot.
#[derive(Clone, Copy, Debug)]
pub struct LossInputs<'a> {
    /// Targets in [0, 1].
    pub targets: &'a [Block],
    /// Pair weights, at least 0; 0 leaves the pair out.
    pub weights: &'a [Block],
    /// Weights of positives.
    pub positive_weights: &'a [Block],
    /// ln π, subtracted from the logits.
    pub offsets: &'a [Block],
}

/// ln(1 + e) for e in [0, 1].
#[inline(always)]
fn log1p_unit<S: Simd>(s: S, e: S::F) -> S::F {
    let ratio = s.div(e, s.add(e, s.splat(2.0)));
    let poly = horner(s, &ATANH_POLY, s.mul(ratio, ratio));
    s.mul(s.add(ratio, ratio), poly)
}

/// See [`crate::kernels::Kernels::log_loss`]. All slices are equally long.
#[inline(always)]
pub(super) fn log_loss<S: Simd>(s: S, loss: &LogLoss, x: LossInputs<'_>, logits: &mut [Block]) -> f64 {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    let softplus = loss.clamp();
    let multiplies = logits.len() >= MULTIPLY_FROM && loss.kind == LossKind::ClampSte;
    let (mut sums, mut logarithms) = ([0.0_f64; LANES], 0.0);
    let (mut factors, mut terms, mut blocks) = (one, zero, 0);
    for (i, logits) in logits.iter_mut().enumerate() {
        let u = s.sub(s.load(logits), s.load(&x.offsets[i]));
        let e = exp_minus_abs(s, u);
        let (positive_weight, weight, y) = (s.load(&x.positive_weights[i]), s.load(&x.weights[i]), s.load(&x.targets[i]));
        let pairs: Pairs<S> = Pairs { u, e, positive_weight, weight };
        let is_positive = s.equal(y, one);
        // Weights that are infinite or NaN make NaN even of what they do not count for.
        let is_finite = s.less_or_equal(s.abs(positive_weight), s.splat(f32::MAX));
        let is_hard = (s.bits(is_positive) | s.bits(s.equal(y, zero))) & s.bits(is_finite) == 0xFFFF;
        if !is_hard || loss.kind == LossKind::ClampTorch {
            let (value, g) = pairs.soft(s, loss, softplus, y);
            s.store(g, logits);
            s.add_to_f64(value, &mut sums);
            continue;
        }
        // Of the two terms only the one that counts is computed: -ln σ(-v) and σ(v), for v = -u of a positive.
        let coefficient = s.select(is_positive, positive_weight, one);
        let v = s.select(is_positive, s.sub(zero, u), u);
        let g = s.mul(coefficient, s.div(s.select(s.less(v, zero), e, one), s.add(one, e)));
        s.store(pairs.weigh(s, s.select(is_positive, s.sub(zero, g), g), loss.scale), logits);
        let (term, e) = softplus.parts(s, v, e);
        let count = s.mul(weight, coefficient);
        let counts = s.equal(count, one);
        if multiplies && s.bits(counts) | s.bits(s.equal(count, zero)) == 0xFFFF {
            factors = s.mul(factors, s.select(counts, s.add(one, e), one));
            terms = s.add(terms, s.select(counts, term, zero));
            blocks += 1;
            if blocks == FACTORS {
                s.add_to_f64(terms, &mut sums);
                logarithms += ln_of_product(lanes(s, factors));
                (factors, terms, blocks) = (one, zero, 0);
            }
        } else {
            let loss_of_true = s.add(term, log1p_unit(s, e));
            let value = s.zero_where(s.equal(coefficient, zero), s.mul(coefficient, loss_of_true));
            s.add_to_f64(pairs.weigh(s, value, 1.0), &mut sums);
        }
    }
    if blocks > 0 {
        s.add_to_f64(terms, &mut sums);
        logarithms += ln_of_product(lanes(s, factors));
    }
    tree_sum_f64(sums) + logarithms
}

/// Fewer blocks than these are not worth [`ln_of_product`].
pub(super) const MULTIPLY_FROM: usize = 8;

/// Factors in [1, 2] that 16 lanes hold each, so that the product of all is finite in f64.
pub(super) const FACTORS: usize = 63;

#[inline(always)]
fn lanes<S: Simd>(s: S, x: S::F) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    s.store(x, &mut lanes);
    lanes
}

/// The logarithm of the product: the sum of the factors' logarithms, for the price of one.
#[inline(never)]
pub(super) fn ln_of_product(factors: [f32; LANES]) -> f64 {
    ln(factors.iter().map(|x| f64::from(*x)).product())
}

/// softplus(v) = ln(1 + eᵛ) for v in [-limit, limit], and what it is there beyond: so -ln p for the clamped p.
#[derive(Clone, Copy)]
pub(super) struct ClampedSoftplus {
    pub(super) limit: f32,
    /// exp(-limit).
    pub(super) least: f32,
}

impl LogLoss {
    pub(super) fn clamp(&self) -> ClampedSoftplus {
        match self.kind {
            LossKind::Logit => ClampedSoftplus { limit: f32::INFINITY, least: 0.0 },
            LossKind::ClampSte | LossKind::ClampTorch => {
                ClampedSoftplus { limit: self.limit, least: self.eps / (1.0 - self.eps) }
            }
        }
    }
}

impl ClampedSoftplus {
    /// `m` and `x` such that it is m + ln(1 + x), given e = exp(-|v|).
    #[inline(always)]
    fn parts<S: Simd>(self, s: S, v: S::F, e: S::F) -> (S::F, S::F) {
        let (limit, least) = (s.splat(self.limit), s.splat(self.least));
        (s.at_most(s.at_least(v, s.splat(0.0)), limit), s.at_least(e, least))
    }
}

/// A sample and 16 tags.
struct Pairs<S: Simd> {
    /// Logits.
    u: S::F,
    /// exp(-|u|).
    e: S::F,
    positive_weight: S::F,
    weight: S::F,
}

impl<S: Simd> Pairs<S> {
    /// Their losses and gradients, with any targets.
    #[inline(always)]
    fn soft(&self, s: S, loss: &LogLoss, softplus: ClampedSoftplus, y: S::F) -> (S::F, S::F) {
        let (u, zero) = (self.u, s.splat(0.0));
        let (positive, negative) = (s.mul(self.positive_weight, y), s.sub(s.splat(1.0), y));
        let (sigma, sigma_of_minus) = sigmoid_pair(s, u, self.e);
        // -ln σ(u) and -ln σ(-u): softplus(-u) and softplus(u).
        let (of_one, e) = softplus.parts(s, s.sub(zero, u), self.e);
        let (of_zero, _) = softplus.parts(s, u, self.e);
        let log1p = log1p_unit(s, e);
        // A term with coefficient 0 is left out, even where its factor is infinite.
        let of_one = s.zero_where(s.equal(positive, zero), s.mul(positive, s.add(of_one, log1p)));
        let of_zero = s.zero_where(s.equal(negative, zero), s.mul(negative, s.add(of_zero, log1p)));
        let value = self.weigh(s, s.add(of_one, of_zero), 1.0);
        let mut g = self.weigh(s, s.sub(s.mul(negative, sigma), s.mul(positive, sigma_of_minus)), loss.scale);
        if loss.kind == LossKind::ClampTorch {
            // At the end: outside of the clamp it is 0 whatever the weight, infinite ones too.
            g = s.select(s.less(s.splat(loss.eps), sigma), g, zero);
            g = s.select(s.less(s.splat(loss.eps), sigma_of_minus), g, zero);
        }
        (value, g)
    }

    /// `x` times the weights of the pairs and `scale`; 0 where the weights are.
    #[inline(always)]
    fn weigh(&self, s: S, x: S::F, scale: f32) -> S::F {
        let zero = s.splat(0.0);
        s.select(s.less(zero, self.weight), s.mul(s.mul(x, self.weight), s.splat(scale)), zero)
    }
}

/// Like [`crate::kernels::tree_sum`], in f64.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aligned::{Block, LANES, as_floats, as_floats_mut};
    use crate::kernels::{Kernels, LossInputs};
    use crate::layers::tests::random_blocks;

    fn loss(kind: LossKind, eps: f64, targets: &[Block], z: &mut [Block]) -> f64 {
        let weights: Vec<Block> = random_blocks(31, z.len()).iter().map(|b| Block(b.0.map(|x| x.max(0.0)))).collect();
        let positive_weights: Vec<Block> = random_blocks(32, z.len()).iter().map(|b| Block(b.0.map(|x| x + 1.5))).collect();
        let offsets = random_blocks(33, z.len());
        let inputs = LossInputs { targets, weights: &weights, positive_weights: &positive_weights, offsets: &offsets };
        Kernels::best().log_loss(&LogLoss::new(kind, eps, 1.0).unwrap(), inputs, z).unwrap()
    }

    /// Inside the clamp all three losses have the gradient of their value.
    #[test]
    fn gradient_is_the_finite_difference() {
        for kind in [LossKind::ClampSte, LossKind::Logit, LossKind::ClampTorch] {
            let z: Vec<Block> = random_blocks(1, 3).iter().map(|b| Block(b.0.map(|x| x * 4.0))).collect();
            let targets: Vec<Block> = random_blocks(2, 3).iter().map(|b| Block(b.0.map(f32::abs))).collect();
            let mut gradient = z.clone();
            loss(kind, 1e-4, &targets, &mut gradient);
            for slot in 0..3 * LANES {
                let at = |step: f32| {
                    let mut moved = z.clone();
                    as_floats_mut(&mut moved)[slot] += step;
                    loss(kind, 1e-4, &targets, &mut moved)
                };
                let difference = (at(0.02) - at(-0.02)) / 0.04;
                assert!((difference - f64::from(as_floats(&gradient)[slot])).abs() < 2e-4, "{kind:?}");
            }
        }
    }

    /// The point of the straight-through gradient: the clamp bounds the value, not the push on a confidently wrong score.
    #[test]
    fn a_confidently_wrong_score_is_pushed_back() {
        let ones = [Block([1.0; LANES])];
        let inputs = LossInputs { targets: &[Block::ZERO], weights: &ones, positive_weights: &ones, offsets: &[Block::ZERO] };
        for (kind, push) in [(LossKind::ClampSte, 1.0), (LossKind::Logit, 1.0), (LossKind::ClampTorch, 0.0)] {
            let mut gradient = [Block([12.0; LANES])];
            let value = Kernels::best().log_loss(&LogLoss::new(kind, 1e-4, 1.0).unwrap(), inputs, &mut gradient).unwrap();
            assert!((gradient[0].0[0] - push).abs() < 1e-4);
            let expected = if kind == LossKind::Logit { 12.0 } else { 9.2103 };
            assert!((value / 16.0 - expected).abs() < 1e-3);
        }
    }

    /// Nothing lies outside a clamp to [0, 1], even where a probability has underflowed.
    #[test]
    fn without_a_clamp_every_loss_pushes_back() {
        let ones = [Block([1.0; LANES])];
        let inputs = LossInputs { targets: &[Block::ZERO], weights: &ones, positive_weights: &ones, offsets: &[Block::ZERO] };
        for kind in [LossKind::ClampSte, LossKind::Logit, LossKind::ClampTorch] {
            let mut gradient = [Block([200.0; LANES])];
            let value = Kernels::best().log_loss(&LogLoss::new(kind, 0.0, 1.0).unwrap(), inputs, &mut gradient).unwrap();
            assert_eq!((value, gradient), (16.0 * 200.0, ones), "{kind}");
        }
    }

    #[test]
    fn eps_is_checked() {
        for eps in [0.5, 0.499_999_999, -1e-9, -0.0, f64::NAN, f64::INFINITY] {
            assert!(LogLoss::new(LossKind::ClampSte, eps, 1.0).is_err());
        }
    }
}
