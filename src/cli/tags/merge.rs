//! `tags merge`: models of the same vocabulary become one.

use std::path::PathBuf;

use serde::Serialize;
use tagomatic::edit::{Merged, merge};
use tagomatic::{Error, Model};

use super::Output;
use crate::cli::failure::{Failure, Result};
use crate::cli::{Session, output};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The models, such as banks of tags that were trained apart; the files must not be changed in place meanwhile
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<PathBuf>,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Document {
    tags: usize,
    groups: usize,
    /// Tags whose ids were taken.
    renumbered: Vec<Renumbered>,
    model_bytes: usize,
}

#[derive(Serialize)]
struct Renumbered {
    tag: String,
    old: u32,
    new: u32,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    let Arguments { models: paths, output } = arguments;
    output.check(paths)?;
    let models = paths.iter().map(|path| session.model(path)).collect::<tagomatic::Result<Vec<Model>>>()?;
    let Merged { model, renumbered } = merge(&models.iter().collect::<Vec<_>>()).map_err(|error| in_files(error, paths))?;
    let renumbered = renumbered.into_iter().map(|tag| Renumbered { tag: tag.tag, old: tag.old, new: tag.new }).collect();
    let groups = model.network().shape.groups().len();
    let document = Document { tags: model.tags().len(), groups, renumbered, model_bytes: model.byte_len() };
    let mut rows = vec![("tags", output::count(document.tags)), ("groups", output::count(document.groups))];
    let new = |tag: &Renumbered| format!("{} {} -> {}", output::plain(&tag.tag), tag.old, tag.new);
    if !document.renumbered.is_empty() {
        rows.push(("new ids", document.renumbered.iter().map(new).collect::<Vec<_>>().join(", ")));
    }
    let text = output::list(&rows);
    output.write(session, &model, &document, text)
}

/// The error with the file's name.
fn in_files(error: Error, paths: &[PathBuf]) -> Failure {
    match &error {
        Error::Unmergeable { model, .. } => Failure::Work(format!("{}: {error}", paths[*model].display())),
        _ => Failure::of_model(error),
    }
}
