//! Forward passes, losses, gradients and training runs against values computed in f64 by an independent implementation.

use std::path::Path;

use half::f16;
use serde_json::Value;
use tagomatic::aligned::{Block, LANES, as_floats, as_floats_mut};
use tagomatic::kernels::{AdaGradStep, Kernels, LogLoss, LossInputs, LossKind, Shrink};
use tagomatic::layers::embedding_bag::{self, Bag};
use tagomatic::layers::sigmoid_loss::{self, Reduction};
use tagomatic::network::{Network, Shape, Weights};
use tagomatic::train::{DecayWhen, PairWeights, Sample, Statistics, Targets, TrainConfig, Trainer, he_radius, prior_logit};
use tagomatic::{Level, ModelParts, Provenance, Tagger, Tags, Vocabulary};

use crate::golden::{case_files, f64_of, list, u32_of, u64_of};

/// Options whose subject is not built yet. A case that needs anything else must run.
const NOT_BUILT: &[&str] = &[
    "model=autoencoder",
    "model=anchor",
    "act=leaky_relu",
    "act=elu",
    "act=sigmoid",
    "act=trec",
    "act=tlin",
    "penalty",
    "kind=sgd",
    "eps_mode=inside",
    "rowwise",
    "decay=prox",
    "decay=coupled",
    "config=lambda",
    "config=theta",
    "config=kl_p",
    "config=leaky_slope",
    "config_pair=penalty",
    "f16",
    "decay_catch_up=prox",
    "sampling=shift",
];

/// Files that other tests read.
const OTHER_FILES: &[&str] = &["rng", "metrics"];

#[test]
fn every_case_runs_or_is_listed_as_not_built() {
    let (mut run, mut skipped) = (0, 0);
    for (path, case) in case_files() {
        let name = case["name"].as_str().unwrap().to_owned();
        let missing = if case.get("model").is_some() { missing_options(&case) } else { Vec::new() };
        if let Some(option) = missing.iter().find(|option| !NOT_BUILT.contains(&option.as_str())) {
            panic!("{}: {option} cannot be run and is not on the list of what is not built", path.display());
        }
        if !missing.is_empty() {
            skipped += 1;
            continue;
        }
        run += 1;
        if case.get("model").is_some() {
            for level in Level::available() {
                network_case(&path, &case, level);
            }
            continue;
        }
        match name.as_str() {
            "edges" => list(&case["cases"]).iter().for_each(edge_case),
            "init" => initial_values(&case),
            "sampling" => list(&case["correction"]).iter().for_each(sampling_correction),
            "decay_catch_up" => decay_catch_up(&case),
            name => assert!(OTHER_FILES.contains(&name), "{}: no test for {name:?}", path.display()),
        }
    }
    println!("{run} golden files run, {skipped} of what is not built");
    assert!(run > 0);
}

/// What a model case asks for that is not built, as `option=value`.
fn missing_options(case: &Value) -> Vec<String> {
    let (config, optimizer) = (&case["config"], &case["optimizer"]);
    let mut missing = Vec::new();
    let mut need = |option: &str, value: &Value, built: &[&str]| {
        let value = value.as_str().unwrap();
        if !built.contains(&value) {
            missing.push(format!("{option}={value}"));
        }
    };
    need("model", &case["model"], &["tagger"]);
    need("act", &config["act"], &["relu"]);
    need("kind", &optimizer["kind"], &["adagrad"]);
    need("eps_mode", &optimizer["eps_mode"], &["outside"]);
    need("decay", &optimizer["decay"]["mode"], &["none", "decoupled"]);
    if !config["penalty"].is_null() {
        missing.push("penalty".into());
    }
    if optimizer["rowwise"].as_array().is_some_and(|names| !names.is_empty()) {
        missing.push("rowwise".into());
    }
    missing
}

/// Weights of a network in plain f32 matrices.
struct Plain {
    w1: Vec<Vec<f32>>,
    b1: Vec<f32>,
    w2: Vec<Vec<f32>>,
    b2: Vec<f32>,
}

fn floats(value: &Value) -> Vec<f32> {
    list(value).iter().map(|x| f64_of(x) as f32).collect()
}

fn matrix(value: &Value) -> Vec<Vec<f32>> {
    list(value).iter().map(floats).collect()
}

impl Plain {
    fn read(params: &Value, hidden: usize) -> Self {
        let b1 = params.get("b1").map_or_else(|| vec![0.0; hidden], floats);
        Plain { w1: matrix(&params["W1"]), b1, w2: matrix(&params["W2"]), b2: floats(&params["b2"]) }
    }

    fn rounded_to_f16(&self) -> Self {
        let round = |m: &[Vec<f32>]| m.iter().map(|r| r.iter().map(|x| f16::from_f32(*x).to_f32()).collect()).collect();
        Plain { w1: round(&self.w1), b1: self.b1.clone(), w2: round(&self.w2), b2: self.b2.clone() }
    }

    /// Lays the weights out for `shape`, one group, and lends them.
    fn with<R>(&self, shape: &Shape, use_weights: impl FnOnce(Weights<'_>) -> R) -> R {
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

    fn of(shape: &Shape, weights: Weights<'_>) -> Self {
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

    fn tensors(&self) -> [(&'static str, Vec<f32>); 4] {
        [("W1", self.w1.concat()), ("b1", self.b1.clone()), ("W2", self.w2.concat()), ("b2", self.b2.clone())]
    }
}

/// All numbers of a value that is a number, a list, or a list of lists.
fn flat(value: &Value) -> Vec<f64> {
    match value.as_array() {
        Some(values) => values.iter().flat_map(flat).collect(),
        None => vec![f64_of(value)],
    }
}

/// Fails unless `|found - expected| <= tolerance · max(1, |expected|)`, element by element.
fn close(what: &str, found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let found = f64::from(found);
        let same = found == expected || (found.is_nan() && expected.is_nan());
        let error = (found - expected).abs();
        assert!(same || error <= tolerance * expected.abs().max(1.0), "{what}[{i}]: {found}, expected {expected}");
    }
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

/// One value a tag from a list, a single number or null.
fn per_tag(value: &Value, tags: usize) -> Option<Vec<f64>> {
    match value {
        Value::Null => None,
        Value::Array(_) => Some(flat(value)),
        value => Some(vec![f64_of(value); tags]),
    }
}

fn trainer(case: &Value, plain: &Plain, level: Level, change: impl FnOnce(&mut TrainConfig)) -> Trainer {
    let size = |key: &str| u64_of(&case["shape"][key]) as usize;
    let (given, optimizer) = (&case["config"], &case["optimizer"]);
    let decay = &optimizer["decay"];
    let amount = |key: &str| decay.get(key).map_or(0.0, f64_of);
    let mut config = TrainConfig {
        hidden: size("H"),
        loss: given["loss"].as_str().unwrap().parse().unwrap(),
        eps: f64_of(&given["eps"]),
        reduction: given["reduction"].as_str().unwrap().parse().unwrap(),
        dropout_in: f64_of(&given["dropout_in"]),
        dropout_hidden: f64_of(&given["dropout_hidden"]),
        seed: u64_of(&given["seed"]),
        lr: f64_of(&optimizer["lr"]),
        lr_decay: f64_of(&optimizer["lr_decay"]),
        epsilon: f64_of(&optimizer["eps_opt"]),
        initial_square: f64_of(&optimizer["acc_init"]),
        l1: amount("l1"),
        l2: amount("l2"),
        decay_when: decay.get("when").map_or(DecayWhen::EveryStep, |when| when.as_str().unwrap().parse().unwrap()),
        ..TrainConfig::default()
    };
    change(&mut config);
    let vocabulary = Vocabulary::from_keywords(names("k", size("K"))).unwrap();
    let tags = Tags::from_names(names("t", size("T"))).unwrap();
    let statistics = Statistics { samples: 0, mean_keywords: 1.0, positives: vec![0; size("T")] };
    let mut trainer = Trainer::new(config, vocabulary, tags, &statistics).unwrap();
    trainer.set_level(level).unwrap();
    let shape = trainer.network().shape.clone();
    plain.with(&shape, |weights| trainer.set_weights(weights)).unwrap();
    if let Some(factors) = per_tag(&given["pos_weight"], size("T")) {
        trainer.set_positive_weights(&factors.iter().map(|w| *w as f32).collect::<Vec<_>>()).unwrap();
    }
    if let Some(rates) = per_tag(&given["pi"], size("T")) {
        trainer.set_inclusion_rates(&rates).unwrap();
    }
    trainer
}

/// A sample's data, owned.
struct OwnedSample {
    index: u32,
    keywords: Vec<u32>,
    targets: Vec<f32>,
    /// The tags whose target is 1.
    tags: Vec<u32>,
    weights: Option<Vec<f32>>,
}

fn read_batch(value: &Value) -> Vec<OwnedSample> {
    let weights = value.get("weight").filter(|weights| !weights.is_null());
    let read = |(i, ids): (usize, &Value)| {
        let targets = floats(&value["y"][i]);
        OwnedSample {
            index: u32_of(&value["samples"][i]),
            keywords: list(ids).iter().map(u32_of).collect(),
            tags: (0..).zip(&targets).filter(|(_, y)| **y == 1.0).map(|(tag, _)| tag).collect(),
            targets,
            weights: weights.map(|weights| floats(&weights[i])),
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
            targets: if hard(owned) { Targets::Tags(&owned.tags) } else { Targets::Soft(&owned.targets) },
            weights: owned.weights.as_deref().map_or(PairWeights::All(1.0), PairWeights::PerTag),
        })
        .collect()
}

fn tagger(network: &Network, plain: &Plain, level: Level) -> tagomatic::Result<Tagger> {
    let shape = &network.shape;
    let model = plain.with(shape, |weights| {
        ModelParts {
            network,
            weights,
            vocabulary: Vocabulary::from_keywords(names("k", shape.keywords()))?.view(),
            tags: &Tags::from_names(names("t", shape.tags()))?,
            provenance: &Provenance::new(),
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
            embedding_bag::forward(kernels, tagger.model().weights(), Bag::of(&sample.keywords), &mut blocks).unwrap();
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

fn network_case(path: &Path, case: &Value, level: Level) {
    let name = format!("{} at {level}", path.display());
    let plain = Plain::read(&case["params"], u64_of(&case["shape"]["H"]) as usize);
    let batches: Vec<Vec<OwnedSample>> = list(&case["batches"]).iter().map(read_batch).collect();
    let expected = &case["expected"];

    let mut still =
        trainer(case, &plain, level, |config| (config.lr, config.dropout_in, config.dropout_hidden) = (0.0, 0.0, 0.0));
    let network = still.network().clone();
    check_forward(&name, &tagger(&network, &plain, level).unwrap(), &batches[0], &expected["forward"]);
    let rounded = plain.rounded_to_f16();
    check_forward(&name, &tagger(&network, &rounded, level).unwrap(), &batches[0], &expected["forward_f16"]);
    let loss = still.step(&samples(&batches[0])).unwrap().loss;
    close(&format!("{name}: loss"), &[loss as f32], &[f64_of(&expected["forward"]["loss_data"])], 1e-5);

    // From squared-gradient sums of 0, a step leaves the squared gradient there, and the weight moves against its sign.
    let mut probe = trainer(case, &plain, level, |config| (config.initial_square, config.l1, config.l2) = (0.0, 0.0, 0.0));
    probe.step(&samples(&batches[0])).unwrap();
    let squares = Plain::of(&network.shape, probe.squares());
    let moved = Plain::of(&network.shape, probe.weights());
    for (((tensor, squares), (_, moved)), (_, start)) in squares.tensors().into_iter().zip(moved.tensors()).zip(plain.tensors())
    {
        let Some(gradient) = expected["grad"].get(tensor).map(flat) else { continue };
        let largest = gradient.iter().fold(1e-3, |m, g| g.abs().max(m));
        for (i, &g) in gradient.iter().enumerate() {
            let found = f64::from(squares[i]).sqrt() * f64::from((start[i] - moved[i]).signum());
            assert!((found - g).abs() <= 2e-5 * largest, "{name}: gradient of {tensor}[{i}]: {found}, expected {g}");
        }
    }
    for (keyword, squares) in squares.w1.iter().enumerate() {
        if !batches[0].iter().any(|sample| sample.keywords.contains(&(keyword as u32))) {
            assert!(squares.iter().all(|g| *g == 0.0), "{name}: keyword {keyword} does not occur");
        }
    }

    let mut trained = trainer(case, &plain, level, |_| ());
    let losses = flat(&expected["losses"]);
    for (step, &loss) in losses.iter().enumerate() {
        let report = trained.step(&samples(&batches[step % batches.len()])).unwrap();
        close(
            &format!("{name}: loss of step {}", step + 1),
            &[report.loss as f32],
            &[loss],
            if step == 0 { 1e-5 } else { 2e-3 },
        );
        let Some(after) = expected["after"].get((step + 1).to_string()) else { continue };
        let tolerance = if step < 10 { 1e-4 } else { 2e-3 };
        let weights = Plain::of(&network.shape, trained.weights());
        for (tensor, values) in weights.tensors() {
            if let Some(expected) = after["params"].get(tensor) {
                close(&format!("{name}: {tensor} after {} steps", step + 1), &values, &flat(expected), tolerance);
            }
        }
        for (tensor, values) in Plain::of(&network.shape, trained.squares()).tensors() {
            if let Some(expected) = after.get("acc").and_then(|acc| acc.get(tensor)) {
                close(&format!("{name}: squares of {tensor}"), &values, &flat(expected), 2e-3);
            }
        }
    }
}

fn initial_values(case: &Value) {
    for case in list(&case["cases"]) {
        let (fan_in, fan_out) = (f64_of(&case["fan_in"]), f64_of(&case["fan_out"]));
        let slope = f64_of(&case["leaky_slope"]);
        let radius = match case["scheme"].as_str().unwrap() {
            "he" => he_radius(fan_in) / (1.0 + slope * slope).sqrt(),
            "glorot" => tagomatic::train::glorot_radius(fan_in, fan_out),
            scheme => panic!("{scheme}"),
        };
        assert!((radius - f64_of(&case["r"])).abs() < 1e-9, "{case}");
        assert_eq!(format!("{:08x}", (radius as f32).to_bits()), case["r_f32_bits"].as_str().unwrap(), "{case}");
    }
    for case in list(&case["prior_bias"]) {
        let b2 = prior_logit(u64_of(&case["n_pos"]), u64_of(&case["n_neg"]));
        assert!((b2 - f64_of(&case["b2"])).abs() < 1e-9, "{case}");
    }
}

/// math.md §4: the correction that `shift` would add when serving is the offset that training uses by default.
fn sampling_correction(case: &Value) {
    let built = f64_of(&case["pos_rate"]) == 1.0 && f64_of(&case["pos_weight"]) == 1.0;
    if !built {
        assert!(NOT_BUILT.contains(&"sampling=shift"));
        return;
    }
    let corrected = f64_of(&case["z"]) + f64_of(&case["neg_rate"]).ln();
    assert!((corrected - f64_of(&case["z_corrected"])).abs() < 1e-9);
}

/// Decay-only steps, skipped, then caught up by one step that finds no gradient.
fn decay_catch_up(case: &Value) {
    assert!(NOT_BUILT.contains(&"decay_catch_up=prox"));
    for case in list(&case["constant"]) {
        let (gamma, skipped) = (f64_of(&case["gamma"]), u64_of(&case["skipped"]));
        let (l1, l2) = (f64_of(&case["l1"]), f64_of(&case["l2"]));
        caught_up(&floats(&case["w"]), gamma, 0.0, [l1, l2], 0, skipped, &flat(&case["decoupled"]));
    }
}

fn caught_up(w: &[f32], lr: f64, lr_decay: f64, [l1, l2]: [f64; 2], from: u64, steps: u64, expected: &[f64]) {
    if lr * l2 >= 1.0 {
        return;
    }
    let config =
        TrainConfig { hidden: w.len(), lr, lr_decay, l1, l2, dropout_in: 0.0, dropout_hidden: 0.0, ..TrainConfig::default() };
    let statistics = Statistics { samples: 0, mean_keywords: 1.0, positives: vec![0] };
    let keywords = Vocabulary::from_keywords(["decays"]).unwrap();
    let mut trainer = Trainer::new(config, keywords, Tags::from_names(["t"]).unwrap(), &statistics).unwrap();
    let shape = trainer.network().shape.clone();
    let nothing = [Sample { index: 0, keywords: &[], targets: Targets::Tags(&[]), weights: PairWeights::All(0.0) }];
    for _ in 0..from {
        trainer.step(&nothing).unwrap();
    }
    let plain = Plain { w1: vec![w.to_vec()], b1: vec![0.0; w.len()], w2: vec![vec![0.0]; w.len()], b2: vec![0.0] };
    plain.with(&shape, |weights| trainer.set_weights(weights)).unwrap();
    for _ in 0..steps.min(100_000) {
        trainer.step(&nothing).unwrap();
    }
    if steps > 100_000 {
        return;
    }
    let found = Plain::of(&shape, trainer.weights()).w1.concat();
    let largest = w.iter().fold(0.0_f64, |m, w| f64::from(w.abs()).max(m));
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() <= 1e-5 * largest, "{found}, expected {expected}: {lr} {l1} {l2} {steps}");
    }
}

fn edge_case(case: &Value) {
    match case["kind"].as_str().unwrap() {
        "scalar" => Level::available().for_each(|level| scalar_edge(case, Kernels::at(level).unwrap())),
        "act" => {
            let act = case["act"].as_str().unwrap();
            if act == "relu" {
                relu_edge(case);
            } else {
                assert!(NOT_BUILT.contains(&format!("act={act}").as_str()), "{case}");
            }
        }
        "f16" => assert!(NOT_BUILT.contains(&"f16")),
        "config" => config_edge(case),
        "config_pair" => {
            let reject = &case["reject"];
            if reject.get("penalty").is_some() {
                assert!(NOT_BUILT.contains(&"config_pair=penalty"));
            } else {
                let config = TrainConfig { lr: f64_of(&reject["lr"]), l2: f64_of(&reject["l2"]), ..TrainConfig::default() };
                assert!(config.validate().is_err(), "{case}");
            }
        }
        "shape" | "nonfinite" => built_in_memory(case),
        "adagrad_f32" => adagrad_edge(case),
        "loss_block" => loss_block(case),
        "ids" => (),
        kind => panic!("{kind}: no test"),
    }
}

fn scalar_edge(case: &Value, kernels: Kernels) {
    let (z, eps) = (f64_of(&case["z"]) as f32, f64_of(&case["eps"]));
    let mut p = [Block([z; LANES])];
    kernels.sigmoid(eps as f32, &mut p);
    close(&format!("{case}: p"), &p[0].0[..1], &[f64_of(&case["p"])], 1e-5);
    let ones = [Block([1.0; LANES])];
    for &kind in LossKind::ALL {
        for (label, y) in [("y0", 0.0), ("y1", 1.0)] {
            let Some(expected) = case.get(format!("{kind}_{label}")) else { continue };
            let loss = sigmoid_loss::constants(kind, eps, 1.0).unwrap();
            let (value, gradient) = pair(kernels, &loss, z, y, &ones);
            close(&format!("{case}: {kind} {label}"), &[value as f32], &[f64_of(&expected["loss"])], 1e-5);
            close(&format!("{case}: {kind} {label} gradient"), &[gradient], &[f64_of(&expected["dz"])], 1e-5);
        }
    }
}

/// Loss and gradient of one pair.
fn pair(kernels: Kernels, loss: &LogLoss, z: f32, y: f32, ones: &[Block]) -> (f64, f32) {
    let mut only_first = [Block::ZERO];
    only_first[0].0[0] = 1.0;
    let (logits, targets) = ([Block([z; LANES])], [Block([y; LANES])]);
    let inputs = LossInputs {
        logits: &logits,
        targets: &targets,
        weights: &only_first,
        positive_weights: ones,
        offsets: &[Block::ZERO],
    };
    let mut gradient = [Block::ZERO];
    let value = kernels.log_loss(loss, inputs, &mut gradient).unwrap();
    (value, gradient[0].0[0])
}

fn relu_edge(case: &Value) {
    let x = f64_of(&case["x"]) as f32;
    for level in Level::available() {
        let plain = Plain { w1: vec![], b1: vec![x], w2: vec![vec![1.0]], b2: vec![0.0] };
        if !x.is_finite() {
            continue;
        }
        let shape = Shape::new(0, 1, &[1], tagomatic::network::OutputLayout::TagMajor).unwrap();
        let network = Network { shape, activation: tagomatic::network::Activation::Relu, eps: 1e-4 };
        let tagger = tagger(&network, &plain, level).unwrap();
        let mut hidden = [f32::NAN];
        tagger.hidden(&[], &mut tagger.scratch(), &mut hidden).unwrap();
        close(&case.to_string(), &hidden, &[f64_of(&case["h"])], 1e-5);
        // The unit passes a gradient on iff it is not zero.
        assert_eq!(f64::from(u8::from(hidden[0] != 0.0)), f64_of(&case["dh"]), "{case}");
    }
}

fn config_edge(case: &Value) {
    let name = case["name"].as_str().unwrap();
    if NOT_BUILT.contains(&format!("config={name}").as_str()) {
        return;
    }
    let accepts = |x: f64| -> bool {
        let mut config = TrainConfig::default();
        match name {
            "eps" => config.eps = x,
            "lr" => config.lr = x,
            "lr_decay" => config.lr_decay = x,
            "eps_opt" => config.epsilon = x,
            "acc_init" => config.initial_square = x,
            "dropout" => (config.dropout_in, config.dropout_hidden) = (x, x),
            "l1" => config.l1 = x,
            "l2" => config.l2 = x,
            "pos_weight" | "pi" => {
                let statistics = Statistics { samples: 0, mean_keywords: 1.0, positives: vec![0] };
                let none: [&str; 0] = [];
                let vocabulary = Vocabulary::from_keywords(none).unwrap();
                let mut trainer = Trainer::new(config, vocabulary, Tags::from_names(["t"]).unwrap(), &statistics).unwrap();
                return if name == "pi" {
                    trainer.set_inclusion_rates(&[x]).is_ok()
                } else {
                    trainer.set_positive_weights(&[x as f32]).is_ok()
                };
            }
            name => panic!("{name}: no such option"),
        }
        config.validate().is_ok()
    };
    for x in flat(&case["accept"]) {
        assert!(accepts(x), "{name} = {x} must be accepted");
    }
    for x in flat(&case["reject"]) {
        assert!(!accepts(x), "{name} = {x} must be refused");
    }
}

fn built_in_memory(case: &Value) {
    let params = &case["params"];
    let hidden = list(&params["b1"]).len();
    let plain = Plain::read(params, hidden);
    let (keywords, tags) = (plain.w1.len(), plain.b2.len());
    let shape = Shape::new(keywords, hidden, &[tags], tagomatic::network::OutputLayout::for_tags(tags)).unwrap();
    let network = Network { shape, activation: tagomatic::network::Activation::Relu, eps: 1e-4 };
    for level in Level::available() {
        let tagger = tagger(&network, &plain, level);
        if case["kind"] == "nonfinite" {
            assert!(tagger.is_err(), "{case}");
            continue;
        }
        let tagger = tagger.unwrap();
        let (mut scratch, mut out) = (tagger.scratch(), vec![0.0; tags]);
        for (i, ids) in list(&case["ids"]).iter().enumerate() {
            let ids: Vec<u32> = list(ids).iter().map(u32_of).collect();
            tagger.logits(&ids, &mut scratch, &mut out).unwrap();
            close(&case.to_string(), &out, &flat(&case["z"][i]), 1e-5);
            tagger.score(&ids, &mut scratch, &mut out).unwrap();
            close(&case.to_string(), &out, &flat(&case["p"][i]), 1e-5);
        }
    }
}

fn adagrad_edge(case: &Value) {
    for level in Level::available() {
        let block = |key: &str| [Block([f64_of(&case[key]) as f32; LANES])];
        let (mut weights, mut squares) = ([Block::ZERO], block("G"));
        let (lr, epsilon) = (f64_of(&case["lr"]) as f32, f64_of(&case["eps_opt"]) as f32);
        let step = AdaGradStep { lr, epsilon, shrink: Shrink::NONE };
        Kernels::at(level).unwrap().adagrad(&step, &block("g"), &mut weights, &mut squares).unwrap();
        let (found, expected) = (f64::from(squares[0].0[0]), f64_of(&case["G_new"]));
        let subnormal = expected < f64::from(f32::MIN_POSITIVE) && found == 0.0;
        let same = found == expected || (found - expected).abs() <= 1e-5 * expected.abs();
        assert!(same || subnormal, "{case}: G {found} at {level}");
        close(&format!("{case} at {level}"), &weights[0].0[..1], &[f64_of(&case["dw"])], 1e-5);
    }
}

fn loss_block(case: &Value) {
    let size = |key: &str| u64_of(&case[key]) as usize;
    let (rows, tags) = (size("B"), size("T"));
    let reduction: Reduction = case["reduction"].as_str().unwrap().parse().unwrap();
    let kind: LossKind = case["loss"].as_str().unwrap().parse().unwrap();
    let positive_weights = per_tag(&case["pos_weight"], tags).unwrap_or_else(|| vec![1.0; tags]);
    let row = |value: &Value, i: usize| if value.is_null() { vec![1.0; tags] } else { floats(&value[i]) };
    let weights: Vec<Vec<f32>> = (0..rows).map(|i| row(&case["weight"], i)).collect();
    let scored = weights.concat().iter().filter(|m| **m > 0.0).count();
    let factor = reduction.factor(rows, tags, scored);
    let loss = sigmoid_loss::constants(kind, f64_of(&case["eps"]), factor).unwrap();
    let mut value = 0.0;
    for (i, weights) in weights.iter().enumerate() {
        let blocks = |floats: Vec<f32>| tagomatic::aligned::padded(&floats);
        let inputs = LossInputs {
            logits: &blocks(floats(&case["z"][i])),
            targets: &blocks(floats(&case["y"][i])),
            weights: &blocks(weights.clone()),
            positive_weights: &blocks(positive_weights.iter().map(|w| *w as f32).collect()),
            offsets: &blocks(vec![0.0; tags]),
        };
        let mut gradient = tagomatic::aligned::zeroed(tags);
        value += Kernels::best().log_loss(&loss, inputs, &mut gradient).unwrap();
        close(&format!("{case}: dz"), &as_floats(&gradient)[..tags], &flat(&case["dz"][i]), 1e-5);
    }
    close(&format!("{case}: value"), &[(value * factor) as f32], &[f64_of(&case["value"])], 1e-5);
}
