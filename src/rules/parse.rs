//! Rules are read from TOML, with the line of everything that may be at fault.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Others, Rule, Rules, Term};
use crate::error::{Error, Result};

const ENTRIES: &str = "id, any, any_keywords, all, all_keywords, none, none_keywords, aliases, near, near_keywords, parents, \
                       withhold, deprecated";

impl Rules {
    /// Reads rules; `source` names the file in messages. The form is told at the head of [this module](super).
    ///
    /// # Errors
    /// [`Error::Rules`] with the line, for what is not TOML, an unknown entry, a value of another kind, and as [`Rules::new`].
    pub fn parse(text: &str, source: &str) -> Result<Self> {
        let file = File { text, source };
        let table = DeTable::parse(text).map_err(|error| {
            file.fault(error.span().map_or(0, |span| span.start), error.message().to_owned(), "mend the TOML")
        })?;
        let (mut others, mut next_id, mut rules) = (Others::Drop, 0, Vec::new());
        for (key, value) in table.get_ref() {
            match key.get_ref().as_ref() {
                "tags" => rules = file.tags(value)?,
                "others" => {
                    others = match value.get_ref().as_str() {
                        Some("drop") => Others::Drop,
                        Some("keep") => Others::Keep,
                        _ => return Err(file.other(value, "\"drop\" or \"keep\"")),
                    }
                }
                "next_id" => next_id = file.id(value)?,
                other => return Err(file.unknown(key.span().start, "tags, others, next_id", other)),
            }
        }
        // TOML tables have no order of their own: that of the file is meant.
        rules.sort_by_key(|(start, _)| *start);
        Rules::new(source, rules.into_iter().map(|(_, rule)| rule).collect(), others, next_id)
    }
}

/// A file being read.
struct File<'a> {
    text: &'a str,
    source: &'a str,
}

impl File<'_> {
    fn line(&self, at: usize) -> u64 {
        1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count() as u64
    }

    fn fault(&self, at: usize, problem: String, cure: &'static str) -> Error {
        Error::Rules { source: self.source.to_owned(), line: self.line(at), problem, cure }
    }

    fn unknown(&self, at: usize, expected: &str, found: &str) -> Error {
        self.fault(at, format!("expected one of {expected}; found {found:?}"), "mend its spelling, or take it out")
    }

    /// A value of another kind than `expected`.
    fn other(&self, value: &Spanned<DeValue<'_>>, expected: &str) -> Error {
        let found = match value.get_ref() {
            DeValue::String(text) => format!("{text:?}"),
            DeValue::Integer(number) => number.as_str().to_owned(),
            other => other.type_str().to_owned(),
        };
        self.fault(value.span().start, format!("expected {expected}, found {found}"), "mend the value")
    }

    /// The rules, each with where it starts.
    fn tags(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<(usize, Rule)>> {
        let tables = value.get_ref().as_table().ok_or_else(|| self.other(value, "a table for each tag, [tags.NAME]"))?;
        let rule = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let start = name.span().start;
            let table = value.get_ref().as_table().ok_or_else(|| self.other(value, "a table, [tags.NAME]"))?;
            Ok((start, self.rule(AsRef::<str>::as_ref(name.get_ref()), start, table)?))
        };
        tables.iter().map(rule).collect()
    }

    fn rule(&self, name: &str, start: usize, table: &DeTable<'_>) -> Result<Rule> {
        let mut rule = Rule { name: name.to_owned(), line: self.line(start), ..Rule::default() };
        let mut withholds_all = false;
        for (key, value) in table {
            let terms = match key.get_ref().as_ref() {
                "any" => &mut rule.any.themes,
                "any_keywords" => &mut rule.any.keywords,
                "all" => &mut rule.all.themes,
                "all_keywords" => &mut rule.all.keywords,
                "none" => &mut rule.none.themes,
                "none_keywords" => &mut rule.none.keywords,
                "near" => &mut rule.near.themes,
                "near_keywords" => &mut rule.near.keywords,
                "aliases" => &mut rule.aliases,
                "parents" => &mut rule.parents,
                "id" => {
                    rule.id = Some(self.id(value)?);
                    continue;
                }
                "deprecated" => {
                    rule.deprecated = self.bool(value, "true or false")?;
                    continue;
                }
                "withhold" if value.get_ref().is_array() => &mut rule.withheld,
                "withhold" => {
                    withholds_all = self.bool(value, "true, false, or a list of keywords")?;
                    continue;
                }
                other => return Err(self.unknown(key.span().start, ENTRIES, other)),
            };
            *terms = self.terms(value)?;
        }
        if withholds_all {
            rule.withheld = rule.keywords();
            if rule.withheld.is_empty() {
                let problem = format!("tag {name:?}: expected keywords to withhold, found none in its conditions");
                return Err(self.fault(start, problem, "list them, as in withhold = [\"zombie\"]"));
            }
        }
        Ok(rule)
    }

    fn terms(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<Term>> {
        let list = value.get_ref().as_array().ok_or_else(|| self.other(value, "a list of names"))?;
        let term = |value: &Spanned<DeValue<'_>>| {
            let name = value.get_ref().as_str().ok_or_else(|| self.other(value, "a name in quotes"))?;
            Ok(Term { name: name.to_owned(), line: self.line(value.span().start) })
        };
        list.iter().map(term).collect()
    }

    fn id(&self, value: &Spanned<DeValue<'_>>) -> Result<u32> {
        let number = value.get_ref().as_integer().and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
        number.ok_or_else(|| self.other(value, "a whole number from 0 to 4294967295"))
    }

    fn bool(&self, value: &Spanned<DeValue<'_>>, expected: &str) -> Result<bool> {
        value.get_ref().as_bool().ok_or_else(|| self.other(value, expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
others = "keep"
next_id = 40

[tags.undead]
id = 3
any = ["zombie", "ghost"]
any_keywords = ["undead"]
none = ["genre/Comedy"]
near = ["supernatural"]
aliases = ["living dead"]
parents = ["scary \"thing\""]
withhold = true

[tags."scary \"thing\""]

[tags.apes]
all_keywords = ["ape",
  "city"]
withhold = ["ape"]
deprecated = true
"#;

    #[test]
    fn reads_what_it_writes() {
        let rules = Rules::parse(GOOD, "r.toml").unwrap();
        let names: Vec<_> = rules.rules().iter().map(|rule| (rule.name.as_str(), rule.id, rule.line)).collect();
        assert_eq!(names, [("undead", Some(3), 5), ("scary \"thing\"", Some(40), 15), ("apes", Some(41), 17)]);
        assert_eq!(rules.rules()[0].withheld, [Term { name: "undead".to_owned(), line: 8 }]);
        assert_eq!(rules.rules()[2].all.keywords[1].line, 19);
        let text = rules.to_string();
        let again = Rules::parse(&text, "r.toml").unwrap();
        assert_eq!(again.to_string(), text);
        assert!(text.contains("withhold = [\"undead\"]") && text.contains("next_id = 42"), "{text}");
        assert!(Rules::parse("", "r.toml").unwrap().rules().is_empty());
    }

    #[test]
    fn faults_have_a_line_and_a_cure() {
        for (text, line, wants) in [
            ("tags = 3", 1, "[tags.NAME]"),
            ("[tags.a]\nid = -1", 2, "found -1"),
            ("[tags.a]\nid = 1\n[tags.b]\nid = 1", 3, "that of tag \"a\""),
            ("[tags.a]\n\nany = \"zombie\"", 3, "a list of names"),
            ("[tags.a]\nany = [3]", 2, "a name in quotes"),
            ("[tags.a]\nwitheld = true", 2, "one of id, any"),
            ("[tags.a]\nwithhold = true", 1, "keywords to withhold"),
            ("[tags.a]\nwithhold = [\"k\", \"k\"]", 2, "once"),
            ("[tags.a]\nwithhold = 1", 2, "or a list"),
            ("others = \"maybe\"", 1, "\"keep\""),
            ("\nother = 1", 2, "tags, others, next_id"),
            ("[tags.a]\nany = [\"x\"]\nnone = [\"x\"]", 3, "in any and none"),
            ("[tags.a]\nany = [\"x\"]\nnear = [\n\"x\"]", 4, "in any and near"),
            ("[tags.a]\nany_keywords = [\"x\", \"x\"]", 2, "keyword once"),
            ("[tags.a]\nnone = [\"a\"]", 1, "its own name"),
            ("[tags.a]\naliases = [\"b\"]\n[tags.b]\n", 3, "names tag \"a\" too"),
            ("[tags.a]\nparents = [\"c\"]", 2, "unknown"),
            ("[tags.a]\nparents = [\"c\"]\n[tags.c]\ndeprecated = true", 2, "deprecated"),
            ("[tags.a]\nparents = [\"b\"]\n[tags.b]\n\nparents = [\"c\"]\n[tags.c]\nparents = [\"b\"]", 7, "c < b < c"),
            ("[tags.a]\n[tags.a]", 2, "duplicate"),
            ("[tags.a", 1, ""),
        ] {
            let error = Rules::parse(text, "r.toml").unwrap_err();
            assert!(matches!(&error, Error::Rules { line: found, .. } if *found == line), "{text:?}: {error}");
            assert!(error.to_string().contains(wants), "{text:?}: {error}");
        }
    }
}
