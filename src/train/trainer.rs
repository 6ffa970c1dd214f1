//! The trainer: parameters, the optimiser and the step on a mini-batch.

use std::sync::Arc;

use super::batch::{Keywords, Sample};
use super::codec::Codec;
use super::config::TrainConfig;
use super::dropout::Dropout;
use super::objective::{EpochPairs, Objective, OutputForm};
use super::optimizer::Optimizer;
use super::pairs::{Outputs, Pairs};
use super::parameters::{Parameters, Statistics};
use super::pass::{Extents, Pass, PassInputs};
use super::state::State;
use super::table::Touched;
use super::update::{Update, UpdateScratch};
use crate::aligned::{Block, LANES, as_floats, as_floats_mut};
use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::format::{Extensions, Model, ModelParts, Provenance, check_weights};
use crate::kernels::{Kernels, Level, LogLoss};
use crate::ln::ln;
use crate::network::{Activation, Network, OutputLayout, Shape, Weights};
use crate::rng::DropoutLayer;
use crate::tags::Tags;
use crate::vocab::Vocabulary;
use crate::workers::Workers;

/// Trains a network: one shared hidden layer, one output a tag, or what else the [objective](super::Objective) says.
///
/// Results do not depend on the number of threads or the kernel level.
#[derive(Debug)]
pub struct Trainer {
    pub(super) config: TrainConfig,
    pub(super) kernels: Kernels,
    pub(super) network: Network,
    pub(super) vocabulary: Arc<Vocabulary>,
    pub(super) tags: Tags,
    pub(super) state: State,
    positive_weights: Vec<Block>,
    pub(super) offsets: Vec<Block>,
    /// Of the samples of [`Trainer::step`].
    keywords: Keywords,
    /// The pairs of a mini-batch, where they are listed.
    pairs: Option<Pairs>,
    /// The rows of W1 that a step is on, where outputs are among them.
    tied_rows: Vec<u32>,
    pass: Pass,
    scratch: UpdateScratch,
    pub(super) pool: Option<Arc<rayon::ThreadPool>>,
    pub(super) workers: Workers,
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// The step's number, counted from 1.
    pub step: u64,
    /// The loss of the mini-batch before the step, reduced as configured.
    pub loss: f64,
    /// The activity penalty of the mini-batch before the step; not part of `loss`.
    pub penalty: f64,
    /// Pairs of sample and tag that were scored.
    pub pairs: usize,
    /// The sum of these pairs' losses.
    pub loss_sum: f64,
}

impl Trainer {
    /// A trainer with initial parameters, serial, on the best kernels of this machine. Trainers may share a vocabulary. The outputs of
    /// an autoencoder are the keywords: it asks no tags.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration is invalid; [`Error::Length`] if `statistics` is not about these outputs;
    /// [`Error::TooLarge`].
    pub fn new(
        config: TrainConfig,
        vocabulary: impl Into<Arc<Vocabulary>>,
        tags: Tags,
        statistics: &Statistics,
    ) -> Result<Self> {
        Self::with_layout(config, vocabulary.into(), tags, statistics, None)
    }

    /// As [`Trainer::new`], with this layout of the output weights, if there is one to keep.
    pub(super) fn with_layout(
        config: TrainConfig,
        vocabulary: Arc<Vocabulary>,
        tags: Tags,
        statistics: &Statistics,
        layout: Option<OutputLayout>,
    ) -> Result<Self> {
        config.validate()?;
        let mut shape = config.shape(vocabulary.len(), tags.len())?;
        if let Some(layout) = layout {
            let tags: Vec<usize> = shape.groups().iter().map(|group| group.tags.len()).collect();
            shape = Shape::new(shape.keywords(), shape.hidden(), &tags, layout)?;
        }
        Error::check_length("positives of each output", shape.tags(), statistics.positives.len())?;
        Ok(Trainer {
            kernels: Kernels::best(),
            state: State {
                parameters: Parameters::initial(&shape, statistics, &config)?,
                optimizer: Optimizer::new(&config, &shape)?,
                shifts: vec![Block::ZERO; shape.slot_blocks()],
                step: 0,
                epoch: 0,
            },
            positive_weights: vec![Block([1.0; LANES]); shape.slot_blocks()],
            offsets: vec![Block::ZERO; shape.slot_blocks()],
            keywords: Keywords::new(&shape),
            pairs: (config.output_form() != OutputForm::Units).then(|| Pairs::new(shape.tags())),
            tied_rows: Vec::new(),
            pass: Pass::default(),
            scratch: UpdateScratch::default(),
            pool: None,
            workers: Workers::new(false),
            network: Network {
                shape,
                pooling: config.pooling(),
                activation: config.hidden_activation(),
                eps: config.eps as f32,
            },
            config,
            vocabulary,
            tags,
        })
    }

    /// A trainer before its first step with this one's configuration, vocabulary, tags, level and pool, for `epochs` epochs on the
    /// data that `statistics` is about. So a number of epochs that validation chose can be spent on all data.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn restarted(&self, statistics: &Statistics, epochs: u32) -> Result<Self> {
        let config = TrainConfig { epochs, ..self.config.clone() };
        let layout = Some(self.network.shape.layout());
        let mut trainer = Trainer::with_layout(config, self.vocabulary.clone(), self.tags.clone(), statistics, layout)?;
        trainer.work_like(self);
        trainer.positive_weights.clone_from(&self.positive_weights);
        trainer.offsets.clone_from(&self.offsets);
        Ok(trainer)
    }

    /// Takes level and pool from another trainer.
    pub(super) fn work_like(&mut self, other: &Trainer) {
        self.kernels = other.kernels;
        self.pool.clone_from(&other.pool);
        self.workers = other.workers;
    }

    /// Trains at another kernel level; the result is the same.
    ///
    /// # Errors
    /// [`Error::UnsupportedLevel`].
    pub fn set_level(&mut self, level: Level) -> Result<()> {
        self.kernels = Kernels::at(level)?;
        Ok(())
    }

    /// Divides the work of steps, epochs and evaluations between the threads of `pool`; the result is the same. While an epoch
    /// has mini-batches that are worth dividing, the threads of the pool stay awake and take processor time, whether there is work for them or not.
    pub fn set_pool(&mut self, pool: Arc<rayon::ThreadPool>) {
        self.workers.parallel = pool.current_num_threads() > 1;
        self.pool = Some(pool);
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// The network in training.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The tags in training.
    #[must_use]
    pub fn tags(&self) -> &Tags {
        &self.tags
    }

    /// Steps taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.state.step
    }

    /// Epochs begun.
    #[must_use]
    pub fn epochs(&self) -> u32 {
        self.state.epoch
    }

    /// A copy of the weights after the last step, all decay applied, without what [`super::Correction::Shift`] adds when serving.
    #[must_use]
    pub fn snapshot(&self) -> Parameters {
        Parameters {
            w1: self.decayed_w1().unwrap_or_else(|| self.state.parameters.w1.clone()),
            b1: self.state.parameters.b1.clone(),
            w2: self.decayed_w2().unwrap_or_else(|| self.state.parameters.w2.clone()),
            b2: self.state.parameters.b2.clone(),
            tied: self.state.parameters.tied,
        }
    }

    /// W1 with all decay applied, if rows decay lazily: a copy, so that looking at a training never changes it.
    fn decayed_w1(&self) -> Option<Buffer<Block>> {
        self.state.optimizer.decayed_w1(self.kernels, &self.state.parameters.w1)
    }

    /// W2 in the same way; `None` if it is W1.
    fn decayed_w2(&self) -> Option<Buffer<Block>> {
        self.state.optimizer.decayed_w2(self.kernels, &self.state.parameters.w2)
    }

    /// Calls `look` with the weights after the last step, all decay applied.
    fn with_decayed<R>(&self, look: impl FnOnce(Weights<'_>) -> R) -> R {
        let (decayed, parameters) = ((self.decayed_w1(), self.decayed_w2()), &self.state.parameters);
        let w1 = decayed.0.as_ref().unwrap_or(&parameters.w1);
        let w2 = if parameters.tied { w1 } else { decayed.1.as_ref().unwrap_or(&parameters.w2) };
        look(Weights { w1, w2, ..parameters.weights() })
    }

    /// Calls `look` with the weights that are served.
    pub(super) fn with_served<R>(&self, look: impl FnOnce(Weights<'_>) -> R) -> R {
        self.with_decayed(|weights| look(Weights { b2: &shifted(weights.b2, &self.state.shifts), ..weights }))
    }

    /// AdaGrad's squared-gradient sum of each weight, in the form of weights: a copy, all decay applied. Weights that share a sum
    /// all show it; without AdaGrad all are 0.
    #[must_use]
    pub fn squares(&self) -> Parameters {
        self.state.optimizer.squares(self.kernels, &self.state.parameters)
    }

    /// Replaces the weights; AdaGrad's memory stays.
    ///
    /// # Errors
    /// [`Error::Length`] if they do not have this network's shape, [`Error::BadWeight`] if one is not finite or padding is not 0,
    /// [`Error::Config`] if W2 is not W1 in a tied autoencoder.
    pub fn set_weights(&mut self, weights: Weights<'_>) -> Result<()> {
        weights.check(&self.network.shape)?;
        check_weights(&self.network, weights)?;
        self.replace(Parameters::copy_from(&self.network.shape, self.state.parameters.tied, weights)?);
        Ok(())
    }

    /// Goes on with other weights, which count as decayed up to the present step.
    pub(super) fn replace(&mut self, parameters: Parameters) {
        self.state.parameters = parameters;
        self.state.optimizer.restart();
    }

    /// Weighs the loss of each output's positives by a finite factor of at least 0.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is one factor an output, [`Error::Config`] if one is out of range.
    pub fn set_positive_weights(&mut self, factors: &[f32]) -> Result<()> {
        Error::check_length("positive weights", self.network.shape.tags(), factors.len())?;
        if let Some(found) = factors.iter().find(|w| !(**w >= 0.0 && w.is_finite())) {
            let found = found.to_string();
            return Err(Error::Config { option: "positive weight", expected: "a finite number, at least 0", found });
        }
        self.network.shape.scatter_slots(factors, &mut self.positive_weights);
        Ok(())
    }

    /// Corrects for sampled negatives: `rates[t]` is π, the rate at which negatives of tag t are kept relative to its positives.
    /// Training sees the logit minus ln π, so the model's own logit is that of the full data (King and Zeng, *Logistic regression in
    /// rare events data*, 2001).
    ///
    /// # Errors
    /// [`Error::Length`] unless there is one rate an output, [`Error::Config`] if one is not in (0, 1].
    pub fn set_inclusion_rates(&mut self, rates: &[f64]) -> Result<()> {
        self.offsets = self.offsets_of(rates)?;
        Ok(())
    }

    /// ln π, one an output's slot.
    pub(super) fn offsets_of(&self, rates: &[f64]) -> Result<Vec<Block>> {
        Error::check_length("inclusion rates", self.network.shape.tags(), rates.len())?;
        if let Some(found) = rates.iter().find(|rate| !(**rate > 0.0 && **rate <= 1.0)) {
            return Err(Error::Config { option: "inclusion rate", expected: "a number in (0, 1]", found: found.to_string() });
        }
        let logs: Vec<f32> = rates.iter().map(|rate| ln(*rate) as f32).collect();
        let mut offsets = vec![Block::ZERO; self.network.shape.slot_blocks()];
        self.network.shape.scatter_slots(&logs, &mut offsets);
        Ok(offsets)
    }

    /// Runs `work` on the caller's pool, if there is one, entered once.
    pub(super) fn in_pool<R: Send>(&mut self, work: impl FnOnce(&mut Self) -> R + Send) -> R {
        match self.pool.clone() {
            Some(pool) => pool.install(|| work(self)),
            None => work(self),
        }
    }

    /// Takes one step on a mini-batch. An empty one does nothing.
    ///
    /// # Errors
    /// If a sample does not fit the model, or a loss or gradient is not finite ([`Error::NonFinite`]); then nothing has changed.
    pub fn step(&mut self, samples: &[Sample<'_>]) -> Result<StepReport> {
        samples.iter().try_for_each(|sample| sample.check(&self.network.shape))?;
        self.keywords.load(samples, self.dropout(DropoutLayer::Input), self.state.step + 1)?;
        let keywords = std::mem::replace(&mut self.keywords, Keywords::new(&self.network.shape));
        let report = self.in_pool(|trainer| trainer.step_on(samples, &keywords, None, trainer.workers));
        self.keywords = keywords;
        report
    }

    /// Dropout of a layer as configured.
    pub(super) fn dropout(&self, layer: DropoutLayer) -> Option<Dropout> {
        let rate = match layer {
            DropoutLayer::Input => self.config.dropout_in,
            DropoutLayer::Hidden => self.config.dropout_hidden,
        };
        Dropout::new(self.config.seed, layer, rate)
    }

    /// Takes a step on samples that have been checked, and their keywords, on the pool already; in an epoch, the samples are of its pairs.
    pub(super) fn step_on(
        &mut self,
        samples: &[Sample<'_>],
        keywords: &Keywords,
        epoch: Option<&EpochPairs>,
        workers: Workers,
    ) -> Result<StepReport> {
        let shape = &self.network.shape;
        if samples.is_empty() {
            return Ok(StepReport { step: self.state.step, loss: 0.0, penalty: 0.0, pairs: 0, loss_sum: 0.0 });
        }
        let step = self.state.step + 1;
        let config = &self.config;
        if let Some(pairs) = &mut self.pairs {
            pairs.load(samples, shape.tags(), epoch.and_then(EpochPairs::draws), step)?;
        }
        let (outputs, touched_outputs, pairs) = match &self.pairs {
            None => (Outputs::All, &[][..], samples.iter().map(|sample| sample.scored(shape.tags())).sum()),
            Some(pairs) => (Outputs::Listed(pairs), &pairs.by_row.rows[..], pairs.len()),
        };
        let mut rows_of_w1 = &keywords.by_row.rows;
        if self.state.parameters.tied {
            self.tied_rows.clear();
            self.tied_rows.extend(rows_of_w1.iter().chain(touched_outputs));
            self.tied_rows.sort_unstable();
            self.tied_rows.dedup();
            rows_of_w1 = &self.tied_rows;
        }
        let touched = Touched { w1: rows_of_w1, outputs: touched_outputs };
        let factor = config.reduction.factor(samples.len(), shape.tags(), pairs);
        let loss = LogLoss::new(config.loss, config.eps, factor)?;
        // The pass reads them, and decay of rows that are seldom touched is put off until then.
        self.state.optimizer.catch_up(self.kernels, touched, &mut self.state.parameters)?;
        let inputs = PassInputs {
            kernels: self.kernels,
            network: &self.network,
            weights: self.state.parameters.weights(),
            keywords,
            samples,
            outputs,
            loss,
            positive_weights: &self.positive_weights,
            offsets: epoch.and_then(EpochPairs::offsets).unwrap_or(&self.offsets),
            penalty: config.penalty,
            dropout: self.dropout(DropoutLayer::Hidden),
            step,
        };
        let passed = self.pass.run(&inputs, workers);
        let loss_sum = match passed.and_then(|()| self.check_finite(samples.len(), keywords.factor)) {
            Ok(loss_sum) => loss_sum,
            Err(error) => {
                self.state.optimizer.undo(touched, &mut self.state.parameters);
                return Err(error);
            }
        };
        let update = Update {
            kernels: self.kernels,
            shape,
            keywords,
            outputs,
            rows_of_w1,
            pass: &mut self.pass,
            scratch: &mut self.scratch,
            samples: samples.len(),
            workers,
        };
        update.run(self.state.optimizer.begin(self.kernels, config.lr_at(step), touched, &mut self.state.parameters))?;
        self.state.step = step;
        self.state.optimizer.flush_if_due(self.kernels, &mut self.state.parameters)?;
        Ok(StepReport { step, loss: loss_sum * factor, penalty: self.pass.penalty, pairs, loss_sum })
    }

    /// Fails if a weight is not finite, or if weights are so large that the score of some set of keywords would not be a number.
    pub(super) fn check_weights_finite(&self) -> Result<()> {
        let largest = |part: &[Block]| f64::from(self.kernels.magnitude(part));
        let [w1, b1, w2, b2] = self.with_served(|Weights { w1, b1, w2, b2 }| [w1, b1, w2, b2].map(largest));
        let Network { shape, activation, .. } = &self.network;
        // The mean of rows is made of their sum.
        let a = b1 + w1 * shape.keywords() as f64;
        let h = match *activation {
            Activation::Sigmoid => 1.0,
            Activation::Elu(alpha) => a.max(f64::from(alpha)),
            _ => a,
        };
        let z = b2 + w2 * h * shape.hidden() as f64;
        // Half of it, so that no rounding on the way reaches infinity. NaN, from a weight that is not finite, is not within it.
        let bound = f64::from(f32::MAX) / 2.0;
        if a <= bound && z <= bound {
            return Ok(());
        }
        let what = if (a + z).is_finite() { "the score of some set of keywords" } else { "a weight" };
        let lr = self.config.lr_at(self.state.step);
        Err(Error::NonFinite { what, tag: None, epoch: self.state.epoch, step: self.state.step, lr })
    }

    /// The sum of the losses that the pass has left. Fails if it or any gradient is not finite, or a gradient so large that a sum over the
    /// mini-batch could overflow. `factor` is that on keywords.
    fn check_finite(&self, samples: usize, factor: f32) -> Result<f64> {
        let loss_sum: f64 = self.pass.losses.iter().sum();
        let Extents { hidden, delta, d_pre_activations: da } = self.pass.extents;
        let (hidden, delta, da) = (f64::from(hidden), f64::from(delta), f64::from(da));
        let bound = f64::from(f32::MAX) / samples as f64;
        let (as_input, as_output) = (da * f64::from(factor), hidden * delta);
        let together = if self.state.parameters.tied { as_input + as_output } else { as_input.max(as_output) };
        let fits = delta <= bound && together <= bound;
        if loss_sum.is_finite() && self.pass.penalty.is_finite() && fits {
            return Ok(loss_sum);
        }
        let stride = (self.pass.delta.len() * LANES).checked_div(samples).unwrap_or(0).max(1);
        let culprit = as_floats(&self.pass.delta).iter().position(|d| !d.is_finite()).and_then(|at| {
            let tag = match &self.pairs {
                None => (0..self.tags.len()).find(|tag| self.network.shape.slot(*tag) == at % stride)?,
                Some(pairs) => pairs.output(at / stride, at % stride)? as usize,
            };
            self.tags.iter().nth(tag).map(|tag| tag.name.clone())
        });
        Err(Error::NonFinite {
            what: if loss_sum.is_finite() { "a gradient" } else { "the loss" },
            tag: culprit,
            epoch: self.state.epoch,
            step: self.state.step + 1,
            lr: self.config.lr_at(self.state.step + 1),
        })
    }

    /// A model of the present weights, with `provenance` beside the configuration. Training can go on.
    ///
    /// # Errors
    /// [`Error::BadWeight`] if a weight is not finite: such a model is never made. [`Error::BadName`] if a keyword of an autoencoder,
    /// whose tags they are, cannot be the name of a tag.
    pub fn model(&self, provenance: Provenance) -> Result<Model> {
        self.model_with(provenance, &Extensions::default())
    }

    pub(super) fn model_with(&self, provenance: Provenance, extensions: &Extensions) -> Result<Model> {
        self.with_decayed(|weights| self.model_of(&self.config, weights, &self.state.shifts, provenance, extensions))
    }

    /// A model of weights and shifts of this network, learnt as `config` says.
    pub(super) fn model_of(
        &self,
        config: &TrainConfig,
        weights: Weights<'_>,
        shifts: &[Block],
        mut provenance: Provenance,
        extensions: &Extensions,
    ) -> Result<Model> {
        config.describe(&mut provenance)?;
        let keywords = match config.objective {
            Objective::Autoencoder(_) => Some(Tags::from_names(self.vocabulary.view().iter())?),
            Objective::Tagger | Objective::Anchor(_) => None,
        };
        ModelParts {
            network: &self.network,
            weights: Weights { b2: &shifted(weights.b2, shifts), ..weights }.into(),
            vocabulary: self.vocabulary.view(),
            tags: keywords.as_ref().unwrap_or(&self.tags),
            provenance: &provenance,
            extensions,
        }
        .to_model()
    }

    /// Writes or reads the state.
    pub(super) fn visit(&mut self, codec: &mut dyn Codec) -> Result<()> {
        self.state.visit(codec, &self.network)
    }
}

/// The output bias with what is added to it when serving.
fn shifted(b2: &[Block], shifts: &[Block]) -> Vec<Block> {
    let mut served = b2.to_vec();
    for (b2, shift) in as_floats_mut(&mut served).iter_mut().zip(as_floats(shifts)) {
        *b2 += shift;
    }
    served
}

#[cfg(test)]
mod tests {
    use super::super::batch::{PairWeights, Targets};
    use super::*;

    /// With no grain every part of a step is divided as far as it may be, whatever its size.
    #[test]
    fn work_that_is_divided_to_the_last_piece_gives_the_same_bits() {
        for (tags, hidden) in [(2, 20), (70, 130), (300, 20)] {
            let config = TrainConfig { hidden, l1: 1e-4, ..TrainConfig::default() };
            let names = |prefix: &str, count: u32| (0..count).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
            let statistics = Statistics { samples: 40, mean_keywords: 3.0, positives: vec![5; tags as usize] };
            let ids: Vec<[u32; 3]> = (0..40).map(|i| [i % 7, 10 + i % 11, 30 + i]).collect();
            let run = |threads| {
                let vocabulary = Vocabulary::from_keywords(names("k", 80)).unwrap();
                let mut trainer =
                    Trainer::new(config.clone(), vocabulary, Tags::from_names(names("t", tags)).unwrap(), &statistics).unwrap();
                if let Some(pool) = super::super::pool(threads).unwrap() {
                    trainer.set_pool(pool);
                }
                trainer.workers.grain = 0;
                let positives = [0, 1];
                let samples: Vec<Sample<'_>> = (0..)
                    .zip(&ids)
                    .map(|(index, keywords)| Sample {
                        index,
                        keywords,
                        targets: Targets::Tags(&positives[index as usize % 2..]),
                        weights: PairWeights::All(1.0),
                    })
                    .collect();
                for _ in 0..3 {
                    trainer.step(&samples).unwrap();
                }
                trainer.model(Provenance::new()).unwrap().bytes().to_vec()
            };
            let expected = run(1);
            for threads in [2, 3, 8] {
                assert!(run(threads) == expected, "{threads} threads, {tags} tags");
            }
        }
    }
}
