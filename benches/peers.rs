//! This crate's side of `peers/`: the nets and requests that all contenders share, and its own figures.
//!
//! ```text
//! cargo bench --bench peers -- make DIR [WORKLOAD...]    # trains, writes DIR/WORKLOAD.tagm and DIR/WORKLOAD.bin
//! cargo bench --bench peers -- time DIR [WORKLOAD...]    # prints figures, a JSON object a line
//! ```
//!
//! A `.bin` file holds, little-endian: u64 keywords K, hidden units H, tags T, items N, ids M; f32 W1 `[K, H]`, b1 `[H]`,
//! W2 `[H, T]`, b2 `[T]`; u64 starts `[N + 1]`; u32 ids `[M]`; f32 scores `[N, T]`, what this crate answers.

#![allow(clippy::unwrap_used, reason = "a bench that cannot run shows where")]
#![expect(clippy::print_stdout, reason = "the report of a bench")]

mod workloads;

use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use tagomatic::aligned::{LANES, as_floats};
use tagomatic::convert::{Conversion, convert};
use tagomatic::rng::{Philox, unit};
use tagomatic::train::{PairWeights, Sample, Statistics, Targets, TrainConfig, Trainer};
use tagomatic::weights::WeightType;
use tagomatic::{Model, Provenance, Tagger};
use workloads::{Sets, W1, W1M, W2, W3, Workload};

/// Passes over the requests; figures are medians.
const PASSES: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let names: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let chosen = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        [W1, W1M, W2, W3].into_iter().filter(move |workload| names.is_empty() || names.iter().any(|name| name == workload.name))
    };
    match &names[..] {
        ["make", folder, names @ ..] => {
            chosen(names).for_each(|workload| make(&workload, workload.requests(), Path::new(folder)))
        }
        ["time", folder, names @ ..] => {
            chosen(names).for_each(|workload| time(&workload, workload.requests(), Path::new(folder)))
        }
        // `cargo bench -- --test` runs every bench.
        [] => {
            let workload = Workload { keywords: 200, ..W1M };
            let folder = tempfile::tempdir().unwrap();
            let requests = || Sets::zipf(workload.keywords, workload.active, 256);
            make(&workload, requests(), folder.path());
            time(&workload, requests(), folder.path());
        }
        _ => panic!("expected `make DIR` or `time DIR`, found {names:?}"),
    }
}

/// Trains on labels drawn from the scores of a net with random weights, whose logits are lowered so that a tenth of the pairs are
/// positive or so.
fn make(workload: &Workload, requests: Sets, folder: &Path) {
    let teacher = Tagger::new(workload.model());
    let (mut scratch, mut logits) = (teacher.scratch(), vec![0.0; workload.tags]);
    let mut tags = Vec::new();
    for (item, ids) in (0..).zip(requests.iter()) {
        teacher.logits(ids, &mut scratch, &mut logits).unwrap();
        let drawn = |tag: u32, z: f32| unit(Philox::new(1).block([item, tag, 0, 0])[0]) < 1.0 / (1.0 + (3.0 - 3.0 * z).exp());
        tags.push((0..).zip(&logits).filter(|(tag, z)| drawn(*tag, **z)).map(|(tag, _)| tag).collect::<Vec<u32>>());
    }
    let samples: Vec<Sample<'_>> = (0..)
        .zip(requests.iter().zip(&tags))
        .map(|(index, (keywords, tags))| Sample {
            index,
            keywords,
            targets: Targets::Tags(tags),
            weights: PairWeights::All(1.0),
        })
        .collect();
    let mut positives = vec![0; workload.tags];
    tags.iter().flatten().for_each(|tag| positives[*tag as usize] += 1);
    let statistics = Statistics { samples: samples.len() as u64, mean_keywords: workload.active as f64, positives };
    let config = TrainConfig { hidden: workload.hidden, batch: 256, ..TrainConfig::default() };
    let mut trainer = Trainer::new(config, workload.vocabulary(), workload.tags(), &statistics).unwrap();
    for batch in samples.chunks(256).cycle().take(2 * samples.len().div_ceil(256)) {
        trainer.step(batch).unwrap();
    }
    let model = trainer.model(Provenance::new()).unwrap();
    model.save(folder.join(workload.name).with_extension("tagm")).unwrap();
    let tagger = Tagger::new(model);
    let mut scores = vec![0.0; requests.len() * workload.tags];
    tagger.score_batch(&requests.ids, &requests.starts, &mut tagger.scratch(), &mut scores).unwrap();
    let file = File::create(folder.join(workload.name).with_extension("bin")).unwrap();
    export(&tagger, &requests, &scores, &mut BufWriter::new(file)).unwrap();
}

fn export(tagger: &Tagger, requests: &Sets, scores: &[f32], out: &mut impl Write) -> std::io::Result<()> {
    let (shape, weights) = (&tagger.model().network().shape, tagger.model().weights().as_f32().unwrap());
    let (hidden, tags, group) = (shape.hidden(), shape.tags(), &shape.groups()[0]);
    for size in [shape.keywords(), hidden, tags, requests.len(), requests.ids.len()] {
        out.write_all(&(size as u64).to_le_bytes())?;
    }
    let mut floats = |floats: &[f32]| floats.iter().try_for_each(|x| out.write_all(&x.to_le_bytes()));
    for row in as_floats(weights.w1).chunks_exact(shape.row_blocks() * LANES) {
        floats(&row[..hidden])?;
    }
    floats(&as_floats(weights.b1)[..hidden])?;
    for unit in 0..hidden {
        let row: Vec<f32> = (0..tags).map(|tag| as_floats(weights.w2)[shape.w2_index(group, unit, tag)]).collect();
        floats(&row)?;
    }
    floats(&(0..tags).map(|tag| as_floats(weights.b2)[shape.slot(tag)]).collect::<Vec<f32>>())?;
    requests.starts.iter().try_for_each(|start| out.write_all(&(*start as u64).to_le_bytes()))?;
    requests.ids.iter().try_for_each(|id| out.write_all(&id.to_le_bytes()))?;
    scores.iter().try_for_each(|x| out.write_all(&x.to_le_bytes()))?;
    out.flush()
}

/// Times the model as it is, and with weights of 8 bits.
fn time(workload: &Workload, requests: Sets, folder: &Path) {
    let model = Model::open(folder.join(workload.name).with_extension("tagm")).unwrap();
    let how = Conversion { weights: Some(WeightType::I8), ..Conversion::default() };
    let rounded = convert(&model, how, [[0; 0]; 0]).unwrap().model;
    for tagger in [Tagger::new(model), Tagger::new(rounded)] {
        time_tagger(workload, &requests, &tagger);
    }
}

fn time_tagger(workload: &Workload, requests: &Sets, tagger: &Tagger) {
    let (mut scratch, mut scores) = (tagger.scratch(), vec![0.0; workload.tags]);
    let name = format!("tagomatic {} {}", tagger.level(), tagger.model().weights().w1.weight_type());
    let figure = |form: &str, unit: &str, value: f64| {
        println!("{{\"peer\": \"{name}\", \"workload\": \"{}\", \"form\": \"{form}\", \"{unit}\": {value:.3}}}", workload.name);
    };
    let mut passes: Vec<Vec<u64>> = (0..=PASSES)
        .map(|_| {
            let mut times: Vec<u64> = requests
                .iter()
                .map(|ids| {
                    let start = Instant::now();
                    tagger.score(black_box(ids), &mut scratch, black_box(&mut scores)).unwrap();
                    start.elapsed().as_nanos() as u64
                })
                .collect();
            times.sort_unstable();
            times
        })
        .collect();
    passes.remove(0);
    let percentile = |share: f64| median(passes.iter().map(|times| times[(times.len() as f64 * share) as usize] as f64 / 1e3));
    figure("p50", "us", percentile(0.5));
    figure("p99", "us", percentile(0.99));
    for size in [256, 4096] {
        let batches = requests.batches(size);
        if batches.is_empty() {
            continue;
        }
        let mut scores = vec![0.0; size * workload.tags];
        let mut pass = || {
            let start = Instant::now();
            for batch in &batches {
                tagger.score_batch(&batch.ids, &batch.starts, &mut scratch, black_box(&mut scores)).unwrap();
            }
            (batches.len() * size) as f64 / start.elapsed().as_secs_f64()
        };
        pass();
        figure(&format!("batch {size}"), "items_per_second", median((0..PASSES).map(|_| pass())));
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
