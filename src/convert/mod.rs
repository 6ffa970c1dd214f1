//! From one form of a model to another: weights rounded to a narrower type, and what adds nothing pruned.
//!
//! ```
//! # fn narrow(model: &tagomatic::Model) -> tagomatic::Result<()> {
//! use tagomatic::convert::{Conversion, convert};
//! use tagomatic::weights::WeightType;
//!
//! let how = Conversion { weights: Some(WeightType::I8), ..Conversion::default() };
//! let converted = convert(model, how, [[0; 0]; 0])?;
//! println!("no logit moved by more than {:?}", converted.logit_error.map(|error| error.measured));
//! # Ok(())
//! # }
//! ```
//!
//! Provenance of a converted model:
//!
//! | key | value |
//! | --- | --- |
//! | `convert.weights` | type that the weights were rounded to, [`WeightType`] |
//! | `convert.from` | type before |
//! | `convert.saturated` | weights that were held to the type's largest number |
//! | `convert.pruned_units` | hidden units that were removed, of all groups |
//! | `convert.pruned_keywords` | keywords that were removed |

mod bound;
mod prune;
mod round;

use crate::error::Result;
use crate::format::{LogitError, Model, ModelParts};
use crate::ids::{Sets, canonicalize};
use crate::kernels::{Answer, Kernels};
use crate::layers::{Forward, Net};
use crate::network::{Network, OutputLayout, Shape, StoredWeights};
use crate::tagger::fixed_items;
use crate::vocab::Vocabulary;
use crate::weights::{Matrix, WeightType};
use prune::Kept;
use round::Rounding;

/// What to do to a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conversion {
    /// Round the weights of both layers to this type. Biases stay `f32`.
    pub weights: Option<WeightType>,
    /// Hold weights that the type cannot represent to its largest number, instead of failing.
    pub saturate: bool,
    /// Remove hidden units and keywords that change no score. Scores keep their bits; keywords that are removed become unknown.
    pub prune: bool,
}

/// A converted model, and what was done to it.
#[derive(Debug)]
pub struct Converted {
    /// The model.
    pub model: Model,
    /// What all roundings of the weights so far have done to the logits; `None` if there was none.
    pub logit_error: Option<LogitError>,
    /// Weights that were held to the type's largest number.
    pub saturated: usize,
    /// Hidden units that were removed, of all groups.
    pub pruned_units: usize,
    /// Keywords that were removed.
    pub pruned_keywords: usize,
}

/// Keywords of a set for which the bound of the logit error holds, at least.
const BOUND_FOR: usize = 64;

/// Converts a model. How far rounding moves logits is measured on the fixed items of
/// [`Tagger::signature`](crate::Tagger::signature) and on `items`, sets of keyword ids; the bound that is stored beside holds
/// for every set of up to 64 keywords, or as many as the largest of `items` has.
///
/// # Errors
/// [`Error::BadWeight`] for a weight that the type cannot represent, unless it is to be saturated, and for one that is not finite;
/// [`Error::KeywordOutOfRange`] for items that are not of this model; [`Error::TooLarge`] if it does not fit in memory.
///
/// [`Error::BadWeight`]: crate::error::Error::BadWeight
/// [`Error::KeywordOutOfRange`]: crate::error::Error::KeywordOutOfRange
/// [`Error::TooLarge`]: crate::error::Error::TooLarge
pub fn convert<I: AsRef<[u32]>>(model: &Model, how: Conversion, items: impl IntoIterator<Item = I>) -> Result<Converted> {
    let (network, before) = (model.network(), model.weights());
    before.check(&network.shape)?;
    let mut provenance = model.provenance()?;
    let mut extensions = model.extensions().clone();
    let mut saturated = 0;
    let rounded;
    let mut weights = before;
    if let Some(to) = how.weights {
        let mut rounding = Rounding { weights: to, saturate: how.saturate, saturated: 0 };
        rounded = (rounding.first(&network.shape, before)?, rounding.output(&network.shape, before)?);
        weights = StoredWeights { w1: rounded.0.view(), w2: rounded.1.view(), ..before };
        saturated = rounding.saturated;
        let error = logit_error(network, before, weights, items)?;
        extensions.logit_error = Some(extensions.logit_error.map_or(error, |earlier| earlier.and(error)));
        provenance.insert("convert.from", before.w1.weight_type().name())?;
        provenance.insert("convert.weights", to.name())?;
        provenance.insert("convert.saturated", saturated.to_string())?;
    }
    let mut converted = |network: &Network, weights, vocabulary, units: usize, keywords: usize| -> Result<Converted> {
        if how.prune {
            provenance.insert("convert.pruned_units", units.to_string())?;
            provenance.insert("convert.pruned_keywords", keywords.to_string())?;
        }
        let parts = ModelParts { network, weights, vocabulary, extensions: &extensions, ..model.parts(&provenance) };
        Ok(Converted {
            model: parts.to_model()?,
            logit_error: extensions.logit_error,
            saturated,
            pruned_units: units,
            pruned_keywords: keywords,
        })
    };
    if !how.prune {
        return converted(network, weights, model.vocabulary(), 0, 0);
    }
    let shape = &network.shape;
    let kept = Kept::of(network, weights);
    let (smaller, pruned) = kept.apply(network, weights)?;
    let keywords = kept.keywords().iter().filter_map(|&id| model.vocabulary().keyword(id));
    let vocabulary = Vocabulary::from_keywords(keywords)?;
    let units = shape.groups().len() * (shape.hidden() - smaller.shape.hidden());
    let keywords = shape.keywords() - kept.keywords().len();
    converted(&smaller, pruned.view(), vocabulary.view(), units, keywords)
}

/// Whether an output layer of such weights rounds hidden units to integers, each item's by its largest one.
fn rounds_units(shape: &Shape, output: Matrix<'_>) -> bool {
    shape.layout() == OutputLayout::Panels && matches!(output, Matrix::I8 { .. })
}

/// What rounding `before` to `after` does to the logits, on the fixed items and on `items`, and a bound of it.
fn logit_error<I: AsRef<[u32]>>(
    network: &Network,
    before: StoredWeights<'_>,
    after: StoredWeights<'_>,
    items: impl IntoIterator<Item = I>,
) -> Result<LogitError> {
    let shape = &network.shape;
    let kernels = Kernels::best();
    let mut forward = Forward::new(shape);
    let mut logits = [vec![0.0; shape.tags()], vec![0.0; shape.tags()]];
    let mut measured = 0.0;
    let mut compare = |ids: &[u32]| -> Result<()> {
        let bounds = [0, ids.len()];
        let set = Sets::checked(ids, &bounds)?;
        for (weights, logits) in [before, after].into_iter().zip(&mut logits) {
            forward.run(&Net { kernels, network, weights, calibration: None }, set, Answer::Logit, logits)?;
        }
        let [before, after] = &logits;
        for (before, after) in before.iter().zip(after) {
            let moved = (f64::from(*before) - f64::from(*after)).abs();
            // Logits that are no numbers are as far apart as can be.
            measured = if moved.is_finite() { f64::max(measured, moved) } else { f64::MAX };
        }
        Ok(())
    };
    let mut largest = BOUND_FOR;
    for mut ids in fixed_items(shape.keywords()) {
        canonicalize(&mut ids);
        compare(&ids)?;
    }
    for ids in items {
        let mut ids = ids.as_ref().to_vec();
        canonicalize(&mut ids);
        largest = largest.max(ids.len());
        compare(&ids)?;
    }
    let bound = bound::bound(network, before, after, largest);
    Ok(LogitError { measured, bound, keywords: largest as u64 })
}
