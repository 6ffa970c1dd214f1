//! The workloads of the benches: models and requests made from a seed, the same on every machine.
//!
//! Keyword ids are ranks: a vocabulary is ordered by frequency, so low ids are the frequent ones.

#![allow(dead_code, reason = "each bench uses its own part of this module")]

use tagomatic::aligned::{Block, LANES, as_floats, as_floats_mut, zeroed};
use tagomatic::format::Extensions;
use tagomatic::network::{Activation, Network, OutputLayout, Pooling, Shape, Weights};
use tagomatic::rng::{Parameter, Philox};
use tagomatic::{Model, ModelParts, Provenance, Tags, Vocabulary};

/// Sizes of a model and of the requests to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) keywords: usize,
    /// Keywords of each request.
    pub(crate) active: usize,
    pub(crate) hidden: usize,
    pub(crate) tags: usize,
}

/// One tag.
pub(crate) const W1: Workload = Workload { name: "w1", keywords: 10_000, active: 30, hidden: 64, tags: 1 };
/// Many tags.
pub(crate) const W1M: Workload = Workload { name: "w1m", tags: 50, ..W1 };

/// Mostly output layer.
pub(crate) const W2: Workload = Workload { name: "w2", keywords: 100_000, active: 64, hidden: 128, tags: 1_000 };
/// A table that no cache holds.
pub(crate) const W3: Workload = Workload { name: "w3", keywords: 1_000_000, active: 100, hidden: 128, tags: 100 };

/// Different requests to a workload.
pub(crate) const REQUESTS: usize = 10_000;

const SEED: u64 = 7;
const ZIPF_EXPONENT: f64 = 1.1;
/// Spread of W1 and of W2. Pre-activations and logits come out near 1.
const RADIUS: f32 = 0.3;

/// Sets of ids end to end: set i is `ids[starts[i]..starts[i + 1]]`, ascending.
#[derive(Clone, Debug)]
pub(crate) struct Sets {
    pub(crate) ids: Vec<u32>,
    pub(crate) starts: Vec<usize>,
}

impl Sets {
    /// `count` sets of `active` different ids; `draw` turns a number in [0, 1) into an id.
    fn draw(count: usize, active: usize, draw: impl Fn(f64) -> u32) -> Self {
        let mut sets = Sets { ids: Vec::with_capacity(count * active), starts: vec![0] };
        for set in 0..count {
            let start = sets.ids.len();
            for attempt in 0.. {
                if sets.ids.len() - start == active {
                    break;
                }
                let [word, ..] = Philox::new(SEED).block([set as u32, attempt, 0, 0]);
                let id = draw(f64::from(word) / 4_294_967_296.0);
                if !sets.ids[start..].contains(&id) {
                    sets.ids.push(id);
                }
            }
            sets.ids[start..].sort_unstable();
            sets.starts.push(sets.ids.len());
        }
        sets
    }

    /// `count` sets of `active` ids below `n`, all ids equally frequent.
    pub(crate) fn uniform(n: usize, active: usize, count: usize) -> Self {
        Self::draw(count, active, |u| (u * n as f64) as u32)
    }

    /// `count` sets of `active` ids below `n`, id k as frequent as (k + 1)^-1.1 before repeats are drawn again.
    pub(crate) fn zipf(n: usize, active: usize, count: usize) -> Self {
        let mut total = 0.0;
        let cumulated: Vec<f64> = (1..=n)
            .map(|rank| {
                total += (rank as f64).powf(-ZIPF_EXPONENT);
                total
            })
            .collect();
        Self::draw(count, active, |u| cumulated[..n - 1].partition_point(|sum| *sum <= u * total) as u32)
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &[u32]> + Clone {
        self.starts.windows(2).map(|set| &self.ids[set[0]..set[1]])
    }

    /// The sets in portions of `size`; what is left over is left out.
    pub(crate) fn batches(&self, size: usize) -> Vec<Sets> {
        let starts: Vec<usize> = (0..self.len() / size).map(|batch| batch * size).collect();
        let portion = |&first: &usize| {
            let bounds = &self.starts[first..=first + size];
            let starts = bounds.iter().map(|start| start - bounds[0]).collect();
            Sets { ids: self.ids[bounds[0]..bounds[size]].to_vec(), starts }
        };
        starts.iter().map(portion).collect()
    }
}

impl Workload {
    /// The requests: sets of keyword ids.
    pub(crate) fn requests(&self) -> Sets {
        Sets::zipf(self.keywords, self.active, REQUESTS)
    }

    pub(crate) fn vocabulary(&self) -> Vocabulary {
        Vocabulary::from_keywords((0..self.keywords).map(keyword)).unwrap()
    }

    pub(crate) fn tags(&self) -> Tags {
        Tags::from_names((0..self.tags).map(|tag| format!("tag {tag}"))).unwrap()
    }

    /// A model with random weights. They are symmetric about 0, so about half of the hidden units are active.
    pub(crate) fn model(&self) -> Model {
        let shape = Shape::new(self.keywords, self.hidden, &[self.tags], OutputLayout::for_tags(self.tags)).unwrap();
        let group = &shape.groups()[0];
        let row = shape.row_blocks() * LANES;
        let w1 = random(
            Parameter::W1,
            shape.w1_blocks(),
            (0..self.keywords).flat_map(|keyword| (0..self.hidden).map(move |unit| keyword * row + unit)),
        );
        let w2 = random(
            Parameter::W2,
            shape.w2_blocks(),
            (0..self.hidden)
                .flat_map(|unit| (0..self.tags).map(move |tag| (unit, tag)))
                .map(|(u, t)| shape.w2_index(group, u, t)),
        );
        let (b1, b2) = (zeroed(row), zeroed(shape.slot_blocks() * LANES));
        ModelParts {
            network: &Network { shape: shape.clone(), pooling: Pooling::Sum, activation: Activation::Relu, eps: 1e-4 },
            weights: Weights { w1: &w1, b1: &b1, w2: &w2, b2: &b2 }.into(),
            vocabulary: self.vocabulary().view(),
            tags: &self.tags(),
            provenance: &Provenance::new(),
            extensions: &Extensions::default(),
        }
        .to_model()
        .unwrap()
    }
}

/// The text of keyword `id`.
pub(crate) fn keyword(id: usize) -> String {
    format!("keyword {id}")
}

/// `blocks` blocks, 0 but for random numbers in [-RADIUS, RADIUS) at `places`.
fn random(parameter: Parameter, blocks: usize, places: impl Iterator<Item = usize>) -> Vec<Block> {
    let places: Vec<usize> = places.collect();
    let mut values = vec![0.0; places.len()];
    Philox::new(SEED).uniform(parameter, RADIUS, 0, &mut values);
    let mut filled = vec![Block::ZERO; blocks];
    let floats = as_floats_mut(&mut filled);
    for (place, value) in places.into_iter().zip(values) {
        floats[place] = value;
    }
    filled
}

/// Random numbers in [-1, 1); each `seed` has its own.
pub(crate) fn noise(seed: u64, floats: usize) -> Vec<Block> {
    let mut blocks = zeroed(floats);
    Philox::new(seed).uniform(Parameter::W1, 1.0, 0, &mut as_floats_mut(&mut blocks)[..floats]);
    blocks
}

/// The bits of all floats: what must be equal at every level.
pub(crate) fn bits(blocks: &[Block]) -> Vec<u32> {
    float_bits(as_floats(blocks))
}

pub(crate) fn float_bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|x| x.to_bits()).collect()
}
