//! Kernels against what bounds them, in one run: `cargo run --release --manifest-path benches/limits/Cargo.toml [-- PART...]`, with the
//! parts `rows`, `output`, `trained`, `sigmoid`, `bank`, `threads` and `select`; with `--test` each runs once.
//!
//! What bounds arithmetic is measured here too: a multiplication and an addition on registers, as many as the CPU takes, never fused.
//! Contenders take turns; figures are medians.

#![allow(unsafe_code, reason = "the limits: functions for levels that were detected")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot run shows where")]
#![expect(clippy::print_stdout, reason = "the report of a bench")]

#[path = "../../workloads.rs"]
mod workloads;

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Instant;

use tagomatic::aligned::{Block, LANES, as_floats, as_floats_mut};
use tagomatic::convert::{Conversion, convert};
use tagomatic::data::{Corpus, Format, Reader, input};
use tagomatic::kernels::{ActiveLists, Answer, Answers, HiddenRows, Kernels, Level, Panels};
use tagomatic::network::{Activation, Network, OutputLayout, Pooling, Shape, Weights};
use tagomatic::selection::{MinScore, Selection};
use tagomatic::train::{Penalty, PenaltyKind, Statistics, TrainConfig, Trainer};
use tagomatic::weights::WeightType;
use tagomatic::{Model, ModelParts, Provenance, Tagger, Tags, Vocabulary};
use workloads::{Sets, W1M, W2, noise};

const ROUNDS: usize = 31;

/// Prints its figures, from so many rounds.
type Part = fn(usize);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let test = arguments.iter().any(|argument| argument == "--test");
    let rounds = if test { 1 } else { ROUNDS };
    let named: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let parts: [(&str, Part); 7] = [
        ("rows", rows),
        ("output", output),
        ("trained", trained),
        ("sigmoid", sigmoid),
        ("bank", bank),
        ("threads", threads),
        ("select", select),
    ];
    for (name, part) in parts {
        if named.is_empty() || named.iter().any(|named| *named == name) {
            println!("{name}");
            part(rounds);
        }
    }
}

fn levels() -> impl Iterator<Item = Kernels> {
    [Level::Avx512, Level::Avx2, Level::Portable].into_iter().filter_map(|level| Kernels::at(level).ok())
}

/// Medians of the seconds that each contender takes, in turns.
fn interleaved<const N: usize>(rounds: usize, mut contenders: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut times = [const { Vec::new() }; N];
    for round in 0..=rounds {
        for (times, contender) in times.iter_mut().zip(&mut contenders) {
            let start = Instant::now();
            contender();
            if round > 0 {
                times.push(start.elapsed().as_secs_f64());
            }
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

/// Multiplications and additions of floats in 16 lanes and 24 sums, `count` of each: nothing waits for another.
#[inline(always)]
fn multiply_and_add(sums: &mut [[f32; LANES]; 12], count: usize) {
    let factor = black_box([1.000_000_1_f32; LANES]);
    let mut held = *sums;
    for _ in 0..count {
        for sum in &mut held {
            for (sum, factor) in sum.iter_mut().zip(&factor) {
                *sum += *sum * factor;
            }
        }
    }
    *sums = held;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn multiply_and_add_avx512(sums: &mut [[f32; LANES]; 12], count: usize) {
    multiply_and_add(sums, count);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn multiply_and_add_avx2(sums: &mut [[f32; LANES]; 12], count: usize) {
    // As many sums as there are registers.
    let (few, _) = sums.split_at_mut(6);
    let factor = black_box([1.000_000_1_f32; LANES]);
    let mut held = [few[0], few[1], few[2], few[3], few[4], few[5]];
    for _ in 0..2 * count {
        for sum in &mut held {
            for (sum, factor) in sum.iter_mut().zip(&factor) {
                *sum += *sum * factor;
            }
        }
    }
    few.copy_from_slice(&held);
}

const PEAK_OPERATIONS: usize = 2 * 12 * LANES * PEAK_COUNT;
const PEAK_COUNT: usize = 20_000;

fn peak(level: Level) {
    let mut sums = [[1e-30_f32; LANES]; 12];
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: kernels of this level were made, so the CPU has it.
        Level::Avx512 => unsafe { multiply_and_add_avx512(&mut sums, PEAK_COUNT) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { multiply_and_add_avx2(&mut sums, PEAK_COUNT) },
        _ => multiply_and_add(&mut sums, PEAK_COUNT),
    }
    black_box(&mut sums);
}

/// Adds rows of `width` floats, each asked for `ahead` rows before it is added, into the second-level cache if `near`, else the third.
///
/// # Safety
/// Every id is below the number of rows; `width` is a multiple of 64.
#[inline(always)]
unsafe fn read_rows(table: &[f32], width: usize, ids: &[u32], ahead: usize, near: bool) -> [f32; 64] {
    let mut sums = [0.0; 64];
    for (n, &id) in ids.iter().enumerate() {
        #[cfg(target_arch = "x86_64")]
        if ahead > 0 {
            use std::arch::x86_64::{_MM_HINT_T1, _MM_HINT_T2, _mm_prefetch};
            let next = ids[(n + ahead).min(ids.len() - 1)] as usize * width;
            for line in (0..width).step_by(LANES) {
                let address = table.as_ptr().wrapping_add(next + line).cast();
                // SAFETY: a hint; every x86-64 CPU has it, and it fails at no address.
                unsafe { if near { _mm_prefetch::<_MM_HINT_T1>(address) } else { _mm_prefetch::<_MM_HINT_T2>(address) } };
            }
        }
        for column in (0..width).step_by(64) {
            let start = id as usize * width + column;
            // SAFETY: the caller's promise.
            let row = unsafe { table.get_unchecked(start..start + 64) };
            sums.iter_mut().zip(row).for_each(|(sum, w)| *sum += w);
        }
    }
    sums
}

/// # Safety
/// As [`read_rows`]; the CPU has AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn read_rows_avx512(table: &[f32], width: usize, ids: &[u32], ahead: usize, near: bool) -> [f32; 64] {
    // SAFETY: the caller's promise.
    unsafe { read_rows(table, width, ids, ahead, near) }
}

/// # Safety
/// As [`read_rows`]; the CPU has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn read_rows_avx2(table: &[f32], width: usize, ids: &[u32], ahead: usize, near: bool) -> [f32; 64] {
    // SAFETY: the caller's promise.
    unsafe { read_rows(table, width, ids, ahead, near) }
}

/// The embedding bag of batches beside random reads of the same rows, all ids equally frequent; reads plain and with each prefetch.
fn rows(rounds: usize) {
    for (name, mebibytes, blocks) in [("512 KiB", 0.5, 4), ("1.5 MiB", 1.5, 4), ("24 MiB", 24.0, 8), ("512 MiB", 512.0, 8)] {
        let mebibytes = if rounds == 1 { f64::min(mebibytes, 1.5) } else { mebibytes };
        let table = noise(1, (mebibytes * 262_144.0) as usize);
        let sets = Sets::uniform(table.len() / blocks, 64, 4_096);
        let gigabytes = (sets.ids.len() * blocks * size_of::<Block>()) as f64 / 1e9;
        // As a batch is served: so many items at a time, to the same place.
        const ITEMS: usize = 48;
        let portions: Vec<tagomatic::ids::Sets<'_>> = (0..4_096)
            .step_by(ITEMS)
            .map(|first| {
                let starts = &sets.starts[first..=(first + ITEMS).min(4_096)];
                tagomatic::ids::Sets::checked(&sets.ids, starts).unwrap()
            })
            .collect();
        let (bias, mut out) = (vec![Block::ZERO; blocks], vec![Block::ZERO; blocks * ITEMS]);
        for kernels in levels() {
            let read = |ahead, near| {
                let (table, width, ids) = (as_floats(&table), blocks * LANES, black_box(&sets.ids));
                match kernels.level() {
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: kernels of this level were made, so the CPU has it; ids are below the number of rows.
                    Level::Avx512 => black_box(unsafe { read_rows_avx512(table, width, ids, ahead, near) }),
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: as above.
                    Level::Avx2 => black_box(unsafe { read_rows_avx2(table, width, ids, ahead, near) }),
                    // SAFETY: as above.
                    _ => black_box(unsafe { read_rows(table, width, ids, ahead, near) }),
                };
            };
            let table = tagomatic::weights::Matrix::F32(&table);
            let mut bag = || {
                for bags in &portions {
                    let out = black_box(&mut out[..blocks * bags.len()]);
                    kernels.sum_bags(&table, &bias, Activation::Identity, *bags, out).unwrap();
                }
            };
            let times = interleaved(
                rounds.min(11),
                [
                    &mut bag,
                    &mut || read(0, true),
                    &mut || read(16, true),
                    &mut || read(32, true),
                    &mut || read(16, false),
                    &mut || read(32, false),
                ],
            );
            let [bag, reads @ ..] = times.map(|seconds| gigabytes / seconds);
            let best = reads.into_iter().fold(0.0, f64::max);
            println!(
                "  {:<9} rows of {} bytes from {name}: bag {bag:.1} GB/s; reads {}; {:.0} % of the best",
                kernels.level().name(),
                blocks * size_of::<Block>(),
                reads.map(|read| format!("{read:.1}")).join(", "),
                100.0 * bag / best
            );
        }
    }
}

/// Hidden vectors of some items, a share of the units 0 at random, and the lists of the others.
struct Vectors {
    items: usize,
    units: usize,
    blocks: Vec<Block>,
    starts: Vec<usize>,
    numbers: Vec<u32>,
    values: Vec<f32>,
}

impl Vectors {
    fn new(items: usize, units: usize, zeros: f32) -> Self {
        let mut blocks = noise(5, items * units);
        let coins = noise(6, items * units);
        for (h, coin) in as_floats_mut(&mut blocks).iter_mut().zip(as_floats(&coins)) {
            *h = if (coin + 1.0) / 2.0 < zeros { 0.0 } else { h.abs() + 1e-3 };
        }
        Self::of(items, units, blocks)
    }

    fn of(items: usize, units: usize, blocks: Vec<Block>) -> Self {
        let (mut starts, mut numbers, mut values) = (vec![0], Vec::new(), Vec::new());
        for row in as_floats(&blocks).chunks_exact(units) {
            for (unit, h) in (0..).zip(row).filter(|(_, h)| **h != 0.0) {
                numbers.push(unit);
                values.push(*h);
            }
            starts.push(numbers.len());
        }
        Vectors { items, units, blocks, starts, numbers, values }
    }

    fn zeros(&self) -> f64 {
        1.0 - self.values.len() as f64 / (self.items * self.units) as f64
    }
}

/// The output layer of 1,000 tags: dense beside the peak and the crate `gemm`, sparse beside the best of the dense ones.
fn output(rounds: usize) {
    for units in [64, 256] {
        let weights = noise(1, 1_024 * units);
        for (items, zeros) in [(256, 0.0), (256, 0.56), (256, 0.8), (1, 0.56), (1, 0.8)] {
            contest(rounds, &Vectors::new(items, units, zeros), &weights[..63 * units]);
        }
    }
}

fn contest(rounds: usize, vectors: &Vectors, weights: &[Block]) {
    let (items, units, width, tags) = (vectors.items, vectors.units, 63, 1_000);
    let bias = noise(2, width * LANES);
    let panels = Panels { weights: &tagomatic::weights::Matrix::F32(weights), units, width };
    let hidden = HiddenRows { blocks: &vectors.blocks, stride: units / LANES, first: 0, items };
    let active = ActiveLists { starts: &vectors.starts, units: &vectors.numbers, values: &vectors.values };
    // `gemm` takes the weights as rows of tags, the best case for it; it fuses multiplication and addition.
    let plain = noise(1, tags * units);
    let repeats = 256 / items;
    for kernels in levels() {
        let level = kernels.level();
        let mut floats = [(); 3].map(|()| vec![0.0; items * tags]);
        let [dense_floats, sparse_floats, gemm_floats] = &mut floats;
        let answers = |floats| Answers { answer: Answer::Logit, floats, stride: tags, first: 0, tags };
        let (mut to_dense, mut to_sparse) = (answers(&mut dense_floats[..]), answers(&mut sparse_floats[..]));
        let mut dense = || (0..repeats).for_each(|_| kernels.panels_dense(panels, hidden, &bias, &mut to_dense).unwrap());
        let mut sparse = || (0..repeats).for_each(|_| kernels.panels_sparse(panels, active, &bias, &mut to_sparse).unwrap());
        let mut multiply = || {
            for _ in 0..repeats {
                let (a, b, c) = (as_floats(&vectors.blocks), as_floats(&plain), &mut gemm_floats[..]);
                // SAFETY: the matrices have these sizes: items x units, units x tags, items x tags.
                unsafe {
                    gemm::gemm(
                        items,
                        tags,
                        units,
                        c.as_mut_ptr(),
                        1,
                        tags as isize,
                        false,
                        a.as_ptr(),
                        1,
                        units as isize,
                        b.as_ptr(),
                        1,
                        tags as isize,
                        0.0,
                        1.0,
                        false,
                        false,
                        false,
                        gemm::Parallelism::None,
                    );
                }
            }
        };
        let mut limit = || peak(level);
        let [dense, sparse, gemm, limit] = interleaved(rounds, [&mut dense, &mut sparse, &mut multiply, &mut limit]);
        let rate = |seconds: f64| (2 * 256 * units * tags) as f64 / seconds / 1e9;
        let padded = (2 * 256 * units * width * LANES) as f64 / dense / (PEAK_OPERATIONS as f64 / limit);
        println!(
            "  {:<9} {items:>3} items, {units} units, {:>2.0} % zeros: dense {:>5.1} GFLOP/s, {:>3.0} % of the peak; gemm {:>5.1}; \
             sparse is {:.2} x our dense form, {:.2} x the best of both",
            level.name(),
            100.0 * vectors.zeros(),
            rate(dense),
            100.0 * padded,
            rate(gemm),
            dense / sparse,
            dense.min(gemm) / sparse
        );
        assert_eq!(floats[0], floats[1]);
    }
}

/// The same on hidden vectors of nets that were trained on the films in `models/`, without a penalty and with mean-square ones.
fn trained(rounds: usize) {
    let reader = |file: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(file);
        Reader::new(input::open(&path).unwrap(), Format::JsonLines, file).map(Result::unwrap)
    };
    let mut corpus = Corpus::new();
    reader("movies-train.jsonl.gz").for_each(|item| corpus.push(&item).unwrap());
    let prepared = corpus.finish(2).unwrap();
    let (tags, films) = (Tags::from_names(prepared.tags).unwrap(), prepared.dataset);
    let vocabulary = Vocabulary::from_keywords(prepared.keywords).unwrap();
    let weights = noise(1, 1_024 * 64);
    for weight in [0.0, 0.1, 0.3] {
        let penalty = (weight > 0.0).then_some(Penalty { kind: PenaltyKind::MeanSquare(0.0), weight });
        let config = TrainConfig { hidden: 64, penalty, ..TrainConfig::default() };
        let mut trainer = Trainer::new(config, vocabulary.clone(), tags.clone(), &Statistics::of(&films, tags.len())).unwrap();
        trainer.fit(&films, None, &mut |_| ControlFlow::Continue(())).unwrap();
        let tagger = Tagger::new(trainer.model(Provenance::new()).unwrap());
        let (mut scratch, mut blocks) = (tagger.scratch(), vec![Block::ZERO; 256 * 64 / LANES]);
        for (film, hidden) in as_floats_mut(&mut blocks).chunks_exact_mut(64).enumerate() {
            tagger.hidden(films.keywords(film), &mut scratch, hidden).unwrap();
        }
        println!("  penalty weight {weight}");
        contest(rounds, &Vectors::of(256, 64, blocks.clone()), &weights[..63 * 64]);
        contest(rounds, &Vectors::of(1, 64, blocks[64..68].to_vec()), &weights[..63 * 64]);
    }
}

/// Nanoseconds a float, and beside the peak.
fn sigmoid(rounds: usize) {
    for kernels in levels() {
        let mut x = noise(3, 4_096);
        let mut run = || (0..50).for_each(|_| kernels.sigmoid(1e-4, black_box(as_floats_mut(&mut x))));
        let mut limit = || peak(kernels.level());
        let [run, limit] = interleaved(rounds, [&mut run, &mut limit]);
        let (float, operation) = (run * 1e9 / (50.0 * 4_096.0), limit * 1e9 / PEAK_OPERATIONS as f64);
        println!(
            "  {:<9} {float:.3} ns a float, the time of {:.0} multiplications or additions at the peak of {:.1} GFLOP/s",
            kernels.level().name(),
            float / operation,
            1.0 / operation
        );
    }
}

/// Fifty nets of one tag and 32 hidden units on 10,000 keywords: as one table, and as fifty.
fn bank(rounds: usize) {
    let (keywords, hidden, nets) = (10_000, 32, 50);
    let model = |nets: usize, seed: u64| {
        let shape = Shape::new(keywords, hidden, &vec![1; nets], OutputLayout::TagMajor).unwrap();
        let (w1, b1) = (noise(seed, shape.w1_blocks() * LANES), noise(seed + 1, shape.row_blocks() * LANES));
        let (w2, b2) = (noise(seed + 2, shape.w2_blocks() * LANES), vec![Block::ZERO; shape.slot_blocks()]);
        ModelParts {
            network: &Network { shape, pooling: Pooling::Sum, activation: Activation::Relu, eps: 1e-4 },
            weights: Weights { w1: &w1, b1: &b1, w2: &w2, b2: &b2 }.into(),
            vocabulary: Vocabulary::from_keywords((0..keywords).map(workloads::keyword)).unwrap().view(),
            tags: &Tags::from_names((0..nets).map(|tag| tag.to_string())).unwrap(),
            provenance: &Provenance::new(),
            extensions: &Default::default(),
        }
        .to_model()
        .unwrap()
    };
    let (fused, separate) = (model(nets, 0), (0..nets).map(|net| model(1, net as u64 * 10)).collect::<Vec<Model>>());
    contest_of_banks(rounds, &fused, &separate);
    let integers = |model: &Model| {
        let how = Conversion { weights: Some(WeightType::I8), ..Conversion::default() };
        convert(model, how, [[0; 0]; 0]).unwrap().model
    };
    contest_of_banks(rounds, &integers(&fused), &separate.iter().map(integers).collect::<Vec<Model>>());
}

fn contest_of_banks(rounds: usize, fused: &Model, separate: &[Model]) {
    let (keywords, nets) = (fused.network().shape.keywords(), separate.len());
    let requests = Sets::zipf(keywords, 30, 500);
    for level in [Level::Avx512, Level::Avx2, Level::Portable] {
        let tagger = |model: &Model| Tagger::with_level(Model::from_bytes(model.bytes()).unwrap(), level);
        let Ok(fused) = tagger(fused) else { continue };
        let separate: Vec<Tagger> = separate.iter().map(|model| tagger(model).unwrap()).collect();
        let (mut scratch, mut scratches, mut scores) = (fused.scratch(), separate[0].scratch(), vec![0.0; nets]);
        let mut one = || requests.iter().for_each(|ids| fused.score(ids, &mut scratch, &mut scores).unwrap());
        let mut alone = [0.0];
        let mut fifty = || {
            for ids in requests.iter() {
                separate.iter().for_each(|tagger| tagger.score(ids, &mut scratches, &mut alone).unwrap());
            }
        };
        let [one, fifty] = interleaved(rounds, [&mut one, &mut fifty]);
        let each = |seconds: f64| seconds * 1e6 / requests.len() as f64;
        println!(
            "  {:<9} {:<4} one table {:.2} µs, fifty {:.2} µs, {:.2} x",
            level.name(),
            fused.model().weights().w1.weight_type(),
            each(one),
            each(fifty),
            fifty / one
        );
    }
}

/// Batches of 4,096 on two threads and on one.
fn threads(rounds: usize) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for workload in [W1M, workloads::Workload { keywords: 10_000, ..W2 }] {
        let tagger = Tagger::new(workload.model());
        let batch = &Sets::zipf(workload.keywords, workload.active, 4_096);
        let (mut scores, mut scratch) = ([(); 2].map(|()| vec![0.0; 4_096 * workload.tags]), tagger.scratch());
        let mut scratches = vec![tagger.scratch(); 2];
        let [to_one, to_two] = &mut scores;
        // One that finds the threads asleep, and some that follow each other, as a busy service has them.
        for batches in [1, 8] {
            let mut one = || {
                (0..batches).for_each(|_| tagger.score_batch(&batch.ids, &batch.starts, &mut scratch, to_one).unwrap());
            };
            let mut two = || {
                for _ in 0..batches {
                    tagger.score_batch_in(&pool, &batch.ids, &batch.starts, &mut scratches, to_two).unwrap();
                }
            };
            let [one, two] = interleaved(rounds, [&mut one, &mut two]).map(|seconds| 1e3 * seconds / f64::from(batches));
            let name = workload.name;
            println!("  {name}, {batches} after each other: one thread {one:.2} ms, two {two:.2} ms, {:.2} x", one / two);
        }
        assert_eq!(scores[0], scores[1]);
    }
}

/// The best 5 of 1,000 tags, and those that reach a threshold, beside a full sort.
fn select(rounds: usize) {
    let tags = Tags::from_names((0..1_000).map(|tag| tag.to_string())).unwrap();
    let rows: Vec<Vec<f32>> =
        (0..256).map(|row| as_floats(&noise(row, 1_000))[..1_000].iter().map(|x| x.abs() * x.abs()).collect()).collect();
    for kernels in levels() {
        let mut selected = [const { Vec::new() }; 3];
        let [to_best, to_reaching, to_sorted] = &mut selected;
        let best = Selection { min_score: MinScore::Fixed(0.0), top_k: Some(5), ..Selection::default() };
        let mut best = || rows.iter().for_each(|scores| best.select_at(kernels, &tags, scores, 1, to_best).unwrap());
        let reaching = Selection { top_k: Some(20), ..Selection::default() };
        let mut reaching = || rows.iter().for_each(|scores| reaching.select_at(kernels, &tags, scores, 1, to_reaching).unwrap());
        let mut sorted = || {
            for scores in &rows {
                to_sorted.clear();
                to_sorted.extend(0..scores.len());
                to_sorted.sort_unstable_by(|a: &usize, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
            }
        };
        let times = interleaved(rounds, [&mut best, &mut reaching, &mut sorted]);
        let [best, reaching, sorted] = times.map(|seconds| seconds * 1e9 / rows.len() as f64);
        println!(
            "  {:<9} best 5 of 1,000 {best:.0} ns, at most 20 over 0.5 {reaching:.0} ns, full sort {sorted:.0} ns",
            kernels.level().name()
        );
        assert_eq!(selected[0], selected[2][..5]);
    }
}
