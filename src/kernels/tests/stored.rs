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
                    kernels.sum_bags(matrix.view(), &init, activation, sets, &mut out).unwrap();
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
            for kernels in Level::available().map(|level| Kernels::at(level).unwrap()) {
                let mut out = [Block::ZERO];
                let matrix = Matrix::I8 { weights: &weights, scales: &scales };
                kernels.sum_bags(matrix, &init, Activation::Identity, sets, &mut out).unwrap();
                let exact = 0.25 + 0.5 * f32::from(extreme) * count as f32;
                assert_eq!(out[0].0, [exact; LANES], "{count} times {extreme} at {}", kernels.level());
            }
        }
    }
}

/// Tables so large that their rows are asked for ahead, into one cache and the other; what comes of it must not hang on that.
#[test]
fn large_tables_add_up_alike() {
    let (width, ids) = (5, (0..60).map(|n| n * 5_000).collect::<Vec<u32>>());
    let (starts, rows) = ([0, 1, 18, 18, 60], 300_000);
    let sets = Sets::new(&ids, &starts).unwrap();
    let floats = |rows: usize| {
        let mut table = vec![Block::ZERO; rows * width];
        for (row, noise) in table.chunks_exact_mut(width).step_by(5_000).zip(noise(1, ids.len() * width, false).chunks(width)) {
            row.copy_from_slice(noise);
        }
        table
    };
    let mut weights = vec![I8Block([0; LANES]); rows * width];
    weights.iter_mut().step_by(7).for_each(|block| *block = I8Block([-3; LANES]));
    let (init, scales) = (noise(2, width, false), noise(4, width, false).iter().map(|b| Block(b.0.map(f32::abs))).collect());
    for matrix in [MatrixBuf::F32(floats(rows)), MatrixBuf::I8 { weights, scales }] {
        assert!(matrix.view().bytes().len() > 16 * PREFETCH_FROM);
        let run = |kernels: Kernels| {
            let mut out = noise(3, width * sets.len(), false);
            kernels.sum_bags(matrix.view(), &init, Activation::Relu, sets, &mut out).unwrap();
            bits(&out)
        };
        let expected = run(scalar());
        others().for_each(|kernels| assert_eq!(run(kernels), expected, "{}", kernels.level()));
    }
}
