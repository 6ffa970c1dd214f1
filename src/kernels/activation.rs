//! Hidden units: activations, and the list of units that are not zero.

use super::sigmoid::{exp_minus_abs, sigmoid_pair};
use super::simd::Simd;
use crate::activation::Activation;
use crate::aligned::{Block, LANES, as_floats_mut, blocks_for};

/// Where [`super::Kernels::list_active`] lists the hidden units that are not zero. Both slices have room for every unit.
#[derive(Debug)]
pub struct ActiveUnits<'a> {
    /// Their indices, ascending.
    pub units: &'a mut [u32],
    /// Their values.
    pub values: &'a mut [f32],
}

/// See [`super::Kernels::activate`].
#[inline(always)]
pub(super) fn activate<S: Simd>(s: S, activation: Activation, a: &[Block], h: &mut [Block]) {
    for (a, h) in a.iter().zip(h) {
        let [unit] = units(s, activation, [s.load(a)]);
        s.store(unit, h);
    }
}

/// [`activate`] in place.
#[inline(always)]
pub(super) fn activate_in_place<S: Simd>(s: S, activation: Activation, h: &mut [Block]) {
    for h in h {
        let [unit] = units(s, activation, [s.load(h)]);
        s.store(unit, h);
    }
}

/// Sets the padding of hidden vectors, which have `units` units a group, to 0 where the activation has made something else of it.
#[inline]
pub(crate) fn clear_padding(activation: Activation, units: usize, h: &mut [Block]) {
    if activation == Activation::Sigmoid {
        for group in as_floats_mut(h).chunks_exact_mut((blocks_for(units) * LANES).max(1)) {
            group[units..].fill(0.0);
        }
    }
}

/// `act(a)`. The comparisons are such that NaN stays NaN.
#[inline(always)]
fn units<S: Simd, const N: usize>(s: S, activation: Activation, mut a: [S::F; N]) -> [S::F; N] {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    // The choice is outside the loops: it is made once a tile.
    macro_rules! each {
        ($x:ident => $h:expr) => {
            for unit in &mut a {
                let $x = *unit;
                *unit = $h;
            }
        };
    }
    match activation {
        Activation::Relu => each!(x => s.zero_where(s.less_or_equal(x, zero), x)),
        Activation::LeakyRelu(slope) => each!(x => s.select(s.less(zero, x), x, s.mul(s.splat(slope), x))),
        Activation::Elu(alpha) => each!(x => {
            let below = s.mul(s.splat(alpha), s.sub(exp_minus_abs(s, x), one));
            s.select(s.less(zero, x), x, below)
        }),
        Activation::Sigmoid => each!(x => sigmoid_pair(s, x, exp_minus_abs(s, x)).0),
        Activation::Trec(theta) => each!(x => s.zero_where(s.less_or_equal(x, s.splat(theta)), x)),
        Activation::Tlin(theta) => each!(x => s.zero_where(s.less_or_equal(s.abs(x), s.splat(theta)), x)),
        Activation::Identity => (),
    }
    a
}

/// See [`super::Kernels::list_active`].
#[inline(always)]
pub(super) fn list_active<S: Simd>(s: S, h: &[Block], active: ActiveUnits<'_>) -> usize {
    let zero = s.splat(0.0);
    let mut count = 0;
    for (first, h) in (0..).step_by(LANES).zip(h) {
        // So far at most `first` units are listed, so there is room for 16 more.
        let (Some((units, _)), Some((values, _))) =
            (active.units[count..].split_first_chunk_mut(), active.values[count..].split_first_chunk_mut())
        else {
            return count;
        };
        // NaN is not equal to zero, so it is listed.
        let on = s.not(s.equal(s.load(h), zero));
        count += s.compress(on, h, first, units, values);
    }
    count
}
