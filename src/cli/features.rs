//! `features`: what a model says of items, for another model or another program to learn from.

use std::path::{Path, PathBuf};

use serde::Serialize;
use tagomatic::Tagger;
use tagomatic::data::{Format, write_item};
use tagomatic::features::{DecidedTags, Features, Kind, write_npy};

use super::failure::{Failure, Result};
use super::load::{Items, ReadCounts, Reading};
use super::target::{Sink, Target};
use super::{Session, output};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The model; the file must not be changed in place meanwhile (rename a new one over it)
    model: PathBuf,
    /// Items
    #[arg(required = true)]
    file: Vec<PathBuf>,
    /// Where they go: a NumPy file; with `--what keywords` JSON Lines, compressed if the name
    /// ends in .gz, and - is standard output
    #[arg(long, value_name = "F.npy")]
    out: PathBuf,
    /// Scores, calibrated logits, 1 or 0 by the thresholds; or items whose keywords are the tags that were given
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = What::Confidences)]
    what: What,
    /// The hidden units
    #[arg(long, conflicts_with = "what")]
    hidden: bool,
    #[command(flatten)]
    reading: Reading,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    Confidences,
    Logits,
    Decisions,
    Keywords,
}

#[derive(Serialize)]
struct Document {
    rows: u64,
    columns: usize,
    #[serde(flatten)]
    read: ReadCounts,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    let Arguments { model, file, out, what, hidden, reading } = arguments;
    let target = Target::new("--out", out);
    let kind = match what {
        _ if *hidden => Some(Kind::Hidden),
        What::Confidences => Some(Kind::Confidences),
        What::Logits => Some(Kind::Logits),
        What::Decisions => Some(Kind::Decisions),
        What::Keywords => None,
    };
    if target.is_stdout() && kind.is_some() {
        let expected =
            "--out: expected a file, found -: a NumPy file starts with its number of rows, which is known at the end";
        return Err(Failure::Usage(expected.to_owned()));
    }
    let inputs = file.iter().chain([model]);
    if kind.is_some() {
        target.check_plain(inputs, |_| Ok(()))?
    } else {
        target.check(inputs, |_| Ok(()))?
    }
    let tagger = session.tagger(session.model(model)?)?;
    let mut items = Items::new(file, *reading)?;
    let (rows, columns) = match kind {
        Some(kind) => {
            let mut features = Features::new(&tagger, kind);
            (write_npy(&mut features, &mut items, out)?, features.columns())
        }
        None => {
            let mut sink = target.create("write the items")?;
            let rows = write_items(&tagger, &mut items, &mut sink)?;
            sink.publish()?;
            (rows, tagger.tags().len())
        }
    };
    let document = Document { rows, columns, read: items.counts() };
    let results = if session.json { output::json(&document)? } else { document.text(out) };
    target.tell(&results)
}

/// Writes items whose keywords are their tags; returns how many.
fn write_items(tagger: &Tagger, items: &mut Items<'_>, sink: &mut Sink) -> Result<u64> {
    let mut decided = DecidedTags::new(tagger);
    let mut rows = 0_usize;
    for item in items {
        let mut line = Vec::new();
        write_item(&mut line, "-", Format::JsonLines, rows, &decided.item(item?)?)?;
        sink.write(&line)?;
        rows += 1;
    }
    Ok(rows as u64)
}

impl Document {
    /// For people.
    fn text(&self, out: &Path) -> String {
        let mut rows = vec![("rows", output::count(self.rows)), ("columns", output::count(self.columns))];
        rows.extend(output::counts(&self.read.rows()));
        rows.push(("saved", out.display().to_string()));
        output::list(&rows)
    }
}
