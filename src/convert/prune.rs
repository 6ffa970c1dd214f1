//! Which hidden units and keywords change no score, and the network without them.
//!
//! A unit goes if its weights to all tags of its group are zero, or if no set of keywords can switch it on. (Not for the first reason
//! where weights are `i8` in panels: the largest unit of an item says to what all of them are rounded, and so does their number if there
//! are more than 512, which then all stay.) The second is told by the
//! set of exactly the keywords that push the unit up: rounded additions never lose order (a ≤ b gives fl(a + w) ≤ fl(b + w)), so no
//! other set drives the rounded sum, formed in the same order, higher. What a unit adds to a logit is then ±0 for ever, and a sum
//! that starts from +0 keeps its bits without it.
//!
//! Units that stay keep the order in which they are added. In panels they move together. Tag-major, where unit j is added to partial
//! sum j mod 16, each moves up in its partial sum only; gaps that are left are filled with units that are zero.
//!
//! A keyword goes if all its weights to the units that stay are zero, and sums are not divided by how many keywords there are.

use super::rounds_units;
use crate::aligned::{Block, LANES, as_floats, as_floats_mut};
use crate::error::Result;
use crate::kernels::largest_integer;
use crate::network::{Activation, Network, OutputLayout, Pooling, Shape, StoredWeights};
use crate::weights::{Matrix, MatrixBuf};

/// What stays.
pub(super) struct Kept {
    /// For each group the old unit at each new place; `None` where a gap is left.
    groups: Vec<Vec<Option<usize>>>,
    /// Ids of keywords, ascending.
    keywords: Vec<u32>,
}

/// Weights of their own.
pub(super) struct Pruned {
    w1: MatrixBuf,
    b1: Vec<Block>,
    w2: MatrixBuf,
    b2: Vec<Block>,
}

impl Pruned {
    pub(super) fn view(&self) -> StoredWeights<'_> {
        StoredWeights { w1: self.w1.view(), b1: &self.b1, w2: self.w2.view(), b2: &self.b2 }
    }
}

impl Kept {
    /// What must stay of a network with these weights, which fit it.
    pub(super) fn of(network: &Network, weights: StoredWeights<'_>) -> Self {
        let shape = &network.shape;
        let rounds = rounds_units(shape, weights.w2);
        let number_counts = rounds && largest_integer(shape.hidden()) < i16::MAX;
        let groups: Vec<Vec<Option<usize>>> = shape
            .groups()
            .iter()
            .map(|group| {
                let heard = |unit: usize| {
                    let weighs = |tag| weights.output(shape, group, unit, tag) != 0.0;
                    (rounds || (0..group.tags.len()).any(weighs))
                        && can_fire(network, weights, group.hidden.start * LANES + unit)
                };
                places(shape.layout(), (0..shape.hidden()).filter(|&unit| number_counts || heard(unit)))
            })
            .collect();
        let positions: Vec<usize> = shape
            .groups()
            .iter()
            .zip(&groups)
            .flat_map(|(group, units)| units.iter().flatten().map(|unit| group.hidden.start * LANES + unit))
            .collect();
        let counts = |keyword: usize| positions.iter().any(|&position| weights.first(shape, keyword, position) != 0.0);
        let keywords = (0..).zip(0..shape.keywords());
        let keywords = keywords.filter(|&(_, keyword)| network.pooling == Pooling::Mean || counts(keyword));
        Kept { groups, keywords: keywords.map(|(id, _)| id).collect() }
    }

    /// The keywords that stay, ascending.
    pub(super) fn keywords(&self) -> &[u32] {
        &self.keywords
    }

    /// The network without what does not stay.
    ///
    /// # Errors
    /// None for weights that fit the network.
    pub(super) fn apply(&self, network: &Network, weights: StoredWeights<'_>) -> Result<(Network, Pruned)> {
        let old = &network.shape;
        let hidden = self.groups.iter().map(Vec::len).max().unwrap_or(0);
        let new = Shape::new(self.keywords.len(), hidden, old.group_tags(), old.layout())?;
        // The old position of each new one.
        let mut positions = Vec::new();
        for ((from, to), units) in old.groups().iter().zip(new.groups()).zip(&self.groups) {
            let places = units.iter().enumerate().filter_map(|(place, unit)| Some((place, (*unit)?)));
            positions.extend(places.map(|(place, unit)| (to.hidden.start * LANES + place, from.hidden.start * LANES + unit)));
        }
        let row = |source: &[Block]| {
            let mut row = vec![Block::ZERO; new.row_blocks()];
            positions.iter().for_each(|&(to, from)| as_floats_mut(&mut row)[to] = as_floats(source)[from]);
            row
        };
        let (old_row, new_row) = (old.row_blocks() * LANES, new.row_blocks() * LANES);
        let w1 = moved(weights.w1, new.w1_blocks(), row, |place| {
            for (to_keyword, &from_keyword) in self.keywords.iter().enumerate() {
                for &(to, from) in &positions {
                    place(to_keyword * new_row + to, from_keyword as usize * old_row + from);
                }
            }
        });
        let w2 = moved(weights.w2, new.w2_blocks(), <[Block]>::to_vec, |place| {
            for ((from, to), units) in old.groups().iter().zip(new.groups()).zip(&self.groups) {
                for tag in 0..from.tags.len() {
                    for (to_unit, from_unit) in units.iter().enumerate() {
                        if let Some(unit) = *from_unit {
                            place(new.w2_index(to, to_unit, tag), old.w2_index(from, unit, tag));
                        }
                    }
                }
            }
        });
        let pruned = Pruned { w1, b1: row(weights.b1), w2, b2: weights.b2.to_vec() };
        Ok((Network { shape: new, ..network.clone() }, pruned))
    }
}

/// The units, ascending, in their new places.
fn places(layout: OutputLayout, units: impl Iterator<Item = usize>) -> Vec<Option<usize>> {
    let mut places = Vec::new();
    let mut next: [usize; LANES] = std::array::from_fn(|lane| lane);
    for unit in units {
        let place = match layout {
            OutputLayout::Panels => places.len(),
            OutputLayout::TagMajor => {
                let place = &mut next[unit % LANES];
                *place += LANES;
                *place - LANES
            }
        };
        if places.len() <= place {
            places.resize(place + 1, None);
        }
        places[place] = Some(unit);
    }
    places
}

/// Whether some set of keywords lets the unit at `position` of the hidden vector be other than zero.
fn can_fire(network: &Network, weights: StoredWeights<'_>, position: usize) -> bool {
    let furthest = |sign| furthest(network, weights, position, sign);
    match network.activation {
        Activation::Relu => furthest(1.0).is_none_or(|a| a > 0.0),
        Activation::Trec(theta) => furthest(1.0).is_none_or(|a| a > theta),
        Activation::Tlin(theta) => furthest(1.0).is_none_or(|a| a > theta) || furthest(-1.0).is_none_or(|a| a < -theta),
        Activation::LeakyRelu(_) | Activation::Elu(_) | Activation::Sigmoid | Activation::Identity => true,
    }
}

/// The pre-activation that no set of keywords surpasses, upwards or downwards, as the kernels compute it; `None` if it is not known.
fn furthest(network: &Network, weights: StoredWeights<'_>, position: usize, sign: f32) -> Option<f32> {
    let shape = &network.shape;
    let (row, bias) = (shape.row_blocks() * LANES, as_floats(weights.b1)[position]);
    let pushing = || {
        let column = (0..shape.keywords()).map(move |keyword| keyword * row + position);
        column.map(|index| (index, weights.w1.at(index, position))).filter(move |(_, w)| w * sign > 0.0)
    };
    match weights.w1 {
        // The mean of a rounded sum of many terms may lie a little beyond them all.
        _ if network.pooling == Pooling::Mean => pushing().next().is_none().then_some(bias + 0.0),
        Matrix::I8 { weights, scales } => {
            let sum: i64 = pushing().map(|(index, _)| i64::from(weights[index / LANES].0[index % LANES])).sum();
            Some(bias + as_floats(scales)[position] * sum as f32)
        }
        _ => Some(pushing().fold(bias + 0.0, |sum, (_, w)| sum + w)),
    }
}

/// A matrix of `blocks` blocks whose weights come from `source`, as `places` calls its argument: new index, old index. The others
/// are zero. `scales` moves the scales.
fn moved(
    source: Matrix<'_>,
    blocks: usize,
    scales: impl Fn(&[Block]) -> Vec<Block>,
    places: impl Fn(&mut dyn FnMut(usize, usize)),
) -> MatrixBuf {
    fn elements<B: bytemuck::Pod, T: bytemuck::Pod>(
        source: &[B],
        blocks: usize,
        places: impl Fn(&mut dyn FnMut(usize, usize)),
    ) -> Vec<B> {
        let mut moved = vec![B::zeroed(); blocks];
        let (to, from): (&mut [T], &[T]) = (bytemuck::cast_slice_mut(&mut moved), bytemuck::cast_slice(source));
        places(&mut |new, old| to[new] = from[old]);
        moved
    }
    match source {
        Matrix::F32(source) => MatrixBuf::F32(elements::<_, f32>(source, blocks, places)),
        Matrix::F16(source) => MatrixBuf::F16(elements::<_, u16>(source, blocks, places)),
        Matrix::Bf16(source) => MatrixBuf::Bf16(elements::<_, u16>(source, blocks, places)),
        Matrix::I8 { weights, scales: old } => {
            MatrixBuf::I8 { weights: elements::<_, i8>(weights, blocks, places), scales: scales(old) }
        }
    }
}
