//! The largest magnitude, which tells whether everything is finite.

use super::simd::Simd;
use crate::aligned::Block;

/// See [`super::Kernels::magnitude`].
#[inline(always)]
pub(super) fn magnitude<S: Simd>(s: S, x: &[Block]) -> f32 {
    let mut largest = s.splat(0.0);
    // x - x is 0 for finite x and NaN for others, which a sum keeps; the comparison would lose it.
    let mut faults = s.splat(0.0);
    for block in x {
        let x = s.load(block);
        let a = s.abs(x);
        largest = s.select(s.less(largest, a), a, largest);
        faults = s.add(faults, s.sub(x, x));
    }
    let (mut lanes, mut fault_lanes) = (Block::ZERO, Block::ZERO);
    s.store(largest, &mut lanes);
    s.store(faults, &mut fault_lanes);
    if fault_lanes.0.iter().any(|fault| fault.is_nan()) {
        return f32::NAN;
    }
    lanes.0.into_iter().fold(0.0, f32::max)
}
