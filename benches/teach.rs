//! A tag taught by 100 examples against a catalogue of 100,000 items, and the catalogue tagged anew: one thread, 256 hidden units.
//!
//! ```text
//! cargo bench --bench teach
//! ```
//!
//! Before anything is timed, the scores are compared with those of the model that has the tag, bit by bit.

#![allow(clippy::unwrap_used, reason = "a bench that cannot run shows where")]
#![allow(clippy::print_stdout, reason = "its results")]

mod workloads;

use std::time::{Duration, Instant};

use tagomatic::Tagger;
use tagomatic::data::Dataset;
use tagomatic::teach::Catalogue;
use workloads::{Sets, W1M, Workload};

const ITEMS: usize = 100_000;
const POSITIVES: u32 = 100;
const DRAWN: usize = 2_000;
const REPEATS: usize = 7;

fn main() {
    let workload = Workload { name: "teach", hidden: 256, ..W1M };
    let tagger = Tagger::new(workload.model());
    let mut items = Dataset::new();
    let quick = std::env::args().any(|argument| argument == "--test");
    for ids in Sets::zipf(workload.keywords, workload.active, if quick { ITEMS / 50 } else { ITEMS }).iter() {
        items.push(ids, &[], 1.0).unwrap();
    }
    // Items with a keyword that is neither rare nor frequent.
    let has = |item: &u32| items.keywords(*item as usize).binary_search(&20).is_ok();
    let positives: Vec<u32> = (0..items.len() as u32).filter(has).take(POSITIVES as usize).collect();

    let mut times = [const { Vec::new() }; 3];
    for _ in 0..REPEATS {
        let start = Instant::now();
        let catalogue = Catalogue::new(&tagger, &items, 0).unwrap();
        times[0].push(start.elapsed());
        let start = Instant::now();
        let negatives = catalogue.draw_negatives(&items, &positives, 0..items.len() as u32, DRAWN, 1);
        let taught = catalogue.teach(&positives, &negatives, 1).unwrap();
        times[1].push(start.elapsed());
        let mut scores = vec![0.0; items.len()];
        let start = Instant::now();
        catalogue.scores(&taught, &mut scores).unwrap();
        times[2].push(start.elapsed());
        check(&taught.add_to(tagger.model(), "taught").unwrap(), &items, &scores);
    }
    let [units, taught, tagged] = times.map(median);
    println!("{} items, {} examples, {DRAWN} drawn, level {}", items.len(), positives.len(), tagger.level().name());
    println!("hidden units of all items, once  {:8.1} ms", ms(units));
    println!("tag taught, cross-validated      {:8.1} ms", ms(taught));
    println!("all items tagged anew            {:8.1} ms", ms(tagged));
}

fn check(model: &tagomatic::Model, items: &Dataset, scores: &[f32]) {
    let tagger = Tagger::new(tagomatic::Model::from_bytes(model.bytes()).unwrap());
    let (mut scratch, mut all) = (tagger.scratch(), vec![0.0; tagger.tags().len()]);
    for (item, score) in scores.iter().enumerate().step_by(97) {
        tagger.score(items.keywords(item), &mut scratch, &mut all).unwrap();
        assert_eq!(all[all.len() - 1].to_bits(), score.to_bits());
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
