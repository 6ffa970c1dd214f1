//! The largest magnitude, which tells whether everything is finite.

use super::simd::Simd;
use crate::aligned::LANES;

/// See [`super::Kernels::magnitude`].
#[inline(always)]
pub(super) fn magnitude<S: Simd>(s: S, x: &[f32]) -> f32 {
    // Several chains of comparisons, of which none waits for another.
    const CHAINS: usize = 4;
    let (mut largest, mut faults) = ([s.splat(0.0); CHAINS], [s.splat(0.0); CHAINS]);
    let (blocks, part) = x.as_chunks();
    let (groups, rest) = blocks.as_chunks::<CHAINS>();
    for group in groups {
        for (chain, block) in group.iter().enumerate() {
            (largest[chain], faults[chain]) = grown(s, largest[chain], faults[chain], s.load(block));
        }
    }
    for block in rest {
        (largest[0], faults[0]) = grown(s, largest[0], faults[0], s.load(block));
    }
    if !part.is_empty() {
        (largest[0], faults[0]) = grown(s, largest[0], faults[0], s.load_part(part));
    }
    for chain in 1..CHAINS {
        largest[0] = s.at_least(largest[0], largest[chain]);
        faults[0] = s.add(faults[0], faults[chain]);
    }
    if s.sum(faults[0]).is_nan() {
        return f32::NAN;
    }
    let mut lanes = [0.0; LANES];
    s.store(largest[0], &mut lanes);
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = if lanes[i] < lanes[i + half] { lanes[i + half] } else { lanes[i] };
        }
        half /= 2;
    }
    lanes[0]
}

/// The largest magnitudes with those of `x`, and NaN for each that is not finite.
#[inline(always)]
fn grown<S: Simd>(s: S, largest: S::F, faults: S::F, x: S::F) -> (S::F, S::F) {
    // x - x is 0 for finite x and NaN for others, which a sum keeps; the comparison would lose it.
    (s.at_least(largest, s.abs(x)), s.add(faults, s.sub(x, x)))
}
