//! Epochs over a data set, validation, early stopping.

use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::batch::MiniBatch;
use super::codec::Codec;
use super::config::TrainConfig;
use super::loader::Loader;
use super::objective::{EpochPairs, Objective, OutputForm};
use super::order::Order;
use super::parameters::{Parameters, Statistics};
use super::trainer::Trainer;
use crate::data::Dataset;
use crate::distribution::ScoreDistribution;
use crate::error::{Error, Result};
use crate::evaluate::{Evaluated, HiddenActivity, KeyMeasures, evaluate_network, sampled_distribution};
use crate::layers::Net;
use crate::metrics::Propensities;
use crate::rng::{DropoutLayer, Philox};
use crate::workers::Workers;

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
        /// Steps taken so far, those of earlier epochs too.
        step: u64,
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
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EpochReport {
    /// The epoch, counted from 1.
    pub epoch: u32,
    /// Mean training loss of the pairs that were scored, each before its step.
    pub log_loss: f64,
    /// Mean activity penalty of the mini-batches, not part of `log_loss`; 0 without one.
    pub penalty: f64,
    /// Measures on the validation data, if there are any.
    pub valid: Option<KeyMeasures>,
    /// What the hidden units do after the epoch: for the validation data, or where there are none for a thousand of the training data.
    pub hidden: HiddenActivity,
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

/// How far a fit is, beside what its trainer has learnt. See [`Trainer::advance`].
#[derive(Clone, Debug, Default)]
pub struct FitState {
    /// Every finished epoch.
    pub(super) epochs: Vec<EpochReport>,
    /// The epoch with the best score, the last one without validation; 0 before the first is finished.
    pub(super) best_epoch: u32,
    /// Its score and weights, where there is validation.
    pub(super) best: Option<(f64, Parameters)>,
    /// The part of an unfinished epoch that is done.
    pub(super) under_way: Option<EpochSums>,
    /// Whether no epoch is to follow.
    pub(super) finished: bool,
    /// Of the unfinished epoch; made anew when it is gone on with elsewhere.
    plan: Option<EpochPlan>,
}

impl FitState {
    /// Whether no epoch is to follow.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Every finished epoch.
    #[must_use]
    pub fn epochs(&self) -> &[EpochReport] {
        &self.epochs
    }
}

impl FitState {
    /// Writes or reads all of it. `trainer` is the one whose fit it is, with its own state written or read before.
    pub(super) fn visit(&mut self, codec: &mut dyn Codec, trainer: &Trainer) -> Result<()> {
        visit_epochs(codec, &mut self.epochs, &mut self.best_epoch)?;
        let network = &trainer.network;
        codec.option(
            "best epoch",
            &mut self.best,
            || Ok((0.0, Parameters::filled(&network.shape, trainer.state.parameters.tied, 0.0)?)),
            |codec, best| {
                codec.f64("best epoch", &mut best.0, |score| !score.is_nan())?;
                best.1.visit(codec, network)
            },
        )?;
        codec.option("epoch under way", &mut self.under_way, || Ok(EpochSums::default()), |codec, sums| sums.visit(codec))?;
        codec.flag("end", &mut self.finished)?;
        let begun = self.epochs.len() + usize::from(self.under_way.is_some());
        if begun == trainer.state.epoch as usize {
            return Ok(());
        }
        Err(Error::checkpoint("epoch", format!("{begun}, as epochs are reported"), trainer.state.epoch.to_string()))
    }
}

/// Writes or reads what is told of finished epochs.
pub(super) fn visit_epochs(codec: &mut dyn Codec, epochs: &mut Vec<EpochReport>, best: &mut u32) -> Result<()> {
    codec.list("epochs", epochs, |codec, epoch| epoch.visit(codec))?;
    codec.u32("best epoch", best, |best| best as usize <= epochs.len())
}

impl EpochReport {
    fn visit(&mut self, codec: &mut dyn Codec) -> Result<()> {
        codec.u32("epochs", &mut self.epoch, |_| true)?;
        codec.f64("epochs", &mut self.log_loss, |_| true)?;
        codec.f64("epochs", &mut self.penalty, |_| true)?;
        codec.flag("epochs", &mut self.best)?;
        codec.option(
            "epochs",
            &mut self.valid,
            || Ok(KeyMeasures::default()),
            |codec, valid| {
                let mut values = valid.values.iter_mut();
                values.try_for_each(|value| {
                    codec.option("epochs", value, || Ok(0.0), |codec, value| codec.f64("epochs", value, |_| true))
                })
            },
        )?;
        let HiddenActivity { units, zeros, mean, dead_units, always_on_units } = &mut self.hidden;
        for share in [zeros, mean] {
            codec.option("epochs", share, || Ok(0.0), |codec, share| codec.f64("epochs", share, |_| true))?;
        }
        [units, dead_units, always_on_units].into_iter().try_for_each(|count| codec.size("epochs", count))
    }
}

/// Sums over the part of an epoch that is done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct EpochSums {
    pub(super) samples: u64,
    pub(super) batches: u64,
    pub(super) pairs: u64,
    pub(super) loss: f64,
    pub(super) penalty: f64,
}

impl EpochSums {
    fn visit(&mut self, codec: &mut dyn Codec) -> Result<()> {
        const PART: &str = "epoch under way";
        for count in [&mut self.samples, &mut self.batches, &mut self.pairs] {
            codec.u64(PART, count, |count| count < u64::MAX / 2)?;
        }
        codec.f64(PART, &mut self.loss, f64::is_finite)?;
        codec.f64(PART, &mut self.penalty, f64::is_finite)
    }

    fn log_loss(&self) -> f64 {
        self.loss / self.pairs.max(1) as f64
    }

    fn mean_penalty(&self) -> f64 {
        self.penalty / self.batches.max(1) as f64
    }
}

/// What is left of an epoch: a function of the data, the configuration, the epoch and the samples that are done.
#[derive(Clone, Debug)]
struct EpochPlan {
    order: Order,
    /// Samples in it.
    samples: usize,
    pairs: EpochPairs,
}

/// Watches a training; [`ControlFlow::Break`] ends it after the present mini-batch or epoch.
pub type Observer<'o> = dyn FnMut(Event<'_>) -> ControlFlow<()> + Send + 'o;

impl Trainer {
    /// Trains up to [`TrainConfig::epochs`] epochs on `train`. With validation data, stops when the score, [`TrainConfig::metric`],
    /// has not improved for [`TrainConfig::patience`] epochs, and ends with the weights of the best epoch.
    ///
    /// # Errors
    /// [`Error::NoData`] without samples, [`Error::UntrainableTag`] for a tag without positives or negatives, whatever
    /// [`Trainer::step`] fails with, and [`Error::NonFinite`] for weights so large that a score could not be a number.
    pub fn fit(&mut self, train: &Dataset, valid: Option<&Dataset>, observer: &mut Observer<'_>) -> Result<FitReport> {
        let mut fit = FitState::default();
        let done = self.advance(&mut fit, train, valid, observer);
        let report = self.finish(fit);
        done.map(|_| report)
    }

    /// Goes on with a fit, begun with [`FitState::default`], until it is finished or the observer breaks. Where it breaks makes no
    /// difference to what is learnt, as long as the data are the same.
    ///
    /// # Errors
    /// As [`Trainer::fit`].
    pub fn advance(
        &mut self,
        fit: &mut FitState,
        train: &Dataset,
        valid: Option<&Dataset>,
        observer: &mut Observer<'_>,
    ) -> Result<ControlFlow<()>> {
        self.in_pool(|trainer| trainer.advance_here(fit, train, valid, observer))
    }

    /// Ends a fit: the weights are those of the best epoch, if there was validation.
    pub fn finish(&mut self, fit: FitState) -> FitReport {
        if let Some((_, parameters)) = fit.best {
            self.replace(parameters);
        }
        FitReport { epochs: fit.epochs, best_epoch: fit.best_epoch, interrupted: !fit.finished }
    }

    /// Trains one epoch on `dataset`: every sample once, in a new random order. Returns the mean loss of the pairs scored.
    ///
    /// # Errors
    /// As [`Trainer::fit`].
    pub fn epoch(&mut self, dataset: &Dataset, observer: &mut Observer<'_>) -> Result<f64> {
        let mut fit = FitState::default();
        // Of an epoch that is ended early, what was run counts.
        let _ = self.in_pool(|trainer| trainer.epoch_here(&mut fit, dataset, observer))?;
        Ok(fit.under_way.unwrap_or_default().log_loss())
    }

    /// Scores `dataset` with the present weights and measures the scores.
    ///
    /// # Errors
    /// [`Error::NoData`] without samples or tags; if a sample does not fit the model.
    pub fn evaluate(&self, dataset: &Dataset, propensities: Option<&Propensities>) -> Result<Evaluated> {
        let mut thresholds: Vec<f32> = self.tags.iter().map(|tag| tag.threshold).collect();
        // The outputs of an autoencoder are no tags.
        thresholds.resize(self.network.shape.tags(), 0.5);
        self.with_net(|net| {
            let run = || evaluate_network(net, &thresholds, dataset, propensities, self.workers);
            match &self.pool {
                Some(pool) => pool.install(run),
                None => run(),
            }
        })
    }

    /// How the logits of the network are distributed on `dataset`; of an autoencoder, whose outputs are no tags, nothing.
    pub(super) fn distribution(&self, dataset: &Dataset) -> Result<Option<ScoreDistribution>> {
        if let Objective::Autoencoder(_) = self.config.objective {
            return Ok(None);
        }
        self.with_net(|net| sampled_distribution(net, dataset)).map(Some)
    }

    /// The network as it would be served.
    fn with_net<R>(&self, run: impl FnOnce(Net<'_>) -> R) -> R {
        self.with_served(|weights| {
            let weights = weights.into();
            run(Net { kernels: self.kernels, network: &self.network, weights, calibration: None })
        })
    }

    fn advance_here(
        &mut self,
        fit: &mut FitState,
        train: &Dataset,
        valid: Option<&Dataset>,
        observer: &mut Observer<'_>,
    ) -> Result<ControlFlow<()>> {
        let TrainConfig { epochs, patience, metric, .. } = self.config;
        self.check_weights_finite()?;
        fit.finished |= fit.epochs.len() >= epochs as usize;
        while !fit.finished {
            if self.epoch_here(fit, train, observer)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            let valid = valid.map(|valid| self.evaluate(valid, None)).transpose()?;
            let hidden = match &valid {
                Some(valid) => valid.hidden,
                None => self.with_net(|net| HiddenActivity::glance(net, train))?,
            };
            let valid = valid.map(|valid| KeyMeasures::of(&valid.evaluation));
            let score = valid.as_ref().map(|valid| valid.score(metric));
            let best = fit.best.as_ref().is_none_or(|(least, _)| score.is_none_or(|score| score > *least));
            if best {
                fit.best_epoch = self.state.epoch;
                fit.best = score.map(|score| (score, self.snapshot()));
            }
            let sums = fit.under_way.take().unwrap_or_default();
            let (log_loss, penalty) = (sums.log_loss(), sums.mean_penalty());
            let report = EpochReport { epoch: self.state.epoch, log_loss, penalty, valid, hidden, best };
            fit.epochs.push(report);
            let stale = patience > 0 && score.is_some() && self.state.epoch - fit.best_epoch >= patience;
            fit.finished = stale || fit.epochs.len() >= epochs as usize;
            if observer(Event::Epoch(&report)).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Begins an epoch, or goes on with the one under way.
    fn epoch_here(&mut self, fit: &mut FitState, dataset: &Dataset, observer: &mut Observer<'_>) -> Result<ControlFlow<()>> {
        let epoch = self.state.epoch + u32::from(fit.under_way.is_none());
        let mut plan = match fit.plan.take() {
            Some(plan) => plan,
            None => self.plan(dataset, epoch, fit.under_way.as_ref().map_or(0, |sums| sums.samples))?,
        };
        self.state.epoch = epoch;
        if let Some(shifts) = plan.pairs.shifts() {
            self.state.shifts.copy_from_slice(shifts);
        }
        let flow = self.run_batches(fit.under_way.get_or_insert_default(), &mut plan, dataset, observer)?;
        if flow.is_break() {
            fit.plan = Some(plan);
        } else if let Err(error) = self.check_weights_finite() {
            // Of what steps have done since the best epoch nothing can be used.
            if let Some((_, parameters)) = &fit.best {
                self.replace(parameters.clone());
            }
            return Err(error);
        }
        Ok(flow)
    }

    /// The order of the samples in `epoch`, from place `from` on, and the pairs that it scores.
    fn plan(&self, dataset: &Dataset, epoch: u32, from: u64) -> Result<EpochPlan> {
        if dataset.is_empty() {
            return Err(Error::NoData { what: "no samples to train on".into(), cure: "give at least one item" });
        }
        self.check_trainable(dataset)?;
        let samples = u32::try_from(dataset.len())
            .map_err(|_| Error::TooLarge { what: "samples of a data set", limit: u32::MAX.into() })?;
        let pairs = self.epoch_pairs(dataset, epoch)?;
        // The others would teach nothing.
        let kept = |sample: u32| pairs.scores(sample as usize);
        let kept_samples = (0..samples).filter(|sample| kept(*sample)).count();
        let order = Order::new(Philox::new(self.config.seed), samples, epoch, from, kept);
        Ok(EpochPlan { order, samples: kept_samples, pairs })
    }

    /// The workers of an epoch over `dataset`.
    fn workers_of_epoch(&self, dataset: &Dataset) -> Workers {
        let (row, keywords) = (self.network.shape.row_blocks(), dataset.mean_keywords() as usize);
        let outputs = match self.config.output_form() {
            OutputForm::Units => self.network.shape.w2_blocks(),
            // Some pairs for each keyword or tag.
            OutputForm::Rows | OutputForm::Tied => row * keywords,
        };
        self.workers.awake_for(self.config.batch.min(dataset.len()), keywords * (Loader::COST + row) + outputs)
    }

    /// Steps through the samples that are left in the order, and counts them in `sums`; of each, only the planned pairs count.
    fn run_batches(
        &mut self,
        sums: &mut EpochSums,
        plan: &mut EpochPlan,
        dataset: &Dataset,
        observer: &mut Observer<'_>,
    ) -> Result<ControlFlow<()>> {
        let mut loader = Loader {
            dataset,
            objective: self.config.objective,
            shape: self.network.shape.clone(),
            size: self.config.batch,
            dropout: self.dropout(DropoutLayer::Input),
            order: &mut plan.order,
            pairs: &plan.pairs,
        };
        let workers = self.workers_of_epoch(dataset);
        let awake = workers.keep_awake();
        let (mut batch, mut next) = (MiniBatch::new(&loader.shape), MiniBatch::new(&loader.shape));
        loader.load(&mut batch, self.state.step + 1)?;
        while !batch.samples.is_empty() {
            awake.call();
            // One mini-batch is loaded while a step is taken on the one before.
            let step_after = self.state.step + 2;
            let step = || self.step_on(&batch.samples, &batch.keywords, Some(&plan.pairs), workers);
            let (report, loaded) = workers.join(step, || loader.load(&mut next, step_after));
            let report = report?;
            sums.samples += batch.samples.len() as u64;
            sums.batches += 1;
            sums.pairs += report.pairs as u64;
            sums.loss += report.loss_sum;
            sums.penalty += report.penalty;
            loaded?;
            mem::swap(&mut batch, &mut next);
            let event = Event::Batch {
                epoch: self.state.epoch,
                step: report.step,
                done: sums.samples as usize,
                samples: plan.samples,
                log_loss: sums.log_loss(),
            };
            if observer(event).is_break() {
                // They are loaded, but no step was taken on them.
                loader.put_back(&batch);
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Fails if a tag has nothing to be told apart from, or by.
    fn check_trainable(&self, dataset: &Dataset) -> Result<()> {
        let counts = dataset.tag_counts(self.tags.len()).into_iter().zip(dataset.exclusions().counts(self.tags.len()));
        for (tag, (positives, excluded)) in self.tags.iter().zip(counts) {
            let (positives, negatives) = (positives as usize, dataset.len() - (positives + excluded) as usize);
            if positives == 0 || negatives == 0 {
                return Err(Error::UntrainableTag { tag: tag.name.clone(), positives, negatives });
            }
        }
        Ok(())
    }
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
