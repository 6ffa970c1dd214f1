//! What a network learns: what its outputs are, and on which of them a step scores a sample.
//!
//! | objective | outputs | rows of output weights | scored |
//! | --- | --- | --- | --- |
//! | [`Objective::Tagger`] | tags | hidden units, all in every step | all tags; or a tag's positives and some of its negatives |
//! | [`Objective::Autoencoder`] | keywords | keywords (D, or W1 itself) | the sample's keywords, and all or some others |
//! | [`Objective::Anchor`] | tags | tags (V) | the sample's tags, and all or some others |
//!
//! It is one network and one trainer: objectives give the trainer its samples ([`super::Sample`]), its initial values and the form of its
//! parameters, and nothing else.

mod anchor;
mod autoencoder;
mod tagger;

pub use anchor::{Anchor, AnchorKind};
pub use autoencoder::{Autoencoder, Pretrain};

use super::batch::{PairWeights, Sample, Targets};
use super::config::{Correction, Negatives, TrainConfig};
use super::parameters::{Statistics, prior_logit};
use super::trainer::Trainer;
use crate::aligned::Block;
use crate::csr::Csr;
use crate::data::{Dataset, WeightedDraws};
use crate::error::{Error, Result};
use crate::network::{Activation, OutputLayout, Pooling, Shape};
use crate::rng::{Drawn, Parameter, Philox};
use tagger::TagPairs;

/// Draws that a sample gets in a step, at most: each is tried up to 64 times.
const MOST_DRAWS: usize = 1_000_000;

/// What the network is trained for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Objective {
    /// A probability for every tag.
    #[default]
    Tagger,
    /// The sample's own keywords, through the hidden units: a first layer for a tagger, see [`Pretrain`].
    Autoencoder(Autoencoder),
    /// Vectors of keywords and tags whose products tell which tags a sample has.
    Anchor(Anchor),
}

/// How output weights are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutputForm {
    /// Rows are hidden units; a step is on all of them.
    Units,
    /// Rows are outputs; a step is on those that are scored.
    Rows,
    /// They are W1, whose rows are outputs too.
    Tied,
}

/// Which layers have biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Biases {
    pub(super) hidden: bool,
    pub(super) output: bool,
}

impl TrainConfig {
    pub(super) fn output_form(&self) -> OutputForm {
        match self.objective {
            Objective::Tagger => OutputForm::Units,
            Objective::Autoencoder(Autoencoder { tied: true, .. }) => OutputForm::Tied,
            Objective::Autoencoder(_) | Objective::Anchor(_) => OutputForm::Rows,
        }
    }

    pub(super) fn biases(&self) -> Biases {
        match self.objective {
            Objective::Tagger | Objective::Autoencoder(_) => Biases { hidden: self.hidden_bias, output: true },
            Objective::Anchor(anchor) => {
                Biases { hidden: self.hidden_bias && anchor.kind == AnchorKind::Hidden, output: false }
            }
        }
    }

    /// The nonlinearity that the hidden units have; an anchor that is a sum or mean has none.
    #[must_use]
    pub fn hidden_activation(&self) -> Activation {
        match self.objective {
            Objective::Anchor(Anchor { kind: AnchorKind::Sum | AnchorKind::Mean, .. }) => Activation::Identity,
            _ => self.activation,
        }
    }

    pub(super) fn pooling(&self) -> Pooling {
        match self.objective {
            Objective::Anchor(Anchor { kind: AnchorKind::Mean, .. }) => Pooling::Mean,
            _ => Pooling::Sum,
        }
    }

    /// The sizes of the network for so many keywords and tags.
    pub(super) fn shape(&self, keywords: usize, tags: usize) -> Result<Shape> {
        let outputs = match self.objective {
            Objective::Autoencoder(_) => keywords,
            Objective::Tagger | Objective::Anchor(_) => tags,
        };
        let layout = match self.output_form() {
            OutputForm::Units => OutputLayout::for_tags(outputs),
            OutputForm::Rows | OutputForm::Tied => OutputLayout::TagMajor,
        };
        Shape::new(keywords, self.hidden, &[outputs], layout)
    }

    /// The stream and the fan-out of the initial output weights of a group with so many outputs.
    pub(super) fn initial_output(&self, statistics: &Statistics, outputs: usize) -> (Parameter, f64) {
        match self.objective {
            Objective::Tagger => (Parameter::W2, outputs as f64),
            Objective::Autoencoder(_) => (Parameter::Decoder, statistics.mean_keywords.max(1.0)),
            Objective::Anchor(_) => (Parameter::TagVectors, outputs as f64),
        }
    }

    /// The initial biases of the outputs: the log-odds of the counts that the loss sees.
    pub(super) fn initial_biases(&self, statistics: &Statistics) -> Result<Vec<f32>> {
        let drawn = match self.objective {
            Objective::Autoencoder(autoencoder) => autoencoder.expected_negatives(statistics)?,
            Objective::Tagger | Objective::Anchor(_) => None,
        };
        let of_output = |(output, &positives): (usize, &u64)| {
            let all = statistics.samples.saturating_sub(positives);
            let negatives = match (&drawn, self.negatives, self.correction) {
                (Some(drawn), ..) => drawn[output],
                // At the odds that the loss sees.
                (None, Negatives::Sampled(ratio), Correction::Shift) => all.min((ratio * positives as f64 + 0.5) as u64),
                (None, ..) => all,
            };
            prior_logit(positives, negatives) as f32
        };
        Ok(statistics.positives.iter().enumerate().map(of_output).collect())
    }

    /// Fails unless the objective's own choices are in range, and go with the others.
    pub(super) fn check_objective(&self) -> Result<()> {
        let error = |option, expected, found: String| Err(Error::Config { option, expected, found });
        let autoencoder = match (self.objective, self.pretrain) {
            (Objective::Tagger, None) => return Ok(()),
            (Objective::Tagger, Some(Pretrain { epochs: 0, .. })) => {
                return error("pretrain", "at least 1 epoch", "0".to_owned());
            }
            (Objective::Tagger, Some(pretrain)) => pretrain.autoencoder,
            (_, Some(_)) => return error("pretrain", "the objective tagger", "another".to_owned()),
            (Objective::Autoencoder(autoencoder), None) => autoencoder,
            (Objective::Anchor(anchor), None) => {
                if let Negatives::Sampled(ratio) = self.negatives {
                    check_draws_per_positive(ratio, 1)?;
                }
                return check_power(anchor.power);
            }
        };
        if let Some(m) = autoencoder.negatives
            && !(1..=MOST_DRAWS).contains(&m)
        {
            return error("decoder_negatives", "all, or from 1 to 1,000,000", m.to_string());
        }
        check_power(autoencoder.power)
    }

    /// The objective's choices as a model's provenance tells them; of a plain tagger nothing.
    pub(super) fn described_objective(&self) -> Vec<(&'static str, String)> {
        match (self.objective, self.pretrain) {
            (Objective::Tagger, None) => Vec::new(),
            (Objective::Tagger, Some(pretrain)) => {
                [vec![("pretrain", pretrain.epochs.to_string())], pretrain.autoencoder.described()].concat()
            }
            (Objective::Autoencoder(autoencoder), _) => {
                [vec![("objective", "autoencoder".to_owned())], autoencoder.described()].concat()
            }
            (Objective::Anchor(anchor), _) => vec![
                ("objective", "anchor".to_owned()),
                ("anchor", anchor.kind.to_string()),
                ("anchor_power", anchor.power.to_string()),
            ],
        }
    }
}

/// The pairs that an epoch scores.
#[derive(Clone, Debug)]
pub(super) enum EpochPairs {
    /// All of each sample.
    All,
    /// Each tag's positives, and those of its negatives that may be scored, or were drawn for the epoch.
    OfTags(TagPairs),
    /// Each sample's positives, and negatives that are drawn for it in each step.
    Drawn(SampleDraws),
}

/// How negatives are drawn for a sample.
#[derive(Clone, Debug)]
pub(super) struct SampleDraws {
    rng: Philox,
    drawn: Drawn,
    weights: WeightedDraws,
    count: DrawCount,
    /// Tags that each sample is no negative of; no rows where there are none.
    excluded: Csr,
}

/// How many negatives a sample gets.
#[derive(Clone, Copy, Debug)]
enum DrawCount {
    Each(usize),
    /// So many times its positives, to the nearest number.
    PerPositive(f64),
}

impl EpochPairs {
    /// ln π of the epoch, one a tag slot, if it has its own.
    pub(super) fn offsets(&self) -> Option<&[Block]> {
        if let EpochPairs::OfTags(pairs) = self { pairs.offsets.as_deref() } else { None }
    }

    /// What logits are to be shifted by when serving, one a tag slot, if the epoch tells.
    pub(super) fn shifts(&self) -> Option<&[Block]> {
        if let EpochPairs::OfTags(pairs) = self { pairs.shifts.as_deref() } else { None }
    }

    /// Whether any pair of a sample is scored.
    pub(super) fn scores(&self, sample: usize) -> bool {
        match self {
            EpochPairs::OfTags(pairs) => pairs.scores(sample),
            EpochPairs::All | EpochPairs::Drawn(_) => true,
        }
    }

    /// How negatives are drawn in each step, if they are.
    pub(super) fn draws(&self) -> Option<&SampleDraws> {
        match self {
            EpochPairs::Drawn(draws) => Some(draws),
            EpochPairs::All | EpochPairs::OfTags(_) => None,
        }
    }

    /// Sample `index` of the data set.
    pub(super) fn sample<'a>(&'a self, objective: Objective, dataset: &'a Dataset, index: u32) -> Sample<'a> {
        let i = index as usize;
        let weight = dataset.weight(i);
        Sample {
            index,
            keywords: dataset.keywords(i),
            targets: Targets::Tags(objective.positives(dataset, i)),
            weights: match self {
                EpochPairs::All => PairWeights::All(weight),
                EpochPairs::OfTags(pairs) => pairs.weights(i, weight),
                EpochPairs::Drawn(_) => PairWeights::Listed { negatives: &[], weight },
            },
        }
    }
}

impl SampleDraws {
    /// Adds the negatives of a sample in step `step` to `drawn`.
    pub(super) fn draw(&self, sample: &Sample<'_>, step: u64, drawn: &mut Vec<u32>) {
        let Targets::Tags(positives) = sample.targets else { return };
        let m = match self.count {
            DrawCount::Each(m) => m,
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
            DrawCount::PerPositive(ratio) => (ratio * positives.len() as f64 + 0.5).floor() as usize,
        };
        // Only the low word of the step names a decision.
        let key = |attempt| self.rng.draw_key(self.drawn, attempt, sample.index, step as u32);
        if self.excluded.is_empty() {
            return self.weights.draw(m, positives, key, drawn);
        }
        let mut excluded = [positives, self.excluded.row(sample.index as usize)].concat();
        excluded.sort_unstable();
        self.weights.draw(m, &excluded, key, drawn);
    }
}

/// Fails if so many draws for each of the positives of a sample are too many for a step.
fn check_draws_per_positive(ratio: f64, positives: usize) -> Result<()> {
    let draws = ratio * positives as f64;
    if draws <= MOST_DRAWS as f64 {
        return Ok(());
    }
    let expected = "all, or a ratio that gives no item more than 1,000,000 draws";
    let found = format!("{ratio}, which gives one {draws}");
    Err(Error::Config { option: "negatives", expected, found })
}

fn check_power(power: f64) -> Result<()> {
    let expected = "a number from 0 to 1";
    if (0.0..=1.0).contains(&power) {
        return Ok(());
    }
    Err(Error::Config { option: "power of counts", expected, found: power.to_string() })
}

impl Objective {
    /// The outputs that sample `i` has, ascending.
    fn positives(self, dataset: &Dataset, i: usize) -> &[u32] {
        match self {
            Objective::Autoencoder(_) => dataset.keywords(i),
            Objective::Tagger | Objective::Anchor(_) => dataset.tags(i),
        }
    }
}

impl Trainer {
    /// The pairs that `epoch` scores.
    pub(super) fn epoch_pairs(&self, dataset: &Dataset, epoch: u32) -> Result<EpochPairs> {
        let rng = Philox::new(self.config.seed);
        match (self.config.objective, self.config.negatives) {
            (Objective::Autoencoder(autoencoder), _) => autoencoder.epoch_pairs(rng, dataset, self.vocabulary.len()),
            (_, Negatives::All) if dataset.exclusions().is_empty() => Ok(EpochPairs::All),
            (_, Negatives::All) => Ok(EpochPairs::OfTags(TagPairs::all(dataset, self.tags.len()))),
            (Objective::Tagger, Negatives::Sampled(ratio)) => {
                self.sample_negatives(dataset, ratio, epoch).map(EpochPairs::OfTags)
            }
            (Objective::Anchor(anchor), Negatives::Sampled(ratio)) => {
                check_draws_per_positive(ratio, (0..dataset.len()).map(|i| dataset.tags(i).len()).max().unwrap_or(0))?;
                let weights = WeightedDraws::new(&dataset.tag_counts(self.tags.len()), anchor.power)?;
                let (drawn, count, excluded) = (Drawn::Tags, DrawCount::PerPositive(ratio), dataset.exclusions().clone());
                Ok(EpochPairs::Drawn(SampleDraws { rng, drawn, weights, count, excluded }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Reduction;

    fn objective(objective: Objective) -> TrainConfig {
        TrainConfig { objective, ..TrainConfig::default() }
    }

    #[test]
    fn outputs_begin_at_the_odds_of_what_the_loss_sees() {
        let statistics = Statistics { samples: 10, mean_keywords: 3.0, positives: vec![4, 5, 10] };
        let begins = |config: TrainConfig, negatives: [u64; 3]| {
            let odds = statistics.positives.iter().zip(negatives).map(|(n, negatives)| prior_logit(*n, negatives) as f32);
            assert_eq!(config.initial_biases(&statistics).unwrap(), odds.collect::<Vec<f32>>(), "{config:?}");
        };
        let tagger = objective(Objective::Tagger);
        begins(tagger.clone(), [6, 5, 0]);
        let negatives = Negatives::Sampled(0.4);
        begins(TrainConfig { negatives, correction: Correction::Shift, ..tagger.clone() }, [2, 2, 0]);
        begins(TrainConfig { negatives, correction: Correction::Offset, ..tagger }, [6, 5, 0]);
        // 20 draws, 4, 5 and 10 of 19 of them.
        let autoencoder = Autoencoder { negatives: Some(2), power: 1.0, ..Autoencoder::default() };
        begins(objective(Objective::Autoencoder(autoencoder)), [4, 5, 11]);
        begins(objective(Objective::Autoencoder(Autoencoder { negatives: None, ..autoencoder })), [6, 5, 0]);
        let fan_out = |mean_keywords| {
            let statistics = Statistics { mean_keywords, ..statistics.clone() };
            objective(Objective::Autoencoder(autoencoder)).initial_output(&statistics, 7).1
        };
        assert_eq!([0.0, 1.5, 3.0].map(fan_out), [1.0, 1.5, 3.0]);
    }

    /// What is drawn is rounded to the nearest number, and no tag has more positives than there are samples.
    #[test]
    fn outputs_begin_at_whole_numbers_that_are_not_negative() {
        let begins = |config: TrainConfig, samples, positives: &[u64], negatives: &[u64]| {
            let statistics = Statistics { samples, mean_keywords: 1.0, positives: positives.to_vec() };
            let odds = positives.iter().zip(negatives).map(|(n, negatives)| prior_logit(*n, *negatives) as f32);
            assert_eq!(config.initial_biases(&statistics).unwrap(), odds.collect::<Vec<f32>>(), "{config:?}");
        };
        let tagger = objective(Objective::Tagger);
        begins(tagger.clone(), 3, &[5], &[0]);
        let sampled =
            |ratio| TrainConfig { negatives: Negatives::Sampled(ratio), correction: Correction::Shift, ..tagger.clone() };
        begins(sampled(0.497), 10, &[1], &[0]);
        begins(sampled(0.5), 10, &[1], &[1]);
        let autoencoder = Autoencoder { negatives: Some(1), power: 1.0, ..Autoencoder::default() };
        begins(objective(Objective::Autoencoder(autoencoder)), 1, &[497, 503], &[0, 1]);
    }

    #[test]
    fn defaults_are_those_of_word_vectors() {
        assert_eq!(Anchor::default(), Anchor { kind: AnchorKind::Sum, power: 0.75 });
        assert_eq!(Autoencoder::default(), Autoencoder { tied: false, negatives: Some(20), power: 0.75 });
    }

    #[test]
    fn choices_out_of_their_range_are_refused() {
        for (power, ok) in [(0.0, true), (1.0, true), (-0.1, false), (1.5, false), (f64::NAN, false)] {
            let objectives = [
                Objective::Anchor(Anchor { power, ..Anchor::default() }),
                Objective::Autoencoder(Autoencoder { power, ..Autoencoder::default() }),
            ];
            for of in objectives {
                assert_eq!(objective(of).check_objective().is_ok(), ok, "{of:?}");
            }
        }
        for (negatives, ok) in
            [(None, true), (Some(0), false), (Some(1), true), (Some(MOST_DRAWS), true), (Some(MOST_DRAWS + 1), false)]
        {
            let autoencoder = Autoencoder { negatives, ..Autoencoder::default() };
            assert_eq!(objective(Objective::Autoencoder(autoencoder)).check_objective().is_ok(), ok, "{negatives:?}");
        }
        for (ratio, ok) in [(MOST_DRAWS as f64, true), (MOST_DRAWS as f64 + 1.0, false)] {
            let anchor =
                TrainConfig { negatives: Negatives::Sampled(ratio), ..objective(Objective::Anchor(Anchor::default())) };
            assert_eq!(anchor.check_objective().is_ok(), ok, "{ratio}");
        }
    }

    #[test]
    fn an_autoencoder_before_a_tagger_is_told_and_averages_what_it_scores() {
        let described = |negatives, tied| {
            let autoencoder = Autoencoder { negatives, tied, ..Autoencoder::default() };
            let tagger = TrainConfig { pretrain: Some(Pretrain { epochs: 3, autoencoder }), ..TrainConfig::default() };
            let told: Vec<String> =
                tagger.described_objective().into_iter().map(|(key, value)| format!("{key} {value}")).collect();
            (tagger.pretrain.unwrap().config(&tagger).reduction, told.join(", "))
        };
        let told = "pretrain 3, decoder untied, decoder_negatives 20, decoder_power 0.75";
        assert_eq!(described(Some(20), false), (Reduction::MeanActive, told.to_owned()));
        let told = "pretrain 3, decoder tied, decoder_negatives all, decoder_power 0.75";
        assert_eq!(described(None, true), (Reduction::Mean, told.to_owned()));
    }

    #[test]
    fn no_draw_is_a_tag_of_the_item_or_excluded() {
        let sample = Sample { index: 0, keywords: &[], targets: Targets::Tags(&[2, 5]), weights: PairWeights::All(1.0) };
        let draws = |ratio, counts: &[u64], excluded: &[&[u32]]| {
            let mut rows = Csr::new();
            excluded.iter().for_each(|ids| assert!(rows.push(ids.iter().copied()).is_ok()));
            let (rng, weights) = (Philox::new(1), WeightedDraws::new(counts, 1.0).unwrap());
            let draws = SampleDraws { rng, drawn: Drawn::Tags, weights, count: DrawCount::PerPositive(ratio), excluded: rows };
            let mut drawn = Vec::new();
            (0..100).for_each(|step| draws.draw(&sample, step, &mut drawn));
            drawn
        };
        let excluding: [(&[&[u32]], &[u32]); 2] = [(&[], &[0, 1, 3, 4, 6, 7]), (&[&[0, 7]], &[1, 3, 4, 6])];
        for (excluded, left) in excluding {
            let mut drawn = draws(4.0, &[1; 8], excluded);
            assert_eq!(drawn.len(), 100 * 8);
            drawn.sort_unstable();
            drawn.dedup();
            assert_eq!(drawn, left);
        }
        // So many times the two tags, to the nearest number.
        for (ratio, each) in [(0.2, 0), (0.2485, 0), (0.25, 1), (0.5, 1), (0.7, 1), (0.75, 2), (1.2, 2)] {
            assert_eq!(draws(ratio, &[1; 8], &[]).len(), 100 * each, "{ratio}");
        }
    }
}
