//! `tags`: commands about the tags of a model.

mod near;
mod taxonomy;

use super::Session;
use super::failure::Result;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// The tags nearest to one, or to an item, by the cosine of output weights
    Near(near::Arguments),
    /// Which tags are alike, as a tree, and a proposal of groups
    Taxonomy(taxonomy::Arguments),
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    match &arguments.command {
        Command::Near(arguments) => near::run(session, arguments),
        Command::Taxonomy(arguments) => taxonomy::run(session, arguments),
    }
}
