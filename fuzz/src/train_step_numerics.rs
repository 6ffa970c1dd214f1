//! Training steps of any configuration on any samples: the same at every level, and a step that fails has changed nothing.

use super::parts::activation;
use super::source::{Source, bits};
use tagomatic::aligned::as_floats;
use tagomatic::kernels::LossKind;
use tagomatic::network::Weights;
use tagomatic::train::Reduction;
use tagomatic::train::{
    Anchor, AnchorKind, Autoencoder, Correction, DecayMode, DecayWhen, EpsilonPlace, Negatives, Objective, OptimizerKind,
    PairWeights, Parameters, Penalty, PenaltyKind, Rowwise, Sample, Statistics, Targets, TrainConfig, Trainer,
};
use tagomatic::{Error, Level, Provenance, Tags, Vocabulary};

const KEYWORDS: usize = 11;

/// A sane value, or a number of any size.
fn or_any(source: &mut Source<'_>, sane: &[f64]) -> f64 {
    if source.rarely(8) { f64::from(source.number()) } else { source.of(sane) }
}

fn config(source: &mut Source<'_>) -> TrainConfig {
    let p = or_any(source, &[0.05, 0.5]);
    let kind = source.of(&[
        PenaltyKind::L1,
        PenaltyKind::StudentT,
        PenaltyKind::MeanSquare(p),
        PenaltyKind::KlMean(p),
        PenaltyKind::CeMean(p),
        PenaltyKind::KlElem(p),
    ]);
    let weight = or_any(source, &[0.0, 0.01, 1.0]);
    let negatives = source.of(&[None, None, Some(3)]);
    let autoencoder = Autoencoder { tied: source.flag(), negatives, power: 0.75 };
    let anchor = Anchor { kind: source.of(AnchorKind::ALL), power: 0.5 };
    let objective =
        source.of(&[Objective::Tagger, Objective::Tagger, Objective::Autoencoder(autoencoder), Objective::Anchor(anchor)]);
    TrainConfig {
        objective,
        hidden_bias: source.flag(),
        hidden: source.of(&[0, 1, 3, 17]),
        activation: activation(source),
        lr: or_any(source, &[0.0, 0.01, 0.5, 1e3]),
        lr_decay: or_any(source, &[0.0, 0.1]),
        optimizer: source.of(OptimizerKind::ALL),
        epsilon: or_any(source, &[1e-10, 1e-3]),
        epsilon_place: source.of(EpsilonPlace::ALL),
        rowwise: Rowwise { w1: source.flag(), b1: source.flag(), w2: source.flag(), b2: source.flag() },
        initial_square: or_any(source, &[0.0, 0.01]),
        initial_scale: or_any(source, &[0.1, 1.0]),
        l1: or_any(source, &[0.0, 1e-3]),
        l2: or_any(source, &[0.0, 1e-3]),
        decay: source.of(DecayMode::ALL),
        decay_when: source.of(DecayWhen::ALL),
        loss: source.of(LossKind::ALL),
        eps: source.of(&[0.0, 1e-4, 0.499, 1e-45]),
        reduction: source.of(Reduction::ALL),
        dropout_in: source.of(&[0.0, 0.0, 0.5]),
        dropout_hidden: source.of(&[0.0, 0.0, 0.5]),
        penalty: source.rarely(4).then_some(Penalty { kind, weight }),
        negatives: Negatives::All,
        correction: source.of(Correction::ALL),
        ..TrainConfig::default()
    }
}

/// A sample's own arrays.
struct Drawn {
    keywords: Vec<u32>,
    positives: Vec<u32>,
    soft: Option<Vec<f32>>,
    weights: u8,
    weight: f32,
    words: Vec<u64>,
    per_tag: Vec<f32>,
}

fn drawn(source: &mut Source<'_>, tags: usize) -> Drawn {
    let mut numbers = |draw: fn(&mut Source<'_>) -> f32| {
        let numbers = source.numbers(4, draw);
        (0..tags).map(|tag| numbers[tag % numbers.len()]).collect::<Vec<_>>()
    };
    let (soft, per_tag) = (numbers(|source| f32::from(source.any::<u8>()) / 255.0), numbers(|source| source.number().abs()));
    let (word, keywords) = (source.any::<u64>(), KEYWORDS + usize::from(source.rarely(32)));
    Drawn {
        keywords: source.set(keywords),
        positives: source.set(tags),
        soft: source.flag().then_some(soft),
        weights: source.any(),
        weight: if source.rarely(8) { source.number() } else { 1.0 },
        words: (0..tags.div_ceil(64)).map(|at| if at == tags / 64 { word & ((1 << (tags % 64)) - 1) } else { word }).collect(),
        per_tag,
    }
}

impl Drawn {
    fn sample(&self, index: usize) -> Sample<'_> {
        let targets = self.soft.as_ref().map_or(Targets::Tags(&self.positives), |soft| Targets::Soft(soft));
        let weights = match self.weights % 4 {
            0 => PairWeights::All(self.weight),
            1 => {
                let negatives = (self.weights & 4 != 0).then_some(&self.per_tag[..]);
                PairWeights::Scored { tags: &self.words, weight: self.weight, negatives }
            }
            2 => PairWeights::PerTag(&self.per_tag),
            _ => PairWeights::Listed { negatives: &self.keywords, weight: self.weight },
        };
        Sample { index: index as u32, keywords: &self.keywords, targets, weights }
    }
}

/// The bits of weights and squared-gradient sums.
fn state(trainer: &Trainer) -> Vec<u32> {
    let of = |parameters: Parameters| {
        let Weights { w1, b1, w2, b2 } = parameters.weights();
        [w1, b1, w2, b2].map(|part| bits(as_floats(part))).concat()
    };
    let mut state = [of(trainer.snapshot()), of(trainer.squares())].concat();
    state.push(trainer.steps() as u32);
    state
}

pub fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let tag_count = source.of(&[1, 2, 5, 17, 70]);
    let config = config(&mut source);
    let outputs = if matches!(config.objective, Objective::Autoencoder(_)) { KEYWORDS } else { tag_count };
    let names = |prefix: char, count: usize| (0..count).map(|number| format!("{prefix}{number}")).collect::<Vec<_>>();
    let tags = if outputs == tag_count { names('t', tag_count) } else { Vec::new() };
    let positives = (0..outputs).map(|output| u64::from(source.any::<u8>()) % (output as u64 + 3)).collect();
    let statistics = Statistics { samples: source.below(40) as u64 + 2, mean_keywords: 3.0, positives };
    let trainer = |level| {
        let vocabulary = Vocabulary::from_keywords(names('k', KEYWORDS))?;
        let mut trainer = Trainer::new(config.clone(), vocabulary, Tags::from_names(tags.clone())?, &statistics)?;
        trainer.set_level(level)?;
        Ok::<_, Error>(trainer)
    };
    let (mut best, mut scalar) = match (trainer(Level::best()), trainer(Level::Scalar)) {
        (Ok(best), Ok(scalar)) => (best, scalar),
        (Err(error), Err(_)) => {
            assert!(matches!(error, Error::Config { .. } | Error::NoData { .. }), "{error:?}");
            return;
        }
        _ => panic!("made at one level alone"),
    };
    for _ in 0..1 + source.below(4) {
        if source.is_empty() {
            break;
        }
        let drawn: Vec<Drawn> = (0..source.below(5)).map(|_| drawn(&mut source, outputs)).collect();
        let samples: Vec<Sample<'_>> = drawn.iter().enumerate().map(|(index, drawn)| drawn.sample(index)).collect();
        let before = state(&best);
        match (best.step(&samples), scalar.step(&samples)) {
            (Ok(report), Ok(other)) => {
                assert_eq!(format!("{report:?}"), format!("{other:?}"));
                assert!(report.loss_sum.is_finite() && report.penalty.is_finite(), "{report:?}");
            }
            (Err(error), Err(other)) => {
                assert_eq!(error.to_string(), other.to_string());
                assert!(
                    matches!(
                        error,
                        Error::NonFinite { .. } | Error::Config { .. } | Error::KeywordOutOfRange { .. } | Error::Length { .. }
                    ),
                    "{error:?}"
                );
                assert_eq!(state(&best), before, "{error}");
            }
            (one, other) => panic!("{one:?} and {other:?}"),
        }
        assert_eq!(state(&best), state(&scalar));
    }
    match best.model(Provenance::new()) {
        Ok(model) => model.verify().expect("a model that was made"),
        Err(error) => assert!(matches!(error, Error::BadWeight { .. }), "{error:?}"),
    }
}
