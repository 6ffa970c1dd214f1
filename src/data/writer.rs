//! Items and samples to a stream, in the formats that [`Reader`](super::Reader) reads.

use std::io::{self, Write};

use super::fasttext::LABEL;
use super::lines::BYTE_ORDER_MARK;
use super::{Dataset, Format, Item};
use crate::error::{Error, Result};

/// Writes the line of an item of strings: [`Format::FastText`], which has no place for id and weight, or JSON Lines, which keeps them. No
/// format has a place for [`Item::excluded`].
///
/// `number` is the item's number, counted from 0, and `out` is called `name` in errors.
///
/// # Errors
/// [`Error::Sample`] if a keyword or tag cannot stand in the format, or the item would be a blank line; [`Error::Config`] for a format of numbers, see [`write_samples`];
/// [`Error::Io`].
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::data::{Format, Item, write_item};
///
/// let item = Item { keywords: vec!["shark".to_owned()], tags: vec!["sea".to_owned()], ..Item::default() };
/// let mut out = Vec::new();
/// write_item(&mut out, "memory", Format::FastText, 0, &item)?;
/// assert_eq!(out, b"__label__sea shark\n");
/// # Ok(())
/// # }
/// ```
pub fn write_item(mut out: impl Write, name: &str, format: Format, number: usize, item: &Item) -> Result<()> {
    let mut line = Vec::new();
    match format {
        Format::FastText => {
            let unfit = |word: &str| word.is_empty() || word.contains(|c: char| c.is_ascii_whitespace());
            let keyword_fits = |word: &&String| unfit(word) || word.starts_with(LABEL);
            if item.tags.is_empty() && item.keywords.is_empty() {
                return Err(blank(number));
            }
            let bad = item.tags.iter().find(|tag| unfit(tag)).or_else(|| item.keywords.iter().find(keyword_fits));
            if let Some(bad) = bad {
                let expected = "keywords and tags without blanks, no keyword that starts with __label__".to_owned();
                return Err(Error::Sample { sample: number, expected, found: format!("{bad:?}") });
            }
            let tags = item.tags.iter().map(|tag| format!("{LABEL}{tag}"));
            line.extend(tags.chain(item.keywords.iter().cloned()).collect::<Vec<_>>().join(" ").into_bytes());
            // At the start of a file it would be taken for the file's; behind a blank it is the keyword's.
            if line.starts_with(BYTE_ORDER_MARK) {
                line.insert(0, b' ');
            }
        }
        #[cfg(feature = "jsonl")]
        Format::JsonLines => super::jsonl::write(item, &mut line),
        Format::LibSvm { .. } | Format::Xc { .. } => {
            let found = "a format of numbers".to_owned();
            return Err(Error::Config { option: "format", expected: "a format of strings for items", found });
        }
    }
    line.push(b'\n');
    out.write_all(&line).map_err(|source| failed(name, source))
}

/// Writes samples as lines of numbers, keywords with value 1: [`Format::LibSvm`] or [`Format::Xc`], which have no place for weights.
/// There are `keywords` keywords and `tags` tags. `out` is called `name` in errors.
///
/// # Errors
/// [`Error::Config`] for a format of strings, see [`write_item`]; [`Error::Sample`] for a sample that would be a blank line; [`Error::Io`].
pub fn write_samples(
    mut out: impl Write,
    name: &str,
    format: Format,
    samples: &Dataset,
    keywords: usize,
    tags: usize,
) -> Result<()> {
    let (first, header) = match format {
        Format::LibSvm { one_based } => (u32::from(one_based), false),
        Format::Xc { one_based } => (u32::from(one_based), true),
        _ => {
            let found = "a format of strings".to_owned();
            return Err(Error::Config { option: "format", expected: "a format of numbers for samples", found });
        }
    };
    if let Some(sample) = (0..samples.len()).find(|&i| samples.keywords(i).is_empty() && samples.tags(i).is_empty()) {
        return Err(blank(sample));
    }
    let mut write = || -> io::Result<()> {
        if header {
            writeln!(out, "{} {keywords} {tags}", samples.len())?;
        }
        for i in 0..samples.len() {
            let labels: Vec<String> = samples.tags(i).iter().map(u32::to_string).collect();
            out.write_all(labels.join(",").as_bytes())?;
            for keyword in samples.keywords(i) {
                write!(out, " {}:1", u64::from(*keyword) + u64::from(first))?;
            }
            out.write_all(b"\n")?;
        }
        Ok(())
    };
    write().map_err(|source| failed(name, source))
}

/// Readers pass blank lines over: the items behind it would be others.
fn blank(sample: usize) -> Error {
    Error::Sample {
        sample,
        expected: "a keyword or a tag, which this format wants on a line".to_owned(),
        found: "neither".to_owned(),
    }
}

fn failed(name: &str, source: io::Error) -> Error {
    Error::Io { path: name.into(), doing: "write", source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Reader;

    fn back(text: &[u8], format: Format) -> Vec<Item> {
        Reader::new(text, format, "-").map(Result::unwrap).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        // The byte-order mark of a first word is not that of the file.
        let items = [Item::of("\u{feff}x", ""), Item::of("shark beach", "sea horror"), Item::of("", "sea"), Item::of("é", "")];
        let formats = [
            Format::FastText,
            #[cfg(feature = "jsonl")]
            Format::JsonLines,
        ];
        for format in formats {
            let mut text = Vec::new();
            for (n, item) in items.iter().enumerate() {
                write_item(&mut text, "-", format, n, item).unwrap();
            }
            assert_eq!(back(&text, format), items);
        }
        let mut samples = Dataset::new();
        for (keywords, tags) in [(&[0, 7][..], &[1][..]), (&[3], &[]), (&[2], &[0, 1])] {
            samples.push(keywords, tags, 1.0).unwrap();
        }
        let expected = [Item::of("0 7", "1"), Item::of("3", ""), Item::of("2", "0 1")];
        for one_based in [false, true] {
            for format in [Format::LibSvm { one_based }, Format::Xc { one_based }] {
                let mut text = Vec::new();
                write_samples(&mut text, "-", format, &samples, 8, 2).unwrap();
                assert_eq!(back(&text, format), expected);
            }
        }
    }

    #[cfg(feature = "jsonl")]
    #[test]
    fn json_lines_keep_everything() {
        let item = Item { id: Some("7\n\"".to_owned()), weight: 0.1, ..Item::of("a b", "c") };
        let mut text = Vec::new();
        write_item(&mut text, "-", Format::JsonLines, 0, &item).unwrap();
        assert_eq!(back(&text, Format::JsonLines), [item]);
    }

    #[test]
    fn what_cannot_stand_in_a_format_is_refused() {
        for (keywords, tags) in [("two words", "a"), ("", "a"), ("__label__x", "a"), ("x", "two words")] {
            let item = Item { keywords: vec![keywords.to_owned()], tags: vec![tags.to_owned()], ..Item::default() };
            let mut text = Vec::new();
            let error = write_item(&mut text, "-", Format::FastText, 4, &item).unwrap_err();
            assert!(matches!(error, Error::Sample { sample: 4, .. }) && text.is_empty(), "{error}");
        }
        let numbers = Format::LibSvm { one_based: false };
        assert!(write_item(Vec::new(), "-", numbers, 0, &Item::default()).is_err());
        let blank = write_item(Vec::new(), "-", Format::FastText, 4, &Item::default()).unwrap_err();
        assert!(matches!(blank, Error::Sample { sample: 4, .. }), "{blank}");
        let mut samples = Dataset::new();
        for keywords in [&[1][..], &[]] {
            samples.push(keywords, &[], 1.0).unwrap();
        }
        let blank = write_samples(Vec::new(), "-", numbers, &samples, 2, 0).unwrap_err();
        assert!(matches!(blank, Error::Sample { sample: 1, .. }), "{blank}");
        assert!(write_samples(Vec::new(), "-", Format::FastText, &Dataset::new(), 0, 0).is_err());
    }
}
