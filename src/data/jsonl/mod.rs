//! Items from JSON Lines:
//!
//! ```json
//! {"id": "tt0073195", "keywords": ["beach", "shark"], "tags": ["sea", "thriller"], "weight": 1.0}
//! ```
//!
//! Only `keywords` must be there. `id` is a string or a number; `weight` is 1 unless given; other fields are ignored. Blank lines
//! and a byte-order mark at the start are skipped.

mod line;

use std::io::{self, BufRead, Read};
use std::path::PathBuf;

use super::Item;
use crate::error::{Error, Result};

/// The longest line that is read, in bytes.
pub const MAX_LINE: usize = 16 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reads items from lines.
///
/// After an [`Error::Data`] the next call goes on with the next line. After an [`Error::Io`] there is nothing more.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    source: String,
    /// The line of the last item, counted from 1.
    line: u64,
    buffer: Vec<u8>,
    done: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads from `input`, which errors call `source`: a file's name, or `-` for standard input.
    pub fn new(input: R, source: impl Into<String>) -> Self {
        Reader { input, source: source.into(), line: 0, buffer: Vec::new(), done: false }
    }

    /// The line that was read last, without its end and a byte-order mark.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        let is_first = self.line == 1;
        self.buffer.strip_prefix(BYTE_ORDER_MARK).filter(|_| is_first).unwrap_or(&self.buffer)
    }

    /// An error about this file at a line.
    fn error(&self, fault: line::Fault) -> Error {
        let line::Fault { column, expected, found } = fault;
        Error::Data { source: self.source.clone(), line: self.line, column, expected, found }
    }

    fn read_item(&mut self) -> Option<Result<Item>> {
        loop {
            match self.read_line() {
                Ok(Line::End) => return None,
                Ok(Line::Whole) => {}
                Ok(Line::TooLong) => {
                    return Some(Err(self.error(line::Fault {
                        column: 0,
                        expected: format!("a line of at most {MAX_LINE} bytes"),
                        found: "a longer one".to_owned(),
                    })));
                }
                Err(source) => {
                    self.done = true;
                    return Some(Err(Error::Io { path: PathBuf::from(&self.source), doing: "read", source }));
                }
            }
            let text = self.text();
            let skipped = self.buffer.len() - text.len();
            if text.trim_ascii().is_empty() {
                continue;
            }
            return Some(line::parse(text).map_err(|mut fault| {
                fault.column += skipped as u64;
                self.error(fault)
            }));
        }
    }

    /// Reads a line, without its end, into the buffer. Of a line that is too long, the rest is passed over.
    fn read_line(&mut self) -> io::Result<Line> {
        self.buffer.clear();
        // One byte more for the line's end.
        let limit = MAX_LINE as u64 + 1;
        if (&mut self.input).take(limit).read_until(b'\n', &mut self.buffer)? == 0 {
            return Ok(Line::End);
        }
        self.line += 1;
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
        } else if self.buffer.len() > MAX_LINE {
            self.input.skip_until(b'\n')?;
            return Ok(Line::TooLong);
        }
        Ok(Line::Whole)
    }
}

/// The line of an item, with its end: a [`Reader`] reads the same item from it.
#[must_use]
pub fn line(item: &Item) -> String {
    let mut fields = serde_json::Map::new();
    if let Some(id) = &item.id {
        fields.insert("id".to_owned(), id.as_str().into());
    }
    fields.insert("keywords".to_owned(), item.keywords.as_slice().into());
    fields.insert("tags".to_owned(), item.tags.as_slice().into());
    if item.weight != 1.0 {
        fields.insert("weight".to_owned(), item.weight.into());
    }
    format!("{}\n", serde_json::Value::Object(fields))
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done { None } else { self.read_item() }
    }
}

enum Line {
    Whole,
    TooLong,
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<Result<Item>> {
        Reader::new(text, "items.jsonl").collect()
    }

    #[test]
    fn lines_become_items() {
        let text = "\u{FEFF}{\"id\":\"a\",\"title\":{\"x\":[1]},\"keywords\":[\"sea\",\"s\\u00e9a\"],\"tags\":[\"t\"],\"weight\":2}\r\n\
                    \n  \t\r\n{\"keywords\":[],\"id\":17}\n{\"id\":null,\"keywords\":[\"x\"],\"weight\":0.25}";
        let items: Vec<Item> = read(text.as_bytes()).into_iter().map(Result::unwrap).collect();
        assert_eq!(items[0], Item { id: Some("a".to_owned()), weight: 2.0, ..Item::of("sea séa", "t") });
        assert_eq!(items[1], Item { id: Some("17".to_owned()), ..Item::of("", "") });
        assert_eq!(items[2], Item { weight: 0.25, ..Item::of("x", "") });
        assert_eq!(items.len(), 3);
        assert!(read(b"").is_empty() && read(b"\n \n").is_empty() && read(BYTE_ORDER_MARK).is_empty());
    }

    #[test]
    fn what_is_written_is_read() {
        let odd = Item { id: Some("\"\\\n\u{1}é".to_owned()), weight: 0.1, ..Item::of("\" \\ é🦀", "t/\u{7f}") };
        let items = [odd, Item::of("", ""), Item { weight: 1e-38, ..Item::of("a b a", "t") }];
        let text: String = items.iter().map(line).collect();
        let again: Vec<Item> = read(text.as_bytes()).into_iter().map(Result::unwrap).collect();
        assert_eq!(again, items);
        assert_eq!(line(&items[1]), "{\"keywords\":[],\"tags\":[]}\n");
    }

    #[test]
    fn a_bad_line_is_placed_and_the_next_one_read() {
        let mut reader =
            Reader::new(&b"\n{\"keywords\":[\"a\"]}\n{\"keywords\":[7]}\n{\"keywords\":[\"b\"]}"[..], "items.jsonl");
        assert!(reader.next().unwrap().is_ok());
        assert_eq!((reader.line, reader.text()), (2, &b"{\"keywords\":[\"a\"]}"[..]));
        let error = reader.next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "items.jsonl:3:14: expected a string, found the number 7");
        assert_eq!(reader.next().unwrap().unwrap(), Item::of("b", ""));
        assert!(reader.next().is_none());
    }

    #[test]
    fn columns_count_the_byte_order_mark() {
        let results = read(b"\xEF\xBB\xBF{\"keywords\":7}\n{\"keywords\":7}");
        let columns: Vec<u64> = results
            .into_iter()
            .map(|result| match result {
                Err(Error::Data { column, .. }) => column,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(columns, [16, 13]);
    }

    #[test]
    fn endless_lines_are_passed_over() {
        let endless = io::repeat(b'x').take(3 * MAX_LINE as u64);
        let text = endless.chain(&b"\n{\"keywords\":[\"a\"]}\n"[..]);
        let mut reader = Reader::new(io::BufReader::new(text), "-");
        let error = reader.next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), format!("-:1: expected a line of at most {MAX_LINE} bytes, found a longer one"));
        assert!(reader.buffer.capacity() <= 2 * MAX_LINE + 2);
        assert_eq!(reader.next().unwrap().unwrap(), Item::of("a", ""));
    }

    #[test]
    fn the_longest_line_is_read() {
        let object = "{\"keywords\":[]}";
        for (spaces, fits) in [(MAX_LINE - object.len(), true), (MAX_LINE - object.len() + 1, false)] {
            for end in ["\n", ""] {
                let results = read(format!("{object}{}{end}", " ".repeat(spaces)).as_bytes());
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
        let mut reader = Reader::new(io::BufReader::new(Failing), "items.jsonl.gz");
        let error = reader.next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "cannot read: items.jsonl.gz: the disk is gone");
        assert!(reader.next().is_none());
    }
}
