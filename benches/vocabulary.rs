//! Looking keywords up in the bytes of a model, beside hash tables that are built first:
//! `cargo bench --bench vocabulary [-- KEYWORDS...]`, 10,000 and 1,000,000 keywords without any.
//!
//! Requests are 30 keywords, 27 of them known ones at random, by frequency or not, and 3 unknown. Contenders take turns; figures are
//! medians, in ns a look-up. `HashMap<&str, u32>` borrows its keys from the text, with its own hasher and with that of rustc-hash.

#![allow(clippy::unwrap_used, reason = "a bench that cannot run shows where")]
#![expect(clippy::print_stdout, reason = "the report of a bench")]

mod workloads;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hint::black_box;
use std::time::Instant;

use rustc_hash::FxBuildHasher;
use tagomatic::Vocabulary;
use workloads::{Sets, keyword};

const ROUNDS: usize = 25;

type LookUp<'a> = dyn Fn(&str) -> Option<u32> + 'a;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let sizes: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    // Without `--bench` this is a test of itself.
    let test = !arguments.iter().any(|argument| argument == "--bench") || arguments.iter().any(|argument| argument == "--test");
    match &sizes[..] {
        _ if test => run(1_000, 10, 1),
        [] => [10_000, 1_000_000].into_iter().for_each(|keywords| run(keywords, 10_000, ROUNDS)),
        sizes => sizes.iter().for_each(|keywords| run(*keywords, 10_000, ROUNDS)),
    }
}

fn run(keywords: usize, requests: usize, rounds: usize) {
    let text: Vec<String> = (0..keywords).map(keyword).collect();
    let vocabulary = Vocabulary::from_keywords(&text).unwrap();
    let standard = built(&text, std::hash::RandomState::new());
    let fast = built(&text, FxBuildHasher);
    for (order, sets) in [("uniform", Sets::uniform(keywords, 27, requests)), ("zipf", Sets::zipf(keywords, 27, requests))] {
        // Texts of their own, as requests are: not the keys of the tables.
        let asked: Vec<String> = sets
            .iter()
            .flat_map(|ids| {
                ids.iter().map(|id| keyword(*id as usize)).chain((0..3).map(move |n| format!("unknown {} {n}", ids[0])))
            })
            .collect();
        let expected: u64 = sets.ids.iter().map(|id| u64::from(*id)).sum();
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..rounds {
            let contenders: [&LookUp<'_>; 3] =
                [&|word| vocabulary.get(word), &|word| standard.get(word).copied(), &|word| fast.get(word).copied()];
            for (times, contender) in times.iter_mut().zip(contenders) {
                times.push(time(&asked, contender, expected));
            }
        }
        let [own, standard, fast] = times.map(|mut times: Vec<f64>| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        });
        println!(
            "{keywords:>8} keywords, {order:<8} vocabulary {own:>6.1} ns   HashMap {standard:>6.1} ns, ratio {:.2}   \
             with rustc-hash {fast:>6.1} ns, ratio {:.2}",
            own / standard,
            own / fast
        );
    }
}

fn built<S: BuildHasher>(text: &[String], hasher: S) -> HashMap<&str, u32, S> {
    let mut map = HashMap::with_capacity_and_hasher(text.len(), hasher);
    map.extend(text.iter().map(String::as_str).zip(0..));
    map
}

/// Nanoseconds a look-up.
fn time(asked: &[String], look_up: &LookUp<'_>, expected: u64) -> f64 {
    let start = Instant::now();
    let found: u64 = asked.iter().filter_map(|word| look_up(black_box(word))).map(u64::from).sum();
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(found, expected);
    seconds * 1e9 / asked.len() as f64
}
