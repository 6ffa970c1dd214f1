//! The output layer, `z = b2 + Σ_j h_j·W2[j]`, for some items at once, and the scores that are made of it.
//!
//! In panels of tags, units are added in ascending order, in one of two forms that give the same bits. The sparse one adds the
//! rows of the units that are not zero. The dense one multiplies the hidden vectors of a few items with a tile of the panel, so
//! that each weight is loaded once for all of them; a zero unit adds ±0, which changes no sum (they start by adding +0.0).
//!
//! Tag-major, a logit is the dot product of a tag's row and the hidden vector: 16 partial sums, then a fixed tree; weights of type
//! `i8` are floats there, and their scale comes last. In panels they are multiplied as [`super::integers`].

use super::activation::{ActiveUnits, list_active};
use super::integers::IntegerPanels;
use super::sigmoid::{sigmoid, sigmoids};
use super::simd::{Simd, Stored};
use crate::aligned::{Block, LANES, as_floats, blocks_for};
use crate::error::{Error, Result};
use crate::network::PANEL;
use crate::weights::Matrix;

/// Blocks of tags in a panel.
pub const PANEL_BLOCKS: usize = PANEL / LANES;

/// Output weights of one group of tags. A panel is the weights of [`PANEL_BLOCKS`] blocks of tags, fewer in the last one: a row for
/// each hidden unit. Panels lie end to end.
#[derive(Clone, Copy, Debug)]
pub struct Panels<W> {
    /// The storage: a reference to a [`Matrix`], with one scale a tag if it has scales, or blocks.
    pub weights: W,
    /// Hidden units of the group.
    pub units: usize,
    /// Blocks of tags of the group.
    pub width: usize,
}

impl<'a, B> Panels<&'a [B]> {
    /// The panels: their first block of tags, how many they have, and their weights.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, usize, &'a [B])> {
        let Panels { weights, units, width } = *self;
        (0..width).step_by(PANEL_BLOCKS).map(move |first| {
            let blocks = PANEL_BLOCKS.min(width - first);
            (first, blocks, &weights[first * units..(first + blocks) * units])
        })
    }
}

/// Panels of one type of blocks that hold numbers.
#[derive(Clone, Copy)]
struct PanelsOf<'a, B> {
    panels: Panels<&'a [B]>,
    bias: &'a [Block],
}

impl<B> PanelsOf<'_, B> {
    /// What the sums of blocks `first..first + N` of the tags start from.
    #[inline(always)]
    fn start<S: Simd, const N: usize>(&self, s: S, first: usize) -> [S::F; N] {
        let mut sums = [s.splat(0.0); N];
        for (sum, block) in sums.iter_mut().zip(&self.bias[first..first + N]) {
            // Adding +0.0 turns -0.0 into +0.0: from then on a term of a zero unit changes no bit.
            *sum = s.add(s.load(block), *sum);
        }
        sums
    }
}

/// Compiles `$floats` for each type of weights that are numbers, and `$integers`.
macro_rules! for_each_type {
    ($matrix:expr, |$blocks:ident| $floats:expr, |$weights:ident, $scales:ident| $integers:expr) => {
        match $matrix {
            Matrix::F32($blocks) => $floats,
            Matrix::F16($blocks) => $floats,
            Matrix::Bf16($blocks) => $floats,
            Matrix::I8 { weights: $weights, scales: $scales } => $integers,
        }
    };
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

/// What is written for a tag.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// The logit z.
    Logit,
    /// The score clamp(σ(z), eps, 1 − eps).
    Score {
        /// The clamp.
        eps: f32,
    },
}

impl Answer {
    #[inline(always)]
    fn of_logits<S: Simd, const N: usize>(self, s: S, z: [S::F; N]) -> [S::F; N] {
        match self {
            Answer::Logit => z,
            Answer::Score { eps } => sigmoids(s, eps, z),
        }
    }
}

/// Where the answers for some items go: that for tag t of item i is `floats[i * stride + first + t]`.
#[derive(Debug)]
pub struct Answers<'a> {
    /// What they are.
    pub answer: Answer,
    /// The storage.
    pub floats: &'a mut [f32],
    /// Floats from one item to the next.
    pub stride: usize,
    /// Floats before the first tag.
    pub first: usize,
    /// How many tags.
    pub tags: usize,
}

impl Answers<'_> {
    /// Fails unless there is room for `items` items, and no more than `slots` tags.
    pub(super) fn check(&self, items: usize, slots: usize) -> Result<()> {
        if self.tags > slots {
            return Err(Error::Length { what: "tags of a group", expected: slots, found: self.tags });
        }
        check_rows("scores", self.floats.len(), self.first, self.stride, self.tags, items)
    }

    /// Those for item `item` from block `block` of the tags on.
    #[inline(always)]
    pub(super) fn of_item(&mut self, item: usize, block: usize) -> &mut [f32] {
        let start = item * self.stride + self.first;
        &mut self.floats[start..start + self.tags][(block * LANES).min(self.tags)..]
    }

    /// Those for the first `items` items, if they lie end to end: then vectors are full, and several are under way.
    #[inline(always)]
    pub(super) fn of_items(&mut self, items: usize) -> Option<&mut [f32]> {
        if self.stride == self.tags { self.floats.get_mut(self.first..self.first + items * self.tags) } else { None }
    }
}

/// Writes `N` blocks of answers, or as many floats as there are.
#[inline(always)]
pub(super) fn write<S: Simd, const N: usize>(s: S, answer: Answer, z: [S::F; N], floats: &mut [f32]) {
    let answers = answer.of_logits(s, z);
    let (blocks, rest) = floats.as_chunks_mut();
    for (answer, block) in answers.iter().zip(&mut *blocks) {
        s.store(*answer, block);
    }
    if let Some(answer) = answers.get(blocks.len())
        && !rest.is_empty()
    {
        s.store_part(*answer, rest);
    }
}

/// Fails unless `found` has room for `items` rows of `width` that start `stride` apart, from `first` on.
#[inline]
pub(super) fn check_rows(
    what: &'static str,
    found: usize,
    first: usize,
    stride: usize,
    width: usize,
    items: usize,
) -> Result<()> {
    let Some(last) = items.checked_sub(1) else { return Ok(()) };
    let expected = last.saturating_mul(stride).saturating_add(width).saturating_add(first);
    if expected <= found && width <= stride { Ok(()) } else { Err(Error::Length { what, expected, found }) }
}

/// Lists of active units, to be made: with room for the units of all items, and for one more bound than there are items.
#[derive(Debug)]
pub struct ListBuffers<'a> {
    /// Bounds of the items.
    pub starts: &'a mut [usize],
    /// Unit numbers in the group.
    pub units: &'a mut [u32],
    /// Their values.
    pub values: &'a mut [f32],
}

impl ListBuffers<'_> {
    /// Fails unless there is room for the units of `items` items, `width` blocks of them each.
    #[inline]
    pub(super) fn check(&self, items: usize, width: usize) -> Result<()> {
        let (units, bounds) = (items.saturating_mul(width.saturating_mul(LANES)), items.saturating_add(1));
        for (what, expected, found) in [
            ("bounds of lists", bounds, self.starts.len()),
            ("active units", units, self.units.len()),
            ("values of active units", units, self.values.len()),
        ] {
            if found < expected {
                return Err(Error::Length { what, expected, found });
            }
        }
        Ok(())
    }
}

/// Items are multiplied as a whole if this share of their units is active or more. With half of them active the sparse form took
/// 0.6 of the dense one's time, see `benches/record`.
const DENSE_FROM: f64 = 0.8;

/// The same of weights that are integers, where items in a tile share more of the work: with 44 % active units both forms took as long,
/// and what the sparse one takes grows with that share.
const DENSE_INTEGERS_FROM: f64 = 0.5;

/// Items whose active units are counted before those of all others are listed.
const PROBED: usize = 16;

/// Whether `active` of so many units of so many items are the share `from` or more.
pub(crate) fn is_dense(active: usize, items: usize, units: usize, from: f64) -> bool {
    active as f64 >= from * (items * units) as f64
}

/// Lists the active units of the items; `None` if these are so many that the dense form is faster. Lengths fit. The table's kernel calls
/// one form or the other, so that each stands in the program once.
#[inline(always)]
pub(super) fn list<'l, S: Simd>(
    s: S,
    panels: Panels<&Matrix<'_>>,
    hidden: HiddenRows<'_>,
    lists: ListBuffers<'l>,
) -> Option<ActiveLists<'l>> {
    let from = if let Matrix::I8 { .. } = panels.weights { DENSE_INTEGERS_FROM } else { DENSE_FROM };
    let ListBuffers { starts, units, values } = lists;
    let mut end = 0;
    starts[0] = 0;
    for item in 0..hidden.items {
        let first = item * hidden.stride + hidden.first;
        let h = &hidden.blocks[first..first + blocks_for(panels.units)];
        let first = end;
        end += list_active(s, h, ActiveUnits { units: &mut units[end..], values: &mut values[end..] });
        // In a mapped file that nobody has verified padding can be anything: there are no weights for it.
        while end > first && units[end - 1] as usize >= panels.units {
            end -= 1;
        }
        starts[item + 1] = end;
        // The first items tell what the others are like, so that few are listed in vain.
        if item + 1 == PROBED && is_dense(end, PROBED, panels.units, from) {
            return None;
        }
    }
    if hidden.items > 1 && is_dense(end, hidden.items, panels.units, from) {
        return None;
    }
    Some(ActiveLists { starts: &starts[..hidden.items + 1], units: &units[..end], values: &values[..end] })
}

/// See [`super::Kernels::panels_sparse`]. Lengths fit, units are below `panels.units`.
#[inline(always)]
pub(super) fn sparse<S: Simd>(
    s: S,
    panels: Panels<&Matrix<'_>>,
    active: ActiveLists<'_>,
    bias: &[Block],
    answers: &mut Answers<'_>,
) {
    let Panels { weights, units, width } = panels;
    for_each_type!(
        weights,
        |weights| sparse_of(s, PanelsOf { panels: Panels { weights, units, width }, bias }, active, answers),
        |weights, scales| {
            IntegerPanels { panels: Panels { weights, units, width }, scales, bias }.sparse(s, active, answers);
        }
    );
}

#[inline(always)]
fn sparse_of<S: Simd, B: Stored>(s: S, panels: PanelsOf<'_, B>, active: ActiveLists<'_>, answers: &mut Answers<'_>) {
    for (first, blocks, weights) in panels.panels.iter() {
        for (item, bounds) in active.starts.windows(2).enumerate() {
            let (units, values) = (&active.units[bounds[0]..bounds[1]], &active.values[bounds[0]..bounds[1]]);
            let mut column = 0;
            while column < blocks {
                let tile =
                    SparseTile { panels: &panels, weights, stride: blocks, column, first: first + column, units, values };
                let (answer, floats) = (answers.answer, answers.of_item(item, first + column));
                column += match blocks - column {
                    4.. if S::TILE >= 4 => tile.run::<S, 4>(s, answer, floats),
                    2.. => tile.run::<S, 2>(s, answer, floats),
                    _ => tile.run::<S, 1>(s, answer, floats),
                };
            }
        }
    }
}

/// A part of a panel, for one item.
#[derive(Clone, Copy)]
struct SparseTile<'a, B> {
    panels: &'a PanelsOf<'a, B>,
    weights: &'a [B],
    /// Blocks in a row of the panel.
    stride: usize,
    /// First block of the tile in the panel.
    column: usize,
    /// First block of the tile in the group.
    first: usize,
    units: &'a [u32],
    values: &'a [f32],
}

impl<B: Stored> SparseTile<'_, B> {
    /// Makes the answers for `N` blocks of tags; returns `N`.
    #[inline(always)]
    fn run<S: Simd, const N: usize>(self, s: S, answer: Answer, floats: &mut [f32]) -> usize {
        let mut sums: [S::F; N] = self.panels.start(s, self.first);
        for (&unit, &value) in self.units.iter().zip(self.values) {
            let start = unit as usize * self.stride + self.column;
            let value = s.splat(value);
            for (sum, block) in sums.iter_mut().zip(&self.weights[start..start + N]) {
                *sum = s.add(*sum, s.mul(value, block.widen(s)));
            }
        }
        write(s, answer, sums, floats);
        N
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
        check_rows("hidden units", self.blocks.len(), self.first, self.stride, width, self.items)
    }

    /// The group's `units` units of item `item`.
    #[inline(always)]
    pub(super) fn of_item(&self, item: usize, units: usize) -> &'a [f32] {
        let start = (item * self.stride + self.first) * LANES;
        &as_floats(self.blocks)[start..start + units]
    }
}

/// See [`super::Kernels::panels_dense`]. Lengths fit.
#[inline(always)]
pub(super) fn dense<S: Simd>(
    s: S,
    panels: Panels<&Matrix<'_>>,
    hidden: HiddenRows<'_>,
    bias: &[Block],
    answers: &mut Answers<'_>,
) {
    let Panels { weights, units, width } = panels;
    for_each_type!(
        weights,
        |weights| dense_of(s, PanelsOf { panels: Panels { weights, units, width }, bias }, hidden, answers),
        |weights, scales| {
            IntegerPanels { panels: Panels { weights, units, width }, scales, bias }.dense(s, hidden, answers);
        }
    );
}

#[inline(always)]
fn dense_of<S: Simd, B: Stored>(s: S, panels: PanelsOf<'_, B>, hidden: HiddenRows<'_>, answers: &mut Answers<'_>) {
    for (first, blocks, weights) in panels.panels.iter() {
        let mut item = 0;
        while item < hidden.items {
            // A tile holds as many sums as the register file has room for, beside weights and a hidden unit.
            let items = if hidden.items - item >= S::DENSE_ITEMS { S::DENSE_ITEMS } else { 1 };
            let mut column = 0;
            while column < blocks {
                let tile = DenseTile { panels: &panels, weights, stride: blocks, column, first: first + column, item };
                column += match (items, blocks - column) {
                    (6, 4) => tile.run::<S, 6, 4>(s, hidden, answers),
                    (6, 2..) => tile.run::<S, 6, 2>(s, hidden, answers),
                    (6, _) => tile.run::<S, 6, 1>(s, hidden, answers),
                    (4, _) => tile.run::<S, 4, 1>(s, hidden, answers),
                    (2, _) => tile.run::<S, 2, 1>(s, hidden, answers),
                    (_, 4) if S::TILE >= 4 => tile.run::<S, 1, 4>(s, hidden, answers),
                    (_, 2..) => tile.run::<S, 1, 2>(s, hidden, answers),
                    _ => tile.run::<S, 1, 1>(s, hidden, answers),
                };
            }
            item += items;
        }
    }
}

/// A part of a panel, for the items from `item` on.
#[derive(Clone, Copy)]
struct DenseTile<'a, B> {
    panels: &'a PanelsOf<'a, B>,
    weights: &'a [B],
    /// Blocks in a row of the panel.
    stride: usize,
    /// First block of the tile in the panel.
    column: usize,
    /// First block of the tile in the group.
    first: usize,
    item: usize,
}

impl<B: Stored> DenseTile<'_, B> {
    /// Makes the answers for `ITEMS` items and `N` blocks of tags; returns `N`.
    #[inline(always)]
    fn run<S: Simd, const ITEMS: usize, const N: usize>(
        self,
        s: S,
        hidden: HiddenRows<'_>,
        answers: &mut Answers<'_>,
    ) -> usize {
        let Panels { units, .. } = self.panels.panels;
        let start: [S::F; N] = self.panels.start(s, self.first);
        let mut sums = [start; ITEMS];
        let hidden: [&[f32]; ITEMS] = std::array::from_fn(|i| hidden.of_item(self.item + i, units));
        let mut row = [s.splat(0.0); N];
        for (unit, blocks) in self.weights.chunks_exact(self.stride).enumerate() {
            for (w, block) in row.iter_mut().zip(&blocks[self.column..self.column + N]) {
                *w = block.widen(s);
            }
            for (sums, hidden) in sums.iter_mut().zip(hidden) {
                let h = s.splat(hidden[unit]);
                for (sum, w) in sums.iter_mut().zip(row) {
                    *sum = s.add(*sum, s.mul(h, w));
                }
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            write(s, answers.answer, sums, answers.of_item(self.item + i, self.first));
        }
        N
    }
}

/// Output weights of a whole network, a row of hidden units for each tag, group after group.
#[derive(Clone, Copy, Debug)]
pub struct TagMajor<'a> {
    /// The rows, end to end; scales are one a tag.
    pub weights: &'a Matrix<'a>,
    /// Blocks in a row, and in a group's hidden vector.
    pub width: usize,
    /// Tags of each group.
    pub groups: &'a [usize],
    /// One a tag.
    pub bias: &'a [f32],
}

/// 0, 1, ..., 15.
const LANE_NUMBERS: [f32; LANES] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];

/// See [`super::Kernels::tag_major`]. Lengths fit.
#[inline(always)]
pub(super) fn tag_major<S: Simd>(s: S, tags: TagMajor<'_>, hidden: HiddenRows<'_>, answers: &mut Answers<'_>) {
    // Fours are for the types that are served most: each is a good part of the program's size.
    match tags.weights {
        Matrix::F32(weights) => tag_major_of::<S, _, true>(s, weights, None, tags, hidden, answers),
        Matrix::F16(weights) => tag_major_of::<S, _, false>(s, weights, None, tags, hidden, answers),
        Matrix::Bf16(weights) => tag_major_of::<S, _, false>(s, weights, None, tags, hidden, answers),
        Matrix::I8 { weights, scales } => {
            tag_major_of::<S, _, true>(s, weights, Some(as_floats(scales)), tags, hidden, answers);
        }
    }
}

#[inline(always)]
fn tag_major_of<S: Simd, B: Stored, const FOURS: bool>(
    s: S,
    weights: &[B],
    scales: Option<&[f32]>,
    tags: TagMajor<'_>,
    hidden: HiddenRows<'_>,
    answers: &mut Answers<'_>,
) {
    // Scored together afterwards.
    let together = hidden.items > 1 && answers.of_items(hidden.items).is_some();
    let answer = if together { Answer::Logit } else { answers.answer };
    let mut item = 0;
    while item < hidden.items {
        let tile = TagMajorTile { weights, scales, tags, item };
        item += match (answer, hidden.items - item) {
            (Answer::Logit, 4..) if FOURS && S::SUMS_FOUR => tile.run::<S, 4>(s, Answer::Logit, hidden, answers),
            _ => tile.run::<S, 1>(s, answer, hidden, answers),
        };
    }
    if together
        && let Answer::Score { eps } = answers.answer
        && let Some(floats) = answers.of_items(hidden.items)
    {
        sigmoid(s, eps, floats);
    }
}

/// All tags, for the items from `item` on.
#[derive(Clone, Copy)]
struct TagMajorTile<'a, B> {
    weights: &'a [B],
    scales: Option<&'a [f32]>,
    tags: TagMajor<'a>,
    item: usize,
}

impl<B: Stored> TagMajorTile<'_, B> {
    /// Makes the answers for `ITEMS` items; returns `ITEMS`.
    #[inline(always)]
    fn run<S: Simd, const ITEMS: usize>(
        self,
        s: S,
        answer: Answer,
        hidden: HiddenRows<'_>,
        answers: &mut Answers<'_>,
    ) -> usize {
        let TagMajor { width, groups, bias, .. } = self.tags;
        let lanes = s.load(&LANE_NUMBERS);
        let mut units: [&[Block]; ITEMS] =
            std::array::from_fn(|i| &hidden.blocks[(self.item + i) * hidden.stride + hidden.first..]);
        let mut groups = groups.iter();
        let mut left = groups.next().copied().unwrap_or(0);
        let mut rows = self.weights;
        for (block, bias) in bias.chunks(LANES).enumerate() {
            // Logits are put together in a register: from memory they would come back in pieces that no load waits for gladly.
            let mut z = [s.splat(0.0); ITEMS];
            for (lane, bias) in bias.iter().enumerate() {
                while left == 0 {
                    for units in &mut units {
                        *units = &units[width..];
                    }
                    left = groups.next().copied().unwrap_or(usize::MAX);
                }
                left -= 1;
                let row;
                (row, rows) = rows.split_at(width);
                let h = units.map(|units| &units[..width]);
                let mut sums = [s.splat(0.0); ITEMS];
                for (column, w) in row.iter().enumerate() {
                    let w = w.widen(s);
                    for (sum, h) in sums.iter_mut().zip(h) {
                        *sum = s.add(*sum, s.mul(w, s.load(&h[column])));
                    }
                }
                let is_lane = s.equal(lanes, s.splat(lane as f32));
                for (z, sum) in z.iter_mut().zip(s.sums(sums)) {
                    let sum = self.scales.map_or(sum, |scales| scales[block * LANES + lane] * sum);
                    *z = s.select(is_lane, s.splat(sum + bias), *z);
                }
            }
            for (i, z) in z.into_iter().enumerate() {
                write(s, answer, [z], answers.of_item(self.item + i, block));
            }
        }
        ITEMS
    }
}
