//! The nonlinearities of hidden units.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The nonlinearity of the hidden units, h = act(a).
///
/// | | h | dh/da | at the kink |
/// | --- | --- | --- | --- |
/// | `relu` | a if a > 0, else +0.0 | 1 or 0 | 0 |
/// | `leaky_relu(s)` | a if a > 0, else s·a | 1 or s | s |
/// | `elu(α)` | a if a > 0, else α·(e^a − 1) | 1 or h + α | α |
/// | `sigmoid` | σ(a) | h·(1 − h) | |
/// | `trec(θ)` | a if a > θ, else +0.0 | 1 or 0 | 0 |
/// | `tlin(θ)` | a if \|a\| > θ, else +0.0 | 1 or 0 | 0 |
/// | `identity` | a | 1 | |
///
/// `trec` and `tlin` are the thresholded units of Konda, Memisevic & Krueger (arXiv 1402.3337), with θ = 1 there. On sparse binary
/// input θ = 1 leaves nearly every unit off; 0.1, the default here, works.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Activation {
    /// Rectified linear.
    Relu,
    /// Rectified linear with a slope `s` in [0, 1) below 0.
    LeakyRelu(f32),
    /// Exponential linear with α above 0.
    Elu(f32),
    /// Logistic.
    Sigmoid,
    /// Thresholded rectified linear, θ at least 0.
    Trec(f32),
    /// Thresholded linear, θ at least 0.
    Tlin(f32),
    /// None at all.
    Identity,
}

impl Activation {
    /// The name without its parameter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Activation::Relu => "relu",
            Activation::LeakyRelu(_) => "leaky_relu",
            Activation::Elu(_) => "elu",
            Activation::Sigmoid => "sigmoid",
            Activation::Trec(_) => "trec",
            Activation::Tlin(_) => "tlin",
            Activation::Identity => "identity",
        }
    }

    /// The parameter, if it has one.
    #[must_use]
    pub const fn parameter(self) -> Option<f32> {
        match self {
            Activation::Relu | Activation::Sigmoid | Activation::Identity => None,
            Activation::LeakyRelu(x) | Activation::Elu(x) | Activation::Trec(x) | Activation::Tlin(x) => Some(x),
        }
    }

    /// Whether a unit that is zero passes no gradient on, so that only active units need a look in training.
    #[must_use]
    pub const fn is_sparse(self) -> bool {
        matches!(self, Activation::Relu | Activation::Trec(_) | Activation::Tlin(_))
    }

    /// Fails unless the parameter is in its range.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(self) -> Result<()> {
        let (ok, expected) = match self {
            Activation::Relu | Activation::Sigmoid | Activation::Identity => (true, ""),
            Activation::LeakyRelu(slope) => ((0.0..1.0).contains(&slope), "leaky_relu with a slope in [0, 1)"),
            Activation::Elu(alpha) => (alpha > 0.0 && alpha.is_finite(), "elu with a finite parameter above 0"),
            Activation::Trec(theta) | Activation::Tlin(theta) => {
                (theta >= 0.0 && theta.is_finite(), "a finite threshold of at least 0")
            }
        };
        // -0.0 is refused too: a parameter has one spelling.
        let ok = ok && self.parameter().is_none_or(f32::is_sign_positive);
        if ok { Ok(()) } else { Err(Error::Config { option: "activation", expected, found: self.to_string() }) }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        self.parameter().map_or(Ok(()), |parameter| write!(f, ":{parameter}"))
    }
}

impl FromStr for Activation {
    type Err = Error;

    /// Reads `name` or `name:parameter`.
    fn from_str(text: &str) -> Result<Self> {
        let unknown = || Error::Config {
            option: "activation",
            expected: "relu, leaky_relu[:s], elu[:alpha], sigmoid, trec[:theta], tlin[:theta] or identity",
            found: format!("{text:?}"),
        };
        let (name, parameter) = match text.split_once(':') {
            None => (text, None),
            Some((name, parameter)) => (name, Some(parameter.parse::<f32>().map_err(|_| unknown())?)),
        };
        let activation = match (name, parameter) {
            ("relu", None) => Activation::Relu,
            ("sigmoid", None) => Activation::Sigmoid,
            ("identity", None) => Activation::Identity,
            ("leaky_relu", slope) => Activation::LeakyRelu(slope.unwrap_or(0.01)),
            ("elu", alpha) => Activation::Elu(alpha.unwrap_or(1.0)),
            ("trec", theta) => Activation::Trec(theta.unwrap_or(0.1)),
            ("tlin", theta) => Activation::Tlin(theta.unwrap_or(0.1)),
            _ => return Err(unknown()),
        };
        activation.check()?;
        Ok(activation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for text in ["relu", "leaky_relu:0.2", "elu:1", "sigmoid", "trec:0.1", "tlin:0.25", "identity"] {
            assert_eq!(text.parse::<Activation>().unwrap().to_string(), text);
        }
        assert_eq!("trec".parse::<Activation>().unwrap(), Activation::Trec(0.1));
        for text in ["", "rely", "relu:1", "trec:-1", "elu:0", "elu:x", "leaky_relu:1", "tlin:inf", "tlin:NaN", "trec:-0"] {
            assert!(text.parse::<Activation>().is_err(), "{text}");
        }
    }
}
