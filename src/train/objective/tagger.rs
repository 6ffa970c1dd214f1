//! The tagger's pairs: a tag's positives, and all or some of its negatives.

use super::super::batch::PairWeights;
use super::super::config::Correction;
use super::super::trainer::Trainer;
use crate::aligned::Block;
use crate::data::{Dataset, NegativeSampler, ScoredPairs, logit_correction};
use crate::error::Result;
use crate::rng::Philox;

/// The pairs of an epoch that are scored, where not all are.
#[derive(Clone, Debug)]
pub(in super::super) struct TagPairs {
    scored: ScoredPairs,
    /// Of each tag's negatives, where they count for those that were left out.
    factors: Option<Vec<f32>>,
    /// ln ρ, one a tag slot, where training sees the logit without it.
    pub(super) offsets: Option<Vec<Block>>,
    /// The same, where it is added when serving.
    pub(super) shifts: Option<Vec<Block>>,
}

impl TagPairs {
    /// All but those of tags that a sample is no negative of.
    pub(super) fn all(dataset: &Dataset, tags: usize) -> Self {
        let scored = ScoredPairs::all_but(dataset.exclusions(), dataset.len(), tags);
        TagPairs { scored, factors: None, offsets: None, shifts: None }
    }

    /// Whether any pair of a sample is scored.
    pub(super) fn scores(&self, sample: usize) -> bool {
        self.scored.row(sample).iter().any(|word| *word != 0)
    }

    /// What counts of sample `i`, which counts `weight`.
    pub(super) fn weights(&self, i: usize, weight: f32) -> PairWeights<'_> {
        PairWeights::Scored { tags: self.scored.row(i), weight, negatives: self.factors.as_deref() }
    }
}

impl Trainer {
    /// Draws the negatives of `epoch`, to be corrected for as configured.
    pub(super) fn sample_negatives(&self, dataset: &Dataset, ratio: f64, epoch: u32) -> Result<TagPairs> {
        let names: Vec<&str> = self.tags.iter().map(|tag| tag.name.as_str()).collect();
        let negatives = NegativeSampler::new(Philox::new(self.config.seed), dataset, &names, ratio)?;
        let rates: Vec<f64> = negatives.quotas().iter().map(|quota| quota.rate).collect();
        let (mut factors, mut offsets, mut shifts) = (None, None, None);
        match self.config.correction {
            Correction::Offset => offsets = Some(self.offsets_of(&rates)?),
            Correction::Shift => {
                let of_tags: Vec<f32> = rates.iter().map(|rate| logit_correction(*rate, 1.0, 1.0) as f32).collect();
                let mut slots = vec![Block::ZERO; self.network.shape.slot_blocks()];
                self.network.shape.scatter_slots(&of_tags, &mut slots);
                shifts = Some(slots);
            }
            Correction::Importance => factors = Some(rates.iter().map(|rate| (1.0 / rate) as f32).collect()),
        }
        Ok(TagPairs { scored: negatives.epoch(epoch), factors, offsets, shifts })
    }
}
