//! Derivatives of activations.

use crate::activation::Activation;
use crate::aligned::Block;
use crate::kernels::simd::Simd;

/// See [`crate::kernels::Kernels::activate_backward`].
#[inline(always)]
pub(super) fn activate_backward<S: Simd>(s: S, activation: Activation, a: &[Block], h: &[Block], d: &mut [Block]) {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    for ((a, h), d) in a.iter().zip(h).zip(d) {
        let (x, y, dh) = (s.load(a), s.load(h), s.load(d));
        let da = match activation {
            Activation::Identity => dh,
            Activation::Relu | Activation::Trec(_) | Activation::Tlin(_) => s.zero_where(s.equal(y, zero), dh),
            Activation::LeakyRelu(slope) => s.select(s.less(zero, x), dh, s.mul(dh, s.splat(slope))),
            Activation::Elu(alpha) => s.select(s.less(zero, x), dh, s.mul(dh, s.add(y, s.splat(alpha)))),
            Activation::Sigmoid => s.mul(dh, s.mul(y, s.sub(one, y))),
        };
        s.store(s.select(s.equal(y, y), da, y), d);
    }
}
