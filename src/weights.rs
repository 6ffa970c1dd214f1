//! Matrices of weights as a model stores them: in one of four types.
//!
//! | type | bytes | what a weight is |
//! | --- | --- | --- |
//! | `f32` | 4 | itself |
//! | `f16` | 2 | IEEE 754 binary16: 11 bits of precision, up to 65,504 |
//! | `bf16` | 2 | the high half of an `f32`: 8 bits of precision, its range |
//! | `i8` | 1 | an integer from −127 to 127 times the scale of its column: of a hidden unit in W1, of a tag in W2 |
//!
//! Kernels widen numbers to `f32` on their way into registers, which loses nothing, and add in the same order whatever the type. Integers
//! are added as such, and their sum is multiplied with the scale once. In panels of an output layer of `i8` the hidden units of an item
//! are rounded too, to integers of 16 bits times a scale of the item's own.

use std::ops::Range;

use crate::aligned::{Bf16Block, Block, F16Block, I8Block, LANES, as_floats};
use crate::error::{Error, Result};
use crate::named::named;

/// How a matrix of weights is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WeightType {
    /// 32 bits: as trained.
    #[default]
    F32,
    /// 16 bits, IEEE 754 binary16.
    F16,
    /// 16 bits, bfloat16.
    Bf16,
    /// 8 bits, and a scale a column.
    I8,
}

named!(WeightType, "weights", "f32, f16, bf16 or i8", { F32 => "f32", F16 => "f16", Bf16 => "bf16", I8 => "i8" });

impl WeightType {
    /// Bytes of a weight.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.block_bytes() / LANES
    }

    /// Bytes of a block of 16 weights.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        match self {
            WeightType::F32 => size_of::<Block>(),
            WeightType::F16 => size_of::<F16Block>(),
            WeightType::Bf16 => size_of::<Bf16Block>(),
            WeightType::I8 => size_of::<I8Block>(),
        }
    }
}

/// The largest magnitude of an `i8` weight: −128 has no counterpart.
pub const I8_MAX: i8 = 127;

/// A borrowed matrix of weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Matrix<'a> {
    /// See [`WeightType::F32`].
    F32(&'a [Block]),
    /// See [`WeightType::F16`].
    F16(&'a [F16Block]),
    /// See [`WeightType::Bf16`].
    Bf16(&'a [Bf16Block]),
    /// See [`WeightType::I8`].
    I8 {
        /// The integers.
        weights: &'a [I8Block],
        /// One scale a column: of W1 in the form of b1, of W2 in the form of b2.
        scales: &'a [Block],
    },
}

impl<'a> Matrix<'a> {
    /// Its type.
    #[must_use]
    pub fn weight_type(self) -> WeightType {
        match self {
            Matrix::F32(_) => WeightType::F32,
            Matrix::F16(_) => WeightType::F16,
            Matrix::Bf16(_) => WeightType::Bf16,
            Matrix::I8 { .. } => WeightType::I8,
        }
    }

    /// How many blocks it has.
    #[must_use]
    #[inline]
    pub fn len(self) -> usize {
        match self {
            Matrix::F32(blocks) => blocks.len(),
            Matrix::F16(blocks) => blocks.len(),
            Matrix::Bf16(blocks) => blocks.len(),
            Matrix::I8 { weights, .. } => weights.len(),
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Its bytes, without the scales, in the machine's byte order.
    #[inline]
    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Matrix::F32(blocks) => bytemuck::cast_slice(blocks),
            Matrix::F16(blocks) => bytemuck::cast_slice(blocks),
            Matrix::Bf16(blocks) => bytemuck::cast_slice(blocks),
            Matrix::I8 { weights, .. } => bytemuck::cast_slice(weights),
        }
    }

    /// Its blocks in `range`, with the scale blocks in `scales` if it has scales.
    #[inline]
    pub(crate) fn slice(self, range: Range<usize>, scales: Range<usize>) -> Self {
        match self {
            Matrix::F32(blocks) => Matrix::F32(&blocks[range]),
            Matrix::F16(blocks) => Matrix::F16(&blocks[range]),
            Matrix::Bf16(blocks) => Matrix::Bf16(&blocks[range]),
            Matrix::I8 { weights, scales: all } => Matrix::I8 { weights: &weights[range], scales: &all[scales] },
        }
    }

    /// Weight `index`, padding counted, whose column has scale number `scale`.
    pub(crate) fn at(self, index: usize, scale: usize) -> f32 {
        let (block, lane) = (index / LANES, index % LANES);
        match self {
            Matrix::F32(blocks) => blocks[block].0[lane],
            Matrix::F16(blocks) => f32_of_f16(blocks[block].0[lane]),
            Matrix::Bf16(blocks) => f32_of_bf16(blocks[block].0[lane]),
            Matrix::I8 { weights, scales } => f32::from(weights[block].0[lane]) * as_floats(scales)[scale],
        }
    }

    /// Fails unless it has `blocks` blocks and, if it has scales, `scales` blocks of them.
    #[inline]
    pub(crate) fn check(self, what: &'static str, blocks: usize, scales: usize) -> Result<()> {
        Error::check_length(what, blocks, self.len())?;
        match self {
            Matrix::I8 { scales: found, .. } => Error::check_length("scale blocks", scales, found.len()),
            _ => Ok(()),
        }
    }
}

/// A matrix of weights of its own.
#[derive(Clone, Debug)]
pub enum MatrixBuf {
    /// See [`WeightType::F32`].
    F32(Vec<Block>),
    /// See [`WeightType::F16`].
    F16(Vec<F16Block>),
    /// See [`WeightType::Bf16`].
    Bf16(Vec<Bf16Block>),
    /// See [`WeightType::I8`].
    I8 {
        /// The integers.
        weights: Vec<I8Block>,
        /// One scale a column.
        scales: Vec<Block>,
    },
}

impl MatrixBuf {
    /// A view of it.
    #[must_use]
    pub fn view(&self) -> Matrix<'_> {
        match self {
            MatrixBuf::F32(blocks) => Matrix::F32(blocks),
            MatrixBuf::F16(blocks) => Matrix::F16(blocks),
            MatrixBuf::Bf16(blocks) => Matrix::Bf16(blocks),
            MatrixBuf::I8 { weights, scales } => Matrix::I8 { weights, scales },
        }
    }
}

/// Widens a binary16. Two steps do it for subnormals too: its bits, moved to the place of an `f32`'s, are the number times 2⁻¹¹².
#[inline(always)]
pub(crate) fn f32_of_f16(bits: u16) -> f32 {
    const TWO_TO_112: f32 = f32::from_bits((112 + 127) << 23);
    let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * TWO_TO_112;
    f32::from_bits(magnitude.to_bits() | u32::from(bits & 0x8000) << 16)
}

/// Widens a bfloat16.
#[inline(always)]
pub(crate) fn f32_of_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widening_is_exact() {
        for bits in 0..=u16::MAX {
            let (f16, bf16) = (half::f16::from_bits(bits), half::bf16::from_bits(bits));
            if f16.is_finite() {
                assert_eq!(f32_of_f16(bits).to_bits(), f16.to_f32().to_bits(), "{bits:04x}");
            }
            if !bf16.is_nan() {
                assert_eq!(f32_of_bf16(bits).to_bits(), bf16.to_f32().to_bits(), "{bits:04x}");
            }
        }
    }
}
