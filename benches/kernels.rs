//! Every kernel at every level of this machine; beside the embedding bag, plain loops over the same rows.
//!
//! ```text
//! cargo bench --bench kernels                   # all
//! cargo bench --bench kernels -- sum_rows       # one kernel
//! cargo bench --bench kernels -- avx2           # one level
//! ```
//!
//! Ids are `kernel/level/case`. A level's answer is compared with the scalar level's, bit by bit, before it is timed. Elements are
//! floats: those of the table for sums and dot products, else those of one operand. Operands fit L2, but for `k10000`.

#![allow(clippy::unwrap_used, reason = "a bench that cannot run shows where")]

mod workloads;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use tagomatic::Level;
use tagomatic::aligned::{Block, LANES, as_floats, as_floats_mut, zeroed};
use tagomatic::kernels::{
    ActiveUnits, AdaGradStep, Decay, Denominator, Kernels, LogLoss, LossInputs, LossKind, Rows, Shrink, Squares, SteppedRows,
};
use tagomatic::network::Activation;
use workloads::{Sets, bits, float_bits, noise};

/// Calls of a kernel in one iteration, each on operands of its own.
const CALLS: usize = 256;
/// Floats that an elementwise kernel goes through in one iteration.
const FLOATS: usize = 4096;

fn main() {
    let mut c = Criterion::default().configure_from_args();
    sum_rows(&mut c);
    weighted_sum_rows(&mut c);
    dot_rows(&mut c);
    relu(&mut c);
    sigmoid(&mut c);
    log_loss(&mut c);
    adagrad(&mut c);
    adagrad_bags(&mut c);
    shrink(&mut c);
    magnitude(&mut c);
    c.final_summary();
}

/// A way to compute an answer from the state `S` in place.
type Contender<'a, S> = (String, Box<dyn Fn(&mut S) + 'a>);

/// `run` at every level, the scalar one first.
fn levels<'a, S>(run: impl Fn(Kernels, &mut S) + Copy + 'a) -> Vec<Contender<'a, S>> {
    Level::available()
        .map(|level| {
            let kernels = Kernels::at(level).unwrap();
            (level.to_string(), Box::new(move |state: &mut S| run(kernels, state)) as Box<dyn Fn(&mut S)>)
        })
        .collect()
}

/// Checks that all contenders turn `start` into what the first makes of it, then times each. Timed runs start from the state that
/// the last one left: no kernel's work depends on values, except that of [`relu`], whose state is output alone.
fn compare<S: Clone>(
    c: &mut Criterion,
    (kernel, case, floats): (&str, &str, usize),
    start: &S,
    answer: impl Fn(&S) -> Vec<u32>,
    contenders: Vec<Contender<'_, S>>,
) {
    let mut group = c.benchmark_group(kernel);
    group.throughput(Throughput::Elements(floats as u64));
    let mut expected = None;
    for (name, run) in contenders {
        let mut state = start.clone();
        run(&mut state);
        let found = answer(&state);
        assert_eq!(expected.get_or_insert_with(|| found.clone()), &found, "{kernel}/{name}/{case}");
        group.bench_function(BenchmarkId::new(name, case), |b| b.iter(|| run(black_box(&mut state))));
    }
    group.finish();
}

/// Table, bias, ids, sum.
type PlainSum = fn(&[f32], &[f32], &[u32], &mut [f32]);

/// `out = bias + Σ rows[id]` as plain loops over a tile of 64 columns; the width of a row is a multiple of it.
#[inline(always)]
fn plain_sum(table: &[f32], bias: &[f32], ids: &[u32], out: &mut [f32]) {
    let width = out.len();
    let tiles = out.as_chunks_mut::<64>().0.iter_mut().zip(bias.as_chunks::<64>().0);
    for (tile, (out, bias)) in tiles.enumerate() {
        let mut sums = *bias;
        for &id in ids {
            let start = id as usize * width + tile * 64;
            for (sum, x) in sums.iter_mut().zip(&table[start..start + 64]) {
                *sum += x;
            }
        }
        *out = sums;
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn plain_sum_avx2(table: &[f32], bias: &[f32], ids: &[u32], out: &mut [f32]) {
    plain_sum(table, bias, ids, out);
}

fn sum_rows(c: &mut Criterion) {
    for (keywords, hidden, active) in [(2_000, 64, 30), (10_000, 64, 30), (2_000, 256, 30)] {
        let (table, bias) = (noise(1, keywords * hidden), noise(2, hidden));
        let samples = Sets::uniform(keywords, active, CALLS);
        let blocks = hidden / LANES;
        let mut contenders = levels(|kernels, out: &mut Vec<Block>| {
            for (ids, out) in samples.iter().zip(out.chunks_exact_mut(blocks)) {
                kernels.sum_rows(Rows::new(&table, blocks), Some(&bias), ids, out).unwrap();
            }
        });
        let plain = |sum: PlainSum, out: &mut Vec<Block>| {
            for (ids, out) in samples.iter().zip(as_floats_mut(out).chunks_exact_mut(hidden)) {
                sum(as_floats(&table), as_floats(&bias), ids, out);
            }
        };
        contenders.push(("plain".into(), Box::new(move |out| plain(plain_sum, out))));
        #[cfg(target_arch = "x86_64")]
        if Level::Avx2.is_available() {
            let sum = |table: &[f32], bias: &[f32], ids: &[u32], out: &mut [f32]| {
                #[expect(unsafe_code, reason = "needs AVX2")]
                // SAFETY: this contender runs only where AVX2 was found.
                unsafe {
                    plain_sum_avx2(table, bias, ids, out);
                }
            };
            contenders.push(("plain_avx2".into(), Box::new(move |out| plain(sum, out))));
        }
        let case = format!("k{keywords}_h{hidden}_nnz{active}");
        let floats = samples.ids.len() * hidden;
        compare(c, ("sum_rows", &case, floats), &zeroed(CALLS * hidden), |out| bits(out), contenders);
    }
}

/// As the output layer (rows are hidden units, half of them active) and as a gradient (rows are samples).
fn weighted_sum_rows(c: &mut Criterion) {
    for (rows, width, active) in [(64, 64, 32), (2_000, 64, 30)] {
        let (table, bias) = (noise(1, rows * width), noise(2, width));
        let samples = Sets::uniform(rows, active, CALLS);
        let weights = noise(3, active);
        let blocks = width / LANES;
        let contenders = levels(|kernels, out: &mut Vec<Block>| {
            for (ids, out) in samples.iter().zip(out.chunks_exact_mut(blocks)) {
                let weights = &as_floats(&weights)[..active];
                kernels.weighted_sum_rows(Rows::new(&table, blocks), Some(&bias), ids, weights, out).unwrap();
            }
        });
        let case = format!("k{rows}_h{width}_nnz{active}");
        let floats = samples.ids.len() * width;
        compare(c, ("weighted_sum_rows", &case, floats), &zeroed(CALLS * width), |out| bits(out), contenders);
    }
}

/// As the output layer of few tags (rows are tags) and as the gradient of hidden units (rows are the active ones).
fn dot_rows(c: &mut Criterion) {
    for (rows, width, count) in [(1, 64, 1), (8, 64, 8), (64, 64, 32)] {
        let (table, x) = (noise(1, rows * width), noise(2, CALLS * width));
        let samples = Sets::uniform(rows, count, CALLS);
        let blocks = width / LANES;
        let contenders = levels(|kernels, sums: &mut Vec<Block>| {
            for ((ids, x), sums) in samples.iter().zip(x.chunks_exact(blocks)).zip(sums.chunks_exact_mut(count)) {
                kernels.dot_rows(Rows::new(&table, blocks), ids, x, sums).unwrap();
            }
        });
        let case = format!("k{rows}_h{width}_n{count}");
        let floats = samples.ids.len() * width;
        compare(c, ("dot_rows", &case, floats), &vec![Block::ZERO; CALLS * count], |sums| bits(sums), contenders);
    }
}

#[derive(Clone)]
struct Hidden {
    h: Vec<Block>,
    units: Vec<u32>,
    values: Vec<f32>,
    counts: Vec<usize>,
}

/// ReLU and the list of active units, as the output layer's panels want it; half of the units are active, at random.
fn relu(c: &mut Criterion) {
    for hidden in [64, 256] {
        let a = noise(1, CALLS * hidden);
        let blocks = hidden / LANES;
        let start = Hidden {
            h: zeroed(CALLS * hidden),
            units: vec![0; CALLS * hidden],
            values: vec![0.0; CALLS * hidden],
            counts: vec![0; CALLS],
        };
        let contenders = levels(|kernels, state: &mut Hidden| {
            let lists = state.units.chunks_exact_mut(hidden).zip(state.values.chunks_exact_mut(hidden));
            let vectors = a.chunks_exact(blocks).zip(state.h.chunks_exact_mut(blocks));
            for (((a, h), (units, values)), count) in vectors.zip(lists).zip(&mut state.counts) {
                kernels.activate(Activation::Relu, a, h).unwrap();
                *count = kernels.list_active(h, ActiveUnits { units, values }).unwrap();
            }
        });
        let answer = |state: &Hidden| {
            let mut answer = bits(&state.h);
            for (sample, &count) in state.counts.iter().enumerate() {
                let listed = sample * hidden..sample * hidden + count;
                answer.push(count as u32);
                answer.extend(&state.units[listed.clone()]);
                answer.extend(float_bits(&state.values[listed]));
            }
            answer
        };
        compare(c, ("relu", &format!("h{hidden}"), CALLS * hidden), &start, answer, contenders);
    }
}

fn sigmoid(c: &mut Criterion) {
    for floats in [16, 64, 1024] {
        let contenders = levels(|kernels, x: &mut Vec<Block>| {
            for x in as_floats_mut(x).chunks_exact_mut(floats) {
                kernels.sigmoid(1e-4, x);
            }
        });
        compare(c, ("sigmoid", &format!("n{floats}"), FLOATS), &noise(1, FLOATS), |x| bits(x), contenders);
    }
}

fn log_loss(c: &mut Criterion) {
    let eps = 1e-4_f32;
    let loss = LogLoss { kind: LossKind::ClampSte, eps, limit: ((1.0 - eps) / eps).ln(), scale: 1.0 };
    let (logits, ones, zeros) = (noise(1, FLOATS), vec![Block([1.0; LANES]); FLOATS / LANES], zeroed(FLOATS));
    let mut targets = noise(2, FLOATS);
    as_floats_mut(&mut targets).iter_mut().for_each(|y| *y = f32::from(u8::from(*y > 0.8)));
    for floats in [16, 64, 1024] {
        let blocks = floats / LANES;
        let contenders = levels(|kernels, (gradient, losses): &mut (Vec<Block>, Vec<f64>)| {
            for (call, (gradient, sum)) in gradient.chunks_exact_mut(blocks).zip(losses).enumerate() {
                let part = call * blocks..(call + 1) * blocks;
                let inputs = LossInputs {
                    targets: &targets[part.clone()],
                    weights: &ones[part.clone()],
                    positive_weights: &ones[part.clone()],
                    offsets: &zeros[part.clone()],
                };
                // As training has it: logits come from the output layer.
                gradient.copy_from_slice(&logits[part]);
                *sum = kernels.log_loss(&loss, inputs, gradient).unwrap();
            }
        });
        let answer = |(gradient, losses): &(Vec<Block>, Vec<f64>)| {
            let mut answer = bits(gradient);
            answer.extend(losses.iter().map(|sum| sum.to_bits()).flat_map(|bits| [bits as u32, (bits >> 32) as u32]));
            answer
        };
        let start = (zeroed(FLOATS), vec![0.0; FLOATS / floats]);
        compare(c, ("log_loss", &format!("n{floats}"), FLOATS), &start, answer, contenders);
    }
}

/// Rows of a table that a mini-batch touched, in ascending order.
const TABLE: usize = 2_000;
const HIDDEN: usize = 64;
/// So small that the weights stay normal numbers however often it is applied.
const DECAY: Shrink = Shrink { factor: 0.999_999_9, offset: 1e-9 };

fn adagrad(c: &mut Criterion) {
    let rows = Sets::uniform(TABLE, CALLS, 1).ids;
    let gradients = noise(1, CALLS * HIDDEN);
    let start = (noise(2, TABLE * HIDDEN), vec![Block([0.1; LANES]); TABLE * HIDDEN / LANES]);
    let blocks = HIDDEN / LANES;
    for (case, decay) in [("k2000_h64", Decay::None), ("k2000_h64_decay", Decay::Shrink(DECAY))] {
        let step = AdaGradStep { lr: 0.05, denominator: Denominator { inside: 0.0, outside: 1e-10 }, decay };
        let rows = &rows;
        let gradients = &gradients;
        let contenders = levels(move |kernels, (weights, squares): &mut (Vec<Block>, Vec<Block>)| {
            for (&row, gradient) in rows.iter().zip(gradients.chunks_exact(blocks)) {
                let row = row as usize * blocks..(row as usize + 1) * blocks;
                kernels.adagrad(&step, gradient, &mut weights[row.clone()], Squares::Grow(&mut squares[row])).unwrap();
            }
        });
        let answer = |(weights, squares): &(Vec<Block>, Vec<Block>)| [bits(weights), bits(squares)].concat();
        compare(c, ("adagrad", case, CALLS * HIDDEN), &start, answer, contenders);
    }
}

/// One row of a table, in plain loops: squares, weights.
#[inline(always)]
fn plain_adagrad(gradient: &[f32; HIDDEN], squares: &mut [f32; HIDDEN], weights: &mut [f32; HIDDEN]) {
    for ((g, square), weight) in gradient.iter().zip(squares).zip(weights) {
        *square += g * g;
        *weight -= 0.05 * (g / (square.sqrt() + 1e-10));
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn plain_adagrad_avx512(gradient: &[f32; HIDDEN], squares: &mut [f32; HIDDEN], weights: &mut [f32; HIDDEN]) {
    plain_adagrad(gradient, squares, weights);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn plain_adagrad_avx2(gradient: &[f32; HIDDEN], squares: &mut [f32; HIDDEN], weights: &mut [f32; HIDDEN]) {
    plain_adagrad(gradient, squares, weights);
}

/// Steps on the rows that a mini-batch touched, each by one sample, beside as many steps of a plain loop on one row, which never leaves the nearest cache.
fn adagrad_bags(c: &mut Criterion) {
    let ids = Sets::uniform(TABLE, CALLS, 1).ids;
    let gradients = noise(1, CALLS * HIDDEN);
    let (weights, squares) = (noise(2, TABLE * HIDDEN), vec![Block([0.1; LANES]); TABLE * HIDDEN / LANES]);
    let (each, starts): (Vec<u32>, Vec<usize>) = ((0..CALLS as u32).collect(), (0..=CALLS).collect());
    let step = AdaGradStep { lr: 0.05, denominator: Denominator { inside: 0.0, outside: 1e-10 }, decay: Decay::None };
    let mut group = c.benchmark_group("adagrad_bags");
    group.throughput(Throughput::Elements(CALLS as u64));
    for level in Level::available() {
        let kernels = Kernels::at(level).unwrap();
        let (mut weights, mut squares) = (weights.clone(), squares.clone());
        let rows = SteppedRows { ids: &ids, first: 0, width: HIDDEN / LANES };
        let samples = tagomatic::ids::Sets::new(&each, &starts).unwrap();
        group.bench_function(BenchmarkId::new(level.to_string(), "k2000_h64"), |b| {
            b.iter(|| kernels.adagrad_bags(&step, rows, &gradients, samples, &mut weights, &mut squares).unwrap());
        });
    }
    #[cfg(target_arch = "x86_64")]
    for (level, name) in [(Level::Avx2, "plain_avx2"), (Level::Avx512, "plain_avx512")] {
        if !level.is_available() {
            continue;
        }
        let gradients = as_floats(&gradients).as_chunks::<HIDDEN>().0;
        let (mut square, mut weight) = ([0.1_f32; HIDDEN], [0.5_f32; HIDDEN]);
        group.bench_function(BenchmarkId::new(name, "one_row_h64"), |b| {
            b.iter(|| {
                // One gradient too: the loop is to read nothing from afar.
                for _ in 0..CALLS {
                    let gradient = black_box(&gradients[0]);
                    #[expect(unsafe_code, reason = "needs the level")]
                    if level == Level::Avx2 {
                        // SAFETY: AVX2 was found.
                        unsafe { plain_adagrad_avx2(gradient, &mut square, &mut weight) };
                    } else {
                        // SAFETY: AVX-512 was found.
                        unsafe { plain_adagrad_avx512(gradient, &mut square, &mut weight) };
                    }
                }
                black_box((&mut square, &mut weight));
            });
        });
    }
    group.finish();
}

fn shrink(c: &mut Criterion) {
    let rows = Sets::uniform(TABLE, CALLS, 1).ids;
    let blocks = HIDDEN / LANES;
    let contenders = levels(|kernels, weights: &mut Vec<Block>| {
        for &row in &rows {
            kernels.shrink(&DECAY, &mut weights[row as usize * blocks..][..blocks]);
        }
    });
    compare(c, ("shrink", "k2000_h64", CALLS * HIDDEN), &noise(2, TABLE * HIDDEN), |weights| bits(weights), contenders);
}

fn magnitude(c: &mut Criterion) {
    let x = noise(1, FLOATS);
    let contenders = levels(|kernels, largest: &mut f32| *largest = kernels.magnitude(black_box(&x)));
    compare(c, ("magnitude", &format!("n{FLOATS}"), FLOATS), &0.0, |largest| vec![largest.to_bits()], contenders);
}
