//! The unit of storage: a block of 16 floats on a 64-byte boundary.
//!
//! Every vector and every matrix row of the network is a whole number of blocks, padded with zeros. So a row never straddles
//! a cache line more than it must, no kernel has a tail, and `Vec<Block>` is an aligned buffer without an allocator of its own.

#![allow(unsafe_code, reason = "the marker impls of blocks below, each with its proof")]

use std::ops::{Deref, DerefMut};

/// Floats in a [`Block`].
pub const LANES: usize = 16;

/// Sixteen consecutive floats, aligned to a cache line of 64 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, align(64))]
pub struct Block(pub [f32; LANES]);

// SAFETY: `[f32; 16]` is inhabited and valid when all bits are zero, and `repr(C)` adds nothing to it.
unsafe impl bytemuck::Zeroable for Block {}

// SAFETY: the size, 64, equals the alignment, so there is no padding; every bit pattern is a valid `[f32; 16]`; there is no
// interior mutability and no pointer; the type is `Copy + 'static`.
unsafe impl bytemuck::Pod for Block {}

impl Deref for Block {
    type Target = [f32; LANES];

    #[inline]
    fn deref(&self) -> &[f32; LANES] {
        &self.0
    }
}

impl DerefMut for Block {
    #[inline]
    fn deref_mut(&mut self) -> &mut [f32; LANES] {
        &mut self.0
    }
}

impl Block {
    /// A block of zeros.
    pub const ZERO: Block = Block([0.0; LANES]);
}

/// Declares sixteen consecutive numbers of a narrower type than `f32`: what a [`Block`] of weights becomes in that type.
macro_rules! narrow_block {
    ($(#[$doc:meta])+ $name:ident, $element:ty, $align:literal) => {
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[repr(C, align($align))]
        pub struct $name(pub [$element; LANES]);

        const _: () = assert!(size_of::<$name>() == $align && size_of::<$name>() == size_of::<[$element; LANES]>());

        // SAFETY: an array of integers is inhabited and valid when all bits are zero, and `repr(C)` adds nothing to it.
        unsafe impl bytemuck::Zeroable for $name {}

        // SAFETY: the size equals the alignment and that of the array (asserted above), so there is no padding; every bit pattern
        // is a valid array of integers; there is no interior mutability and no pointer; the type is `Copy + 'static`.
        unsafe impl bytemuck::Pod for $name {}
    };
}

narrow_block!(
    /// Sixteen numbers of IEEE 754 binary16, as bits.
    F16Block, u16, 32
);
narrow_block!(
    /// Sixteen numbers of bfloat16, the high halves of `f32`, as bits.
    Bf16Block, u16, 32
);
narrow_block!(
    /// Sixteen small integers.
    I8Block, i8, 16
);

/// The number of blocks that hold `floats` floats.
#[must_use]
pub const fn blocks_for(floats: usize) -> usize {
    floats.div_ceil(LANES)
}

/// A buffer of zeros that holds at least `floats` floats.
#[must_use]
pub fn zeroed(floats: usize) -> Vec<Block> {
    vec![Block::ZERO; blocks_for(floats)]
}

/// Copies `floats` into blocks, padded with zeros.
#[must_use]
pub fn padded(floats: &[f32]) -> Vec<Block> {
    let mut blocks = zeroed(floats.len());
    as_floats_mut(&mut blocks)[..floats.len()].copy_from_slice(floats);
    blocks
}

/// The floats of a slice of blocks, padding included.
#[must_use]
pub fn as_floats(blocks: &[Block]) -> &[f32] {
    bytemuck::cast_slice(blocks)
}

/// The floats of a mutable slice of blocks, padding included.
#[must_use]
pub fn as_floats_mut(blocks: &mut [Block]) -> &mut [f32] {
    bytemuck::cast_slice_mut(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_zero_and_the_start_is_aligned() {
        for n in [0usize, 1, 15, 16, 17, 64, 65] {
            let floats: Vec<f32> = (0..n).map(|x| x as f32 + 1.0).collect();
            let blocks = padded(&floats);
            assert_eq!(blocks.len(), n.div_ceil(16));
            assert_eq!(blocks.as_ptr() as usize % 64, 0);
            assert_eq!(&as_floats(&blocks)[..n], &floats[..]);
            assert!(as_floats(&blocks)[n..].iter().all(|x| x.to_bits() == 0));
        }
    }
}
