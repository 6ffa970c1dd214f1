//! The rule that every stored parameter obeys: it is finite, and padding is zero.

use super::header::Part;
use crate::aligned::{Block, LANES, as_floats, blocks_for};
use crate::error::{Error, Result};
use crate::network::{Network, OutputLayout, Shape, Weights};

/// A parameter that breaks the rule.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    part: Part,
    index: usize,
    value: f32,
    expected: &'static str,
}

impl Fault {
    /// As an error in a model file.
    pub(super) fn in_model(self) -> Error {
        Error::model(self.part.name(), self.expected, format!("{:?} at index {}", self.value, self.index))
    }

    /// As an error of whoever gave the weights.
    pub(super) fn in_weights(self) -> Error {
        let tensor = match self.part {
            Part::W1 => "W1",
            Part::B1 => "b1",
            Part::W2 => "W2",
            _ => "b2",
        };
        Error::BadWeight { tensor, index: self.index, value: self.value, expected: self.expected }
    }
}

/// Fails unless every parameter is finite and padding is zero; the weights have the lengths that the network's shape gives them.
#[cfg(feature = "train")]
pub(crate) fn check_weights(network: &Network, weights: Weights<'_>) -> Result<()> {
    check(network, weights).map_err(Fault::in_weights)
}

/// Finds the first parameter that breaks the rule. The weights have the lengths that the network's shape gives them.
pub(super) fn check(network: &Network, weights: Weights<'_>) -> Result<(), Fault> {
    let shape = &network.shape;
    // All groups have the same number of units, so their rows can be read as one matrix.
    check_rows(Part::W1, weights.w1, 0, shape.hidden())?;
    check_rows(Part::B1, weights.b1, 0, shape.hidden())?;
    match shape.layout() {
        OutputLayout::TagMajor => {
            check_rows(Part::W2, weights.w2, 0, shape.hidden())?;
            check_rows(Part::B2, weights.b2, 0, shape.tags())
        }
        OutputLayout::Panels => check_panels(shape, weights),
    }
}

fn check_panels(shape: &Shape, weights: Weights<'_>) -> Result<(), Fault> {
    for group in shape.groups() {
        for panel in shape.panels(group) {
            check_rows(Part::W2, &weights.w2[panel.w2.clone()], panel.w2.start, panel.tags)?;
        }
        for panel in shape.panels(group) {
            check_rows(Part::B2, &weights.b2[panel.slots.clone()], panel.slots.start, panel.tags)?;
        }
    }
    Ok(())
}

/// Checks a matrix of rows with `width` floats, padded to whole blocks. Its first block is block `start` of its tensor.
fn check_rows(part: Part, blocks: &[Block], start: usize, width: usize) -> Result<(), Fault> {
    if width == 0 {
        return Ok(());
    }
    for (number, row) in blocks.chunks_exact(blocks_for(width)).enumerate() {
        let (floats, padding) = as_floats(row).split_at(width);
        let fault = |at: usize, value: f32, expected| {
            let index = (start + number * blocks_for(width)) * LANES + at;
            Err(Fault { part, index, value, expected })
        };
        // Without an early exit in the loop this is vector code; a fault is located afterwards.
        if !floats.iter().fold(true, |all, x| all & x.is_finite())
            && let Some(at) = floats.iter().position(|x| !x.is_finite())
        {
            return fault(at, floats[at], "finite weights");
        }
        if let Some(at) = padding.iter().position(|x| x.to_bits() != 0) {
            return fault(width + at, padding[at], "+0.0 in the padding of rows");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aligned::{as_floats_mut, zeroed};
    use crate::network::{Activation, Pooling};

    /// Sets each float of each tensor in turn; says which were accepted.
    fn accepted(network: &Network, value: f32) -> [Vec<usize>; 4] {
        let shape = &network.shape;
        let blocks = [shape.w1_blocks(), shape.row_blocks(), shape.w2_blocks(), shape.slot_blocks()];
        let mut tensors = blocks.map(|blocks| zeroed(blocks * LANES));
        std::array::from_fn(|t| {
            let good = |i: &usize| {
                as_floats_mut(&mut tensors[t])[*i] = value;
                let [w1, b1, w2, b2] = &tensors;
                let result = check(network, Weights { w1, b1, w2, b2 });
                as_floats_mut(&mut tensors[t])[*i] = 0.0;
                if let Err(fault) = &result {
                    assert_eq!((fault.part, fault.index), ([Part::W1, Part::B1, Part::W2, Part::B2][t], *i));
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
