//! Autoencoders and anchor models: every combination of options against a naive implementation, and what they are good for.

mod naive;

use std::ops::ControlFlow;

use naive::{Case, Matrix, Naive};
use tagomatic::aligned::{LANES, as_floats};
use tagomatic::data::Dataset;
use tagomatic::evaluate::evaluate;
use tagomatic::kernels::LossKind;
use tagomatic::network::{Activation, Weights};
use tagomatic::rng::{Philox, unit};
use tagomatic::train::Reduction;
use tagomatic::train::{
    Anchor, AnchorKind, Autoencoder, DecayMode, DecayWhen, EpsilonPlace, Event, Negatives, Objective, OptimizerKind, Penalty,
    PenaltyKind, Pretrain, Rowwise, Statistics, TrainConfig, Trainer, pool,
};
use tagomatic::{Error, Level, Model, Provenance, Tagger, Tags, Vocabulary};

/// The draws of one configuration.
struct Draws(u32, u32);

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.1 += 1;
        Philox::new(11).block([self.0, self.1, 0, 55])[0] as usize % bound
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    fn flip(&mut self) -> bool {
        self.below(2) == 0
    }

    fn objective(&mut self) -> Objective {
        let anchor = |kind| Objective::Anchor(Anchor { kind, ..Anchor::default() });
        let autoencoder = |tied| Objective::Autoencoder(Autoencoder { tied, ..Autoencoder::default() });
        let [sum, mean, hidden] = [AnchorKind::Sum, AnchorKind::Mean, AnchorKind::Hidden].map(anchor);
        self.of(&[sum, mean, hidden, autoencoder(true), autoencoder(true), autoencoder(false), autoencoder(false)])
    }

    fn config(&mut self) -> TrainConfig {
        let activation = self.of(&[
            Activation::Relu,
            Activation::LeakyRelu(0.1),
            Activation::Elu(0.7),
            Activation::Sigmoid,
            Activation::Trec(0.1),
            Activation::Tlin(0.1),
            Activation::Identity,
        ]);
        let objective = self.objective();
        let mut config = TrainConfig {
            objective,
            activation,
            hidden_bias: self.below(3) > 0,
            hidden: self.of(&[1, 3, 16, 17, 20]),
            lr: self.of(&[0.02, 0.1]),
            lr_decay: self.of(&[0.0, 0.05]),
            optimizer: self.of(&[OptimizerKind::AdaGrad, OptimizerKind::AdaGrad, OptimizerKind::Sgd]),
            epsilon: self.of(&[1e-10, 1e-3]),
            epsilon_place: self.of(EpsilonPlace::ALL),
            rowwise: Rowwise { w1: self.flip(), b1: self.flip(), w2: self.flip(), b2: self.flip() },
            initial_square: self.of(&[0.01, 0.1]),
            initial_scale: 1.0,
            l1: self.of(&[0.0, 1e-3]),
            l2: self.of(&[0.0, 0.05]),
            decay: self.of(DecayMode::ALL),
            decay_when: self.of(DecayWhen::ALL),
            loss: self.of(LossKind::ALL),
            eps: self.of(&[1e-4, 0.05]),
            reduction: self.of(Reduction::ALL),
            dropout_in: self.of(&[0.0, 0.3]),
            dropout_hidden: self.of(&[0.0, 0.4]),
            seed: 77,
            ..TrainConfig::default()
        };
        let any = [PenaltyKind::L1, PenaltyKind::StudentT, PenaltyKind::MeanSquare(0.1)];
        let of_sigmoid = [PenaltyKind::KlMean(0.2), PenaltyKind::CeMean(0.2), PenaltyKind::KlElem(0.2)];
        let kind = if config.hidden_activation() == Activation::Sigmoid { self.of(&of_sigmoid) } else { self.of(&any) };
        config.penalty = self.flip().then_some(Penalty { kind, weight: 0.05 });
        config
    }

    /// Distinct ids, ascending; sometimes none.
    fn set(&mut self, bound: usize, most: usize) -> Vec<u32> {
        let mut ids: Vec<u32> = (0..self.below(most + 1)).map(|_| self.below(bound) as u32).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn case(&mut self, objective: Objective, keywords: usize, outputs: usize, listed: bool) -> Case {
        let ids = self.set(keywords, 5);
        Case {
            index: self.below(1000) as u32,
            positives: if let Objective::Autoencoder(_) = objective { ids.clone() } else { self.set(outputs, 3) },
            keywords: ids,
            negatives: listed.then(|| (0..6).map(|_| self.below(outputs) as u32).collect()),
            weight: self.of(&[1.0, 1.0, 2.5, 0.0]),
        }
    }
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

/// A trainer for `keywords` keywords and `outputs` outputs.
fn started(config: &TrainConfig, keywords: usize, outputs: usize) -> Trainer {
    let tags = if let Objective::Autoencoder(_) = config.objective { 0 } else { outputs };
    let positives = (0..outputs as u64).map(|output| output % 7).collect();
    let statistics = Statistics { samples: 20, mean_keywords: 3.0, positives };
    let vocabulary = Vocabulary::from_keywords(names("k", keywords)).unwrap();
    Trainer::new(config.clone(), vocabulary, Tags::from_names(names("t", tags)).unwrap(), &statistics).unwrap()
}

/// W1, b1, output rows and output biases in plain rows.
fn plain(trainer: &Trainer, weights: Weights<'_>) -> [Vec<Vec<f64>>; 4] {
    let shape = &trainer.network().shape;
    let (hidden, row) = (shape.hidden(), shape.row_blocks() * LANES);
    let rows = |floats: &[f32], count: usize, row: usize, length: usize| -> Vec<Vec<f64>> {
        (0..count).map(|n| floats[n * row..][..length].iter().map(|w| f64::from(*w)).collect()).collect()
    };
    [
        rows(as_floats(weights.w1), shape.keywords(), row, hidden),
        rows(as_floats(weights.b1), 1, row, hidden),
        rows(as_floats(weights.w2), shape.tags(), row, hidden),
        rows(as_floats(weights.b2), 1, shape.slot_blocks() * LANES, shape.tags()),
    ]
}

fn close(what: &str, found: &[Vec<f64>], expected: &[Vec<f64>], tolerance: f64, config: &TrainConfig) {
    for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
        for (found, expected) in found.iter().zip(expected) {
            let error = (found - expected).abs();
            assert!(
                error <= tolerance * expected.abs().max(1.0),
                "{what}, row {row}: {found}, expected {expected}: {config:?}"
            );
        }
    }
}

#[test]
fn every_option_does_what_a_naive_implementation_does() {
    for number in 0..300 {
        let mut draws = Draws(number, 0);
        let config = draws.config();
        let autoencoder = matches!(config.objective, Objective::Autoencoder(_));
        let keywords = draws.of(&[7, 40]);
        let outputs = if autoencoder { keywords } else { draws.of(&[1, 9, 33]) };
        let mut trainer = started(&config, keywords, outputs);
        let mut weights = |low: f32, high: f32| -> Vec<f32> {
            (0..outputs).map(|_| low + (high - low) * unit(draws.below(1 << 30) as u32 * 4)).collect()
        };
        let (positive_weights, rates) = (weights(0.5, 2.0), weights(0.2, 1.0));
        trainer.set_positive_weights(&positive_weights).unwrap();
        let rates: Vec<f64> = rates.into_iter().map(f64::from).collect();
        trainer.set_inclusion_rates(&rates).unwrap();
        let start = trainer.snapshot();
        let [w1, b1, d, c] = plain(&trainer, start.weights());
        let tied = matches!(config.objective, Objective::Autoencoder(Autoencoder { tied: true, .. }));
        let mut naive = Naive {
            w1: Matrix::new(w1, &config, config.rowwise.w1, true),
            b1: Matrix::new(b1, &config, config.rowwise.b1, false),
            d: (!tied).then(|| Matrix::new(d, &config, config.rowwise.w2, true)),
            c: Matrix::new(c, &config, config.rowwise.b2, false),
            positive_weights: positive_weights.iter().map(|w| f64::from(*w)).collect(),
            rates,
            step: 0,
            config: config.clone(),
        };
        let samples = draws.of(&[1, 4, 11]);
        for _ in 0..12 {
            let listed = draws.below(4) > 0;
            let batch: Vec<Case> = (0..samples).map(|_| draws.case(config.objective, keywords, outputs, listed)).collect();
            let report = trainer.step(&batch.iter().map(Case::sample).collect::<Vec<_>>()).unwrap();
            let (loss, penalty) = naive.step(&batch);
            close("loss and penalty", &[vec![report.loss, report.penalty]], &[vec![loss, penalty]], 1e-4, &config);
        }
        let snapshot = trainer.snapshot();
        let [w1, b1, d, c] = plain(&trainer, snapshot.weights());
        let expected_d = naive.d.as_ref().map_or(&naive.w1.rows, |d| &d.rows);
        for (what, found, expected) in
            [("W1", &w1, &naive.w1.rows), ("b1", &b1, &naive.b1.rows), ("D", &d, expected_d), ("c", &c, &naive.c.rows)]
        {
            close(what, found, expected, 2e-4, &config);
        }
        if config.optimizer == OptimizerKind::AdaGrad {
            let squares = trainer.squares();
            let [w1, _, d, c] = plain(&trainer, squares.weights());
            close("squares of W1", &w1, &naive.w1.squares, 1e-3, &config);
            close("squares of D", &d, naive.d.as_ref().map_or(&naive.w1.squares, |d| &d.squares), 1e-3, &config);
            close("squares of c", &c, &naive.c.squares, 1e-3, &config);
        }
    }
}

/// Items whose tags follow from their keywords.
fn items(count: u32, keywords: u32, tags: u32) -> Dataset {
    let rng = Philox::new(5);
    let mut dataset = Dataset::new();
    for item in 0..count {
        let [length, ..] = rng.block([item, 0, 0, 56]);
        let ids: Vec<u32> = (0..length % 9).map(|n| rng.block([item, n, 1, 56])[0] % keywords).collect();
        let mut positives: Vec<u32> = ids.iter().filter(|id| *id % 2 == 0).map(|id| id / 2 % tags).collect();
        positives.push(item % tags);
        dataset.push(&ids, &positives, 0.5 + unit(length)).unwrap();
    }
    dataset
}

#[test]
fn model_bytes_do_not_depend_on_threads_or_level() {
    let dataset = items(400, 90, 20);
    for number in 0..8 {
        let mut draws = Draws(number, 1000);
        let config = TrainConfig { epochs: 2, batch: draws.of(&[100, 256]), hidden: 40, ..draws.config() };
        let negatives = draws.of(&[Negatives::All, Negatives::Sampled(2.0)]);
        let objective = match config.objective {
            Objective::Autoencoder(autoencoder) => {
                Objective::Autoencoder(Autoencoder { negatives: draws.of(&[None, Some(30)]), ..autoencoder })
            }
            other => other,
        };
        let config = TrainConfig { negatives, objective, ..config };
        let (outputs, statistics) = match objective {
            Objective::Autoencoder(_) => (0, Statistics::of_keywords(&dataset, 90)),
            _ => (20, Statistics::of(&dataset, 20)),
        };
        let bytes = |threads: usize, level: Level| {
            let vocabulary = Vocabulary::from_keywords(names("k", 90)).unwrap();
            let tags = Tags::from_names(names("t", outputs)).unwrap();
            let mut trainer = Trainer::new(config.clone(), vocabulary, tags, &statistics).unwrap();
            trainer.set_level(level).unwrap();
            if let Some(pool) = pool(threads).unwrap() {
                trainer.set_pool(pool);
            }
            trainer.fit(&dataset, None, &mut |_| ControlFlow::Continue(())).unwrap();
            trainer.model(Provenance::new()).unwrap().bytes().to_vec()
        };
        let expected = bytes(1, Level::best());
        for threads in [2, 3, 8] {
            assert!(bytes(threads, Level::best()) == expected, "{threads} threads, {config:?}");
        }
        for level in Level::available() {
            assert!(bytes(1, level) == expected, "{level}, {config:?}");
        }
    }
}

/// An item that has no keywords has the anchor 0, so each of its scores is one half; others are tagged as they were trained.
#[test]
fn anchor_models_are_served_as_any_other() {
    let dataset = items(600, 40, 6);
    for kind in AnchorKind::ALL {
        let config = TrainConfig {
            objective: Objective::Anchor(Anchor { kind: *kind, ..Anchor::default() }),
            negatives: Negatives::Sampled(2.0),
            hidden: 16,
            epochs: 20,
            ..TrainConfig::default()
        };
        let vocabulary = Vocabulary::from_keywords(names("k", 40)).unwrap();
        let tags = Tags::from_names(names("t", 6)).unwrap();
        let mut trainer = Trainer::new(config, vocabulary, tags, &Statistics::of(&dataset, 6)).unwrap();
        trainer.fit(&dataset, None, &mut |_| ControlFlow::Continue(())).unwrap();
        let measured = trainer.evaluate(&dataset, None).unwrap();
        assert!(measured.evaluation.macro_auc.value.unwrap() > 0.75, "{kind}: {measured:?}");
        let model = Model::from_bytes(trainer.model(Provenance::new()).unwrap().bytes()).unwrap();
        let provenance = model.provenance().unwrap();
        assert_eq!((provenance.get("train.objective"), provenance.get("train.anchor")), (Some("anchor"), Some(kind.name())));
        let weights = model.weights();
        assert!(as_floats(weights.b2).iter().all(|b| *b == 0.0));
        let tagger = Tagger::new(model);
        assert_eq!(evaluate(&tagger, &dataset, None, None).unwrap(), measured, "the trainer measures what is served");
        if *kind != AnchorKind::Hidden {
            let mut scores = [0.0; 6];
            tagger.score(&[], &mut tagger.scratch(), &mut scores).unwrap();
            assert_eq!(scores, [0.5; 6]);
        }
    }
}

#[test]
fn draws_beyond_any_use_are_refused_by_the_items_that_would_get_them() {
    // In range for an item with one tag, not for one with two.
    let (objective, negatives) = (Objective::Anchor(Anchor::default()), Negatives::Sampled(6e5));
    let mut trainer = started(&TrainConfig { objective, negatives, ..TrainConfig::default() }, 10, 4);
    let mut first = Dataset::new();
    [&[0, 1][..], &[2], &[3]].iter().for_each(|tags| assert!(first.push(&[1], tags, 1.0).is_ok()));
    for dataset in [items(60, 10, 4), first] {
        let error = trainer.fit(&dataset, None, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert!(matches!(error, Error::Config { option: "negatives", .. }), "{error}");
    }
}

#[test]
fn a_tagger_begins_where_its_autoencoder_ended() {
    let dataset = items(200, 40, 6);
    for activation in [Activation::Relu, Activation::Trec(0.1)] {
        let pretrain = Pretrain { epochs: 3, autoencoder: Autoencoder::default() };
        let config = TrainConfig { pretrain: Some(pretrain), activation, hidden: 5, ..TrainConfig::default() };
        let new = |config: &TrainConfig, tags: usize, statistics: &Statistics| {
            let vocabulary = Vocabulary::from_keywords(names("k", 40)).unwrap();
            Trainer::new(config.clone(), vocabulary, Tags::from_names(names("t", tags)).unwrap(), statistics).unwrap()
        };
        let mut watch = |_: Event<'_>| ControlFlow::Continue(());
        let mut tagger = new(&config, 6, &Statistics::of(&dataset, 6));
        let before = tagger.snapshot();
        let report = tagger.pretrain(&dataset, &mut watch).unwrap();
        let losses: Vec<f64> = report.epochs.iter().map(|epoch| epoch.log_loss).collect();
        assert!(losses.len() == 3 && losses.is_sorted_by(|a, b| a > b), "{losses:?}");

        let mut autoencoder = new(&pretrain.config(&config), 0, &Statistics::of_keywords(&dataset, 40));
        autoencoder.fit(&dataset, None, &mut watch).unwrap();
        let (begun, learnt) = (tagger.snapshot(), autoencoder.snapshot());
        assert_eq!((begun.weights().w1, begun.weights().b1), (learnt.weights().w1, learnt.weights().b1));
        assert_eq!((begun.weights().w2, begun.weights().b2), (before.weights().w2, before.weights().b2));
        assert_ne!(begun.weights().w1, before.weights().w1);
        // Units with a threshold have no biases in an autoencoder; a tagger's do, and begin at 0.
        assert_eq!(as_floats(begun.weights().b1).iter().all(|b| *b == 0.0), activation != Activation::Relu);
        // Its memory is that of a trainer before its first step.
        assert_eq!(tagger.squares(), new(&config, 6, &Statistics::of(&dataset, 6)).squares());
        tagger.fit(&dataset, None, &mut watch).unwrap();
        assert!(matches!(tagger.pretrain(&dataset, &mut watch), Err(Error::Config { option: "pretrain", .. })));
        let mut begun = new(&config, 6, &Statistics::of(&dataset, 6));
        let case = Case { index: 0, keywords: vec![1], positives: vec![2], negatives: None, weight: 1.0 };
        begun.step(&[case.sample()]).unwrap();
        assert!(begun.pretrain(&dataset, &mut watch).is_err(), "a step was taken");
    }
}

/// Of what a step does not score nothing is written.
#[test]
fn outputs_that_are_not_scored_are_left_alone() {
    let outputs = 200_000;
    let config = TrainConfig {
        objective: Objective::Anchor(Anchor::default()),
        hidden: 4,
        l2: 1e-3,
        decay_when: DecayWhen::Touched,
        ..TrainConfig::default()
    };
    let mut trainer = started(&config, 3, outputs);
    let before = trainer.snapshot();
    let case = Case { index: 0, keywords: vec![0, 2], positives: vec![17], negatives: Some(vec![5, 5, 199_999]), weight: 1.0 };
    let report = trainer.step(&[case.sample()]).unwrap();
    assert_eq!(report.pairs, 3);
    let [before, after] = [before, trainer.snapshot()].map(|parameters| plain(&trainer, parameters.weights()));
    let changed =
        |part: usize| (0..before[part].len()).filter(|row| before[part][*row] != after[part][*row]).collect::<Vec<_>>();
    assert_eq!((changed(0), changed(2)), (vec![0, 2], vec![5, 17, 199_999]));
}

/// An item that is no negative of any tag, and has none, teaches nothing.
#[test]
fn excluded_pairs_are_not_learnt_from() {
    let item = |i: u32| ([i % 7, 7 + i % 3], [i % 3]);
    let mut items = Dataset::new();
    (0..20).map(item).for_each(|(keywords, tags)| assert!(items.push(&keywords, &tags, 1.0).is_ok()));
    let mut more = items.clone();
    (0..20).map(item).for_each(|(keywords, _)| assert!(more.push_excluding(&keywords, &[], &[0, 1, 2], 1.0).is_ok()));
    let config = TrainConfig {
        hidden: 4,
        epochs: 3,
        batch: 64,
        reduction: Reduction::Sum,
        dropout_in: 0.0,
        dropout_hidden: 0.0,
        ..TrainConfig::default()
    };
    let learnt = |dataset: &Dataset| {
        let vocabulary = Vocabulary::from_keywords((0..10).map(|n| format!("k{n}"))).unwrap();
        let tags = Tags::from_names(["a", "b", "c"]).unwrap();
        let mut trainer = Trainer::new(config.clone(), vocabulary, tags, &Statistics::of(&items, 3)).unwrap();
        let start = trainer.snapshot();
        trainer.fit(dataset, None, &mut |_| ControlFlow::Continue(())).unwrap();
        let floats = |Weights { w1, b1, w2, b2 }| [w1, b1, w2, b2].map(|part| as_floats(part).to_vec()).concat();
        let learnt = trainer.snapshot();
        let (start, learnt) = (floats(start.weights()), floats(learnt.weights()));
        learnt.iter().zip(start).map(|(learnt, start)| learnt - start).collect::<Vec<f32>>()
    };
    let (items, more) = (learnt(&items), learnt(&more));
    assert!(items.iter().any(|change| change.abs() > 0.05));
    items.iter().zip(&more).for_each(|(a, b)| assert!((a - b).abs() < 1e-4, "{a} against {b}"));
}

/// One tag is enough.
#[test]
fn no_step_is_taken_on_items_that_are_scored_on_no_tag() {
    for tags in [3, 70] {
        let all: Vec<u32> = (0..tags).collect();
        let mut items = Dataset::new();
        for (has, excluded) in [(&all[..], &[][..]), (&[], &[]), (&[], &all[..]), (&[], &all[1..])] {
            items.push_excluding(&[0], has, excluded, 1.0).unwrap();
        }
        let config = TrainConfig { hidden: 4, epochs: 1, batch: 1, ..TrainConfig::default() };
        let mut trainer = started(&config, 10, tags as usize);
        trainer.fit(&items, None, &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(trainer.steps(), 3, "{tags} tags, of four items all but the third");
    }
}
