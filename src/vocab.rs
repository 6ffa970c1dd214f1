//! The vocabulary: which keyword is which row of W1.
//!
//! A vocabulary is three plain arrays, and the same three arrays are sections of a model file: the *text* of all keywords end to
//! end, the *offsets* of their bounds in it, and a *hash table* that finds a keyword's id by its hash. So a keyword is looked up
//! in place in the bytes of a file; nothing is built when a model is opened. The string itself is always compared, so an unknown
//! word is never mistaken for a known one.
//!
//! The table is open addressing with linear probing. A keyword's [XXH3] hash of 64 bits gives its home bucket (low half, modulo
//! the number of buckets); the high half, which stands in the bucket, spares most comparisons of strings. Keywords enter in the
//! order of their ids, so there is exactly one table for a list of keywords.
//!
//! [XXH3]: https://xxhash.com

#![warn(clippy::cast_possible_truncation)]

use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::network::Shape;

/// A bucket of the table: the high half of a keyword's hash and its id, or zero and [`EMPTY`]; both little-endian.
pub(crate) type Bucket = [u32; 2];

// The sections of a model file that the three arrays are.
const BUCKETS: &str = "VSLT";
const OFFSETS: &str = "VOFF";
const TEXT: &str = "VTXT";

/// The id in an empty bucket.
const EMPTY: u32 = u32::MAX;

/// A keyword stands less than this many buckets from its home. Honest keywords stay under 200 even in a full vocabulary of 2^31;
/// the bound keeps look-ups short on keywords chosen to collide, and on tables of corrupt bytes.
const MAX_PROBES: usize = 1024;

/// The number of buckets for `keywords` keywords: the least power of two that is at most 60 % full. At least one bucket is empty.
pub(crate) fn buckets_for(keywords: usize) -> Option<usize> {
    keywords.checked_mul(5)?.div_ceil(3).checked_next_power_of_two()
}

/// A table of `count` empty buckets. An error if there is no memory for them.
fn empty_buckets(count: usize) -> Result<Vec<Bucket>> {
    let mut buckets = Vec::new();
    let limit = (count as u64).saturating_sub(1);
    buckets.try_reserve_exact(count).map_err(|_| Error::TooLarge { what: "hash table of keywords in memory", limit })?;
    buckets.resize(count, [0, EMPTY].map(u32::to_le));
    Ok(buckets)
}

/// The home bucket of a keyword, before the modulus, and the high half of its hash.
fn home_and_hash_high(keyword: &[u8]) -> (usize, u32) {
    let [low, high]: [[u8; 4]; 2] = bytemuck::cast(xxh3_64(keyword).to_le_bytes());
    (u32::from_le_bytes(low) as usize, u32::from_le_bytes(high))
}

/// The keywords of a model, in the order of their ids.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::Vocabulary;
///
/// let vocabulary = Vocabulary::from_keywords(["shark", "beach"])?;
/// assert_eq!(vocabulary.get("beach"), Some(1));
/// assert_eq!(vocabulary.get("Beach"), None);
/// assert_eq!(vocabulary.keyword(0), Some("shark"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Vocabulary {
    buckets: Vec<Bucket>,
    offsets: Vec<u32>,
    text: Vec<u8>,
}

impl Vocabulary {
    /// The vocabulary in which the first keyword has id 0, the second id 1, and so on. A keyword is any text: the empty one, and such with
    /// spaces and control characters, are keywords as others are. Two are the same if they are the same bytes: neither letter case nor
    /// Unicode forms are made alike.
    ///
    /// # Errors
    /// [`Error::BadName`] if a keyword occurs twice; [`Error::TooLarge`] if the keywords have 2^32 bytes or more together, or
    /// are more than [`Shape::MAX_DIMENSION`], or if there is no memory for their hash table.
    pub fn from_keywords<I>(keywords: I) -> Result<Self>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let (mut offsets, mut text) = (vec![0u32], Vec::new());
        for keyword in keywords {
            text.extend_from_slice(keyword.as_ref().as_bytes());
            let end = u32::try_from(text.len())
                .map_err(|_| Error::TooLarge { what: "text of all keywords", limit: u32::MAX.into() })?;
            offsets.push(end.to_le());
        }
        let keywords = offsets.len() - 1;
        let buckets = buckets_for(keywords)
            .filter(|_| keywords <= Shape::MAX_DIMENSION)
            .ok_or(Error::TooLarge { what: "keywords", limit: Shape::MAX_DIMENSION as u64 })?;
        let mut buckets = empty_buckets(buckets)?;
        let mut vocabulary = Vocabulary { buckets: Vec::new(), offsets, text };
        vocabulary.view().fill(&mut buckets).map_err(|(id, problem)| Error::BadName {
            what: "keyword",
            name: vocabulary.keyword(id).unwrap_or_default().to_owned(),
            problem,
        })?;
        vocabulary.buckets = buckets;
        Ok(vocabulary)
    }

    /// A borrowed view.
    #[must_use]
    pub fn view(&self) -> VocabularyView<'_> {
        VocabularyView { buckets: &self.buckets, offsets: &self.offsets, text: &self.text }
    }

    /// The id of a keyword.
    #[must_use]
    pub fn get(&self, keyword: &str) -> Option<u32> {
        self.view().get(keyword)
    }

    /// The keyword with this id.
    #[must_use]
    pub fn keyword(&self, id: u32) -> Option<&str> {
        self.view().keyword(id)
    }

    /// The number of keywords.
    #[must_use]
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// Whether there is no keyword.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// The keywords in the order of their ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.view().iter()
    }
}

impl fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vocabulary").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A borrowed vocabulary, over a [`Vocabulary`] or the bytes of a model file.
///
/// The bytes of a mapped file may be corrupt until [`Model::verify`](crate::format::Model::verify) has seen them. On corrupt bytes a
/// look-up may miss keywords or find wrong ones, but always ends, soon and without a panic; ids are below [`len`](Self::len)
/// even then.
#[derive(Clone, Copy)]
pub struct VocabularyView<'a> {
    buckets: &'a [Bucket],
    offsets: &'a [u32],
    text: &'a [u8],
}

impl<'a> VocabularyView<'a> {
    /// The view over the three arrays as they stand in a file.
    pub(crate) fn new(buckets: &'a [Bucket], offsets: &'a [u32], text: &'a [u8]) -> Self {
        VocabularyView { buckets, offsets, text }
    }

    /// The three arrays as they stand in a file.
    pub(crate) fn sections(self) -> [&'a [u8]; 3] {
        [bytemuck::cast_slice(self.buckets), bytemuck::cast_slice(self.offsets), self.text]
    }

    /// The id of a keyword.
    #[must_use]
    pub fn get(self, keyword: &str) -> Option<u32> {
        let mask = self.buckets.len().checked_sub(1)?;
        let (home, hash_high) = home_and_hash_high(keyword.as_bytes());
        for probe in 0..MAX_PROBES {
            // In range for any mask, even if the table's length is no power of two.
            let [found, id] = self.buckets[home.wrapping_add(probe) & mask].map(u32::from_le);
            if id == EMPTY {
                return None;
            }
            if found == hash_high && self.bytes(id) == Some(keyword.as_bytes()) {
                return Some(id);
            }
        }
        None
    }

    /// The keyword with this id.
    #[must_use]
    pub fn keyword(self, id: u32) -> Option<&'a str> {
        std::str::from_utf8(self.bytes(id)?).ok()
    }

    /// Whether it starts with all keywords of `other`, with the same ids.
    #[cfg(feature = "live")]
    pub(crate) fn extends(self, other: VocabularyView<'_>) -> bool {
        self.offsets.starts_with(other.offsets) && self.text.starts_with(other.text)
    }

    /// The number of keywords.
    #[must_use]
    pub fn len(self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is no keyword.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The keywords in the order of their ids. Where corrupt bytes spell no keyword it gives the empty string.
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        self.ids().map(move |id| self.keyword(id).unwrap_or_default())
    }

    fn ids(self) -> std::ops::Range<u32> {
        0..u32::try_from(self.len()).unwrap_or(EMPTY)
    }

    fn bytes(self, id: u32) -> Option<&'a [u8]> {
        let bounds = self.offsets.get(id as usize..)?.first_chunk::<2>()?;
        let [start, end] = bounds.map(|bound| u32::from_le(bound) as usize);
        self.text.get(start..end)
    }

    /// Makes the one hash table for these keywords of empty buckets, or tells the first keyword that cannot enter it and why.
    fn fill(self, buckets: &mut [Bucket]) -> Result<(), (u32, &'static str)> {
        let mask = buckets.len().wrapping_sub(1);
        'ids: for id in self.ids() {
            let keyword = self.bytes(id).unwrap_or_default();
            let (home, hash_high) = home_and_hash_high(keyword);
            for probe in 0..MAX_PROBES {
                let bucket = &mut buckets[home.wrapping_add(probe) & mask];
                let [other_hash_high, other] = bucket.map(u32::from_le);
                if other == EMPTY {
                    *bucket = [hash_high, id].map(u32::to_le);
                    continue 'ids;
                }
                if other_hash_high == hash_high && self.bytes(other) == Some(keyword) {
                    return Err((id, "occurs twice; every keyword must be unique"));
                }
            }
            return Err((id, "shares its place in the table with 1024 others; chosen to collide, leave them out"));
        }
        Ok(())
    }

    /// Fails unless the arrays are exactly those that [`Vocabulary::from_keywords`] makes of their keywords, or if there is no memory
    /// for a second table.
    pub(crate) fn verify(self) -> Result<()> {
        let fault = |section, expected: &str, found: String| Err(Error::model(section, expected, found));
        let (first, last) = (self.offsets.first(), self.offsets.last());
        if first.map(|&x| u32::from_le(x)) != Some(0) {
            return fault(OFFSETS, "0 as the first offset", format!("{first:?}"));
        }
        if last.is_none_or(|&x| u32::from_le(x) as usize != self.text.len()) {
            return fault(OFFSETS, "the text's length as the last offset", format!("{last:?} for {} bytes", self.text.len()));
        }
        for id in self.ids() {
            if self.keyword(id).is_none() {
                let section = if self.bytes(id).is_none() { OFFSETS } else { TEXT };
                return fault(section, "ascending offsets and keywords in UTF-8", format!("keyword {id} is not"));
            }
        }
        let Some(count) = buckets_for(self.len()).filter(|&count| count == self.buckets.len()) else {
            return fault(
                BUCKETS,
                "the buckets for its keywords",
                format!("{} buckets for {} keywords", self.buckets.len(), self.len()),
            );
        };
        let mut canonical = empty_buckets(count)?;
        if let Err((id, problem)) = self.fill(&mut canonical) {
            let found = format!("keyword {id}, {:?}: {problem}", self.keyword(id).unwrap_or_default());
            return fault(TEXT, "unique keywords", found);
        }
        match canonical.iter().zip(self.buckets).position(|(canonical, bucket)| canonical != bucket) {
            Some(bucket) => fault(BUCKETS, "the hash table of its keywords", format!("a different bucket {bucket}")),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for VocabularyView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VocabularyView").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(n: usize) -> Vocabulary {
        Vocabulary::from_keywords((0..n).map(|i| format!("keyword {i}"))).unwrap()
    }

    #[test]
    fn finds_every_keyword_and_no_other() {
        for keywords in [0, 1, 2, 3, 4, 5, 6, 9, 10, 1000u32] {
            let n = keywords as usize;
            let vocabulary = numbered(n);
            assert_eq!(vocabulary.len(), n);
            assert_eq!(vocabulary.is_empty(), n == 0);
            assert!(n * 5 <= vocabulary.buckets.len() * 3 && vocabulary.buckets.len().is_power_of_two());
            for (id, keyword) in (0..).zip(vocabulary.iter()) {
                assert_eq!(keyword, format!("keyword {id}"));
                assert_eq!(vocabulary.get(keyword), Some(id));
                assert_eq!(vocabulary.keyword(id), Some(keyword));
            }
            for unknown in ["", "keyword", "keyword ", "keyword 1000", "Keyword 1", "кино"] {
                assert_eq!(vocabulary.get(unknown), None, "{unknown:?} among {n}");
            }
            assert_eq!(vocabulary.keyword(keywords), None);
            assert_eq!(vocabulary.keyword(u32::MAX), None);
            vocabulary.view().verify().unwrap();
        }
    }

    #[test]
    fn takes_any_text_but_no_duplicates() {
        let odd = ["", " ", "a\nb", "ünïcödé", "🦀", "a"];
        let vocabulary = Vocabulary::from_keywords(odd).unwrap();
        assert!(vocabulary.iter().eq(odd));
        assert!((0..).zip(odd).all(|(id, keyword)| vocabulary.get(keyword) == Some(id)));
        for twice in [&["a", "b", "a"][..], &["", ""]] {
            assert!(matches!(Vocabulary::from_keywords(twice), Err(Error::BadName { what: "keyword", .. })));
        }
    }

    #[test]
    fn same_keywords_same_table() {
        assert_eq!(numbered(100), numbered(100));
        assert_ne!(numbered(100), numbered(101));
        // Fixed for ever by the file format: hash, home, high half, order.
        let [buckets, offsets, text] = numbered(100).view().sections().map(xxh3_64);
        assert_eq!((buckets, offsets, text), (15_063_094_336_943_346_729, 713_043_669_107_315_405, 4_865_103_592_025_386_475));
    }

    #[test]
    fn every_change_of_an_array_is_found_and_no_look_up_panics() {
        let good = numbered(7);
        let check = |bad: Vocabulary| {
            assert!(bad.view().verify().is_err());
            for keyword in good.iter().chain(["", "unknown"]) {
                assert!(bad.get(keyword).is_none_or(|id| (id as usize) < bad.len()));
            }
            assert_eq!(bad.iter().count(), bad.len());
        };
        for value in [0u32, 1, 6, 7, 1 << 31, u32::MAX - 1, u32::MAX] {
            for i in 0..good.buckets.len() {
                for half in 0..2 {
                    let mut bad = good.clone();
                    bad.buckets[i][half] = value;
                    if bad != good {
                        check(bad);
                    }
                }
            }
            for i in 0..good.offsets.len() {
                let mut bad = good.clone();
                bad.offsets[i] = value;
                if bad != good {
                    check(bad);
                }
            }
        }
        for i in 0..good.text.len() {
            let mut bad = good.clone();
            bad.text[i] ^= 0x80;
            check(bad);
        }
        // Text that belongs to no keyword, before the first or after the last.
        let shifted = good.offsets.iter().map(|&end| (u32::from_le(end) + 1).to_le()).collect();
        check(Vocabulary { offsets: shifted, text: [b"x", &good.text[..]].concat(), ..good.clone() });
        check(Vocabulary { text: [&good.text[..], b"x"].concat(), ..good.clone() });
        check(Vocabulary { buckets: Vec::new(), ..good.clone() });
        check(Vocabulary { buckets: good.buckets[..5].to_vec(), ..good.clone() });
        check(Vocabulary { offsets: Vec::new(), ..good.clone() });
        check(Vocabulary { text: Vec::new(), ..good.clone() });
    }

    // With addresses of 32 bits that is a half of all, and can be had.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn no_memory_is_an_error() {
        let count = isize::MAX.unsigned_abs() / size_of::<Bucket>();
        assert!(matches!(empty_buckets(count), Err(Error::TooLarge { limit, .. }) if limit == count as u64 - 1));
    }

    #[test]
    fn look_ups_end_in_a_table_without_an_empty_bucket() {
        let good = numbered(3);
        let (_, hash_high) = home_and_hash_high(b"unknown");
        let full = Vocabulary { buckets: vec![[hash_high, 0]; 8], ..good };
        assert_eq!(full.get("unknown"), None);
    }
}
