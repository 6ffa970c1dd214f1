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
        for (n, sum) in sums.iter_mut().enumerate() {
            *sum = s.add_i8(*sum, two_blocks(&row[2 * n..]));
        }
    }
}

/// The first two blocks, or the first and zeros.
#[inline(always)]
fn two_blocks(blocks: &[I8Block]) -> [I8Block; 2] {
    match *blocks {
        [first, second, ..] => [first, second],
        [first] => [first, I8Block::default()],
        [] => [I8Block::default(); 2],
    }
}

/// The largest integer that stands for a hidden unit.
const LARGEST: f32 = i16::MAX as f32;

/// Units whose products add up in 32 bits, whatever they are.
const CHUNK: usize = 512;

const _: () = assert!(CHUNK as i64 * i16::MAX as i64 * -(i8::MIN as i64) <= i32::MAX as i64);

/// How large the unit of an item's integers is, if its largest hidden unit is this.
pub(super) fn step(largest: f32) -> f32 {
    let step = largest / LARGEST;
    if step >= f32::MIN_POSITIVE { step } else { 0.0 }
}

/// How many integers of this `step` there are in 1.
pub(super) fn inverse(step: f32) -> f32 {
    if step > 0.0 { 1.0 / step } else { 0.0 }
}

/// The integer that is nearest to `h · inverse`, at most [`LARGEST`], in the lower half. Of NaN it is some integer.
#[inline(always)]
pub(super) fn rounded(h: f32, inverse: f32) -> u32 {
    (h * inverse + EXPONENT_SHIFT).to_bits() & 0xFFFF
}

/// The larger of both magnitudes; NaN counts for nothing.
#[inline(always)]
fn larger(largest: f32, h: f32) -> f32 {
    if h.abs() > largest { h.abs() } else { largest }
}

/// Pairs of the units of a chunk, and their integers for some items.
struct Pairs<const ITEMS: usize> {
    /// Unit numbers in the chunk.
    units: [[u16; 2]; CHUNK / 2],
    /// The first unit's integer in the lower half, the second one's in the upper half.
    integers: [[u32; CHUNK / 2]; ITEMS],
    count: usize,
}

/// Hidden units that can be rounded.
trait Hidden: Copy {
    fn items(self) -> usize;
    /// The largest magnitude of an item's units.
    fn largest(self, item: usize) -> f32;
    /// Makes the pairs of chunk `chunk`, for the items from `item` on, of which the integers of one are `inverse`.
    fn pair<const ITEMS: usize>(self, item: usize, chunk: usize, inverse: &[f32; ITEMS], pairs: &mut Pairs<ITEMS>);
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
    fn largest(self, item: usize) -> f32 {
        // In lanes, for which there are registers.
        let mut lanes = [0.0; LANES];
        let (blocks, rest) = self.hidden.of_item(item, self.units).as_chunks();
        let mut join = |h: &[f32]| lanes.iter_mut().zip(h).for_each(|(lane, h)| *lane = larger(*lane, *h));
        blocks.iter().for_each(|block: &[f32; LANES]| join(block));
        join(rest);
        lanes.into_iter().fold(0.0, larger)
    }
    #[inline(always)]
    fn pair<const ITEMS: usize>(self, item: usize, chunk: usize, inverse: &[f32; ITEMS], pairs: &mut Pairs<ITEMS>) {
        let chunk = chunk * CHUNK..self.units.min((chunk + 1) * CHUNK);
        pairs.count = chunk.len().div_ceil(2);
        for (first, units) in (0..).step_by(2).zip(&mut pairs.units[..pairs.count]) {
            *units = [first, first + 1];
        }
        if chunk.len() % 2 == 1 {
            // Beside a row that is there, times 0.
            pairs.units[pairs.count - 1][1] -= 1;
        }
        for (i, (integers, inverse)) in pairs.integers.iter_mut().zip(inverse).enumerate() {
            let (whole, rest) = self.hidden.of_item(item + i, self.units)[chunk.clone()].as_chunks();
            for (integers, [first, second]) in integers.iter_mut().zip(whole) {
                *integers = rounded(*first, *inverse) | rounded(*second, *inverse) << 16;
            }
            if let [last] = rest {
                integers[whole.len()] = rounded(*last, *inverse);
            }
        }
    }
}

impl Hidden for ActiveLists<'_> {
    #[inline(always)]
    fn items(self) -> usize {
        self.starts.len() - 1
    }
    #[inline(always)]
    fn largest(self, item: usize) -> f32 {
        self.values[self.starts[item]..self.starts[item + 1]].iter().copied().fold(0.0, larger)
    }
    #[inline(always)]
    fn pair<const ITEMS: usize>(self, item: usize, chunk: usize, inverse: &[f32; ITEMS], pairs: &mut Pairs<ITEMS>) {
        let place = self.starts[item]..self.starts[item + 1];
        let (units, values) = (&self.units[place.clone()], &self.values[place]);
        let below = |unit: usize| units.partition_point(|listed| (*listed as usize) < unit);
        let place = if chunk == 0 && units.last().is_none_or(|last| (*last as usize) < CHUNK) {
            0..units.len()
        } else {
            below(chunk * CHUNK)..below((chunk + 1) * CHUNK)
        };
        let (units, values) = (&units[place.clone()], &values[place]);
        pairs.count = units.len().div_ceil(2);
        let number = |unit: u32| (unit as usize % CHUNK) as u16;
        for ((to, integers), (units, values)) in
            pairs.units.iter_mut().zip(&mut pairs.integers[0]).zip(units.chunks(2).zip(values.chunks(2)))
        {
            *to = [number(units[0]), number(units[units.len() - 1])];
            *integers = rounded(values[0], inverse[0]);
            if let [_, second] = values {
                *integers |= rounded(*second, inverse[0]) << 16;
            }
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
        for item in 0..active.items() {
            self.some_items::<S, _, 1>(s, active, item, answers);
        }
    }

    /// See [`super::Kernels::panels_dense`]. Lengths fit.
    #[inline(always)]
    pub(super) fn dense<S: Simd>(self, s: S, hidden: HiddenRows<'_>, answers: &mut Answers<'_>) {
        let hidden = All { hidden, units: self.panels.units };
        let mut item = 0;
        while item < hidden.items() {
            item += match S::INTEGER_ITEMS {
                6 if hidden.items() - item >= 6 => self.some_items::<S, _, 6>(s, hidden, item, answers),
                2 if hidden.items() - item >= 2 => self.some_items::<S, _, 2>(s, hidden, item, answers),
                _ => self.some_items::<S, _, 1>(s, hidden, item, answers),
            };
        }
    }

    /// Makes the answers of `ITEMS` items from `item` on; returns `ITEMS`.
    #[inline(always)]
    fn some_items<S: Simd, H: Hidden, const ITEMS: usize>(
        self,
        s: S,
        hidden: H,
        item: usize,
        answers: &mut Answers<'_>,
    ) -> usize {
        let steps: [f32; ITEMS] = std::array::from_fn(|i| step(hidden.largest(item + i)));
        let inverse = steps.map(inverse);
        let mut pairs = Pairs { units: [[0; 2]; CHUNK / 2], integers: [[0; CHUNK / 2]; ITEMS], count: 0 };
        let chunks = self.panels.units.div_ceil(CHUNK);
        if chunks == 1 {
            hidden.pair(item, 0, &inverse, &mut pairs);
        }
        for (first, blocks, weights) in self.panels.iter() {
            let mut column = 0;
            while column < blocks {
                let place = Place { weights, stride: blocks, column };
                let sums = if chunks <= 1 {
                    place.sums(s, &pairs).map(|sums| sums.map(|sum| sum.map(|sum| sum as f32)))
                } else {
                    // Rare, so integers are made again for each tile.
                    let mut sums = [[[0_i64; LANES]; 2]; ITEMS];
                    for chunk in 0..chunks {
                        hidden.pair(item, chunk, &inverse, &mut pairs);
                        let place = Place { weights: &weights[chunk * CHUNK * blocks..], ..place };
                        for (sums, more) in sums.as_flattened_mut().iter_mut().zip(place.sums(s, &pairs).as_flattened()) {
                            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += i64::from(*more));
                        }
                    }
                    sums.map(|sums| sums.map(|sum| sum.map(|sum| sum as f32)))
                };
                for (i, (sums, step)) in sums.iter().zip(steps).enumerate() {
                    let step = s.splat(step);
                    let mut z = [s.splat(0.0); 2];
                    let ends = self.scales[first + column..].iter().zip(&self.bias[first + column..]);
                    for ((z, sum), (scale, bias)) in z.iter_mut().zip(sums).zip(ends) {
                        *z = s.add(s.mul(s.load(scale), s.mul(step, s.load(sum))), s.load(bias));
                    }
                    write(s, answers.answer, z, answers.of_item(item + i, first + column));
                }
                column += 2;
            }
        }
        ITEMS
    }
}

/// Two blocks of the tags of a panel, or one.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// The panel, from the first unit of a chunk on.
    weights: &'a [I8Block],
    /// Blocks in a row of the panel.
    stride: usize,
    /// The first of the two.
    column: usize,
}

impl Place<'_> {
    /// `Σ_j q_j·w_jt` of a chunk for each item.
    #[inline(always)]
    fn sums<S: Simd, const ITEMS: usize>(self, s: S, pairs: &Pairs<ITEMS>) -> [[[i32; LANES]; 2]; ITEMS] {
        let mut sums = [s.zero_ints(); ITEMS];
        for (n, [first, second]) in pairs.units[..pairs.count].iter().enumerate() {
            let weights = s.interleave(self.row(*first), self.row(*second));
            for (sums, integers) in sums.iter_mut().zip(&pairs.integers) {
                *sums = s.add_products(*sums, weights, integers[n]);
            }
        }
        let mut ints = [[[0; LANES]; 2]; ITEMS];
        for (ints, sums) in ints.iter_mut().zip(sums) {
            *ints = s.ints(sums);
        }
        ints
    }

    #[inline(always)]
    fn row(&self, unit: u16) -> [I8Block; 2] {
        let row = usize::from(unit) * self.stride;
        two_blocks(&self.weights[row + self.column..row + self.stride])
    }
}

const _: () = assert!(PANEL_BLOCKS.is_multiple_of(2));
