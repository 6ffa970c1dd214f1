//! Lengths that do not fit in training, and numbers at the edge of a rule.

use super::super::output::list;
use super::super::sigmoid::EXP_UNDERFLOW;
use super::super::simd::portable::Portable;
use super::*;
use crate::network::{Network, OutputLayout, Pooling, Shape, StoredWeights, Weights};

#[test]
fn operands_of_other_lengths_are_errors_at_every_level() {
    let blocks = zeroed(3 * LANES);
    let fit = &blocks[..2];
    for kernels in levels() {
        for other in [&blocks[..1], &blocks[..3]] {
            let mut out = fit.to_vec();
            assert!(kernels.activate_backward(Activation::Relu, fit, other, &mut out).is_err());
            assert!(kernels.activate_backward(Activation::Relu, fit, fit, &mut other.to_vec()).is_err());
            let loss = LogLoss { kind: LossKind::Logit, eps: 0.0, limit: f32::INFINITY, scale: 1.0 };
            let inputs = LossInputs { targets: fit, weights: fit, positive_weights: fit, offsets: fit };
            assert!(kernels.log_loss(&loss, inputs, &mut out).is_ok());
            for inputs in [
                LossInputs { targets: other, ..inputs },
                LossInputs { weights: other, ..inputs },
                LossInputs { positive_weights: other, ..inputs },
                LossInputs { offsets: other, ..inputs },
            ] {
                assert!(kernels.log_loss(&loss, inputs, &mut out).is_err(), "{}", kernels.level());
            }
            let step = steps().next().unwrap();
            let (rows, set) = (SteppedRows { ids: &[0], first: 0, width: 2 }, Sets::new(&[0], &[0, 1]).unwrap());
            assert!(kernels.adagrad_bags(&step, rows, fit, set, &mut out, &mut fit.to_vec()).is_ok());
            assert!(kernels.adagrad_bags(&step, rows, fit, set, &mut out, &mut other.to_vec()).is_err());
            assert!(kernels.adagrad_bags(&step, rows, &fit[..1], set, &mut out, &mut fit.to_vec()).is_err());
            let none = Sets::new(&[], &[]).unwrap();
            assert!(kernels.adagrad_bags(&step, rows, fit, none, &mut out, &mut fit.to_vec()).is_err());
            let nothing = SteppedRows { ids: &[], first: 0, width: 0 };
            assert!(kernels.adagrad_bags(&step, nothing, &[], none, &mut [], &mut []).is_ok(), "no rows of nothing");
            let empty = SteppedRows { ids: &[3], first: 0, width: 0 };
            assert!(kernels.adagrad_bags(&step, empty, &[], set, &mut [], &mut []).is_ok(), "a row of nothing");
            let wide = SteppedRows { ids: &[], first: 0, width: usize::MAX };
            assert!(kernels.adagrad_bags(&step, wide, &[], none, &mut [], &mut []).is_ok(), "no rows of any width");
        }
    }
}

#[test]
fn the_smallest_power_is_not_flushed_and_the_next_is() {
    for kernels in levels() {
        let mut x = [EXP_UNDERFLOW, EXP_UNDERFLOW.next_down()];
        kernels.sigmoid(0.0, &mut x);
        assert!(x[0] >= f32::MIN_POSITIVE && x[1] == 0.0, "{x:?} at {}", kernels.level());
    }
}

/// The clamp of `ClampTorch` is an open interval.
#[test]
fn a_probability_at_the_clamp_has_no_gradient() {
    for kernels in levels() {
        let mut p = [-2.5];
        kernels.sigmoid(0.0, &mut p);
        let ones = [Block([1.0; LANES])];
        for (eps, moves) in [(p[0], false), (p[0].next_down(), true)] {
            let loss = LogLoss { kind: LossKind::ClampTorch, eps, limit: 2.5, scale: 1.0 };
            for (z, targets) in [(-2.5, ones), (2.5, [Block::ZERO])] {
                let inputs = LossInputs { targets: &targets, weights: &ones, positive_weights: &ones, offsets: &[Block::ZERO] };
                let mut gradient = [Block([z; LANES])];
                kernels.log_loss(&loss, inputs, &mut gradient).unwrap();
                assert!(gradient[0].0.iter().all(|g| (*g != 0.0) == moves), "{z} at {}: {gradient:?}", kernels.level());
            }
        }
    }
}

#[test]
fn operands_of_output_layers_that_do_not_fit_are_errors_at_every_level() {
    let table = zeroed(4 * LANES);
    let bias = &table[..2];
    for kernels in levels() {
        let panels = Panels { weights: &Matrix::F32(&table), units: 2, width: 2 };
        let hidden = HiddenRows { blocks: &table, stride: 1, first: 0, items: 2 };
        let active = ActiveLists { starts: &[0, 1, 2], units: &[0, 1], values: &[1.0, 2.0] };
        let whole = |panels, hidden, bias: &[Block], z: &mut Answers<'_>| {
            let lists = ListBuffers { starts: &mut [0; 3], units: &mut [0; 32], values: &mut [0.0; 32] };
            [kernels.panels(panels, hidden, lists, bias, z).is_ok(), kernels.panels_dense(panels, hidden, bias, z).is_ok()]
        };
        let mut floats = [0.0; 64];
        for (room, fits) in [(64, true), (63, false), (32, false)] {
            let mut z = Answers { answer: Answer::Logit, floats: &mut floats[..room], stride: 32, first: 0, tags: 32 };
            assert_eq!(kernels.panels_sparse(panels, active, bias, &mut z).is_ok(), fits, "{room}");
            assert_eq!(whole(panels, hidden, bias, &mut z), [fits; 2], "{room}");
            let none = ActiveLists { starts: &[], units: &[], values: &[] };
            assert!(kernels.panels_sparse(panels, none, bias, &mut z).is_ok(), "no items");
        }
        let mut z = Answers { answer: Answer::Logit, floats: &mut floats, stride: 32, first: 0, tags: 32 };
        assert_eq!(whole(Panels { units: 3, ..panels }, hidden, bias, &mut z), [false; 2]);
        assert_eq!(whole(panels, HiddenRows { first: 3, ..hidden }, bias, &mut z), [false; 2]);
        assert_eq!(whole(panels, hidden, &table[..1], &mut z), [false; 2]);

        let tags = TagMajor { weights: &Matrix::F32(&table), width: 1, groups: &[4], bias: &[0.0; 4] };
        let mut z = Answers { answer: Answer::Logit, floats: &mut floats[..8], stride: 4, first: 0, tags: 4 };
        assert!(kernels.tag_major(tags, hidden, &mut z).is_ok());
        assert!(kernels.tag_major(TagMajor { weights: &Matrix::F32(&table[..3]), ..tags }, hidden, &mut z).is_err());
        z.tags = 3;
        assert!(kernels.tag_major(tags, hidden, &mut z).is_err(), "an answer too few");
        assert!(kernels.list_active(bias, ActiveUnits { units: &mut [0; 32], values: &mut [0.0; 31] }).is_err());
    }
}

#[test]
fn rows_that_are_not_there_are_errors_at_every_level() {
    let table = zeroed(4 * LANES);
    let init = &table[..2];
    for kernels in levels() {
        let mut out = init.to_vec();
        let rows = |blocks| Rows::new(&table[..blocks], 2);
        for (blocks, id, there) in [(4, 1, true), (4, 2, false), (2, 0, true), (2, 1, false), (1, 0, false), (0, 0, false)] {
            assert_eq!(kernels.sum_rows(rows(blocks), Some(init), &[id], &mut out).is_ok(), there, "{blocks} {id}");
            assert_eq!(kernels.weighted_sum_rows(rows(blocks), Some(init), &[id], &[1.0], &mut out).is_ok(), there);
        }
        assert!(kernels.weighted_sum_rows(rows(4), Some(&table[..1]), &[0], &[1.0], &mut out).is_err());
        for (ids, is_set) in [(&[][..], true), (&[3], true), (&[1, 2, 9], true), (&[1, 1], false), (&[2, 1], false)] {
            assert_eq!(kernels.sets(ids, &[0, ids.len()]).is_some(), is_set, "{ids:?} at {}", kernels.level());
        }
    }
}

/// In a mapped file that nobody has verified, padding may be anything.
#[test]
fn units_in_the_padding_are_not_there() {
    for units in [1, 2, 15, 16, 17, 31] {
        let weights = noise(1, 2 * units, false);
        let panels = Panels { weights: &Matrix::F32(&weights), units, width: 2 };
        let run = |kernels: Kernels, padding: f32| {
            let mut blocks = zeroed(units);
            as_floats_mut(&mut blocks)[0] = 0.5;
            as_floats_mut(&mut blocks)[units..].fill(padding);
            let hidden = HiddenRows { blocks: &blocks, stride: blocks.len(), first: 0, items: 1 };
            let lists = ListBuffers { starts: &mut [0; 2], units: &mut [0; 32], values: &mut [0.0; 32] };
            let mut floats = [0.0; 32];
            let mut z = Answers { answer: Answer::Logit, floats: &mut floats, stride: 32, first: 0, tags: 32 };
            kernels.panels(panels, hidden, lists, &noise(2, 2, false), &mut z).unwrap();
            floats.map(f32::to_bits)
        };
        for kernels in levels() {
            assert_eq!(run(kernels, 7.0), run(scalar(), 0.0), "{units} units at {}", kernels.level());
        }
    }
}

#[test]
fn losses_near_zero_are_the_same_bits_on_every_level() {
    let ones = [Block([1.0; LANES])];
    let loss = LogLoss { kind: LossKind::Logit, eps: 0.0, limit: f32::INFINITY, scale: 1.0 };
    for block in -1024_i16..1024 {
        let logits = [Block(std::array::from_fn(|lane| (f32::from(block) + lane as f32 / 16.0) / 1024.0))];
        let zero = &[Block::ZERO];
        let inputs = LossInputs { targets: zero, weights: &ones, positive_weights: &ones, offsets: zero };
        let value = |kernels: Kernels| kernels.log_loss(&loss, inputs, &mut logits.clone()).unwrap().to_bits();
        others().for_each(|kernels| assert_eq!(value(kernels), value(scalar()), "{block} at {}", kernels.level()));
    }
}

#[test]
fn a_score_that_alone_reaches_a_bound_is_listed_wherever_it_stands() {
    for kernels in levels() {
        for index in 0..40 {
            let mut scores = [0.25; 40];
            scores[index] = 0.5;
            let (mut units, mut values) = ([0; 40], [0.0; 40]);
            let list = ActiveUnits { units: &mut units, values: &mut values };
            let count = kernels.list_reaching(&scores, Bounds::Same(0.5), 0.0, list).unwrap();
            assert_eq!((count, units[0], values[0]), (1, index as u32, 0.5), "{}", kernels.level());
        }
    }
}

#[test]
fn buffers_and_weights_that_do_not_fit_a_network_are_errors_at_every_level() {
    for (kernels, layout) in levels().flat_map(|kernels| [OutputLayout::TagMajor, OutputLayout::Panels].map(|l| (kernels, l))) {
        let shape = Shape::new(3, 5, &[2], layout).unwrap();
        let network = Network { shape, pooling: Pooling::Sum, activation: Activation::Sigmoid, eps: 0.0 };
        let shape = &network.shape;
        let lengths = [shape.w1_blocks(), shape.row_blocks(), shape.w2_blocks(), shape.slot_blocks()];
        let [w1, b1, w2, b2] = &lengths.map(|blocks| zeroed(blocks * LANES));
        let fitting = StoredWeights::from(Weights { w1, b1, w2, b2 });
        let sets = Sets::new(&[0, 2], &[0, 1, 2]).unwrap();
        let run = |weights: &StoredWeights<'_>, hidden: usize, units: usize, answers: usize| {
            let mut hidden = vec![Block([7.0; LANES]); hidden];
            let (mut starts, mut units, mut values) = ([0; 3], vec![0; units], vec![0.0; units]);
            let mut answers = vec![0.0; answers];
            let mut run = |whole: bool| {
                let lists = ListBuffers { starts: &mut starts, units: &mut units, values: &mut values };
                let buffers = ForwardBuffers { hidden: &mut hidden, lists };
                match whole {
                    true => kernels.forward(&network, weights, sets, buffers, Answer::Logit, &mut answers),
                    false => kernels.output(shape, weights, 2, buffers, Answer::Logit, &mut answers),
                }
            };
            let fits = [run(true).is_ok(), run(false).is_ok()];
            // Whoever lists units takes those of the padding for units, too.
            assert!(!fits[0] || hidden.iter().all(|h| h.0[..5] == [0.5; 5] && h.0[5..] == [0.0; 11]));
            fits
        };
        assert_eq!(run(&fitting, 2, 32, 4), [true; 2]);
        for (hidden, units, answers) in [(1, 32, 4), (3, 32, 4), (2, 31, 4), (2, 32, 3), (2, 32, 5)] {
            // Tag-major no units are listed.
            let fits = units < 32 && layout == OutputLayout::TagMajor;
            assert_eq!(run(&fitting, hidden, units, answers), [fits; 2], "{hidden} {units} {answers} at {}", kernels.level());
        }
        let short = StoredWeights::from(Weights { w1, b1, w2: &w2[1..], b2 });
        let (mut hidden, mut starts, mut units, mut values) = (zeroed(2 * LANES), [0; 3], [0; 32], [0.0; 32]);
        let lists = ListBuffers { starts: &mut starts, units: &mut units, values: &mut values };
        let buffers = ForwardBuffers { hidden: &mut hidden, lists };
        assert!(kernels.output(shape, &short, 2, buffers, Answer::Logit, &mut [0.0; 4]).is_err());
    }
}

#[test]
fn sums_begin_at_plus_zero_at_every_level() {
    let init = [Block([-0.0; LANES])];
    for kernels in levels() {
        let (mut sum, mut weighted) = (init, init);
        kernels.sum_rows(Rows::new(&[], 1), Some(&init), &[], &mut sum).unwrap();
        kernels.weighted_sum_rows(Rows::new(&[], 1), Some(&init), &[], &[], &mut weighted).unwrap();
        assert_eq!([bits(&sum), bits(&weighted)], [[0; LANES]; 2], "{}", kernels.level());
    }
}

#[test]
fn a_product_tells_how_many_factors_it_wants() {
    let table = zeroed(3 * LANES);
    let rows = Rows::new(&table, 1);
    let product = Product { items: 2, terms: 3, factors: &[1.0; 5], item_stride: 3, term_stride: 1, rows, width: 1 };
    let mut blocks = zeroed(2 * LANES);
    let error = scalar().product(product, &mut RowsMut { blocks: &mut blocks, stride: 1, first: 0 }).unwrap_err();
    assert!(matches!(error, Error::Length { what: "factors", expected: 6, found: 5 }), "{error}");
}

#[test]
fn the_smallest_step_of_integers_is_a_normal_number_and_below_it_is_none() {
    let least = f32::MIN_POSITIVE * 32767.0;
    assert_eq!([least, least / 2.0].map(|largest| integers::step(largest, 1)), [f32::MIN_POSITIVE, 0.0]);
    assert_eq!([0.25, 0.0].map(integers::inverse), [4.0, 0.0]);
}

#[test]
fn output_layers_of_integers_without_items_answer_nothing() {
    let weights = [I8Block([1; LANES]); 2];
    let scales = zeroed(LANES);
    let panels = Panels { weights: &Matrix::I8 { weights: &weights, scales: &scales }, units: 2, width: 1 };
    for kernels in levels() {
        for answer in [Answer::Logit, Answer::Score { eps: 0.0 }] {
            let mut answers = Answers { answer, floats: &mut [], stride: 16, first: 1, tags: 16 };
            let none = ActiveLists { starts: &[], units: &[], values: &[] };
            kernels.panels_sparse(panels, none, &scales, &mut answers).unwrap();
        }
    }
}

/// Hidden vectors of one group among those of others.
#[test]
fn dense_groups_begin_where_they_stand() {
    let (units, items) = (9, 7);
    let among = noise(7, 2 * items, false);
    let alone: Vec<Block> = among.iter().skip(1).step_by(2).copied().collect();
    for (kernels, matrix) in levels().flat_map(|kernels| matrices(1, 2 * units, 2).map(|matrix| (kernels, matrix))) {
        let run = |blocks: &[Block], first: usize| {
            let mut floats = vec![0.0; items * 32];
            let mut answers = Answers { answer: Answer::Logit, floats: &mut floats, stride: 32, first: 0, tags: 32 };
            let hidden = HiddenRows { blocks, stride: first + 1, first, items };
            let panels = Panels { weights: &matrix.view(), units, width: 2 };
            kernels.panels_dense(panels, hidden, &noise(2, 2, false), &mut answers).unwrap();
            floats
        };
        assert_eq!(run(&among, 1), run(&alone, 0), "{}", kernels.level());
    }
}

/// Whether items with so many of 10 units on are listed, or else multiplied as a whole.
fn are_listed(on: &[usize]) -> bool {
    let weights = zeroed(10 * LANES);
    let mut blocks = zeroed(on.len() * LANES);
    blocks.iter_mut().zip(on).for_each(|(block, on)| block.0[..*on].fill(1.0));
    let panels = Panels { weights: &Matrix::F32(&weights), units: 10, width: 1 };
    let hidden = HiddenRows { blocks: &blocks, stride: 1, first: 0, items: on.len() };
    let places = blocks.len() * LANES;
    let (mut starts, mut units, mut values) = (vec![0; on.len() + 1], vec![0; places], vec![0.0; places]);
    list(Portable, panels, hidden, ListBuffers { starts: &mut starts, units: &mut units, values: &mut values }).is_some()
}

#[test]
fn items_are_multiplied_as_a_whole_from_a_share_of_active_units_on() {
    assert!(are_listed(&[10]), "an item alone");
    assert!(are_listed(&[8, 7]) && !are_listed(&[8, 8]));
    // The first sixteen tell of all, and so many alone.
    let mut first = [10; 16];
    first[12..15].fill(0);
    assert!(!are_listed(&[&first[..], &[0; 20]].concat()));
    assert!(are_listed(&[&[0; 16][..], &[10; 13]].concat()));
}
