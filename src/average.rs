//! Several models as one: logits averaged.
//!
//! The mean of the logits of N networks of one shape *is* a network: their hidden units side by side, all output weights divided by
//! N. So an average needs no code to be served, and its scores are the same bits everywhere, as those of any model. Networks that
//! were trained alike but for their seeds err in different ways, and less together.
//!
//! ```
//! # fn main() -> tagomatic::Result<()> {
//! use tagomatic::{Model, average::average};
//! # let [first, second] = [Model::open("models/movies.tagm")?, Model::open("models/movies.tagm")?];
//! let both = average(&[first, second])?;
//! assert_eq!(both.provenance()?.get("fit.average"), Some("2"));
//! # Ok(())
//! # }
//! ```

use crate::aligned::{Block, LANES, as_floats, as_floats_mut};
use crate::error::{Error, Result};
use crate::format::{Extensions, Model, ModelParts};
use crate::network::{Network, Shape, Weights};

/// The model whose logits are the means of those of `models`, up to rounding. It has the first one's thresholds and provenance, where
/// `fit.average` tells their number.
///
/// # Errors
/// [`Error::NoData`] without models; [`Error::Config`] unless they have the same sizes, units, vocabulary and tags, and nothing that
/// cannot be averaged, such as a calibration; [`Error::TooLarge`] for more hidden units than a network can have.
pub fn average(models: &[Model]) -> Result<Model> {
    let Some(first) = models.first() else {
        return Err(Error::NoData { what: "no models to average".to_owned(), cure: "give at least one" });
    };
    models.iter().try_for_each(|model| check_alike(first, model))?;
    let one = &first.network().shape;
    let too_large = || Error::TooLarge { what: "hidden units", limit: Shape::MAX_DIMENSION as u64 };
    let hidden = one.hidden().checked_mul(models.len()).ok_or_else(too_large)?;
    let group_tags: Vec<usize> = one.groups().iter().map(|group| group.tags.len()).collect();
    let shape = Shape::new(one.keywords(), hidden, &group_tags, one.layout())?;

    let joined = Joined::new(models, one, &shape)?;
    let mut provenance = first.provenance()?;
    provenance.insert("fit.average", models.len().to_string())?;
    ModelParts {
        network: &Network { shape, ..first.network().clone() },
        weights: Weights { w1: &joined.w1, b1: &joined.b1, w2: &joined.w2, b2: &joined.b2 }.into(),
        vocabulary: first.vocabulary(),
        tags: first.tags(),
        provenance: &provenance,
        extensions: &Extensions::default(),
    }
    .to_model()
}

/// Fails unless `model`, which may be the first one itself, can be averaged with the first.
fn check_alike(first: &Model, model: &Model) -> Result<()> {
    let tags = |model: &Model| model.tags().iter().map(|tag| tag.name.clone()).collect::<Vec<_>>();
    let found = if first.network() != model.network() {
        "other sizes or units"
    } else if !first.vocabulary().iter().eq(model.vocabulary().iter()) {
        "another vocabulary"
    } else if tags(first) != tags(model) {
        "other tags"
    } else if has_more(model) {
        "sections that cannot be averaged"
    } else {
        return Ok(());
    };
    Err(Error::Config { option: "average", expected: "models trained alike", found: found.to_owned() })
}

/// Whether a model has a section beside the distribution of its logits, which is not that of the average and left behind.
fn has_more(model: &Model) -> bool {
    let Extensions { calibration, logit_error, scores: _ } = model.extensions();
    calibration.is_some() || logit_error.is_some()
}

/// Parameters of models of one shape, side by side.
struct Joined {
    w1: Vec<Block>,
    b1: Vec<Block>,
    w2: Vec<Block>,
    b2: Vec<Block>,
}

impl Joined {
    fn new(models: &[Model], one: &Shape, wide: &Shape) -> Result<Self> {
        let mut joined = Joined {
            w1: vec![Block::ZERO; wide.w1_blocks()],
            b1: vec![Block::ZERO; wide.row_blocks()],
            w2: vec![Block::ZERO; wide.w2_blocks()],
            b2: vec![Block::ZERO; wide.slot_blocks()],
        };
        let (hidden, count) = (one.hidden(), models.len() as f32);
        // At least 1, for networks without hidden units.
        let [row, wide_row] = [one, wide].map(|shape| (shape.row_blocks() * LANES).max(1));
        for (member, model) in models.iter().enumerate() {
            let weights = model.weights().to_f32(one)?;
            let Weights { w1, b1, w2, b2 } = weights.view();
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
#[cfg(feature = "train")]
mod tests {
    use super::*;
    use crate::calibration::{Calibration, Curve};
    use crate::format::Provenance;
    use crate::tagger::Tagger;
    use crate::tags::Tags;
    use crate::train::{Statistics, TrainConfig, Trainer};
    use crate::vocab::Vocabulary;

    fn model(seed: u64, hidden: usize, tags: usize, keyword: &str) -> Model {
        let names = |prefix: &str, count| (0..count).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
        let vocabulary = Vocabulary::from_keywords(names(keyword, 9)).unwrap();
        let config = TrainConfig { hidden, seed, initial_scale: 1.0, ..TrainConfig::default() };
        let statistics = Statistics { samples: 10, mean_keywords: 3.0, positives: (0..tags as u64).map(|t| t % 9).collect() };
        let trainer = Trainer::new(config, vocabulary, Tags::from_names(names("t", tags)).unwrap(), &statistics).unwrap();
        trainer.model(Provenance::new()).unwrap()
    }

    fn logits(model: &Model, ids: &[u32]) -> Vec<f32> {
        let tagger = Tagger::new(Model::from_bytes(model.bytes()).unwrap());
        let mut logits = vec![0.0; tagger.tags().len()];
        tagger.logits(ids, &mut tagger.scratch(), &mut logits).unwrap();
        logits
    }

    #[test]
    fn logits_are_means() {
        for (hidden, tags) in [(0, 3), (5, 3), (16, 9), (17, 70)] {
            let models: Vec<Model> = (1..=3).map(|seed| model(seed, hidden, tags, "k")).collect();
            let average = average(&models).unwrap();
            assert_eq!(average.network().shape.hidden(), 3 * hidden);
            assert_eq!(average.provenance().unwrap().get("fit.average"), Some("3"));
            for ids in [&[][..], &[0, 4, 8], &[1, 2, 3, 5]] {
                let each: Vec<Vec<f32>> = models.iter().map(|model| logits(model, ids)).collect();
                for (tag, found) in logits(&average, ids).into_iter().enumerate() {
                    let mean = each.iter().map(|logits| f64::from(logits[tag])).sum::<f64>() / 3.0;
                    assert!((f64::from(found) - mean).abs() < 1e-5, "{hidden} {tags}: {found} {mean}");
                }
            }
        }
    }

    #[test]
    fn what_was_not_trained_alike_is_refused() {
        let found = |models: &[Model]| match average(models) {
            Err(Error::Config { option: "average", found, .. }) => found,
            other => panic!("{other:?}"),
        };
        let refused = |other: Model| found(&[model(1, 4, 3, "k"), other]);
        assert_eq!(refused(model(1, 5, 3, "k")), "other sizes or units");
        assert_eq!(refused(model(1, 4, 3, "q")), "another vocabulary");
        let calibrated = || {
            let curves = vec![Curve::linear(0.5, 0.0); 3];
            let extensions = Extensions { calibration: Some(Calibration::new(&curves).unwrap()), ..Extensions::default() };
            let model = model(1, 4, 3, "k");
            ModelParts { extensions: &extensions, ..model.parts(&Provenance::new()) }.to_model().unwrap()
        };
        for models in [vec![calibrated()], vec![calibrated(), model(1, 4, 3, "k")], vec![model(1, 4, 3, "k"), calibrated()]] {
            assert_eq!(found(&models), "sections that cannot be averaged");
        }
        assert!(matches!(average(&[]), Err(Error::NoData { .. })));
    }
}
