//! Weights of every type, rounded and pruned: what they answer, and what is promised of it.

use tagomatic::accumulator::Accumulator;
use tagomatic::aligned::{Block, LANES, as_floats_mut};
use tagomatic::convert::{Conversion, Converted, convert};
use tagomatic::explain::explain;
use tagomatic::format::Extensions;
use tagomatic::network::{Activation, Network, OutputLayout, Pooling, Shape, Weights};
use tagomatic::weights::{Matrix, WeightType};
use tagomatic::{Error, Level, Model, ModelParts, Tagger};

use super::serving::{bits, copy, pooled};

const NONE: [[u32; 0]; 0] = [];

fn rounded(model: &Model, weights: WeightType) -> Converted {
    convert(model, Conversion { weights: Some(weights), ..Conversion::default() }, NONE).unwrap()
}

/// Shared networks and banks in both layouts, summed and averaged keywords.
fn models() -> impl Iterator<Item = Model> {
    [
        (OutputLayout::Panels, vec![200]),
        (OutputLayout::Panels, vec![3, 70, 1]),
        (OutputLayout::TagMajor, vec![1]),
        (OutputLayout::TagMajor, vec![2, 1, 3]),
    ]
    .into_iter()
    .flat_map(|(layout, tags)| [Pooling::Sum, Pooling::Mean].map(|pooling| pooled(pooling, 300, 37, &tags, layout)))
}

/// Items of 0 to 39 keywords.
fn items() -> Vec<Vec<u32>> {
    (0..40).map(|n| (0..n).map(|k| (n * 37 + k * 7) % 300).collect()).collect()
}

fn logits(tagger: &Tagger, ids: &[u32]) -> Vec<f32> {
    let mut logits = vec![0.0; tagger.tags().len()];
    tagger.logits(ids, &mut tagger.scratch(), &mut logits).unwrap();
    logits
}

#[test]
fn every_type_answers_the_same_bits_on_every_level_alone_and_in_batches() {
    for model in models() {
        for weights in WeightType::ALL.iter().copied() {
            let model = rounded(&model, weights).model;
            assert_eq!(model.weights().w1.weight_type(), weights);
            let scalar = Tagger::with_level(copy(&model), Level::Scalar).unwrap();
            let items = items();
            let starts: Vec<usize> = (0..=items.len()).map(|end| items[..end].iter().map(Vec::len).sum::<usize>()).collect();
            let tags = scalar.tags().len();
            let alone: Vec<Vec<f32>> = items
                .iter()
                .map(|ids| {
                    let mut scores = vec![0.0; tags];
                    scalar.score(ids, &mut scalar.scratch(), &mut scores).unwrap();
                    scores
                })
                .collect();
            for level in Level::available() {
                let tagger = Tagger::with_level(copy(&model), level).unwrap();
                let mut scores = vec![0.0; tags * items.len()];
                tagger.score_batch(&items.concat(), &starts, &mut tagger.scratch(), &mut scores).unwrap();
                assert_eq!(bits(&scores), bits(&alone.concat()), "{weights} at {level}");
                assert_eq!(tagger.signature().unwrap(), scalar.signature().unwrap());
            }
        }
    }
}

/// Widening loses nothing: 16-bit weights answer as the `f32` weights that they were rounded to, bit for bit.
#[test]
fn sixteen_bits_answer_as_the_floats_that_they_stand_for() {
    for model in models() {
        for weights in [WeightType::F16, WeightType::Bf16] {
            let narrow = Tagger::new(rounded(&model, weights).model);
            let wide = rounded(narrow.model(), WeightType::F32);
            let wide = Tagger::new(wide.model);
            for ids in items() {
                assert_eq!(bits(&logits(&narrow, &ids)), bits(&logits(&wide, &ids)));
            }
        }
    }
}

#[test]
fn integers_are_as_near_as_their_scale_allows() {
    for model in models() {
        let shape = model.network().shape.clone();
        let narrow = rounded(&model, WeightType::I8).model;
        let (Matrix::I8 { weights, scales }, Matrix::F32(w1)) = (narrow.weights().w1, model.weights().w1) else { panic!() };
        for (index, integer) in weights.iter().flat_map(|block| block.0).enumerate() {
            let scale = scales[index / 16 % shape.row_blocks()].0[index % 16];
            let w = w1[index / 16].0[index % 16];
            assert!((f32::from(integer) * scale - w).abs() <= scale * 0.500_001, "{w} by {integer} times {scale}");
        }
        // The largest weight of a column uses the whole range.
        for (block, scales) in scales.iter().enumerate() {
            for (lane, _) in scales.0.iter().enumerate().filter(|(_, scale)| **scale > 0.0) {
                let column = weights.iter().skip(block).step_by(shape.row_blocks()).map(|block| block.0[lane]);
                assert_eq!(column.map(i8::unsigned_abs).max(), Some(127));
            }
        }
    }
}

/// One logit after another is driven as far from its place as keywords can drive it.
#[test]
fn no_logit_moves_further_than_the_bound() {
    for model in models() {
        let before = Tagger::new(copy(&model));
        for weights in [WeightType::F16, WeightType::Bf16, WeightType::I8] {
            let converted = rounded(&model, weights);
            let error = converted.logit_error.unwrap();
            assert_eq!(converted.model.extensions().logit_error, Some(error));
            assert!(error.measured > 0.0 && error.measured <= error.bound && error.bound.is_finite(), "{error:?}");
            let after = Tagger::new(converted.model);
            let moved = |ids: &[u32]| -> Vec<f64> {
                let (a, b) = (logits(&before, ids), logits(&after, ids));
                a.iter().zip(&b).map(|(a, b)| f64::from(*b) - f64::from(*a)).collect()
            };
            for tag in [0, model.tags().len() - 1] {
                for sign in [1.0, -1.0] {
                    let mut ids: Vec<u32> = Vec::new();
                    while ids.len() < 64 {
                        let with = |id: u32| -> f64 { sign * moved(&[&ids[..], &[id]].concat())[tag] };
                        let step = 300 / (ids.len() as u32 + 4);
                        let next = (0..300).step_by(step as usize).filter(|id| !ids.contains(id));
                        let Some(next) = next.max_by(|a, b| with(*a).total_cmp(&with(*b))) else { break };
                        ids.push(next);
                        let worst = moved(&ids).into_iter().map(f64::abs).fold(0.0, f64::max);
                        assert!(worst <= error.bound, "{worst} beyond {error:?}");
                    }
                }
            }
        }
    }
}

/// A network of one unit and one tag.
fn one_unit(activation: Activation, w1: &[f32], w2: f32) -> Model {
    let shape = Shape::new(w1.len(), 1, &[1], OutputLayout::TagMajor).unwrap();
    let mut rows = tagomatic::aligned::zeroed(w1.len() * 16);
    rows.iter_mut().zip(w1).for_each(|(row, w)| row.0[0] = *w);
    let (zero, w2) = (tagomatic::aligned::zeroed(16), tagomatic::aligned::padded(&[w2]));
    ModelParts {
        network: &Network { shape, pooling: Pooling::Sum, activation, eps: 0.0 },
        weights: Weights { w1: &rows, b1: &zero, w2: &w2, b2: &zero }.into(),
        vocabulary: tagomatic::Vocabulary::from_keywords((0..w1.len()).map(|n| format!("k{n}"))).unwrap().view(),
        tags: &tagomatic::Tags::from_names(["t"]).unwrap(),
        provenance: &tagomatic::Provenance::new(),
        extensions: &Extensions::default(),
    }
    .to_model()
    .unwrap()
}

/// Where one unit passes everything on, the bound is reached but for the rounding of sums.
#[test]
fn the_bound_is_not_far_off() {
    let w1: Vec<f32> = (0..40).map(|k| 1.0 + (k as f32 * 0.37).sin() / 3.0).collect();
    let model = one_unit(Activation::Identity, &w1, 1.0);
    let converted = rounded(&model, WeightType::Bf16);
    let (before, after) = (Tagger::new(model), Tagger::new(converted.model));
    let bound = converted.logit_error.unwrap().bound;
    let up = |id: &u32| logits(&after, &[*id])[0] > logits(&before, &[*id])[0];
    let (up, down): (Vec<u32>, Vec<u32>) = (0..40).partition(up);
    let moved = [up, down].map(|ids| f64::from((logits(&after, &ids)[0] - logits(&before, &ids)[0]).abs()));
    let worst = moved[0].max(moved[1]);
    assert!(worst <= bound && bound < 1.1 * worst, "{worst} {bound}");
}

#[test]
fn errors_add_up() {
    let model = models().next().unwrap();
    let first = rounded(&model, WeightType::F16);
    let second = rounded(&first.model, WeightType::I8);
    let (first, both) = (first.logit_error.unwrap(), second.logit_error.unwrap());
    assert!(both.bound > first.bound && both.measured > first.measured);
    let provenance = second.model.provenance().unwrap();
    assert_eq!((provenance.get("convert.from"), provenance.get("convert.weights")), (Some("f16"), Some("i8")));
    // The bound counts for as many keywords as the largest item has.
    let item: Vec<u32> = (0..100).collect();
    let how = Conversion { weights: Some(WeightType::I8), ..Conversion::default() };
    let more = convert(&model, how, [&item[..]]).unwrap().logit_error.unwrap();
    assert_eq!((both.keywords, more.keywords), (64, 100));
    assert!(matches!(convert(&model, how, [[300]]), Err(Error::KeywordOutOfRange { .. })));
}

#[test]
fn extreme_weights() {
    for (weights, w, saturated) in [(WeightType::F16, 65_520.0, 65_504.0), (WeightType::Bf16, f32::MAX, 3.389_531_4e38)] {
        let model = one_unit(Activation::Relu, &[1.0, -w], 1e-30);
        let how = Conversion { weights: Some(weights), ..Conversion::default() };
        assert!(matches!(convert(&model, how, NONE), Err(Error::BadWeight { tensor: "W1", index: 16, .. })));
        let converted = convert(&model, Conversion { saturate: true, ..how }, NONE).unwrap();
        assert_eq!(converted.saturated, 1);
        let shape = &model.network().shape;
        let back = converted.model.weights().to_f32(shape).unwrap();
        assert_eq!(back.view().w1[1].0[0], -saturated);
    }
    // Integers hold everything, but nothing next to something huge, and no column of subnormal numbers.
    for (w1, expected) in [
        ([1.0, f32::MAX], [0.0, f32::MAX]),
        ([0.0, 1e37], [0.0, 1e37]),
        ([1e-40, -1e-40], [0.0, 0.0]),
        ([0.0, -0.0], [0.0, 0.0]),
    ] {
        let model = one_unit(Activation::Relu, &w1, 1e-30);
        let converted = rounded(&model, WeightType::I8).model;
        let back = converted.weights().to_f32(&model.network().shape).unwrap();
        let back = [0, 1].map(|keyword| back.view().w1[keyword].0[0]);
        assert!(back.iter().zip(expected).all(|(a, b)| (a - b).abs() <= b * 1e-6), "{back:?}");
    }
}

#[test]
fn what_serves_serves_every_type() {
    let model = pooled(Pooling::Sum, 300, 37, &[3, 20], OutputLayout::Panels);
    for weights in WeightType::ALL.iter().copied() {
        let tagger = Tagger::new(rounded(&model, weights).model);
        let ids = [3, 50, 77, 200, 299];
        // An accumulator walks to the same bits.
        let mut walk = Accumulator::new(&tagger);
        for id in [77, 3, 299, 50, 10, 200] {
            walk.add(id).unwrap();
        }
        let mut scores = vec![0.0; 23];
        walk.logits_without(10, &mut scores).unwrap();
        assert_eq!(bits(&scores), bits(&logits(&tagger, &ids)), "{weights}");
        walk.remove(10);
        walk.logits(&mut scores).unwrap();
        assert_eq!(bits(&scores), bits(&logits(&tagger, &ids)), "{weights}");
        // Parts sum up to the logit.
        for tag in [0, 22] {
            let explanation = explain(&tagger, &ids, tag).unwrap();
            let sum = explanation.bias + explanation.keywords.iter().map(|part| part.contribution).sum::<f64>();
            assert!((sum - f64::from(explanation.logit)).abs() < 1e-4, "{weights}: {sum} {}", explanation.logit);
        }
        let near = tagomatic::neighbors::nearest_tags(tagger.model(), 4, 3).unwrap();
        let exact = tagomatic::neighbors::nearest_tags(&model, 4, 3).unwrap();
        assert!(near.iter().zip(&exact).all(|(a, b)| (a.similarity - b.similarity).abs() < 0.02), "{near:?} {exact:?}");
    }
}

/// The model with units of each group switched off in one way or another, and some rows of keywords zero.
fn with_dead_parts(model: &Model) -> Model {
    let shape = model.network().shape.clone();
    let weights = model.weights().as_f32().unwrap();
    let [mut w1, mut b1, mut w2] = [weights.w1, weights.b1, weights.w2].map(<[Block]>::to_vec);
    let row = shape.row_blocks() * LANES;
    for (number, group) in shape.groups().iter().enumerate() {
        for unit in (number..shape.hidden()).step_by(3) {
            let position = group.hidden.start * LANES + unit;
            if unit % 2 == 0 {
                (0..group.tags.len()).for_each(|tag| as_floats_mut(&mut w2)[shape.w2_index(group, unit, tag)] = 0.0);
            } else {
                // No keyword lifts it above 0; -0 is none either.
                (0..300).for_each(|k| as_floats_mut(&mut w1)[k * row + position] = -0.0 - (k % 2) as f32);
                as_floats_mut(&mut b1)[position] = 0.0;
            }
        }
    }
    for keyword in (0..300).step_by(7) {
        w1[keyword * shape.row_blocks()..(keyword + 1) * shape.row_blocks()].fill(Block::ZERO);
    }
    let provenance = model.provenance().unwrap();
    let weights = Weights { w1: &w1, b1: &b1, w2: &w2, b2: weights.b2 }.into();
    ModelParts { weights, ..model.parts(&provenance) }.to_model().unwrap()
}

#[test]
fn pruning_keeps_every_bit_of_every_score() {
    for model in models() {
        let model = with_dead_parts(&model);
        let mean = model.network().pooling == Pooling::Mean;
        for weights in WeightType::ALL.iter().copied() {
            let whole = Tagger::new(rounded(&model, weights).model);
            let how = Conversion { weights: Some(weights), prune: true, ..Conversion::default() };
            let pruned = convert(&model, how, NONE).unwrap();
            assert!(pruned.pruned_units > 0, "{:?}", model.network());
            assert_eq!(pruned.pruned_keywords, if mean { 0 } else { 43 });
            let pruned = Tagger::new(pruned.model);
            assert!(pruned.model().network().shape.hidden() < 37 && pruned.model().byte_len() < whole.model().byte_len());
            let (mut a, mut b) = (vec![0.0; whole.tags().len()], vec![0.0; whole.tags().len()]);
            for ids in items() {
                let keywords: Vec<String> = ids.iter().map(|id| format!("k{id}")).collect();
                let words = || keywords.iter().map(String::as_str);
                whole.score_keywords(words(), &mut whole.scratch(), &mut a).unwrap();
                let counts = pruned.score_keywords(words(), &mut pruned.scratch(), &mut b).unwrap();
                assert_eq!(bits(&a), bits(&b), "{weights}");
                assert_eq!(counts.unknown, ids.iter().filter(|id| !mean && **id % 7 == 0).count());
            }
            // Nothing more is to be found.
            let again = convert(pruned.model(), Conversion { prune: true, ..Conversion::default() }, NONE).unwrap();
            assert_eq!((again.pruned_units, again.pruned_keywords), (0, 0));
        }
    }
}

/// Units that some set of keywords switches on stay, however rare that is.
#[test]
fn what_can_fire_stays() {
    let prune = |model: &Model| {
        let pruned = convert(model, Conversion { prune: true, ..Conversion::default() }, NONE).unwrap();
        (pruned.pruned_units, pruned.pruned_keywords)
    };
    for (activation, w1, expected) in [
        (Activation::Relu, [-1.0, 1e-30], (0, 0)),
        (Activation::Relu, [-1.0, 0.0], (1, 2)),
        (Activation::Trec(1.0), [0.5, 0.5], (1, 2)),
        (Activation::Trec(1.0), [0.5, 0.500_001], (0, 0)),
        (Activation::Tlin(1.0), [-0.6, -0.6], (0, 0)),
        (Activation::Tlin(1.0), [-0.6, 0.6], (1, 2)),
        (Activation::Identity, [-1.0, 0.0], (0, 1)),
        (Activation::Sigmoid, [-1.0, -2.0], (0, 0)),
    ] {
        assert_eq!(prune(&one_unit(activation, &w1, 1.0)), expected, "{activation} {w1:?}");
        assert_eq!(prune(&one_unit(activation, &w1, 0.0)).0, 1);
    }
}

/// Sums of integers are exact as floats up to so many.
#[test]
fn sets_of_more_integers_than_add_up_exactly_are_errors() {
    let model = pooled(Pooling::Sum, 131_073, 1, &[1], OutputLayout::TagMajor);
    let ids: Vec<u32> = (0..131_073).collect();
    let tagger = Tagger::new(rounded(&model, WeightType::I8).model);
    let (mut scratch, mut score) = (tagger.scratch(), [0.0]);
    let error = tagger.score(&ids, &mut scratch, &mut score).unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 131_072, .. }), "{error}");
    tagger.score_batch(&ids, &[0, 1, ids.len()], &mut scratch, &mut [0.0; 2]).unwrap();
    Tagger::new(model).score(&ids, &mut scratch, &mut score).unwrap();
}
