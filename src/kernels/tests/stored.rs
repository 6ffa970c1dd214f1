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
            for (prefetch, activation) in [false, true].into_iter().cycle().zip(ACTIVATIONS) {
                let run = |kernels: Kernels| {
                    let mut out = noise(3, width * sets.len(), false);
                    kernels.sum_bags(matrix.view(), &init, activation, sets, prefetch, &mut out).unwrap();
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
                kernels.sum_bags(matrix, &init, Activation::Identity, sets, false, &mut out).unwrap();
                let exact = 0.25 + 0.5 * f32::from(extreme) * count as f32;
                assert_eq!(out[0].0, [exact; LANES], "{count} times {extreme} at {}", kernels.level());
            }
        }
    }
}
