//! The recipe of a training: items become a model that tells how it was made.
//!
//! Some items are set aside to validate on; the network is fitted to the others until validation says stop; what it then scores is
//! measured; and, where asked, a new network is trained on all items for as many epochs as were best.
//!
//! The model remembers how the logits of the network were distributed on the validation items before it was trained anew, or on training
//! items if there are none, for [`crate::drift`]; an average of several does not.
//!
//! The model's [`Provenance`] has these keys. Nothing of the machine is among them, so that the same data make the same bytes
//! everywhere.
//!
//! | key | value |
//! | --- | --- |
//! | `created_by` | program and version |
//! | `data.samples`, `data.tag_counts` | items that the final weights were trained on, and how many of them have each tag ([`Counts`]) |
//! | `data.keywords`, `data.tags` | sizes of the vocabulary and of the tags |
//! | `data.fingerprint` | hash of names and items, [`Prepared::fingerprint`] |
//! | `data.valid_samples` | items validated on |
//! | `data.min_count` | items that a keyword needed |
//! | `init` | hash of the model that training began from, if there was one |
//! | `data.rules` | the tag rules, as [`Rules`] write themselves; without rules the key is not there |
//! | `fit.epochs`, `fit.best_epoch` | epochs run, and which was best |
//! | `fit.average` | networks averaged, where there are several; the other values are those of the first |
//! | `fit.curve_log_loss`, `fit.curve_valid_macro_ap` | of each epoch the training loss, and the score on the validation items |
//! | `fit.valid_log_loss`, `fit.valid_p_at_1`, `fit.valid_micro_f1` | measures on the validation items, where defined |
//! | `fit.valid_macro_auc`, `fit.valid_macro_ap` | the same, means of tags |
//! | `train.*` | each field of [`TrainConfig`] |

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::config::TrainConfig;
use super::fit::{EpochReport, Event, FitReport};
use super::parameters::Statistics;
use super::run::Run;
use super::trainer::Trainer;
use crate::average::average;
use crate::data::{Corpus, CorpusStats, Counts, Dataset, FirstNames, Prepared};
use crate::error::{Error, Result};
use crate::evaluate::{Evaluated, KeyMeasures};
use crate::format::{Model, Provenance};
use crate::kernels::Level;
use crate::metrics::Metric;
use crate::rng::Philox;
use crate::rules::Rules;
use crate::tags::Tags;
use crate::vocab::Vocabulary;

/// Items to train on, with the vocabulary and the tags that follow from them.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use std::ops::ControlFlow;
/// use tagomatic::train::TrainConfig;
/// use tagomatic::train::recipe::{TrainingSet, Validation};
/// use tagomatic::{Level, Tagger};
/// # use tagomatic::data::{Corpus, Item};
/// # let mut corpus = Corpus::new();
/// # for n in 0..60 {
/// #     let (words, tag) = if n % 2 == 0 { (["shark", "beach"], "sea") } else { (["castle", "fog"], "horror") };
/// #     let keywords = vec![words[n % 3 % 2].to_owned(), format!("word {}", n % 5)];
/// #     corpus.push(&Item { keywords, tags: vec![tag.to_owned()], ..Item::default() })?;
/// # }
///
/// let set = TrainingSet::new(corpus, 1)?;
/// let config = TrainConfig { hidden: 16, epochs: 10, ..TrainConfig::default() };
/// let validation = Validation::Split { fraction: 0.2, refit: true };
/// let (model, report) = set.train(config, validation, Level::best(), None, &mut |_, _| ControlFlow::Continue(()))?;
/// println!("{} items, best epoch {}", report.samples, report.fit.best_epoch);
/// let tagger = Tagger::new(model);
/// let mut scores = [0.0; 2];
/// tagger.score_keywords(["shark"], &mut tagger.scratch(), &mut scores)?;
/// let sea = tagger.tags().get("sea").unwrap_or_default();
/// assert!(scores[sea] > scores[1 - sea]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TrainingSet {
    vocabulary: Arc<Vocabulary>,
    tags: Tags,
    dataset: Dataset,
    stats: CorpusStats,
    fingerprint: u64,
    min_count: u64,
    /// The model that training begins from.
    init: Option<Arc<Model>>,
    /// What the rules, if there are any, say of themselves.
    rules: Option<String>,
    /// The keywords that each tag must do without, where it has a net of its own; tags after the last need none.
    withheld: Vec<Vec<u32>>,
}

/// What decides when training stops and which epoch is kept.
#[derive(Clone, Copy, Debug)]
pub enum Validation<'a> {
    /// Nothing: every epoch is run and the last one is kept.
    None,
    /// A share of the training items, chosen by [`Dataset::split_trainable`] with the configuration's seed.
    Split {
        /// The share, from 0 to 1; with 0 it is as [`Validation::None`].
        fraction: f64,
        /// Whether the final model is trained anew on all items, for as many epochs as were best.
        refit: bool,
    },
    /// Other items, in the ids of the training set's vocabulary and tags.
    On(&'a Dataset),
}

/// The items of a training.
pub(super) struct Sides<'a> {
    /// To train on.
    pub(super) train: Cow<'a, Dataset>,
    /// To validate on, if there are any.
    pub(super) valid: Option<Cow<'a, Dataset>>,
    /// Whether the final model is trained anew on all of them.
    pub(super) refit: bool,
}

/// The part of a training that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// An autoencoder of the keywords is trained, for the first layer of the network to begin with.
    Pretrain {
        /// Epochs.
        epochs: u32,
    },
    /// The network is fitted to the items that are not validated on.
    Fit {
        /// Epochs at most.
        epochs: u32,
    },
    /// A new network is trained on all items.
    Refit {
        /// Epochs, as many as were best.
        epochs: u32,
    },
}

/// Watches the phases of a training. [`ControlFlow::Break`] ends it: in [`Phase::Fit`] there is no refit then, and in
/// [`Phase::Refit`] the model is the one that was validated.
pub type PhaseObserver<'o> = dyn FnMut(Phase, Event<'_>) -> ControlFlow<()> + Send + 'o;

/// What [`TrainingSet::train`] did.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingReport {
    /// The fit.
    pub fit: FitReport,
    /// Measures of the fitted network, on the validation items, or on the first 65,536 training items where there are none.
    pub measured: Evaluated,
    /// Items in the fit.
    pub samples: usize,
    /// Items validated on.
    pub valid_samples: usize,
    /// Items that the final weights were trained on anew; 0 if they were not.
    pub refit_samples: usize,
    /// Items that an autoencoder was trained on, counted in every epoch.
    pub pretrained: u64,
    /// The time that all of it took.
    pub duration: Duration,
}

/// What a model tells of the fit that it comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome<'a> {
    pub(super) epochs: &'a [EpochReport],
    pub(super) best_epoch: u32,
    pub(super) valid_samples: usize,
    /// Measures on these.
    pub(super) valid: Option<KeyMeasures>,
}

const CREATED_BY: &str = concat!("tagomatic ", env!("CARGO_PKG_VERSION"));

impl TrainingSet {
    /// All items of `corpus`; a keyword needs `min_count` of them to be in the vocabulary.
    ///
    /// # Errors
    /// [`Error::NoData`] without items, keywords or tags, [`Error::UntrainableTag`] if all items have a tag; [`Error::BadName`] if
    /// a tag's name cannot be in a model; [`Error::TooLarge`].
    pub fn new(corpus: Corpus, min_count: u64) -> Result<Self> {
        Self::numbered(corpus.finish(min_count)?, min_count, Tags::from_names)
    }

    /// As [`TrainingSet::new`], of items that a [`Labeller`](crate::rules::Labeller) has seen: tags have the ids that the rules give
    /// them, and the model tells the rules.
    ///
    /// # Errors
    /// As [`TrainingSet::new`] and [`Rules::number`].
    pub fn with_rules(corpus: Corpus, min_count: u64, rules: &Rules) -> Result<Self> {
        let mut set = Self::numbered(corpus.finish(min_count)?, min_count, |tags| rules.number(tags))?;
        set.rules = Some(rules.to_string());
        set.withheld = vec![Vec::new(); set.tags.len()];
        for (tag, keywords) in rules.withheld() {
            if let Some(tag) = set.tags.get(tag) {
                set.withheld[tag] = keywords.iter().filter_map(|keyword| set.vocabulary.get(&keyword.name)).collect();
            }
        }
        Ok(set)
    }

    /// All items of `corpus`, to go on from `model`: its keywords and tags come first and stay, new ones follow. See
    /// [`Trainer::warm`]. A calibration of the model is left behind, being one of its scores alone, and with it the thresholds that were
    /// chosen on calibrated scores: they begin anew.
    ///
    /// # Errors
    /// As [`TrainingSet::new`].
    pub fn extending(model: Arc<Model>, corpus: Corpus, min_count: u64) -> Result<Self> {
        let names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let first = FirstNames {
            keywords: names(model.vocabulary().iter().collect()),
            tags: names(model.tags().iter().map(|tag| tag.name.as_str()).collect()),
        };
        let all = |names: Vec<String>| {
            let mut tags = model.tags().clone();
            if model.extensions().calibration.is_some() {
                (0..tags.len()).try_for_each(|tag| tags.set_threshold(tag, Tags::DEFAULT_THRESHOLD))?;
            }
            names.into_iter().skip(tags.len()).try_for_each(|name| tags.push(name).map(drop))?;
            Ok(tags)
        };
        let set = Self::numbered(corpus.finish_after(first, min_count)?, min_count, all)?;
        Ok(TrainingSet { init: Some(model), ..set })
    }

    fn numbered(prepared: Prepared, min_count: u64, number: impl FnOnce(Vec<String>) -> Result<Tags>) -> Result<Self> {
        prepared.check_trainable()?;
        let fingerprint = prepared.fingerprint();
        let Prepared { keywords, tags, dataset, stats } = prepared;
        Ok(TrainingSet {
            vocabulary: Arc::new(Vocabulary::from_keywords(keywords)?),
            tags: number(tags)?,
            dataset,
            stats,
            fingerprint,
            min_count,
            init: None,
            rules: None,
            withheld: Vec::new(),
        })
    }

    /// A trainer for these names before its first step.
    pub(super) fn trainer(&self, config: TrainConfig, statistics: &Statistics) -> Result<Trainer> {
        let (vocabulary, tags) = (Arc::clone(&self.vocabulary), self.tags.clone());
        match &self.init {
            None => Trainer::new(config, vocabulary, tags, statistics),
            Some(model) => Trainer::warm(config, model, vocabulary, tags, statistics),
        }
    }

    /// A trainer like `trainer` before its first step.
    pub(super) fn restarted(&self, trainer: &Trainer, statistics: &Statistics, epochs: u32) -> Result<Trainer> {
        let mut trainer = trainer.restarted(statistics, epochs)?;
        self.init.as_ref().map_or(Ok(()), |model| trainer.adopt(model))?;
        Ok(trainer)
    }

    /// The model that training begins from, if it does.
    #[must_use]
    pub fn begins_from(&self) -> Option<&Model> {
        self.init.as_deref()
    }

    /// What the model that training begins from is told by: the hash of its file.
    fn init(&self) -> Option<String> {
        self.init.as_ref().map(|model| format!("{:016x}", xxh3_64(model.bytes())))
    }

    /// The same for one tag alone, on the items of `dataset`, which has the same tags. Nothing but tags is copied, unless the tag must
    /// do without some keywords.
    pub(super) fn of_tag(&self, tag: usize, dataset: &Dataset) -> Result<Self> {
        let tags = Tags::new(vec![self.tags[tag].clone()], self.tags.next_id())?;
        let mut dataset = dataset.of_tags(&[tag as u32])?;
        if !self.withheld(tag).is_empty() {
            dataset = dataset.without_keywords(self.withheld(tag))?;
        }
        Ok(TrainingSet { tags, dataset, ..self.clone() })
    }

    /// The same with other items of the same names.
    pub(super) fn with_items(&self, dataset: Dataset) -> Self {
        TrainingSet { dataset, ..self.clone() }
    }

    /// The keywords that a net of this tag alone must do without.
    pub(super) fn withheld(&self, tag: usize) -> &[u32] {
        self.withheld.get(tag).map_or(&[], Vec::as_slice)
    }

    /// The vocabulary.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The tags.
    #[must_use]
    pub fn tags(&self) -> &Tags {
        &self.tags
    }

    /// The items.
    #[must_use]
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// What was counted when the items were read.
    #[must_use]
    pub fn stats(&self) -> &CorpusStats {
        &self.stats
    }

    /// Trains a model, at a kernel level and on the threads of `pool`, if there is one; the model depends on neither. To pause a
    /// training, save it and go on with it, make a [`Run`].
    ///
    /// # Errors
    /// As [`Run::new`] and [`Run::advance`].
    pub fn train(
        &self,
        config: TrainConfig,
        validation: Validation<'_>,
        level: Level,
        pool: Option<Arc<rayon::ThreadPool>>,
        observer: &mut PhaseObserver<'_>,
    ) -> Result<(Model, TrainingReport)> {
        self.train_by(config, validation, level, pool, |_, run| run.advance(observer))
    }

    /// As [`TrainingSet::train`], each network by `advance`, which gets its number, counted from 0, and is to call [`Run::advance`]:
    /// there is one, or [`TrainConfig::average`] of them in turn, each trained as if alone, from the seed plus its number. The report
    /// is about the first; if the training of another one is ended, the average is of those that were finished. With
    /// [`Checkpoints`](super::Checkpoints) a training goes on in another process, whichever network is under way.
    ///
    /// # Errors
    /// As [`Run::new`], and whatever `advance` fails with.
    pub fn train_by<E: From<Error>>(
        &self,
        config: TrainConfig,
        validation: Validation<'_>,
        level: Level,
        pool: Option<Arc<rayon::ThreadPool>>,
        mut advance: impl FnMut(u32, &mut Run<'_>) -> Result<ControlFlow<()>, E>,
    ) -> Result<(Model, TrainingReport), E> {
        config.validate()?;
        let mut train = |network: u32| {
            let seed = config.seed.wrapping_add(network.into());
            let config = TrainConfig { seed, average: 1, ..config.clone() };
            let mut run = Run::new(self, config, validation, level, pool.clone())?;
            let flow = advance(network, &mut run)?;
            Ok::<_, E>((run.into_model()?, flow))
        };
        let ((model, mut report), mut flow) = train(0)?;
        let mut models = vec![model];
        while flow.is_continue() && models.len() < config.average as usize {
            let ((model, other), then) = train(models.len() as u32)?;
            flow = then;
            if flow.is_continue() {
                models.push(model);
                report.duration = report.duration.saturating_add(other.duration);
            }
        }
        Ok((if models.len() > 1 { average(&models)? } else { models.remove(0) }, report))
    }

    /// The items of a training, divided as `validation` says.
    pub(super) fn sides<'a>(&'a self, validation: Validation<'a>, config: &TrainConfig) -> Result<Sides<'a>> {
        let whole = Sides { train: Cow::Borrowed(&self.dataset), valid: None, refit: false };
        match validation {
            Validation::None => Ok(whole),
            Validation::On(valid) if valid.is_empty() => {
                Err(Error::NoData { what: "no samples to validate on".to_owned(), cure: "give at least one item" })
            }
            Validation::On(valid) => Ok(Sides { valid: Some(Cow::Borrowed(valid)), ..whole }),
            Validation::Split { fraction, refit } => {
                let (train, valid) = self.dataset.split_trainable(Philox::new(config.seed), fraction, self.tags.len())?;
                if valid.is_empty() {
                    return Ok(whole);
                }
                let [train, valid] = [self.dataset.subset(train)?, self.dataset.subset(valid)?].map(Cow::Owned);
                Ok(Sides { train, valid: Some(valid), refit })
            }
        }
    }

    /// What decides a training beside its validation items, as text under the keys of the provenance.
    pub(super) fn settings(&self, config: &TrainConfig) -> Result<Provenance> {
        let mut settings = Provenance::new();
        config.describe(&mut settings)?;
        for (key, value) in [
            ("created_by", CREATED_BY.to_owned()),
            (Provenance::FINGERPRINT, format!("{:016x}", self.fingerprint)),
            ("data.keywords", self.vocabulary.len().to_string()),
            ("data.min_count", self.min_count.to_string()),
            (Provenance::SAMPLES, self.dataset.len().to_string()),
            (Provenance::TAGS, self.tags.len().to_string()),
        ] {
            settings.insert(key, value)?;
        }
        self.init().map_or(Ok(()), |init| settings.insert("init", init))?;
        if let Some(rules) = &self.rules {
            settings.insert(Provenance::RULES, rules.as_str())?;
        }
        Ok(settings)
    }

    /// What the model tells of its making, but for its configuration, which the trainer adds.
    pub(super) fn provenance(&self, learnt: &Dataset, fitted: Outcome<'_>) -> Result<Provenance> {
        let Outcome { epochs, best_epoch, valid_samples, valid } = fitted;
        let mut provenance = Provenance::new();
        Counts::of(learnt, self.tags.len()).describe(&mut provenance)?;
        for (key, value) in [
            ("created_by", CREATED_BY.to_owned()),
            ("data.keywords", self.vocabulary.len().to_string()),
            (Provenance::TAGS, self.tags.len().to_string()),
            (Provenance::FINGERPRINT, format!("{:016x}", self.fingerprint)),
            ("data.valid_samples", valid_samples.to_string()),
            ("data.min_count", self.min_count.to_string()),
            ("fit.epochs", epochs.len().to_string()),
            ("fit.best_epoch", best_epoch.to_string()),
        ] {
            provenance.insert(key, value)?;
        }
        self.init().map_or(Ok(()), |init| provenance.insert("init", init))?;
        let list = |values: Vec<f64>| values.iter().map(|value| format!("{value:.4}")).collect::<Vec<_>>().join(" ");
        let log_losses = epochs.iter().map(|epoch| epoch.log_loss).collect();
        provenance.insert(Provenance::CURVE_LOG_LOSS, list(log_losses))?;
        let macro_aps: Vec<f64> = epochs.iter().filter_map(|epoch| epoch.valid?.get(Metric::MacroAp)).collect();
        if !macro_aps.is_empty() {
            provenance.insert(Provenance::CURVE_VALID_MACRO_AP, list(macro_aps))?;
        }
        if let Some(rules) = &self.rules {
            provenance.insert(Provenance::RULES, rules.as_str())?;
        }
        if let Some(valid) = valid {
            for metric in [Metric::LogLoss, Metric::PAt1, Metric::MicroF1, Metric::MacroAuc, Metric::MacroAp] {
                if let Some(value) = valid.get(metric) {
                    provenance.insert(format!("fit.valid_{metric}"), format!("{value:.6}"))?;
                }
            }
        }
        Ok(provenance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Item;

    fn set() -> TrainingSet {
        let mut corpus = Corpus::new();
        for i in 0..60u32 {
            corpus.push(&Item::of(&format!("a{} b{}", i % 5, i % 3), if i % 5 < 2 { "t u" } else { "u v" })).unwrap();
        }
        corpus.push(&Item::of("a1", "")).unwrap();
        corpus.push(&Item::of("a2", "")).unwrap();
        TrainingSet::new(corpus, 1).unwrap()
    }

    fn train(validation: Validation<'_>, observer: &mut PhaseObserver<'_>) -> Result<(Model, TrainingReport)> {
        train_networks(1, validation, observer)
    }

    fn train_networks(
        average: u32,
        validation: Validation<'_>,
        observer: &mut PhaseObserver<'_>,
    ) -> Result<(Model, TrainingReport)> {
        let config = TrainConfig { hidden: 4, average, epochs: 3, ..TrainConfig::default() };
        set().train(config, validation, Level::Scalar, None, observer)
    }

    const SPLIT: Validation<'_> = Validation::Split { fraction: 0.3, refit: true };

    #[test]
    fn provenance_has_the_keys_that_the_head_of_this_file_tells() {
        let documented = include_str!("recipe.rs").lines().take_while(|line| line.starts_with("//!"));
        let cells = documented.filter_map(|line| line.strip_prefix("//! | `")?.split(" | ").next());
        let documented: Vec<&str> = cells.flat_map(|cell| cell.split(", ")).map(|key| key.trim_matches('`')).collect();
        let (model, _) = train_networks(2, SPLIT, &mut |_, _| ControlFlow::Continue(())).unwrap();
        let provenance = model.provenance().unwrap();
        let written: Vec<&str> = provenance.iter().map(|(key, _)| key).collect();
        assert_eq!(
            documented.iter().filter(|key| !["train.*", "data.rules", "init"].contains(key) && !written.contains(key)).count(),
            0,
            "{documented:?}"
        );
        for key in written {
            assert!(documented.contains(&key) || key.starts_with("train."), "{key}");
        }
    }

    #[test]
    fn phases_follow_the_validation() {
        let phases = |validation, end: Option<Phase>| {
            let mut phases = Vec::new();
            let (model, report) = train(validation, &mut |phase, _| {
                phases.push(phase);
                if Some(phase) == end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
            phases.dedup();
            let learnt = model.provenance().unwrap().get("data.samples").unwrap().parse::<usize>().unwrap();
            assert_eq!(learnt, report.samples.max(report.refit_samples));
            (phases, report)
        };
        let (seen, report) = phases(Validation::None, None);
        assert_eq!((seen, report.samples, report.valid_samples), (vec![Phase::Fit { epochs: 3 }], 62, 0));
        let set = set();
        let (seen, report) = phases(Validation::On(set.dataset()), None);
        assert_eq!((seen, report.samples, report.valid_samples), (vec![Phase::Fit { epochs: 3 }], 62, 62));
        let (seen, report) = phases(SPLIT, None);
        let (fit, refit) = (Phase::Fit { epochs: 3 }, Phase::Refit { epochs: report.fit.best_epoch });
        assert_eq!((seen, report.samples + report.valid_samples, report.refit_samples), (vec![fit, refit], 62, 62));
        // Ended early there is no refit, and a refit that is ended counts for nothing.
        assert_eq!(phases(SPLIT, Some(fit)).0, [fit]);
        let (seen, report) = phases(SPLIT, Some(refit));
        assert_eq!((seen, report.refit_samples), (vec![fit, refit], 0));
    }

    #[test]
    fn networks_are_averaged_as_far_as_they_are_finished() {
        let train = |end: usize| {
            let mut fits = 0;
            let (model, _) = train_networks(3, SPLIT, &mut |phase, event| {
                let begins = matches!((phase, event), (Phase::Fit { .. }, Event::Epoch(epoch)) if epoch.epoch == 1);
                fits += usize::from(begins);
                if fits == end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
            let networks = model.provenance().unwrap().get("fit.average").map(str::to_owned);
            (model.network().shape.hidden(), networks)
        };
        assert_eq!([4, 3, 2, 1].map(train), [(12, Some("3".to_owned())), (8, Some("2".to_owned())), (4, None), (4, None)]);
        // The first member is the network that is trained alone.
        let alone = train_networks(1, SPLIT, &mut |_, _| ControlFlow::Continue(())).unwrap().0;
        let of_three = train_networks(3, SPLIT, &mut |_, _| ControlFlow::Continue(())).unwrap().0;
        let row = |model: &Model| crate::aligned::as_floats(model.weights().as_f32().unwrap().w1)[..4].to_vec();
        assert_eq!(row(&alone), row(&of_three));
    }

    #[test]
    fn validation_out_of_range_is_an_error() {
        let fails = |validation| train(validation, &mut |_, _| ControlFlow::Continue(())).unwrap_err();
        let nothing = Dataset::new();
        assert!(matches!(fails(Validation::On(&nothing)), Error::NoData { .. }));
        let share = Validation::Split { fraction: f64::NAN, refit: false };
        assert!(matches!(fails(share), Error::Config { option: "validation fraction", .. }));
    }
}
