//! Products of small dense matrices, in tiles that stay in registers: what a mini-batch makes of the output layer.
//!
//! In both forms the sums run in ascending order of what is summed over, so they are the same bits as sums that leave out zeros (see
//! [`crate::kernels::Kernels::weighted_sum_rows`]) or take one item at a time.

use crate::aligned::{Block, LANES, as_floats_mut};
use crate::error::{Error, Result};
use crate::kernels::output::{ActiveLists, HiddenRows, Panels, check_rows};
use crate::kernels::rows::Rows;
use crate::kernels::simd::Simd;

use super::rows::dot;

/// Where rows of results go: row r is `blocks[r * stride + first ..]`.
#[derive(Debug)]
pub struct RowsMut<'a> {
    /// The storage.
    pub blocks: &'a mut [Block],
    /// Blocks from one row to the next.
    pub stride: usize,
    /// Blocks to skip at the start of every row.
    pub first: usize,
}

impl RowsMut<'_> {
    /// Fails unless there is room for `width` blocks of each of `count` rows.
    pub(super) fn check(&self, what: &'static str, count: usize, width: usize) -> Result<()> {
        check_rows(what, self.blocks.len(), self.first, self.stride, width, count)
    }
}

/// A matrix of factors times a matrix of rows, see [`crate::kernels::Kernels::product`].
#[derive(Clone, Copy, Debug)]
pub struct Product<'a> {
    /// Rows of the result.
    pub items: usize,
    /// Terms of each sum.
    pub terms: usize,
    /// The factor of item m on row k is `factors[m * item_stride + k * term_stride]`.
    pub factors: &'a [f32],
    /// Floats from an item's factors to the next item's.
    pub item_stride: usize,
    /// Floats from a term's factors to the next term's.
    pub term_stride: usize,
    /// The rows, one a term.
    pub rows: Rows<'a>,
    /// Blocks in a row.
    pub width: usize,
}

impl Product<'_> {
    /// Fails unless there are all factors and rows.
    pub(super) fn check(&self) -> Result<()> {
        let (Some(item), Some(term)) = (self.items.checked_sub(1), self.terms.checked_sub(1)) else { return Ok(()) };
        let last = item.saturating_mul(self.item_stride).saturating_add(term.saturating_mul(self.term_stride));
        if self.factors.len() <= last {
            return Err(Error::Length { what: "factors", expected: last.saturating_add(1), found: self.factors.len() });
        }
        let rows = self.rows.count(self.width);
        if rows < self.terms { Err(Error::Length { what: "rows", expected: self.terms, found: rows }) } else { Ok(()) }
    }
}

/// See [`crate::kernels::Kernels::product`]. Lengths fit.
#[inline(always)]
pub(super) fn product<S: Simd>(s: S, product: Product<'_>, out: &mut RowsMut<'_>) {
    let mut item = 0;
    while item < product.items {
        let items = if product.items - item >= S::DENSE_ITEMS { S::DENSE_ITEMS } else { 1 };
        let mut column = 0;
        while column < product.width {
            let tile = Tile { product, item, column };
            column += match (items, product.width - column) {
                (6, 4..) => tile.run::<S, 6, 4>(s, out),
                (6, 2..) => tile.run::<S, 6, 2>(s, out),
                (6, _) => tile.run::<S, 6, 1>(s, out),
                (4, _) => tile.run::<S, 4, 1>(s, out),
                (2, _) => tile.run::<S, 2, 1>(s, out),
                (_, 4..) if S::TILE >= 4 => tile.run::<S, 1, 4>(s, out),
                (_, 2..) => tile.run::<S, 1, 2>(s, out),
                _ => tile.run::<S, 1, 1>(s, out),
            };
        }
        item += items;
    }
}

/// Some items' sums for some columns.
#[derive(Clone, Copy)]
struct Tile<'a> {
    product: Product<'a>,
    item: usize,
    /// First block.
    column: usize,
}

impl Tile<'_> {
    /// Sums for `ITEMS` items and `N` blocks; returns `N`.
    #[inline(always)]
    fn run<S: Simd, const ITEMS: usize, const N: usize>(self, s: S, out: &mut RowsMut<'_>) -> usize {
        let Product { terms, factors, item_stride, term_stride, rows, .. } = self.product;
        let mut sums = [[s.splat(0.0); N]; ITEMS];
        let mut xs = [s.splat(0.0); N];
        for term in 0..terms {
            let start = term * rows.stride + rows.first + self.column;
            let row = &rows.blocks[start..start + N];
            for (x, block) in xs.iter_mut().zip(row) {
                *x = s.load(block);
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let factor = s.splat(factors[(self.item + i) * item_stride + term * term_stride]);
                for (sum, x) in sums.iter_mut().zip(xs) {
                    *sum = s.add(*sum, s.mul(factor, x));
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            let start = (self.item + i) * out.stride + out.first + self.column;
            for (sum, block) in sums.iter().zip(&mut out.blocks[start..start + N]) {
                s.store(*sum, block);
            }
        }
        N
    }
}

/// See [`crate::kernels::Kernels::panels_backward`]. Lengths fit.
#[inline(always)]
pub(super) fn panels_backward<S: Simd>(s: S, panels: Panels<&[Block]>, delta: HiddenRows<'_>, out: &mut RowsMut<'_>) {
    let mut item = 0;
    while item < delta.items {
        let items = if delta.items - item >= S::DENSE_ITEMS { S::DENSE_ITEMS } else { 1 };
        let mut unit = 0;
        while unit < panels.units {
            let tile = Dots { panels, delta, item, unit };
            unit += match (items, panels.units - unit) {
                (6, 4..) => tile.run::<S, 6, 4>(s, out),
                (6, _) => tile.run::<S, 6, 1>(s, out),
                (4, _) => tile.run::<S, 4, 1>(s, out),
                (2, _) => tile.run::<S, 2, 1>(s, out),
                (_, 4..) if S::TILE >= 4 => tile.run::<S, 1, 4>(s, out),
                _ => tile.run::<S, 1, 1>(s, out),
            };
        }
        item += items;
    }
}

/// See [`crate::kernels::Kernels::panels_backward_sparse`]. Lengths fit, and every unit is below `panels.units`.
#[inline(always)]
pub(super) fn panels_backward_sparse<S: Simd>(
    s: S,
    panels: Panels<&[Block]>,
    delta: HiddenRows<'_>,
    active: ActiveLists<'_>,
    partial_sums: &mut [Block],
    out: &mut RowsMut<'_>,
) {
    let ActiveLists { starts, units, .. } = active;
    // Otherwise they begin with the first panel.
    if panels.width == 0 {
        partial_sums.fill(Block::ZERO);
    }
    // Panel by panel, so that weights stay near while each item reads those of its units.
    for (first, blocks, weights) in panels.iter() {
        for (item, bounds) in starts.windows(2).enumerate() {
            let start = item * delta.stride + delta.first + first;
            let (listed, delta) = (bounds[0]..bounds[1], &delta.blocks[start..start + blocks]);
            dot(s, Rows::new(weights, blocks), &units[listed.clone()], delta, first == 0, &mut partial_sums[listed]);
        }
    }
    for (item, bounds) in starts.windows(2).enumerate() {
        let row = &mut as_floats_mut(out.blocks)[(item * out.stride + out.first) * LANES..];
        let (fours, rest) = partial_sums[bounds[0]..bounds[1]].as_chunks::<4>();
        let (units, last) = units[bounds[0]..bounds[1]].as_chunks::<4>();
        for (sums, units) in fours.iter().zip(units) {
            let sums = s.sums([s.load(&sums[0]), s.load(&sums[1]), s.load(&sums[2]), s.load(&sums[3])]);
            for (unit, sum) in units.iter().zip(sums) {
                row[*unit as usize] = sum;
            }
        }
        for (unit, sums) in last.iter().zip(rest) {
            row[*unit as usize] = s.sum(s.load(sums));
        }
    }
}

/// Dot products of some items with some units' weights.
#[derive(Clone, Copy)]
struct Dots<'a> {
    panels: Panels<&'a [Block]>,
    delta: HiddenRows<'a>,
    item: usize,
    unit: usize,
}

impl Dots<'_> {
    /// The dot products of `ITEMS` items with the weights of `UNITS` units; returns `UNITS`.
    #[inline(always)]
    fn run<S: Simd, const ITEMS: usize, const UNITS: usize>(self, s: S, out: &mut RowsMut<'_>) -> usize {
        let mut sums = [[s.splat(0.0); UNITS]; ITEMS];
        let mut row = [s.splat(0.0); UNITS];
        for (first, blocks, weights) in self.panels.iter() {
            let weights = &weights[self.unit * blocks..(self.unit + UNITS) * blocks];
            let delta: [&[Block]; ITEMS] = std::array::from_fn(|i| {
                let start = (self.item + i) * self.delta.stride + self.delta.first + first;
                &self.delta.blocks[start..start + blocks]
            });
            for block in 0..blocks {
                for (u, w) in row.iter_mut().enumerate() {
                    *w = s.load(&weights[u * blocks + block]);
                }
                for (sums, delta) in sums.iter_mut().zip(delta) {
                    let d = s.load(&delta[block]);
                    for (sum, w) in sums.iter_mut().zip(row) {
                        *sum = s.add(*sum, s.mul(w, d));
                    }
                }
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            let start = ((self.item + i) * out.stride + out.first) * LANES + self.unit;
            as_floats_mut(out.blocks)[start..start + UNITS].copy_from_slice(&s.sums(sums));
        }
        UNITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aligned::{as_floats, blocks_for};
    use crate::ids::Sets;
    use crate::kernels::tests::{bits, noise};
    use crate::kernels::{Kernels, Level, tree_sum};

    fn levels() -> impl Iterator<Item = Kernels> {
        Level::available().map(|level| Kernels::at(level).unwrap())
    }

    #[test]
    fn products_are_weighted_sums_of_rows_with_and_without_zeros() {
        let scalar = Kernels::at(Level::Scalar).unwrap();
        for (items, terms, width) in [(0, 3, 2), (1, 5, 4), (5, 1, 1), (6, 7, 9), (13, 40, 3), (19, 0, 5), (7, 4, 0)] {
            let table = noise(1, terms * (width + 1), false);
            let rows = Rows { blocks: &table, stride: width + 1, first: 1 };
            let relu: Vec<Block> = noise(2, items * terms, false).iter().map(|b| Block(b.0.map(|x| x.max(0.0)))).collect();
            let factors = as_floats(&relu);
            // Items side by side, and terms side by side.
            for (item_stride, term_stride) in [(1, items), (terms, 1)] {
                let product = Product { items, terms, factors, item_stride, term_stride, rows, width };
                let mut expected = noise(3, items * (width + 2), false);
                for (item, out) in expected.chunks_exact_mut(width + 2).enumerate() {
                    let of = |term: u32| factors[item * item_stride + term as usize * term_stride];
                    let ids: Vec<u32> = (0..terms as u32).filter(|term| of(*term) != 0.0).collect();
                    let weights: Vec<f32> = ids.iter().map(|term| of(*term)).collect();
                    scalar.weighted_sum_rows(rows, None, &ids, &weights, &mut out[2..]).unwrap();
                }
                for kernels in levels() {
                    let mut found = noise(3, items * (width + 2), false);
                    let mut out = RowsMut { blocks: &mut found, stride: width + 2, first: 2 };
                    kernels.product(product, &mut out).unwrap();
                    assert_eq!(bits(&found), bits(&expected), "{}: {items} {terms} {width}", kernels.level());
                }
            }
        }
    }

    #[test]
    fn gradients_by_hidden_units_are_dot_products_panel_by_panel() {
        let scalar = Kernels::at(Level::Scalar).unwrap();
        for (items, units, width) in [(1, 3, 1), (2, 4, 4), (5, 7, 5), (6, 16, 8), (13, 37, 9), (3, 0, 2), (0, 5, 2), (4, 5, 0)]
        {
            let table = noise(1, units * width, false);
            let panels = Panels { weights: &table[..], units, width };
            let rows = noise(2, items * (width + 1), false);
            let delta = HiddenRows { blocks: &rows, stride: width + 1, first: 1, items };
            let stride = blocks_for(units) + 1;
            let mut expected = noise(3, items * stride, false);
            for item in 0..items {
                let mut sums = vec![Block::ZERO; units];
                let ids: Vec<u32> = (0..units as u32).collect();
                for (first, blocks, weights) in panels.iter() {
                    let start = item * (width + 1) + 1 + first;
                    scalar.dot_rows(Rows::new(weights, blocks), &ids, &rows[start..start + blocks], &mut sums).unwrap();
                }
                let out = &mut as_floats_mut(&mut expected)[(item * stride + 1) * LANES..];
                out.iter_mut().zip(&sums).for_each(|(out, sum)| *out = tree_sum(sum));
            }
            for kernels in levels() {
                let mut found = noise(3, items * stride, false);
                let mut out = RowsMut { blocks: &mut found, stride, first: 1 };
                kernels.panels_backward(panels, delta, &mut out).unwrap();
                assert_eq!(bits(&found), bits(&expected), "{}: {items} {units} {width}", kernels.level());
            }
        }
    }

    /// Each item with some of the units, one with none, and numbers of units that are no multiple of four.
    #[test]
    fn gradients_of_listed_units_are_those_of_all() {
        let units = 37;
        for (items, width) in [(0, 5), (1, 4), (5, 7), (13, 9)] {
            let table = noise(1, units * width, false);
            let panels = Panels { weights: &table[..], units, width };
            let rows = noise(2, items * (width + 1), false);
            let delta = HiddenRows { blocks: &rows, stride: width + 1, first: 1, items };
            let (mut starts, mut listed) = (vec![0], Vec::new());
            for item in 0..items {
                listed.extend((0..units as u32).filter(|unit| item != 2 && (unit + item as u32) % 3 != 1));
                starts.push(listed.len());
            }
            let active = ActiveLists { starts: &starts, units: &listed, values: &vec![1.0; listed.len()] };
            let stride = blocks_for(units) + 1;
            for kernels in levels() {
                let (mut all, mut found) = (noise(3, items * stride, false), noise(3, items * stride, false));
                kernels.panels_backward(panels, delta, &mut RowsMut { blocks: &mut all, stride, first: 1 }).unwrap();
                let mut out = RowsMut { blocks: &mut found, stride, first: 1 };
                let mut sums = noise(4, listed.len(), false);
                kernels.panels_backward_sparse(panels, delta, active, &mut sums, &mut out).unwrap();
                let mut expected = noise(3, items * stride, false);
                for item in 0..items {
                    for unit in &listed[starts[item]..starts[item + 1]] {
                        let at = (item * stride + 1) * LANES + *unit as usize;
                        as_floats_mut(&mut expected)[at] = as_floats(&all)[at];
                    }
                }
                assert_eq!(bits(&found), bits(&expected), "{}: {items} {width}", kernels.level());
            }
        }
    }

    #[test]
    fn scaled_bags_are_weighted_sums_of_rows() {
        let (table, init) = (noise(1, 12 * 5, false), noise(2, 5, false));
        let rows = Rows::new(&table, 5);
        let sets = Sets::new(&[0, 3, 11, 2, 5, 6, 7], &[0, 3, 3, 7]).unwrap();
        for kernels in levels() {
            let mut found = noise(3, 15, false);
            kernels.sum_scaled_bags(rows, &init, sets, 1.25, &mut found).unwrap();
            for ((ids, _), found) in sets.iter().zip(found.chunks_exact(5)) {
                let mut expected = noise(4, 5, false);
                kernels.weighted_sum_rows(rows, Some(&init), ids, &[1.25; 4][..ids.len()], &mut expected).unwrap();
                assert_eq!(bits(found), bits(&expected), "{}", kernels.level());
            }
            let weights: Vec<f32> = (1..=7).map(|n| n as f32 / 4.0).collect();
            let before = noise(5, 15, false);
            found.copy_from_slice(&before);
            kernels.sum_weighted_bags(rows, sets, &weights, &mut found).unwrap();
            let of_sets = before.chunks_exact(5).zip(found.chunks_exact(5));
            for ((places, ids), (init, found)) in sets.places().zip(of_sets) {
                let mut expected = noise(4, 5, false);
                kernels.weighted_sum_rows(rows, Some(init), ids, &weights[places], &mut expected).unwrap();
                assert_eq!(bits(found), bits(&expected), "{}", kernels.level());
            }
            assert!(kernels.sum_weighted_bags(rows, sets, &weights[1..], &mut found).is_err());
            assert!(kernels.sum_weighted_bags(rows, sets, &weights, &mut found[..11]).is_err());
            assert!(kernels.sum_weighted_bags(Rows::new(&table[..35], 5), sets, &weights, &mut found).is_err());
            assert!(kernels.sum_scaled_bags(rows, &init, sets, 1.25, &mut found[..10]).is_err());
            assert!(kernels.sum_scaled_bags(Rows::new(&table[..55], 5), &init, sets, 1.0, &mut found).is_err());
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let table = noise(1, 6, false);
        let product = Product {
            items: 2,
            terms: 3,
            factors: &[1.0; 6],
            item_stride: 3,
            term_stride: 1,
            rows: Rows::new(&table, 2),
            width: 2,
        };
        let panels = Panels { weights: &table[..], units: 3, width: 2 };
        let delta = HiddenRows { blocks: &table, stride: 2, first: 0, items: 3 };
        for kernels in levels() {
            let run = |product, blocks, stride| {
                let mut out = noise(2, blocks, false);
                kernels.product(product, &mut RowsMut { blocks: &mut out, stride, first: 0 }).is_ok()
            };
            assert!(run(product, 4, 2));
            assert!(!run(product, 3, 2) && !run(product, 4, 1));
            assert!(!run(Product { terms: 4, ..product }, 4, 2) && !run(Product { item_stride: 4, ..product }, 4, 2));
            assert!(!run(Product { rows: Rows { first: 1, ..product.rows }, ..product }, 4, 2));
            let back = |panels, delta, blocks| {
                let mut out = noise(2, blocks, false);
                kernels.panels_backward(panels, delta, &mut RowsMut { blocks: &mut out, stride: 1, first: 0 }).is_ok()
            };
            assert!(back(panels, delta, 3) && !back(panels, delta, 2));
            assert!(!back(Panels { units: 2, ..panels }, delta, 3) && !back(panels, HiddenRows { first: 1, ..delta }, 3));
            let listed = |starts: &[usize], units: &[u32], sums: usize| {
                let (mut out, mut sums) = (noise(2, 3, false), noise(3, sums, false));
                let active = ActiveLists { starts, units, values: &[] };
                kernels
                    .panels_backward_sparse(
                        panels,
                        delta,
                        active,
                        &mut sums,
                        &mut RowsMut { blocks: &mut out, stride: 1, first: 0 },
                    )
                    .is_ok()
            };
            assert!(listed(&[0, 1, 1, 2], &[2, 0], 2));
            assert!(!listed(&[0, 1, 2], &[2, 0], 2) && !listed(&[0, 1, 1, 2], &[2, 0], 1), "an item or a sum too few");
            assert!(
                !listed(&[0, 1, 1, 3], &[2, 0], 2) && !listed(&[0, 2, 1, 2], &[2, 0], 2) && !listed(&[0, 1, 1, 2], &[3, 0], 2)
            );
        }
    }
}
