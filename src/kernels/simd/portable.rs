//! The portable level: `wide`, which picks its instructions when the crate is compiled.

use bytemuck::cast;
use wide::{f32x16, i32x16};

use super::super::tree_sum;
use super::Simd;
use crate::aligned::{Block, LANES};

/// Needs no proof: the build itself allows these instructions.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Portable;

impl Simd for Portable {
    type F = f32x16;
    type M = f32x16;

    /// 16 registers of 128 bits are the common case: a tile of 4 vectors would fill them all.
    const WIDE_TILES: bool = cfg!(target_feature = "avx");

    const DENSE_ITEMS: usize = 2;

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
