//! Items from JSON Lines:
//!
//! ```json
//! {"id": "tt0073195", "keywords": ["beach", "shark"], "tags": ["sea", "thriller"], "weight": 1.0}
//! ```
//!
//! Only `keywords` must be there. `id` is a string or a number, a whole one below 2^64; `weight` is 1 unless given; other fields are
//! ignored. A fault is told with its place and nature, in plain words.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Unexpected, Visitor};
use serde_json::error::Category;

use super::Item;
use super::lines::{Fault, utf8};

/// The item on a line that is not blank.
pub(super) fn parse(line: &[u8]) -> Result<Item, Fault> {
    let text = utf8(line)?;
    // The derived code would take an array for an object without names.
    let indent = text.len() - text.trim_ascii_start().len();
    if line.get(indent) != Some(&b'{') {
        let expected = "a JSON object, as in {\"keywords\": [\"beach\", \"shark\"]}".to_owned();
        return Err(Fault { column: indent as u64 + 1, expected, found: token(text, indent) });
    }
    match serde_json::from_str(text) {
        Ok(Fields { id: Id(id), keywords, tags, weight: Weight(weight) }) => {
            Ok(Item { id, keywords, tags, weight, ..Item::default() })
        }
        Err(error) => Err(explain(text, &error)),
    }
}

/// Writes the item's object, without the line's end; fields that say nothing are left out.
pub(super) fn write(item: &Item, line: &mut Vec<u8>) {
    let mut object = serde_json::Map::new();
    if let Some(id) = &item.id {
        object.insert("id".to_owned(), id.as_str().into());
    }
    object.insert("keywords".to_owned(), item.keywords.clone().into());
    object.insert("tags".to_owned(), item.tags.clone().into());
    if item.weight != 1.0 {
        object.insert("weight".to_owned(), item.weight.into());
    }
    line.extend(serde_json::Value::Object(object).to_string().into_bytes());
}

#[derive(serde::Deserialize)]
struct Fields {
    #[serde(default)]
    id: Id,
    keywords: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    weight: Weight,
}

const ID: &str = "a string, or a number that keeps its digits: a whole one below 2^64";

/// A string, a number (kept as text), or nothing.
#[derive(Default)]
struct Id(Option<String>);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;

        impl Visitor<'_> for IdVisitor {
            type Value = Id;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(ID)
            }

            fn visit_str<E>(self, id: &str) -> Result<Id, E> {
                Ok(Id(Some(id.to_owned())))
            }

            fn visit_u64<E>(self, id: u64) -> Result<Id, E> {
                Ok(Id(Some(id.to_string())))
            }

            fn visit_i64<E>(self, id: i64) -> Result<Id, E> {
                Ok(Id(Some(id.to_string())))
            }

            fn visit_f64<E: serde::de::Error>(self, id: f64) -> Result<Id, E> {
                // From 2^53 on a float stands for several whole numbers, and two items would have one id.
                if id.abs() >= 9_007_199_254_740_992.0 {
                    return Err(E::invalid_value(Unexpected::Float(id), &self));
                }
                Ok(Id(Some(id.to_string())))
            }

            fn visit_unit<E>(self) -> Result<Id, E> {
                Ok(Id(None))
            }
        }
        deserializer.deserialize_any(IdVisitor)
    }
}

/// A finite `f32` of 0 or more.
struct Weight(f32);

impl Default for Weight {
    fn default() -> Self {
        Weight(1.0)
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WeightVisitor;

        impl Visitor<'_> for WeightVisitor {
            type Value = Weight;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a finite weight of 0 or more")
            }

            // The check stands here and not behind the parser, which knows the column only while it visits the number.
            fn visit_f64<E: serde::de::Error>(self, weight: f64) -> Result<Weight, E> {
                if (0.0..=f64::from(f32::MAX)).contains(&weight) {
                    #[expect(clippy::cast_possible_truncation, reason = "in range; rounding to the nearest f32 is meant")]
                    return Ok(Weight(weight as f32));
                }
                Err(E::invalid_value(Unexpected::Float(weight), &self))
            }

            fn visit_u64<E: serde::de::Error>(self, weight: u64) -> Result<Weight, E> {
                self.visit_f64(weight as f64)
            }

            fn visit_i64<E: serde::de::Error>(self, weight: i64) -> Result<Weight, E> {
                self.visit_f64(weight as f64)
            }
        }
        deserializer.deserialize_f64(WeightVisitor)
    }
}

/// Says what the parser found in terms of the line. Its own words are relied on only for what it expected; where they are not
/// of the usual form they are passed on as they are.
fn explain(text: &str, error: &serde_json::Error) -> Fault {
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    // The last byte that was looked at, counted from 1: the parser's columns are of the end of what it dislikes.
    let end = error.column().clamp(1, text.len());
    let fault =
        |start: usize, expected: &str, found: String| Fault { column: start as u64 + 1, expected: expected.to_owned(), found };
    if error.is_eof() {
        return fault(text.len(), "the rest of the JSON object", "the end of the line".to_owned());
    }
    let start = match message.strip_prefix("invalid type: ") {
        // It stops before, in or behind an array or object that is not wanted: inside it, nothing was read.
        Some(kind) if kind.starts_with("sequence") => last_token(text, end, b'['),
        Some(kind) if kind.starts_with("map") => last_token(text, end, b'{'),
        _ => None,
    };
    let start = start.unwrap_or_else(|| token_at(text, end - 1));
    if let Some(field) = message.strip_prefix("missing field ") {
        return fault(0, &format!("an object with the field {field}"), "one without it".to_owned());
    }
    if let Some(field) = message.strip_prefix("duplicate field ") {
        return fault(start, &format!("the field {field} once"), "it again".to_owned());
    }
    match message.split_once(", expected ") {
        Some((_, "a sequence")) => fault(start, "an array of strings", token(text, start)),
        Some((_, expected)) => fault(start, expected, token(text, start)),
        None if error.classify() == Category::Syntax => match message.strip_prefix("expected ") {
            Some("value") => fault(start, "a JSON value", token(text, start)),
            Some("ident") => {
                // The byte that makes it no `null`, `true` or `false` may be behind it already.
                let start = token_at(text, end.saturating_sub(2));
                fault(start, "a JSON value", token(text, start))
            }
            Some(expected) => fault(start, expected, token(text, start)),
            None if message == "trailing characters" => fault(start, "the end of the line", token(text, start)),
            None => fault(end - 1, "valid JSON", message.to_owned()),
        },
        None => fault(start, "an item", message.to_owned()),
    }
}

/// The start of the token that holds byte `at`.
fn token_at(text: &str, at: usize) -> usize {
    token_starts(text).take_while(|&start| start <= at).last().unwrap_or(at)
}

/// The start of the last token up to byte `at` that begins with `first`.
fn last_token(text: &str, at: usize, first: u8) -> Option<usize> {
    token_starts(text).take_while(|&start| start <= at).filter(|&start| text.as_bytes()[start] == first).last()
}

/// Where JSON tokens, and blanks between them, start. Brackets within strings are none.
fn token_starts(text: &str) -> impl Iterator<Item = usize> {
    let inside = |start: usize| (start < text.len()).then_some(start);
    std::iter::successors(inside(0), move |&start| inside(token_end(text.as_bytes(), start)))
}

/// The end of the token that starts at `start`: a string, a word of letters and digits, or a single character.
fn token_end(bytes: &[u8], start: usize) -> usize {
    let rest = &bytes[start..];
    let length = match rest[0] {
        b'"' => {
            let mut escaped = false;
            let close = rest[1..].iter().position(|&byte| {
                let closes = byte == b'"' && !escaped;
                escaped = byte == b'\\' && !escaped;
                closes
            });
            close.map_or(rest.len(), |close| close + 2)
        }
        byte if in_word(byte) => rest.iter().take_while(|&&byte| in_word(byte)).count(),
        // Not into the middle of a character.
        _ => 1 + rest[1..].iter().take_while(|&&byte| byte & 0xC0 == 0x80).count(),
    };
    start + length
}

fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

/// The token that starts at `start` in words.
fn token(text: &str, start: usize) -> String {
    const SHOWN: usize = 40;
    let Some(&first) = text.as_bytes().get(start) else { return "the end of the line".to_owned() };
    let token = &text[start..token_end(text.as_bytes(), start)];
    let shown: String = token.chars().take(SHOWN).collect();
    let dots = if shown.len() < token.len() { "..." } else { "" };
    match first {
        b'[' => "an array".to_owned(),
        b'{' => "an object".to_owned(),
        b'"' => format!("the string {shown}{dots}"),
        b'0'..=b'9' | b'-' => format!("the number {shown}{dots}"),
        _ => format!("`{shown}{dots}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_placed_and_told_in_plain_words() {
        let long = format!("{{\"keywords\":\"{}\"}}", "x".repeat(100));
        let cases: &[(&str, u64, &str, &str)] = &[
            ("{}", 1, "an object with the field `keywords`", "one without it"),
            ("{\"tags\":[\"a\"]}", 1, "an object with the field `keywords`", "one without it"),
            ("[[\"a\"]]", 1, "a JSON object, as in {\"keywords\": [\"beach\", \"shark\"]}", "an array"),
            ("  hello", 3, "a JSON object, as in {\"keywords\": [\"beach\", \"shark\"]}", "`hello`"),
            ("{\"keywords\":\"a\"}", 13, "an array of strings", "the string \"a\""),
            ("{\"keywords\":{\"a\":1}}", 13, "an array of strings", "an object"),
            ("{\"keywords\":null}", 13, "an array of strings", "`null`"),
            ("{\"keywords\":[\"a\", 12.5]}", 19, "a string", "the number 12.5"),
            ("{\"keywords\":[\"a\",[\"b\"]]}", 18, "a string", "an array"),
            ("{\"keywords\":[\"a\",true]}", 18, "a string", "`true`"),
            ("{\"keywords\":[],\"tags\":[3]}", 24, "a string", "the number 3"),
            ("{\"id\":[1],\"keywords\":[]}", 7, ID, "an array"),
            ("{\"id\":18446744073709551617,\"keywords\":[]}", 7, ID, "the number 18446744073709551617"),
            ("{\"id\":-1e300,\"keywords\":[]}", 7, ID, "the number -1e300"),
            ("{\"weight\":-1,\"keywords\":[]}", 11, "a finite weight of 0 or more", "the number -1"),
            ("{\"weight\":1e39,\"keywords\":[]}", 11, "a finite weight of 0 or more", "the number 1e39"),
            ("{\"weight\":\"1\",\"keywords\":[]}", 11, "a finite weight of 0 or more", "the string \"1\""),
            ("{\"keywords\":[]} x", 17, "the end of the line", "`x`"),
            ("{\"keywords\":[]}{", 16, "the end of the line", "an object"),
            ("{\"keywords\":[\"a\" \"b\"]}", 18, "`,` or `]`", "the string \"b\""),
            ("{\"keywords\" [\"a\"]}", 13, "`:`", "an array"),
            ("{\"keywords\":[\"a\"", 17, "the rest of the JSON object", "the end of the line"),
            ("{\"keywords\":[\"a", 16, "the rest of the JSON object", "the end of the line"),
            ("{\"keywords\":[é]}", 14, "a JSON value", "`é`"),
            ("{\"keywords\":[\"é\",nul]}", 19, "a JSON value", "`nul`"),
            ("{\"keywords\":[],\"keywords\":[]}", 16, "the field `keywords` once", "it again"),
            (&long, 13, "an array of strings", &format!("the string \"{}...", "x".repeat(39))),
        ];
        for &(line, column, expected, found) in cases {
            let fault = Fault { column, expected: expected.to_owned(), found: found.to_owned() };
            assert_eq!(parse(line.as_bytes()).unwrap_err(), fault, "{line}");
        }
    }

    #[test]
    fn other_faults_keep_the_words_of_the_parser() {
        for line in ["{\"keywords\":[\"\\x\"]}", "{\"keywords\":[\"a\tb\"]}", "{\"weight\":1e999,\"keywords\":[]}", "{1:2}"] {
            let fault = parse(line.as_bytes()).unwrap_err();
            assert!(fault.column > 1 && fault.column as usize <= line.len(), "{line}: {fault:?}");
            assert!(!fault.found.is_empty() && !fault.expected.is_empty());
        }
        let deep = format!("{{\"keywords\":[],\"x\":{}", "[".repeat(10_000));
        assert!(parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn invalid_utf8_is_placed() {
        let fault = parse(b"{\"keywords\":[\"\xC3\xA9\xFF\"]}").unwrap_err();
        assert_eq!((fault.column, fault.found.as_str()), (17, "the byte 0xFF"));
    }

    #[test]
    fn every_prefix_of_a_line_is_a_fault_or_an_item() {
        let line =
            "{\"id\":\"\\u00e9\\\"\",\"keywords\":[\"é\",\"b\\\\\"],\"tags\":[\"t\"],\"weight\":0.5,\"x\":{\"y\":[null,true]}}";
        for cut in 1..line.len() {
            let fault = parse(&line.as_bytes()[..cut]).unwrap_err();
            assert!((1..=cut as u64 + 1).contains(&fault.column), "{cut}: {fault:?}");
        }
        assert!(parse(line.as_bytes()).is_ok());
    }

    #[test]
    fn every_damaged_line_is_a_fault_within_it_or_an_item() {
        let line = "{\"id\":-1.5,\"keywords\":[\"é\",\"b\\\\\"],\"weight\":0.5,\"x\":{\"y\":[null,true]}}".as_bytes();
        for at in 0..line.len() {
            for byte in 0..=u8::MAX {
                let mut damaged = line.to_vec();
                damaged[at] = byte;
                if let Err(fault) = parse(&damaged) {
                    assert!((1..=line.len() as u64 + 1).contains(&fault.column), "{at} {byte}: {fault:?}");
                }
            }
        }
    }
}
