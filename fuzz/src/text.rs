//! Lines of any bytes as items.

use std::io::{BufReader, Read};

use tagomatic::Error;
use tagomatic::data::{Format, Item, Reader, write_item};

/// Reads all items. Faults have their place, and none is found where the same bytes come in other portions.
pub fn read(text: &[u8], format: Format, longest: usize) -> Vec<Item> {
    let whole = outcomes(Reader::new(text, format, "items").with_max_line(longest), text);
    let portions = Reader::new(BufReader::with_capacity(3, Dribble(text)), format, "items").with_max_line(longest);
    let portions = outcomes(portions, text);
    assert_eq!(whole, portions);
    whole.into_iter().filter_map(Result::ok).collect()
}

/// A stream that gives a byte at a time.
struct Dribble<'a>(&'a [u8]);

impl Read for Dribble<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let length = bytes.len().min(1);
        self.0.read(&mut bytes[..length])
    }
}

fn outcomes<R: std::io::BufRead>(reader: Reader<R>, text: &[u8]) -> Vec<Result<Item, String>> {
    let lines = text.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    let outcome = |item: Result<Item, Error>| match item {
        Ok(item) => {
            assert!(item.weight >= 0.0 && item.weight.is_finite());
            Ok(item)
        }
        Err(error) => {
            let Error::Data { line, column, .. } = &error else { panic!("{error:?}") };
            assert!(*line <= lines && *column <= text.len() as u64 + 1, "{error}");
            Err(error.to_string())
        }
    };
    let outcomes: Vec<_> = reader.map(outcome).collect();
    assert!(outcomes.len() as u64 <= lines + 1);
    outcomes
}

/// What is written of an item is read as the same item; if it cannot be written, that is said.
pub fn write_and_read(item: &Item, format: Format) {
    let mut line = Vec::new();
    match write_item(&mut line, "items", format, 0, item) {
        Ok(()) => {
            let mut expected = vec![item.clone()];
            // Formats of words have no place for an id or weight, and blank lines are passed over.
            if format == Format::FastText {
                expected[0] = Item { keywords: item.keywords.clone(), tags: item.tags.clone(), ..Item::default() };
                expected.retain(|item| !(item.keywords.is_empty() && item.tags.is_empty()));
            }
            assert_eq!(read(&line, format, usize::MAX / 4), expected);
        }
        Err(error) => assert!(matches!(error, Error::Sample { .. }), "{error:?}"),
    }
}
