//! A training under way: the phases of the recipe, to be paused and gone on with.

use std::borrow::Cow;
use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::TrainConfig;
use super::fit::{FitReport, FitState};
use super::parameters::{Parameters, Statistics};
use super::recipe::{Phase, PhaseObserver, TrainingReport, TrainingSet, Validation};
use super::trainer::Trainer;
use crate::aligned::Block;
use crate::data::{Counts, Dataset};
use crate::error::Result;
use crate::evaluate::Evaluated;
use crate::format::Model;
use crate::kernels::Level;

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
    fit: FitState,
    /// What the first phase came to, once the second has begun.
    fitted: Option<Fitted>,
    duration: Duration,
}

/// A fit that is done: what a model is made of, and what is told of it.
#[derive(Debug)]
struct Fitted {
    report: FitReport,
    measured: Evaluated,
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
    ///
    /// [`Error::Config`]: crate::Error::Config
    /// [`Error::NoData`]: crate::Error::NoData
    /// [`Error::TooLarge`]: crate::Error::TooLarge
    /// [`Error::UnsupportedLevel`]: crate::Error::UnsupportedLevel
    pub fn new(
        set: &'a TrainingSet,
        config: TrainConfig,
        validation: Validation<'a>,
        level: Level,
        pool: Option<Arc<rayon::ThreadPool>>,
    ) -> Result<Self> {
        let sides = set.split(validation, &config)?;
        let (train, valid, refit) = match (sides, validation) {
            (Some((train, valid)), Validation::Split { refit, .. }) => (Cow::Owned(train), Some(Cow::Owned(valid)), refit),
            (_, Validation::On(valid)) => (Cow::Borrowed(set.dataset()), Some(Cow::Borrowed(valid)), false),
            _ => (Cow::Borrowed(set.dataset()), None, false),
        };
        let statistics = Statistics::of(&train, set.tags().len());
        let mut trainer = Trainer::new(config.clone(), set.shared_vocabulary(), set.tags().clone(), &statistics)?;
        trainer.set_level(level)?;
        if let Some(pool) = pool {
            trainer.set_pool(pool);
        }
        let (fit, duration) = (FitState::default(), Duration::ZERO);
        Ok(Run { set, config, train, valid, refit, trainer, fit, fitted: None, duration })
    }

    /// The part that is under way.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let epochs = self.trainer.config().epochs;
        if self.fitted.is_some() { Phase::Refit { epochs } } else { Phase::Fit { epochs } }
    }

    /// Goes on until the training is done or the observer breaks.
    ///
    /// # Errors
    /// Whatever [`Trainer::fit`] and [`Trainer::evaluate`] fail with.
    pub fn advance(&mut self, observer: &mut PhaseObserver<'_>) -> Result<ControlFlow<()>> {
        loop {
            let phase = self.phase();
            let (train, valid) = match phase {
                Phase::Fit { .. } => (&*self.train, self.valid.as_deref()),
                Phase::Refit { .. } => (self.set.dataset(), None),
            };
            let start = Instant::now();
            let flow = self.trainer.advance(&mut self.fit, train, valid, &mut |event| observer(phase, event));
            self.duration += start.elapsed();
            if flow?.is_break() {
                return Ok(ControlFlow::Break(()));
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
        let measured = self.measure()?;
        let set = self.set;
        let again = self.trainer.restarted(&Statistics::of(set.dataset(), set.tags().len()), report.best_epoch)?;
        let state = mem::replace(&mut self.trainer, again).state;
        self.fitted = Some(Fitted { report, measured, parameters: state.parameters, shifts: state.shifts });
        Ok(())
    }

    fn measure(&self) -> Result<Evaluated> {
        let propensities = Counts::of(&self.train, self.set.tags().len()).propensities();
        self.trainer.evaluate(self.valid.as_deref().unwrap_or(&self.train), propensities.as_ref())
    }

    /// The model of what was trained so far. An unfinished fit counts with its best epoch, an unfinished refit not at all.
    ///
    /// # Errors
    /// Whatever [`Trainer::evaluate`] and [`Trainer::model`] fail with.
    pub fn into_model(mut self) -> Result<(Model, TrainingReport)> {
        let all = self.set.dataset();
        let finished = self.fit.is_finished();
        let ended = self.trainer.finish(mem::take(&mut self.fit));
        let (fit, measured, refit_samples) = match self.fitted.take() {
            None => (ended, self.measure()?, 0),
            Some(Fitted { report, measured, .. }) if finished => (report, measured, all.len()),
            Some(Fitted { report, measured, parameters, shifts }) => {
                self.trainer.config.clone_from(&self.config);
                self.trainer.replace(parameters);
                self.trainer.state.shifts = shifts;
                (report, measured, 0)
            }
        };
        let report = TrainingReport {
            fit,
            measured,
            samples: self.train.len(),
            valid_samples: self.valid.as_deref().map_or(0, Dataset::len),
            refit_samples,
            duration: self.duration,
        };
        let learnt = if refit_samples > 0 { all } else { &*self.train };
        Ok((self.trainer.model(self.set.provenance(learnt, &report)?)?, report))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Corpus, Item};
    use crate::train::{Correction, Event, Negatives};

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
            let config = TrainConfig {
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
