//! The autoencoder: hidden units from which the sample's own keywords can be told. Its first layer is where a tagger's can begin.
//!
//! ```text
//! s_v = c_v + h · D_v        for every keyword v of the sample, and all or some others; D = W1 where it is tied
//! ```
//!
//! With input dropout it is a denoising one: the keywords that were dropped are to be told too.

use super::super::config::{Negatives, TrainConfig};
use super::super::fit::{FitReport, Observer};
use super::super::parameters::Statistics;
use super::super::trainer::Trainer;
use super::{DrawCount, EpochPairs, Objective, SampleDraws};
use crate::csr::Csr;
use crate::data::{Dataset, WeightedDraws};
use crate::error::{Error, Result};
use crate::network::Activation;
use crate::rng::{Drawn, Philox};
use crate::tags::Tags;
use crate::train::Reduction;

/// An autoencoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Autoencoder {
    /// Whether the output weights are those of the first layer.
    pub tied: bool,
    /// How many keywords that a sample does not have are drawn for it in each step, from 1 to 1,000,000; `None` scores all
    /// of them.
    pub negatives: Option<usize>,
    /// They are drawn in proportion to keywords' counts to this power, from 0 to 1.
    pub power: f64,
}

impl Default for Autoencoder {
    fn default() -> Self {
        Autoencoder { tied: false, negatives: Some(20), power: 0.75 }
    }
}

/// An autoencoder that is trained before the tagger, whose first layer begins where the autoencoder's ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pretrain {
    /// For so many epochs, at least 1.
    pub epochs: u32,
    /// The autoencoder. Hidden units, optimiser, decay, dropout, penalty and seed are the tagger's, but squared-gradient sums start at
    /// 0.
    pub autoencoder: Autoencoder,
}

impl Autoencoder {
    /// Its choices, as a model's provenance tells them.
    pub(super) fn described(&self) -> Vec<(&'static str, String)> {
        let negatives = self.negatives.map_or_else(|| "all".to_owned(), |m| m.to_string());
        vec![
            ("decoder", if self.tied { "tied" } else { "untied" }.to_owned()),
            ("decoder_negatives", negatives),
            ("decoder_power", self.power.to_string()),
        ]
    }

    /// How often each keyword is expected as a negative where negatives are drawn.
    pub(super) fn expected_negatives(&self, statistics: &Statistics) -> Result<Option<Vec<u64>>> {
        let Some(m) = self.negatives else { return Ok(None) };
        let weights = WeightedDraws::new(&statistics.positives, self.power)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
        let round = |x: f64| (x + 0.5).floor() as u64;
        Ok(Some(weights.expected(m as f64 * statistics.samples as f64).into_iter().map(round).collect()))
    }

    pub(super) fn epoch_pairs(&self, rng: Philox, dataset: &Dataset, keywords: usize) -> Result<EpochPairs> {
        let Some(m) = self.negatives else { return Ok(EpochPairs::All) };
        let weights = WeightedDraws::new(&dataset.keyword_counts(keywords), self.power)?;
        let (drawn, count, excluded) = (Drawn::Keywords, DrawCount::Each(m), Csr::new());
        Ok(EpochPairs::Drawn(SampleDraws { rng, drawn, weights, count, excluded }))
    }
}

impl Pretrain {
    /// The configuration of the autoencoder for a tagger's. Units with a threshold have no bias in it (Konda, Memisevic & Krueger, arXiv
    /// 1402.3337).
    #[must_use]
    pub fn config(&self, tagger: &TrainConfig) -> TrainConfig {
        let threshold = matches!(tagger.activation, Activation::Trec(_) | Activation::Tlin(_));
        TrainConfig {
            objective: Objective::Autoencoder(self.autoencoder),
            pretrain: None,
            epochs: self.epochs,
            hidden_bias: tagger.hidden_bias && !threshold,
            reduction: if self.autoencoder.negatives.is_some() { Reduction::MeanActive } else { Reduction::Mean },
            negatives: Negatives::All,
            // Means over so many pairs have small gradients, which squares of another size would drown.
            initial_square: 0.0,
            ..tagger.clone()
        }
    }
}

impl Trainer {
    /// Trains the configured autoencoder ([`TrainConfig::pretrain`]) on the keywords of `dataset`, and begins with its first layer: W1 and
    /// b1 are the autoencoder's, everything else is as it was.
    ///
    /// # Errors
    /// [`Error::Config`] without one, or after the first step; whatever [`Trainer::fit`] fails with.
    pub fn pretrain(&mut self, dataset: &Dataset, observer: &mut Observer<'_>) -> Result<FitReport> {
        let error = |expected, found: String| Error::Config { option: "pretrain", expected, found };
        if self.steps() > 0 {
            return Err(error("a trainer before its first step", format!("{} steps", self.steps())));
        }
        let autoencoder = self.autoencoder(dataset)?;
        let mut autoencoder = autoencoder.ok_or_else(|| error("an autoencoder", "none".to_owned()))?;
        let report = autoencoder.fit(dataset, None, observer)?;
        self.begin_with(&autoencoder);
        Ok(report)
    }

    /// The configured autoencoder before its first step, for the keywords of `dataset`.
    pub(in super::super) fn autoencoder(&self, dataset: &Dataset) -> Result<Option<Trainer>> {
        let Some(pretrain) = self.config.pretrain else { return Ok(None) };
        let statistics = Statistics::of_keywords(dataset, self.vocabulary.len());
        let no_tags = Tags::from_names::<[&str; 0]>([])?;
        let mut autoencoder = Trainer::new(pretrain.config(&self.config), self.vocabulary.clone(), no_tags, &statistics)?;
        autoencoder.work_like(self);
        Ok(Some(autoencoder))
    }

    /// Takes the first layer of a trained autoencoder.
    pub(in super::super) fn begin_with(&mut self, autoencoder: &Trainer) {
        let (mut parameters, learnt) = (self.snapshot(), autoencoder.snapshot());
        (parameters.w1, parameters.b1) = (learnt.w1, learnt.b1);
        self.replace(parameters);
    }
}
