//! `explain`: what each keyword adds to a tag's logit.

use std::path::PathBuf;

use serde::Serialize;
use tagomatic::explain::{Flip, explain, flip};

use super::failure::{Failure, Result};
use super::names::{self, Keywords};
use super::{Session, output};

#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("item").args(["keywords", "keyword"]).required(true).multiple(true))]
pub(super) struct Arguments {
    /// The model; the file must not be changed in place meanwhile (rename a new one over it)
    model: PathBuf,
    #[command(flatten)]
    keywords: Keywords,
    /// The tag to explain; the best one unless told otherwise
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
}

#[derive(Serialize)]
struct Document<'a> {
    tag: &'a str,
    score: f32,
    /// Null if the tag is never given.
    threshold: Option<f32>,
    /// What the bias and the keywords add up to.
    logit: f32,
    /// What the model's calibration makes of it; null without one.
    calibrated_logit: Option<f32>,
    bias: f64,
    /// By falling size of the contribution.
    keywords: Vec<KeywordDocument<'a>>,
    /// Keywords without which the decision would be the other one; null if there are none.
    flip: Option<Vec<&'a str>>,
    /// Whether no smaller set of keywords would do; false if there are too many sets to try.
    flip_is_smallest: bool,
    /// Keywords that the model does not know.
    unknown: Vec<&'a str>,
}

#[derive(Serialize)]
struct KeywordDocument<'a> {
    keyword: &'a str,
    contribution: f64,
    score_without: f32,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    let tagger = session.tagger(session.model(&arguments.model)?)?;
    let (mut known, mut unknown): (Vec<(u32, &str)>, Vec<&str>) = (Vec::new(), Vec::new());
    for keyword in arguments.keywords.iter() {
        match tagger.model().vocabulary().get(keyword) {
            Some(id) => known.push((id, keyword)),
            None if unknown.contains(&keyword) => (),
            None => unknown.push(keyword),
        }
    }
    let ids: Vec<u32> = known.iter().map(|(id, _)| *id).collect();
    let name = |id: u32| known.iter().find(|(known, _)| *known == id).map_or("", |(_, keyword)| *keyword);
    let tag = match &arguments.tag {
        Some(tag) => names::tag("--tag", tag, tagger.tags(), "the model")?,
        None if tagger.tags().is_empty() => {
            let model = arguments.model.display();
            return Err(Failure::Work(format!(
                "{model}: expected a model with tags, found one without (see `tagomatic tags add`)"
            )));
        }
        None => {
            let mut scores = vec![0.0; tagger.tags().len()];
            tagger.score(&ids, &mut tagger.scratch(), &mut scores)?;
            (0..scores.len()).rev().max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(0)
        }
    };
    let explanation = explain(&tagger, &ids, tag).map_err(Failure::of_model)?;
    let mut keywords: Vec<KeywordDocument<'_>> = explanation
        .keywords
        .iter()
        .map(|part| KeywordDocument {
            keyword: name(part.id),
            contribution: part.contribution,
            score_without: part.score_without,
        })
        .collect();
    keywords.sort_by(|a, b| b.contribution.abs().total_cmp(&a.contribution.abs()));
    let Flip { keywords: flip, is_smallest } = flip(&tagger, &ids, tag)?;
    let threshold = tagger.tags()[tag].threshold;
    let document = Document {
        tag: &tagger.tags()[tag].name,
        score: explanation.score,
        threshold: threshold.is_finite().then_some(threshold),
        logit: explanation.logit,
        calibrated_logit: explanation.calibrated_logit,
        bias: explanation.bias,
        keywords,
        flip: flip.map(|ids| ids.into_iter().map(name).collect()),
        flip_is_smallest: is_smallest,
        unknown,
    };
    output::print(if session.json { output::json(&document)? } else { document.text() })
}

impl Document<'_> {
    fn flips_without(&self) -> String {
        match (&self.flip, self.flip_is_smallest) {
            (Some(flip), true) => output::names(flip),
            (Some(flip), false) => format!("{} (fewer may do)", output::names(flip)),
            (None, true) => "-, whichever keywords go".to_owned(),
            (None, false) => "-, as far as tried".to_owned(),
        }
    }

    /// For people.
    fn text(&self) -> String {
        let threshold = self.threshold.map_or_else(|| "never".to_owned(), |threshold| format!("from {threshold:.4}"));
        let mut rows = vec![
            ("tag", output::plain(self.tag).into_owned()),
            ("score", format!("{:.4}, given {threshold}", self.score)),
            ("logit", format!("{:.4}", self.logit)),
        ];
        if let Some(calibrated) = self.calibrated_logit {
            rows.push(("calibrated", format!("{calibrated:.4}")));
        }
        rows.push(("flips without", self.flips_without()));
        if !self.unknown.is_empty() {
            rows.push(("unknown", output::names(&self.unknown)));
        }
        let row = |part: &KeywordDocument<'_>| {
            let keyword = output::name(part.keyword).into_owned();
            [keyword, format!("{:+.4}", part.contribution), format!("{:.4}", part.score_without)]
        };
        let mut table: Vec<_> = self.keywords.iter().map(row).collect();
        table.push(["(bias)".to_owned(), format!("{:+.4}", self.bias), "-".to_owned()]);
        format!("{}\n{}", output::list(&rows), output::table(["keyword", "adds", "score without"], &table))
    }
}
