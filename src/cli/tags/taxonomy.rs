//! `tags taxonomy`: which tags are alike, and a proposal of groups.

use std::path::PathBuf;

use serde::Serialize;
use tagomatic::taxonomy::{Dendrogram, Similarities, propose};
use tagomatic::{Tagger, Tags};

use crate::cli::failure::Result;
use crate::cli::load::{self, Reading};
use crate::cli::target::Target;
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
    /// Write tag rules that make a parent of each group, for `train --tags`; for - to standard output, and the tree to standard error
    #[arg(long, value_name = "RULES.toml")]
    out: Option<PathBuf>,
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
    let target = arguments.out.as_deref().map(|out| Target::new("--out", out));
    if let Some(target) = target {
        target.check(arguments.on.iter().chain([&arguments.model]), |_| Ok(()))?;
    }
    let tagger = session.tagger(session.model(&arguments.model)?)?;
    let similarities = similarities(session, &tagger, arguments)?;
    let dendrogram = similarities.cluster();
    let groups = dendrogram.groups(arguments.min_similarity);
    let rules = target.map(|_| propose(&similarities, &groups, tagger.tags())).transpose()?.map(|rules| rules.to_string());
    let document = Document::new(&similarities, &dendrogram, groups, tagger.tags());
    let results = if session.json { output::json(&document)? } else { document.text(&dendrogram, tagger.tags()) };
    let (Some(target), Some(rules)) = (target, rules) else { return output::print(results) };
    target.write("write the rules", rules.as_bytes(), &results)
}

impl Document {
    /// For people.
    fn text(&self, dendrogram: &Dendrogram, tags: &Tags) -> String {
        let mut text = dendrogram.tree(|tag| output::plain(&tags[tag].name).into_owned());
        for group in &self.groups {
            text.push_str(&format!("\nlike {}: {}\n", output::plain(&group.medoid), output::plain(&group.tags.join(", "))));
        }
        text
    }
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
    fn new(similarities: &Similarities, dendrogram: &Dendrogram, groups: Vec<Vec<usize>>, tags: &Tags) -> Self {
        let name = |tag: usize| tags[tag].name.clone();
        let group = |group: usize| match group.checked_sub(tags.len()) {
            None => name(group),
            Some(merge) => format!("#{}", merge + 1),
        };
        let merges = dendrogram.merges().iter();
        Document {
            merges: merges.map(|m| Merge { a: group(m.a), b: group(m.b), similarity: m.similarity, size: m.size }).collect(),
            groups: groups
                .into_iter()
                .map(|tags| Group {
                    medoid: similarities.medoid(&tags).map(name).unwrap_or_default(),
                    tags: tags.into_iter().map(name).collect(),
                })
                .collect(),
        }
    }
}
