//! Warm start: training goes on from a model, to which keywords and tags may be added.

use std::sync::Arc;

use super::config::TrainConfig;
use super::objective::Objective;
use super::parameters::Statistics;
use super::trainer::Trainer;
use crate::aligned::{as_floats, as_floats_mut};
use crate::error::{Error, Result};
use crate::format::Model;
use crate::tags::{Tag, Tags};
use crate::vocab::Vocabulary;
use crate::weights::WeightType;

impl Trainer {
    /// A trainer whose first keywords and tags are those of `model`, in its order, with its weights. Weights of the others are as
    /// [`Trainer::new`] makes them. Before the first step the model's tags score as they do in the model, to the bit, on its keywords.
    ///
    /// AdaGrad's sums are not in a model: they begin anew.
    ///
    /// # Errors
    /// As [`Trainer::new`]; [`Error::Config`] if units, nonlinearity or clamp are not those of the model, if other keywords or tags
    /// come first, if the model is a bank of several nets or its weights are `i8`, or if the objective is not a tagger's or an
    /// autoencoder is to come first.
    pub fn warm(
        config: TrainConfig,
        model: &Model,
        vocabulary: impl Into<Arc<Vocabulary>>,
        tags: Tags,
        statistics: &Statistics,
    ) -> Result<Self> {
        if config.objective != Objective::Tagger {
            let found = "another objective".to_owned();
            return Err(Error::Config { option: "init", expected: "the objective of taggers beside it", found });
        }
        if let Some(pretrain) = config.pretrain {
            let expected = "0 where training begins from a model, whose first layer stays";
            return Err(Error::Config { option: "pretrain", expected, found: pretrain.epochs.to_string() });
        }
        let layout = Some(model.network().shape.layout());
        let mut trainer = Trainer::with_layout(config, vocabulary.into(), tags, statistics, layout)?;
        trainer.adopt(model)?;
        Ok(trainer)
    }

    /// Takes over the weights of a model, whose keywords and tags are the first here.
    pub(super) fn adopt(&mut self, model: &Model) -> Result<()> {
        let (old, new) = (model.network(), &self.network);
        let same = |option, expected, is_same: bool, found: String| {
            if is_same { Ok(()) } else { Err(Error::Config { option, expected, found }) }
        };
        let [old_group] = old.shape.groups() else {
            let found = format!("a bank of {}", old.shape.groups().len());
            return Err(Error::Config { option: "init", expected: "a model of one net", found });
        };
        same(
            "hidden",
            "as many hidden units as the model to begin from has",
            old.shape.hidden() == new.shape.hidden(),
            new.shape.hidden().to_string(),
        )?;
        same("activation", "that of the model to begin from", old.activation == new.activation, new.activation.to_string())?;
        same("pooling", "that of the model to begin from", old.pooling == new.pooling, new.pooling.to_string())?;
        same("eps", "that of the model to begin from", old.eps.to_bits() == new.eps.to_bits(), new.eps.to_string())?;
        let keywords = model.vocabulary().iter().map(Some).zip((0..).map(|id| self.vocabulary.keyword(id)));
        for (model, here) in keywords {
            same("init", "its keywords before all others", model == here, format!("{here:?} for {model:?}"))?;
        }
        let is_named_alike = |(old, new): (&Tag, &Tag)| (old.id, &old.name) == (new.id, &new.name);
        let is_same = model.tags().len() <= self.tags.len() && model.tags().iter().zip(&self.tags).all(is_named_alike);
        same("init", "its tags before all others", is_same, format!("{} tags, or others", self.tags.len()))?;

        // Sums of integers are not those of the floats that they stand for.
        let integers = [model.weights().w1, model.weights().w2].iter().any(|w| w.weight_type() == WeightType::I8);
        same("init", "a model whose weights are not rounded to i8: the one it was made from", !integers, "i8".to_owned())?;
        let floats = model.weights().to_f32(&old.shape)?;
        let (from, to) = (floats.view(), &mut self.state.parameters);
        to.w1[..from.w1.len()].copy_from_slice(from.w1);
        to.b1.copy_from_slice(from.b1);
        let new_group = &new.shape.groups()[0];
        for tag in old_group.tags.clone() {
            for unit in 0..old.shape.hidden() {
                as_floats_mut(&mut to.w2)[new.shape.w2_index(new_group, unit, tag)] =
                    as_floats(from.w2)[old.shape.w2_index(old_group, unit, tag)];
            }
            as_floats_mut(&mut to.b2)[new.shape.slot(tag)] = as_floats(from.b2)[old.shape.slot(tag)];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::{Conversion, convert};
    use crate::format::Provenance;
    use crate::tagger::Tagger;
    use crate::train::{Anchor, Autoencoder, PairWeights, Pretrain, Sample, Targets};

    fn names(prefix: &str, count: usize) -> Vec<String> {
        (0..count).map(|n| format!("{prefix}{n}")).collect()
    }

    fn scores(model: Model, ids: &[u32]) -> Vec<u32> {
        let tagger = Tagger::new(model);
        let mut scores = vec![0.0; tagger.tags().len()];
        tagger.score(ids, &mut tagger.scratch(), &mut scores).unwrap();
        scores.into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn rounded_models_go_on_where_floats_stand_for_them() {
        let config = TrainConfig { hidden: 19, ..TrainConfig::default() };
        let statistics = Statistics { samples: 9, mean_keywords: 2.0, positives: vec![3; 3] };
        let vocabulary = || Vocabulary::from_keywords(names("k", 30)).unwrap();
        let tags = Tags::from_names(names("t", 3)).unwrap();
        let trained = Trainer::new(config.clone(), vocabulary(), tags.clone(), &statistics).unwrap();
        let trained = trained.model(Provenance::new()).unwrap();
        for (weights, goes_on) in [("f16", true), ("bf16", true), ("i8", false)] {
            let how = Conversion { weights: Some(weights.parse().unwrap()), saturate: false, prune: false };
            let model = convert::<Vec<u32>>(&trained, how, []).unwrap().model;
            match Trainer::warm(config.clone(), &model, vocabulary(), tags.clone(), &statistics) {
                Ok(trainer) => {
                    assert!(goes_on);
                    let warm = trainer.model(Provenance::new()).unwrap();
                    assert_eq!(scores(warm, &[1, 7]), scores(model, &[1, 7]), "{weights}");
                }
                Err(error) => assert!(!goes_on && error.to_string().contains("i8"), "{error}"),
            }
        }
    }

    #[test]
    fn old_tags_score_to_the_bit_as_before_the_first_step() {
        // From a few tags, stored row by row, to many; and within panels.
        for (old_tags, new_tags) in [(1, 1), (3, 9), (70, 140)] {
            let config = TrainConfig { hidden: 19, ..TrainConfig::default() };
            let statistics = |tags| Statistics { samples: 9, mean_keywords: 2.0, positives: vec![3; tags] };
            let vocabulary = |count| Vocabulary::from_keywords(names("k", count)).unwrap();
            let mut tags = Tags::from_names(names("t", old_tags)).unwrap();
            tags.set_threshold(0, 0.25).unwrap();
            let mut old = Trainer::new(config.clone(), vocabulary(30), tags.clone(), &statistics(old_tags)).unwrap();
            let sample =
                |index| Sample { index, keywords: &[1, 7, 20], targets: Targets::Tags(&[0]), weights: PairWeights::All(1.0) };
            for index in 0..20 {
                old.step(&[sample(index)]).unwrap();
            }
            let old = old.model(Provenance::new()).unwrap();
            for name in names("u", new_tags - old_tags) {
                tags.push(name).unwrap();
            }
            let warm = |vocabulary, tags: &Tags, config: &TrainConfig| {
                Trainer::warm(config.clone(), &old, vocabulary, tags.clone(), &statistics(tags.len()))
            };
            let mut trainer = warm(vocabulary(50), &tags, &config).unwrap();
            let new = trainer.model(Provenance::new()).unwrap();
            assert_eq!(new.tags().iter().next().unwrap().threshold, 0.25);
            for ids in [&[][..], &[1, 7, 20], &[0, 3, 29]] {
                let old = Model::from_bytes(old.bytes()).unwrap();
                let new = Model::from_bytes(new.bytes()).unwrap();
                assert_eq!(scores(new, ids)[..old_tags], scores(old, ids), "{old_tags} tags, {ids:?}");
            }
            trainer.step(&[Sample { keywords: &[1, 45], ..sample(0) }]).unwrap();

            let refused = |result: Result<Trainer>| assert!(matches!(result.err(), Some(Error::Config { .. })));
            refused(warm(vocabulary(29), &tags, &config));
            refused(warm(Vocabulary::from_keywords(names("x", 50)).unwrap(), &tags, &config));
            refused(warm(vocabulary(50), &Tags::from_names(names("x", new_tags)).unwrap(), &config));
            refused(warm(vocabulary(50), &tags, &TrainConfig { hidden: 18, ..config.clone() }));
            refused(warm(vocabulary(50), &tags, &TrainConfig { eps: 1e-3, ..config.clone() }));
            let pretrain = Some(Pretrain { epochs: 1, autoencoder: Autoencoder::default() });
            refused(warm(vocabulary(50), &tags, &TrainConfig { pretrain, ..config.clone() }));
            let objective = Objective::Anchor(Anchor::default());
            refused(warm(vocabulary(50), &tags, &TrainConfig { objective, ..config.clone() }));
        }
    }
}
