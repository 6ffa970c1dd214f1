//! A set of keywords that changes one by one, with scores at every step: for a form that is filled in, and for leave-one-out.
//!
//! Sums of floats depend on their order, and a model's is ascending ids. Adding a row to a sum or taking it away, as one would with
//! integers, would give other bits than scoring the set afresh. So the sums of the first n rows are kept for every n, and a change
//! makes those after its place anew: half of the rows on average, and those alone. Scores are the very bits of [`Tagger::score`] after any
//! walk. Weights of type `i8` are integers until the last step, so their sums are kept without scale and bias.

use crate::aligned::{Block, LANES};
use crate::error::{Error, Result};
use crate::ids::Sets;
use crate::kernels::MAX_INTEGERS;
use crate::layers::Wanted;
use crate::network::{Activation, Pooling};
use crate::tagger::{Scratch, Tagger};
use crate::weights::Matrix;

/// A set of keyword ids with the sums of their rows.
///
/// ```
/// use tagomatic::accumulator::Accumulator;
/// # fn main() -> tagomatic::Result<()> {
/// # let tagger = tagomatic::Tagger::new(tagomatic::Model::open("models/movies.tagm")?);
/// let mut item = Accumulator::new(&tagger);
/// let mut scores = vec![0.0; tagger.tags().len()];
/// for keyword in ["zombie", "undead", "horror"] {
///     if let Some(id) = tagger.model().vocabulary().get(keyword) {
///         item.add(id)?;
///         item.score(&mut scores)?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Accumulator<'t> {
    tagger: &'t Tagger,
    /// Ascending.
    ids: Vec<u32>,
    /// Row n is the sum of the first n rows, of integers as they are; of others with the bias, where keywords are not pooled by
    /// their mean.
    sums: Vec<Block>,
    /// Rows of `sums` that are up to date, at least the first.
    summed: usize,
    row: usize,
    /// For integers: a scale of 1 for each column, and a sum with scale and bias.
    integers: Option<[Vec<Block>; 2]>,
    scratch: Scratch,
}

impl<'t> Accumulator<'t> {
    /// The empty set.
    #[must_use]
    pub fn new(tagger: &'t Tagger) -> Self {
        let (network, weights) = (tagger.model().network(), tagger.model().weights());
        let row = network.shape.row_blocks();
        let integers = matches!(weights.w1, Matrix::I8 { .. });
        let sums = match network.pooling {
            Pooling::Sum if !integers => weights.b1.to_vec(),
            _ => vec![Block::ZERO; row],
        };
        let integers = integers.then(|| [vec![Block([1.0; LANES]); row], vec![Block::ZERO; row]]);
        Accumulator { tagger, ids: Vec::new(), sums, summed: 1, row, integers, scratch: tagger.scratch() }
    }

    /// The keywords, ascending.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Adds a keyword; false if it was there.
    ///
    /// # Errors
    /// [`Error::KeywordOutOfRange`] if the model has no such id; [`Error::TooLarge`] if it has weights of type `i8`, and more than
    /// 131,072 keywords would be added.
    pub fn add(&mut self, id: u32) -> Result<bool> {
        let keywords = self.tagger.model().network().shape.keywords();
        if id as usize >= keywords {
            return Err(Error::KeywordOutOfRange { id, keywords, item: None });
        }
        let Err(place) = self.ids.binary_search(&id) else { return Ok(false) };
        if self.integers.is_some() && self.ids.len() >= MAX_INTEGERS {
            return Err(Error::TooLarge { what: "set of keywords for i8 weights", limit: MAX_INTEGERS as u64 });
        }
        self.ids.insert(place, id);
        self.summed = self.summed.min(place + 1);
        Ok(true)
    }

    /// Takes a keyword away; false if it was not there.
    pub fn remove(&mut self, id: u32) -> bool {
        let Ok(place) = self.ids.binary_search(&id) else { return false };
        self.ids.remove(place);
        self.summed = self.summed.min(place + 1);
        true
    }

    /// Scores the set, as [`Tagger::score`] does.
    ///
    /// # Errors
    /// [`Error::Length`] unless `scores` has a place for each tag.
    pub fn score(&mut self, scores: &mut [f32]) -> Result<()> {
        self.run(Wanted::Scores, scores)
    }

    /// Writes the logits of the set, as [`Tagger::logits`] does.
    ///
    /// # Errors
    /// [`Error::Length`] unless `logits` has a place for each tag.
    pub fn logits(&mut self, logits: &mut [f32]) -> Result<()> {
        self.run(Wanted::Logits, logits)
    }

    /// Scores the set without one of its keywords, which stays in it; without one that is not in it, the set.
    ///
    /// # Errors
    /// As [`Accumulator::score`].
    pub fn score_without(&mut self, id: u32, scores: &mut [f32]) -> Result<()> {
        self.run_without(id, Wanted::Scores, scores)
    }

    /// The logits of the set without one of its keywords, which stays in it; without one that is not in it, of the set.
    ///
    /// # Errors
    /// As [`Accumulator::logits`].
    pub fn logits_without(&mut self, id: u32, logits: &mut [f32]) -> Result<()> {
        self.run_without(id, Wanted::Logits, logits)
    }

    fn run(&mut self, wanted: Wanted, answers: &mut [f32]) -> Result<()> {
        self.sum(self.ids.len())?;
        self.answer(self.ids.len(), self.ids.len(), wanted, answers)
    }

    fn run_without(&mut self, id: u32, wanted: Wanted, answers: &mut [f32]) -> Result<()> {
        let Ok(place) = self.ids.binary_search(&id) else { return self.run(wanted, answers) };
        self.sum(place)?;
        // The row behind the last sum is free.
        let length = self.ids.len();
        self.reserve(length + 2);
        let (sums, free) = self.sums.split_at_mut((length + 1) * self.row);
        let (before, free) = (&sums[place * self.row..][..self.row], &mut free[..self.row]);
        add_rows(self.tagger, self.integers.as_ref(), before, &self.ids[place + 1..], free)?;
        self.answer(length + 1, length - 1, wanted, answers)
    }

    /// Answers from row `sum` of the sums, which is that of `keywords` keywords.
    fn answer(&mut self, sum: usize, keywords: usize, wanted: Wanted, answers: &mut [f32]) -> Result<()> {
        let mut sum = &self.sums[sum * self.row..][..self.row];
        let (network, weights) = (self.tagger.model().network(), self.tagger.model().weights());
        if let (Some([_, scaled]), Matrix::I8 { scales, .. }) = (&mut self.integers, weights.w1) {
            for (block, (scaled, (sum, scale))) in scaled.iter_mut().zip(sum.iter().zip(scales)).enumerate() {
                for lane in 0..LANES {
                    let bias = if network.pooling == Pooling::Sum { weights.b1[block].0[lane] } else { 0.0 };
                    scaled.0[lane] = bias + scale.0[lane] * sum.0[lane];
                }
            }
            sum = scaled;
        }
        self.tagger.answer_sum(sum, keywords, wanted, &mut self.scratch, answers)
    }

    /// Brings the sums of up to `count` rows up to date.
    fn sum(&mut self, count: usize) -> Result<()> {
        self.reserve(count + 1);
        while self.summed <= count {
            let (before, after) = self.sums.split_at_mut(self.summed * self.row);
            let before = &before[(self.summed - 1) * self.row..];
            let id = &self.ids[self.summed - 1..self.summed];
            add_rows(self.tagger, self.integers.as_ref(), before, id, &mut after[..self.row])?;
            self.summed += 1;
        }
        Ok(())
    }

    /// Makes room for so many sums.
    fn reserve(&mut self, sums: usize) {
        let blocks = sums * self.row;
        if self.sums.len() < blocks {
            self.sums.resize(blocks, Block::ZERO);
        }
    }
}

/// `sum` = `before` and the rows of W1 of `ids`, which ascend; integers without their scale.
fn add_rows(
    tagger: &Tagger,
    integers: Option<&[Vec<Block>; 2]>,
    before: &[Block],
    ids: &[u32],
    sum: &mut [Block],
) -> Result<()> {
    let table = match (tagger.model().weights().w1, integers) {
        (Matrix::I8 { weights, .. }, Some([ones, _])) => Matrix::I8 { weights, scales: ones },
        (table, _) => table,
    };
    let bounds = [0, ids.len()];
    let set = Sets::checked(ids, &bounds)?;
    tagger.kernels().sum_bags(&table, before, Activation::Identity, set, sum)
}
