//! All parameters of a network in training: initial values, and the shape they share with gradients' squares.

use super::codec::Codec;
use super::config::TrainConfig;
use super::objective::OutputForm;
use crate::aligned::{Block, LANES, as_floats, as_floats_mut};
use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::format::check_weights;
use crate::ln::ln;
use crate::network::{Activation, Network, OutputLayout, Shape, Weights};
use crate::rng::{Parameter, Philox};

/// Values of all parameters, owned; also the form of AdaGrad's squared-gradient sums.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    pub(super) w1: Buffer<Block>,
    pub(super) b1: Buffer<Block>,
    pub(super) w2: Buffer<Block>,
    pub(super) b2: Buffer<Block>,
    /// Whether W2 is W1, and the part of that name empty.
    pub(super) tied: bool,
}

/// What initial values are derived from.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Samples N.
    pub samples: u64,
    /// Mean number of keywords a sample, n̄.
    pub mean_keywords: f64,
    /// Positive samples of each output: tag, or keyword of an autoencoder.
    pub positives: Vec<u64>,
}

impl Parameters {
    /// Parameters that all have this value, padding too.
    pub(super) fn filled(shape: &Shape, tied: bool, value: f32) -> Result<Self> {
        let filled = |what, blocks| Buffer::filled(what, blocks, Block([value; LANES]));
        Ok(Parameters {
            w1: filled("the first layer, for this machine's memory", shape.w1_blocks())?,
            b1: filled("the hidden biases, for this machine's memory", shape.row_blocks())?,
            w2: filled("the output layer, for this machine's memory", if tied { 0 } else { shape.w2_blocks() })?,
            b2: filled("the output biases, for this machine's memory", shape.slot_blocks())?,
            tied,
        })
    }

    /// He et al. (2015) for W1, with the mean number of *active* keywords as fan-in (Glorot & Bengio, 2010, for sigmoid units), times
    /// the configured scale; Glorot for W2;
    /// b1 is 0 and b2 the log-odds of each output's prior.
    pub(super) fn initial(shape: &Shape, statistics: &Statistics, config: &TrainConfig) -> Result<Self> {
        let rng = Philox::new(config.seed);
        let form = config.output_form();
        let mut parameters = Parameters::filled(shape, form == OutputForm::Tied, 0.0)?;
        let (hidden, row) = (shape.hidden(), shape.row_blocks() * LANES);
        let groups = shape.groups().len();
        let fan_in = statistics.mean_keywords.max(1.0);
        let radius = match config.hidden_activation() {
            Activation::Sigmoid => glorot_radius(fan_in, hidden as f64),
            Activation::LeakyRelu(slope) => he_radius(fan_in * (1.0 + f64::from(slope) * f64::from(slope))),
            _ => he_radius(fan_in),
        };
        let radius = (config.initial_scale * radius) as f32;
        let w1 = as_floats_mut(&mut parameters.w1);
        let mut element = 0;
        for keyword in 0..shape.keywords() {
            for g in 0..groups {
                let start = keyword * row + g * (row / groups);
                rng.uniform(Parameter::W1, radius, element, &mut w1[start..start + hidden]);
                element += hidden as u64;
            }
        }
        if form != OutputForm::Tied {
            let mut values = Vec::new();
            let mut element = 0;
            for group in shape.groups() {
                let tags = group.tags.len();
                let (stream, fan_out) = config.initial_output(statistics, tags);
                let radius = glorot_radius(hidden as f64, fan_out) as f32;
                values.resize(hidden * tags, 0.0);
                rng.uniform(stream, radius, element, &mut values);
                element += values.len() as u64;
                for (i, value) in values.iter().enumerate() {
                    // Elements are in the order of the parameter's own rows.
                    let (unit, tag) = if form == OutputForm::Units { (i / tags, i % tags) } else { (i % hidden, i / hidden) };
                    as_floats_mut(&mut parameters.w2)[shape.w2_index(group, unit, tag)] = *value;
                }
            }
        }
        if config.biases().output {
            shape.scatter_slots(&config.initial_biases(statistics)?, &mut parameters.b2);
        }
        Ok(parameters)
    }

    /// Writes or reads all values, which must be fit for a model.
    pub(super) fn visit(&mut self, codec: &mut dyn Codec, network: &Network) -> Result<()> {
        const PART: &str = "weights";
        for part in [&mut self.w1, &mut self.b1, &mut self.w2, &mut self.b2] {
            codec.floats(PART, part, |_| true)?;
        }
        check_weights(network, self.weights())
            .map_err(|error| Error::checkpoint(PART, "weights that a model can have", error.to_string()))
    }

    /// The parameters, borrowed.
    #[must_use]
    pub fn weights(&self) -> Weights<'_> {
        let w2 = if self.tied { &self.w1 } else { &self.w2 };
        Weights { w1: &self.w1, b1: &self.b1, w2, b2: &self.b2 }
    }

    /// A copy of `weights`; where W2 is W1 they must be equal.
    pub(super) fn copy_from(shape: &Shape, tied: bool, weights: Weights<'_>) -> Result<Self> {
        weights.check(shape)?;
        let Weights { w1, b1, w2, b2 } = weights;
        if tied && as_floats(w1) != as_floats(w2) {
            let expected = "the weights of the first layer, which a tied autoencoder's are";
            return Err(Error::Config { option: "output weights", expected, found: "others".to_owned() });
        }
        let w2 = if tied { &[] } else { w2 };
        let copy = |part| Buffer::copy("a copy of the weights, for this machine's memory", part);
        Ok(Parameters { w1: copy(w1)?, b1: copy(b1)?, w2: copy(w2)?, b2: copy(b2)?, tied })
    }
}

/// The hidden unit of a float of W2, as a place in the hidden vector.
pub(super) fn unit_of(shape: &Shape, place: usize) -> usize {
    let group = &shape.groups()[shape.groups().partition_point(|group| group.w2.end * LANES <= place)];
    let within = match shape.layout() {
        OutputLayout::TagMajor => (place - group.w2.start * LANES) % (group.hidden.len() * LANES),
        OutputLayout::Panels => shape
            .panels(group)
            .find(|panel| place < panel.w2.end * LANES)
            .map_or(0, |panel| (place - panel.w2.start * LANES) / (panel.slots.len() * LANES)),
    };
    group.hidden.start * LANES + within
}

/// Radius of He's uniform initial values for a fan-in, at least 1.
#[must_use]
pub fn he_radius(fan_in: f64) -> f64 {
    (6.0 / fan_in.max(1.0)).sqrt()
}

/// Radius of Glorot's uniform initial values.
#[must_use]
pub fn glorot_radius(fan_in: f64, fan_out: f64) -> f64 {
    (6.0 / (fan_in + fan_out).max(1.0)).sqrt()
}

/// The log-odds of a tag with these counts, each one larger: `ln((n⁺ + 1) / (n⁻ + 1))`.
#[must_use]
pub fn prior_logit(positives: u64, negatives: u64) -> f64 {
    ln((positives as f64 + 1.0) / (negatives as f64 + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fans_are_of_one_at_least() {
        assert_eq!([0.0, 0.5, 1.0, 1.5, 6.0].map(he_radius), [6.0, 6.0, 6.0, 4.0, 1.0].map(f64::sqrt));
        assert_eq!([0.25, 0.75, 1.25].map(|fan| glorot_radius(0.25, fan)), [6.0, 6.0, 4.0].map(f64::sqrt));
        let config = TrainConfig { hidden: 20, initial_scale: 1.0, ..TrainConfig::default() };
        let shape = config.shape(50, 1).unwrap();
        let statistics = Statistics { samples: 4, mean_keywords: 0.5, positives: vec![1] };
        let parameters = Parameters::initial(&shape, &statistics, &config).unwrap();
        let largest = as_floats(&parameters.w1).iter().fold(0.0_f32, |largest, w| largest.max(w.abs()));
        assert!((2.4..2.45).contains(&largest), "{largest} of a radius of √6");
    }

    #[test]
    fn parts_have_their_lengths() {
        let shape = Shape::new(3, 5, &[2], OutputLayout::TagMajor).unwrap();
        assert!(Parameters::filled(&shape, true, 0.0).unwrap().w2.is_empty());
        let fitting = Parameters::filled(&shape, false, 0.0).unwrap();
        assert_eq!(Parameters::copy_from(&shape, false, fitting.weights()).unwrap(), fitting);
        for part in 0..4 {
            let mut longer = fitting.clone();
            let Parameters { w1, b1, w2, b2, .. } = &mut longer;
            let longest = &mut *[w1, b1, w2, b2][part];
            *longest = [&longest[..], &[Block::ZERO]].concat()[..].into();
            assert!(Parameters::copy_from(&shape, false, longer.weights()).is_err(), "part {part}");
        }
    }
}
