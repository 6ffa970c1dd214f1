//! A fixed amount of serving, for `instructions.sh` to count: `instructions WORKLOAD WEIGHTS single|batch LEVEL ITEMS`.
//!
//! Instructions are counted by running it twice, with different numbers of items: what they differ by is those items' alone.

#![allow(clippy::unwrap_used, reason = "a bench that cannot run shows where")]

mod workloads;

use std::hint::black_box;

use tagomatic::Tagger;
use tagomatic::convert::{Conversion, convert};
use workloads::{Sets, W1, W1M, W2, W3, Workload};

const BATCH: usize = 256;
/// Keywords of every model. How many there are changes no instruction but those that make the model.
const KEYWORDS: usize = 1_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [workload, weights, form, level, items] = match &arguments[..] {
        // `cargo bench -- --test` runs every bench.
        [] => ["w1", "i8", "batch", "portable", "256"],
        [workload, weights, form, level, items] => [workload, weights, form, level, items].map(String::as_str),
        _ => panic!("expected WORKLOAD WEIGHTS single|batch LEVEL ITEMS, found {arguments:?}"),
    };
    let workload = [W1, W1M, W2, W3].into_iter().find(|known| known.name == workload).unwrap();
    let workload = Workload { keywords: KEYWORDS, ..workload };
    let items: usize = items.parse().unwrap();
    let how = Conversion { weights: Some(weights.parse().unwrap()), ..Conversion::default() };
    let model = convert(&workload.model(), how, [[0; 0]; 0]).unwrap().model;
    let tagger = Tagger::with_level(model, level.parse().unwrap()).unwrap();
    let requests = Sets::zipf(workload.keywords, workload.active, BATCH);
    let (mut scratch, mut scores) = (tagger.scratch(), vec![0.0; BATCH * workload.tags]);
    match form {
        "single" => {
            let scores = &mut scores[..workload.tags];
            for ids in requests.iter().cycle().take(items) {
                tagger.score(black_box(ids), &mut scratch, black_box(scores)).unwrap();
            }
        }
        "batch" => {
            for _ in 0..items / BATCH {
                tagger.score_batch(&requests.ids, &requests.starts, &mut scratch, black_box(&mut scores)).unwrap();
            }
        }
        _ => panic!("expected single or batch, found {form}"),
    }
}
