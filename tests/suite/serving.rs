//! Serving: the signature, groups, batches, many threads, no allocation.

use std::sync::OnceLock;
use std::time::Duration;

use tagomatic::aligned::{Block, LANES, as_floats_mut};
use tagomatic::calibration::{Calibration, Curve, Knot};
use tagomatic::counters::Counters;
use tagomatic::distribution::{LogitDistribution, ScoreDistribution};
use tagomatic::drift::Drift;
use tagomatic::format::Extensions;
use tagomatic::network::{Activation, Network, OutputLayout, Pooling, Shape, Weights};
use tagomatic::rng::{Parameter, Philox};
use tagomatic::selection::{MinScore, Selection};
use tagomatic::speed::measure;
use tagomatic::{Error, KeywordCounts, Level, Model, ModelParts, Provenance, Tagger, Tags, Vocabulary};

use super::allocations::{self, Allocations};

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

/// A model with random weights: nothing of it depends on training or on the platform.
fn model(keywords: usize, hidden: usize, group_tags: &[usize], layout: OutputLayout) -> Model {
    pooled(Pooling::Sum, keywords, hidden, group_tags, layout)
}

pub(super) fn pooled(pooling: Pooling, keywords: usize, hidden: usize, group_tags: &[usize], layout: OutputLayout) -> Model {
    let shape = Shape::new(keywords, hidden, group_tags, layout).unwrap();
    let rng = Philox::new(42);
    let fill = |parameter, radius, blocks: &mut [Block], indices: &mut dyn Iterator<Item = usize>| {
        for (n, index) in indices.enumerate() {
            let mut value = [0.0];
            rng.uniform(parameter, radius, n as u64, &mut value);
            as_floats_mut(blocks)[index] = value[0];
        }
    };
    let row = shape.row_blocks() * LANES;
    let mut w1 = vec![Block::ZERO; shape.w1_blocks()];
    let units: Vec<usize> =
        shape.groups().iter().flat_map(|group| (0..hidden).map(move |unit| group.hidden.start * LANES + unit)).collect();
    fill(Parameter::W1, 0.5, &mut w1, &mut (0..keywords).flat_map(|k| units.iter().map(move |unit| k * row + unit)));
    let mut b1 = vec![Block::ZERO; shape.row_blocks()];
    fill(Parameter::Decoder, 0.5, &mut b1, &mut units.iter().copied());
    let mut w2 = vec![Block::ZERO; shape.w2_blocks()];
    let weights = shape.groups().iter().flat_map(|group| {
        let shape = &shape;
        (0..hidden).flat_map(move |unit| (0..group.tags.len()).map(move |tag| shape.w2_index(group, unit, tag)))
    });
    fill(Parameter::W2, 0.5, &mut w2, &mut weights.collect::<Vec<_>>().into_iter());
    let mut b2 = vec![Block::ZERO; shape.slot_blocks()];
    fill(Parameter::TagVectors, 2.0, &mut b2, &mut (0..shape.tags()).map(|tag| shape.slot(tag)));
    ModelParts {
        network: &Network { shape: shape.clone(), pooling, activation: Activation::Relu, eps: 1e-4 },
        weights: Weights { w1: &w1, b1: &b1, w2: &w2, b2: &b2 }.into(),
        vocabulary: Vocabulary::from_keywords(names("k", keywords)).unwrap().view(),
        tags: &Tags::from_names(names("t", shape.tags())).unwrap(),
        provenance: &Provenance::new(),
        extensions: &Extensions::default(),
    }
    .to_model()
    .unwrap()
}

pub(super) fn copy(model: &Model) -> Model {
    Model::from_bytes(model.bytes()).unwrap()
}

pub(super) fn bits(scores: &[f32]) -> Vec<u32> {
    scores.iter().map(|score| score.to_bits()).collect()
}

/// The promise in one number: these hashes of scores are the same on every machine, operating system and level. A change of any
/// of them is a change of what users' models answer.
#[test]
fn signatures_are_those_of_every_other_machine() {
    for (hidden, group_tags, layout, signature) in [
        (64, &[1][..], OutputLayout::TagMajor, SIGNATURES[0]),
        (100, &[200], OutputLayout::Panels, SIGNATURES[1]),
        (24, &[3, 70, 1], OutputLayout::Panels, SIGNATURES[2]),
        (0, &[3], OutputLayout::Panels, SIGNATURES[3]),
    ] {
        let model = model(500, hidden, group_tags, layout);
        for level in Level::available() {
            let found = Tagger::with_level(copy(&model), level).unwrap().signature().unwrap();
            assert_eq!(format!("{found:016x}"), signature, "{hidden} hidden units, tags {group_tags:?}, at {level}");
        }
    }
}

const SIGNATURES: [&str; 4] = ["5ee56eec80b38835", "9cd9175de76be750", "e11a0ce6952a6cdd", "9bd7873a8e0cc008"];

/// The same model with a map of each kind for its tags in turn.
pub(super) fn calibrated(model: &Model) -> Model {
    let knot = |from: f32, to: f32| Knot { from, to };
    let curves: Vec<Curve> = (0..model.tags().len())
        .map(|tag| match tag % 3 {
            0 => Curve::identity(),
            1 => Curve::linear(0.7, -0.3),
            _ => Curve { slope: 1.5, knots: (-4..5).map(|i| knot(i as f32 * 0.9, i as f32 * 1.1 + tag as f32)).collect() },
        })
        .collect();
    let extensions = Extensions { calibration: Some(Calibration::new(&curves).unwrap()), ..model.extensions().clone() };
    ModelParts { extensions: &extensions, ..model.parts(&model.provenance().unwrap()) }.to_model().unwrap()
}

#[test]
fn speed_is_not_measured_on_items_that_are_none() {
    let tagger = Tagger::new(model(5, 3, &[2], OutputLayout::TagMajor));
    for starts in [&[1, 3][..], &[0, 2], &[0, 4], &[0, 3, 2, 3], &[0, usize::MAX, 3]] {
        let error = measure(&tagger, &[0, 1, 2], starts, Duration::ZERO).unwrap_err();
        assert!(matches!(error, Error::Length { .. }), "{starts:?}: {error}");
    }
    assert!(matches!(measure(&tagger, &[], &[0], Duration::ZERO), Err(Error::NoData { .. })));
    assert!(measure(&tagger, &[0, 1, 2], &[0, 1, 3], Duration::ZERO).is_ok());
}

#[test]
fn calibrated_scores_are_those_of_mapped_logits_on_every_level() {
    for (hidden, group_tags, layout, signature) in
        [(40, &[70][..], OutputLayout::Panels, CALIBRATED[0]), (20, &[2, 3], OutputLayout::TagMajor, CALIBRATED[1])]
    {
        let model = model(300, hidden, group_tags, layout);
        let plain = Tagger::new(copy(&model));
        let (mut scratch, tags) = (plain.scratch(), model.tags().len());
        let items: Vec<Vec<u32>> = (0..60).map(|i| (0..i % 9).map(|n| (i * 37 + n * 11) % 300).collect()).collect();
        let starts: Vec<usize> = std::iter::once(0)
            .chain(items.iter().scan(0, |end, item| {
                Some({
                    *end += item.len();
                    *end
                })
            }))
            .collect();
        for level in Level::available() {
            let tagger = Tagger::with_level(calibrated(&model), level).unwrap();
            let mut batch = vec![0.0; items.len() * tags];
            tagger.score_batch(&items.concat(), &starts, &mut scratch, &mut batch).unwrap();
            let (mut logits, mut scores) = (vec![0.0; tags], vec![0.0; tags]);
            for (item, batch) in items.iter().zip(batch.chunks(tags)) {
                tagger.score(item, &mut scratch, &mut scores).unwrap();
                assert_eq!(bits(&scores), bits(batch));
                // Logits are the network's; the map comes after them.
                plain.logits(item, &mut scratch, &mut logits).unwrap();
                for (tag, (&logit, &score)) in logits.iter().zip(&scores).enumerate() {
                    let mapped = f64::from(tagger.calibration().unwrap().curve(tag).map(logit));
                    let expected = (1.0 / (1.0 + (-mapped).exp())).clamp(1e-4, 1.0 - 1e-4);
                    assert!((f64::from(score) - expected).abs() < 1e-6, "{level} {tag}: {score} {expected}");
                }
                tagger.logits(item, &mut scratch, &mut scores).unwrap();
                assert_eq!(bits(&scores), bits(&logits));
            }
            assert_eq!(format!("{:016x}", tagger.signature().unwrap()), signature, "{group_tags:?} at {level}");
        }
    }
}

const CALIBRATED: [&str; 2] = ["f1668686f1a1ae62", "018091cb606050fd"];

/// The mean of no rows is 0 and of one row the row, to the bit; and a batch answers as its items do.
#[test]
fn keywords_are_pooled_by_their_mean() {
    for (layout, tags) in [(OutputLayout::TagMajor, 9), (OutputLayout::Panels, 70)] {
        let [sum, mean] = [Pooling::Sum, Pooling::Mean].map(|pooling| Tagger::new(pooled(pooling, 40, 20, &[tags], layout)));
        let hidden = |tagger: &Tagger, ids: &[u32]| {
            let mut hidden = vec![0.0; 20];
            tagger.hidden(ids, &mut tagger.scratch(), &mut hidden).unwrap();
            hidden
        };
        for ids in [&[][..], &[7]] {
            assert_eq!(hidden(&mean, ids), hidden(&sum, ids));
        }
        let model = mean.model();
        let (w1, b1) = (
            tagomatic::aligned::as_floats(model.weights().as_f32().unwrap().w1),
            tagomatic::aligned::as_floats(model.weights().b1),
        );
        for (unit, h) in hidden(&mean, &[3, 8, 9, 30]).into_iter().enumerate() {
            let rows: f64 = [3, 8, 9, 30].map(|id| f64::from(w1[id * 32 + unit])).iter().sum();
            let expected = (f64::from(b1[unit]) + rows / 4.0).max(0.0);
            assert!((f64::from(h) - expected).abs() < 1e-6, "{h} {expected}");
        }
        let (starts, ids) = ([0, 0, 1, 5], [7, 3, 8, 9, 30]);
        let mut batch = vec![0.0; 3 * tags];
        mean.score_batch(&ids, &starts, &mut mean.scratch(), &mut batch).unwrap();
        for (item, scores) in batch.chunks_exact(tags).enumerate() {
            let mut alone = vec![0.0; tags];
            mean.score(&ids[starts[item]..starts[item + 1]], &mut mean.scratch(), &mut alone).unwrap();
            assert_eq!(bits(scores), bits(&alone));
        }
    }
}

/// A bank of networks answers as each network by itself.
#[test]
fn groups_are_networks_of_their_own() {
    for (layout, group_tags) in [(OutputLayout::TagMajor, [1, 2, 1]), (OutputLayout::Panels, [5, 70, 17])] {
        let bank = model(40, 20, &group_tags, layout);
        let shape = bank.network().shape.clone();
        let weights = bank.weights().as_f32().unwrap();
        let tagger = Tagger::new(copy(&bank));
        let (mut scratch, mut scores) = (tagger.scratch(), vec![0.0; shape.tags()]);
        for ids in [&[][..], &[3], &[0, 7, 8, 39]] {
            tagger.score(ids, &mut scratch, &mut scores).unwrap();
            for group in shape.groups() {
                let own = Shape::new(40, 20, &[group.tags.len()], layout).unwrap();
                let w1: Vec<Block> =
                    (0..40).flat_map(|k| weights.w1[k * shape.row_blocks()..][group.hidden.clone()].to_vec()).collect();
                let mut b2 = vec![Block::ZERO; own.slot_blocks()];
                for tag in 0..group.tags.len() {
                    as_floats_mut(&mut b2)[tag] = tagomatic::aligned::as_floats(weights.b2)[shape.slot(group.tags.start + tag)];
                }
                let alone = ModelParts {
                    network: &Network { shape: own.clone(), ..bank.network().clone() },
                    weights: Weights {
                        w1: &w1,
                        b1: &weights.b1[group.hidden.clone()],
                        w2: &weights.w2[group.w2.clone()],
                        b2: &b2,
                    }
                    .into(),
                    vocabulary: bank.vocabulary(),
                    tags: &Tags::from_names(names("t", own.tags())).unwrap(),
                    provenance: &Provenance::new(),
                    extensions: &Extensions::default(),
                };
                let alone = Tagger::new(alone.to_model().unwrap());
                let mut expected = vec![0.0; own.tags()];
                alone.score(ids, &mut alone.scratch(), &mut expected).unwrap();
                assert_eq!(bits(&scores[group.tags.clone()]), bits(&expected));
            }
        }
    }
}

#[test]
fn a_batch_answers_as_its_items_one_by_one() {
    let tagger = Tagger::new(model(100, 33, &[70], OutputLayout::Panels));
    let ids = [5, 9, 70, 1, 99, 98, 97, 96];
    let starts = [0, 3, 3, 5, 8];
    let (mut scratch, mut batch, mut single) = (tagger.scratch(), vec![0.0; 4 * 70], vec![0.0; 70]);
    tagger.score_batch(&ids, &starts, &mut scratch, &mut batch).unwrap();
    for (item, batch) in starts.windows(2).zip(batch.chunks(70)) {
        tagger.score(&ids[item[0]..item[1]], &mut scratch, &mut single).unwrap();
        assert_eq!(bits(batch), bits(&single));
    }
    for bad in [&[0, 9][..], &[0, 5, 3, 8], &[3, 8]] {
        let mut scores = vec![0.0; (bad.len() - 1) * 70];
        assert!(tagger.score_batch(&ids, bad, &mut scratch, &mut scores).is_err(), "{bad:?}");
    }
    assert!(tagger.score_batch(&ids, &starts, &mut scratch, &mut single).is_err());
    tagger.score_batch(&[], &[], &mut scratch, &mut []).unwrap();
}

#[cfg(feature = "parallel")]
#[test]
fn a_batch_in_a_pool_answers_as_alone() {
    let tagger = Tagger::new(model(100, 33, &[70], OutputLayout::Panels));
    let ids: Vec<u32> = (0..600).map(|n| n * 37 % 100).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for items in [0, 1, 2, 100] {
        let starts: Vec<usize> = (0..=items).map(|item| item * 6).collect();
        let (ids, mut expected) = (&ids[..items * 6], vec![0.0; items * 70]);
        tagger.score_batch(ids, &starts, &mut tagger.scratch(), &mut expected).unwrap();
        for parts in [1, 2, 5] {
            let mut scratches = vec![tagger.scratch(); parts];
            let mut scores = vec![0.0; items * 70];
            tagger.score_batch_in(&pool, ids, &starts, &mut scratches, &mut scores).unwrap();
            assert_eq!(bits(&scores), bits(&expected), "{items} items in {parts} parts");
        }
    }
    assert!(tagger.score_batch_in(&pool, &[], &[0], &mut [], &mut []).is_err());
    assert!(tagger.score_batch_in(&pool, &[1, 2], &[0, 2, 1], &mut [tagger.scratch()], &mut [0.0; 140]).is_err());
    tagger.score_batch_in(&pool, &[], &[], &mut [tagger.scratch()], &mut []).unwrap();

    // The first id that no keyword has is told, whoever comes to it, and from inside the pool too.
    let (starts, mut scores): (Vec<usize>, _) = ((0..=100).map(|item| item * 6).collect(), vec![0.0; 7000]);
    let mut bad = ids;
    (bad[590], bad[300]) = (101, 100);
    let expected = "keyword id 100 of item 50 of the batch: expected an id below the model's 100 keywords";
    let alone = tagger.score_batch(&bad, &starts, &mut tagger.scratch(), &mut scores);
    assert_eq!(alone.unwrap_err().to_string(), expected);
    let mut score = || tagger.score_batch_in(&pool, &bad, &starts, &mut vec![tagger.scratch(); 3], &mut scores);
    assert_eq!(score().unwrap_err().to_string(), expected);
    assert_eq!(pool.install(score).unwrap_err().to_string(), expected);
}

#[test]
fn ids_are_a_set() {
    let tagger = Tagger::new(model(50, 16, &[3], OutputLayout::TagMajor));
    let (mut scratch, mut ordered, mut repeated) = (tagger.scratch(), [0.0; 3], [0.0; 3]);
    tagger.score(&[2, 30, 41], &mut scratch, &mut ordered).unwrap();
    tagger.score(&[41, 2, 30, 2, 41], &mut scratch, &mut repeated).unwrap();
    assert_eq!(bits(&ordered), bits(&repeated));
    let counts = tagger.score_keywords(["k41", "nobody", "k2", "k30", "k2"], &mut scratch, &mut repeated).unwrap();
    assert_eq!(counts, KeywordCounts { known: 3, unknown: 1, repeated: 1 });
    assert_eq!(bits(&ordered), bits(&repeated));
    let error = tagger.score(&[50], &mut scratch, &mut ordered);
    assert!(matches!(error, Err(Error::KeywordOutOfRange { id: 50, keywords: 50, .. })));
    assert!(tagger.score(&[1], &mut scratch, &mut [0.0; 2]).is_err());
    let no_units = Tagger::new(model(50, 0, &[3], OutputLayout::TagMajor));
    let error = no_units.score(&[50], &mut no_units.scratch(), &mut ordered);
    assert!(matches!(error, Err(Error::KeywordOutOfRange { .. })), "with nothing to look up, too");
}

#[test]
fn a_scratch_is_of_its_tagger() {
    for pooling in [Pooling::Sum, Pooling::Mean] {
        let taggers = [4, 40].map(|hidden| Tagger::new(pooled(pooling, 5, hidden, &[2], OutputLayout::TagMajor)));
        let scratch = |by: &Tagger, error| {
            assert!(
                matches!(error, Err(Error::Length { what, .. }) if what.starts_with("scratch")),
                "{pooling} {by:?} {error:?}"
            );
        };
        for (tagger, other) in [(&taggers[0], &taggers[1]), (&taggers[1], &taggers[0])] {
            let mut hidden = vec![0.0; tagger.model().network().shape.hidden()];
            scratch(other, tagger.score(&[1], &mut other.scratch(), &mut [0.0; 2]));
            scratch(other, tagger.logits(&[1], &mut other.scratch(), &mut [0.0; 2]));
            scratch(other, tagger.hidden(&[1], &mut other.scratch(), &mut hidden));
        }
    }
}

#[test]
fn one_hidden_unit_or_none_is_enough() {
    let tagger = Tagger::new(model(5, 1, &[2, 3], OutputLayout::TagMajor));
    let (mut scratch, mut hidden, mut logits) = (tagger.scratch(), [0.0; 2], [0.0; 5]);
    tagger.hidden(&[1, 3], &mut scratch, &mut hidden).unwrap();
    tagger.logits(&[1, 3], &mut scratch, &mut logits).unwrap();
    let Weights { w2, b2, .. } = tagger.model().weights().as_f32().unwrap();
    for (tag, logit) in logits.into_iter().enumerate() {
        assert_eq!(logit, hidden[usize::from(tag >= 2)] * w2[tag].0[0] + b2[0].0[tag], "tag {tag}");
    }
    for pooling in [Pooling::Sum, Pooling::Mean] {
        let none = Tagger::new(pooled(pooling, 5, 0, &[2], OutputLayout::TagMajor));
        let mut scratch = none.scratch();
        let unknown = |error| assert!(matches!(error, Err(Error::KeywordOutOfRange { id: 5, keywords: 5, .. })), "{pooling}");
        unknown(none.score(&[5], &mut scratch, &mut [0.0; 2]));
        unknown(none.hidden(&[5], &mut scratch, &mut []));
    }
}

#[test]
fn scoring_allocates_nothing() {
    for (group_tags, layout) in [(&[1][..], OutputLayout::TagMajor), (&[70, 3], OutputLayout::Panels)] {
        let plain = || model(200, 64, group_tags, layout);
        let at = |level| [calibrated(&plain()), plain()].map(|model| Tagger::with_level(model, level).unwrap());
        for tagger in Level::available().flat_map(at) {
            let (mut scratch, mut scores, mut selected) = (tagger.scratch(), vec![0.0; tagger.tags().len()], Vec::new());
            let best = Selection { min_score: MinScore::Fixed(0.0), top_k: Some(3), min_known: 2 };
            best.select(tagger.tags(), &scores, 3, &mut selected).unwrap();
            let ((), allocated) = allocations::of(|| {
                for first in 0..100 {
                    tagger.score(&[first, first + 1, first + 90], &mut scratch, &mut scores).unwrap();
                    tagger.score(&[first + 90, first, first], &mut scratch, &mut scores).unwrap();
                    tagger.score_keywords(["k3", "k17", "unknown", "k3"], &mut scratch, &mut scores).unwrap();
                    let mut unknown = "";
                    tagger
                        .score_keywords_with(["k3", "unknown"], &mut scratch, &mut scores, |keyword| unknown = keyword)
                        .unwrap();
                    assert_eq!(unknown, "unknown");
                    best.select(tagger.tags(), &scores, 3, &mut selected).unwrap();
                    Selection::default().select(tagger.tags(), &scores, 3, &mut selected).unwrap();
                }
            });
            assert_eq!(allocated, Allocations::default());
        }
    }
}

#[test]
fn scratch_for_a_huge_layer_has_room_for_one_item() {
    for group_tags in [&[1][..], &[1, 1, 1]] {
        let hidden = (1 << 20) / group_tags.len();
        let tagger = Tagger::new(model(1, hidden, group_tags, OutputLayout::Panels));
        let (mut scratch, allocated) = allocations::of(|| tagger.scratch());
        assert!(allocated.largest <= (4 << 20) + 1024 && allocated.count <= 8, "{allocated:?}");
        let mut scores = vec![0.0; group_tags.len()];
        tagger.score(&[0], &mut scratch, &mut scores).unwrap();
        tagger.score_batch(&[0, 0], &[0, 1, 1, 2], &mut scratch, &mut vec![0.0; 3 * group_tags.len()]).unwrap();
    }
}

#[test]
fn counting_allocates_nothing() {
    let plain = model(200, 64, &[70], OutputLayout::Panels);
    let known = LogitDistribution::of(vec![-2.0, -1.0, 0.0, 1.0]);
    let scores = ScoreDistribution::new(vec![known; 70]).unwrap();
    let extensions = Extensions { scores: Some(scores), ..Extensions::default() };
    let provenance = plain.provenance().unwrap();
    let tagger = Tagger::new(ModelParts { extensions: &extensions, ..plain.parts(&provenance) }.to_model().unwrap());
    let (mut scratch, mut scores) = (tagger.scratch(), vec![0.0; 70]);
    let (mut counters, mut drift) = (Counters::default(), Drift::new(&tagger).unwrap());
    let ((psi, p99), allocated) = allocations::of(|| {
        for _ in 0..100 {
            let start = std::time::Instant::now();
            let known = tagger.score_keywords(["k3", "unknown"], &mut scratch, &mut scores).unwrap();
            counters.record(known, start.elapsed());
            drift.record(&scores).unwrap();
        }
        (drift.psi(69), counters.latency.quantile(0.99))
    });
    assert_eq!(allocated, Allocations::default());
    assert_eq!((counters.items, counters.known, counters.unknown, counters.empty, drift.items()), (100, 100, 100, 0, 100));
    assert!(psi.is_some_and(|psi| psi > 1.0) && !p99.is_zero());
}

/// A model in the program's own bytes is served from where it is.
#[test]
fn an_included_model_is_not_copied() {
    let bytes = tagomatic::include_model!("../../models/movies.tagm");
    let model = Model::from_static(bytes).unwrap();
    assert_eq!(model.bytes().as_ptr(), bytes.as_ptr());
    assert_eq!(model.bytes(), std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/models/movies.tagm")).unwrap());
    // Bytes that start elsewhere are copied.
    static ODD: OnceLock<Vec<u8>> = OnceLock::new();
    let odd: &'static [u8] = ODD.get_or_init(|| [&[0], bytes].concat());
    let copied = Model::from_static(&odd[1..]).unwrap();
    assert_ne!(copied.bytes().as_ptr(), odd[1..].as_ptr());
    assert_eq!(copied.bytes(), bytes);
}

#[test]
fn many_threads_share_one_tagger() {
    let tagger = Tagger::new(model(300, 48, &[20], OutputLayout::Panels));
    let run = || {
        let (mut scratch, mut scores, mut all) = (tagger.scratch(), [0.0; 20], Vec::new());
        for id in 0..250 {
            tagger.score(&[id, id + 7, id + 50], &mut scratch, &mut scores).unwrap();
            all.extend(bits(&scores));
        }
        all
    };
    let expected = run();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), expected);
        }
    });
}
