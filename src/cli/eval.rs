//! `eval`: measures of a model on tagged items.

use std::path::PathBuf;

use serde::Serialize;
use tagomatic::data::Counts;
use tagomatic::evaluate::{Evaluated, evaluate};
use tagomatic::report::{self, About, Report};
use tagomatic::{Tagger, Tags};

use super::failure::Result;
use super::labels::Labelling;
use super::load::{Encoded, ReadCounts, Reading};
use super::target::Target;
use super::{Session, output};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The model; the file must not be changed in place meanwhile (rename a new one over it)
    model: PathBuf,
    /// Tagged items
    #[arg(required = true)]
    file: Vec<PathBuf>,
    #[command(flatten)]
    labelling: Labelling,
    /// A page of HTML with curves, mistakes and a table of the tags, in one file; compressed if its name ends in .gz
    #[arg(long, value_name = "R.html")]
    report: Option<PathBuf>,
    #[command(flatten)]
    reading: Reading,
}

/// Measures, as they stand in a JSON document; undefined ones are null.
#[derive(Serialize)]
pub(super) struct Measures<'a> {
    samples: usize,
    log_loss: f64,
    p_at_1: Option<f64>,
    p_at_3: Option<f64>,
    p_at_5: Option<f64>,
    ndcg_at_5: Option<f64>,
    psp_at_5: Option<f64>,
    micro_f1: f64,
    macro_f1: f64,
    macro_auc: Option<f64>,
    macro_ap: Option<f64>,
    brier: f64,
    ece: f64,
    zeros: Option<f64>,
    mean_activity: Option<f64>,
    dead_units: usize,
    always_on_units: usize,
    tags: Vec<TagMeasures<'a>>,
}

#[derive(Serialize)]
struct TagMeasures<'a> {
    tag: &'a str,
    positives: usize,
    auc: Option<f64>,
    ap: Option<f64>,
    precision: Option<f64>,
    recall: Option<f64>,
    f1: f64,
    threshold: f32,
}

/// What was read, and what of it was left out.
#[derive(Serialize)]
pub(super) struct Skipped {
    /// What made tags out of those of the items; null if nothing did.
    tagged_by: Option<&'static str>,
    #[serde(flatten)]
    read: ReadCounts,
    unknown_keywords: u64,
    unknown_tags: u64,
    without_keywords: u64,
    repeated_keywords: u64,
    repeated_tags: u64,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    measures: Measures<'a>,
    #[serde(flatten)]
    skipped: Skipped,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    let Arguments { model, file, labelling, report: page, reading } = arguments;
    let page = page.as_deref().map(|page| Target::new("--report", page));
    if let Some(page) = page {
        page.check(file.iter().chain(&labelling.rules).chain([model]), |path| report::check_save(path))?;
    }
    let model = session.model(model)?;
    let (encoded, skipped) = labelling.encode(file, *reading, &model)?;
    let tagger = session.tagger(model)?;
    let (evaluated, html) = match page {
        Some(_) => examine(session, &tagger, &encoded, arguments).map(|(evaluated, html)| (evaluated, Some(html)))?,
        None => (measure(session, &tagger, &encoded)?, None),
    };
    let measures = Measures::new(&evaluated, tagger.tags());
    let results = if session.json {
        output::json(&Document { measures, skipped })?
    } else {
        format!("{}{}\n{}", measures.summary(), output::list(&skipped.rows()), measures.table())
    };
    match (page, html) {
        (Some(page), Some(html)) => page.write("save the report", html.as_bytes(), &results),
        _ => output::print(results),
    }
}

/// Measures, and a page about them.
fn examine(session: &Session, tagger: &Tagger, encoded: &Encoded, arguments: &Arguments) -> Result<(Evaluated, String)> {
    let propensities = Counts::of_model(tagger.model())?.and_then(|counts| counts.propensities());
    let report = Report::new(tagger, &encoded.dataset, propensities.as_ref(), session.pool.as_deref())?;
    let name = |path: &PathBuf| path.file_name().map_or_else(|| "-".to_owned(), |name| name.to_string_lossy().into_owned());
    let item = |sample: usize| encoded.ids[sample].clone().unwrap_or_else(|| format!("item {}", sample + 1));
    let files: Vec<String> = arguments.file.iter().map(name).collect();
    let about = About { model: &name(&arguments.model), data: &files.join(", "), sample: &item };
    let page = report.html(tagger, &about)?;
    Ok((report.evaluated, page))
}

/// Measures with the propensities of the model's training data, if it remembers them.
pub(super) fn measure(session: &Session, tagger: &Tagger, encoded: &Encoded) -> Result<Evaluated> {
    let propensities = Counts::of_model(tagger.model())?.and_then(|counts| counts.propensities());
    Ok(evaluate(tagger, &encoded.dataset, propensities.as_ref(), session.pool.as_deref())?)
}

impl<'a> Measures<'a> {
    pub(super) fn new(evaluated: &Evaluated, tags: &'a Tags) -> Self {
        let evaluation = &evaluated.evaluation;
        let summary = &evaluation.summary;
        let tag = |(tag, measures): (&'a tagomatic::Tag, &tagomatic::metrics::TagEvaluation)| TagMeasures {
            tag: &tag.name,
            positives: measures.positives,
            auc: measures.auc,
            ap: measures.ap,
            precision: measures.precision,
            recall: measures.recall,
            f1: measures.f1,
            threshold: tag.threshold,
        };
        Measures {
            samples: summary.samples,
            log_loss: summary.log_loss,
            p_at_1: summary.p_at_1,
            p_at_3: summary.p_at_3,
            p_at_5: summary.p_at_5,
            ndcg_at_5: summary.ndcg_at_5,
            psp_at_5: summary.psp_at_5,
            micro_f1: evaluation.micro_f1,
            macro_f1: evaluation.macro_f1,
            macro_auc: evaluation.macro_auc.value,
            macro_ap: evaluation.macro_ap.value,
            brier: summary.brier,
            ece: summary.ece,
            zeros: evaluated.hidden.zeros,
            mean_activity: evaluated.hidden.mean,
            dead_units: evaluated.hidden.dead_units,
            always_on_units: evaluated.hidden.always_on_units,
            tags: tags.iter().zip(&evaluation.tags).map(tag).collect(),
        }
    }

    /// The measures of all tags together, for people.
    pub(super) fn summary(&self) -> String {
        let row = |name, measures: &[(&str, Option<f64>)]| {
            let measures: Vec<String> =
                measures.iter().map(|(name, value)| format!("{name} {}", output::measure(*value))).collect();
            (name, measures.join("  "))
        };
        output::list(&[
            ("samples", output::count(self.samples)),
            row(
                "ranking",
                &[
                    ("P@1", self.p_at_1),
                    ("P@3", self.p_at_3),
                    ("P@5", self.p_at_5),
                    ("nDCG@5", self.ndcg_at_5),
                    ("PSP@5", self.psp_at_5),
                ],
            ),
            row("decisions", &[("micro-F1", Some(self.micro_f1)), ("macro-F1", Some(self.macro_f1))]),
            row("curves", &[("macro-AUC", self.macro_auc), ("macro-AP", self.macro_ap)]),
            row("probabilities", &[("log-loss", Some(self.log_loss)), ("Brier", Some(self.brier)), ("ECE", Some(self.ece))]),
            (
                "hidden units",
                format!(
                    "{} zero, {} dead, {} always on, mean |h| {}",
                    percent(self.zeros),
                    self.dead_units,
                    self.always_on_units,
                    output::measure(self.mean_activity)
                ),
            ),
        ])
    }

    /// The measures of each tag, for people: the most frequent first.
    fn table(&self) -> String {
        let mut tags: Vec<&TagMeasures<'_>> = self.tags.iter().collect();
        tags.sort_by_key(|tag| std::cmp::Reverse(tag.positives));
        let rows = tags.into_iter().map(|tag| {
            [
                output::name(tag.tag).into_owned(),
                output::count(tag.positives),
                output::measure(tag.auc),
                output::measure(tag.ap),
                output::measure(tag.precision),
                output::measure(tag.recall),
                output::measure(Some(tag.f1)),
                format!("{:.4}", tag.threshold),
            ]
        });
        let header = ["tag", "positives", "AUC", "AP", "precision", "recall", "F1", "threshold"];
        output::table(header, &rows.collect::<Vec<_>>())
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0))
}

impl Skipped {
    pub(super) fn of(encoded: &Encoded, tagged_by: Option<&'static str>) -> Self {
        let stats = encoded.stats;
        Skipped {
            tagged_by,
            read: encoded.read,
            unknown_keywords: stats.unknown_keywords,
            unknown_tags: stats.unknown_tags,
            without_keywords: stats.without_keywords,
            repeated_keywords: stats.repeated_keywords,
            repeated_tags: stats.repeated_tags,
        }
    }

    /// What is worth telling, for people.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let [skipped, binarized] = self.read.rows();
        let mut rows: Vec<_> = self.tagged_by.map(|by| ("tagged by", by.to_owned())).into_iter().collect();
        rows.extend(output::counts(&[
            skipped,
            binarized,
            ("unknown keywords", self.unknown_keywords),
            ("unknown tags", self.unknown_tags),
            ("items without known keywords", self.without_keywords),
            ("repeated keywords", self.repeated_keywords),
            ("repeated tags", self.repeated_tags),
        ]));
        rows
    }
}
