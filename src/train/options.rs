//! Choices of a training as text, for callers that have no Rust.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::config::{Negatives, TrainConfig};
use super::penalty::Penalty;
use crate::error::{Error, Result};

const COUNT: &str = "a whole number";
const NUMBER: &str = "a number";

impl TrainConfig {
    /// Sets the field `name` to what `value` says, both as a model's provenance has them after `train.`: `hidden` and `64`, say. The
    /// objective and what belongs to it (`objective`, `pretrain`, `anchor`, `tied` and the like) cannot be set so.
    ///
    /// ```
    /// # fn main() -> tagomatic::Result<()> {
    /// use tagomatic::train::TrainConfig;
    ///
    /// let mut config = TrainConfig::default();
    /// config.set("hidden", "64")?;
    /// config.set("negatives", "20")?;
    /// assert!(config.set("hiden", "64").is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] for another name, or a value that cannot be read. Whether it is in its range [`TrainConfig::validate`] tells.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let penalty = Penalty { kind: super::PenaltyKind::L1, weight: 0.0 };
        match name {
            "hidden" => self.hidden = read("hidden", COUNT, value)?,
            "average" => self.average = read("average", COUNT, value)?,
            "activation" => self.activation = value.parse()?,
            "hidden_bias" => self.hidden_bias = read("hidden_bias", "true or false", value)?,
            "epochs" => self.epochs = read("epochs", COUNT, value)?,
            "batch" => self.batch = read("batch", COUNT, value)?,
            "lr" => self.lr = read("lr", NUMBER, value)?,
            "lr_decay" => self.lr_decay = read("lr_decay", NUMBER, value)?,
            "optimizer" => self.optimizer = value.parse()?,
            "epsilon" => self.epsilon = read("epsilon", NUMBER, value)?,
            "epsilon_place" => self.epsilon_place = value.parse()?,
            "rowwise" => self.rowwise = value.parse()?,
            "initial_square" => self.initial_square = read("initial_square", NUMBER, value)?,
            "initial_scale" => self.initial_scale = read("initial_scale", NUMBER, value)?,
            "l1" => self.l1 = read("l1", NUMBER, value)?,
            "l2" => self.l2 = read("l2", NUMBER, value)?,
            "decay" => self.decay = value.parse()?,
            "decay_when" => self.decay_when = value.parse()?,
            "loss" => self.loss = value.parse()?,
            "eps" => self.eps = read("eps", NUMBER, value)?,
            "reduction" => self.reduction = value.parse()?,
            "dropout_in" => self.dropout_in = read("dropout_in", NUMBER, value)?,
            "dropout_hidden" => self.dropout_hidden = read("dropout_hidden", NUMBER, value)?,
            "penalty" => self.penalty.get_or_insert(penalty).kind = value.parse()?,
            "penalty_weight" => self.penalty.get_or_insert(penalty).weight = read("penalty_weight", NUMBER, value)?,
            "negatives" if value == "all" => self.negatives = Negatives::All,
            "negatives" => self.negatives = Negatives::Sampled(read("negatives", "all, or a ratio", value)?),
            "correction" => self.correction = value.parse()?,
            "metric" => self.metric = value.parse()?,
            "patience" => self.patience = read("patience", COUNT, value)?,
            "seed" => self.seed = read("seed", COUNT, value)?,
            _ => {
                let expected = "the name of a field of the training's configuration, such as hidden, epochs or lr";
                return Err(Error::Config { option: "training option", expected, found: format!("{name:?}") });
            }
        }
        Ok(())
    }

    /// [`TrainConfig::set`] of all that somebody asked for. Who says how many hidden units there are gets as many: networks are averaged
    /// only if that was asked for too.
    ///
    /// # Errors
    /// As [`TrainConfig::set`]; [`Error::Config`] if a penalty has no weight, or a weight no penalty.
    pub fn set_all<'o>(&mut self, options: impl IntoIterator<Item = (&'o str, &'o str)>) -> Result<()> {
        let mut names = BTreeSet::new();
        for (name, value) in options {
            self.set(name, value)?;
            names.insert(name);
        }
        if names.contains("hidden") && !names.contains("average") {
            self.average = 1;
        }
        if names.contains("penalty") != names.contains("penalty_weight") {
            let found = "one of them".to_owned();
            return Err(Error::Config { option: "penalty", expected: "penalty and penalty_weight", found });
        }
        Ok(())
    }
}

fn read<T: FromStr>(option: &'static str, expected: &'static str, value: &str) -> Result<T> {
    value.parse().map_err(|_| Error::Config { option, expected, found: format!("{value:?}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Provenance;
    use crate::network::Activation;
    use crate::train::{Correction, DecayMode, DecayWhen, EpsilonPlace, OptimizerKind, PenaltyKind, Rowwise};

    #[test]
    fn who_asks_for_hidden_units_gets_as_many_and_a_penalty_wants_a_weight() {
        let set = |options: &[(&str, &str)]| {
            let mut config = TrainConfig { average: 2, ..TrainConfig::default() };
            config.set_all(options.iter().copied()).map(|()| config)
        };
        let averages = |options| set(options).unwrap().average;
        assert_eq!(averages(&[("lr", "0.5")]), 2);
        assert_eq!(averages(&[("hidden", "64")]), 1);
        assert_eq!(averages(&[("average", "3"), ("hidden", "64")]), 3);
        let penalty = set(&[("penalty_weight", "0.5"), ("penalty", "student_t")]).unwrap().penalty;
        assert_eq!(penalty, Some(Penalty { kind: PenaltyKind::StudentT, weight: 0.5 }));
        for alone in [("penalty", "l1"), ("penalty_weight", "0.5")] {
            assert!(matches!(set(&[alone]), Err(Error::Config { option: "penalty", .. })), "{alone:?}");
        }
    }

    #[test]
    fn what_provenance_tells_is_read_back() {
        let all = TrainConfig {
            hidden: 3,
            activation: Activation::LeakyRelu(0.25),
            hidden_bias: false,
            epochs: 4,
            batch: 5,
            lr: 0.125,
            lr_decay: 0.5,
            optimizer: OptimizerKind::Sgd,
            epsilon: 1e-3,
            epsilon_place: EpsilonPlace::Inside,
            rowwise: Rowwise { w1: true, ..Rowwise::default() },
            initial_square: 0.75,
            initial_scale: 2.5,
            l1: 1e-4,
            l2: 1e-5,
            decay: DecayMode::Prox,
            decay_when: DecayWhen::Touched,
            loss: "logit".parse().unwrap(),
            eps: 1e-3,
            reduction: "mean".parse().unwrap(),
            dropout_in: 0.0,
            dropout_hidden: 0.625,
            penalty: Some(Penalty { kind: PenaltyKind::KlMean(0.05), weight: 0.1 }),
            negatives: Negatives::Sampled(7.5),
            correction: Correction::Shift,
            metric: "log_loss".parse().unwrap(),
            patience: 0,
            seed: u64::MAX,
            ..TrainConfig::default()
        };
        for config in [TrainConfig::default(), TrainConfig::per_tag(), all] {
            let mut provenance = Provenance::new();
            config.describe(&mut provenance).unwrap();
            let mut read = TrainConfig::default();
            for (key, value) in provenance.iter() {
                read.set(key.strip_prefix("train.").unwrap(), value).unwrap();
            }
            assert_eq!(read, config);
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (name, value, option) in [
            ("hidden", "-1", "hidden"),
            ("hidden", "", "hidden"),
            ("lr", "fast", "lr"),
            ("loss", "none", "loss"),
            ("negatives", "some", "negatives"),
            ("hidden_bias", "1", "hidden_bias"),
            ("Hidden", "1", "training option"),
            ("objective", "anchor", "training option"),
        ] {
            match TrainConfig::default().set(name, value) {
                Err(Error::Config { option: found, .. }) => assert_eq!(found, option),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
