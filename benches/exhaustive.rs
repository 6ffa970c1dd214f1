//! The sigmoid on every float there is: `cargo bench --all-features --bench exhaustive`.
//!
//! Each level's answers for all 2^32 inputs are compared with the best level's, bit by bit, and those with 1 / (1 + exp(−x)) in f64, on
//! [-87, ∞): below, exp(x) is less than a normal number, and the answer may be 0. The error is in ulp of the exact value.

#![allow(clippy::unwrap_used, reason = "a bench that cannot run shows where")]
#![expect(clippy::print_stdout, reason = "the report of a bench")]

use rayon::prelude::*;
use tagomatic::Level;
use tagomatic::kernels::Kernels;

/// Floats at a time.
const PORTION: u64 = 1 << 16;

/// Where σ(x) is a normal number.
const FROM: f32 = -87.0;

fn main() {
    let given = |option| std::env::args().any(|argument| argument == option);
    // Without `--bench` this is a test of itself: of every 1,024th portion.
    let step = if given("--bench") && !given("--test") { 1 } else { 1024 };
    let levels: Vec<Kernels> = Level::available().map(|level| Kernels::at(level).unwrap()).collect();
    let portions = (1_u64 << 32) / PORTION / step;
    let (error, below) = (0..portions)
        .into_par_iter()
        .map(|portion| check(&levels, portion * step * PORTION))
        .reduce(|| (0.0, 0.0), |a, b| (f64::max(a.0, b.0), f32::max(a.1, b.1)));
    let levels: Vec<&str> = levels.iter().map(|kernels| kernels.level().name()).collect();
    println!("{} inputs, the same bits at {}", portions * PORTION, levels.join(", "));
    println!("at most {error:.3} ulp from the exact value; at most {below:e} below x = {FROM}");
    assert!(error <= 3.0);
}

/// The largest error of the portion from the float with bits `first` on, and the largest answer below [`FROM`].
fn check(levels: &[Kernels], first: u64) -> (f64, f32) {
    let inputs: Vec<f32> = (first..first + PORTION).map(|bits| f32::from_bits(bits as u32)).collect();
    let [answers, others @ ..] = &levels
        .iter()
        .rev()
        .map(|kernels| {
            let mut answers = inputs.clone();
            kernels.sigmoid(0.0, &mut answers);
            answers
        })
        .collect::<Vec<_>>()[..]
    else {
        unreachable!("the scalar level is there always")
    };
    let (mut error, mut below) = (0.0_f64, 0.0_f32);
    for (i, (&x, &p)) in inputs.iter().zip(answers).enumerate() {
        assert!(others.iter().all(|other| other[i].to_bits() == p.to_bits() || x.is_nan() && other[i].is_nan()), "at {x}");
        if x.is_nan() {
            assert!(p.is_nan());
        } else if x < FROM {
            below = below.max(p);
        } else {
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            error = error.max((f64::from(p) - exact).abs() / spacing(exact as f32));
        }
    }
    (error, below)
}

/// From a positive float to the next.
fn spacing(x: f32) -> f64 {
    f64::from(f32::from_bits(x.to_bits() + 1)) - f64::from(x)
}
