//! Banks: one small net a tag, each trained on its own, merged into one model with a group a tag.
//!
//! A tag's net is a function of the data, the configuration with its seed, and the tag's name; the other tags have no part in it but
//! for the choice of validation items. So tags that were trained apart, on other machines even, and [merged](crate::edit::merge) make
//! the same bytes as those that were trained together. A net that runs away takes no other with it.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::config::TrainConfig;
use super::recipe::{Sides, TrainingReport, TrainingSet, Validation};
use crate::aligned::Block;
use crate::data::{Counts, Dataset};
use crate::edit::merge;
use crate::error::{Error, Result};
use crate::evaluate::{Evaluated, evaluate};
use crate::format::{Model, ModelParts};
use crate::kernels::Level;
use crate::network::Weights;
use crate::tagger::Tagger;

/// A tag of a bank that is done.
#[derive(Clone, Copy, Debug)]
pub struct TagDone<'a> {
    /// Its name.
    pub tag: &'a str,
    /// Tags done so far, this one included; they are not done in order.
    pub done: usize,
    /// Tags to train; those that fail are never done.
    pub of: usize,
    /// What its training did, up to the refit.
    pub report: &'a TrainingReport,
}

/// Watches the training of a bank, from any thread. [`ControlFlow::Break`] ends it; the bank has the tags that are done then.
pub type BankObserver<'o> = dyn Fn(TagDone<'_>) -> ControlFlow<()> + Sync + 'o;

/// A tag that is not in its bank, since its net ran away.
#[derive(Debug)]
pub struct TagFailure {
    /// Its name.
    pub tag: String,
    /// [`Error::NonFinite`], which has the name too.
    pub error: Error,
}

/// What [`TrainingSet::train_bank`] did.
#[derive(Debug)]
pub struct BankReport {
    /// The fit of each tag of the bank, in their order.
    pub tags: Vec<TrainingReport>,
    /// The tags whose nets ran away, in the order of the set's tags; the bank is what it is without them.
    pub failed: Vec<TagFailure>,
    /// Measures of the fitted nets, on the validation items, or on the training items where there are none.
    pub measured: Evaluated,
    /// Items in the fits.
    pub samples: usize,
    /// Items validated on.
    pub valid_samples: usize,
    /// Items that the final weights were trained on anew; 0 if they were not.
    pub refit_samples: usize,
    /// Whether the observer ended it.
    pub interrupted: bool,
    /// The time that it took.
    pub duration: Duration,
}

/// One net.
struct Net {
    fitted: Model,
    /// Trained on all items, if that was asked for.
    refitted: Option<Model>,
    report: TrainingReport,
}

impl TrainingSet {
    /// Trains a net for each of the tags at the indices `tags`, as many at a time as `pool` has threads, and makes a bank of them.
    /// All share the items and the vocabulary. The bank does not depend on `pool` and `level`, and each net not on `tags`. A net that
    /// runs away ([`Error::NonFinite`]) is left out and told in [`BankReport::failed`]; only if every one does, the first one's error
    /// is returned.
    ///
    /// # Errors
    /// [`Error::Config`] for a set that extends a model; [`Error::NoData`] without tags, or if the observer ends it before one
    /// is done; [`Error::Length`] for a tag that is not there; and as [`TrainingSet::train`].
    pub fn train_bank(
        &self,
        config: &TrainConfig,
        validation: Validation<'_>,
        tags: &[usize],
        level: Level,
        pool: Option<&rayon::ThreadPool>,
        observer: &BankObserver<'_>,
    ) -> Result<(Model, BankReport)> {
        if self.begins_from().is_some() {
            let found = "a bank to train".to_owned();
            return Err(Error::Config { option: "init", expected: "one net that all tags share", found });
        }
        let start = Instant::now();
        let mut wanted = tags.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        if let Some(&missing) = wanted.iter().find(|&&tag| tag >= self.tags().len()) {
            return Err(Error::Length { what: "tags", expected: missing.saturating_add(1), found: self.tags().len() });
        }
        // Divided once for all tags.
        let sides = self.sides(validation, config)?;

        let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        let net = |&tag: &usize| -> Result<Option<Result<Net, TagFailure>>> {
            let net = match self.net(tag, config, &sides, level, &stop) {
                Ok(Some(net)) => net,
                Ok(None) => return Ok(None),
                // Its own affair: what the others have learnt is not to be lost.
                Err(Error::NonFinite { what, epoch, step, lr, .. }) => {
                    let tag = self.tags()[tag].name.clone();
                    let error = Error::NonFinite { what, tag: Some(tag.clone()), epoch, step, lr };
                    return Ok(Some(Err(TagFailure { tag, error })));
                }
                Err(error) => return Err(error),
            };
            let done = 1 + done.fetch_add(1, Ordering::Relaxed);
            let event = TagDone { tag: &self.tags()[tag].name, done, of: wanted.len(), report: &net.report };
            if observer(event).is_break() {
                stop.store(true, Ordering::Relaxed);
            }
            Ok(Some(Ok(net)))
        };
        // Small nets have nothing to divide: each is trained by one thread.
        let trained = match pool {
            Some(pool) => pool.install(|| wanted.par_iter().map(net).collect::<Result<Vec<_>>>()),
            None => wanted.iter().map(net).collect(),
        }?;
        let interrupted = trained.iter().any(Option::is_none);
        let (mut kept, mut nets, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for (&tag, trained) in wanted.iter().zip(trained) {
            match trained {
                Some(Ok(net)) => {
                    kept.push(tag as u32);
                    nets.push(net);
                }
                Some(Err(failure)) => failed.push(failure),
                None => {}
            }
        }
        if nets.is_empty() {
            if let Some(TagFailure { error, .. }) = failed.into_iter().next() {
                return Err(error);
            }
            return Err(Error::NoData { what: "a bank without tags".to_owned(), cure: "train one tag at least" });
        }

        let bank = |models: Vec<&Model>| merge(&models).map(|merged| merged.model);
        let fitted = bank(nets.iter().map(|net| &net.fitted).collect())?;
        let propensities = Counts::of(&sides.train.of_tags(&kept)?, kept.len()).propensities();
        let tagger = Tagger::with_level(fitted, level)?;
        let on = sides.valid.as_ref().unwrap_or(&sides.train);
        let measured = evaluate(&tagger, &on.of_tags(&kept)?, propensities.as_ref(), pool)?;
        let model = match nets.iter().map(|net| net.refitted.as_ref()).collect::<Option<Vec<&Model>>>() {
            Some(refitted) => bank(refitted)?,
            None => tagger.into_model(),
        };
        let report = BankReport {
            tags: nets.into_iter().map(|net| net.report).collect(),
            failed,
            measured,
            samples: sides.train.len(),
            valid_samples: sides.valid.as_ref().map_or(0, |valid| valid.len()),
            refit_samples: if sides.refit { self.dataset().len() } else { 0 },
            interrupted,
            duration: start.elapsed(),
        };
        Ok((model, report))
    }

    /// The net of one tag; `None` if it is not done when `stop` is set.
    fn net(&self, tag: usize, config: &TrainConfig, sides: &Sides<'_>, level: Level, stop: &AtomicBool) -> Result<Option<Net>> {
        let name = &self.tags()[tag].name;
        // Every tag has random numbers of its own, whatever tags there are beside it.
        let own = TrainConfig { seed: xxh3_64_with_seed(name.as_bytes(), config.seed), ..config.clone() };
        let of_tag = |dataset: &Dataset| dataset.of_tags(&[tag as u32]);
        let go_on = || if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let valid = sides.valid.as_deref().map(of_tag).transpose()?;
        let validation = valid.as_ref().map_or(Validation::None, Validation::On);
        let set = self.of_tag(tag, &sides.train)?;
        let (fitted, report) = set.train(own.clone(), validation, level, None, &mut |_, _| go_on())?;
        if report.fit.interrupted || !is_whole(&fitted, &own) {
            return Ok(None);
        }
        let mut provenance = fitted.provenance()?;
        // The seed that it all follows from.
        provenance.insert("train.seed", config.seed.to_string())?;
        provenance.insert("train.objective", "per-tag")?;
        let mut refitted = None;
        if sides.refit && report.fit.best_epoch > 0 {
            let set = self.of_tag(tag, self.dataset())?;
            let again = TrainConfig { epochs: report.fit.best_epoch, ..own };
            let (model, report) = set.train(again.clone(), Validation::None, level, None, &mut |_, _| go_on())?;
            if report.fit.interrupted || !is_whole(&model, &again) {
                return Ok(None);
            }
            let mut provenance = provenance.clone();
            Counts::of(set.dataset(), 1).describe(&mut provenance)?;
            refitted = Some(finish(&model, &fitted, self.withheld(tag), &provenance)?);
        } else if sides.refit {
            refitted = Some(finish(&fitted, &fitted, self.withheld(tag), &provenance)?);
        }
        Ok(Some(Net { fitted: finish(&fitted, &fitted, self.withheld(tag), &provenance)?, refitted, report }))
    }
}

/// Whether `model` is the average of as many networks as `config` says, and not of those that were done when training was ended.
fn is_whole(model: &Model, config: &TrainConfig) -> bool {
    model.network().shape.hidden() == config.hidden.saturating_mul(config.average as usize)
}

/// The same model with another provenance, and the distribution of logits of `measured`, on which some keywords have no effect.
fn finish(model: &Model, measured: &Model, withheld: &[u32], provenance: &crate::format::Provenance) -> Result<Model> {
    let mut extensions = measured.extensions().clone();
    if !withheld.is_empty() {
        // It was measured with them.
        extensions.scores = None;
    }
    let parts = ModelParts { extensions: &extensions, ..model.parts(provenance) };
    let row = model.network().shape.row_blocks();
    let weights = parts.weights.to_f32(&model.network().shape)?;
    let weights = weights.view();
    let mut w1 = Vec::new();
    if !withheld.is_empty() {
        // Training never saw them: these rows are still what they were drawn to be.
        w1.extend_from_slice(weights.w1);
        withheld.iter().for_each(|&id| w1[id as usize * row..(id as usize + 1) * row].fill(Block::ZERO));
    }
    let w1 = if withheld.is_empty() { weights.w1 } else { &w1 };
    ModelParts { weights: Weights { w1, ..weights }.into(), ..parts }.to_model()
}
