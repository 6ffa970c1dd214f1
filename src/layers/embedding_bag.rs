//! First layer: `a = b1 + Σ_{k∈S} x_k·W1[k]`, only additions of rows, in ascending order of keywords. Where keywords are pooled by
//! their mean, the sum is divided by |S| before b1 is added.

use crate::aligned::{Block, as_floats, as_floats_mut};
use crate::error::Result;
use crate::kernels::{Kernels, Rows};
use crate::network::Weights;

/// Rows to be summed: the keywords of a sample, or the samples of a keyword.
#[derive(Clone, Copy, Debug)]
pub struct Bag<'a> {
    /// Row numbers, in the order of the sum.
    pub ids: &'a [u32],
    /// A factor for each row; `None` is 1 for all.
    pub factors: Option<&'a [f32]>,
}

impl<'a> Bag<'a> {
    /// The bag with all factors 1.
    #[must_use]
    pub fn of(ids: &'a [u32]) -> Self {
        Bag { ids, factors: None }
    }

    fn sum(self, kernels: Kernels, rows: Rows<'_>, init: Option<&[Block]>, out: &mut [Block]) -> Result<()> {
        match self.factors {
            None => kernels.sum_rows(rows, init, self.ids, out),
            Some(factors) => kernels.weighted_sum_rows(rows, init, self.ids, factors, out),
        }
    }
}

/// Writes the pre-activations of the sample with keywords `bag` to `out`, [`crate::network::Shape::row_blocks`] long.
///
/// # Errors
/// If a keyword has no row in W1, or a length is wrong.
pub fn forward(kernels: Kernels, weights: Weights<'_>, bag: Bag<'_>, out: &mut [Block]) -> Result<()> {
    bag.sum(kernels, Rows::new(weights.w1, out.len()), Some(weights.b1), out)
}

/// Like [`forward`], for a sample of `keywords` keywords that are pooled by their mean. The bag may lack some of them.
///
/// # Errors
/// As [`forward`].
pub fn forward_mean(kernels: Kernels, weights: Weights<'_>, bag: Bag<'_>, keywords: usize, out: &mut [Block]) -> Result<()> {
    bag.sum(kernels, Rows::new(weights.w1, out.len()), None, out)?;
    mean(weights.b1, keywords, out);
    Ok(())
}

/// Turns the sum of a sample's rows, without the bias, into its pre-activations where keywords are pooled by their mean:
/// `sum / keywords + b1`. Without keywords that is `b1`.
pub fn mean(b1: &[Block], keywords: usize, sum: &mut [Block]) {
    let divisor = keywords.max(1) as f32;
    for (a, b) in as_floats_mut(sum).iter_mut().zip(as_floats(b1)) {
        *a = *a / divisor + b;
    }
}

/// Turns the gradient by the pre-activations of a sample of `keywords` keywords that are pooled by their mean into the gradient by the
/// sum of their rows.
pub fn backward_mean(keywords: usize, d_pre_activations: &mut [Block]) {
    let divisor = keywords.max(1) as f32;
    as_floats_mut(d_pre_activations).iter_mut().for_each(|d| *d /= divisor);
}

/// Writes the gradient of one row of W1 to `out`: `Σ_i x_i·da_i` over the samples in `bag`, those that hold its keyword.
/// `d_pre_activations` has one row a sample, as long as `out`. With every sample in the bag it is the gradient of b1.
///
/// # Errors
/// If a sample has no row, or a length is wrong.
pub fn backward_row(kernels: Kernels, d_pre_activations: &[Block], bag: Bag<'_>, out: &mut [Block]) -> Result<()> {
    bag.sum(kernels, Rows::new(d_pre_activations, out.len()), None, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aligned::zeroed;
    use crate::layers::tests::random_blocks;

    /// The layer is linear, so a finite difference is its derivative but for rounding.
    #[test]
    fn gradient_of_a_row_is_the_finite_difference() {
        for (seed, hidden) in [(1, 1), (2, 16), (3, 37), (4, 80)] {
            let blocks = hidden_blocks(hidden);
            let samples: [&[u32]; 4] = [&[0, 2], &[], &[2], &[1, 2]];
            let factors: [&[f32]; 4] = [&[1.0, 2.0], &[], &[0.5], &[1.0, 1.25]];
            let w1 = random_blocks(seed, 3 * blocks);
            let b1 = random_blocks(seed + 10, blocks);
            let d = random_blocks(seed + 20, 4 * blocks);
            let kernels = Kernels::best();
            let loss = |w1: &[Block]| {
                let weights = Weights { w1, b1: &b1, w2: &[], b2: &[] };
                let mut a = vec![Block::ZERO; blocks];
                let mut sum = 0.0;
                for (i, (ids, factors)) in samples.iter().zip(factors).enumerate() {
                    forward(kernels, weights, Bag { ids, factors: Some(factors) }, &mut a).unwrap();
                    sum += as_floats(&a)
                        .iter()
                        .zip(as_floats(&d[i * blocks..]))
                        .map(|(a, d)| f64::from(*a) * f64::from(*d))
                        .sum::<f64>();
                }
                sum
            };
            let mut gradient = zeroed(hidden);
            backward_row(kernels, &d, Bag { ids: &[0, 2, 3], factors: Some(&[2.0, 0.5, 1.25]) }, &mut gradient).unwrap();
            for unit in [0, hidden / 2, hidden - 1] {
                let mut moved = w1.clone();
                as_floats_mut(&mut moved)[2 * blocks * 16 + unit] += 0.5;
                let difference = (loss(&moved) - loss(&w1)) / 0.5;
                let exact = f64::from(as_floats(&gradient)[unit]);
                assert!((difference - exact).abs() < 1e-5 * exact.abs().max(1.0), "{difference} against {exact}");
            }
        }
    }

    fn hidden_blocks(hidden: usize) -> usize {
        crate::aligned::blocks_for(hidden)
    }
}
