//! The scalar level: every kernel again as a plain loop over floats, the reference for the others.
//!
//! It shares nothing with the bodies but the constants of the polynomials. Read it to know what a kernel computes, in which order.

use super::activation::ActiveUnits;
use super::integers;
use super::output::{ActiveLists, Answer, Answers, HiddenRows, ListBuffers, PANEL_BLOCKS, Panels, TagMajor, list};
use super::rows::tree_sum;
use super::select::Bounds;
use super::sigmoid::{EXP_POLY, EXP_UNDERFLOW, LN2_HIGH, LN2_LOW};
use super::simd::EXPONENT_SHIFT;
use super::simd::portable::Portable;
use crate::activation::Activation;
use crate::aligned::{Block, LANES, as_floats, as_floats_mut, blocks_for};
use crate::ids::Sets;
use crate::weights::Matrix;

pub(super) fn ascends(ids: &[u32]) -> bool {
    ids.is_sorted_by(|a, b| a < b)
}

pub(super) fn sum_bags(table: &Matrix<'_>, init: &[Block], activation: Activation, sets: Sets<'_>, out: &mut [Block]) {
    let init = as_floats(init);
    for ((ids, _), out) in sets.iter().zip(out.chunks_exact_mut(blocks_for(init.len()).max(1))) {
        for (column, out) in as_floats_mut(out).iter_mut().enumerate() {
            let row = |id: &u32| *id as usize * init.len() + column;
            let sum = if let Matrix::I8 { weights, scales } = table {
                let sum: i32 = ids.iter().map(|id| i32::from(weights[row(id) / LANES].0[row(id) % LANES])).sum();
                init[column] + as_floats(scales)[column] * sum as f32
            } else {
                ids.iter().fold(init[column] + 0.0, |sum, id| sum + stored(table, row(id)))
            };
            *out = unit(activation, sum);
        }
    }
}

/// A weight as it is stored: a number, or an integer without its scale.
fn stored(matrix: &Matrix<'_>, index: usize) -> f32 {
    match matrix {
        Matrix::I8 { weights, .. } => f32::from(weights[index / LANES].0[index % LANES]),
        _ => matrix.at(index, 0),
    }
}

pub(super) fn panels(
    panels: Panels<&Matrix<'_>>,
    hidden: HiddenRows<'_>,
    lists: ListBuffers<'_>,
    bias: &[Block],
    answers: &mut Answers<'_>,
) {
    // The choice that all levels make: a training may have weights that are infinite, and units that are 0 are multiplied with them or not.
    match list(Portable, panels, hidden, lists) {
        Some(active) => panels_sparse(panels, active, bias, answers),
        None => panels_dense(panels, hidden, bias, answers),
    }
}

pub(super) fn panels_sparse(panels: Panels<&Matrix<'_>>, active: ActiveLists<'_>, bias: &[Block], answers: &mut Answers<'_>) {
    for (item, bounds) in active.starts.windows(2).enumerate() {
        let place = bounds[0]..bounds[1];
        let units = active.units[place.clone()].iter().copied().zip(active.values[place].iter().copied());
        add_units(panels, units, bias, answers, item);
    }
}

pub(super) fn panels_dense(panels: Panels<&Matrix<'_>>, hidden: HiddenRows<'_>, bias: &[Block], answers: &mut Answers<'_>) {
    for item in 0..hidden.items {
        let start = (item * hidden.stride + hidden.first) * LANES;
        let values = &as_floats(hidden.blocks)[start..][..panels.units];
        add_units(panels, (0..).zip(values.iter().copied()), bias, answers, item);
    }
}

fn add_units(
    panels: Panels<&Matrix<'_>>,
    units: impl Iterator<Item = (u32, f32)> + Clone,
    bias: &[Block],
    answers: &mut Answers<'_>,
    item: usize,
) {
    for (tag, bias) in as_floats(bias).iter().enumerate().take(answers.tags) {
        let panel = tag / (PANEL_BLOCKS * LANES) * PANEL_BLOCKS;
        let stride = PANEL_BLOCKS.min(panels.width - panel) * LANES;
        let first = panel * panels.units * LANES + tag % (PANEL_BLOCKS * LANES);
        let terms = units.clone().map(|(unit, value)| (value, stored(panels.weights, first + unit as usize * stride)));
        let z = match panels.weights {
            Matrix::I8 { scales, .. } => {
                let step = integers::step(magnitude_of(units.clone().map(|(_, h)| h)), panels.units);
                let whole = |h| i32::from(integers::rounded(h, integers::inverse(step)));
                let sum = terms.fold(0_i32, |sum, (h, w)| sum.wrapping_add(whole(h) * w as i32));
                as_floats(scales)[tag] * (step * sum as f32) + bias
            }
            _ => terms.fold(bias + 0.0, |sum, (h, w)| sum + h * w),
        };
        set(answers, item, tag, z);
    }
}

fn set(answers: &mut Answers<'_>, item: usize, tag: usize, z: f32) {
    answers.floats[item * answers.stride + answers.first + tag] = match answers.answer {
        Answer::Logit => z,
        Answer::Score { eps } => clamp(sigma(z), eps, 1.0 - eps),
    };
}

pub(super) fn tag_major(tags: TagMajor<'_>, hidden: HiddenRows<'_>, answers: &mut Answers<'_>) {
    let TagMajor { weights, width, groups, bias } = tags;
    let group_of_tags = groups.iter().enumerate().flat_map(|(group, tags)| std::iter::repeat_n(group, *tags));
    for item in 0..hidden.items {
        for ((tag, group), bias) in group_of_tags.clone().enumerate().zip(bias) {
            let start = item * hidden.stride + hidden.first + group * width;
            let mut sums = Block::ZERO;
            for (i, h) in as_floats(&hidden.blocks[start..start + width]).iter().enumerate() {
                sums.0[i % LANES] += stored(weights, tag * width * LANES + i) * h;
            }
            let sum = match weights {
                Matrix::I8 { scales, .. } => as_floats(scales)[tag] * tree_sum(&sums),
                _ => tree_sum(&sums),
            };
            set(answers, item, tag, sum + bias);
        }
    }
}

pub(super) fn exp_negative(x: f32) -> f32 {
    if x < EXP_UNDERFLOW {
        return 0.0;
    }
    let shifted = x * std::f32::consts::LOG2_E + EXPONENT_SHIFT;
    let n = shifted - EXPONENT_SHIFT;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let poly = EXP_POLY.iter().skip(1).fold(EXP_POLY[0], |sum, c| sum * r + c);
    let e = poly * r * r + r + 1.0;
    e * f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()))
}

pub(super) fn sigma(x: f32) -> f32 {
    let e = exp_negative(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

fn clamp(x: f32, low: f32, high: f32) -> f32 {
    if x < low {
        low
    } else if high < x {
        high
    } else {
        x
    }
}

pub(super) fn sigmoid(eps: f32, x: &mut [f32]) {
    for x in x {
        *x = clamp(sigma(*x), eps, 1.0 - eps);
    }
}

pub(super) fn activate(activation: Activation, a: &[Block], h: &mut [Block]) {
    for (&a, h) in as_floats(a).iter().zip(as_floats_mut(h)) {
        *h = unit(activation, a);
    }
}

fn unit(activation: Activation, a: f32) -> f32 {
    match activation {
        Activation::Relu => {
            if a <= 0.0 {
                0.0
            } else {
                a
            }
        }
        Activation::LeakyRelu(slope) => {
            if a > 0.0 {
                a
            } else {
                slope * a
            }
        }
        Activation::Elu(alpha) => {
            if a > 0.0 {
                a
            } else {
                alpha * (exp_negative(-a.abs()) - 1.0)
            }
        }
        Activation::Sigmoid => sigma(a),
        Activation::Trec(theta) => {
            if a <= theta {
                0.0
            } else {
                a
            }
        }
        Activation::Tlin(theta) => {
            if a.abs() <= theta {
                0.0
            } else {
                a
            }
        }
        Activation::Identity => a,
    }
}

pub(super) fn list_active(h: &[Block], active: ActiveUnits<'_>) -> usize {
    let on = (0..).zip(as_floats(h)).filter(|(_, h)| **h != 0.0);
    let places = active.units.iter_mut().zip(active.values);
    on.zip(places).map(|((unit, h), (place, value))| (*place, *value) = (unit, *h)).count()
}

pub(super) fn list_reaching(scores: &[f32], bounds: Bounds<'_>, above: f32, list: ActiveUnits<'_>) -> usize {
    let reaching = (0..).zip(scores).filter(|(index, score)| **score >= bounds.at(*index) && **score > above);
    let places = list.units.iter_mut().zip(list.values);
    reaching.zip(places).map(|((index, score), (place, value))| (*place, *value) = (index as u32, *score)).count()
}

pub(super) fn magnitude_of(x: impl Iterator<Item = f32> + Clone) -> f32 {
    if x.clone().all(|x| x.is_finite()) { x.fold(0.0, |largest, x| f32::max(largest, x.abs())) } else { f32::NAN }
}
