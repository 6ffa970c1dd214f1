//! A training from items to a model, as `train` and `demo` run it.

use std::time::Instant;

use serde::Serialize;
use tagomatic::data::{Corpus, CorpusStats, Counts, Dataset, Prepared};
use tagomatic::evaluate::Evaluated;
use tagomatic::rng::Philox;
use tagomatic::train::{FitReport, Statistics, TrainConfig, Trainer};
use tagomatic::{Model, Provenance, Tagger, Tags, Vocabulary};

use super::eval::{Measures, Skipped};
use super::failure::Result;
use super::load::Encoded;
use super::progress::Progress;
use super::{Session, output};

/// What a model is trained and validated on.
pub(super) struct TrainingSet {
    pub(super) vocabulary: Vocabulary,
    pub(super) tags: Tags,
    train: Dataset,
    /// Never empty.
    valid: Option<Dataset>,
    /// Training and validation items together, to train on again once validation has chosen the number of epochs.
    all: Option<Dataset>,
    fingerprint: u64,
    min_count: u64,
    stats: CorpusStats,
}

impl TrainingSet {
    /// All items of `corpus`, to train on.
    pub(super) fn new(corpus: Corpus, min_count: u64) -> tagomatic::Result<Self> {
        let prepared = corpus.finish(min_count)?;
        prepared.check_trainable()?;
        let fingerprint = prepared.fingerprint();
        let Prepared { keywords, tags, dataset, stats } = prepared;
        Ok(TrainingSet {
            vocabulary: Vocabulary::from_keywords(keywords)?,
            tags: Tags::from_names(tags)?,
            fingerprint,
            train: dataset,
            valid: None,
            all: None,
            min_count,
            stats,
        })
    }

    /// Validates on other items.
    pub(super) fn validate_on(&mut self, dataset: Dataset) {
        self.valid = Some(dataset);
    }

    /// Validates on a part of the items and trains on the others; then, with `refit`, trains anew on all, for as many epochs as
    /// were best.
    pub(super) fn split(&mut self, fraction: f64, seed: u64, refit: bool) -> Result<()> {
        let (train, valid) = self.train.split_trainable(Philox::new(seed), fraction, self.tags.len())?;
        if !valid.is_empty() {
            self.valid = Some(self.train.subset(valid)?);
            let train = self.train.subset(train)?;
            let all = std::mem::replace(&mut self.train, train);
            self.all = refit.then_some(all);
        }
        Ok(())
    }

    /// Trains a model.
    pub(super) fn train(&self, session: &Session, config: TrainConfig) -> Result<Training> {
        let statistics = Statistics::of(&self.train, self.tags.len());
        let mut progress = Progress::new("", config.epochs, self.train.len());
        let mut trainer = Trainer::new(config, self.vocabulary.clone(), self.tags.clone(), &statistics)?;
        trainer.set_level(session.level)?;
        if let Some(pool) = &session.pool {
            trainer.set_pool(pool.clone());
        }
        let start = Instant::now();
        let fit = trainer.fit(&self.train, self.valid.as_ref(), &mut |news| progress.show(news))?;
        let mut seconds = start.elapsed().as_secs_f64();
        drop(progress);
        let propensities = Counts::of(&self.train, self.tags.len()).propensities();
        let measured = trainer.evaluate(self.valid.as_ref().unwrap_or(&self.train), propensities.as_ref())?;
        let refit = self.all.as_ref().filter(|_| fit.best_epoch > 0);
        if let Some(all) = refit {
            let start = Instant::now();
            trainer = trainer.restarted(&Statistics::of(all, self.tags.len()), fit.best_epoch)?;
            let mut progress = Progress::new("all items, ", fit.best_epoch, all.len());
            trainer.fit(all, None, &mut |news| progress.show(news))?;
            seconds += start.elapsed().as_secs_f64();
        }
        let learnt = refit.unwrap_or(&self.train);
        let model = trainer.model(self.provenance(learnt, &fit, &measured)?)?;
        let tagger = session.tagger(model)?;
        let signature = output::signature(&tagger)?;
        let refit = refit.map_or(0, Dataset::len);
        Ok(Training { fit, refit, seconds, measured, tagger, signature })
    }

    /// What the model tells of its making. Nothing of the machine, so that the same data make the same bytes everywhere.
    fn provenance(&self, learnt: &Dataset, fit: &FitReport, measured: &Evaluated) -> Result<Provenance> {
        let mut provenance = Provenance::new();
        Counts::of(learnt, self.tags.len()).describe(&mut provenance)?;
        for (key, value) in [
            ("created_by", concat!("tagomatic ", env!("CARGO_PKG_VERSION")).to_owned()),
            ("data.keywords", self.vocabulary.len().to_string()),
            ("data.tags", self.tags.len().to_string()),
            ("data.fingerprint", format!("{:016x}", self.fingerprint)),
            ("data.valid_samples", self.valid_samples().to_string()),
            ("data.min_count", self.min_count.to_string()),
            ("fit.epochs", fit.epochs.len().to_string()),
            ("fit.best_epoch", fit.best_epoch.to_string()),
        ] {
            provenance.insert(key, value)?;
        }
        if self.valid.is_some() {
            let evaluation = &measured.evaluation;
            for (key, value) in [
                ("fit.valid_log_loss", Some(evaluation.summary.log_loss)),
                ("fit.valid_p_at_1", evaluation.summary.p_at_1),
                ("fit.valid_micro_f1", Some(evaluation.micro_f1)),
                ("fit.valid_macro_auc", evaluation.macro_auc.value),
                ("fit.valid_macro_ap", evaluation.macro_ap.value),
            ] {
                if let Some(value) = value {
                    provenance.insert(key, format!("{value:.6}"))?;
                }
            }
        }
        Ok(provenance)
    }

    fn valid_samples(&self) -> usize {
        self.valid.as_ref().map_or(0, Dataset::len)
    }
}

/// A training that is done.
pub(super) struct Training {
    fit: FitReport,
    /// Items that the final weights were trained on anew; 0 if they were not.
    refit: usize,
    seconds: f64,
    /// On the validation items, or on the training items where there are none.
    measured: Evaluated,
    tagger: Tagger,
    signature: String,
}

/// A training, as it stands in a JSON document.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    epochs: usize,
    best_epoch: u32,
    seconds: f64,
    samples_per_second: f64,
    /// Of the training items in the best epoch; null without any epoch.
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
    untagged: u64,
    rare_keywords: u64,
    without_keywords: u64,
    repeated_keywords: u64,
    repeated_tags: u64,
    skipped: u64,
    /// What of a validation file was left out.
    valid_left: Option<Skipped>,
}

impl Training {
    pub(super) fn model(&self) -> &Model {
        self.tagger.model()
    }

    /// `skipped` lines of the training files were malformed; `valid` was read from files of its own.
    pub(super) fn document<'a>(&'a self, set: &'a TrainingSet, skipped: u64, valid: Option<&Encoded>) -> Document<'a> {
        let epochs = self.fit.epochs.len();
        let best = self.fit.epochs.iter().find(|epoch| epoch.epoch == self.fit.best_epoch);
        let trained = (set.train.len() * epochs + self.refit * self.fit.best_epoch as usize) as f64;
        Document {
            epochs,
            best_epoch: self.fit.best_epoch,
            seconds: self.seconds,
            samples_per_second: if self.seconds > 0.0 { trained / self.seconds } else { 0.0 },
            log_loss: best.map(|epoch| epoch.log_loss),
            valid: set.valid.as_ref().map(|_| Measures::new(&self.measured, &set.tags)),
            zeros: self.measured.zeros,
            dead_units: self.measured.dead_units,
            model_bytes: self.model().byte_len(),
            signature: &self.signature,
            samples: set.train.len(),
            refit_samples: self.refit,
            valid_samples: set.valid_samples(),
            keywords: set.vocabulary.len(),
            tags: set.tags.len(),
            untagged: set.stats.untagged,
            rare_keywords: set.stats.rare_keywords,
            without_keywords: set.stats.without_keywords,
            repeated_keywords: set.stats.repeated_keywords,
            repeated_tags: set.stats.repeated_tags,
            skipped,
            valid_left: valid.map(Skipped::of),
        }
    }
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
        rows.extend(output::counts(&[
            ("lines skipped", self.skipped),
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
        let mut text = output::list(&rows);
        if let Some(valid) = &self.valid {
            text += "\nvalidation\n";
            text += &valid.summary();
            text += &output::list(&self.valid_left.as_ref().map(Skipped::rows).unwrap_or_default());
        }
        text
    }

    /// The file, for people.
    pub(super) fn file(&self) -> String {
        format!("{}, signature {}", output::size(self.model_bytes), self.signature)
    }
}
