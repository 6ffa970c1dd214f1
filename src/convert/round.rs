//! Weights of one type from those of another: each to the nearest number, ties to even.

use half::{bf16, f16};

use crate::aligned::{Bf16Block, Block, F16Block, I8Block, LANES, as_floats, as_floats_mut};
use crate::error::{Error, Result};
use crate::network::{Shape, StoredWeights};
use crate::weights::{I8_MAX, MatrixBuf, WeightType};

/// How to round, and what came of it.
pub(super) struct Rounding {
    pub(super) weights: WeightType,
    pub(super) saturate: bool,
    /// Weights that were held to the largest number.
    pub(super) saturated: usize,
}

/// A matrix of `f32` on its way to another type.
struct Source<'a> {
    name: &'static str,
    blocks: &'a [Block],
    /// The column of each weight.
    columns: &'a dyn Fn(usize) -> usize,
    /// Blocks of scales.
    scales: usize,
}

impl Rounding {
    /// W1 in the new type.
    pub(super) fn first(&mut self, shape: &Shape, weights: StoredWeights<'_>) -> Result<MatrixBuf> {
        let row = shape.row_blocks() * LANES;
        let weights = weights.to_f32(shape)?;
        let blocks = weights.view().w1;
        self.round(&Source { name: "W1", blocks, columns: &|index| index % row, scales: shape.row_blocks() })
    }

    /// W2 in the new type.
    pub(super) fn output(&mut self, shape: &Shape, weights: StoredWeights<'_>) -> Result<MatrixBuf> {
        // Padding keeps column 0: it is 0, and counts for no scale.
        let mut columns = vec![0; shape.w2_blocks() * LANES];
        for group in shape.groups() {
            for (tag, slot) in group.slots.clone().enumerate() {
                for unit in 0..shape.hidden() {
                    columns[shape.w2_index(group, unit, tag)] = slot;
                }
            }
        }
        let weights = weights.to_f32(shape)?;
        let blocks = weights.view().w2;
        self.round(&Source { name: "W2", blocks, columns: &|index| columns[index], scales: shape.slot_blocks() })
    }

    fn round(&mut self, source: &Source<'_>) -> Result<MatrixBuf> {
        let name = source.name;
        if let Some((index, value)) = as_floats(source.blocks).iter().enumerate().find(|(_, w)| !w.is_finite()) {
            return Err(Error::BadWeight { tensor: name, index, value: *value, expected: "finite weights" });
        }
        let blocks = source.blocks.iter().enumerate();
        Ok(match self.weights {
            WeightType::F32 => MatrixBuf::F32(source.blocks.to_vec()),
            WeightType::F16 => {
                let narrow = |(number, block)| Ok(F16Block(self.narrow::<f16>(name, number, block)?));
                MatrixBuf::F16(blocks.map(narrow).collect::<Result<_>>()?)
            }
            WeightType::Bf16 => {
                let narrow = |(number, block)| Ok(Bf16Block(self.narrow::<bf16>(name, number, block)?));
                MatrixBuf::Bf16(blocks.map(narrow).collect::<Result<_>>()?)
            }
            WeightType::I8 => integers(source),
        })
    }

    /// Block `number` of a tensor as 16-bit numbers.
    fn narrow<N: Narrow>(&mut self, tensor: &'static str, number: usize, block: &Block) -> Result<[u16; LANES]> {
        let mut bits = [0; LANES];
        for (lane, (bits, &w)) in bits.iter_mut().zip(&block.0).enumerate() {
            *bits = match N::finite_bits(w) {
                Some(bits) => bits,
                None if self.saturate => {
                    self.saturated += 1;
                    N::largest_bits(w)
                }
                None => {
                    let index = number * LANES + lane;
                    return Err(Error::BadWeight { tensor, index, value: w, expected: N::FITS });
                }
            };
        }
        Ok(bits)
    }
}

/// A type of 16-bit numbers.
trait Narrow {
    /// Which weights fit.
    const FITS: &'static str;

    /// The bits of the nearest number, unless that is infinite.
    fn finite_bits(w: f32) -> Option<u16>;

    /// Those of the largest number with the sign of `w`.
    fn largest_bits(w: f32) -> u16;
}

macro_rules! narrow {
    ($narrow:ident, $fits:literal) => {
        impl Narrow for $narrow {
            const FITS: &'static str = $fits;

            fn finite_bits(w: f32) -> Option<u16> {
                Some($narrow::from_f32(w)).filter(|narrow| narrow.is_finite()).map($narrow::to_bits)
            }

            fn largest_bits(w: f32) -> u16 {
                $narrow::from_f32($narrow::MAX.to_f32().copysign(w)).to_bits()
            }
        }
    };
}

narrow!(f16, "at most 65504 in magnitude for f16, or saturation");
narrow!(bf16, "at most 3.38e38 in magnitude for bf16, or saturation");

/// Integers with a scale a column: the largest magnitude of the column is [`I8_MAX`].
fn integers(source: &Source<'_>) -> MatrixBuf {
    let Source { blocks, columns, scales, .. } = *source;
    let mut scale_blocks = vec![Block::ZERO; scales];
    let scales = as_floats_mut(&mut scale_blocks);
    for (index, w) in as_floats(blocks).iter().enumerate().filter(|(_, w)| **w != 0.0) {
        let scale = &mut scales[columns(index)];
        *scale = scale.max(w.abs());
    }
    for scale in &mut *scales {
        *scale /= f32::from(I8_MAX);
        // Below the normal numbers a scale would have too few bits; such weights are nothing.
        if !scale.is_normal() {
            *scale = 0.0;
        }
        // Rounded up, it could carry the largest of all floats beyond them.
        if (*scale * f32::from(I8_MAX)).is_infinite() {
            *scale = scale.next_down();
        }
    }
    let mut weights = vec![I8Block::default(); blocks.len()];
    for (index, (integer, w)) in weights.iter_mut().flat_map(|block| &mut block.0).zip(as_floats(blocks)).enumerate() {
        let scale = scales.get(columns(index)).copied().unwrap_or(0.0);
        if *w != 0.0 && scale > 0.0 {
            let largest = f32::from(I8_MAX);
            *integer = (w / scale).round_ties_even().clamp(-largest, largest) as i8;
        }
    }
    MatrixBuf::I8 { weights, scales: scale_blocks }
}
