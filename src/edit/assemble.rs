//! Groups of models become one model.

use crate::aligned::{Block, as_floats, as_floats_mut};
use crate::calibration::{Calibration, Curve};
use crate::distribution::{LogitDistribution, ScoreDistribution};
use crate::error::{Error, Result};
use crate::format::{Extensions, LogitError, Model, ModelParts, Provenance};
use crate::network::{Network, Shape, StoredWeights, Weights};
use crate::tags::Tags;
use crate::weights::WeightType;

/// A group of the model to be made: the hidden units of a group that there is, with tags on them.
pub(crate) struct GroupPlan<'a> {
    pub(crate) model: &'a Model,
    pub(crate) group: usize,
    pub(crate) rows: Vec<Row<'a>>,
}

/// The output weights of a tag.
#[derive(Clone, Copy)]
pub(crate) enum Row<'a> {
    /// Those of the group's tag of this number.
    Old(usize),
    /// New ones: a weight for each hidden unit, and the bias.
    #[cfg_attr(not(feature = "train"), expect(dead_code, reason = "tags are taught with this feature only"))]
    New { weights: &'a [f32], bias: f32 },
}

/// The model of these groups, one at least, whose tags in order are `tags`. All models must have the first one's vocabulary,
/// hidden units in a group, layout of output weights, and nonlinearities.
pub(crate) fn assemble(plans: &[GroupPlan<'_>], tags: &Tags, provenance: &Provenance) -> Result<Model> {
    let first = plans[0].model;
    let old = &first.network().shape;
    let counts: Vec<usize> = plans.iter().map(|plan| plan.rows.len()).collect();
    let shape = Shape::new(old.keywords(), old.hidden(), &counts, old.layout())?;
    let mut w1 = vec![Block::ZERO; shape.w1_blocks()];
    let mut b1 = vec![Block::ZERO; shape.row_blocks()];
    let mut w2 = vec![Block::ZERO; shape.w2_blocks()];
    let mut b2 = vec![Block::ZERO; shape.slot_blocks()];
    // Weights of narrower types are made floats once a model, of which one at a time is in memory.
    let mut parts: Vec<_> = plans.iter().zip(shape.groups()).collect();
    parts.sort_by_key(|(plan, _)| std::ptr::from_ref(plan.model));
    for parts in parts.chunk_by(|(a, _), (b, _)| std::ptr::eq(a.model, b.model)) {
        let model = parts[0].0.model;
        let from_shape = &model.network().shape;
        check_type(model.weights())?;
        let weights = model.weights().to_f32(from_shape)?;
        let weights = weights.view();
        for &(plan, group) in parts {
            let from = &from_shape.groups()[plan.group];
            b1[group.hidden.clone()].copy_from_slice(&weights.b1[from.hidden.clone()]);
            let rows =
                w1.chunks_exact_mut(shape.row_blocks().max(1)).zip(weights.w1.chunks_exact(from_shape.row_blocks().max(1)));
            for (row, from_row) in rows {
                row[group.hidden.clone()].copy_from_slice(&from_row[from.hidden.clone()]);
            }
            let (w2, b2) = (as_floats_mut(&mut w2), as_floats_mut(&mut b2));
            let (old_w2, old_b2) = (as_floats(weights.w2), as_floats(weights.b2));
            for (tag, row) in plan.rows.iter().enumerate() {
                b2[group.slots.start + tag] = match *row {
                    Row::Old(old) => old_b2[from.slots.start + old],
                    Row::New { bias, .. } => bias,
                };
                for unit in 0..shape.hidden() {
                    w2[shape.w2_index(group, unit, tag)] = match *row {
                        Row::Old(old) => old_w2[from_shape.w2_index(from, unit, old)],
                        Row::New { weights, .. } => weights[unit],
                    };
                }
            }
        }
    }
    ModelParts {
        network: &Network { shape, ..first.network().clone() },
        weights: Weights { w1: &w1, b1: &b1, w2: &w2, b2: &b2 }.into(),
        vocabulary: first.vocabulary(),
        tags,
        provenance,
        extensions: &extensions(plans)?,
    }
    .to_model()
}

/// Fails for integers: as floats they would give other bits.
fn check_type(weights: StoredWeights<'_>) -> Result<()> {
    let types = [weights.w1, weights.w2].map(crate::weights::Matrix::weight_type);
    if types.contains(&WeightType::I8) {
        let expected = "f32, f16 or bf16 in a model whose tags change: change the tags of the model before it was rounded, and round after";
        return Err(Error::Config { option: "weights", expected, found: WeightType::I8.to_string() });
    }
    Ok(())
}

/// Each tag's calibration, the identity for those that have none, and the distribution of its logits, if any tag has one; the largest
/// error of rounded weights.
fn extensions(plans: &[GroupPlan<'_>]) -> Result<Extensions> {
    fn of_model<'a>(plan: &GroupPlan<'a>) -> Option<&'a Calibration> {
        plan.model.extensions().calibration.as_ref()
    }
    let curves = plans.iter().flat_map(|plan| {
        let first = plan.model.network().shape.groups()[plan.group].tags.start;
        plan.rows.iter().map(move |row| match (row, of_model(plan)) {
            (Row::Old(old), Some(calibration)) => calibration.curve(first + old),
            _ => Curve::identity(),
        })
    });
    let is_calibrated = plans.iter().any(|plan| of_model(plan).is_some());
    let is_known = plans.iter().any(|plan| plan.model.extensions().scores.is_some());
    let known = plans.iter().flat_map(|plan| {
        let first = plan.model.network().shape.groups()[plan.group].tags.start;
        plan.rows.iter().map(move |row| match (row, &plan.model.extensions().scores) {
            (Row::Old(old), Some(scores)) => scores.tags()[first + old],
            _ => LogitDistribution::default(),
        })
    });
    let errors = plans.iter().filter_map(|plan| plan.model.extensions().logit_error);
    let larger = |a: LogitError, b: LogitError| LogitError {
        measured: a.measured.max(b.measured),
        bound: a.bound.max(b.bound),
        keywords: a.keywords.min(b.keywords),
    };
    Ok(Extensions {
        calibration: is_calibrated.then(|| Calibration::new(&curves.collect::<Vec<Curve>>())).transpose()?,
        logit_error: errors.reduce(larger),
        scores: is_known.then(|| ScoreDistribution::new(known.collect())).transpose()?,
    })
}
