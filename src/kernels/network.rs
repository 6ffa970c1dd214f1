//! From keywords to answers: the embedding bag, the hidden units and the output layer of a [`Network`], checked once for all of them.
//!
//! A request alone is so short that the checks and views of each kernel would cost about what it computes.

use super::activation::clear_padding;
use super::output::{Answer, Answers, HiddenRows, ListBuffers, Panels, TagMajor};
use super::{Kernels, integers};
use crate::aligned::{Block, as_floats, blocks_for};
use crate::error::{Error, Result};
use crate::ids::Sets;
use crate::network::{Network, OutputLayout, Shape, StoredWeights};

/// What lies between keywords and answers.
#[derive(Debug)]
pub(crate) struct ForwardBuffers<'a> {
    /// A hidden vector of [`row_blocks`](Shape::row_blocks) blocks for each item.
    pub(crate) hidden: &'a mut [Block],
    /// Room for every hidden unit of one group of each item, in panels.
    pub(crate) lists: ListBuffers<'a>,
}

impl ForwardBuffers<'_> {
    /// Fails unless they, and the answers, are for `items` items.
    #[inline(always)]
    fn check(&self, shape: &Shape, items: usize, answers: &[f32]) -> Result<()> {
        Error::check_length("hidden units", shape.row_blocks().saturating_mul(items), self.hidden.len())?;
        if shape.layout() == OutputLayout::Panels {
            self.lists.check(items, blocks_for(shape.hidden()))?;
        }
        Error::check_length("scores", shape.tags().saturating_mul(items), answers.len())
    }
}

impl Kernels {
    /// The answers of a whole network for some sets of keywords, item after item; rows are summed, whatever its pooling. The same
    /// bits as [`Kernels::sum_bags`] followed by [`Kernels::tag_major`], or by [`Kernels::panels`] group by group.
    ///
    /// The weights fit the network's shape: whoever made either saw to it, and a request does not look again.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is a hidden vector for each item and an answer for each tag of each, and lists, where units are
    /// listed, have room; the others of [`Kernels::sum_bags`].
    #[inline(always)]
    pub(crate) fn forward(
        self,
        network: &Network,
        weights: &StoredWeights<'_>,
        sets: Sets<'_>,
        buffers: ForwardBuffers<'_>,
        answer: Answer,
        answers: &mut [f32],
    ) -> Result<()> {
        let shape = &network.shape;
        sets.check_below(shape.keywords())?;
        integers::check(&weights.w1, sets)?;
        buffers.check(shape, sets.len(), answers)?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.sum_bags)(&weights.w1, weights.b1, network.activation, sets, &mut *buffers.hidden) };
        clear_padding(network.activation, shape.hidden(), buffers.hidden);
        self.answer(shape, weights, sets.len(), buffers, answer, answers);
        Ok(())
    }

    /// The second half of [`Kernels::forward`]: from the hidden vectors of `items` items on.
    ///
    /// # Errors
    /// [`Error::Length`] unless output weights fit the shape, there is a hidden vector for each item and an answer for each tag of
    /// each, and lists, where units are listed, have room.
    pub(crate) fn output(
        self,
        shape: &Shape,
        weights: &StoredWeights<'_>,
        items: usize,
        buffers: ForwardBuffers<'_>,
        answer: Answer,
        answers: &mut [f32],
    ) -> Result<()> {
        weights.check_output(shape)?;
        buffers.check(shape, items, answers)?;
        self.answer(shape, weights, items, buffers, answer, answers);
        Ok(())
    }

    /// The output layer. Everything fits.
    #[inline(always)]
    fn answer(
        self,
        shape: &Shape,
        weights: &StoredWeights<'_>,
        items: usize,
        buffers: ForwardBuffers<'_>,
        answer: Answer,
        answers: &mut [f32],
    ) {
        let ForwardBuffers { hidden, lists: ListBuffers { starts, units, values } } = buffers;
        let (tags, stride) = (shape.tags(), shape.row_blocks());
        if shape.layout() == OutputLayout::TagMajor {
            let (width, bias) = (blocks_for(shape.hidden()), &as_floats(weights.b2)[..tags]);
            let rows = TagMajor { weights: &weights.w2, width, groups: shape.group_tags(), bias };
            let hidden = HiddenRows { blocks: hidden, stride, first: 0, items };
            let mut answers = Answers { answer, floats: answers, stride: tags, first: 0, tags };
            // SAFETY: the machine has the table's level (invariant of `Kernels`).
            unsafe { (self.table.tag_major)(rows, hidden, &mut answers) };
            return;
        }
        for group in shape.groups() {
            let slots = group.slot_blocks();
            let panels = Panels {
                weights: &weights.w2.slice(group.w2.clone(), slots.clone()),
                units: shape.hidden(),
                width: slots.len(),
            };
            let hidden = HiddenRows { blocks: hidden, stride, first: group.hidden.start, items };
            let lists = ListBuffers { starts, units, values };
            let (first, group_tags) = (group.tags.start, group.tags.len());
            let mut answers = Answers { answer, floats: answers, stride: tags, first, tags: group_tags };
            // SAFETY: the machine has the table's level (invariant of `Kernels`).
            unsafe { (self.table.panels)(panels, hidden, lists, &weights.b2[slots], &mut answers) };
        }
    }
}
