//! First layer: `a = b1 + Σ_{k∈S} x_k·W1[k]`, only additions of rows, in ascending order of keywords. Where keywords are pooled by
//! their mean, the sum is divided by |S| before b1 is added.

use super::forward::mean;
use crate::aligned::{Block, as_floats_mut};
use crate::error::Result;
use crate::ids::Sets;
use crate::kernels::{Kernels, Rows};
use crate::network::{Activation, Weights};
use crate::weights::Matrix;

/// The keywords of some samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bags<'a> {
    /// A set of keyword ids for each sample.
    pub(crate) sets: Sets<'a>,
    /// The factor x on every keyword.
    pub(crate) factor: f32,
}

/// Writes the pre-activations of some samples to `out`, a row of [`crate::network::Shape::row_blocks`] blocks for each.
///
/// # Errors
/// If a keyword has no row in W1, or a length is wrong.
pub(crate) fn forward(kernels: Kernels, weights: Weights<'_>, bags: Bags<'_>, out: &mut [Block]) -> Result<()> {
    if bags.factor == 1.0 {
        return kernels.sum_bags(&Matrix::F32(weights.w1), weights.b1, Activation::Identity, bags.sets, out);
    }
    kernels.sum_scaled_bags(Rows::new(weights.w1, weights.b1.len()), weights.b1, bags.sets, bags.factor, out)
}

/// Like [`forward`], for samples whose keywords are pooled by their mean; `keywords` says how many each has, and some may be missing in its
/// bag.
///
/// # Errors
/// As [`forward`].
pub(crate) fn forward_mean(
    kernels: Kernels,
    weights: Weights<'_>,
    bags: Bags<'_>,
    keywords: impl IntoIterator<Item = usize>,
    out: &mut [Block],
) -> Result<()> {
    let b1 = vec![Block::ZERO; weights.b1.len()];
    forward(kernels, Weights { b1: &b1, ..weights }, bags, out)?;
    for (keywords, sum) in keywords.into_iter().zip(out.chunks_exact_mut(b1.len().max(1))) {
        mean(weights.b1, keywords, sum);
    }
    Ok(())
}

/// Turns the gradient by the pre-activations of a sample of `keywords` keywords that are pooled by their mean into the gradient by the
/// sum of their rows.
pub(crate) fn backward_mean(keywords: usize, d_pre_activations: &mut [Block]) {
    let divisor = keywords.max(1) as f32;
    as_floats_mut(d_pre_activations).iter_mut().for_each(|d| *d /= divisor);
}

/// Writes the gradient of a row of W1 to `out`: `Σ_i da_i` over the samples that hold the row's keyword, in their order.
/// `d_pre_activations` has one row a sample. Where keywords have a factor, it is in `da` already.
///
/// # Errors
/// If a sample has no row, or a length is wrong.
pub(crate) fn backward_row(kernels: Kernels, d_pre_activations: &[Block], samples: &[u32], out: &mut [Block]) -> Result<()> {
    kernels.sum_rows(Rows::new(d_pre_activations, out.len()), None, samples, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aligned::{as_floats, zeroed};
    use crate::layers::tests::random_blocks;

    /// The layer is linear, so a finite difference is its derivative but for rounding.
    #[test]
    fn gradient_of_a_row_is_the_finite_difference() {
        for (seed, hidden) in [(1, 1), (2, 16), (3, 37), (4, 80)] {
            let blocks = hidden_blocks(hidden);
            let samples: [&[u32]; 4] = [&[0, 2], &[], &[2], &[1, 2]];
            let w1 = random_blocks(seed, 3 * blocks);
            let b1 = random_blocks(seed + 10, blocks);
            let d = random_blocks(seed + 20, 4 * blocks);
            let kernels = Kernels::best();
            let loss = |w1: &[Block]| {
                let weights = Weights { w1, b1: &b1, w2: &[], b2: &[] };
                let mut a = vec![Block::ZERO; blocks];
                let mut sum = 0.0;
                for (i, ids) in samples.iter().enumerate() {
                    forward(kernels, weights, Bags { sets: Sets::new(ids, &[0, ids.len()]).unwrap(), factor: 1.0 }, &mut a)
                        .unwrap();
                    sum += as_floats(&a)
                        .iter()
                        .zip(as_floats(&d[i * blocks..]))
                        .map(|(a, d)| f64::from(*a) * f64::from(*d))
                        .sum::<f64>();
                }
                sum
            };
            let mut gradient = zeroed(hidden);
            backward_row(kernels, &d, &[0, 2, 3], &mut gradient).unwrap();
            for unit in [0, hidden / 2, hidden - 1] {
                let mut moved = w1.clone();
                as_floats_mut(&mut moved)[2 * blocks * 16 + unit] += 0.5;
                let difference = (loss(&moved) - loss(&w1)) / 0.5;
                let exact = f64::from(as_floats(&gradient)[unit]);
                assert!((difference - exact).abs() < 1e-5 * exact.abs().max(1.0), "{difference} against {exact}");
            }
        }
    }

    /// Linear too; the gradient by a row is shared out between the keywords.
    #[test]
    fn gradient_through_a_mean_is_the_finite_difference() {
        for (seed, hidden, keywords) in [(1, 1, 1), (2, 16, 3), (3, 37, 2), (4, 5, 0)] {
            let blocks = hidden_blocks(hidden);
            let (w1, b1) = (random_blocks(seed, 4 * blocks), random_blocks(seed + 10, blocks));
            let (kernels, d) = (Kernels::best(), random_blocks(seed + 20, blocks));
            let ids: Vec<u32> = (0..keywords).collect();
            let loss = |w1: &[Block]| {
                let mut a = vec![Block::ZERO; blocks];
                let weights = Weights { w1, b1: &b1, w2: &[], b2: &[] };
                let starts = [0, ids.len()];
                let bags = Bags { sets: Sets::new(&ids, &starts).unwrap(), factor: 1.0 };
                forward_mean(kernels, weights, bags, [ids.len()], &mut a).unwrap();
                as_floats(&a).iter().zip(as_floats(&d)).map(|(a, d)| f64::from(*a) * f64::from(*d)).sum::<f64>()
            };
            let mut shared = d.clone();
            backward_mean(ids.len(), &mut shared);
            for id in 0..4 {
                let samples: &[u32] = if ids.contains(&id) { &[0] } else { &[] };
                let mut gradient = zeroed(hidden);
                backward_row(kernels, &shared, samples, &mut gradient).unwrap();
                for unit in [0, hidden / 2, hidden - 1] {
                    let mut moved = w1.clone();
                    as_floats_mut(&mut moved)[id as usize * blocks * 16 + unit] += 0.5;
                    let difference = (loss(&moved) - loss(&w1)) / 0.5;
                    assert!((difference - f64::from(as_floats(&gradient)[unit])).abs() < 1e-5, "{keywords} keywords, {id}");
                }
            }
        }
    }

    #[test]
    fn a_factor_multiplies_every_keyword() {
        let (w1, b1) = (random_blocks(1, 4), random_blocks(2, 2));
        for factor in [1.0, 1.25, 2.0, 10.0] {
            let weights = Weights { w1: &w1, b1: &b1, w2: &[], b2: &[] };
            let mut out = [Block::ZERO; 2];
            let bags = Bags { sets: Sets::new(&[0, 1], &[0, 2]).unwrap(), factor };
            forward(Kernels::best(), weights, bags, &mut out).unwrap();
            for (unit, a) in as_floats(&out).iter().enumerate() {
                let [w1, b1] = [&w1, &b1].map(|part| as_floats(part));
                let exact = b1[unit] + factor * (w1[unit] + w1[32 + unit]);
                assert!((a - exact).abs() < 1e-5, "{a} for {exact}, factor {factor}");
            }
        }
    }

    fn hidden_blocks(hidden: usize) -> usize {
        crate::aligned::blocks_for(hidden)
    }
}
