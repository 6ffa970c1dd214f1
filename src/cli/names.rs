//! Names of tags and keywords, as they are typed.

use std::fmt::Display;

use tagomatic::Tags;

use super::failure::{Failure, Result};

/// The keywords of an item.
#[derive(clap::Args)]
pub(super) struct Keywords {
    /// The keywords of an item, apart by commas
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', value_parser = trimmed)]
    keywords: Vec<String>,
    /// One keyword of it as it stands, commas and blanks included; may be repeated, beside --keywords too
    #[arg(long, value_name = "K")]
    keyword: Vec<String>,
}

fn trimmed(text: &str) -> Result<String, String> {
    Ok(text.trim().to_owned())
}

impl Keywords {
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.keywords.iter().chain(&self.keyword).map(String::as_str)
    }
}

/// The index of the tag of that name, which `argument` gives; `tags` are those of `owner`.
pub(super) fn tag(argument: &str, name: &str, tags: &Tags, owner: impl Display) -> Result<usize> {
    let unknown = || Failure::Usage(format!("{argument}: expected a tag of {owner}, found {}", found(name, tags)));
    tags.get(name).ok_or_else(unknown)
}

/// As [`tag`], of several names; all that are unknown are told.
pub(super) fn tags(argument: &str, names: &[String], tags: &Tags, owner: impl Display) -> Result<Vec<usize>> {
    let unknown: Vec<String> = names.iter().filter(|name| tags.get(name).is_none()).map(|name| found(name, tags)).collect();
    if unknown.is_empty() {
        return Ok(names.iter().filter_map(|name| tags.get(name)).collect());
    }
    Err(Failure::Usage(format!("{argument}: expected tags of {owner}, found {}", unknown.join(", "))))
}

/// An unknown name, and the tag that may be meant.
fn found(name: &str, tags: &Tags) -> String {
    match nearest(name, tags.iter().map(|tag| tag.name.as_str())) {
        Some(known) => format!("{name:?} (is {known:?} meant?)"),
        None => format!("{name:?}"),
    }
}

/// The first of the names that are nearest to this one, if it is near: case does not count, and a letter or two may differ.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const NEAR: usize = 2;
    let letters = |name: &str| name.chars().flat_map(char::to_lowercase).collect::<Vec<char>>();
    let wanted = letters(name);
    let distance = |name: &'a str| {
        let found = letters(name);
        // Of names this short nothing would be left.
        let limit = NEAR.min(found.len().min(wanted.len()).saturating_sub(1));
        let is_near = found.len().abs_diff(wanted.len()) <= limit;
        let edits = if is_near { edits(&wanted, &found) } else { usize::MAX };
        (edits <= limit).then_some((edits, name))
    };
    names.filter_map(distance).min_by_key(|(edits, _)| *edits).map(|(_, name)| name)
}

/// Letters to insert, remove or replace so that one becomes the other.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_meant() {
        let names = || ["zombie", "Zombies", "war", "Science Fiction", "x"].into_iter();
        for (typed, expected) in [
            ("zombi", Some("zombie")),
            ("ZOMBIES", Some("Zombies")),
            ("zmobie", Some("zombie")),
            ("science fiction", Some("Science Fiction")),
            ("wra", Some("war")),
            ("peace", None),
            ("y", None),
            ("X", Some("x")),
            ("", None),
        ] {
            assert_eq!(nearest(typed, names()), expected, "{typed:?}");
        }
    }

    #[test]
    fn edits_are_counted() {
        let count = |a: &str, b: &str| edits(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        assert_eq!([count("kitten", "sitting"), count("", "ab"), count("ab", ""), count("é", "é")], [3, 2, 2, 0]);
    }
}
