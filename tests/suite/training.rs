//! Training: the same bits for every number of threads and level, nothing changed by a failed step, gradients of the whole net.

use std::ops::ControlFlow;

use tagomatic::aligned::{Block, as_floats, as_floats_mut};
use tagomatic::data::Dataset;
use tagomatic::evaluate::KeyMeasures;
use tagomatic::kernels::LossKind;
use tagomatic::metrics::Metric;
use tagomatic::network::Weights;
use tagomatic::rng::{Philox, unit};
use tagomatic::train::Reduction;
use tagomatic::train::{
    Anchor, AnchorKind, Correction, DecayMode, DecayWhen, EpsilonPlace, Event, Negatives, Objective, OptimizerKind,
    PairWeights, Penalty, Rowwise, Sample, Statistics, Targets, TrainConfig, Trainer, pool,
};
use tagomatic::{Error, Level, Provenance, Tags, Vocabulary};

/// Items whose tags follow from their keywords, with noise.
fn items(seed: u64, count: u32, keywords: u32, tags: u32) -> Dataset {
    let rng = Philox::new(seed);
    let mut dataset = Dataset::new();
    for item in 0..count {
        let [length, ..] = rng.block([item, 0, 0, 50]);
        let ids: Vec<u32> = (0..length % 12).map(|n| rng.block([item, n, 1, 50])[0] % keywords).collect();
        let mut positives: Vec<u32> = ids.iter().filter(|id| *id % 2 == 0).map(|id| id / 2 % tags).collect();
        // Every tag has a positive and a negative item.
        if item < 2 * tags {
            positives.push(item % tags);
        }
        dataset.push(&ids, &positives, 0.5 + unit(length)).unwrap();
    }
    dataset
}

fn names(prefix: &str, count: u32) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

fn trainer(config: &TrainConfig, dataset: &Dataset, keywords: u32, tags: u32) -> Trainer {
    let statistics = Statistics::of(dataset, tags as usize);
    let vocabulary = Vocabulary::from_keywords(names("k", keywords)).unwrap();
    Trainer::new(config.clone(), vocabulary, Tags::from_names(names("t", tags)).unwrap(), &statistics).unwrap()
}

fn watch_nothing(_: Event<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// One of the 16 sets of parameters.
fn rowwise(bits: u32) -> Rowwise {
    let [w1, b1, w2, b2] = [0, 1, 2, 3].map(|bit| bits >> bit & 1 == 1);
    Rowwise { w1, b1, w2, b2 }
}

/// Random configurations; the mini-batches are large enough to be divided between threads.
fn configurations() -> Vec<(TrainConfig, u32)> {
    // Rows of W1, and gradients that are gathered until all are known, are divided between threads.
    let divided = TrainConfig { hidden: 300, epochs: 1, batch: 500, rowwise: rowwise(5), ..TrainConfig::default() };
    (0..8_u32)
        .map(|n| {
            let choice = Philox::new(7).block([n, 0, 0, 51]);
            let (activation, penalty) = [
                ("relu", None),
                ("sigmoid", Some("kl_mean:0.1")),
                ("relu", Some("mean_square")),
                ("tlin:0.1", Some("student_t")),
                ("elu", Some("l1")),
                ("sigmoid", Some("kl_elem:0.2")),
                ("leaky_relu:0.1", None),
                ("trec:0.05", Some("mean_square:0.1")),
            ][n as usize];
            let pick = |from: &[f64], word: usize| from[(choice[word] as usize >> 3) % from.len()];
            let config = TrainConfig {
                hidden: [1, 17, 64, 100][choice[0] as usize % 4],
                activation: activation.parse().unwrap(),
                penalty: penalty.map(|kind| Penalty { kind: kind.parse().unwrap(), weight: 0.01 }),
                epochs: 2,
                batch: [64, 200, 256][choice[1] as usize % 3],
                l1: pick(&[0.0, 1e-4], 0),
                l2: pick(&[0.0, 1e-3], 1),
                lr_decay: pick(&[0.0, 0.1], 2),
                dropout_in: pick(&[0.0, 0.2], 3),
                dropout_hidden: pick(&[0.5, 0.0], 0),
                decay: DecayMode::ALL[n as usize % DecayMode::ALL.len()],
                decay_when: [DecayWhen::EveryStep, DecayWhen::Touched][choice[2] as usize % 2],
                optimizer: [OptimizerKind::AdaGrad, OptimizerKind::Sgd][usize::from(n % 4 == 2)],
                epsilon_place: EpsilonPlace::ALL[choice[1] as usize / 3 % 2],
                rowwise: rowwise(choice[0] >> 8),
                loss: LossKind::ALL[n as usize % LossKind::ALL.len()],
                reduction: Reduction::ALL[choice[3] as usize % Reduction::ALL.len()],
                negatives: [Negatives::All, Negatives::Sampled(1.5)][n as usize % 2],
                correction: Correction::ALL[choice[3] as usize % Correction::ALL.len()],
                seed: u64::from(choice[3]),
                ..TrainConfig::default()
            };
            (config, [1, 3, 70, 150][choice[2] as usize % 4])
        })
        .chain([(divided, 150)])
        .collect()
}

#[test]
fn model_bytes_do_not_depend_on_threads_or_level() {
    for (config, tags) in configurations() {
        let (train, valid) = (items(1, 500, 90, tags), items(2, 100, 90, tags));
        let bytes = |threads: usize, level: Level| {
            let mut trainer = trainer(&config, &train, 90, tags);
            trainer.set_level(level).unwrap();
            if let Some(pool) = pool(threads).unwrap() {
                trainer.set_pool(pool);
            }
            let report = trainer.fit(&train, Some(&valid), &mut watch_nothing).unwrap();
            (trainer.model(Provenance::new()).unwrap().bytes().to_vec(), report)
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

/// A sample whose targets and weights are all there is to it.
fn sample<'a>(keywords: &'a [u32], targets: &'a [f32], index: u32) -> Sample<'a> {
    Sample { index, keywords, targets: Targets::Soft(targets), weights: PairWeights::All(1.0) }
}

/// With squared-gradient sums of 0 a first step leaves the squared gradient there, so every gradient of the net can be read off
/// and compared with a central difference of the loss.
#[test]
fn gradients_of_the_whole_net_are_finite_differences() {
    for (hidden, tags, keywords, activation, penalty) in [
        (1, 1, 3, "relu", None),
        (5, 3, 6, "sigmoid", Some("kl_mean:0.2")),
        (17, 9, 8, "relu", None),
        (33, 70, 5, "relu", None),
        (48, 2, 7, "elu", Some("student_t")),
        (17, 9, 8, "leaky_relu:0.1", Some("mean_square:0.3")),
        (20, 70, 6, "sigmoid", Some("kl_elem:0.1")),
        (9, 3, 6, "identity", Some("l1")),
    ] {
        let config = TrainConfig {
            hidden,
            activation: activation.parse().unwrap(),
            penalty: penalty.map(|kind| Penalty { kind: kind.parse().unwrap(), weight: 0.1 }),
            lr: 1e-3,
            initial_square: 0.0,
            initial_scale: 1.0,
            // The clamped loss is flat where its gradient is not.
            loss: LossKind::Logit,
            dropout_in: 0.3,
            dropout_hidden: 0.4,
            ..TrainConfig::default()
        };
        let dataset = items(3, 8, keywords, tags);
        let soft: Vec<Vec<f32>> =
            (0..8).map(|i| (0..tags).map(|t| unit(Philox::new(4).block([i, t, 0, 52])[0])).collect()).collect();
        for batch in [1, 8] {
            let samples: Vec<Sample<'_>> = (0..batch).map(|i| sample(dataset.keywords(i), &soft[i], i as u32)).collect();
            // Hidden biases start at 0: a sample without keywords would sit on the kink of relu.
            let start = {
                let mut blocks = blocks(trainer(&config, &dataset, keywords, tags).snapshot().weights());
                for (unit, bias) in as_floats_mut(&mut blocks[1])[..hidden].iter_mut().enumerate() {
                    *bias = 0.1 + unit as f32 * 0.01;
                }
                blocks
            };
            let at = |blocks: &[Vec<Block>; 4], lr: f64| {
                let mut trainer = trainer(&TrainConfig { lr, ..config.clone() }, &dataset, keywords, tags);
                let [w1, b1, w2, b2] = blocks;
                trainer.set_weights(Weights { w1, b1, w2, b2 }).unwrap();
                trainer
            };
            let mut probe = at(&start, config.lr);
            probe.step(&samples).unwrap();
            let moved = parts(probe.snapshot().weights());
            let squares = parts(probe.squares().weights());
            let weights = parts(at(&start, 0.0).snapshot().weights());
            for tensor in 0..4 {
                let largest = squares[tensor].iter().fold(0.0_f32, |m, g| m.max(g.sqrt()));
                for element in (0..weights[tensor].len()).step_by(weights[tensor].len() / 40 + 1) {
                    let exact = squares[tensor][element].sqrt() * (weights[tensor][element] - moved[tensor][element]).signum();
                    if weights[tensor][element] == 0.0 {
                        continue; // padding
                    }
                    let loss = |change: f32| {
                        let mut changed = start.clone();
                        as_floats_mut(&mut changed[tensor])[element] += change;
                        let report = at(&changed, 0.0).step(&samples).unwrap();
                        report.loss + report.penalty
                    };
                    let step = 5e-4;
                    let difference = (loss(step) - loss(-step)) / f64::from(2.0 * step);
                    // A unit that crosses zero within the difference bends it.
                    let error = (difference - f64::from(exact)).abs();
                    assert!(error < 0.01 * f64::from(largest) + 2e-3, "{tensor}[{element}]: {difference} against {exact}");
                }
            }
        }
    }
}

fn blocks(weights: Weights<'_>) -> [Vec<Block>; 4] {
    [weights.w1.to_vec(), weights.b1.to_vec(), weights.w2.to_vec(), weights.b2.to_vec()]
}

fn parts(weights: Weights<'_>) -> [Vec<f32>; 4] {
    blocks(weights).map(|blocks| as_floats(&blocks).to_vec())
}

fn bits(trainer: &Trainer) -> [Vec<u32>; 4] {
    parts(trainer.snapshot().weights()).map(|part| part.iter().map(|x| x.to_bits()).collect())
}

#[test]
fn a_step_that_is_not_finite_changes_nothing_and_names_the_tag() {
    for decay in DecayMode::ALL {
        for rows in [0, 15] {
            not_finite(&TrainConfig { decay: *decay, rowwise: rowwise(rows), ..TrainConfig::default() });
        }
    }
}

/// Rows of output weights are taken back too; and weights that are set count as decayed.
#[test]
fn a_step_that_is_not_finite_changes_no_vectors_of_tags() {
    let dataset = items(5, 20, 10, 8);
    for (decay, rows) in DecayMode::ALL.iter().flat_map(|decay| [(*decay, 0), (*decay, 15)]) {
        let config = TrainConfig {
            objective: Objective::Anchor(Anchor { kind: AnchorKind::Hidden, ..Anchor::default() }),
            dropout_in: 0.0,
            dropout_hidden: 0.0,
            rowwise: rowwise(rows),
            ..TrainConfig { hidden: 2, l1: 1e-3, l2: 0.01, decay, ..TrainConfig::default() }
        };
        let listed = |keywords, positive, negatives| Sample {
            index: 0,
            keywords,
            targets: Targets::Tags(positive),
            weights: PairWeights::Listed { negatives, weight: 1.0 },
        };
        let run = |disturbed: bool| {
            let mut trainer = trainer(&config, &dataset, 10, 8);
            let mut blocks = blocks(trainer.snapshot().weights());
            as_floats_mut(&mut blocks[0])[9 * 16..9 * 16 + 2].fill(4.0);
            as_floats_mut(&mut blocks[1])[..2].fill(-1.0);
            as_floats_mut(&mut blocks[2])[16..18].copy_from_slice(&[3e38, -3e38]);
            let set = |trainer: &mut Trainer| {
                let [w1, b1, w2, b2] = &blocks;
                trainer.set_weights(Weights { w1, b1, w2, b2 }).unwrap();
                assert_eq!(parts(trainer.snapshot().weights()), parts(Weights { w1, b1, w2, b2 }));
            };
            set(&mut trainer);
            for n in 0..6 {
                trainer.step(&[listed(&[0, 3], if n == 1 { &[5] } else { &[2] }, &[3])]).unwrap();
                if n == 3 && disturbed {
                    let failed = trainer.step(&[listed(&[2, 9], &[1], &[5])]);
                    assert!(matches!(failed, Err(Error::NonFinite { .. })), "{failed:?}");
                }
            }
            trainer.step(&[listed(&[2, 4], &[5], &[1])]).unwrap();
            let reached = (bits(&trainer), trainer.squares(), trainer.steps());
            set(&mut trainer);
            reached
        };
        assert_eq!(run(false), run(true), "{decay} {rows}");
    }
}

/// A sum of a row stands for each of its weights.
#[test]
fn sums_of_rows_are_told_for_every_weight() {
    let dataset = items(5, 20, 10, 3);
    let config = TrainConfig { hidden: 5, rowwise: rowwise(15), ..TrainConfig::default() };
    let mut trainer = trainer(&config, &dataset, 10, 3);
    trainer.step(&[sample(&[1, 4], &[1.0, 0.0, 0.5], 0)]).unwrap();
    let squares = trainer.squares();
    let [w1, b1, w2, b2] = parts(squares.weights());
    let start = config.initial_square as f32;
    for row in w1.chunks(16).chain([&b1[..], &b2]) {
        assert!(row.iter().all(|sum| sum == &row[0]), "{row:?}");
    }
    assert!(w1[16] > start && w1[0] == start && b1[0] > start && b2[0] > start);
    assert!(w2.iter().any(|sum| *sum > start), "units that were on");
}

fn not_finite(config: &TrainConfig) {
    let config = TrainConfig { hidden: 2, l1: 1e-3, l2: 0.01, dropout_in: 0.0, dropout_hidden: 0.0, ..config.clone() };
    let dataset = items(5, 20, 10, 8);
    let started = || {
        let mut trainer = trainer(&config, &dataset, 10, 8);
        let mut blocks = blocks(trainer.snapshot().weights());
        // Two units that only keyword 9 turns on, and whose shares in tag 1 are infinite and cancel.
        as_floats_mut(&mut blocks[0])[9 * 16..9 * 16 + 2].fill(4.0);
        as_floats_mut(&mut blocks[1])[..2].fill(-1.0);
        as_floats_mut(&mut blocks[2])[1] = 3e38;
        as_floats_mut(&mut blocks[2])[16 + 1] = -3e38;
        let [w1, b1, w2, b2] = &blocks;
        trainer.set_weights(Weights { w1, b1, w2, b2 }).unwrap();
        trainer
    };
    let targets = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let (mut undisturbed, mut disturbed) = (started(), started());
    for n in 0..6 {
        let harmless = [sample(if n == 1 { &[0, 2] } else { &[0, 3] }, &targets, 0)];
        undisturbed.step(&harmless[..]).unwrap();
        disturbed.step(&harmless).unwrap();
        if n == 3 {
            // Rows 2 and 9 have missed some decay by now, which the failing step applies before it can know.
            match disturbed.step(&[sample(&[2, 9], &targets, 0)]) {
                Err(Error::NonFinite { tag: Some(tag), step: 5, .. }) => assert_eq!(tag, "t1"),
                other => panic!("{other:?}"),
            }
        }
    }
    undisturbed.step(&[sample(&[2, 4], &targets, 1)]).unwrap();
    disturbed.step(&[sample(&[2, 4], &targets, 1)]).unwrap();
    assert_eq!(bits(&undisturbed), bits(&disturbed));
    assert_eq!(undisturbed.squares(), disturbed.squares());
    assert_eq!(undisturbed.steps(), disturbed.steps());
}

#[test]
fn looking_at_a_training_does_not_change_it() {
    let dataset = items(5, 60, 40, 3);
    let run = |decay: DecayMode, look: bool| {
        let config = TrainConfig { hidden: 5, l1: 1e-3, l2: 0.01, decay, ..TrainConfig::default() };
        let mut trainer = trainer(&config, &dataset, 40, 3);
        for i in 0..60 {
            trainer.step(&[sample(dataset.keywords(i), &[1.0, 0.0, 0.5], i as u32)]).unwrap();
            if look {
                trainer.model(Provenance::new()).unwrap();
                trainer.evaluate(&dataset, None).unwrap();
                let _ = trainer.squares();
            }
        }
        bits(&trainer)
    };
    DecayMode::ALL.iter().for_each(|decay| assert_eq!(run(*decay, false), run(*decay, true), "{decay}"));
}

/// A sample of weight 0 that holds every keyword touches all rows, so its training is the dense one. Rows that are caught up must
/// come to the same, under every kind of decay; and to the same bits where steps are replayed.
#[test]
fn lazy_rows_end_where_dense_ones_do() {
    let all: Vec<u32> = (0..40).collect();
    let dataset = items(5, 60, 40, 9);
    let targets = [1.0, 0.0, 0.5, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0];
    for (n, (l1, l2, lr_decay)) in
        (0..).zip([(1e-3, 0.0, 0.0), (0.0, 0.05, 0.0), (1e-3, 0.05, 0.0), (1e-3, 0.0, 0.02), (1e-3, 0.05, 0.02)])
    {
        for (&decay, &optimizer) in DecayMode::ALL.iter().flat_map(|d| OptimizerKind::ALL.iter().map(move |o| (d, o))) {
            let config = TrainConfig {
                hidden: 20,
                reduction: Reduction::Sum,
                dropout_in: 0.0,
                dropout_hidden: 0.0,
                epsilon: 1e-3,
                epsilon_place: EpsilonPlace::ALL[n as usize % 2],
                rowwise: rowwise(5 * n),
                ..TrainConfig { l1, l2, lr_decay, decay, optimizer, ..TrainConfig::default() }
            };
            let run = |dense: bool| {
                let mut trainer = trainer(&config, &dataset, 40, 9);
                for i in 0..60 {
                    let nothing = Sample { weights: PairWeights::All(0.0), ..sample(&all, &targets, 99) };
                    let samples = [sample(dataset.keywords(i), &targets, i as u32), nothing];
                    trainer.step(&samples[..if dense { 2 } else { 1 }]).unwrap();
                }
                trainer
            };
            let (lazy, dense) = (run(false), run(true));
            if decay == DecayMode::Coupled {
                assert_eq!(bits(&lazy), bits(&dense), "{config:?}");
                assert_eq!(lazy.squares(), dense.squares(), "{config:?}");
            }
            let (lazy, dense) = (parts(lazy.snapshot().weights()).concat(), parts(dense.snapshot().weights()).concat());
            let worst = lazy.iter().zip(&dense).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
            assert!(worst < 1e-4, "{worst}: {config:?}");
        }
    }
}

/// Steps to be replayed are logged up to a limit; beyond it all rows are caught up, to the same weights.
#[test]
fn a_long_log_of_steps_is_flushed() {
    let dataset = items(5, 20, 10, 3);
    for decay in [DecayMode::Prox, DecayMode::Coupled] {
        let config =
            TrainConfig { hidden: 2, l1: 1e-6, l2: 1e-3, lr_decay: 1e-3, decay, dropout_in: 0.0, ..TrainConfig::default() };
        let run = |every: &[u32]| {
            let mut trainer = trainer(&config, &dataset, 10, 3);
            for _ in 0..2500 {
                let nothing = Sample { weights: PairWeights::All(0.0), ..sample(every, &[0.0; 3], 99) };
                trainer.step(&[sample(&[4], &[1.0, 0.0, 0.0], 1), nothing]).unwrap();
            }
            trainer
        };
        let (lazy, dense) = (run(&[]), run(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]));
        if decay == DecayMode::Coupled {
            assert_eq!((bits(&lazy), lazy.squares()), (bits(&dense), dense.squares()));
        }
        let (lazy, dense) = (parts(lazy.snapshot().weights()).concat(), parts(dense.snapshot().weights()).concat());
        lazy.iter().zip(&dense).for_each(|(a, b)| assert!((a - b).abs() < 1e-4, "{decay}: {a} against {b}"));
    }
}

#[test]
fn weights_that_could_not_be_saved_are_not_taken() {
    let dataset = items(5, 20, 10, 3);
    let mut trainer = trainer(&TrainConfig { hidden: 4, ..TrainConfig::default() }, &dataset, 10, 3);
    for (part, element, value) in [(3, 1, f32::NAN), (0, 2, f32::INFINITY), (1, 4, 1.0), (2, 15, -1.0)] {
        let mut blocks = blocks(trainer.snapshot().weights());
        as_floats_mut(&mut blocks[part])[element] = value;
        let [w1, b1, w2, b2] = &blocks;
        let refused = trainer.set_weights(Weights { w1, b1, w2, b2 });
        assert!(matches!(refused, Err(Error::BadWeight { .. })), "{value} in part {part}");
    }
}

/// Absurd numbers must not get past AdaGrad: the quotient is formed before the learning rate multiplies it.
#[test]
fn huge_gradients_freeze_a_weight_instead_of_breaking_it() {
    let config = TrainConfig { hidden: 1, lr: 1e3, dropout_in: 0.0, dropout_hidden: 0.0, ..TrainConfig::default() };
    let dataset = items(5, 20, 10, 3);
    let mut trainer = trainer(&config, &dataset, 10, 3);
    let targets = [1.0, 0.0, 0.0];
    let heavy = Sample { weights: PairWeights::All(1e36), ..sample(&[1], &targets, 0) };
    trainer.step(&[heavy]).unwrap();
    trainer.model(Provenance::new()).unwrap();
}

/// The caller's pool does the work of single steps too; the hidden global pool is never started.
#[test]
fn steps_run_on_the_pool_of_the_caller() {
    let config = TrainConfig { hidden: 64, batch: 256, ..TrainConfig::default() };
    let dataset = items(5, 256, 400, 70);
    let mut trainer = trainer(&config, &dataset, 400, 70);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    trainer.set_pool(std::sync::Arc::new(pool));
    let targets: Vec<f32> = vec![0.5; 70];
    let samples: Vec<Sample<'_>> = (0..256).map(|i| sample(dataset.keywords(i), &targets, i as u32)).collect();
    trainer.step(&samples).unwrap();
    // Building the global pool succeeds only if nobody has: `rayon::join` outside a pool would have.
    assert!(rayon::ThreadPoolBuilder::new().num_threads(1).build_global().is_ok());
}

#[test]
fn samples_that_do_not_fit_are_refused() {
    let dataset = items(6, 20, 10, 3);
    let mut trainer = trainer(&TrainConfig { hidden: 4, ..TrainConfig::default() }, &dataset, 10, 3);
    let ok = Sample { index: 0, keywords: &[1, 5], targets: Targets::Tags(&[0, 2]), weights: PairWeights::All(1.0) };
    assert!(trainer.step(&[ok]).is_ok());
    assert!(trainer.step(&[]).is_ok());
    for bad in [
        Sample { keywords: &[10], ..ok },
        Sample { keywords: &[5, 1], ..ok },
        Sample { keywords: &[5, 5], ..ok },
        Sample { targets: Targets::Tags(&[3]), ..ok },
        Sample { targets: Targets::Tags(&[2, 0]), ..ok },
        Sample { targets: Targets::Soft(&[0.0, 1.0]), ..ok },
        Sample { targets: Targets::Soft(&[0.0, 1.0, 1.5]), ..ok },
        Sample { targets: Targets::Soft(&[0.0, 1.0, f32::NAN]), ..ok },
        Sample { weights: PairWeights::All(-1.0), ..ok },
        Sample { weights: PairWeights::All(f32::INFINITY), ..ok },
        Sample { weights: PairWeights::PerTag(&[1.0]), ..ok },
        Sample { weights: PairWeights::Scored { tags: &[], weight: 1.0, negatives: None }, ..ok },
        Sample { weights: PairWeights::Scored { tags: &[0b11], weight: 1.0, negatives: Some(&[1.0]) }, ..ok },
        Sample { weights: PairWeights::Scored { tags: &[0b1001], weight: 1.0, negatives: None }, ..ok },
    ] {
        assert!(trainer.step(&[ok, bad]).is_err(), "{bad:?}");
    }
    assert_eq!(trainer.steps(), 1);

    // Of the three tags 0 and 2 are positives, which have no factor.
    for (factors, scored) in [([0.0; 3], 2), ([0.0, 2.0, 0.0], 3)] {
        let negatives = Some(&factors[..]);
        let sample = Sample { weights: PairWeights::Scored { tags: &[0b111], weight: 1.0, negatives }, ..ok };
        assert_eq!(trainer.step(&[sample]).unwrap().pairs, scored);
    }
}

#[test]
fn training_learns_and_stops_early_with_the_best_weights() {
    let (train, valid) = (items(8, 2000, 60, 6), items(9, 500, 60, 6));
    let config = TrainConfig { hidden: 32, epochs: 60, patience: 3, ..TrainConfig::default() };
    let mut trainer = trainer(&config, &train, 60, 6);
    let mut seen = 0;
    let report = trainer
        .fit(&train, Some(&valid), &mut |event| {
            seen += usize::from(matches!(event, Event::Epoch(_)));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(seen, report.epochs.len());
    assert!(report.epochs.len() < 60, "it stops by itself");
    assert_eq!(report.best_epoch as usize, report.epochs.len() - 3);
    let best = report.epochs[report.best_epoch as usize - 1].valid;
    let left = KeyMeasures::of(&trainer.evaluate(&valid, None).unwrap().evaluation);
    assert_eq!(Some(left), best, "the best weights are the ones that are left");
    assert!(left.get(Metric::MacroAuc).unwrap() > 0.75);
}

#[test]
fn the_observer_can_stop_a_training() {
    let train = items(8, 300, 60, 6);
    let mut trainer = trainer(&TrainConfig { hidden: 8, ..TrainConfig::default() }, &train, 60, 6);
    let mut batches = 0;
    let report = trainer
        .fit(&train, None, &mut |_| {
            batches += 1;
            if batches == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert!(report.interrupted && report.epochs.is_empty());
    assert_eq!(trainer.steps(), 3);
}

#[test]
fn what_cannot_be_trained_is_an_error() {
    let mut watch = watch_nothing;
    let config = TrainConfig { hidden: 4, ..TrainConfig::default() };
    let empty = Dataset::new();
    assert!(matches!(trainer(&config, &empty, 5, 1).fit(&empty, None, &mut watch), Err(Error::NoData { .. })));
    let mut one_sided = Dataset::new();
    one_sided.push(&[1], &[0], 1.0).unwrap();
    one_sided.push(&[2], &[0, 1], 1.0).unwrap();
    match trainer(&config, &one_sided, 5, 2).fit(&one_sided, None, &mut watch) {
        Err(Error::UntrainableTag { tag, positives: 2, negatives: 0 }) => assert_eq!(tag, "t0"),
        other => panic!("{other:?}"),
    }
    match trainer(&config, &one_sided, 5, 3).fit(&one_sided, None, &mut watch) {
        Err(Error::UntrainableTag { tag, positives: 2, .. }) => assert_eq!(tag, "t0"),
        other => panic!("{other:?}"),
    }
    assert!(
        Trainer::new(
            TrainConfig { lr: -1.0, ..config },
            Vocabulary::from_keywords(["a"]).unwrap(),
            Tags::from_names(["t"]).unwrap(),
            &Statistics { samples: 0, mean_keywords: 1.0, positives: vec![0] }
        )
        .is_err()
    );
}

#[test]
fn measuring_wants_keywords_that_the_model_has() {
    let dataset = items(6, 30, 10, 3);
    for hidden in [0, 4] {
        let trainer = trainer(&TrainConfig { hidden, ..TrainConfig::default() }, &dataset, 9, 3);
        assert!(
            matches!(trainer.evaluate(&dataset, None), Err(Error::KeywordOutOfRange { id: 9, .. })),
            "{hidden} hidden units"
        );
    }
}

/// Keywords say nothing here, so a right score is the tag's prevalence, 1 in 20, though training sees as many negatives as positives.
#[test]
fn sampled_negatives_are_corrected_for() {
    let mut dataset = Dataset::new();
    for item in 0..2000_u32 {
        let [a, b, ..] = Philox::new(3).block([item, 0, 0, 53]);
        let tags: &[u32] = if item % 20 == 0 { &[0] } else { &[] };
        dataset.push(&[a % 40, b % 40], tags, 1.0).unwrap();
    }
    for &correction in Correction::ALL {
        let config =
            TrainConfig { hidden: 4, epochs: 30, negatives: Negatives::Sampled(1.0), correction, ..TrainConfig::default() };
        let mut trainer = trainer(&config, &dataset, 40, 1);
        trainer.fit(&dataset, None, &mut |_| ControlFlow::Continue(())).unwrap();
        let tagger = tagomatic::Tagger::new(trainer.model(Provenance::new()).unwrap());
        let (mut scratch, mut score, mut sum) = (tagger.scratch(), [0.0], 0.0);
        for i in 0..dataset.len() {
            tagger.score(dataset.keywords(i), &mut scratch, &mut score).unwrap();
            sum += f64::from(score[0]) / dataset.len() as f64;
        }
        assert!((0.025..0.1).contains(&sum), "{correction}: {sum}");
        let measured = trainer.evaluate(&dataset, None).unwrap().evaluation.summary.brier;
        assert!(measured < 0.08, "{correction}: the trainer measures what the model serves: {measured}");
    }
}
