//! Items on their way from keywords to scores, some at a time.

use super::{activation, embedding_bag};
use crate::aligned::{Block, LANES, as_floats, as_floats_mut};
use crate::error::{Error, Result};
use crate::ids::Sets;
use crate::kernels::{ActiveLists, ActiveUnits, HiddenRows, Kernels, Logits, Panels, Rows, TagMajor};
use crate::network::{Group, Network, OutputLayout, Pooling, Shape, Weights};

/// The buffers of some items.
///
/// Items share what is read once for all of them: rows are asked for ahead of their use, and a panel of output weights stays in
/// the nearest cache while it is multiplied with every item.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    /// Items that there is room for.
    capacity: usize,
    pre_activations: Vec<Block>,
    hidden: Vec<Block>,
    /// Non-zero units of one group, item after item.
    starts: Vec<usize>,
    units: Vec<u32>,
    values: Vec<f32>,
    logits: Vec<Block>,
    row: usize,
    slots: usize,
}

/// Buffers are held to about this size, so that they stay in the second-level cache.
const BUFFERS: usize = 256 << 10;

/// Tables of more bytes than this are read with prefetches.
const PREFETCH_FROM: usize = 1 << 20;

/// The dense output layer is used for items with this share of their units active or more. With half of them active the sparse one
/// took 0.6 of its time, see `benches/record`.
const DENSE_FROM: f64 = 0.8;

impl Forward {
    pub(crate) fn new(shape: &Shape) -> Self {
        let (row, slots) = (shape.row_blocks(), shape.slot_blocks());
        let bytes = (3 * row + slots + 1) * size_of::<Block>();
        // A multiple of the items in every tile of the dense output layer.
        let capacity = (BUFFERS / bytes).clamp(12, 48) / 12 * 12;
        let units = capacity * row * LANES;
        Forward {
            capacity,
            pre_activations: vec![Block::ZERO; capacity * row],
            hidden: vec![Block::ZERO; capacity * row],
            starts: Vec::with_capacity(capacity + 1),
            units: vec![0; units],
            values: vec![0.0; units],
            logits: vec![Block::ZERO; capacity * slots],
            row,
            slots,
        }
    }

    /// Items that can be run at once.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Computes the logits of the items with these keywords.
    ///
    /// # Errors
    /// [`Error::KeywordOutOfRange`]; [`Error::Length`] if this was made for another shape, or has no room for so many items.
    pub(crate) fn run(&mut self, kernels: Kernels, network: &Network, weights: Weights<'_>, keywords: Sets<'_>) -> Result<()> {
        let shape = &network.shape;
        let items = keywords.len();
        if (self.row, self.slots) != (shape.row_blocks(), shape.slot_blocks()) || items > self.capacity {
            return Err(Error::Length {
                what: "scratch (was it made by this tagger?)",
                expected: shape.slot_blocks(),
                found: self.slots,
            });
        }
        weights.check_output(shape)?;
        // Without hidden units no kernel looks a keyword up.
        keywords.check_below(shape.keywords())?;
        let a = &mut self.pre_activations[..items * self.row];
        let prefetch = size_of_val(weights.w1) > PREFETCH_FROM;
        let rows = Rows::new(weights.w1, self.row);
        match network.pooling {
            Pooling::Sum => kernels.sum_bags(rows, weights.b1, keywords, prefetch, a)?,
            Pooling::Mean => {
                // The first hidden vector is not needed yet.
                let nothing = &mut self.hidden[..self.row];
                nothing.fill(Block::ZERO);
                kernels.sum_bags(rows, nothing, keywords, prefetch, a)?;
                for ((ids, _), a) in keywords.iter().zip(a.chunks_exact_mut(self.row.max(1))) {
                    embedding_bag::mean(weights.b1, ids.len(), a);
                }
            }
        }
        activation::forward(kernels, network, a, &mut self.hidden[..items * self.row])?;
        shape.groups().iter().try_for_each(|group| self.output(kernels, shape, weights, group, items))
    }

    /// Computes the logits of one group.
    fn output(&mut self, kernels: Kernels, shape: &Shape, weights: Weights<'_>, group: &Group, items: usize) -> Result<()> {
        let w2 = &weights.w2[group.w2.clone()];
        match shape.layout() {
            OutputLayout::TagMajor => {
                let bias = &as_floats(weights.b2)[group.slots.clone()];
                let z = &mut as_floats_mut(&mut self.logits)[group.slots.start..];
                let hidden = HiddenRows { blocks: &self.hidden, stride: self.row, first: group.hidden.start, items };
                kernels.tag_major(TagMajor { weights: w2, width: group.hidden.len(), bias }, hidden, z, self.slots * LANES)
            }
            OutputLayout::Panels => {
                let slots = group.slot_blocks();
                let panels = Panels { blocks: w2, units: shape.hidden(), width: slots.len() };
                let bias = &weights.b2[slots.clone()];
                let active = self.list_active(kernels, group, items)?;
                let mut z = Logits { blocks: &mut self.logits, stride: self.slots, first: slots.start };
                if items > 1 && active as f64 >= DENSE_FROM * (items * shape.hidden()) as f64 {
                    let hidden = HiddenRows { blocks: &self.hidden, stride: self.row, first: group.hidden.start, items };
                    return kernels.panels_dense(panels, hidden, bias, &mut z);
                }
                let lists = ActiveLists { starts: &self.starts, units: &self.units[..active], values: &self.values[..active] };
                kernels.panels_sparse(panels, lists, bias, &mut z)
            }
        }
    }

    /// Lists the group's units that are not zero, item after item; returns how many there are.
    fn list_active(&mut self, kernels: Kernels, group: &Group, items: usize) -> Result<usize> {
        self.starts.clear();
        self.starts.push(0);
        let mut end = 0;
        for item in 0..items {
            let h = &self.hidden[item * self.row..][group.hidden.clone()];
            let places = end..end + h.len() * LANES;
            let list = ActiveUnits { units: &mut self.units[places.clone()], values: &mut self.values[places] };
            end += kernels.list_active(h, list)?;
            self.starts.push(end);
        }
        Ok(end)
    }

    /// The hidden vectors of the last [`Forward::run`], item after item; `items` is how many it had.
    #[cfg(feature = "train")]
    pub(crate) fn hidden(&self, items: usize) -> &[Block] {
        &self.hidden[..items * self.row]
    }

    /// Copies the logits of the last [`Forward::run`], one float a tag, item after item.
    pub(crate) fn copy_logits(&self, shape: &Shape, logits: &mut [f32]) {
        for (item, logits) in logits.chunks_exact_mut(shape.tags().max(1)).enumerate() {
            shape.gather_slots(&self.logits[item * self.slots..], logits);
        }
    }

    /// Writes the scores of the last [`Forward::run`], one float a tag, item after item.
    pub(crate) fn scores(&self, kernels: Kernels, network: &Network, scores: &mut [f32]) {
        self.copy_logits(&network.shape, scores);
        kernels.sigmoid(network.eps, scores);
    }

    /// Copies the hidden units of the first item of the last [`Forward::run`], without padding.
    pub(crate) fn copy_hidden(&self, shape: &Shape, hidden: &mut [f32]) {
        let floats = as_floats(&self.hidden);
        for (group, hidden) in shape.groups().iter().zip(hidden.chunks_mut(shape.hidden().max(1))) {
            let first = group.hidden.start * LANES;
            hidden.copy_from_slice(&floats[first..first + shape.hidden()]);
        }
    }

    /// The hidden units of the first item of the last [`Forward::run`] that are not zero.
    ///
    /// # Errors
    /// None.
    #[cfg(feature = "train")]
    pub(crate) fn active(&mut self, kernels: Kernels) -> Result<super::Active<'_>> {
        let units = self.row * LANES;
        let list = ActiveUnits { units: &mut self.units[..units], values: &mut self.values[..units] };
        let active = kernels.list_active(&self.hidden[..self.row], list)?;
        Ok(super::Active { units: &self.units[..active], values: &self.values[..active] })
    }
}
