//! How the losses of a mini-batch become one.

use crate::named::named;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_batch_weighs_nothing() {
        assert_eq!(Reduction::Mean.factor(0, 3, 0), 0.0);
        assert_eq!(Reduction::MeanActive.factor(2, 3, 0), 0.0);
        assert_eq!(Reduction::SumTags.factor(4, 3, 9), 0.25);
    }
}
