//! Why a tag has its score: what each keyword adds to the logit.
//!
//! Where the activation is piecewise linear, h_j = s_j·a_j with a slope s_j that the sample fixes, and the logit falls into parts:
//!
//! ```text
//! z_t = b2_t + Σ_j s_j·b1_j·W2[j,t]  +  Σ_{k∈S} Σ_j s_j·W1[k,j]·W2[j,t]
//!       ------------ bias ---------       - contribution of k --------
//! ```
//!
//! Where keywords are pooled by their mean, W1[k,j] counts 1/|S|. The parts tell how this logit is made, not what would happen without a keyword: then other units can be active. For that the
//! sample is scored again without it.

use crate::aligned::{LANES, as_floats};
use crate::error::{Error, Result};
use crate::ids::canonicalize;
use crate::network::{Activation, Pooling};
use crate::tagger::{Scratch, Tagger};

/// The parts of one tag's logit for one sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The logit that [`Tagger::logits`] gives.
    pub logit: f32,
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
    let ids = std::mem::take(&mut scorer.ids);
    let logit = scorer.logit(&ids)?;
    let score = scorer.score(&ids)?;

    // The tag's group alone has a say.
    let number = shape.groups().partition_point(|group| group.tags.end <= tag);
    let group = &shape.groups()[number];
    let mut hidden = vec![0.0; shape.hidden() * shape.groups().len()];
    tagger.hidden(&ids, &mut scorer.scratch, &mut hidden)?;
    let w2 = as_floats(weights.w2);
    let mut slopes = Vec::with_capacity(shape.hidden());
    for (unit, &h) in hidden[number * shape.hidden()..][..shape.hidden()].iter().enumerate() {
        let to_tag = f64::from(w2[shape.w2_index(group, unit, tag - group.tags.start)]);
        slopes.push(slope(network.activation, h)? * to_tag);
    }
    let part = |row: &[f32]| -> f64 {
        let units = &row[group.hidden.start * LANES..][..slopes.len()];
        units.iter().zip(&slopes).map(|(&w, slope)| f64::from(w) * slope).sum()
    };
    let share = match network.pooling {
        Pooling::Sum => 1.0,
        Pooling::Mean => 1.0 / ids.len().max(1) as f64,
    };
    let (w1, row) = (as_floats(weights.w1), shape.row_blocks() * LANES);
    let mut without = Vec::with_capacity(ids.len());
    let mut keywords = Vec::with_capacity(ids.len());
    for (place, &id) in ids.iter().enumerate() {
        leave_out(&ids, place, &mut without);
        let contribution = share * part(&w1[id as usize * row..][..row]);
        keywords.push(Contribution { id, contribution, score_without: scorer.score(&without)? });
    }
    let bias = f64::from(as_floats(weights.b2)[shape.slot(tag)]) + part(as_floats(weights.b1));
    Ok(Explanation { logit, score, bias, keywords })
}

/// Keywords whose removal turns the decision about a tag round: gives it if it was not given, takes it if it was, by the tag's
/// threshold. `None` if the decision stays until no keyword is left.
///
/// They are found greedily: the keyword whose removal moves the logit furthest goes first, the lowest id among equals. So they are
/// few, but there can be smaller sets. It scores the sample up to n²/2 times for n keywords.
///
/// # Errors
/// [`Error::KeywordOutOfRange`] if the model has no such id; [`Error::Length`] if it has no such tag.
pub fn flip(tagger: &Tagger, ids: &[u32], tag: usize) -> Result<Option<Vec<u32>>> {
    let mut scorer = Scorer::new(tagger, ids, tag)?;
    let mut left = std::mem::take(&mut scorer.ids);
    let threshold = tagger.tags()[tag].threshold;
    let given = scorer.score(&left)? >= threshold;
    let (mut removed, mut without) = (Vec::new(), Vec::with_capacity(left.len()));
    while !left.is_empty() {
        let mut best = (0, f32::INFINITY);
        for place in 0..left.len() {
            leave_out(&left, place, &mut without);
            let logit = scorer.logit(&without)?;
            let towards = if given { logit } else { -logit };
            if towards < best.1 {
                best = (place, towards);
            }
        }
        removed.push(left.remove(best.0));
        if (scorer.score(&left)? >= threshold) != given {
            return Ok(Some(removed));
        }
    }
    Ok(None)
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

/// Writes `ids` without the one at `place` to `without`.
fn leave_out(ids: &[u32], place: usize, without: &mut Vec<u32>) {
    without.clear();
    without.extend_from_slice(&ids[..place]);
    without.extend_from_slice(&ids[place + 1..]);
}

/// Scores samples for one tag.
struct Scorer<'a> {
    tagger: &'a Tagger,
    tag: usize,
    ids: Vec<u32>,
    scratch: Scratch,
    all: Vec<f32>,
}

impl<'a> Scorer<'a> {
    fn new(tagger: &'a Tagger, ids: &[u32], tag: usize) -> Result<Self> {
        let tags = tagger.tags().len();
        if tag >= tags {
            return Err(Error::Length { what: "tags", expected: tag + 1, found: tags });
        }
        let mut ids = ids.to_vec();
        canonicalize(&mut ids);
        Ok(Scorer { tagger, tag, ids, scratch: tagger.scratch(), all: vec![0.0; tags] })
    }

    fn score(&mut self, ids: &[u32]) -> Result<f32> {
        self.tagger.score(ids, &mut self.scratch, &mut self.all)?;
        Ok(self.all[self.tag])
    }

    fn logit(&mut self, ids: &[u32]) -> Result<f32> {
        self.tagger.logits(ids, &mut self.scratch, &mut self.all)?;
        Ok(self.all[self.tag])
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
            weights: Weights { w1: &w1, b1: &b1, w2: &w2, b2: &b2 },
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
                    let Explanation { logit, score, bias, keywords } = explain(&tagger, &[7, 3, 11, 3, 0], tag).unwrap();
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

    #[test]
    fn what_flips_a_tag_flips_it() {
        let tagger = tagger(Activation::Relu, 20, &[70], OutputLayout::Panels);
        let all: Vec<u32> = (0..KEYWORDS as u32).collect();
        let mut flipped = 0;
        for tag in 0..70 {
            let mut scorer = Scorer::new(&tagger, &all, tag).unwrap();
            let mut given = |ids: &[u32]| scorer.score(ids).unwrap() >= 0.5;
            let Some(removed) = flip(&tagger, &all, tag).unwrap() else { continue };
            let left = |removed: &[u32]| all.iter().copied().filter(|id| !removed.contains(id)).collect::<Vec<_>>();
            assert_ne!(given(&left(&removed)), given(&all), "{tag}");
            assert_eq!(given(&left(&removed[..removed.len() - 1])), given(&all), "{tag}: one less would do");
            flipped += 1;
        }
        assert!(flipped > 30, "{flipped}");
        assert_eq!(flip(&tagger, &[], 0).unwrap(), None);
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
        assert!(matches!(explain(&tagger, &[1], 2), Err(Error::Length { .. })));
        assert!(matches!(flip(&tagger, &[1], 2), Err(Error::Length { .. })));
    }
}
