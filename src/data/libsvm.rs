//! Items from lines of numbers, as of LIBSVM and of the Extreme Classification Repository:
//!
//! ```text
//! 3,17 5:1 92:1 1024:1        labels, then index:value
//! 5:1 92:0.5                  no label
//! ```
//!
//! The repository's files start with a line `N K T`: items, indices and labels. A keyword is an index in decimal, counted from 0, and a
//! tag a label in decimal. Items are sets: an index is a keyword of the item if its value is above 0.

use super::Item;
use super::lines::{Fault, excerpt, utf8, words};

/// What a line of numbers can hold.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    /// The index of the first keyword, 0 or 1.
    pub(super) first: u32,
    /// Where the file tells them: numbers of keywords and labels.
    pub(super) sizes: Option<(u64, u64)>,
}

/// The first line of a file of the repository.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sizes {
    pub(super) items: u64,
    pub(super) keywords: u64,
    pub(super) labels: u64,
}

/// The line `N K T`.
pub(super) fn header(line: &[u8]) -> Result<Sizes, Fault> {
    const EXPECTED: &str = "the numbers of items, keywords and labels, as in `4880 1836 159`";
    let text = utf8(line)?;
    let mut numbers = [0; 3];
    let mut rest = words(text);
    for number in &mut numbers {
        let (at, word) = rest.next().ok_or_else(|| Fault::at(text.len(), EXPECTED, "the end of the line"))?;
        *number = word.parse().map_err(|_| Fault::at(at, EXPECTED, excerpt(word)))?;
    }
    if let Some((at, word)) = rest.next() {
        return Err(Fault::at(at, "the end of the line after three numbers", excerpt(word)));
    }
    let [items, keywords, labels] = numbers;
    Ok(Sizes { items, keywords, labels })
}

/// The item on a line, and how many of its values are neither 0 nor 1.
pub(super) fn parse(line: &[u8], bounds: Bounds) -> Result<(Item, u64), Fault> {
    let text = utf8(line)?;
    let (mut item, mut binarized) = (Item::default(), 0);
    let mut words = words(text.split('#').next().unwrap_or_default()).peekable();
    // A line that starts with a blank has no labels.
    if let Some((at, labels)) = words.next_if(|(at, word)| *at == 0 && !word.contains(':')) {
        let mut at = at;
        for label in labels.split(',') {
            item.tags.push(tag(label, bounds).map_err(|(expected, found)| Fault::at(at, expected, found))?);
            at += label.len() + 1;
        }
    }
    for (at, word) in words {
        let fault = |offset: usize, expected: String, found: &str| Fault::at(at + offset, expected, excerpt(found));
        let pair = word.split_once(':');
        let (index, value) = pair.ok_or_else(|| fault(0, "an index and a value, as in 5:1".to_owned(), word))?;
        let number = index.parse().ok().and_then(|index: u32| index.checked_sub(bounds.first));
        let number = number.filter(|number| bounds.sizes.is_none_or(|(keywords, _)| u64::from(*number) < keywords));
        let number = number.ok_or_else(|| {
            let last = bounds
                .sizes
                .map_or(u64::from(u32::MAX), |(keywords, _)| keywords.saturating_add(bounds.first.into()).saturating_sub(1));
            fault(0, format!("an index from {} to {last}", bounds.first), index)
        })?;
        let value = value.parse().ok().filter(|value: &f64| value.is_finite());
        let value = value.ok_or_else(|| fault(index.len() + 1, "a finite value".to_owned(), &word[index.len() + 1..]))?;
        binarized += u64::from(value != 0.0 && value != 1.0);
        if value > 0.0 {
            item.keywords.push(number.to_string());
        }
    }
    Ok((item, binarized))
}

/// The tag of a label, or what was expected and what was found.
fn tag(label: &str, bounds: Bounds) -> Result<String, (String, String)> {
    let number: Option<i64> = label.parse().ok();
    let fits = |number: &i64| bounds.sizes.is_none_or(|(_, labels)| u64::try_from(*number).is_ok_and(|number| number < labels));
    number.filter(fits).map(|number| number.to_string()).ok_or_else(|| {
        let expected = match bounds.sizes {
            Some((_, labels)) => format!("labels from 0 to {}, separated by commas", labels.saturating_sub(1)),
            None => "whole numbers as labels, separated by commas".to_owned(),
        };
        (expected, excerpt(label))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_items() {
        let of = |line: &str, first| parse(line.as_bytes(), Bounds { first, sizes: None }).unwrap();
        assert_eq!(of("3,17 5:1 92:1", 0), (Item::of("5 92", "3 17"), 0));
        assert_eq!(of("3,17 5:1 92:1", 1), (Item::of("4 91", "3 17"), 0));
        assert_eq!(of(" 5:1\t92:0.5 7:0 8:-2  # said by hand", 0), (Item::of("5 92", ""), 2));
        assert_eq!(of("5:1", 0), (Item::of("5", ""), 0));
        assert_eq!(of("+1 1:1\r", 1), (Item::of("0", "1"), 0));
        assert_eq!(of("-1", 1), (Item::of("", "-1"), 0));
        assert_eq!(of("7", 0), (Item::of("", "7"), 0));
    }

    #[test]
    fn faults_are_placed() {
        let sized = Bounds { first: 0, sizes: Some((10, 4)) };
        let endless = Bounds { first: 1, sizes: Some((u64::MAX, 4)) };
        for (line, bounds, column, expected, found) in [
            ("1,x 5:1", Bounds::default(), 3, "whole numbers as labels, separated by commas", "`x`"),
            ("1, 5:1", Bounds::default(), 3, "whole numbers as labels, separated by commas", "``"),
            ("1,4 5:1", sized, 3, "labels from 0 to 3, separated by commas", "`4`"),
            ("1 0:1", endless, 3, "an index from 1 to 18446744073709551614", "`0`"),
            ("1 10:1", sized, 3, "an index from 0 to 9", "`10`"),
            ("1 0:1", Bounds { first: 1, sizes: None }, 3, "an index from 1 to 4294967295", "`0`"),
            ("1 -5:1", Bounds::default(), 3, "an index from 0 to 4294967295", "`-5`"),
            ("1 5:1 6", Bounds::default(), 7, "an index and a value, as in 5:1", "`6`"),
            ("1 5:nan", Bounds::default(), 5, "a finite value", "`nan`"),
            ("1 5:", Bounds::default(), 5, "a finite value", "``"),
            ("1 5:1e999", Bounds::default(), 5, "a finite value", "`1e999`"),
        ] {
            let fault = Fault { column, expected: expected.to_owned(), found: found.to_owned() };
            assert_eq!(parse(line.as_bytes(), bounds).unwrap_err(), fault, "{line}");
        }
        assert_eq!(parse(b"1 5:1 \xFF", Bounds::default()).unwrap_err().column, 7);
    }

    #[test]
    fn the_header_is_three_numbers() {
        assert_eq!(header(b" 4880 1836\t159 ").unwrap(), Sizes { items: 4880, keywords: 1836, labels: 159 });
        for (line, column) in [("", 1), ("1 2", 4), ("1 2 x", 5), ("1 2 3 4", 7), ("-1 2 3", 1)] {
            assert_eq!(header(line.as_bytes()).unwrap_err().column, column, "{line}");
        }
    }

    #[test]
    fn every_damaged_line_is_a_fault_within_it_or_an_item() {
        let line = b"3,17 5:1 92:0.5 1024:1 # x";
        for at in 0..line.len() {
            for byte in 0..=u8::MAX {
                let mut damaged = line.to_vec();
                damaged[at] = byte;
                if let Err(fault) = parse(&damaged, Bounds::default()) {
                    assert!((1..=line.len() as u64 + 1).contains(&fault.column), "{at} {byte}: {fault:?}");
                }
            }
        }
    }
}
