//! `tags remove`: a model without some of its tags.

use std::path::PathBuf;

use serde::Serialize;
use tagomatic::edit::remove;

use super::Output;
use crate::cli::failure::{Failure, Result};
use crate::cli::{Session, names};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The model; the file must not be changed in place meanwhile (rename a new one over it)
    model: PathBuf,
    /// The tags to leave out
    #[arg(required = true, value_name = "TAG")]
    tags: Vec<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Document<'a> {
    removed: &'a [String],
    tags: usize,
    model_bytes: usize,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    let Arguments { model: path, tags, output } = arguments;
    output.check([path])?;
    let model = session.model(path)?;
    let indices = names::tags("TAG", tags, model.tags(), path.display())?;
    let model = remove(&model, &indices).map_err(Failure::of_model)?;
    let document = Document { removed: tags, tags: model.tags().len(), model_bytes: model.byte_len() };
    output.write(session, &model, &document, String::new())
}
