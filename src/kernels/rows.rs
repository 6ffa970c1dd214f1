//! Weighted sums of table rows: the embedding bag (weights 1), and every gradient that is summed over samples.
//!
//! A tile of columns stays in registers while the ids run in the inner loop; each row's tile is read once.

use super::integers;
use super::simd::{Simd, Stored};
use crate::aligned::{Block, LANES};
use crate::ids::Sets;
use crate::weights::Matrix;

/// A matrix of blocks: row r is `blocks[r * stride + first ..]`, as wide as the other operand of a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a, B = Block> {
    /// The storage.
    pub blocks: &'a [B],
    /// Blocks from one row to the next.
    pub stride: usize,
    /// Blocks to skip at the start of every row.
    pub first: usize,
}

impl<'a, B> Rows<'a, B> {
    /// Rows of `stride` blocks without anything between them.
    #[must_use]
    pub fn new(blocks: &'a [B], stride: usize) -> Self {
        Rows { blocks, stride, first: 0 }
    }

    /// The block where row `id` begins from column `column` on, for a prefetch. Ids are asked for before they are checked: one that
    /// names no row may be anywhere.
    #[inline(always)]
    pub(super) fn hint(&self, id: u32, column: usize) -> usize {
        (id as usize).wrapping_mul(self.stride).wrapping_add(self.first + column)
    }

    /// `N` blocks of row `id` from column `column` on.
    ///
    /// # Panics
    /// If there are no such blocks.
    #[inline(always)]
    pub(super) fn part<const N: usize>(&self, id: u32, column: usize) -> &'a [B] {
        // The same for every row, so that each costs one comparison; a slice costs two.
        let places = (self.blocks.len() + 1).saturating_sub(N);
        let start = id as usize * self.stride + self.first + column;
        assert!(start < places, "a row is in its table");
        // SAFETY: there is a place below `places`, so that is the length plus 1 less N; so start + N is at most the length.
        unsafe { self.blocks.get_unchecked(start..start + N) }
    }
}

/// The weight of each row of a sum.
pub(super) trait RowWeights: Copy {
    fn apply<S: Simd>(self, s: S, n: usize, row: S::F) -> S::F;
}

/// Every weight is 1.
#[derive(Clone, Copy)]
pub(super) struct Ones;

impl RowWeights for Ones {
    #[inline(always)]
    fn apply<S: Simd>(self, _: S, _: usize, row: S::F) -> S::F {
        row
    }
}

/// Rows ahead of the one that is added at which embedding bags ask for a row.
const AHEAD: usize = 16;

/// Tables of more bytes than this are read with prefetches. Below, many rows are near and a core has enough of the others under way by
/// itself: from 2.5 MiB batches read 1.08 times as fast without (AVX-512 on Zen 4; no difference on AVX2).
pub(crate) const PREFETCH_FROM: usize = 1 << 22;

/// Rows of tables of more bytes than this are asked for into the second-level cache: it can wait for more of them at a time than the
/// first. From memory batches then read 1.15 times as fast on Xeon, from 24 MiB 1.5 times on Zen 4; from 2.5 MiB, on Zen 5, the first level was
/// 1.1 times as fast. See `benches/record`.
pub(super) const FAR_FROM: usize = 8 << 20;

/// Embedding bags of a table of any type, see [`super::Kernels::sum_bags`]. Every id has a row of `init.len()` blocks; `out` has as
/// many blocks for each set.
#[inline(always)]
pub(super) fn sum_table_bags<S: Simd>(s: S, table: &Matrix<'_>, init: &[Block], sets: Sets<'_>, out: &mut [Block]) {
    let stride = init.len();
    match table {
        Matrix::F32(blocks) => sum_bags(s, Rows::new(blocks, stride), init, sets, Ones, out),
        Matrix::F16(blocks) => sum_bags(s, Rows::new(blocks, stride), init, sets, Ones, out),
        Matrix::Bf16(blocks) => sum_bags(s, Rows::new(blocks, stride), init, sets, Ones, out),
        Matrix::I8 { weights, scales } => {
            integers::sum_bags(s, Rows::new(weights, stride), scales, init, sets, out);
        }
    }
}

/// Rows to ask for while others are added.
#[derive(Clone, Copy)]
pub(super) struct Ahead<'a> {
    pub(super) ids: &'a [u32],
    /// Whether into the second-level cache.
    pub(super) far: bool,
}

impl<'a> Ahead<'a> {
    pub(super) const NONE: Self = Ahead { ids: &[], far: false };

    /// The ids that come [`AHEAD`] after the first of `rest`, if a table of so many bytes is worth it.
    #[inline(always)]
    pub(super) fn of(rest: &'a [u32], bytes: usize) -> Self {
        if bytes <= PREFETCH_FROM {
            return Self::NONE;
        }
        Ahead { ids: rest.get(AHEAD..).unwrap_or_default(), far: bytes > FAR_FROM }
    }
}

/// Embedding bags of rows with weights. Every id is below `rows.count(init.len())`; `out` has `init.len()` blocks for each set.
#[inline(always)]
pub(super) fn sum_bags<S: Simd, W: RowWeights, B: Stored>(
    s: S,
    rows: Rows<'_, B>,
    init: &[Block],
    sets: Sets<'_>,
    weights: W,
    out: &mut [Block],
) {
    for ((ids, rest), out) in sets.iter().zip(out.chunks_exact_mut(init.len().max(1))) {
        sum_tiles(s, rows, Some(init), ids, weights, Ahead::of(rest, size_of_val(rows.blocks)), out);
    }
}

/// A weighted sum of rows: row `ids[n]` is below `rows.count(out.len())` and has weight n. Asks for row `ahead.ids[n]`, if there is one,
/// when it adds row `ids[n]`.
#[inline(always)]
pub(super) fn sum_tiles<S: Simd, W: RowWeights, B: Stored>(
    s: S,
    rows: Rows<'_, B>,
    init: Option<&[Block]>,
    ids: &[u32],
    weights: W,
    ahead: Ahead<'_>,
    out: &mut [Block],
) {
    let width = out.len();
    let mut column = 0;
    // No closure: it would not be compiled for the level.
    while column < width {
        let tile = Tile { rows, init, ids, column, ahead };
        column += match width - column {
            8.. if S::TILE >= 8 => tile.sum::<S, W, 8>(s, weights, out),
            4.. if S::TILE >= 4 => tile.sum::<S, W, 4>(s, weights, out),
            2.. => tile.sum::<S, W, 2>(s, weights, out),
            _ => tile.sum::<S, W, 1>(s, weights, out),
        };
    }
}

/// Columns of a sum that stay in registers.
pub(super) struct Tile<'a, B> {
    pub(super) rows: Rows<'a, B>,
    pub(super) init: Option<&'a [Block]>,
    pub(super) ids: &'a [u32],
    /// The first of them, in blocks.
    pub(super) column: usize,
    pub(super) ahead: Ahead<'a>,
}

impl<B: Stored> Tile<'_, B> {
    /// Sums `N` blocks; returns `N`.
    #[inline(always)]
    fn sum<S: Simd, W: RowWeights, const N: usize>(&self, s: S, weights: W, out: &mut [Block]) -> usize {
        self.store::<S, N>(s, self.sums(s, weights), out)
    }

    /// Adds sums to `N` blocks of `out`; returns `N`.
    #[cfg(any(test, feature = "train"))]
    #[inline(always)]
    pub(super) fn add_to<S: Simd, W: RowWeights, const N: usize>(&self, s: S, weights: W, out: &mut [Block]) -> usize {
        let sums = Tile { init: Some(&*out), ..*self }.sums(s, weights);
        self.store::<S, N>(s, sums, out)
    }

    #[inline(always)]
    fn store<S: Simd, const N: usize>(&self, s: S, sums: [S::F; N], out: &mut [Block]) -> usize {
        for (sum, block) in sums.iter().zip(&mut out[self.column..self.column + N]) {
            s.store(*sum, block);
        }
        N
    }

    /// The sums of `N` blocks.
    #[inline(always)]
    pub(super) fn sums<S: Simd, W: RowWeights, const N: usize>(&self, s: S, weights: W) -> [S::F; N] {
        let Tile { rows, init, ids, column, ahead } = *self;
        // Adding +0.0 turns -0.0 into +0.0. From then on no term can make a sum -0.0, so skipping zero terms changes no bit.
        let mut sums = [s.splat(0.0); N];
        if let Some(init) = init {
            for (sum, block) in sums.iter_mut().zip(&init[column..column + N]) {
                *sum = s.add(s.load(block), *sum);
            }
        }
        let asked = ids.len().min(ahead.ids.len());
        for (n, (&id, &next)) in ids.iter().zip(ahead.ids).enumerate() {
            let next = rows.hint(next, column);
            for block in 0..N {
                s.prefetch(rows.blocks, next.wrapping_add(block), ahead.far);
            }
            self.add(s, weights, n, id, &mut sums);
        }
        for (n, &id) in ids.iter().enumerate().skip(asked) {
            self.add(s, weights, n, id, &mut sums);
        }
        sums
    }

    /// Adds row `id`, number `n` of the sum.
    #[inline(always)]
    fn add<S: Simd, W: RowWeights, const N: usize>(&self, s: S, weights: W, n: usize, id: u32, sums: &mut [S::F; N]) {
        for (sum, block) in sums.iter_mut().zip(self.rows.part::<N>(id, self.column)) {
            *sum = s.add(*sum, weights.apply(s, n, block.widen(s)));
        }
    }
}

/// The sum of a block's floats in the fixed order that every cross-lane sum uses: halves are added until one float is left.
#[inline(always)]
#[must_use]
pub fn tree_sum(block: &Block) -> f32 {
    let mut sums = block.0;
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
        half /= 2;
    }
    sums[0]
}
