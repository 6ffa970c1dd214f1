//! Sums of weights of every type.

use super::*;

/// A random matrix of each type, with `scales` blocks of scales.
pub(super) fn matrices(seed: u64, blocks: usize, scales: usize) -> [MatrixBuf; 4] {
    let mut floats = noise(seed, blocks, false);
    if let Some(first) = floats.first_mut() {
        // Subnormal in 16 bits, the largest, zeros.
        first.0[..5].copy_from_slice(&[3e-7, -6e-8, 65_504.0, -0.0, 0.0]);
    }
    let bits = |number: fn(f32) -> u16| floats.iter().map(move |block| block.0.map(number));
    let f16 = bits(|x| half::f16::from_f32(x).to_bits()).map(F16Block).collect();
    let bf16 = bits(|x| half::bf16::from_f32(x).to_bits()).map(Bf16Block).collect();
    let weights = floats.iter().map(|block| I8Block(block.0.map(|x| (x.clamp(-1.0, 1.0) * 127.0) as i8))).collect();
    let mut scales = noise(seed + 1, scales, false);
    as_floats_mut(&mut scales).iter_mut().for_each(|scale| *scale = scale.abs() / 127.0);
    [MatrixBuf::F32(floats), MatrixBuf::F16(f16), MatrixBuf::Bf16(bf16), MatrixBuf::I8 { weights, scales }]
}

#[test]
fn bags_are_the_same_bits_on_every_level() {
    let count = 700;
    let ids: Vec<u32> = (0..count).collect();
    // One set has more rows than add up in 16 bits.
    let starts = [2, 2, 5, 60, 61, 700];
    let sets = Sets::new(&ids, &starts).unwrap();
    for width in WIDTHS {
        let (init, floats) = (noise(2, width, true), noise(1, width * count as usize, true));
        for matrix in matrices(1, width * count as usize, width).into_iter().chain([MatrixBuf::F32(floats)]) {
            for activation in ACTIVATIONS {
                let run = |kernels: Kernels| {
                    let mut out = noise(3, width * sets.len(), false);
                    kernels.sum_bags(&matrix.view(), &init, activation, sets, &mut out).unwrap();
                    bits(&out)
                };
                let expected = run(scalar());
                if let Matrix::F32(table) = matrix.view() {
                    for (i, (ids, _)) in sets.iter().enumerate() {
                        let (mut sum, mut unit) = (noise(4, width, false), noise(5, width, false));
                        scalar().sum_rows(Rows::new(table, width), Some(&init), ids, &mut sum).unwrap();
                        scalar().activate(activation, &sum, &mut unit).unwrap();
                        assert_eq!(expected[i * width * LANES..(i + 1) * width * LANES], bits(&unit));
                    }
                }
                let weights = matrix.view().weight_type();
                others().for_each(|kernels| {
                    assert_eq!(run(kernels), expected, "{weights}, {activation} at {}, {width} blocks", kernels.level());
                });
            }
        }
    }
}

/// The largest integers there can be, so many that 16 bits do not hold their sum.
#[test]
fn sums_of_integers_are_exact() {
    for extreme in [127, -127, i8::MIN] {
        let weights = vec![I8Block([extreme; LANES]); 1000];
        let (scales, init) = ([Block([0.5; LANES])], [Block([0.25; LANES])]);
        let ids: Vec<u32> = (0..1000).collect();
        for count in [0, 1, 255, 256, 257, 258, 259, 512, 513, 1000] {
            let starts = [0, count];
            let sets = Sets::new(&ids[..count], &starts).unwrap();
            for kernels in levels() {
                let mut out = [Block::ZERO];
                let matrix = Matrix::I8 { weights: &weights, scales: &scales };
                kernels.sum_bags(&matrix, &init, Activation::Identity, sets, &mut out).unwrap();
                let exact = 0.25 + 0.5 * f32::from(extreme) * count as f32;
                assert_eq!(out[0].0, [exact; LANES], "{count} times {extreme} at {}", kernels.level());
            }
        }
    }
}

/// Output layers of integers, of so many units that 32 bits do not hold a sum; the largest integers there can be, and hidden units
/// that are all alike, of both signs, tiny, zero, or no numbers.
#[test]
fn products_of_integers_are_exact() {
    let items = 7;
    for (units, width) in [(1, 1), (2, 2), (511, 3), (512, 4), (513, 2), (1100, 5)] {
        let stride = blocks_for(units);
        let mut weights = vec![I8Block([i8::MIN; LANES]); units * width];
        weights.iter_mut().step_by(3).for_each(|block| block.0[5..].fill(127));
        let (scales, bias) = (noise(1, width, false), noise(2, width, false));
        let panels = Panels { weights: &Matrix::I8 { weights: &weights, scales: &scales }, units, width };
        for scale in [1.0, -3.0, 1e25, 1e-30, 1e-38, 0.0, f32::NAN, f32::INFINITY] {
            let mut hidden = vec![Block([scale; LANES]); items * stride];
            for (block, noise) in hidden.iter_mut().skip(2 * stride).zip(noise(3, items * stride, false)) {
                *block = Block(noise.0.map(|x| x * scale));
            }
            hidden[3 * stride].0[0] = f32::NAN;
            let starts: Vec<usize> = (0..=items).map(|item| item * units).collect();
            let numbers: Vec<u32> = (0..items).flat_map(|_| (0..).take(units)).collect();
            let values: Vec<f32> = hidden.chunks(stride).flat_map(|item| as_floats(item)[..units].iter().copied()).collect();
            let active = ActiveLists { starts: &starts, units: &numbers, values: &values };
            let rows = HiddenRows { blocks: &hidden, stride, first: 0, items };
            let run = |kernels: Kernels, dense: bool| {
                let mut floats = vec![0.0; items * width * LANES];
                let mut answers = Answers {
                    answer: Answer::Logit,
                    floats: &mut floats,
                    stride: width * LANES,
                    first: 0,
                    tags: width * LANES,
                };
                match dense {
                    true => kernels.panels_dense(panels, rows, &bias, &mut answers).unwrap(),
                    false => kernels.panels_sparse(panels, active, &bias, &mut answers).unwrap(),
                }
                floats
            };
            let expected = run(scalar(), true);
            // What the sum would be of units that are not rounded: each is off by at most half of a step.
            let limit = 0.51 * 100.0 * f64::from(scale.abs()) / 32767.0 * 128.0 * units as f64;
            for (item, z) in expected.chunks(width * LANES).enumerate() {
                if item == 3 || !scale.is_finite() {
                    assert!(z.iter().all(|z| z.is_nan()), "{z:?} of units that are no finite numbers");
                    continue;
                }
                for (tag, z) in z.iter().enumerate() {
                    let (panel, lane) = (tag / (PANEL_BLOCKS * LANES) * PANEL_BLOCKS, tag % LANES);
                    let blocks = PANEL_BLOCKS.min(width - panel);
                    let product = |unit: usize| {
                        let block = panel * units + unit * blocks + (tag / LANES - panel);
                        f64::from(values[item * units + unit]) * f64::from(weights[block].0[lane])
                    };
                    let (factor, bias) = (f64::from(as_floats(&scales)[tag]), f64::from(as_floats(&bias)[tag]));
                    let exact = factor * (0..units).map(product).sum::<f64>() + bias;
                    let off = (f64::from(*z) - exact).abs();
                    assert!(
                        off <= factor.abs() * limit + 1e-6 * exact.abs() + 1e-4,
                        "{z} for {exact}, {units} units, tag {tag}"
                    );
                }
            }
            for kernels in levels() {
                for dense in [false, true] {
                    let bits = |floats: Vec<f32>| {
                        floats.into_iter().map(|z| if z.is_nan() { f32::NAN } else { z }.to_bits()).collect::<Vec<_>>()
                    };
                    let found = bits(run(kernels, dense));
                    assert_eq!(found, bits(expected.clone()), "{}, {units} units, {scale}, dense: {dense}", kernels.level());
                }
            }
        }
    }
}

/// Tables so large that their rows are asked for ahead, into one cache and the other; what comes of it must not hang on that.
#[test]
fn large_tables_add_up_alike() {
    let width = 5;
    let (init, scales) =
        (noise(2, width, false), noise(4, width, false).iter().map(|b| Block(b.0.map(f32::abs))).collect::<Vec<_>>());
    for (rows, far) in [(16_000, false), (64_000, true)] {
        let ids: Vec<u32> = (0..60).map(|n| n * rows as u32 / 60).collect();
        let starts = [0, 1, 18, 18, 60];
        let sets = Sets::new(&ids, &starts).unwrap();
        let mut floats = vec![Block::ZERO; rows * width];
        for (id, noise) in ids.iter().zip(noise(1, ids.len() * width, false).chunks(width)) {
            floats[*id as usize * width..][..width].copy_from_slice(noise);
        }
        // A quarter of the bytes a row.
        let mut weights = vec![I8Block([0; LANES]); 4 * rows * width];
        weights.iter_mut().step_by(7).for_each(|block| *block = I8Block([-3; LANES]));
        for matrix in [MatrixBuf::F32(floats), MatrixBuf::I8 { weights, scales: scales.clone() }] {
            let bytes = matrix.view().bytes().len();
            assert!(bytes > super::super::PREFETCH_FROM && (bytes > super::super::rows::FAR_FROM) == far, "{bytes}");
            let run = |kernels: Kernels| {
                let mut out = noise(3, width * sets.len(), false);
                kernels.sum_bags(&matrix.view(), &init, Activation::Relu, sets, &mut out).unwrap();
                bits(&out)
            };
            let expected = run(scalar());
            others().for_each(|kernels| assert_eq!(run(kernels), expected, "{}", kernels.level()));
        }
    }
}
