//! From items to a vocabulary, tag names and a data set, in one pass over the items: standard input can't be read twice.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3Default;

use super::builder::DatasetBuilder;
use super::dataset::check_weight;
use super::{Dataset, Item};
use crate::error::{Error, Result};
use crate::ids::canonicalize;

/// Items whose strings are still to be given their ids. Each distinct string is held once.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::data::{Corpus, Item};
///
/// let item = |keywords: &[&str], tags: &[&str]| Item {
///     keywords: keywords.iter().map(|&word| word.to_owned()).collect(),
///     tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
///     ..Item::default()
/// };
/// let mut corpus = Corpus::new();
/// corpus.push(&item(&["beach", "shark"], &["sea"]))?;
/// corpus.push(&item(&["shark", "blood"], &["sea", "horror"]))?;
/// let prepared = corpus.finish(1)?;
/// assert_eq!(prepared.keywords, ["shark", "beach", "blood"]);
/// assert_eq!(prepared.tags, ["horror", "sea"]);
/// assert_eq!(prepared.dataset.tags(1), [0, 1]);
/// # Ok(())
/// # }
/// ```
pub struct Corpus {
    keywords: Interner,
    tags: Interner,
    /// With ids in order of first appearance.
    samples: DatasetBuilder,
    folder: Option<Arc<Path>>,
    stats: CorpusStats,
    scratch: Scratch,
}

/// A data set with the names of its ids.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// Keywords by id: by descending number of items, equals in byte order.
    pub keywords: Vec<String>,
    /// Tags by id, in byte order, so that the order of scores does not hang on counts.
    pub tags: Vec<String>,
    /// The items, in order, every one of them.
    pub dataset: Dataset,
    /// What was counted on the way.
    pub stats: CorpusStats,
}

/// Counts of a [`Corpus`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CorpusStats {
    /// Repeats of a keyword within an item, dropped.
    pub repeated_keywords: u64,
    /// Repeats of a tag within an item, dropped.
    pub repeated_tags: u64,
    /// Items without tags.
    pub untagged: u64,
    /// Distinct keywords left out of the vocabulary because too few items have them.
    pub rare_keywords: u64,
    /// How often these occurred.
    pub rare_occurrences: u64,
    /// Items that are left without keywords.
    pub without_keywords: u64,
}

/// Ids of the item at hand.
#[derive(Debug, Default)]
struct Scratch {
    keywords: Vec<u32>,
    tags: Vec<u32>,
    excluded: Vec<u32>,
}

impl fmt::Debug for Corpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Corpus").field("len", &self.len()).field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Default for Corpus {
    fn default() -> Self {
        let (keywords, tags) = Default::default();
        let (stats, scratch) = Default::default();
        Corpus { keywords, tags, samples: DatasetBuilder::in_memory(), folder: None, stats, scratch }
    }
}

/// Keywords and tags that have the first ids, whether items have them or not: those of a model that training begins from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FirstNames {
    /// Keywords by id.
    pub keywords: Vec<String>,
    /// Tags by id.
    pub tags: Vec<String>,
}

impl Corpus {
    /// No items.
    #[must_use]
    pub fn new() -> Self {
        Corpus::default()
    }

    /// No items, and room for more than memory holds: they are kept in files without names in `folder`. In memory are the
    /// distinct strings, and at most 224 MiB of the items. The data set that is made of them is in files as well, and so are its
    /// subsets: at most as much of each.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if there can be no files in the folder.
    #[cfg(feature = "mmap")]
    pub fn in_files(folder: &Path) -> Result<Self> {
        let folder: Arc<Path> = folder.into();
        let samples = DatasetBuilder::in_folder(Some(folder.clone()))?;
        Ok(Corpus { samples, folder: Some(folder), ..Corpus::default() })
    }

    /// The number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds an item.
    ///
    /// # Errors
    ///
    /// As [`Dataset::push`]; [`Error::TooLarge`] for more than 2^32 - 1 distinct strings.
    pub fn push(&mut self, item: &Item) -> Result<()> {
        fn all(names: &[String]) -> impl Iterator<Item = &str> {
            names.iter().map(String::as_str)
        }
        self.push_names(all(&item.keywords), all(&item.tags), all(&item.excluded), item.weight)
    }

    /// Adds an item that is given by its names, each a slice of the caller's.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn push_names<'n>(
        &mut self,
        keywords: impl IntoIterator<Item = &'n str>,
        tags: impl IntoIterator<Item = &'n str>,
        excluded: impl IntoIterator<Item = &'n str>,
        weight: f32,
    ) -> Result<()> {
        // Before names get ids: an item that is refused leaves none.
        check_weight(self.samples.len(), weight)?;
        self.keywords.ids(keywords, &mut self.scratch.keywords)?;
        self.tags.ids(tags, &mut self.scratch.tags)?;
        self.tags.ids(excluded, &mut self.scratch.excluded)?;
        let Scratch { keywords, tags, excluded } = &mut self.scratch;
        let untagged = tags.is_empty();
        let (repeated_keywords, repeated_tags) = (canonicalize(keywords), canonicalize(tags));
        self.samples.push_excluding(keywords, tags, excluded, weight)?;
        self.keywords.count(keywords);
        self.tags.count(tags);
        self.stats.repeated_keywords += repeated_keywords as u64;
        self.stats.repeated_tags += repeated_tags as u64;
        self.stats.untagged += u64::from(untagged);
        Ok(())
    }

    /// Gives the strings their ids; keywords that fewer than `min_count` items have get none and are dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with items in files; else none with items that [`push`](Self::push) accepted.
    pub fn finish(self, min_count: u64) -> Result<Prepared> {
        self.finish_after(FirstNames::default(), min_count)
    }

    /// As [`finish`](Self::finish), with `first` before all others: of these, rare keywords stay.
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish).
    pub fn finish_after(self, first: FirstNames, min_count: u64) -> Result<Prepared> {
        let Corpus { keywords, tags, samples, folder, mut stats, .. } = self;
        let mut keywords = keywords.into_words();
        keywords.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
        let mut tags = tags.into_words();
        tags.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let keywords = Names::new(first.keywords, keywords, min_count);
        let tags = Names::new(first.tags, tags, 0);
        stats.rare_keywords = keywords.rare;
        stats.rare_occurrences = keywords.rare_occurrences;

        let samples = samples.finish()?;
        let mut dataset = DatasetBuilder::in_folder(folder)?;
        let (mut keywords_of_item, mut tags_of_item, mut excluded_of_item) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..samples.len() {
            renumber(samples.keywords(i), &keywords.ids, &mut keywords_of_item);
            renumber(samples.tags(i), &tags.ids, &mut tags_of_item);
            renumber(samples.excluded(i), &tags.ids, &mut excluded_of_item);
            stats.without_keywords += u64::from(keywords_of_item.is_empty());
            dataset.push_excluding(&keywords_of_item, &tags_of_item, &excluded_of_item, samples.weight(i))?;
        }
        Ok(Prepared { keywords: keywords.names, tags: tags.names, dataset: dataset.finish()?, stats })
    }
}

/// Strings by their final ids.
struct Names {
    names: Vec<String>,
    /// For each old id the final one, if there is one.
    ids: Vec<Option<u32>>,
    /// Strings without one, and how often they occurred.
    rare: u64,
    rare_occurrences: u64,
}

impl Names {
    /// `first`, then those of `words` that are counted `min_count` times, in their order.
    fn new(first: Vec<String>, words: Vec<Word>, min_count: u64) -> Self {
        let known: HashMap<String, u32> = first.iter().cloned().zip(0..).collect();
        let mut names = Names { names: first, ids: vec![None; words.len()], rare: 0, rare_occurrences: 0 };
        for word in words {
            let id = &mut names.ids[word.id as usize];
            if let Some(known) = known.get(&word.name) {
                *id = Some(*known);
            } else if word.count >= min_count {
                // There are no more than there can be distinct strings.
                *id = Some(names.names.len() as u32);
                names.names.push(word.name);
            } else {
                names.rare += 1;
                names.rare_occurrences += word.count;
            }
        }
        names
    }
}

impl Prepared {
    /// A hash of keywords, tags and samples, the same on every platform.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Xxh3Default::new();
        for names in [&self.keywords, &self.tags] {
            hash.update(&(names.len() as u64).to_le_bytes());
            for name in names {
                hash.update(&(name.len() as u64).to_le_bytes());
                hash.update(name.as_bytes());
            }
        }
        hash.update(&self.dataset.fingerprint().to_le_bytes());
        hash.digest()
    }

    /// Fails unless there are items, keywords and tags, and each tag is missing from some item: what training needs.
    ///
    /// # Errors
    ///
    /// [`Error::NoData`], [`Error::UntrainableTag`].
    pub fn check_trainable(&self) -> Result<()> {
        let no_data = |what: &str, cure| Err(Error::NoData { what: what.to_owned(), cure });
        if self.dataset.is_empty() {
            return no_data("no items to train on", "give at least two, each on a line");
        }
        if self.tags.is_empty() {
            return no_data("no item has a tag", "give items \"tags\", as in {\"keywords\": [\"shark\"], \"tags\": [\"sea\"]}");
        }
        if self.keywords.is_empty() {
            return no_data("no keyword is left in the vocabulary", "lower the count that a keyword needs, or give more items");
        }
        let all = self.dataset.len();
        match self.dataset.tag_counts(self.tags.len()).iter().position(|&count| count == all as u64) {
            Some(tag) => Err(Error::UntrainableTag { tag: self.tags[tag].clone(), positives: all, negatives: 0 }),
            None => Ok(()),
        }
    }
}

/// Distinct strings, numbered in order of first appearance.
#[derive(Debug, Default)]
struct Interner {
    ids: HashMap<String, u32>,
    /// Items that have each string.
    counts: Vec<u64>,
}

/// A distinct string, its number and its count.
struct Word {
    name: String,
    id: u32,
    count: u64,
}

impl Interner {
    fn ids<'n>(&mut self, names: impl IntoIterator<Item = &'n str>, ids: &mut Vec<u32>) -> Result<()> {
        ids.clear();
        for name in names {
            let id = match self.ids.get(name) {
                Some(&id) => id,
                None => {
                    let id = u32::try_from(self.counts.len()).ok().filter(|&id| id < u32::MAX);
                    let id = id.ok_or(Error::TooLarge { what: "distinct keywords or tags", limit: u32::MAX.into() })?;
                    self.ids.insert(name.to_owned(), id);
                    self.counts.push(0);
                    id
                }
            };
            ids.push(id);
        }
        Ok(())
    }

    fn count(&mut self, ids: &[u32]) {
        for &id in ids {
            self.counts[id as usize] += 1;
        }
    }

    /// In no particular order: to be sorted by something that tells any two apart.
    fn into_words(self) -> Vec<Word> {
        let counts = self.counts;
        self.ids.into_iter().map(|(name, id)| Word { name, id, count: counts[id as usize] }).collect()
    }
}

fn renumber(old: &[u32], ids: &[Option<u32>], new: &mut Vec<u32>) {
    new.clear();
    new.extend(old.iter().filter_map(|&id| ids[id as usize]));
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "mmap")]
    use std::fs;

    use super::*;

    fn corpus() -> Corpus {
        let mut corpus = Corpus::new();
        for (keywords, tags) in [("war love war", "Z a"), ("love sea", "b b"), ("zoo ant", ""), ("ant", "a")] {
            corpus.push(&Item::of(keywords, tags)).unwrap();
        }
        corpus
    }

    #[test]
    fn ids_are_ordered() {
        let prepared = corpus().finish(1).unwrap();
        assert_eq!(prepared.keywords, ["ant", "love", "sea", "war", "zoo"]);
        assert_eq!(prepared.tags, ["Z", "a", "b"]);
        let data = &prepared.dataset;
        assert_eq!((data.keywords(0), data.tags(0)), (&[1, 3][..], &[0, 1][..]));
        assert_eq!((data.keywords(2), data.tags(2)), (&[0, 4][..], &[][..]));
        let expected = CorpusStats { repeated_keywords: 1, repeated_tags: 1, untagged: 1, ..CorpusStats::default() };
        assert_eq!(prepared.stats, expected);
    }

    #[test]
    fn an_item_that_is_refused_leaves_no_trace() {
        let mut refused = corpus();
        for weight in [-1.0, f32::NAN, f32::INFINITY] {
            refused.push(&Item { weight, ..Item::of("gnu", "c") }).unwrap_err();
        }
        let (refused, expected) = (refused.finish(1).unwrap(), corpus().finish(1).unwrap());
        assert_eq!((refused.keywords, refused.tags), (expected.keywords, expected.tags));
        assert_eq!(refused.stats, expected.stats);
    }

    #[test]
    fn rare_keywords_go_and_their_items_stay() {
        let mut corpus = corpus();
        corpus.push(&Item { weight: 0.5, ..Item::of("yak", "c") }).unwrap();
        let prepared = corpus.finish(2).unwrap();
        assert_eq!(prepared.keywords, ["ant", "love"]);
        assert_eq!(prepared.dataset.len(), 5);
        assert_eq!((prepared.dataset.keywords(4), prepared.dataset.weight(4)), (&[][..], 0.5));
        let CorpusStats { rare_keywords, rare_occurrences, without_keywords, .. } = prepared.stats;
        assert_eq!((rare_keywords, rare_occurrences, without_keywords), (4, 4, 1));
    }

    #[test]
    fn the_order_of_items_does_not_change_the_vocabulary() {
        let mut items: Vec<Item> = (0..100).map(|i| Item::of(&format!("k{} k{}", i % 7, i % 31), "t")).collect();
        let vocabulary = |items: &[Item]| {
            let mut corpus = Corpus::new();
            items.iter().for_each(|item| corpus.push(item).unwrap());
            corpus.finish(1).unwrap().keywords
        };
        let forward = vocabulary(&items);
        items.reverse();
        assert_eq!(vocabulary(&items), forward);
    }

    #[test]
    fn what_cannot_be_trained_is_told() {
        let prepared = |items: &[(&str, &str)], min_count| {
            let mut corpus = Corpus::new();
            items.iter().for_each(|(keywords, tags)| corpus.push(&Item::of(keywords, tags)).unwrap());
            corpus.finish(min_count).unwrap()
        };
        let items = [("war", "a b"), ("sea", "a"), ("love", "")];
        assert!(prepared(&items, 1).check_trainable().is_ok());
        for (items, min_count) in [(&items[..0], 1), (&items[2..], 1), (&items[..], 2)] {
            assert!(matches!(prepared(items, min_count).check_trainable(), Err(Error::NoData { .. })));
        }
        match prepared(&items[..2], 1).check_trainable() {
            Err(Error::UntrainableTag { tag, positives: 2, negatives: 0 }) => assert_eq!(tag, "a"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_names_of_a_model_come_first_and_stay() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let first = FirstNames { keywords: words("sea moon"), tags: words("q a") };
        let prepared = corpus().finish_after(first, 2).unwrap();
        assert_eq!(prepared.keywords, ["sea", "moon", "ant", "love"]);
        assert_eq!(prepared.tags, ["q", "a", "Z", "b"]);
        assert_eq!((prepared.dataset.keywords(1), prepared.dataset.tags(0)), (&[0, 3][..], &[1, 2][..]));
        assert_eq!((prepared.stats.rare_keywords, prepared.stats.rare_occurrences), (2, 2));
    }

    #[cfg(feature = "mmap")]
    #[test]
    fn in_files_all_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let fill = |mut corpus: Corpus| {
            for i in 0..3000u32 {
                let item = Item {
                    weight: (i % 3) as f32,
                    ..Item::of(&format!("k{} k{}", i % 7, i % 1031), if i % 5 == 0 { "t u" } else { "" })
                };
                corpus.push(&item).unwrap();
            }
            assert!(matches!(
                corpus.push(&Item { weight: -1.0, ..Item::of("x", "y") }),
                Err(Error::Sample { sample: 3000, .. })
            ));
            corpus.finish(3).unwrap()
        };
        let (memory, files) = (fill(Corpus::new()), fill(Corpus::in_files(folder.path()).unwrap()));
        assert_eq!(memory, files);
        assert_eq!(memory.fingerprint(), files.fingerprint());
        let chosen = || (0..3000).rev().step_by(7);
        let (memory, mut files) = (memory.dataset.subset(chosen()).unwrap(), files.dataset.subset(chosen()).unwrap());
        assert_eq!(memory, files);
        assert!(files.folder.is_some());
        assert_eq!(memory.tag_sets().transposed(2), files.tag_sets().transposed(2));
        assert_eq!((memory.tag_counts(2), memory.mean_keywords()), (files.tag_counts(2), files.mean_keywords()));
        // Changing one leaves the files.
        files.push(&[1], &[0], 1.0).unwrap();
        assert_eq!((files.len(), files.keywords(0)), (memory.len() + 1, memory.keywords(0)));
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "a file with a name");
        assert!(matches!(Corpus::in_files(&folder.path().join("none")), Err(Error::Io { .. })));
        assert!(Corpus::in_files(folder.path()).unwrap().finish(1).unwrap().dataset.is_empty());
    }

    #[test]
    fn nothing_gives_nothing() {
        let prepared = Corpus::new().finish(1).unwrap();
        assert!(prepared.keywords.is_empty() && prepared.tags.is_empty() && prepared.dataset.is_empty());
    }
}
