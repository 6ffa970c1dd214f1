//! Nets so wide, and samples so long, that a step works on the rows of a matrix in parts.

use tagomatic::aligned::{LANES, as_floats, as_floats_mut};
use tagomatic::network::Weights;
use tagomatic::train::Reduction;
use tagomatic::train::{OptimizerKind, PairWeights, Sample, Statistics, Targets, TrainConfig, Trainer};
use tagomatic::{Tags, Vocabulary};

const KEYWORDS: usize = 40;
const COPIES: usize = 64;

fn trainer(hidden: usize, tags: usize) -> Trainer {
    let config = TrainConfig {
        hidden,
        initial_square: 0.0,
        reduction: Reduction::Sum,
        dropout_in: 0.0,
        dropout_hidden: 0.0,
        ..TrainConfig::default()
    };
    let statistics = Statistics { samples: 2, mean_keywords: 20.0, positives: vec![1; tags] };
    let vocabulary = Vocabulary::from_keywords((0..KEYWORDS).map(|n| format!("k{n}"))).unwrap();
    Trainer::new(config, vocabulary, Tags::from_names((0..tags).map(|n| format!("t{n}"))).unwrap(), &statistics).unwrap()
}

/// With 64 copies of each of four units, and a 64th of its output weights for each, the net is the same: so is the gradient of each
/// output weight, and that of each weight of the first layer a 64th.
#[test]
fn copies_of_units_learn_alike() {
    for tags in [20, 70] {
        let (mut narrow, mut wide) = (trainer(4, tags), trainer(4 * COPIES, tags));
        let start = narrow.snapshot();
        let (few, many) = (narrow.network().shape.clone(), wide.network().shape.clone());
        let places = |unit: usize, tag: usize| {
            (few.w2_index(&few.groups()[0], unit % 4, tag), many.w2_index(&many.groups()[0], unit, tag))
        };
        let Weights { w1, w2, b2, .. } = start.weights();
        let blocks = wide.snapshot();
        let (mut wide_w1, mut wide_w2) = (blocks.weights().w1.to_vec(), blocks.weights().w2.to_vec());
        for (unit, tag) in (0..4 * COPIES).flat_map(|unit| (0..tags).map(move |tag| (unit, tag))) {
            let (from, to) = places(unit, tag);
            as_floats_mut(&mut wide_w2)[to] = as_floats(w2)[from] / COPIES as f32;
        }
        for (row, from) in as_floats_mut(&mut wide_w1).chunks_mut(4 * COPIES).zip(as_floats(w1).chunks(LANES)) {
            row.iter_mut().enumerate().for_each(|(unit, w)| *w = from[unit % 4]);
        }
        let weights = Weights { w1: &wide_w1, b1: blocks.weights().b1, w2: &wide_w2, b2 };
        wide.set_weights(weights).unwrap();

        let keywords: Vec<u32> = (0..KEYWORDS as u32).collect();
        let targets: Vec<f32> = (0..tags).map(|tag| [0.0, 1.0, 0.25][tag % 3]).collect();
        let sample = |keywords, index| Sample {
            index,
            keywords,
            targets: Targets::Soft(&targets),
            weights: PairWeights::All(1.0 + index as f32),
        };
        let samples = [sample(&keywords[..30], 0), sample(&keywords[10..], 1)];
        narrow.step(&samples).unwrap();
        wide.step(&samples).unwrap();
        let (narrow, wide) = (narrow.squares(), wide.squares());
        let (narrow, wide) = (narrow.weights(), wide.weights());
        let largest = as_floats(narrow.w1).iter().chain(as_floats(narrow.w2)).fold(0.0_f32, |largest, g| largest.max(*g));
        assert!(largest > 0.0);
        let close = |what: &str, a: f32, b: f32| assert!((a - b).abs() <= 1e-3 * a.abs() + 1e-6 * largest, "{what}: {a}, {b}");
        for (row, narrow) in as_floats(wide.w1).chunks(4 * COPIES).zip(as_floats(narrow.w1).chunks(LANES)) {
            row.iter().enumerate().for_each(|(unit, g)| close("W1", narrow[unit % 4], g * (COPIES * COPIES) as f32));
        }
        for (unit, tag) in (0..4 * COPIES).flat_map(|unit| (0..tags).map(move |tag| (unit, tag))) {
            let (from, to) = places(unit, tag);
            close("W2", as_floats(narrow.w2)[from], as_floats(wide.w2)[to]);
        }
    }
}

/// Every keyword of one sample has the gradient of the hidden biases, times the factor that stands for the keywords that are dropped.
#[test]
fn rows_of_a_long_sample_move_alike() {
    for (dropout_in, factor, least) in [(0.0, 1.0, 600), (0.5, 2.0, 200), (0.75, 4.0, 80)] {
        let config = TrainConfig {
            hidden: 8,
            activation: "identity".parse().unwrap(),
            optimizer: OptimizerKind::Sgd,
            dropout_in,
            dropout_hidden: 0.0,
            ..TrainConfig::default()
        };
        let statistics = Statistics { samples: 2, mean_keywords: 600.0, positives: vec![1; 3] };
        let vocabulary = Vocabulary::from_keywords((0..600).map(|n| format!("k{n}"))).unwrap();
        let mut trainer = Trainer::new(config, vocabulary, Tags::from_names(["a", "b", "c"]).unwrap(), &statistics).unwrap();
        let before = trainer.snapshot();
        let keywords: Vec<u32> = (0..600).collect();
        let targets = Targets::Soft(&[1.0, 0.0, 1.0]);
        trainer.step(&[Sample { index: 0, keywords: &keywords, targets, weights: PairWeights::All(1.0) }]).unwrap();
        let after = trainer.snapshot();
        let (before, after) = (before.weights(), after.weights());
        let bias = as_floats(after.b1);
        assert!(bias[..8].iter().all(|b| b.abs() > 1e-4), "{bias:?}");
        let rows = as_floats(before.w1).chunks(LANES).zip(as_floats(after.w1).chunks(LANES));
        let moved = rows.filter(|(before, after)| before != after).map(|(before, after)| {
            for ((before, after), bias) in before.iter().zip(after).zip(bias) {
                assert!((after - before - factor * bias).abs() < 1e-6, "{before} to {after} by {factor} times {bias}");
            }
        });
        let moved = moved.count();
        assert!(moved >= least && (dropout_in == 0.0 || moved < 600 - least), "{moved} rows");
    }
}
