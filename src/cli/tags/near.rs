//! `tags near`: the tags that a model sees as most alike, or as nearest to an item.

use std::path::PathBuf;

use serde::Serialize;
use tagomatic::neighbors::{nearest_tags, nearest_tags_of_item};

use crate::cli::failure::Result;
use crate::cli::names::{self, Keywords};
use crate::cli::{Session, output};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The model; the file must not be changed in place meanwhile (rename a new one over it)
    model: PathBuf,
    /// The tag's name
    #[arg(required_unless_present_any = ["keywords", "keyword"], conflicts_with_all = ["keywords", "keyword"])]
    tag: Option<String>,
    #[command(flatten)]
    keywords: Keywords,
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
    /// Why there are none near; null if there are.
    reason: Option<&'static str>,
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
    let index = tag.map(|name| names::tag("TAG", name, model.tags(), arguments.model.display())).transpose()?;
    let tagger = session.tagger(model)?;
    let vocabulary = tagger.model().vocabulary();
    let (known, unknown): (Vec<&str>, Vec<&str>) =
        arguments.keywords.iter().partition(|keyword| vocabulary.get(keyword).is_some());
    let near = match index {
        Some(index) => nearest_tags(tagger.model(), index, top)?,
        None => {
            let ids: Vec<u32> = known.iter().filter_map(|keyword| vocabulary.get(keyword)).collect();
            nearest_tags_of_item(&tagger, &ids, top)?
        }
    };
    let groups = tagger.model().network().shape.groups().len();
    let reason = near.is_empty().then_some(match index {
        Some(_) if groups > 1 => {
            "tags of different groups have no common hidden units, and the group of this one has no other tag"
        }
        Some(_) => "the model has no other tag",
        None => "the model has no tags",
    });
    let near = near.iter().map(|near| Near { tag: &tagger.tags()[near.tag].name, similarity: near.similarity }).collect();
    let document = Document { tag, unknown, reason, near };
    if session.json {
        return output::print(output::json(&document)?);
    }
    let rows: Vec<_> =
        document.near.iter().map(|near| [output::name(near.tag).into_owned(), format!("{:.4}", near.similarity)]).collect();
    if !document.unknown.is_empty() {
        output::message(format_args!("unknown keywords: {}", output::names(&document.unknown)));
    }
    if let Some(reason) = document.reason {
        output::message(format_args!("nothing is near: {reason}"));
    }
    output::print(output::table(["tag", "cosine"], &rows))
}
