//! Every level against the scalar one, bit for bit; and the scalar one against f64.

mod edges;
mod losses;
mod stored;

use super::*;
use crate::aligned::{Bf16Block, F16Block, I8Block, as_floats, as_floats_mut, zeroed};
use crate::rng::{Philox, unit};
use crate::weights::MatrixBuf;
use stored::matrices;

const WIDTHS: [usize; 11] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13];

/// Deterministic noise with the extremes that arithmetic trips over sprinkled in.
pub(super) fn noise(seed: u64, blocks: usize, extremes: bool) -> Vec<Block> {
    let specials = [0.0, -0.0, 1e-40, -1e-45, f32::MIN_POSITIVE, 1e30, -1e30, 3e38, 88.8, -88.8, -87.0, 16.64, 1.0, -1.0];
    let mut out = zeroed(blocks * LANES);
    for (i, x) in as_floats_mut(&mut out).iter_mut().enumerate() {
        let [a, b, c, _] = Philox::new(seed).block([i as u32, 0, 0, 99]);
        *x = if extremes && a % 4 == 0 {
            specials[b as usize % specials.len()]
        } else {
            (unit(b) - 0.5) * [1.0, 10.0, 200.0][c as usize % 3]
        };
    }
    out
}

pub(super) fn bits(blocks: &[Block]) -> Vec<u32> {
    // All NaN are one NaN: their payload is nobody's promise.
    as_floats(blocks).iter().map(|x| if x.is_nan() { 0x7FC0_0000 } else { x.to_bits() }).collect()
}

/// Those of each level, the lowest first, and last what CPUs of the highest without VNNI use.
fn levels() -> impl Iterator<Item = Kernels> {
    #[cfg(target_arch = "x86_64")]
    let plain = Level::Avx512.is_available().then_some(Kernels { table: &AVX512 });
    #[cfg(not(target_arch = "x86_64"))]
    let plain = None;
    Level::available().map(|level| Kernels::at(level).unwrap()).chain(plain)
}

fn others() -> impl Iterator<Item = Kernels> {
    levels().skip(1)
}

fn scalar() -> Kernels {
    Kernels::at(Level::Scalar).unwrap()
}

#[test]
fn the_levels_of_this_machine_are_named() {
    let levels: Vec<_> = Level::available().map(Level::name).collect();
    println!("levels tested here: {levels:?}");
    for &level in Level::ALL {
        assert_eq!(level.name().parse::<Level>().unwrap(), level);
        assert_eq!(Kernels::at(level).is_ok(), level.is_available());
    }
    assert!("sse9".parse::<Level>().is_err());
    assert_eq!(Kernels::best().level(), Level::best());
}

#[test]
fn sums_and_dots_of_rows_are_the_same_bits_on_every_level() {
    for extremes in [false, true] {
        for width in WIDTHS {
            let (stride, first, count) = (width + 2, 1, 9_u32);
            let table = noise(1, stride * count as usize, extremes);
            let rows = Rows { blocks: &table, stride, first };
            let x = noise(2, width, extremes);
            for (init, ids) in
                [(None, vec![]), (Some(&x[..]), vec![8]), (None, vec![0, 1, 5, 8]), (Some(&x), vec![3, 3, 0, 7, 7, 2])]
            {
                let mut weights: Vec<f32> = as_floats(&noise(3, 1, extremes))[..ids.len()].to_vec();
                if let Some(weight) = weights.get_mut(2) {
                    *weight = 0.0;
                }
                let (mut expected, mut out) = (noise(4, width, false), noise(5, width, false));
                scalar().sum_rows(rows, init, &ids, &mut expected).unwrap();
                let mut expected_weighted = out.clone();
                scalar().weighted_sum_rows(rows, init, &ids, &weights, &mut expected_weighted).unwrap();
                let mut expected_dots = noise(6, ids.len(), false);
                scalar().dot_rows(rows, &ids, &x, &mut expected_dots).unwrap();
                for kernels in others() {
                    kernels.sum_rows(rows, init, &ids, &mut out).unwrap();
                    assert_eq!(bits(&out), bits(&expected), "sum at {} of {width} blocks", kernels.level());
                    kernels.weighted_sum_rows(rows, init, &ids, &weights, &mut out).unwrap();
                    assert_eq!(bits(&out), bits(&expected_weighted), "weighted sum at {}", kernels.level());
                    let mut dots = noise(6, ids.len(), false);
                    kernels.dot_rows(rows, &ids, &x, &mut dots).unwrap();
                    assert_eq!(bits(&dots), bits(&expected_dots), "dot at {}", kernels.level());
                }
            }
        }
    }
}

/// Hidden vectors of `items` items with about half of the units off, and the list of the others.
fn half_off(items: usize, width: usize, units: usize) -> (Vec<Block>, Vec<usize>, Vec<u32>, Vec<f32>) {
    let mut hidden = noise(7, items * width, false);
    let (mut starts, mut numbers, mut values) = (vec![0], Vec::new(), Vec::new());
    for row in as_floats_mut(&mut hidden).chunks_exact_mut((width * LANES).max(1)) {
        for (unit, h) in (0..).zip(row) {
            if unit as usize >= units || *h < 0.0 {
                *h = 0.0;
            } else {
                numbers.push(unit);
                values.push(*h);
            }
        }
        starts.push(numbers.len());
    }
    starts.resize(items + 1, 0);
    (hidden, starts, numbers, values)
}

#[test]
fn output_layers_are_the_same_bits_on_every_level_sparse_and_dense() {
    for units in [0, 1, 16, 37] {
        let stride = blocks_for(units);
        for width in WIDTHS {
            let mut bias = noise(2, width, false);
            if let Some(block) = bias.first_mut() {
                block.0[0] = -0.0;
            }
            let matrices = matrices(1, units * width, width);
            for (matrix, items) in matrices.iter().flat_map(|matrix| [0, 1, 2, 5, 6, 13].map(|items| (matrix, items))) {
                let panels = Panels { weights: &matrix.view(), units, width };
                let (hidden, starts, numbers, values) = half_off(items, stride, units);
                let hidden = HiddenRows { blocks: &hidden, stride, first: 0, items };
                let active = ActiveLists { starts: &starts, units: &numbers, values: &values };
                let score = Answer::Score { eps: 0.01 };
                // With a gap between the answers of two items, or end to end.
                for (answer, absent, gap) in [(Answer::Logit, 0, 5), (Answer::Logit, 3, 5), (score, 15, 5), (score, 3, 0)] {
                    let tags = (width * LANES).saturating_sub(absent);
                    let run = |kernels: Kernels, form: usize| {
                        let mut floats = vec![-7.0; items * (tags + gap) + 2];
                        let mut answers = Answers { answer, floats: &mut floats, stride: tags + gap, first: 2, tags };
                        match form {
                            0 => kernels.panels_sparse(panels, active, &bias, &mut answers).unwrap(),
                            1 => kernels.panels_dense(panels, hidden, &bias, &mut answers).unwrap(),
                            _ => {
                                let room = items * stride * LANES;
                                let (starts, units, values) =
                                    (&mut vec![9; items + 1], &mut vec![9; room], &mut vec![9.0; room]);
                                kernels
                                    .panels(panels, hidden, ListBuffers { starts, units, values }, &bias, &mut answers)
                                    .unwrap();
                            }
                        }
                        floats.into_iter().map(f32::to_bits).collect::<Vec<_>>()
                    };
                    let expected = run(scalar(), 0);
                    for kernels in levels() {
                        for form in 0..3 {
                            assert_eq!(run(kernels, form), expected, "{}, form {form}", kernels.level());
                        }
                    }
                }
            }
        }
    }
}

/// The tags of a network in groups, some of them empty.
#[test]
fn tag_major_output_layers_are_the_same_bits_on_every_level() {
    for width in [0, 1, 3] {
        for groups in [&[][..], &[0], &[1], &[7], &[16], &[33], &[1; 20], &[0, 3, 0, 0, 20, 1, 0]] {
            let tags: usize = groups.iter().sum();
            let bias = noise(2, tags, false);
            let matrices = matrices(1, tags * width, blocks_for(tags));
            for (matrix, items) in matrices.iter().flat_map(|matrix| [0, 1, 3].map(|items| (matrix, items))) {
                let rows = TagMajor { weights: &matrix.view(), width, groups, bias: &as_floats(&bias)[..tags] };
                let stride = width * groups.len() + 1;
                let vectors = noise(7, items * stride + 2, false);
                let hidden = HiddenRows { blocks: &vectors, stride, first: 1, items };
                for answer in [Answer::Logit, Answer::Score { eps: 0.01 }] {
                    let run = |kernels: Kernels| {
                        let mut floats = vec![-7.0; items * (tags + 5)];
                        let mut answers = Answers { answer, floats: &mut floats, stride: tags + 5, first: 2, tags };
                        kernels.tag_major(rows, hidden, &mut answers).unwrap();
                        floats.into_iter().map(f32::to_bits).collect::<Vec<_>>()
                    };
                    let expected = run(scalar());
                    others().for_each(|kernels| assert_eq!(run(kernels), expected, "{}, {groups:?}", kernels.level()));
                }
            }
        }
    }
}

#[test]
fn skipping_zero_weights_changes_no_bit() {
    let table = noise(1, 5 * 6, true);
    let table: Vec<Block> = table.iter().map(|b| Block(b.0.map(|x| if x.abs() < 1e20 { x } else { -0.0 }))).collect();
    let mut init = noise(2, 5, false);
    init[0] = Block([-0.0; LANES]);
    for kernels in levels() {
        let rows = Rows::new(&table, 5);
        let (mut all, mut some) = (zeroed(5 * LANES), zeroed(5 * LANES));
        kernels.weighted_sum_rows(rows, Some(&init), &[0, 1, 2, 3, 4, 5], &[0.0, 2.0, 0.0, 0.0, -3.0, 0.0], &mut all).unwrap();
        kernels.weighted_sum_rows(rows, Some(&init), &[1, 4], &[2.0, -3.0], &mut some).unwrap();
        assert_eq!(bits(&all), bits(&some));
    }
}

/// The active units and the bits of their values.
fn list_active(kernels: Kernels, h: &[Block]) -> Vec<(u32, u32)> {
    let (mut units, mut values) = (vec![0; h.len() * LANES], vec![0.0; h.len() * LANES]);
    let count = kernels.list_active(h, ActiveUnits { units: &mut units, values: &mut values }).unwrap();
    units.into_iter().zip(values).map(|(unit, value)| (unit, value.to_bits())).take(count).collect()
}

const ACTIVATIONS: [Activation; 8] = [
    Activation::Relu,
    Activation::LeakyRelu(0.01),
    Activation::Elu(0.5),
    Activation::Sigmoid,
    Activation::Trec(0.25),
    Activation::Tlin(0.25),
    Activation::Tlin(0.0),
    Activation::Identity,
];

#[test]
fn activations_are_the_same_bits_on_every_level() {
    for width in WIDTHS {
        for activation in ACTIVATIONS {
            let (a, d) = (noise(width as u64, width, true), noise(77, width, false));
            let (mut expected, mut expected_d) = (a.clone(), d.clone());
            scalar().activate(activation, &a, &mut expected).unwrap();
            scalar().activate_backward(activation, &a, &expected, &mut expected_d).unwrap();
            let expected_active = list_active(scalar(), &expected);
            for kernels in others() {
                let (mut h, mut d) = (a.clone(), d.clone());
                kernels.activate(activation, &a, &mut h).unwrap();
                assert_eq!(bits(&h), bits(&expected), "{activation} at {}", kernels.level());
                kernels.activate_backward(activation, &a, &h, &mut d).unwrap();
                assert_eq!(bits(&d), bits(&expected_d), "gradient of {activation} at {}", kernels.level());
                let active = list_active(kernels, &h);
                assert_eq!(active, expected_active, "{activation} at {}", kernels.level());
                assert!(active.iter().all(|&(unit, value)| as_floats(&h)[unit as usize].to_bits() == value && value << 1 != 0));
            }
        }
    }
}

#[test]
fn scores_that_reach_a_bound_are_listed_on_every_level() {
    for length in [0, 1, 15, 16, 17, 100] {
        let (mut scores, bounds) = (noise(1, 7, true), noise(2, 7, false));
        as_floats_mut(&mut scores)[3] = f32::NAN;
        let (scores, bounds) = (&as_floats(&scores)[..length], &as_floats(&bounds)[..length]);
        for bounds in [Bounds::Each(bounds), Bounds::Same(0.0), Bounds::Same(f32::INFINITY), Bounds::Same(-1e30)] {
            for above in [f32::NEG_INFINITY, 0.0, 0.3] {
                let run = |kernels: Kernels| {
                    let (mut units, mut values) = (vec![0; length], vec![0.0; length]);
                    let list = ActiveUnits { units: &mut units, values: &mut values };
                    let count = kernels.list_reaching(scores, bounds, above, list).unwrap();
                    (units[..count].to_vec(), values[..count].to_vec())
                };
                let expected = run(scalar());
                let reaches = |i: usize| scores[i] >= bounds.at(i) && scores[i] > above;
                assert!(expected.0.iter().map(|i| *i as usize).eq((0..length).filter(|i| reaches(*i))));
                others().for_each(|kernels| assert_eq!(run(kernels), expected, "{}", kernels.level()));
            }
        }
    }
}

#[test]
fn elementwise_kernels_are_the_same_bits_on_every_level() {
    for width in WIDTHS {
        for seed in 0..20 {
            let x = noise(seed, width, true);
            let mut expected_p = x.clone();
            scalar().sigmoid(1e-4, as_floats_mut(&mut expected_p));
            for kernels in others() {
                let level = kernels.level();
                let mut p = x.clone();
                kernels.sigmoid(1e-4, as_floats_mut(&mut p));
                assert_eq!(bits(&p), bits(&expected_p), "{level}");
                // No float depends on where the slice ends.
                let cut = (width * LANES).saturating_sub(seed as usize);
                let mut p = x.clone();
                kernels.sigmoid(1e-4, &mut as_floats_mut(&mut p)[..cut]);
                assert_eq!(bits(&p)[..cut], bits(&expected_p)[..cut], "{level}");
                assert_eq!(bits(&p)[cut..], bits(&x)[cut..], "{level}");
                assert_eq!(kernels.magnitude(&x).to_bits(), scalar().magnitude(&x).to_bits(), "{level}");
            }
        }
    }
}

/// Steps of every kind, some with constants at the ends of their range.
fn steps() -> impl Iterator<Item = AdaGradStep> {
    let denominators = [(0.0, 1e-10), (1e-6, 0.0), (0.0, f32::MIN_POSITIVE), (0.0, 0.0)];
    let decays = [
        Decay::None,
        Decay::Shrink(Shrink::NONE),
        Decay::Shrink(Shrink { factor: 0.99, offset: 0.0 }),
        Decay::Shrink(Shrink { factor: 1.0, offset: 0.3 }),
        Decay::Proximal { l1: 0.01, l2: 0.2 },
        Decay::Proximal { l1: f32::MAX, l2: f32::MAX },
    ];
    let denominators = denominators.map(|(inside, outside)| Denominator { inside, outside });
    denominators.into_iter().flat_map(move |denominator| decays.map(|decay| AdaGradStep { lr: 0.1, denominator, decay }))
}

fn sums(seed: u64, width: usize) -> Vec<Block> {
    noise(seed, width, true).iter().map(|b| Block(b.0.map(f32::abs))).collect()
}

#[test]
fn steps_and_decay_are_the_same_bits_on_every_level() {
    for width in WIDTHS {
        let (gradients, weights, squares) = (noise(1, width, true), noise(2, width, true), sums(3, width));
        for step in steps() {
            let take = |kernels: Kernels| {
                let mut found = Vec::new();
                let (mut w, mut grown) = (weights.clone(), squares.clone());
                kernels.adagrad(&step, &gradients, &mut w, Squares::Grow(&mut grown)).unwrap();
                found.extend([bits(&w), bits(&grown)]);
                for squares in [Squares::Each(&squares), Squares::Same(0.25), Squares::Same(0.0), Squares::Same(f32::INFINITY)]
                {
                    let mut w = weights.clone();
                    kernels.adagrad(&step, &gradients, &mut w, squares).unwrap();
                    found.push(bits(&w));
                }
                if let Decay::Shrink(shrink) = step.decay {
                    let mut w = weights.clone();
                    kernels.shrink(&shrink, &mut w);
                    found.push(bits(&w));
                }
                found
            };
            let expected = take(scalar());
            others().for_each(|kernels| assert_eq!(take(kernels), expected, "{step:?} at {}", kernels.level()));
        }
    }
}

#[test]
fn steps_on_bags_are_steps_on_each_row_with_their_sum() {
    let sets = Sets::new(&[0, 3, 1, 0, 1, 2, 3], &[0, 2, 3, 3, 7]).unwrap();
    for (step, width) in steps().zip([1, 3, 4, 11, 15].into_iter().cycle()) {
        let (terms, weights, squares) = (noise(1, 4 * width, false), noise(2, 12 * width, true), sums(3, 12 * width));
        let take = |kernels: Kernels, ids: &[u32], sets: Sets<'_>| {
            let (mut w, mut grown) = (weights.clone(), squares.clone());
            let rows = SteppedRows { ids, first: 5, width };
            kernels.adagrad_bags(&step, rows, &terms, sets, &mut w, &mut grown).map(|()| [bits(&w), bits(&grown)])
        };
        for kernels in levels() {
            let (mut w, mut grown) = (weights.clone(), squares.clone());
            for (row, (set, _)) in [2, 11, 0, 6].into_iter().zip(sets.iter()) {
                let mut gradient = noise(4, width, false);
                kernels.sum_rows(Rows::new(&terms, width), None, set, &mut gradient).unwrap();
                let range = row * width..(row + 1) * width;
                kernels.adagrad(&step, &gradient, &mut w[range.clone()], Squares::Grow(&mut grown[range])).unwrap();
            }
            assert_eq!(take(kernels, &[7, 16, 5, 11], sets).unwrap(), [bits(&w), bits(&grown)], "{}", kernels.level());
            for wrong in [[7, 16, 5, 17], [4, 16, 5, 6], [7, u32::MAX, 5, 6]] {
                assert!(take(kernels, &wrong, sets).is_err(), "{wrong:?}");
            }
            assert!(take(kernels, &[7, 16, 5], sets).is_err(), "a row for each set");
            assert!(take(kernels, &[7], Sets::new(&[4], &[0, 1]).unwrap()).is_err(), "a term that there is not");
        }
    }
}

/// So long that rows are asked for ahead, near and far.
#[test]
fn rows_of_long_tables_are_stepped_on_like_others() {
    let step = steps().next().unwrap();
    for blocks in [rows::PREFETCH_FROM / 64, rows::FAR_FROM / 64 + 1] {
        let (ids, samples, starts): (Vec<u32>, _, _) =
            ((0..20).map(|n| n * n * 100).collect(), [0; 20], (0..=20).collect::<Vec<_>>());
        let (term, sets) = (noise(1, 1, false), Sets::new(&samples, &starts).unwrap());
        let take = |kernels: Kernels| {
            let (mut w, mut grown) = (vec![Block([1.0; LANES]); blocks], vec![Block([0.5; LANES]); blocks]);
            let rows = SteppedRows { ids: &ids, first: 0, width: 1 };
            kernels.adagrad_bags(&step, rows, &term, sets, &mut w, &mut grown).unwrap();
            ids.iter().map(|id| bits(&[w[*id as usize], grown[*id as usize]])).collect::<Vec<_>>()
        };
        let expected = take(scalar());
        others().for_each(|kernels| assert_eq!(take(kernels), expected, "{blocks} at {}", kernels.level()));
    }
}

#[test]
fn coupled_gradients_and_skipped_proximal_steps_are_the_same_bits_on_every_level() {
    let rates = [0.1, 0.05, 0.01, 0.009];
    for width in WIDTHS {
        let take = |kernels: Kernels| {
            let mut found = Vec::new();
            for (l1, l2) in [(0.0, 0.1), (0.3, 0.0), (f32::MAX, f32::MAX)] {
                let mut gradients = noise(1, width, true);
                kernels.couple(l1, l2, &noise(2, width, true), &mut gradients).unwrap();
                assert!(as_floats(&gradients).iter().all(|g| g.is_finite()));
                found.push(bits(&gradients));
                for rates in [Rates::Constant(0.1, 0), Rates::Constant(0.1, 1_000_003), Rates::Varying(&rates)] {
                    let denominator = Denominator { inside: 0.0, outside: 1e-10 };
                    let steps = ProximalSteps { l1: f64::from(l1), l2: f64::from(l2), denominator, rates };
                    let squares = sums(3, width);
                    for squares in [Squares::Each(&squares), Squares::Same(0.5), Squares::Same(f32::INFINITY)] {
                        let mut weights = noise(2, width, true);
                        kernels.proximal(&steps, &mut weights, &squares).unwrap();
                        assert!(as_floats(&weights).iter().all(|w| w.is_finite()));
                        found.push(bits(&weights));
                    }
                }
            }
            found
        };
        let expected = take(scalar());
        others().for_each(|kernels| assert_eq!(take(kernels), expected, "{}", kernels.level()));
    }
}

/// No quotient of overflows: finite weights and gradients stay numbers whatever the constants are.
#[test]
fn steps_never_make_nan_of_finite_numbers() {
    let (gradients, weights) = (noise(1, 9, true), noise(2, 9, true));
    for step in steps().filter(|step| step.denominator.outside > 0.0 || step.denominator.inside > 0.0) {
        for lr in [0.0, 0.1, 1e3] {
            let (mut w, mut squares) = (weights.clone(), vec![Block::ZERO; 9]);
            let step = AdaGradStep { lr, ..step };
            Kernels::best().adagrad(&step, &gradients, &mut w, Squares::Grow(&mut squares)).unwrap();
            assert!(as_floats(&w).iter().all(|w| !w.is_nan()), "{step:?}");
        }
    }
}

#[test]
fn wrong_lengths_and_ids_are_errors_at_every_level() {
    let table = zeroed(4 * LANES);
    let block = &table[..1];
    for kernels in levels() {
        let rows = Rows::new(&table, 2);
        let mut out = zeroed(2 * LANES);
        let init = out.clone();
        assert!(kernels.sum_rows(rows, Some(&init), &[0, 1], &mut out).is_ok());
        assert!(matches!(
            kernels.sum_rows(rows, Some(&init), &[2], &mut out),
            Err(Error::KeywordOutOfRange { id: 2, keywords: 2, .. })
        ));
        assert!(kernels.sum_rows(rows, Some(&init), &[u32::MAX], &mut out).is_err());
        assert!(kernels.sum_rows(Rows { first: 1, ..rows }, Some(&init), &[1], &mut out).is_err());
        assert!(kernels.sum_rows(rows, Some(block), &[0], &mut out).is_err());
        let sets = |ids| Sets::new(ids, &[0, 2]).unwrap();
        let relu = Activation::Relu;
        let matrix = Matrix::F32(&table);
        assert!(kernels.sum_bags(&matrix, &init, relu, sets(&[0, 1]), &mut out).is_ok());
        assert!(kernels.sum_bags(&matrix, &init, relu, sets(&[0, 2]), &mut out).is_err());
        assert!(kernels.sum_bags(&matrix, block, relu, sets(&[0, 1]), &mut out).is_err());
        let integers = [I8Block::default(); 4];
        let scaled = |scales: usize| Matrix::I8 { weights: &integers, scales: &table[..scales] };
        assert!(kernels.sum_bags(&scaled(2), &init, relu, sets(&[0, 1]), &mut out).is_ok());
        assert!(kernels.sum_bags(&scaled(1), &init, relu, sets(&[0, 1]), &mut out).is_err());
        // Nothing of nothing, but from beyond the end.
        let none = Panels { weights: &Matrix::I8 { weights: &[], scales: &[] }, units: 0, width: 0 };
        for (first_unit, first_tag) in [(0, 0), (1, 0), (0, 1)] {
            let hidden = HiddenRows { blocks: &[], stride: 0, first: first_unit, items: 1 };
            let mut z = Answers { answer: Answer::Score { eps: 0.1 }, floats: &mut [], stride: 0, first: first_tag, tags: 0 };
            assert_eq!(kernels.panels_dense(none, hidden, &[], &mut z).is_ok(), first_unit + first_tag == 0);
        }
        let panels = Panels { weights: &matrix, units: 2, width: 2 };
        let hidden = HiddenRows { blocks: &table, stride: 1, first: 0, items: 2 };
        let mut floats = [0.0; 64];
        let mut z = Answers { answer: Answer::Logit, floats: &mut floats, stride: 32, first: 0, tags: 32 };
        let active = ActiveLists { starts: &[0, 1, 2], units: &[0, 1], values: &[1.0, 2.0] };
        assert!(kernels.panels_sparse(panels, active, &init, &mut z).is_ok());
        assert!(kernels.panels_dense(panels, hidden, &init, &mut z).is_ok());
        assert!(kernels.panels_sparse(panels, active, block, &mut z).is_err());
        assert!(kernels.panels_sparse(Panels { weights: &scaled(2), ..panels }, active, &init, &mut z).is_ok());
        assert!(kernels.panels_sparse(Panels { weights: &scaled(1), ..panels }, active, &init, &mut z).is_err());
        assert!(kernels.panels_sparse(Panels { units: 3, ..panels }, active, &init, &mut z).is_err());
        assert!(kernels.panels_sparse(panels, ActiveLists { units: &[0, 2], ..active }, &init, &mut z).is_err());
        assert!(kernels.panels_sparse(panels, ActiveLists { starts: &[0, 3], ..active }, &init, &mut z).is_err());
        assert!(kernels.panels_sparse(panels, ActiveLists { values: &[1.0], ..active }, &init, &mut z).is_err());
        assert!(kernels.panels_dense(panels, HiddenRows { items: 5, ..hidden }, &init, &mut z).is_err());
        assert!(kernels.panels_dense(panels, HiddenRows { first: 3, ..hidden }, &init, &mut z).is_err());
        for (starts, units) in [(3, 32), (2, 32), (3, 31)] {
            let (starts, units, values) = (&mut vec![0; starts], &mut vec![0; units], &mut vec![0.0; 32]);
            let fits = starts.len() == 3 && units.len() == 32;
            let lists = ListBuffers { starts, units, values };
            assert_eq!(kernels.panels(panels, hidden, lists, &init, &mut z).is_ok(), fits);
        }
        z.first = 1;
        assert!(kernels.panels_dense(panels, hidden, &init, &mut z).is_err());
        (z.first, z.tags) = (0, 33);
        assert!(kernels.panels_dense(panels, hidden, &init, &mut z).is_err());
        z = Answers { answer: Answer::Logit, floats: &mut floats[..8], stride: 4, first: 0, tags: 4 };
        let rows_of = |groups| TagMajor { weights: &matrix, width: 1, groups, bias: &[0.0; 4] };
        assert!(kernels.tag_major(rows_of(&[4]), hidden, &mut z).is_ok());
        assert!(kernels.tag_major(rows_of(&[3]), hidden, &mut z).is_err());
        assert!(kernels.tag_major(rows_of(&[2, 2]), hidden, &mut z).is_err(), "a group more than hidden vectors");
        assert!(kernels.tag_major(TagMajor { bias: &[0.0; 3], groups: &[3], ..rows_of(&[4]) }, hidden, &mut z).is_err());
        z.stride = 5;
        assert!(kernels.tag_major(rows_of(&[4]), hidden, &mut z).is_err());
        assert!(kernels.weighted_sum_rows(rows, Some(&init), &[0], &[], &mut out).is_err());
        assert!(kernels.dot_rows(rows, &[0], &init, &mut []).is_err());
        assert!(kernels.dot_rows(rows, &[2], &init, &mut out[..1]).is_err());
        assert!(kernels.activate(Activation::Relu, block, &mut out).is_err());
        assert!(kernels.activate_backward(Activation::Relu, block, block, &mut out).is_err());
        assert!(kernels.list_active(block, ActiveUnits { units: &mut [0; 15], values: &mut [0.0; 16] }).is_err());
        for (bounds, units, values) in [(15, 16, 16), (16, 15, 16), (16, 16, 15)] {
            let bounds = vec![0.0; bounds];
            let list = ActiveUnits { units: &mut vec![0; units], values: &mut vec![0.0; values] };
            assert!(kernels.list_reaching(&[0.0; 16], Bounds::Each(&bounds), 0.0, list).is_err());
        }
        let step = steps().next().unwrap();
        assert!(kernels.adagrad(&step, block, &mut out, Squares::Same(1.0)).is_err());
        assert!(kernels.adagrad(&step, &init, &mut out, Squares::Grow(&mut [])).is_err());
        assert!(kernels.adagrad(&step, &init, &mut out, Squares::Each(block)).is_err());
        assert!(kernels.couple(0.1, 0.1, block, &mut out).is_err());
        let steps = ProximalSteps { l1: 0.0, l2: 0.1, denominator: step.denominator, rates: Rates::Constant(0.1, 1) };
        assert!(kernels.proximal(&steps, &mut out, &Squares::Each(block)).is_err());
        assert!(kernels.sum_rows(Rows::new(&[], 0), None, &[5], &mut []).is_ok(), "rows without columns have any id");
        assert!(kernels.dot_rows(Rows::new(&[], 7), &[u32::MAX], &[], &mut out[..1]).is_ok());
    }
}

#[test]
fn nan_is_never_swallowed() {
    for kernels in levels() {
        let mut block = [Block([f32::NAN; LANES])];
        let mut h = [Block::ZERO];
        for activation in ACTIVATIONS {
            kernels.activate(activation, &block, &mut h).unwrap();
            assert!(h[0].0.iter().all(|x| x.is_nan()), "{activation}");
            assert_eq!(list_active(kernels, &h).len(), 16);
        }
        for fault in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut blocks = noise(1, 5, false);
            as_floats_mut(&mut blocks)[37] = fault;
            assert!(kernels.magnitude(&blocks).is_nan(), "{fault} at {}", kernels.level());
        }
        kernels.shrink(&Shrink { factor: 0.5, offset: 0.1 }, &mut h);
        assert!(h[0].0.iter().all(|x| x.is_nan()));
        kernels.sigmoid(1e-4, as_floats_mut(&mut block));
        assert!(block[0].0.iter().all(|x| x.is_nan()), "{}", kernels.level());
    }
}
