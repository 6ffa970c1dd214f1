//! Sigmoid and log-loss: the reductions, and the loss with its gradient for one sample.

use crate::error::Result;
use crate::kernels::{LogLoss, LossKind};
use crate::ln::ln;
use crate::named::named;
use crate::network::check_eps;

/// How the losses of a mini-batch of B samples and T tags become one: a factor on value and gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reduction {
    /// Mean over samples and tags, B·T, whatever is masked.
    Mean,
    /// Mean over the pairs that are scored.
    MeanActive,
    /// Sum over tags, mean over samples, B.
    SumTags,
    /// Sum of everything.
    Sum,
}

named!(Reduction, "reduction", "mean, mean_active, sum_tags or sum", {
    Mean => "mean",
    MeanActive => "mean_active",
    SumTags => "sum_tags",
    Sum => "sum",
});

impl Reduction {
    /// The factor for `samples` samples, `tags` tags and `scored` pairs with a weight above 0; 0 where the divisor would be 0.
    #[must_use]
    pub fn factor(self, samples: usize, tags: usize, scored: usize) -> f64 {
        let divisor = match self {
            Reduction::Mean => samples as f64 * tags as f64,
            Reduction::MeanActive => scored as f64,
            Reduction::SumTags => samples as f64,
            Reduction::Sum => 1.0,
        };
        if divisor > 0.0 { 1.0 / divisor } else { 0.0 }
    }
}

/// The constants of the loss `kind` with probabilities clamped to `[eps, 1 − eps]`, for [`crate::kernels::Kernels::log_loss`].
///
/// # Errors
/// [`Error::Config`](crate::error::Error::Config) unless `0 <= eps < 0.5`, and for -0.
pub fn constants(kind: LossKind, eps: f64, scale: f64) -> Result<LogLoss> {
    let clamp = check_eps(eps)?;
    // Without a clamp there is nothing outside it: all losses have the gradient of the logit loss.
    let kind = if clamp == 0.0 && kind == LossKind::ClampTorch { LossKind::ClampSte } else { kind };
    Ok(LogLoss { kind, eps: clamp, bounds: [-ln(1.0 - eps) as f32, -ln(eps) as f32], scale: scale as f32 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aligned::{Block, LANES, as_floats, as_floats_mut};
    use crate::kernels::{Kernels, LossInputs};
    use crate::layers::tests::random_blocks;

    fn loss(kind: LossKind, eps: f64, z: &[Block], targets: &[Block], gradient: &mut [Block]) -> f64 {
        let weights: Vec<Block> = random_blocks(31, z.len()).iter().map(|b| Block(b.0.map(|x| x.max(0.0)))).collect();
        let positive_weights: Vec<Block> = random_blocks(32, z.len()).iter().map(|b| Block(b.0.map(|x| x + 1.5))).collect();
        let offsets = random_blocks(33, z.len());
        let inputs =
            LossInputs { logits: z, targets, weights: &weights, positive_weights: &positive_weights, offsets: &offsets };
        Kernels::best().log_loss(&constants(kind, eps, 1.0).unwrap(), inputs, gradient).unwrap()
    }

    /// Inside the clamp all three losses have the gradient of their value.
    #[test]
    fn gradient_is_the_finite_difference() {
        for kind in [LossKind::ClampSte, LossKind::Logit, LossKind::ClampTorch] {
            let z: Vec<Block> = random_blocks(1, 3).iter().map(|b| Block(b.0.map(|x| x * 4.0))).collect();
            let targets: Vec<Block> = random_blocks(2, 3).iter().map(|b| Block(b.0.map(f32::abs))).collect();
            let mut gradient = vec![Block::ZERO; 3];
            loss(kind, 1e-4, &z, &targets, &mut gradient);
            for slot in 0..3 * LANES {
                let at = |step: f32| {
                    let mut moved = z.clone();
                    as_floats_mut(&mut moved)[slot] += step;
                    loss(kind, 1e-4, &moved, &targets, &mut [Block::ZERO; 3])
                };
                let difference = (at(0.02) - at(-0.02)) / 0.04;
                assert!((difference - f64::from(as_floats(&gradient)[slot])).abs() < 2e-4, "{kind:?}");
            }
        }
    }

    /// The point of the straight-through gradient: the clamp bounds the value, not the push on a confidently wrong score.
    #[test]
    fn a_confidently_wrong_score_is_pushed_back() {
        let ones = [Block([1.0; LANES])];
        let inputs = LossInputs {
            logits: &[Block([12.0; LANES])],
            targets: &[Block::ZERO],
            weights: &ones,
            positive_weights: &ones,
            offsets: &[Block::ZERO],
        };
        for (kind, push) in [(LossKind::ClampSte, 1.0), (LossKind::Logit, 1.0), (LossKind::ClampTorch, 0.0)] {
            let mut gradient = [Block::ZERO];
            let value = Kernels::best().log_loss(&constants(kind, 1e-4, 1.0).unwrap(), inputs, &mut gradient).unwrap();
            assert!((gradient[0].0[0] - push).abs() < 1e-4);
            let expected = if kind == LossKind::Logit { 12.0 } else { 9.2103 };
            assert!((value / 16.0 - expected).abs() < 1e-3);
        }
    }

    /// Nothing lies outside a clamp to [0, 1], even where a probability has underflowed.
    #[test]
    fn without_a_clamp_every_loss_pushes_back() {
        let ones = [Block([1.0; LANES])];
        let inputs = LossInputs {
            logits: &[Block([200.0; LANES])],
            targets: &[Block::ZERO],
            weights: &ones,
            positive_weights: &ones,
            offsets: &[Block::ZERO],
        };
        for kind in [LossKind::ClampSte, LossKind::Logit, LossKind::ClampTorch] {
            let mut gradient = [Block::ZERO];
            let value = Kernels::best().log_loss(&constants(kind, 0.0, 1.0).unwrap(), inputs, &mut gradient).unwrap();
            assert_eq!((value, gradient), (16.0 * 200.0, ones), "{kind}");
        }
    }

    #[test]
    fn eps_is_checked_and_an_empty_batch_weighs_nothing() {
        for eps in [0.5, 0.499_999_999, -1e-9, -0.0, f64::NAN, f64::INFINITY] {
            assert!(constants(LossKind::ClampSte, eps, 1.0).is_err());
        }
        assert_eq!(Reduction::Mean.factor(0, 3, 0), 0.0);
        assert_eq!(Reduction::MeanActive.factor(2, 3, 0), 0.0);
        assert_eq!(Reduction::SumTags.factor(4, 3, 9), 0.25);
    }
}
