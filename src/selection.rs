//! Which tags an item is given, from its scores.

use crate::tags::Tags;

/// The rule by which an item is given tags.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Selection {
    /// The score that a tag needs.
    pub min_score: MinScore,
    /// At most this many tags, the best ones; `None` for as many as there are.
    pub top_k: Option<usize>,
    /// An item of which the model knows fewer different keywords than this is given no tags: nothing is said where little is known.
    pub min_known: usize,
}

/// The score that a tag needs to be given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MinScore {
    /// The tag's own threshold.
    PerTag,
    /// This score, for every tag.
    Fixed(f32),
}

impl Default for Selection {
    /// Every tag that reaches its threshold, however few keywords are known.
    fn default() -> Self {
        Selection { min_score: MinScore::PerTag, top_k: None, min_known: 0 }
    }
}

impl Selection {
    /// Whether an item is given no tags because only `known` of its keywords are known.
    #[must_use]
    pub fn abstains(&self, known: usize) -> bool {
        known < self.min_known
    }

    /// Writes the indices of the tags that are given to `selected`: by descending score, ties in the order of the tags. `scores`
    /// holds one score a tag; `known` is how many different keywords of the item the model knows. `selected` keeps its room, so calls
    /// after the first allocate nothing.
    pub fn select(&self, tags: &Tags, scores: &[f32], known: usize, selected: &mut Vec<usize>) {
        selected.clear();
        if self.abstains(known) {
            return;
        }
        selected.extend(tags.iter().zip(scores).enumerate().filter_map(|(index, (tag, &score))| {
            let min_score = match self.min_score {
                MinScore::PerTag => tag.threshold,
                MinScore::Fixed(min_score) => min_score,
            };
            (score >= min_score).then_some(index)
        }));
        let order = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
        if let Some(k) = self.top_k {
            if 0 < k && k < selected.len() {
                selected.select_nth_unstable_by(k - 1, order);
            }
            selected.truncate(k);
        }
        selected.sort_unstable_by(order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_scores_and_numbers() {
        let mut tags = Tags::from_names(["a", "b", "c", "d"]).unwrap();
        tags.set_threshold(0, 0.9).unwrap();
        tags.set_threshold(3, f32::INFINITY).unwrap();
        let scores = [0.8, 0.5, 0.8, 1.0];
        let selected = |min_score, top_k| {
            let mut selected = vec![7];
            Selection { min_score, top_k, min_known: 0 }.select(&tags, &scores, 0, &mut selected);
            selected
        };
        assert_eq!(selected(MinScore::PerTag, None), [2, 1]);
        assert_eq!(selected(MinScore::PerTag, Some(1)), [2]);
        assert_eq!(selected(MinScore::Fixed(0.0), None), [3, 0, 2, 1]);
        assert_eq!(selected(MinScore::Fixed(0.0), Some(2)), [3, 0]);
        assert_eq!(selected(MinScore::Fixed(0.0), Some(usize::MAX)), [3, 0, 2, 1]);
        assert_eq!(selected(MinScore::Fixed(0.8), None), [3, 0, 2]);
        assert!(selected(MinScore::Fixed(0.0), Some(0)).is_empty());
        assert_eq!(selected(Selection::default().min_score, Selection::default().top_k), [2, 1]);
        let mut few = vec![7];
        let careful = Selection { min_known: 3, ..Selection::default() };
        careful.select(&tags, &scores, 2, &mut few);
        assert!(few.is_empty() && careful.abstains(2) && !careful.abstains(3));
        careful.select(&tags, &scores, 3, &mut few);
        assert_eq!(few, [2, 1]);
    }
}
