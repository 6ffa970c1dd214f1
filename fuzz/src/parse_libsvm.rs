//! Lines of numbers, with and without a first line of sizes.

use super::text;
use tagomatic::data::Format;

pub fn run(input: &[u8]) {
    let Some((&options, text)) = input.split_first() else { return };
    let one_based = options & 1 == 1;
    let format = if options & 2 == 0 { Format::LibSvm { one_based } } else { Format::Xc { one_based } };
    for item in text::read(text, format, 16 + usize::from(options)) {
        for number in item.keywords.iter().chain(&item.tags) {
            let value: i64 = number.parse().expect("a number in decimal");
            assert_eq!(value.to_string(), *number);
        }
    }
}
