//! Rules are applied to items.

use std::collections::HashMap;

use super::{Kind, Others, Rules, Term};
use crate::data::Item;
use crate::error::{Error, Result};

/// What becomes of the keywords that rules withhold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withhold {
    /// They are taken out of all items, and so out of the vocabulary: for a net that all tags share.
    FromAll,
    /// They stay: for nets of single tags, each of which leaves its own out.
    FromTag,
}

/// Turns the themes of items into tags.
#[derive(Debug)]
pub struct Labeller<'r> {
    rules: &'r Rules,
    withhold: Withhold,
    themes: HashMap<&'r str, Name>,
    keywords: HashMap<&'r str, Name>,
    /// The names of rules and aliases: no tags of others.
    states: Vec<State>,
    /// Indices of the parents of each rule.
    parents: Vec<Vec<usize>>,
    positives: Vec<u64>,
    items: u64,
}

/// A theme or keyword that rules name.
#[derive(Debug, Default)]
struct Name {
    uses: Vec<(usize, Role)>,
    /// The last item that had it, counted from 1; 0 for none yet.
    last_item: u64,
    is_withheld: bool,
    /// Whether it is a tag's name or alias.
    is_claimed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Role {
    Any,
    All,
    None,
    Alias,
    Near,
}

/// What an item shows of a rule.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    any: bool,
    all: usize,
    none: bool,
    alias: bool,
    near: bool,
    has: bool,
}

impl<'r> Labeller<'r> {
    /// A labeller that has seen no item.
    #[must_use]
    pub fn new(rules: &'r Rules, withhold: Withhold) -> Self {
        let (mut themes, mut keywords) = (HashMap::<&str, Name>::new(), HashMap::<&str, Name>::new());
        for (index, rule) in rules.rules.iter().enumerate() {
            for name in std::iter::once(rule.name.as_str()).chain(rule.aliases.iter().map(|alias| alias.name.as_str())) {
                themes.entry(name).or_default().is_claimed = true;
            }
            if rule.deprecated {
                continue;
            }
            for (role, terms) in
                [(Role::Any, &rule.any), (Role::All, &rule.all), (Role::None, &rule.none), (Role::Near, &rule.near)]
            {
                for (kind, term) in terms.iter() {
                    let names = if kind == Kind::Theme { &mut themes } else { &mut keywords };
                    names.entry(&term.name).or_default().uses.push((index, role));
                }
            }
            let own = (!rule.has_conditions()).then_some(rule.name.as_str());
            for name in rule.aliases.iter().map(|alias| alias.name.as_str()).chain(own) {
                themes.entry(name).or_default().uses.push((index, Role::Alias));
            }
            for term in &rule.withheld {
                keywords.entry(&term.name).or_default().is_withheld = true;
            }
        }
        let index: HashMap<&str, usize> = rules.rules.iter().enumerate().map(|(i, rule)| (rule.name.as_str(), i)).collect();
        let parents = rules.rules.iter().map(|rule| rule.parents.iter().map(|parent| index[parent.name.as_str()]).collect());
        Labeller {
            rules,
            withhold,
            parents: parents.collect(),
            themes,
            keywords,
            states: vec![State::default(); rules.rules.len()],
            positives: vec![0; rules.rules.len()],
            items: 0,
        }
    }

    /// Replaces an item's themes by the tags that the rules give it, names the tags that it is no negative of, and takes out the
    /// keywords that are withheld from all.
    pub fn label(&mut self, item: &mut Item) {
        self.items += 1;
        self.states.fill(State::default());
        for (names, of_item) in [(&mut self.themes, &item.tags), (&mut self.keywords, &item.keywords)] {
            for name in of_item {
                let Some(name) = names.get_mut(name.as_str()) else { continue };
                // Repeats count once.
                if std::mem::replace(&mut name.last_item, self.items) == self.items {
                    continue;
                }
                for &(rule, role) in &name.uses {
                    let state = &mut self.states[rule];
                    match role {
                        Role::Any => state.any = true,
                        Role::All => state.all += 1,
                        Role::None => state.none = true,
                        Role::Alias => state.alias = true,
                        Role::Near => state.near = true,
                    }
                }
            }
        }
        match self.rules.others {
            Others::Drop => item.tags.clear(),
            Others::Keep => item.tags.retain(|theme| self.themes.get(theme.as_str()).is_none_or(|name| !name.is_claimed)),
        }
        for &index in &self.rules.children_first {
            let rule = &self.rules.rules[index];
            if rule.deprecated {
                continue;
            }
            let state = &mut self.states[index];
            let all = rule.all.themes.len() + rule.all.keywords.len();
            let meets = rule.has_conditions() && (rule.any.is_empty() || state.any) && state.all == all;
            state.has |= !state.none && (state.alias || meets);
            let State { has, near, .. } = *state;
            if has {
                item.tags.push(rule.name.clone());
                self.positives[index] += 1;
            } else if near {
                item.excluded.push(rule.name.clone());
            }
            for &parent in &self.parents[index] {
                self.states[parent].has |= has;
                self.states[parent].near |= near && !has;
            }
        }
        if self.withhold == Withhold::FromAll {
            item.keywords.retain(|keyword| self.keywords.get(keyword.as_str()).is_none_or(|name| !name.is_withheld));
        }
    }

    /// Fails if the rules name a theme or keyword that no item had, or a tag that no item got: to be asked after all training items.
    ///
    /// # Errors
    /// [`Error::Rules`] with its line.
    pub fn check_used(&self) -> Result<()> {
        let source = &self.rules.source;
        for (rule, &positives) in self.rules.rules.iter().zip(&self.positives).filter(|(rule, _)| !rule.deprecated) {
            let fault = |line, problem: String, cure| {
                let problem = format!("tag {:?}: {problem}", rule.name);
                Err(Error::Rules { source: source.clone(), line, problem, cure })
            };
            let conditions = [&rule.any, &rule.all, &rule.none, &rule.near].into_iter().flat_map(|terms| terms.iter());
            let aliases = rule.aliases.iter().map(|alias| (Kind::Theme, alias));
            let withheld = rule.withheld.iter().map(|term| (Kind::Keyword, term));
            for (kind, Term { name, line }) in conditions.chain(aliases).chain(withheld) {
                let names = if kind == Kind::Theme { &self.themes } else { &self.keywords };
                if names.get(name.as_str()).is_none_or(|name| name.last_item == 0) {
                    let kind = kind.name();
                    let problem = format!("expected a {kind} of the training items, found {name:?}, which none of them has");
                    return fault(*line, problem, "mend its spelling, or take it out");
                }
            }
            if positives == 0 {
                let problem = "expected items that have it, found none".to_owned();
                return fault(rule.line, problem, "widen its conditions, give it aliases, or say deprecated = true");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Rule, Terms};
    use super::*;

    fn terms(names: &str) -> Vec<Term> {
        names.split_whitespace().map(Term::from).collect()
    }

    fn both(themes: &str, keywords: &str) -> Terms {
        Terms { themes: terms(themes), keywords: terms(keywords) }
    }

    fn rules(others: Others) -> Rules {
        let rule = |name: &str| Rule { name: name.to_owned(), ..Rule::default() };
        let all = vec![
            Rule { any: both("zombie ghost", "undead"), near: both("vampire", "bat"), parents: terms("scary"), ..rule("dead") },
            Rule { all: both("war", "snow"), none: both("love", "peace"), withheld: terms("snow"), ..rule("winter-war") },
            Rule { aliases: terms("fright"), none: both("", "fun"), ..rule("scary") },
            Rule { deprecated: true, ..rule("old") },
        ];
        Rules::new("test", all, others, 0).unwrap()
    }

    fn labelled(labeller: &mut Labeller<'_>, keywords: &str, themes: &str) -> (String, String, String) {
        let mut item = Item::of(keywords, themes);
        labeller.label(&mut item);
        (item.keywords.join(" "), item.tags.join(" "), item.excluded.join(" "))
    }

    #[test]
    fn conditions_decide() {
        let rules = rules(Others::Drop);
        let mut labeller = Labeller::new(&rules, Withhold::FromTag);
        let mut tags = |keywords, themes| labelled(&mut labeller, keywords, themes).1;
        assert_eq!(tags("", "zombie"), "dead scary");
        assert_eq!(tags("undead undead", ""), "dead scary");
        assert_eq!(tags("snow", "war"), "winter-war");
        assert_eq!(tags("snow", "war love"), "");
        assert_eq!(tags("snow peace", "war"), "");
        assert_eq!(tags("snow snow", "war war"), "winter-war");
        assert_eq!(tags("snow", ""), "");
        assert_eq!(tags("", "scary"), "scary");
        assert_eq!(tags("", "fright old other"), "scary");
        // What a child brings its parents does not forbid.
        assert_eq!((tags("fun", "fright"), tags("fun", "ghost")), (String::new(), "dead scary".to_owned()));
    }

    #[test]
    fn near_synonyms_are_no_negatives_up_to_the_ancestors() {
        let rules = rules(Others::Keep);
        let mut labeller = Labeller::new(&rules, Withhold::FromTag);
        let mut label = |keywords, themes| labelled(&mut labeller, keywords, themes);
        let text = |k: &str, t: &str, e: &str| (k.to_owned(), t.to_owned(), e.to_owned());
        assert_eq!(label("bat", "x"), text("bat", "x", "dead scary"));
        assert_eq!(label("", "vampire"), text("", "vampire", "dead scary"));
        assert_eq!(label("", "vampire ghost"), text("", "vampire ghost dead scary", ""));
        assert_eq!(label("", "vampire scary old"), text("", "vampire scary", "dead"));
    }

    #[test]
    fn withheld_keywords_go_from_all_or_stay() {
        let rules = rules(Others::Drop);
        let label = |withhold| labelled(&mut Labeller::new(&rules, withhold), "snow ice", "war").0;
        assert_eq!(label(Withhold::FromAll), "ice");
        assert_eq!(label(Withhold::FromTag), "snow ice");
        assert_eq!(rules.withheld().map(|(name, _)| name).collect::<Vec<_>>(), ["winter-war"]);
    }

    #[test]
    fn what_no_item_has_is_told() {
        let rules = rules(Others::Drop);
        let mut labeller = Labeller::new(&rules, Withhold::FromTag);
        let told = |labeller: &Labeller<'_>| labeller.check_used().unwrap_err().to_string();
        assert!(told(&labeller).contains("\"zombie\""), "{}", told(&labeller));
        for (keywords, themes) in [("undead bat fun", "zombie ghost vampire fright"), ("peace", "love war")] {
            labelled(&mut labeller, keywords, themes);
        }
        assert!(told(&labeller).contains("\"snow\""), "{}", told(&labeller));
        labelled(&mut labeller, "snow", "");
        assert!(told(&labeller).contains("expected items that have it"), "{}", told(&labeller));
        labelled(&mut labeller, "snow", "war");
        labeller.check_used().unwrap();
    }
}
