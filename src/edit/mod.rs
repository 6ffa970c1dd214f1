//! Models made of models: tags removed, renamed and merged, the others' scores left bit for bit as they are.
//!
//! A tag keeps its id and threshold whatever happens around it. The layout of the output weights, which fixes the order of sums,
//! never changes. Weights of type `f16` and `bf16` become the `f32` that they stand for: [`convert`](crate::convert) the result again.
//!
//! ```
//! # fn main() -> tagomatic::Result<()> {
//! use tagomatic::{Model, edit};
//! # let model = Model::open("models/movies.tagm")?;
//! let spy = model.tags().get("spy").unwrap_or_default();
//! let renamed = edit::rename(&model, spy, "espionage")?;
//! assert_eq!(renamed.tags()[spy].id, model.tags()[spy].id);
//!
//! // A model without it, and one with it alone, are the whole again.
//! let others: Vec<usize> = (0..model.tags().len()).filter(|&tag| tag != spy).collect();
//! let (without, alone) = (edit::remove(&model, &[spy])?, edit::remove(&model, &others)?);
//! assert_eq!(without.tags().len() + alone.tags().len(), model.tags().len());
//! let merged = edit::merge(&[&without, &alone])?;
//! assert_eq!(merged.model.tags().len(), model.tags().len());
//! # Ok(())
//! # }
//! ```

pub(crate) mod assemble;
mod merge;

use crate::error::{Error, Result};
use crate::format::{About, Model, ModelParts, Provenance};
use crate::tags::{Tag, Tags};
use assemble::{GroupPlan, Row, assemble};

pub use merge::{Merged, Renumbered, merge};

/// The model without the tags at `indices`. Groups that lose all their tags go, if another one is left. So does what its provenance tells of
/// these tags alone.
///
/// # Errors
/// [`Error::Length`] for a tag that the model does not have; [`Error::Config`] if its weights are `i8`, whose tags do not
/// change; [`Error::Model`] if a mapped file is corrupt.
pub fn remove(model: &Model, indices: &[usize]) -> Result<Model> {
    let (shape, tags) = (&model.network().shape, model.tags());
    if let Some(&missing) = indices.iter().find(|&&index| index >= tags.len()) {
        return Err(Error::Length { what: "tags", expected: missing.saturating_add(1), found: tags.len() });
    }
    let kept = |index: &usize| !indices.contains(index);
    let plan = |(group, of): (usize, &crate::network::Group)| GroupPlan {
        model,
        group,
        rows: of.tags.clone().filter(kept).map(|tag| Row::Old(tag - of.tags.start)).collect(),
    };
    let mut plans: Vec<GroupPlan<'_>> = shape.groups().iter().enumerate().map(plan).collect();
    if plans.iter().any(|plan| !plan.rows.is_empty()) {
        plans.retain(|plan| !plan.rows.is_empty());
    } else {
        plans.truncate(1);
    }
    let left = tags.iter().enumerate().filter(|(index, _)| kept(index)).map(|(_, tag)| tag.clone());
    let left = Tags::new(left.collect(), tags.next_id())?;
    let groups: Vec<usize> = plans.iter().map(|plan| plan.group).collect();
    let mut provenance = Provenance::new();
    let is_gone = |id: u32| tags.by_id(id).is_some_and(|index| !kept(&index));
    for (key, value) in model.provenance()?.with_ids(|id| (!is_gone(id)).then_some(id))?.iter() {
        let value = match About::of(key) {
            About::EachTag => select(value, tags.len(), (0..tags.len()).filter(kept)),
            About::EachGroup => select(value, shape.groups().len(), groups.iter().copied()),
            About::SomeTags | About::Tag(_) | About::Document | About::Model => value.to_owned(),
        };
        provenance.insert(key, value)?;
    }
    provenance.insert(Provenance::TAGS, left.len().to_string())?;
    assemble(&plans, &left, &provenance)
}

/// Those entries of a list, if it has one for each of `count` things.
fn select(list: &str, count: usize, kept: impl Iterator<Item = usize>) -> String {
    let entries: Vec<&str> = list.split(',').collect();
    if entries.len() == count { kept.map(|index| entries[index]).collect::<Vec<_>>().join(",") } else { list.to_owned() }
}

/// The model with another name for the tag at `index`, which keeps its id, and with it what its provenance tells.
///
/// # Errors
/// [`Error::Length`] without such a tag; [`Error::BadName`] if the name cannot be or is another tag's; [`Error::Model`] if a mapped
/// file is corrupt.
pub fn rename(model: &Model, index: usize, name: impl Into<String>) -> Result<Model> {
    let (mut tags, next_id): (Vec<Tag>, u32) = (model.tags().iter().cloned().collect(), model.tags().next_id());
    let found = tags.len();
    let tag = tags.get_mut(index).ok_or(Error::Length { what: "tags", expected: index.saturating_add(1), found })?;
    tag.name = name.into();
    let provenance = model.provenance()?;
    ModelParts { tags: &Tags::new(tags, next_id)?, ..model.parts(&provenance) }.to_model()
}
