//! How a model was made, as text: data, configuration, seed, metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::error::{Error, Result};

/// How a model was made: values by keys such as `data.samples` or `train.seed`.
///
/// Its text form, by [`Display`](fmt::Display), is a line `key = value` for each, ascending by key.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::Provenance;
///
/// let mut provenance = Provenance::new();
/// provenance.insert("data.source", "films of 2026")?;
/// assert_eq!(provenance.to_string(), "data.source = films of 2026\n");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    values: BTreeMap<String, String>,
}

impl Provenance {
    /// A provenance without any value.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The key of the training loss of each epoch, numbers separated by spaces.
    pub const CURVE_LOG_LOSS: &'static str = "fit.curve_log_loss";

    /// The key of the macro average precision on the validation items after each epoch, numbers separated by spaces.
    pub const CURVE_VALID_MACRO_AP: &'static str = "fit.curve_valid_macro_ap";

    /// The key of the number of samples that were trained on.
    #[cfg(feature = "train")]
    pub(crate) const SAMPLES: &'static str = "data.samples";
    /// The key of the hash of the data: models of the same data number tags alike.
    pub(crate) const FINGERPRINT: &'static str = "data.fingerprint";
    /// The key of the number of tags.
    pub(crate) const TAGS: &'static str = "data.tags";
    /// The key of how many samples have each tag.
    pub(crate) const TAG_COUNTS: &'static str = "data.tag_counts";
    /// The key of the tag rules, a document.
    pub(crate) const RULES: &'static str = "data.rules";
    /// The start of the keys of how each group of hidden units was fitted.
    const FITTED: &'static str = "fit.";
    /// The start of the keys of how a tag was taught, by its id.
    const TAUGHT: &'static str = "taught.";
    /// The keys of lists of ids of tags: those with thresholds that were chosen, those that were calibrated, and those of them that have one
    /// curve together.
    const TAG_IDS: [&'static str; 3] = ["tune.tags", "calibrate.tags", "calibrate.pooled"];

    /// The key of how the tag with this id was taught.
    pub(crate) fn taught(id: u32) -> String {
        format!("{}{id}", Self::TAUGHT)
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// [`Error::BadName`] unless the key is one or more of `a-z`, `0-9`, `_` and `.`; then nothing was changed.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) -> Result<()> {
        let key = key.into();
        if !is_key(&key) {
            return Err(Error::BadName { what: "provenance key", name: key, problem: "a key consists of a-z, 0-9, _ and ." });
        }
        self.values.insert(key, value.into());
        Ok(())
    }

    /// Takes a key out; returns its value.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        self.values.remove(key)
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// Keys and values, ascending by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The same with new ids where it tells of tags by their ids. What it tells of those that get none goes.
    pub(crate) fn with_ids(&self, new_id: impl Fn(u32) -> Option<u32>) -> Result<Self> {
        let mut changed = Self::new();
        for (key, value) in self.iter() {
            match (About::of(key), ids_in(value)) {
                (About::Tag(id), _) => new_id(id).map_or(Ok(()), |id| changed.insert(Self::taught(id), value))?,
                (About::SomeTags, Some(ids)) => changed.insert(key, listed(ids.into_iter().filter_map(&new_id)))?,
                _ => changed.insert(key, value)?,
            }
        }
        Ok(changed)
    }

    /// All ids of several lists of ids of tags; `None` if a value is no such list.
    pub(crate) fn union(values: &BTreeSet<&str>) -> Option<String> {
        let lists = values.iter().map(|value| ids_in(value)).collect::<Option<Vec<_>>>()?;
        Some(listed(lists.into_iter().flatten().collect::<BTreeSet<u32>>()))
    }

    /// Reads the text form. There is only one for each provenance; every other text is an error.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let mut values = BTreeMap::new();
        Self::read(bytes, |key, value| {
            values.insert(key.to_owned(), unescape(value));
        })?;
        Ok(Provenance { values })
    }

    /// Fails unless the bytes are the text form of a provenance. Nothing is kept of it: lines are short, and what is made of one is not.
    pub(crate) fn check(bytes: &[u8]) -> Result<()> {
        Self::read(bytes, |_, _| ())
    }

    /// Calls `line` with each key and its value as it is written.
    fn read<'a>(bytes: &'a [u8], mut line: impl FnMut(&'a str, &'a str)) -> Result<()> {
        let fault = |expected: &str, found: String| Err(Error::model("PROV", expected, found));
        let Ok(text) = std::str::from_utf8(bytes) else { return fault("text in UTF-8", "other bytes".to_owned()) };
        let mut last = "";
        for (number, text) in text.split_inclusive('\n').enumerate() {
            let parsed = text.strip_suffix('\n').and_then(|text| text.split_once(" = "));
            let Some((key, value)) = parsed.filter(|(key, value)| is_key(key) && is_escaped(value)) else {
                return fault("lines `key = value`", format!("another line {}", number + 1));
            };
            // A key is not empty.
            if last >= key {
                return fault("keys ascending", format!("line {} out of order", number + 1));
            }
            line(key, value);
            last = key;
        }
        Ok(())
    }
}

/// What a value tells of tags, by its key: what becomes of it when tags go, or get other ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// It has an entry for each tag, separated by commas.
    EachTag,
    /// It has an entry for each group, separated by commas.
    EachGroup,
    /// It is a list of ids of tags, separated by commas.
    SomeTags,
    /// It is about the tag with this id, which stands in the key.
    Tag(u32),
    /// It is a document: not to be taken apart, and two are none.
    Document,
    /// It tells nothing of single tags.
    Model,
}

impl About {
    pub(crate) fn of(key: &str) -> Self {
        let taught = || key.strip_prefix(Provenance::TAUGHT)?.parse().ok();
        match key {
            Provenance::TAG_COUNTS => About::EachTag,
            Provenance::RULES => About::Document,
            key if key.starts_with(Provenance::FITTED) => About::EachGroup,
            key if Provenance::TAG_IDS.contains(&key) => About::SomeTags,
            _ => taught().map_or(About::Model, About::Tag),
        }
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in &self.values {
            writeln!(f, "{key} = {}", value.replace('\\', r"\\").replace('\n', r"\n"))?;
        }
        Ok(())
    }
}

/// The ids in a list; `None` if it is none.
fn ids_in(list: &str) -> Option<Vec<u32>> {
    if list.is_empty() { Some(Vec::new()) } else { list.split(',').map(|id| id.parse().ok()).collect() }
}

fn listed(ids: impl IntoIterator<Item = u32>) -> String {
    ids.into_iter().map(|id| id.to_string()).collect::<Vec<_>>().join(",")
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.'))
}

/// Whether every backslash begins an escape.
fn is_escaped(value: &str) -> bool {
    let mut chars = value.chars();
    while let Some(char) = chars.next() {
        if char == '\\' && !matches!(chars.next(), Some('\\' | 'n')) {
            return false;
        }
    }
    true
}

/// What a value stands for; its escapes have been checked.
fn unescape(value: &str) -> String {
    let mut chars = value.chars();
    let mut text = String::with_capacity(value.len());
    while let Some(char) = chars.next() {
        text.push(match char {
            '\\' if chars.next() == Some('n') => '\n',
            char => char,
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_what_they_are_about() {
        for (key, about) in [
            ("data.tag_counts", About::EachTag),
            ("data.tags", About::Model),
            ("data.rules", About::Document),
            ("fit.epochs", About::EachGroup),
            ("tune.tags", About::SomeTags),
            ("tune.data", About::Model),
            ("calibrate.pooled", About::SomeTags),
            ("taught.62", About::Tag(62)),
            ("taught.by", About::Model),
            ("taught.4294967296", About::Model),
        ] {
            assert_eq!(About::of(key), about, "{key}");
        }
    }

    #[test]
    fn any_value_survives_the_text_form() {
        let mut provenance = Provenance::new();
        let values = ["", " ", "a = b", "line\nbreak", "\\n", "back\\slash\\", "\n\\\n", "\r\t\0", "ünï 🦀", "\\\\nn"];
        for (i, value) in values.iter().enumerate() {
            provenance.insert(format!("key_{i}.v"), *value).unwrap();
        }
        let text = provenance.to_string();
        assert_eq!(text.lines().count(), values.len());
        assert_eq!(Provenance::parse(text.as_bytes()).unwrap(), provenance);
        assert!(provenance.iter().map(|(_, value)| value).eq(values));
        assert_eq!(provenance.get("key_2.v"), Some("a = b"));
        assert_eq!(Provenance::parse(b"").unwrap(), Provenance::new());
        assert!(Provenance::new().is_empty() && !provenance.is_empty());
    }

    #[test]
    fn there_is_one_text_form() {
        for good in ["a = 1\nb = 2\n", "a = \n", "a =  = \n", "0 = \\\\n\n"] {
            assert_eq!(Provenance::parse(good.as_bytes()).unwrap().to_string(), good);
        }
        let bad = ["\n", "a = 1", "a = 1\n\n", "a=1\n", " = 1\n", "A = 1\n", "ä = 1\n", "b = 1\na = 2\n", "a = 1\na = 1\n"];
        for bad in bad.map(str::as_bytes).into_iter().chain([&b"a = \\x\n"[..], b"a = \\\n", b"a = \xff\n", b"a = 1\r"]) {
            let error = Provenance::parse(bad).unwrap_err();
            assert!(matches!(error, Error::Model { section: "PROV", .. }), "{error}");
        }
        for key in ["", "A", "a b", "a=", "a\n", "é"] {
            assert!(Provenance::new().insert(key, "").is_err());
        }
    }
}
