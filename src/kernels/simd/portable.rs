//! The portable level: `wide`, which picks its instructions when the crate is compiled.

use bytemuck::cast;
use wide::{f32x16, i8x16, i16x8, i16x16, i32x4, i32x8, i32x16};

use super::super::tree_sum;
use super::Simd;
use crate::aligned::{Block, I8Block, LANES};

/// Needs no proof: the build itself allows these instructions.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Portable;

#[inline(always)]
fn widen_i8(block: I8Block) -> i16x16 {
    i16x16::from_i8x16(i8x16::new(block.0))
}

/// The integers of two blocks in turn, 16 bits each.
#[inline(always)]
fn pairs(first: I8Block, second: I8Block) -> [i32; LANES] {
    // A plain loop over arrays, in which the compiler finds its vectors.
    let mut pairs = [0; LANES];
    for ((pair, first), second) in pairs.iter_mut().zip(first.0).zip(second.0) {
        let lanes = [i16::from(first), i16::from(second)];
        *pair = cast(lanes);
    }
    pairs
}

impl Simd for Portable {
    type F = f32x16;
    type M = f32x16;
    type Shorts = [i16x16; 2];
    type Ints = [i32x4; 8];
    type Weights = [i16x8; 8];

    /// 16 registers of 128 bits are the common case: a tile of 4 vectors would fill them all.
    const TILE: usize = if cfg!(target_feature = "avx") { 4 } else { 2 };

    const DENSE_ITEMS: usize = 2;
    const INTEGER_ITEMS: usize = 1;
    const WIDE_INTEGERS: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> f32x16 {
        f32x16::splat(x)
    }
    #[inline(always)]
    fn load(self, floats: &[f32; LANES]) -> f32x16 {
        cast(*floats)
    }
    #[inline(always)]
    fn store(self, x: f32x16, floats: &mut [f32; LANES]) {
        *floats = cast(x);
    }
    #[inline(always)]
    fn store_low_halves(self, x: f32x16, halves: &mut [i16; LANES]) {
        for (half, lane) in halves.iter_mut().zip(cast::<f32x16, [i32; LANES]>(x)) {
            *half = lane as i16;
        }
    }
    #[inline(always)]
    fn zero_shorts(self) -> [i16x16; 2] {
        [i16x16::ZERO; 2]
    }
    #[inline(always)]
    fn add_i8(self, sums: [i16x16; 2], [first, second]: [I8Block; 2]) -> [i16x16; 2] {
        [sums[0] + widen_i8(first), sums[1] + widen_i8(second)]
    }
    #[inline(always)]
    fn shorts_as_f32(self, shorts: [i16x16; 2]) -> [f32x16; 2] {
        let quarters: [i16x8; 4] = cast(shorts);
        cast(quarters.map(|quarter| i32x8::from_i16x8(quarter).round_float()))
    }
    #[inline(always)]
    fn zero_ints(self) -> [i32x4; 8] {
        [i32x4::ZERO; 8]
    }
    #[inline(always)]
    fn interleave(self, first: [I8Block; 2], second: [I8Block; 2]) -> [i16x8; 8] {
        cast([pairs(first[0], second[0]), pairs(first[1], second[1])])
    }
    #[inline(always)]
    fn add_products(self, mut sums: [i32x4; 8], weights: [i16x8; 8], q: [i16; 2]) -> [i32x4; 8] {
        let q: i16x8 = cast([q; 4]);
        for (sum, weights) in sums.iter_mut().zip(weights) {
            *sum += weights.dot(q);
        }
        sums
    }
    #[inline(always)]
    fn ints_as_f32(self, ints: [i32x4; 8]) -> [f32x16; 2] {
        cast(ints.map(i32x4::round_float))
    }
    #[inline(always)]
    fn add(self, a: f32x16, b: f32x16) -> f32x16 {
        a + b
    }
    #[inline(always)]
    fn sub(self, a: f32x16, b: f32x16) -> f32x16 {
        a - b
    }
    #[inline(always)]
    fn mul(self, a: f32x16, b: f32x16) -> f32x16 {
        a * b
    }
    #[inline(always)]
    fn div(self, a: f32x16, b: f32x16) -> f32x16 {
        a / b
    }
    #[inline(always)]
    fn sqrt(self, a: f32x16) -> f32x16 {
        a.sqrt()
    }
    #[inline(always)]
    fn abs(self, a: f32x16) -> f32x16 {
        a & cast::<i32x16, f32x16>(i32x16::splat(i32::MAX))
    }
    #[inline(always)]
    fn minus_abs(self, a: f32x16) -> f32x16 {
        a | f32x16::splat(-0.0)
    }
    #[inline(always)]
    fn copysign(self, a: f32x16, b: f32x16) -> f32x16 {
        self.abs(a) | (b & f32x16::splat(-0.0))
    }
    #[inline(always)]
    fn less(self, a: f32x16, b: f32x16) -> f32x16 {
        a.simd_lt(b)
    }
    #[inline(always)]
    fn less_or_equal(self, a: f32x16, b: f32x16) -> f32x16 {
        a.simd_le(b)
    }
    #[inline(always)]
    fn equal(self, a: f32x16, b: f32x16) -> f32x16 {
        a.simd_eq(b)
    }
    #[inline(always)]
    fn not(self, mask: f32x16) -> f32x16 {
        !mask
    }
    #[inline(always)]
    fn select(self, mask: f32x16, yes: f32x16, no: f32x16) -> f32x16 {
        mask.select(yes, no)
    }
    #[inline(always)]
    fn bits(self, mask: f32x16) -> u32 {
        mask.to_bitmask()
    }
    #[inline(always)]
    fn exp2_shifted(self, shifted: f32x16) -> f32x16 {
        let n: i32x16 = cast(shifted);
        cast((n << 23_i32) + cast::<f32x16, i32x16>(f32x16::splat(1.0)))
    }
    #[inline(always)]
    fn sum(self, x: f32x16) -> f32 {
        tree_sum(&Block(cast(x)))
    }
}
