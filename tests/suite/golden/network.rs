//! Forward passes, losses, gradients and training runs.

use std::path::Path;

use half::f16;
use serde_json::Value;
use tagomatic::aligned::{Block, LANES, as_floats, as_floats_mut};
use tagomatic::format::Extensions;
use tagomatic::ids::Sets;
use tagomatic::kernels::Kernels;
use tagomatic::network::{Activation, Network, Pooling, Shape, Weights};
use tagomatic::train::{
    Anchor, Autoencoder, DecayMode, DecayWhen, Objective, OptimizerKind, PairWeights, Penalty, Rowwise, Sample, Statistics,
    Targets, TrainConfig, Trainer,
};
use tagomatic::weights::Matrix;
use tagomatic::{Level, ModelParts, Provenance, Tagger, Tags, Vocabulary};

use super::data::ids_of;
use super::{close, f64_of, flat, floats, list, per_tag, u32_of, u64_of};

/// Weights of a network in plain f32 matrices.
pub(super) struct Plain {
    pub(super) w1: Vec<Vec<f32>>,
    pub(super) b1: Vec<f32>,
    pub(super) w2: Vec<Vec<f32>>,
    pub(super) b2: Vec<f32>,
}

fn matrix(value: &Value) -> Vec<Vec<f32>> {
    list(value).iter().map(floats).collect()
}

impl Plain {
    /// The parameters of a case, by its model's names for them; biases that it lacks are 0.
    pub(super) fn read(model: &str, params: &Value, hidden: usize) -> Self {
        let b1 = params.get("b1").map_or_else(|| vec![0.0; hidden], floats);
        let [first, _, output, bias] = tensor_names(model);
        let w1 = matrix(&params[first]);
        let w2 = match (model, params.get(output)) {
            ("tagger", Some(w2)) => matrix(w2),
            // A tied autoencoder has no D.
            (_, rows) => transposed(&rows.map_or_else(|| w1.clone(), matrix), hidden),
        };
        let outputs = w2.first().map_or(0, Vec::len);
        let b2 = params.get(bias).map_or_else(|| vec![0.0; outputs], floats);
        Plain { w1, b1, w2, b2 }
    }

    fn rounded_to_f16(&self) -> Self {
        let round = |m: &[Vec<f32>]| m.iter().map(|r| r.iter().map(|x| f16::from_f32(*x).to_f32()).collect()).collect();
        Plain { w1: round(&self.w1), b1: self.b1.clone(), w2: round(&self.w2), b2: self.b2.clone() }
    }

    /// Lays the weights out for `shape`, one group, and lends them.
    pub(super) fn with<R>(&self, shape: &Shape, use_weights: impl FnOnce(Weights<'_>) -> R) -> R {
        let group = &shape.groups()[0];
        let mut w1 = vec![Block::ZERO; shape.w1_blocks()];
        for (row, values) in self.w1.iter().enumerate() {
            as_floats_mut(&mut w1)[row * shape.row_blocks() * LANES..][..values.len()].copy_from_slice(values);
        }
        let mut b1 = vec![Block::ZERO; shape.row_blocks()];
        as_floats_mut(&mut b1)[..self.b1.len()].copy_from_slice(&self.b1);
        let mut w2 = vec![Block::ZERO; shape.w2_blocks()];
        for (unit, values) in self.w2.iter().enumerate() {
            for (tag, value) in values.iter().enumerate() {
                as_floats_mut(&mut w2)[shape.w2_index(group, unit, tag)] = *value;
            }
        }
        let mut b2 = vec![Block::ZERO; shape.slot_blocks()];
        as_floats_mut(&mut b2)[..self.b2.len()].copy_from_slice(&self.b2);
        use_weights(Weights { w1: &w1, b1: &b1, w2: &w2, b2: &b2 })
    }

    pub(super) fn of(shape: &Shape, weights: Weights<'_>) -> Self {
        let (hidden, tags) = (shape.hidden(), shape.tags());
        let group = &shape.groups()[0];
        let w2 = as_floats(weights.w2);
        Plain {
            w1: (0..shape.keywords())
                .map(|row| as_floats(weights.w1)[row * shape.row_blocks() * LANES..][..hidden].to_vec())
                .collect(),
            b1: as_floats(weights.b1)[..hidden].to_vec(),
            w2: (0..hidden).map(|unit| (0..tags).map(|tag| w2[shape.w2_index(group, unit, tag)]).collect()).collect(),
            b2: as_floats(weights.b2)[..tags].to_vec(),
        }
    }

    /// The tensors of a model, by its names for them.
    fn tensors(&self, model: &str) -> [(&'static str, Vec<f32>); 4] {
        let w2 = if model == "tagger" { self.w2.concat() } else { transposed(&self.w2, self.b2.len()).concat() };
        let [first, hidden_bias, output, bias] = tensor_names(model);
        [(first, self.w1.concat()), (hidden_bias, self.b1.clone()), (output, w2), (bias, self.b2.clone())]
    }
}

/// A model's names for W1, b1, W2 (a row a unit of a tagger, else a row an output) and b2.
fn tensor_names(model: &str) -> [&'static str; 4] {
    match model {
        "tagger" => ["W1", "b1", "W2", "b2"],
        "autoencoder" => ["W1", "b1", "D", "c"],
        "anchor" => ["E", "b1", "V", "no output bias"],
        _ => panic!("{model}: no such model"),
    }
}

/// The columns of `rows`, which have so many.
fn transposed(rows: &[Vec<f32>], columns: usize) -> Vec<Vec<f32>> {
    (0..columns).map(|column| rows.iter().map(|row| row[column]).collect()).collect()
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

fn activation(config: &Value) -> Activation {
    let (name, parameter) = (config["act"].as_str().unwrap(), &config["act_param"]);
    if parameter.is_null() { name.parse().unwrap() } else { format!("{name}:{}", f64_of(parameter)).parse().unwrap() }
}

fn penalty(given: &Value) -> Option<Penalty> {
    let kind = given.get("kind")?.as_str().unwrap();
    let p = given.get("p").filter(|p| !p.is_null()).map_or(0.0, f64_of);
    let kind = match kind {
        "l1" | "student_t" => kind.parse().unwrap(),
        _ => format!("{kind}:{p}").parse().unwrap(),
    };
    Some(Penalty { kind, weight: f64_of(&given["lambda"]) })
}

fn trainer(case: &Value, plain: &Plain, level: Level, change: impl FnOnce(&mut TrainConfig)) -> Trainer {
    let size = |key: &str| u64_of(&case["shape"][key]) as usize;
    let (given, optimizer) = (&case["config"], &case["optimizer"]);
    let decay = &optimizer["decay"];
    let amount = |key: &str| decay.get(key).map_or(0.0, f64_of);
    // Names of parameters that this model lacks are ignored.
    let rowwise = |name: &str| list(&optimizer["rowwise"]).iter().any(|listed| listed == name);
    let model = case["model"].as_str().unwrap();
    let objective = match model {
        "autoencoder" => Objective::Autoencoder(Autoencoder { tied: given["tied"] == true, ..Autoencoder::default() }),
        "anchor" => Objective::Anchor(Anchor { kind: given["anchor"].as_str().unwrap().parse().unwrap(), ..Anchor::default() }),
        _ => Objective::Tagger,
    };
    let outputs = if model == "autoencoder" { size("K") } else { size("T") };
    let [first, _, output, bias] = tensor_names(model);
    let mut config = TrainConfig {
        objective,
        hidden_bias: given.get("hidden_bias").map_or_else(|| case["params"].get("b1").is_some(), |has| has == true),
        hidden: size("H"),
        activation: activation(given),
        penalty: penalty(&given["penalty"]),
        loss: given["loss"].as_str().unwrap().parse().unwrap(),
        eps: f64_of(&given["eps"]),
        reduction: given["reduction"].as_str().unwrap().parse().unwrap(),
        dropout_in: f64_of(&given["dropout_in"]),
        dropout_hidden: f64_of(&given["dropout_hidden"]),
        seed: u64_of(&given["seed"]),
        lr: f64_of(&optimizer["lr"]),
        lr_decay: f64_of(&optimizer["lr_decay"]),
        optimizer: optimizer["kind"].as_str().unwrap().parse().unwrap(),
        epsilon: f64_of(&optimizer["eps_opt"]),
        epsilon_place: optimizer["eps_mode"].as_str().unwrap().parse().unwrap(),
        rowwise: Rowwise { w1: rowwise(first), b1: rowwise("b1"), w2: rowwise(output), b2: rowwise(bias) },
        initial_square: f64_of(&optimizer["acc_init"]),
        l1: amount("l1"),
        l2: amount("l2"),
        decay: decay["mode"].as_str().filter(|mode| *mode != "none").map_or(DecayMode::Decoupled, |mode| mode.parse().unwrap()),
        decay_when: decay.get("when").map_or(DecayWhen::EveryStep, |when| when.as_str().unwrap().parse().unwrap()),
        ..TrainConfig::default()
    };
    change(&mut config);
    let vocabulary = Vocabulary::from_keywords(names("k", size("K"))).unwrap();
    let tags = Tags::from_names(names("t", size("T"))).unwrap();
    let statistics = Statistics { samples: 0, mean_keywords: 1.0, positives: vec![0; outputs] };
    let mut trainer = Trainer::new(config, vocabulary, tags, &statistics).unwrap();
    trainer.set_level(level).unwrap();
    let shape = trainer.network().shape.clone();
    plain.with(&shape, |weights| trainer.set_weights(weights)).unwrap();
    if let Some(factors) = per_tag(&given["pos_weight"], outputs) {
        trainer.set_positive_weights(&factors.iter().map(|w| *w as f32).collect::<Vec<_>>()).unwrap();
    }
    if let Some(rates) = per_tag(&given["pi"], outputs) {
        trainer.set_inclusion_rates(&rates).unwrap();
    }
    trainer
}

/// A sample's data, owned.
struct OwnedSample {
    index: u32,
    keywords: Vec<u32>,
    /// One an output, or none where `outputs` are all that there is to say.
    targets: Vec<f32>,
    /// The outputs whose target is 1.
    outputs: Vec<u32>,
    weights: Option<Vec<f32>>,
    /// The others that are scored; `None` for all.
    negatives: Option<Vec<u32>>,
}

fn read_batch(model: &str, value: &Value) -> Vec<OwnedSample> {
    let weights = value.get("weight").filter(|weights| !weights.is_null());
    let read = |(i, ids): (usize, &Value)| {
        let keywords: Vec<u32> = list(ids).iter().map(u32_of).collect();
        let ids_of = |key: &str| value.get(key).filter(|lists| !lists.is_null()).map(|lists| ids_of(&lists[i]));
        let targets = value.get("y").map_or_else(Vec::new, |y| floats(&y[i]));
        let positives = (0..).zip(&targets).filter(|(_, y)| **y == 1.0).map(|(output, _)| output).collect();
        OwnedSample {
            index: u32_of(&value["samples"][i]),
            outputs: match model {
                "tagger" => positives,
                "autoencoder" => keywords.clone(),
                _ => ids_of("pos").unwrap(),
            },
            keywords,
            targets,
            weights: weights.map(|weights| floats(&weights[i])),
            negatives: ids_of("neg"),
        }
    };
    list(&value["ids"]).iter().enumerate().map(read).collect()
}

fn samples(batch: &[OwnedSample]) -> Vec<Sample<'_>> {
    let hard = |owned: &OwnedSample| owned.targets.iter().all(|y| *y == 0.0 || *y == 1.0);
    batch
        .iter()
        .map(|owned| Sample {
            index: owned.index,
            keywords: &owned.keywords,
            targets: if hard(owned) { Targets::Tags(&owned.outputs) } else { Targets::Soft(&owned.targets) },
            weights: match (&owned.weights, &owned.negatives) {
                (Some(weights), _) => PairWeights::PerTag(weights),
                (None, Some(negatives)) => PairWeights::Listed { negatives, weight: 1.0 },
                (None, None) => PairWeights::All(1.0),
            },
        })
        .collect()
}

pub(super) fn tagger(network: &Network, plain: &Plain, level: Level) -> tagomatic::Result<Tagger> {
    let shape = &network.shape;
    let model = plain.with(shape, |weights| {
        ModelParts {
            network,
            weights: weights.into(),
            vocabulary: Vocabulary::from_keywords(names("k", shape.keywords()))?.view(),
            tags: &Tags::from_names(names("t", shape.tags()))?,
            provenance: &Provenance::new(),
            extensions: &Extensions::default(),
        }
        .to_model()
    })?;
    Tagger::with_level(model, level)
}

/// Hidden units, logits and scores of each sample against the expected ones.
fn check_forward(name: &str, tagger: &Tagger, batch: &[OwnedSample], expected: &Value) {
    let mut scratch = tagger.scratch();
    let shape = &tagger.model().network().shape;
    let (mut hidden, mut scores) = (vec![0.0; shape.hidden()], vec![0.0; shape.tags()]);
    for (i, sample) in batch.iter().enumerate() {
        if let Some(a) = expected.get("a") {
            let mut blocks = vec![Block::ZERO; shape.row_blocks()];
            let kernels = Kernels::at(tagger.level()).unwrap();
            let starts = [0, sample.keywords.len()];
            let set = Sets::new(&sample.keywords, &starts).unwrap();
            let weights = tagger.model().weights().as_f32().unwrap();
            let is_mean = tagger.model().network().pooling == Pooling::Mean;
            let start = if is_mean { vec![Block::ZERO; shape.row_blocks()] } else { weights.b1.to_vec() };
            kernels.sum_bags(&Matrix::F32(weights.w1), &start, Activation::Identity, set, &mut blocks).unwrap();
            if is_mean {
                let count = sample.keywords.len().max(1) as f32;
                as_floats_mut(&mut blocks).iter_mut().zip(as_floats(weights.b1)).for_each(|(a, b)| *a = *a / count + b);
            }
            close(&format!("{name}: a"), &as_floats(&blocks)[..shape.hidden()], &flat(&a[i]), 1e-5);
        }
        tagger.hidden(&sample.keywords, &mut scratch, &mut hidden).unwrap();
        close(&format!("{name}: h"), &hidden, &flat(&expected["h"][i]), 1e-5);
        tagger.logits(&sample.keywords, &mut scratch, &mut scores).unwrap();
        close(&format!("{name}: z"), &scores, &flat(&expected["z"][i]), 1e-5);
        tagger.score(&sample.keywords, &mut scratch, &mut scores).unwrap();
        close(&format!("{name}: p"), &scores, &flat(&expected["p"][i]), 1e-5);
    }
}

/// A file with a `model`.
pub(super) fn check(path: &Path, case: &Value, level: Level) {
    let name = format!("{} at {level}", path.display());
    let model = case["model"].as_str().unwrap();
    let plain = Plain::read(model, &case["params"], u64_of(&case["shape"]["H"]) as usize);
    let batches: Vec<Vec<OwnedSample>> = list(&case["batches"]).iter().map(|batch| read_batch(model, batch)).collect();
    let expected = &case["expected"];

    let mut still =
        trainer(case, &plain, level, |config| (config.lr, config.dropout_in, config.dropout_hidden) = (0.0, 0.0, 0.0));
    let network = still.network().clone();
    check_forward(&name, &tagger(&network, &plain, level).unwrap(), &batches[0], &expected["forward"]);
    if let Some(expected) = expected.get("forward_f16") {
        check_forward(&name, &tagger(&network, &plain.rounded_to_f16(), level).unwrap(), &batches[0], expected);
    }
    let report = still.step(&samples(&batches[0])).unwrap();
    close(&format!("{name}: loss"), &[report.loss as f32], &[f64_of(&expected["forward"]["loss_data"])], 1e-5);
    close(&format!("{name}: penalty"), &[report.penalty as f32], &[f64_of(&expected["forward"]["loss_penalty"])], 1e-5);

    // From squared-gradient sums of 0, a step leaves the squared gradient there, and the weight moves against its sign.
    let mut probe = trainer(case, &plain, level, |config| {
        (config.optimizer, config.rowwise) = (OptimizerKind::AdaGrad, Rowwise::default());
        (config.initial_square, config.l1, config.l2) = (0.0, 0.0, 0.0);
    });
    probe.step(&samples(&batches[0])).unwrap();
    let squares = Plain::of(&network.shape, probe.squares().weights());
    let moved = Plain::of(&network.shape, probe.snapshot().weights());
    for (((tensor, squares), (_, moved)), (_, start)) in
        squares.tensors(model).into_iter().zip(moved.tensors(model)).zip(plain.tensors(model))
    {
        let Some(gradient) = expected["grad"].get(tensor).map(flat) else { continue };
        let largest = gradient.iter().fold(1e-3, |m, g| g.abs().max(m));
        for (i, &g) in gradient.iter().enumerate() {
            let found = f64::from(squares[i]).sqrt() * f64::from((start[i] - moved[i]).signum());
            assert!((found - g).abs() <= 2e-5 * largest, "{name}: gradient of {tensor}[{i}]: {found}, expected {g}");
        }
    }
    let tied = case["config"].get("tied").is_some_and(|tied| tied == true);
    for (keyword, squares) in squares.w1.iter().enumerate() {
        let id = keyword as u32;
        // As a row of output weights a tied one takes part where it is scored.
        let scored = |sample: &OwnedSample| sample.negatives.as_ref().is_none_or(|negatives| negatives.contains(&id));
        let takes_part = |sample: &OwnedSample| sample.keywords.contains(&id) || (tied && scored(sample));
        if !batches[0].iter().any(takes_part) {
            assert!(squares.iter().all(|g| *g == 0.0), "{name}: keyword {keyword} does not occur");
        }
    }

    let mut trained = trainer(case, &plain, level, |_| ());
    let losses = flat(&expected["losses"]);
    for (step, &loss) in losses.iter().enumerate() {
        let report = trained.step(&samples(&batches[step % batches.len()])).unwrap();
        close(
            &format!("{name}: loss of step {}", step + 1),
            &[(report.loss + report.penalty) as f32],
            &[loss],
            if step == 0 { 1e-5 } else { 2e-3 },
        );
        let Some(after) = expected["after"].get((step + 1).to_string()) else { continue };
        let tolerance = if step < 10 { 1e-4 } else { 2e-3 };
        let weights = Plain::of(&network.shape, trained.snapshot().weights());
        for (tensor, values) in weights.tensors(model) {
            if let Some(expected) = after["params"].get(tensor) {
                close(&format!("{name}: {tensor} after {} steps", step + 1), &values, &flat(expected), tolerance);
            }
        }
        for (tensor, values) in Plain::of(&network.shape, trained.squares().weights()).tensors(model) {
            if let Some(expected) = after.get("acc").and_then(|acc| acc.get(tensor)) {
                // Of a row that shares its sum there is one.
                let expected = flat(expected);
                let shared = values.len().checked_div(expected.len()).unwrap_or(1);
                let expected: Vec<f64> = expected.into_iter().flat_map(|sum| std::iter::repeat_n(sum, shared)).collect();
                close(&format!("{name}: squares of {tensor}"), &values, &expected, 2e-3);
            }
        }
    }
}
