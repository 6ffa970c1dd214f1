//! Parents whose scores are not below those of their children.
//!
//! A network scores each tag by itself, so an item can be more surely of a kind than of what that is a kind of. Where rules give tags
//! parents, [`Hierarchy::raise`] mends that: a parent's score becomes the largest of its own and those of all its descendants.

use std::collections::HashMap;

#[cfg(feature = "rules")]
use crate::error::Result;
#[cfg(feature = "rules")]
use crate::format::{Model, Provenance};
use crate::rules::Rules;
use crate::tags::Tags;

/// Which tags of a model are above which.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::hierarchy::Hierarchy;
/// use tagomatic::rules::{Others, Rule, Rules};
///
/// let rule = |name: &str| Rule { name: name.to_owned(), ..Rule::default() };
/// let shark = Rule { parents: vec!["sea".into()], ..rule("shark") };
/// let rules = Rules::new("example", vec![shark, rule("sea")], Others::Drop, 0)?;
/// let tags = rules.number(["sea", "shark"])?;
/// let mut scores = [0.0; 2];
/// let (sea, shark) = (tags.get("sea").unwrap_or_default(), tags.get("shark").unwrap_or_default());
/// scores[shark] = 0.9;
/// Hierarchy::new(&rules, &tags).raise(&mut scores);
/// assert_eq!(scores[sea], 0.9);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Each tag with each of its ancestors among the tags.
    above: Vec<(usize, usize)>,
}

impl Hierarchy {
    /// The parents that `rules` give the tags, which are known by their ids. Ancestors that are no tags are passed over.
    #[must_use]
    pub fn new(rules: &Rules, tags: &Tags) -> Self {
        let rules = rules.rules();
        let number: HashMap<&str, usize> = rules.iter().enumerate().map(|(i, rule)| (rule.name.as_str(), i)).collect();
        let by_id: HashMap<u32, usize> = tags.iter().enumerate().map(|(index, tag)| (tag.id, index)).collect();
        let tag = |rule: usize| rules[rule].id.and_then(|id| by_id.get(&id)).copied();
        let mut above = Vec::new();
        for (child, first) in (0..rules.len()).filter_map(|rule| Some((tag(rule)?, rule))) {
            // Rules have no cycles, so this ends.
            let (mut seen, mut open) = (vec![false; rules.len()], vec![first]);
            while let Some(rule) = open.pop() {
                for parent in rules[rule].parents.iter().filter_map(|parent| number.get(parent.name.as_str()).copied()) {
                    if !std::mem::replace(&mut seen[parent], true) {
                        open.push(parent);
                        above.extend(tag(parent).map(|parent| (child, parent)));
                    }
                }
            }
        }
        above.sort_unstable();
        Hierarchy { above }
    }

    /// The parents by the rules that a model was trained with, as it tells them itself; none if there were no rules.
    ///
    /// # Errors
    /// [`Error::Rules`](crate::error::Error::Rules) if what it tells is not sound; [`Error::Model`](crate::error::Error::Model) if a
    /// mapped file is corrupt.
    #[cfg(feature = "rules")]
    pub fn of_model(model: &Model) -> Result<Self> {
        let provenance = model.provenance()?;
        let rules = Rules::parse(provenance.get(Provenance::RULES).unwrap_or_default(), "data.rules of the model")?;
        Ok(Self::new(&rules, model.tags()))
    }

    /// Whether no tag has a parent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.above.is_empty()
    }

    /// Raises the score of each parent to the largest of its descendants, if that is larger. `scores` holds one score a tag.
    pub fn raise(&self, scores: &mut [f32]) {
        // Each tag stands here with all its ancestors, so the order does not matter.
        for &(child, parent) in &self.above {
            if let (Some(child), Some(parent)) = (scores.get(child).copied(), scores.get_mut(parent)) {
                *parent = parent.max(child);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Others, Rule, Term};

    #[test]
    fn parents_are_raised_through_all_generations() {
        let rule = |name: &str, parents: &[&str]| Rule {
            name: name.to_owned(),
            parents: parents.iter().map(|&parent| Term::from(parent)).collect(),
            ..Rule::default()
        };
        // ghoul and ghost are undead, undead and slasher are horror; undead is no tag of the model.
        let rules = vec![
            rule("horror", &[]),
            rule("ghost", &["undead"]),
            rule("undead", &["horror"]),
            rule("slasher", &["horror"]),
            rule("ghoul", &["undead", "old"]),
            rule("old", &[]),
        ];
        let rules = Rules::new("test", rules, Others::Drop, 0).unwrap();
        // Ids are what tells tags, so one may have another name by now.
        let all = rules.number(["horror", "ghost", "undead", "slasher", "ghoul", "old"]).unwrap();
        let mut kept: Vec<_> = all.iter().filter(|tag| tag.name != "undead").cloned().collect();
        kept[0].name = "scary".to_owned();
        let tags = Tags::new(kept, all.next_id()).unwrap();
        let hierarchy = Hierarchy::new(&rules, &tags);
        assert_eq!(hierarchy.above, [(1, 0), (2, 0), (3, 0), (3, 4)]);
        let mut scores = [0.1, 0.7, 0.2, 0.4, 0.9];
        hierarchy.raise(&mut scores);
        assert_eq!(scores, [0.7, 0.7, 0.2, 0.4, 0.9]);
        scores = [0.8, 0.7, 0.2, 0.4, 0.3];
        hierarchy.raise(&mut scores);
        assert_eq!(scores, [0.8, 0.7, 0.2, 0.4, 0.4]);
        assert!(Hierarchy::new(&Rules::new("none", vec![], Others::Keep, 0).unwrap(), &tags).is_empty());
    }
}
