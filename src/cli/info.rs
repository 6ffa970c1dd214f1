//! `info`: what a model file holds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;
use tagomatic::{Level, Model, Provenance};

use super::failure::Result;
use super::{Session, output};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The model; the file must not be changed in place meanwhile (rename a new one over it)
    model: PathBuf,
}

#[derive(Serialize)]
struct Document<'a> {
    format_version: u32,
    keywords: usize,
    hidden: usize,
    tags: usize,
    groups: usize,
    activation: String,
    weights: String,
    bytes: usize,
    sections: Vec<Section<'a>>,
    provenance: BTreeMap<&'a str, &'a str>,
    level: &'a str,
    levels: Vec<&'a str>,
}

#[derive(Serialize)]
struct Section<'a> {
    name: &'a str,
    offset: u64,
    bytes: u64,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    let model = session.model(&arguments.model)?;
    let provenance = model.provenance()?;
    let document = document(session, &model, &provenance);
    output::print(if session.json { output::json(&document)? } else { text(&document) })
}

fn document<'a>(session: &Session, model: &'a Model, provenance: &'a Provenance) -> Document<'a> {
    let network = model.network();
    let section = |section: &'a tagomatic::format::Section| Section {
        name: section.name(),
        offset: section.offset(),
        bytes: section.length(),
    };
    Document {
        format_version: model.format_version(),
        keywords: network.shape.keywords(),
        hidden: network.shape.hidden(),
        tags: network.shape.tags(),
        groups: network.shape.groups().len(),
        activation: network.activation.to_string(),
        weights: output::weights(model),
        bytes: model.byte_len(),
        sections: model.sections().iter().map(section).collect(),
        provenance: provenance.iter().collect(),
        level: session.level.name(),
        levels: Level::available().map(Level::name).collect(),
    }
}

fn text(document: &Document<'_>) -> String {
    let groups = if document.groups == 1 { String::new() } else { format!(" in each of {} groups", document.groups) };
    let mut text = output::list(&[
        ("format", format!("version {}, {}", document.format_version, output::size(document.bytes))),
        ("keywords", output::count(document.keywords)),
        ("hidden", format!("{} {}{groups}", document.hidden, document.activation)),
        ("tags", output::count(document.tags)),
        ("weights", document.weights.clone()),
        ("level", format!("{} (of {})", document.level, document.levels.join(", "))),
    ]);
    let sections = document
        .sections
        .iter()
        .map(|section| [output::plain(section.name).into_owned(), output::count(section.offset), output::count(section.bytes)]);
    let _ = write!(text, "\n{}", output::table(["section", "offset", "bytes"], &sections.collect::<Vec<_>>()));
    let made: Vec<_> = document.provenance.iter().map(|(key, value)| (*key, shortened(value))).collect();
    let _ = write!(text, "\n{}", output::list(&made));
    text
}

/// The value on one line of a terminal.
fn shortened(value: &str) -> String {
    const ROOM: usize = 60;
    let plain = output::plain(value);
    match plain.char_indices().nth(ROOM) {
        Some((end, _)) => format!("{}...", &plain[..end]),
        None => plain.into_owned(),
    }
}
