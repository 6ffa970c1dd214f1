//! Serving against what bounds it, in one run: `cargo bench --all-features --bench ratios [-- WORKLOAD...] [TYPE...]`, with the workloads
//! `w1`, `w1m`, `w2`, `w3` and the weights `f32`, `f16`, `bf16`, `i8`.
//!
//! For each workload, type of weights and level the time of a request, alone and in batches, stands beside a *floor*: the plainest fast loop for the
//! same work without a check, a buffer or a choice (rows are added in registers, units that are off are skipped), compiled for the
//! same instructions and the same weights. Rounds of both are interleaved, so that a busy machine slows both; the figures are medians.
//!
//! Then the types stand beside each other, in turns too: what a narrower one is worth where tables are read.

#![allow(unsafe_code, reason = "the floors: no bounds checks, and functions for levels that were detected")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot run shows where")]
#![expect(clippy::print_stdout, reason = "the report of a bench")]

mod workloads;

use std::borrow::Cow;
use std::hint::black_box;
use std::time::Instant;

use bytemuck::cast_slice;
use tagomatic::aligned::as_floats;
use tagomatic::convert::{Conversion, convert};
use tagomatic::kernels::Level;
use tagomatic::weights::{Matrix, WeightType};
use tagomatic::{Model, Tagger};
use workloads::{Sets, W1, W1M, W2, W3, Workload};

/// Rounds of each contender.
const ROUNDS: usize = 25;

/// Batches that are measured.
const BATCHES: [usize; 2] = [256, 4096];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let test = arguments.iter().any(|argument| argument == "--test");
    // Of each kind all are chosen, unless some are named.
    let chosen = |name: &str, kind: &[&str]| {
        let mut named = arguments.iter().filter(|argument| kind.contains(&argument.as_str())).peekable();
        named.peek().is_none() || named.any(|argument| argument == name)
    };
    for workload in [W1, W1M, W2, W3].iter().filter(|workload| chosen(workload.name, &["w1", "w1m", "w2", "w3"])) {
        let workload = if test { Workload { keywords: workload.keywords.min(1_000), ..*workload } } else { *workload };
        let requests = Sets::zipf(workload.keywords, workload.active, if test { 32 } else { workloads::REQUESTS });
        println!(
            "{}: {} keywords, {} active, {} hidden, {} tags",
            workload.name, workload.keywords, workload.active, workload.hidden, workload.tags
        );
        let model = workload.model();
        let types = [WeightType::F32, WeightType::F16, WeightType::Bf16, WeightType::I8];
        let of_type = |weights| {
            let how = Conversion { weights: (weights != WeightType::F32).then_some(weights), ..Conversion::default() };
            convert(&model, how, [[0; 0]; 0]).unwrap().model
        };
        let models: Vec<Model> =
            types.into_iter().filter(|weights| chosen(weights.name(), &types.map(WeightType::name))).map(of_type).collect();
        models.iter().for_each(|model| run(&workload, model, &requests, test));
        if !test {
            types_in_turns(&workload, &models, &requests);
        }
    }
}

/// The time of each model beside the first one's.
fn types_in_turns(workload: &Workload, models: &[Model], requests: &Sets) {
    for level in [Level::Avx512, Level::Avx2, Level::Portable] {
        let tagger = |model: &Model| Tagger::with_level(Model::from_bytes(model.bytes()).unwrap(), level).ok();
        let Some(taggers) = models.iter().map(tagger).collect::<Option<Vec<Tagger>>>() else { continue };
        let all = requests.starts.len() - 1;
        let (mut scratch, mut scores) = (taggers[0].scratch(), vec![0.0; all * workload.tags]);
        let mut times = vec![[Vec::new(), Vec::new()]; taggers.len()];
        for _ in 0..ROUNDS {
            for (tagger, times) in taggers.iter().zip(&mut times) {
                let one = &mut scores[..workload.tags];
                times[0].push(seconds(|| requests.iter().for_each(|ids| tagger.score(ids, &mut scratch, one).unwrap())));
                let batch = || tagger.score_batch(&requests.ids, &requests.starts, &mut scratch, &mut scores).unwrap();
                times[1].push(seconds(batch));
            }
        }
        let medians: Vec<[f64; 2]> = times.into_iter().map(|times| times.map(median)).collect();
        for (tagger, [single, batch]) in taggers.iter().zip(&medians) {
            println!(
                "  {:<9} {:<4} single {:>6.0} ns, {:.2} x   batch {:>6.0} ns, {:.2} x",
                level.name(),
                tagger.model().weights().w1.weight_type(),
                single * 1e9 / all as f64,
                single / medians[0][0],
                batch * 1e9 / all as f64,
                batch / medians[0][1]
            );
        }
    }
}

fn run(workload: &Workload, model: &Model, requests: &Sets, test: bool) {
    for level in [Level::Avx512, Level::Avx2, Level::Portable] {
        let Ok(tagger) = Tagger::with_level(Model::from_bytes(model.bytes()).unwrap(), level) else { continue };
        let weights = tagger.model().weights();
        match (weights.w1, weights.w2) {
            (Matrix::F32(w1), Matrix::F32(w2)) => {
                beside::<F32>(workload, &tagger, as_floats(w1), as_floats(w2), requests, test)
            }
            (Matrix::F16(w1), Matrix::F16(w2)) => {
                beside::<F16>(workload, &tagger, cast_slice(w1), cast_slice(w2), requests, test);
            }
            (Matrix::Bf16(w1), Matrix::Bf16(w2)) => {
                beside::<Bf16>(workload, &tagger, cast_slice(w1), cast_slice(w2), requests, test);
            }
            (Matrix::I8 { weights: w1, .. }, Matrix::I8 { weights: w2, .. }) => {
                beside::<I8>(workload, &tagger, cast_slice(w1), cast_slice(w2), requests, test);
            }
            _ => unreachable!("both layers have one type"),
        }
    }
}

fn beside<W: Weight>(workload: &Workload, tagger: &Tagger, w1: &[W::Stored], w2: &[W::Stored], requests: &Sets, test: bool) {
    let floor = Floor::<W>::new(tagger, w1, w2);
    check(tagger, &floor, requests);
    if !test {
        report(workload, tagger, &floor, requests);
    }
}

/// The floor computes what the tagger computes, to rounding.
fn check<W: Weight>(tagger: &Tagger, floor: &Floor<'_, W>, requests: &Sets) {
    let (mut scratch, mut work) = (tagger.scratch(), Work::default());
    let mut scores = vec![0.0; tagger.tags().len()];
    for ids in requests.iter().take(32) {
        tagger.score(ids, &mut scratch, &mut scores).unwrap();
        let expected = floor.score(ids, &mut work);
        assert!(scores.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4), "{:?} {expected:?}", &scores);
    }
}

fn report<W: Weight>(workload: &Workload, tagger: &Tagger, floor: &Floor<'_, W>, requests: &Sets) {
    let (mut scratch, mut work) = (tagger.scratch(), Work::default());
    let tags = workload.tags;
    let mut scores = vec![0.0; tags];
    let portion: Vec<&[u32]> = requests.iter().take(2_000).collect();
    let (ours, plain) = interleaved(
        || portion.iter().for_each(|ids| tagger.score(black_box(ids), &mut scratch, black_box(&mut scores)).unwrap()),
        || portion.iter().for_each(|ids| _ = black_box(floor.score(black_box(ids), &mut work))),
    );
    let per = |seconds: f64, items: usize| seconds * 1e9 / items as f64;
    let line = |name: &str, ours: f64, plain: f64| {
        println!(
            "  {:<4} {:<9} {name:<11} {ours:>8.0} ns   floor {plain:>8.0} ns   ratio {:.2}",
            tagger.model().weights().w1.weight_type(),
            tagger.level().name(),
            ours / plain
        );
    };
    line("single", per(ours, portion.len()), per(plain, portion.len()));
    for size in BATCHES {
        let batches = requests.batches(size);
        let items = batches.len() * size;
        let mut scores = vec![0.0; size * tags];
        let (ours, plain) = interleaved(
            || {
                for batch in &batches {
                    tagger.score_batch(&batch.ids, &batch.starts, &mut scratch, black_box(&mut scores)).unwrap();
                }
            },
            || batches.iter().flat_map(Sets::iter).for_each(|ids| _ = black_box(floor.score(black_box(ids), &mut work))),
        );
        line(&format!("batch {size}"), per(ours, items), per(plain, items));
    }
}

/// Medians of the seconds that each of two contenders takes, in alternation.
fn interleaved(mut a: impl FnMut(), mut b: impl FnMut()) -> (f64, f64) {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        let measured = [seconds(&mut a), seconds(&mut b)];
        if round > 0 {
            times.iter_mut().zip(measured).for_each(|(times, time)| times.push(time));
        }
    }
    let [a, b] = times.map(median);
    (a, b)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn seconds(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64()
}

/// A type of weights.
trait Weight {
    /// A weight as it is stored.
    type Stored: Copy;
    /// What rows are added in.
    type Sum: Copy + Default;
    /// Adds a weight.
    fn add(weight: Self::Stored, sum: &mut Self::Sum);
    /// The sum as a float, but for the scale.
    fn float(sum: Self::Sum) -> f32;
    /// A weight as a float, but for the scale.
    fn widen(weight: Self::Stored) -> f32;
}

/// Types whose rows are added as floats.
macro_rules! floats {
    ($name:ident, $stored:ty, $weight:ident => $float:expr) => {
        struct $name;

        impl Weight for $name {
            type Stored = $stored;
            type Sum = f32;
            #[inline(always)]
            fn add(weight: $stored, sum: &mut f32) {
                *sum += Self::widen(weight);
            }
            #[inline(always)]
            fn float(sum: f32) -> f32 {
                sum
            }
            #[inline(always)]
            fn widen($weight: $stored) -> f32 {
                $float
            }
        }
    };
}

floats!(F32, f32, weight => weight);
// By hand, for the compiler to make vectors of.
floats!(F16, u16, weight => {
    let bits = u32::from(weight);
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((112 + 127) << 23);
    f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16)
});
floats!(Bf16, u16, weight => f32::from_bits(u32::from(weight) << 16));

/// As many as fit in 16 bits are added: no workload has more than 256 active.
struct I8;

impl Weight for I8 {
    type Stored = i8;
    type Sum = i16;
    #[inline(always)]
    fn add(weight: i8, sum: &mut i16) {
        *sum += i16::from(weight);
    }
    #[inline(always)]
    fn float(sum: i16) -> f32 {
        f32::from(sum)
    }
    #[inline(always)]
    fn widen(weight: i8) -> f32 {
        f32::from(weight)
    }
}

/// The least work that a request can be.
struct Floor<'a, W: Weight> {
    level: Level,
    hidden: usize,
    tags: usize,
    w1: &'a [W::Stored],
    /// One a column, 1 where weights are floats.
    scales1: Cow<'a, [f32]>,
    b1: &'a [f32],
    /// Tag-major for one tag, else panels of 64 tags.
    w2: &'a [W::Stored],
    scales2: Cow<'a, [f32]>,
    b2: &'a [f32],
}

#[derive(Default)]
struct Work {
    hidden: Vec<f32>,
    active: Vec<(u32, f32)>,
    scores: Vec<f32>,
}

impl<'a, W: Weight> Floor<'a, W> {
    fn new(tagger: &'a Tagger, w1: &'a [W::Stored], w2: &'a [W::Stored]) -> Self {
        let (shape, weights) = (&tagger.model().network().shape, tagger.model().weights());
        let scales = |matrix: Matrix<'a>, columns: usize| match matrix {
            Matrix::I8 { scales, .. } => Cow::Borrowed(as_floats(scales)),
            _ => Cow::Owned(vec![1.0; columns]),
        };
        assert!(shape.hidden().is_multiple_of(64));
        let (b1, b2) = (as_floats(weights.b1), as_floats(weights.b2));
        Floor {
            level: tagger.level(),
            hidden: shape.hidden(),
            tags: shape.tags(),
            w1,
            scales1: scales(weights.w1, b1.len()),
            b1,
            w2,
            scales2: scales(weights.w2, b2.len()),
            b2,
        }
    }

    fn score<'w>(&self, ids: &[u32], work: &'w mut Work) -> &'w [f32] {
        work.hidden.resize(self.hidden, 0.0);
        work.scores.resize(self.b2.len(), 0.0);
        work.active.resize(self.hidden, (0, 0.0));
        match self.level {
            // SAFETY: a tagger was made at this level, so the CPU has it; and `check` had this floor score each model once with
            // ids below its keywords.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { floor_avx512(self, ids, work) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { floor_avx2(self, ids, work) },
            // SAFETY: the ids are below the model's keywords, as above.
            _ => unsafe { floor(self, ids, work) },
        }
        &work.scores[..self.tags]
    }
}

/// # Safety
/// As [`floor`]; the CPU has AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn floor_avx512<W: Weight>(net: &Floor<'_, W>, ids: &[u32], work: &mut Work) {
    // SAFETY: the caller's promise.
    unsafe { floor(net, ids, work) }
}

/// # Safety
/// As [`floor`]; the CPU has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c")]
unsafe fn floor_avx2<W: Weight>(net: &Floor<'_, W>, ids: &[u32], work: &mut Work) {
    // SAFETY: the caller's promise.
    unsafe { floor(net, ids, work) }
}

/// `N` elements from `start` on.
///
/// # Safety
/// They exist.
#[inline(always)]
unsafe fn part<T, const N: usize>(elements: &[T], start: usize) -> &[T; N] {
    // SAFETY: the caller's promise.
    let first = unsafe { elements.as_ptr().add(start) };
    // SAFETY: the caller's promise; an array has the alignment of its elements.
    unsafe { &*first.cast() }
}

/// # Safety
/// Every id is below the number of keywords.
#[inline(always)]
unsafe fn floor<W: Weight>(net: &Floor<'_, W>, ids: &[u32], work: &mut Work) {
    let mut count = 0;
    for column in (0..net.hidden).step_by(64) {
        let mut sums = [W::Sum::default(); 64];
        for &id in ids {
            // SAFETY: a row has `hidden` weights, a multiple of 64, and there is one for each id.
            let row: &[W::Stored; 64] = unsafe { part(net.w1, id as usize * net.hidden + column) };
            sums.iter_mut().zip(row).for_each(|(sum, w)| W::add(*w, sum));
        }
        // SAFETY: as above.
        let bias: &[f32; 64] = unsafe { part(net.b1, column) };
        // SAFETY: as above.
        let scales: &[f32; 64] = unsafe { part(&net.scales1, column) };
        for (unit, sum) in sums.into_iter().enumerate() {
            let a = W::float(sum) * scales[unit] + bias[unit];
            let h = if a > 0.0 { a } else { 0.0 };
            work.hidden[column + unit] = h;
            if net.tags > 1 {
                work.active[count] = ((column + unit) as u32, h);
                count += usize::from(h > 0.0);
            }
        }
    }
    if net.tags == 1 {
        let mut sums = [0.0_f32; 16];
        for (h, w) in work.hidden.chunks_exact(16).zip(net.w2.chunks_exact(16)) {
            (0..16).for_each(|i| sums[i] += h[i] * W::widen(w[i]));
        }
        work.scores[0] = sums.iter().sum::<f32>() * net.scales2[0] + net.b2[0];
    } else {
        let slots = net.b2.len();
        for first in (0..slots).step_by(64) {
            let panel = first * net.hidden;
            match slots - first {
                // SAFETY: the panel has `hidden` rows of so many tags; units are below `hidden`.
                64.. => unsafe { tags::<W, 64>(net, panel, first, &work.active[..count], &mut work.scores) },
                // SAFETY: as above.
                48.. => unsafe { tags::<W, 48>(net, panel, first, &work.active[..count], &mut work.scores) },
                // SAFETY: as above.
                32.. => unsafe { tags::<W, 32>(net, panel, first, &work.active[..count], &mut work.scores) },
                // SAFETY: as above.
                _ => unsafe { tags::<W, 16>(net, panel, first, &work.active[..count], &mut work.scores) },
            }
        }
    }
    for z in &mut work.scores[..net.tags] {
        *z = sigmoid(*z).clamp(1e-4, 1.0 - 1e-4);
    }
}

/// # Safety
/// A panel of `N` tags for each unit starts at `panel`.
#[inline(always)]
unsafe fn tags<W: Weight, const N: usize>(
    net: &Floor<'_, W>,
    panel: usize,
    first: usize,
    active: &[(u32, f32)],
    scores: &mut [f32],
) {
    let mut sums = [0.0; N];
    for &(unit, h) in active {
        // SAFETY: the caller's promise.
        let row: &[W::Stored; N] = unsafe { part(net.w2, panel + unit as usize * N) };
        sums.iter_mut().zip(row).for_each(|(sum, w)| *sum += h * W::widen(*w));
    }
    let ends = net.scales2[first..first + N].iter().zip(&net.b2[first..first + N]);
    for ((score, sum), (scale, bias)) in scores[first..first + N].iter_mut().zip(sums).zip(ends) {
        *score = sum * scale + bias;
    }
}

/// Cephes' expf, good to a few ulp: what a vector sigmoid costs.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    let shifted = -x.abs().min(87.0) * std::f32::consts::LOG2_E + 12_582_912.0;
    let n = shifted - 12_582_912.0;
    let r = -x.abs().min(87.0) - n * std::f32::consts::LN_2;
    let poly = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.0e-1];
    let poly = poly.iter().skip(1).fold(poly[0], |sum, c| sum * r + c);
    let e = (poly * r * r + r + 1.0) * f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}
