//! Autoencoders and anchor models: every combination of options against a naive implementation in f64, dense and in plain loops.

use std::ops::ControlFlow;

use tagomatic::aligned::{LANES, as_floats};
use tagomatic::data::Dataset;
use tagomatic::evaluate::evaluate;
use tagomatic::kernels::LossKind;
use tagomatic::layers::sigmoid_loss::Reduction;
use tagomatic::network::{Activation, Weights};
use tagomatic::rng::{DropoutLayer, Philox, dropout_threshold, unit};
use tagomatic::train::{
    Anchor, AnchorKind, Autoencoder, DecayMode, DecayWhen, EpsilonPlace, Event, Negatives, Objective, OptimizerKind,
    PairWeights, Penalty, PenaltyKind, Pretrain, Rowwise, Sample, Statistics, Targets, TrainConfig, Trainer, pool,
};
use tagomatic::{Error, Level, Model, Provenance, Tagger, Tags, Vocabulary};

/// One parameter and its squared-gradient sums, rows of equal length.
#[derive(Clone)]
struct Matrix {
    rows: Vec<Vec<f64>>,
    squares: Vec<Vec<f64>>,
    rowwise: bool,
    decays: bool,
}

/// The model in plain matrices.
struct Naive {
    config: TrainConfig,
    w1: Matrix,
    b1: Matrix,
    /// A row an output; `None` where it is W1.
    d: Option<Matrix>,
    c: Matrix,
    positive_weights: Vec<f64>,
    rates: Vec<f64>,
    step: u64,
}

/// A sample of the tests.
struct Case {
    index: u32,
    keywords: Vec<u32>,
    positives: Vec<u32>,
    /// `None` for all.
    negatives: Option<Vec<u32>>,
    weight: f32,
}

impl Case {
    /// Output, target and weight of each pair.
    fn pairs(&self, outputs: usize) -> Vec<(usize, f64, f64)> {
        let mut pairs = Vec::new();
        for output in 0..outputs as u32 {
            let positive = self.positives.contains(&output);
            let times = match &self.negatives {
                _ if positive => 1,
                None => 1,
                Some(negatives) => negatives.iter().filter(|id| **id == output).count(),
            };
            let weight = times as f64 * f64::from(self.weight);
            if weight > 0.0 {
                pairs.push((output as usize, f64::from(u8::from(positive)), weight));
            }
        }
        pairs
    }

    fn sample(&self) -> Sample<'_> {
        let weights = match &self.negatives {
            None => PairWeights::All(self.weight),
            Some(negatives) => PairWeights::Listed { negatives, weight: self.weight },
        };
        Sample { index: self.index, keywords: &self.keywords, targets: Targets::Tags(&self.positives), weights }
    }
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn activate(activation: Activation, a: f64) -> (f64, f64) {
    match activation {
        Activation::Relu => {
            if a > 0.0 {
                (a, 1.0)
            } else {
                (0.0, 0.0)
            }
        }
        Activation::LeakyRelu(s) => {
            if a > 0.0 {
                (a, 1.0)
            } else {
                (f64::from(s) * a, f64::from(s))
            }
        }
        Activation::Elu(alpha) => {
            let below = f64::from(alpha) * a.exp_m1();
            if a > 0.0 { (a, 1.0) } else { (below, below + f64::from(alpha)) }
        }
        Activation::Sigmoid => (sigmoid(a), sigmoid(a) * (1.0 - sigmoid(a))),
        Activation::Trec(theta) => {
            if a > f64::from(theta) {
                (a, 1.0)
            } else {
                (0.0, 0.0)
            }
        }
        Activation::Tlin(theta) => {
            if a.abs() > f64::from(theta) {
                (a, 1.0)
            } else {
                (0.0, 0.0)
            }
        }
        _ => (a, 1.0),
    }
}

impl Matrix {
    fn new(rows: Vec<Vec<f64>>, config: &TrainConfig, rowwise: bool, decays: bool) -> Self {
        let squares = rows.iter().map(|row| vec![config.initial_square; row.len()]).collect();
        Matrix { rows, squares, rowwise, decays }
    }

    /// One step, given the gradient of each row, and whether it is touched.
    fn step(&mut self, config: &TrainConfig, lr: f64, gradients: &[Vec<f64>], touched: impl Fn(usize) -> bool) {
        for (row, (weights, squares)) in self.rows.iter_mut().zip(&mut self.squares).enumerate() {
            let decays = self.decays && (config.decay_when == DecayWhen::EveryStep || touched(row));
            let (l1, l2) = if decays { (config.l1, config.l2) } else { (0.0, 0.0) };
            let coupled = config.decay == DecayMode::Coupled;
            let gradient: Vec<f64> = weights
                .iter()
                .zip(&gradients[row])
                .map(|(w, g)| if coupled && *w != 0.0 { g + l2 * w + l1 * w.signum() } else { *g })
                .collect();
            let mean = gradient.iter().map(|g| g * g).sum::<f64>() / gradient.len() as f64;
            for ((w, square), g) in weights.iter_mut().zip(squares).zip(gradient) {
                *square += if self.rowwise { mean } else { g * g };
                let root = match (config.optimizer, config.epsilon_place) {
                    (OptimizerKind::Sgd, _) => 1.0,
                    (_, EpsilonPlace::Outside) => square.sqrt() + config.epsilon,
                    (_, EpsilonPlace::Inside) => (*square + config.epsilon).sqrt(),
                };
                let change = lr * g / root;
                let soft = |x: f64, c: f64| x.signum() * (x.abs() - c).max(0.0);
                *w = match config.decay {
                    DecayMode::Decoupled => soft((1.0 - lr * l2) * *w - change, lr * l1),
                    DecayMode::Prox if *square == 0.0 && config.optimizer == OptimizerKind::AdaGrad => *w - change,
                    DecayMode::Prox => soft(*w - change, lr * l1 / root) / (1.0 + lr * l2 / root),
                    _ => *w - change,
                };
            }
        }
    }
}

impl Naive {
    /// Steps on a mini-batch; the loss and the penalty before it.
    fn step(&mut self, batch: &[Case]) -> (f64, f64) {
        self.step += 1;
        let config = self.config.clone();
        let (hidden, outputs, samples) = (config.hidden, self.c.rows[0].len(), batch.len());
        let activation = config.hidden_activation();
        let mean_pooled = matches!(config.objective, Objective::Anchor(Anchor { kind: AnchorKind::Mean, .. }));
        let rng = Philox::new(config.seed);
        let kept = |layer, index, rate: f64, items: &[u32]| {
            let mut kept = vec![true; items.len()];
            if rate > 0.0 {
                let (step, threshold) = (self.step as u32, dropout_threshold(rate));
                rng.dropout(layer, index, step, threshold, items.iter().copied(), |n, keep| kept[n] = keep);
            }
            kept
        };
        let d = self.d.as_ref().map_or(&self.w1.rows, |d| &d.rows);

        let units: Vec<u32> = (0..hidden as u32).collect();
        let (mut a, mut h, mut slopes, mut masks, mut inputs) = (vec![], vec![], vec![], vec![], vec![]);
        for case in batch {
            let keeps = kept(DropoutLayer::Input, case.index, config.dropout_in, &case.keywords);
            let share = if mean_pooled { 1.0 / case.keywords.len().max(1) as f64 } else { 1.0 };
            let x: Vec<(usize, f64)> = case
                .keywords
                .iter()
                .zip(keeps)
                .filter(|(_, keep)| *keep)
                .map(|(k, _)| (*k as usize, share / (1.0 - config.dropout_in)))
                .collect();
            let sums: Vec<f64> =
                (0..hidden).map(|j| self.b1.rows[0][j] + x.iter().map(|(k, x)| x * self.w1.rows[*k][j]).sum::<f64>()).collect();
            let (values, derivatives): (Vec<f64>, Vec<f64>) = sums.iter().map(|a| activate(activation, *a)).unzip();
            let keeps = kept(DropoutLayer::Hidden, case.index, config.dropout_hidden, &units);
            let factor = |keep: &bool| if *keep { 1.0 / (1.0 - config.dropout_hidden) } else { 0.0 };
            masks.push(keeps.iter().map(factor).collect::<Vec<f64>>());
            a.push(sums);
            h.push(values);
            slopes.push(derivatives);
            inputs.push(x);
        }
        let pairs: Vec<_> = batch.iter().map(|case| case.pairs(outputs)).collect();
        let scored = pairs.iter().map(Vec::len).sum::<usize>();
        let divisor = match config.reduction {
            Reduction::Mean => (samples * outputs) as f64,
            Reduction::MeanActive => scored as f64,
            Reduction::SumTags => samples as f64,
            _ => 1.0,
        };
        let scale = if divisor > 0.0 { 1.0 / divisor } else { 0.0 };

        let zeros = |rows: &[Vec<f64>]| rows.iter().map(|row| vec![0.0; row.len()]).collect::<Vec<_>>();
        let (mut d_w1, mut d_b1) = (zeros(&self.w1.rows), zeros(&self.b1.rows));
        let (mut d_d, mut d_c) = (zeros(d), zeros(&self.c.rows));
        let (mut touched_w1, mut touched_d) = (vec![false; d_w1.len()], vec![false; d_d.len()]);
        let mut loss = 0.0;
        let mut d_h = vec![vec![0.0; hidden]; samples];
        for i in 0..samples {
            for &(v, y, m) in &pairs[i] {
                touched_d[v] = true;
                let dropped = |j: usize| h[i][j] * masks[i][j];
                let u = self.c.rows[0][v] + (0..hidden).map(|j| dropped(j) * d[v][j]).sum::<f64>() - self.rates[v].ln();
                let (of_one, of_zero) = (softplus(-u), softplus(u));
                let clamp = |x: f64| match config.loss {
                    LossKind::Logit => x,
                    _ => x.clamp(-(-config.eps).ln_1p(), -config.eps.ln()),
                };
                let w = self.positive_weights[v];
                loss += m * scale * (w * y * clamp(of_one) + (1.0 - y) * clamp(of_zero));
                let mut g = (1.0 - y) * sigmoid(u) - w * y * sigmoid(-u);
                let inside = config.eps < sigmoid(u) && config.eps < sigmoid(-u);
                if config.loss == LossKind::ClampTorch && config.eps > 0.0 && !inside {
                    g = 0.0;
                }
                let delta = g * m * scale;
                d_c[0][v] += delta;
                for j in 0..hidden {
                    d_d[v][j] += delta * dropped(j);
                    d_h[i][j] += delta * d[v][j] * masks[i][j];
                }
            }
        }
        let mut penalty = 0.0;
        let mut d_a = vec![vec![0.0; hidden]; samples];
        if let Some(Penalty { kind, weight }) = config.penalty {
            let each = weight / samples as f64;
            let means: Vec<f64> = (0..hidden).map(|j| h.iter().map(|h| h[j]).sum::<f64>() / samples as f64).collect();
            let kl = |p: f64, q: f64| p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln();
            for j in 0..hidden {
                let mean = means[j];
                let q = mean.clamp(1e-6, 1.0 - 1e-6);
                penalty += match kind {
                    PenaltyKind::MeanSquare(p) => weight * (p - mean) * (p - mean),
                    PenaltyKind::KlMean(p) => weight * kl(p, q),
                    PenaltyKind::CeMean(p) => weight * (-p * q.ln() - (1.0 - p) * (1.0 - q).ln()),
                    _ => 0.0,
                };
                for i in 0..samples {
                    let x = h[i][j];
                    let (value, by_h) = match kind {
                        PenaltyKind::L1 => (each * x.abs(), if x == 0.0 { 0.0 } else { each * x.signum() }),
                        PenaltyKind::StudentT => (each * (x * x).ln_1p(), each * 2.0 * x / (1.0 + x * x)),
                        PenaltyKind::MeanSquare(p) => (0.0, 2.0 * each * (mean - p)),
                        PenaltyKind::KlMean(p) | PenaltyKind::CeMean(p) => (0.0, each * ((1.0 - p) / (1.0 - q) - p / q)),
                        PenaltyKind::KlElem(p) => {
                            d_a[i][j] = each * (x - p);
                            (each * kl(p, x), 0.0)
                        }
                        _ => unreachable!(),
                    };
                    penalty += value;
                    d_h[i][j] += by_h;
                }
            }
        }
        for i in 0..samples {
            for j in 0..hidden {
                let da = d_h[i][j] * slopes[i][j] + d_a[i][j];
                d_b1[0][j] += da;
                for &(k, x) in &inputs[i] {
                    touched_w1[k] = true;
                    d_w1[k][j] += x * da;
                }
            }
        }

        let lr = config.lr_at(self.step);
        if self.d.is_none() {
            d_w1.iter_mut().flatten().zip(d_d.iter().flatten()).for_each(|(sum, g)| *sum += g);
            touched_w1.iter_mut().zip(&touched_d).for_each(|(touched, scored)| *touched |= scored);
        }
        self.w1.step(&config, lr, &d_w1, |row| touched_w1[row]);
        if let Some(d) = &mut self.d {
            d.step(&config, lr, &d_d, |row| touched_d[row]);
        }
        let anchor = match config.objective {
            Objective::Anchor(anchor) => Some(anchor.kind),
            _ => None,
        };
        if config.hidden_bias && anchor.is_none_or(|kind| kind == AnchorKind::Hidden) {
            self.b1.step(&config, lr, &d_b1, |_| true);
        }
        if anchor.is_none() {
            self.c.step(&config, lr, &d_c, |_| true);
        }
        (loss, penalty)
    }
}

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
