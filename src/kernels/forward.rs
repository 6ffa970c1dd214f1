//! From keywords to answers in one call: the embedding bag, the hidden units and the output layer of [`Network`]s that pool by the sum.
//!
//! A request alone is so short that checks and views of each kernel would cost about what it computes. A level's kernels are called from
//! here, so that each stands in the program once.

use super::output::{Answer, Answers, HiddenRows, ListBuffers, Panels, TagMajor};
use super::{activation, rows, scalar};
use crate::aligned::{Block, as_floats, blocks_for};
use crate::error::{Error, Result};
use crate::ids::Sets;
use crate::network::{Group, Network, OutputLayout, StoredWeights};
use crate::weights::Matrix;

/// Where [`super::Kernels::forward`] keeps what lies between keywords and answers.
#[derive(Debug)]
pub(crate) struct ForwardBuffers<'a> {
    /// A hidden vector of [`row_blocks`](crate::network::Shape::row_blocks) blocks for each item.
    pub(crate) hidden: &'a mut [Block],
    /// Room for every hidden unit of one group of each item.
    pub(crate) lists: ListBuffers<'a>,
}

/// What is run.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) network: &'a Network,
    pub(super) weights: &'a StoredWeights<'a>,
    pub(super) sets: Sets<'a>,
    pub(super) answer: Answer,
}

impl Run<'_> {
    /// Fails unless sets, buffers and answers fit the network.
    #[inline]
    pub(super) fn check(&self, buffers: &ForwardBuffers<'_>, answers: &[f32]) -> Result<()> {
        let Run { network: Network { shape, .. }, weights, sets, .. } = self;
        let items = sets.len();
        sets.check_below(shape.keywords())?;
        rows::check_integers(weights.w1, *sets)?;
        Error::check_length("hidden units", shape.row_blocks().saturating_mul(items), buffers.hidden.len())?;
        buffers.lists.check(items, blocks_for(shape.hidden()))?;
        Error::check_length("scores", shape.tags().saturating_mul(items), answers.len())
    }
}

impl<'a> Run<'a> {
    /// The output layer, tag-major: the arguments of its kernel.
    #[inline(always)]
    pub(super) fn tag_major<'b>(
        &self,
        hidden: &'b [Block],
        answers: &'b mut [f32],
    ) -> (TagMajor<'a>, HiddenRows<'b>, Answers<'b>) {
        let Run { network: Network { shape, .. }, weights, sets, answer } = *self;
        let (tags, width) = (shape.tags(), blocks_for(shape.hidden()));
        let bias = &as_floats(weights.b2)[..tags];
        let rows = TagMajor { weights: weights.w2, width, groups: shape.group_tags(), bias };
        let hidden = HiddenRows { blocks: hidden, stride: shape.row_blocks(), first: 0, items: sets.len() };
        (rows, hidden, Answers { answer, floats: answers, stride: tags, first: 0, tags })
    }

    /// The output layer of a group, in panels: the arguments of its kernel, but for the lists.
    #[inline(always)]
    pub(super) fn panels<'b>(
        &self,
        group: &Group,
        hidden: &'b [Block],
        answers: &'b mut [f32],
    ) -> (Panels<Matrix<'a>>, HiddenRows<'b>, &'a [Block], Answers<'b>) {
        let Run { network: Network { shape, .. }, weights, sets, answer } = *self;
        let slots = group.slot_blocks();
        let panels =
            Panels { weights: weights.w2.slice(group.w2.clone(), slots.clone()), units: shape.hidden(), width: slots.len() };
        let hidden = HiddenRows { blocks: hidden, stride: shape.row_blocks(), first: group.hidden.start, items: sets.len() };
        let (first, tags) = (group.tags.start, group.tags.len());
        (panels, hidden, &weights.b2[slots], Answers { answer, floats: answers, stride: shape.tags(), first, tags })
    }
}

/// All of it, naively.
pub(super) fn naive(run: &Run<'_>, buffers: ForwardBuffers<'_>, answers: &mut [f32]) {
    let Run { network: Network { shape, activation, .. }, weights, sets, .. } = *run;
    let ForwardBuffers { hidden, lists: ListBuffers { starts, units, values } } = buffers;
    scalar::sum_bags(weights.w1, weights.b1, *activation, sets, hidden);
    activation::clear_padding(*activation, shape.hidden(), hidden);
    if shape.layout() == OutputLayout::TagMajor {
        let (rows, hidden, mut answers) = run.tag_major(hidden, answers);
        return scalar::tag_major(rows, hidden, &mut answers);
    }
    for group in shape.groups() {
        let (panels, hidden, bias, mut answers) = run.panels(group, hidden, answers);
        scalar::panels(panels, hidden, ListBuffers { starts, units, values }, bias, &mut answers);
    }
}
