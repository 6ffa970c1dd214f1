//! AdaGrad (Duchi, Hazan, Singer, JMLR 12, 2011) with decoupled decay, one pass over weights, gradients and squared-gradient sums.

use super::simd::Simd;
use crate::aligned::Block;

/// Constants of one AdaGrad step, see [`super::Kernels::adagrad`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaGradStep {
    /// Learning rate γ of this step.
    pub lr: f32,
    /// Added to the root of the squared-gradient sum; above 0.
    pub epsilon: f32,
    /// The decay that goes with the step.
    pub shrink: Shrink,
}

/// Decay of weights: `|w| ← max(0, |w|·factor − offset)`, the sign kept. The result is 0 where it would be subnormal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shrink {
    /// In [0, 1].
    pub factor: f32,
    /// At least 0.
    pub offset: f32,
}

impl Shrink {
    /// No decay.
    pub const NONE: Shrink = Shrink { factor: 1.0, offset: 0.0 };
}

/// See [`super::Kernels::adagrad`]. All slices are equally long.
#[inline(always)]
pub(super) fn adagrad<S: Simd>(s: S, step: &AdaGradStep, gradients: &[Block], weights: &mut [Block], squares: &mut [Block]) {
    let (lr, epsilon, factor) = (s.splat(step.lr), s.splat(step.epsilon), s.splat(step.shrink.factor));
    let decays = step.shrink != Shrink::NONE;
    for ((gradient, weight), square) in gradients.iter().zip(weights).zip(squares) {
        let g = s.load(gradient);
        let sum = s.add(s.load(square), s.mul(g, g));
        s.store(sum, square);
        // The quotient is at most 1, and 0 where G has overflowed: the product cannot become NaN.
        let change = s.mul(lr, s.div(g, s.add(s.sqrt(sum), epsilon)));
        let mut w = s.sub(s.mul(s.load(weight), factor), change);
        if decays {
            w = soft_threshold(s, w, s.splat(step.shrink.offset));
        }
        s.store(w, weight);
    }
}

/// See [`super::Kernels::shrink`].
#[inline(always)]
pub(super) fn shrink<S: Simd>(s: S, shrink: &Shrink, weights: &mut [Block]) {
    let (factor, offset) = (s.splat(shrink.factor), s.splat(shrink.offset));
    for weight in weights {
        s.store(soft_threshold(s, s.mul(s.load(weight), factor), offset), weight);
    }
}

/// `sgn(w)·max(|w| − offset, 0)`, and 0 instead of a subnormal number. NaN stays.
#[inline(always)]
fn soft_threshold<S: Simd>(s: S, w: S::F, offset: S::F) -> S::F {
    let magnitude = s.sub(s.abs(w), offset);
    let vanishes = s.less(magnitude, s.splat(f32::MIN_POSITIVE));
    s.select(vanishes, s.splat(0.0), s.copysign(magnitude, w))
}
