//! Items on their way from keywords to scores, some at a time.

use super::Net;
use crate::aligned::{Block, LANES, as_floats, as_floats_mut, blocks_for};
use crate::error::{Error, Result};
use crate::ids::Sets;
use crate::kernels::{Answer, ForwardBuffers, Kernels, ListBuffers, clear_padding};
use crate::network::{Activation, Pooling, Shape, StoredWeights};

/// The buffers of some items.
///
/// Items share what is read once for all of them: rows are asked for ahead of their use, and a panel of output weights stays in
/// the nearest cache while it is multiplied with every item.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    /// Items that there is room for.
    capacity: usize,
    /// One row, where it is needed between sum and activation.
    pooled: Vec<Block>,
    hidden: Vec<Block>,
    /// Non-zero units of one group, item after item.
    starts: Vec<usize>,
    units: Vec<u32>,
    values: Vec<f32>,
    row: usize,
    /// Hidden units of one group: with the row it decides how long all buffers are.
    units_of_group: usize,
}

/// Buffers are held to about this size, so that they stay in the second-level cache.
const BUFFERS: usize = 256 << 10;

/// Of items whose buffers are larger there is room for one. Then memory is at most four times that of their hidden units.
const LARGE: usize = 4 << 20;

impl Forward {
    pub(crate) fn new(shape: &Shape) -> Self {
        let row = shape.row_blocks();
        let bytes = (3 * row + shape.slot_blocks() + 1) * size_of::<Block>();
        // A multiple of the items in every tile of the dense output layer.
        let capacity = if bytes > LARGE { 1 } else { (BUFFERS / bytes).clamp(12, 48) / 12 * 12 };
        let of_group = blocks_for(shape.hidden());
        // [`Forward::active`] lists those of all groups of one item.
        let units = (capacity * of_group).max(row) * LANES;
        Forward {
            capacity,
            pooled: vec![Block::ZERO; row],
            hidden: vec![Block::ZERO; capacity * row],
            starts: vec![0; capacity + 1],
            units: vec![0; units],
            values: vec![0.0; units],
            row,
            units_of_group: shape.hidden(),
        }
    }

    /// Items that can be run at once.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Computes the answers for the items with these keywords, one float a tag, item after item.
    ///
    /// # Errors
    /// [`Error::KeywordOutOfRange`]; [`Error::Length`] if this was made for another shape, has no room for so many items, or
    /// `answers` has not one place for each tag of each item.
    #[inline(always)]
    pub(crate) fn run(&mut self, net: &Net<'_>, keywords: Sets<'_>, answer: Answer, answers: &mut [f32]) -> Result<()> {
        let Net { kernels, network, ref weights, .. } = *net;
        if network.pooling == Pooling::Mean {
            self.run_hidden(net, keywords)?;
            return self.output(kernels, &network.shape, weights, keywords.len(), answer, answers);
        }
        self.check(&network.shape, keywords.len())?;
        kernels.forward(network, weights, keywords, self.buffers(keywords.len()), answer, answers)
    }

    /// The same of one item whose rows are summed already, in ascending order of its keywords: from b1 on, or from 0 on where keywords
    /// are pooled by their mean. `keywords` is their number.
    ///
    /// # Errors
    /// [`Error::Length`] if this was made for another shape, the sum is, or `answers` has not one place for each tag.
    pub(crate) fn run_from(
        &mut self,
        net: &Net<'_>,
        sum: &[Block],
        keywords: usize,
        answer: Answer,
        answers: &mut [f32],
    ) -> Result<()> {
        let Net { kernels, network, ref weights, .. } = *net;
        self.check(&network.shape, 1)?;
        Error::check_length("sum of rows", self.row, sum.len())?;
        self.pooled.copy_from_slice(sum);
        if network.pooling == Pooling::Mean {
            mean(weights.b1, keywords, &mut self.pooled);
        }
        let hidden = &mut self.hidden[..self.row];
        kernels.activate(network.activation, &self.pooled, hidden)?;
        clear_padding(network.activation, network.shape.hidden(), hidden);
        self.output(kernels, &network.shape, weights, 1, answer, answers)
    }

    /// From the hidden units of the first `items` items to their answers.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is a place for each answer, or if weights do not fit.
    #[inline]
    pub(crate) fn output(
        &mut self,
        kernels: Kernels,
        shape: &Shape,
        weights: &StoredWeights<'_>,
        items: usize,
        answer: Answer,
        answers: &mut [f32],
    ) -> Result<()> {
        self.check(shape, items)?;
        kernels.output(shape, weights, items, self.buffers(items), answer, answers)
    }

    /// Those that kernels use, for `items` items; there is room for so many.
    #[inline]
    fn buffers(&mut self, items: usize) -> ForwardBuffers<'_> {
        let lists = ListBuffers { starts: &mut self.starts, units: &mut self.units, values: &mut self.values };
        ForwardBuffers { hidden: &mut self.hidden[..items * self.row], lists }
    }

    /// Computes the hidden units of the items with these keywords.
    ///
    /// # Errors
    /// As [`Forward::run`].
    #[inline]
    pub(crate) fn run_hidden(&mut self, net: &Net<'_>, keywords: Sets<'_>) -> Result<()> {
        let Net { kernels, network, ref weights, .. } = *net;
        let shape = &network.shape;
        let items = keywords.len();
        self.check(shape, items)?;
        // Without hidden units no kernel looks a keyword up.
        keywords.check_below(shape.keywords())?;
        let hidden = &mut self.hidden[..items * self.row];
        let table = &weights.w1;
        match network.pooling {
            Pooling::Sum => kernels.sum_bags(table, weights.b1, network.activation, keywords, hidden)?,
            Pooling::Mean => {
                let pooled = &mut self.pooled;
                pooled.fill(Block::ZERO);
                kernels.sum_bags(table, pooled, Activation::Identity, keywords, hidden)?;
                for ((ids, _), h) in keywords.iter().zip(hidden.chunks_exact_mut(self.row.max(1))) {
                    pooled.copy_from_slice(h);
                    mean(weights.b1, ids.len(), pooled);
                    kernels.activate(network.activation, pooled, h)?;
                }
            }
        }
        clear_padding(network.activation, network.shape.hidden(), hidden);
        Ok(())
    }

    /// The hidden vectors of `items` items, item after item, each [`Shape::row_blocks`] long.
    #[cfg(feature = "train")]
    pub(crate) fn hidden_mut(&mut self, items: usize) -> &mut [Block] {
        &mut self.hidden[..items * self.row]
    }

    #[inline]
    fn check(&self, shape: &Shape, items: usize) -> Result<()> {
        if self.row == shape.row_blocks() && self.units_of_group == shape.hidden() && items <= self.capacity {
            return Ok(());
        }
        let what = "scratch (was it made by this tagger?)";
        let sizes = [(shape.row_blocks(), self.row), (shape.hidden(), self.units_of_group), (items, self.capacity)];
        let (expected, found) = sizes.into_iter().find(|(expected, found)| expected != found).unwrap_or_default();
        Err(Error::Length { what, expected, found })
    }

    /// Copies the hidden units of the first item of the last run, without padding.
    pub(crate) fn copy_hidden(&self, shape: &Shape, hidden: &mut [f32]) {
        let floats = as_floats(&self.hidden);
        for (group, hidden) in shape.groups().iter().zip(hidden.chunks_mut(shape.hidden().max(1))) {
            let first = group.hidden.start * LANES;
            hidden.copy_from_slice(&floats[first..first + shape.hidden()]);
        }
    }

    /// The hidden units of an item of the last run that are not zero.
    ///
    /// # Errors
    /// None.
    #[cfg(feature = "train")]
    pub(crate) fn active(&mut self, kernels: Kernels, item: usize) -> Result<super::Active<'_>> {
        let units = self.row * LANES;
        let list = crate::kernels::ActiveUnits { units: &mut self.units[..units], values: &mut self.values[..units] };
        let active = kernels.list_active(&self.hidden[item * self.row..(item + 1) * self.row], list)?;
        Ok(super::Active { units: &self.units[..active], values: &self.values[..active] })
    }
}

/// Turns the sum of a sample's rows, without the bias, into its pre-activations where keywords are pooled by their mean:
/// `sum / keywords + b1`. Without keywords that is `b1`.
pub(super) fn mean(b1: &[Block], keywords: usize, sum: &mut [Block]) {
    let divisor = keywords.max(1) as f32;
    for (a, b) in as_floats_mut(sum).iter_mut().zip(as_floats(b1)) {
        *a = *a / divisor + b;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Network, OutputLayout, Weights};

    /// An item is three rows of hidden units, scores and one block; there are dozens, from one, unless they are large, to four.
    #[test]
    fn buffers_of_small_items_fit_a_cache_and_large_items_are_alone() {
        let capacity = |row: usize, slots: usize| {
            let shape = Shape::new(0, row * LANES, &[slots * LANES], OutputLayout::TagMajor).unwrap();
            Forward::new(&shape).capacity()
        };
        let sizes = [(1, 1), (30, 22), (30, 23), (100, 1), (21_844, 1), (21_845, 1)];
        assert_eq!(sizes.map(|(row, slots)| capacity(row, slots)), [48, 36, 24, 12, 12, 1]);
    }

    #[test]
    fn hidden_vectors_have_no_padding_and_what_does_not_fit_is_an_error() {
        for pooling in [Pooling::Sum, Pooling::Mean] {
            let shape = Shape::new(2, 5, &[3], OutputLayout::TagMajor).unwrap();
            let network = Network { shape, pooling, activation: Activation::Sigmoid, eps: 0.0 };
            let shape = &network.shape;
            let lengths = [shape.w1_blocks(), shape.row_blocks(), shape.w2_blocks(), shape.slot_blocks()];
            let [w1, b1, w2, b2] = &lengths.map(|blocks| vec![Block::ZERO; blocks]);
            let weights = StoredWeights::from(Weights { w1, b1, w2, b2 });
            let net = Net { kernels: Kernels::best(), network: &network, weights, calibration: None };
            let mut forward = Forward::new(shape);
            let without_padding =
                |forward: &Forward| forward.hidden[0].0[..5] == [0.5; 5] && forward.hidden[0].0[5..] == [0.0; 11];

            forward.run_hidden(&net, Sets::new(&[0, 1], &[0, 2]).unwrap()).unwrap();
            assert!(without_padding(&forward));
            forward.hidden.fill(Block([7.0; LANES]));
            forward.run_from(&net, &[Block::ZERO], 2, Answer::Logit, &mut [0.0; 3]).unwrap();
            assert!(without_padding(&forward));

            let fault = |done: Result<()>| done.unwrap_err().to_string();
            let sum = [Block::ZERO; 2];
            assert!(fault(forward.run_from(&net, &sum, 2, Answer::Logit, &mut [0.0; 3])).contains("sum of rows"));
            let mut other = Forward::new(&Shape::new(2, 17, &[3], OutputLayout::TagMajor).unwrap());
            assert!(fault(other.run_from(&net, &sum[1..], 2, Answer::Logit, &mut [0.0; 3])).contains("scratch"));
            // As long in all, but in groups: lists of units are shorter, which only a batch would show.
            let groups = Shape::new(2, 1, &[1, 1], OutputLayout::TagMajor).unwrap();
            let one = Shape::new(2, 17, &[3], OutputLayout::TagMajor).unwrap();
            assert_eq!(groups.row_blocks(), one.row_blocks());
            assert!(Forward::new(&groups).check(&one, 1).unwrap_err().to_string().contains("expected length 17, found 1"));
            assert!(Forward::new(&one).check(&groups, 1).is_err());
            let (items, kernels, weights) = (forward.capacity() + 1, net.kernels, &net.weights);
            let mut answers = vec![0.0; 3 * items];
            assert!(fault(forward.output(kernels, shape, weights, items, Answer::Logit, &mut answers)).contains("scratch"));
            forward.capacity = 1;
            forward.run_from(&net, &sum[1..], 2, Answer::Logit, &mut [0.0; 3]).unwrap();
        }
    }
}
