//! The AVX-512 level: one 512-bit register a vector, truth values in mask registers.

#![allow(unsafe_code, reason = "intrinsics, each made safe by the token")]
#![allow(
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    reason = "one proof for all, on `Avx512`: every block holds nothing but AVX-512 intrinsics on values"
)]

use std::arch::x86_64::*;

use bytemuck::cast;

use super::Simd;
use crate::aligned::{Block, I8Block, LANES};

/// Proof that the CPU has AVX-512 F, BW, VL and DQ, and POPCNT, which came before them; and if `VNNI`, that it has that too.
///
/// SAFETY of every block in this file: an `Avx512` is only made by one of its `new`, which can only be called safely from a
/// function that enables these features itself; such a function runs only after detection. The intrinsics used here touch no
/// memory, except `loadu` and `storeu`, whose 64 bytes (of 8 and 16 bits 32, of 64 bits one half of 16), or those that a mask leaves of
/// them, lie inside arrays.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Avx512<const VNNI: bool>(());

impl Avx512<false> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,popcnt")]
    pub(in crate::kernels) fn new() -> Self {
        Avx512(())
    }
}

impl Avx512<true> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,popcnt")]
    pub(in crate::kernels) fn with_vnni() -> Self {
        Avx512(())
    }
}

impl<const VNNI: bool> Avx512<VNNI> {
    /// The sums of tags 0 to 15 and 16 to 31, of what [`Simd::interleave`] has put apart.
    #[inline(always)]
    fn in_order(self, [low, high]: [__m512i; 2]) -> [__m512i; 2] {
        unsafe {
            [
                _mm512_permutex2var_epi64(low, _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), high),
                _mm512_permutex2var_epi64(low, _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15), high),
            ]
        }
    }

    #[inline(always)]
    fn widen_i8(self, integers: [I8Block; 2]) -> __m512i {
        unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(integers.as_ptr().cast())) }
    }
}

/// The lanes that `floats`, fewer than 16, fill.
#[inline(always)]
fn first_lanes(floats: &[f32]) -> __mmask16 {
    (1_u16 << (floats.len() % LANES)) - 1
}

impl<const VNNI: bool> Simd for Avx512<VNNI> {
    type F = __m512;
    type M = __mmask16;
    type Shorts = __m512i;
    type Ints = [__m512i; 2];
    type Weights = [__m512i; 2];

    const TILE: usize = 8;
    const SUMS_FOUR: bool = true;
    const DENSE_ITEMS: usize = 6;
    const INTEGER_ITEMS: usize = 6;
    const WIDE_INTEGERS: bool = true;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn load(self, floats: &[f32; LANES]) -> __m512 {
        unsafe { _mm512_loadu_ps(floats.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, x: __m512, floats: &mut [f32; LANES]) {
        unsafe { _mm512_storeu_ps(floats.as_mut_ptr(), x) }
    }
    #[inline(always)]
    fn load_part(self, floats: &[f32]) -> __m512 {
        unsafe { _mm512_maskz_loadu_ps(first_lanes(floats), floats.as_ptr()) }
    }
    #[inline(always)]
    fn store_part(self, x: __m512, floats: &mut [f32]) {
        unsafe { _mm512_mask_storeu_ps(floats.as_mut_ptr(), first_lanes(floats), x) }
    }
    #[inline(always)]
    fn load_f16(self, bits: &[u16; LANES]) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(bits.as_ptr().cast())) }
    }
    #[inline(always)]
    fn store_low_halves(self, x: __m512, halves: &mut [i16; LANES]) {
        unsafe { _mm256_storeu_si256(halves.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(_mm512_castps_si512(x))) }
    }
    #[inline(always)]
    fn zero_shorts(self) -> __m512i {
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    fn add_i8(self, sums: __m512i, integers: [I8Block; 2]) -> __m512i {
        unsafe { _mm512_add_epi16(sums, self.widen_i8(integers)) }
    }
    #[inline(always)]
    fn shorts_as_f32(self, shorts: __m512i) -> [__m512; 2] {
        unsafe {
            let (low, high) = (_mm512_castsi512_si256(shorts), _mm512_extracti64x4_epi64::<1>(shorts));
            [_mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(low)), _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(high))]
        }
    }
    #[inline(always)]
    fn zero_ints(self) -> [__m512i; 2] {
        [self.zero_shorts(); 2]
    }
    /// Pairs of tags 0 to 3, 8 to 11, 16 to 19, 24 to 27, then those of the others: what fits into lanes of 128 bits.
    #[inline(always)]
    fn interleave(self, first: [I8Block; 2], second: [I8Block; 2]) -> [__m512i; 2] {
        let (first, second) = (self.widen_i8(first), self.widen_i8(second));
        unsafe { [_mm512_unpacklo_epi16(first, second), _mm512_unpackhi_epi16(first, second)] }
    }
    #[inline(always)]
    fn add_products(self, sums: [__m512i; 2], weights: [__m512i; 2], q: [i16; 2]) -> [__m512i; 2] {
        unsafe {
            let q = _mm512_set1_epi32(cast(q));
            if VNNI {
                return [_mm512_dpwssd_epi32(sums[0], weights[0], q), _mm512_dpwssd_epi32(sums[1], weights[1], q)];
            }
            [
                _mm512_add_epi32(sums[0], _mm512_madd_epi16(weights[0], q)),
                _mm512_add_epi32(sums[1], _mm512_madd_epi16(weights[1], q)),
            ]
        }
    }
    #[inline(always)]
    fn ints_as_f32(self, ints: [__m512i; 2]) -> [__m512; 2] {
        let [first, last] = self.in_order(ints);
        unsafe { [_mm512_cvtepi32_ps(first), _mm512_cvtepi32_ps(last)] }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        unsafe { _mm512_andnot_ps(_mm512_set1_ps(-0.0), a) }
    }
    #[inline(always)]
    fn minus_abs(self, a: __m512) -> __m512 {
        unsafe { _mm512_or_ps(_mm512_set1_ps(-0.0), a) }
    }
    #[inline(always)]
    fn copysign(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_or_ps(self.abs(a), _mm512_and_ps(_mm512_set1_ps(-0.0), b)) }
    }
    #[inline(always)]
    fn less(self, a: __m512, b: __m512) -> __mmask16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b) }
    }
    #[inline(always)]
    fn less_or_equal(self, a: __m512, b: __m512) -> __mmask16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b) }
    }
    #[inline(always)]
    fn equal(self, a: __m512, b: __m512) -> __mmask16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b) }
    }
    #[inline(always)]
    fn not(self, mask: __mmask16) -> __mmask16 {
        !mask
    }
    #[inline(always)]
    fn select(self, mask: __mmask16, yes: __m512, no: __m512) -> __m512 {
        unsafe { _mm512_mask_blend_ps(mask, no, yes) }
    }
    /// The instruction gives the second operand unless the first is more.
    #[inline(always)]
    fn at_least(self, x: __m512, low: __m512) -> __m512 {
        unsafe { _mm512_max_ps(low, x) }
    }
    /// The instruction gives the second operand unless the first is less.
    #[inline(always)]
    fn at_most(self, x: __m512, high: __m512) -> __m512 {
        unsafe { _mm512_min_ps(high, x) }
    }
    #[inline(always)]
    fn bits(self, mask: __mmask16) -> u32 {
        u32::from(mask)
    }
    #[inline(always)]
    fn exp2_shifted(self, shifted: __m512) -> __m512 {
        unsafe {
            let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted));
            _mm512_castsi512_ps(_mm512_add_epi32(exponent, _mm512_castps_si512(_mm512_set1_ps(1.0))))
        }
    }
    #[inline(always)]
    fn add_to_f64(self, x: __m512, sums: &mut [f64; LANES]) {
        unsafe {
            let (low, high) = (_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x));
            let (first, last) = (sums.as_mut_ptr(), sums.as_mut_ptr().add(8));
            _mm512_storeu_pd(first, _mm512_add_pd(_mm512_loadu_pd(first), _mm512_cvtps_pd(low)));
            _mm512_storeu_pd(last, _mm512_add_pd(_mm512_loadu_pd(last), _mm512_cvtps_pd(high)));
        }
    }
    #[inline(always)]
    fn sum(self, x: __m512) -> f32 {
        unsafe {
            let low = _mm256_castpd_ps(_mm512_castpd512_pd256(_mm512_castps_pd(x)));
            let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(x)));
            super::avx2::sum_of_eight(_mm256_add_ps(low, high))
        }
    }
    #[inline(always)]
    fn sums<const N: usize>(self, x: [__m512; N]) -> [f32; N] {
        let mut sums = [0.0; N];
        let [a, b, c, d] = x[..] else {
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum = self.sum(x);
            }
            return sums;
        };
        // The sums of four vectors side by side: in each step halves are added, as in the sum of one.
        let quarters = unsafe {
            let ab = _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xEE>(a, b));
            let cd = _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(c, d), _mm512_shuffle_f32x4::<0xEE>(c, d));
            let abcd = _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(ab, cd), _mm512_shuffle_f32x4::<0xDD>(ab, cd));
            let halves = _mm512_add_ps(abcd, _mm512_permute_ps::<0b11_10_11_10>(abcd));
            let whole = _mm512_add_ps(halves, _mm512_permute_ps::<0b01_01_01_01>(halves));
            _mm512_castps512_ps128(_mm512_permutexvar_ps(
                _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
                whole,
            ))
        };
        let mut four = [0.0; 4];
        unsafe { _mm_storeu_ps(four.as_mut_ptr(), quarters) };
        sums.copy_from_slice(&four);
        sums
    }
    #[inline(always)]
    fn compress(self, mask: __mmask16, x: &Block, first: u32, units: &mut [u32; LANES], values: &mut [f32; LANES]) -> usize {
        unsafe {
            let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            let numbers = _mm512_add_epi32(lanes, _mm512_set1_epi32(first.cast_signed()));
            // In a register first: compressing to memory is slow on some CPUs.
            _mm512_storeu_si512(units.as_mut_ptr().cast(), _mm512_maskz_compress_epi32(mask, numbers));
            _mm512_storeu_ps(values.as_mut_ptr(), _mm512_maskz_compress_ps(mask, _mm512_loadu_ps(x.0.as_ptr())));
        }
        mask.count_ones() as usize
    }
}
