//! `tune`: scores are calibrated and thresholds chosen on validation data, and stored.

use std::path::PathBuf;

use serde::Serialize;
use tagomatic::Tags;
use tagomatic::calibrate::Method;
use tagomatic::tune::{ThresholdRule, Tuned, Wishes, tune};

use super::eval::Skipped;
use super::failure::Result;
use super::folds::FoldCounts;
use super::labels::Labelling;
use super::load::Reading;
use super::target::Target;
use super::{Session, names, output};

#[derive(clap::Args)]
#[command(allow_negative_numbers = true)]
pub(super) struct Arguments {
    /// The model; the file must not be changed in place meanwhile (rename a new one over it)
    model: PathBuf,
    /// Tagged items to choose on: neither those of training nor those of the test
    #[arg(required = true)]
    valid: Vec<PathBuf>,
    /// Where the tuned model goes; it appears whole or not at all. For - it goes to standard output, and the report to standard error
    #[arg(long, value_name = "N.tagm")]
    out: PathBuf,
    /// The best F1, the best recall at a precision, the best precision at a recall, or this very threshold
    #[arg(long, value_name = "f1|precision:P|recall:R|T", default_value_t = ThresholdRule::F1)]
    threshold: ThresholdRule,
    /// Calibrate scores first, so that of the items with score 0.3 three in ten have the tag: by a slope and a shift of each tag's
    /// logit, or by any map that does not fall; tags with few positives share a map
    #[arg(long, value_name = "platt|isotonic")]
    calibrate: Option<Method>,
    /// Only this tag; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    #[command(flatten)]
    labelling: Labelling,
    #[command(flatten)]
    reading: Reading,
}

/// What was tuned, as it stands in a JSON document.
#[derive(Serialize)]
pub(super) struct Document {
    samples: usize,
    /// Of items that were divided for it.
    #[serde(flatten)]
    folds: Option<FoldCounts>,
    /// Pairs on which nothing was chosen, since rules exclude them; measures count them as negatives.
    excluded_pairs: usize,
    ece_before: f64,
    ece_after: f64,
    brier_before: f64,
    brier_after: f64,
    micro_f1_before: f64,
    micro_f1_after: f64,
    macro_f1_before: f64,
    macro_f1_after: f64,
    tags: Vec<TagDocument>,
    /// Of files that were read for it.
    #[serde(flatten)]
    skipped: Option<Skipped>,
}

/// Measures are those on the validation items.
#[derive(Serialize)]
struct TagDocument {
    tag: String,
    /// Null if the tag is never given.
    threshold: Option<f32>,
    threshold_before: Option<f32>,
    positives: usize,
    precision: Option<f64>,
    recall: Option<f64>,
    f1: f64,
    /// Whether it has no positives here, so that nothing could be chosen.
    kept: bool,
    /// Whether it shares the common map, for want of items to calibrate on.
    pooled: bool,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    let Arguments { model: path, valid, out, threshold, calibrate, tags, labelling, reading } = arguments;
    let target = Target::new("--out", out);
    target.check_model(valid.iter().chain(&labelling.rules))?;
    let model = session.model(path)?;
    let tags = (!tags.is_empty()).then(|| names::tags("--tag", tags, model.tags(), "the model")).transpose()?;
    let (encoded, skipped) = labelling.encode(valid, *reading, &model)?;
    let tagger = session.tagger(model)?;
    let wishes = Wishes { threshold: *threshold, calibrate: *calibrate, tags: tags.as_deref() };
    let tuned = tune(&tagger, &encoded.dataset, wishes, session.pool.as_deref())?;
    let document = Document::new(&tuned, tagger.tags(), None, Some(skipped));

    let results = if session.json {
        output::json(&document)?
    } else {
        format!("{}\nsaved {}: {}\n", document.text(), out.display(), output::size(tuned.model.byte_len()))
    };
    target.write_model(&tuned.model, &results)
}

impl Document {
    pub(super) fn new(tuned: &Tuned, old: &Tags, folds: Option<FoldCounts>, skipped: Option<Skipped>) -> Self {
        let Tuned { model, before, after, kept, pooled, excluded_pairs } = tuned;
        let finite = |threshold: f32| threshold.is_finite().then_some(threshold);
        let tags = model.tags().iter().zip(old).zip(&after.tags).enumerate();
        Document {
            samples: after.summary.samples,
            folds,
            excluded_pairs: *excluded_pairs,
            ece_before: before.summary.ece,
            ece_after: after.summary.ece,
            brier_before: before.summary.brier,
            brier_after: after.summary.brier,
            micro_f1_before: before.micro_f1,
            micro_f1_after: after.micro_f1,
            macro_f1_before: before.macro_f1,
            macro_f1_after: after.macro_f1,
            tags: tags
                .map(|(index, ((tag, old), measures))| TagDocument {
                    tag: tag.name.clone(),
                    threshold: finite(tag.threshold),
                    threshold_before: finite(old.threshold),
                    positives: measures.positives,
                    precision: measures.precision,
                    recall: measures.recall,
                    f1: measures.f1,
                    kept: kept.contains(&index),
                    pooled: pooled.contains(&index),
                })
                .collect(),
            skipped,
        }
    }

    /// For people, without the table of the tags.
    pub(super) fn summary(&self) -> String {
        let change = |before: f64, after: f64| format!("{before:.4} -> {after:.4}");
        let mut rows = vec![
            ("items", output::count(self.samples)),
            ("micro-F1", change(self.micro_f1_before, self.micro_f1_after)),
            ("macro-F1", change(self.macro_f1_before, self.macro_f1_after)),
            ("ECE", change(self.ece_before, self.ece_after)),
            ("Brier", change(self.brier_before, self.brier_after)),
        ];
        let names = |wanted: fn(&TagDocument) -> bool| {
            let tags: Vec<_> = self.tags.iter().filter(|tag| wanted(tag)).map(|tag| output::name(&tag.tag)).collect();
            tags.join(", ")
        };
        for (what, names) in [
            ("no positives, threshold kept", names(|tag| tag.kept)),
            ("too few items, calibrated together", names(|tag| tag.pooled)),
            ("no threshold serves, never given now", names(|tag| tag.threshold.is_none() && tag.threshold_before.is_some())),
        ] {
            if !names.is_empty() {
                rows.push((what, names));
            }
        }
        if let Some(FoldCounts { folds, needed_by_all }) = self.folds {
            rows.push((
                "folds",
                format!("{folds}, without {} items that no model could do without", output::count(needed_by_all)),
            ));
        }
        if self.excluded_pairs > 0 {
            rows.push(("near-synonyms, negatives here only", output::count(self.excluded_pairs)));
        }
        rows.extend(self.skipped.as_ref().map(Skipped::rows).unwrap_or_default());
        output::list(&rows)
    }

    /// For people.
    fn text(&self) -> String {
        let threshold =
            |threshold: Option<f32>| threshold.map_or_else(|| "never".to_owned(), |threshold| format!("{threshold:.4}"));
        let table: Vec<_> = self
            .tags
            .iter()
            .map(|tag| {
                [
                    output::name(&tag.tag).into_owned(),
                    output::count(tag.positives),
                    threshold(tag.threshold_before),
                    threshold(tag.threshold),
                    output::measure(tag.precision),
                    output::measure(tag.recall),
                    output::measure(Some(tag.f1)),
                ]
            })
            .collect();
        let header = ["tag", "positives", "before", "threshold", "precision", "recall", "F1"];
        format!("{}\n{}", self.summary(), output::table(header, &table))
    }
}
