//! Which tags an item is given, from its scores.

use crate::tags::Tags;

/// The rule by which an item is given tags.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The score that a tag needs.
    pub least: Least,
    /// At most this many tags, the best ones.
    pub top: usize,
}

/// The score that a tag needs to be given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Least {
    /// The tag's own threshold.
    Threshold,
    /// This score.
    Score(f32),
}

impl Default for Choice {
    /// Every tag that reaches its threshold.
    fn default() -> Self {
        Choice { least: Least::Threshold, top: usize::MAX }
    }
}

impl Choice {
    /// Writes the indices of the tags that are given to `chosen`: by descending score, ties in the order of the tags. `scores`
    /// holds one score a tag. `chosen` keeps its room, so calls after the first allocate nothing.
    pub fn choose(&self, tags: &Tags, scores: &[f32], chosen: &mut Vec<usize>) {
        chosen.clear();
        chosen.extend(tags.iter().zip(scores).enumerate().filter_map(|(index, (tag, &score))| {
            let least = match self.least {
                Least::Threshold => tag.threshold,
                Least::Score(least) => least,
            };
            (score >= least).then_some(index)
        }));
        let order = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
        if 0 < self.top && self.top < chosen.len() {
            chosen.select_nth_unstable_by(self.top - 1, order);
        }
        chosen.truncate(self.top);
        chosen.sort_unstable_by(order);
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
        let chosen = |least, top| {
            let mut chosen = vec![7];
            Choice { least, top }.choose(&tags, &scores, &mut chosen);
            chosen
        };
        let all = usize::MAX;
        assert_eq!(chosen(Least::Threshold, all), [2, 1]);
        assert_eq!(chosen(Least::Threshold, 1), [2]);
        assert_eq!(chosen(Least::Score(0.0), all), [3, 0, 2, 1]);
        assert_eq!(chosen(Least::Score(0.0), 2), [3, 0]);
        assert_eq!(chosen(Least::Score(0.8), all), [3, 0, 2]);
        assert!(chosen(Least::Score(0.0), 0).is_empty());
        assert_eq!(chosen(Choice::default().least, Choice::default().top), [2, 1]);
    }
}
