//! The naive text of the kernels that only training asks for.

use super::adagrad::{AdaGradStep, Decay, Denominator, ProximalSteps, Rates, Shrink, Squares, SteppedRows};
use super::log_loss::{ATANH_POLY, FACTORS, LogLoss, LossInputs, LossKind, MULTIPLY_FROM, ln_of_product, tree_sum_f64};
use super::product::{Product, RowsMut};
use crate::activation::Activation;
use crate::aligned::{Block, LANES, as_floats, as_floats_mut};
use crate::ids::Sets;
use crate::kernels::output::{ActiveLists, HiddenRows, PANEL_BLOCKS, Panels};
use crate::kernels::rows::{Rows, tree_sum};
use crate::kernels::scalar::{exp_negative, magnitude_of, sigma};

pub(super) fn sum_rows(rows: Rows<'_>, init: Option<&[Block]>, ids: &[u32], out: &mut [Block]) {
    let table = as_floats(rows.blocks);
    for (column, out) in as_floats_mut(out).iter_mut().enumerate() {
        let mut sum = init.map_or(0.0, |init| as_floats(init)[column] + 0.0);
        for &id in ids {
            sum += table[(id as usize * rows.stride + rows.first) * LANES + column];
        }
        *out = sum;
    }
}

pub(super) fn weighted_sum_rows(rows: Rows<'_>, init: Option<&[Block]>, ids: &[u32], weights: &[f32], out: &mut [Block]) {
    let table = as_floats(rows.blocks);
    for (column, out) in as_floats_mut(out).iter_mut().enumerate() {
        let mut sum = init.map_or(0.0, |init| as_floats(init)[column] + 0.0);
        for (&id, weight) in ids.iter().zip(weights) {
            sum += weight * table[(id as usize * rows.stride + rows.first) * LANES + column];
        }
        *out = sum;
    }
}

pub(super) fn dot_rows(rows: Rows<'_>, ids: &[u32], x: &[Block], partial_sums: &mut [Block]) {
    let table = as_floats(rows.blocks);
    for (&id, sums) in ids.iter().zip(partial_sums) {
        let start = (id as usize * rows.stride + rows.first) * LANES;
        for (i, x) in as_floats(x).iter().enumerate() {
            sums.0[i % LANES] += table[start + i] * x;
        }
    }
}

pub(super) fn sum_scaled_bags(rows: Rows<'_>, init: &[Block], sets: Sets<'_>, factor: f32, out: &mut [Block]) {
    for ((ids, _), out) in sets.iter().zip(out.chunks_exact_mut(init.len().max(1))) {
        weighted_sum_rows(rows, Some(init), ids, &vec![factor; ids.len()], out);
    }
}

pub(super) fn sum_weighted_bags(rows: Rows<'_>, sets: Sets<'_>, weights: &[f32], out: &mut [Block]) {
    let width = out.len().checked_div(sets.len()).unwrap_or(0);
    for ((places, ids), out) in sets.places().zip(out.chunks_exact_mut(width.max(1))) {
        let init = out.to_vec();
        weighted_sum_rows(rows, Some(&init), ids, &weights[places], out);
    }
}

pub(super) fn product(product: Product<'_>, out: &mut RowsMut<'_>) {
    let Product { items, terms, factors, item_stride, term_stride, rows, width } = product;
    for item in 0..items {
        for column in 0..width * LANES {
            let mut sum = 0.0;
            for term in 0..terms {
                let x = as_floats(rows.blocks)[(term * rows.stride + rows.first) * LANES + column];
                sum += factors[item * item_stride + term * term_stride] * x;
            }
            as_floats_mut(out.blocks)[(item * out.stride + out.first) * LANES + column] = sum;
        }
    }
}

pub(super) fn panels_backward(panels: Panels<&[Block]>, delta: HiddenRows<'_>, out: &mut RowsMut<'_>) {
    for item in 0..delta.items {
        units_backward(panels, delta, item, 0..panels.units, out);
    }
}

pub(super) fn panels_backward_sparse(
    panels: Panels<&[Block]>,
    delta: HiddenRows<'_>,
    active: ActiveLists<'_>,
    _: &mut [Block],
    out: &mut RowsMut<'_>,
) {
    for (item, bounds) in active.starts.windows(2).enumerate() {
        let units = active.units[bounds[0]..bounds[1]].iter().map(|unit| *unit as usize);
        units_backward(panels, delta, item, units, out);
    }
}

fn units_backward(
    panels: Panels<&[Block]>,
    delta: HiddenRows<'_>,
    item: usize,
    units: impl Iterator<Item = usize>,
    out: &mut RowsMut<'_>,
) {
    for unit in units {
        let mut sums = Block::ZERO;
        for tag in 0..panels.width * LANES {
            let panel = tag / (PANEL_BLOCKS * LANES) * PANEL_BLOCKS;
            let stride = PANEL_BLOCKS.min(panels.width - panel) * LANES;
            let w = as_floats(panels.weights)[panel * panels.units * LANES + unit * stride + tag % (PANEL_BLOCKS * LANES)];
            let d = as_floats(delta.blocks)[(item * delta.stride + delta.first) * LANES + tag];
            sums[tag % LANES] += w * d;
        }
        as_floats_mut(out.blocks)[(item * out.stride + out.first) * LANES + unit] = tree_sum(&sums);
    }
}

fn log1p_unit(e: f32) -> f32 {
    let ratio = e / (e + 2.0);
    let poly = ATANH_POLY.iter().skip(1).fold(ATANH_POLY[0], |sum, c| sum * (ratio * ratio) + c);
    (ratio + ratio) * poly
}

fn sigma_of_minus(x: f32) -> f32 {
    let e = exp_negative(-x.abs());
    (if x < 0.0 { 1.0 } else { e }) / (1.0 + e)
}

pub(super) fn log_loss(loss: &LogLoss, x: LossInputs<'_>, logits: &mut [Block]) -> f64 {
    let softplus = loss.clamp();
    let multiplies = logits.len() >= MULTIPLY_FROM && loss.kind == LossKind::ClampSte;
    let (mut sums, mut logarithms) = ([0.0_f64; LANES], 0.0);
    let (mut factors, mut terms, mut blocks) = ([1.0_f32; LANES], [0.0_f32; LANES], 0);
    let blocks_in_all = logits.len();
    for (i, gradient) in logits.iter_mut().enumerate() {
        let [offsets, targets, weights, positive_weights] =
            [x.offsets, x.targets, x.weights, x.positive_weights].map(|blocks| blocks[i].0);
        let logits = gradient.0;
        let count = |lane: usize| weights[lane] * if targets[lane] == 1.0 { positive_weights[lane] } else { 1.0 };
        let zero_or_one = |x: f32| x == 0.0 || x == 1.0;
        let multiplied = multiplies
            && (0..LANES)
                .all(|lane| zero_or_one(targets[lane]) && positive_weights[lane].is_finite() && zero_or_one(count(lane)));
        for lane in 0..LANES {
            let (u, y, weight) = (logits[lane] - offsets[lane], targets[lane], weights[lane]);
            let (positive, negative) = (positive_weights[lane] * y, 1.0 - y);
            gradient.0[lane] = 0.0;
            let unscored = weight <= 0.0 || weight.is_nan();
            if unscored {
                continue;
            }
            let e = exp_negative(-u.abs());
            let e = if e < softplus.least { softplus.least } else { e };
            let above = |v: f32| {
                if v < 0.0 {
                    0.0
                } else if softplus.limit < v {
                    softplus.limit
                } else {
                    v
                }
            };
            if multiplied {
                if count(lane) == 1.0 {
                    factors[lane] *= 1.0 + e;
                    terms[lane] += above(if y == 1.0 { -u } else { u });
                }
            } else {
                let mut value = 0.0;
                if positive != 0.0 {
                    value += positive * (above(-u) + log1p_unit(e));
                }
                if negative != 0.0 {
                    value += negative * (above(u) + log1p_unit(e));
                }
                sums[lane] += f64::from(weight * value);
            }
            let inside = loss.eps < sigma(u) && loss.eps < sigma_of_minus(u);
            if loss.kind != LossKind::ClampTorch || inside {
                gradient.0[lane] = (negative * sigma(u) - positive * sigma_of_minus(u)) * weight * loss.scale;
            }
        }
        blocks += usize::from(multiplied);
        if blocks > 0 && (blocks == FACTORS || i + 1 == blocks_in_all) {
            sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += f64::from(term));
            logarithms += ln_of_product(factors);
            (factors, terms, blocks) = ([1.0; LANES], [0.0; LANES], 0);
        }
    }
    tree_sum_f64(sums) + logarithms
}

pub(super) fn activate_backward(activation: Activation, a: &[Block], h: &[Block], d: &mut [Block]) {
    for ((&a, &h), d) in as_floats(a).iter().zip(as_floats(h)).zip(as_floats_mut(d)) {
        match activation {
            _ if h.is_nan() => *d = h,
            Activation::Relu | Activation::Trec(_) | Activation::Tlin(_) if h == 0.0 => *d = 0.0,
            Activation::LeakyRelu(_) | Activation::Elu(_) if a > 0.0 => (),
            Activation::LeakyRelu(slope) => *d *= slope,
            Activation::Elu(alpha) => *d *= h + alpha,
            Activation::Sigmoid => *d *= h * (1.0 - h),
            Activation::Relu | Activation::Trec(_) | Activation::Tlin(_) | Activation::Identity => (),
        }
    }
}

pub(super) fn adagrad(step: &AdaGradStep, gradients: &[Block], weights: &mut [Block], mut squares: Squares<'_>) {
    for (i, (g, w)) in as_floats(gradients).iter().zip(as_floats_mut(weights)).enumerate() {
        if let Squares::Grow(squares) = &mut squares {
            as_floats_mut(squares)[i] += g * g;
        }
        let sum = square(&squares, i);
        let denominator = (sum + step.denominator.inside).sqrt() + step.denominator.outside;
        let change = step.lr * (g / denominator);
        *w = match step.decay {
            Decay::Shrink(shrink) => soft_threshold(*w * shrink.factor - change, shrink.offset),
            Decay::Proximal { l1, l2 } if sum != 0.0 => {
                let moved = *w - change;
                let magnitude = moved.abs() - l1 / denominator;
                or_zero((if magnitude < 0.0 { 0.0 } else { magnitude }) / (1.0 + l2 / denominator), moved)
            }
            Decay::None | Decay::Proximal { .. } => *w - change,
        };
    }
}

/// The sum of weight i.
fn square(squares: &Squares<'_>, i: usize) -> f32 {
    match squares {
        Squares::Grow(squares) => as_floats(squares)[i],
        Squares::Each(squares) => as_floats(squares)[i],
        Squares::Same(sum) => *sum,
    }
}

pub(super) fn adagrad_bags(
    step: &AdaGradStep,
    rows: SteppedRows<'_>,
    terms: &[Block],
    sets: Sets<'_>,
    weights: &mut [Block],
    squares: &mut [Block],
) {
    // Without rows a width need not be one of a table.
    let mut gradient = vec![Block::ZERO; if rows.ids.is_empty() { 0 } else { rows.width }];
    for (id, (set, _)) in rows.ids.iter().zip(sets.iter()) {
        sum_rows(Rows::new(terms, rows.width), None, set, &mut gradient);
        let start = (id - rows.first) as usize * rows.width;
        let range = start..start + rows.width;
        adagrad(step, &gradient, &mut weights[range.clone()], Squares::Grow(&mut squares[range]));
    }
}

pub(super) fn couple(l1: f32, l2: f32, weights: &[Block], gradients: &mut [Block]) {
    for (w, g) in as_floats(weights).iter().zip(as_floats_mut(gradients)) {
        let sum = *g + l2 * w + if *w == 0.0 { 0.0 } else { l1.copysign(*w) };
        *g = if sum.is_infinite() { f32::MAX.copysign(sum) } else { sum };
    }
}

pub(super) fn proximal(steps: &ProximalSteps<'_>, weights: &mut [Block], squares: &Squares<'_>) {
    let Denominator { inside, outside } = steps.denominator;
    for (i, w) in as_floats_mut(weights).iter_mut().enumerate() {
        let sum = square(squares, i);
        if sum == 0.0 {
            continue;
        }
        let quotient = 1.0 / ((f64::from(sum) + f64::from(inside)).sqrt() + f64::from(outside));
        let map = |rate: f64| {
            let a = 1.0 / (1.0 + rate * steps.l2 * quotient);
            (a, rate * steps.l1 * quotient * a)
        };
        let mut u = f64::from(w.abs());
        match steps.rates {
            Rates::Constant(rate, count) => {
                let (mut a, mut b) = map(rate);
                for bit in 0..u32::BITS - count.leading_zeros() {
                    if count >> bit & 1 == 1 {
                        u = u * a - b;
                    }
                    (a, b) = (a * a, b * (1.0 + a));
                }
            }
            Rates::Varying(rates) => {
                for &rate in rates {
                    let (a, b) = map(rate);
                    u = u * a - b;
                }
            }
        }
        *w = or_zero(u as f32, *w);
    }
}

pub(super) fn shrink(shrink: &Shrink, weights: &mut [Block]) {
    for w in as_floats_mut(weights) {
        *w = soft_threshold(*w * shrink.factor, shrink.offset);
    }
}

fn soft_threshold(w: f32, offset: f32) -> f32 {
    or_zero(w.abs() - offset, w)
}

fn or_zero(magnitude: f32, w: f32) -> f32 {
    if magnitude < f32::MIN_POSITIVE { 0.0 } else { magnitude.copysign(w) }
}

pub(super) fn magnitude(x: &[Block]) -> f32 {
    magnitude_of(as_floats(x).iter().copied())
}
