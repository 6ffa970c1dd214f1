//! Tags that a model sees alike: those whose output weights point the same way.
//!
//! The measure is the cosine of two tags' rows of output weights, `u·v / (|u| |v|)`; biases, which follow how frequent a tag is,
//! have no part in it. Only tags of one group compare: each group has hidden units of its own.

use crate::aligned::as_floats;
use crate::error::{Error, Result};
use crate::format::Model;
use crate::network::Group;

/// A tag near another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbor {
    /// Its index among the model's tags.
    pub tag: usize,
    /// Cosine of the angle between the two rows, in `[-1, 1]`; 0 if a row is all zeros.
    pub similarity: f64,
}

/// The `top` tags nearest to the tag at index `tag` in its group, without the tag itself: by descending similarity, ties in the
/// order of the tags. Sums are in `f64`, units in ascending order, so they are the same on every machine.
///
/// # Errors
/// [`Error::Length`] without such a tag.
pub fn nearest_tags(model: &Model, tag: usize, top: usize) -> Result<Vec<Neighbor>> {
    let shape = &model.network().shape;
    let group = shape.groups().iter().find(|group| group.tags.contains(&tag));
    let missing = || Error::Length { what: "tags", expected: tag.saturating_add(1), found: shape.tags() };
    let group = group.ok_or_else(missing)?;
    let rows = OutputRows::new(model, group);
    let first = group.tags.start;
    let similarity = |other: usize| rows.cosine(tag - first, other - first);
    let others = group.tags.clone().filter(|&other| other != tag);
    let mut near: Vec<Neighbor> = others.map(|tag| Neighbor { tag, similarity: similarity(tag) }).collect();
    // A stable sort keeps ties in the order of the tags; -0 and 0 tie.
    near.sort_by(|a, b| (b.similarity + 0.0).total_cmp(&(a.similarity + 0.0)));
    near.truncate(top);
    Ok(near)
}

/// The output weights of the tags of one group, a row each.
pub(crate) struct OutputRows<'m> {
    model: &'m Model,
    group: &'m Group,
    lengths: Vec<f64>,
}

impl<'m> OutputRows<'m> {
    pub(crate) fn new(model: &'m Model, group: &'m Group) -> Self {
        let mut rows = OutputRows { model, group, lengths: Vec::new() };
        rows.lengths = (0..group.tags.len()).map(|tag| rows.dot(tag, tag).sqrt()).collect();
        rows
    }

    fn dot(&self, a: usize, b: usize) -> f64 {
        let (shape, w2) = (&self.model.network().shape, as_floats(self.model.weights().w2));
        let weight = |tag, unit| f64::from(w2[shape.w2_index(self.group, unit, tag)]);
        (0..shape.hidden()).map(|unit| weight(a, unit) * weight(b, unit)).sum()
    }

    /// The cosine of the rows of the group's tags number `a` and `b`, which must exist, as with a slice.
    pub(crate) fn cosine(&self, a: usize, b: usize) -> f64 {
        let lengths = self.lengths[a] * self.lengths[b];
        // Rounding may carry a quotient past 1; a row of zeros points nowhere.
        if lengths > 0.0 { (self.dot(a, b) / lengths).clamp(-1.0, 1.0) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aligned::{Block, as_floats_mut};
    use crate::format::Extensions;
    use crate::network::{Activation, Network, OutputLayout, Pooling, Shape, Weights};
    use crate::{ModelParts, Provenance, Tags, Vocabulary};

    /// A model with two hidden units, where `rows[g]` are the output weights of group g.
    fn model(rows: &[&[[f32; 2]]], layout: OutputLayout) -> Model {
        let counts: Vec<usize> = rows.iter().map(|rows| rows.len()).collect();
        let shape = Shape::new(0, 2, &counts, layout).unwrap();
        let mut w2 = vec![Block::default(); shape.w2_blocks()];
        for (group, rows) in shape.groups().iter().zip(rows) {
            for (tag, row) in rows.iter().enumerate() {
                for (unit, &weight) in row.iter().enumerate() {
                    as_floats_mut(&mut w2)[shape.w2_index(group, unit, tag)] = weight;
                }
            }
        }
        let [b1, b2] = [shape.row_blocks(), shape.slot_blocks()].map(|blocks| vec![Block::default(); blocks]);
        let tags = Tags::from_names((0..shape.tags()).map(|tag| format!("t{tag}"))).unwrap();
        let vocabulary = Vocabulary::from_keywords::<[&str; 0]>([]).unwrap();
        let parts = ModelParts {
            network: &Network { shape, pooling: Pooling::Sum, activation: Activation::Identity, eps: 0.0 },
            weights: Weights { w1: &[], b1: &b1, w2: &w2, b2: &b2 },
            vocabulary: vocabulary.view(),
            tags: &tags,
            provenance: &Provenance::new(),
            extensions: &Extensions::default(),
        };
        parts.to_model().unwrap()
    }

    #[test]
    fn cosines_of_output_rows() {
        for layout in [OutputLayout::TagMajor, OutputLayout::Panels] {
            let second: &[[f32; 2]] = &[[3.0, 4.0], [0.0, 0.0], [-6.0, -8.0], [30.0, 40.0], [4.0, -3.0], [5.0, 0.0]];
            let model = model(&[&[[3.0, 4.0]], second], layout);
            let near = |tag, top| -> Vec<(usize, f64)> {
                nearest_tags(&model, tag, top).unwrap().iter().map(|near| (near.tag, near.similarity)).collect()
            };
            assert_eq!(near(1, 9), [(4, 1.0), (6, 0.6), (2, 0.0), (5, 0.0), (3, -1.0)], "{layout:?}");
            assert_eq!(near(1, 2), [(4, 1.0), (6, 0.6)]);
            assert_eq!(near(2, 9), [1, 3, 4, 5, 6].map(|tag| (tag, 0.0)));
            assert_eq!((near(0, 9), near(1, 0)), (vec![], vec![]));
            for missing in [7, usize::MAX] {
                assert!(matches!(nearest_tags(&model, missing, 1), Err(Error::Length { .. })));
            }
        }
    }
}
