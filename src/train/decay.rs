//! Lazy decay of the rows of W1: a row that no mini-batch touches is not written; when it is next read, all the decay that it
//! missed is applied at once.
//!
//! Decoupled decay is `|w| ← max(0, (1 − γ_s·l2)·|w| − γ_s·l1)` in each step s, so n steps in a row are one [`Shrink`], for any
//! schedule of γ: with P_t = Π_{s≤t} (1 − γ_s·l2) and Q_t = Σ_{s≤t} γ_s·l1 / P_s, the steps after m up to t make
//! `|w| ← max(0, |w|·P_t/P_m − P_t·(Q_t − Q_m))` (Lipton & Elkan, arXiv 1505.06449). P and Q are kept in f64 for every step since
//! the last flush of all rows.

use super::config::{DecayWhen, TrainConfig};
use crate::kernels::Shrink;

/// The decay that each row has seen.
#[derive(Clone, Debug)]
pub(super) struct LazyDecay {
    /// P and Q after each step since the flush; the first entry is the flush itself.
    log: Vec<(f64, f64)>,
    /// For each row the entry of `log` up to which it has decayed.
    seen: Vec<u32>,
}

impl LazyDecay {
    /// The log is flushed when it reaches this length (16 MiB), or when P becomes small enough to cost digits.
    const LONGEST: usize = 1 << 20;
    const SMALLEST: f64 = 1e-12;

    /// `None` when rows do not decay between the steps that touch them.
    pub(super) fn new(config: &TrainConfig, rows: usize) -> Option<Self> {
        let lazy = (config.l1 > 0.0 || config.l2 > 0.0) && config.decay_when == DecayWhen::EveryStep;
        lazy.then(|| LazyDecay { log: vec![(1.0, 0.0)], seen: vec![0; rows] })
    }

    /// Records the decay of a step that is about to be taken; rows of its mini-batch are then [`LazyDecay::touch`]ed.
    pub(super) fn advance(&mut self, lr: f64, l1: f64, l2: f64) {
        let (p, q) = self.log[self.log.len() - 1];
        let p = p * (1.0 - lr * l2);
        self.log.push((p, q + lr * l1 / p));
    }

    /// Whether all rows should be caught up and the log started afresh.
    pub(super) fn wants_flush(&self) -> bool {
        self.log.len() >= Self::LONGEST || self.log[self.log.len() - 1].0 < Self::SMALLEST
    }

    /// What `row` has missed, if anything.
    pub(super) fn missed(&self, row: usize) -> Option<Shrink> {
        let (seen, now) = (self.seen[row] as usize, self.log.len() - 1);
        (seen < now).then(|| {
            let ((p_seen, q_seen), (p, q)) = (self.log[seen], self.log[now]);
            Shrink { factor: (p / p_seen) as f32, offset: (p * (q - q_seen)) as f32 }
        })
    }

    /// Marks `row` as decayed up to the present step.
    pub(super) fn touch(&mut self, row: usize) {
        self.seen[row] = (self.log.len() - 1) as u32;
    }

    /// The mark of a row.
    pub(super) fn seen(&self, row: usize) -> u32 {
        self.seen[row]
    }

    /// Sets a mark back to what [`LazyDecay::seen`] said.
    pub(super) fn untouch(&mut self, row: usize, seen: u32) {
        self.seen[row] = seen;
    }

    /// Starts afresh: every row counts as caught up.
    pub(super) fn restart(&mut self) {
        self.log.clear();
        self.log.push((1.0, 0.0));
        self.seen.fill(0);
    }
}

/// The decay of one step.
pub(super) fn step_shrink(lr: f64, l1: f64, l2: f64) -> Shrink {
    Shrink { factor: (1.0 - lr * l2) as f32, offset: (lr * l1) as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catching_up_is_decaying_in_every_step() {
        for (l1, l2, lr_decay) in [(0.01, 0.0, 0.0), (0.0, 0.1, 0.0), (0.003, 0.05, 0.0), (0.003, 0.05, 0.2)] {
            let config = TrainConfig { l1, l2, lr_decay, lr: 0.1, ..TrainConfig::default() };
            for skipped in [1, 2, 17, 400] {
                let mut lazy = LazyDecay::new(&config, 1).unwrap();
                for w in [0.7_f64, -0.02, 0.0] {
                    let mut dense = w.abs();
                    for step in 1..=skipped {
                        let lr = config.lr_at(step);
                        lazy.advance(lr, l1, l2);
                        dense = (dense * (1.0 - lr * l2) - lr * l1).max(0.0);
                    }
                    let shrink = lazy.missed(0).unwrap();
                    lazy.touch(0);
                    let caught_up = (w.abs() * f64::from(shrink.factor) - f64::from(shrink.offset)).max(0.0);
                    assert!((caught_up - dense).abs() < 1e-6, "{caught_up} against {dense}");
                    assert_eq!(lazy.missed(0), None);
                    lazy.restart();
                }
            }
        }
    }

    #[test]
    fn rows_that_do_not_decay_between_steps_need_no_clock() {
        let touched = TrainConfig { l2: 0.1, decay_when: DecayWhen::Touched, ..TrainConfig::default() };
        assert!(LazyDecay::new(&touched, 3).is_none());
        assert!(LazyDecay::new(&TrainConfig::default(), 3).is_none());
    }
}
