//! Sigmoid and log-loss.

use super::*;

#[test]
fn log_loss_is_the_same_bits_on_every_level() {
    // Targets and pair weights: any, some beyond 0 and 1, none.
    let choices: [[&[f32]; 2]; 3] =
        [[&[0.0, 1.0, 0.25], &[0.0, 1.0, 0.25]], [&[0.0, 1.0], &[0.0, 1.0, 0.25]], [&[0.0, 1.0], &[0.0, 1.0]]];
    let kinds = [LossKind::ClampSte, LossKind::Logit, LossKind::ClampTorch];
    for (kind, of_pairs) in kinds.into_iter().flat_map(|kind| choices.map(|of_pairs| (kind, of_pairs))) {
        // In the last ones the logarithm of more than one product is taken.
        for (seed, width) in WIDTHS.into_iter().chain([63, 64, 140]).enumerate() {
            let seed = seed as u64;
            let logits = noise(seed, width, true);
            let one_of = |seed, choices: &[f32]| {
                let mut blocks = noise(seed, width, false);
                for x in as_floats_mut(&mut blocks) {
                    *x = choices[x.to_bits() as usize % choices.len()];
                }
                blocks
            };
            let targets = one_of(seed + 1, of_pairs[0]);
            let weights = one_of(seed + 2, of_pairs[1]);
            let finite = seed % 3 != 2;
            let positive_weights = one_of(
                seed + 3,
                match seed % 3 {
                    0 => &[1.0],
                    1 => &[0.0, 1.0, 2.5],
                    _ => &[0.0, 1.0, 2.5, f32::INFINITY, f32::NAN],
                },
            );
            let offsets = noise(seed + 4, width, false);
            let inputs =
                LossInputs { targets: &targets, weights: &weights, positive_weights: &positive_weights, offsets: &offsets };
            let loss = LogLoss { kind, eps: 0.01, limit: 4.595_12, scale: 0.125 };
            let mut expected = logits.clone();
            let expected_value = scalar().log_loss(&loss, inputs, &mut expected).unwrap();
            for kernels in others() {
                let mut gradient = logits.clone();
                let value = kernels.log_loss(&loss, inputs, &mut gradient).unwrap();
                // Which NaN it is that infinite weights make is left open.
                let same = |a: u64, b: u64, is_nan: bool| a == b || !finite && is_nan;
                let is_nan = value.is_nan() && expected_value.is_nan();
                assert!(
                    same(value.to_bits(), expected_value.to_bits(), is_nan),
                    "{kind:?}, {of_pairs:?}, {width} at {}",
                    kernels.level()
                );
                for (a, b) in as_floats(&gradient).iter().zip(as_floats(&expected)) {
                    let [bits, expected] = [a, b].map(|x| u64::from(x.to_bits()));
                    assert!(
                        same(bits, expected, a.is_nan() && b.is_nan()),
                        "{kind:?}, {of_pairs:?}, {width} at {}",
                        kernels.level()
                    );
                }
            }
        }
    }
}

/// Distance from `exact` in units of the last place of its f32 rounding.
fn ulps(value: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    let spacing = f64::from(f32::from_bits(rounded.abs().to_bits() + 1)) - f64::from(rounded.abs());
    (f64::from(value) - exact).abs() / spacing
}

#[test]
fn sigmoid_and_loss_are_within_their_stated_error() {
    let kernels = Kernels::best();
    let ones = [Block([1.0; LANES])];
    let zeros = [Block::ZERO];
    let loss = LogLoss { kind: LossKind::Logit, eps: 0.0, limit: f32::INFINITY, scale: 1.0 };
    let (mut worst_sigmoid, mut worst_loss) = (0.0_f64, 0.0_f64);
    for step in -870_000..=870_000_i32 {
        let x = step as f32 * 1e-4;
        let z = f64::from(x);
        let mut p = [Block([x; LANES])];
        if step % 16 == 0 {
            kernels.sigmoid(0.0, as_floats_mut(&mut p));
            worst_sigmoid = worst_sigmoid.max(ulps(p[0].0[0], 1.0 / (1.0 + (-z).exp())));
        }
        if step % 64 == 0 {
            let inputs = LossInputs { targets: &zeros, weights: &ones, positive_weights: &ones, offsets: &zeros };
            let mut gradient = [Block([x; LANES])];
            let value = kernels.log_loss(&loss, inputs, &mut gradient).unwrap() / 16.0;
            worst_loss = worst_loss.max(ulps(value as f32, z.max(0.0) + (-z.abs()).exp().ln_1p()));
        }
    }
    assert!(worst_sigmoid <= 2.6, "sigmoid is {worst_sigmoid} ulp off");
    assert!(worst_loss <= 4.0, "softplus is {worst_loss} ulp off");
}

/// Many pairs that count alike are the logarithm of a product: with and without a clamp, some beyond it, against f64.
#[test]
fn losses_of_many_pairs_are_sums_of_logarithms() {
    let kernels = Kernels::best();
    for (kind, eps) in [(LossKind::Logit, 0.0), (LossKind::ClampSte, 0.0), (LossKind::ClampSte, 0.01)] {
        for blocks in [8, 63, 64, 200] {
            let logits = noise(blocks as u64, blocks, false);
            let (ones, zeros) = (vec![Block([1.0; LANES]); blocks], vec![Block::ZERO; blocks]);
            let mut targets = noise(1, blocks, false);
            as_floats_mut(&mut targets).iter_mut().for_each(|y| *y = f32::from(u8::from(*y > 0.0)));
            let mut weights = noise(2, blocks, false);
            as_floats_mut(&mut weights).iter_mut().for_each(|m| *m = f32::from(u8::from(*m > 0.0)));
            let loss = LogLoss::new(kind, eps, 1.0).unwrap();
            let inputs = LossInputs { targets: &targets, weights: &weights, positive_weights: &ones, offsets: &zeros };
            let value = kernels.log_loss(&loss, inputs, &mut logits.clone()).unwrap();
            let pairs = as_floats(&logits).iter().zip(as_floats(&targets)).zip(as_floats(&weights));
            let exact: f64 = pairs
                .map(|((z, y), m)| {
                    let p = 1.0 / (1.0 + f64::from(if *y == 1.0 { -z } else { *z }).exp());
                    -f64::from(*m) * p.max(f64::MIN_POSITIVE).clamp(eps, 1.0 - eps).ln()
                })
                .sum();
            assert!((value - exact).abs() <= 1e-6 * exact, "{kind}, {blocks} blocks: {value} for {exact}");
        }
    }
}
