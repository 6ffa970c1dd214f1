//! Models of the same vocabulary become one, a group each.

use std::collections::{BTreeMap, BTreeSet};

use super::assemble::{GroupPlan, Row, assemble};
use super::{OF_GROUPS, OF_TAGS, RULES};
use crate::error::{Error, Result};
use crate::format::{Model, Provenance};
use crate::tags::{Tag, Tags};

/// What [`merge`] made.
#[derive(Debug)]
pub struct Merged {
    /// The model.
    pub model: Model,
    /// Tags that could not keep their ids.
    pub renumbered: Vec<Renumbered>,
}

/// A tag that got a new id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renumbered {
    /// Its name.
    pub tag: String,
    /// Its id in the model that it came from.
    pub old: u32,
    /// Its id now.
    pub new: u32,
}

/// A group on its way into the merged model.
struct Part<'a> {
    plan: GroupPlan<'a>,
    tags: Vec<Tag>,
    /// The index of its model.
    model: usize,
}

/// One model with the groups of all `models`: every tag scores the same bits as in its own. Groups stand in the order of the
/// names of their first tags, so it does not matter in which order models come, or which were merged before.
///
/// Models that were trained on the same data (`data.fingerprint`) number tags alike: ids are kept. Of others the ids of the first
/// are kept, and those tags of the later ones get new ids whose ids were or may have been in use.
///
/// Provenance with an entry for each tag or group (`data.tag_counts`, `fit.*`) has those of all. What else differs between models
/// has all values, `a | b`.
///
/// # Errors
/// [`Error::Length`] without models; [`Error::Unmergeable`] if they differ in what one model can only have one of, or share the
/// name of a tag; [`Error::Config`] if weights are `i8`, whose tags do not change; [`Error::TooLarge`]; [`Error::Model`] if a
/// mapped file is corrupt.
pub fn merge(models: &[&Model]) -> Result<Merged> {
    let Some(first) = models.first() else { return Err(Error::Length { what: "models", expected: 1, found: 0 }) };
    let provenances = models.iter().map(|model| model.provenance()).collect::<Result<Vec<Provenance>>>()?;
    let fingerprint = |index: usize| provenances[index].get("data.fingerprint");
    let (mut parts, mut renumbered, mut next_id) = (Vec::new(), Vec::new(), first.tags().next_id());
    let mut names = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (index, model) in models.iter().enumerate() {
        check_alike(first, model, index)?;
        let numbered_alike = index == 0 || fingerprint(0).is_some() && fingerprint(0) == fingerprint(index);
        if numbered_alike {
            next_id = next_id.max(model.tags().next_id());
        }
        for (group, of) in model.network().shape.groups().iter().enumerate() {
            let mut tags = Vec::with_capacity(of.tags.len());
            for tag in of.tags.clone().map(|tag| &model.tags()[tag]) {
                if !names.insert(tag.name.as_str()) {
                    let (what, cure) = ("names of tags", "rename or remove it in one of them first");
                    let found = format!("{:?}, which an earlier one has too", tag.name);
                    return Err(Error::Unmergeable { model: index, what, expected: "new ones".to_owned(), found, cure });
                }
                let mut tag = tag.clone();
                let is_free = if numbered_alike { !ids.contains(&tag.id) } else { tag.id >= next_id };
                if !is_free {
                    renumbered.push(Renumbered { tag: tag.name.clone(), old: tag.id, new: next_id });
                    tag.id = next_id;
                }
                if tag.id >= next_id {
                    let limit = Error::TooLarge { what: "ids of tags", limit: u32::MAX.into() };
                    next_id = tag.id.checked_add(1).ok_or(limit)?;
                }
                ids.insert(tag.id);
                tags.push(tag);
            }
            let rows = (0..of.tags.len()).map(Row::Old).collect();
            parts.push(Part { plan: GroupPlan { model, group, rows }, tags, model: index });
        }
    }
    // A stable sort: groups without tags stay in the order in which they came.
    parts.sort_by(|a, b| a.tags.first().map(|tag| &tag.name).cmp(&b.tags.first().map(|tag| &tag.name)));
    let tags = Tags::new(parts.iter().flat_map(|part| part.tags.iter().cloned()).collect(), next_id)?;
    let provenance = provenance(models, &provenances, &parts, tags.len())?;
    let plans: Vec<GroupPlan<'_>> = parts.into_iter().map(|part| part.plan).collect();
    Ok(Merged { model: assemble(&plans, &tags, &provenance)?, renumbered })
}

/// Fails unless `model` has what groups of one model share.
fn check_alike(first: &Model, model: &Model, index: usize) -> Result<()> {
    let (a, b) = (first.network(), model.network());
    const TRAIN: &str = "train both with the same options";
    let pairs = [
        ("hidden units in a group", a.shape.hidden().to_string(), b.shape.hidden().to_string(), TRAIN),
        (
            "layout of output weights",
            format!("{:?}", a.shape.layout()),
            format!("{:?}", b.shape.layout()),
            "groups of 8 tags and more, and of fewer, do not go together",
        ),
        ("hidden units", a.activation.to_string(), b.activation.to_string(), TRAIN),
        ("pooling of keywords", format!("{:?}", a.pooling), format!("{:?}", b.pooling), TRAIN),
        ("clamp of scores", a.eps.to_string(), b.eps.to_string(), TRAIN),
    ];
    let unlike = |(what, expected, found, cure)| Error::Unmergeable { model: index, what, expected, found, cure };
    if let Some(pair) = pairs.into_iter().find(|(_, a, b, _)| a != b) {
        return Err(unlike(pair));
    }
    if first.vocabulary().sections() != model.vocabulary().sections() {
        let count = |model: &Model| format!("the first one's {} keywords", model.vocabulary().len());
        let cure = "train both on the same items with the same least count of keywords: sums over keywords follow the order of the vocabulary";
        let found = format!("{}, not the same", model.vocabulary().len());
        return Err(unlike(("vocabulary", count(first), found, cure)));
    }
    Ok(())
}

fn provenance(models: &[&Model], provenances: &[Provenance], parts: &[Part<'_>], tags: usize) -> Result<Provenance> {
    let keys: BTreeSet<&str> = provenances.iter().flat_map(|provenance| provenance.iter().map(|(key, _)| key)).collect();
    let mut merged = Provenance::new();
    for key in keys {
        let value = if key == OF_TAGS {
            // Each part has so many of its model's entries.
            entries(key, provenances, parts, |part| {
                let shape = &models[part.model].network().shape;
                (shape.groups()[part.plan.group].tags.clone(), shape.tags())
            })
        } else if key.starts_with(OF_GROUPS) {
            entries(key, provenances, parts, |part| {
                (part.plan.group..part.plan.group + 1, models[part.model].network().shape.groups().len())
            })
        } else {
            let values: BTreeSet<&str> = provenances.iter().filter_map(|p| p.get(key)).collect();
            match values.first() {
                Some(value) if values.len() == 1 => (*value).to_owned(),
                // Rules are one document: not to be taken apart, and two are none.
                _ if key == RULES => continue,
                _ => {
                    let values: BTreeSet<&str> = values.into_iter().flat_map(|value| value.split(" | ")).collect();
                    values.into_iter().collect::<Vec<_>>().join(" | ")
                }
            }
        };
        merged.insert(key, value)?;
    }
    merged.insert("data.tags", tags.to_string())?;
    Ok(merged)
}

/// The entries of all parts, in their order, with nothing for an entry that a model does not have. `place` tells which of its
/// model's entries are a part's, and how many that model has.
fn entries(
    key: &str,
    provenances: &[Provenance],
    parts: &[Part<'_>],
    place: impl Fn(&Part<'_>) -> (std::ops::Range<usize>, usize),
) -> String {
    let lists: BTreeMap<usize, Vec<&str>> =
        provenances.iter().enumerate().filter_map(|(i, p)| Some((i, p.get(key)?.split(',').collect()))).collect();
    let of_part = |part: &Part<'_>| {
        let (range, count) = place(part);
        let list = lists.get(&part.model).filter(|list| list.len() == count);
        list.map_or_else(|| vec![""; range.len()], |list| list[range.clone()].to_vec()).join(",")
    };
    parts.iter().filter(|part| !part.tags.is_empty() || key != OF_TAGS).map(of_part).collect::<Vec<_>>().join(",")
}
