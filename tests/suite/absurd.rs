//! Random configurations through the whole trainer, from items to a model that tags: each ends in a model of finite weights or in a
//! typed error.

use std::ops::ControlFlow;

use tagomatic::aligned::{Block, I8Block, as_floats};
use tagomatic::data::{Corpus, Item};
use tagomatic::ids::Sets;
use tagomatic::kernels::{Kernels, LossKind};
use tagomatic::metrics::Metric;
use tagomatic::network::{Activation, Weights};
use tagomatic::rng::Philox;
use tagomatic::train::Reduction;
use tagomatic::train::recipe::{TrainingSet, Validation};
use tagomatic::train::{
    Anchor, AnchorKind, Autoencoder, Correction, DecayMode, DecayWhen, EpsilonPlace, Negatives, Objective, OptimizerKind,
    Penalty, PenaltyKind, Pretrain, Rowwise, TrainConfig,
};
use tagomatic::weights::Matrix;
use tagomatic::{Error, Level, Model, Result, Tagger};

const CONFIGURATIONS: u32 = 5000;

/// The draws of one configuration.
struct Draws {
    number: u32,
    drawn: u32,
}

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.drawn += 1;
        Philox::new(9).block([self.number, self.drawn, 0, 54])[0] as usize % bound
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// One of two kinds of value: every eighth is absurd.
    fn rarely<T: Copy>(&mut self, sane: &[T], absurd: &[T]) -> T {
        if self.below(8) == 0 { self.of(absurd) } else { self.of(sane) }
    }

    fn config(&mut self) -> TrainConfig {
        let activations = [
            Activation::Relu,
            Activation::LeakyRelu(0.1),
            Activation::Elu(1.0),
            Activation::Sigmoid,
            Activation::Trec(0.1),
            Activation::Tlin(0.1),
            Activation::Identity,
        ];
        let absurd_activations = [
            Activation::LeakyRelu(0.999_999),
            Activation::Elu(3e38),
            Activation::Elu(1e-38),
            Activation::Trec(3e38),
            Activation::Tlin(0.0),
        ];
        let activation = self.rarely(&activations, &absurd_activations);
        let p = self.rarely(&[0.05, 0.5], &[1e-300, 1.0 - 1e-16]);
        let any_units = [PenaltyKind::L1, PenaltyKind::StudentT, PenaltyKind::MeanSquare(p)];
        let sigmoid_units = [PenaltyKind::KlMean(p), PenaltyKind::CeMean(p), PenaltyKind::KlElem(p)];
        let kind = if activation == Activation::Sigmoid { self.of(&sigmoid_units) } else { self.of(&any_units) };
        let weight = self.rarely(&[0.0, 0.01, 1.0], &[1e6, 3e38]);
        let small = |draws: &mut Self| draws.rarely(&[0.0, 1e-3, 0.01], &[1.0, 1e6, 3e38, f64::NAN]);
        let dropout = |draws: &mut Self| draws.rarely(&[0.0, 0.1, 0.5], &[0.999, 1.0 - 1e-16]);
        let flip = |draws: &mut Self| draws.below(2) == 0;
        let autoencoder = Autoencoder {
            tied: flip(self),
            negatives: self.rarely(&[None, Some(5)], &[Some(0), Some(10_000), Some(10_000_000_000)]),
            power: self.rarely(&[0.0, 0.75, 1.0], &[-1.0, f64::NAN]),
        };
        let anchor = Anchor { kind: self.of(AnchorKind::ALL), power: autoencoder.power };
        let objective = self.of(&[Objective::Tagger, Objective::Tagger, Objective::Anchor(anchor)]);
        let pretrain = Pretrain { epochs: self.rarely(&[1, 2], &[0]), autoencoder };
        TrainConfig {
            objective,
            pretrain: (objective == Objective::Tagger && flip(self)).then_some(pretrain),
            hidden_bias: self.below(4) > 0,
            hidden: self.of(&[0, 1, 3, 17]),
            average: self.rarely(&[1, 1, 1, 3], &[0]),
            activation,
            epochs: self.of(&[0, 1, 3, 4]),
            batch: self.rarely(&[1, 4, 32], &[usize::MAX, 0]),
            lr: self.rarely(&[0.0, 0.01, 0.5], &[1e3, 1e19, 1e38]),
            lr_decay: self.rarely(&[0.0, 0.1], &[1e38]),
            optimizer: self.of(OptimizerKind::ALL),
            epsilon: self.rarely(&[1e-10, 1e-3], &[f64::from(f32::MIN_POSITIVE), 3.4e38]),
            epsilon_place: self.of(EpsilonPlace::ALL),
            rowwise: Rowwise { w1: flip(self), b1: flip(self), w2: flip(self), b2: flip(self) },
            initial_square: self.rarely(&[0.0, 0.1], &[1e-45, 3.4e38]),
            initial_scale: self.rarely(&[0.1, 1.0], &[0.0, 1e6, 1e19, 1e38]),
            l1: small(self),
            l2: small(self),
            decay: self.of(DecayMode::ALL),
            decay_when: self.of(DecayWhen::ALL),
            loss: self.of(LossKind::ALL),
            eps: self.rarely(&[0.0, 1e-4, 0.499], &[1e-45, 0.5]),
            reduction: self.of(Reduction::ALL),
            dropout_in: dropout(self),
            dropout_hidden: dropout(self),
            penalty: flip(self).then_some(Penalty { kind, weight }),
            negatives: self.of(&[
                Negatives::All,
                Negatives::All,
                Negatives::Sampled(1.0),
                Negatives::Sampled(1e300),
                Negatives::Sampled(1e10),
                Negatives::Sampled(0.5),
            ]),
            correction: self.of(Correction::ALL),
            metric: self.of(Metric::ALL),
            patience: self.of(&[0, 1]),
            seed: self.of(&[0, u64::MAX]),
        }
    }

    /// A few items, some without keywords or tags, some that weigh nothing or very much.
    fn items(&mut self) -> Vec<Item> {
        let tags = self.of(&[1, 3, 12, 70]);
        let name = |prefix: char, number: usize| format!("{prefix}{number}");
        let item = |draws: &mut Self| Item {
            keywords: (0..draws.below(6)).map(|_| name('k', draws.below(15))).collect(),
            tags: (0..draws.below(3)).map(|_| name('t', draws.below(tags))).collect(),
            weight: if draws.below(50) == 0 { draws.of(&[0.0, 1e30, f32::MAX]) } else { 1.0 },
            ..Item::default()
        };
        (0..self.of(&[2, 20, 40, 40])).map(|_| item(self)).collect()
    }

    fn train(&mut self, items: &[Item], config: TrainConfig) -> Result<Model> {
        let mut corpus = Corpus::new();
        items.iter().try_for_each(|item| corpus.push(item))?;
        let set = TrainingSet::new(corpus, 1)?;
        let fraction = self.of(&[0.0, 0.3, 0.9]);
        let validation =
            self.of(&[Validation::None, Validation::Split { fraction, refit: true }, Validation::On(set.dataset())]);
        set.train(config, validation, Level::best(), None, &mut |_, _| ControlFlow::Continue(())).map(|(model, _)| model)
    }
}

#[test]
fn random_configurations_end_in_a_finite_model_or_a_typed_error() {
    let (mut models, mut not_finite, mut refused) = (0, 0, 0);
    for number in 0..CONFIGURATIONS {
        let mut draws = Draws { number, drawn: 0 };
        let (config, items) = (draws.config(), draws.items());
        match draws.train(&items, config.clone()) {
            Ok(model) => {
                let Weights { w1, b1, w2, b2 } = model.weights().as_f32().unwrap();
                let finite = [w1, b1, w2, b2].into_iter().flat_map(as_floats).all(|weight| weight.is_finite());
                assert!(finite, "{number}: {config:?}");
                let tagger = Tagger::new(Model::from_bytes(model.bytes()).unwrap());
                let (mut scratch, mut scores) = (tagger.scratch(), vec![0.0; tagger.tags().len()]);
                for item in &items {
                    let keywords = item.keywords.iter().map(String::as_str);
                    tagger.score_keywords(keywords, &mut scratch, &mut scores).unwrap();
                    assert!(scores.iter().all(|p| (0.0..=1.0).contains(p)), "{number}: {scores:?} {config:?}");
                }
                models += 1;
            }
            Err(Error::NonFinite { .. } | Error::BadWeight { .. }) => not_finite += 1,
            Err(Error::Config { .. } | Error::NoData { .. } | Error::UntrainableTag { .. }) => refused += 1,
            Err(other) => panic!("{number}: {other} {config:?}"),
        }
    }
    // Each outcome must be common, or the draws test less than they seem to.
    assert!(models > 1500 && not_finite > 300 && refused > 500, "{models} models, {not_finite} not finite, {refused} refused");
}

/// Sums of integers are exact because no set has more of them.
#[test]
fn sets_of_more_integers_than_add_up_exactly_are_refused() {
    let most = 131_072_u32;
    let weights = vec![I8Block::default(); most as usize + 1];
    let (block, ids) = ([Block::ZERO], (0..=most).collect::<Vec<u32>>());
    let table = Matrix::I8 { weights: &weights, scales: &block };
    for kernels in Level::available().map(|level| Kernels::at(level).unwrap()) {
        for (starts, fits) in [([0, 1, most as usize], true), ([0, 0, most as usize], true), ([0, 0, most as usize + 1], false)]
        {
            let sets = Sets::new(&ids[..starts[2]], &starts).unwrap();
            let summed = kernels.sum_bags(&table, &block, Activation::Identity, sets, &mut [Block::ZERO; 2]);
            assert_eq!(summed.is_ok(), fits, "{starts:?}");
            assert!(fits || matches!(summed, Err(Error::TooLarge { .. })));
        }
    }
}
