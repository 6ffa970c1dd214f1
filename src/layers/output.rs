//! Output layer: `z = b2 + h·W2`, group by group, in the order of summation that the [layout](OutputLayout) fixes.

use crate::aligned::{Block, LANES, as_floats, as_floats_mut, blocks_for};
use crate::error::{Error, Result};
use crate::kernels::{
    ActiveLists, ActiveUnits, Answer, Answers, HiddenRows, Kernels, ListBuffers, Panels, Product, Rows, RowsMut, TagMajor,
    is_dense,
};
use crate::network::{Group, OutputLayout, Shape, Weights};
use crate::weights::Matrix;

/// Some items' hidden vectors, end to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HiddenItems<'a> {
    /// How many items; there may be no hidden units.
    pub(crate) items: usize,
    /// A row each.
    pub(crate) blocks: &'a [Block],
}

/// Scratch of the products with output weights.
#[derive(Clone, Debug, Default)]
pub(crate) struct OutputScratch {
    /// Non-zero units of one group, item after item.
    starts: Vec<usize>,
    units: Vec<u32>,
    values: Vec<f32>,
    sums: Vec<Block>,
}

impl OutputScratch {
    /// Buffers for the lists of `items` items with `blocks` blocks of hidden units in all.
    fn buffers(&mut self, items: usize, blocks: usize) -> ListBuffers<'_> {
        let places = blocks * LANES;
        if self.starts.len() <= items || self.units.len() < places {
            self.starts.resize(items + 1, 0);
            self.units.resize(places, 0);
            self.values.resize(places, 0.0);
        }
        ListBuffers { starts: &mut self.starts, units: &mut self.units, values: &mut self.values }
    }

    /// Lists the non-zero units of some items in `group`; returns how many there are.
    fn list(&mut self, kernels: Kernels, group: &Group, hidden: HiddenItems<'_>) -> Result<usize> {
        let row = hidden.blocks.len().checked_div(hidden.items).unwrap_or(0);
        let ListBuffers { starts, units, values } = self.buffers(hidden.items, hidden.blocks.len());
        let mut end = 0;
        starts[0] = 0;
        for (item, start) in starts[1..=hidden.items].iter_mut().enumerate() {
            let h = &hidden.blocks[item * row..][group.hidden.clone()];
            let places = end..end + h.len() * LANES;
            let list = ActiveUnits { units: &mut units[places.clone()], values: &mut values[places] };
            end += kernels.list_active(h, list)?;
            *start = end;
        }
        Ok(end)
    }
}

/// The share of active units from which [`backward_hidden`] computes those of all units.
const DENSE_BACKWARD_FROM: f64 = 0.7;

/// Writes the logits of some items to `logits`, a row of tag slots each.
///
/// # Errors
/// If a length does not fit `shape`.
pub(crate) fn forward(
    kernels: Kernels,
    shape: &Shape,
    weights: Weights<'_>,
    hidden: HiddenItems<'_>,
    scratch: &mut OutputScratch,
    logits: &mut [Block],
) -> Result<()> {
    weights.check_output(shape)?;
    let (row, slots, HiddenItems { items, blocks }) = (shape.row_blocks(), shape.slot_blocks(), hidden);
    Error::check_length("hidden units", row * items, blocks.len())?;
    Error::check_length("logits", slots * items, logits.len())?;
    let (floats, stride) = (as_floats_mut(logits), slots * LANES);
    if shape.layout() == OutputLayout::TagMajor {
        let hidden = HiddenRows { blocks, stride: row, first: 0, items };
        let (width, bias) = (blocks_for(shape.hidden()), &as_floats(weights.b2)[..shape.tags()]);
        let rows = TagMajor { weights: &Matrix::F32(weights.w2), width, groups: shape.group_tags(), bias };
        return kernels.tag_major(
            rows,
            hidden,
            &mut Answers { answer: Answer::Logit, floats, stride, first: 0, tags: shape.tags() },
        );
    }
    for group in shape.groups() {
        let tags = group.slot_blocks();
        let panels = Panels { weights: &Matrix::F32(&weights.w2[group.w2.clone()]), units: shape.hidden(), width: tags.len() };
        let hidden = HiddenRows { blocks, stride: row, first: group.hidden.start, items };
        let lists = scratch.buffers(items, blocks.len());
        let (first, count) = (tags.start * LANES, tags.len() * LANES);
        let mut answers = Answers { answer: Answer::Logit, floats: &mut *floats, stride, first, tags: count };
        kernels.panels(panels, hidden, lists, &weights.b2[tags], &mut answers)?;
    }
    Ok(())
}

/// Writes `dh = δ·W2ᵀ` of some items to `d_hidden`, given their `δ = dL/dz`, a row of tag slots each: of all units if `every_unit`,
/// or else at least of those that are not zero in `hidden`.
///
/// # Errors
/// If a length does not fit `shape`.
#[expect(clippy::too_many_arguments, reason = "two layers' worth of rows")]
pub(crate) fn backward_hidden(
    kernels: Kernels,
    shape: &Shape,
    w2: &[Block],
    delta: &[Block],
    hidden: HiddenItems<'_>,
    every_unit: bool,
    scratch: &mut OutputScratch,
    d_hidden: &mut [Block],
) -> Result<()> {
    let (row, slots, items) = (shape.row_blocks(), shape.slot_blocks(), hidden.items);
    Error::check_length("W2 blocks", shape.w2_blocks(), w2.len())?;
    Error::check_length("hidden units", row * items, hidden.blocks.len())?;
    Error::check_length("gradients by logits", slots * items, delta.len())?;
    Error::check_length("gradients by hidden units", hidden.blocks.len(), d_hidden.len())?;
    for group in shape.groups() {
        let w2 = &w2[group.w2.clone()];
        let mut out = RowsMut { blocks: d_hidden, stride: row, first: group.hidden.start };
        match shape.layout() {
            OutputLayout::TagMajor => {
                let product = Product {
                    items,
                    terms: group.tags.len(),
                    factors: &as_floats(delta)[group.slots.start..],
                    item_stride: slots * LANES,
                    term_stride: 1,
                    rows: Rows::new(w2, group.hidden.len()),
                    width: group.hidden.len(),
                };
                kernels.product(product, &mut out)?;
            }
            OutputLayout::Panels => {
                let blocks = group.slot_blocks();
                let panels = Panels { weights: w2, units: shape.hidden(), width: blocks.len() };
                let rows = HiddenRows { blocks: delta, stride: slots, first: blocks.start, items };
                if every_unit {
                    kernels.panels_backward(panels, rows, &mut out)?;
                    continue;
                }
                let listed = scratch.list(kernels, group, hidden)?;
                if is_dense(listed, items, shape.hidden(), DENSE_BACKWARD_FROM) {
                    kernels.panels_backward(panels, rows, &mut out)?;
                    continue;
                }
                let OutputScratch { starts, units, values, sums } = &mut *scratch;
                if sums.len() < listed {
                    sums.resize(listed, Block::ZERO);
                }
                let active = ActiveLists { starts: &starts[..=items], units: &units[..listed], values: &values[..listed] };
                kernels.panels_backward_sparse(panels, rows, active, &mut sums[..listed], &mut out)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::tests::random_blocks;

    struct Case {
        shape: Shape,
        w2: Vec<Block>,
        b2: Vec<Block>,
        hidden: Vec<Block>,
    }

    fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        for layout in [OutputLayout::TagMajor, OutputLayout::Panels] {
            for (hidden, tags) in
                [(5, vec![1]), (33, vec![70]), (37, vec![70]), (16, vec![3, 20, 1]), (0, vec![3]), (7, vec![0, 2])]
            {
                let shape = Shape::new(0, hidden, &tags, layout).unwrap();
                let mut w2 = vec![Block::ZERO; shape.w2_blocks()];
                let mut h = vec![Block::ZERO; shape.row_blocks()];
                let noise = random_blocks(hidden as u64, w2.len() + h.len());
                for (g, group) in shape.groups().iter().enumerate() {
                    for unit in 0..hidden {
                        let x = as_floats(&noise)[unit * 3 + g];
                        as_floats_mut(&mut h)[group.hidden.start * LANES + unit] = if x > 0.0 { x } else { 0.0 };
                        for tag in 0..group.tags.len() {
                            let index = shape.w2_index(group, unit, tag);
                            as_floats_mut(&mut w2)[index] = as_floats(&noise)[index];
                        }
                    }
                }
                let b2 = random_blocks(3, shape.slot_blocks());
                cases.push(Case { shape, w2, b2, hidden: h });
            }
        }
        cases
    }

    impl Case {
        fn logits(&self, w2: &[Block], hidden: &[Block]) -> Vec<f32> {
            let weights = Weights { w1: &[], b1: &[], w2, b2: &self.b2 };
            let mut z = vec![Block::ZERO; self.shape.slot_blocks()];
            let hidden = HiddenItems { items: 1, blocks: hidden };
            forward(Kernels::best(), &self.shape, weights, hidden, &mut OutputScratch::default(), &mut z).unwrap();
            (0..self.shape.tags()).map(|tag| as_floats(&z)[self.shape.slot(tag)]).collect()
        }
    }

    #[test]
    fn logits_are_the_textbook_sum() {
        for case in cases() {
            let logits = case.logits(&case.w2, &case.hidden);
            for group in case.shape.groups() {
                for (tag, slot) in group.tags.clone().zip(group.slots.clone()) {
                    let mut z = f64::from(as_floats(&case.b2)[slot]);
                    for unit in 0..case.shape.hidden() {
                        let w = as_floats(&case.w2)[case.shape.w2_index(group, unit, tag - group.tags.start)];
                        z += f64::from(w) * f64::from(as_floats(&case.hidden)[group.hidden.start * LANES + unit]);
                    }
                    assert!((z - f64::from(logits[tag])).abs() < 1e-5, "{:?}", case.shape);
                }
            }
        }
    }

    /// Units that are seldom on, and items beside others; also a length more or less of everything.
    #[test]
    fn gradients_of_items_are_those_of_each_alone() {
        let mut scratch = OutputScratch::default();
        for case in cases() {
            let (shape, items) = (&case.shape, 3);
            let (row, slots) = (shape.row_blocks(), shape.slot_blocks());
            let delta = random_blocks(11, items * slots);
            let mut hidden = vec![Block::ZERO; items * row];
            for (item, h) in hidden.chunks_exact_mut(row.max(1)).enumerate() {
                for group in shape.groups().iter().filter(|_| shape.hidden() > 0) {
                    as_floats_mut(h)[group.hidden.start * LANES + 2 * item % shape.hidden()] = 0.5;
                }
            }
            let run = |blocks: &[Block], items, delta: &[Block], w2: &[Block], d: &mut [Block], scratch: &mut OutputScratch| {
                let hidden = HiddenItems { items, blocks };
                // An item alone takes all units, whichever are on.
                backward_hidden(Kernels::best(), shape, w2, delta, hidden, items == 1, scratch, d)
            };
            let mut d = vec![Block::ZERO; items * row];
            run(&hidden, items, &delta, &case.w2, &mut d, &mut scratch).unwrap();
            for item in 0..items {
                let (h, mut alone) = (&hidden[item * row..][..row], vec![Block::ZERO; row]);
                run(h, 1, &delta[item * slots..][..slots], &case.w2, &mut alone, &mut scratch).unwrap();
                // However few units are on.
                let (on, mut all) = (vec![Block([1.0; LANES]); row], vec![Block::ZERO; row]);
                run(&on, 1, &delta[item * slots..][..slots], &case.w2, &mut all, &mut scratch).unwrap();
                assert_eq!(alone, all, "{shape:?}");
                for (unit, _) in as_floats(h).iter().enumerate().filter(|(_, h)| **h != 0.0) {
                    assert_eq!(as_floats(&d)[item * row * LANES + unit], as_floats(&alone)[unit], "{shape:?}");
                }
            }
            let more = |blocks: &[Block]| [blocks, &[Block::ZERO]].concat();
            assert!(run(&more(&hidden), items, &delta, &case.w2, &mut more(&d), &mut scratch).is_err());
            assert!(run(&hidden, items, &more(&delta), &case.w2, &mut d, &mut scratch).is_err());
            assert!(run(&hidden, items, &delta, &more(&case.w2), &mut d, &mut scratch).is_err());
            assert!(run(&hidden, items, &delta, &case.w2, &mut more(&d), &mut scratch).is_err());
            let weights = Weights { w1: &[], b1: &[], w2: &case.w2, b2: &case.b2 };
            let (mut z, longer, w2, b2) = (vec![Block::ZERO; items * slots], more(&hidden), more(&case.w2), more(&case.b2));
            let mut forward = |weights, blocks, z: &mut [Block]| {
                forward(Kernels::best(), shape, weights, HiddenItems { items, blocks }, &mut scratch, z)
            };
            assert!(forward(weights, &hidden, &mut z).is_ok());
            assert!(forward(weights, &longer, &mut z).is_err());
            assert!(forward(weights, &hidden, &mut more(&z)).is_err());
            assert!(forward(Weights { w2: &w2, ..weights }, &hidden, &mut z).is_err());
            assert!(forward(Weights { b2: &b2, ..weights }, &hidden, &mut z).is_err());
        }
    }

    #[test]
    fn gradient_by_hidden_units_is_the_finite_difference() {
        for case in cases() {
            let mut delta = random_blocks(9, case.shape.slot_blocks());
            let used: Vec<usize> = case.shape.groups().iter().flat_map(|g| g.slots.clone()).collect();
            for (slot, d) in as_floats_mut(&mut delta).iter_mut().enumerate() {
                *d = if used.contains(&slot) { *d } else { 0.0 };
            }
            let loss = |hidden: &[Block]| -> f64 {
                let z = case.logits(&case.w2, hidden);
                z.iter().enumerate().map(|(t, z)| f64::from(*z) * f64::from(as_floats(&delta)[case.shape.slot(t)])).sum()
            };
            for every_unit in [false, true] {
                let mut dh = vec![Block::ZERO; case.hidden.len()];
                let mut scratch = OutputScratch::default();
                let hidden = HiddenItems { items: 1, blocks: &case.hidden };
                backward_hidden(Kernels::best(), &case.shape, &case.w2, &delta, hidden, every_unit, &mut scratch, &mut dh)
                    .unwrap();
                let units = (0..case.shape.hidden() * case.shape.groups().len()).map(|number| case.shape.unit_position(number));
                for unit in units.filter(|unit| every_unit || as_floats(&case.hidden)[*unit] != 0.0) {
                    let d = as_floats(&dh)[unit];
                    let mut moved = case.hidden.clone();
                    as_floats_mut(&mut moved)[unit] += 1.0;
                    let difference = loss(&moved) - loss(&case.hidden);
                    assert!((difference - f64::from(d)).abs() < 1e-4, "{difference} against {d}");
                }
            }
        }
    }
}
