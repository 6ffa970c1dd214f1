//! What is wrong with data before anything is trained on them: faults, duplicates, leaks between files, and keywords that give a tag
//! away.

use std::collections::HashMap;

use super::{Corpus, Item, Prepared};
use crate::csr::Csr;
use crate::error::{Error, Result};

/// Items with a keyword and a tag from which on the keyword can be suspected of deciding the tag.
const DECIDES_FROM: u64 = 5;

/// Examples that are kept of each kind of fault.
const EXAMPLES: usize = 5;

/// Looks at items, file by file.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::data::Item;
/// use tagomatic::data::check::Checker;
///
/// let item = |keyword: &str, tag: &str| Item {
///     keywords: vec![keyword.to_owned()],
///     tags: vec![tag.to_owned()],
///     ..Item::default()
/// };
/// let mut checker = Checker::new();
/// checker.file("train");
/// checker.push(&item("shark", "sea"), 1)?;
/// checker.push(&item("castle", "horror"), 2)?;
/// checker.file("test");
/// checker.push(&item("shark", "horror"), 1)?;
/// let checked = checker.finish()?;
/// assert_eq!((checked.duplicates, checked.contradictions, checked.leaks.len()), (1, 1, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Checker {
    corpus: Corpus,
    ids: Vec<Option<String>>,
    /// Of each item the line.
    lines: Vec<u64>,
    /// For each file its name and the number of its first item.
    files: Vec<(String, usize)>,
    faults: Faults,
}

/// What a [`Checker`] found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The items, in order, with the names of their keywords and tags.
    pub prepared: Prepared,
    /// Everything that is wrong with single items, by kind; kinds that did not occur are left out.
    pub faults: Vec<Fault>,
    /// Items with the very keywords of an earlier one; items without keywords are not counted.
    pub duplicates: u64,
    /// Items to change so that items with the same keywords have the same tags: all but those with the most frequent tags among them.
    /// The order of the items does not matter.
    pub contradictions: u64,
    /// Items that stand in two files: what is learnt from one is known of the other.
    pub leaks: Vec<Leak>,
    /// Keywords that give a tag away, by tag, then by falling number of items.
    pub suspects: Vec<Suspect>,
    /// Tags that every item has: without an item that lacks them they cannot be trained.
    pub untrainable: Vec<usize>,
    /// For each item a number below the number of items: the same for items with the same keywords or id, and for items that are
    /// linked by such items. They belong on one side of a split.
    pub group: Vec<u32>,
}

/// A kind of fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind, in words.
    pub kind: &'static str,
    /// How often it occurred.
    pub count: u64,
    /// Where, for the first few.
    pub examples: Vec<String>,
}

/// Two files with the same items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// The file that was read first.
    pub file: String,
    /// The other one.
    pub other: String,
    /// Items of the other file whose id some item of the first file has.
    pub ids: u64,
    /// Items of the other file whose keywords are the very ones of some item of the first file.
    pub keyword_sets: u64,
}

/// A keyword that gives a tag away.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspect {
    /// Number of the keyword.
    pub keyword: usize,
    /// Number of the tag.
    pub tag: usize,
    /// Whether it is the tag's name, but for case, punctuation and what stands before a slash.
    pub is_name: bool,
    /// Items that have both.
    pub items: u64,
    /// Share of the items with the keyword that have the tag.
    pub precision: f64,
    /// Share of the items with the tag that have the keyword.
    pub recall: f64,
}

impl Checker {
    /// Nothing read so far.
    #[must_use]
    pub fn new() -> Self {
        Checker::default()
    }

    /// The items that follow are those of a file with that name.
    pub fn file(&mut self, name: impl Into<String>) {
        self.files.push((name.into(), self.ids.len()));
    }

    /// Looks at an item, which stands on this line of its file.
    ///
    /// # Errors
    /// As [`Corpus::push`].
    pub fn push(&mut self, item: &Item, line: u64) -> Result<()> {
        self.corpus.push(item)?;
        let place = || format!("{}:{line}", self.files.last().map_or("", |(name, _)| name));
        let names = || item.keywords.iter().chain(&item.tags);
        let faults = &mut self.faults;
        faults.count_if(item.keywords.is_empty(), "items without keywords", place);
        faults.count_if(has_repeats(&item.keywords), "items that repeat a keyword", place);
        faults.count_if(has_repeats(&item.tags), "items that repeat a tag", place);
        faults.count_if(names().any(|name| name.trim().is_empty()), "items with an empty keyword or tag", place);
        let is_untidy = |name: &String| name.trim() != name && !name.trim().is_empty();
        faults.count_if(names().any(is_untidy), "items with spaces around a keyword or tag", place);
        faults.count_if(item.weight == 0.0, "items of weight 0", place);
        self.ids.push(item.id.clone());
        self.lines.push(line);
        Ok(())
    }

    /// Counts a line that is no item.
    pub fn malformed(&mut self, error: &Error) {
        self.faults.count_if(true, "malformed lines", || error.to_string());
    }

    /// What is to be said of all items.
    ///
    /// # Errors
    /// None with items that [`push`](Self::push) accepted.
    pub fn finish(self) -> Result<Checked> {
        let Checker { corpus, ids, lines, files, mut faults } = self;
        let prepared = corpus.finish(1)?;
        let dataset = &prepared.dataset;
        let samples = dataset.len();

        // The first item with each set of keywords, and with each id.
        let (mut by_keywords, mut by_id) = (HashMap::new(), HashMap::new());
        // How many items have these keywords with these tags.
        let mut alike = HashMap::<_, u64>::new();
        let mut groups = Groups::new(samples);
        let (mut duplicates, mut contradictions) = (0, 0);
        for (sample, id) in ids.iter().enumerate() {
            let keywords = dataset.keywords(sample);
            if !keywords.is_empty() {
                let (first, most) = by_keywords.entry(keywords).or_insert((sample, 0));
                let same = alike.entry((keywords, dataset.tags(sample))).or_default();
                *same += 1;
                // In the end `most` has grown once for each item with the most frequent tags, in any order.
                if *same > *most {
                    *most = *same
                } else {
                    contradictions += 1
                }
                duplicates += u64::from(*first != sample);
                groups.join(*first, sample);
            }
            if let Some(id) = id.as_deref() {
                let first = *by_id.entry(id).or_insert(sample);
                let place = || {
                    let file = files.iter().rfind(|(_, first)| *first <= sample).map_or("", |(name, _)| name);
                    format!("{file}:{}: {id}", lines[sample])
                };
                faults.count_if(first != sample, "items with the id of an earlier one", place);
                groups.join(first, sample);
            }
        }
        let all = samples as u64;
        let counts = dataset.tag_counts(prepared.tags.len());
        Ok(Checked {
            faults: faults.kinds,
            duplicates,
            contradictions,
            leaks: leaks(&files, samples, |sample| {
                let keywords = dataset.keywords(sample);
                (ids[sample].as_deref(), (!keywords.is_empty()).then_some(keywords))
            }),
            suspects: suspects(&prepared, &counts),
            untrainable: (0..counts.len()).filter(|&tag| counts[tag] == all).collect(),
            group: groups.finish(),
            prepared,
        })
    }
}

#[derive(Debug, Default)]
struct Faults {
    kinds: Vec<Fault>,
}

impl Faults {
    fn count_if(&mut self, is_fault: bool, kind: &'static str, example: impl FnOnce() -> String) {
        if !is_fault {
            return;
        }
        let place = self.kinds.iter().position(|fault| fault.kind == kind).unwrap_or_else(|| {
            self.kinds.push(Fault { kind, count: 0, examples: Vec::new() });
            self.kinds.len() - 1
        });
        let fault = &mut self.kinds[place];
        fault.count += 1;
        if fault.examples.len() < EXAMPLES {
            fault.examples.push(example());
        }
    }
}

fn has_repeats(names: &[String]) -> bool {
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

/// Each pair of files that have items in common. `keys` gives the id and the keywords of an item, as far as it has them.
fn leaks<'a>(
    files: &[(String, usize)],
    samples: usize,
    keys: impl Fn(usize) -> (Option<&'a str>, Option<&'a [u32]>),
) -> Vec<Leak> {
    let items = |file: usize| files[file].1..files.get(file + 1).map_or(samples, |next| next.1);
    // For each key the files that have it, ascending, each once.
    let (mut ids, mut sets) = (HashMap::<_, Vec<usize>>::new(), HashMap::<_, Vec<usize>>::new());
    let mut found = vec![[0_u64; 2]; files.len() * files.len()];
    for file in 0..files.len() {
        for sample in items(file) {
            let (id, set) = keys(sample);
            let holders = [id.and_then(|id| ids.get(id)), set.and_then(|set| sets.get(set))];
            for (kind, holders) in holders.into_iter().enumerate() {
                for earlier in holders.into_iter().flatten().filter(|earlier| **earlier != file) {
                    found[earlier * files.len() + file][kind] += 1;
                }
            }
            let enter = |holders: &mut Vec<usize>| {
                if holders.last() != Some(&file) {
                    holders.push(file);
                }
            };
            id.into_iter().for_each(|id| enter(ids.entry(id).or_default()));
            set.into_iter().for_each(|set| enter(sets.entry(set).or_default()));
        }
    }
    let leak = |(place, [ids, keyword_sets]): (usize, [u64; 2])| {
        let name = |file: usize| files[file].0.clone();
        let (file, other) = (name(place / files.len()), name(place % files.len()));
        (ids + keyword_sets > 0).then_some(Leak { file, other, ids, keyword_sets })
    };
    found.into_iter().enumerate().filter_map(leak).collect()
}

/// Keywords that are a tag's name, or that decide a tag alone: nearly all items with the keyword have the tag, and at least half of
/// the tag's items have the keyword.
fn suspects(prepared: &Prepared, tag_counts: &[u64]) -> Vec<Suspect> {
    let Prepared { keywords, tags, dataset, .. } = prepared;
    let mut numbers = HashMap::<String, Vec<usize>>::new();
    for (number, keyword) in keywords.iter().enumerate() {
        numbers.entry(bare(keyword)).or_default().push(number);
    }
    let mut keyword_counts = vec![0_u64; keywords.len()];
    for sample in 0..dataset.len() {
        dataset.keywords(sample).iter().for_each(|&keyword| keyword_counts[keyword as usize] += 1);
    }
    let samples_of_tag: Csr = dataset.tag_sets().transposed(tags.len());
    let mut suspects = Vec::new();
    let mut both = vec![0_u64; keywords.len()];
    for (tag, name) in tags.iter().enumerate() {
        let samples = || samples_of_tag.row(tag).iter().flat_map(|&sample| dataset.keywords(sample as usize));
        samples().for_each(|&keyword| both[keyword as usize] += 1);
        let bare_name = bare(name);
        let named = numbers.get(&bare_name).map_or(&[][..], Vec::as_slice);
        let mut of_tag: Vec<Suspect> = samples()
            .map(|&keyword| keyword as usize)
            .filter_map(|keyword| {
                // Each keyword once: the count is taken out when it is seen first.
                let items = std::mem::take(&mut both[keyword]);
                let is_name = !bare_name.is_empty() && named.contains(&keyword);
                let precision = items as f64 / keyword_counts[keyword] as f64;
                let recall = items as f64 / tag_counts[tag] as f64;
                let decides = items >= DECIDES_FROM && precision >= 0.95 && recall >= 0.5;
                (items > 0 && (is_name || decides)).then_some(Suspect { keyword, tag, is_name, items, precision, recall })
            })
            .collect();
        of_tag.sort_by_key(|suspect| (std::cmp::Reverse(suspect.items), suspect.keyword));
        suspects.append(&mut of_tag);
    }
    suspects
}

/// The letters and digits of a name in lower case, after its last slash.
fn bare(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or_default();
    last.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Disjoint sets of items; each is known by its first item.
struct Groups {
    parent: Vec<u32>,
}

impl Groups {
    fn new(items: usize) -> Self {
        // A data set has fewer than 2^32 samples.
        Groups { parent: (0..items as u32).collect() }
    }

    fn root(&mut self, mut item: u32) -> u32 {
        while self.parent[item as usize] != item {
            let grandparent = self.parent[self.parent[item as usize] as usize];
            self.parent[item as usize] = grandparent;
            item = grandparent;
        }
        item
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a as u32), self.root(b as u32));
        self.parent[a.max(b) as usize] = a.min(b);
    }

    fn finish(mut self) -> Vec<u32> {
        (0..self.parent.len() as u32).map(|item| self.root(item)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str, keywords: &str, tags: &str) -> Item {
        Item { id: (!id.is_empty()).then(|| id.to_owned()), ..Item::of(keywords, tags) }
    }

    #[test]
    fn clean_items_have_no_faults() {
        let mut checker = Checker::new();
        checker.file("a");
        checker.push(&item("1", "sea shark", "beach"), 1).unwrap();
        checker.push(&item("2", "war", "army"), 2).unwrap();
        let checked = checker.finish().unwrap();
        assert!(checked.faults.is_empty() && checked.leaks.is_empty() && checked.suspects.is_empty());
        assert_eq!((checked.duplicates, checked.untrainable.len(), &checked.group[..]), (0, 0, &[0, 1][..]));
    }

    #[test]
    fn faults_are_counted_with_their_places() {
        let mut checker = Checker::new();
        checker.file("a");
        checker.push(&item("1", "", "t"), 1).unwrap();
        checker.push(&item("", "sea sea", ""), 3).unwrap();
        checker.file("empty");
        checker.file("b");
        checker
            .push(&Item { keywords: vec![" sea".to_owned(), "  ".to_owned()], weight: 0.0, ..item("1", "", "t t") }, 7)
            .unwrap();
        checker.file("empty");
        checker.malformed(&Error::NoData { what: "x".to_owned(), cure: "y" });
        let faults = checker.finish().unwrap().faults;
        let count = |kind| faults.iter().find(|fault| fault.kind == kind).map(|fault| (fault.count, &fault.examples[0][..]));
        for (kind, expected) in [
            ("items without keywords", "a:1"),
            ("items that repeat a keyword", "a:3"),
            ("items that repeat a tag", "b:7"),
            ("items with an empty keyword or tag", "b:7"),
            ("items with spaces around a keyword or tag", "b:7"),
            ("items of weight 0", "b:7"),
            ("items with the id of an earlier one", "b:7: 1"),
            ("malformed lines", "x: y"),
        ] {
            assert_eq!(count(kind), Some((1, expected)), "{kind}");
        }
        assert_eq!(faults.len(), 8);
    }

    #[test]
    fn duplicates_are_linked_through_ids_and_keywords() {
        let mut checker = Checker::new();
        checker.file("train");
        for (id, keywords, tags) in [("1", "sea war", "t"), ("2", "war sea", "u"), ("3", "a", "t"), ("", "", "t")] {
            checker.push(&item(id, keywords, tags), 1).unwrap();
        }
        checker.file("test");
        // Linked to the second by its id, to the third by its keywords.
        for (id, keywords, tags) in [("2", "a", "t"), ("9", "sea war", "t"), ("", "", "t")] {
            checker.push(&item(id, keywords, tags), 1).unwrap();
        }
        let checked = checker.finish().unwrap();
        assert_eq!((checked.duplicates, checked.contradictions), (3, 1));
        assert_eq!(checked.group, [0, 0, 0, 3, 0, 0, 6]);
        let leak = Leak { file: "train".to_owned(), other: "test".to_owned(), ids: 1, keyword_sets: 2 };
        assert_eq!(checked.leaks, [leak]);
    }

    #[test]
    fn the_order_of_items_does_not_matter() {
        for tags in ["abaacb", "baaabc", "cbabaa", "bbcaaa"] {
            let mut checker = Checker::new();
            for tag in tags.chars() {
                checker.push(&item("", "sea", &tag.to_string()), 1).unwrap();
            }
            let checked = checker.finish().unwrap();
            assert_eq!((checked.duplicates, checked.contradictions), (5, 3), "{tags}");
        }
    }

    #[test]
    fn keywords_that_give_a_tag_away() {
        let mut checker = Checker::new();
        checker.file("a");
        for i in 0..40 {
            // "undead" decides zombie; "grave" is on half of the zombies and on others; "Zombie!" is the name, though rare.
            let keywords = match i {
                0 => "undead Zombie!",
                1..10 => "undead grave",
                10..20 => "grave",
                _ => "sea",
            };
            checker.push(&item("", keywords, if i < 10 { "theme/zombie" } else { "x" }), 1).unwrap();
        }
        let Checked { prepared, suspects, .. } = checker.finish().unwrap();
        let zombie = prepared.tags.iter().position(|tag| tag == "theme/zombie").unwrap();
        let found: Vec<_> = suspects
            .iter()
            .filter(|suspect| suspect.tag == zombie)
            .map(|s| (&prepared.keywords[s.keyword][..], s.is_name, s.items, s.precision, s.recall))
            .collect();
        assert_eq!(found, [("undead", false, 10, 1.0, 1.0), ("Zombie!", true, 1, 1.0, 0.1)]);
    }

    #[test]
    fn a_tag_that_is_everywhere_is_told() {
        let mut checker = Checker::new();
        checker.push(&item("", "a", "t u"), 1).unwrap();
        checker.push(&item("", "b", "t"), 2).unwrap();
        assert_eq!(checker.finish().unwrap().untrainable, [0]);
        assert!(Checker::new().finish().unwrap().group.is_empty());
    }
}
