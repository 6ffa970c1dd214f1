//! A tag taught by examples: a new row of output weights on hidden units that stay as they are.
//!
//! The hidden units of all items at hand are computed once and kept ([`Catalogue`]); a tag is then a logistic regression on a few of
//! them, and the new scores of all are a dot product each. So a person can show examples, look at what the tag finds, and show more.
//!
//! How strongly weights decay is chosen by cross-validation: the log-loss of examples that the tag was not taught. Their scores give
//! the threshold (the best F1) and the measures too.

mod logistic;

use std::collections::HashSet;

use crate::aligned::{Block, as_floats, as_floats_mut, blocks_for};
use crate::data::Dataset;
use crate::edit::assemble::{GroupPlan, Row, assemble};
use crate::error::{Error, Result};
use crate::format::{Model, Provenance};
use crate::ids::Sets;
use crate::kernels::Answer;
use crate::layers::Forward;
use crate::metrics::ThresholdCurve;
use crate::network::{Shape, Weights};
use crate::rng::{Philox, without_replacement};
use crate::tagger::Tagger;
use crate::tags::Tags;
use logistic::{Point, Problem};

/// Decays that cross-validation chooses from, strongest first: each solution is the start of the next.
const DECAYS: [f64; 6] = [1.0, 0.3, 0.1, 0.03, 0.01, 0.003];
/// The decay where there are too few examples to choose.
const DECAY: f64 = 0.1;
/// Parts of the cross-validation.
const FOLDS: usize = 5;

/// Items and their hidden units of one group.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::data::Dataset;
/// use tagomatic::teach::Catalogue;
/// # let tagger = tagomatic::Tagger::new(tagomatic::Model::open("models/movies.tagm")?);
/// # let mut films = Dataset::new();
/// # (0..300).try_for_each(|n| films.push(&[n % 40, 50 + n % 7, 100 + n], &[], 1.0).map(drop))?;
/// let catalogue = Catalogue::new(&tagger, &films, 0)?;
/// // Films that somebody has marked, and others that are drawn of all.
/// let positives = [0, 40, 80, 120];
/// let negatives = catalogue.draw_negatives(&films, &positives, 0..300, 50, 1);
/// let taught = catalogue.teach(&positives, &negatives, 1)?;
/// let mut scores = vec![0.0; films.len()];
/// catalogue.scores(&taught, &mut scores)?; // what else has it
/// let model = taught.add_to(tagger.model(), "favourite")?;
/// assert!(model.tags().get("favourite").is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Catalogue<'m> {
    tagger: &'m Tagger,
    group: usize,
    items: usize,
    /// Rows of as many blocks as the group has.
    hidden: Vec<Block>,
}

/// A tag that was taught.
#[derive(Clone, Debug, PartialEq)]
pub struct Taught {
    group: usize,
    weights: Vec<f32>,
    bias: f32,
    /// The threshold with the best F1 on examples that it was not taught; [`Tags::DEFAULT_THRESHOLD`] from a single example.
    pub threshold: f32,
    /// Examples that have the tag.
    pub positives: usize,
    /// Examples that do not.
    pub negatives: usize,
    /// The decay, per example and of weights on units of unit size.
    pub l2: f64,
    /// Measures on examples that it was not taught; `None` if there are too few.
    pub measures: Option<Measures>,
}

/// Measures by cross-validation: of examples, which are not the mix of items that the tag will meet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measures {
    /// Mean log-loss.
    pub log_loss: f64,
    /// ROC-AUC.
    pub auc: f64,
    /// Average precision.
    pub ap: f64,
    /// Precision at the threshold.
    pub precision: f64,
    /// Recall at the threshold.
    pub recall: f64,
    /// F1 at the threshold.
    pub f1: f64,
}

impl<'m> Catalogue<'m> {
    /// The items of `dataset`, whose keywords are ids of the model. `group` is the group of the model whose hidden units the new
    /// tags will have: 0 where all tags share them.
    ///
    /// # Errors
    /// [`Error::Length`] without such a group; [`Error::KeywordOutOfRange`] if an item does not fit the model.
    pub fn new(tagger: &'m Tagger, dataset: &Dataset, group: usize) -> Result<Self> {
        let shape = &tagger.model().network().shape;
        let missing = || Error::Length { what: "groups", expected: group.saturating_add(1), found: shape.groups().len() };
        let columns = shape.groups().get(group).ok_or_else(missing)?.hidden.clone();
        let (row, width) = (shape.row_blocks(), columns.len());
        let mut hidden = vec![Block::ZERO; dataset.len() * width];
        let mut forward = Forward::new(shape);
        let (mut ids, mut starts) = (Vec::new(), Vec::new());
        let capacity = forward.capacity();
        for first in (0..dataset.len()).step_by(capacity) {
            ids.clear();
            starts.clear();
            starts.push(0);
            for item in first..dataset.len().min(first + capacity) {
                ids.extend_from_slice(dataset.keywords(item));
                starts.push(ids.len());
            }
            forward.run_hidden(&tagger.net(), Sets::checked(&ids, &starts)?)?;
            let all = forward.hidden_mut(starts.len() - 1).chunks_exact(row.max(1));
            let rows = hidden[first * width..].chunks_exact_mut(width.max(1)).zip(all);
            rows.for_each(|(to, from)| to.copy_from_slice(&from[columns.clone()]));
        }
        Ok(Catalogue { tagger, group, items: dataset.len(), hidden })
    }

    /// The number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    fn width(&self) -> usize {
        self.tagger.model().network().shape.groups()[self.group].hidden.len()
    }

    /// Teaches a tag that the items `positives` have and the items `negatives` do not. `seed` decides which examples are held out
    /// together.
    ///
    /// # Errors
    /// [`Error::UntrainableTag`] without positives or without negatives; [`Error::Sample`] for an item that is not there, or whose
    /// hidden units are so large that a score is no number.
    pub fn teach(&self, positives: &[u32], negatives: &[u32], seed: u64) -> Result<Taught> {
        if positives.is_empty() || negatives.is_empty() {
            let (positives, negatives) = (positives.len(), negatives.len());
            return Err(Error::UntrainableTag { tag: "to be taught".to_owned(), positives, negatives });
        }
        let width = self.width();
        let count = positives.len() + negatives.len();
        let mut rows = Vec::with_capacity(count * width);
        for &item in positives.iter().chain(negatives) {
            let item = item as usize;
            if item >= self.items {
                let expected = format!("an item below {}", self.items);
                return Err(Error::Sample { sample: item, expected, found: "none".to_owned() });
            }
            rows.extend_from_slice(&self.hidden[item * width..(item + 1) * width]);
        }
        let columns = self.tagger.model().network().shape.hidden();
        let problem = Problem::new(self.tagger.kernels(), rows, columns, count, positives.len());
        let folds = Folds::new(positives.len(), count, seed);
        let validated = (folds.count > 1).then(|| validate(&problem, &folds)).transpose()?;
        let l2 = validated.as_ref().map_or(DECAY, |validated| validated.l2);
        let mut point = problem.origin();
        for &decay in DECAYS.iter().filter(|decay| **decay >= l2) {
            point = problem.solve(point, &folds.all(), decay)?;
        }
        let (weights, bias) = problem.weights(&point);
        let (mut threshold, mut measures) = (Tags::DEFAULT_THRESHOLD, None);
        if let Some(Validated { logits, loss, .. }) = validated {
            if let Some(place) = logits.iter().position(|z| z.is_nan()) {
                let sample = positives.iter().chain(negatives).nth(place).map_or(place, |item| *item as usize);
                let expected = "hidden units of which scores can be made that are numbers".to_owned();
                return Err(Error::Sample { sample, expected, found: "NaN".to_owned() });
            }
            let mut scores = logits;
            self.tagger.kernels().sigmoid(self.tagger.model().network().eps, &mut scores);
            let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
            let all: Vec<u32> = (0..).take(positives.len()).collect();
            let curve = ThresholdCurve::new(&scores, &all);
            if let (Some(best), Some(auc), Some(ap)) = (curve.best_f1(), curve.auc(), curve.average_precision()) {
                // Nothing is lost: thresholds are scores, and these were `f32`.
                threshold = best.threshold as f32;
                let (precision, recall, f1) = (best.precision, best.recall, best.f1);
                measures = Some(Measures { log_loss: loss, auc, ap, precision, recall, f1 });
            }
        }
        let (positives, negatives) = (positives.len(), negatives.len());
        Ok(Taught { group: self.group, weights, bias, threshold, positives, negatives, l2, measures })
    }

    /// `count` items drawn from `pool`, without those whose keywords are those of one of `positives`: they would be held against
    /// themselves. `dataset` is what the catalogue was made of. Its items `positives` and `pool` must exist, as with a slice.
    #[must_use]
    pub fn draw_negatives(
        &self,
        dataset: &Dataset,
        positives: &[u32],
        pool: std::ops::Range<u32>,
        count: usize,
        seed: u64,
    ) -> Vec<u32> {
        let of_positives: HashSet<&[u32]> = positives.iter().map(|&item| dataset.keywords(item as usize)).collect();
        let others = pool.filter(|&item| !of_positives.contains(dataset.keywords(item as usize)));
        without_replacement(others, count, |item| Philox::new(seed).negative_key(item, 0, 0))
    }

    /// Writes the score that the tag gives to each item: the bits that the model with the tag will give.
    ///
    /// # Errors
    /// [`Error::Length`] unless `scores` has a place for each item, or if the tag was taught on other hidden units.
    pub fn scores(&self, tag: &Taught, scores: &mut [f32]) -> Result<()> {
        let (network, kernels, width) = (self.tagger.model().network(), self.tagger.kernels(), self.width());
        let old = &network.shape;
        Error::check_length("scores", self.items, scores.len())?;
        Error::check_length("weights of the tag", old.hidden(), tag.weights.len())?;
        // A network of the group's hidden units with this tag alone.
        let shape = Shape::new(0, old.hidden(), &[1], old.layout())?;
        let mut w2 = vec![Block::ZERO; shape.w2_blocks()];
        let mut b2 = vec![Block::ZERO; shape.slot_blocks()];
        for (unit, weight) in tag.weights.iter().enumerate() {
            as_floats_mut(&mut w2)[shape.w2_index(&shape.groups()[0], unit, 0)] = *weight;
        }
        as_floats_mut(&mut b2)[shape.slot(0)] = tag.bias;
        let mut forward = Forward::new(&shape);
        let (weights, eps) = (Weights { w1: &[], b1: &[], w2: &w2, b2: &b2 }.into(), network.eps);
        let capacity = forward.capacity();
        for (number, scores) in scores.chunks_mut(capacity).enumerate() {
            let rows = number * capacity * width..(number * capacity + scores.len()) * width;
            forward.hidden_mut(scores.len()).copy_from_slice(&self.hidden[rows]);
            forward.output(kernels, &shape, &weights, scores.len(), Answer::Score { eps }, scores)?;
        }
        Ok(())
    }
}

impl Taught {
    /// `model`, which it was taught on, with this tag, called `name`, as the last of its group. All other tags keep their bits.
    ///
    /// # Errors
    /// [`Error::BadName`] if the name cannot be or is taken; [`Error::Length`] if the model has other hidden units;
    /// [`Error::Config`] if its weights are `i8`, whose tags do not change; [`Error::Model`] if a mapped file is corrupt.
    pub fn add_to(&self, model: &Model, name: &str) -> Result<Model> {
        let shape = &model.network().shape;
        Error::check_length("weights of the tag", shape.hidden(), self.weights.len())?;
        let mut tags = model.tags().clone();
        let id = tags.push(name)?;
        let (mut all, next_id): (Vec<_>, u32) = (tags.iter().cloned().collect(), tags.next_id());
        let plans: Vec<GroupPlan<'_>> = shape
            .groups()
            .iter()
            .enumerate()
            .map(|(group, of)| {
                let mut rows: Vec<Row<'_>> = (0..of.tags.len()).map(Row::Old).collect();
                if group == self.group {
                    rows.push(Row::New { weights: &self.weights, bias: self.bias });
                }
                GroupPlan { model, group, rows }
            })
            .collect();
        let missing = || Error::Length { what: "groups", expected: self.group + 1, found: shape.groups().len() };
        let place = shape.groups().get(self.group).ok_or_else(missing)?.tags.end;
        let mut provenance = model.provenance()?;
        if let Some(mut new) = all.pop() {
            new.threshold = self.threshold;
            all.insert(place, new);
        }
        if let Some(counts) = provenance.get(Provenance::TAG_COUNTS) {
            let mut counts: Vec<String> = counts.split(',').map(str::to_owned).collect();
            if counts.len() + 1 == all.len() {
                counts.insert(place, self.positives.to_string());
                provenance.insert(Provenance::TAG_COUNTS, counts.join(","))?;
            }
        }
        provenance.insert(Provenance::TAGS, all.len().to_string())?;
        let made = format!("{} positives, {} negatives, l2 {}", self.positives, self.negatives, self.l2);
        provenance.insert(Provenance::taught(id), made)?;
        assemble(&plans, &Tags::new(all, next_id)?, &provenance)
    }
}

/// Which examples are held out together.
struct Folds {
    /// At most as many as there are positives or negatives.
    count: usize,
    of: Vec<usize>,
}

impl Folds {
    fn new(positives: usize, examples: usize, seed: u64) -> Self {
        let count = FOLDS.min(positives).min(examples - positives);
        let mut of = vec![0; examples];
        for (first, last) in [(0, positives), (positives, examples)] {
            let order = Philox::new(seed).permutation((last - first) as u32, 0);
            order.into_iter().enumerate().for_each(|(place, example)| of[first + example as usize] = place % count);
        }
        Folds { count, of }
    }

    /// 1 for the examples whose fold is wanted, 0 for the others.
    fn mask(&self, wanted: impl Fn(usize) -> bool) -> Vec<Block> {
        let mut mask = vec![Block::ZERO; blocks_for(self.of.len())];
        as_floats_mut(&mut mask).iter_mut().zip(&self.of).for_each(|(m, &fold)| *m = f32::from(u8::from(wanted(fold))));
        mask
    }

    fn all(&self) -> Vec<Block> {
        self.mask(|_| true)
    }
}

/// What cross-validation found.
struct Validated {
    l2: f64,
    /// Mean log-loss of examples that were held out.
    loss: f64,
    /// The logit of each example from when it was held out.
    logits: Vec<f32>,
}

fn validate(problem: &Problem, folds: &Folds) -> Result<Validated> {
    let examples = folds.of.len();
    let mut all: Vec<Validated> = DECAYS.iter().map(|&l2| Validated { l2, loss: 0.0, logits: vec![0.0; examples] }).collect();
    for fold in 0..folds.count {
        let (taught, held_out) = (folds.mask(|f| f != fold), folds.mask(|f| f == fold));
        let share = folds.of.iter().filter(|f| **f == fold).count() as f64 / examples as f64;
        let mut point: Point = problem.origin();
        for validated in &mut all {
            point = problem.solve(point, &taught, validated.l2)?;
            validated.loss += share * problem.loss(&point, &held_out)?;
            let logits = problem.logits(&point)?;
            let of_fold = validated.logits.iter_mut().zip(as_floats(&logits)).zip(&folds.of).filter(|(_, f)| **f == fold);
            of_fold.for_each(|((to, from), _)| *to = *from);
        }
    }
    let best = |best: Validated, next: Validated| if next.loss < best.loss { next } else { best };
    all.into_iter().reduce(best).ok_or(Error::Length { what: "decays", expected: 1, found: 0 })
}
