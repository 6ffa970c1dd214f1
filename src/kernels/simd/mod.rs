//! The vocabulary in which every kernel body is written once, and its three implementors.
//!
//! A vector is always 16 lanes, one [`Block`]: one AVX-512 register, two AVX2 registers, or whatever `wide` makes of it. So sums
//! across lanes have the same 16 partial sums on every level, and padded rows have no tail. There is no fused multiply-add: a
//! product is rounded before it is added, on every level, which is what makes scores the same bits everywhere. There is no
//! `max` or `min` either, because hardware swallows NaN in them; bodies compare and select.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
pub(super) mod portable;

use crate::aligned::Block;

/// A level's instructions on 16 lanes of `f32`. Every operation is the IEEE 754 one, rounded to nearest even.
///
/// The implementors' methods are inlined into functions that enable the level's instructions. An implementor is a token: it can
/// only be made where those instructions are known to exist, which is what makes the methods safe.
pub(super) trait Simd: Copy {
    /// 16 floats.
    type F: Copy;
    /// 16 truth values.
    type M: Copy;

    /// Whether the register file holds a tile of 4 vectors beside what a kernel needs for itself; otherwise tiles are 2 vectors.
    const WIDE_TILES: bool;

    fn splat(self, x: f32) -> Self::F;
    fn load(self, block: &Block) -> Self::F;
    fn store(self, x: Self::F, block: &mut Block);

    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    fn sqrt(self, a: Self::F) -> Self::F;
    /// Clears the sign, of NaN too.
    fn abs(self, a: Self::F) -> Self::F;
    /// The magnitude of `a` with the sign of `b`.
    fn copysign(self, a: Self::F, b: Self::F) -> Self::F;

    /// `a < b`, false for NaN.
    fn less(self, a: Self::F, b: Self::F) -> Self::M;
    /// `a <= b`, false for NaN.
    fn less_or_equal(self, a: Self::F, b: Self::F) -> Self::M;
    /// `a == b`, false for NaN.
    fn equal(self, a: Self::F, b: Self::F) -> Self::M;
    /// `yes` where the mask holds, else `no`.
    fn select(self, mask: Self::M, yes: Self::F, no: Self::F) -> Self::F;
    /// Bit i is lane i.
    fn bits(self, mask: Self::M) -> u32;

    /// `2^n` for integers n in `[-126, 127]`, given as `n + EXPONENT_SHIFT`, whose lowest bits are then n in two's complement.
    fn exp2_shifted(self, shifted: Self::F) -> Self::F;
}

/// `1.5 * 2^23`: adding it rounds a small float to an integer and leaves that integer in the lowest bits.
pub(super) const EXPONENT_SHIFT: f32 = 12_582_912.0;
