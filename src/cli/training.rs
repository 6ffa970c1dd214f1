//! A training from items to a model, as `train` and `demo` run it, in words.

use std::fmt::Display;
use std::ops::ControlFlow;
use std::time::Duration;

use serde::Serialize;
use tagomatic::convert::{Conversion, convert};
use tagomatic::evaluate::Evaluated;
use tagomatic::metrics::Metric;
use tagomatic::train::recipe::{TrainingReport, TrainingSet, Validation};
use tagomatic::train::{BankReport, FitReport, TagFailure, TrainConfig};
use tagomatic::weights::WeightType;
use tagomatic::{Error, Model, Tagger, Tags};

use super::course::Course;
use super::eval::{Measures, Skipped};
use super::failure::{Failure, Result};
use super::load::ReadCounts;
use super::progress::{Part, TagProgress};
use super::search::Search;
use super::{Session, output, tune};

/// How a model is trained, whatever the items.
pub(super) struct Plan<'a> {
    pub(super) session: &'a Session,
    pub(super) config: TrainConfig,
    pub(super) validation: Validation<'a>,
    /// The indices of the tags, if each is to have a net of its own.
    pub(super) bank: Option<Vec<usize>>,
}

/// A training that is done.
pub(super) struct Training {
    done: Done,
    tagger: Tagger,
    /// As they were when it was measured.
    measured_tags: Tags,
    signature: String,
    metric: Metric,
}

/// What a training did, of one net or of a bank.
struct Done {
    /// One, or of a bank one for each tag.
    fits: Vec<FitReport>,
    /// Tags of a bank that are not in it.
    failed: Vec<FailedTag>,
    measured: Evaluated,
    samples: usize,
    valid_samples: usize,
    refit_samples: usize,
    /// Samples that autoencoders saw, all epochs together.
    pretrained: u64,
    duration: Duration,
}

impl From<TrainingReport> for Done {
    fn from(report: TrainingReport) -> Self {
        let TrainingReport { fit, measured, samples, valid_samples, refit_samples, pretrained, duration } = report;
        let (fits, failed) = (vec![fit], Vec::new());
        Done { fits, failed, measured, samples, valid_samples, refit_samples, pretrained, duration }
    }
}

impl From<BankReport> for Done {
    fn from(report: BankReport) -> Self {
        let BankReport { tags, failed, measured, samples, valid_samples, refit_samples, duration, .. } = report;
        let pretrained = tags.iter().map(|report| report.pretrained).sum();
        let fits = tags.into_iter().map(|report| report.fit).collect();
        let failed = failed.into_iter().map(FailedTag::from).collect();
        Done { fits, failed, measured, samples, valid_samples, refit_samples, pretrained, duration }
    }
}

impl Plan<'_> {
    /// Trains a model on the items of `set`, and shows how far it is. `part` says of what it is a part, if it is not all.
    pub(super) fn train(&self, set: &TrainingSet, course: &Course, part: Option<Part>) -> Result<Training> {
        let Plan { session, config, validation, bank } = self;
        let metric = config.metric;
        let (model, done) = match bank {
            None => {
                let mut under_way = course.begin(config.average, part)?;
                let pool = session.pool.clone();
                let (model, report) = set.train_by(config.clone(), *validation, session.level, pool, |network, run| {
                    under_way.train(network, run).map(ControlFlow::Continue)
                })?;
                (model, Done::from(report))
            }
            Some(tags) => {
                let progress = TagProgress::new(tags.len(), metric, part);
                let pool = session.pool.as_deref();
                let (model, report) = set.train_bank(config, *validation, tags, session.level, pool, &|done| {
                    progress.show(done);
                    ControlFlow::Continue(())
                })?;
                (model, Done::from(report))
            }
        };
        let tagger = session.tagger(model)?;
        Ok(Training { done, measured_tags: tagger.tags().clone(), signature: output::signature(&tagger)?, tagger, metric })
    }
}

/// A tag of a bank whose training ran away, as it stands in a JSON document.
#[derive(Serialize)]
struct FailedTag {
    tag: String,
    /// What happened where.
    error: String,
}

impl From<TagFailure> for FailedTag {
    fn from(TagFailure { tag, error }: TagFailure) -> Self {
        let error = match error {
            // Not its cure, which is the same for all.
            Error::NonFinite { what, epoch, step, lr, .. } => {
                format!("{what} is not finite in epoch {epoch}, step {step}, at learning rate {lr}")
            }
            error => error.to_string(),
        };
        FailedTag { tag, error }
    }
}

impl Training {
    /// Whether it is without tags that it was to have, as their training ran away.
    pub(super) fn is_partial(&self) -> bool {
        !self.done.failed.is_empty()
    }

    /// Fails if a bank, called `name`, is without tags that it was to have.
    pub(super) fn check_whole(&self, name: impl Display) -> Result<()> {
        let Done { failed, fits, .. } = &self.done;
        if failed.is_empty() {
            return Ok(());
        }
        let tags: Vec<String> = failed.iter().map(|FailedTag { tag, error }| format!("{tag:?} ({error})")).collect();
        Err(Failure::Work(format!(
            "{name}: {} of {} tags are not in it, as their training ran away: {} (lower the learning rate, or check the initial weights)",
            failed.len(),
            failed.len() + fits.len(),
            tags.join(", ")
        )))
    }

    pub(super) fn tagger(&self) -> &Tagger {
        &self.tagger
    }

    pub(super) fn model(&self) -> &Model {
        self.tagger.model()
    }

    pub(super) fn into_model(self) -> Model {
        self.tagger.into_model()
    }

    /// The same with another model.
    pub(super) fn with_model(self, session: &Session, model: Model) -> Result<Self> {
        let tagger = session.tagger(model)?;
        Ok(Training { signature: output::signature(&tagger)?, tagger, ..self })
    }

    /// The same with weights rounded to this type; the error is measured on the items of `set` too.
    pub(super) fn with_weights(self, session: &Session, set: &TrainingSet, weights: WeightType) -> Result<Self> {
        if weights == WeightType::F32 {
            return Ok(self);
        }
        let how = Conversion { weights: Some(weights), ..Conversion::default() };
        let dataset = set.dataset();
        let items = (0..dataset.len()).map(|item| dataset.keywords(item));
        let model = convert(self.model(), how, items)?.model;
        self.with_model(session, model)
    }
}

/// The loss of the best epoch.
fn best_loss(fit: &FitReport) -> Option<f64> {
    fit.epochs.iter().find(|epoch| epoch.epoch == fit.best_epoch).map(|epoch| epoch.log_loss)
}

/// A training, as it stands in a JSON document.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    /// Of several nets the most.
    epochs: usize,
    /// Of several nets the median.
    best_epoch: u32,
    seconds: f64,
    samples_per_second: f64,
    /// Of the training items in the best epoch, a mean over the nets; null without any epoch.
    log_loss: Option<f64>,
    valid: Option<Measures<'a>>,
    zeros: Option<f64>,
    dead_units: usize,
    model_bytes: usize,
    signature: &'a str,
    samples: usize,
    /// Items that the final weights were trained on anew, for as many epochs as were best; 0 if they were not.
    refit_samples: usize,
    valid_samples: usize,
    keywords: usize,
    tags: usize,
    /// Tags of a bank that are not in it, since their training ran away.
    failed_tags: &'a [FailedTag],
    untagged: u64,
    rare_keywords: u64,
    without_keywords: u64,
    repeated_keywords: u64,
    repeated_tags: u64,
    /// The model that training began from was calibrated; this one is not, and its thresholds begin anew.
    calibration_left: bool,
    #[serde(flatten)]
    read: ReadCounts,
    /// What of a validation file was left out.
    valid_left: Option<Skipped>,
    /// How the configuration was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) search: Option<Search>,
    /// What calibration and thresholds did, on the items that they were chosen on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tuned: Option<tune::Document>,
    #[serde(skip)]
    curve: Vec<(String, String)>,
}

impl Training {
    /// `read` was counted in the training files, `valid` in files of their own.
    pub(super) fn document<'a>(&'a self, set: &'a TrainingSet, read: ReadCounts, valid: Option<Skipped>) -> Document<'a> {
        let Done { fits, failed, measured, samples, valid_samples, refit_samples, pretrained, duration } = &self.done;
        let seconds = duration.as_secs_f64();
        let of_fit = |fit: &FitReport| samples * fit.epochs.len() + refit_samples * fit.best_epoch as usize;
        let trained = fits.iter().map(of_fit).sum::<usize>() as f64 + *pretrained as f64;
        let mut best_epochs: Vec<u32> = fits.iter().map(|fit| fit.best_epoch).collect();
        best_epochs.sort_unstable();
        let losses: Option<Vec<f64>> = fits.iter().map(best_loss).collect();
        let stats = set.stats();
        Document {
            epochs: fits.iter().map(|fit| fit.epochs.len()).max().unwrap_or(0),
            best_epoch: best_epochs.get(best_epochs.len() / 2).copied().unwrap_or(0),
            seconds,
            samples_per_second: if seconds > 0.0 { trained / seconds } else { 0.0 },
            log_loss: losses.map(|losses| losses.iter().sum::<f64>() / losses.len() as f64),
            valid: (*valid_samples > 0).then(|| Measures::new(measured, &self.measured_tags)),
            zeros: measured.hidden.zeros,
            dead_units: measured.hidden.dead_units,
            model_bytes: self.model().byte_len(),
            signature: &self.signature,
            samples: *samples,
            refit_samples: *refit_samples,
            valid_samples: *valid_samples,
            keywords: set.vocabulary().len(),
            tags: self.tagger.tags().len(),
            failed_tags: failed,
            untagged: stats.untagged,
            rare_keywords: stats.rare_keywords,
            without_keywords: stats.without_keywords,
            repeated_keywords: stats.repeated_keywords,
            repeated_tags: stats.repeated_tags,
            calibration_left: set.begins_from().is_some_and(|model| model.extensions().calibration.is_some()),
            read,
            valid_left: valid,
            search: None,
            tuned: None,
            curve: if let [fit] = &fits[..] { curve(fit, self.metric) } else { Vec::new() },
        }
    }
}

/// The learning curves of a fit, for people.
fn curve(fit: &FitReport, metric: Metric) -> Vec<(String, String)> {
    let losses: Vec<f64> = fit.epochs.iter().map(|epoch| epoch.log_loss).collect();
    let scores: Vec<f64> = fit.epochs.iter().filter_map(|epoch| epoch.valid?.get(metric)).collect();
    let row = |name: String, values: &[f64]| {
        let (first, last) = (values.first()?, values.last()?);
        let of = format!("{}  {first:.4} to {last:.4}", output::sparkline(values));
        (values.len() > 1).then_some((name, of))
    };
    let rows = [row("log-loss".to_owned(), &losses), row(format!("validation {metric}"), &scores)];
    rows.into_iter().flatten().collect()
}

impl Document<'_> {
    /// For people.
    pub(super) fn text(&self) -> String {
        let mut rows = vec![
            (
                "items",
                format!("{} to train on, {} to validate on", output::count(self.samples), output::count(self.valid_samples)),
            ),
            ("keywords", output::count(self.keywords)),
            ("tags", output::count(self.tags)),
        ];
        let [skipped, binarized] = self.read.rows();
        rows.extend(output::counts(&[
            skipped,
            binarized,
            ("tags that ran away", self.failed_tags.len() as u64),
            ("items without tags", self.untagged),
            ("rare keywords left out", self.rare_keywords),
            ("items without keywords", self.without_keywords),
            ("repeated keywords", self.repeated_keywords),
            ("repeated tags", self.repeated_tags),
        ]));
        rows.push((
            "training",
            format!(
                "{} epochs in {:.2} s ({} items/s), the best is {} with log-loss {}",
                self.epochs,
                self.seconds,
                output::count(self.samples_per_second as u64),
                self.best_epoch,
                output::measure(self.log_loss),
            ),
        ));
        if self.refit_samples > 0 {
            let items = output::count(self.refit_samples);
            rows.push(("final model", format!("trained anew on all {items} items for {} epochs", self.best_epoch)));
        }
        if self.calibration_left {
            let anew = format!(
                "that of the model before is left behind, thresholds are {} again (see `tune`)",
                Tags::DEFAULT_THRESHOLD
            );
            rows.push(("calibration", anew));
        }
        let mut text = output::list(&rows);
        if !self.curve.is_empty() {
            text += "\nepochs\n";
            text += &output::list(&self.curve);
        }
        if let Some(valid) = &self.valid {
            text += "\nvalidation\n";
            text += &valid.summary();
            text += &output::list(&self.valid_left.as_ref().map(Skipped::rows).unwrap_or_default());
        }
        if let Some(tuned) = &self.tuned {
            text += "\ncalibration and thresholds\n";
            text += &tuned.summary();
        }
        text
    }

    /// The file, for people.
    pub(super) fn file(&self) -> String {
        format!("{}, signature {}", output::size(self.model_bytes), self.signature)
    }
}
