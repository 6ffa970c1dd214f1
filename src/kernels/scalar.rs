//! The scalar level: every kernel again as a plain loop over floats, the reference for the others.
//!
//! It shares nothing with the bodies but the constants of the polynomials. Read it to know what a kernel computes, in which order.

use super::activation::ActiveUnits;
use super::adagrad::{AdaGradStep, Decay, Denominator, ProximalSteps, Rates, Shrink, Squares, SteppedRows};
use super::integers;
use super::output::{ActiveLists, Answer, Answers, HiddenRows, ListBuffers, PANEL_BLOCKS, Panels, TagMajor, list};
use super::product::{Product, RowsMut};
use super::rows::{Rows, tree_sum};
use super::select::Bounds;
use super::sigmoid::{ATANH_POLY, EXP_POLY, EXP_UNDERFLOW, LN2_HIGH, LN2_LOW, LogLoss, LossInputs, LossKind};
use super::simd::EXPONENT_SHIFT;
use super::simd::portable::Portable;
use crate::activation::Activation;
use crate::aligned::{Block, LANES, as_floats, as_floats_mut, blocks_for};
use crate::ids::Sets;
use crate::weights::Matrix;

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

pub(super) fn ascends(ids: &[u32]) -> bool {
    ids.is_sorted_by(|a, b| a < b)
}

pub(super) fn sum_bags(table: Matrix<'_>, init: &[Block], activation: Activation, sets: Sets<'_>, out: &mut [Block]) {
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
fn stored(matrix: Matrix<'_>, index: usize) -> f32 {
    match matrix {
        Matrix::I8 { weights, .. } => f32::from(weights[index / LANES].0[index % LANES]),
        _ => matrix.at(index, 0),
    }
}

pub(super) fn panels(
    panels: Panels<Matrix<'_>>,
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

pub(super) fn panels_sparse(panels: Panels<Matrix<'_>>, active: ActiveLists<'_>, bias: &[Block], answers: &mut Answers<'_>) {
    for (item, bounds) in active.starts.windows(2).enumerate() {
        let place = bounds[0]..bounds[1];
        let units = active.units[place.clone()].iter().copied().zip(active.values[place].iter().copied());
        add_units(panels, units, bias, answers, item);
    }
}

pub(super) fn panels_dense(panels: Panels<Matrix<'_>>, hidden: HiddenRows<'_>, bias: &[Block], answers: &mut Answers<'_>) {
    for item in 0..hidden.items {
        let start = (item * hidden.stride + hidden.first) * LANES;
        let values = &as_floats(hidden.blocks)[start..][..panels.units];
        add_units(panels, (0..).zip(values.iter().copied()), bias, answers, item);
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
        for unit in 0..panels.units {
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
}

fn add_units(
    panels: Panels<Matrix<'_>>,
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

fn exp_negative(x: f32) -> f32 {
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

fn log1p_unit(e: f32) -> f32 {
    let ratio = e / (e + 2.0);
    let poly = ATANH_POLY.iter().skip(1).fold(ATANH_POLY[0], |sum, c| sum * (ratio * ratio) + c);
    (ratio + ratio) * poly
}

fn sigma(x: f32) -> f32 {
    let e = exp_negative(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

fn sigma_of_minus(x: f32) -> f32 {
    let e = exp_negative(-x.abs());
    (if x < 0.0 { 1.0 } else { e }) / (1.0 + e)
}

fn softplus(x: f32) -> f32 {
    (if x < 0.0 { 0.0 } else { x }) + log1p_unit(exp_negative(-x.abs()))
}

fn softplus_of_minus(x: f32) -> f32 {
    (if x < 0.0 { -x } else { 0.0 }) + log1p_unit(exp_negative(-x.abs()))
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

pub(super) fn log_loss(loss: &LogLoss, x: LossInputs<'_>, gradient: &mut [Block]) -> f64 {
    let [low, high] = loss.bounds;
    let mut sums = [0.0_f64; LANES];
    for (i, gradient) in as_floats_mut(gradient).iter_mut().enumerate() {
        let at = |blocks| as_floats(blocks)[i];
        let (u, y, weight) = (at(x.logits) - at(x.offsets), at(x.targets), at(x.weights));
        let (positive, negative) = (at(x.positive_weights) * y, 1.0 - y);
        *gradient = 0.0;
        let unscored = weight <= 0.0 || weight.is_nan();
        if unscored {
            continue;
        }
        let clamped = |value| if loss.kind == LossKind::Logit { value } else { clamp(value, low, high) };
        let mut value = 0.0;
        if positive != 0.0 {
            value += positive * clamped(softplus_of_minus(u));
        }
        if negative != 0.0 {
            value += negative * clamped(softplus(u));
        }
        sums[i % LANES] += f64::from(weight * value);
        let inside = loss.eps < sigma(u) && loss.eps < sigma_of_minus(u);
        if loss.kind != LossKind::ClampTorch || inside {
            *gradient = (negative * sigma(u) - positive * sigma_of_minus(u)) * weight * loss.scale;
        }
    }
    super::sigmoid::tree_sum_f64(sums)
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

pub(super) fn adagrad_rows(
    step: &AdaGradStep,
    rows: SteppedRows<'_>,
    gradients: &[Block],
    weights: &mut [Block],
    squares: &mut [Block],
) {
    for (id, gradient) in rows.ids.iter().zip(gradients.chunks_exact(rows.width.max(1))) {
        let start = (id - rows.first) as usize * rows.width;
        let range = start..start + rows.width;
        adagrad(step, gradient, &mut weights[range.clone()], Squares::Grow(&mut squares[range]));
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

fn magnitude_of(x: impl Iterator<Item = f32> + Clone) -> f32 {
    if x.clone().all(|x| x.is_finite()) { x.fold(0.0, |largest, x| f32::max(largest, x.abs())) } else { f32::NAN }
}
