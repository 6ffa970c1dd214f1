//! Tagging at every level of this machine, one thread, on the workloads of `workloads.rs`: a request at a time from ids and from
//! strings, and batches of 256.
//!
//! ```text
//! cargo bench --bench predict                   # all; at the end p50, p99 and p99.9 of single requests
//! cargo bench --bench predict -- single/avx2    # one group and level, then the percentiles
//! ```
//!
//! Ids are `group/level/workload`; elements are requests. Every level's scores are compared with the scalar level's, bit by bit,
//! before anything is timed.

#![allow(clippy::unwrap_used, reason = "a bench that cannot run shows where")]

mod workloads;

use std::hint::black_box;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput};
use tagomatic::{Level, Model, Tagger};
use workloads::{Sets, W1, W1M, Workload, float_bits, keyword};

const BATCH: usize = 256;
/// Passes over the requests that latencies are taken from, after one that warms up.
const PASSES: usize = 5;

fn main() {
    let mut c = Criterion::default().configure_from_args();
    let benches = [W1, W1M].map(Bench::new);
    for bench in &benches {
        bench.single(&mut c);
        bench.batch(&mut c);
        bench.strings(&mut c);
    }
    c.final_summary();
    // Without `--bench` criterion, too, only tests.
    let given = |option| std::env::args().any(|argument| argument == option);
    if given("--bench") && !given("--test") && !given("--list") {
        report_latencies(&benches);
    }
}

struct Bench {
    workload: Workload,
    requests: Sets,
    /// One for each level, the scalar one first.
    taggers: Vec<Tagger>,
    /// The scores of all requests.
    expected: Vec<u32>,
}

impl Bench {
    fn new(workload: Workload) -> Self {
        let model = workload.model();
        let copy = || Model::from_bytes(model.bytes()).unwrap();
        let taggers: Vec<Tagger> = Level::available().map(|level| Tagger::with_level(copy(), level).unwrap()).collect();
        let requests = workload.requests();
        let mut expected = Vec::new();
        for tagger in &taggers {
            let (mut scratch, mut scores) = (tagger.scratch(), vec![0.0; workload.tags]);
            let mut found = Vec::new();
            for ids in requests.iter() {
                tagger.score(ids, &mut scratch, &mut scores).unwrap();
                found.extend(float_bits(&scores));
            }
            if expected.is_empty() {
                expected.clone_from(&found);
            }
            assert!(found == expected, "{} at {} differs from the scalar level", workload.name, tagger.level());
        }
        let bench = Bench { workload, requests, taggers, expected };
        let share = bench.active_share();
        assert!((0.4..0.6).contains(&share), "{share} of the hidden units are active, not about half");
        bench
    }

    fn active_share(&self) -> f64 {
        let tagger = &self.taggers[0];
        let (mut scratch, mut hidden) = (tagger.scratch(), vec![0.0; self.workload.hidden]);
        let mut active = 0;
        for ids in self.requests.iter() {
            tagger.hidden(ids, &mut scratch, &mut hidden).unwrap();
            active += hidden.iter().filter(|h| **h != 0.0).count();
        }
        active as f64 / (self.requests.len() * hidden.len()) as f64
    }

    fn id(&self, tagger: &Tagger) -> BenchmarkId {
        BenchmarkId::new(tagger.level().to_string(), self.workload.name)
    }

    fn single(&self, c: &mut Criterion) {
        let mut group = c.benchmark_group("single");
        group.throughput(Throughput::Elements(1));
        for tagger in &self.taggers {
            let (mut scratch, mut scores) = (tagger.scratch(), vec![0.0; self.workload.tags]);
            let mut requests = self.requests.iter().cycle();
            group.bench_function(self.id(tagger), |b| {
                b.iter(|| tagger.score(requests.next().unwrap(), &mut scratch, black_box(&mut scores)).unwrap());
            });
        }
        group.finish();
    }

    fn batch(&self, c: &mut Criterion) {
        let batches = self.requests.batches(BATCH);
        let mut group = c.benchmark_group(format!("batch{BATCH}"));
        group.throughput(Throughput::Elements(BATCH as u64));
        for tagger in &self.taggers {
            let (mut scratch, mut scores) = (tagger.scratch(), vec![0.0; BATCH * self.workload.tags]);
            for (batch, expected) in batches.iter().zip(self.expected.chunks_exact(scores.len())) {
                tagger.score_batch(&batch.ids, &batch.starts, &mut scratch, &mut scores).unwrap();
                assert_eq!(float_bits(&scores), expected, "at {}", tagger.level());
            }
            let mut batches = batches.iter().cycle();
            group.bench_function(self.id(tagger), |b| {
                b.iter(|| {
                    let batch = batches.next().unwrap();
                    tagger.score_batch(&batch.ids, &batch.starts, &mut scratch, black_box(&mut scores)).unwrap();
                });
            });
        }
        group.finish();
    }

    fn strings(&self, c: &mut Criterion) {
        let text: Vec<Vec<String>> =
            self.requests.iter().map(|ids| ids.iter().map(|id| keyword(*id as usize)).collect()).collect();
        let mut group = c.benchmark_group("strings");
        group.throughput(Throughput::Elements(1));
        for tagger in &self.taggers {
            let (mut scratch, mut scores) = (tagger.scratch(), vec![0.0; self.workload.tags]);
            let mut score = |keywords: &[String], scores: &mut [f32]| {
                tagger.score_keywords(keywords.iter().map(String::as_str), &mut scratch, scores).unwrap()
            };
            for (keywords, expected) in text.iter().zip(self.expected.chunks_exact(scores.len())) {
                assert_eq!(score(keywords, &mut scores).known, keywords.len());
                assert_eq!(float_bits(&scores), expected, "at {}", tagger.level());
            }
            let mut requests = text.iter().cycle();
            group.bench_function(self.id(tagger), |b| {
                b.iter(|| score(requests.next().unwrap(), black_box(&mut scores)));
            });
        }
        group.finish();
    }

    /// Nanoseconds of single requests, ascending, each timed by itself.
    fn latencies(&self, tagger: &Tagger) -> Vec<u64> {
        let (mut scratch, mut scores) = (tagger.scratch(), vec![0.0; self.workload.tags]);
        let mut pass = || {
            self.requests
                .iter()
                .map(|ids| elapsed(|| tagger.score(black_box(ids), &mut scratch, black_box(&mut scores)).unwrap()))
                .collect::<Vec<u64>>()
        };
        pass();
        let mut all: Vec<u64> = (0..PASSES).flat_map(|_| pass()).collect();
        all.sort_unstable();
        all
    }
}

fn elapsed(run: impl FnOnce()) -> u64 {
    let start = Instant::now();
    run();
    start.elapsed().as_nanos() as u64
}

/// The value that a share `p` of the ascending `values` does not exceed.
fn percentile(values: &[u64], p: f64) -> u64 {
    values[((values.len() as f64 * p).ceil() as usize).clamp(1, values.len()) - 1]
}

/// Criterion gives means; a server's users see percentiles.
#[expect(clippy::print_stdout, reason = "the report of a bench")]
fn report_latencies(benches: &[Bench]) {
    let mut timer: Vec<u64> = (0..10_000).map(|_| elapsed(|| ())).collect();
    timer.sort_unstable();
    let timer = percentile(&timer, 0.5);
    println!("single requests, ids in, scores out; ns, the timer's own {timer} ns taken off");
    println!("{:<20} {:>7} {:>7} {:>7}", "", "p50", "p99", "p99.9");
    for bench in benches {
        for tagger in &bench.taggers {
            let latencies = bench.latencies(tagger);
            let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|p| percentile(&latencies, p).saturating_sub(timer));
            let name = format!("{}/{}", tagger.level(), bench.workload.name);
            println!("{name:<20} {p50:>7} {p99:>7} {p999:>7}");
        }
    }
}
