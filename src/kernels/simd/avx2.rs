//! The AVX2 level: two 256-bit registers a vector.

#![allow(unsafe_code, reason = "intrinsics, each made safe by the token")]
#![allow(
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    reason = "one proof for all, on `Avx2`: every block holds nothing but AVX and AVX2 intrinsics on values"
)]

use std::arch::x86_64::*;

use super::Simd;
use crate::aligned::{Block, LANES};

/// Proof that the CPU has AVX2.
///
/// SAFETY of every block in this file: an `Avx2` is only made by [`Avx2::new`], which can only be called safely from a function
/// that enables AVX2 itself; such a function runs only after detection. The intrinsics used here touch no memory, except
/// `loadu` and `storeu`, whose 32 bytes lie inside the borrowed array of 16 floats, and `prefetch`, which may be given any address.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Avx2(());

impl Avx2 {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in crate::kernels) fn new() -> Self {
        Avx2(())
    }
}

/// Lanes 0..8 and 8..16.
type Pair = (__m256, __m256);

macro_rules! per_half {
    ($intrinsic:ident, $a:expr $(, $b:expr)*) => {
        unsafe { ($intrinsic($a.0 $(, $b.0)*), $intrinsic($a.1 $(, $b.1)*)) }
    };
}

impl Simd for Avx2 {
    type F = Pair;
    type M = Pair;

    const WIDE_TILES: bool = true;
    const DENSE_ITEMS: usize = 4;

    #[inline(always)]
    fn splat(self, x: f32) -> Pair {
        let v = unsafe { _mm256_set1_ps(x) };
        (v, v)
    }
    #[inline(always)]
    fn load(self, floats: &[f32; LANES]) -> Pair {
        let floats = floats.as_ptr();
        unsafe { (_mm256_loadu_ps(floats), _mm256_loadu_ps(floats.add(8))) }
    }
    #[inline(always)]
    fn store(self, x: Pair, floats: &mut [f32; LANES]) {
        let floats = floats.as_mut_ptr();
        unsafe {
            _mm256_storeu_ps(floats, x.0);
            _mm256_storeu_ps(floats.add(8), x.1);
        }
    }
    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        per_half!(_mm256_add_ps, a, b)
    }
    #[inline(always)]
    fn sub(self, a: Pair, b: Pair) -> Pair {
        per_half!(_mm256_sub_ps, a, b)
    }
    #[inline(always)]
    fn mul(self, a: Pair, b: Pair) -> Pair {
        per_half!(_mm256_mul_ps, a, b)
    }
    #[inline(always)]
    fn div(self, a: Pair, b: Pair) -> Pair {
        per_half!(_mm256_div_ps, a, b)
    }
    #[inline(always)]
    fn sqrt(self, a: Pair) -> Pair {
        per_half!(_mm256_sqrt_ps, a)
    }
    #[inline(always)]
    fn abs(self, a: Pair) -> Pair {
        let sign = self.splat(-0.0);
        per_half!(_mm256_andnot_ps, sign, a)
    }
    #[inline(always)]
    fn copysign(self, a: Pair, b: Pair) -> Pair {
        let sign = self.splat(-0.0);
        let b = per_half!(_mm256_and_ps, sign, b);
        let a = self.abs(a);
        per_half!(_mm256_or_ps, a, b)
    }
    #[inline(always)]
    fn less(self, a: Pair, b: Pair) -> Pair {
        unsafe { (_mm256_cmp_ps::<_CMP_LT_OQ>(a.0, b.0), _mm256_cmp_ps::<_CMP_LT_OQ>(a.1, b.1)) }
    }
    #[inline(always)]
    fn less_or_equal(self, a: Pair, b: Pair) -> Pair {
        unsafe { (_mm256_cmp_ps::<_CMP_LE_OQ>(a.0, b.0), _mm256_cmp_ps::<_CMP_LE_OQ>(a.1, b.1)) }
    }
    #[inline(always)]
    fn equal(self, a: Pair, b: Pair) -> Pair {
        unsafe { (_mm256_cmp_ps::<_CMP_EQ_OQ>(a.0, b.0), _mm256_cmp_ps::<_CMP_EQ_OQ>(a.1, b.1)) }
    }
    #[inline(always)]
    fn not(self, mask: Pair) -> Pair {
        let all = unsafe { _mm256_castsi256_ps(_mm256_set1_epi32(-1)) };
        (unsafe { _mm256_xor_ps(mask.0, all) }, unsafe { _mm256_xor_ps(mask.1, all) })
    }
    #[inline(always)]
    fn select(self, mask: Pair, yes: Pair, no: Pair) -> Pair {
        per_half!(_mm256_blendv_ps, no, yes, mask)
    }
    #[inline(always)]
    fn bits(self, mask: Pair) -> u32 {
        let (low, high) = per_half!(_mm256_movemask_ps, mask);
        (low | high << 8).cast_unsigned()
    }
    #[inline(always)]
    fn exp2_shifted(self, shifted: Pair) -> Pair {
        let one = self.splat(1.0);
        macro_rules! half {
            ($half:tt) => {
                unsafe {
                    let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(shifted.$half));
                    _mm256_castsi256_ps(_mm256_add_epi32(exponent, _mm256_castps_si256(one.$half)))
                }
            };
        }
        (half!(0), half!(1))
    }
    #[inline(always)]
    fn sum(self, x: Pair) -> f32 {
        unsafe { sum_of_eight(_mm256_add_ps(x.0, x.1)) }
    }
    #[inline(always)]
    fn prefetch(self, block: &Block) {
        unsafe { _mm_prefetch::<PREFETCH_TO>(block.0.as_ptr().cast()) }
    }
}

/// The cache that rows are fetched to ahead of their use: the second level. On Zen 4 that read random rows faster than the first.
pub(super) const PREFETCH_TO: i32 = _MM_HINT_T1;

/// The sum of eight lanes: halves are added until one is left.
///
/// # Safety
/// The CPU has AVX.
#[inline(always)]
pub(super) unsafe fn sum_of_eight(x: __m256) -> f32 {
    unsafe {
        let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
}
