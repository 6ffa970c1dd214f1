//! Which units of a layer a sample goes without in a step.

use crate::rng::{DropoutLayer, Philox, dropout_threshold};

/// Dropout of one layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dropout {
    rng: Philox,
    layer: DropoutLayer,
    threshold: u32,
    /// On units that are kept.
    pub(super) factor: f32,
}

impl Dropout {
    /// Dropout at `rate`; none at 0.
    pub(super) fn new(seed: u64, layer: DropoutLayer, rate: f64) -> Option<Self> {
        let factor = (1.0 / (1.0 - rate)) as f32;
        (rate > 0.0).then(|| Dropout { rng: Philox::new(seed), layer, threshold: dropout_threshold(rate), factor })
    }

    /// Decides for some units of sample `sample` in step `step`; see [`Philox::dropout`] for the masks.
    pub(super) fn decide(&self, sample: u32, step: u64, units: &[u32], masks: &mut [u32]) {
        // Only the low word of the step names a decision.
        self.rng.dropout(self.layer, sample, step as u32, self.threshold, units, masks);
    }
}
