//! What a training is told: every choice that changes its result, with its range.

use super::penalty::Penalty;
use crate::error::{Error, Result};
use crate::format::Provenance;
use crate::kernels::LossKind;
use crate::layers::sigmoid_loss::Reduction;
use crate::named::named;
use crate::network::{Activation, check_eps};

/// Which untagged items a tag is trained against.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Negatives {
    /// All of them.
    All,
    /// In every epoch a new random set of this many times the tag's positives. Scores are corrected for the sampling: training
    /// sees the logit minus ln π, π the rate at which negatives were kept, so the served logit is that of the full data.
    Sampled(f64),
}

/// How L1 and L2 decay act on weights. Biases never decay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecayMode {
    /// Beside the gradient step, not divided by AdaGrad's denominator:
    /// `w ← S((1 − γ·l2)·w − γ·g/D, γ·l1)` with S the soft threshold.
    Decoupled,
}

named!(DecayMode, "decay", "decoupled", { Decoupled => "decoupled" });

/// When the row of a keyword decays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecayWhen {
    /// In every step, as if W1 were dense. Rows that a step does not touch are caught up when they are next read.
    EveryStep,
    /// Only in steps whose mini-batch holds the keyword, so frequent keywords decay more.
    Touched,
}

named!(DecayWhen, "decay when", "every_step or touched", { EveryStep => "every_step", Touched => "touched" });

/// The configuration of a [`super::Trainer`].
#[derive(Clone, Debug, PartialEq)]
pub struct TrainConfig {
    /// Hidden units H.
    pub hidden: usize,
    /// Their nonlinearity.
    pub activation: Activation,
    /// Epochs at most.
    pub epochs: u32,
    /// Samples in a mini-batch, at least 1.
    pub batch: usize,
    /// Learning rate γ, at least 0.
    pub lr: f64,
    /// γ falls as `lr / (1 + (step − 1)·lr_decay)`; at least 0.
    pub lr_decay: f64,
    /// AdaGrad's ε, above 0, added to the root of the squared-gradient sum.
    pub epsilon: f64,
    /// Where AdaGrad's squared-gradient sums start; at least 0.
    pub initial_square: f64,
    /// Factor on the first layer's initial values; at least 0. Small values make the net learn features instead of memorising with
    /// random ones.
    pub initial_scale: f64,
    /// L1 decay, at least 0.
    pub l1: f64,
    /// L2 decay, at least 0; `lr·l2` below 1.
    pub l2: f64,
    /// How decay acts.
    pub decay: DecayMode,
    /// When rows decay.
    pub decay_when: DecayWhen,
    /// The loss.
    pub loss: LossKind,
    /// Clamp of probabilities, in `[0, 0.5)`.
    pub eps: f64,
    /// How pair losses become one.
    pub reduction: Reduction,
    /// Rate at which keywords are dropped in training, in `[0, 1)`.
    pub dropout_in: f64,
    /// Rate at which hidden units are dropped in training, in `[0, 1)`.
    pub dropout_hidden: f64,
    /// A penalty on hidden activity.
    pub penalty: Option<Penalty>,
    /// The negatives of each tag.
    pub negatives: Negatives,
    /// Epochs without a better validation score after which training stops; 0 never stops early.
    pub patience: u32,
    /// Seed of every random decision.
    pub seed: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            hidden: 256,
            activation: Activation::Relu,
            epochs: 60,
            batch: 32,
            lr: 0.05,
            lr_decay: 0.0,
            epsilon: 1e-10,
            initial_square: 0.1,
            initial_scale: 0.1,
            l1: 0.0,
            l2: 0.0,
            decay: DecayMode::Decoupled,
            decay_when: DecayWhen::EveryStep,
            loss: LossKind::ClampSte,
            eps: 1e-4,
            reduction: Reduction::SumTags,
            dropout_in: 0.1,
            dropout_hidden: 0.3,
            penalty: None,
            negatives: Negatives::All,
            patience: 6,
            seed: 1,
        }
    }
}

impl TrainConfig {
    /// Fails unless every value is in its range and goes with the others.
    ///
    /// # Errors
    /// [`Error::Config`] names the first option at fault.
    pub fn validate(&self) -> Result<()> {
        let check = |option, ok: bool, expected, found: f64| {
            if ok { Ok(()) } else { Err(Error::Config { option, expected, found: found.to_string() }) }
        };
        let non_negative = |x: f64| x >= 0.0 && x < f64::from(f32::MAX);
        const NON_NEGATIVE: &str = "a finite number, at least 0";
        const RATE: &str = "a number in [0, 1)";
        check("batch", self.batch >= 1, "at least 1", self.batch as f64)?;
        check("lr", non_negative(self.lr), NON_NEGATIVE, self.lr)?;
        check("lr_decay", non_negative(self.lr_decay), NON_NEGATIVE, self.lr_decay)?;
        let normal = self.epsilon >= f64::from(f32::MIN_POSITIVE) && self.epsilon < f64::from(f32::MAX);
        check("epsilon", normal, "a finite number above 1e-37", self.epsilon)?;
        check("initial_square", non_negative(self.initial_square), NON_NEGATIVE, self.initial_square)?;
        check("initial_scale", non_negative(self.initial_scale), NON_NEGATIVE, self.initial_scale)?;
        check("l1", non_negative(self.l1), NON_NEGATIVE, self.l1)?;
        check("l2", non_negative(self.l2), NON_NEGATIVE, self.l2)?;
        check("l2", self.lr * self.l2 < 1.0, "lr·l2 below 1 with decoupled decay", self.l2)?;
        check("dropout_in", (0.0..1.0).contains(&self.dropout_in), RATE, self.dropout_in)?;
        check("dropout_hidden", (0.0..1.0).contains(&self.dropout_hidden), RATE, self.dropout_hidden)?;
        check_eps(self.eps)?;
        self.activation.check()?;
        self.penalty.map_or(Ok(()), |penalty| penalty.check(self.activation))?;
        if let Negatives::Sampled(ratio) = self.negatives {
            check("negatives", ratio > 0.0 && non_negative(ratio), "\"all\" or a finite ratio above 0", ratio)?;
        }
        Ok(())
    }

    /// Writes every choice to a model's provenance, under `train.`.
    pub(super) fn describe(&self, provenance: &mut Provenance) -> Result<()> {
        let negatives = match self.negatives {
            Negatives::All => "all".to_owned(),
            Negatives::Sampled(ratio) => ratio.to_string(),
        };
        for (key, value) in [
            ("hidden", self.hidden.to_string()),
            ("activation", self.activation.to_string()),
            ("epochs", self.epochs.to_string()),
            ("batch", self.batch.to_string()),
            ("lr", self.lr.to_string()),
            ("lr_decay", self.lr_decay.to_string()),
            ("epsilon", self.epsilon.to_string()),
            ("initial_square", self.initial_square.to_string()),
            ("initial_scale", self.initial_scale.to_string()),
            ("l1", self.l1.to_string()),
            ("l2", self.l2.to_string()),
            ("decay", self.decay.to_string()),
            ("decay_when", self.decay_when.to_string()),
            ("loss", self.loss.to_string()),
            ("eps", self.eps.to_string()),
            ("reduction", self.reduction.to_string()),
            ("dropout_in", self.dropout_in.to_string()),
            ("dropout_hidden", self.dropout_hidden.to_string()),
            ("negatives", negatives),
            ("patience", self.patience.to_string()),
            ("seed", self.seed.to_string()),
        ] {
            provenance.insert(format!("train.{key}"), value)?;
        }
        if let Some(penalty) = self.penalty {
            provenance.insert("train.penalty", penalty.kind.to_string())?;
            provenance.insert("train.penalty_weight", penalty.weight.to_string())?;
        }
        Ok(())
    }

    /// The learning rate of step `step`, counted from 1.
    #[must_use]
    pub fn lr_at(&self, step: u64) -> f64 {
        self.lr / (1.0 + step.saturating_sub(1) as f64 * self.lr_decay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_named() {
        assert!(TrainConfig::default().validate().is_ok());
        let rejected = |change: fn(&mut TrainConfig), option: &str| {
            let mut config = TrainConfig::default();
            change(&mut config);
            match config.validate() {
                Err(Error::Config { option: found, .. }) => assert_eq!(found, option),
                other => panic!("{option}: {other:?}"),
            }
        };
        rejected(|c| c.batch = 0, "batch");
        rejected(|c| c.lr = f64::NAN, "lr");
        rejected(|c| c.lr_decay = -1.0, "lr_decay");
        rejected(|c| c.epsilon = 0.0, "epsilon");
        rejected(|c| c.epsilon = 1e-60, "epsilon");
        rejected(|c| c.initial_square = f64::INFINITY, "initial_square");
        rejected(|c| c.initial_scale = -0.1, "initial_scale");
        rejected(|c| c.l1 = 1e39, "l1");
        rejected(|c| (c.lr, c.l2) = (0.5, 2.0), "l2");
        rejected(|c| c.dropout_in = 1.0, "dropout_in");
        rejected(|c| c.dropout_hidden = -0.1, "dropout_hidden");
        rejected(|c| c.eps = 0.5, "eps");
        rejected(|c| c.eps = -0.0, "eps");
        rejected(|c| c.negatives = Negatives::Sampled(0.0), "negatives");
    }
}
