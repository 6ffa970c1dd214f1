//! A set of keywords that changes one by one, with scores at every step: for a form that is filled in, and for leave-one-out.
//!
//! Sums of floats depend on their order, and a model's is ascending ids. Adding a row to a sum or taking it away, as one would with
//! integers, would give other bits than scoring the set afresh. So the sums of the first n rows are kept for every n, and a change
//! makes those after its place anew: half of the rows on average, and those alone. Scores are the very bits of [`Tagger::score`] after any
//! walk.

use crate::aligned::Block;
use crate::error::{Error, Result};
use crate::kernels::Rows;
use crate::layers::Wanted;
use crate::network::Pooling;
use crate::tagger::{Scratch, Tagger};

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
    /// Row n is the sum of the first n rows, and of the bias where keywords are not pooled by their mean.
    sums: Vec<Block>,
    /// Rows of `sums` that are up to date, at least the first.
    summed: usize,
    row: usize,
    scratch: Scratch,
}

impl<'t> Accumulator<'t> {
    /// The empty set.
    #[must_use]
    pub fn new(tagger: &'t Tagger) -> Self {
        let (network, weights) = (tagger.model().network(), tagger.model().weights());
        let row = network.shape.row_blocks();
        let sums = match network.pooling {
            Pooling::Sum => weights.b1.to_vec(),
            Pooling::Mean => vec![Block::ZERO; row],
        };
        Accumulator { tagger, ids: Vec::new(), sums, summed: 1, row, scratch: tagger.scratch() }
    }

    /// The keywords, ascending.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Adds a keyword; false if it was there.
    ///
    /// # Errors
    /// [`Error::KeywordOutOfRange`] if the model has no such id.
    pub fn add(&mut self, id: u32) -> Result<bool> {
        let keywords = self.tagger.model().network().shape.keywords();
        if id as usize >= keywords {
            return Err(Error::KeywordOutOfRange { id, keywords });
        }
        let Err(place) = self.ids.binary_search(&id) else { return Ok(false) };
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
        let end = &self.sums[self.ids.len() * self.row..][..self.row];
        self.tagger.answer_sum(end, self.ids.len(), wanted, &mut self.scratch, answers)
    }

    fn run_without(&mut self, id: u32, wanted: Wanted, answers: &mut [f32]) -> Result<()> {
        let Ok(place) = self.ids.binary_search(&id) else { return self.run(wanted, answers) };
        self.sum(place)?;
        // The row behind the last sum is free.
        let length = self.ids.len();
        self.reserve(length + 2);
        let (sums, free) = self.sums.split_at_mut((length + 1) * self.row);
        let (before, free) = (&sums[place * self.row..][..self.row], &mut free[..self.row]);
        let rows = Rows::new(self.tagger.model().weights().w1, self.row);
        self.tagger.kernels().sum_rows(rows, Some(before), &self.ids[place + 1..], free)?;
        self.tagger.answer_sum(free, length - 1, wanted, &mut self.scratch, answers)
    }

    /// Brings the sums of up to `count` rows up to date.
    fn sum(&mut self, count: usize) -> Result<()> {
        self.reserve(count + 1);
        let rows = Rows::new(self.tagger.model().weights().w1, self.row);
        while self.summed <= count {
            let (before, after) = self.sums.split_at_mut(self.summed * self.row);
            let before = &before[(self.summed - 1) * self.row..];
            let id = &self.ids[self.summed - 1..self.summed];
            self.tagger.kernels().sum_rows(rows, Some(before), id, &mut after[..self.row])?;
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
