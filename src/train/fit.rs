//! Epochs over a data set, validation, early stopping.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::batch::Sample;
use super::config::TrainConfig;
use super::objective::{DrawnNegatives, EpochPairs};
use super::parameters::{Parameters, Statistics};
use super::trainer::Trainer;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::evaluate::{Evaluated, evaluate_network};
use crate::metrics::Propensities;
use crate::rng::Philox;

impl Statistics {
    /// The statistics of a data set with `tags` tags.
    #[must_use]
    pub fn of(dataset: &Dataset, tags: usize) -> Self {
        Statistics {
            samples: dataset.len() as u64,
            mean_keywords: dataset.mean_keywords(),
            positives: dataset.tag_counts(tags),
        }
    }

    /// The statistics of a data set with `keywords` keywords for an autoencoder, whose outputs they are.
    #[must_use]
    pub fn of_keywords(dataset: &Dataset, keywords: usize) -> Self {
        Statistics { positives: dataset.keyword_counts(keywords), ..Statistics::of(dataset, 0) }
    }
}

/// What is seen of a training while it runs.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A mini-batch of an epoch is done.
    Batch {
        /// The epoch, counted from 1.
        epoch: u32,
        /// Samples of the epoch done so far.
        done: usize,
        /// Samples in the epoch.
        samples: usize,
        /// Mean loss of the pairs of the epoch so far.
        log_loss: f64,
    },
    /// An epoch is done.
    Epoch(&'a EpochReport),
}

/// What an epoch did.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochReport {
    /// The epoch, counted from 1.
    pub epoch: u32,
    /// Mean training loss of the pairs that were scored, each before its step.
    pub log_loss: f64,
    /// Mean activity penalty of the mini-batches, not part of `log_loss`; 0 without one.
    pub penalty: f64,
    /// Measures on the validation data, if there are any.
    pub valid: Option<Evaluated>,
    /// Whether the validation score is the best so far.
    pub best: bool,
}

/// What [`Trainer::fit`] did.
#[derive(Clone, Debug, PartialEq)]
pub struct FitReport {
    /// Every epoch.
    pub epochs: Vec<EpochReport>,
    /// The epoch whose weights were kept, counted from 1; 0 if none was finished.
    pub best_epoch: u32,
    /// Whether the observer stopped the training.
    pub interrupted: bool,
}

/// Watches a training; [`ControlFlow::Break`] ends it after the present mini-batch or epoch.
pub type Observer<'o> = dyn FnMut(Event<'_>) -> ControlFlow<()> + Send + 'o;

impl Trainer {
    /// Trains up to [`TrainConfig::epochs`] epochs on `train`. With validation data, stops when the score has not improved for
    /// [`TrainConfig::patience`] epochs, and ends with the weights of the best epoch.
    ///
    /// The score is the macro average of the tags' average precision, which asks for good ranking of rare tags too.
    ///
    /// # Errors
    /// [`Error::NoData`] without samples, [`Error::UntrainableTag`] for a tag without positives or negatives, whatever
    /// [`Trainer::step`] fails with, and [`Error::NonFinite`] for weights so large that a score could not be a number.
    pub fn fit(&mut self, train: &Dataset, valid: Option<&Dataset>, observer: &mut Observer<'_>) -> Result<FitReport> {
        self.in_pool(|trainer| trainer.fit_here(train, valid, observer))
    }

    /// Trains one epoch on `dataset`: every sample once, in a new random order. Returns the mean loss of the pairs scored.
    ///
    /// # Errors
    /// As [`Trainer::fit`].
    pub fn epoch(&mut self, dataset: &Dataset, observer: &mut Observer<'_>) -> Result<f64> {
        self.in_pool(|trainer| trainer.epoch_here(dataset, observer).map(|(means, _)| means.log_loss))
    }

    /// Scores `dataset` with the present weights and measures the scores.
    ///
    /// # Errors
    /// [`Error::NoData`] without samples or tags; if a sample does not fit the model.
    pub fn evaluate(&self, dataset: &Dataset, propensities: Option<&Propensities>) -> Result<Evaluated> {
        let mut thresholds: Vec<f32> = self.tags.iter().map(|tag| tag.threshold).collect();
        // The outputs of an autoencoder are no tags.
        thresholds.resize(self.network.shape.tags(), 0.5);
        self.with_served(|weights| {
            let run =
                || evaluate_network(self.kernels, &self.network, weights, &thresholds, dataset, propensities, self.workers);
            match &self.pool {
                Some(pool) => pool.install(run),
                None => run(),
            }
        })
    }

    fn fit_here(&mut self, train: &Dataset, valid: Option<&Dataset>, observer: &mut Observer<'_>) -> Result<FitReport> {
        let TrainConfig { epochs, patience, .. } = self.config;
        let mut report = FitReport { epochs: Vec::new(), best_epoch: 0, interrupted: false };
        let mut best: Option<(f64, Parameters)> = None;
        self.check_weights_finite()?;
        for _ in 0..epochs {
            let (EpochMeans { log_loss, penalty }, flow) = self.epoch_here(train, observer)?;
            if flow.is_break() {
                report.interrupted = true;
                break;
            }
            let valid = valid.map(|valid| self.evaluate(valid, None)).transpose()?;
            let score = valid.as_ref().map(score);
            let is_best = best.as_ref().is_none_or(|(least, _)| score.is_none_or(|score| score > *least));
            if is_best {
                report.best_epoch = self.epoch;
                if let Some(score) = score {
                    best = Some((score, self.snapshot()));
                }
            }
            let epoch = EpochReport { epoch: self.epoch, log_loss, penalty, valid, best: is_best };
            let flow = observer(Event::Epoch(&epoch));
            report.epochs.push(epoch);
            if flow.is_break() {
                report.interrupted = true;
                break;
            }
            if patience > 0 && score.is_some() && self.epoch - report.best_epoch >= patience {
                break;
            }
        }
        if let Some((_, parameters)) = best {
            self.replace(parameters);
        }
        Ok(report)
    }

    fn epoch_here(&mut self, dataset: &Dataset, observer: &mut Observer<'_>) -> Result<(EpochMeans, ControlFlow<()>)> {
        if dataset.is_empty() {
            return Err(Error::NoData { what: "no samples to train on".into(), cure: "give at least one item" });
        }
        self.check_trainable(dataset)?;
        let samples = u32::try_from(dataset.len())
            .map_err(|_| Error::TooLarge { what: "samples of a data set", limit: u32::MAX.into() })?;
        let given_offsets = self.offsets.clone();
        let pairs = self.epoch_pairs(dataset)?;
        self.epoch += 1;
        let order = Philox::new(self.config.seed).permutation(samples, self.epoch);
        let result = self.run_batches(dataset, &order, &pairs, observer);
        self.offsets = given_offsets;
        result
    }

    /// Steps through the samples in `order`; of each, only the pairs in `pairs` count.
    fn run_batches(
        &mut self,
        dataset: &Dataset,
        order: &[u32],
        epoch_pairs: &EpochPairs,
        observer: &mut Observer<'_>,
    ) -> Result<(EpochMeans, ControlFlow<()>)> {
        let objective = self.config.objective;
        let mut drawn = DrawnNegatives::default();
        let (mut loss_sum, mut penalty_sum, mut pairs) = (0.0, 0.0, 0);
        let mut means = EpochMeans { log_loss: 0.0, penalty: 0.0 };
        for (n, indices) in order.chunks(self.config.batch).enumerate() {
            epoch_pairs.draw(objective, dataset, indices, self.steps() + 1, &mut drawn);
            let sample = |(n, index): (usize, &u32)| epoch_pairs.sample(objective, dataset, (n, *index), &drawn);
            let batch: Vec<Sample<'_>> = indices.iter().enumerate().map(sample).collect();
            let step = self.step_here(&batch)?;
            loss_sum += step.loss_sum;
            pairs += step.pairs;
            penalty_sum += step.penalty;
            means = EpochMeans { log_loss: loss_sum / pairs.max(1) as f64, penalty: penalty_sum / (n + 1) as f64 };
            let (done, log_loss) = (n * self.config.batch + indices.len(), means.log_loss);
            if observer(Event::Batch { epoch: self.epoch, done, samples: dataset.len(), log_loss }).is_break() {
                return Ok((means, ControlFlow::Break(())));
            }
        }
        self.check_weights_finite()?;
        Ok((means, ControlFlow::Continue(())))
    }

    /// Fails if a tag has nothing to be told apart from, or by.
    fn check_trainable(&self, dataset: &Dataset) -> Result<()> {
        for (tag, positives) in self.tags.iter().zip(dataset.tag_counts(self.tags.len())) {
            let (positives, all) = (positives as usize, dataset.len());
            if positives == 0 || positives == all {
                return Err(Error::UntrainableTag { tag: tag.name.clone(), positives, negatives: all - positives });
            }
        }
        Ok(())
    }
}

/// Means over an epoch, or the part of it that was run.
struct EpochMeans {
    /// Over pairs.
    log_loss: f64,
    /// Over mini-batches.
    penalty: f64,
}

/// What early stopping maximises.
fn score(valid: &Evaluated) -> f64 {
    valid.evaluation.macro_ap.value.unwrap_or(-valid.evaluation.summary.log_loss)
}

/// A pool of `threads` threads for [`Trainer::set_pool`]; `None` for a single one.
///
/// # Errors
/// [`Error::Io`] if the system refuses the threads.
pub fn pool(threads: usize) -> Result<Option<Arc<rayon::ThreadPool>>> {
    if threads <= 1 {
        return Ok(None);
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map(|pool| Some(Arc::new(pool))).map_err(|error| Error::Io {
        path: "threads".into(),
        doing: "start a thread pool",
        source: std::io::Error::other(error),
    })
}
