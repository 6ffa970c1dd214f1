//! What a training begins from: items in files instead of memory, and another model.

use std::fs;
use std::ops::ControlFlow;

use tagomatic::data::{Corpus, Item};
use tagomatic::rng::Philox;
use tagomatic::train::recipe::{TrainingSet, Validation};
use tagomatic::train::{Negatives, TrainConfig};
use tagomatic::{Error, Level};

use super::cli::{Place, assert_fields};

#[test]
fn items_in_files_make_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let model = |mut corpus: Corpus, negatives, validation: Validation<'_>| {
        for item in 0..900_u32 {
            let [a, b, c, d] = Philox::new(4).block([item, 0, 0, 61]).map(|word| word % 97);
            let tags = [("t", a < 40), ("u", b % 3 == 0), ("v", c > d)];
            corpus
                .push(&Item {
                    keywords: [a, b, c, d].iter().map(|word| format!("k{word}")).collect(),
                    tags: tags.iter().filter(|(_, has)| *has).map(|(tag, _)| (*tag).to_owned()).collect(),
                    weight: 1.0 + (d % 2) as f32,
                    ..Item::default()
                })
                .unwrap();
        }
        let config = TrainConfig { hidden: 8, epochs: 2, negatives, ..TrainConfig::default() };
        let set = TrainingSet::new(corpus, 2).unwrap();
        let (model, report) =
            set.train(config, validation, Level::best(), None, &mut |_, _| ControlFlow::Continue(())).unwrap();
        (model.bytes().to_vec(), report.measured)
    };
    for negatives in [Negatives::All, Negatives::Sampled(1.0)] {
        for validation in [Validation::None, Validation::Split { fraction: 0.2, refit: true }] {
            let memory = model(Corpus::new(), negatives, validation);
            let files = model(Corpus::in_files(folder.path()).unwrap(), negatives, validation);
            assert!(memory == files, "{negatives:?} {validation:?}");
        }
    }
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
}

#[test]
fn train_keeps_items_in_files_where_asked() {
    let place = Place::new();
    let train = |out: &str, options: &str| {
        place.text(&format!("train items.jsonl --out {out} --epochs 2 --hidden 8 --threads 1 {options}"));
        fs::read(place.path(out)).unwrap()
    };
    assert!(train("a.tagm", "") == train("b.tagm", "--cache ."));
    assert_eq!(place.names(), ["a.tagm", "b.tagm", "items.jsonl"]);
    // The folder is made.
    assert!(train("c.tagm", "--cache some/folder") == train("a.tagm", ""));
    assert!(place.path("some/folder").is_dir());
    place.fails(1, "train items.jsonl --out d.tagm --cache items.jsonl/none", &["make the folder", "items.jsonl/none"]);
}

#[test]
fn a_model_is_gone_on_with() {
    let place = Place::new();
    place.text("train items.jsonl --out old.tagm --epochs 3 --hidden 8 --activation elu:0.5 --threads 1");
    let items = fs::read_to_string(place.path("items.jsonl")).unwrap();
    let more = items.replace("\"a7\"", "\"new keyword\"").replace("\"rare\"", "\"rare\",\"new tag\"");
    place.write("more.jsonl", &more);
    // With a rate of 0 weights stay, so old tags score as before.
    place.text("train more.jsonl --out new.tagm --init old.tagm --epochs 1 --lr 0 --no-refit --threads 1");
    place.write("some.jsonl", items.lines().take(20).map(|line| format!("{line}\n")).collect::<String>());
    let scores = |model: &str| {
        let text = place.text(&format!("tag {model} some.jsonl --all --json"));
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let of_item = |item: serde_json::Value| {
            let mut tags = item["tags"].as_array().unwrap().clone();
            tags.retain(|tag| tag["tag"] != "new tag");
            tags
        };
        lines.map(of_item).collect::<Vec<_>>()
    };
    assert_eq!(scores("old.tagm"), scores("new.tagm"));
    let info = place.json("info new.tagm");
    assert_fields(&info["provenance"], &["init"]);
    assert_eq!(
        (info["hidden"].as_u64(), info["tags"].as_u64(), info["activation"].as_str()),
        (Some(8), Some(4), Some("elu:0.5"))
    );
    // Refit and resumption begin from the model too.
    let train = |out: &str, options: &str| {
        place.text(&format!("train more.jsonl --out {out} --init old.tagm --epochs 2 --threads 1 {options}"));
        fs::read(place.path(out)).unwrap()
    };
    let whole = train("a.tagm", "");
    assert!(train("b.tagm", "--checkpoint c --checkpoint-steps 3") == whole);
    assert!(train("c.tagm", "--resume c") == whole);
    place.fails(
        1,
        "train more.jsonl --out d.tagm --init new.tagm --epochs 2 --resume c",
        &["init: expected", "in the checkpoint"],
    );
    // What is typed is not taken for what is not: neither 9 nor the default.
    for (option, word) in [
        ("--hidden 9", "--hidden: expected as many"),
        ("--hidden 256", "--hidden: expected as many"),
        ("--activation relu", "--activation: expected that"),
    ] {
        place.fails(2, &format!("train more.jsonl --out d.tagm --init old.tagm {option}"), &[word]);
    }
    let untagged = items.replace("\"rare\"", "\"other\"");
    place.write("untagged.jsonl", untagged);
    place.fails(1, "train untagged.jsonl --out d.tagm --init old.tagm", &["tag \"rare\" cannot be trained"]);
}

#[test]
fn a_search_tells_all_trials_and_the_command_that_trains_the_best() {
    let place = Place::new();
    let document = place.json("train items.jsonl --out m.tagm --epochs 3 --hidden 8 --search 4 --threads 1");
    let search = &document["search"];
    let trials = search["trials"].as_array().unwrap();
    assert_eq!(trials.len(), 4);
    trials.iter().for_each(|trial| assert_fields(trial, &["trial", "options", "steps", "epochs", "score", "log_loss"]));
    let command = search["command"].as_str().unwrap();
    assert!(command.starts_with("tagomatic train items.jsonl --out m.tagm --epochs 3 "), "{command}");
    assert!(command.contains(" --hidden 8 ") && !command.contains("--search"), "{command}");
    place.text(&command.replace("tagomatic ", "").replace("m.tagm", "n.tagm").replace(" --json", ""));
    assert!(fs::read(place.path("m.tagm")).unwrap() == fs::read(place.path("n.tagm")).unwrap());
    assert!(
        place.text("train items.jsonl --out m.tagm --epochs 1 --search 2").contains("the best of them again: tagomatic train")
    );
    place.fails(
        2,
        "train items.jsonl --out o.tagm --search 2 --valid-fraction 0",
        &["--search: expected items to validate on"],
    );
}

/// 160 items with about 30 keywords each, so many that defaults are others.
fn long_lists() -> String {
    let mut lines = String::new();
    for i in 0_usize..160 {
        let has = |keyword: &usize| (i * 7 + keyword * 13 + i * keyword) % 60 < 30;
        let keywords: Vec<String> = (0..60).filter(has).map(|keyword| format!("\"k{keyword}\"")).collect();
        let tag = if has(&3) && has(&8) { "both" } else { "other" };
        lines += &format!("{{\"id\":{i},\"keywords\":[{}],\"tags\":[\"{tag}\"]}}\n", keywords.join(","));
    }
    lines
}

#[test]
fn the_command_of_a_search_trains_the_same_model_from_long_lists() {
    let place = Place::new();
    place.write("long.jsonl", long_lists());
    let search = |options: &str| {
        let json = |arguments: &str| serde_json::from_str::<serde_json::Value>(&place.text(arguments)).unwrap();
        let train = "train --json --out m.tagm --epochs 2 --threads 1 --optimizer sgd --search 6";
        let found = json(&format!("{train} {options} -- long.jsonl"));
        let command = found["search"]["command"].as_str().unwrap().to_owned();
        let again = json(&command.replace("tagomatic ", "").replace("m.tagm", "n.tagm"));
        assert_eq!(again["signature"], found["signature"], "{command}");
        assert!(fs::read(place.path("m.tagm")).unwrap() == fs::read(place.path("n.tagm")).unwrap(), "{command}");
        let trials = found["search"]["trials"].as_array().unwrap();
        let mut options: Vec<(u64, String)> = trials
            .iter()
            .map(|trial| (trial["trial"].as_u64().unwrap(), trial["options"].as_str().unwrap().to_owned()))
            .collect();
        options.sort();
        (command, options.into_iter().map(|(_, options)| options).collect::<Vec<_>>())
    };
    // That two networks are averaged, as for such items, does not follow from a number of hidden units that is typed; and that
    // fewer keywords are dropped is to be typed, though it is the default of other items.
    let (command, trials) = search("--seed 2");
    for words in [" --hidden=", " --dropout-in=0.1 ", " --average=2 -- long.jsonl"] {
        assert!(command.contains(words), "no {words:?} in: {command}");
    }
    assert_eq!(trials[0], "");
    for drawn in ["--hidden=", "--lr=", "--dropout-in=", "--dropout-hidden="] {
        assert!(trials[1..].iter().any(|trial| trial.contains(drawn)), "{drawn}: {trials:?}");
    }

    // What is given is kept, even what is a default, of these items or of others, and the rest is drawn as before.
    place.write("c.toml", "lr = 0.05\n");
    let (command, kept) = search("--seed 2 --config c.toml --hidden 256 --dropout-in 0.1");
    assert!(command.contains(" --config c.toml --hidden 256 --dropout-in 0.1"), "{command}");
    let of_trial = |trial: &String| {
        let is_kept = |option: &&str| ["--hidden=", "--dropout-in=", "--lr="].iter().any(|kept| option.starts_with(kept));
        trial.split_whitespace().filter(|option| !is_kept(option)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(kept, trials.iter().map(of_trial).collect::<Vec<_>>());
}

#[test]
fn sources_and_objectives_that_do_not_go_together_are_refused() {
    let place = Place::new();
    place.text("train items.jsonl --out old.tagm --epochs 1 --hidden 8");
    let (init, anchor) = ("--init old.tagm", "--objective anchor");
    for (options, words) in [
        ("--objective per-tag --init old.tagm", "--init: expected one net for all tags, found --objective per-tag"),
        ("--objective per-tag --cache .", "--cache: expected one net for all tags"),
        ("--objective per-tag --search 2", "--search: expected one net for all tags"),
        (&format!("{init} {anchor}"), "--init: expected the objective of taggers"),
        (&format!("{init} --pretrain 2"), "--pretrain: expected 0 where training begins from a model"),
        ("--search 2 --pretrain 2", "--pretrain: expected 0 with a search"),
    ] {
        place.fails(2, &format!("train items.jsonl --out x.tagm {options}"), &[words]);
    }
    // What does go together: networks that begin from a model or are searched for can be averaged, and anchor models searched for.
    for options in [&format!("{init} --average 2"), "--search 2 --average 2 --hidden 8"] {
        place.text(&format!("train items.jsonl --out x.tagm --epochs 1 --threads 1 {options}"));
        assert_eq!(place.json("info x.tagm")["hidden"], 16, "{options}");
    }
    place.text(&format!("train items.jsonl --out x.tagm --epochs 1 --search 3 --cache . {anchor}"));
    place.text("verify x.tagm");
}

#[test]
fn a_training_that_overflows_leaves_the_last_good_checkpoint() {
    let place = Place::new();
    let train = "train items.jsonl --out m.tagm --hidden 4 --threads 1 --optimizer sgd --lr 1e30";
    let words = ["not finite", "epoch 1, step ", "learning rate 1000000000000000000000000000000", "the checkpoint in c"];
    let output = place.run(&format!("{train} --checkpoint c --checkpoint-steps 1"));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    for word in words {
        assert!(stderr.contains(word), "{word}: {stderr}");
    }
    // It is whole: going on with it ends where it ended before.
    let output = place.run(&format!("{train} --resume c"));
    assert!(String::from_utf8(output.stderr).unwrap().contains("not finite"));
    assert!(!place.path("m.tagm").exists());
}

#[test]
fn weights_of_the_best_epoch_are_kept_when_later_ones_overflow() {
    use tagomatic::train::{DecayMode, FitState, OptimizerKind, Statistics, Trainer};
    use tagomatic::{Tags, Vocabulary};
    let mut data = tagomatic::data::Dataset::new();
    for i in 0..64_u32 {
        data.push(&[i % 5, 5 + i % 3], &[i % 2], 1.0).unwrap();
    }
    // Decay against the sign of every step makes weights grow by a constant factor each step.
    let config = TrainConfig {
        hidden: 4,
        batch: 64,
        epochs: 500,
        patience: 0,
        dropout_in: 0.0,
        dropout_hidden: 0.0,
        optimizer: OptimizerKind::Sgd,
        decay: DecayMode::Coupled,
        l2: 1e3,
        lr: 0.01,
        ..TrainConfig::default()
    };
    let names = |prefix: &str, count: u32| (0..count).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
    let vocabulary = Vocabulary::from_keywords(names("k", 8)).unwrap();
    let tags = Tags::from_names(names("t", 2)).unwrap();
    let mut trainer = Trainer::new(config, vocabulary, tags, &Statistics::of(&data, 2)).unwrap();
    let mut fit = FitState::default();
    let error = loop {
        match trainer.advance(&mut fit, &data, Some(&data), &mut |_| ControlFlow::Continue(())) {
            Err(error) => break error,
            Ok(_) => assert!(!fit.is_finished(), "it never overflows"),
        }
    };
    assert!(matches!(error, Error::NonFinite { .. }), "{error}");
    let epochs = fit.epochs().to_vec();
    let best = epochs.iter().rfind(|epoch| epoch.best).unwrap();
    assert!(epochs.len() > 1);
    trainer.finish(fit);
    let left = tagomatic::evaluate::KeyMeasures::of(&trainer.evaluate(&data, None).unwrap().evaluation);
    assert_eq!(Some(left), best.valid);
}
