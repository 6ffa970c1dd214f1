//! Lines of words.

use super::text;
use tagomatic::data::Format;

pub fn run(input: &[u8]) {
    let Some((&longest, text)) = input.split_first() else { return };
    for item in text::read(text, Format::FastText, usize::from(longest)) {
        text::write_and_read(&item, Format::FastText);
        text::write_and_read(&item, Format::JsonLines);
    }
}
