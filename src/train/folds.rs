//! Cross-fitting: every item is scored by a network that has not learnt from it, and none is set aside.
//!
//! Calibration and thresholds want scores of items that the network has not seen; items that are kept for it teach the network
//! nothing. So the items are divided into folds, a network is trained without each fold and scores it, and what is chosen on these
//! scores serves the network that was trained on all items (Platt 1999, section 2.2).
//!
//! ```
//! # fn main() -> tagomatic::Result<()> {
//! use std::ops::ControlFlow;
//! use tagomatic::calibrate::Method;
//! use tagomatic::train::TrainConfig;
//! use tagomatic::train::recipe::{TrainingSet, Validation};
//! use tagomatic::tune::{ThresholdRule, Wishes, tune_on};
//! use tagomatic::{Level, Tagger};
//! # use tagomatic::data::{Corpus, Item};
//! # let mut corpus = Corpus::new();
//! # for n in 0..120 {
//! #     let (words, tag) = if n % 2 == 0 { (["shark", "beach"], "sea") } else { (["castle", "fog"], "horror") };
//! #     let keywords = vec![words[n % 3 % 2].to_owned(), format!("word {n}")];
//! #     corpus.push(&Item { keywords, tags: vec![tag.to_owned()], ..Item::default() })?;
//! # }
//! let set = TrainingSet::new(corpus, 1)?;
//! let config = TrainConfig { hidden: 16, epochs: 3, ..TrainConfig::default() };
//! let train = |set: &TrainingSet| {
//!     let (config, level) = (config.clone(), Level::best());
//!     set.train(config, Validation::None, level, None, &mut |_, _| ControlFlow::Continue(())).map(|(model, _)| model)
//! };
//! let tagger = Tagger::new(train(&set)?);
//! let unseen = set.cross_fit(5, config.seed, Level::best(), None, |_, others| train(others))?;
//! let wishes = Wishes { threshold: ThresholdRule::F1, calibrate: Some(Method::Platt), tags: None };
//! let tuned = tune_on(&tagger, &unseen, wishes)?;
//! assert!(tuned.after.summary.ece <= tuned.before.summary.ece);
//! # Ok(())
//! # }
//! ```

use std::collections::{HashMap, HashSet};

use super::recipe::TrainingSet;
use crate::data::{Dataset, stratified};
use crate::error::{Error, Result};
use crate::evaluate::logits;
use crate::format::Model;
use crate::kernels::Level;
use crate::rng::Philox;
use crate::tagger::Tagger;

/// Items, and what networks that have not learnt from them compute for them.
#[derive(Debug)]
pub struct Unseen {
    /// The items, in the ids of the training set.
    pub items: Dataset,
    /// Items x tags, row-major, before any calibration: 4 bytes each, whatever the items are kept in.
    pub logits: Vec<f32>,
    /// Folds, each scored by a model of its own.
    pub folds: u32,
}

impl TrainingSet {
    /// Divides the items into `folds` folds in which every tag has its share ([`stratified`]; items with the same keywords stay
    /// together), has `train` make a model without each, given its number, counted from 0, and the set of the other items, and scores
    /// the fold with it at `level` and on the threads of `pool`, if there is one.
    ///
    /// An item without which the others could not train some tag is in no fold, and nor are those with its keywords.
    ///
    /// # Errors
    /// [`Error::Config`] as [`TrainingSet::check_folds`], and for a set that extends a model, which may have learnt from the items;
    /// [`Error::Length`] for a model that has not as many tags as the set; [`Error::NoData`] if no item is in a fold; whatever `train`
    /// fails with, as it should where a training is ended early.
    pub fn cross_fit<E: From<Error>>(
        &self,
        folds: u32,
        seed: u64,
        level: Level,
        pool: Option<&rayon::ThreadPool>,
        mut train: impl FnMut(u32, &TrainingSet) -> Result<Model, E>,
    ) -> Result<Unseen, E> {
        self.check_folds(folds)?;
        if self.begins_from().is_some() {
            let (expected, found) = ("trainings from their beginnings", "a set that extends a model".to_owned());
            return Err(Error::Config { option: "init", expected, found }.into());
        }
        let (dataset, tags) = (self.dataset(), self.tags().len());
        let shares = vec![1.0 / f64::from(folds); folds as usize];
        let group = of_same_keywords(dataset);
        let fold_of = stratified(dataset, &group, &shares, Philox::new(seed))?;
        let (mut scored, mut all, mut trained) = (Vec::new(), Vec::new(), 0);
        for fold in 0..folds {
            let (held, others) = self.divide(&group, |item| fold_of[item] == fold as usize);
            if held.is_empty() {
                continue;
            }
            let model = train(fold, &self.with_items(dataset.subset(others)?))?;
            Error::check_length("tags of a fold's model", tags, model.tags().len())?;
            let rows = logits(&Tagger::with_level(model, level)?, &dataset.subset(held.iter().copied())?, pool)?;
            scored.extend(held);
            all.extend(rows);
            trained += 1;
        }
        if scored.is_empty() {
            let cure = "give more items of each tag";
            return Err(Error::NoData { what: "no item that the others could do without".to_owned(), cure }.into());
        }
        Ok(Unseen { items: dataset.subset(scored)?, logits: all, folds: trained })
    }

    /// Fails unless [`TrainingSet::cross_fit`] can divide the items into so many folds.
    ///
    /// # Errors
    /// [`Error::Config`] unless there are at least two folds, and as many items.
    pub fn check_folds(&self, folds: u32) -> Result<()> {
        let items = self.dataset().len();
        if folds >= 2 && folds as usize <= items {
            return Ok(());
        }
        let found = format!("{folds} for {items} items");
        Err(Error::Config { option: "folds", expected: "at least 2, and at most one an item", found })
    }

    /// The items of a fold that are scored, and those that are trained on: of the fold those too without which the others could not
    /// train some tag, and their twins, which would be known.
    fn divide(&self, group: &[u32], is_in_fold: impl Fn(usize) -> bool) -> (Vec<usize>, Vec<usize>) {
        let (mut held, mut others): (Vec<usize>, Vec<usize>) = (0..self.dataset().len()).partition(|&item| is_in_fold(item));
        self.dataset().keep_trainable(&mut others, &mut held, self.tags().len());
        let known: HashSet<u32> = others.iter().filter(|&&item| is_in_fold(item)).map(|&item| group[item]).collect();
        let (twins, held): (Vec<usize>, Vec<usize>) = held.into_iter().partition(|&item| known.contains(&group[item]));
        others.extend(twins);
        others.sort_unstable();
        (held, others)
    }
}

/// A number for each item: that of the first item with its keywords. Items without keywords are alone.
fn of_same_keywords(dataset: &Dataset) -> Vec<u32> {
    let mut first = HashMap::new();
    // A data set has fewer than 2^32 samples.
    (0..dataset.len() as u32)
        .map(|item| match dataset.keywords(item as usize) {
            [] => item,
            keywords => *first.entry(keywords).or_insert(item),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::ops::ControlFlow;

    use super::*;
    use crate::data::{Corpus, Item};
    use crate::train::TrainConfig;
    use crate::train::recipe::Validation;

    /// Items with a keyword of their own but for three of the same keywords; one tag has a single item, one a single item without it.
    fn set() -> TrainingSet {
        let mut corpus = Corpus::new();
        for i in 0..90 {
            let keywords = if i % 30 == 7 { "same".to_owned() } else { format!("k{i} g{}", i % 4) };
            let tags = [("t", i % 4 < 2), ("once", i == 11), ("nearly", i != 37)];
            let tags: Vec<&str> = tags.into_iter().filter_map(|(tag, has)| has.then_some(tag)).collect();
            corpus.push(&Item::of(&keywords, &tags.join(" "))).unwrap();
        }
        TrainingSet::new(corpus, 1).unwrap()
    }

    fn train(set: &TrainingSet) -> Result<Model> {
        let config = TrainConfig { hidden: 4, epochs: 1, ..TrainConfig::default() };
        set.train(config, Validation::None, Level::Scalar, None, &mut |_, _| ControlFlow::Continue(())).map(|(model, _)| model)
    }

    #[test]
    fn every_item_is_scored_by_a_network_that_did_without_it() {
        let set = set();
        let models = RefCell::new(Vec::new());
        let keep = |fold: u32, others: &TrainingSet| {
            let model = train(others)?;
            let mut held: Vec<&[u32]> = (0..set.dataset().len()).map(|item| set.dataset().keywords(item)).collect();
            held.retain(|&keywords| (0..others.dataset().len()).all(|other| others.dataset().keywords(other) != keywords));
            let held: Vec<Vec<u32>> = held.into_iter().map(<[u32]>::to_vec).collect();
            assert_eq!(models.borrow().len(), fold as usize);
            models.borrow_mut().push((Tagger::new(Model::from_bytes(model.bytes())?), held));
            Ok::<_, Error>(model)
        };
        let unseen = set.cross_fit(3, 5, Level::Scalar, None, keep).unwrap();
        let models = models.into_inner();
        // What has no substitute is learnt from by all: the item with the rare tag, and the one without the common tag, with its twins.
        assert_eq!((unseen.items.len(), unseen.logits.len(), unseen.folds), (86, 86 * 3, 3));
        let mut row = 0;
        for (tagger, held) in &models {
            assert!((26..=31).contains(&held.len()), "{}", held.len());
            for keywords in held {
                assert_eq!(unseen.items.keywords(row), keywords);
                let one = unseen.items.subset([row]).unwrap();
                assert_eq!(unseen.logits[row * 3..(row + 1) * 3], logits(tagger, &one, None).unwrap(), "{row}");
                row += 1;
            }
        }
        assert_eq!(row, 86);
        // The same whatever it runs on; the seed decides.
        let pool = crate::train::pool(2).unwrap();
        let again = set.cross_fit(3, 5, Level::best(), pool.as_deref(), |_, others| train(others)).unwrap();
        assert_eq!((again.items, &again.logits), (unseen.items.clone(), &unseen.logits));
        let other = set.cross_fit(3, 6, Level::Scalar, None, |_, others| train(others)).unwrap();
        assert_ne!(other.items, unseen.items);
    }

    #[test]
    fn what_cannot_be_divided_is_refused() {
        let set = set();
        for folds in [0, 1, 91, u32::MAX] {
            let error = set.cross_fit(folds, 1, Level::Scalar, None, |_, others| train(others)).unwrap_err();
            assert!(matches!(error, Error::Config { option: "folds", .. }), "{folds}: {error}");
        }
        let mut corpus = Corpus::new();
        corpus.push(&Item::of("a", "t")).unwrap();
        corpus.push(&Item::of("b", "")).unwrap();
        let two = TrainingSet::new(corpus, 1).unwrap();
        let error = two.cross_fit(2, 1, Level::Scalar, None, |_, others| train(others)).unwrap_err();
        assert!(matches!(error, Error::NoData { .. }), "{error}");
        // One fold has all the twins: only the two without substitute are left to the others, and so is the rest.
        let mut corpus = Corpus::new();
        (0..40).for_each(|i| corpus.push(&Item::of("a b", if i % 2 == 0 { "t" } else { "" })).unwrap());
        let twins = TrainingSet::new(corpus, 1).unwrap();
        let error = twins.cross_fit(5, 1, Level::Scalar, None, |_, others| train(others)).unwrap_err();
        assert!(matches!(error, Error::NoData { .. }), "{error}");
        // A model that may have learnt from them.
        let mut corpus = Corpus::new();
        (0..9).for_each(|i| corpus.push(&Item::of("a", if i % 2 == 0 { "t" } else { "" })).unwrap());
        let extending = TrainingSet::extending(train(&set).unwrap().into(), corpus, 1).unwrap();
        let error = extending.cross_fit(2, 1, Level::Scalar, None, |_, others| train(others)).unwrap_err();
        assert!(matches!(error, Error::Config { option: "init", .. }), "{error}");
        // The model of another set.
        let error = set.cross_fit(3, 1, Level::Scalar, None, |_, _| train(&two)).unwrap_err();
        assert!(matches!(error, Error::Length { what: "tags of a fold's model", .. }), "{error}");
    }
}
