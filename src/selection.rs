//! Which tags an item is given, from its scores.

use crate::error::{Error, Result};
use crate::kernels::{ActiveUnits, Bounds, Kernels};
use crate::tags::Tags;

/// The rule by which an item is given tags.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::Tags;
/// use tagomatic::selection::{MinScore, Selection};
///
/// let mut tags = Tags::from_names(["sea", "horror", "spy"])?;
/// tags.set_threshold(2, 0.2)?;
/// let (scores, known, mut selected) = ([0.6, 0.7, 0.3], 4, Vec::new());
/// // By each tag's own threshold, the best first.
/// Selection::default().select(&tags, &scores, known, &mut selected)?;
/// assert_eq!(selected, [1, 0, 2]);
/// // The best one, whatever its score; nothing for an item of which too little is known.
/// let best = Selection { min_score: MinScore::Fixed(0.0), top_k: Some(1), min_known: 2 };
/// best.select(&tags, &scores, known, &mut selected)?;
/// assert_eq!(selected, [1]);
/// best.select(&tags, &scores, 1, &mut selected)?;
/// assert!(selected.is_empty());
/// # Ok(())
/// # }
/// ```
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
    /// holds one score a tag; a score that is NaN gives nothing. `known` is how many different keywords of the item the model knows.
    /// `selected` keeps its room, so calls after the first allocate nothing.
    ///
    /// Scores are compared with thresholds, and with the worst of the best so far, some at a time; only those that pass are sorted.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is one score a tag; [`Error::Config`] if [`MinScore::Fixed`] is NaN.
    pub fn select(&self, tags: &Tags, scores: &[f32], known: usize, selected: &mut Vec<usize>) -> Result<()> {
        self.select_at(Kernels::best(), tags, scores, known, selected)
    }

    /// [`Selection::select`] with kernels that are at hand; the answer is the same.
    ///
    /// # Errors
    /// As [`Selection::select`].
    pub fn select_at(
        &self,
        kernels: Kernels,
        tags: &Tags,
        scores: &[f32],
        known: usize,
        selected: &mut Vec<usize>,
    ) -> Result<()> {
        selected.clear();
        let (thresholds, count) = (tags.thresholds(), scores.len());
        Error::check_length("scores", thresholds.len(), count)?;
        let bounds = match self.min_score {
            MinScore::PerTag => Bounds::Each(thresholds),
            MinScore::Fixed(min_score) if min_score.is_nan() => {
                return Err(Error::Config { option: "min_score", expected: "a number", found: min_score.to_string() });
            }
            MinScore::Fixed(min_score) => Bounds::Same(min_score),
        };
        let k = self.top_k.unwrap_or(count);
        if self.abstains(known) || k == 0 {
            return Ok(());
        }
        selected.reserve(count);
        let order = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
        let (mut units, mut values) = ([0; PORTION], [0.0; PORTION]);
        // Once there are k candidates a later tag needs more than the worst of them: of equal ones the first goes before.
        let mut above = f32::NEG_INFINITY;
        // The first portions are small, so that there is a good bound early.
        let (mut first, mut portion) = (0, if k < count { PORTION / 16 } else { PORTION });
        while first < count {
            let end = count.min(first + portion);
            let list = ActiveUnits { units: &mut units, values: &mut values };
            let found = kernels.list_reaching(&scores[first..end], bounds.slice(first..end), above, list)?;
            selected.extend(units[..found].iter().map(|index| first + *index as usize));
            if k < count && selected.len() >= k {
                let (_, worst, _) = selected.select_nth_unstable_by(k - 1, order);
                above = scores[*worst];
                selected.truncate(k);
            }
            first = end;
            portion = PORTION.min(portion * 2);
        }
        selected.sort_unstable_by(order);
        Ok(())
    }
}

/// Scores that are compared at once.
const PORTION: usize = 512;

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
            Selection { min_score, top_k, min_known: 0 }.select(&tags, &scores, 0, &mut selected).unwrap();
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
        careful.select(&tags, &scores, 2, &mut few).unwrap();
        assert!(few.is_empty() && careful.abstains(2) && !careful.abstains(3));
        careful.select(&tags, &scores, 3, &mut few).unwrap();
        assert_eq!(few, [2, 1]);
        // The scores of another model, or of a batch; and a bound that no score could reach.
        for scores in [&scores[..3], &[0.9; 8]] {
            assert!(
                matches!(careful.select(&tags, scores, 3, &mut few), Err(Error::Length { expected: 4, .. })) && few.is_empty()
            );
        }
        let bad = Selection { min_score: MinScore::Fixed(f32::NAN), ..careful };
        assert!(matches!(bad.select(&tags, &scores, 3, &mut few), Err(Error::Config { option: "min_score", .. })));
    }

    #[test]
    fn the_best_are_those_that_a_full_sort_puts_first() {
        for count in [1, 20, 100, 1500] {
            let mut tags = Tags::from_names((0..count).map(|tag| tag.to_string())).unwrap();
            // Few different scores, so that many are equal.
            let word = |i: usize| crate::rng::Philox::new(5).block([i as u32, 0, 0, 0])[0];
            let scores: Vec<f32> = (0..count).map(|i| if i == 7 { f32::NAN } else { (word(i) % 40) as f32 / 40.0 }).collect();
            for tag in 0..count {
                tags.set_threshold(tag, [0.0, 0.2, 0.8, f32::INFINITY][tag % 4]).unwrap();
            }
            for min_score in [MinScore::PerTag, MinScore::Fixed(0.0), MinScore::Fixed(0.5)] {
                let reaches = |i: &usize| match min_score {
                    MinScore::PerTag => scores[*i] >= tags[*i].threshold,
                    MinScore::Fixed(bound) => scores[*i] >= bound,
                };
                let mut sorted: Vec<usize> = (0..count).filter(reaches).collect();
                sorted.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
                for k in [1, 3, 40, 600, 5000] {
                    let mut selected = Vec::new();
                    Selection { min_score, top_k: Some(k), ..Selection::default() }
                        .select(&tags, &scores, 1, &mut selected)
                        .unwrap();
                    assert_eq!(selected, sorted[..k.min(sorted.len())], "{k} of {count}");
                }
                let mut selected = Vec::new();
                Selection { min_score, ..Selection::default() }.select(&tags, &scores, 1, &mut selected).unwrap();
                assert_eq!(selected, sorted);
            }
        }
    }
}
