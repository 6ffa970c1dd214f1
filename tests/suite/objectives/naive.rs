//! A naive implementation of the objectives: dense, in f64 and plain loops.

use tagomatic::kernels::LossKind;
use tagomatic::network::Activation;
use tagomatic::rng::{DropoutLayer, Philox, dropout_threshold};
use tagomatic::train::Reduction;
use tagomatic::train::{
    Anchor, AnchorKind, DecayMode, DecayWhen, EpsilonPlace, Objective, OptimizerKind, PairWeights, Penalty, PenaltyKind,
    Sample, Targets, TrainConfig,
};

/// One parameter and its squared-gradient sums, rows of equal length.
#[derive(Clone)]
pub(super) struct Matrix {
    pub(super) rows: Vec<Vec<f64>>,
    pub(super) squares: Vec<Vec<f64>>,
    rowwise: bool,
    decays: bool,
}

/// The model in plain matrices.
pub(super) struct Naive {
    pub(super) config: TrainConfig,
    pub(super) w1: Matrix,
    pub(super) b1: Matrix,
    /// A row an output; `None` where it is W1.
    pub(super) d: Option<Matrix>,
    pub(super) c: Matrix,
    pub(super) positive_weights: Vec<f64>,
    pub(super) rates: Vec<f64>,
    pub(super) step: u64,
}

/// A sample of the tests.
pub(super) struct Case {
    pub(super) index: u32,
    pub(super) keywords: Vec<u32>,
    pub(super) positives: Vec<u32>,
    /// `None` for all.
    pub(super) negatives: Option<Vec<u32>>,
    pub(super) weight: f32,
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

    pub(super) fn sample(&self) -> Sample<'_> {
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
    pub(super) fn new(rows: Vec<Vec<f64>>, config: &TrainConfig, rowwise: bool, decays: bool) -> Self {
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
    pub(super) fn step(&mut self, batch: &[Case]) -> (f64, f64) {
        self.step += 1;
        let config = self.config.clone();
        let (hidden, outputs, samples) = (config.hidden, self.c.rows[0].len(), batch.len());
        let activation = config.hidden_activation();
        let mean_pooled = matches!(config.objective, Objective::Anchor(Anchor { kind: AnchorKind::Mean, .. }));
        let rng = Philox::new(config.seed);
        let kept = |layer, index, rate: f64, items: &[u32]| {
            let mut masks = vec![u32::MAX; items.len()];
            if rate > 0.0 {
                rng.dropout(layer, index, self.step as u32, dropout_threshold(rate), items, &mut masks);
            }
            masks.into_iter().map(|mask| mask != 0).collect::<Vec<bool>>()
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
