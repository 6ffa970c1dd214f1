//! `tags rename`: a tag gets another name and keeps its id.

use std::path::PathBuf;

use serde::Serialize;
use tagomatic::edit::rename;

use super::Output;
use crate::cli::failure::Result;
use crate::cli::{Session, names};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The model; the file must not be changed in place meanwhile (rename a new one over it)
    model: PathBuf,
    /// The tag
    tag: String,
    /// Its new name
    name: String,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Document<'a> {
    tag: &'a str,
    name: &'a str,
    id: u32,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    let Arguments { model: path, tag, name, output } = arguments;
    output.check([path])?;
    let model = session.model(path)?;
    let index = names::tag("TAG", tag, model.tags(), path.display())?;
    let model = rename(&model, index, name)?;
    let document = Document { tag, name, id: model.tags()[index].id };
    output.write(session, &model, &document, String::new())
}
