//! What it costs to map a model of 500 MB whose pages are in the system's cache, and to score the first item right after: time, and memory
//! of the process's own. `cargo bench --bench open`.

#![allow(clippy::print_stdout, reason = "a bench tells its figures")]
#![allow(clippy::unwrap_used, reason = "a bench that finds something else than it expects must fail")]
#![allow(unsafe_code, reason = "the model is mapped")]

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use tagomatic::aligned::{Block, as_floats_mut};
use tagomatic::format::Extensions;
use tagomatic::network::{Activation, Network, OutputLayout, Pooling, Shape, Weights};
use tagomatic::rng::Philox;
use tagomatic::{Model, ModelParts, Provenance, Tagger, Tags, Vocabulary};

const HIDDEN: usize = 112;
const TAGS: usize = 100;
const ACTIVE: u32 = 100;
const ROUNDS: u32 = 100;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let test = !arguments.iter().any(|argument| argument == "--bench") || arguments.iter().any(|argument| argument == "--test");
    let keywords: u32 = if test { 10_000 } else { 1_000_000 };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.tagm");
    make(keywords, &path);
    let megabytes = std::fs::metadata(&path).unwrap().len() as f64 / 1e6;
    println!("{megabytes:.1} MB: {keywords} keywords, {HIDDEN} hidden units, {TAGS} tags; {ACTIVE} keywords an item");

    let rng = Philox::new(7);
    let item = |round: u32| -> Vec<u32> {
        (0..ACTIVE).map(|n| ((u64::from(rng.block([round, n, 0, 0])[0]) * u64::from(keywords)) >> 32) as u32).collect()
    };
    let mut times: [Vec<f64>; 4] = Default::default();
    let mut memory: [Vec<f64>; 4] = Default::default();
    for round in 0..ROUNDS {
        let ids = item(round);
        let before = kilobytes();
        let start = Instant::now();
        // SAFETY: nobody but this process knows the file, and it changes it no more.
        let tagger = Tagger::new(unsafe { Model::map(&path) }.unwrap());
        times[0].push(start.elapsed().as_secs_f64());
        grown(&mut memory[..2], before);
        let start = Instant::now();
        let (mut scratch, mut scores) = (tagger.scratch(), vec![0.0; TAGS]);
        times[1].push(start.elapsed().as_secs_f64());
        for time in &mut times[2..] {
            let start = Instant::now();
            tagger.score(black_box(&ids), &mut scratch, black_box(&mut scores)).unwrap();
            time.push(start.elapsed().as_secs_f64());
        }
        grown(&mut memory[2..], before);
    }
    println!("{ROUNDS} times                   median µs  largest µs");
    for (what, times) in
        ["map, make a tagger", "buffers of a thread", "score the first item", "score it again"].iter().zip(&mut times)
    {
        times.sort_unstable_by(f64::total_cmp);
        println!("{what:22} {:12.1} {:11.1}", times[times.len() / 2] * 1e6, times[times.len() - 1] * 1e6);
    }
    println!("memory more                 median kB  largest kB");
    let of = ["mapped: its own", "file's, in its view", "item scored: its own", "file's, in its view"];
    for (what, memory) in of.iter().zip(&mut memory) {
        memory.sort_unstable_by(f64::total_cmp);
        println!("{what:22} {:12.0} {:11.0}", memory[memory.len() / 2], memory[memory.len() - 1]);
    }
    assert!(memory[0][memory[0].len() / 2] < 1000.0, "expected less than 1 MB of memory of its own");
    assert!(times[0][times[0].len() / 2] < 1e-3, "expected less than 1 ms to map");
}

/// Saves a model with weights that are not zero, so that its pages are.
fn make(keywords: u32, path: &Path) {
    let shape = Shape::new(keywords as usize, HIDDEN, &[TAGS], OutputLayout::for_tags(TAGS)).unwrap();
    let filled = |blocks: usize| {
        let mut filled = vec![Block::ZERO; blocks];
        as_floats_mut(&mut filled).iter_mut().enumerate().for_each(|(n, w)| *w = (n % 1013) as f32 * 1e-4 - 0.05);
        filled
    };
    // All hidden units fill their blocks, so rows have no padding; those of the tags have some, which stays zero.
    let (w1, b1) = (filled(shape.w1_blocks()), filled(shape.row_blocks()));
    let (mut w2, b2) = (vec![Block::ZERO; shape.w2_blocks()], vec![Block::ZERO; shape.slot_blocks()]);
    for tag in 0..TAGS {
        for unit in 0..HIDDEN {
            as_floats_mut(&mut w2)[shape.w2_index(&shape.groups()[0], unit, tag)] = (unit + tag) as f32 * 1e-3 - 0.1;
        }
    }
    let vocabulary = Vocabulary::from_keywords((0..keywords).map(|id| format!("keyword{id}"))).unwrap();
    ModelParts {
        network: &Network { shape, pooling: Pooling::Sum, activation: Activation::Relu, eps: 1e-4 },
        weights: Weights { w1: &w1, b1: &b1, w2: &w2, b2: &b2 }.into(),
        vocabulary: vocabulary.view(),
        tags: &Tags::from_names((0..TAGS).map(|tag| format!("tag {tag}"))).unwrap(),
        provenance: &Provenance::new(),
        extensions: &Extensions::default(),
    }
    .to_model()
    .unwrap()
    .save(path)
    .unwrap();
}

/// Memory of this process's own, and pages of the system's cache of files that only it has in view: the system shows a file by the pieces
/// in which it caches it, 2 MB maybe, and can take them back. 0 where it does not tell.
fn kilobytes() -> [f64; 2] {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    ["Private_Dirty:", "Private_Clean:"].map(|name| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
    })
}

fn grown(memory: &mut [Vec<f64>], before: [f64; 2]) {
    memory.iter_mut().zip(kilobytes()).zip(before).for_each(|((memory, now), before)| memory.push(now - before));
}
