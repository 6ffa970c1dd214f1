//! `convert`: a model with narrower weights, without what changes no score, or from and to safetensors.

use std::path::{Path, PathBuf};

use serde::Serialize;
use tagomatic::convert::{Conversion, Converted, convert};
use tagomatic::interchange::{self, Names};
use tagomatic::weights::WeightType;
use tagomatic::{Error, Model};

use super::failure::{Failure, Result};
use super::load::{self, Reading};
use super::target::{Target, is_safetensors};
use super::{Session, output};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The model, a .safetensors file maybe; the file must not be changed in place meanwhile (rename a new one over it)
    model: PathBuf,
    /// Where the new model goes, as safetensors if it is called so; it appears whole or not at all. For - it goes to standard output, and
    /// the report to standard error
    out: PathBuf,
    /// Round the weights of both layers to this type
    #[arg(long, value_name = "f32|f16|bf16|i8")]
    weights: Option<WeightType>,
    /// Hold weights that the type cannot represent to its largest number, instead of failing
    #[arg(long, requires = "weights")]
    saturate: bool,
    /// Remove hidden units and keywords that change no score; such keywords are unknown to the new model
    #[arg(long)]
    prune: bool,
    /// The keywords of a .safetensors file that does not name them: a line each, in the order of the rows
    #[arg(long, value_name = "FILE")]
    vocabulary: Option<PathBuf>,
    /// The tags of a .safetensors file that does not name them, likewise
    #[arg(long, value_name = "FILE")]
    tags: Option<PathBuf>,
    /// Measure on these items too how far rounding moves logits
    #[arg(long, value_name = "FILE", requires = "weights")]
    data: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
}

#[derive(Serialize)]
struct Document<'a> {
    bytes_in: usize,
    bytes_out: usize,
    weights: String,
    /// Of all roundings of the weights so far; null if there was none.
    max_logit_error: Option<f64>,
    /// What it never surpasses for a set of up to `bound_keywords` keywords; null if that is unknown.
    logit_error_bound: Option<f64>,
    bound_keywords: Option<u64>,
    saturated: usize,
    pruned_units: usize,
    pruned_keywords: usize,
    signature: &'a str,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    let Arguments { model: path, out, weights, saturate, prune, vocabulary, tags, data, reading } = arguments;
    if weights.is_none() && !prune && !is_safetensors(path) && !is_safetensors(out) {
        let problem = "convert: expected --weights, --prune or a .safetensors file, found none of them";
        return Err(Failure::Usage(problem.to_owned()));
    }
    if !is_safetensors(path) && (vocabulary.is_some() || tags.is_some()) {
        let problem = "--vocabulary, --tags: expected a .safetensors file as the model, found another";
        return Err(Failure::Usage(problem.to_owned()));
    }
    let target = Target::new("OUT", out);
    let inputs = data.iter().chain(vocabulary).chain(tags);
    if is_safetensors(out) {
        target.check_plain(inputs, |path| Model::check_save(path))?
    } else {
        target.check_model(inputs)?
    }
    let model = if is_safetensors(path) {
        let names =
            Names { keywords: vocabulary.as_deref().map(lines).transpose()?, tags: tags.as_deref().map(lines).transpose()? };
        load::check_size(path, session.max_model)?;
        interchange::open_within(path, names, session.max_model)?
    } else {
        session.model(path)?
    };
    let dataset = if data.is_empty() {
        tagomatic::data::Dataset::new()
    } else {
        load::encode(data, *reading, None, |keyword| model.vocabulary().get(keyword), model.tags())?.dataset
    };
    let items = (0..dataset.len()).map(|item| dataset.keywords(item));
    let how = Conversion { weights: *weights, saturate: *saturate, prune: *prune };
    let Converted { model: converted, logit_error, saturated, pruned_units, pruned_keywords } = convert(&model, how, items)?;
    let (bytes_in, bytes_out, types) = (model.byte_len(), converted.byte_len(), output::weights(&converted));
    let tagger = session.tagger(converted)?;
    let signature = output::signature(&tagger)?;
    let bound = logit_error.map(|error| error.bound).filter(|bound| bound.is_finite());
    let document = Document {
        bytes_in,
        bytes_out,
        weights: types,
        max_logit_error: logit_error.map(|error| error.measured),
        logit_error_bound: bound,
        bound_keywords: logit_error.map(|error| error.keywords),
        saturated,
        pruned_units,
        pruned_keywords,
        signature: &signature,
    };
    let results = if session.json { output::json(&document)? } else { format!("{}saved {}\n", document.text(), out.display()) };
    let model = tagger.model();
    if is_safetensors(out) {
        return target.write_by(model.bytes(), |path| interchange::save(model, path), &results);
    }
    target.write_model(model, &results)
}

fn lines(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| Error::Io { path: path.to_owned(), doing: "read", source })?;
    Ok(text.lines().map(str::to_owned).collect())
}

impl Document<'_> {
    /// For people.
    fn text(&self) -> String {
        let mut rows = vec![
            ("bytes", format!("{} -> {}", output::size(self.bytes_in), output::size(self.bytes_out))),
            ("weights", self.weights.clone()),
        ];
        if let (Some(error), Some(keywords)) = (self.max_logit_error, self.bound_keywords) {
            let bound = self.logit_error_bound.map_or_else(|| "no bound".to_owned(), |bound| format!("at most {bound:.3}"));
            // Of models that were rounded before, too.
            rows.push((
                "largest logit error",
                format!("{error:.6} measured in all roundings so far, {bound} for {keywords} keywords"),
            ));
        }
        if self.saturated > 0 {
            rows.push(("saturated weights", output::count(self.saturated)));
        }
        if self.pruned_units + self.pruned_keywords > 0 {
            let removed = [(self.pruned_units, "hidden units"), (self.pruned_keywords, "keywords")];
            rows.push(("removed", removed.map(|(count, what)| format!("{} {what}", output::count(count))).join(", ")));
        }
        rows.push(("signature", self.signature.to_owned()));
        output::list(&rows)
    }
}
