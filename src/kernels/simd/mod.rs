//! The vocabulary in which every kernel body is written once, and its three implementors.
//!
//! A vector is always 16 lanes, one [`Block`]: one AVX-512 register, two AVX2 registers, or whatever `wide` makes of it. So sums
//! across lanes have the same 16 partial sums on every level, and padded rows have no tail. There is no fused multiply-add: a
//! product is rounded before it is added, on every level, which is what makes scores the same bits everywhere. Nor is there
//! a `max` or `min` of equals, because which operand's NaN hardware swallows differs: bodies compare and select, or name the operand that stays.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
pub(super) mod portable;
mod prefetch;

use crate::aligned::{Bf16Block, Block, F16Block, I8Block, LANES};
use crate::weights::{f32_of_bf16, f32_of_f16};

/// A level's instructions on 16 lanes of `f32`. Every operation is the IEEE 754 one, rounded to nearest even.
///
/// The implementors' methods are inlined into functions that enable the level's instructions. An implementor is a token: it can
/// only be made where those instructions are known to exist, which is what makes the methods safe.
///
/// Closures that hold vectors are not given to functions of the standard library, such as `map` of arrays: where the compiler does not
/// inline one it is compiled without the level's instructions, and each intrinsic becomes a call. `benches/instructions.sh` looks for such.
#[cfg_attr(not(any(test, feature = "train")), allow(dead_code, reason = "training says more"))]
pub(super) trait Simd: Copy {
    /// 16 floats.
    type F: Copy;
    /// 16 truth values.
    type M: Copy;
    /// 32 integers of 16 bits.
    type Shorts: Copy;
    /// 32 integers of 32 bits.
    type Ints: Copy;
    /// Two times 32 integers of 8 bits, as [`Simd::add_products`] wants them.
    type Weights: Copy;

    /// Blocks in the widest tile that the register file holds beside what a kernel needs for itself: 2, 4 or 8.
    const TILE: usize;

    /// Whether [`Simd::sums`] of four vectors cost little more than one.
    const SUMS_FOUR: bool = false;

    /// Items in a tile of the dense output layer: 6 with up to 4 vectors of tags each, or 4 or 2 with one.
    const DENSE_ITEMS: usize;

    /// Items in a tile of the dense output layer of integers: 6, 2 or 1.
    const INTEGER_ITEMS: usize;

    /// Whether such a tile has 4 blocks of tags; otherwise it has 2.
    const WIDE_INTEGERS: bool;

    fn splat(self, x: f32) -> Self::F;
    fn load(self, floats: &[f32; LANES]) -> Self::F;
    fn store(self, x: Self::F, floats: &mut [f32; LANES]);

    /// Loads fewer than 16 floats; the other lanes are 0.
    #[inline(always)]
    fn load_part(self, floats: &[f32]) -> Self::F {
        let mut lanes = [0.0; LANES];
        lanes[..floats.len()].copy_from_slice(floats);
        self.load(&lanes)
    }
    /// Stores the first lanes, fewer than 16.
    #[inline(always)]
    fn store_part(self, x: Self::F, floats: &mut [f32]) {
        let mut lanes = [0.0; LANES];
        self.store(x, &mut lanes);
        floats.copy_from_slice(&lanes[..floats.len()]);
    }

    /// Widens 16 numbers of IEEE 754 binary16, given as bits; none is NaN or infinite.
    #[inline(always)]
    fn load_f16(self, bits: &[u16; LANES]) -> Self::F {
        let mut lanes = [0.0; LANES];
        for (lane, bits) in lanes.iter_mut().zip(bits) {
            *lane = f32_of_f16(*bits);
        }
        self.load(&lanes)
    }
    /// Widens 16 numbers of bfloat16, given as bits.
    #[inline(always)]
    fn load_bf16(self, bits: &[u16; LANES]) -> Self::F {
        let mut lanes = [0.0; LANES];
        for (lane, bits) in lanes.iter_mut().zip(bits) {
            *lane = f32_of_bf16(*bits);
        }
        self.load(&lanes)
    }
    /// Widens 16 integers.
    #[inline(always)]
    fn load_i8(self, integers: &[i8; LANES]) -> Self::F {
        let mut lanes = [0.0; LANES];
        for (lane, integer) in lanes.iter_mut().zip(integers) {
            *lane = f32::from(*integer);
        }
        self.load(&lanes)
    }

    /// The lower 16 bits of each lane.
    fn store_low_halves(self, x: Self::F, halves: &mut [i16; LANES]);

    fn zero_shorts(self) -> Self::Shorts;
    /// `sums` plus 32 integers of 8 bits; the caller sees to it that they fit.
    fn add_i8(self, sums: Self::Shorts, integers: [I8Block; 2]) -> Self::Shorts;
    /// The first 16 and the last 16 as floats.
    fn shorts_as_f32(self, shorts: Self::Shorts) -> [Self::F; 2];

    fn zero_ints(self) -> Self::Ints;
    /// Two rows of 32 weights, in whatever order [`Simd::ints_as_f32`] undoes.
    fn interleave(self, first: [I8Block; 2], second: [I8Block; 2]) -> Self::Weights;
    /// For each of 32 sums `sum + first·q[0] + second·q[1]`; the caller sees to it that they fit.
    fn add_products(self, sums: Self::Ints, weights: Self::Weights, q: [i16; 2]) -> Self::Ints;
    /// The first 16 and the last 16, rounded to floats.
    fn ints_as_f32(self, ints: Self::Ints) -> [Self::F; 2];

    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    fn sqrt(self, a: Self::F) -> Self::F;
    /// Clears the sign, of NaN too.
    fn abs(self, a: Self::F) -> Self::F;
    /// Sets the sign, of NaN too.
    fn minus_abs(self, a: Self::F) -> Self::F;
    /// The magnitude of `a` with the sign of `b`.
    fn copysign(self, a: Self::F, b: Self::F) -> Self::F;

    /// `a < b`, false for NaN.
    fn less(self, a: Self::F, b: Self::F) -> Self::M;
    /// `a <= b`, false for NaN.
    fn less_or_equal(self, a: Self::F, b: Self::F) -> Self::M;
    /// `a == b`, false for NaN.
    fn equal(self, a: Self::F, b: Self::F) -> Self::M;
    fn not(self, mask: Self::M) -> Self::M;
    /// `yes` where the mask holds, else `no`.
    fn select(self, mask: Self::M, yes: Self::F, no: Self::F) -> Self::F;
    /// 0 where the mask holds, else `x`.
    #[inline(always)]
    fn zero_where(self, mask: Self::M, x: Self::F) -> Self::F {
        self.select(mask, self.splat(0.0), x)
    }
    /// `low` where `x` is less, else `x`: NaN stays, and one of `low` is ignored.
    #[inline(always)]
    fn at_least(self, x: Self::F, low: Self::F) -> Self::F {
        self.select(self.less(x, low), low, x)
    }
    /// `high` where `x` is more, else `x`: NaN stays, and one of `high` is ignored.
    #[inline(always)]
    fn at_most(self, x: Self::F, high: Self::F) -> Self::F {
        self.select(self.less(high, x), high, x)
    }
    /// Bit i is lane i.
    fn bits(self, mask: Self::M) -> u32;

    /// `2^n` for integers n in `[-126, 127]`, given as `n + EXPONENT_SHIFT`, whose lowest bits are then n in two's complement.
    fn exp2_shifted(self, shifted: Self::F) -> Self::F;

    /// Adds each lane to its sum.
    #[inline(always)]
    fn add_to_f64(self, x: Self::F, sums: &mut [f64; LANES]) {
        let mut lanes = [0.0; LANES];
        self.store(x, &mut lanes);
        for (sum, lane) in sums.iter_mut().zip(lanes) {
            *sum += f64::from(lane);
        }
    }

    /// The sum of all lanes in the order of [`super::tree_sum`].
    fn sum(self, x: Self::F) -> f32;

    /// [`Simd::sum`] of each.
    #[inline(always)]
    fn sums<const N: usize>(self, x: [Self::F; N]) -> [f32; N] {
        let mut sums = [0.0; N];
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum = self.sum(x);
        }
        sums
    }

    /// Lists the lanes where the mask holds: `first` plus each lane's index, and its value in `x`. Returns how many there are; what
    /// is behind them may be written too.
    #[inline(always)]
    fn compress(self, mask: Self::M, x: &Block, first: u32, units: &mut [u32; LANES], values: &mut [f32; LANES]) -> usize {
        let bits = self.bits(mask);
        let mut count = 0;
        // Without branches: which units are on is not to be foreseen.
        for (lane, value) in (0..).zip(x.0) {
            units[count] = first + lane;
            values[count] = value;
            count = (count + (bits >> lane & 1) as usize) % LANES;
        }
        bits.count_ones() as usize
    }

    /// Asks for a block that will be read soon, see [`prefetch::prefetch`]. There need not be one at `index`.
    #[inline(always)]
    fn prefetch<B>(self, blocks: &[B], index: usize, far: bool) {
        prefetch::prefetch(blocks.as_ptr().wrapping_add(index).cast(), far);
    }
}

/// `1.5 * 2^23`: adding it rounds a small float to an integer and leaves that integer in the lowest bits.
pub(super) const EXPONENT_SHIFT: f32 = 12_582_912.0;

/// A block of weights as it is stored; widening it to `f32` loses nothing.
pub(super) trait Stored: Copy {
    fn widen<S: Simd>(&self, s: S) -> S::F;
}

impl Stored for Block {
    #[inline(always)]
    fn widen<S: Simd>(&self, s: S) -> S::F {
        s.load(self)
    }
}

impl Stored for F16Block {
    #[inline(always)]
    fn widen<S: Simd>(&self, s: S) -> S::F {
        s.load_f16(&self.0)
    }
}

impl Stored for Bf16Block {
    #[inline(always)]
    fn widen<S: Simd>(&self, s: S) -> S::F {
        s.load_bf16(&self.0)
    }
}

impl Stored for I8Block {
    #[inline(always)]
    fn widen<S: Simd>(&self, s: S) -> S::F {
        s.load_i8(&self.0)
    }
}
