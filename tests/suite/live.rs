//! A model is replaced while it serves.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tagomatic::aligned::Block;
use tagomatic::format::Extensions;
use tagomatic::live::{Contract, LiveTagger, Version};
use tagomatic::network::{Activation, Network, OutputLayout, Pooling, Shape, Weights};
use tagomatic::{Error, Level, Model, ModelParts, Provenance, Tagger, Tags, Vocabulary};

/// A model whose every score is the sigmoid of `bias`: without keywords' weights, so that a torn answer would show.
fn model(bias: f32, keywords: &[&str], tags: &[&str]) -> Model {
    let shape = Shape::new(keywords.len(), 16, &[tags.len()], OutputLayout::Panels).unwrap();
    let zeros = |blocks| vec![Block::ZERO; blocks];
    let mut b2 = zeros(shape.slot_blocks());
    tagomatic::aligned::as_floats_mut(&mut b2)[..tags.len()].fill(bias);
    let (w1, b1, w2) = (zeros(shape.w1_blocks()), zeros(shape.row_blocks()), zeros(shape.w2_blocks()));
    ModelParts {
        weights: Weights { w1: &w1, b1: &b1, w2: &w2, b2: &b2 }.into(),
        network: &Network { shape, pooling: Pooling::Sum, activation: Activation::Relu, eps: 1e-4 },
        vocabulary: Vocabulary::from_keywords(keywords).unwrap().view(),
        tags: &Tags::from_names(tags.iter().copied()).unwrap(),
        provenance: &Provenance::new(),
        extensions: &Extensions::default(),
    }
    .to_model()
    .unwrap()
}

const KEYWORDS: [&str; 3] = ["sea", "war", "love"];
const TAGS: [&str; 2] = ["a", "b"];

#[test]
fn a_new_version_keeps_the_contract_or_the_old_one_stays() {
    let first = || model(0.0, &KEYWORDS, &TAGS);
    let longer = || model(1.0, &["sea", "war", "love", "sky"], &["a", "b", "c"]);
    let cases: [(Model, [bool; 3], &str); 6] = [
        (model(1.0, &KEYWORDS, &TAGS), [true, true, true], ""),
        (longer(), [false, true, true], "keywords: expected 3"),
        (model(1.0, &KEYWORDS, &["a"]), [false, false, true], "tags: expected"),
        (model(1.0, &["sea", "love", "war"], &TAGS), [false, false, true], "keywords: expected \"war\" with id 1"),
        (model(1.0, &["sea", "warl", "ove"], &TAGS), [false, false, true], "keywords: expected \"war\" with id 1"),
        (model(1.0, &KEYWORDS, &["a", "c"]), [false, false, true], "tags: expected \"b\" with id 1"),
    ];
    for (new, allowed, words) in cases {
        for (contract, allowed) in [Contract::Same, Contract::Extends, Contract::Any].into_iter().zip(allowed) {
            let live = LiveTagger::with_level(first(), contract, Level::Scalar).unwrap();
            let mut reader = live.reader();
            match live.publish(Model::from_bytes(new.bytes()).unwrap()) {
                Ok(generation) => assert!(allowed && generation == 2, "{contract:?} {words}"),
                Err(error) => {
                    assert!(!allowed && matches!(error, Error::Contract { .. }), "{contract:?} {error}");
                    assert!(error.to_string().contains(words) || contract == Contract::Extends, "{error}");
                }
            }
            let (version, scratch) = reader.newest();
            assert_eq!((version.generation(), version.tagger().level()), (1 + u64::from(allowed), Level::Scalar));
            let mut scores = vec![0.0; version.tagger().tags().len()];
            version.tagger().score(&[0, 1], scratch, &mut scores).unwrap();
            assert_eq!(scores[0] > 0.6, allowed);
        }
    }
}

#[test]
fn a_broken_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.tagm");
    let live = LiveTagger::new(model(0.0, &KEYWORDS, &TAGS), Contract::Same);
    assert!(matches!(live.reload(&path), Err(Error::Io { .. })));
    let bytes = model(1.0, &KEYWORDS, &TAGS).bytes().to_vec();
    std::fs::write(&path, &bytes[..bytes.len() - 64]).unwrap();
    assert!(matches!(live.reload(&path), Err(Error::Model { .. })));
    assert_eq!(live.newest().generation(), 1);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(live.reload(&path).unwrap(), 2);
}

/// Threads score without a pause while files with new versions come, broken ones among them: every answer is that of one version,
/// versions never go back, and old ones are freed.
#[test]
fn readers_never_see_half_a_version() {
    const SWAPS: u64 = 100;
    const ANSWERS: u64 = 100_000;
    let bias = |generation: u64| generation as f32 / 64.0 - 1.0;
    // Versions alternate between two numbers of tags, so a scratch of the one does not fit the other.
    let of = |generation: u64| model(bias(generation), &KEYWORDS, if generation % 2 == 1 { &TAGS } else { &["a", "b", "c"] });
    let live = LiveTagger::new(of(1), Contract::Any);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.tagm");
    let (answers, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut reader = live.reader();
                let (mut scores, mut last) = (vec![0.0; 3], 0);
                while !done.load(Ordering::Relaxed) {
                    let (version, scratch) = reader.newest();
                    let scores = &mut scores[..version.tagger().tags().len()];
                    version.tagger().score(&[0, 2], scratch, scores).unwrap();
                    let expected = 1.0 / (1.0 + (-bias(version.generation())).exp());
                    assert!(scores.iter().all(|score| (score - expected).abs() < 1e-6));
                    assert!(version.generation() >= last);
                    last = version.generation();
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut old: Vec<Weak<_>> = Vec::new();
        for swap in 1..=SWAPS {
            while answers.load(Ordering::Relaxed) < swap * ANSWERS / SWAPS {
                std::thread::yield_now();
            }
            old.push(Arc::downgrade(&live.newest()));
            let new = of(swap + 1);
            let mut broken = new.bytes().to_vec();
            let place = swap as usize * 97 % broken.len();
            broken[place] ^= 1;
            std::fs::write(&path, &broken).unwrap();
            assert!(live.reload(&path).is_err(), "byte {place}");
            new.save(&path).unwrap();
            assert_eq!(live.reload(&path).unwrap(), swap + 1);
        }
        // Three readers have one each at most, and the last one is held here for a while.
        assert!(old.iter().filter(|old| old.upgrade().is_some()).count() <= 4);
        done.store(true, Ordering::Relaxed);
        // The readers are gone when the scope ends; `old` is looked at after that.
        old
    })
    .into_iter()
    .for_each(|old| {
        live.free_unused();
        assert!(old.upgrade().is_none());
    });
    assert_eq!(live.newest().tagger().signature().unwrap(), Tagger::new(of(SWAPS + 1)).signature().unwrap());
}

/// The one that is served at the end is the file that is there at the end.
#[test]
fn of_reloads_at_a_time_the_newest_file_is_served() {
    let live = LiveTagger::new(model(0.0, &KEYWORDS, &TAGS), Contract::Same);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.tagm");
    let saved = Mutex::new(0.0);
    for _ in 0..200 {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    {
                        let mut saved = saved.lock().unwrap();
                        *saved += 0.001;
                        model(*saved, &KEYWORDS, &TAGS).save(&path).unwrap();
                    }
                    live.reload(&path).unwrap();
                });
            }
        });
        let newest = live.newest();
        let served = tagomatic::aligned::as_floats(newest.tagger().model().weights().b2)[0];
        assert_eq!(served, *saved.lock().unwrap());
    }
    let length = std::fs::metadata(&path).unwrap().len();
    assert!(matches!(live.reload_within(&path, length - 1), Err(Error::Model { section: "file", .. })));
    assert_eq!((live.reload_within(&path, length).unwrap(), live.generation()), (802, 802));
}

/// A reader goes where it likes, and one that waits does not hold a model.
#[test]
fn a_reader_owns_what_it_needs_and_lets_go_of_it() {
    let live = Arc::new(LiveTagger::new(model(0.0, &KEYWORDS, &TAGS), Contract::Any));
    let mut reader = live.reader();
    assert_eq!(reader.version().map(Version::generation), Some(1));
    let first = Arc::downgrade(&live.newest());
    reader.release();
    assert!(reader.version().is_none());
    // Nothing has changed: it has the same one again.
    assert_eq!(reader.newest().0.generation(), 1);
    reader.release();
    live.publish(model(1.0, &KEYWORDS, &["a", "b", "c"])).unwrap();
    assert!(first.upgrade().is_none());
    let publisher = Arc::clone(&live);
    let worker = std::thread::spawn(move || {
        let (version, scratch) = reader.newest();
        version.tagger().score(&[0], scratch, &mut [0.0; 3]).unwrap();
        assert_eq!(publisher.publish(model(2.0, &KEYWORDS, &TAGS)).unwrap(), 3);
        reader
    });
    let mut reader = worker.join().unwrap();
    assert_eq!((reader.version().map(Version::generation), live.free_unused()), (Some(2), 1));
    // It serves on when the tagger is gone.
    drop(live);
    let (version, scratch) = reader.newest();
    version.tagger().score(&[0], scratch, &mut [0.0; 2]).unwrap();
    assert_eq!(version.generation(), 3);
}

/// A request must not pay for freeing a model.
#[test]
fn a_version_is_freed_by_who_publishes_and_not_by_who_reads() {
    let live = LiveTagger::new(model(0.0, &KEYWORDS, &TAGS), Contract::Same);
    let mut reader = live.reader();
    let first = Arc::downgrade(&live.newest());
    live.publish(model(1.0, &KEYWORDS, &TAGS)).unwrap();
    assert_eq!(live.free_unused(), 1);
    assert_eq!(reader.newest().0.generation(), 2);
    assert!(first.upgrade().is_some());
    assert_eq!(live.free_unused(), 0);
    assert!(first.upgrade().is_none());
    let second = Arc::downgrade(&live.newest());
    live.publish(model(2.0, &KEYWORDS, &TAGS)).unwrap();
    reader.newest();
    live.publish(model(3.0, &KEYWORDS, &TAGS)).unwrap();
    assert!(second.upgrade().is_none());
}
