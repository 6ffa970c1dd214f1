//! Tag rules: what a tag is, in terms of the themes and keywords of items.
//!
//! A *theme* is a tag as it stands in the data. A rule makes a *tag* of a model out of themes and keywords: any of these, all of those,
//! none of others. An item that has a near-synonym of a tag but not the tag is not held against it: the pair is left out of
//! training. A tag's parents are given to every item that has the tag. Keywords that define a tag can be withheld from its inputs, so
//! that it must be learnt from the others; of a net that all tags share they are left out altogether.
//!
//! [`Rules::parse`] reads them (feature `rules`), [`Display`](fmt::Display) writes them, and a [`Labeller`] applies them to items.
//!
//! # File form
//!
//! TOML. Each tag is a table of its own, all of whose entries may be left out:
//!
//! | entry | value | meaning |
//! | --- | --- | --- |
//! | `id` | number | the tag's stable id; without it the next free one, in the order of the file |
//! | `any`, `any_keywords` | lists of themes, of keywords | an item needs at least one of all these |
//! | `all`, `all_keywords` | the same | and every one of these |
//! | `none`, `none_keywords` | the same | and none of these |
//! | `aliases` | list of themes | other names of the tag in the data: each gives it, unless something in `none` forbids it |
//! | `near`, `near_keywords` | lists | an item with one of these that lacks the tag is no negative of it, nor of its ancestors |
//! | `parents` | list of tags | given to every item with this tag, whatever their own rules say |
//! | `withhold` | `true`, or a list of keywords | all keywords of the rule, or these, are kept from the tag's inputs |
//! | `deprecated` | `true` | the tag is no more; its id stays taken |
//!
//! Without `any`, `any_keywords`, `all` and `all_keywords` the theme with the tag's own name gives it. To rename a tag, change its name, keep
//! its id, and put the old name among its aliases.
//!
//! Beside the table `tags` stand `others = "keep"`, for themes that no rule names to be tags of their own (`"drop"`, the default, leaves
//! them out), and `next_id`, below which no new tag gets its id.

mod label;
#[cfg(feature = "rules")]
mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::error::{Error, Result};
use crate::tags::{Tag, Tags};

pub use label::{Labeller, Withhold};

/// A set of rules without contradictions.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::data::Item;
/// use tagomatic::rules::{Labeller, Others, Rule, Rules, Withhold};
///
/// // Whatever has the tag shark has the tag sea.
/// let rule = |name: &str| Rule { name: name.to_owned(), ..Rule::default() };
/// let shark = Rule { parents: vec!["sea".into()], ..rule("shark") };
/// let rules = Rules::new("example", vec![shark, rule("sea")], Others::Drop, 0)?;
///
/// let mut item = Item { tags: vec!["shark".to_owned(), "unknown".to_owned()], ..Item::default() };
/// Labeller::new(&rules, Withhold::FromAll).label(&mut item);
/// item.tags.sort();
/// assert_eq!(item.tags, ["sea", "shark"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// What the rules were read from, for messages.
    source: String,
    others: Others,
    next_id: u32,
    rules: Vec<Rule>,
    /// Indices of the rules, each before those of its parents.
    children_first: Vec<usize>,
}

/// What becomes of themes that no rule is named after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Others {
    /// They are no tags.
    #[default]
    Drop,
    /// They are tags.
    Keep,
}

/// What one tag is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// The tag's name.
    pub name: String,
    /// Where it was read.
    pub line: u64,
    /// The tag's stable id; `None` for the next free one.
    pub id: Option<u32>,
    /// Of these an item needs one at least.
    pub any: Terms,
    /// Of these it needs every one.
    pub all: Terms,
    /// Of these it may have none.
    pub none: Terms,
    /// Other names of the tag in the data.
    pub aliases: Vec<Term>,
    /// An item with one of these is no negative of the tag.
    pub near: Terms,
    /// Names of tags that every item with this one has.
    pub parents: Vec<Term>,
    /// Keywords that are kept from the tag's inputs.
    pub withheld: Vec<Term>,
    /// Whether the tag is no more.
    pub deprecated: bool,
}

/// Themes and keywords.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// Tags as they stand in the data.
    pub themes: Vec<Term>,
    /// Keywords.
    pub keywords: Vec<Term>,
}

/// A theme, keyword or tag that a rule names.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Its name.
    pub name: String,
    /// Where it was read; 0 if it was not.
    pub line: u64,
}

impl From<&str> for Term {
    fn from(name: &str) -> Self {
        Term { name: name.to_owned(), line: 0 }
    }
}

impl Terms {
    fn is_empty(&self) -> bool {
        self.themes.is_empty() && self.keywords.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = (Kind, &Term)> {
        let of = |kind| move |term| (kind, term);
        self.themes.iter().map(of(Kind::Theme)).chain(self.keywords.iter().map(of(Kind::Keyword)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Theme,
    Keyword,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Theme => "theme",
            Kind::Keyword => "keyword",
        }
    }
}

impl Rule {
    /// Whether it says which items have the tag.
    fn has_conditions(&self) -> bool {
        !self.any.is_empty() || !self.all.is_empty()
    }

    /// The keywords that its conditions name: what `withhold = true` withholds.
    #[must_use]
    pub fn keywords(&self) -> Vec<Term> {
        [&self.any, &self.all, &self.none].into_iter().flat_map(|terms| terms.keywords.clone()).collect()
    }
}

impl Rules {
    /// Rules that were read from `source`; `next_id` is above every id that was ever in use, as far as the caller knows. Rules
    /// without an id are numbered.
    ///
    /// # Errors
    /// [`Error::Rules`] if two rules or a rule and an alias have the same name, two rules the same id, a rule names something
    /// twice, or as what an item must have and what it may not, a parent is no rule or deprecated, or a tag is its own ancestor;
    /// [`Error::TooLarge`] if the ids run out.
    pub fn new(source: impl Into<String>, mut rules: Vec<Rule>, others: Others, next_id: u32) -> Result<Self> {
        let source = source.into();
        let checker = Checker { source: &source, rules: &rules };
        checker.check_names()?;
        checker.check_terms()?;
        let children_first = checker.children_first()?;
        let too_many = || Error::TooLarge { what: "ids of tags", limit: u32::MAX.into() };
        let largest = rules.iter().filter_map(|rule| rule.id).max();
        let mut next_id = largest.map_or(Some(0), |id| id.checked_add(1)).ok_or_else(too_many)?.max(next_id);
        for rule in rules.iter_mut().filter(|rule| rule.id.is_none()) {
            rule.id = Some(next_id);
            next_id = next_id.checked_add(1).ok_or_else(too_many)?;
        }
        Ok(Rules { source, others, next_id, rules, children_first })
    }

    /// The rules, in the order in which they were given, each with its id.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What becomes of themes that no rule is named after.
    #[must_use]
    pub fn others(&self) -> Others {
        self.others
    }

    /// Tags called `names`, with the ids that the rules give them. Names without a rule get the next free ids.
    ///
    /// # Errors
    /// As [`Tags::new`]; [`Error::TooLarge`] if the ids run out.
    pub fn number<N: Into<String>>(&self, names: impl IntoIterator<Item = N>) -> Result<Tags> {
        let mut next_id = self.next_id;
        let ids: BTreeMap<&str, Option<u32>> = self.rules.iter().map(|rule| (rule.name.as_str(), rule.id)).collect();
        let tag = |name: N| {
            let name = name.into();
            let id = ids.get(name.as_str()).copied().flatten().unwrap_or(next_id);
            if id == next_id {
                next_id = id.checked_add(1).ok_or(Error::TooLarge { what: "ids of tags", limit: u32::MAX.into() })?;
            }
            Ok(Tag { id, name, threshold: Tags::DEFAULT_THRESHOLD })
        };
        let tags = names.into_iter().map(tag).collect::<Result<Vec<Tag>>>()?;
        Tags::new(tags, next_id)
    }

    /// The keywords that are kept from the inputs of the tags in use, with the name of the tag.
    pub fn withheld(&self) -> impl Iterator<Item = (&str, &[Term])> {
        let rules = self.rules.iter().filter(|rule| !rule.deprecated && !rule.withheld.is_empty());
        rules.map(|rule| (rule.name.as_str(), &rule.withheld[..]))
    }
}

/// Finds contradictions.
struct Checker<'a> {
    source: &'a str,
    rules: &'a [Rule],
}

impl<'a> Checker<'a> {
    fn fault(&self, rule: &Rule, line: u64, problem: String, cure: &'static str) -> Error {
        Error::Rules { source: self.source.to_owned(), line, problem: format!("tag {:?}: {problem}", rule.name), cure }
    }

    /// Names, aliases and ids are each of one rule only.
    fn check_names(&self) -> Result<()> {
        let (mut names, mut ids) = (BTreeMap::new(), BTreeMap::new());
        for rule in self.rules {
            let own = (rule.name.as_str(), rule.line);
            for (name, line) in std::iter::once(own).chain(rule.aliases.iter().map(|alias| (alias.name.as_str(), alias.line))) {
                if let Some(other) = names.insert(name, rule.name.as_str()) {
                    let problem = format!("expected a name of its own, found {name:?}, which names tag {other:?} too");
                    return Err(self.fault(rule, line, problem, "keep it in one place"));
                }
            }
            if let Some(other) = rule.id.and_then(|id| ids.insert(id, rule.name.as_str())) {
                let problem = format!("expected an id of its own, found that of tag {other:?}");
                return Err(self.fault(rule, rule.line, problem, "give one of them a number that was never in use"));
            }
        }
        Ok(())
    }

    /// A rule says one thing of each theme and keyword.
    fn check_terms(&self) -> Result<()> {
        for rule in self.rules {
            let mut roles: BTreeMap<(Kind, &str), &str> = BTreeMap::new();
            let lists = [("any", &rule.any), ("all", &rule.all), ("none", &rule.none), ("near", &rule.near)];
            let aliases = rule.aliases.iter().map(|alias| ("aliases", (Kind::Theme, alias)));
            let terms = lists.iter().flat_map(|(role, terms)| terms.iter().map(move |term| (*role, term)));
            for (role, (kind, term)) in terms.chain(aliases) {
                if let Some(other) = roles.insert((kind, &term.name), role) {
                    let problem = format!("expected each {} once, found {:?} in {other} and {role}", kind.name(), term.name);
                    return Err(self.fault(rule, term.line, problem, "keep it in one of the lists"));
                }
            }
            let own = (Kind::Theme, rule.name.as_str());
            if let Some(role) = roles.get(&own).filter(|role| ["none", "near"].contains(*role)) {
                let problem = format!("expected other themes in {role}, found its own name");
                return Err(self.fault(rule, rule.line, problem, "take it out"));
            }
            let mut withheld = BTreeSet::new();
            if let Some(term) = rule.withheld.iter().find(|term| !withheld.insert(&term.name)) {
                let problem = format!("expected each keyword once in withhold, found {:?} again", term.name);
                return Err(self.fault(rule, term.line, problem, "keep it once"));
            }
        }
        Ok(())
    }

    /// Indices of all rules, each before those of its parents.
    fn children_first(&self) -> Result<Vec<usize>> {
        let index: BTreeMap<&str, usize> = self.rules.iter().enumerate().map(|(i, rule)| (rule.name.as_str(), i)).collect();
        let mut parents = vec![Vec::new(); self.rules.len()];
        let mut children = vec![0_usize; self.rules.len()];
        for (rule, of_rule) in self.rules.iter().zip(&mut parents) {
            for parent in &rule.parents {
                let found = index.get(parent.name.as_str()).copied().filter(|&found| !self.rules[found].deprecated);
                let Some(found) = found else {
                    let what = if index.contains_key(parent.name.as_str()) { "deprecated" } else { "unknown" };
                    let problem = format!("expected parents among the tags of the rules, found {:?}, {what}", parent.name);
                    return Err(self.fault(rule, parent.line, problem, "give it a table [tags.NAME], or take it out"));
                };
                if of_rule.contains(&found) {
                    let problem = format!("expected each parent once, found {:?} again", parent.name);
                    return Err(self.fault(rule, parent.line, problem, "keep it once"));
                }
                of_rule.push(found);
                children[found] += 1;
            }
        }
        let mut order: Vec<usize> = (0..self.rules.len()).filter(|&i| children[i] == 0).collect();
        let mut done = 0;
        while let Some(&rule) = order.get(done) {
            done += 1;
            for &parent in &parents[rule] {
                children[parent] -= 1;
                if children[parent] == 0 {
                    order.push(parent);
                }
            }
        }
        match (0..self.rules.len()).find(|&i| children[i] > 0) {
            None => Ok(order),
            Some(first) => Err(self.cycle(first, &parents, &children)),
        }
    }

    /// The cycle that is reached from `first` by going to parents that are left.
    fn cycle(&self, first: usize, parents: &[Vec<usize>], left: &[usize]) -> Error {
        // Every rule that is left has a child that is left, so going down always leads on, and at last in a circle.
        let child = |of: usize| (0..self.rules.len()).find(|&i| left[i] > 0 && parents[i].contains(&of));
        let mut path = vec![first];
        while let Some(next) = path.last().and_then(|&last| child(last)) {
            if let Some(start) = path.iter().position(|&seen| seen == next) {
                path.drain(..start);
                break;
            }
            path.push(next);
        }
        path.reverse();
        let rule = &self.rules[path[0]];
        let above = &self.rules[path[1 % path.len()]].name;
        let line = rule.parents.iter().find(|parent| parent.name == *above).map_or(rule.line, |parent| parent.line);
        let names: Vec<&str> = path.iter().chain(&path[..1]).map(|&i| self.rules[i].name.as_str()).collect();
        let problem = format!("expected parents above it, found a cycle: {}", names.join(" < "));
        self.fault(rule, line, problem, "take one of these parents out")
    }
}

impl fmt::Display for Rules {
    /// Writes them as a file that [`Rules::parse`] reads, comments left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.others == Others::Keep {
            writeln!(f, "others = \"keep\"")?;
        }
        writeln!(f, "next_id = {}", self.next_id)?;
        for rule in &self.rules {
            writeln!(f, "\n[tags.{}]", Quoted(&rule.name))?;
            if let Some(id) = rule.id {
                writeln!(f, "id = {id}")?;
            }
            for (key, terms) in [
                ("any", &rule.any.themes),
                ("any_keywords", &rule.any.keywords),
                ("all", &rule.all.themes),
                ("all_keywords", &rule.all.keywords),
                ("none", &rule.none.themes),
                ("none_keywords", &rule.none.keywords),
                ("aliases", &rule.aliases),
                ("near", &rule.near.themes),
                ("near_keywords", &rule.near.keywords),
                ("parents", &rule.parents),
                ("withhold", &rule.withheld),
            ] {
                if let Some((first, others)) = terms.split_first() {
                    write!(f, "{key} = [{}", Quoted(&first.name))?;
                    others.iter().try_for_each(|term| write!(f, ", {}", Quoted(&term.name)))?;
                    writeln!(f, "]")?;
                }
            }
            if rule.deprecated {
                writeln!(f, "deprecated = true")?;
            }
        }
        Ok(())
    }
}

/// A TOML string on one line.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "\\u{:04X}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str) -> Rule {
        Rule { name: name.to_owned(), ..Rule::default() }
    }

    fn rules(rules: Vec<Rule>) -> Result<Rules> {
        Rules::new("test", rules, Others::Drop, 0)
    }

    #[test]
    fn ids_are_given_above_all_that_were_in_use() {
        let with_id = |name, id| Rule { id: Some(id), ..rule(name) };
        let made = Rules::new("test", vec![rule("a"), with_id("b", 7), rule("c")], Others::Keep, 12).unwrap();
        let ids: Vec<_> = made.rules().iter().map(|rule| rule.id).collect();
        assert_eq!(ids, [Some(12), Some(7), Some(13)]);
        let tags = made.number(["a", "b", "c", "d"]).unwrap();
        assert_eq!(tags.iter().map(|tag| tag.id).collect::<Vec<_>>(), [12, 7, 13, 14]);
        assert_eq!(tags.next_id(), 15);
        // Without the last rule its id stays taken.
        assert_eq!(made.number(["b"]).unwrap().next_id(), 14);
        assert!(matches!(rules(vec![with_id("a", u32::MAX)]), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn order_is_from_children_to_parents() {
        let child = |name: &str, parents: &[&str]| Rule {
            parents: parents.iter().map(|&parent| Term::from(parent)).collect(),
            ..rule(name)
        };
        let made = rules(vec![rule("top"), child("low", &["mid", "top"]), child("mid", &["top"])]).unwrap();
        assert_eq!(made.children_first, [1, 2, 0]);
        let cycle = rules(vec![rule("x"), child("a", &["b"]), child("b", &["c", "x"]), child("c", &["b"])]).unwrap_err();
        assert!(cycle.to_string().contains("c < b < c"), "{cycle}");
        assert!(rules(vec![child("a", &["a"])]).unwrap_err().to_string().contains("a < a"));
    }
}
