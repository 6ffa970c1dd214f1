//! Training steps at every level of this machine, one thread, with the default configuration but for the size of mini-batches.
//!
//! ```text
//! cargo bench --bench train
//! ```
//!
//! Ids are `step/level/workload_batch`; elements are samples. Mini-batches of 1 are online use, and `snapshot/workload` is what it costs
//! to make a tagger of the present weights. Tags are drawn from the scores of the workload's model. Before a
//! level is timed, its weights after a few steps are compared with the scalar level's, bit by bit.
//!
//! `growth/...` are steps without dropout on the best level for w1m, and for what has twice as many keywords, active keywords, hidden
//! units, tags or samples: no id may have less than about half of the base's samples a second.

#![allow(clippy::unwrap_used, reason = "a bench that cannot run shows where")]

mod workloads;

use criterion::{BenchmarkId, Criterion, Throughput};
use tagomatic::rng::{Philox, unit};
use tagomatic::train::{PairWeights, Sample, Statistics, Targets, TrainConfig, Trainer};
use tagomatic::{Level, Provenance, Tagger};
use workloads::{REQUESTS, Sets, W1, W1M, Workload, bits};

const CHECKED_STEPS: usize = 4;

fn main() {
    let mut c = Criterion::default().configure_from_args();
    for workload in [W1, W1M] {
        let data = Data::new(workload, workload.requests());
        for batch in [1, 32, 256] {
            data.bench(&mut c, batch);
        }
        data.bench_snapshot(&mut c);
    }
    growth(&mut c);
    c.final_summary();
}

fn growth(c: &mut Criterion) {
    let twice = 2 * REQUESTS;
    for (case, workload, samples) in [
        ("base", W1M, REQUESTS),
        ("keywords_x2", Workload { keywords: 2 * W1M.keywords, ..W1M }, REQUESTS),
        ("active_x2", Workload { active: 2 * W1M.active, ..W1M }, REQUESTS),
        ("hidden_x2", Workload { hidden: 2 * W1M.hidden, ..W1M }, REQUESTS),
        ("tags_x2", Workload { tags: 2 * W1M.tags, ..W1M }, REQUESTS),
        ("samples_x2", W1M, twice),
    ] {
        let data = Data::new(workload, Sets::zipf(workload.keywords, workload.active, samples));
        let samples = data.samples();
        let mut trainer = data.trainer(256, Level::best(), 0.0);
        let mut batches = samples.chunks_exact(256).cycle();
        let mut group = c.benchmark_group("growth");
        group.throughput(Throughput::Elements(256));
        group.bench_function(case, |b| b.iter(|| trainer.step(batches.next().unwrap()).unwrap()));
        group.finish();
    }
}

struct Data {
    workload: Workload,
    requests: Sets,
    tags: Vec<Vec<u32>>,
}

impl Data {
    fn new(workload: Workload, requests: Sets) -> Self {
        let tagger = Tagger::new(workload.model());
        let (mut scratch, mut scores) = (tagger.scratch(), vec![0.0; workload.tags]);
        let tags = (0..)
            .zip(requests.iter())
            .map(|(sample, ids)| {
                tagger.score(ids, &mut scratch, &mut scores).unwrap();
                let drawn = |tag: u32| unit(Philox::new(1).block([sample, tag, 0, 0])[0]);
                (0..).zip(&scores).filter(|(tag, score)| drawn(*tag) < **score).map(|(tag, _)| tag).collect()
            })
            .collect();
        Data { workload, requests, tags }
    }

    fn samples(&self) -> Vec<Sample<'_>> {
        (0..)
            .zip(self.requests.iter().zip(&self.tags))
            .map(|(index, (keywords, tags))| Sample {
                index,
                keywords,
                targets: Targets::Tags(tags),
                weights: PairWeights::All(1.0),
            })
            .collect()
    }

    /// With this factor on the default rates of dropout.
    fn trainer(&self, batch: usize, level: Level, dropout: f64) -> Trainer {
        let mut positives = vec![0; self.workload.tags];
        self.tags.iter().flatten().for_each(|tag| positives[*tag as usize] += 1);
        let mean_keywords = self.workload.active as f64;
        let statistics = Statistics { samples: self.requests.len() as u64, mean_keywords, positives };
        let mut config = TrainConfig { hidden: self.workload.hidden, batch, ..TrainConfig::default() };
        config.dropout_in *= dropout;
        config.dropout_hidden *= dropout;
        let mut trainer = Trainer::new(config, self.workload.vocabulary(), self.workload.tags(), &statistics).unwrap();
        trainer.set_level(level).unwrap();
        trainer
    }

    /// A model of the moment, as a service takes it up.
    fn bench_snapshot(&self, c: &mut Criterion) {
        let trainer = self.trainer(1, Level::best(), 1.0);
        let mut group = c.benchmark_group("snapshot");
        group.throughput(Throughput::Bytes(trainer.model(Provenance::new()).unwrap().byte_len() as u64));
        group.bench_function(self.workload.name, |b| {
            b.iter(|| Tagger::new(trainer.model(Provenance::new()).unwrap()));
        });
        group.finish();
    }

    fn bench(&self, c: &mut Criterion, batch: usize) {
        let samples = self.samples();
        let mut group = c.benchmark_group("step");
        group.throughput(Throughput::Elements(batch as u64));
        let mut expected = None;
        for level in Level::available() {
            let mut trainer = self.trainer(batch, level, 1.0);
            let mut batches = samples.chunks_exact(batch).cycle();
            for batch in batches.by_ref().take(CHECKED_STEPS) {
                trainer.step(batch).unwrap();
            }
            let snapshot = trainer.snapshot();
            let weights = snapshot.weights();
            let found = [weights.w1, weights.b1, weights.w2, weights.b2].map(bits);
            assert!(*expected.get_or_insert_with(|| found.clone()) == found, "{level} differs from the scalar level");
            let case = format!("{}_b{batch}", self.workload.name);
            group.bench_function(BenchmarkId::new(level.to_string(), case), |b| {
                b.iter(|| trainer.step(batches.next().unwrap()).unwrap());
            });
        }
        group.finish();
    }
}
