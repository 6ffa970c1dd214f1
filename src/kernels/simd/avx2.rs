//! The AVX2 level: two 256-bit registers a vector.

#![allow(unsafe_code, reason = "intrinsics, each made safe by the token")]
#![allow(
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    reason = "one proof for all, on `Avx2`: every block holds nothing but AVX, AVX2 and F16C intrinsics on values"
)]

use std::arch::x86_64::*;

use bytemuck::cast;

use super::Simd;
use crate::aligned::{Block, I8Block, LANES};

/// Proof that the CPU has AVX2, and POPCNT, which came before it.
///
/// SAFETY of every block in this file: an `Avx2` is only made by [`Avx2::new`], which can only be called safely from a function
/// that enables AVX2 itself; such a function runs only after detection. The intrinsics used here touch no memory, except
/// `loadu` and `storeu`, whose 32 bytes lie inside the borrowed array of 16 floats, units, integers or (two times 16 bytes) halves,
/// or whose 16 bytes are a block of `i8`; and `maskload` and `maskstore`, whose unmasked lanes are the borrowed floats.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Avx2(());

impl Avx2 {
    #[inline]
    #[target_feature(enable = "avx2,f16c,popcnt")]
    pub(in crate::kernels) fn new() -> Self {
        Avx2(())
    }

    /// The sums of tags 0 to 7, 8 to 15 and so on, of what [`Simd::interleave`] has put apart.
    #[inline(always)]
    fn in_order(self, [a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
        unsafe {
            [
                _mm256_permute2x128_si256::<0x20>(a, b),
                _mm256_permute2x128_si256::<0x31>(a, b),
                _mm256_permute2x128_si256::<0x20>(c, d),
                _mm256_permute2x128_si256::<0x31>(c, d),
            ]
        }
    }

    #[inline(always)]
    fn widen_i8(self, block: I8Block) -> __m256i {
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(block.0.as_ptr().cast())) }
    }

    #[inline(always)]
    fn half_as_f32(self, shorts: __m256i) -> Pair {
        unsafe {
            let (low, high) = (_mm256_castsi256_si128(shorts), _mm256_extracti128_si256::<1>(shorts));
            (_mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(low)), _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(high)))
        }
    }

    /// The lanes whose bits are set, ascending, then any.
    #[inline(always)]
    fn lanes_of(self, bits: u8) -> __m256i {
        unsafe { _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(LANES_OF[bits as usize].cast_signed())) }
    }

    /// Masks of the lanes that `floats`, at most 16, fill.
    #[inline(always)]
    fn first_lanes(self, floats: &[f32]) -> (__m256i, __m256i) {
        unsafe {
            let count = _mm256_set1_epi32(floats.len() as i32);
            let low = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let high = _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15);
            (_mm256_cmpgt_epi32(count, low), _mm256_cmpgt_epi32(count, high))
        }
    }
}

/// For each byte the numbers of its set bits, ascending, a byte each.
static LANES_OF: [u64; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut bit, mut place) = (0, 0);
        while bit < 8 {
            if byte >> bit & 1 == 1 {
                table[byte] |= bit << (8 * place);
                place += 1;
            }
            bit += 1;
        }
        byte += 1;
    }
    table
};

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
    type Shorts = [__m256i; 2];
    type Ints = [__m256i; 4];
    type Weights = [__m256i; 4];

    const TILE: usize = 4;
    const DENSE_ITEMS: usize = 4;
    const INTEGER_ITEMS: usize = 2;
    const WIDE_INTEGERS: bool = false;

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
    fn load_part(self, floats: &[f32]) -> Pair {
        let (mask, floats) = (self.first_lanes(floats), floats.as_ptr());
        unsafe { (_mm256_maskload_ps(floats, mask.0), _mm256_maskload_ps(floats.wrapping_add(8), mask.1)) }
    }
    #[inline(always)]
    fn store_part(self, x: Pair, floats: &mut [f32]) {
        let (mask, floats) = (self.first_lanes(floats), floats.as_mut_ptr());
        unsafe {
            _mm256_maskstore_ps(floats, mask.0, x.0);
            _mm256_maskstore_ps(floats.wrapping_add(8), mask.1, x.1);
        }
    }
    #[inline(always)]
    fn load_f16(self, bits: &[u16; LANES]) -> Pair {
        let bits: *const __m128i = bits.as_ptr().cast();
        unsafe { (_mm256_cvtph_ps(_mm_loadu_si128(bits)), _mm256_cvtph_ps(_mm_loadu_si128(bits.add(1)))) }
    }
    #[inline(always)]
    fn store_low_halves(self, x: Pair, halves: &mut [i16; LANES]) {
        unsafe {
            let low = _mm256_set1_epi32(0xFFFF);
            let (first, last) = (_mm256_castps_si256(x.0), _mm256_castps_si256(x.1));
            let packed = _mm256_packus_epi32(_mm256_and_si256(first, low), _mm256_and_si256(last, low));
            // It packs lanes of 128 bits, so their quarters are out of order.
            _mm256_storeu_si256(halves.as_mut_ptr().cast(), _mm256_permute4x64_epi64::<0b11_01_10_00>(packed));
        }
    }
    #[inline(always)]
    fn zero_shorts(self) -> [__m256i; 2] {
        unsafe { [_mm256_setzero_si256(); 2] }
    }
    #[inline(always)]
    fn add_i8(self, sums: [__m256i; 2], integers: [I8Block; 2]) -> [__m256i; 2] {
        let [first, second] = integers;
        unsafe { [_mm256_add_epi16(sums[0], self.widen_i8(first)), _mm256_add_epi16(sums[1], self.widen_i8(second))] }
    }
    #[inline(always)]
    fn shorts_as_f32(self, shorts: [__m256i; 2]) -> [Pair; 2] {
        [self.half_as_f32(shorts[0]), self.half_as_f32(shorts[1])]
    }
    #[inline(always)]
    fn zero_ints(self) -> [__m256i; 4] {
        unsafe { [_mm256_setzero_si256(); 4] }
    }
    /// For each block pairs of tags 0 to 3 and 8 to 11, then those of the others: what fits into lanes of 128 bits.
    #[inline(always)]
    fn interleave(self, first: [I8Block; 2], second: [I8Block; 2]) -> [__m256i; 4] {
        let first = [self.widen_i8(first[0]), self.widen_i8(first[1])];
        let second = [self.widen_i8(second[0]), self.widen_i8(second[1])];
        unsafe {
            [
                _mm256_unpacklo_epi16(first[0], second[0]),
                _mm256_unpackhi_epi16(first[0], second[0]),
                _mm256_unpacklo_epi16(first[1], second[1]),
                _mm256_unpackhi_epi16(first[1], second[1]),
            ]
        }
    }
    #[inline(always)]
    fn add_products(self, mut sums: [__m256i; 4], weights: [__m256i; 4], q: [i16; 2]) -> [__m256i; 4] {
        let q = unsafe { _mm256_set1_epi32(cast(q)) };
        for (sum, weights) in sums.iter_mut().zip(weights) {
            *sum = unsafe { _mm256_add_epi32(*sum, _mm256_madd_epi16(weights, q)) };
        }
        sums
    }
    #[inline(always)]
    fn ints_as_f32(self, ints: [__m256i; 4]) -> [Pair; 2] {
        let [a, b, c, d] = self.in_order(ints);
        unsafe { [(_mm256_cvtepi32_ps(a), _mm256_cvtepi32_ps(b)), (_mm256_cvtepi32_ps(c), _mm256_cvtepi32_ps(d))] }
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
    fn minus_abs(self, a: Pair) -> Pair {
        let sign = self.splat(-0.0);
        per_half!(_mm256_or_ps, sign, a)
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
    fn zero_where(self, mask: Pair, x: Pair) -> Pair {
        per_half!(_mm256_andnot_ps, mask, x)
    }
    /// The instruction gives the second operand unless the first is more.
    #[inline(always)]
    fn at_least(self, x: Pair, low: Pair) -> Pair {
        per_half!(_mm256_max_ps, low, x)
    }
    /// The instruction gives the second operand unless the first is less.
    #[inline(always)]
    fn at_most(self, x: Pair, high: Pair) -> Pair {
        per_half!(_mm256_min_ps, high, x)
    }
    #[inline(always)]
    fn bits(self, mask: Pair) -> u32 {
        let (low, high) = per_half!(_mm256_movemask_ps, mask);
        (low | high << 8).cast_unsigned()
    }
    #[inline(always)]
    fn compress(self, mask: Pair, x: &Block, first: u32, units: &mut [u32; LANES], values: &mut [f32; LANES]) -> usize {
        let (low, high) = per_half!(_mm256_movemask_ps, mask);
        let x = self.load(x);
        let (low, high) = (low.cast_unsigned() as u8, high.cast_unsigned() as u8);
        unsafe {
            let numbers = _mm256_add_epi32(_mm256_set1_epi32(first.cast_signed()), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
            let count = low.count_ones() as usize;
            let order = self.lanes_of(low);
            _mm256_storeu_si256(units.as_mut_ptr().cast(), _mm256_permutevar8x32_epi32(numbers, order));
            _mm256_storeu_ps(values.as_mut_ptr(), _mm256_permutevar8x32_ps(x.0, order));
            // `count` is at most 8, so eight more lanes fit.
            let numbers = _mm256_add_epi32(numbers, _mm256_set1_epi32(8));
            let order = self.lanes_of(high);
            _mm256_storeu_si256(units.as_mut_ptr().add(count).cast(), _mm256_permutevar8x32_epi32(numbers, order));
            _mm256_storeu_ps(values.as_mut_ptr().add(count), _mm256_permutevar8x32_ps(x.1, order));
            count + high.count_ones() as usize
        }
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
}

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
