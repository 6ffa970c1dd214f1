//! Several networks as one: logits averaged.
//!
//! The mean of the logits of N networks of one shape *is* a network: their hidden units side by side, all output rows divided by N.
//! So it needs no code to be served, and its scores are the same bits everywhere, as those of any network.

use super::config::TrainConfig;
use super::parameters::{Parameters, Statistics};
use super::trainer::Trainer;
use crate::aligned::{LANES, as_floats, as_floats_mut};
use crate::error::{Error, Result};
use crate::network::{Shape, Weights};

/// Networks to be averaged.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Of each network what is served.
    parameters: Vec<Parameters>,
}

impl Members {
    /// Adds the present network of `trainer`; of all members it has the same shape.
    pub(super) fn push(&mut self, trainer: &Trainer) -> Result<()> {
        let mut parameters = trainer.snapshot();
        parameters.b2 = trainer.served_b2();
        if let Some(first) = self.parameters.first() {
            Error::check_length("W1 blocks of a network to average", first.w1.len(), parameters.w1.len())?;
            Error::check_length("W2 blocks of a network to average", first.w2.len(), parameters.w2.len())?;
        }
        self.parameters.push(parameters);
        Ok(())
    }

    /// One network for all members, in a trainer restarted from `member`, with `config` but for the number of hidden units.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more hidden units than a network can have.
    pub(super) fn average(&self, member: &Trainer, config: TrainConfig, statistics: &Statistics) -> Result<Trainer> {
        let shape = &member.network.shape;
        let hidden = shape.hidden().checked_mul(self.parameters.len());
        let hidden = hidden.ok_or(Error::TooLarge { what: "hidden units", limit: Shape::MAX_DIMENSION as u64 })?;
        let config = TrainConfig { hidden, average: 1, ..config };
        let mut trainer = member.restarted(config, statistics)?;
        let joined = self.join(shape, &trainer.network.shape)?;
        trainer.set_weights(joined.weights())?;
        Ok(trainer)
    }

    /// Parameters of shape `one` each become parameters of shape `wide`.
    fn join(&self, one: &Shape, wide: &Shape) -> Result<Parameters> {
        let (hidden, count) = (one.hidden(), self.parameters.len() as f32);
        let mut joined = Parameters::filled(wide, 0.0)?;
        // At least 1, for networks without hidden units.
        let [row, wide_row] = [one, wide].map(|shape| (shape.row_blocks() * LANES).max(1));
        for (member, parameters) in self.parameters.iter().enumerate() {
            let Weights { w1, b1, w2, b2 } = parameters.weights();
            for (from, to) in one.groups().iter().zip(wide.groups()) {
                let (first, place) = (from.hidden.start * LANES, to.hidden.start * LANES + member * hidden);
                let rows = as_floats(w1).chunks_exact(row).zip(as_floats_mut(&mut joined.w1).chunks_exact_mut(wide_row));
                let bias = (as_floats(b1), as_floats_mut(&mut joined.b1));
                for (from, to) in rows.chain([bias]) {
                    to[place..place + hidden].copy_from_slice(&from[first..first + hidden]);
                }
                for unit in 0..hidden {
                    for tag in 0..from.tags.len() {
                        let weight = as_floats(w2)[one.w2_index(from, unit, tag)];
                        as_floats_mut(&mut joined.w2)[wide.w2_index(to, member * hidden + unit, tag)] = weight / count;
                    }
                }
            }
            for (sum, b2) in as_floats_mut(&mut joined.b2).iter_mut().zip(as_floats(b2)) {
                *sum += b2 / count;
            }
        }
        Ok(joined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Provenance;
    use crate::tagger::Tagger;
    use crate::tags::Tags;
    use crate::vocab::Vocabulary;

    fn member(seed: u64, hidden: usize, tags: usize) -> Trainer {
        let names = |prefix: &str, count| (0..count).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
        let vocabulary = Vocabulary::from_keywords(names("k", 9)).unwrap();
        let config = TrainConfig { hidden, seed, initial_scale: 1.0, ..TrainConfig::default() };
        let statistics = Statistics { samples: 10, mean_keywords: 3.0, positives: (0..tags as u64).map(|t| t % 9).collect() };
        Trainer::new(config, vocabulary, Tags::from_names(names("t", tags)).unwrap(), &statistics).unwrap()
    }

    fn logits(trainer: &Trainer, ids: &[u32]) -> Vec<f32> {
        let tagger = Tagger::new(trainer.model(Provenance::new()).unwrap());
        let mut logits = vec![0.0; tagger.tags().len()];
        tagger.logits(ids, &mut tagger.scratch(), &mut logits).unwrap();
        logits
    }

    #[test]
    fn logits_are_the_means_of_the_members() {
        for (hidden, tags) in [(0, 3), (5, 3), (16, 9), (17, 70)] {
            let trainers: Vec<Trainer> = (1..=3).map(|seed| member(seed, hidden, tags)).collect();
            let mut members = Members::default();
            trainers.iter().for_each(|trainer| members.push(trainer).unwrap());
            let statistics = Statistics { samples: 10, mean_keywords: 3.0, positives: vec![1; tags] };
            let average = members.average(&trainers[0], trainers[0].config.clone(), &statistics).unwrap();
            assert_eq!(average.network.shape.hidden(), 3 * hidden);
            for ids in [&[][..], &[0, 4, 8], &[1, 2, 3, 5]] {
                let each: Vec<Vec<f32>> = trainers.iter().map(|trainer| logits(trainer, ids)).collect();
                for (tag, found) in logits(&average, ids).into_iter().enumerate() {
                    let mean = each.iter().map(|logits| f64::from(logits[tag])).sum::<f64>() / 3.0;
                    assert!((f64::from(found) - mean).abs() < 1e-5, "{hidden} {tags}: {found} {mean}");
                }
            }
        }
    }

    #[test]
    fn members_of_other_shapes_are_refused() {
        let mut members = Members::default();
        members.push(&member(1, 16, 9)).unwrap();
        assert!(matches!(members.push(&member(1, 17, 9)), Err(Error::Length { .. })));
        assert!(matches!(members.push(&member(1, 16, 20)), Err(Error::Length { .. })));
    }
}
