//! Sigmoid.
//!
//! `exp` is Cephes' `expf` (Moshier): argument reduction by ln 2 in two parts, a polynomial of degree 5. Tests hold σ to 2.6 ulp.

use super::simd::{EXPONENT_SHIFT, Simd};
use crate::aligned::LANES;

/// Coefficients of e^r on [-ln 2 / 2, ln 2 / 2], highest power first: e^r ≈ 1 + r + r²·poly(r).
pub(super) const EXP_POLY: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.0e-1];
/// ln 2 in two parts; the first has few enough bits that its multiples are exact.
pub(super) const LN2_HIGH: f32 = 0.693_359_4;
pub(super) const LN2_LOW: f32 = -2.121_944_4e-4;
/// Below this, e^x is flushed to 0: it would not be a normal number.
pub(super) const EXP_UNDERFLOW: f32 = -87.336_5;
/// e^-|x|; 0 where -|x| is below [`EXP_UNDERFLOW`].
#[inline(always)]
pub(super) fn exp_minus_abs<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.minus_abs(x);
    let shifted = s.add(s.mul(x, s.splat(std::f32::consts::LOG2_E)), s.splat(EXPONENT_SHIFT));
    let n = s.sub(shifted, s.splat(EXPONENT_SHIFT));
    let r = s.sub(s.sub(x, s.mul(n, s.splat(LN2_HIGH))), s.mul(n, s.splat(LN2_LOW)));
    let poly = horner(s, &EXP_POLY, r);
    let e = s.add(s.add(s.mul(s.mul(poly, r), r), r), s.splat(1.0));
    s.zero_where(s.less(x, s.splat(EXP_UNDERFLOW)), s.mul(e, s.exp2_shifted(shifted)))
}

#[inline(always)]
pub(super) fn horner<S: Simd, const N: usize>(s: S, coefficients: &[f32; N], x: S::F) -> S::F {
    let mut sum = s.splat(coefficients[0]);
    for &c in &coefficients[1..] {
        sum = s.add(s.mul(sum, x), s.splat(c));
    }
    sum
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
        let e = exp_minus_abs(s, *z);
        let numerator = s.select(s.less(*z, s.splat(0.0)), e, s.splat(1.0));
        let p = s.div(numerator, s.add(s.splat(1.0), e));
        *z = s.at_most(s.at_least(p, s.splat(eps)), s.splat(1.0 - eps));
    }
    z
}
