//! Items from a stream, in any of the formats.

use std::io::BufRead;
use std::path::PathBuf;

#[cfg(feature = "jsonl")]
use super::jsonl;
use super::libsvm::{Bounds, Sizes};
use super::lines::{Fault, Line, Lines};
use super::{Item, fasttext, libsvm};
use crate::error::{Error, Result};

/// The longest line that is read unless told otherwise, in bytes.
pub const MAX_LINE: usize = 16 << 20;

/// How items stand in a file: each on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// `{"id": "1", "keywords": ["shark", "beach"], "tags": ["sea"], "weight": 1.0}`, of which only `keywords` must be there. `id` is a
    /// string or a number; other fields are ignored.
    #[cfg(feature = "jsonl")]
    JsonLines,
    /// `3,17 5:1 92:1`: labels, then indices with values. Keywords are indices counted from 0, tags are labels, both in decimal; an
    /// index is a keyword if its value is above 0. What follows a `#` is left out.
    LibSvm {
        /// Whether the file counts indices from 1.
        one_based: bool,
    },
    /// The same after a line with the numbers of items, indices and labels, which bound what follows: the files of the Extreme
    /// Classification Repository. A blank line is an item without labels and indices.
    Xc {
        /// Whether the file counts indices from 1.
        one_based: bool,
    },
    /// `__label__sea shark beach`: words that start with `__label__` are tags, the others keywords.
    FastText,
}

impl Format {
    fn bounds(self) -> Bounds {
        match self {
            Format::LibSvm { one_based } | Format::Xc { one_based } => Bounds { first: one_based.into(), sizes: None },
            _ => Bounds::default(),
        }
    }
}

/// Reads items from lines. Blank lines are skipped, but for [`Format::Xc`].
///
/// After an [`Error::Data`] the next call goes on with the next line. After an [`Error::Io`] there is nothing more.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::data::{Format, Reader};
///
/// let text = "__label__sea shark beach\n__label__sea __label__horror shark blood\n";
/// for item in Reader::new(text.as_bytes(), Format::FastText, "films") {
///     let item = item?;
///     println!("{:?} {:?}", item.keywords, item.tags);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Reader<R> {
    lines: Lines<R>,
    format: Format,
    source: String,
    /// Of [`Format::Xc`], once read.
    sizes: Option<Sizes>,
    /// Lines with items, those with a fault included.
    items: u64,
    binarized: u64,
    done: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads from `input`, which errors call `source`: a file's name, or `-` for standard input.
    pub fn new(input: R, format: Format, source: impl Into<String>) -> Self {
        let lines = Lines::new(input, MAX_LINE);
        Reader { lines, format, source: source.into(), sizes: None, items: 0, binarized: 0, done: false }
    }

    /// Refuses lines of more than `bytes` bytes. Memory for about twice as many may be needed.
    #[must_use]
    pub fn with_max_line(mut self, bytes: usize) -> Self {
        self.lines.max = bytes;
        self
    }

    /// Values so far that were neither 0 nor 1: they counted as 1 if they were above 0, else as 0.
    #[must_use]
    pub fn binarized(&self) -> u64 {
        self.binarized
    }

    /// The line of the item that was read last, without its end and a byte-order mark.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.lines.text()
    }

    /// The number of that line, counted from 1; 0 before the first.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.lines.number
    }

    fn error(&self, fault: Fault) -> Error {
        let Fault { column, expected, found } = fault;
        Error::Data { source: self.source.clone(), line: self.lines.number, column, expected, found }
    }

    fn read_item(&mut self) -> Option<Result<Item>> {
        loop {
            match self.lines.advance() {
                Ok(Line::End) => return self.end(),
                Ok(Line::Whole) => {}
                Ok(Line::TooLong) => {
                    self.items += 1;
                    let expected = format!("a line of at most {} bytes", self.lines.max);
                    return Some(Err(self.error(Fault::of_line(expected, "a longer one"))));
                }
                Err(source) => {
                    self.done = true;
                    return Some(Err(Error::Io { path: PathBuf::from(&self.source), doing: "read", source }));
                }
            }
            if let Some(item) = self.item().transpose() {
                return Some(item.map_err(|mut fault| {
                    if fault.column > 0 {
                        fault.column += self.lines.skipped as u64;
                    }
                    self.error(fault)
                }));
            }
        }
    }

    /// The item on the line at hand, if there is one.
    fn item(&mut self) -> Result<Option<Item>, Fault> {
        let line = self.lines.text();
        let blank = line.trim_ascii().is_empty();
        let (item, binarized) = match self.format {
            Format::Xc { .. } => {
                let Some(sizes) = self.sizes else {
                    // Without sizes nothing after it can be understood.
                    self.done = true;
                    self.sizes = Some(libsvm::header(line)?);
                    self.done = false;
                    return Ok(None);
                };
                if self.items == sizes.items {
                    if blank {
                        return Ok(None);
                    }
                    self.done = true;
                    return Err(Fault::of_line(format!("the end of the file after {} items", sizes.items), "one more"));
                }
                self.items += 1;
                let bounds = Bounds { sizes: Some((sizes.keywords, sizes.labels)), ..self.format.bounds() };
                libsvm::parse(line, bounds)?
            }
            _ if blank => return Ok(None),
            Format::LibSvm { .. } => libsvm::parse(line, self.format.bounds())?,
            Format::FastText => (fasttext::parse(line)?, 0),
            #[cfg(feature = "jsonl")]
            Format::JsonLines => (jsonl::parse(line)?, 0),
        };
        self.binarized += binarized;
        Ok(Some(item))
    }

    /// Nothing, or what is missing at the end of the stream.
    fn end(&mut self) -> Option<Result<Item>> {
        self.done = true;
        let fault = match (self.format, self.sizes) {
            (Format::Xc { .. }, None) => Fault::of_line("the numbers of items, keywords and labels", "an empty file"),
            (Format::Xc { .. }, Some(sizes)) if self.items < sizes.items => {
                Fault::of_line(format!("{} items, as the first line says", sizes.items), format!("{}", self.items))
            }
            _ => return None,
        };
        Some(Err(self.error(fault)))
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done { None } else { self.read_item() }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};

    use super::*;

    fn read(text: &[u8], format: Format) -> Vec<Result<Item>> {
        Reader::new(text, format, "items").collect()
    }

    fn messages(text: &str, format: Format) -> Vec<String> {
        read(text.as_bytes(), format).into_iter().filter_map(|item| item.err().map(|error| error.to_string())).collect()
    }

    #[cfg(feature = "jsonl")]
    #[test]
    fn json_lines_become_items() {
        let text = "\u{FEFF}{\"id\":\"a\",\"title\":{\"x\":[1]},\"keywords\":[\"sea\",\"s\\u00e9a\"],\"tags\":[\"t\"],\"weight\":2}\r\n\
                    \n  \t\r\n{\"keywords\":[],\"id\":17}\n{\"id\":null,\"keywords\":[\"x\"],\"weight\":0.25}";
        let items: Vec<Item> = read(text.as_bytes(), Format::JsonLines).into_iter().map(Result::unwrap).collect();
        assert_eq!(items[0], Item { id: Some("a".to_owned()), weight: 2.0, ..Item::of("sea séa", "t") });
        assert_eq!(items[1], Item { id: Some("17".to_owned()), ..Item::of("", "") });
        assert_eq!(items[2], Item { weight: 0.25, ..Item::of("x", "") });
        assert_eq!(items.len(), 3);
        for nothing in [&b""[..], b"\n \n", b"\xEF\xBB\xBF"] {
            assert!(read(nothing, Format::JsonLines).is_empty());
        }
    }

    #[cfg(feature = "jsonl")]
    #[test]
    fn a_bad_line_is_placed_and_the_next_one_read() {
        let text = "\n{\"keywords\":[\"a\"]}\n{\"keywords\":[7]}\n{\"keywords\":[\"b\"]}";
        let mut reader = Reader::new(text.as_bytes(), Format::JsonLines, "items.jsonl");
        assert_eq!(reader.line(), 0);
        assert!(reader.next().unwrap().is_ok());
        assert_eq!(reader.line(), 2);
        let error = reader.next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "items.jsonl:3:14: expected a string, found the number 7");
        assert_eq!(reader.next().unwrap().unwrap(), Item::of("b", ""));
        assert!(reader.next().is_none());
    }

    #[cfg(feature = "jsonl")]
    #[test]
    fn columns_count_the_byte_order_mark() {
        let found = messages("\u{FEFF}{\"keywords\":7}\n{\"keywords\":7}", Format::JsonLines);
        assert!(found[0].starts_with("items:1:16: ") && found[1].starts_with("items:2:13: "), "{found:?}");
    }

    #[test]
    fn the_byte_order_mark_is_of_the_first_line_alone() {
        let mut reader = Reader::new(&b"\xEF\xBB\xBFabc\nabcde\n"[..], Format::FastText, "-").with_max_line(6);
        assert_eq!((reader.next().unwrap().unwrap(), reader.text()), (Item::of("abc", ""), &b"abc"[..]));
        assert_eq!((reader.next().unwrap().unwrap(), reader.text()), (Item::of("abcde", ""), &b"abcde"[..]));
        assert!(reader.next().is_none() && reader.text().is_empty());
        let mut reader = Reader::new(&b"\xEF\xBB\xBFabc"[..], Format::FastText, "-");
        assert!(reader.next().unwrap().is_ok() && reader.next().is_none() && reader.text().is_empty());
    }

    #[test]
    fn lines_of_numbers_and_of_words_become_items() {
        let mut reader = Reader::new(&b"1 5:1 6:2.5\n\n 7:1\n"[..], Format::LibSvm { one_based: false }, "items");
        let items: Vec<Item> = reader.by_ref().map(Result::unwrap).collect();
        assert_eq!((items, reader.binarized()), (vec![Item::of("5 6", "1"), Item::of("7", "")], 1));
        let items = read(b"__label__sea shark\n\nbeach", Format::FastText);
        let items: Vec<Item> = items.into_iter().map(Result::unwrap).collect();
        assert_eq!(items, [Item::of("shark", "sea"), Item::of("beach", "")]);
    }

    #[test]
    fn the_first_line_of_the_repository_bounds_the_others() {
        let format = Format::Xc { one_based: false };
        let items = read(b"3 10 4\n0,3 9:1\n\n 1:1\n\n", format);
        let items: Vec<Item> = items.into_iter().map(Result::unwrap).collect();
        assert_eq!(items, [Item::of("9", "0 3"), Item::of("", ""), Item::of("1", "")]);
        let cases: &[(&str, &[&str])] = &[
            ("", &["items:0: expected the numbers of items, keywords and labels, found an empty file"]),
            (
                "1,2 3:1\n1 2:1\n",
                &["items:1:1: expected the numbers of items, keywords and labels, as in `4880 1836 159`, found `1,2`"],
            ),
            ("2 10 4\n1 2:1\n", &["items:2: expected 2 items, as the first line says, found 1"]),
            ("1 10 4\n1 2:1\n1 3:1\n1 4:1", &["items:3: expected the end of the file after 1 items, found one more"]),
            ("1 10 4\n4 2:1\n", &["items:2:1: expected labels from 0 to 3, separated by commas, found `4`"]),
        ];
        for (text, expected) in cases {
            assert_eq!(&messages(text, format), expected, "{text}");
        }
    }

    #[test]
    fn endless_lines_are_passed_over() {
        let endless = io::repeat(b'x').take(3 * MAX_LINE as u64);
        let mut reader = Reader::new(io::BufReader::new(endless.chain(&b"\na"[..])), Format::FastText, "-");
        let error = reader.next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), format!("-:1: expected a line of at most {MAX_LINE} bytes, found a longer one"));
        assert!(reader.lines.capacity() <= 2 * MAX_LINE + 2);
        assert_eq!(reader.next().unwrap().unwrap(), Item::of("a", ""));
    }

    #[test]
    fn the_longest_line_is_read() {
        for (letters, fits) in [(100, true), (101, false)] {
            for end in ["\n", ""] {
                let text = "x".repeat(letters) + end;
                let results: Vec<_> = Reader::new(text.as_bytes(), Format::FastText, "-").with_max_line(100).collect();
                assert_eq!((results.len(), results[0].is_ok()), (1, fits));
            }
        }
    }

    #[test]
    fn a_failing_source_ends_the_stream() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk is gone"))
            }
        }
        let mut reader = Reader::new(io::BufReader::new(Failing), Format::FastText, "items.txt.gz");
        let error = reader.next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "cannot read: items.txt.gz: the disk is gone");
        assert!(reader.next().is_none());
    }
}
