//! All that answers need: kernels, network, weights and calibration, whether of a tagger or of a network that is being trained.

use super::Forward;
use crate::aligned::Block;
use crate::calibration::Calibration;
use crate::error::Result;
use crate::ids::Sets;
use crate::kernels::{Answer, Kernels};
use crate::network::{Network, StoredWeights};

/// What answers, borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Net<'a> {
    pub(crate) kernels: Kernels,
    pub(crate) network: &'a Network,
    pub(crate) weights: StoredWeights<'a>,
    pub(crate) calibration: Option<&'a Calibration>,
}

/// What is to be written for a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The network's logit.
    Logits,
    /// The score: calibrated, if there is a calibration, and clamped.
    Scores,
}

impl Net<'_> {
    /// Answers for the items with these keywords, see [`Forward::run`].
    #[inline(always)]
    pub(crate) fn run(&self, sets: Sets<'_>, wanted: Wanted, forward: &mut Forward, answers: &mut [f32]) -> Result<()> {
        forward.run(self, sets, self.answer(wanted), answers)?;
        self.finish(wanted, answers);
        Ok(())
    }

    /// Answers for the item whose rows sum up to `sum`, see [`Forward::run_from`].
    pub(crate) fn run_from(
        &self,
        sum: &[Block],
        keywords: usize,
        wanted: Wanted,
        forward: &mut Forward,
        answers: &mut [f32],
    ) -> Result<()> {
        forward.run_from(self, sum, keywords, self.answer(wanted), answers)?;
        self.finish(wanted, answers);
        Ok(())
    }

    /// Turns logits into scores.
    pub(crate) fn scores(&self, logits: &mut [f32]) {
        if let Some(calibration) = self.calibration {
            calibration.apply(logits);
        }
        self.kernels.sigmoid(self.network.eps, logits);
    }

    /// What the output layer writes: scores at once, unless a map comes between.
    #[inline]
    fn answer(&self, wanted: Wanted) -> Answer {
        match wanted {
            Wanted::Scores if self.calibration.is_none() => Answer::Score { eps: self.network.eps },
            _ => Answer::Logit,
        }
    }

    #[inline]
    fn finish(&self, wanted: Wanted, answers: &mut [f32]) {
        if let (Wanted::Scores, Some(calibration)) = (wanted, self.calibration) {
            calibration.apply(answers);
            self.kernels.sigmoid(self.network.eps, answers);
        }
    }
}
