//! Scores a data set and measures the scores.

use crate::aligned::LANES;
use crate::data::Dataset;
use crate::error::Result;
use crate::kernels::Kernels;
use crate::layers::Forward;
use crate::metrics::{Evaluation, Options, Predictions, Propensities};
use crate::network::{Network, Weights};
use crate::train::Workers;
use crate::{Model, Tagger};

/// Measures of a model on a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// Measures of the scores.
    pub evaluation: Evaluation,
    /// Share of hidden activations that are zero; `None` without hidden units.
    pub zeros: Option<f64>,
    /// Hidden units that are zero for every sample.
    pub dead_units: usize,
    /// Hidden units that are zero for no sample.
    pub always_on_units: usize,
}

/// Scores `dataset` with `tagger` and measures the scores, dividing the work between the threads of `pool` if there is one.
/// Measures do not depend on the number of threads.
///
/// # Errors
/// [`crate::Error::NoData`] without samples or tags; [`crate::Error::KeywordOutOfRange`] if a sample does not fit the model.
pub fn evaluate(
    tagger: &Tagger,
    dataset: &Dataset,
    propensities: Option<&Propensities>,
    pool: Option<&rayon::ThreadPool>,
) -> Result<Evaluated> {
    let model: &Model = tagger.model();
    let thresholds: Vec<f32> = model.tags().iter().map(|tag| tag.threshold).collect();
    let run = |parallel| {
        let workers = Workers { parallel, grain: Workers::GRAIN };
        evaluate_network(tagger.kernels(), model.network(), model.weights(), &thresholds, dataset, propensities, workers)
    };
    match pool {
        Some(pool) => pool.install(|| run(true)),
        None => run(false),
    }
}

pub(crate) fn evaluate_network(
    kernels: Kernels,
    network: &Network,
    weights: Weights<'_>,
    thresholds: &[f32],
    dataset: &Dataset,
    propensities: Option<&Propensities>,
    workers: Workers,
) -> Result<Evaluated> {
    let tags = network.shape.tags();
    let mut scores = vec![0.0; dataset.len().saturating_mul(tags)];
    let scorer = Scorer { kernels, network, weights, dataset, workers };
    let on = scorer.run(0, dataset.len(), &mut scores)?;
    let predictions = Predictions::new(&scores, tags, dataset.tag_sets())?;
    let options = Options { eps: f64::from(network.eps), propensities };
    let units = on.len() as f64;
    let zeros = 1.0 - on.iter().sum::<u64>() as f64 / (units * dataset.len() as f64);
    Ok(Evaluated {
        evaluation: Evaluation::new(&predictions, thresholds, options)?,
        zeros: (units > 0.0).then_some(zeros),
        dead_units: on.iter().filter(|on| **on == 0).count(),
        always_on_units: on.iter().filter(|on| **on == dataset.len() as u64).count(),
    })
}

#[derive(Clone, Copy)]
struct Scorer<'a> {
    kernels: Kernels,
    network: &'a Network,
    weights: Weights<'a>,
    dataset: &'a Dataset,
    workers: Workers,
}

impl Scorer<'_> {
    /// Scores samples `from..to` into `scores`; returns for how many of them each hidden unit is not zero.
    fn run(&self, from: usize, to: usize, scores: &mut [f32]) -> Result<Vec<u64>> {
        let shape = &self.network.shape;
        if to - from > 64 && self.workers.divides(to - from, shape.w2_blocks() + shape.row_blocks() * 16) {
            let middle = from + (to - from) / 2;
            let (left, right) = scores.split_at_mut((middle - from) * shape.tags());
            let (left, right) = self.workers.join(|| self.run(from, middle, left), || self.run(middle, to, right));
            return Ok(left?.into_iter().zip(right?).map(|(a, b)| a + b).collect());
        }
        let mut forward = Forward::new(shape);
        // Counted by position in the padded hidden vector first.
        let mut on = vec![0_u64; shape.row_blocks() * LANES];
        for sample in from..to {
            forward.run(self.kernels, self.network, self.weights, self.dataset.keywords(sample))?;
            forward.active_units().iter().for_each(|unit| on[*unit as usize] += 1);
            self.kernels.sigmoid(self.network.eps, &mut forward.logits);
            let row = (sample - from) * shape.tags();
            shape.gather_slots(&forward.logits, &mut scores[row..row + shape.tags()]);
        }
        let units = |group: &crate::network::Group| {
            let first = group.hidden.start * LANES;
            on[first..first + shape.hidden()].to_vec()
        };
        Ok(shape.groups().iter().flat_map(units).collect())
    }
}
