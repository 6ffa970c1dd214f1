//! The rule that every stored parameter obeys: it is finite, and padding is zero. Integers have a counterpart of the other sign, and
//! scales are neither negative nor too small to be precise.

use std::num::FpCategory;

use super::header::{Extension, Part};
use super::read::Places;
use super::storage;
use crate::aligned::{Block, LANES, blocks_for};
use crate::error::{Error, Result};
#[cfg(feature = "train")]
use crate::network::Weights;
use crate::network::{Network, OutputLayout, Shape, StoredWeights};
use crate::weights::{I8_MAX, Matrix, f32_of_bf16, f32_of_f16};

/// A parameter that breaks the rule.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    tensor: Tensor,
    index: usize,
    value: f32,
    expected: &'static str,
}

/// A section of parameters, and how the network calls it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tensor {
    section: &'static str,
    name: &'static str,
}

const W1: Tensor = Tensor { section: Part::W1.name(), name: "W1" };
const B1: Tensor = Tensor { section: Part::B1.name(), name: "b1" };
const W2: Tensor = Tensor { section: Part::W2.name(), name: "W2" };
const B2: Tensor = Tensor { section: Part::B2.name(), name: "b2" };
const W1_SCALES: Tensor = Tensor { section: Extension::W1Scales.name(), name: "scales of W1" };
const W2_SCALES: Tensor = Tensor { section: Extension::W2Scales.name(), name: "scales of W2" };

impl Fault {
    /// As an error in a model file.
    pub(super) fn in_model(self) -> Error {
        Error::model(self.tensor.section, self.expected, format!("{:?} at index {}", self.value, self.index))
    }

    /// As an error of whoever gave the weights.
    pub(super) fn in_weights(self) -> Error {
        Error::BadWeight { tensor: self.tensor.name, index: self.index, value: self.value, expected: self.expected }
    }
}

/// Fails unless every parameter is finite and padding is zero; the weights have the lengths that the network's shape gives them.
#[cfg(feature = "train")]
pub(crate) fn check_weights(network: &Network, weights: Weights<'_>) -> Result<()> {
    check(network, weights.into()).map_err(Fault::in_weights)
}

/// Finds the first parameter that breaks the rule. The weights have the lengths that the network's shape gives them.
pub(super) fn check(network: &Network, weights: StoredWeights<'_>) -> Result<(), Fault> {
    let shape = &network.shape;
    // All groups have the same number of units, so their rows can be read as one matrix.
    check_matrix(W1, weights.w1, 0, shape.hidden())?;
    check_floats(B1, weights.b1, 0, shape.hidden())?;
    if let Matrix::I8 { scales, .. } = weights.w1 {
        check_scales(W1_SCALES, scales, 0, shape.hidden())?;
    }
    match shape.layout() {
        OutputLayout::TagMajor => check_matrix(W2, weights.w2, 0, shape.hidden())?,
        OutputLayout::Panels => {
            for panel in shape.groups().iter().flat_map(|group| shape.panels(group)) {
                let part = weights.w2.slice(panel.w2.clone(), panel.slots);
                check_matrix(W2, part, panel.w2.start, panel.tags)?;
            }
        }
    }
    check_slots(shape, |start, blocks, width| check_floats(B2, &weights.b2[blocks], start, width))?;
    if let Matrix::I8 { scales, .. } = weights.w2 {
        check_slots(shape, |start, blocks, width| check_scales(W2_SCALES, &scales[blocks], start, width))?;
    }
    Ok(())
}

/// Calls `check` with the parts of a vector of one float a tag slot that have padding of their own: first block, blocks, floats.
fn check_slots(shape: &Shape, check: impl Fn(usize, std::ops::Range<usize>, usize) -> Result<(), Fault>) -> Result<(), Fault> {
    match shape.layout() {
        OutputLayout::TagMajor => check(0, 0..shape.slot_blocks(), shape.tags()),
        OutputLayout::Panels => shape.groups().iter().try_for_each(|group| {
            let blocks = group.slot_blocks();
            check(blocks.start, blocks, group.tags.len())
        }),
    }
}

/// Checks a matrix of rows with `width` weights, padded to whole blocks. Its first block is block `start` of its tensor.
fn check_matrix(tensor: Tensor, matrix: Matrix<'_>, start: usize, width: usize) -> Result<(), Fault> {
    let finite = "finite weights";
    match matrix {
        Matrix::F32(blocks) => check_floats(tensor, blocks, start, width),
        Matrix::F16(blocks) => {
            let good = |bits: u16| bits & 0x7c00 != 0x7c00;
            check_rows(tensor, bytemuck::cast_slice(blocks), start, width, finite, good, |bits| bits == 0, f32_of_f16)
        }
        Matrix::Bf16(blocks) => {
            let good = |bits| f32_of_bf16(bits).is_finite();
            check_rows(tensor, bytemuck::cast_slice(blocks), start, width, finite, good, |bits| bits == 0, f32_of_bf16)
        }
        Matrix::I8 { weights, .. } => {
            let good = |integer: i8| integer >= -I8_MAX;
            let integers = bytemuck::cast_slice(weights);
            check_rows(tensor, integers, start, width, "integers from -127 on", good, |integer| integer == 0, f32::from)
        }
    }
}

fn check_floats(tensor: Tensor, blocks: &[Block], start: usize, width: usize) -> Result<(), Fault> {
    let zero = |x: f32| x.to_bits() == 0;
    check_rows(tensor, bytemuck::cast_slice(blocks), start, width, "finite weights", f32::is_finite, zero, |x| x)
}

fn check_scales(tensor: Tensor, blocks: &[Block], start: usize, width: usize) -> Result<(), Fault> {
    let zero = |x: f32| x.to_bits() == 0;
    let good = |x: f32| x.is_sign_positive() && matches!(x.classify(), FpCategory::Normal | FpCategory::Zero);
    check_rows(tensor, bytemuck::cast_slice(blocks), start, width, "scales that are 0 or normal numbers", good, zero, |x| x)
}

#[expect(clippy::too_many_arguments, reason = "a matrix, its place, and the rule for its elements")]
fn check_rows<T: Copy>(
    tensor: Tensor,
    elements: &[T],
    start: usize,
    width: usize,
    expected: &'static str,
    good: impl Fn(T) -> bool,
    is_zero: impl Fn(T) -> bool,
    value: impl Fn(T) -> f32,
) -> Result<(), Fault> {
    if width == 0 {
        return Ok(());
    }
    let row_len = blocks_for(width) * LANES;
    for (number, row) in elements.chunks_exact(row_len).enumerate() {
        let (weights, padding) = row.split_at(width);
        let fault = |at: usize, expected| {
            Err(Fault { tensor, index: start * LANES + number * row_len + at, value: value(row[at]), expected })
        };
        // Without an early exit in the loop this is vector code; a fault is located afterwards.
        if !weights.iter().fold(true, |all, &x| all & good(x))
            && let Some(at) = weights.iter().position(|&x| !good(x))
        {
            return fault(at, expected);
        }
        if let Some(at) = padding.iter().position(|&x| !is_zero(x)) {
            return fault(width + at, "+0 in the padding of rows");
        }
    }
    Ok(())
}

/// Turns the weights in the file `bytes` from the machine's byte order to that of the file, or back.
pub(super) fn to_little_endian(places: &Places, bytes: &mut [u8]) {
    let mut turn = |blocks: &std::ops::Range<usize>, block: usize, width| {
        storage::to_little_endian(&mut bytes[blocks.start * block..blocks.end * block], width);
    };
    for matrix in [&places.w1, &places.w2] {
        turn(&matrix.body, matrix.weights.block_bytes(), matrix.weights.bytes());
    }
    for floats in [&places.b1, &places.b2, &places.w1.scales, &places.w2.scales] {
        turn(floats, size_of::<Block>(), size_of::<f32>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aligned::{as_floats_mut, zeroed};
    use crate::network::{Activation, Pooling, Weights};

    /// Sets each float of each tensor in turn; says which were accepted.
    fn accepted(network: &Network, value: f32) -> [Vec<usize>; 4] {
        let shape = &network.shape;
        let blocks = [shape.w1_blocks(), shape.row_blocks(), shape.w2_blocks(), shape.slot_blocks()];
        let mut tensors = blocks.map(|blocks| zeroed(blocks * LANES));
        std::array::from_fn(|t| {
            let good = |i: &usize| {
                as_floats_mut(&mut tensors[t])[*i] = value;
                let [w1, b1, w2, b2] = &tensors;
                let result = check(network, Weights { w1, b1, w2, b2 }.into());
                as_floats_mut(&mut tensors[t])[*i] = 0.0;
                if let Err(fault) = &result {
                    assert_eq!((fault.tensor, fault.index), ([W1, B1, W2, B2][t], *i));
                }
                result.is_ok()
            };
            (0..blocks[t] * LANES).filter(good).collect()
        })
    }

    #[test]
    fn exactly_the_parameters_may_be_non_zero() {
        for layout in [OutputLayout::TagMajor, OutputLayout::Panels] {
            for (hidden, group_tags) in [(1, vec![1]), (17, vec![70, 3]), (5, vec![64, 130, 1]), (0, vec![4]), (3, vec![0, 2])]
            {
                let shape = Shape::new(2, hidden, &group_tags, layout).unwrap();
                let network = Network { shape, pooling: Pooling::Sum, activation: Activation::Relu, eps: 0.0 };
                let shape = &network.shape;
                let row = (0..shape.row_blocks() * LANES).filter(|i| i % hidden.next_multiple_of(LANES) < hidden);
                let row: Vec<usize> = row.collect();
                let w1 = (0..2).flat_map(|k| row.iter().map(move |i| k * shape.row_blocks() * LANES + i)).collect();
                let mut w2 = Vec::new();
                for group in shape.groups() {
                    for tag in 0..group.tags.len() {
                        w2.extend((0..hidden).map(|unit| shape.w2_index(group, unit, tag)));
                    }
                }
                w2.sort_unstable();
                let b2 = (0..shape.tags()).map(|tag| shape.slot(tag)).collect();
                assert_eq!(accepted(&network, 1.0), [w1, row, w2, b2], "{layout:?} {hidden} {group_tags:?}");
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    assert_eq!(accepted(&network, bad).concat(), [0; 0], "{layout:?} {hidden} {group_tags:?}");
                }
            }
        }
    }
}
