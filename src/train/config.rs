//! What a training is told: every choice that changes its result, with its range.

use std::fmt;
use std::str::FromStr;

use super::objective::{Objective, Pretrain};
use super::penalty::Penalty;
use super::reduction::Reduction;
use crate::error::{Error, Result};
use crate::format::Provenance;
use crate::kernels::LossKind;
use crate::metrics::Metric;
use crate::named::named;
use crate::network::{Activation, check_eps};

/// Which untagged items a tag is trained against; of an anchor model, which other tags an item is.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Negatives {
    /// All of them.
    All,
    /// In every epoch a new random set of this many times the tag's positives. Scores are corrected for it, see [`Correction`]. Of an
    /// anchor model, in every step this many draws for each tag of an item, see [`super::Anchor`]; scores are not corrected.
    Sampled(f64),
}

/// What a gradient is divided by before it moves a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptimizerKind {
    /// The root of the sum of the weight's squared gradients so far (Duchi, Hazan, Singer 2011).
    AdaGrad,
    /// Nothing: plain gradient descent.
    Sgd,
}

named!(OptimizerKind, "optimizer", "adagrad or sgd", { AdaGrad => "adagrad", Sgd => "sgd" });

/// Where AdaGrad's ε is added to the squared-gradient sum G.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpsilonPlace {
    /// `√G + ε`.
    Outside,
    /// `√(G + ε)`.
    Inside,
}

named!(EpsilonPlace, "epsilon place", "outside or inside", { Outside => "outside", Inside => "inside" });

/// The parameters with one squared-gradient sum for each row instead of each weight; it grows by the mean of the row's squared
/// gradients. That is a sum for each keyword, for each hidden unit (of each group), and for each bias vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rowwise {
    /// The first layer, whose rows are keywords.
    pub w1: bool,
    /// The hidden biases.
    pub b1: bool,
    /// The output layer, whose rows are hidden units; of an anchor model or autoencoder outputs.
    pub w2: bool,
    /// The output biases.
    pub b2: bool,
}

impl fmt::Display for Rowwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, chosen) in [("W1", self.w1), ("b1", self.b1), ("W2", self.w2), ("b2", self.b2)] {
            if chosen {
                write!(f, "{separator}{name}")?;
                separator = ",";
            }
        }
        f.write_str(if separator.is_empty() { "none" } else { "" })
    }
}

impl FromStr for Rowwise {
    type Err = Error;

    /// Reads `none`, or names separated by commas, in capitals or not.
    fn from_str(text: &str) -> Result<Self> {
        let mut rowwise = Rowwise::default();
        if text == "none" {
            return Ok(rowwise);
        }
        for name in text.split(',') {
            match name.to_ascii_lowercase().as_str() {
                "w1" => rowwise.w1 = true,
                "b1" => rowwise.b1 = true,
                "w2" => rowwise.w2 = true,
                "b2" => rowwise.b2 = true,
                _ => {
                    let expected = "none, or some of w1, b1, w2, b2 separated by commas";
                    return Err(Error::Config { option: "rowwise", expected, found: format!("{text:?}") });
                }
            }
        }
        Ok(rowwise)
    }
}

/// How scores are corrected for sampled negatives, whose odds are too high by 1/ρ when a share ρ of them is kept (King & Zeng 2001).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Correction {
    /// Training sees the logit minus ln ρ, so the logit itself is that of the full data.
    Offset,
    /// Training sees the logit; ln ρ is added to the output bias of the model that is served. The same optimum.
    Shift,
    /// Sampled negatives count 1/ρ times. Right for any model, the other two only for one that is well specified; but noisier.
    Importance,
}

named!(Correction, "correction", "offset, shift or importance", {
    Offset => "offset",
    Shift => "shift",
    Importance => "importance",
});

/// How L1 and L2 decay act on weights. Biases never decay. D is what the gradient g is divided by, S the soft threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecayMode {
    /// Beside the gradient step, not divided by D: `w ← S((1 − γ·l2)·w − γ·g/D, γ·l1)`.
    Decoupled,
    /// The proximal step of composite mirror descent (COMID, Duchi et al. 2011): `w ← S(w − γ·g/D, γ·l1/D) / (1 + γ·l2/D)`.
    /// Weights that have had no gradient, with a squared-gradient sum of 0, are left alone.
    Prox,
    /// Part of the gradient: `g ← g + l2·w + l1·sgn(w)`, which enters the squared-gradient sum too. With
    /// [`DecayWhen::EveryStep`] each step that a row has missed is replayed, which costs as much as taking it.
    Coupled,
}

named!(DecayMode, "decay", "decoupled, prox or coupled", {
    Decoupled => "decoupled",
    Prox => "prox",
    Coupled => "coupled",
});

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
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::train::{DecayMode, TrainConfig};
///
/// let config = TrainConfig { hidden: 64, l2: 1e-5, decay: DecayMode::Prox, ..TrainConfig::default() };
/// config.validate()?;
/// assert!(TrainConfig { lr: -1.0, ..config }.validate().is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TrainConfig {
    /// What is learnt.
    pub objective: Objective,
    /// An autoencoder that is trained first; of a tagger.
    pub pretrain: Option<Pretrain>,
    /// Hidden units H.
    pub hidden: usize,
    /// Networks that [`super::recipe::TrainingSet::train`] trains, each as if alone, from seeds `seed`, `seed + 1` and so on, and
    /// [averages](crate::average): one network with so many times `hidden` units. At least 1; a [`super::Trainer`] trains one.
    pub average: u32,
    /// Their nonlinearity.
    pub activation: Activation,
    /// Whether they have biases. Anchors that are a sum or mean have neither biases nor a nonlinearity.
    pub hidden_bias: bool,
    /// Epochs at most.
    pub epochs: u32,
    /// Samples in a mini-batch, at least 1.
    pub batch: usize,
    /// Learning rate γ, at least 0.
    pub lr: f64,
    /// γ falls as `lr / (1 + (step − 1)·lr_decay)`; at least 0.
    pub lr_decay: f64,
    /// What gradients are divided by.
    pub optimizer: OptimizerKind,
    /// AdaGrad's ε, above 0.
    pub epsilon: f64,
    /// Where ε is added.
    pub epsilon_place: EpsilonPlace,
    /// The parameters whose rows share one squared-gradient sum.
    pub rowwise: Rowwise,
    /// Where AdaGrad's squared-gradient sums start; at least 0.
    pub initial_square: f64,
    /// Factor on the first layer's initial values; at least 0. Small values make the net learn features instead of memorising with
    /// random ones.
    pub initial_scale: f64,
    /// L1 decay, at least 0.
    pub l1: f64,
    /// L2 decay, at least 0; decoupled, `lr·l2` is below 1.
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
    /// How scores are corrected where negatives are sampled.
    pub correction: Correction,
    /// The validation score.
    pub metric: Metric,
    /// Epochs without a better validation score after which training stops; 0 never stops early.
    pub patience: u32,
    /// Seed of every random decision.
    pub seed: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            objective: Objective::Tagger,
            pretrain: None,
            hidden: 256,
            average: 1,
            activation: Activation::Relu,
            hidden_bias: true,
            epochs: 60,
            batch: 32,
            lr: 0.05,
            lr_decay: 0.0,
            optimizer: OptimizerKind::AdaGrad,
            epsilon: 1e-10,
            epsilon_place: EpsilonPlace::Outside,
            rowwise: Rowwise::default(),
            initial_square: 0.01,
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
            correction: Correction::Offset,
            metric: Metric::MacroAp,
            patience: 6,
            seed: 1,
        }
    }
}

/// Mean keywords an item from which on lists are long.
const LONG_LISTS: f64 = 25.0;

impl TrainConfig {
    /// Defaults for items with so many keywords in the mean, for [`super::recipe::TrainingSet::train`]: from 25 on more are dropped,
    /// which long lists can spare, more hidden units too, and two networks are averaged. Otherwise they are
    /// [`TrainConfig::default`].
    #[must_use]
    pub fn for_items(mean_keywords: f64) -> Self {
        let default = TrainConfig::default();
        if mean_keywords < LONG_LISTS {
            return default;
        }
        TrainConfig { average: 2, dropout_in: 0.2, dropout_hidden: 0.5, ..default }
    }

    /// Defaults for the nets of a bank, each with one tag: [`super::recipe::TrainingSet::train_bank`].
    #[must_use]
    pub fn per_tag() -> Self {
        TrainConfig {
            hidden: 32,
            epochs: 80,
            lr: 0.1,
            initial_square: 1.0,
            initial_scale: 0.05,
            dropout_in: 0.2,
            dropout_hidden: 0.5,
            negatives: Negatives::Sampled(20.0),
            metric: Metric::LogLoss,
            ..TrainConfig::default()
        }
    }

    /// The same for items with so many keywords in the mean: from 25 on two nets a tag are averaged, more is dropped, weights decay,
    /// and a tag is told apart from more items. Otherwise they are [`TrainConfig::per_tag`].
    #[must_use]
    pub fn per_tag_for_items(mean_keywords: f64) -> Self {
        let default = TrainConfig::per_tag();
        if mean_keywords < LONG_LISTS {
            return default;
        }
        TrainConfig {
            average: 2,
            l2: 0.003,
            dropout_in: 0.3,
            dropout_hidden: 0.6,
            negatives: Negatives::Sampled(50.0),
            ..default
        }
    }

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
        check("average", self.average >= 1, "at least 1", f64::from(self.average))?;
        check("batch", self.batch >= 1, "at least 1", self.batch as f64)?;
        check("lr", non_negative(self.lr), NON_NEGATIVE, self.lr)?;
        check("lr_decay", non_negative(self.lr_decay), NON_NEGATIVE, self.lr_decay)?;
        let normal = self.epsilon >= f64::from(f32::MIN_POSITIVE) && self.epsilon < f64::from(f32::MAX);
        check("epsilon", normal, "a finite number above 1e-37", self.epsilon)?;
        check("initial_square", non_negative(self.initial_square), NON_NEGATIVE, self.initial_square)?;
        check("initial_scale", non_negative(self.initial_scale), NON_NEGATIVE, self.initial_scale)?;
        check("l1", non_negative(self.l1), NON_NEGATIVE, self.l1)?;
        check("l2", non_negative(self.l2), NON_NEGATIVE, self.l2)?;
        let shrinks = self.decay != DecayMode::Decoupled || self.lr * self.l2 < 1.0;
        check("l2", shrinks, "lr·l2 below 1 with decoupled decay", self.l2)?;
        check("dropout_in", (0.0..1.0).contains(&self.dropout_in), RATE, self.dropout_in)?;
        check("dropout_hidden", (0.0..1.0).contains(&self.dropout_hidden), RATE, self.dropout_hidden)?;
        check_eps(self.eps)?;
        self.activation.check()?;
        self.penalty.map_or(Ok(()), |penalty| penalty.check(self.hidden_activation()))?;
        self.check_objective()?;
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
        // Only where chosen, so that the bytes of models without them stay what they were.
        let default = TrainConfig::default();
        for (key, chosen, value) in [
            ("optimizer", self.optimizer != default.optimizer, self.optimizer.to_string()),
            ("epsilon_place", self.epsilon_place != default.epsilon_place, self.epsilon_place.to_string()),
            ("correction", self.correction != default.correction, self.correction.to_string()),
            ("metric", self.metric != default.metric, self.metric.to_string()),
            ("rowwise", self.rowwise != default.rowwise, self.rowwise.to_string()),
            ("hidden_bias", self.hidden_bias != default.hidden_bias, self.hidden_bias.to_string()),
        ] {
            if chosen {
                provenance.insert(format!("train.{key}"), value)?;
            }
        }
        for (key, value) in self.described_objective() {
            provenance.insert(format!("train.{key}"), value)?;
        }
        if let Some(penalty) = self.penalty {
            provenance.insert("train.penalty", penalty.kind.to_string())?;
            provenance.insert("train.penalty_weight", penalty.weight.to_string())?;
        }
        Ok(())
    }

    /// Whether weights decay.
    pub(super) fn decays(&self) -> bool {
        self.l1 > 0.0 || self.l2 > 0.0
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
    use crate::train::{Anchor, Autoencoder};

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
        rejected(|c| c.average = 0, "average");
        rejected(|c| c.batch = 0, "batch");
        rejected(|c| c.lr = f64::NAN, "lr");
        rejected(|c| c.lr_decay = -1.0, "lr_decay");
        rejected(|c| c.epsilon = 0.0, "epsilon");
        rejected(|c| c.epsilon = 1e-60, "epsilon");
        rejected(|c| c.initial_square = f64::INFINITY, "initial_square");
        rejected(|c| c.initial_scale = -0.1, "initial_scale");
        rejected(|c| c.l1 = 1e39, "l1");
        rejected(|c| (c.lr, c.l2) = (0.5, 2.0), "l2");
        for decay in [DecayMode::Prox, DecayMode::Coupled] {
            assert!(TrainConfig { lr: 0.5, l2: 2.0, decay, ..TrainConfig::default() }.validate().is_ok());
        }
        rejected(|c| c.dropout_in = 1.0, "dropout_in");
        rejected(|c| c.dropout_hidden = -0.1, "dropout_hidden");
        rejected(|c| c.eps = 0.5, "eps");
        rejected(|c| c.eps = -0.0, "eps");
        rejected(|c| c.negatives = Negatives::Sampled(0.0), "negatives");
        rejected(|c| (c.objective, c.negatives) = (Objective::Anchor(Anchor::default()), Negatives::Sampled(2e6)), "negatives");
        for negatives in [0, 1_000_001] {
            let autoencoder = Autoencoder { negatives: Some(negatives), ..Autoencoder::default() };
            let config = TrainConfig { objective: Objective::Autoencoder(autoencoder), ..TrainConfig::default() };
            let error = config.validate().unwrap_err();
            assert!(matches!(error, Error::Config { option: "decoder_negatives", .. }), "{error}");
        }
    }

    #[test]
    fn long_lists_are_dropped_from_more() {
        for few in [0.0, 10.0, 24.9] {
            assert_eq!(TrainConfig::for_items(few), TrainConfig::default());
            assert_eq!(TrainConfig::per_tag_for_items(few), TrainConfig::per_tag());
        }
        let net = (TrainConfig::for_items(25.0), TrainConfig::default());
        for (many, few) in [net, (TrainConfig::per_tag_for_items(25.0), TrainConfig::per_tag())] {
            assert!(many.average == 2 && few.average == 1);
            assert!(many.dropout_in > few.dropout_in && many.dropout_hidden > few.dropout_hidden);
            assert!(many.validate().is_ok());
        }
    }

    #[test]
    fn options_of_the_optimizer_are_described_where_they_were_chosen() {
        let described = |config: &TrainConfig| {
            let mut provenance = Provenance::new();
            config.describe(&mut provenance).unwrap();
            ["optimizer", "epsilon_place", "rowwise"].map(|key| provenance.get(&format!("train.{key}")).map(str::to_owned))
        };
        assert_eq!(described(&TrainConfig::default()), [None, None, None]);
        let config = TrainConfig {
            optimizer: OptimizerKind::Sgd,
            epsilon_place: EpsilonPlace::Inside,
            rowwise: Rowwise { w1: true, b2: true, ..Rowwise::default() },
            ..TrainConfig::default()
        };
        assert_eq!(described(&config), ["sgd", "inside", "W1,b2"].map(|value| Some(value.to_owned())));
        assert_eq!(Rowwise::default().to_string(), "none");
        for rowwise in [config.rowwise, Rowwise::default()] {
            assert_eq!(rowwise.to_string().parse::<Rowwise>().unwrap(), rowwise);
        }
        assert_eq!("b2,w1".parse::<Rowwise>().unwrap(), config.rowwise);
        for text in ["", "w1,", "w3", "none,w1", "w1 b1"] {
            assert!(text.parse::<Rowwise>().is_err(), "{text:?}");
        }
    }
}
