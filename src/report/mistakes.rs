//! The decisions that are furthest from the truth, and what made the model take them.

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::explain::{Contribution, explain};
use crate::metrics::Predictions;
use crate::tagger::Tagger;

/// Mistakes of each kind.
const SHOWN: usize = 12;

/// Mistakes of each kind that one tag may have.
const SHOWN_OF_A_TAG: usize = 2;

/// Keywords of each mistake.
const KEYWORDS: usize = 8;

/// The worst mistakes, the worst first, at most two of a tag.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mistakes {
    /// Tags given to samples that do not have them, by descending score.
    pub given: Vec<Mistake>,
    /// Tags not given to samples that have them, by ascending score.
    pub missed: Vec<Mistake>,
}

/// A tag wrongly given or missed.
#[derive(Clone, Debug, PartialEq)]
pub struct Mistake {
    /// The sample.
    pub sample: usize,
    /// The tag.
    pub tag: usize,
    /// The sample's score for it.
    pub score: f32,
    /// The keywords that add most to the logit, or take most away, these first; none where the units of the model make that
    /// undefined.
    pub keywords: Vec<Contribution>,
}

impl Mistakes {
    /// The worst mistakes among `predictions` for `dataset`.
    ///
    /// # Errors
    /// [`Error::KeywordOutOfRange`] if a sample does not fit the model.
    pub(super) fn new(tagger: &Tagger, dataset: &Dataset, predictions: &Predictions<'_>, thresholds: &[f32]) -> Result<Self> {
        let (mut given, mut missed) = (Vec::new(), Vec::new());
        for (sample, (scores, truth)) in predictions.rows().enumerate() {
            for (tag, (&score, &threshold)) in scores.iter().zip(thresholds).enumerate() {
                let is_given = score >= threshold;
                if is_given != truth.binary_search(&(tag as u32)).is_ok() {
                    let mistakes = if is_given { &mut given } else { &mut missed };
                    mistakes.push(Mistake { sample, tag, score, keywords: Vec::new() });
                }
            }
        }
        let worst = |mistakes, falling| {
            let mut worst = worst(mistakes, falling);
            worst.iter_mut().try_for_each(|mistake| {
                mistake.keywords = keywords(tagger, dataset.keywords(mistake.sample), mistake.tag)?;
                Ok::<_, Error>(())
            })?;
            Ok::<_, Error>(worst)
        };
        Ok(Mistakes { given: worst(given, true)?, missed: worst(missed, false)? })
    }
}

/// The first few by falling or rising score; of equals the first sample and tag.
fn worst(mut mistakes: Vec<Mistake>, falling: bool) -> Vec<Mistake> {
    mistakes.sort_by(|a, b| if falling { b.score.total_cmp(&a.score) } else { a.score.total_cmp(&b.score) });
    let mut kept: Vec<Mistake> = Vec::with_capacity(SHOWN);
    for mistake in mistakes {
        if kept.len() == SHOWN {
            break;
        }
        if kept.iter().filter(|other| other.tag == mistake.tag).count() < SHOWN_OF_A_TAG {
            kept.push(mistake);
        }
    }
    kept
}

/// The keywords with the largest contributions, up or down; of equals the lowest id.
fn keywords(tagger: &Tagger, ids: &[u32], tag: usize) -> Result<Vec<Contribution>> {
    let mut keywords = match explain(tagger, ids, tag) {
        Ok(explanation) => explanation.keywords,
        Err(Error::Config { option: "activation", .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    keywords.sort_by(|a, b| b.contribution.abs().total_cmp(&a.contribution.abs()));
    keywords.truncate(KEYWORDS);
    Ok(keywords)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_come_first_and_no_tag_has_too_many() {
        let mistake = |sample: usize, tag, score| Mistake { sample, tag, score, keywords: Vec::new() };
        let mistakes: Vec<Mistake> = (0..40).map(|i| mistake(i, i % 10 / 2, i as f32 / 40.0)).collect();
        let found = |falling| worst(mistakes.clone(), falling).into_iter().map(|m| (m.sample, m.tag)).collect::<Vec<_>>();
        assert_eq!(found(true), [(39, 4), (38, 4), (37, 3), (36, 3), (35, 2), (34, 2), (33, 1), (32, 1), (31, 0), (30, 0)]);
        assert_eq!(found(false)[..3], [(0, 0), (1, 0), (2, 1)]);
        let of_many_tags: Vec<Mistake> = (0..40).map(|i| mistake(i, i, 0.5)).collect();
        assert_eq!(worst(of_many_tags, true).len(), SHOWN);
    }
}
