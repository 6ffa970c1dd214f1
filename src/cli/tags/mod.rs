//! `tags`: commands about the tags of a model.

mod add;
mod list;
mod merge;
mod near;
mod remove;
mod rename;
mod taxonomy;

use std::path::{Path, PathBuf};

use serde::Serialize;
use tagomatic::Model;

use super::failure::Result;
use super::target::Target;
use super::{Session, output};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// The tags, with their ids and thresholds
    List(list::Arguments),
    /// Teach a model a new tag by examples; the other tags' scores stay the same bits
    Add(add::Arguments),
    /// Take tags out of a model; the other tags' scores stay the same bits
    Remove(remove::Arguments),
    /// Give a tag another name
    Rename(rename::Arguments),
    /// Make one model of several with the same vocabulary, such as banks of tags trained apart
    Merge(merge::Arguments),
    /// The tags nearest to one, or to an item, by the cosine of output weights
    Near(near::Arguments),
    /// Which tags are alike, as a tree, and a proposal of groups
    Taxonomy(taxonomy::Arguments),
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    match &arguments.command {
        Command::List(arguments) => list::run(session, arguments),
        Command::Add(arguments) => add::run(session, arguments),
        Command::Remove(arguments) => remove::run(session, arguments),
        Command::Rename(arguments) => rename::run(session, arguments),
        Command::Merge(arguments) => merge::run(session, arguments),
        Command::Near(arguments) => near::run(session, arguments),
        Command::Taxonomy(arguments) => taxonomy::run(session, arguments),
    }
}

/// Where the new model goes.
#[derive(clap::Args)]
struct Output {
    /// Where the new model goes; it appears whole or not at all. For - it goes to standard output, and the report to standard error
    #[arg(long, value_name = "N.tagm")]
    out: PathBuf,
}

impl Output {
    fn target(&self) -> Target<'_> {
        Target::new("--out", &self.out)
    }

    /// Fails early where the model could not be written.
    fn check(&self, inputs: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<()> {
        self.target().check_model(inputs)
    }

    /// Writes the model, and tells what became of it.
    fn write(&self, session: &Session, model: &Model, document: &impl Serialize, text: String) -> Result<()> {
        let results = if session.json {
            output::json(document)?
        } else {
            format!("{text}saved {}: {}\n", self.out.display(), output::size(model.byte_len()))
        };
        self.target().write_model(model, &results)
    }
}
