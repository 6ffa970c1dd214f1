//! Models of the same vocabulary become one, a group each.

use std::collections::{BTreeMap, BTreeSet};

use super::assemble::{GroupPlan, Row, assemble};
use crate::error::{Error, Result};
use crate::format::{About, Model, Provenance};
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
/// The ids of the first model are kept, and here it matters which one is the first. Those of models that were trained on the same data
/// (`data.fingerprint`) are numbered alike, and kept too, unless two tags have one. Of the others those tags get new ids whose ids were or may
/// have been in use in a model of other data. New ids are above all that were ever in use in any of the models, and are given in the order of
/// groups.
///
/// Provenance with an entry for each tag or group (`data.tag_counts`, `fit.*`) has those of all, and what tells of tags by their ids
/// (`taught.*`, `tune.tags`) follows these. What else differs between models has all values, `a | b`.
///
/// # Errors
/// [`Error::Length`] without models; [`Error::Unmergeable`] if they differ in what one model can only have one of, or share the
/// name of a tag; [`Error::Config`] if weights are `i8`, whose tags do not change; [`Error::TooLarge`]; [`Error::Model`] if a
/// mapped file is corrupt.
pub fn merge(models: &[&Model]) -> Result<Merged> {
    let Some(first) = models.first() else { return Err(Error::Length { what: "models", expected: 1, found: 0 }) };
    let provenances = models.iter().map(|model| model.provenance()).collect::<Result<Vec<Provenance>>>()?;
    let mut parts = Vec::new();
    let mut names = BTreeSet::new();
    for (index, model) in models.iter().enumerate() {
        check_alike(first, model, index)?;
        for (group, of) in model.network().shape.groups().iter().enumerate() {
            let mut tags = Vec::with_capacity(of.tags.len());
            for tag in of.tags.clone().map(|tag| &model.tags()[tag]) {
                if !names.insert(tag.name.as_str()) {
                    let (what, cure) = ("names of tags", "rename or remove it in one of them first");
                    let found = format!("{:?}, which an earlier one has too", tag.name);
                    return Err(Error::Unmergeable { model: index, what, expected: "new ones".to_owned(), found, cure });
                }
                tags.push(tag.clone());
            }
            let rows = (0..of.tags.len()).map(Row::Old).collect();
            parts.push(Part { plan: GroupPlan { model, group, rows }, tags, model: index });
        }
    }
    // A stable sort: groups without tags stay in the order in which they came.
    parts.sort_by(|a, b| a.tags.first().map(|tag| &tag.name).cmp(&b.tags.first().map(|tag| &tag.name)));
    let (renumbered, next_id) = renumber(models, &provenances, &mut parts)?;
    let tags = Tags::new(parts.iter().flat_map(|part| part.tags.iter().cloned()).collect(), next_id)?;
    let provenance = provenance(models, &provenances, &parts, tags.len())?;
    let plans: Vec<GroupPlan<'_>> = parts.into_iter().map(|part| part.plan).collect();
    Ok(Merged { model: assemble(&plans, &tags, &provenance)?, renumbered })
}

/// Gives new ids to tags whose ids are not theirs alone; tells which these are, and the next free id.
fn renumber(models: &[&Model], provenances: &[Provenance], parts: &mut [Part<'_>]) -> Result<(Vec<Renumbered>, u32)> {
    let data: Vec<Option<&str>> = provenances.iter().map(|provenance| provenance.get(Provenance::FINGERPRINT)).collect();
    let numbered_alike = |a: usize, b: usize| a == b || data[a].is_some() && data[a] == data[b];
    let next_id_where = |is_wanted: &dyn Fn(usize) -> bool| {
        let wanted = models.iter().enumerate().filter(|(model, _)| is_wanted(*model));
        wanted.map(|(_, model)| model.tags().next_id()).max().unwrap_or(0)
    };
    // Ids below may have been in use for other tags, in models that number them in another way.
    let lowest: Vec<u32> = (0..models.len())
        .map(|own| if numbered_alike(own, 0) { 0 } else { next_id_where(&|other| !numbered_alike(own, other)) })
        .collect();
    let mut next_id = next_id_where(&|_| true);
    let (mut renumbered, mut ids) = (Vec::new(), BTreeSet::new());
    // The first model before the others; in which order these came decides nothing.
    for is_first in [true, false] {
        for part in parts.iter_mut().filter(|part| (part.model == 0) == is_first) {
            for tag in &mut part.tags {
                if tag.id >= lowest[part.model] && ids.insert(tag.id) {
                    continue;
                }
                renumbered.push(Renumbered { tag: tag.name.clone(), old: tag.id, new: next_id });
                tag.id = next_id;
                let limit = Error::TooLarge { what: "ids of tags", limit: u32::MAX.into() };
                next_id = next_id.checked_add(1).ok_or(limit)?;
            }
        }
    }
    Ok((renumbered, next_id))
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
    let groups = |part: &Part<'_>| models[part.model].network().shape.groups();
    let mut new_ids = BTreeMap::new();
    for part in parts {
        let old = groups(part)[part.plan.group].tags.clone().map(|tag| models[part.model].tags()[tag].id);
        new_ids.extend(old.zip(&part.tags).map(|(old, new)| ((part.model, old), new.id)));
    }
    let renumbered = |(model, provenance): (usize, &Provenance)| provenance.with_ids(|id| new_ids.get(&(model, id)).copied());
    let provenances = provenances.iter().enumerate().map(renumbered).collect::<Result<Vec<Provenance>>>()?;
    let keys: BTreeSet<&str> = provenances.iter().flat_map(|provenance| provenance.iter().map(|(key, _)| key)).collect();
    let mut merged = Provenance::new();
    for key in keys {
        let values: BTreeSet<&str> = provenances.iter().filter_map(|provenance| provenance.get(key)).collect();
        let value = match About::of(key) {
            About::EachTag => {
                // Each part has so many of its model's entries.
                let place = |part: &Part<'_>| (groups(part)[part.plan.group].tags.clone(), models[part.model].tags().len());
                let parts = parts.iter().filter(|part| !part.tags.is_empty());
                entries(key, &provenances, parts, place)
            }
            About::EachGroup => {
                let place = |part: &Part<'_>| (part.plan.group..part.plan.group + 1, groups(part).len());
                entries(key, &provenances, parts.iter(), place)
            }
            About::SomeTags => Provenance::union(&values).unwrap_or_else(|| all_of(&values)),
            // Not to be taken apart: two are none of the whole, and neither is that of some.
            About::Document if values.len() > 1 || provenances.iter().any(|provenance| provenance.get(key).is_none()) => {
                continue;
            }
            About::Tag(_) | About::Document | About::Model => all_of(&values),
        };
        merged.insert(key, value)?;
    }
    merged.insert(Provenance::TAGS, tags.to_string())?;
    Ok(merged)
}

/// One value, or several with what stands between them.
fn all_of(values: &BTreeSet<&str>) -> String {
    const BETWEEN: &str = " | ";
    match values.first() {
        Some(value) if values.len() == 1 => (*value).to_owned(),
        _ => {
            let values: BTreeSet<&str> = values.iter().flat_map(|value| value.split(BETWEEN)).collect();
            values.into_iter().collect::<Vec<_>>().join(BETWEEN)
        }
    }
}

/// The entries of all parts, in their order, with nothing for an entry that a model does not have. `place` tells which of its
/// model's entries are a part's, and how many that model has.
fn entries<'p>(
    key: &str,
    provenances: &[Provenance],
    parts: impl Iterator<Item = &'p Part<'p>>,
    place: impl Fn(&Part<'_>) -> (std::ops::Range<usize>, usize),
) -> String {
    let lists: BTreeMap<usize, Vec<&str>> =
        provenances.iter().enumerate().filter_map(|(i, p)| Some((i, p.get(key)?.split(',').collect()))).collect();
    let of_part = |part: &Part<'_>| {
        let (range, count) = place(part);
        let list = lists.get(&part.model).filter(|list| list.len() == count);
        list.map_or_else(|| vec![""; range.len()], |list| list[range.clone()].to_vec()).join(",")
    };
    parts.map(of_part).collect::<Vec<_>>().join(",")
}
