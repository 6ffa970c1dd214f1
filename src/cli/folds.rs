//! `train --calibrate`, `train --threshold`: calibration and thresholds without items of their own. Each training item is scored by a
//! network that has not learnt from it.

use clap::{Args, value_parser};
use serde::Serialize;
use tagomatic::calibrate::Method;
use tagomatic::train::recipe::TrainingSet;
use tagomatic::tune::{ThresholdRule, Tuned, Wishes, tune_on};

use super::course::Course;
use super::failure::{Failure, Result};
use super::progress::Part;
use super::training::{Plan, Training};

#[derive(Args)]
#[command(next_help_heading = "Calibration and thresholds")]
pub(super) struct Tuning {
    /// Calibrate scores as `tune` does, on DATA: a network is trained without each of --folds parts, and scores it
    #[arg(long, value_name = "platt|isotonic")]
    calibrate: Option<Method>,
    /// Choose thresholds as `tune` does, on the same scores [default: 0.5; with --calibrate f1]
    #[arg(long, value_name = "f1|precision:P|recall:R", value_parser = chosen)]
    threshold: Option<ThresholdRule>,
    /// Parts of DATA for these two, and models to train beside the one that is kept [default: 5]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(2..=1000))]
    folds: Option<u32>,
}

const FOLDS: u32 = 5;

/// What folds were scored, as it stands in a JSON document.
#[derive(Clone, Copy, Serialize)]
pub(super) struct FoldCounts {
    pub(super) folds: u32,
    /// Items that no model could do without, and so none has scored.
    pub(super) needed_by_all: usize,
}

/// A rule that looks at scores.
fn chosen(text: &str) -> Result<ThresholdRule, String> {
    match text.parse() {
        Err(_) | Ok(ThresholdRule::Fixed(_)) => {
            Err("expected f1, precision:P or recall:R with a number in (0, 1]; numbers alone are set by `tune`".to_owned())
        }
        Ok(rule) => Ok(rule),
    }
}

impl Tuning {
    /// What is to be tuned, if anything.
    pub(super) fn wishes(&self) -> Result<Option<Wishes<'static>>> {
        let Tuning { calibrate, threshold, folds } = *self;
        if calibrate.is_none() && threshold.is_none() {
            let found = || Failure::Usage("--folds: expected --calibrate or --threshold beside it".to_owned());
            return folds.map_or(Ok(None), |_| Err(found()));
        }
        Ok(Some(Wishes { threshold: threshold.unwrap_or(ThresholdRule::F1), calibrate, tags: None }))
    }

    fn folds(&self) -> u32 {
        self.folds.unwrap_or(FOLDS)
    }

    /// Fails if the items cannot be divided so.
    pub(super) fn check(&self, set: &TrainingSet) -> Result<()> {
        Ok(set.check_folds(self.folds())?)
    }

    /// Tunes the model that `plan` has made of `set`; tells on what.
    pub(super) fn tune(
        &self,
        wishes: Wishes<'_>,
        plan: &Plan<'_>,
        set: &TrainingSet,
        training: &Training,
    ) -> Result<(Tuned, FoldCounts)> {
        let Plan { session, config, .. } = plan;
        let (of, pool) = (self.folds(), session.pool.as_deref());
        let unseen = set.cross_fit(of, config.seed, session.level, pool, |fold, others| {
            let part = Part { name: "fold", number: fold + 1, of };
            let training = plan.train(others, &Course::default(), Some(part)).map_err(|failure| failure.prefixed(part))?;
            training.check_whole(part)?;
            Ok::<_, Failure>(training.into_model())
        })?;
        let counts = FoldCounts { folds: unseen.folds, needed_by_all: set.dataset().len() - unseen.items.len() };
        Ok((tune_on(training.tagger(), &unseen, wishes)?, counts))
    }
}
