//! The mini-batches of an epoch, one after the other.

use super::batch::{MiniBatch, Sample};
use super::dropout::Dropout;
use super::objective::{EpochPairs, Objective};
use super::order::Order;
use crate::data::Dataset;
use crate::error::Result;
use crate::network::Shape;

/// Loads them: what a mini-batch needs beside the weights, so that it can be done beside the step before.
pub(super) struct Loader<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) objective: Objective,
    pub(super) shape: Shape,
    /// Samples in a mini-batch.
    pub(super) size: usize,
    /// Of keywords.
    pub(super) dropout: Option<Dropout>,
    pub(super) order: &'a mut Order,
    pub(super) pairs: &'a EpochPairs,
}

impl<'a> Loader<'a> {
    /// What it costs to load a keyword, in blocks read.
    pub(super) const COST: usize = 10;

    /// Replaces `batch` by the next mini-batch, which step `step` is to be taken on; it has no samples at the end.
    ///
    /// # Errors
    /// If a sample does not fit the network, or there are too many keywords.
    pub(super) fn load(&mut self, batch: &mut MiniBatch<'a>, step: u64) -> Result<()> {
        let MiniBatch { numbers, samples, keywords } = batch;
        self.order.next(self.size, numbers, |sample| self.pairs.scores(sample as usize));
        self.dataset.look_up(numbers);
        samples.clear();
        samples.extend(numbers.iter().map(|number| self.pairs.sample(self.objective, self.dataset, *number)));
        Sample::check_ranges(samples, &self.shape)?;
        keywords.load(samples, self.dropout, step)
    }

    /// Takes the mini-batch that was loaded last back: it will be the next one again.
    pub(super) fn put_back(&mut self, batch: &MiniBatch<'_>) {
        self.order.put_back(&batch.numbers);
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use crate::data::Dataset;
    use crate::error::Error;
    use crate::tags::Tags;
    use crate::train::{FitState, Statistics, TrainConfig, Trainer};
    use crate::vocab::Vocabulary;

    #[test]
    fn a_step_beside_which_loading_fails_is_counted() {
        let mut dataset = Dataset::new();
        for i in 0..40 {
            // The last one does not fit.
            dataset.push(&[if i == 39 { 7 } else { i % 5 }], &[0][..(i % 2) as usize], 1.0).unwrap();
        }
        let mut most = 0;
        for seed in 0..4 {
            let config = TrainConfig { hidden: 4, batch: 4, seed, ..TrainConfig::default() };
            let vocabulary = Vocabulary::from_keywords((0..5).map(|n| format!("k{n}"))).unwrap();
            let tags = Tags::from_names(["t"]).unwrap();
            let mut trainer = Trainer::new(config, vocabulary, tags, &Statistics::of(&dataset, 1)).unwrap();
            let mut fit = FitState::default();
            let result = trainer.advance(&mut fit, &dataset, None, &mut |_| ControlFlow::Continue(()));
            assert!(matches!(result, Err(Error::KeywordOutOfRange { id: 7, keywords: 5, .. })), "{result:?}");
            assert_eq!(fit.under_way.map(|sums| sums.samples), Some(trainer.steps() * 4), "seed {seed}");
            most = most.max(trainer.steps());
        }
        assert!(most > 0, "some seeds visit other samples first");
    }
}
