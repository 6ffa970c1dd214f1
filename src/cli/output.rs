//! Results on standard output, messages on standard error.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use tagomatic::Tagger;

use super::failure::{Failure, Result};

/// Writes to standard output, at once.
pub(super) fn print(bytes: impl AsRef<[u8]>) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes.as_ref()).and_then(|()| stdout.flush()).map_err(|error| Failure::output(&error))
}

/// Writes results to standard error, where standard output takes something else.
pub(super) fn print_aside(results: &str) {
    let _ = io::stderr().write_all(results.as_bytes());
}

/// A JSON document on a line of its own.
pub(super) fn json(document: &impl Serialize) -> Result<String> {
    serde_json::to_string(document)
        .map(|text| text + "\n")
        .map_err(|error| Failure::Work(format!("cannot write JSON: {error}")))
}

/// Whether messages are seen on a terminal as they come.
pub(super) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// A message for people. If nobody can read it, nothing can be done about it.
pub(super) fn message(text: impl Display) {
    let _ = writeln!(io::stderr(), "tagomatic: {text}");
}

/// Values as a row of bars, at most 60: of longer rows a part is shown, evenly spaced, the first and the last value among it.
pub(super) fn sparkline(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const WIDTH: usize = 60;
    let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(*x), high.max(*x)));
    let bar = |value: f64| {
        let height = if high > low { (value - low) / (high - low) } else { 0.0 };
        BARS[((height * BARS.len() as f64) as usize).min(BARS.len() - 1)]
    };
    let width = values.len().min(WIDTH);
    let place = |column: usize| if width > 1 { column * (values.len() - 1) / (width - 1) } else { 0 };
    (0..width).map(|column| bar(values[place(column)])).collect()
}

/// Lines with a name and a value each, the values in a column.
pub(super) fn list<N: AsRef<str>, V: Display>(rows: &[(N, V)]) -> String {
    let width = rows.iter().map(|(name, _)| width(name.as_ref())).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in rows {
        let _ = writeln!(text, "{}  {value}", left(name.as_ref(), width));
    }
    text
}

/// A table: the first column is text, the others are numbers.
pub(super) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let header = header.map(str::to_owned);
    let rows = || std::iter::once(&header).chain(rows);
    let widths: [usize; N] = std::array::from_fn(|i| rows().map(|row| width(&row[i])).max().unwrap_or(0));
    let mut text = String::new();
    for row in rows() {
        for (i, (cell, &room)) in row.iter().zip(&widths).enumerate() {
            match i {
                0 => text.push_str(&left(cell, room)),
                _ => text.extend(["  ", &" ".repeat(room - width(cell)), cell]),
            }
        }
        text.push('\n');
    }
    text
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn left(text: &str, room: usize) -> String {
    format!("{text}{}", " ".repeat(room.saturating_sub(width(text))))
}

/// A measure, or a dash where it is undefined.
pub(super) fn measure(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"))
}

/// The hash of a model's scores that is the same on every machine, in 16 hexadecimal digits.
pub(super) fn signature(tagger: &Tagger) -> Result<String> {
    Ok(format!("{:016x}", tagger.signature()?))
}

/// A number with a comma at every thousand.
pub(super) fn count(n: impl TryInto<u64>) -> String {
    let digits = n.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Those rows whose count is not zero.
pub(super) fn counts(rows: &[(&'static str, u64)]) -> Vec<(&'static str, String)> {
    rows.iter().filter(|(_, n)| *n > 0).map(|(name, n)| (*name, count(*n))).collect()
}

/// A size for people.
pub(super) fn size(bytes: usize) -> String {
    match bytes {
        0..10_000 => format!("{} bytes", count(bytes)),
        10_000..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Text from outside on one line of a terminal: control characters are shown by their escapes.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() { plain.extend(c.escape_default()) } else { plain.push(c) }
    }
    Cow::Owned(plain)
}

/// A name from outside in a table or a list, on one line of a terminal: of a long one the beginning.
pub(super) fn name(text: &str) -> Cow<'_, str> {
    beginning(text, 60)
}

/// As [`plain`], but of more characters than `most` only these.
pub(super) fn beginning(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}...", plain(&text[..end]))),
        None => plain(text),
    }
}

/// Names from outside, apart by commas. Those in which that would not be seen are in quotes.
pub(super) fn names(names: &[&str]) -> String {
    let is_plain = |c: char| c != ',' && c != '"' && !c.is_whitespace();
    let quoted = |name: &&str| {
        if !name.is_empty() && name.chars().all(is_plain) { plain(name).into_owned() } else { format!("{name:?}") }
    };
    names.iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// The types of a model's weights.
pub(super) fn weights(model: &tagomatic::Model) -> String {
    let [first, output] = [model.weights().w1, model.weights().w2].map(|matrix| matrix.weight_type());
    if first == output { first.to_string() } else { format!("{first} (first layer), {output} (output layer)") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([9_999, 12_300, 2_540_000].map(size), ["9,999 bytes", "12 kB", "2.5 MB"]);
        assert_eq!((measure(None), measure(Some(0.12345))), ("-".to_owned(), "0.1235".to_owned()));
    }

    #[test]
    fn rows_of_bars() {
        assert_eq!(sparkline(&[0.0, 0.5, 1.0]), "▁▅█");
        assert_eq!((sparkline(&[]), sparkline(&[2.0, 2.0])), (String::new(), "▁▁".to_owned()));
        let long: Vec<f64> = (0..1000).map(f64::from).collect();
        assert_eq!((sparkline(&long).chars().count(), sparkline(&long).chars().last()), (60, Some('█')));
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [["séa".to_owned(), "1".to_owned()], ["x".to_owned(), "20".to_owned()]];
        assert_eq!(table(["tag", "n"], &rows), "tag   n\nséa   1\nx    20\n");
        assert_eq!(list(&[("a", 1), ("long", 2)]), "a     1\nlong  2\n");
        assert_eq!(plain("a\tb\u{1b}[1m"), "a\\tb\\u{1b}[1m");
        assert_eq!((name("a\tb"), name(&"é".repeat(60))), ("a\\tb".into(), "é".repeat(60).into()));
        assert_eq!(names(&["sea", "", "sci-fi, old", "a\tb", "é"]), "sea, \"\", \"sci-fi, old\", \"a\\tb\", é");
        assert_eq!(name(&"é".repeat(1_000_000)), "é".repeat(60) + "...");
    }
}
