//! From keywords to answers in one call: the embedding bag, the hidden units and the output layer of [`Network`]s that pool by the sum.
//!
//! It runs the bodies of the kernels for each step. A request alone is so short that three calls, each with its checks and
//! views, would cost about what they compute.

use super::output::{Answer, Answers, HiddenRows, ListBuffers, Panels, TagMajor};
use super::simd::Simd;
use super::{activation, output, rows, scalar};
use crate::activation::Activation;
use crate::aligned::{Block, as_floats, blocks_for};
use crate::error::{Error, Result};
use crate::ids::Sets;
use crate::network::{Network, OutputLayout, StoredWeights};
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

/// The steps of a level.
pub(super) trait Steps: Copy {
    fn sum_bags(self, table: Matrix<'_>, init: &[Block], act: Activation, sets: Sets<'_>, out: &mut [Block]);
    fn tag_major(self, tags: TagMajor<'_>, hidden: HiddenRows<'_>, answers: &mut Answers<'_>);
    fn panels(
        self,
        w: Panels<Matrix<'_>>,
        h: HiddenRows<'_>,
        lists: ListBuffers<'_>,
        bias: &[Block],
        answers: &mut Answers<'_>,
    );
}

impl<S: Simd> Steps for S {
    #[inline(always)]
    fn sum_bags(self, table: Matrix<'_>, init: &[Block], act: Activation, sets: Sets<'_>, out: &mut [Block]) {
        rows::sum_table_bags(self, table, init, sets, out);
        activation::activate_in_place(self, act, out);
    }
    #[inline(always)]
    fn tag_major(self, tags: TagMajor<'_>, hidden: HiddenRows<'_>, answers: &mut Answers<'_>) {
        output::tag_major(self, tags, hidden, answers);
    }
    #[inline(always)]
    fn panels(
        self,
        w: Panels<Matrix<'_>>,
        h: HiddenRows<'_>,
        lists: ListBuffers<'_>,
        bias: &[Block],
        answers: &mut Answers<'_>,
    ) {
        output::panels(self, w, h, lists, bias, answers);
    }
}

/// The naive text.
#[derive(Clone, Copy)]
pub(super) struct Naive;

impl Steps for Naive {
    fn sum_bags(self, table: Matrix<'_>, init: &[Block], act: Activation, sets: Sets<'_>, out: &mut [Block]) {
        scalar::sum_bags(table, init, act, sets, out);
    }
    fn tag_major(self, tags: TagMajor<'_>, hidden: HiddenRows<'_>, answers: &mut Answers<'_>) {
        scalar::tag_major(tags, hidden, answers);
    }
    fn panels(
        self,
        w: Panels<Matrix<'_>>,
        h: HiddenRows<'_>,
        lists: ListBuffers<'_>,
        bias: &[Block],
        answers: &mut Answers<'_>,
    ) {
        scalar::panels(w, h, lists, bias, answers);
    }
}

/// See [`super::Kernels::forward`]. Everything fits.
#[inline(always)]
pub(super) fn forward<T: Steps>(steps: T, run: &Run<'_>, buffers: ForwardBuffers<'_>, answers: &mut [f32]) {
    let Run { network, weights, sets, answer } = *run;
    let ForwardBuffers { hidden, lists: ListBuffers { starts, units, values } } = buffers;
    let (shape, items) = (&network.shape, sets.len());
    steps.sum_bags(weights.w1, weights.b1, network.activation, sets, hidden);
    activation::clear_padding(network.activation, shape.hidden(), hidden);
    let (tags, stride) = (shape.tags(), shape.row_blocks());
    match shape.layout() {
        OutputLayout::TagMajor => {
            let (width, bias) = (blocks_for(shape.hidden()), &as_floats(weights.b2)[..tags]);
            let rows = TagMajor { weights: weights.w2, width, groups: shape.group_tags(), bias };
            let hidden = HiddenRows { blocks: hidden, stride, first: 0, items };
            steps.tag_major(rows, hidden, &mut Answers { answer, floats: answers, stride: tags, first: 0, tags });
        }
        OutputLayout::Panels => {
            for group in shape.groups() {
                let slots = group.slot_blocks();
                let panels = Panels {
                    weights: weights.w2.slice(group.w2.clone(), slots.clone()),
                    units: shape.hidden(),
                    width: slots.len(),
                };
                let hidden = HiddenRows { blocks: hidden, stride, first: group.hidden.start, items };
                let (first, tags) = (group.tags.start, group.tags.len());
                let lists = ListBuffers { starts, units, values };
                let mut answers = Answers { answer, floats: answers, stride: shape.tags(), first, tags };
                steps.panels(panels, hidden, lists, &weights.b2[slots], &mut answers);
            }
        }
    }
}
