//! Serving: keywords in, scores out.

use crate::aligned::Block;
use crate::calibration::Calibration;
use crate::error::{Error, Result};
use crate::format::Model;
use crate::ids::{Sets, canonicalize, canonicalize_from};
use crate::kernels::{Kernels, Level};
use crate::layers::{Forward, Net, Wanted};
use crate::tags::Tags;

#[cfg(feature = "parallel")]
mod parallel;

/// A model ready to score items.
///
/// It is immutable: share one between any number of threads, each with a [`Scratch`] of its own. Scoring allocates nothing, takes
/// no lock and starts no thread, and gives the same bits on every machine, level and thread. (One batch on several threads, the
/// feature `parallel`, does take locks.)
///
/// The same bits need the floating-point environment that every program and thread begins with: rounding to nearest, and numbers below
/// the normal ones kept, not flushed to zero, as the start-up code of C that is linked with `-ffast-math` has it.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::{Model, Tagger};
///
/// let tagger = Tagger::new(Model::open("models/movies.tagm")?);
/// // Many threads, one tagger.
/// std::thread::scope(|scope| {
///     for keywords in [["zombie", "undead"], ["cowboy", "sheriff"]] {
///         let tagger = &tagger;
///         scope.spawn(move || {
///             let (mut scratch, mut scores) = (tagger.scratch(), vec![0.0; tagger.tags().len()]);
///             tagger.score_keywords(keywords, &mut scratch, &mut scores)
///         });
///     }
/// });
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Tagger {
    model: Model,
    kernels: Kernels,
}

/// The buffers that scoring needs; one for each thread.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// # let tagger = tagomatic::Tagger::new(tagomatic::Model::open("models/movies.tagm")?);
/// let mut scratch = tagger.scratch();
/// // Two items, with keywords 3 and 7, and 5: ids end to end, and where each item's begin.
/// let mut scores = vec![0.0; 2 * tagger.tags().len()];
/// tagger.score_batch(&[3, 7, 5], &[0, 2, 3], &mut scratch, &mut scores)?;
/// // The same buffers serve every other request of this thread.
/// let mut one = vec![0.0; tagger.tags().len()];
/// tagger.score(&[5], &mut scratch, &mut one)?;
/// assert_eq!(one, scores[tagger.tags().len()..]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Scratch {
    forward: Forward,
    ids: Vec<u32>,
    starts: Vec<usize>,
}

/// What became of an item's keywords.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// # let tagger = tagomatic::Tagger::new(tagomatic::Model::open("models/movies.tagm")?);
/// # let (mut scratch, mut scores) = (tagger.scratch(), vec![0.0; tagger.tags().len()]);
/// let counts = tagger.score_keywords(["zombie", "zombie", "zombiezombie"], &mut scratch, &mut scores)?;
/// assert_eq!((counts.known, counts.repeated, counts.unknown), (1, 1, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeywordCounts {
    /// Different keywords that the model knows; only these were scored.
    pub known: usize,
    /// Keywords that it does not know, each occurrence counted.
    pub unknown: usize,
    /// Known keywords that were given again.
    pub repeated: usize,
}

impl Tagger {
    /// A tagger on the best kernels of this machine.
    #[must_use]
    pub fn new(model: Model) -> Self {
        Tagger { model, kernels: Kernels::best() }
    }

    /// A tagger at a given kernel level; its scores are the same.
    ///
    /// # Errors
    /// [`Error::UnsupportedLevel`].
    pub fn with_level(model: Model, level: Level) -> Result<Self> {
        Ok(Tagger { model, kernels: Kernels::at(level)? })
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The model, when serving is over.
    #[must_use]
    pub fn into_model(self) -> Model {
        self.model
    }

    /// The tags, in the order of scores.
    #[must_use]
    pub fn tags(&self) -> &Tags {
        self.model.tags()
    }

    /// The calibration of its scores, if it has one.
    #[must_use]
    pub fn calibration(&self) -> Option<&Calibration> {
        self.model.extensions().calibration.as_ref()
    }

    /// The kernel level in use.
    #[must_use]
    pub fn level(&self) -> Level {
        self.kernels.level()
    }

    pub(crate) fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// Buffers for [`Tagger::score`] and its kin, with room for 1,024 keywords an item; an item with more makes them grow.
    #[must_use]
    pub fn scratch(&self) -> Scratch {
        let forward = Forward::new(&self.model.network().shape);
        let items = forward.capacity();
        Scratch { forward, ids: Vec::with_capacity(1024 * items), starts: Vec::with_capacity(items + 1) }
    }

    /// Scores the item with keywords `ids`: writes one probability a tag to `scores`. The ids may come in any order and repeat;
    /// ascending ids without repeats are fastest. No ids at all are scored as the empty set.
    ///
    /// # Errors
    /// [`Error::KeywordOutOfRange`] if the model has no such id; [`Error::Length`] unless `scores` has a place for each tag;
    /// [`Error::TooLarge`] if keywords have weights of type `i8`, and there are more than 131,072.
    pub fn score(&self, ids: &[u32], scratch: &mut Scratch, scores: &mut [f32]) -> Result<()> {
        self.answer(ids, &[0, ids.len()], Wanted::Scores, scratch, scores)
    }

    /// Scores the item with these keywords. Unknown ones are left out and counted.
    ///
    /// A look-up took 9 to 12 ns a keyword among 10,000 and 39 to 121 ns among 1,000,000, more than its row in the sum: a
    /// caller that can keep [ids](Tagger::score) should.
    ///
    /// # Errors
    /// As [`Tagger::score`], of ids that the model has.
    pub fn score_keywords<'k>(
        &self,
        keywords: impl IntoIterator<Item = &'k str>,
        scratch: &mut Scratch,
        scores: &mut [f32],
    ) -> Result<KeywordCounts> {
        self.score_keywords_with(keywords, scratch, scores, |_| ())
    }

    /// Like [`Tagger::score_keywords`], and calls `on_unknown` with each unknown keyword, in the order and as often as it is given.
    ///
    /// # Errors
    /// As [`Tagger::score_keywords`], after `on_unknown` has been called.
    pub fn score_keywords_with<'k>(
        &self,
        keywords: impl IntoIterator<Item = &'k str>,
        scratch: &mut Scratch,
        scores: &mut [f32],
        mut on_unknown: impl FnMut(&'k str),
    ) -> Result<KeywordCounts> {
        let vocabulary = self.model.vocabulary();
        let mut unknown = 0;
        let mut ids = std::mem::take(&mut scratch.ids);
        ids.clear();
        for keyword in keywords {
            match vocabulary.get(keyword) {
                Some(id) => ids.push(id),
                None => {
                    unknown += 1;
                    on_unknown(keyword);
                }
            }
        }
        let repeated = canonicalize(&mut ids);
        let result = self.score(&ids, scratch, scores);
        let known = ids.len();
        scratch.ids = ids;
        result.map(|()| KeywordCounts { known, unknown, repeated })
    }

    /// Scores many items: item i has the keywords `ids[starts[i]..starts[i + 1]]` and the scores
    /// `scores[i * tags..(i + 1) * tags]`. The same bits as [`Tagger::score`] on each.
    ///
    /// # Errors
    /// As [`Tagger::score`]; also [`Error::Length`] unless `starts` ascends from 0 to the length of `ids`. Some of the scores may
    /// have been written then.
    pub fn score_batch(&self, ids: &[u32], starts: &[usize], scratch: &mut Scratch, scores: &mut [f32]) -> Result<()> {
        self.check_batch(ids, starts, scores)?;
        self.score_items(ids, starts, scratch, scores).map_err(|error| Self::in_batch(error, ids, starts))
    }

    /// Fails unless `starts` ascends from 0 to the length of `ids`, and `scores` has a place for each tag of each item.
    fn check_batch(&self, ids: &[u32], starts: &[usize], scores: &[f32]) -> Result<()> {
        let items = starts.len().saturating_sub(1);
        Error::check_length("scores of a batch", items.saturating_mul(self.tags().len()), scores.len())?;
        Self::check_starts(ids, starts)
    }

    /// Fails unless `starts` ascends from 0 to the length of `ids`.
    pub(crate) fn check_starts(ids: &[u32], starts: &[usize]) -> Result<()> {
        Error::check_length("ids of a batch", starts.last().copied().unwrap_or(0), ids.len())?;
        Error::check_length("first start of a batch", 0, starts.first().copied().unwrap_or(0))?;
        match starts.windows(2).find(|item| item[0] > item[1]) {
            Some(item) => Err(Error::Length { what: "start of an item's ids", expected: item[0], found: item[1] }),
            None => Ok(()),
        }
    }

    /// An error of a batch, with the item that it is about.
    #[cold]
    fn in_batch(error: Error, ids: &[u32], starts: &[usize]) -> Error {
        let Error::KeywordOutOfRange { keywords, .. } = error else { return error };
        let unknown = |item: &[usize]| ids[item[0]..item[1]].iter().copied().find(|id| *id as usize >= keywords);
        let first = starts.windows(2).enumerate().find_map(|(item, bounds)| Some((item, unknown(bounds)?)));
        first.map_or(error, |(item, id)| Error::KeywordOutOfRange { id, keywords, item: Some(item) })
    }

    /// Scores the items with keywords `ids[starts[i]..starts[i + 1]]`, as many at a time as the scratch has room for.
    fn score_items(&self, ids: &[u32], starts: &[usize], scratch: &mut Scratch, scores: &mut [f32]) -> Result<()> {
        let (items, tags) = (starts.len().saturating_sub(1), self.tags().len());
        let capacity = scratch.forward.capacity();
        for first in (0..items).step_by(capacity) {
            let last = items.min(first + capacity);
            let (bounds, scores) = (&starts[first..=last], &mut scores[first * tags..last * tags]);
            self.answer(ids, bounds, Wanted::Scores, scratch, scores)?;
        }
        Ok(())
    }

    /// A hash of the scores of 256 fixed pseudo-random items: the same on every machine, level and thread count, so two programs
    /// that serve the same model can compare theirs.
    ///
    /// # Errors
    /// None for a model that passed verification.
    pub fn signature(&self) -> Result<u64> {
        let mut scratch = self.scratch();
        let mut scores = vec![0.0; self.tags().len()];
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        for ids in fixed_items(self.model.network().shape.keywords()) {
            self.score(&ids, &mut scratch, &mut scores)?;
            for score in &scores {
                // Of a damaged file scores can be NaN, which each processor spells its own way.
                let score = if score.is_nan() { f32::NAN } else { *score };
                hash.update(&score.to_bits().to_le_bytes());
            }
        }
        Ok(hash.digest())
    }

    /// Like [`Tagger::score`], but writes the network's logits: what the calibration, if there is one, the sigmoid and the clamp
    /// would be applied to.
    ///
    /// # Errors
    /// As [`Tagger::score`].
    pub fn logits(&self, ids: &[u32], scratch: &mut Scratch, logits: &mut [f32]) -> Result<()> {
        self.answer(ids, &[0, ids.len()], Wanted::Logits, scratch, logits)
    }

    /// Like [`Tagger::score`], but writes the hidden units, group by group.
    ///
    /// # Errors
    /// As [`Tagger::score`], with [`Error::Length`] unless `hidden` has a place for each unit of each group.
    pub fn hidden(&self, ids: &[u32], scratch: &mut Scratch, hidden: &mut [f32]) -> Result<()> {
        let shape = &self.model.network().shape;
        Error::check_length("hidden units", shape.hidden() * shape.groups().len(), hidden.len())?;
        let bounds = [0, ids.len()];
        let (sets, forward) = scratch.sets(self.kernels, ids, &bounds)?;
        forward.run_hidden(&self.net(), sets)?;
        forward.copy_hidden(shape, hidden);
        Ok(())
    }

    /// Answers for the items with keywords `ids[starts[i]..starts[i + 1]]`.
    #[inline]
    fn answer(&self, ids: &[u32], starts: &[usize], wanted: Wanted, scratch: &mut Scratch, answers: &mut [f32]) -> Result<()> {
        let (sets, forward) = scratch.sets(self.kernels, ids, starts)?;
        self.net().run(sets, wanted, forward, answers)
    }

    /// Answers for the item whose rows sum up to `sum`, see [`Forward::run_from`].
    pub(crate) fn answer_sum(
        &self,
        sum: &[Block],
        keywords: usize,
        wanted: Wanted,
        scratch: &mut Scratch,
        answers: &mut [f32],
    ) -> Result<()> {
        self.net().run_from(sum, keywords, wanted, &mut scratch.forward, answers)
    }

    /// Reads the rows of a batch's keywords and adds them, and does nothing else with them: what [`crate::speed`] compares with.
    pub(crate) fn add_rows(&self, ids: &[u32], starts: &[usize], scratch: &mut Scratch) -> Result<()> {
        let (net, capacity) = (self.net(), scratch.forward.capacity());
        for first in (0..starts.len().saturating_sub(1)).step_by(capacity) {
            let bounds = &starts[first..starts.len().min(first + capacity + 1)];
            let (sets, forward) = scratch.sets(self.kernels, ids, bounds)?;
            forward.run_hidden(&net, sets)?;
        }
        Ok(())
    }

    /// Bytes of parameters: of a row of the first layer, and of the whole output layer.
    pub(crate) fn parameter_bytes(&self) -> [f64; 2] {
        let weights = self.model.weights();
        let rows = self.model.network().shape.keywords().max(1) as f64;
        [weights.w1.bytes().len() as f64 / rows, (weights.w2.bytes().len() + size_of_val(weights.b2)) as f64]
    }

    #[inline]
    pub(crate) fn net(&self) -> Net<'_> {
        let (network, weights) = (self.model.network(), self.model.weights());
        Net { kernels: self.kernels, network, weights, calibration: self.calibration() }
    }
}

/// The keyword ids of 256 pseudo-random items of up to 63 keywords, for a model with `keywords` keywords: the same everywhere.
pub(crate) fn fixed_items(keywords: usize) -> impl Iterator<Item = Vec<u32>> {
    let rng = crate::rng::Philox::new(0x7461_676F_6D61_7469);
    let keywords = keywords as u64;
    (0..256).map(move |item| {
        let [length, ..] = rng.block([item, 0, 0, 0]);
        let length = if keywords > 0 { length % 64 } else { 0 };
        let id = |n| {
            let [word, ..] = rng.block([item, n, 0, 0]);
            ((u64::from(word) * keywords) >> 32) as u32
        };
        (1..=length).map(id).collect()
    })
}

impl Scratch {
    /// The items `ids[starts[i]..starts[i + 1]]` as sets, and what they go through.
    ///
    /// # Errors
    /// None.
    #[inline]
    fn sets<'a>(&'a mut self, kernels: Kernels, ids: &'a [u32], starts: &'a [usize]) -> Result<(Sets<'a>, &'a mut Forward)> {
        let sets = match kernels.sets(ids, starts) {
            Some(sets) => sets,
            None => canonical_sets(ids, starts, &mut self.ids, &mut self.starts)?,
        };
        Ok((sets, &mut self.forward))
    }
}

/// The items `ids[starts[i]..starts[i + 1]]`, sorted and without repeats, in `own` and `own_starts`.
#[inline(never)]
fn canonical_sets<'a>(
    ids: &[u32],
    starts: &[usize],
    own: &'a mut Vec<u32>,
    own_starts: &'a mut Vec<usize>,
) -> Result<Sets<'a>> {
    own.clear();
    own_starts.clear();
    own_starts.push(0);
    for item in starts.windows(2) {
        let start = own.len();
        own.extend_from_slice(&ids[item[0]..item[1]]);
        canonicalize_from(own, start);
        own_starts.push(own.len());
    }
    Sets::checked(own, own_starts)
}
