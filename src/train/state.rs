//! What a training has come to.

use super::codec::Codec;
use super::optimizer::Optimizer;
use super::parameters::Parameters;
use crate::aligned::Block;
use crate::error::Result;
use crate::network::Network;

/// All that steps change. With the configuration, the names and the data, it decides every later step.
#[derive(Debug)]
pub(super) struct State {
    pub(super) parameters: Parameters,
    /// Squared-gradient sums, and the clocks of rows that decay lazily.
    pub(super) optimizer: Optimizer,
    /// What is added to the output bias of the model that is served, one a tag slot.
    pub(super) shifts: Vec<Block>,
    /// Steps taken.
    pub(super) step: u64,
    /// Epochs begun.
    pub(super) epoch: u32,
}

impl State {
    /// Writes or reads all of it.
    pub(super) fn visit(&mut self, codec: &mut dyn Codec, network: &Network) -> Result<()> {
        codec.u64("step", &mut self.step, |step| step < u64::MAX / 2)?;
        codec.u32("epoch", &mut self.epoch, |epoch| epoch < u32::MAX / 2)?;
        codec.floats("shifts of output biases", &mut self.shifts, f32::is_finite)?;
        self.parameters.visit(codec, network)?;
        self.optimizer.visit(codec)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::codec::{Reader, Writer};
    use super::super::config::TrainConfig;
    use super::*;
    use crate::aligned::LANES;
    use crate::network::{Activation, Pooling};

    #[test]
    fn counts_up_to_half_of_what_there_is_and_shifts_are_written_and_read() {
        let config = TrainConfig { hidden: 4, ..TrainConfig::default() };
        let shape = config.shape(3, 2).unwrap();
        let state = |step, epoch, shift| State {
            parameters: Parameters::filled(&shape, false, 0.0).unwrap(),
            optimizer: Optimizer::new(&config, &shape).unwrap(),
            shifts: vec![Block([shift; LANES]); shape.slot_blocks()],
            step,
            epoch,
        };
        let network = Network { shape: shape.clone(), pooling: Pooling::Sum, activation: Activation::Relu, eps: 0.0 };
        let half = (u64::MAX / 2, u32::MAX / 2);
        for (step, epoch, fits) in [(half.0 - 1, half.1 - 1, true), (half.0, 0, false), (0, half.1, false)] {
            let mut writer = Writer::new(Path::new("memory"), Vec::new());
            assert_eq!(state(step, epoch, 1.5).visit(&mut writer, &network).is_ok(), fits, "{step} {epoch}");
            if fits {
                let bytes = writer.finish().unwrap();
                let mut found = state(0, 0, 0.0);
                found.visit(&mut Reader::new(&bytes).unwrap(), &network).unwrap();
                assert_eq!((found.step, found.epoch, found.shifts[0].0), (step, epoch, [1.5; LANES]));
            }
        }
    }
}
