//! Layers of `i8` weights. Sums of integers are exact, so neither their order nor the width of registers shows in them.
//!
//! The embedding bag adds rows in 16 bits, and for many rows goes on in floats, which hold these sums exactly.
//!
//! In panels the output layer multiplies integers as well: an item's hidden units become integers of 16 bits,
//!
//! ```text
//! q_j = round(h_j / step),   step = max_j |h_j| / 32767        (0 if that is no normal number)
//! z_t = scale_t · (step · Σ_j q_j·w_jt) + b_t
//! ```
//!
//! with the sum rounded to `f32` once. Two units are multiplied at a time: instructions that multiply 16 bits add the products of neighbours.

use std::ops::Range;

use super::output::{ActiveLists, Answers, HiddenRows, PANEL_BLOCKS, Panels, write};
use super::rows::{Ahead, Rows};
use super::simd::{EXPONENT_SHIFT, Simd};
use crate::aligned::{Block, I8Block, LANES};
use crate::error::{Error, Result};
use crate::ids::Sets;
use crate::weights::Matrix;

/// Rows that are added in 16 bits before their sums are added as floats.
const SHORT: usize = 256;

/// Keywords that a set may have: sums of so many integers are exact as floats.
pub(crate) const MAX_INTEGERS: usize = 1 << 17;

// So many integers fit, of any value: a mapped file that nobody has verified may hold −128.
const _: () = assert!(SHORT as i64 * i8::MIN as i64 >= i16::MIN as i64 && SHORT as i64 * i8::MAX as i64 <= i16::MAX as i64);
const _: () = assert!(MAX_INTEGERS as i64 * -(i8::MIN as i64) <= 1 << f32::MANTISSA_DIGITS);

/// Fails if the sums of integers might not fit.
#[inline]
pub(super) fn check(table: Matrix<'_>, sets: Sets<'_>) -> Result<()> {
    if let Matrix::I8 { .. } = table
        && sets.iter().any(|(set, _)| set.len() > MAX_INTEGERS)
    {
        return Err(Error::TooLarge { what: "set of keywords for i8 weights", limit: MAX_INTEGERS as u64 });
    }
    Ok(())
}

/// For each set `out = init + scales · Σ_k rows[k]`: the sum is exact, and then it is multiplied and added. No set has more than
/// [`MAX_INTEGERS`] ids.
#[inline(always)]
pub(super) fn sum_bags<S: Simd>(
    s: S,
    rows: Rows<'_, I8Block>,
    scales: &[Block],
    init: &[Block],
    sets: Sets<'_>,
    out: &mut [Block],
) {
    let width = init.len();
    for ((ids, rest), out) in sets.iter().zip(out.chunks_exact_mut(width.max(1))) {
        let ahead = Ahead::of(rest, size_of_val(rows.blocks));
        let mut column = 0;
        while column < width {
            let tile = BagTile { rows, ids, column, ahead };
            column += match width - column {
                8.. if S::WIDE_TILES => tile.sum::<S, 8, 4>(s, scales, init, out),
                4.. => tile.sum::<S, 4, 2>(s, scales, init, out),
                2.. => tile.sum::<S, 2, 1>(s, scales, init, out),
                _ => tile.sum::<S, 1, 1>(s, scales, init, out),
            };
        }
    }
}

/// Columns of a bag's sum that stay in registers.
struct BagTile<'a> {
    rows: Rows<'a, I8Block>,
    ids: &'a [u32],
    /// The first of them, in blocks.
    column: usize,
    ahead: Ahead<'a>,
}

/// Blocks of integers in a cache line.
const LINE: usize = 4;

impl BagTile<'_> {
    /// Sums `N` blocks, which are `PAIRS` pairs, the last one perhaps half; returns `N`.
    #[inline(always)]
    fn sum<S: Simd, const N: usize, const PAIRS: usize>(
        &self,
        s: S,
        scales: &[Block],
        init: &[Block],
        out: &mut [Block],
    ) -> usize {
        let BagTile { rows, ids, column, ahead } = *self;
        let mut sums = [[s.splat(0.0); 2]; PAIRS];
        for (portion, ids) in ids.chunks(SHORT).enumerate() {
            let next = ahead.ids.get(portion * SHORT..).unwrap_or_default();
            let mut shorts = [s.zero_shorts(); PAIRS];
            let asked = ids.len().min(next.len());
            for (&id, &next) in ids.iter().zip(next) {
                for block in (0..N).step_by(LINE) {
                    s.prefetch(rows.blocks, next as usize * rows.stride + column + block, ahead.far);
                }
                self.add::<S, N, PAIRS>(s, id, &mut shorts);
            }
            for &id in &ids[asked..] {
                self.add::<S, N, PAIRS>(s, id, &mut shorts);
            }
            for (sums, shorts) in sums.iter_mut().zip(shorts) {
                for (sum, short) in sums.iter_mut().zip(s.shorts_as_f32(shorts)) {
                    *sum = s.add(*sum, short);
                }
            }
        }
        for (n, sum) in (column..column + N).zip(sums.as_flattened()) {
            s.store(s.add(s.load(&init[n]), s.mul(s.load(&scales[n]), *sum)), &mut out[n]);
        }
        N
    }

    #[inline(always)]
    fn add<S: Simd, const N: usize, const PAIRS: usize>(&self, s: S, id: u32, sums: &mut [S::Shorts; PAIRS]) {
        let start = id as usize * self.rows.stride + self.column;
        let row = &self.rows.blocks[start..start + N];
        for (pair, sum) in sums.iter_mut().enumerate() {
            *sum = s.add_i8(*sum, two_blocks::<N>(row, pair));
        }
    }
}

/// The largest integer that stands for a hidden unit.
const LARGEST: f32 = i16::MAX as f32;

/// Units whose products add up in 32 bits, whatever they are.
const CHUNK: usize = 512;

const _: () = assert!(CHUNK as i64 * i16::MAX as i64 * -(i8::MIN as i64) <= i32::MAX as i64);

/// How large the unit of an item's integers is, if its largest hidden unit is this.
#[inline]
pub(super) fn step(largest: f32) -> f32 {
    let step = largest / LARGEST;
    if step >= f32::MIN_POSITIVE { step } else { 0.0 }
}

/// How many integers of this `step` there are in 1.
#[inline]
pub(super) fn inverse(step: f32) -> f32 {
    if step > 0.0 { 1.0 / step } else { 0.0 }
}

/// The integer that is nearest to `h · inverse`, which is at most [`LARGEST`]; of NaN it is some integer.
#[inline]
pub(super) fn rounded(h: f32, inverse: f32) -> i16 {
    (h * inverse + EXPONENT_SHIFT).to_bits() as i16
}

/// [`rounded`] of each.
#[inline(always)]
fn round<S: Simd>(s: S, h: &[f32], inverse: f32, integers: &mut [i16]) {
    let (inverse, shift) = (s.splat(inverse), s.splat(EXPONENT_SHIFT));
    let (blocks, rest) = h.as_chunks();
    let (whole, last) = integers.split_at_mut(blocks.len() * LANES);
    for (block, integers) in blocks.iter().zip(whole.as_chunks_mut().0) {
        s.store_low_halves(s.add(s.mul(s.load(block), inverse), shift), integers);
    }
    if !rest.is_empty() {
        let mut integers = [0; LANES];
        s.store_low_halves(s.add(s.mul(s.load_part(rest), inverse), shift), &mut integers);
        last.copy_from_slice(&integers[..rest.len()]);
    }
}

/// The largest magnitude; NaN counts for nothing.
#[inline(always)]
fn largest<S: Simd>(s: S, h: &[f32]) -> f32 {
    let mut lanes = s.splat(0.0);
    let (blocks, rest) = h.as_chunks();
    for block in blocks {
        let size = s.abs(s.load(block));
        lanes = s.select(s.less(lanes, size), size, lanes);
    }
    if !rest.is_empty() {
        let size = s.abs(s.load_part(rest));
        lanes = s.select(s.less(lanes, size), size, lanes);
    }
    let mut sizes = [0.0; LANES];
    s.store(lanes, &mut sizes);
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            sizes[i] = if sizes[i] < sizes[i + half] { sizes[i + half] } else { sizes[i] };
        }
        half /= 2;
    }
    sizes[0]
}

/// Hidden units of some items.
trait Hidden: Copy {
    fn items(self) -> usize;
    /// The values of an item.
    fn values(&self, item: usize) -> &[f32];
    /// Which of them are of units in chunk `chunk`; where several items are multiplied at a time, the same for all.
    fn chunk(self, item: usize, chunk: usize) -> Range<usize>;
    /// The numbers of these units in their chunk.
    fn units(self, item: usize, chunk: Range<usize>, units: &mut [u16]);
}

/// All units of each item.
#[derive(Clone, Copy)]
struct All<'a> {
    hidden: HiddenRows<'a>,
    units: usize,
}

impl Hidden for All<'_> {
    #[inline(always)]
    fn items(self) -> usize {
        self.hidden.items
    }
    #[inline(always)]
    fn values(&self, item: usize) -> &[f32] {
        self.hidden.of_item(item, self.units)
    }
    #[inline(always)]
    fn chunk(self, _: usize, chunk: usize) -> Range<usize> {
        chunk * CHUNK..self.units.min((chunk + 1) * CHUNK)
    }
    #[inline(always)]
    fn units(self, _: usize, _: Range<usize>, units: &mut [u16]) {
        for (number, unit) in (0..).zip(units) {
            *unit = number;
        }
    }
}

impl Hidden for ActiveLists<'_> {
    #[inline(always)]
    fn items(self) -> usize {
        self.starts.len() - 1
    }
    #[inline(always)]
    fn values(&self, item: usize) -> &[f32] {
        &self.values[self.starts[item]..self.starts[item + 1]]
    }
    #[inline(always)]
    fn chunk(self, item: usize, chunk: usize) -> Range<usize> {
        let units = &self.units[self.starts[item]..self.starts[item + 1]];
        let end = |chunk: usize| units.partition_point(|unit| (*unit as usize) < chunk * CHUNK);
        let last = units.last().map_or(0, |unit| *unit as usize / CHUNK);
        match chunk {
            0 if last == 0 => 0..units.len(),
            _ => end(chunk)..end(chunk + 1),
        }
    }
    #[inline(always)]
    fn units(self, item: usize, chunk: Range<usize>, units: &mut [u16]) {
        let first = self.starts[item];
        for (listed, unit) in self.units[first + chunk.start..first + chunk.end].iter().zip(units) {
            *unit = (*listed as usize % CHUNK) as u16;
        }
    }
}

/// Pairs of the units of a chunk, and their integers for some items.
struct Pairs<const ITEMS: usize> {
    /// Unit numbers in the chunk.
    units: [[u16; 2]; CHUNK / 2],
    integers: [[[i16; 2]; CHUNK / 2]; ITEMS],
    count: usize,
}

impl<const ITEMS: usize> Pairs<ITEMS> {
    fn new() -> Self {
        Pairs { units: [[0; 2]; CHUNK / 2], integers: [[[0; 2]; CHUNK / 2]; ITEMS], count: 0 }
    }

    /// Those of chunk `chunk` for the items from `item` on, of which `inverses` integers are one.
    #[inline(always)]
    fn fill<S: Simd, H: Hidden>(&mut self, s: S, hidden: H, item: usize, chunk: usize, inverses: &[f32; ITEMS]) {
        let place = hidden.chunk(item, chunk);
        let count = place.len();
        self.count = count.div_ceil(2);
        let units = self.units.as_flattened_mut();
        hidden.units(item, place.clone(), &mut units[..count]);
        for (i, (integers, inverse)) in self.integers.iter_mut().zip(inverses).enumerate() {
            let integers = integers.as_flattened_mut();
            round(s, &hidden.values(item + i)[place.clone()], *inverse, &mut integers[..count]);
            if count % 2 == 1 {
                integers[count] = 0;
            }
        }
        if count % 2 == 1 {
            // Beside a row that is there, times 0.
            units[count] = units[count - 1];
        }
    }
}

/// Output weights of one group of tags, and what makes logits of their sums.
#[derive(Clone, Copy)]
pub(super) struct IntegerPanels<'a> {
    pub(super) panels: Panels<&'a [I8Block]>,
    pub(super) scales: &'a [Block],
    pub(super) bias: &'a [Block],
}

impl IntegerPanels<'_> {
    /// See [`super::Kernels::panels_sparse`]. Lengths fit, units ascend below `panels.units`.
    #[inline(always)]
    pub(super) fn sparse<S: Simd>(self, s: S, active: ActiveLists<'_>, answers: &mut Answers<'_>) {
        let mut pairs = Pairs::<1>::new();
        for item in 0..active.items() {
            self.some_items(s, active, item, &mut pairs, answers);
        }
    }

    /// See [`super::Kernels::panels_dense`]. Lengths fit.
    #[inline(always)]
    pub(super) fn dense<S: Simd>(self, s: S, hidden: HiddenRows<'_>, answers: &mut Answers<'_>) {
        let hidden = All { hidden, units: self.panels.units };
        let mut item = match S::INTEGER_ITEMS {
            6 => self.items_from::<S, 6>(s, hidden, 0, answers),
            2 => self.items_from::<S, 2>(s, hidden, 0, answers),
            _ => 0,
        };
        if item < hidden.items() {
            item = self.items_from::<S, 1>(s, hidden, item, answers);
        }
        debug_assert_eq!(item, hidden.items());
    }

    /// Makes the answers of items from `item` on, as long as there are `ITEMS`; returns the next item.
    #[inline(always)]
    fn items_from<S: Simd, const ITEMS: usize>(
        self,
        s: S,
        hidden: All<'_>,
        mut item: usize,
        answers: &mut Answers<'_>,
    ) -> usize {
        let mut pairs = Pairs::<ITEMS>::new();
        while hidden.items() - item >= ITEMS {
            self.some_items(s, hidden, item, &mut pairs, answers);
            item += ITEMS;
        }
        item
    }

    /// Makes the answers of `ITEMS` items from `item` on.
    #[inline(always)]
    fn some_items<S: Simd, H: Hidden, const ITEMS: usize>(
        self,
        s: S,
        hidden: H,
        item: usize,
        pairs: &mut Pairs<ITEMS>,
        answers: &mut Answers<'_>,
    ) {
        // No closures: they would not be compiled for the level.
        let (mut steps, mut inverses) = ([0.0; ITEMS], [0.0; ITEMS]);
        for i in 0..ITEMS {
            steps[i] = step(largest(s, hidden.values(item + i)));
            inverses[i] = inverse(steps[i]);
        }
        let chunks = Chunks { hidden, item, steps, inverses, count: self.panels.units.div_ceil(CHUNK) };
        if chunks.count == 1 {
            pairs.fill(s, hidden, item, 0, &chunks.inverses);
        }
        for (first, blocks, weights) in self.panels.iter() {
            let mut column = 0;
            while column < blocks {
                let tile = Tile { weights, stride: blocks, column };
                column += match blocks - column {
                    4 if S::WIDE_INTEGERS => self.run::<S, H, 4, 2, ITEMS>(s, tile, first, &chunks, pairs, answers),
                    2.. => self.run::<S, H, 2, 1, ITEMS>(s, tile, first, &chunks, pairs, answers),
                    _ => self.run::<S, H, 1, 1, ITEMS>(s, tile, first, &chunks, pairs, answers),
                };
            }
        }
    }

    /// Makes the answers of a tile of `N` blocks, which are `PAIRS` pairs, the last one perhaps half; returns `N`. `first` is the first
    /// block of the panel.
    #[inline(always)]
    fn run<S: Simd, H: Hidden, const N: usize, const PAIRS: usize, const ITEMS: usize>(
        self,
        s: S,
        tile: Tile<'_>,
        first: usize,
        chunks: &Chunks<H, ITEMS>,
        pairs: &mut Pairs<ITEMS>,
        answers: &mut Answers<'_>,
    ) -> usize {
        let sums = tile.sums::<S, H, N, PAIRS, ITEMS>(s, chunks, pairs);
        let first = first + tile.column;
        for (i, (sums, step)) in sums.iter().zip(chunks.steps).enumerate() {
            let step = s.splat(step);
            let mut z = [s.splat(0.0); N];
            let ends = self.scales[first..first + N].iter().zip(&self.bias[first..first + N]);
            for ((z, sum), (scale, bias)) in z.iter_mut().zip(sums.as_flattened()).zip(ends) {
                *z = s.add(s.mul(s.load(scale), s.mul(step, *sum)), s.load(bias));
            }
            write(s, answers.answer, z, answers.of_item(chunks.item + i, first));
        }
        N
    }
}

/// The hidden units of some items in chunks.
struct Chunks<H, const ITEMS: usize> {
    hidden: H,
    item: usize,
    /// What an integer is worth, and its inverse.
    steps: [f32; ITEMS],
    inverses: [f32; ITEMS],
    count: usize,
}

/// Some blocks of the tags of a panel.
#[derive(Clone, Copy)]
struct Tile<'a> {
    /// The panel, from the first unit of a chunk on.
    weights: &'a [I8Block],
    /// Blocks in a row of the panel.
    stride: usize,
    /// The first of them.
    column: usize,
}

impl Tile<'_> {
    /// `Σ_j q_j·w_jt` for `N` blocks of each item, rounded. If there is but one chunk, `pairs` are those of it.
    #[inline(always)]
    fn sums<S: Simd, H: Hidden, const N: usize, const PAIRS: usize, const ITEMS: usize>(
        self,
        s: S,
        chunks: &Chunks<H, ITEMS>,
        pairs: &mut Pairs<ITEMS>,
    ) -> [[[S::F; 2]; PAIRS]; ITEMS] {
        let mut floats = [[[s.splat(0.0); 2]; PAIRS]; ITEMS];
        if chunks.count <= 1 {
            let sums = self.chunk_sums::<S, N, PAIRS, ITEMS>(s, pairs);
            for (floats, sums) in floats.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
                *floats = s.ints_as_f32(*sums);
            }
            return floats;
        }
        // Rare, so integers are made again for each tile.
        let mut totals = [[[[0_i64; LANES]; 2]; PAIRS]; ITEMS];
        for chunk in 0..chunks.count {
            pairs.fill(s, chunks.hidden, chunks.item, chunk, &chunks.inverses);
            let tile = Tile { weights: &self.weights[chunk * CHUNK * self.stride..], ..self };
            let sums = tile.chunk_sums::<S, N, PAIRS, ITEMS>(s, pairs);
            for (totals, sums) in totals.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
                for (total, sum) in totals.as_flattened_mut().iter_mut().zip(s.ints(*sums).as_flattened()) {
                    *total += i64::from(*sum);
                }
            }
        }
        for (floats, totals) in
            floats.as_flattened_mut().as_flattened_mut().iter_mut().zip(totals.as_flattened().as_flattened())
        {
            *floats = s.load(&totals.map(|total| total as f32));
        }
        floats
    }

    /// The sums of one chunk.
    #[inline(always)]
    fn chunk_sums<S: Simd, const N: usize, const PAIRS: usize, const ITEMS: usize>(
        self,
        s: S,
        pairs: &Pairs<ITEMS>,
    ) -> [[S::Ints; PAIRS]; ITEMS] {
        let mut sums = [[s.zero_ints(); PAIRS]; ITEMS];
        for (n, units) in pairs.units[..pairs.count].iter().enumerate() {
            let [first, second] = units.map(|unit| usize::from(unit) * self.stride + self.column);
            let (first, second) = (&self.weights[first..first + N], &self.weights[second..second + N]);
            let mut weights = [s.interleave(two_blocks::<N>(first, 0), two_blocks::<N>(second, 0)); PAIRS];
            for (pair, weights) in weights.iter_mut().enumerate().skip(1) {
                *weights = s.interleave(two_blocks::<N>(first, pair), two_blocks::<N>(second, pair));
            }
            for (sums, integers) in sums.iter_mut().zip(&pairs.integers) {
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = s.add_products(*sum, weights, integers[n]);
                }
            }
        }
        sums
    }
}

/// Pair `pair` of `N` blocks: the last one is half where `N` is odd.
#[inline(always)]
fn two_blocks<const N: usize>(blocks: &[I8Block], pair: usize) -> [I8Block; 2] {
    if 2 * pair + 1 < N { [blocks[2 * pair], blocks[2 * pair + 1]] } else { [blocks[2 * pair], I8Block::default()] }
}

const _: () = assert!(PANEL_BLOCKS == 4);
