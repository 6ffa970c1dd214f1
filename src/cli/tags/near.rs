//! `tags near`: the tags that a model sees as most alike.

use std::path::PathBuf;

use serde::Serialize;
use tagomatic::neighbors::nearest_tags;

use crate::cli::failure::{Failure, Result};
use crate::cli::{Session, load, output};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The model; the file must not be changed in place meanwhile (rename a new one over it)
    model: PathBuf,
    /// The tag's name
    tag: String,
    /// How many tags to show
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
}

#[derive(Serialize)]
struct Document<'a> {
    tag: &'a str,
    near: Vec<Near<'a>>,
}

#[derive(Serialize)]
struct Near<'a> {
    tag: &'a str,
    similarity: f64,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    let model = load::model(&arguments.model)?;
    let (tags, name) = (model.tags(), &arguments.tag);
    let unknown = || Failure::Usage(format!("TAG: expected a tag of {}, found {name:?}", arguments.model.display()));
    let tag = tags.get(name).ok_or_else(unknown)?;
    let near = nearest_tags(&model, tag, usize::try_from(arguments.top).unwrap_or(usize::MAX))?;
    let near = near.iter().map(|near| Near { tag: &tags[near.tag].name, similarity: near.similarity }).collect();
    let document = Document { tag: name, near };
    if session.json {
        return output::print(output::json(&document)?);
    }
    let rows: Vec<_> = document.near.iter().map(|near| [near.tag.to_owned(), format!("{:.4}", near.similarity)]).collect();
    output::print(output::table(["tag", "cosine"], &rows))
}
