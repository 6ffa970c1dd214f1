//! Output layer: `z = b2 + h·W2`, group by group, in the order of summation that the [layout](OutputLayout) fixes.

use crate::aligned::{Block, LANES, as_floats, as_floats_mut, blocks_for};
use crate::error::{Error, Result};
use crate::kernels::{ActiveLists, Answer, Answers, HiddenRows, Kernels, Panels, Rows, TagMajor, tree_sum};
use crate::layers::Active;
use crate::network::{Group, OutputLayout, Shape, Weights};

/// The part of `active` that belongs to `group`, and the number of the group's first unit.
fn of_group<'a>(active: Active<'a>, group: &Group) -> (Active<'a>, u32) {
    let first = (group.hidden.start * LANES) as u32;
    let last = (group.hidden.end * LANES) as u32;
    let range = active.units.partition_point(|&unit| unit < first)..active.units.partition_point(|&unit| unit < last);
    (Active { units: &active.units[range.clone()], values: &active.values[range] }, first)
}

/// Writes the logits of one sample to `logits`, one a tag slot.
///
/// `hidden` is the hidden vector and `active` lists its non-zero units; `relative` is scratch with a place for every unit.
///
/// # Errors
/// If a length does not fit `shape`.
pub fn forward(
    kernels: Kernels,
    shape: &Shape,
    weights: Weights<'_>,
    hidden: &[Block],
    active: Active<'_>,
    relative: &mut [u32],
    logits: &mut [Block],
) -> Result<()> {
    weights.check_output(shape)?;
    Error::check_length("hidden units", shape.row_blocks(), hidden.len())?;
    Error::check_length("logits", shape.slot_blocks(), logits.len())?;
    let logits = as_floats_mut(logits);
    let stride = logits.len();
    if shape.layout() == OutputLayout::TagMajor {
        let hidden = HiddenRows { blocks: hidden, stride: hidden.len(), first: 0, items: 1 };
        let (width, bias) = (blocks_for(shape.hidden()), &as_floats(weights.b2)[..shape.tags()]);
        let rows = TagMajor { weights: weights.w2, width, groups: shape.group_tags(), bias };
        let mut answers = Answers { answer: Answer::Logit, floats: logits, stride, first: 0, tags: shape.tags() };
        return kernels.tag_major(rows, hidden, &mut answers);
    }
    for group in shape.groups() {
        let (active, first) = of_group(active, group);
        let units = if first == 0 {
            active.units
        } else {
            for (relative, unit) in relative.iter_mut().zip(active.units) {
                *relative = unit - first;
            }
            &relative[..active.units.len()]
        };
        let slots = group.slot_blocks();
        let panels = Panels { blocks: &weights.w2[group.w2.clone()], units: shape.hidden(), width: slots.len() };
        let (first, tags) = (slots.start * LANES, slots.len() * LANES);
        let mut answers = Answers { answer: Answer::Logit, floats: logits, stride, first, tags };
        let active = ActiveLists { starts: &[0, units.len()], units, values: active.values };
        kernels.panels_sparse(panels, active, &weights.b2[slots], &mut answers)?;
    }
    Ok(())
}

/// Scratch of [`backward_hidden`].
#[derive(Clone, Debug, Default)]
pub struct HiddenScratch {
    sums: Vec<Block>,
    relative: Vec<u32>,
}

/// Writes `dh = δ·W2ᵀ` of one sample's active units to `d_active`, one float for each, given `δ = dL/dz`, one a tag slot.
///
/// # Errors
/// If a length does not fit `shape`.
pub fn backward_hidden(
    kernels: Kernels,
    shape: &Shape,
    w2: &[Block],
    delta: &[Block],
    active: Active<'_>,
    scratch: &mut HiddenScratch,
    d_active: &mut [f32],
) -> Result<()> {
    Error::check_length("active units", active.units.len(), d_active.len())?;
    let mut done = 0;
    for group in shape.groups() {
        let (active, first) = of_group(active, group);
        let d_active = &mut d_active[done..done + active.units.len()];
        done += active.units.len();
        match shape.layout() {
            OutputLayout::TagMajor => {
                scratch.sums.clear();
                scratch.sums.resize(group.hidden.len(), Block::ZERO);
                scratch.relative.clear();
                scratch.relative.extend((0..).take(group.tags.len()));
                let rows = Rows::new(&w2[group.w2.clone()], group.hidden.len());
                let weights = &as_floats(delta)[group.slots.clone()];
                kernels.weighted_sum_rows(rows, None, &scratch.relative, weights, &mut scratch.sums)?;
                let dh = as_floats(&scratch.sums);
                for (d, unit) in d_active.iter_mut().zip(active.units) {
                    *d = dh[(unit - first) as usize];
                }
            }
            OutputLayout::Panels => {
                scratch.sums.clear();
                scratch.sums.resize(active.units.len(), Block::ZERO);
                scratch.relative.clear();
                scratch.relative.extend(active.units.iter().map(|unit| unit - first));
                for panel in shape.panels(group) {
                    let rows = Rows::new(&w2[panel.w2], panel.slots.len());
                    kernels.dot_rows(rows, &scratch.relative, &delta[panel.slots], &mut scratch.sums)?;
                }
                for (d, sum) in d_active.iter_mut().zip(&scratch.sums) {
                    *d = tree_sum(sum);
                }
            }
        }
    }
    Ok(())
}

/// Writes the gradient of one row of W2 to `out`: with [`OutputLayout::Panels`] `Σ_i h_ij·δ_i` of a unit's row in a panel (`rows`
/// are the samples' δ there, `factors` the unit's values); with [`OutputLayout::TagMajor`] `Σ_i δ_it·h_i` of a tag's row
/// (`rows` are the samples' hidden vectors, `factors` the tag's δ). Samples whose factor is 0 may be left out.
///
/// # Errors
/// If a sample has no row, or a length is wrong.
pub fn backward_row(kernels: Kernels, rows: Rows<'_>, samples: &[u32], factors: &[f32], out: &mut [Block]) -> Result<()> {
    kernels.weighted_sum_rows(rows, None, samples, factors, out)
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
        fn active(&self) -> (Vec<u32>, Vec<f32>) {
            as_floats(&self.hidden).iter().enumerate().filter(|(_, h)| **h != 0.0).map(|(j, h)| (j as u32, *h)).unzip()
        }

        fn logits(&self, w2: &[Block], hidden: &[Block]) -> Vec<f32> {
            let weights = Weights { w1: &[], b1: &[], w2, b2: &self.b2 };
            let (units, values): (Vec<u32>, Vec<f32>) =
                as_floats(hidden).iter().enumerate().filter(|(_, h)| **h != 0.0).map(|(j, h)| (j as u32, *h)).unzip();
            let mut z = vec![Block::ZERO; self.shape.slot_blocks()];
            let mut relative = vec![0; hidden.len() * LANES];
            let active = Active { units: &units, values: &values };
            forward(Kernels::best(), &self.shape, weights, hidden, active, &mut relative, &mut z).unwrap();
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
            let (units, values) = case.active();
            let mut d_active = vec![0.0; units.len()];
            let active = Active { units: &units, values: &values };
            let mut scratch = HiddenScratch::default();
            backward_hidden(Kernels::best(), &case.shape, &case.w2, &delta, active, &mut scratch, &mut d_active).unwrap();
            for (&unit, &d) in units.iter().zip(&d_active) {
                let mut moved = case.hidden.clone();
                as_floats_mut(&mut moved)[unit as usize] += 1.0;
                let difference = loss(&moved) - loss(&case.hidden);
                assert!((difference - f64::from(d)).abs() < 1e-4, "{difference} against {d}");
            }
        }
    }
}
