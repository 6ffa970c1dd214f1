//! Models made of models, banks, and tags taught by examples: what the others score stays the same, bit for bit.

use std::ops::ControlFlow;

use tagomatic::calibration::{Calibration, Curve};
use tagomatic::data::{Corpus, Dataset, Item};
use tagomatic::edit::{Renumbered, merge, remove, rename};
use tagomatic::format::Extensions;
use tagomatic::network::OutputLayout;
use tagomatic::rng::Philox;
use tagomatic::rules::{Labeller, Rule, Rules, Term, Withhold};
use tagomatic::teach::{Catalogue, Taught};
use tagomatic::train::recipe::{TrainingSet, Validation};
use tagomatic::train::{DecayMode, Negatives, OptimizerKind, TrainConfig, pool};
use tagomatic::{Error, Level, Model, ModelParts, Tag, Tagger, Tags};

const SPLIT: Validation<'_> = Validation::Split { fraction: 0.2, refit: true };

fn items(tags: u32) -> Vec<Item> {
    let item = |i: u32| {
        let words = Philox::new(3).block([i, 0, 0, 60]);
        let keywords: Vec<u32> = words.iter().map(|word| word % 30).collect();
        let mut item = Item { keywords: keywords.iter().map(|k| format!("k{k}")).collect(), ..Item::default() };
        item.tags =
            (0..tags).filter(|tag| keywords.iter().any(|k| k % 11 == tag % 11)).map(|tag| format!("t{tag:02}")).collect();
        item
    };
    (0..150).map(item).collect()
}

fn set(tags: u32) -> TrainingSet {
    let mut corpus = Corpus::new();
    items(tags).iter().for_each(|item| corpus.push(item).unwrap());
    TrainingSet::new(corpus, 1).unwrap()
}

fn config() -> TrainConfig {
    TrainConfig { hidden: 5, average: 2, epochs: 3, ..TrainConfig::per_tag() }
}

fn bank(set: &TrainingSet, tags: &[usize], threads: usize, level: Level) -> Model {
    let pool = pool(threads).unwrap();
    set.train_bank(&config(), SPLIT, tags, level, pool.as_deref(), &|_| ControlFlow::Continue(())).unwrap().0
}

/// A net that the tags share; `hidden` units.
fn shared(set: &TrainingSet, hidden: usize) -> Model {
    let config = TrainConfig { hidden, epochs: 2, ..TrainConfig::default() };
    set.train(config, Validation::None, Level::best(), None, &mut |_, _| ControlFlow::Continue(())).unwrap().0
}

/// The bits of all scores of a tag.
fn bits(model: &Model, level: Level, set: &TrainingSet, tag: &str) -> Vec<u32> {
    let tag = model.tags().get(tag).unwrap();
    let tagger = Tagger::with_level(Model::from_bytes(model.bytes()).unwrap(), level).unwrap();
    let (mut scratch, mut scores) = (tagger.scratch(), vec![0.0; tagger.tags().len()]);
    let mut of_item = |i| {
        tagger.score(set.dataset().keywords(i), &mut scratch, &mut scores).unwrap();
        scores[tag].to_bits()
    };
    (0..set.dataset().len()).map(&mut of_item).collect()
}

fn names(model: &Model) -> Vec<String> {
    model.tags().iter().map(|tag| tag.name.clone()).collect()
}

/// A bank, and shared nets of both layouts, one of them with more than a panel of tags.
fn models() -> Vec<(TrainingSet, Model)> {
    let few = set(3);
    let groups = bank(&few, &[0, 1, 2], 1, Level::best());
    let mut models = vec![(few.clone(), groups), (few.clone(), shared(&few, 20))];
    for tags in [9, 64, 70] {
        let many = set(tags);
        let model = shared(&many, 20);
        assert_eq!(model.network().shape.layout(), OutputLayout::Panels);
        models.push((many, model));
    }
    // Of some, scores are calibrated.
    let calibrated = |model: &Model| {
        let curves: Vec<Curve> = (0..model.tags().len()).map(|tag| Curve::linear(0.5 + tag as f32 / 9.0, 0.25)).collect();
        let extensions = Extensions { calibration: Some(Calibration::new(&curves).unwrap()), ..Extensions::default() };
        let provenance = model.provenance().unwrap();
        ModelParts { extensions: &extensions, ..model.parts(&provenance) }.to_model().unwrap()
    };
    for (_, model) in models.iter_mut().step_by(2) {
        *model = calibrated(model);
    }
    models
}

#[test]
fn a_bank_is_the_same_bytes_together_apart_and_in_any_order() {
    let set = set(6);
    let all = [0, 1, 2, 3, 4, 5];
    let together = bank(&set, &all, 1, Level::Scalar);
    assert_eq!((together.network().shape.groups().len(), together.tags().next_id()), (6, 6));
    for level in Level::available() {
        assert!(bank(&set, &all, 2, level).bytes() == together.bytes(), "{}", level.name());
    }
    let part = |tags: &[usize]| bank(&set, tags, 1, Level::best());
    let (a, b, c) = (part(&[5]), part(&[0, 3]), part(&[4, 1, 2]));
    assert_eq!(names(&b), ["t00", "t03"]);
    for models in [[&a, &b, &c], [&c, &a, &b]] {
        let merged = merge(&models).unwrap();
        assert!(merged.model.bytes() == together.bytes() && merged.renumbered.is_empty());
    }
    let first = merge(&[&a, &c]).unwrap().model;
    assert!(merge(&[&first, &b]).unwrap().model.bytes() == together.bytes());
    let provenance = together.provenance().unwrap();
    let entries = |key: &str| provenance.get(key).unwrap().split(',').count();
    assert_eq!(["data.tag_counts", "fit.epochs", "fit.valid_log_loss"].map(entries), [6, 6, 6]);
    assert_eq!((provenance.get("train.seed"), provenance.get("data.tags")), (Some("1"), Some("6")));
    // Nothing is left of a tag that is taken out, and the others are as if it had never been.
    let without = remove(&together, &[1, 2, 4]).unwrap();
    assert!(without.bytes() == merge(&[&a, &b]).unwrap().model.bytes());
}

#[test]
fn tags_keep_their_bits_and_ids_when_others_go_or_are_renamed() {
    for (set, model) in models() {
        let count = model.tags().len();
        let gone = [0, count / 2];
        let fewer = remove(&model, &gone).unwrap();
        let renamed = rename(&model, 1, "another name").unwrap();
        assert_eq!((fewer.tags().len(), fewer.tags().next_id()), (count - 2 + usize::from(count / 2 == 0), count as u32));
        assert_eq!(renamed.tags()[1].id, model.tags()[1].id);
        for tag in [1, count - 1].map(|tag| &model.tags()[tag]).into_iter().filter(|tag| tag.id != gone[1] as u32) {
            for level in Level::available() {
                let expected = bits(&model, level, &set, &tag.name);
                assert_eq!(bits(&fewer, level, &set, &tag.name), expected);
                let name = if tag.id == 1 { "another name" } else { &tag.name };
                assert_eq!(bits(&renamed, level, &set, name), expected);
            }
            assert_eq!(fewer.tags()[fewer.tags().get(&tag.name).unwrap()].id, tag.id);
        }
        assert!(matches!(remove(&model, &[count]), Err(Error::Length { .. })));
        assert!(rename(&model, 0, "t01").is_err() && rename(&model, 0, "").is_err());
        let none = remove(&model, &(0..count).collect::<Vec<_>>()).unwrap();
        assert_eq!((none.tags().len(), none.tags().next_id(), none.network().shape.groups().len()), (0, count as u32, 1));
    }
}

#[test]
fn merging_models_of_other_data_renumbers_and_refuses_what_does_not_go_together() {
    let (set, model) = (set(3), shared(&set(3), 20));
    let other = {
        let mut corpus = Corpus::new();
        items(3).iter().take(140).for_each(|item| corpus.push(item).unwrap());
        TrainingSet::new(corpus, 1).unwrap()
    };
    let mut theirs = shared(&set, 20);
    let fails = |models: &[&Model], what: &str| {
        let error = merge(models).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    };
    fails(&[&model, &theirs], "\"t00\"");
    for tag in 0..3 {
        theirs = rename(&theirs, tag, format!("u{tag}")).unwrap();
    }
    // The same data, yet two tags with one id: the first one keeps it.
    let merged = merge(&[&model, &theirs]).unwrap();
    let expected = |tag: &str, old, new| Renumbered { tag: tag.to_owned(), old, new };
    assert_eq!(merged.renumbered, [expected("u0", 0, 3), expected("u1", 1, 4), expected("u2", 2, 5)]);
    assert_eq!(names(&merged.model), ["t00", "t01", "t02", "u0", "u1", "u2"]);
    for level in Level::available() {
        for tag in ["u0", "u2"] {
            assert_eq!(bits(&merged.model, level, &set, tag), bits(&theirs, level, &set, tag));
        }
        assert_eq!(bits(&merged.model, level, &set, "t01"), bits(&model, level, &set, "t01"));
    }
    fails(&[&model, &shared(&set, 21)], "expected 20, found 21");
    fails(&[&model, &shared(&other, 20)], "vocabulary");
    assert!(matches!(merge(&[]), Err(Error::Length { .. })));
}

/// The model with another hash of its data, and with tags of these ids.
fn numbered(model: &Model, data: &str, ids: &[u32], next_id: u32) -> Model {
    let mut provenance = model.provenance().unwrap();
    provenance.insert("data.fingerprint", data).unwrap();
    let tags = model.tags().iter().zip(ids).map(|(tag, &id)| Tag { id, ..tag.clone() }).collect();
    ModelParts { tags: &Tags::new(tags, next_id).unwrap(), ..model.parts(&provenance) }.to_model().unwrap()
}

fn ids(model: &Model) -> Vec<(&str, u32)> {
    model.tags().iter().map(|tag| (tag.name.as_str(), tag.id)).collect()
}

#[test]
fn ids_that_were_in_use_in_a_merged_model_are_not_given_again() {
    let set = set(6);
    let part =
        |tags: &[usize], data: &str, ids: &[u32], next_id| numbered(&bank(&set, tags, 1, Level::best()), data, ids, next_id);
    let (a, b) = (part(&[0, 2, 4], "a", &[0, 1, 2], 3), part(&[1], "b", &[5], 9));
    let merged = merge(&[&a, &b]).unwrap();
    assert_eq!(ids(&merged.model), [("t00", 0), ("t01", 5), ("t02", 1), ("t04", 2)]);
    // In the second model 6 to 8 were in use.
    assert_eq!((merged.model.tags().next_id(), merged.renumbered), (9, vec![]));

    // Which model comes first matters, and the order of the others does not.
    let (c, d) = (part(&[3], "a", &[5], 10), part(&[5], "d", &[9], 12));
    let one = merge(&[&a, &b, &c, &d]).unwrap();
    let renumbered = |tag: &str, old, new| Renumbered { tag: tag.to_owned(), old, new };
    assert_eq!(one.renumbered, [renumbered("t01", 5, 12), renumbered("t05", 9, 13)]);
    assert_eq!(ids(&one.model), [("t00", 0), ("t01", 12), ("t02", 1), ("t03", 5), ("t04", 2), ("t05", 13)]);
    assert_eq!(one.model.tags().next_id(), 14);
    for models in [[&a, &c, &b, &d], [&a, &d, &c, &b], [&a, &b, &d, &c]] {
        let other = merge(&models).unwrap();
        assert!(other.model.bytes() == one.model.bytes() && other.renumbered == one.renumbered);
    }
}

#[test]
fn what_is_told_of_tags_by_their_ids_follows_them() {
    let set = set(6);
    let part = |tags: &[usize], data: &str, told: &[(&str, &str)]| {
        let model = numbered(&bank(&set, tags, 1, Level::best()), data, &[0, 1, 2], 3);
        let mut provenance = model.provenance().unwrap();
        told.iter().for_each(|(key, value)| provenance.insert(*key, *value).unwrap());
        model.parts(&provenance).to_model().unwrap()
    };
    let told = [("taught.1", "mine"), ("tune.tags", "0,1"), ("calibrate.pooled", ""), ("calibrate.tags", "of an old program")];
    let a = part(&[0, 1, 2], "a", &told);
    let told = [("taught.1", "theirs"), ("taught.7", "gone"), ("tune.tags", "1,2,8"), ("calibrate.pooled", "2")];
    let b = part(&[3, 4, 5], "b", &told);
    let of = |model: &Model, key: &str| model.provenance().unwrap().get(key).map(str::to_owned);
    let merged = merge(&[&a, &b]).unwrap().model;
    assert_eq!(ids(&merged)[3..], [("t03", 3), ("t04", 4), ("t05", 5)]);
    let all = |model: &Model| {
        ["taught.1", "taught.4", "taught.7", "tune.tags", "calibrate.pooled", "calibrate.tags"].map(|key| of(model, key))
    };
    let text = |text: &str| Some(text.to_owned());
    let old = text("of an old program");
    assert_eq!(all(&merged), [text("mine"), text("theirs"), None, text("0,1,4,5"), text("5"), old.clone()]);
    // It goes with its tag.
    let fewer = remove(&merged, &[1, 5]).unwrap();
    assert_eq!(all(&fewer), [None, text("theirs"), None, text("0,4"), text(""), old]);
}

fn taught(tagger: &Tagger, dataset: &Dataset, group: usize) -> (Taught, Vec<f32>) {
    let catalogue = Catalogue::new(tagger, dataset, group).unwrap();
    // What tag 0 follows from, as of the keywords `k0`, `k11` and `k22`, but in the ids of the data.
    let has = |i: &u32| dataset.tags(*i as usize).contains(&0);
    let (positives, negatives): (Vec<u32>, Vec<u32>) = (0..60).partition(has);
    let taught = catalogue.teach(&positives, &negatives, 1).unwrap();
    let mut scores = vec![0.0; catalogue.len()];
    catalogue.scores(&taught, &mut scores).unwrap();
    assert!(matches!(catalogue.teach(&[], &negatives, 1), Err(Error::UntrainableTag { .. })));
    assert!(catalogue.teach(&[200], &negatives, 1).is_err() && Catalogue::new(tagger, dataset, 9).is_err());
    (taught, scores)
}

#[test]
fn a_tag_is_taught_the_same_at_every_level_and_the_others_keep_their_bits() {
    for (set, model) in models() {
        let group = model.network().shape.groups().len() - 1;
        let at = |level| {
            let tagger = Tagger::with_level(Model::from_bytes(model.bytes()).unwrap(), level).unwrap();
            taught(&tagger, set.dataset(), group)
        };
        let (expected, scores) = at(Level::Scalar);
        let more = expected.add_to(&model, "new").unwrap();
        let id = more.tags()[more.tags().get("new").unwrap()].id;
        assert_eq!((id, more.tags().next_id()), (model.tags().next_id(), id + 1));
        let measures = expected.measures.unwrap();
        assert!([measures.auc, measures.ap, measures.f1].iter().all(|measure| (0.0..=1.0).contains(measure)), "{measures:?}");
        for level in Level::available() {
            assert_eq!(at(level), (expected.clone(), scores.clone()), "{}", level.name());
            assert_eq!(bits(&more, level, &set, "new"), scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>());
            for tag in [0, model.tags().len() - 1].map(|tag| &model.tags()[tag].name) {
                assert_eq!(bits(&more, level, &set, tag), bits(&model, level, &set, tag), "{tag}");
            }
        }
        // It goes as it came.
        let back = remove(&more, &[more.tags().get("new").unwrap()]).unwrap();
        let (was, is) = (model.weights(), back.weights());
        assert!((was.w1, was.b1, was.w2, was.b2) == (is.w1, is.b1, is.w2, is.b2));
        assert!(expected.add_to(&model, "t00").is_err());
    }
}

#[test]
fn a_withheld_keyword_has_no_effect_on_its_tag_alone() {
    let term = |name: &str| Term::from(name);
    let rule = |name: &str, withheld: &[&str]| Rule {
        name: name.to_owned(),
        withheld: withheld.iter().map(|keyword| term(keyword)).collect(),
        ..Rule::default()
    };
    let rules = Rules::new("r", vec![rule("t00", &["k0"]), rule("t01", &[])], Default::default(), 0).unwrap();
    let (mut labeller, mut corpus) = (Labeller::new(&rules, Withhold::FromTag), Corpus::new());
    for mut item in items(2) {
        labeller.label(&mut item);
        corpus.push(&item).unwrap();
    }
    let set = TrainingSet::with_rules(corpus, 1, &rules).unwrap();
    let model = bank(&set, &[0, 1], 1, Level::best());
    let tagger = Tagger::new(model);
    let (mut scratch, mut with, mut without) = (tagger.scratch(), [0.0; 2], [0.0; 2]);
    tagger.score_keywords(["k0", "k5"], &mut scratch, &mut with).unwrap();
    tagger.score_keywords(["k5"], &mut scratch, &mut without).unwrap();
    assert_eq!(with[0].to_bits(), without[0].to_bits());
    assert_ne!(with[1].to_bits(), without[1].to_bits());
}

#[test]
fn a_bank_that_is_ended_has_the_tags_that_are_done() {
    let set = set(6);
    let ended = |after: usize, threads: usize| {
        let pool = pool(threads).unwrap();
        let observer = |done: tagomatic::train::TagDone<'_>| {
            if done.done >= after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        set.train_bank(&config(), SPLIT, &[0, 1, 2, 3, 4, 5], Level::best(), pool.as_deref(), &observer).unwrap()
    };
    let (model, report) = ended(2, 1);
    assert!(report.interrupted && report.tags.len() == 2);
    assert!(model.bytes() == bank(&set, &[0, 1], 1, Level::best()).bytes());
    assert!(!ended(6, 1).1.interrupted);
    // Nets that other threads are at, one of two averaged perhaps, are left out too.
    let (model, _) = ended(1, 3);
    let done: Vec<usize> = names(&model).iter().map(|name| set.tags().get(name).unwrap()).collect();
    assert!(model.bytes() == bank(&set, &done, 1, Level::best()).bytes());
    let none = set.train_bank(&config(), SPLIT, &[], Level::best(), None, &|_| ControlFlow::Continue(()));
    assert!(matches!(none, Err(Error::NoData { .. })));
}

#[test]
fn a_tag_that_runs_away_is_told_and_the_others_are_kept() {
    let mut corpus = Corpus::new();
    for (i, mut item) in items(1).into_iter().enumerate() {
        let tags = [(i % 2 == 0, "common"), (i % 25 == 3, "also rare"), (i % 30 == 7, "rare"), (i % 3 == 0, "frequent")];
        item.tags = tags.iter().filter(|(has, _)| *has).map(|(_, tag)| (*tag).to_owned()).collect();
        corpus.push(&item).unwrap();
    }
    let set = TrainingSet::new(corpus, 1).unwrap();
    let [also_rare, common, frequent, rare] =
        ["also rare", "common", "frequent", "rare"].map(|tag| set.tags().get(tag).unwrap());
    // Decay against the sign of every step makes weights grow by a constant factor each step; of rare tags there are few.
    let config = TrainConfig {
        average: 2,
        batch: 4,
        epochs: 2,
        optimizer: OptimizerKind::Sgd,
        decay: DecayMode::Coupled,
        l2: 1e3,
        lr: 0.01,
        negatives: Negatives::Sampled(1.0),
        ..config()
    };
    let train = |tags: &[usize], threads: usize| {
        let pool = pool(threads).unwrap();
        set.train_bank(&config, SPLIT, tags, Level::best(), pool.as_deref(), &|_| ControlFlow::Continue(()))
    };
    let (expected, whole) = train(&[also_rare, rare], 1).unwrap();
    assert!(whole.failed.is_empty());
    for threads in [1, 3] {
        let (model, report) = train(&[0, 1, 2, 3], threads).unwrap();
        assert!(model.bytes() == expected.bytes(), "{threads} threads");
        assert_eq!((report.tags.len(), report.interrupted), (2, false));
        let failed: Vec<&str> = report.failed.iter().map(|failure| failure.tag.as_str()).collect();
        assert_eq!(failed, [common, frequent].map(|tag| set.tags()[tag].name.as_str()));
        for failure in &report.failed {
            assert!(matches!(&failure.error, Error::NonFinite { tag: Some(tag), .. } if *tag == failure.tag), "{failure:?}");
        }
        // Of nothing else the error of the first one is what there is to tell.
        let none = train(&[frequent, common], threads).unwrap_err();
        assert!(matches!(&none, Error::NonFinite { tag: Some(tag), .. } if tag == failed[0]), "{none}");
    }
}

/// The program, on a bank and what is made of it.
#[cfg(feature = "cli")]
mod program {
    use super::super::cli::Place;

    #[test]
    fn a_job_array_makes_the_bytes_of_one_job() {
        let place = Place::new();
        let train = "train items.jsonl --objective per-tag --hidden 4 --epochs 3";
        let trained = place.json(&format!("{train} --out all.tagm"));
        assert!(trained["valid"]["macro_auc"].is_f64() && trained["best_epoch"].is_u64());
        place.json(&format!("{train} --only low --out a.tagm"));
        place.json(&format!("{train} --only rare,even --out b.tagm --threads 1"));
        let merged = place.json("tags merge b.tagm a.tagm --out merged.tagm");
        assert_eq!((merged["groups"].as_u64(), merged["renumbered"].as_array().map(Vec::len)), (Some(3), Some(0)));
        let [all, merged] = ["all.tagm", "merged.tagm"].map(|model| std::fs::read(place.path(model)).unwrap());
        assert!(all == merged);
        place.json("tags remove all.tagm even --out two.tagm");
        place.json("tags rename two.tagm rare other --out renamed.tagm");
        let listed = place.json("tags list renamed.tagm");
        let tags: Vec<_> =
            listed["tags"].as_array().unwrap().iter().map(|tag| (tag["tag"].as_str().unwrap(), tag["id"].as_u64())).collect();
        assert_eq!((tags, listed["next_id"].as_u64()), (vec![("low", Some(1)), ("other", Some(2))], Some(3)));

        place.fails(2, "train items.jsonl --only low --out x.tagm", &["--objective per-tag"]);
        place.fails(2, "train items.jsonl --objective per-tag --only x --out x.tagm", &["\"x\""]);
        place.fails(2, "train items.jsonl --objective per-tag --checkpoint c --out x.tagm", &["--checkpoint"]);
        place.fails(1, "tags merge a.tagm a.tagm --out x.tagm", &["a.tagm", "rename or remove"]);
        place.fails(2, "tags remove a.tagm nothing LOW no --out x.tagm", &["\"nothing\", \"LOW\" (is \"low\" meant?), \"no\""]);
        place.fails(2, "tags rename a.tagm nothing x --out x.tagm", &["\"nothing\""]);
        place.fails(2, "tags rename a.tagm low x --out a.tagm", &["--out"]);
        place.fails(2, "tags add all.tagm --name n --examples items.jsonl --catalogue items.jsonl --out x.tagm", &["--beside"]);
    }

    #[test]
    fn tags_that_run_away_are_told_when_the_others_are_saved() {
        let place = Place::new();
        let train = "train items.jsonl --objective per-tag --hidden 4 --epochs 2 --batch 4 --negatives 1 --optimizer sgd \
                     --decay coupled --l2 1000 --lr 0.01";
        place.text(&format!("{train} --only rare --out rare.tagm"));
        let output = place.run(&format!("{train} --out m.tagm --json"));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        for word in ["error: m.tagm: 2 of 3 tags are not in it", "\"even\" (", "\"low\" (", "not finite in epoch "] {
            assert!(stderr.contains(word), "no {word:?} in: {stderr}");
        }
        assert!(!stderr.contains("\"rare\""), "{stderr}");
        let [all, rare] = ["m.tagm", "rare.tagm"].map(|model| std::fs::read(place.path(model)).unwrap());
        assert!(all == rare);
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let failed: Vec<_> =
            document["failed_tags"].as_array().unwrap().iter().filter_map(|failed| failed["tag"].as_str()).collect();
        assert_eq!((failed, document["tags"].as_u64()), (vec!["even", "low"], Some(1)));
        let output = place.run(&format!("{train} --out -"));
        assert!(output.status.code() == Some(1) && output.stdout == rare);
        assert!(String::from_utf8(output.stderr).unwrap().contains("tags that ran away  2\n"));
        let output = place.run(&format!("{train} --out m.tagm --calibrate platt --folds 2"));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("m.tagm, without a new calibration and thresholds: 2 of 3 tags are not in it"), "{stderr}");
        // Of a bank without tags there is nothing to save.
        place.fails(1, &format!("{train} --only even,low --out x.tagm"), &["not finite for tag \"even\""]);
    }

    #[test]
    fn a_tag_is_added_from_examples() {
        let place = Place::with_model();
        let text = std::fs::read_to_string(place.path("items.jsonl")).unwrap();
        let (with, without): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.contains("\"low\""));
        place.write("with.jsonl", with[..20].join("\n"));
        place.write("without.jsonl", without[..40].join("\n"));
        let add = "tags add m.tagm --name mine --examples with.jsonl";
        let drawn = place.json(&format!("{add} --catalogue items.jsonl --draw 50 --out drawn.tagm"));
        let given = place.json(&format!("{add} --negatives without.jsonl --out given.tagm"));
        assert_eq!((drawn["tag"].as_str(), drawn["id"].as_u64(), drawn["seconds"].is_f64()), (Some("mine"), Some(3), true));
        assert_eq!((drawn["positives"].as_u64(), drawn["negatives"].as_u64()), (Some(20), Some(50)));
        assert_eq!((given["positives"].as_u64(), given["negatives"].as_u64()), (Some(20), Some(40)));
        for measure in ["log_loss", "ap", "precision", "recall", "f1"] {
            assert!(given["eval"][measure].is_f64(), "{measure}");
        }
        assert!(given["eval"]["auc"].as_f64() > Some(0.8), "{given}");
        assert_eq!(place.json("tags list given.tagm")["tags"][3]["tag"], "mine");
        place.fails(
            1,
            "tags add m.tagm --name low --examples with.jsonl --negatives without.jsonl --out x.tagm",
            &["occurs twice"],
        );
    }
}
