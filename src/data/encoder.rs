//! From items to a data set, with a vocabulary and tags that exist already: a validation or test set.

use super::{Dataset, Item, Pushed};
use crate::error::Result;

/// Turns items into samples; strings that have no id are dropped and counted.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::data::{Encoder, Item};
/// # let model = tagomatic::Model::open("models/movies.tagm")?;
/// let tag = |name: &str| model.tags().get(name).map(|tag| tag as u32);
/// let mut encoder = Encoder::new(|word: &str| model.vocabulary().get(word), tag);
/// encoder.push(&Item {
///     keywords: vec!["zombie".to_owned(), "no such word".to_owned()],
///     tags: vec!["zombie".to_owned()],
///     ..Item::default()
/// })?;
/// let (test, stats) = encoder.finish();
/// assert_eq!((test.len(), stats.unknown_keywords), (1, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Encoder<K, T> {
    keyword: K,
    tag: T,
    dataset: Dataset,
    stats: EncoderStats,
    keywords: Vec<u32>,
    tags: Vec<u32>,
    excluded: Vec<u32>,
}

/// Counts of an [`Encoder`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncoderStats {
    /// Occurrences of keywords without an id, dropped.
    pub unknown_keywords: u64,
    /// Occurrences of tags without an id, dropped.
    pub unknown_tags: u64,
    /// Repeats of a known keyword within an item, dropped.
    pub repeated_keywords: u64,
    /// Repeats of a known tag within an item, dropped.
    pub repeated_tags: u64,
    /// Items without any known keyword.
    pub without_keywords: u64,
}

impl<K: Fn(&str) -> Option<u32>, T: Fn(&str) -> Option<u32>> Encoder<K, T> {
    /// An encoder that asks `keyword` and `tag` for ids.
    #[must_use]
    pub fn new(keyword: K, tag: T) -> Self {
        Encoder {
            keyword,
            tag,
            dataset: Dataset::new(),
            stats: EncoderStats::default(),
            keywords: Vec::new(),
            tags: Vec::new(),
            excluded: Vec::new(),
        }
    }

    /// Appends an item, even if nothing of it is known.
    ///
    /// # Errors
    ///
    /// As [`Dataset::push`].
    pub fn push(&mut self, item: &Item) -> Result<()> {
        let unknown_keywords = look_up(&item.keywords, &self.keyword, &mut self.keywords);
        let unknown_tags = look_up(&item.tags, &self.tag, &mut self.tags);
        look_up(&item.excluded, &self.tag, &mut self.excluded);
        let Pushed { repeated_keywords, repeated_tags } =
            self.dataset.push_excluding(&self.keywords, &self.tags, &self.excluded, item.weight)?;
        self.stats.unknown_keywords += unknown_keywords as u64;
        self.stats.unknown_tags += unknown_tags as u64;
        self.stats.repeated_keywords += repeated_keywords as u64;
        self.stats.repeated_tags += repeated_tags as u64;
        self.stats.without_keywords += u64::from(self.keywords.is_empty());
        Ok(())
    }

    /// The samples, in the order of the items.
    #[must_use]
    pub fn finish(self) -> (Dataset, EncoderStats) {
        (self.dataset, self.stats)
    }
}

/// Writes the ids of `names`; the number of names without one.
fn look_up(names: &[String], id: impl Fn(&str) -> Option<u32>, ids: &mut Vec<u32>) -> usize {
    ids.clear();
    ids.extend(names.iter().filter_map(|name| id(name)));
    names.len() - ids.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_counted() {
        let position = |list: &'static [&str]| {
            move |name: &str| list.iter().position(|&known| known == name).and_then(|i| u32::try_from(i).ok())
        };
        let mut encoder = Encoder::new(position(&["sea", "war"]), position(&["x", "y"]));
        encoder.push(&Item { weight: 3.0, ..Item::of("war sky sea war sky", "y z y") }).unwrap();
        encoder.push(&Item::of("sky", "")).unwrap();
        let (dataset, stats) = encoder.finish();
        assert_eq!((dataset.keywords(0), dataset.tags(0), dataset.weight(0)), (&[0, 1][..], &[1][..], 3.0));
        assert_eq!((dataset.len(), dataset.keywords(1)), (2, &[][..]));
        let expected =
            EncoderStats { unknown_keywords: 3, unknown_tags: 1, repeated_keywords: 1, repeated_tags: 1, without_keywords: 1 };
        assert_eq!(stats, expected);
    }
}
