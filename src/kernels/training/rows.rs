//! Weighted sums of table rows, and dot products with table rows.

use crate::aligned::Block;
use crate::ids::Sets;
use crate::kernels::output::PANEL_BLOCKS;
use crate::kernels::rows::{Ahead, RowWeights, Rows, Tile, sum_tiles};
use crate::kernels::simd::Simd;

impl<B> Rows<'_, B> {
    /// How many rows of `width` blocks there are.
    pub(in crate::kernels) fn count(&self, width: usize) -> usize {
        match self.blocks.len().checked_sub(self.first.saturating_add(width)) {
            // Rows without columns are never read.
            _ if width == 0 => usize::MAX,
            None => 0,
            Some(0) => 1,
            Some(rest) => rest.checked_div(self.stride).unwrap_or(usize::MAX - 1) + 1,
        }
    }
}

/// Every weight is this one.
#[derive(Clone, Copy)]
pub(super) struct Same(pub(super) f32);

impl RowWeights for Same {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, _: usize, row: S::F) -> S::F {
        s.mul(s.splat(self.0), row)
    }
}

impl RowWeights for &[f32] {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, n: usize, row: S::F) -> S::F {
        s.mul(s.splat(self[n]), row)
    }
}

/// See [`crate::kernels::Kernels::sum_rows`]. Every id is below `rows.count(out.len())`, and there is a weight for each.
#[inline(always)]
pub(super) fn sum<S: Simd, W: RowWeights>(
    s: S,
    rows: Rows<'_>,
    init: Option<&[Block]>,
    ids: &[u32],
    weights: W,
    out: &mut [Block],
) {
    sum_tiles(s, rows, init, ids, weights, Ahead::NONE, out);
}

/// See [`crate::kernels::Kernels::sum_weighted_bags`]. Every id is below `rows.count` of a sum's blocks, and there is a weight for each.
#[inline(always)]
pub(super) fn sum_weighted_bags<S: Simd>(s: S, rows: Rows<'_>, sets: Sets<'_>, weights: &[f32], out: &mut [Block]) {
    let width = out.len().checked_div(sets.len()).unwrap_or(0);
    for ((places, ids), out) in sets.places().zip(out.chunks_exact_mut(width.max(1))) {
        let mut column = 0;
        while column < width {
            let tile = Tile { rows, init: None, ids, column, ahead: Ahead::NONE };
            let weights = &weights[places.clone()];
            column += match width - column {
                4.. if S::TILE >= 4 => tile.add_to::<S, _, 4>(s, weights, out),
                2.. => tile.add_to::<S, _, 2>(s, weights, out),
                _ => tile.add_to::<S, _, 1>(s, weights, out),
            };
        }
    }
}

/// See [`crate::kernels::Kernels::dot_rows`]. Every id is below `rows.count(x.len())`; there is a sum for each, which may begin here.
#[inline(always)]
pub(super) fn dot<S: Simd>(s: S, rows: Rows<'_>, ids: &[u32], x: &[Block], begins: bool, partial_sums: &mut [Block]) {
    if let Ok(x) = <&[Block; PANEL_BLOCKS]>::try_from(x) {
        // Of a panel `x` stays in registers.
        let mut row = [s.splat(0.0); PANEL_BLOCKS];
        for (x, block) in row.iter_mut().zip(x) {
            *x = s.load(block);
        }
        return dot_with(s, rows, ids, row, begins, partial_sums);
    }
    for (&id, sums) in ids.iter().zip(partial_sums) {
        let start = id as usize * rows.stride + rows.first;
        let mut sum = if begins { s.splat(0.0) } else { s.load(sums) };
        for (a, b) in rows.blocks[start..start + x.len()].iter().zip(x) {
            sum = s.add(sum, s.mul(s.load(a), s.load(b)));
        }
        s.store(sum, sums);
    }
}

#[inline(always)]
fn dot_with<S: Simd, const N: usize>(
    s: S,
    rows: Rows<'_>,
    ids: &[u32],
    x: [S::F; N],
    begins: bool,
    partial_sums: &mut [Block],
) {
    for (&id, sums) in ids.iter().zip(partial_sums) {
        let mut sum = if begins { s.splat(0.0) } else { s.load(sums) };
        for (a, x) in rows.part::<N>(id, 0).iter().zip(x) {
            sum = s.add(sum, s.mul(s.load(a), x));
        }
        s.store(sum, sums);
    }
}
