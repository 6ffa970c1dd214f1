//! The mini-batches of an epoch, one after the other.

use super::batch::{Keywords, Sample};
use super::objective::{EpochPairs, Objective};
use super::order::Order;
use crate::data::Dataset;
use crate::error::Result;
use crate::network::Shape;
use crate::rng::Philox;

/// Loads them: what a mini-batch needs beside the weights, so that it can be done beside the step before.
pub(super) struct Loader<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) objective: Objective,
    pub(super) shape: Shape,
    /// Samples in a mini-batch.
    pub(super) size: usize,
    /// Generator, rate and threshold of input dropout.
    pub(super) dropout: Option<(Philox, f64, u32)>,
    pub(super) order: &'a mut Order,
    pub(super) pairs: &'a EpochPairs,
    /// Samples of the mini-batch that was loaded last.
    pub(super) numbers: Vec<u32>,
}

impl<'a> Loader<'a> {
    /// What it costs to load a keyword, in blocks read.
    pub(super) const COST: usize = 10;

    /// Replaces `batch` and `keywords` by those of the next mini-batch, which step `step` is to be taken on; there are none at the end.
    ///
    /// # Errors
    /// If a sample does not fit the network, or there are too many keywords.
    pub(super) fn load(&mut self, batch: &mut Vec<Sample<'a>>, keywords: &mut Keywords, step: u64) -> Result<()> {
        let pairs = self.pairs;
        self.order.next(self.size, &mut self.numbers, |sample| pairs.scores(sample as usize));
        self.dataset.look_up(&self.numbers);
        batch.clear();
        batch.extend(self.numbers.iter().map(|number| pairs.sample(self.objective, self.dataset, *number)));
        Sample::check_ranges(batch, &self.shape)?;
        keywords.load(batch, self.dropout, step)
    }

    /// Takes the last mini-batch back: it will be the next one again.
    pub(super) fn put_back(&mut self) {
        self.order.put_back(&self.numbers);
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
