//! A report on a model and a data set: measures with their uncertainty, curves, mistakes and their reasons.
//!
//! First come data: everything that is shown is a field of [`Report`], made by functions that only compute. [`Report::html`] makes
//! one page of it, which needs nothing else: no network, no other file.
//!
//! Curves are of *pairs* of a sample and a tag, all tags together, or means over the tags that have positives.
//!
//! ```
//! # fn main() -> tagomatic::Result<()> {
//! use tagomatic::data::Dataset;
//! use tagomatic::report::{About, Report};
//! # let tagger = tagomatic::Tagger::new(tagomatic::Model::open("models/movies.tagm")?);
//! # let mut test = Dataset::new();
//! # (0..60).try_for_each(|n| test.push(&[n, n + 1, 2 * n], &[n % 60], 1.0).map(drop))?;
//! let report = Report::new(&tagger, &test, None, None)?;
//! let about = About { model: "movies.tagm", data: "test films", sample: &|sample| format!("film {sample}") };
//! let page = report.html(&tagger, &about)?;
//! assert!(page.contains("movies.tagm"));
//! // tagomatic::report::save(&page, "report.html")?;
//! # Ok(())
//! # }
//! ```

mod bootstrap;
mod curves;
mod html;
mod learning;
mod mistakes;
mod plot;

pub use bootstrap::{Interval, Intervals};
pub use curves::{Curves, Operation, ReliabilityBin};
pub use html::About;
pub use learning::LearningCurve;
pub use mistakes::{Mistake, Mistakes};

use std::path::Path;

use crate::atomic;
use crate::data::Dataset;
use crate::error::Result;
use crate::evaluate::{Evaluated, examine};
use crate::metrics::{Predictions, Propensities};
use crate::tagger::Tagger;

/// Writes a page to the file at `path`, whole or not at all.
///
/// # Errors
/// [`crate::Error::Io`]; then an old file stays.
pub fn save(page: &str, path: impl AsRef<Path>) -> Result<()> {
    atomic::write(path.as_ref(), "save the report", page.as_bytes())
}

/// Fails if [`save`] would fail at `path` now, for want of a folder or a permission.
///
/// # Errors
/// As [`save`].
pub fn check_save(path: impl AsRef<Path>) -> Result<()> {
    atomic::check(path.as_ref(), "save the report")
}

/// All that is reported.
#[derive(Clone, Debug)]
pub struct Report {
    /// The measures that `eval` gives.
    pub evaluated: Evaluated,
    /// How far measures vary with the choice of samples.
    pub intervals: Intervals,
    /// ROC, precision and recall, thresholds, reliability.
    pub curves: Curves,
    /// Loss and validation score of each epoch, if the model remembers them.
    pub learning: Option<LearningCurve>,
    /// Of each hidden unit the share of samples for which it is not zero.
    pub activity: Vec<f64>,
    /// The decisions that are furthest from the truth.
    pub mistakes: Mistakes,
}

impl Report {
    /// Reports on `tagger` and `dataset`, dividing the work between the threads of `pool` if there is one, on which nothing depends.
    ///
    /// # Errors
    /// As [`crate::evaluate::evaluate`].
    pub fn new(
        tagger: &Tagger,
        dataset: &Dataset,
        propensities: Option<&Propensities>,
        pool: Option<&rayon::ThreadPool>,
    ) -> Result<Self> {
        let (evaluated, scored) = examine(tagger, dataset, propensities, pool)?;
        let tags = tagger.tags();
        let predictions = Predictions::new(&scored.output, tags.len(), dataset.tag_sets())?;
        let thresholds: Vec<f32> = tags.iter().map(|tag| tag.threshold).collect();
        let bootstrap = || Intervals::new(&predictions, &thresholds, pool.is_some());
        Ok(Report {
            evaluated,
            intervals: pool.map_or_else(bootstrap, |pool| pool.install(bootstrap)),
            curves: Curves::new(&predictions)?,
            learning: LearningCurve::of_model(tagger.model())?,
            activity: scored.sparsity.activity(),
            mistakes: Mistakes::new(tagger, dataset, &predictions, &thresholds)?,
        })
    }
}
