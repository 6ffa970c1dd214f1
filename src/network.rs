//! The one network: its sizes, how its parameters are laid out, and a borrowed view of them.
//!
//! ```text
//! a = b1 + Σ_{k∈S} W1[k]      embedding bag over the set S of a sample's keyword ids; or the mean of these rows, see [`Pooling`]
//! h = act(a)
//! z = b2 + Σ_j h_j · W2[j]    output layer
//! p = clamp(σ(z), ε, 1−ε)
//! ```
//!
//! A network has one or more *groups*. Group g owns `hidden` units and its own tags; all groups read the same keywords, so a row
//! of W1 is the rows of all groups side by side. A shared network is one group; a bank of single-tag networks is one group a tag.

use std::borrow::Cow;
use std::ops::Range;

pub use crate::activation::Activation;
use crate::aligned::{Block, LANES, as_floats_mut, blocks_for};
use crate::error::{Error, Result};
use crate::named::named;
use crate::weights::Matrix;

/// Tags that one register tile of the output layer holds.
pub const PANEL: usize = 64;

/// How the output weights are stored. It fixes the order in which a logit is summed, so it belongs to a model for life, whatever
/// tags are added to it later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputLayout {
    /// One row of hidden weights a tag. A logit is a dot product: 16 partial sums (unit index mod 16), then a fixed tree, then
    /// the bias. Best for few tags.
    TagMajor,
    /// Panels of [`PANEL`] tags, one row of tag weights a hidden unit inside each panel. A logit is the bias, then the units in
    /// ascending order; units that are zero are skipped, which changes no bit.
    Panels,
}

impl OutputLayout {
    /// The faster layout for groups of `tags` tags.
    #[must_use]
    pub const fn for_tags(tags: usize) -> Self {
        if tags < 8 { OutputLayout::TagMajor } else { OutputLayout::Panels }
    }
}

/// Sizes and storage layout of a network.
///
/// *Slots* are the positions of tags in logit and bias vectors. With [`OutputLayout::TagMajor`] the slot of a tag is its index;
/// with [`OutputLayout::Panels`] every group starts at a multiple of 16.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    keywords: usize,
    hidden: usize,
    tags: usize,
    slots: usize,
    layout: OutputLayout,
    groups: Vec<Group>,
    group_tags: Vec<usize>,
    w2_blocks: usize,
}

/// One group of a [`Shape`]: which parts of the network it owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its blocks in a row of W1, in b1 and in the hidden vector.
    pub hidden: Range<usize>,
    /// Its tags.
    pub tags: Range<usize>,
    /// Its slots; as many as its tags.
    pub slots: Range<usize>,
    /// Its blocks in W2.
    pub w2: Range<usize>,
}

impl Group {
    /// The blocks of its slots, with [`OutputLayout::Panels`].
    #[inline]
    pub(crate) fn slot_blocks(&self) -> Range<usize> {
        self.slots.start / LANES..self.slots.end.div_ceil(LANES)
    }
}

/// A panel of one group: up to [`PANEL`] of its tags. Of groups with [`OutputLayout::Panels`].
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    /// How many tags it has.
    pub(crate) tags: usize,
    /// Its blocks of slots.
    pub(crate) slots: Range<usize>,
    /// Its blocks in W2: one row of `slots.len()` blocks for each hidden unit of the group.
    pub(crate) w2: Range<usize>,
}

impl Shape {
    /// The largest number of keywords, hidden units (over all groups) or tags.
    pub const MAX_DIMENSION: usize = 1 << 31;

    /// The largest number of groups if these have no hidden units.
    pub const MAX_EMPTY_GROUPS: usize = 1 << 16;

    /// The shape with `keywords` keywords, `hidden` units in each group, and `group_tags[g]` tags in group g.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if a dimension exceeds [`Shape::MAX_DIMENSION`] or the weights exceed the address space, or for more than
    /// [`Shape::MAX_EMPTY_GROUPS`] groups without hidden units;
    /// [`Error::Length`] without any group.
    pub fn new(keywords: usize, hidden: usize, group_tags: &[usize], layout: OutputLayout) -> Result<Self> {
        if group_tags.is_empty() {
            return Err(Error::Length { what: "groups", expected: 1, found: 0 });
        }
        let too_large = |what| Error::TooLarge { what, limit: Self::MAX_DIMENSION as u64 };
        let fits = |blocks: Option<usize>| {
            blocks.and_then(|b| b.checked_mul(size_of::<Block>())).is_some_and(|b| b < isize::MAX as usize)
        };
        let hidden_blocks = blocks_for(hidden);
        let row = hidden_blocks.checked_mul(group_tags.len()).filter(|row| *row <= Self::MAX_DIMENSION / LANES);
        if hidden == 0 && group_tags.len() > Self::MAX_EMPTY_GROUPS {
            return Err(Error::TooLarge { what: "groups without hidden units", limit: Self::MAX_EMPTY_GROUPS as u64 });
        }
        if keywords > Self::MAX_DIMENSION {
            return Err(too_large("keywords"));
        }
        if hidden > Self::MAX_DIMENSION || row.is_none() || !fits(row.and_then(|row| keywords.checked_mul(row))) {
            return Err(too_large("hidden units"));
        }
        let mut groups = Vec::with_capacity(group_tags.len());
        let (mut tags, mut slots, mut w2_blocks) = (0usize, 0usize, 0usize);
        for (g, &count) in group_tags.iter().enumerate() {
            if count > Self::MAX_DIMENSION {
                return Err(too_large("tags"));
            }
            let blocks = match layout {
                OutputLayout::TagMajor => count.checked_mul(hidden_blocks),
                OutputLayout::Panels => hidden.checked_mul(blocks_for(count)),
            }
            .and_then(|blocks| blocks.checked_add(w2_blocks))
            .ok_or_else(|| too_large("output weights"))?;
            let padded = match layout {
                OutputLayout::TagMajor => count,
                OutputLayout::Panels => count.next_multiple_of(LANES),
            };
            let end = slots.checked_add(padded).filter(|end| *end <= Self::MAX_DIMENSION).ok_or_else(|| too_large("tags"))?;
            groups.push(Group {
                hidden: g * hidden_blocks..(g + 1) * hidden_blocks,
                tags: tags..tags + count,
                slots: slots..slots + count,
                w2: w2_blocks..blocks,
            });
            // There are no more tags than slots.
            (w2_blocks, tags, slots) = (blocks, tags + count, end);
        }
        if !fits(Some(w2_blocks)) {
            return Err(too_large("output weights"));
        }
        Ok(Shape {
            keywords,
            hidden,
            tags,
            slots: slots.next_multiple_of(LANES),
            layout,
            groups,
            group_tags: group_tags.to_vec(),
            w2_blocks,
        })
    }

    /// Keywords K.
    #[must_use]
    #[inline]
    pub fn keywords(&self) -> usize {
        self.keywords
    }

    /// Hidden units of one group, H.
    #[must_use]
    #[inline]
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// Tags T of all groups.
    #[must_use]
    #[inline]
    pub fn tags(&self) -> usize {
        self.tags
    }

    /// The groups, in order.
    #[must_use]
    #[inline]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// How many tags each group has.
    #[must_use]
    #[inline]
    pub fn group_tags(&self) -> &[usize] {
        &self.group_tags
    }

    /// How W2 is stored.
    #[must_use]
    #[inline]
    pub fn layout(&self) -> OutputLayout {
        self.layout
    }

    /// Blocks of one row of W1, of b1, and of the hidden vector: all groups side by side.
    #[must_use]
    #[inline]
    pub fn row_blocks(&self) -> usize {
        blocks_for(self.hidden) * self.groups.len()
    }

    /// Blocks of a vector with one float a tag slot: b2, logits, scores.
    #[must_use]
    pub fn slot_blocks(&self) -> usize {
        self.slots / LANES
    }

    /// Blocks of W1.
    #[must_use]
    pub fn w1_blocks(&self) -> usize {
        self.keywords * self.row_blocks()
    }

    /// Blocks of W2.
    #[must_use]
    #[inline]
    pub fn w2_blocks(&self) -> usize {
        self.w2_blocks
    }

    /// The slot of the tag at index `tag`, which is below [`Shape::tags`].
    ///
    /// # Panics
    /// With [`OutputLayout::Panels`], without such a tag.
    #[must_use]
    pub fn slot(&self, tag: usize) -> usize {
        match self.layout {
            OutputLayout::TagMajor => tag,
            OutputLayout::Panels => {
                let group = &self.groups[self.groups.partition_point(|g| g.tags.end <= tag)];
                group.slots.start + (tag - group.tags.start)
            }
        }
    }

    /// The number of a hidden unit among all groups' units, given its position in the hidden vector, which is padded group by
    /// group.
    #[cfg(feature = "train")]
    pub(crate) fn unit_number(&self, position: u32) -> u32 {
        let padded = (blocks_for(self.hidden) * LANES).max(1) as u32;
        position / padded * self.hidden as u32 + position % padded
    }

    /// The position of a hidden unit in the hidden vector: the inverse of [`Shape::unit_number`].
    #[cfg(any(test, feature = "train"))]
    pub(crate) fn unit_position(&self, number: usize) -> usize {
        let hidden = self.hidden.max(1);
        number / hidden * blocks_for(self.hidden) * LANES + number % hidden
    }

    /// Where the weight from hidden unit `unit` of `group` to the group's tag number `tag` stands among the floats of W2.
    #[must_use]
    pub fn w2_index(&self, group: &Group, unit: usize, tag: usize) -> usize {
        let within = match self.layout {
            OutputLayout::TagMajor => tag * group.hidden.len() * LANES + unit,
            OutputLayout::Panels => {
                let panel = self.panel(group, tag / PANEL);
                (panel.w2.start - group.w2.start + unit * panel.slots.len()) * LANES + tag % PANEL
            }
        };
        group.w2.start * LANES + within
    }

    /// The panels of a group, in order.
    pub(crate) fn panels(&self, group: &Group) -> impl Iterator<Item = Panel> {
        (0..Self::panel_count(group)).map(move |number| self.panel(group, number))
    }

    /// How many panels a group has.
    pub(crate) fn panel_count(group: &Group) -> usize {
        group.tags.len().div_ceil(PANEL)
    }

    /// Panel `number` of a group: rows of `PANEL / LANES` blocks, or fewer in the last one.
    pub(crate) fn panel(&self, group: &Group, number: usize) -> Panel {
        let first = number * PANEL;
        let tags = group.tags.len().saturating_sub(first).min(PANEL);
        let blocks = first / LANES..first / LANES + blocks_for(tags);
        let (slots, w2) = (group.slots.start / LANES, group.w2.start);
        Panel {
            tags,
            slots: slots + blocks.start..slots + blocks.end,
            w2: w2 + blocks.start * self.hidden..w2 + blocks.end * self.hidden,
        }
    }

    /// Copies `source`, one float a tag, to `slots`, one float a tag slot.
    #[cfg(feature = "train")]
    pub(crate) fn scatter_slots(&self, source: &[f32], slots: &mut [Block]) {
        let floats = crate::aligned::as_floats_mut(slots);
        for group in &self.groups {
            floats[group.slots.clone()].copy_from_slice(&source[group.tags.clone()]);
        }
    }
}

/// How the rows of a sample's keywords become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pooling {
    /// Their sum.
    #[default]
    Sum,
    /// Their sum divided by how many there are; 0 for none.
    Mean,
}

named!(Pooling, "pooling", "sum or mean", { Sum => "sum", Mean => "mean" });

/// A network without its parameters: sizes and nonlinearities.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Sizes and layout.
    pub shape: Shape,
    /// How the rows of a sample's keywords become one.
    pub pooling: Pooling,
    /// The hidden units' nonlinearity.
    pub activation: Activation,
    /// Scores are clamped to `[eps, 1 - eps]`; `0 <= eps < 0.5`, 0 clamps nothing, -0 is refused.
    pub eps: f32,
}

/// The clamp `eps` as a network stores it.
///
/// # Errors
/// [`Error::Config`] unless `0 <= eps < 0.5`, rounded to `f32` too, and for -0: a clamp has one spelling.
pub(crate) fn check_eps(eps: f64) -> Result<f32> {
    let stored = eps as f32;
    if eps < 0.5 && stored < 0.5 && stored.is_sign_positive() {
        Ok(stored)
    } else {
        Err(Error::Config { option: "eps", expected: "a number in [0, 0.5), not -0", found: eps.to_string() })
    }
}

/// A borrowed view of all parameters of a network, as they are trained. Padding is zero.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// First layer: [`Shape::keywords`] rows of [`Shape::row_blocks`] blocks.
    pub w1: &'a [Block],
    /// Hidden bias: [`Shape::row_blocks`] blocks.
    pub b1: &'a [Block],
    /// Output layer: [`Shape::w2_blocks`] blocks, group by group, as [`Shape::layout`] says.
    pub w2: &'a [Block],
    /// Output bias: [`Shape::slot_blocks`] blocks.
    pub b2: &'a [Block],
}

impl Weights<'_> {
    /// Fails unless every part has the length that `shape` gives it.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn check(&self, shape: &Shape) -> Result<()> {
        Error::check_length("W1 blocks", shape.w1_blocks(), self.w1.len())?;
        Error::check_length("b1 blocks", shape.row_blocks(), self.b1.len())?;
        self.check_output(shape)
    }

    #[inline]
    pub(crate) fn check_output(&self, shape: &Shape) -> Result<()> {
        Error::check_length("W2 blocks", shape.w2_blocks(), self.w2.len())?;
        Error::check_length("b2 blocks", shape.slot_blocks(), self.b2.len())
    }
}

/// A borrowed view of all parameters of a network, as a model stores them. Padding is zero.
#[derive(Clone, Copy, Debug)]
pub struct StoredWeights<'a> {
    /// First layer: [`Shape::keywords`] rows of [`Shape::row_blocks`] blocks. Scales are in the form of `b1`.
    pub w1: Matrix<'a>,
    /// Hidden bias: [`Shape::row_blocks`] blocks.
    pub b1: &'a [Block],
    /// Output layer: [`Shape::w2_blocks`] blocks, group by group, as [`Shape::layout`] says. Scales are in the form of `b2`.
    pub w2: Matrix<'a>,
    /// Output bias: [`Shape::slot_blocks`] blocks.
    pub b2: &'a [Block],
}

impl<'a> From<Weights<'a>> for StoredWeights<'a> {
    fn from(weights: Weights<'a>) -> Self {
        let Weights { w1, b1, w2, b2 } = weights;
        StoredWeights { w1: Matrix::F32(w1), b1, w2: Matrix::F32(w2), b2 }
    }
}

impl<'a> StoredWeights<'a> {
    /// Fails unless every part has the length that `shape` gives it.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn check(self, shape: &Shape) -> Result<()> {
        self.w1.check("W1 blocks", shape.w1_blocks(), shape.row_blocks())?;
        Error::check_length("b1 blocks", shape.row_blocks(), self.b1.len())?;
        self.check_output(shape)
    }

    pub(crate) fn check_output(self, shape: &Shape) -> Result<()> {
        self.w2.check("W2 blocks", shape.w2_blocks(), shape.slot_blocks())?;
        Error::check_length("b2 blocks", shape.slot_blocks(), self.b2.len())
    }

    /// The same parameters, if they are all `f32`.
    #[must_use]
    pub fn as_f32(self) -> Option<Weights<'a>> {
        match (self.w1, self.w2) {
            (Matrix::F32(w1), Matrix::F32(w2)) => Some(Weights { w1, b1: self.b1, w2, b2: self.b2 }),
            _ => None,
        }
    }

    /// The weight from a keyword to the hidden unit at `position` of the hidden vector. The weights fit `shape`.
    pub(crate) fn first(self, shape: &Shape, keyword: usize, position: usize) -> f32 {
        self.w1.at(keyword * shape.row_blocks() * LANES + position, position)
    }

    /// The weight from hidden unit `unit` of `group` to the group's tag number `tag`. The weights fit `shape`.
    pub(crate) fn output(self, shape: &Shape, group: &Group, unit: usize, tag: usize) -> f32 {
        self.w2.at(shape.w2_index(group, unit, tag), group.slots.start + tag)
    }

    /// The same parameters as `f32`, copied unless they are `f32`. A weight of type `i8` is rounded once, as the product of integer
    /// and scale. The weights fit `shape`.
    ///
    /// # Errors
    /// [`Error::Length`] unless every part has the length that `shape` gives it.
    pub fn to_f32(self, shape: &Shape) -> Result<FloatWeights<'a>> {
        self.check(shape)?;
        let w1 = match self.w1 {
            Matrix::F32(blocks) => Cow::Borrowed(blocks),
            matrix => {
                let row = shape.row_blocks() * LANES;
                let mut blocks = vec![Block::ZERO; matrix.len()];
                for (index, w) in as_floats_mut(&mut blocks).iter_mut().enumerate() {
                    *w = matrix.at(index, index % row);
                }
                Cow::Owned(blocks)
            }
        };
        let w2 = match self.w2 {
            Matrix::F32(blocks) => Cow::Borrowed(blocks),
            matrix => {
                let mut blocks = vec![Block::ZERO; matrix.len()];
                let floats = as_floats_mut(&mut blocks);
                for group in &shape.groups {
                    for tag in 0..group.tags.len() {
                        for unit in 0..shape.hidden {
                            floats[shape.w2_index(group, unit, tag)] = self.output(shape, group, unit, tag);
                        }
                    }
                }
                Cow::Owned(blocks)
            }
        };
        Ok(FloatWeights { w1, b1: self.b1, w2, b2: self.b2 })
    }
}

/// What [`StoredWeights::to_f32`] makes.
#[derive(Clone, Debug)]
pub struct FloatWeights<'a> {
    w1: Cow<'a, [Block]>,
    b1: &'a [Block],
    w2: Cow<'a, [Block]>,
    b2: &'a [Block],
}

impl FloatWeights<'_> {
    /// A view of them.
    #[must_use]
    pub fn view(&self) -> Weights<'_> {
        Weights { w1: &self.w1, b1: self.b1, w2: &self.w2, b2: self.b2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_output_weight_has_its_own_place() {
        for layout in [OutputLayout::TagMajor, OutputLayout::Panels] {
            for (hidden, group_tags) in [(1, vec![1]), (17, vec![70, 3]), (5, vec![64, 130, 1]), (0, vec![4]), (3, vec![0, 2])]
            {
                let shape = Shape::new(2, hidden, &group_tags, layout).unwrap();
                let mut seen = vec![false; shape.w2_blocks() * LANES];
                let mut slots = std::collections::HashSet::new();
                for group in shape.groups() {
                    for tag in 0..group.tags.len() {
                        assert!(slots.insert(shape.slot(group.tags.start + tag)));
                        for unit in 0..hidden {
                            let index = shape.w2_index(group, unit, tag);
                            assert!(!std::mem::replace(&mut seen[index], true), "{layout:?} {hidden} {group_tags:?}");
                        }
                    }
                }
                assert!(slots.iter().all(|&slot| slot < shape.slot_blocks() * LANES));
            }
        }
    }

    #[test]
    fn absurd_sizes_are_errors() {
        let max = usize::MAX;
        for (k, h, t) in [(max, 1, 1), (1, max, 1), (1, 1, max), (1 << 31, 1 << 31, 1), (1, 1 << 31, 1 << 31)] {
            for layout in [OutputLayout::TagMajor, OutputLayout::Panels] {
                assert!(matches!(Shape::new(k, h, &[t], layout), Err(Error::TooLarge { .. })), "{k} {h} {t}");
            }
        }
        let halves = [Shape::MAX_DIMENSION; 2];
        for layout in [OutputLayout::TagMajor, OutputLayout::Panels] {
            assert!(matches!(Shape::new(0, 0, &halves, layout), Err(Error::TooLarge { what: "tags", .. })));
        }
        assert!(Shape::new(1, max / 2, &[1, 1, 1], OutputLayout::Panels).is_err());
        assert!(Shape::new(0, 0, &[0], OutputLayout::Panels).is_ok());
    }
}
