//! The largest magnitude, which tells whether everything is finite.

use super::simd::Simd;
use crate::aligned::Block;

/// See [`super::Kernels::magnitude`].
#[inline(always)]
pub(super) fn magnitude<S: Simd>(s: S, x: &[Block]) -> f32 {
    // Several chains of comparisons, of which none waits for another.
    const CHAINS: usize = 4;
    let (mut largest, mut faults) = ([s.splat(0.0); CHAINS], [s.splat(0.0); CHAINS]);
    let (groups, rest) = x.as_chunks::<CHAINS>();
    for group in groups {
        for (chain, block) in group.iter().enumerate() {
            (largest[chain], faults[chain]) = grown(s, largest[chain], faults[chain], block);
        }
    }
    for block in rest {
        (largest[0], faults[0]) = grown(s, largest[0], faults[0], block);
    }
    let mut result = 0.0;
    for (largest, fault) in largest.into_iter().zip(faults) {
        let (mut lanes, mut fault_lanes) = (Block::ZERO, Block::ZERO);
        s.store(largest, &mut lanes);
        s.store(fault, &mut fault_lanes);
        if fault_lanes.0.iter().any(|fault| fault.is_nan()) {
            return f32::NAN;
        }
        result = lanes.0.into_iter().fold(result, f32::max);
    }
    result
}

/// The largest magnitudes with those of `block`, and NaN for each that is not finite.
#[inline(always)]
fn grown<S: Simd>(s: S, largest: S::F, faults: S::F, block: &Block) -> (S::F, S::F) {
    let x = s.load(block);
    let a = s.abs(x);
    // x - x is 0 for finite x and NaN for others, which a sum keeps; the comparison would lose it.
    (s.select(s.less(largest, a), a, largest), s.add(faults, s.sub(x, x)))
}
