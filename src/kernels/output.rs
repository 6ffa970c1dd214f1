//! The output layer, `z = b2 + Σ_j h_j·W2[j]`, for some items at once.
//!
//! In panels of tags, units are added in ascending order, in one of two forms that give the same bits. The sparse one adds the rows of the units that are not zero. The dense one multiplies the hidden
//! vectors of a few items with a tile of the panel, so that each weight is loaded once for all of them; a zero unit adds ±0, which
//! changes no sum (they start by adding +0.0).
//!
//! Tag-major, a logit is the dot product of a tag's row and the hidden vector: 16 partial sums, then a fixed tree.

use super::simd::Simd;
use crate::aligned::{Block, LANES, as_floats};
use crate::error::{Error, Result};

/// Blocks of tags in a panel.
pub const PANEL_BLOCKS: usize = 4;

/// Output weights of one group of tags. A panel is the weights of [`PANEL_BLOCKS`] blocks of tags, fewer in the last one: a row for
/// each hidden unit. Panels lie end to end.
#[derive(Clone, Copy, Debug)]
pub struct Panels<'a> {
    /// The storage.
    pub blocks: &'a [Block],
    /// Hidden units of the group.
    pub units: usize,
    /// Blocks of tags of the group.
    pub width: usize,
}

impl Panels<'_> {
    /// The panels: their first block of tags, how many they have, and their weights.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, usize, &[Block])> {
        (0..self.width).step_by(PANEL_BLOCKS).map(|first| {
            let blocks = PANEL_BLOCKS.min(self.width - first);
            (first, blocks, &self.blocks[first * self.units..(first + blocks) * self.units])
        })
    }
}

/// The hidden units of some items that are not zero, ascending: those of item i stand at `starts[i]..starts[i + 1]`.
#[derive(Clone, Copy, Debug)]
pub struct ActiveLists<'a> {
    /// Bounds of the items; one more than there are items.
    pub starts: &'a [usize],
    /// Unit numbers in the group.
    pub units: &'a [u32],
    /// Their values.
    pub values: &'a [f32],
}

/// Where the logits of some items go: those of item i for the group's first block of tags are `blocks[i * stride + first]`.
#[derive(Debug)]
pub struct Logits<'a> {
    /// The storage.
    pub blocks: &'a mut [Block],
    /// Blocks from one item to the next.
    pub stride: usize,
    /// Blocks of tags before those of the group.
    pub first: usize,
}

impl Logits<'_> {
    /// Fails unless there is room for `width` blocks of each item.
    pub(super) fn check(&self, items: usize, width: usize) -> Result<()> {
        check_rows("logits", self.blocks.len().saturating_sub(self.first), self.stride, width, items)
    }
}

/// Fails unless `found` has room for `items` rows of `width` that start `stride` apart.
pub(super) fn check_rows(what: &'static str, found: usize, stride: usize, width: usize, items: usize) -> Result<()> {
    let Some(last) = items.checked_sub(1) else { return Ok(()) };
    let expected = last.saturating_mul(stride).saturating_add(width);
    if expected <= found && width <= stride { Ok(()) } else { Err(Error::Length { what, expected, found }) }
}

/// See [`super::Kernels::panels_sparse`]. Lengths fit, units are below `panels.units`.
#[inline(always)]
pub(super) fn sparse<S: Simd>(s: S, panels: Panels<'_>, active: ActiveLists<'_>, bias: &[Block], z: &mut Logits<'_>) {
    for (first, blocks, weights) in panels.iter() {
        for (item, bounds) in active.starts.windows(2).enumerate() {
            let (units, values) = (&active.units[bounds[0]..bounds[1]], &active.values[bounds[0]..bounds[1]]);
            let start = item * z.stride + z.first + first;
            let (bias, z) = (&bias[first..first + blocks], &mut z.blocks[start..start + blocks]);
            match blocks {
                4 if S::WIDE_TILES => sparse_tile::<S, 4>(s, weights, 4, 0, units, values, bias, z),
                4 => {
                    sparse_tile::<S, 2>(s, weights, 4, 0, units, values, bias, z);
                    sparse_tile::<S, 2>(s, weights, 4, 2, units, values, bias, z);
                }
                3 => {
                    sparse_tile::<S, 2>(s, weights, 3, 0, units, values, bias, z);
                    sparse_tile::<S, 1>(s, weights, 3, 2, units, values, bias, z);
                }
                2 => sparse_tile::<S, 2>(s, weights, 2, 0, units, values, bias, z),
                _ => sparse_tile::<S, 1>(s, weights, 1, 0, units, values, bias, z),
            }
        }
    }
}

/// `N` blocks of tags from block `column` on, of rows of `stride` blocks.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the registers of a tile have no structure of their own")]
fn sparse_tile<S: Simd, const N: usize>(
    s: S,
    weights: &[Block],
    stride: usize,
    column: usize,
    units: &[u32],
    values: &[f32],
    bias: &[Block],
    z: &mut [Block],
) {
    let mut sums = [s.splat(0.0); N];
    for (sum, block) in sums.iter_mut().zip(&bias[column..column + N]) {
        *sum = s.add(s.load(block), *sum);
    }
    for (&unit, &value) in units.iter().zip(values) {
        let start = unit as usize * stride + column;
        let value = s.splat(value);
        for (sum, block) in sums.iter_mut().zip(&weights[start..start + N]) {
            *sum = s.add(*sum, s.mul(value, s.load(block)));
        }
    }
    for (sum, block) in sums.iter().zip(&mut z[column..column + N]) {
        s.store(*sum, block);
    }
}

/// The hidden vectors of some items: the group's units of item i start at `blocks[i * stride + first]`.
#[derive(Clone, Copy, Debug)]
pub struct HiddenRows<'a> {
    /// The storage.
    pub blocks: &'a [Block],
    /// Blocks from one item to the next.
    pub stride: usize,
    /// Blocks of units before those of the group.
    pub first: usize,
    /// How many items.
    pub items: usize,
}

impl<'a> HiddenRows<'a> {
    /// Fails unless there are `width` blocks of each item.
    pub(super) fn check(&self, width: usize) -> Result<()> {
        check_rows("hidden units", self.blocks.len().saturating_sub(self.first), self.stride, width, self.items)
    }

    /// The group's `units` units of item `item`.
    fn of_item(&self, item: usize, units: usize) -> &'a [f32] {
        let start = (item * self.stride + self.first) * LANES;
        &as_floats(self.blocks)[start..start + units]
    }
}

/// See [`super::Kernels::panels_dense`]. Lengths fit.
#[inline(always)]
pub(super) fn dense<S: Simd>(s: S, panels: Panels<'_>, hidden: HiddenRows<'_>, bias: &[Block], z: &mut Logits<'_>) {
    for (first, blocks, weights) in panels.iter() {
        let mut item = 0;
        while item < hidden.items {
            // A tile holds as many sums as the register file has room for, beside weights and a hidden unit.
            let items = if hidden.items - item >= S::DENSE_ITEMS { S::DENSE_ITEMS } else { 1 };
            let mut column = 0;
            while column < blocks {
                let tile = DenseTile { weights, stride: blocks, column, units: panels.units, first: first + column, item };
                column += match (items, blocks - column) {
                    (6, 4) => tile.run::<S, 6, 4>(s, hidden, bias, z),
                    (6, 2..) => tile.run::<S, 6, 2>(s, hidden, bias, z),
                    (6, _) => tile.run::<S, 6, 1>(s, hidden, bias, z),
                    (4, _) => tile.run::<S, 4, 1>(s, hidden, bias, z),
                    (2, _) => tile.run::<S, 2, 1>(s, hidden, bias, z),
                    (_, 4) if S::WIDE_TILES => tile.run::<S, 1, 4>(s, hidden, bias, z),
                    (_, 2..) => tile.run::<S, 1, 2>(s, hidden, bias, z),
                    _ => tile.run::<S, 1, 1>(s, hidden, bias, z),
                };
            }
            item += items;
        }
    }
}

/// A part of a panel, for the items from `item` on.
#[derive(Clone, Copy)]
struct DenseTile<'a> {
    weights: &'a [Block],
    /// Blocks in a row of the panel.
    stride: usize,
    /// First block of the tile in the panel.
    column: usize,
    units: usize,
    /// First block of the tile in the group.
    first: usize,
    item: usize,
}

impl DenseTile<'_> {
    /// Makes the logits of `ITEMS` items for `N` blocks of tags; returns `N`.
    #[inline(always)]
    fn run<S: Simd, const ITEMS: usize, const N: usize>(
        self,
        s: S,
        hidden: HiddenRows<'_>,
        bias: &[Block],
        z: &mut Logits<'_>,
    ) -> usize {
        let mut sums = [[s.splat(0.0); N]; ITEMS];
        for sums in &mut sums {
            for (sum, block) in sums.iter_mut().zip(&bias[self.first..self.first + N]) {
                *sum = s.add(s.load(block), *sum);
            }
        }
        let hidden: [&[f32]; ITEMS] = std::array::from_fn(|i| hidden.of_item(self.item + i, self.units));
        for (unit, row) in self.weights.chunks_exact(self.stride).enumerate() {
            let row: [S::F; N] = std::array::from_fn(|n| s.load(&row[self.column + n]));
            for (sums, hidden) in sums.iter_mut().zip(hidden) {
                let h = s.splat(hidden[unit]);
                for (sum, w) in sums.iter_mut().zip(row) {
                    *sum = s.add(*sum, s.mul(h, w));
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            let start = (self.item + i) * z.stride + z.first + self.first;
            for (sum, block) in sums.iter().zip(&mut z.blocks[start..start + N]) {
                s.store(*sum, block);
            }
        }
        N
    }
}

/// Output weights of one group of tags, a row of hidden units for each tag.
#[derive(Clone, Copy, Debug)]
pub struct TagMajor<'a> {
    /// The rows, end to end.
    pub weights: &'a [Block],
    /// Blocks in a row.
    pub width: usize,
    /// One a tag.
    pub bias: &'a [f32],
}

/// See [`super::Kernels::tag_major`]. Lengths fit.
#[inline(always)]
pub(super) fn tag_major<S: Simd>(s: S, tags: TagMajor<'_>, hidden: HiddenRows<'_>, z: &mut [f32], stride: usize) {
    let TagMajor { weights, width, bias } = tags;
    for item in 0..hidden.items {
        let start = item * hidden.stride + hidden.first;
        let h = &hidden.blocks[start..start + width];
        let z = &mut z[item * stride..item * stride + bias.len()];
        for (tag, (z, bias)) in z.iter_mut().zip(bias).enumerate() {
            let mut sums = s.splat(0.0);
            for (w, h) in weights[tag * width..(tag + 1) * width].iter().zip(h) {
                sums = s.add(sums, s.mul(s.load(w), s.load(h)));
            }
            *z = s.sum(sums) + bias;
        }
    }
}
