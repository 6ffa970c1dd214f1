//! Lines of a stream, of bounded length, and what can be wrong with one.

use std::io::{self, BufRead, Read};

pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// How compressed data begin, in what format, and how the name of a file ends that is read as such.
const COMPRESSED: [(&[u8], &str, &str); 2] = [(b"\x1F\x8B", "gzip", ".gz"), (b"\x28\xB5\x2F\xFD", "zstd", ".zst")];

/// What is wrong with a line.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    /// In bytes, counted from 1; 0 when the whole line is meant.
    pub(super) column: u64,
    pub(super) expected: String,
    pub(super) found: String,
}

impl Fault {
    /// A fault of the whole line.
    pub(super) fn of_line(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Fault { column: 0, expected: expected.into(), found: found.into() }
    }

    /// A fault at byte `at` of the line, counted from 0.
    pub(super) fn at(at: usize, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Fault { column: at as u64 + 1, expected: expected.into(), found: found.into() }
    }
}

/// The text of a line, or where it is no UTF-8.
pub(super) fn utf8(line: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(line).map_err(|error| {
        let at = error.valid_up_to();
        let found = format!("the byte 0x{:02X}", line[at]);
        let compressed = COMPRESSED.iter().find(|(magic, ..)| line.starts_with(magic));
        let cure = compressed.map_or_else(String::new, |(_, format, ending)| {
            format!(", which looks like {format}: let the name of the file end in {ending}, or decompress what is piped in")
        });
        Fault::at(at, "UTF-8", found + &cure)
    })
}

/// The words of a line with the place of each, in bytes counted from 0: what stands between ASCII blanks.
pub(super) fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    line.split_ascii_whitespace().map(|word| (word.as_ptr() as usize - line.as_ptr() as usize, word))
}

/// At most the first characters of a word, for an error.
pub(super) fn excerpt(word: &str) -> String {
    const SHOWN: usize = 40;
    let shown: String = word.chars().take(SHOWN).collect();
    let dots = if shown.len() < word.len() { "..." } else { "" };
    format!("`{shown}{dots}`")
}

/// Reads lines. A byte-order mark at the start is skipped.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: R,
    /// The longest line that is read, in bytes.
    pub(super) max: usize,
    /// The line in the buffer, counted from 1.
    pub(super) number: u64,
    buffer: Vec<u8>,
    /// Bytes of the line in front of its text.
    pub(super) skipped: usize,
}

/// What [`Lines::advance`] came to.
pub(super) enum Line {
    Whole,
    /// Longer than [`Lines::max`]; the rest of it was passed over.
    TooLong,
    End,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R, max: usize) -> Self {
        Lines { input, max, number: 0, buffer: Vec::new(), skipped: 0 }
    }

    /// Reads the next line into the buffer, without its end.
    pub(super) fn advance(&mut self) -> io::Result<Line> {
        self.buffer.clear();
        self.skipped = 0;
        // One byte more for the line's end.
        let limit = (self.max as u64).saturating_add(1);
        if (&mut self.input).take(limit).read_until(b'\n', &mut self.buffer)? == 0 {
            return Ok(Line::End);
        }
        self.number += 1;
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
        } else if self.buffer.len() > self.max {
            self.input.skip_until(b'\n')?;
            return Ok(Line::TooLong);
        }
        if self.number == 1 && self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.skipped = BYTE_ORDER_MARK.len();
        }
        Ok(Line::Whole)
    }

    /// The line in the buffer.
    pub(super) fn text(&self) -> &[u8] {
        &self.buffer[self.skipped..]
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}
