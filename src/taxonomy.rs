//! Groups of tags that are alike: a dendrogram by average linkage, from which a taxonomy can be proposed.
//!
//! How alike two tags are is told by the model, as the cosine of their output weights (for an anchor model these are the tags'
//! vectors), or by data, as the correlation of their scores over some items.
//!
//! ```
//! # fn main() -> tagomatic::Result<()> {
//! use tagomatic::taxonomy::{Similarities, propose};
//! # let model = tagomatic::Model::open("models/movies.tagm")?;
//! let similarities = Similarities::of_weights(&model)?;
//! let dendrogram = similarities.cluster();
//! println!("{}", dendrogram.tree(|tag| model.tags()[tag].name.clone()));
//! let rules = propose(&similarities, &dendrogram.groups(0.5), model.tags())?;
//! println!("{rules}"); // TOML, for the next training
//! # Ok(())
//! # }
//! ```

use std::fmt::Write as _;

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::evaluate::scores;
use crate::format::Model;
use crate::metrics::for_each_column;
use crate::neighbors::OutputRows;
use crate::rules::{Others, Rule, Rules, Term};
use crate::tagger::Tagger;
use crate::tags::{Tag, Tags};

/// How alike each two of some tags are, in [-1, 1].
#[derive(Clone, Debug, PartialEq)]
pub struct Similarities {
    tags: usize,
    /// Of pairs a < b, ascending by a, then by b.
    pairs: Vec<f64>,
}

/// Two groups that become one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Merge {
    /// A group: a tag's index below the number of tags, else the number of tags and the number of the merge that made it.
    pub a: usize,
    /// The other one, above `a`.
    pub b: usize,
    /// The mean similarity of a tag of the one and a tag of the other.
    pub similarity: f64,
    /// Tags in both.
    pub size: usize,
}

/// Which groups become one, the most alike first, until all tags are one group.
#[derive(Clone, Debug, PartialEq)]
pub struct Dendrogram {
    tags: usize,
    merges: Vec<Merge>,
}

impl Similarities {
    /// Cosines of the tags' output weights.
    ///
    /// # Errors
    /// [`Error::Config`] for a model with several groups: tags that have hidden units of their own cannot be compared by weights.
    pub fn of_weights(model: &Model) -> Result<Self> {
        let groups = model.network().shape.groups();
        let [group] = groups else {
            let expected = "scores, since each tag of this bank has hidden units of its own: give items to compare by";
            return Err(Error::Config { option: "on", expected, found: format!("weights, of {} groups", groups.len()) });
        };
        let rows = OutputRows::new(model, group);
        Ok(Self::between(group.tags.len(), |a, b| rows.cosine(a, b)))
    }

    /// Correlations of the scores of all items in `dataset`, see [`Similarities::of_scores`]. The work is divided between the threads
    /// of `pool` if there is one.
    ///
    /// # Errors
    /// [`Error::KeywordOutOfRange`] if a sample does not fit the model.
    pub fn of_items(tagger: &Tagger, dataset: &Dataset, pool: Option<&rayon::ThreadPool>) -> Result<Self> {
        Ok(Self::of_scores(&scores(tagger, dataset, pool)?, tagger.tags().len()))
    }

    /// Correlations of `scores`, samples x `tags`, row-major; 0 for a tag whose score is always the same. It looks at each pair of
    /// tags of each sample.
    #[must_use]
    pub fn of_scores(scores: &[f32], tags: usize) -> Self {
        // Columns about their mean, with length 1.
        let mut columns: Vec<Vec<f64>> = Vec::with_capacity(tags);
        for_each_column(scores, tags, |_, column| {
            let mean = column.iter().sum::<f64>() / column.len().max(1) as f64;
            let centred: Vec<f64> = column.iter().map(|score| score - mean).collect();
            let length = centred.iter().map(|x| x * x).sum::<f64>().sqrt();
            // Below this it is rounding of the mean.
            let scale = if length > 1e-9 * (column.len() as f64).sqrt() { 1.0 / length } else { 0.0 };
            columns.push(centred.into_iter().map(|x| x * scale).collect());
        });
        Self::between(tags, |a, b| columns[a].iter().zip(&columns[b]).map(|(x, y)| x * y).sum::<f64>().clamp(-1.0, 1.0))
    }

    fn between(tags: usize, similarity: impl Fn(usize, usize) -> f64) -> Self {
        let pairs = (0..tags).flat_map(|a| (a + 1..tags).map(move |b| (a, b))).map(|(a, b)| similarity(a, b)).collect();
        Similarities { tags, pairs }
    }

    /// How alike two different tags are; both must exist, as with a slice.
    #[must_use]
    pub fn get(&self, a: usize, b: usize) -> f64 {
        let (a, b) = (a.min(b), a.max(b));
        self.pairs[a * (2 * self.tags - a - 1) / 2 + (b - a - 1)]
    }

    /// The tag of `tags` that is most like the others, the first of equals: the one to name them by.
    #[must_use]
    pub fn medoid(&self, tags: &[usize]) -> Option<usize> {
        let sum = |&tag: &usize| tags.iter().filter(|&&other| other != tag).map(|&other| self.get(tag, other)).sum::<f64>();
        tags.iter().rev().max_by(|a, b| sum(a).total_cmp(&sum(b))).copied()
    }

    /// Merges the two most alike groups until there is one.
    #[must_use]
    pub fn cluster(&self) -> Dendrogram {
        let mut distances: Vec<f64> = self.pairs.iter().map(|similarity| 1.0 - similarity).collect();
        let steps = kodama::linkage(&mut distances, self.tags, kodama::Method::Average);
        let merge = |step: &kodama::Step<f64>| Merge {
            a: step.cluster1,
            b: step.cluster2,
            similarity: 1.0 - step.dissimilarity,
            size: step.size,
        };
        Dendrogram { tags: self.tags, merges: steps.steps().iter().map(merge).collect() }
    }
}

/// Rules that give the tags of each group a parent of their own, called `group/` and the name of the group's medoid. All other tags
/// stay as they are, and all keep their ids. The tags of the groups must exist, as with a slice.
///
/// # Errors
/// As [`Rules::new`], for instance if a tag has that name already.
pub fn propose(similarities: &Similarities, groups: &[Vec<usize>], tags: &Tags) -> Result<Rules> {
    let rule = |tag: &Tag| Rule { name: tag.name.clone(), id: Some(tag.id), ..Rule::default() };
    let mut rules: Vec<Rule> = tags.iter().map(rule).collect();
    for group in groups {
        let Some(medoid) = similarities.medoid(group) else { continue };
        let parent = format!("group/{}", tags[medoid].name);
        group.iter().for_each(|&tag| rules[tag].parents.push(Term::from(parent.as_str())));
        rules.push(Rule { name: parent, ..Rule::default() });
    }
    Rules::new("taxonomy", rules, Others::Keep, tags.next_id())
}

impl Dendrogram {
    /// The merges, the most alike first: one less than there are tags.
    #[must_use]
    pub fn merges(&self) -> &[Merge] {
        &self.merges
    }

    /// Groups of two tags or more that no merge below `min_similarity` has made: tags ascending, the largest group first, equals by
    /// their first tag.
    #[must_use]
    pub fn groups(&self, min_similarity: f64) -> Vec<Vec<usize>> {
        let mut groups: Vec<Option<Vec<usize>>> = (0..self.tags).map(|tag| Some(vec![tag])).collect();
        for merge in &self.merges {
            let merged = (merge.similarity >= min_similarity)
                .then(|| Some([groups[merge.a].take()?, groups[merge.b].take()?].concat()))
                .flatten();
            groups.push(merged);
        }
        let mut groups: Vec<Vec<usize>> = groups.into_iter().flatten().filter(|group| group.len() > 1).collect();
        groups.iter_mut().for_each(|group| group.sort_unstable());
        groups.sort_by_key(|group| (std::cmp::Reverse(group.len()), group[0]));
        groups
    }

    /// The tree as text, a line a tag or merge; `name` names the tags.
    #[must_use]
    pub fn tree(&self, name: impl Fn(usize) -> String) -> String {
        let mut text = String::new();
        // What is still to be drawn, with what stands before it.
        let mut open = vec![(self.tags + self.merges.len(), String::new(), String::new())];
        if self.merges.is_empty() {
            (0..self.tags).for_each(|tag| text.push_str(&(name(tag) + "\n")));
            return text;
        }
        open[0].0 -= 1;
        while let Some((group, first, rest)) = open.pop() {
            match group.checked_sub(self.tags).map(|merge| self.merges[merge]) {
                None => text.push_str(&(first + &name(group) + "\n")),
                Some(merge) => {
                    let _ = writeln!(text, "{first}{:.3}", merge.similarity);
                    open.push((merge.b, format!("{rest}└ "), format!("{rest}  ")));
                    open.push((merge.a, format!("{rest}├ "), format!("{rest}│ ")));
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pairs, and one apart: 0-3 and 1-4 alike, 2 alone.
    fn similarities() -> Similarities {
        let of = |a: usize, b: usize| match (a, b) {
            (0, 3) => 0.9,
            (1, 4) => 0.8,
            (0 | 3, 1 | 4) | (1 | 4, 0 | 3) => 0.2,
            _ => -0.5,
        };
        Similarities::between(5, of)
    }

    #[test]
    fn the_most_alike_merge_first() {
        let similarities = similarities();
        let dendrogram = similarities.cluster();
        let merges: Vec<_> = dendrogram.merges().iter().map(|merge| (merge.a, merge.b, merge.size)).collect();
        assert_eq!(merges, [(0, 3, 2), (1, 4, 2), (5, 6, 4), (2, 7, 5)]);
        for (merge, expected) in dendrogram.merges().iter().zip([0.9, 0.8, 0.2, -0.5]) {
            assert!((merge.similarity - expected).abs() < 1e-12, "{merge:?}");
        }
        assert_eq!(dendrogram.groups(0.5), [[0, 3], [1, 4]]);
        assert_eq!(dendrogram.groups(0.1), [[0, 1, 3, 4]]);
        assert_eq!((dendrogram.groups(0.95).len(), dendrogram.groups(-1.0)), (0, vec![vec![0, 1, 2, 3, 4]]));
        let tree = "-0.500\n├ c\n└ 0.200\n  ├ 0.900\n  │ ├ a\n  │ └ d\n  └ 0.800\n    ├ b\n    └ e\n";
        assert_eq!(dendrogram.tree(|tag| ["a", "b", "c", "d", "e"][tag].to_owned()), tree);
        assert_eq!((similarities.get(4, 1), similarities.medoid(&[1, 2, 4])), (0.8, Some(1)));
    }

    #[test]
    fn groups_become_parents() {
        let similarities = similarities();
        let mut tags = Tags::from_names(["a", "b", "c", "d"]).unwrap();
        tags.push("e").unwrap();
        let rules = propose(&similarities, &similarities.cluster().groups(0.5), &tags).unwrap();
        let told: Vec<_> = rules
            .rules()
            .iter()
            .map(|rule| (&rule.name[..], rule.id, rule.parents.iter().map(|parent| &parent.name[..]).collect::<Vec<_>>()))
            .collect();
        let expected = [
            ("a", Some(0), vec!["group/a"]),
            ("b", Some(1), vec!["group/b"]),
            ("c", Some(2), vec![]),
            ("d", Some(3), vec!["group/a"]),
            ("e", Some(4), vec!["group/b"]),
            ("group/a", Some(5), vec![]),
            ("group/b", Some(6), vec![]),
        ];
        assert_eq!(told, expected);
        let taken = Tags::from_names(["a", "b", "c", "d", "group/a"]).unwrap();
        assert!(matches!(propose(&similarities, &[vec![0, 3]], &taken), Err(Error::Rules { .. })));
    }

    #[test]
    fn few_tags_are_a_dendrogram_too() {
        for tags in 0..2 {
            let dendrogram = Similarities::between(tags, |_, _| 1.0).cluster();
            assert!(dendrogram.merges().is_empty() && dendrogram.groups(-1.0).is_empty());
            assert_eq!(dendrogram.tree(|tag| tag.to_string()), ["", "0\n"][tags]);
        }
    }

    #[test]
    fn correlations_of_scores() {
        // Tag 1 rises with tag 0, tag 2 falls, tag 3 stays.
        let scores = [0.1, 0.2, 0.9, 0.3, 0.2, 0.4, 0.8, 0.3, 0.3, 0.6, 0.7, 0.3];
        let similarities = Similarities::of_scores(&scores, 4);
        for ((a, b), expected) in [((0, 1), 1.0), ((0, 2), -1.0), ((1, 2), -1.0), ((0, 3), 0.0), ((2, 3), 0.0)] {
            assert!((similarities.get(a, b) - expected).abs() < 1e-6, "{a} {b}: {}", similarities.get(a, b));
        }
        assert_eq!(Similarities::of_scores(&[], 3).get(0, 2), 0.0);
    }
}
