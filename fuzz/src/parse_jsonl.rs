//! JSON Lines.

use super::text;
use tagomatic::data::Format;

pub fn run(input: &[u8]) {
    let Some((&longest, text)) = input.split_first() else { return };
    for item in text::read(text, Format::JsonLines, usize::from(longest) * 4) {
        text::write_and_read(&item, Format::JsonLines);
        text::write_and_read(&item, Format::FastText);
    }
}
