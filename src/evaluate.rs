//! Scores a data set and measures the scores.
//!
//! ```
//! # fn main() -> tagomatic::Result<()> {
//! use tagomatic::data::Dataset;
//! use tagomatic::evaluate::evaluate;
//! # let tagger = tagomatic::Tagger::new(tagomatic::Model::open("models/movies.tagm")?);
//! # let mut test = Dataset::new();
//! # (0..100).try_for_each(|n| test.push(&[n, n + 1, 2 * n], &[n % 60], 1.0).map(drop))?;
//! let measured = evaluate(&tagger, &test, None, None)?;
//! println!("macro-AP {:?}, P@1 {:?}", measured.evaluation.macro_ap.value, measured.evaluation.summary.p_at_1);
//! # Ok(())
//! # }
//! ```

use crate::data::Dataset;
use crate::distribution::{LogitDistribution, ScoreDistribution};
use crate::error::Result;
use crate::ids::Sets;
use crate::layers::{Forward, Net, Wanted};
use crate::metrics::{Evaluation, Metric, Options, Predictions, Propensities, Sparsity};
use crate::network::Network;
use crate::tagger::Tagger;
use crate::workers::Workers;

/// Measures of a model on a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// Measures of the scores.
    pub evaluation: Evaluation,
    /// What the hidden units do.
    pub hidden: HiddenActivity,
}

/// What the hidden units do for some samples, without dropout.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HiddenActivity {
    /// Hidden units.
    pub units: usize,
    /// Share of activations that are zero; `None` without any.
    pub zeros: Option<f64>,
    /// Mean of |h| over all activations; `None` without any.
    pub mean: Option<f64>,
    /// Units that are zero for every sample.
    pub dead_units: usize,
    /// Units that are zero for no sample.
    pub always_on_units: usize,
}

impl HiddenActivity {
    /// Samples that a look at a network in training takes at most.
    const LOOK: usize = 1_000;

    fn new(samples: usize, activity: f64, sparsity: &Sparsity) -> Self {
        let units = sparsity.units();
        let activations = samples as f64 * units as f64;
        HiddenActivity {
            units,
            zeros: sparsity.share_of_zeros(),
            mean: (activations > 0.0).then(|| activity / activations),
            dead_units: sparsity.dead(),
            always_on_units: sparsity.always_on(),
        }
    }

    /// That of a thousand samples of `dataset` at most, which are spread evenly over it.
    ///
    /// # Errors
    /// [`crate::error::Error::KeywordOutOfRange`] if a sample does not fit the network.
    pub(crate) fn glance(net: Net<'_>, dataset: &Dataset) -> Result<Self> {
        let shape = &net.network.shape;
        let mut forward = Forward::new(shape);
        let (mut activity, mut sparsity) = (0.0, Sparsity::new(shape.hidden() * shape.groups().len()));
        let samples = dataset.len().min(Self::LOOK);
        for n in 0..samples {
            let keywords = dataset.keywords(n * dataset.len() / samples);
            let starts = [0, keywords.len()];
            forward.run_hidden(&net, Sets::checked(keywords, &starts)?)?;
            activity += push_activity(&mut forward, net, 0, &mut sparsity)?;
        }
        Ok(HiddenActivity::new(samples, activity, &sparsity))
    }
}

/// Counts the units that are not zero for an item that `forward` has run, and sums up their magnitudes.
fn push_activity(forward: &mut Forward, net: Net<'_>, item: usize, sparsity: &mut Sparsity) -> Result<f64> {
    let active = forward.active(net.kernels, item)?;
    sparsity.push_active(active.units.iter().map(|unit| net.network.shape.unit_number(*unit) as usize));
    Ok(active.values.iter().map(|h| f64::from(h.abs())).sum())
}

/// What is kept of an [`Evaluation`] for every epoch of a training.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KeyMeasures {
    /// One for each of [`Metric::ALL`].
    pub(crate) values: [Option<f64>; Metric::ALL.len()],
}

impl KeyMeasures {
    /// Those of `evaluation`.
    #[must_use]
    pub fn of(evaluation: &Evaluation) -> Self {
        let mut values = [None; Metric::ALL.len()];
        for (value, metric) in values.iter_mut().zip(Metric::ALL) {
            *value = metric.of(evaluation);
        }
        KeyMeasures { values }
    }

    /// A measure; `None` where it is undefined.
    #[must_use]
    pub fn get(&self, metric: Metric) -> Option<f64> {
        self.values[metric as usize]
    }

    /// A measure as a score, of which more is better: losses change their sign. Where the measure is undefined, as macro-AP is
    /// without positives, the log-loss decides.
    #[must_use]
    pub fn score(&self, metric: Metric) -> f64 {
        let signed = |metric: Metric| self.get(metric).map(|value| if metric.is_loss() { -value } else { value });
        signed(metric).or_else(|| signed(Metric::LogLoss)).unwrap_or(f64::NEG_INFINITY)
    }
}

/// Scores `dataset` with `tagger` and measures the scores, dividing the work between the threads of `pool` if there is one.
/// Measures do not depend on the number of threads.
///
/// # Errors
/// [`crate::error::Error::NoData`] without samples or tags; [`crate::error::Error::KeywordOutOfRange`] if a sample does not fit the model.
pub fn evaluate(
    tagger: &Tagger,
    dataset: &Dataset,
    propensities: Option<&Propensities>,
    pool: Option<&rayon::ThreadPool>,
) -> Result<Evaluated> {
    let thresholds: Vec<f32> = tagger.tags().iter().map(|tag| tag.threshold).collect();
    in_pool(pool, |workers| evaluate_network(tagger.net(), &thresholds, dataset, propensities, workers))
}

/// [`evaluate`], with what scoring found.
#[cfg(feature = "report")]
pub(crate) fn examine(
    tagger: &Tagger,
    dataset: &Dataset,
    propensities: Option<&Propensities>,
    pool: Option<&rayon::ThreadPool>,
) -> Result<(Evaluated, Scored)> {
    let (net, wanted) = (tagger.net(), Wanted::Scores);
    let thresholds: Vec<f32> = tagger.tags().iter().map(|tag| tag.threshold).collect();
    let scored = in_pool(pool, |workers| Scorer { net, dataset, workers, wanted }.all())?;
    Ok((scored.measure(net.network, &thresholds, dataset, propensities)?, scored))
}

/// The scores of all samples, samples x tags, row-major.
///
/// # Errors
/// [`crate::error::Error::KeywordOutOfRange`] if a sample does not fit the model.
pub(crate) fn scores(tagger: &Tagger, dataset: &Dataset, pool: Option<&rayon::ThreadPool>) -> Result<Vec<f32>> {
    let net = tagger.net();
    let scored = in_pool(pool, |workers| Scorer { net, dataset, workers, wanted: Wanted::Scores }.all())?;
    Ok(scored.output)
}

/// The same of the network's logits, before any calibration.
///
/// # Errors
/// As [`scores()`].
pub(crate) fn logits(tagger: &Tagger, dataset: &Dataset, pool: Option<&rayon::ThreadPool>) -> Result<Vec<f32>> {
    let net = tagger.net();
    let scored = in_pool(pool, |workers| Scorer { net, dataset, workers, wanted: Wanted::Logits }.all())?;
    Ok(scored.output)
}

/// How the logits of some items, samples x tags, are distributed.
pub(crate) fn distribution(logits: &[f32], tags: usize) -> Result<ScoreDistribution> {
    let of_tag = |tag: usize| LogitDistribution::of(logits.iter().skip(tag).step_by(tags.max(1)).copied().collect());
    ScoreDistribution::new((0..tags).map(of_tag).collect())
}

/// The samples that the distribution of a network's logits is of, at most.
const SAMPLED: usize = 8192;

/// How the logits of samples of `dataset`, spread evenly over it, are distributed.
pub(crate) fn sampled_distribution(net: Net<'_>, dataset: &Dataset) -> Result<ScoreDistribution> {
    let samples = dataset.len().min(SAMPLED);
    let tags = net.network.shape.tags();
    let (mut forward, mut logits) = (Forward::new(&net.network.shape), vec![0.0; samples * tags]);
    for sample in 0..samples {
        let keywords = dataset.keywords(sample * dataset.len() / samples);
        let starts = [0, keywords.len()];
        let row = &mut logits[sample * tags..(sample + 1) * tags];
        net.run(Sets::checked(keywords, &starts)?, Wanted::Logits, &mut forward, row)?;
    }
    distribution(&logits, tags)
}

fn in_pool<R: Send>(pool: Option<&rayon::ThreadPool>, run: impl FnOnce(Workers) -> R + Send) -> R {
    match pool {
        Some(pool) => pool.install(|| run(Workers::new(true))),
        None => run(Workers::new(false)),
    }
}

pub(crate) fn evaluate_network(
    net: Net<'_>,
    thresholds: &[f32],
    dataset: &Dataset,
    propensities: Option<&Propensities>,
    workers: Workers,
) -> Result<Evaluated> {
    Scorer { net, dataset, workers, wanted: Wanted::Scores }.all()?.measure(net.network, thresholds, dataset, propensities)
}

#[derive(Clone, Copy)]
struct Scorer<'a> {
    net: Net<'a>,
    dataset: &'a Dataset,
    workers: Workers,
    wanted: Wanted,
}

/// What scoring finds.
pub(crate) struct Scored {
    /// Samples x tags.
    pub(crate) output: Vec<f32>,
    /// Sum of |h| of each sample.
    activity: Vec<f64>,
    pub(crate) sparsity: Sparsity,
}

impl Scored {
    /// Measures the output, which is scores.
    fn measure(
        &self,
        network: &Network,
        thresholds: &[f32],
        dataset: &Dataset,
        propensities: Option<&Propensities>,
    ) -> Result<Evaluated> {
        let predictions = Predictions::new(&self.output, network.shape.tags(), dataset.tag_sets())?;
        let options = Options { eps: f64::from(network.eps), propensities };
        Ok(Evaluated {
            evaluation: Evaluation::new(&predictions, thresholds, options)?,
            hidden: HiddenActivity::new(dataset.len(), self.activity.iter().sum(), &self.sparsity),
        })
    }
}

impl Scorer<'_> {
    /// Scores all samples.
    fn all(&self) -> Result<Scored> {
        let samples = self.dataset.len();
        let mut output = vec![0.0; samples.saturating_mul(self.net.network.shape.tags())];
        let mut activity = vec![0.0; samples];
        let sparsity = self.run(0, samples, &mut output, &mut activity)?;
        Ok(Scored { output, activity, sparsity })
    }

    /// Scores samples `from..to` into `output`, sums the magnitudes of each sample's hidden units into `activity`, and counts the
    /// hidden units that are zero.
    fn run(&self, from: usize, to: usize, output: &mut [f32], activity: &mut [f64]) -> Result<Sparsity> {
        let shape = &self.net.network.shape;
        if to - from > 64 && self.workers.divides(to - from, shape.w2_blocks() + shape.row_blocks() * 16) {
            let middle = from + (to - from) / 2;
            let (left, right) = output.split_at_mut((middle - from) * shape.tags());
            let (left_activity, right_activity) = activity.split_at_mut(middle - from);
            let (left, right) = self
                .workers
                .join(|| self.run(from, middle, left, left_activity), || self.run(middle, to, right, right_activity));
            let mut sparsity = left?;
            sparsity.merge(&right?);
            return Ok(sparsity);
        }
        let mut forward = Forward::new(shape);
        let mut sparsity = Sparsity::new(shape.hidden() * shape.groups().len());
        let (mut ids, mut starts) = (Vec::new(), Vec::new());
        for first in (from..to).step_by(forward.capacity()) {
            let last = to.min(first + forward.capacity());
            ids.clear();
            starts.clear();
            starts.push(0);
            for sample in first..last {
                ids.extend_from_slice(self.dataset.keywords(sample));
                starts.push(ids.len());
            }
            let output = &mut output[(first - from) * shape.tags()..(last - from) * shape.tags()];
            self.net.run(Sets::checked(&ids, &starts)?, self.wanted, &mut forward, output)?;
            for (item, activity) in activity[first - from..last - from].iter_mut().enumerate() {
                *activity = push_activity(&mut forward, self.net, item, &mut sparsity)?;
            }
        }
        Ok(sparsity)
    }
}
