//! Why a tag has its score: what each keyword adds to the logit.
//!
//! Where the activation is piecewise linear, h_j = s_j·a_j with a slope s_j that the sample fixes, and the logit falls into parts:
//!
//! ```text
//! z_t = b2_t + Σ_j s_j·b1_j·W2[j,t]  +  Σ_{k∈S} Σ_j s_j·W1[k,j]·W2[j,t]
//!       ------------ bias ---------       - contribution of k --------
//! ```
//!
//! Where keywords are pooled by their mean, `W1[k,j]` counts 1/|S|. The parts tell how this logit is made, not what would happen
//! without a keyword: then other units can be active. For that the sample is scored again without it.

use crate::accumulator::Accumulator;
use crate::aligned::{LANES, as_floats};
use crate::error::{Error, Result};
use crate::network::{Activation, Pooling};
use crate::tagger::Tagger;

/// The parts of one tag's logit for one sample.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::explain::{explain, flip};
/// # let tagger = tagomatic::Tagger::new(tagomatic::Model::open("models/movies.tagm")?);
/// # let id = |keyword| tagger.model().vocabulary().get(keyword).unwrap_or_default();
/// let (ids, tag) = ([id("zombie"), id("undead")], tagger.tags().get("zombie").unwrap_or_default());
/// let why = explain(&tagger, &ids, tag)?;
/// for part in &why.keywords {
///     println!("{:?} adds {:+.2}", tagger.model().vocabulary().keyword(part.id), part.contribution);
/// }
/// let sum = why.bias + why.keywords.iter().map(|part| part.contribution).sum::<f64>();
/// assert!((sum - f64::from(why.logit)).abs() < 1e-4);
/// println!("the decision turns without {:?}", flip(&tagger, &ids, tag)?.keywords);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The logit that [`Tagger::logits`] gives: what the keywords add up to.
    pub logit: f32,
    /// What the model's calibration makes of it, of which the score is the sigmoid; `None` without a calibration.
    pub calibrated_logit: Option<f32>,
    /// The score that [`Tagger::score`] gives.
    pub score: f32,
    /// What the biases of both layers add to the logit.
    pub bias: f64,
    /// What each keyword adds, ascending by id. With the bias they sum up to the logit, but for the rounding of its `f32` sums.
    pub keywords: Vec<Contribution>,
}

/// The part of one keyword.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contribution {
    /// The keyword.
    pub id: u32,
    /// What it adds to the logit.
    pub contribution: f64,
    /// The score of the sample without it.
    pub score_without: f32,
}

/// Takes the score of the tag at index `tag` apart, for the sample with keywords `ids`, in any order and with repeats. It scores the
/// sample once more for each keyword.
///
/// # Errors
/// [`Error::Config`] if the activation is not piecewise linear (elu, sigmoid): no such parts exist then;
/// [`Error::KeywordOutOfRange`] if the model has no such id; [`Error::Length`] if it has no such tag.
pub fn explain(tagger: &Tagger, ids: &[u32], tag: usize) -> Result<Explanation> {
    let mut scorer = Scorer::new(tagger, ids, tag)?;
    let (network, weights) = (tagger.model().network(), tagger.model().weights());
    let shape = &network.shape;
    let (logit, score) = (scorer.logit()?, scorer.score()?);
    let ids = scorer.item.ids().to_vec();

    // The tag's group alone has a say.
    let number = shape.groups().partition_point(|group| group.tags.end <= tag);
    let group = &shape.groups()[number];
    let mut hidden = vec![0.0; shape.hidden() * shape.groups().len()];
    tagger.hidden(&ids, &mut tagger.scratch(), &mut hidden)?;
    let mut slopes = Vec::with_capacity(shape.hidden());
    for (unit, &h) in hidden[number * shape.hidden()..][..shape.hidden()].iter().enumerate() {
        let to_tag = f64::from(weights.output(shape, group, unit, tag - group.tags.start));
        slopes.push(slope(network.activation, h)? * to_tag);
    }
    // The sum over the group's units of the slope times what `to_unit` says of the unit's position.
    let part = |to_unit: &dyn Fn(usize) -> f32| -> f64 {
        (group.hidden.start * LANES..).zip(&slopes).map(|(position, slope)| f64::from(to_unit(position)) * slope).sum()
    };
    let share = match network.pooling {
        Pooling::Sum => 1.0,
        Pooling::Mean => 1.0 / ids.len().max(1) as f64,
    };
    let mut keywords = Vec::with_capacity(ids.len());
    for id in ids {
        let contribution = share * part(&|position| weights.first(shape, id as usize, position));
        keywords.push(Contribution { id, contribution, score_without: scorer.score_without(id)? });
    }
    let bias = f64::from(as_floats(weights.b2)[shape.slot(tag)]) + part(&|position| as_floats(weights.b1)[position]);
    let calibrated_logit = tagger.calibration().map(|calibration| calibration.curve(tag).map(logit));
    Ok(Explanation { logit, calibrated_logit, score, bias, keywords })
}

/// Keywords whose removal turns a decision round.
#[derive(Clone, Debug, PartialEq)]
pub struct Flip {
    /// The keywords, those first whose removal moves the logit furthest; `None` if no set of them was found.
    pub keywords: Option<Vec<u32>>,
    /// Whether there is no smaller set, and, if none was found, no set at all: for every smaller one was tried.
    pub is_smallest: bool,
}

/// Sets of keywords that [`flip`] tries to find a smaller one.
const TRIED: usize = 20_000;

/// How often [`flip`] scores the sample to find a set greedily.
const GREEDY: usize = 100_000;

/// Keywords whose removal turns the decision about a tag round: gives it if it was not given, takes it if it was, by the tag's
/// threshold.
///
/// First they are found greedily: the keyword whose removal moves the logit furthest goes first, the lowest id among equals, until
/// the decision turns, or the sample has been scored 100,000 times: that is enough to take 446 keywords away, all of them, or the first 105 of
/// 1,000. There can be smaller sets, so all sets of one keyword less, two less and so on are tried, smallest first, as
/// long as they are 20,000 at most: all pairs of 199 keywords, all threes of 49, all sets whatever of 14. Among several sets of the
/// smallest size the one that moves the logit furthest is taken, and [`Flip::is_smallest`] tells whether the search went that far.
///
/// Each time the sample is scored for all tags, with half of its rows summed up anew, on average; 120,000 times in all at the most, which can be
/// many seconds for large networks and long samples. Keep it out of requests there.
///
/// # Errors
/// [`Error::KeywordOutOfRange`] if the model has no such id; [`Error::Length`] if it has no such tag.
pub fn flip(tagger: &Tagger, ids: &[u32], tag: usize) -> Result<Flip> {
    let mut scorer = Scorer::new(tagger, ids, tag)?;
    let given = scorer.is_given()?;
    let greedy = greedy(&mut scorer, given, GREEDY)?;
    greedy.iter().flatten().try_for_each(|&id| scorer.item.add(id).map(drop))?;
    // Without a greedy set any set is a smaller one.
    let largest = greedy.as_ref().map_or(scorer.item.ids().len(), |found| found.len() - 1);
    let mut left = TRIED;
    for size in 1..=largest {
        let Some(rest) = left.checked_sub(subsets(scorer.item.ids().len(), size)) else {
            return Ok(Flip { keywords: greedy, is_smallest: false });
        };
        left = rest;
        let mut search = Search { scorer: &mut scorer, given, removed: Vec::new(), best: None };
        search.run(0, size)?;
        if let Some((_, keywords)) = search.best {
            return Ok(Flip { keywords: Some(keywords), is_smallest: true });
        }
    }
    Ok(Flip { keywords: greedy, is_smallest: true })
}

/// Takes keywords away until the decision turns; they stay away. If it does not, or not with `limit` samples scored to choose them, all
/// are back.
fn greedy(scorer: &mut Scorer<'_>, given: bool, limit: usize) -> Result<Option<Vec<u32>>> {
    let (mut removed, mut left) = (Vec::new(), limit);
    while !scorer.item.ids().is_empty() {
        let Some(rest) = left.checked_sub(scorer.item.ids().len()) else { break };
        left = rest;
        let mut best = (0, f32::INFINITY);
        for place in 0..scorer.item.ids().len() {
            let id = scorer.item.ids()[place];
            let towards = towards(given, scorer.logit_without(id)?);
            if place == 0 || towards < best.1 {
                best = (id, towards);
            }
        }
        scorer.item.remove(best.0);
        removed.push(best.0);
        if scorer.is_given()? != given {
            return Ok(Some(removed));
        }
    }
    removed.iter().try_for_each(|&id| scorer.item.add(id).map(drop))?;
    Ok(None)
}

/// The smaller, the nearer to the other decision.
fn towards(given: bool, logit: f32) -> f32 {
    if given { logit } else { -logit }
}

/// The number of sets of `size` out of `n`, or more than will be tried.
fn subsets(n: usize, size: usize) -> usize {
    (0..size).fold(1, |count: usize, i| (count * (n - i) / (i + 1)).min(TRIED + 1))
}

/// Tries all sets of keywords of one size.
struct Search<'s, 'a> {
    scorer: &'s mut Scorer<'a>,
    given: bool,
    removed: Vec<u32>,
    /// The best set that turns the decision, with how far it moves the logit.
    best: Option<(f32, Vec<u32>)>,
}

impl Search<'_, '_> {
    /// Takes `size` more keywords away, from the one at `first` on, in every way.
    fn run(&mut self, first: usize, size: usize) -> Result<()> {
        let count = self.scorer.item.ids().len();
        for place in first..(count + 1).saturating_sub(size) {
            let id = self.scorer.item.ids()[place];
            if size > 1 {
                self.scorer.item.remove(id);
                self.removed.push(id);
                self.run(place, size - 1)?;
                self.removed.pop();
                self.scorer.item.add(id)?;
                continue;
            }
            let towards = towards(self.given, self.scorer.logit_without(id)?);
            let is_better = self.best.as_ref().is_none_or(|(best, _)| towards < *best);
            if is_better && self.scorer.is_given_without(id)? != self.given {
                self.best = Some((towards, [&self.removed[..], &[id]].concat()));
            }
        }
        Ok(())
    }
}

/// h / a where h is not zero; where it is, what the unit passes on.
fn slope(activation: Activation, h: f32) -> Result<f64> {
    match activation {
        Activation::Relu | Activation::Trec(_) | Activation::Tlin(_) => Ok(f64::from(u8::from(h != 0.0))),
        Activation::LeakyRelu(slope) => Ok(if h > 0.0 { 1.0 } else { f64::from(slope) }),
        Activation::Identity => Ok(1.0),
        Activation::Elu(_) | Activation::Sigmoid => Err(Error::Config {
            option: "activation",
            expected: "a model with piecewise linear units (relu, leaky_relu, trec, tlin, identity), whose logits are sums of keywords",
            found: activation.to_string(),
        }),
    }
}

/// Scores a sample for one tag, while keywords come and go.
struct Scorer<'a> {
    tag: usize,
    threshold: f32,
    item: Accumulator<'a>,
    all: Vec<f32>,
}

impl<'a> Scorer<'a> {
    fn new(tagger: &'a Tagger, ids: &[u32], tag: usize) -> Result<Self> {
        let tags = tagger.tags().len();
        if tag >= tags {
            return Err(Error::Length { what: "tags", expected: tag.saturating_add(1), found: tags });
        }
        let mut item = Accumulator::new(tagger);
        ids.iter().try_for_each(|&id| item.add(id).map(drop))?;
        Ok(Scorer { tag, threshold: tagger.tags()[tag].threshold, item, all: vec![0.0; tags] })
    }

    fn score(&mut self) -> Result<f32> {
        self.item.score(&mut self.all)?;
        Ok(self.all[self.tag])
    }

    fn score_without(&mut self, id: u32) -> Result<f32> {
        self.item.score_without(id, &mut self.all)?;
        Ok(self.all[self.tag])
    }

    fn logit(&mut self) -> Result<f32> {
        self.item.logits(&mut self.all)?;
        Ok(self.all[self.tag])
    }

    fn logit_without(&mut self, id: u32) -> Result<f32> {
        self.item.logits_without(id, &mut self.all)?;
        Ok(self.all[self.tag])
    }

    fn is_given(&mut self) -> Result<bool> {
        Ok(self.score()? >= self.threshold)
    }

    fn is_given_without(&mut self, id: u32) -> Result<bool> {
        Ok(self.score_without(id)? >= self.threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aligned::{Block, as_floats_mut};
    use crate::format::{Extensions, ModelParts, Provenance};
    use crate::layers::tests::random_blocks;
    use crate::network::{Network, OutputLayout, Pooling, Shape, Weights};
    use crate::tags::Tags;
    use crate::vocab::Vocabulary;

    const KEYWORDS: usize = 12;

    /// Random weights, for groups of tags.
    fn tagger(activation: Activation, hidden: usize, groups: &[usize], layout: OutputLayout) -> Tagger {
        pooled(Pooling::Sum, activation, hidden, groups, layout)
    }

    fn pooled(pooling: Pooling, activation: Activation, hidden: usize, groups: &[usize], layout: OutputLayout) -> Tagger {
        let shape = Shape::new(KEYWORDS, hidden, groups, layout).unwrap();
        let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>();
        let (row, mut w1) = (shape.row_blocks() * LANES, random_blocks(1, shape.w1_blocks()));
        let mut b1 = random_blocks(2, shape.row_blocks());
        let unit = |i: usize| i % (row / groups.len()) < hidden;
        for blocks in [&mut w1, &mut b1] {
            as_floats_mut(blocks).iter_mut().enumerate().filter(|(i, _)| !unit(*i % row)).for_each(|(_, w)| *w = 0.0);
        }
        let (mut w2, mut b2) = (vec![Block::ZERO; shape.w2_blocks()], vec![Block::ZERO; shape.slot_blocks()]);
        let random = random_blocks(3, shape.w2_blocks() + shape.slot_blocks());
        for tag in 0..shape.tags() {
            let group = shape.groups().iter().find(|group| group.tags.contains(&tag)).unwrap();
            for unit in 0..hidden {
                let index = shape.w2_index(group, unit, tag - group.tags.start);
                as_floats_mut(&mut w2)[index] = as_floats(&random)[index];
            }
            as_floats_mut(&mut b2)[shape.slot(tag)] = as_floats(&random)[shape.w2_blocks() * LANES + shape.slot(tag)];
        }
        let vocabulary = Vocabulary::from_keywords(names("k", KEYWORDS)).unwrap();
        let parts = ModelParts {
            weights: Weights { w1: &w1, b1: &b1, w2: &w2, b2: &b2 }.into(),
            vocabulary: vocabulary.view(),
            tags: &Tags::from_names(names("t", shape.tags())).unwrap(),
            provenance: &Provenance::new(),
            extensions: &Extensions::default(),
            network: &Network { shape, pooling, activation, eps: 1e-4 },
        };
        Tagger::new(parts.to_model().unwrap())
    }

    #[test]
    fn contributions_and_bias_sum_up_to_the_logit() {
        for activation in ["relu", "leaky_relu:0.2", "trec:0.1", "tlin:0.1", "identity"] {
            for (hidden, groups, layout, pooling) in [
                (20, vec![70], OutputLayout::Panels, Pooling::Sum),
                (5, vec![2, 3], OutputLayout::TagMajor, Pooling::Mean),
                (17, vec![9, 1], OutputLayout::Panels, Pooling::Mean),
                (6, vec![2], OutputLayout::TagMajor, Pooling::Sum),
            ] {
                let tagger = pooled(pooling, activation.parse().unwrap(), hidden, &groups, layout);
                for tag in 0..tagger.tags().len() {
                    let Explanation { logit, calibrated_logit, score, bias, keywords } =
                        explain(&tagger, &[7, 3, 11, 3, 0], tag).unwrap();
                    assert_eq!(calibrated_logit, None);
                    let parts = || keywords.iter().map(|keyword| keyword.contribution);
                    let (sum, size) = (parts().sum::<f64>() + bias, parts().map(f64::abs).sum::<f64>() + bias.abs());
                    // Some 25 roundings to 24 bits, of sums that can be larger than the parts.
                    assert!((sum - f64::from(logit)).abs() <= 1e-5 * (1.0 + size), "{activation} {tag}: {sum} {logit}");
                    assert!(keywords.iter().map(|keyword| keyword.id).eq([0, 3, 7, 11]));
                    let mut scores = vec![0.0; tagger.tags().len()];
                    tagger.score(&[0, 3, 7, 11], &mut tagger.scratch(), &mut scores).unwrap();
                    assert_eq!(score, scores[tag]);
                    tagger.score(&[0, 3, 11], &mut tagger.scratch(), &mut scores).unwrap();
                    assert_eq!(keywords[2].score_without, scores[tag]);
                }
            }
        }
    }

    /// With identity units everything is linear: a contribution is what the logit loses with its keyword.
    #[test]
    fn a_linear_model_loses_the_contribution() {
        let tagger = tagger(Activation::Identity, 6, &[9], OutputLayout::Panels);
        let explanation = explain(&tagger, &[1, 4, 9], 8).unwrap();
        let without = explain(&tagger, &[1, 9], 8).unwrap();
        let lost = f64::from(explanation.logit) - f64::from(without.logit);
        assert!((lost - explanation.keywords[1].contribution).abs() < 1e-5);
        assert!((explanation.bias - f64::from(explain(&tagger, &[], 8).unwrap().logit)).abs() < 1e-5);
    }

    /// All sets of keywords, smallest first, scored afresh.
    fn smallest_flip(tagger: &Tagger, all: &[u32], tag: usize) -> Option<usize> {
        let given = |ids: &[u32]| {
            let mut scores = vec![0.0; tagger.tags().len()];
            tagger.score(ids, &mut tagger.scratch(), &mut scores).unwrap();
            scores[tag] >= tagger.tags()[tag].threshold
        };
        let of = |set: u32| (0..all.len()).filter(|i| set >> i & 1 == 0).map(|i| all[i]).collect::<Vec<_>>();
        let flips = |&set: &u32| given(&of(set)) != given(all);
        (0..1_u32 << all.len()).filter(flips).map(|set| set.count_ones() as usize).min()
    }

    #[test]
    fn the_smallest_set_that_flips_a_tag_is_found() {
        let tagger = tagger(Activation::Relu, 20, &[70], OutputLayout::Panels);
        let all = [0, 2, 3, 5, 6, 8, 9, 11];
        let mut sizes = [0; 9];
        for tag in 0..70 {
            let Flip { keywords, is_smallest } = flip(&tagger, &all, tag).unwrap();
            assert!(is_smallest);
            let smallest = smallest_flip(&tagger, &all, tag);
            assert_eq!(keywords.as_ref().map(Vec::len), smallest, "{tag}");
            let Some(removed) = keywords else { continue };
            let mut scorer = Scorer::new(&tagger, &all, tag).unwrap();
            let before = scorer.is_given().unwrap();
            removed.iter().for_each(|&id| assert!(scorer.item.remove(id)));
            assert_ne!(scorer.is_given().unwrap(), before, "{tag}");
            sizes[removed.len()] += 1;
        }
        // Sizes that greed alone may miss occur.
        assert!(sizes[1] > 5 && sizes[2] > 5 && sizes[3..].iter().sum::<usize>() > 5, "{sizes:?}");
        assert_eq!(flip(&tagger, &[], 0).unwrap(), Flip { keywords: None, is_smallest: true });
    }

    #[test]
    fn greed_ends_at_its_limit() {
        let tagger = tagger(Activation::Relu, 20, &[70], OutputLayout::Panels);
        let all = [0, 2, 3, 5, 6, 8, 9, 11];
        let mut scorers = (0..70).map(|tag| Scorer::new(&tagger, &all, tag).unwrap());
        let of_two = scorers.find_map(|mut scorer| {
            let given = scorer.is_given().unwrap();
            let found = greedy(&mut scorer, given, GREEDY).unwrap().filter(|found| found.len() == 2)?;
            found.iter().for_each(|&id| assert!(scorer.item.add(id).unwrap()));
            Some((scorer, given, found))
        });
        let (mut scorer, given, found) = of_two.unwrap();
        for limit in [0, 7, 8, 14] {
            assert_eq!(greedy(&mut scorer, given, limit).unwrap(), None);
            assert_eq!(scorer.item.ids(), all, "all are back");
        }
        assert_eq!(greedy(&mut scorer, given, 8 + 7).unwrap(), Some(found));
        let scored = |keywords: usize, away: usize| (0..away).map(|n| keywords - n).sum::<usize>();
        assert!(scored(446, 446) <= GREEDY && scored(447, 447) > GREEDY);
        assert!(scored(1000, 105) <= GREEDY && scored(1000, 106) > GREEDY);
    }

    #[test]
    fn many_keywords_are_left_to_greed() {
        assert_eq!([subsets(199, 2), subsets(49, 3), subsets(14, 7)], [19_701, 18_424, 3_432]);
        let tried = |n, largest| (1..=largest).map(|size| subsets(n, size)).sum::<usize>() <= TRIED;
        assert!(tried(199, 2) && !tried(200, 2) && tried(49, 3) && !tried(50, 3) && tried(14, 14) && !tried(15, 15));
        assert_eq!(
            (subsets(10_000, 5_000), subsets(3, 0), (1..=14).map(|k| subsets(14, k)).sum()),
            (TRIED + 1, 1, 16_383_usize)
        );
    }

    #[test]
    fn what_has_no_parts_is_refused() {
        for activation in ["sigmoid", "elu:1"] {
            let tagger = tagger(activation.parse().unwrap(), 4, &[2], OutputLayout::TagMajor);
            assert!(matches!(explain(&tagger, &[1], 0), Err(Error::Config { option: "activation", .. })));
            assert!(flip(&tagger, &[1], 0).is_ok());
        }
        let tagger = tagger(Activation::Relu, 4, &[2], OutputLayout::TagMajor);
        assert!(matches!(explain(&tagger, &[12], 0), Err(Error::KeywordOutOfRange { .. })));
        for tag in [2, usize::MAX] {
            assert!(matches!(explain(&tagger, &[1], tag), Err(Error::Length { .. })));
        }
        assert!(matches!(flip(&tagger, &[1], 2), Err(Error::Length { .. })));
    }
}
