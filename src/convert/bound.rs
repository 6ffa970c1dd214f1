//! A bound for the logit error: how far rounded weights can move a logit, whatever the keywords.
//!
//! With e = ŵ − w for each weight of W1, the pre-activation of unit j moves by `Σ_{k∈S} e_kj`, which is at most the sum of the n
//! largest positive or negative e of its column for a set S of n keywords. An activation carries that on with its steepest slope,
//! and a threshold may be crossed. With |h_j| ≤ H_j, found in the same way from the largest weights, a logit moves by
//!
//! ```text
//! |Δz_t| ≤ Σ_j |Δh_j|·|W2_jt| + (H_j + |Δh_j|)·|ΔW2_jt|
//! ```
//!
//! In panels of `i8` an activation is rounded to a multiple of M / R, where M is the largest one and R the integer that stands for it:
//! |Δh_j| grows by M / 2R and what is off in `f32`.
//!
//! Both models are computed in `f32`: a sum of m terms is off by γ_m = m·u / (1 − m·u) times the sum of their magnitudes, u = 2⁻²⁴
//! (Higham, *Accuracy and Stability of Numerical Algorithms*, section 3.1); that is added for both.

use super::rounds_units;
use crate::aligned::{LANES, as_floats};
use crate::kernels::largest_integer;
use crate::network::{Activation, Group, Network, Pooling, Shape, StoredWeights};
use crate::weights::Matrix;

/// The bound in `f64`, for sets of up to `keywords` keywords; infinite if something overflows.
pub(super) fn bound(network: &Network, before: StoredWeights<'_>, after: StoredWeights<'_>, keywords: usize) -> f64 {
    let shape = &network.shape;
    let mut largest: f64 = 0.0;
    for group in shape.groups() {
        let units: Vec<Unit> = (0..shape.hidden())
            .map(|unit| Unit::new(network, before, after, group.hidden.start * LANES + unit, keywords))
            .collect();
        let of_units = |size: fn(&Unit) -> f64| units.iter().map(size).fold(0.0, f64::max);
        let rounded_before = rounded(shape, before.w2, of_units(|unit| unit.size));
        let rounded_after = rounded(shape, after.w2, of_units(|unit| unit.size + unit.moved));
        for tag in 0..group.tags.len() {
            let moved = tag_bound(network, before, after, group, tag, &units, [rounded_before, rounded_after]);
            if !moved.is_finite() {
                return f64::INFINITY;
            }
            largest = largest.max(moved);
        }
    }
    // The sums above are rounded as well, in `f64`.
    largest * (1.0 + 1e-9)
}

fn tag_bound(
    network: &Network,
    before: StoredWeights<'_>,
    after: StoredWeights<'_>,
    group: &Group,
    tag: usize,
    units: &[Unit],
    [rounded_before, rounded_after]: [f64; 2],
) -> f64 {
    let shape = &network.shape;
    let slot = group.slots.start + tag;
    let bias = f64::from(as_floats(before.b2)[slot]).abs();
    let (mut moved, mut magnitudes, mut unscaled) = (0.0, 2.0 * bias, 0.0);
    for (number, unit) in units.iter().enumerate() {
        let index = shape.w2_index(group, number, tag);
        let (old, new) = (exact(before.w2, index, slot), exact(after.w2, index, slot));
        let size = unit.size + unit.moved;
        moved += (unit.moved + rounded_before) * old.abs() + size * (new - old).abs() + rounded_after * new.abs();
        magnitudes += (unit.size + rounded_before) * old.abs() + (size + rounded_after) * new.abs();
        unscaled += (size + rounded_after) * without_scale(after.w2, index).abs();
        unscaled += (unit.size + rounded_before) * without_scale(before.w2, index).abs();
    }
    // The scale of integers comes last.
    if unscaled >= f64::from(f32::MAX) {
        return f64::INFINITY;
    }
    // Products and sums, for integers a sum that is rounded, two products and a sum more.
    moved + rounding(shape.hidden() + 6, magnitudes)
}

/// How far an activation moves if it becomes an integer, where the largest of its item is at most `largest`.
fn rounded(shape: &Shape, output: Matrix<'_>, largest: f64) -> f64 {
    if !rounds_units(shape, output) {
        return 0.0;
    }
    largest * (0.5 / f64::from(largest_integer(shape.hidden())) + ROUNDED_FOUR_TIMES) + SMALLEST
}

/// What is off of a product of two quotients.
const ROUNDED_FOUR_TIMES: f64 = 4.0 / (1 << 24) as f64;

/// An activation below this may become 0: its step would be no normal number.
const SMALLEST: f64 = f32::MIN_POSITIVE as f64 * i16::MAX as f64;

/// What a hidden unit can do.
struct Unit {
    /// How far it can move.
    moved: f64,
    /// How large it can be before.
    size: f64,
}

impl Unit {
    fn new(network: &Network, before: StoredWeights<'_>, after: StoredWeights<'_>, position: usize, keywords: usize) -> Self {
        let shape = &network.shape;
        let row = shape.row_blocks() * LANES;
        let bias = f64::from(as_floats(before.b1)[position]);
        let column = || {
            (0..shape.keywords()).map(move |keyword| {
                let index = keyword * row + position;
                (exact(before.w1, index, position), exact(after.w1, index, position))
            })
        };
        // A mean moves no further than its largest term.
        let terms = if network.pooling == Pooling::Mean { 1 } else { keywords };
        let mut values = Vec::with_capacity(shape.keywords());
        let mut largest = |value: &dyn Fn((f64, f64)) -> f64| {
            values.clear();
            values.extend(column().map(value));
            sum_of_largest(&mut values, terms)
        };
        let moved = largest(&|(old, new)| new - old).max(largest(&|(old, new)| old - new));
        let (top, bottom) = (bias + largest(&|(old, _)| old), bias - largest(&|(old, _)| -old));
        let magnitudes = 2.0 * bias.abs() + largest(&|(old, _)| old.abs()) + largest(&|(_, new)| new.abs());
        // Sums, the quotient of a mean, for integers their conversion and a product.
        let rounded = rounding(keywords + 4, magnitudes);
        let moved = moved + rounded;
        let (top, bottom) = ((top + rounded).abs(), (bottom - rounded).abs());
        let size = match network.activation {
            Activation::Relu | Activation::Trec(_) => top,
            Activation::LeakyRelu(slope) => top.max(f64::from(slope) * bottom),
            Activation::Elu(alpha) => top.max(f64::from(alpha)),
            Activation::Sigmoid => 1.0,
            Activation::Tlin(_) | Activation::Identity => top.max(bottom),
        };
        let carried = match network.activation {
            Activation::Relu | Activation::LeakyRelu(_) | Activation::Identity => moved,
            Activation::Elu(alpha) => moved * f64::from(alpha).max(1.0),
            Activation::Sigmoid => moved * 0.25,
            // From 0 to just beyond the threshold.
            Activation::Trec(theta) | Activation::Tlin(theta) => moved + f64::from(theta),
        };
        Unit { moved: carried + size * EVALUATION, size: size * (1.0 + EVALUATION) }
    }
}

/// Relative error of evaluating an activation, in both models together: a few units in the last place.
const EVALUATION: f64 = 1.0 / (1 << 20) as f64;

/// The error of a sum of so many products in `f32`, of this sum of magnitudes; infinite if it could overflow. A product below the
/// normal numbers is off by up to 2⁻¹⁵⁰, which is 2⁻²⁴ of the smallest of them.
fn rounding(terms: usize, magnitudes: f64) -> f64 {
    let share = terms as f64 / f64::from(1 << 24);
    if share < 1.0 && magnitudes < f64::from(f32::MAX) {
        share / (1.0 - share) * (magnitudes + f64::from(f32::MIN_POSITIVE))
    } else {
        f64::INFINITY
    }
}

/// The sum of the `count` largest values that are positive.
fn sum_of_largest(values: &mut [f64], count: usize) -> f64 {
    let largest = if count < values.len() {
        let (largest, ..) = values.select_nth_unstable_by(count, |a, b| b.total_cmp(a));
        largest
    } else {
        values
    };
    // In one order, whatever the selection left.
    largest.sort_unstable_by(f64::total_cmp);
    largest.iter().filter(|value| **value > 0.0).sum()
}

/// An integer as it is, and 0 for weights without a scale.
fn without_scale(matrix: Matrix<'_>, index: usize) -> f64 {
    match matrix {
        Matrix::I8 { weights, .. } => f64::from(weights[index / LANES].0[index % LANES]),
        _ => 0.0,
    }
}

/// Like `Matrix::at`, without rounding the product with a scale.
fn exact(matrix: Matrix<'_>, index: usize, scale: usize) -> f64 {
    match matrix {
        Matrix::I8 { weights, scales } => {
            f64::from(weights[index / LANES].0[index % LANES]) * f64::from(as_floats(scales)[scale])
        }
        _ => f64::from(matrix.at(index, scale)),
    }
}
