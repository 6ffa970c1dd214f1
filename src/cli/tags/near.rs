//! `tags near`: the tags that a model sees as most alike, or as nearest to an item.

use std::path::PathBuf;

use serde::Serialize;
use tagomatic::neighbors::{nearest_tags, nearest_tags_of_item};

use crate::cli::failure::{Failure, Result};
use crate::cli::{Session, output};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The model; the file must not be changed in place meanwhile (rename a new one over it)
    model: PathBuf,
    /// The tag's name
    #[arg(required_unless_present = "keywords", conflicts_with = "keywords")]
    tag: Option<String>,
    /// The keywords of an item instead
    #[arg(long, value_name = "A,B,C", value_delimiter = ',')]
    keywords: Vec<String>,
    /// How many tags to show
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
}

#[derive(Serialize)]
struct Document<'a> {
    /// Null for an item.
    tag: Option<&'a str>,
    /// Keywords of the item that the model does not know.
    unknown: Vec<&'a str>,
    near: Vec<Near<'a>>,
}

#[derive(Serialize)]
struct Near<'a> {
    tag: &'a str,
    similarity: f64,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    let model = session.model(&arguments.model)?;
    let top = usize::try_from(arguments.top).unwrap_or(usize::MAX);
    let tag = arguments.tag.as_deref();
    let index = tag.map(|name| {
        let unknown = || Failure::Usage(format!("TAG: expected a tag of {}, found {name:?}", arguments.model.display()));
        model.tags().get(name).ok_or_else(unknown)
    });
    let index = index.transpose()?;
    let tagger = session.tagger(model)?;
    let vocabulary = tagger.model().vocabulary();
    let (known, unknown): (Vec<&str>, Vec<&str>) =
        arguments.keywords.iter().map(String::as_str).partition(|keyword| vocabulary.get(keyword).is_some());
    let near = match index {
        Some(index) => nearest_tags(tagger.model(), index, top)?,
        None => {
            let ids: Vec<u32> = known.iter().filter_map(|keyword| vocabulary.get(keyword)).collect();
            nearest_tags_of_item(&tagger, &ids, top)?
        }
    };
    let near = near.iter().map(|near| Near { tag: &tagger.tags()[near.tag].name, similarity: near.similarity }).collect();
    let document = Document { tag, unknown, near };
    if session.json {
        return output::print(output::json(&document)?);
    }
    let rows: Vec<_> =
        document.near.iter().map(|near| [output::name(near.tag).into_owned(), format!("{:.4}", near.similarity)]).collect();
    if !document.unknown.is_empty() {
        output::message(format_args!("unknown keywords: {}", document.unknown.join(", ")));
    }
    output::print(output::table(["tag", "cosine"], &rows))
}
