//! Lazy decay of the rows of W1, and of W2 where its rows are outputs: a row that no mini-batch touches is not written; when it is next read, all the decay that it
//! missed is applied at once.
//!
//! What a run of steps without a gradient does depends on the mode:
//!
//! - Decoupled decay is `|w| ← max(0, (1 − γ_s·l2)·|w| − γ_s·l1)` in each step s, so n steps in a row are one [`Shrink`], for any
//!   schedule of γ: with P_t = Π_{s≤t} (1 − γ_s·l2) and Q_t = Σ_{s≤t} γ_s·l1 / P_s, the steps after m up to t make
//!   `|w| ← max(0, |w|·P_t/P_m − P_t·(Q_t − Q_m))` (Lipton & Elkan, arXiv 1505.06449). P and Q are kept in f64 for every step
//!   since the last flush of all rows.
//! - Proximal decay divides by each weight's own D, which such steps leave as it is. With one rate, n steps have a closed form;
//!   without L2, they are one step with the sum of their rates; otherwise they are replayed from the log of rates.
//! - Coupled decay changes G in every step, so there is no closed form: the steps are replayed.

use super::codec::Codec;
use super::config::{DecayMode, DecayWhen, TrainConfig};
use crate::error::{Error, Result};
use crate::kernels::{Rates, Shrink};

/// The decay that each row has seen.
#[derive(Clone, Debug)]
pub(super) struct LazyDecay {
    log: Log,
    /// For each row the number of logged steps up to which it has decayed.
    seen: Vec<u32>,
}

/// What has to be known of each step since the flush. Sums and products begin with an entry for the flush itself.
#[derive(Clone, Debug)]
enum Log {
    /// Decoupled: P and Q.
    Products(Vec<(f64, f64)>),
    /// Proximal with one rate: the rate, and how many steps.
    Constant(f64, u32),
    /// Proximal without L2: the sum of γ.
    Sums(Vec<f64>),
    /// Proximal: γ.
    Rates(Vec<f64>),
    /// Coupled: γ.
    Replay(Vec<f64>),
}

/// The decay-only steps that a row has missed.
#[derive(Debug)]
pub(super) enum Missed<'a> {
    /// Decoupled.
    Shrink(Shrink),
    /// Proximal.
    Proximal(Rates<'a>),
    /// Coupled: a step without a gradient at each of these rates.
    Replay(&'a [f64]),
}

impl LazyDecay {
    /// The log is flushed when it reaches this length (16 MiB), or when P becomes small enough to cost digits.
    const LONGEST: usize = 1 << 20;
    const SMALLEST: f64 = 1e-12;
    /// A log to be replayed is flushed sooner. The steps cost the same whenever they are taken, but whoever looks at a training
    /// waits for all that the rows have missed.
    const LONGEST_REPLAY: usize = 1 << 10;

    /// `None` when rows do not decay between the steps that touch them.
    pub(super) fn new(config: &TrainConfig, rows: usize) -> Option<Self> {
        let lazy = config.decays() && config.decay_when == DecayWhen::EveryStep;
        let log = match config.decay {
            DecayMode::Decoupled => Log::Products(vec![(1.0, 0.0)]),
            DecayMode::Coupled => Log::Replay(Vec::new()),
            DecayMode::Prox if config.lr_decay == 0.0 => Log::Constant(config.lr, 0),
            DecayMode::Prox if config.l2 == 0.0 => Log::Sums(vec![0.0]),
            DecayMode::Prox => Log::Rates(Vec::new()),
        };
        lazy.then(|| LazyDecay { log, seen: vec![0; rows] })
    }

    /// Records the decay of a step that is about to be taken; rows of its mini-batch are then [`LazyDecay::touch`]ed.
    pub(super) fn advance(&mut self, lr: f64, l1: f64, l2: f64) {
        match &mut self.log {
            Log::Products(log) => {
                let (p, q) = log[log.len() - 1];
                let p = p * (1.0 - lr * l2);
                log.push((p, q + lr * l1 / p));
            }
            Log::Constant(_, steps) => *steps = steps.saturating_add(1),
            Log::Sums(log) => log.push(log[log.len() - 1] + lr),
            Log::Rates(log) | Log::Replay(log) => log.push(lr),
        }
    }

    /// Steps since the flush.
    fn now(&self) -> usize {
        match &self.log {
            Log::Products(log) => log.len() - 1,
            Log::Constant(_, steps) => *steps as usize,
            Log::Sums(log) => log.len() - 1,
            Log::Rates(log) | Log::Replay(log) => log.len(),
        }
    }

    /// Whether all rows should be caught up and the log started afresh.
    pub(super) fn wants_flush(&self) -> bool {
        match &self.log {
            Log::Products(log) => log.len() >= Self::LONGEST || log[log.len() - 1].0 < Self::SMALLEST,
            Log::Constant(..) | Log::Sums(_) => self.now() >= Self::LONGEST,
            Log::Rates(log) | Log::Replay(log) => log.len() >= Self::LONGEST_REPLAY,
        }
    }

    /// Whether catching up changes squared-gradient sums too.
    pub(super) fn replays(&self) -> bool {
        matches!(self.log, Log::Replay(_))
    }

    /// What `row` has missed, if anything.
    pub(super) fn missed(&self, row: usize) -> Option<Missed<'_>> {
        let (seen, now) = (self.seen[row] as usize, self.now());
        (seen < now).then(|| match &self.log {
            Log::Products(log) => {
                let ((p_seen, q_seen), (p, q)) = (log[seen], log[now]);
                Missed::Shrink(Shrink { factor: (p / p_seen) as f32, offset: (p * (q - q_seen)) as f32 })
            }
            Log::Constant(lr, _) => Missed::Proximal(Rates::Constant(*lr, (now - seen) as u32)),
            Log::Sums(log) => Missed::Proximal(Rates::Constant(log[now] - log[seen], 1)),
            Log::Rates(log) => Missed::Proximal(Rates::Varying(&log[seen..])),
            Log::Replay(log) => Missed::Replay(&log[seen..]),
        })
    }

    /// Writes or reads the log and the marks; its kind follows from the configuration.
    pub(super) fn visit(&mut self, codec: &mut dyn Codec) -> Result<()> {
        const PART: &str = "decay clocks";
        let is_rate = |x: f64| x.is_finite() && x >= 0.0;
        match &mut self.log {
            Log::Products(log) => codec.list(PART, log, |codec, (p, q)| {
                codec.f64(PART, p, |p| p > 0.0 && p <= 1.0)?;
                codec.f64(PART, q, is_rate)
            })?,
            Log::Constant(_, steps) => codec.u32(PART, steps, |_| true)?,
            Log::Sums(log) | Log::Rates(log) | Log::Replay(log) => {
                codec.list(PART, log, |codec, x| codec.f64(PART, x, is_rate))?
            }
        }
        let begins = match &self.log {
            Log::Products(log) => !log.is_empty(),
            Log::Sums(log) => log.is_sorted() && !log.is_empty(),
            Log::Constant(..) | Log::Rates(_) | Log::Replay(_) => true,
        };
        codec.words(PART, &mut self.seen)?;
        if begins && self.seen.iter().all(|seen| *seen as usize <= self.now()) {
            return Ok(());
        }
        Err(Error::checkpoint(PART, "steps in order, and no row ahead of them", "a row or a step out of order"))
    }

    /// Marks `row` as decayed up to the present step.
    pub(super) fn touch(&mut self, row: usize) {
        self.seen[row] = self.now() as u32;
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
        match &mut self.log {
            Log::Products(log) => log.truncate(1),
            Log::Sums(log) => log.truncate(1),
            Log::Constant(_, steps) => *steps = 0,
            Log::Rates(log) | Log::Replay(log) => log.clear(),
        }
        self.seen.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::codec::{Reader, Writer};
    use super::*;
    use crate::aligned::{Block, LANES};
    use crate::kernels::{Denominator, Kernels, ProximalSteps, Squares};

    #[test]
    fn catching_up_is_decaying_in_every_step() {
        let d = 0.5_f64;
        for (decay, l1, l2, lr_decay) in [
            (DecayMode::Decoupled, 0.01, 0.0, 0.0),
            (DecayMode::Decoupled, 0.0, 0.1, 0.0),
            (DecayMode::Decoupled, 0.003, 0.05, 0.0),
            (DecayMode::Decoupled, 0.003, 0.05, 0.2),
            (DecayMode::Prox, 0.01, 0.0, 0.0),
            (DecayMode::Prox, 0.0, 0.1, 0.0),
            (DecayMode::Prox, 0.003, 0.05, 0.0),
            (DecayMode::Prox, 0.003, 0.0, 0.2),
            (DecayMode::Prox, 0.0, 0.1, 0.2),
            (DecayMode::Prox, 0.003, 0.05, 0.2),
            (DecayMode::Prox, 0.003, 0.05, 1.0),
        ] {
            let config = TrainConfig { decay, l1, l2, lr_decay, lr: 0.1, ..TrainConfig::default() };
            for skipped in [1, 2, 17, 400] {
                let mut lazy = LazyDecay::new(&config, 1).unwrap();
                for w in [0.7_f64, -0.02, 0.0] {
                    let mut dense = w.abs();
                    for step in 1..=skipped {
                        let lr = config.lr_at(step);
                        lazy.advance(lr, l1, l2);
                        dense = match decay {
                            DecayMode::Prox => (dense - lr * l1 / d).max(0.0) / (1.0 + lr * l2 / d),
                            _ => (dense * (1.0 - lr * l2) - lr * l1).max(0.0),
                        };
                    }
                    let mut weights = [Block([w as f32; LANES])];
                    match lazy.missed(0).unwrap() {
                        Missed::Shrink(shrink) => Kernels::best().shrink(&shrink, &mut weights),
                        Missed::Proximal(rates) => {
                            let denominator = Denominator { inside: 0.0, outside: 0.25 };
                            let steps = ProximalSteps { l1, l2, denominator, rates };
                            Kernels::best().proximal(&steps, &mut weights, &Squares::Same(0.0625)).unwrap();
                        }
                        Missed::Replay(_) => unreachable!(),
                    }
                    lazy.touch(0);
                    let caught_up = f64::from(weights[0].0[5]);
                    assert!((caught_up - dense.copysign(w)).abs() < 1e-6, "{caught_up} against {dense}: {config:?}");
                    assert!(lazy.missed(0).is_none());
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

    #[test]
    fn a_log_is_flushed_when_it_is_long_or_its_products_are_small() {
        let longest = LazyDecay::LONGEST;
        for (decay, lr_decay, l1, l2, steps) in [
            (DecayMode::Decoupled, 0.0, 0.0, 1.0, 40), // 2⁻⁴⁰ < 1e-12 < 2⁻³⁹
            (DecayMode::Decoupled, 0.0, 0.1, 0.0, longest - 1),
            (DecayMode::Prox, 0.0, 0.1, 0.0, longest),
            (DecayMode::Prox, 0.5, 0.1, 0.0, longest),
            (DecayMode::Prox, 0.5, 0.1, 0.1, LazyDecay::LONGEST_REPLAY),
            (DecayMode::Coupled, 0.0, 0.1, 0.0, LazyDecay::LONGEST_REPLAY),
        ] {
            let config = TrainConfig { decay, l1, l2, lr_decay, ..TrainConfig::default() };
            let mut lazy = LazyDecay::new(&config, 2).unwrap();
            assert_eq!(lazy.replays(), decay == DecayMode::Coupled);
            let step = |lazy: &mut LazyDecay| {
                lazy.advance(0.5, l1, l2);
                lazy.wants_flush()
            };
            let taken = 1 + (0..).take_while(|_| !step(&mut lazy)).count();
            assert_eq!(taken, steps, "{config:?}");
            lazy.touch(1);
            assert!(lazy.missed(0).is_some() && lazy.missed(1).is_none());
            assert_eq!((lazy.seen(0), lazy.seen(1) as usize), (0, steps));
            lazy.untouch(1, 3);
            assert_eq!(lazy.seen(1), 3);
            lazy.restart();
            assert!(!lazy.wants_flush() && lazy.missed(0).is_none() && lazy.seen(1) == 0);
        }
    }

    #[test]
    fn products_of_the_smallest_size_are_kept_and_small_rates_lose_no_digits() {
        let decays = |decay, lr_decay| TrainConfig { decay, l1: 1.0, lr_decay, ..TrainConfig::default() };
        for config in [decays(DecayMode::Decoupled, 0.0), decays(DecayMode::Prox, 0.5)] {
            let mut lazy = LazyDecay::new(&config, 1).unwrap();
            lazy.advance(1e-12, config.l1, config.l2);
            let missed = match lazy.missed(0).unwrap() {
                Missed::Shrink(shrink) => f64::from(shrink.offset),
                Missed::Proximal(Rates::Constant(rate, 1)) => rate,
                other => panic!("{other:?}"),
            };
            assert!((missed / 1e-12 - 1.0).abs() < 1e-6, "{missed}: {config:?}");
        }
        let after = |p| LazyDecay { log: Log::Products(vec![(1.0, 0.0), (p, 0.0)]), seen: Vec::new() };
        assert!(!after(LazyDecay::SMALLEST).wants_flush() && after(LazyDecay::SMALLEST.next_down()).wants_flush());
    }

    /// The bytes of a state, up to what no reader takes.
    fn bytes_of(lazy: &LazyDecay) -> Vec<u8> {
        let mut writer = Writer::new(Path::new("memory"), Vec::new());
        let _ = lazy.clone().visit(&mut writer);
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_what_cannot_be_is_refused() {
        let config = |decay, lr_decay, l2| TrainConfig { decay, l1: 0.1, l2, lr_decay, ..TrainConfig::default() };
        let read = |config: &TrainConfig, lazy: &LazyDecay| {
            let bytes = bytes_of(lazy);
            let mut found = LazyDecay::new(config, lazy.seen.len()).unwrap();
            let done = found.visit(&mut Reader::new(&bytes).unwrap());
            assert!(done.is_err() || bytes_of(&found) == bytes);
            done.map(drop).map_err(|error| error.to_string())
        };
        let after = |config: &TrainConfig| {
            let mut lazy = LazyDecay::new(config, 2).unwrap();
            (0..3).for_each(|_| lazy.advance(0.5, config.l1, config.l2));
            lazy.touch(1);
            lazy
        };
        let (decoupled, constant, sums) =
            (config(DecayMode::Decoupled, 0.0, 0.1), config(DecayMode::Prox, 0.0, 0.1), config(DecayMode::Prox, 0.5, 0.0));
        let (rates, replay) = (config(DecayMode::Prox, 0.5, 0.1), config(DecayMode::Coupled, 0.0, 0.1));
        for config in [&decoupled, &constant, &sums, &rates, &replay] {
            read(config, &after(config)).unwrap();
            let mut ahead = after(config);
            ahead.seen[0] = 4;
            assert!(read(config, &ahead).unwrap_err().contains("no row ahead"));
        }
        let refused = |config: &TrainConfig, log| read(config, &LazyDecay { log, seen: vec![0, 0] }).unwrap_err();
        for log in
            [vec![], vec![(0.0, 0.0)], vec![(1.5, 0.0)], vec![(f64::NAN, 0.0)], vec![(1.0, -1.0)], vec![(1.0, f64::INFINITY)]]
        {
            refused(&decoupled, Log::Products(log));
        }
        for log in [vec![], vec![0.0, 0.5, 0.4], vec![0.0, -0.1], vec![0.0, f64::NAN]] {
            refused(&sums, Log::Sums(log));
        }
        refused(&rates, Log::Rates(vec![f64::INFINITY]));
        refused(&replay, Log::Replay(vec![-0.5]));
    }
}
