//! `tags rename`: a tag gets another name and keeps its id.

use std::path::PathBuf;

use serde::Serialize;
use tagomatic::edit::rename;

use super::Output;
use crate::cli::Session;
use crate::cli::failure::{Failure, Result};

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
    let unknown = || Failure::Usage(format!("TAG: expected a tag of {}, found {tag:?}", path.display()));
    let index = model.tags().get(tag).ok_or_else(unknown)?;
    let model = rename(&model, index, name)?;
    let document = Document { tag, name, id: model.tags()[index].id };
    output.write(session, &model, &document, String::new())
}
