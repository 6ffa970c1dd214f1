//! A training under way: the phases of the recipe, to be paused and gone on with.

use std::borrow::Cow;
use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::codec::Codec;
use super::config::TrainConfig;
use super::fit::{EpochReport, FitReport, FitState, visit_epochs};
use super::parameters::{Parameters, Statistics};
use super::recipe::{Outcome, Phase, PhaseObserver, Sides, TrainingReport, TrainingSet, Validation};
use super::trainer::Trainer;
use crate::aligned::Block;
use crate::data::{Counts, Dataset};
use crate::distribution::ScoreDistribution;
use crate::error::{Error, Result};
use crate::evaluate::{Evaluated, KeyMeasures};
use crate::format::{Extensions, Model, Provenance};
use crate::kernels::Level;
use crate::metrics::Metric;

/// A training of the recipe ([`super::recipe`]). Where it is paused, and whether it goes on in another process, makes no difference
/// to the model.
#[derive(Debug)]
pub struct Run<'a> {
    set: &'a TrainingSet,
    config: TrainConfig,
    train: Cow<'a, Dataset>,
    valid: Option<Cow<'a, Dataset>>,
    refit: bool,
    trainer: Trainer,
    /// The network that begins with the first layer of `trainer`, where that is an autoencoder.
    waiting: Option<Trainer>,
    fit: FitState,
    pretrained: u64,
    /// What the first phase came to, once the second has begun.
    fitted: Option<Fitted>,
    duration: Duration,
}

/// Training items that are measured where there are none to validate on, at most: scores are held in memory.
const MEASURED: usize = 1 << 16;

/// A fit that is done: what a model is made of, and what is told of it.
#[derive(Debug)]
struct Fitted {
    report: FitReport,
    measured: Evaluated,
    scores: Option<ScoreDistribution>,
    parameters: Parameters,
    shifts: Vec<Block>,
}

impl<'a> Run<'a> {
    /// A training before its first step, at a kernel level and on the threads of `pool`, if there is one; the model depends on
    /// neither.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration or the share of validation items is out of range; [`Error::NoData`] if there is nothing
    /// in [`Validation::On`]; [`Error::UnsupportedLevel`]; [`Error::TooLarge`].
    pub fn new(
        set: &'a TrainingSet,
        config: TrainConfig,
        validation: Validation<'a>,
        level: Level,
        pool: Option<Arc<rayon::ThreadPool>>,
    ) -> Result<Self> {
        if config.average != 1 {
            let expected = "1 in a single training; TrainingSet::train averages";
            return Err(Error::Config { option: "average", expected, found: config.average.to_string() });
        }
        let Sides { train, valid, refit } = set.sides(validation, &config)?;
        let statistics = Statistics::of(&train, set.tags().len());
        let mut trainer = set.trainer(config.clone(), &statistics)?;
        trainer.set_level(level)?;
        if let Some(pool) = pool {
            trainer.set_pool(pool);
        }
        let mut run = Run {
            set,
            config,
            train,
            valid,
            refit,
            trainer,
            waiting: None,
            fit: FitState::default(),
            pretrained: 0,
            fitted: None,
            duration: Duration::ZERO,
        };
        run.begin_pretraining()?;
        Ok(run)
    }

    /// The part that is under way.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let epochs = self.trainer.config().epochs;
        match (&self.waiting, &self.fitted) {
            (Some(_), _) => Phase::Pretrain { epochs },
            (None, None) => Phase::Fit { epochs },
            (None, Some(_)) => Phase::Refit { epochs },
        }
    }

    /// What the best epoch is chosen by.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.config.metric
    }

    /// Every finished epoch, with its phase.
    pub fn epochs(&self) -> impl Iterator<Item = (Phase, &EpochReport)> {
        let fit = Phase::Fit { epochs: self.config.epochs };
        let fitted = self.fitted.iter().flat_map(move |fitted| fitted.report.epochs.iter().map(move |epoch| (fit, epoch)));
        let phase = self.phase();
        fitted.chain(self.fit.epochs.iter().map(move |epoch| (phase, epoch)))
    }

    /// Goes on until the training is done or the observer breaks.
    ///
    /// # Errors
    /// Whatever [`Trainer::fit`] and [`Trainer::evaluate`] fail with.
    pub fn advance(&mut self, observer: &mut PhaseObserver<'_>) -> Result<ControlFlow<()>> {
        loop {
            let phase = self.phase();
            let train = if self.fitted.is_some() { self.set.dataset() } else { &*self.train };
            let valid = if let Phase::Fit { .. } = phase { self.valid.as_deref() } else { None };
            let epochs_before = self.fit.epochs().len();
            let start = Instant::now();
            let flow = self.trainer.advance(&mut self.fit, train, valid, &mut |event| observer(phase, event));
            self.duration = self.duration.saturating_add(start.elapsed());
            if let Phase::Pretrain { .. } = phase {
                let items = (self.fit.epochs().len() - epochs_before) as u64 * train.len() as u64;
                self.pretrained = self.pretrained.saturating_add(items);
            }
            if flow?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if self.waiting.is_some() {
                self.end_pretraining();
                continue;
            }
            if !self.refit || self.fitted.is_some() || self.fit.best_epoch == 0 {
                return Ok(ControlFlow::Continue(()));
            }
            self.begin_refit()?;
        }
    }

    /// Ends the fit, and begins anew on all items, for as many epochs as were best.
    fn begin_refit(&mut self) -> Result<()> {
        let report = self.trainer.finish(mem::take(&mut self.fit));
        let (measured, scores) = self.measure()?;
        let set = self.set;
        let again = {
            let statistics = Statistics::of(set.dataset(), set.tags().len());
            set.restarted(&self.trainer, &statistics, report.best_epoch)?
        };
        let state = mem::replace(&mut self.trainer, again).state;
        self.fitted = Some(Fitted { report, measured, scores, parameters: state.parameters, shifts: state.shifts });
        self.begin_pretraining()
    }

    /// Lets the network wait for an autoencoder, if there is to be one.
    fn begin_pretraining(&mut self) -> Result<()> {
        let items = if self.fitted.is_some() { self.set.dataset() } else { &*self.train };
        if let Some(autoencoder) = self.trainer.autoencoder(items)? {
            self.waiting = Some(mem::replace(&mut self.trainer, autoencoder));
        }
        Ok(())
    }

    /// Goes on with the network that waits, if one does.
    fn end_pretraining(&mut self) {
        if let Some(mut network) = self.waiting.take() {
            network.begin_with(&self.trainer);
            self.trainer = network;
            self.fit = FitState::default();
        }
    }

    /// Measures of the network, and how its logits are distributed, on the validation items or on training items.
    fn measure(&self) -> Result<(Evaluated, Option<ScoreDistribution>)> {
        let propensities = Counts::of(&self.train, self.set.tags().len()).propensities();
        let items = match self.valid.as_deref() {
            Some(valid) => Cow::Borrowed(valid),
            None if self.train.len() <= MEASURED => Cow::Borrowed(&*self.train),
            None => Cow::Owned(self.train.subset(0..MEASURED)?),
        };
        Ok((self.trainer.evaluate(&items, propensities.as_ref())?, self.trainer.distribution(&items)?))
    }

    /// Steps taken in the phase that is under way.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.trainer.steps()
    }

    /// The best epoch so far, counted from 1; 0 without validation, and before the first epoch is finished.
    #[must_use]
    pub fn best_epoch(&self) -> u32 {
        match (&self.fitted, &self.fit.best) {
            (Some(fitted), _) => fitted.report.best_epoch,
            (None, Some(_)) => self.fit.best_epoch,
            (None, None) => 0,
        }
    }

    /// The model of the best epoch so far, as if that had been the last; `None` if there is no such epoch.
    ///
    /// # Errors
    /// As [`Trainer::model`].
    pub fn best_model(&self) -> Result<Option<Model>> {
        let (parameters, shifts, epochs) = match (&self.fitted, &self.fit.best) {
            (Some(fitted), _) => (&fitted.parameters, &fitted.shifts, &fitted.report.epochs),
            (None, Some((_, parameters))) => (parameters, &self.trainer.state.shifts, &self.fit.epochs),
            (None, None) => return Ok(None),
        };
        let best_epoch = self.best_epoch();
        let valid = epochs.iter().find(|epoch| epoch.epoch == best_epoch).and_then(|epoch| epoch.valid);
        let provenance = self.provenance(&self.train, &epochs[..best_epoch as usize], best_epoch, valid)?;
        // An autoencoder may be under way for the refit.
        let network = self.waiting.as_ref().unwrap_or(&self.trainer);
        network.model_of(&self.config, parameters.weights(), shifts, provenance, &Extensions::default()).map(Some)
    }

    fn valid_samples(&self) -> usize {
        self.valid.as_deref().map_or(0, Dataset::len)
    }

    fn provenance(
        &self,
        learnt: &Dataset,
        epochs: &[EpochReport],
        best_epoch: u32,
        valid: Option<KeyMeasures>,
    ) -> Result<Provenance> {
        self.set.provenance(learnt, Outcome { epochs, best_epoch, valid_samples: self.valid_samples(), valid })
    }

    /// The model of what was trained so far. An unfinished fit counts with its best epoch, an unfinished refit not at all.
    ///
    /// # Errors
    /// Whatever [`Trainer::evaluate`] and [`Trainer::model`] fail with.
    pub fn into_model(mut self) -> Result<(Model, TrainingReport)> {
        let all = self.set.dataset();
        self.end_pretraining();
        let is_refit = self.fitted.is_some() && self.fit.is_finished();
        let ended = self.trainer.finish(mem::take(&mut self.fit));
        let learnt = if is_refit { all } else { &*self.train };
        let (fit, (measured, scores), unfinished_refit) = match self.fitted.take() {
            None => (ended, self.measure()?, None),
            Some(Fitted { report, measured, scores, .. }) if is_refit => (report, (measured, scores), None),
            Some(Fitted { report, measured, scores, parameters, shifts }) => {
                (report, (measured, scores), Some((parameters, shifts)))
            }
        };
        let extensions = Extensions { scores, ..Extensions::default() };
        let valid = self.valid.is_some().then(|| KeyMeasures::of(&measured.evaluation));
        let provenance = self.provenance(learnt, &fit.epochs, fit.best_epoch, valid)?;
        let model = match unfinished_refit {
            None => self.trainer.model_with(provenance, &extensions)?,
            Some((parameters, shifts)) => {
                self.trainer.model_of(&self.config, parameters.weights(), &shifts, provenance, &extensions)?
            }
        };
        let report = TrainingReport {
            fit,
            measured,
            samples: self.train.len(),
            valid_samples: self.valid_samples(),
            pretrained: self.pretrained,
            refit_samples: if is_refit { all.len() } else { 0 },
            duration: self.duration,
        };
        Ok((model, report))
    }

    /// What decides the training beside its state: with these the same, a state can be gone on with.
    pub(super) fn settings(&self) -> Result<Provenance> {
        let mut settings = self.set.settings(&self.config)?;
        settings.insert("data.valid_samples", self.valid_samples().to_string())?;
        let fingerprint =
            self.valid.as_deref().map_or_else(|| "none".to_owned(), |valid| format!("{:016x}", valid.fingerprint()));
        settings.insert("data.valid_fingerprint", fingerprint)?;
        settings.insert("refit", self.refit.to_string())?;
        Ok(settings)
    }

    /// Writes all that is to be known to go on.
    pub(super) fn write(&mut self, codec: &mut dyn Codec) -> Result<()> {
        codec.f64("duration", &mut self.duration.as_secs_f64(), |_| true)?;
        codec.u64("pretrained items", &mut self.pretrained, |_| true)?;
        codec.flag("phase", &mut self.fitted.is_some())?;
        if let Some(Fitted { report, parameters, shifts, .. }) = &mut self.fitted {
            visit_epochs(codec, &mut report.epochs, &mut report.best_epoch)?;
            let network = self.waiting.as_ref().unwrap_or(&self.trainer);
            parameters.visit(codec, &network.network)?;
            codec.floats("shifts of output biases", shifts, f32::is_finite)?;
        }
        // The network that waits is as it was made.
        codec.flag("phase", &mut self.waiting.is_some())?;
        self.trainer.visit(codec)?;
        self.fit.visit(codec, &self.trainer)
    }

    /// Brings a training before its first step to where [`Run::write`] was called.
    pub(super) fn read(&mut self, codec: &mut dyn Codec) -> Result<()> {
        let mut seconds = 0.0;
        codec.f64("duration", &mut seconds, |seconds| Duration::try_from_secs_f64(seconds).is_ok())?;
        self.duration = Duration::from_secs_f64(seconds);
        codec.u64("pretrained items", &mut self.pretrained, |_| true)?;
        let mut is_refit = false;
        codec.flag("phase", &mut is_refit)?;
        if is_refit {
            self.end_pretraining();
            visit_epochs(codec, &mut self.fit.epochs, &mut self.fit.best_epoch)?;
            let state = &mut self.trainer.state;
            state.parameters.visit(codec, &self.trainer.network)?;
            codec.floats("shifts of output biases", &mut state.shifts, f32::is_finite)?;
            if !self.refit || self.fit.best_epoch == 0 {
                return Err(Error::checkpoint("phase", "a fit", "a refit"));
            }
            // As if the fit had just ended.
            self.fit.finished = true;
            self.begin_refit()?;
        }
        let mut is_waiting = false;
        codec.flag("phase", &mut is_waiting)?;
        match (is_waiting, &self.waiting) {
            (true, None) => return Err(Error::checkpoint("phase", "a training without an autoencoder", "one with it")),
            (false, _) => self.end_pretraining(),
            (true, Some(_)) => {}
        }
        self.trainer.visit(codec)?;
        self.fit.visit(codec, &self.trainer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Corpus, Item};
    use crate::train::{Autoencoder, Correction, Event, Negatives, Pretrain};

    #[test]
    fn pauses_change_nothing() {
        let mut corpus = Corpus::new();
        for i in 0..90u32 {
            let tags = ["t", "u", "t u", ""][i as usize * 7 % 4];
            corpus.push(&Item::of(&format!("a{} b{} c{}", i % 5, i % 3, i % 11), tags)).unwrap();
        }
        let set = TrainingSet::new(corpus, 1).unwrap();
        let validation = Validation::Split { fraction: 0.3, refit: true };
        for correction in [Correction::Offset, Correction::Shift, Correction::Importance] {
            // With one of them an autoencoder comes first.
            let pretrain = Pretrain { epochs: 2, autoencoder: Autoencoder::default() };
            let config = TrainConfig {
                pretrain: (correction == Correction::Shift).then_some(pretrain),
                hidden: 6,
                epochs: 4,
                batch: 10,
                l2: 1e-3,
                negatives: Negatives::Sampled(1.0),
                correction,
                ..TrainConfig::default()
            };
            let bytes = |every: usize| {
                let mut run = Run::new(&set, config.clone(), validation, Level::Scalar, None).unwrap();
                let mut events = 0;
                let mut pause = |_: Phase, _: Event<'_>| {
                    events += 1;
                    if events % every == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                };
                while run.advance(&mut pause).unwrap().is_break() {}
                run.into_model().unwrap().0.bytes().to_vec()
            };
            let whole = bytes(usize::MAX);
            for every in [1, 2, 5, 13] {
                assert!(bytes(every) == whole, "paused every {every} events, {correction}");
            }
        }
    }
}
