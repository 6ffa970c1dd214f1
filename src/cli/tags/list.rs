//! `tags list`: the tags of a model.

use std::path::PathBuf;

use serde::Serialize;
use tagomatic::data::Counts;

use crate::cli::failure::Result;
use crate::cli::{Session, output};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The model; the file must not be changed in place meanwhile (rename a new one over it)
    model: PathBuf,
}

#[derive(Serialize)]
struct Document<'a> {
    next_id: u32,
    groups: usize,
    tags: Vec<Listed<'a>>,
}

#[derive(Serialize)]
struct Listed<'a> {
    tag: &'a str,
    id: u32,
    /// Null if the tag is never given.
    threshold: Option<f32>,
    /// Items that it was trained on; null if the model does not tell.
    positives: Option<u64>,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    let model = session.model(&arguments.model)?;
    let positives = Counts::of_model(&model)?.map(|counts| counts.positives).unwrap_or_default();
    let tags = model.tags().iter().enumerate().map(|(index, tag)| Listed {
        tag: &tag.name,
        id: tag.id,
        threshold: tag.threshold.is_finite().then_some(tag.threshold),
        positives: positives.get(index).copied(),
    });
    let document =
        Document { next_id: model.tags().next_id(), groups: model.network().shape.groups().len(), tags: tags.collect() };
    if session.json {
        return output::print(output::json(&document)?);
    }
    let row = |tag: &Listed<'_>| {
        let threshold = tag.threshold.map_or_else(|| "never".to_owned(), |threshold| format!("{threshold:.4}"));
        let positives = tag.positives.map_or_else(|| "-".to_owned(), output::count);
        [output::name(tag.tag).into_owned(), tag.id.to_string(), threshold, positives]
    };
    let rows: Vec<_> = document.tags.iter().map(row).collect();
    output::print(output::table(["tag", "id", "threshold", "positives"], &rows))
}
