//! Tags that a model sees alike, or near to an item: those whose output weights point the same way as a tag's, or as the item's hidden
//! units.
//!
//! The measure is the cosine of two tags' rows of output weights, `u·v / (|u| |v|)`; biases, which follow how frequent a tag is,
//! have no part in it. Only tags of one group compare: each group has hidden units of its own. An item's hidden vector takes the place of a
//! row for the tags of its group; in an anchor model it is the item's own vector.
//!
//! ```
//! # fn main() -> tagomatic::Result<()> {
//! use tagomatic::neighbors::nearest_tags;
//! # let model = tagomatic::Model::open("models/movies.tagm")?;
//! let zombie = model.tags().get("zombie").unwrap_or_default();
//! for near in nearest_tags(&model, zombie, 3)? {
//!     println!("{} {:.2}", model.tags()[near.tag].name, near.similarity);
//! }
//! # Ok(())
//! # }
//! ```

use crate::error::{Error, Result};
use crate::format::Model;
use crate::network::Group;
use crate::tagger::Tagger;

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
    Ok(nearest(others.map(|tag| Neighbor { tag, similarity: similarity(tag) }).collect(), top))
}

/// The `top` tags nearest to the item with keywords `ids`, in any order and with repeats: by descending cosine of its hidden units with a
/// tag's output weights, ties in the order of the tags.
///
/// # Errors
/// [`Error::KeywordOutOfRange`] if the model has no such id.
pub fn nearest_tags_of_item(tagger: &Tagger, ids: &[u32], top: usize) -> Result<Vec<Neighbor>> {
    let model = tagger.model();
    let shape = &model.network().shape;
    let mut hidden = vec![0.0; shape.hidden() * shape.groups().len()];
    tagger.hidden(ids, &mut tagger.scratch(), &mut hidden)?;
    let mut near = Vec::with_capacity(shape.tags());
    for (number, group) in shape.groups().iter().enumerate() {
        let rows = OutputRows::new(model, group);
        let hidden = &hidden[number * shape.hidden()..][..shape.hidden()];
        near.extend(group.tags.clone().enumerate().map(|(n, tag)| Neighbor { tag, similarity: rows.cosine_with(n, hidden) }));
    }
    Ok(nearest(near, top))
}

/// The `top` nearest of them, which are in the order of the tags.
fn nearest(mut near: Vec<Neighbor>, top: usize) -> Vec<Neighbor> {
    // A stable sort keeps ties in the order of the tags; -0 and 0 tie.
    near.sort_by(|a, b| (b.similarity + 0.0).total_cmp(&(a.similarity + 0.0)));
    near.truncate(top);
    near
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

    fn weight(&self, tag: usize, unit: usize) -> f64 {
        self.model.weights().output(&self.model.network().shape, self.group, unit, tag).into()
    }

    fn dot(&self, a: usize, b: usize) -> f64 {
        (0..self.model.network().shape.hidden()).map(|unit| self.weight(a, unit) * self.weight(b, unit)).sum()
    }

    /// The cosine of the rows of the group's tags number `a` and `b`, which must exist, as with a slice.
    pub(crate) fn cosine(&self, a: usize, b: usize) -> f64 {
        quotient(self.dot(a, b), self.lengths[a] * self.lengths[b])
    }

    /// The cosine of the row of the group's tag number `tag`, which must exist, with a hidden vector of the group.
    fn cosine_with(&self, tag: usize, hidden: &[f32]) -> f64 {
        let products = hidden.iter().enumerate().map(|(unit, h)| self.weight(tag, unit) * f64::from(*h));
        let length = hidden.iter().map(|h| f64::from(*h) * f64::from(*h)).sum::<f64>().sqrt();
        quotient(products.sum(), self.lengths[tag] * length)
    }
}

/// A dot product by the product of the lengths.
fn quotient(dot: f64, lengths: f64) -> f64 {
    // Rounding may carry a quotient past 1; a row of zeros points nowhere.
    if lengths > 0.0 { (dot / lengths).clamp(-1.0, 1.0) } else { 0.0 }
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
            weights: Weights { w1: &[], b1: &b1, w2: &w2, b2: &b2 }.into(),
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

    #[test]
    fn cosines_of_an_item_with_output_rows() {
        for layout in [OutputLayout::TagMajor, OutputLayout::Panels] {
            let tagger = Tagger::new(model(&[&[[3.0, 4.0]], &[[0.0, 5.0], [0.0, 0.0], [-6.0, -8.0]]], layout));
            let near = nearest_tags_of_item(&tagger, &[], 9).unwrap();
            // Without keywords or biases a hidden vector is 0, and points nowhere.
            assert!(near.iter().map(|near| (near.tag, near.similarity)).eq([0, 1, 2, 3].map(|tag| (tag, 0.0))), "{near:?}");
            let rows = OutputRows::new(tagger.model(), &tagger.model().network().shape.groups()[1]);
            assert_eq!([0, 1, 2].map(|tag| rows.cosine_with(tag, &[3.0, 4.0])), [0.8, 0.0, -1.0]);
            assert!(matches!(nearest_tags_of_item(&tagger, &[0], 9), Err(Error::KeywordOutOfRange { .. })));
        }
    }
}
