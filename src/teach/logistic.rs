//! Logistic regression on dense rows, with L2 decay: one convex problem, solved by L-BFGS (Liu & Nocedal 1989).
//!
//! ```text
//! f(v, b) = (1/Σm) Σ_i m_i·ℓ(b + Σ_j v_j·x_ij/s_j, y_i) + l2/2·Σ_j v_j²        s_j: the root mean square of column j
//! ```
//!
//! Logits, losses and gradients are the kernels'; all else is in `f64` in a stated order. So the same data give the same bits at
//! every level.

use std::collections::VecDeque;

use crate::aligned::{Block, LANES, as_floats, as_floats_mut, blocks_for};
use crate::error::Result;
use crate::kernels::{Answer, Answers, HiddenRows, Kernels, LogLoss, LossInputs, LossKind, Rows, TagMajor};

/// Pairs of steps and gradients that L-BFGS remembers.
const MEMORY: usize = 8;
/// Steps at most.
const STEPS: usize = 100;
/// It ends where the gradient is this small a part of what it was at 0.
const TOLERANCE: f64 = 1e-4;
/// Halvings of a step at most.
const HALVINGS: usize = 20;

/// Rows with targets 0 or 1.
pub(super) struct Problem {
    kernels: Kernels,
    /// Rows of `width` blocks.
    rows: Vec<Block>,
    width: usize,
    count: usize,
    ids: Vec<u32>,
    /// 1/s_j, 0 for a column of zeros.
    scales: Vec<f64>,
    targets: Vec<Block>,
    ones: Vec<Block>,
    zeros: Vec<Block>,
}

/// A point: v, and the bias as its last number.
pub(super) type Point = Vec<f64>;

/// The value and the gradient at a point.
struct Value {
    value: f64,
    gradient: Point,
}

impl Problem {
    /// `rows` holds `columns` floats a row, padded to blocks with 0; the first `positives` rows have target 1.
    pub(super) fn new(kernels: Kernels, rows: Vec<Block>, columns: usize, count: usize, positives: usize) -> Self {
        let width = blocks_for(columns);
        let mut squares = vec![0.0; columns];
        for row in as_floats(&rows).chunks_exact((width * LANES).max(1)) {
            for (sum, x) in squares.iter_mut().zip(row) {
                *sum += f64::from(*x) * f64::from(*x);
            }
        }
        let scale = |sum: f64| if sum > 0.0 { (count as f64 / sum).sqrt() } else { 0.0 };
        let mut targets = vec![Block::ZERO; blocks_for(count)];
        as_floats_mut(&mut targets)[..positives].fill(1.0);
        Problem {
            kernels,
            width,
            count,
            ids: (0..).take(count).collect(),
            scales: squares.into_iter().map(scale).collect(),
            ones: vec![Block([1.0; LANES]); targets.len()],
            zeros: vec![Block::ZERO; targets.len()],
            targets,
            rows,
        }
    }

    /// The point 0, of rows that say nothing.
    pub(super) fn origin(&self) -> Point {
        vec![0.0; self.scales.len() + 1]
    }

    /// Weights and bias of a point, as a model has them.
    pub(super) fn weights(&self, point: &Point) -> (Vec<f32>, f32) {
        let (bias, v) = point.split_last().unwrap_or((&0.0, &[]));
        (v.iter().zip(&self.scales).map(|(v, scale)| (v * scale) as f32).collect(), *bias as f32)
    }

    /// The logits of all rows; floats after the last are 0.
    pub(super) fn logits(&self, point: &Point) -> Result<Vec<Block>> {
        let (weights, bias) = self.weights(point);
        let mut row = vec![Block::ZERO; self.width];
        as_floats_mut(&mut row)[..weights.len()].copy_from_slice(&weights);
        let mut logits = vec![Block::ZERO; self.targets.len()];
        let hidden = HiddenRows { blocks: &self.rows, stride: self.width, first: 0, items: self.count };
        let tag = TagMajor { weights: &crate::weights::Matrix::F32(&row), width: self.width, groups: &[1], bias: &[bias] };
        let floats = &mut as_floats_mut(&mut logits)[..self.count];
        self.kernels.tag_major(tag, hidden, &mut Answers { answer: Answer::Logit, floats, stride: 1, first: 0, tags: 1 })?;
        Ok(logits)
    }

    /// The mean loss of the rows that `mask` weighs, without decay.
    pub(super) fn loss(&self, point: &Point, mask: &[Block]) -> Result<f64> {
        let mut deltas = vec![Block::ZERO; self.targets.len()];
        self.losses(point, mask, &mut deltas)
    }

    /// The mean loss, and the gradients by the logits.
    fn losses(&self, point: &Point, mask: &[Block], deltas: &mut [Block]) -> Result<f64> {
        let total: f64 = as_floats(mask).iter().map(|m| f64::from(*m)).sum();
        let constants = LogLoss::new(LossKind::Logit, 0.0, 1.0 / total.max(1.0))?;
        deltas.copy_from_slice(&self.logits(point)?);
        let inputs = LossInputs { targets: &self.targets, weights: mask, positive_weights: &self.ones, offsets: &self.zeros };
        Ok(self.kernels.log_loss(&constants, inputs, deltas)? / total.max(1.0))
    }

    fn value(&self, point: &Point, mask: &[Block], l2: f64) -> Result<Value> {
        let mut deltas = vec![Block::ZERO; self.targets.len()];
        let loss = self.losses(point, mask, &mut deltas)?;
        let deltas = &as_floats(&deltas)[..self.count];
        let mut sums = vec![Block::ZERO; self.width];
        self.kernels.weighted_sum_rows(Rows::new(&self.rows, self.width), None, &self.ids, deltas, &mut sums)?;
        let v = &point[..self.scales.len()];
        let by_weights = as_floats(&sums).iter().zip(&self.scales).zip(v);
        let mut gradient: Point = by_weights.map(|((sum, scale), v)| f64::from(*sum) * scale + l2 * v).collect();
        gradient.push(deltas.iter().map(|delta| f64::from(*delta)).sum());
        Ok(Value { value: loss + l2 / 2.0 * dot(v, v), gradient })
    }

    /// The minimum for the rows that `mask` weighs, found from `start`.
    pub(super) fn solve(&self, start: Point, mask: &[Block], l2: f64) -> Result<Point> {
        let norm = |gradient: &Point| dot(gradient, gradient).sqrt();
        let enough = TOLERANCE * norm(&self.value(&self.origin(), mask, l2)?.gradient);
        let mut memory: VecDeque<Change> = VecDeque::new();
        let (mut point, mut here) = (start, None);
        for _ in 0..STEPS {
            let Value { value, gradient } = match here.take() {
                Some(value) => value,
                None => self.value(&point, mask, l2)?,
            };
            if norm(&gradient) <= enough {
                break;
            }
            let direction = direction(&gradient, &memory);
            let slope = dot(&gradient, &direction);
            // The first direction has the length of a gradient, which says nothing of distances.
            let mut length = if memory.is_empty() { (1.0 / norm(&gradient)).min(1.0) } else { 1.0 };
            let mut next = None;
            for _ in 0..HALVINGS {
                let to: Point = point.iter().zip(&direction).map(|(x, d)| x + length * d).collect();
                let there = self.value(&to, mask, l2)?;
                // Armijo's rule.
                if there.value <= value + 1e-4 * length * slope {
                    next = Some((to, there));
                    break;
                }
                length /= 2.0;
            }
            // Where no step is downhill any more, rounding has the say.
            let Some((to, there)) = next else { break };
            let change = Change::new(&point, &to, &gradient, &there.gradient);
            if change.curvature > 0.0 {
                if memory.len() == MEMORY {
                    memory.pop_front();
                }
                memory.push_back(change);
            }
            (point, here) = (to, Some(there));
        }
        Ok(point)
    }
}

/// What a step changed.
struct Change {
    point: Point,
    gradient: Point,
    /// Their product.
    curvature: f64,
}

impl Change {
    fn new(from: &Point, to: &Point, gradient_from: &Point, gradient_to: &Point) -> Self {
        let difference = |from: &Point, to: &Point| -> Point { to.iter().zip(from).map(|(to, from)| to - from).collect() };
        let (point, gradient) = (difference(from, to), difference(gradient_from, gradient_to));
        Change { curvature: dot(&point, &gradient), point, gradient }
    }
}

/// Downhill, as the changes so far let the curvature be guessed (the two-loop recursion).
fn direction(gradient: &Point, memory: &VecDeque<Change>) -> Point {
    let mut d: Point = gradient.iter().map(|g| -g).collect();
    let mut shares = Vec::with_capacity(memory.len());
    for change in memory.iter().rev() {
        let share = dot(&change.point, &d) / change.curvature;
        add(&mut d, -share, &change.gradient);
        shares.push(share);
    }
    if let Some(last) = memory.back() {
        let scale = last.curvature / dot(&last.gradient, &last.gradient);
        d.iter_mut().for_each(|d| *d *= scale);
    }
    for (change, share) in memory.iter().zip(shares.into_iter().rev()) {
        let back = dot(&change.gradient, &d) / change.curvature;
        add(&mut d, share - back, &change.point);
    }
    d
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], factor: f64, from: &[f64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::tests::random_blocks;

    #[test]
    fn the_minimum_has_no_gradient_and_is_the_same_from_everywhere() {
        let (columns, count, positives) = (20, 50, 13);
        let mut rows = random_blocks(3, count * blocks_for(columns));
        for row in as_floats_mut(&mut rows).chunks_exact_mut(blocks_for(columns) * LANES) {
            row[columns..].fill(0.0);
            row[7] = 0.0;
        }
        let problem = Problem::new(Kernels::best(), rows, columns, count, positives);
        let mut mask = vec![Block::ZERO; blocks_for(count)];
        as_floats_mut(&mut mask)[..count].fill(1.0);
        let l2 = 0.01;
        let found = problem.solve(problem.origin(), &mask, l2).unwrap();
        assert_eq!(found[7], 0.0);
        let again = problem.solve(vec![1.0; columns + 1], &mask, l2).unwrap();
        let value = |point: &Point| problem.value(point, &mask, l2).unwrap().value;
        assert!((value(&found) - value(&again)).abs() < 1e-5, "{} {}", value(&found), value(&again));
        for j in [0, 5, columns] {
            for step in [-0.05, 0.05] {
                let mut moved = found.clone();
                moved[j] += step;
                assert!(value(&moved) > value(&found), "{j} {step}");
            }
        }
        // The mean score of all rows is the share of the positives, as the bias does not decay.
        let mut scores = as_floats(&problem.logits(&found).unwrap())[..count].to_vec();
        Kernels::best().sigmoid(0.0, &mut scores);
        let mean = scores.iter().sum::<f32>() / count as f32;
        assert!((mean - positives as f32 / count as f32).abs() < 1e-3, "{mean}");
    }
}
