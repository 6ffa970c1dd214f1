//! Edge cases: extreme numbers, configurations, shapes; initial values; decay caught up.

use serde_json::Value;
use tagomatic::aligned::{Block, LANES, as_floats, padded};
use tagomatic::convert::{Conversion, convert};
use tagomatic::data::logit_correction;
use tagomatic::kernels::{
    AdaGradStep, Decay, Denominator, Kernels, LogLoss, LossInputs, LossKind, ProximalSteps, Rates, Squares,
};
use tagomatic::network::{Activation, Network, OutputLayout, Pooling, Shape};
use tagomatic::train::{
    DecayMode, PairWeights, Penalty, PenaltyKind, Reduction, Sample, Statistics, Targets, TrainConfig, Trainer, glorot_radius,
    he_radius, prior_logit,
};
use tagomatic::weights::{Matrix, WeightType};
use tagomatic::{Level, Model, Tags, Vocabulary};

use super::network::{Plain, tagger};
use super::{close, data, f64_of, flat, floats, list, per_tag, u32_of, u64_of};

/// An `init` file.
pub(super) fn initial_values(case: &Value) {
    for case in list(&case["cases"]) {
        let (fan_in, fan_out) = (f64_of(&case["fan_in"]), f64_of(&case["fan_out"]));
        let slope = f64_of(&case["leaky_slope"]);
        let radius = match case["scheme"].as_str().unwrap() {
            "he" => he_radius(fan_in) / (1.0 + slope * slope).sqrt(),
            "glorot" => glorot_radius(fan_in, fan_out),
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

/// A case of `correction` in a `sampling` file.
pub(super) fn sampling_correction(case: &Value) {
    let correction = logit_correction(f64_of(&case["neg_rate"]), f64_of(&case["pos_rate"]), f64_of(&case["pos_weight"]));
    let z = f64_of(&case["z"]) + correction;
    assert!((z - f64_of(&case["z_corrected"])).abs() < 1e-9, "{case}");
    assert!((1.0 / (1.0 + (-z).exp()) - f64_of(&case["p_corrected"])).abs() < 1e-9, "{case}");
}

/// Decay-only steps, skipped, then caught up by one step that finds no gradient.
pub(super) fn decay_catch_up(case: &Value) {
    for case in list(&case["constant"]) {
        let (skipped, w, gamma) = (u64_of(&case["skipped"]), floats(&case["w"]), f64_of(&case["gamma"]));
        let tolerance = 1e-5 * w.iter().fold(0.0, |m, w| f64::from(w.abs()).max(m));
        Level::available().for_each(|level| caught_up_at_once(case, Kernels::at(level).unwrap(), tolerance));
        // A million steps would take a while, and add nothing.
        if skipped > 10_000 {
            continue;
        }
        caught_up(decay_only(gamma, 0.0, case), &w, 0, skipped, &flat(&case["decoupled"]), tolerance);
        for ((w, square), expected) in w.into_iter().zip(flat(&case["G"])).zip(flat(&case["prox"])) {
            let config = TrainConfig {
                decay: DecayMode::Prox,
                epsilon: f64_of(&case["eps_opt"]),
                initial_square: square,
                ..decay_only(gamma, 0.0, case)
            };
            caught_up(config, &[w], 0, skipped, &[expected], tolerance);
        }
    }
    for case in list(&case["schedule"]) {
        let (from, now, w) = (u64_of(&case["last_step"]), u64_of(&case["now"]), floats(&case["w"]));
        let config = decay_only(f64_of(&case["lr"]), f64_of(&case["lr_decay"]), case);
        let tolerance = 1e-5 * w.iter().fold(0.0, |m, w| f64::from(w.abs()).max(m));
        caught_up(config, &w, from, now - from, &flat(&case["decoupled"]), tolerance);
    }
}

fn decay_only(lr: f64, lr_decay: f64, case: &Value) -> TrainConfig {
    let (l1, l2) = (f64_of(&case["l1"]), f64_of(&case["l2"]));
    TrainConfig { lr, lr_decay, l1, l2, dropout_in: 0.0, dropout_hidden: 0.0, ..TrainConfig::default() }
}

/// All proximal steps of a case by one call of the kernel.
fn caught_up_at_once(case: &Value, kernels: Kernels, tolerance: f64) {
    let (mut weights, squares) = (padded(&floats(&case["w"])), padded(&floats(&case["G"])));
    let steps = ProximalSteps {
        l1: f64_of(&case["l1"]),
        l2: f64_of(&case["l2"]),
        denominator: Denominator { inside: 0.0, outside: f64_of(&case["eps_opt"]) as f32 },
        rates: Rates::Constant(f64_of(&case["gamma"]), u32_of(&case["skipped"])),
    };
    kernels.proximal(&steps, &mut weights, &Squares::Each(&squares)).unwrap();
    for (found, expected) in as_floats(&weights).iter().zip(flat(&case["prox"])) {
        assert!((f64::from(*found) - expected).abs() <= tolerance, "{found}, expected {expected} at {}", kernels.level());
    }
}

/// `steps` steps without a gradient, after `from` others, must decay `w` as expected.
fn caught_up(config: TrainConfig, w: &[f32], from: u64, steps: u64, expected: &[f64], tolerance: f64) {
    if config.decay == DecayMode::Decoupled && config.lr * config.l2 >= 1.0 {
        return assert!(config.validate().is_err());
    }
    let config = TrainConfig { hidden: w.len(), ..config };
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
    for _ in 0..steps {
        trainer.step(&nothing).unwrap();
    }
    let found = Plain::of(&shape, trainer.snapshot().weights()).w1.concat();
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() <= tolerance, "{found}, expected {expected} after {steps} steps");
    }
}

/// One case of an `edges` file.
pub(super) fn check(case: &Value) {
    match case["kind"].as_str().unwrap() {
        "scalar" => Level::available().for_each(|level| scalar_edge(case, Kernels::at(level).unwrap())),
        "act" => act_edge(case),
        "f16" => f16_edge(case),
        "config" => config_edge(case),
        "config_pair" => {
            let reject = &case["reject"];
            if reject.get("penalty").is_some() {
                let kind = format!("{}:0.1", reject["penalty"].as_str().unwrap()).parse().unwrap();
                let activation = reject["act"].as_str().unwrap().parse().unwrap();
                let penalty = Some(Penalty { kind, weight: 1.0 });
                assert!(TrainConfig { activation, penalty, ..TrainConfig::default() }.validate().is_err(), "{case}");
            } else {
                let config = TrainConfig { lr: f64_of(&reject["lr"]), l2: f64_of(&reject["l2"]), ..TrainConfig::default() };
                assert!(config.validate().is_err(), "{case}");
            }
        }
        "shape" | "nonfinite" => built_in_memory(case),
        "adagrad_f32" => adagrad_edge(case),
        "loss_block" => loss_block(case),
        "ids" => data::id_list(case),
        kind => panic!("{kind}: no test"),
    }
}

/// A weight of either layer is converted to f16.
fn f16_edge(case: &Value) {
    let hex = |key: &str| u32::from_str_radix(case[key].as_str().unwrap(), 16).unwrap();
    let x = f32::from_bits(hex("x_bits"));
    let shape = Shape::new(1, 1, &[1], OutputLayout::TagMajor).unwrap();
    let network = Network { shape, pooling: Pooling::Sum, activation: Activation::Identity, eps: 0.0 };
    for (w1, w2, in_w1) in [(x, 1.0, true), (1.0, x, false)] {
        let plain = Plain { w1: vec![vec![w1]], b1: vec![0.0], w2: vec![vec![w2]], b2: vec![0.0] };
        // What is not finite does not even become a model.
        let Ok(tagger) = tagger(&network, &plain, Level::Scalar) else {
            assert!(!x.is_finite() && case["export"] == "error", "{case}");
            continue;
        };
        let export = |saturate| {
            let how = Conversion { weights: Some(WeightType::F16), saturate, prune: false };
            convert(tagger.model(), how, [[0_u32]])
        };
        let bits = |model: &Model| match (model.weights().w1, model.weights().w2) {
            (Matrix::F16(w1), Matrix::F16(w2)) => u32::from(if in_w1 { w1 } else { w2 }[0].0[0]),
            other => panic!("{other:?}"),
        };
        match export(false) {
            Ok(converted) => {
                assert_eq!(case["export"], "ok", "{case}");
                assert_eq!(bits(&converted.model), hex("f16_bits"), "{case}");
                assert_eq!(converted.saturated, 0);
            }
            Err(error) => {
                assert_eq!(case["export"], "error", "{case}");
                let tensor = if in_w1 { "W1[0]" } else { "W2[0]" };
                assert!(error.to_string().contains(tensor) && error.to_string().contains("saturation"), "{error}");
            }
        }
        let saturating = export(true).unwrap();
        let back = half::f16::from_bits(u16::try_from(bits(&saturating.model)).unwrap()).to_f64();
        close(&case.to_string(), &[back as f32], &[f64_of(&case["saturating"])], 1e-9);
        assert_eq!(saturating.saturated, usize::from(case["export"] == "error"));
    }
}

fn scalar_edge(case: &Value, kernels: Kernels) {
    let (z, eps) = (f64_of(&case["z"]) as f32, f64_of(&case["eps"]));
    let mut p = [Block([z; LANES])];
    kernels.sigmoid(eps as f32, &mut p[0].0);
    close(&format!("{case}: p"), &p[0].0[..1], &[f64_of(&case["p"])], 1e-5);
    let ones = [Block([1.0; LANES])];
    for &kind in LossKind::ALL {
        for (label, y) in [("y0", 0.0), ("y1", 1.0)] {
            let Some(expected) = case.get(format!("{kind}_{label}")) else { continue };
            let loss = LogLoss::new(kind, eps, 1.0).unwrap();
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
    let targets = [Block([y; LANES])];
    let inputs = LossInputs { targets: &targets, weights: &only_first, positive_weights: ones, offsets: &[Block::ZERO] };
    let mut gradient = [Block([z; LANES])];
    let value = kernels.log_loss(loss, inputs, &mut gradient).unwrap();
    (value, gradient[0].0[0])
}

fn act_edge(case: &Value) {
    let (name, parameter) = (case["act"].as_str().unwrap(), &case["param"]);
    let text = if parameter.is_null() { name.to_owned() } else { format!("{name}:{}", f64_of(parameter)) };
    let activation: Activation = text.parse().unwrap();
    let a = [Block([f64_of(&case["x"]) as f32; LANES])];
    for level in Level::available() {
        let kernels = Kernels::at(level).unwrap();
        let (mut h, mut d) = ([Block::ZERO], [Block([1.0; LANES])]);
        kernels.activate(activation, &a, &mut h).unwrap();
        kernels.activate_backward(activation, &a, &h, &mut d).unwrap();
        close(&format!("{case} at {level}: h"), &h[0].0[..1], &[f64_of(&case["h"])], 1e-5);
        close(&format!("{case} at {level}: dh/da"), &d[0].0[..1], &[f64_of(&case["dh"])], 1e-5);
    }
}

fn config_edge(case: &Value) {
    let name = case["name"].as_str().unwrap();
    let accepts = |x: f64| -> bool {
        let mut config = TrainConfig::default();
        match name {
            "eps" => config.eps = x,
            "lr" => config.lr = x,
            "lr_decay" => config.lr_decay = x,
            "eps_opt" => config.epsilon = x,
            "acc_init" => config.initial_square = x,
            "dropout" => (config.dropout_in, config.dropout_hidden) = (x, x),
            "lambda" => config.penalty = Some(Penalty { kind: PenaltyKind::L1, weight: x }),
            "kl_p" => {
                config.activation = Activation::Sigmoid;
                config.penalty = Some(Penalty { kind: PenaltyKind::KlMean(x), weight: 1.0 });
            }
            "theta" => config.activation = Activation::Trec(x as f32),
            "leaky_slope" => config.activation = Activation::LeakyRelu(x as f32),
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
    let plain = Plain::read("tagger", params, hidden);
    let (keywords, tags) = (plain.w1.len(), plain.b2.len());
    let shape = Shape::new(keywords, hidden, &[tags], OutputLayout::for_tags(tags)).unwrap();
    let network = Network { shape, pooling: Pooling::Sum, activation: Activation::Relu, eps: 1e-4 };
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
        let (lr, outside) = (f64_of(&case["lr"]) as f32, f64_of(&case["eps_opt"]) as f32);
        let step = AdaGradStep { lr, denominator: Denominator { inside: 0.0, outside }, decay: Decay::None };
        Kernels::at(level).unwrap().adagrad(&step, &block("g"), &mut weights, Squares::Grow(&mut squares)).unwrap();
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
    let loss = LogLoss::new(kind, f64_of(&case["eps"]), factor).unwrap();
    let mut value = 0.0;
    for (i, weights) in weights.iter().enumerate() {
        let blocks = |floats: Vec<f32>| padded(&floats);
        let inputs = LossInputs {
            targets: &blocks(floats(&case["y"][i])),
            weights: &blocks(weights.clone()),
            positive_weights: &blocks(positive_weights.iter().map(|w| *w as f32).collect()),
            offsets: &blocks(vec![0.0; tags]),
        };
        let mut gradient = blocks(floats(&case["z"][i]));
        value += Kernels::best().log_loss(&loss, inputs, &mut gradient).unwrap();
        close(&format!("{case}: dz"), &as_floats(&gradient)[..tags], &flat(&case["dz"][i]), 1e-5);
    }
    close(&format!("{case}: value"), &[(value * factor) as f32], &[f64_of(&case["value"])], 1e-5);
}
