//! `tags taxonomy`: which tags are alike, and a proposal of groups.

use std::path::PathBuf;

use serde::Serialize;
use tagomatic::taxonomy::{Dendrogram, Similarities};
use tagomatic::{Tagger, Tags};

use crate::cli::failure::Result;
use crate::cli::load::{self, Reading};
use crate::cli::{Session, output};

#[derive(clap::Args)]
#[command(allow_negative_numbers = true)]
pub(super) struct Arguments {
    /// The model; the file must not be changed in place meanwhile (rename a new one over it)
    model: PathBuf,
    /// Compare tags by the correlation of their scores over these items, instead of by their output weights
    #[arg(long, value_name = "FILE")]
    on: Vec<PathBuf>,
    /// Propose groups of the tags that are alike to at least this degree, on average
    #[arg(long, value_name = "S", default_value_t = 0.5, value_parser = similarity)]
    min_similarity: f64,
    #[command(flatten)]
    reading: Reading,
}

fn similarity(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|s| (-1.0..=1.0).contains(s)).ok_or_else(|| "expected a number from -1 to 1".to_owned())
}

#[derive(Serialize)]
struct Document {
    /// The most alike first.
    merges: Vec<Merge>,
    groups: Vec<Group>,
}

#[derive(Serialize)]
struct Merge {
    /// A tag, or `#n` for what merge number n, counted from 1, has made.
    a: String,
    b: String,
    similarity: f64,
    size: usize,
}

#[derive(Serialize)]
struct Group {
    /// The tag that is most like the others.
    medoid: String,
    tags: Vec<String>,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    let tagger = session.tagger(load::model(&arguments.model)?)?;
    let similarities = similarities(session, &tagger, arguments)?;
    let dendrogram = similarities.cluster();
    let document = Document::new(&similarities, &dendrogram, arguments.min_similarity, tagger.tags());
    if session.json {
        return output::print(output::json(&document)?);
    }
    let name = |tag: usize| output::plain(&tagger.tags()[tag].name).into_owned();
    let mut text = dendrogram.tree(name);
    for group in &document.groups {
        text.push_str(&format!("\nlike {}: {}\n", output::plain(&group.medoid), output::plain(&group.tags.join(", "))));
    }
    output::print(text)
}

fn similarities(session: &Session, tagger: &Tagger, arguments: &Arguments) -> Result<Similarities> {
    if arguments.on.is_empty() {
        return Ok(Similarities::of_weights(tagger.model())?);
    }
    let vocabulary = tagger.model().vocabulary();
    let encoded = load::encode(&arguments.on, arguments.reading, None, |keyword| vocabulary.get(keyword), tagger.tags())?;
    Ok(Similarities::of_items(tagger, &encoded.dataset, session.pool.as_deref())?)
}

impl Document {
    fn new(similarities: &Similarities, dendrogram: &Dendrogram, min_similarity: f64, tags: &Tags) -> Self {
        let name = |tag: usize| tags[tag].name.clone();
        let group = |group: usize| match group.checked_sub(tags.len()) {
            None => name(group),
            Some(merge) => format!("#{}", merge + 1),
        };
        let merges = dendrogram.merges().iter();
        let groups = dendrogram.groups(min_similarity).into_iter();
        Document {
            merges: merges.map(|m| Merge { a: group(m.a), b: group(m.b), similarity: m.similarity, size: m.size }).collect(),
            groups: groups
                .map(|tags| Group {
                    medoid: similarities.medoid(&tags).map(name).unwrap_or_default(),
                    tags: tags.into_iter().map(name).collect(),
                })
                .collect(),
        }
    }
}
