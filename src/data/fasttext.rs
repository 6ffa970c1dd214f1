//! Items from lines of words, as of fastText:
//!
//! ```text
//! __label__sea __label__horror shark beach summer
//! ```
//!
//! Words stand between ASCII blanks. Those that start with `__label__` are tags, wherever they stand; the others are keywords.

use super::Item;
use super::lines::{Fault, utf8, words};

/// What tells a tag from a keyword.
pub(super) const LABEL: &str = "__label__";

/// The item on a line.
pub(super) fn parse(line: &[u8]) -> Result<Item, Fault> {
    let mut item = Item::default();
    for (at, word) in words(utf8(line)?) {
        match word.strip_prefix(LABEL) {
            Some("") => return Err(Fault::at(at, "a tag, as in __label__sea", "`__label__`")),
            Some(tag) => item.tags.push(tag.to_owned()),
            None => item.keywords.push(word.to_owned()),
        }
    }
    Ok(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_keywords_and_tags() {
        let item = parse("__label__sea shark \tbeach __label__horror é\r".as_bytes()).unwrap();
        assert_eq!(item, Item::of("shark beach é", "sea horror"));
        assert_eq!(parse(b"").unwrap(), Item::of("", ""));
        assert_eq!(parse(b"a __label__ b").unwrap_err(), Fault::at(2, "a tag, as in __label__sea", "`__label__`"));
        assert_eq!(parse(b"a \xFF").unwrap_err().column, 3);
    }
}
