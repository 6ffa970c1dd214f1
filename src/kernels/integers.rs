//! Layers of `i8` weights. Sums of integers are exact, so neither their order nor the width of registers shows in them.
//!
//! The embedding bag adds rows in 16 bits, and for many rows goes on in floats, which hold these sums exactly.
//!
//! In panels the output layer multiplies integers as well: an item's H hidden units become integers of 16 bits,
//!
//! ```text
//! q_j = round(h_j · (1 / step)),   step = max_j |h_j| / min(32767, ⌊(2³¹ − 1) / (128·H)⌋)
//! z_t = scale_t · (step · Σ_j q_j·w_jt) + b_t
//! ```
//!
//! so that sums fit in 32 bits; a sum is rounded to `f32` once. If step is below the smallest normal number all q are 0; if a unit is no
//! finite number, neither are the logits. Two units are multiplied at a time: instructions that multiply 16 bits add
//! the products of neighbours.

use std::mem::MaybeUninit;

use super::magnitude::magnitude;
use super::output::{ActiveLists, Answer, Answers, HiddenRows, PANEL_BLOCKS, Panels, write};
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
pub(super) fn check(table: &Matrix<'_>, sets: Sets<'_>) -> Result<()> {
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
                8.. if S::TILE >= 4 => tile.sum::<S, 8, 4>(s, scales, init, out),
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
                let next = rows.hint(next, column);
                for block in (0..N).step_by(LINE) {
                    s.prefetch(rows.blocks, next.wrapping_add(block), ahead.far);
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
        let row = self.rows.part::<N>(id, self.column);
        for (pair, sum) in sums.iter_mut().enumerate() {
            *sum = s.add_i8(*sum, two_blocks::<N>(row, pair));
        }
    }
}

/// The largest integer that stands for one of so many hidden units: products of so many with any weights add up in 32 bits.
pub(crate) const fn largest_integer(units: usize) -> i16 {
    let fits = i32::MAX as usize / -(i8::MIN as isize) as usize / if units == 0 { 1 } else { units };
    match fits {
        // Of more than 2²⁴ units sums may wrap.
        0 => 1,
        1..0x7FFF => fits as i16,
        _ => i16::MAX,
    }
}

// Where hidden units are removed none of the others is rounded to something else, see `crate::convert`.
const _: () = assert!(largest_integer(512) == i16::MAX && largest_integer(513) < i16::MAX);

/// What an integer of an item is worth, if its largest of so many hidden units is this; NaN if that is NaN.
#[inline]
pub(super) fn step(largest: f32, units: usize) -> f32 {
    let step = largest / f32::from(largest_integer(units));
    if step < f32::MIN_POSITIVE { 0.0 } else { step }
}

/// How many integers of this `step` there are in 1.
#[inline]
pub(super) fn inverse(step: f32) -> f32 {
    if step > 0.0 { 1.0 / step } else { 0.0 }
}

/// The integer that is nearest to `h · inverse`; of NaN any.
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

/// Units that are rounded at a time.
const CHUNK: usize = 512;

/// Hidden units of some items.
#[derive(Clone, Copy)]
enum Hidden<'a> {
    /// So many of each item.
    All(HiddenRows<'a>, usize),
    /// Those that are listed.
    Active(ActiveLists<'a>),
}

impl<'a> Hidden<'a> {
    /// The values of an item.
    #[inline(always)]
    fn values(self, item: usize) -> &'a [f32] {
        match self {
            Hidden::All(rows, units) => rows.of_item(item, units),
            Hidden::Active(lists) => &lists.values[lists.starts[item]..lists.starts[item + 1]],
        }
    }

    /// The numbers of an item's units from the `first` on, as many as there is room for.
    #[inline(always)]
    fn units(self, item: usize, first: usize, units: &mut [u32]) {
        match self {
            Hidden::All(..) => units.iter_mut().zip(first as u32..).for_each(|(unit, number)| *unit = number),
            Hidden::Active(lists) => {
                let first = lists.starts[item] + first;
                units.copy_from_slice(&lists.units[first..first + units.len()]);
            }
        }
    }
}

/// What there is a place for in each pair of a chunk's units. To write all of them for each request would take as long as a short one.
type Pairs<T> = [MaybeUninit<[T; 2]>; CHUNK / 2];

/// Up to `ITEMS` items whose units are multiplied together; in lists there is one.
struct Rounded<'a, const ITEMS: usize> {
    hidden: Hidden<'a>,
    first: usize,
    items: usize,
    /// What an integer of each item is worth.
    steps: [f32; ITEMS],
    /// The pairs of which chunk of units stand in what follows.
    chunk: usize,
    // Invariant: the first `pairs` of the units and of every item's integers are written.
    units: Pairs<u32>,
    integers: [Pairs<i16>; ITEMS],
    pairs: usize,
}

/// Writes `value` everywhere.
#[inline(always)]
fn filled<T: Copy>(places: &mut [MaybeUninit<T>], value: T) -> &mut [T] {
    for place in &mut *places {
        place.write(value);
    }
    // SAFETY: each was written just now.
    unsafe { places.assume_init_mut() }
}

impl<'a, const ITEMS: usize> Rounded<'a, ITEMS> {
    #[inline(always)]
    fn new(hidden: Hidden<'a>) -> Self {
        Rounded {
            hidden,
            first: 0,
            items: 0,
            steps: [0.0; ITEMS],
            chunk: usize::MAX,
            units: [const { MaybeUninit::uninit() }; CHUNK / 2],
            integers: [const { [const { MaybeUninit::uninit() }; CHUNK / 2] }; ITEMS],
            pairs: 0,
        }
    }

    /// Pairs of units of the chunk.
    #[inline(always)]
    fn units(&self) -> &[[u32; 2]] {
        // SAFETY: so many are written (invariant of `Rounded`).
        unsafe { self.units[..self.pairs].assume_init_ref() }
    }

    /// The integers of an item for a pair of them.
    ///
    /// # Safety
    /// `pair` is below the length of [`Rounded::units`].
    #[inline(always)]
    unsafe fn integers(&self, item: usize, pair: usize) -> [i16; 2] {
        // SAFETY: so many are written (invariant of `Rounded`).
        unsafe { self.integers[item][pair].assume_init() }
    }

    /// Goes on to `items` items from `first` on, of `units` units each.
    #[inline(always)]
    fn go_to<S: Simd>(&mut self, s: S, first: usize, items: usize, units: usize) {
        (self.first, self.items, self.chunk) = (first, items, usize::MAX);
        for (i, to) in self.steps.iter_mut().enumerate().take(items) {
            *to = step(magnitude(s, self.hidden.values(first + i)), units);
        }
    }

    /// Chunks of the items' units.
    #[inline(always)]
    fn chunks(&self) -> usize {
        self.hidden.values(self.first).len().div_ceil(CHUNK)
    }

    /// Makes the pairs of a chunk.
    #[inline(always)]
    fn round<S: Simd>(&mut self, s: S, chunk: usize) {
        if self.chunk == chunk {
            return;
        }
        let place = chunk * CHUNK..self.hidden.values(self.first).len().min((chunk + 1) * CHUNK);
        let count = place.len();
        let pairs = count.div_ceil(2);
        let units = filled(&mut self.units[..pairs], [0; 2]).as_flattened_mut();
        self.hidden.units(self.first, place.start, &mut units[..count]);
        if count % 2 == 1 {
            // Beside a row that is there, times 0.
            units[count] = units[count - 1];
        }
        for (i, (integers, step)) in self.integers.iter_mut().zip(self.steps).enumerate() {
            let integers = filled(&mut integers[..pairs], [0; 2]).as_flattened_mut();
            if i < self.items {
                round(s, &self.hidden.values(self.first + i)[place.clone()], inverse(step), &mut integers[..count]);
            }
        }
        (self.chunk, self.pairs) = (chunk, pairs);
    }
}

/// Makes scores of the logits that [`IntegerPanels`] wrote for `items` items, if scores are wanted: by a kernel of its own, which stands in
/// the program once.
#[inline]
pub(super) fn score(weights: &Matrix<'_>, items: usize, answers: &mut Answers<'_>, mut sigmoid: impl FnMut(f32, &mut [f32])) {
    let (Matrix::I8 { .. }, Answer::Score { eps }) = (weights, answers.answer) else { return };
    match answers.of_items(items) {
        Some(floats) => sigmoid(eps, floats),
        None => (0..items).for_each(|item| sigmoid(eps, answers.of_item(item, 0))),
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
    /// The logits of [`super::Kernels::panels_sparse`]. Lengths fit, units are below `panels.units`.
    #[inline(always)]
    pub(super) fn sparse<S: Simd>(self, s: S, active: ActiveLists<'_>, answers: &mut Answers<'_>) {
        let items = active.starts.len().saturating_sub(1);
        self.all::<S, 1>(s, Hidden::Active(active), items, answers);
    }

    /// The logits of [`super::Kernels::panels_dense`]. Lengths fit.
    #[inline(always)]
    pub(super) fn dense<S: Simd>(self, s: S, hidden: HiddenRows<'_>, answers: &mut Answers<'_>) {
        let (items, hidden) = (hidden.items, Hidden::All(hidden, self.panels.units));
        match S::INTEGER_ITEMS {
            6 => self.all::<S, 6>(s, hidden, items, answers),
            2 => self.all::<S, 2>(s, hidden, items, answers),
            _ => self.all::<S, 1>(s, hidden, items, answers),
        }
    }

    /// Makes the logits of `items` items, `ITEMS` at a time.
    #[inline(always)]
    fn all<S: Simd, const ITEMS: usize>(self, s: S, hidden: Hidden<'_>, items: usize, answers: &mut Answers<'_>) {
        let mut rounded = Rounded::<ITEMS>::new(hidden);
        for first in (0..items).step_by(ITEMS) {
            rounded.go_to(s, first, ITEMS.min(items - first), self.panels.units);
            for (first, blocks, weights) in self.panels.iter() {
                let mut column = 0;
                while column < blocks {
                    let tile = Tile { weights, stride: blocks, column };
                    column += match blocks - column {
                        4 if S::WIDE_INTEGERS => self.run::<S, 4, 2, ITEMS>(s, tile, first, &mut rounded, answers),
                        2.. => self.run::<S, 2, 1, ITEMS>(s, tile, first, &mut rounded, answers),
                        _ => self.run::<S, 1, 1, ITEMS>(s, tile, first, &mut rounded, answers),
                    };
                }
            }
        }
    }

    /// Makes the logits of a tile of `N` blocks, which are `PAIRS` pairs, the last one perhaps half; returns `N`. `first` is the first
    /// block of the panel.
    #[inline(always)]
    fn run<S: Simd, const N: usize, const PAIRS: usize, const ITEMS: usize>(
        self,
        s: S,
        tile: Tile<'_>,
        first: usize,
        rounded: &mut Rounded<'_, ITEMS>,
        answers: &mut Answers<'_>,
    ) -> usize {
        let mut sums = [[s.zero_ints(); PAIRS]; ITEMS];
        for chunk in 0..rounded.chunks() {
            rounded.round(s, chunk);
            tile.add::<S, N, PAIRS, ITEMS>(s, rounded, &mut sums);
        }
        let first = first + tile.column;
        let ends = self.scales[first..first + N].iter().zip(&self.bias[first..first + N]);
        for (i, (sums, step)) in sums.into_iter().zip(rounded.steps).enumerate().take(rounded.items) {
            let step = s.splat(step);
            let mut floats = [[s.splat(0.0); 2]; PAIRS];
            for (floats, sums) in floats.iter_mut().zip(sums) {
                *floats = s.ints_as_f32(sums);
            }
            let mut z = [s.splat(0.0); N];
            for ((z, sum), (scale, bias)) in z.iter_mut().zip(floats.as_flattened()).zip(ends.clone()) {
                *z = s.add(s.mul(s.load(scale), s.mul(step, *sum)), s.load(bias));
            }
            write(s, Answer::Logit, z, answers.of_item(rounded.first + i, first));
        }
        N
    }
}

/// Some blocks of the tags of a panel.
#[derive(Clone, Copy)]
struct Tile<'a> {
    /// The panel.
    weights: &'a [I8Block],
    /// Blocks in a row of the panel.
    stride: usize,
    /// The first of them.
    column: usize,
}

impl Tile<'_> {
    /// Adds `Σ_j q_j·w_jt` of a chunk for `N` blocks of each item.
    #[inline(always)]
    fn add<S: Simd, const N: usize, const PAIRS: usize, const ITEMS: usize>(
        self,
        s: S,
        rounded: &Rounded<'_, ITEMS>,
        sums: &mut [[S::Ints; PAIRS]; ITEMS],
    ) {
        for (n, units) in rounded.units().iter().enumerate() {
            let [first, second] = units.map(|unit| unit as usize * self.stride + self.column);
            let (first, second) = (&self.weights[first..first + N], &self.weights[second..second + N]);
            let mut weights = [s.interleave(two_blocks::<N>(first, 0), two_blocks::<N>(second, 0)); PAIRS];
            for (pair, weights) in weights.iter_mut().enumerate().skip(1) {
                *weights = s.interleave(two_blocks::<N>(first, pair), two_blocks::<N>(second, pair));
            }
            for (item, sums) in sums.iter_mut().enumerate() {
                // SAFETY: `n` counts the units.
                let q = unsafe { rounded.integers(item, n) };
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = s.add_products(*sum, weights, q);
                }
            }
        }
    }
}

/// Pair `pair` of `N` blocks: the last one is half where `N` is odd.
#[inline(always)]
fn two_blocks<const N: usize>(blocks: &[I8Block], pair: usize) -> [I8Block; 2] {
    if 2 * pair + 1 < N { [blocks[2 * pair], blocks[2 * pair + 1]] } else { [blocks[2 * pair], I8Block::default()] }
}

const _: () = assert!(PANEL_BLOCKS == 4);
