//! `tags add`: a new tag from examples, on the hidden units of a model.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;
use tagomatic::data::Encoder;
use tagomatic::teach::{Catalogue, Measures};

use super::Output;
use crate::cli::failure::{Failure, Result};
use crate::cli::load::{Items, Reading};
use crate::cli::{Session, names, output};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The model; the file must not be changed in place meanwhile (rename a new one over it)
    model: PathBuf,
    /// The new tag's name
    #[arg(long, value_name = "TAG")]
    name: String,
    /// Items that have the tag; whatever tags they state do not matter
    #[arg(long, value_name = "FILE")]
    examples: PathBuf,
    /// Items that do not have it
    #[arg(long, value_name = "FILE", required_unless_present = "catalogue")]
    negatives: Option<PathBuf>,
    /// Items of which few have it: some are drawn to be told apart from
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// How many are drawn
    #[arg(long, value_name = "N", default_value_t = DRAWN, requires = "catalogue")]
    draw: usize,
    /// Of a model with several groups: a tag of the group whose hidden units the new one is to have
    #[arg(long, value_name = "TAG")]
    beside: Option<String>,
    /// Seed of all that is random
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    output: Output,
}

/// Items drawn from a catalogue unless told otherwise.
const DRAWN: usize = 2000;

#[derive(Serialize)]
struct Document<'a> {
    tag: &'a str,
    id: u32,
    positives: usize,
    negatives: usize,
    /// From the items in memory to the model.
    seconds: f64,
    /// By cross-validation on the examples; null if they are too few.
    eval: Option<Eval>,
    threshold: f32,
    l2: f64,
    /// Examples without a keyword that the model knows.
    without_keywords: u64,
    model_bytes: usize,
}

#[derive(Serialize)]
struct Eval {
    log_loss: f64,
    auc: f64,
    ap: f64,
    precision: f64,
    recall: f64,
    f1: f64,
}

impl From<Measures> for Eval {
    fn from(measures: Measures) -> Self {
        let Measures { log_loss, auc, ap, precision, recall, f1 } = measures;
        Eval { log_loss, auc, ap, precision, recall, f1 }
    }
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    let Arguments { model: path, name, examples, negatives, catalogue, draw, beside, seed, reading, output } = arguments;
    output.check([path, examples].into_iter().chain(negatives).chain(catalogue))?;
    let tagger = session.tagger(session.model(path)?)?;
    let group = group(tagger.model(), beside.as_deref())?;

    // All items end to end, with where each file ends.
    let vocabulary = tagger.model().vocabulary();
    let mut encoder = Encoder::new(|keyword: &str| vocabulary.get(keyword), |_: &str| None);
    let mut ends = Vec::new();
    let mut items = 0_u32;
    for file in [Some(examples), negatives.as_ref(), catalogue.as_ref()] {
        for item in Items::new(file.map_or(&[], std::slice::from_ref), *reading)? {
            encoder.push(&item?)?;
            items += 1;
        }
        ends.push(items);
    }
    let (dataset, stats) = encoder.finish();

    let start = Instant::now();
    let units = Catalogue::new(&tagger, &dataset, group)?;
    let positives: Vec<u32> = (0..ends[0]).collect();
    let mut others: Vec<u32> = (ends[0]..ends[1]).collect();
    others.extend(units.draw_negatives(&dataset, &positives, ends[1]..ends[2], *draw, *seed));
    let taught = units.teach(&positives, &others, *seed).map_err(|error| match error {
        tagomatic::Error::UntrainableTag { positives, negatives, .. } => {
            tagomatic::Error::UntrainableTag { tag: name.clone(), positives, negatives }
        }
        error => error,
    })?;
    let model = taught.add_to(tagger.model(), name).map_err(Failure::of_model)?;
    let seconds = start.elapsed().as_secs_f64();
    let id = model.tags().get(name).map_or(0, |tag| model.tags()[tag].id);
    let document = Document {
        tag: name,
        id,
        positives: taught.positives,
        negatives: taught.negatives,
        seconds,
        eval: taught.measures.map(Eval::from),
        threshold: taught.threshold,
        l2: taught.l2,
        without_keywords: stats.without_keywords,
        model_bytes: model.byte_len(),
    };
    let text = document.text();
    output.write(session, &model, &document, text)
}

fn group(model: &tagomatic::Model, beside: Option<&str>) -> Result<usize> {
    let groups = model.network().shape.groups();
    match beside {
        None if groups.len() == 1 => Ok(0),
        None => {
            let message = "--beside: expected a tag whose hidden units the new one is to have, for the model has {} groups";
            Err(Failure::Usage(message.replace("{}", &groups.len().to_string())))
        }
        Some(name) => {
            let tag = names::tag("--beside", name, model.tags(), "the model")?;
            Ok(groups.iter().position(|group| group.tags.contains(&tag)).unwrap_or(0))
        }
    }
}

impl Document<'_> {
    /// For people.
    fn text(&self) -> String {
        let mut rows = vec![
            ("tag", format!("{}, id {}", output::plain(self.tag), self.id)),
            ("examples", format!("{} with it, {} without", output::count(self.positives), output::count(self.negatives))),
        ];
        rows.extend(output::counts(&[("of no known keyword", self.without_keywords)]));
        rows.push(("time", format!("{:.3} s", self.seconds)));
        rows.push(("threshold", format!("{:.4}", self.threshold)));
        if let Some(Eval { auc, ap, precision, recall, f1, .. }) = &self.eval {
            let text = format!("AUC {auc:.4}  AP {ap:.4}  precision {precision:.4}  recall {recall:.4}  F1 {f1:.4}");
            rows.push(("held-out examples", text));
        }
        output::list(&rows)
    }
}
