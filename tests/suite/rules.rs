//! Tag rules, from a file to a model.

use serde_json::Value;
use tagomatic::data::{Corpus, Item};
use tagomatic::rules::{Labeller, Rules, Withhold};
use tagomatic::train::recipe::{TrainingSet, Validation};
use tagomatic::train::{Negatives, PairWeights, Sample, Statistics, Targets, TrainConfig, Trainer};
use tagomatic::{Level, Provenance};

use super::cli::Place;

const RULES: &str = r#"
next_id = 9
[tags.water]
id = 4
any = ["sea"]
any_keywords = ["river"]
near = ["rain"]
parents = ["nature"]
withhold = ["river"]
[tags.nature]
aliases = ["wood"]
"#;

fn items() -> Vec<Item> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let kinds =
        [("ship crew", "sea"), ("river boat", ""), ("cloud boat", "rain"), ("tree path", "wood"), ("street car", "town")];
    let item = |n: usize| {
        let (keywords, tags) = kinds[n * 7 % 5];
        Item { keywords: words(&format!("{keywords} k{}", n % 3)), tags: words(tags), ..Item::default() }
    };
    (0..60).map(item).collect()
}

fn ruled(rules: &Rules) -> TrainingSet {
    let (mut labeller, mut corpus) = (Labeller::new(rules, Withhold::FromAll), Corpus::new());
    for mut item in items() {
        labeller.label(&mut item);
        corpus.push(&item).unwrap();
    }
    labeller.check_used().unwrap();
    TrainingSet::with_rules(corpus, 1, rules).unwrap()
}

#[test]
fn a_model_has_the_ids_and_the_text_of_its_rules() {
    let rules = Rules::parse(RULES, "r.toml").unwrap();
    let set = ruled(&rules);
    let config = TrainConfig { hidden: 4, epochs: 2, ..TrainConfig::default() };
    let (model, _) =
        set.train(config, Validation::None, Level::Scalar, None, &mut |_, _| std::ops::ControlFlow::Continue(())).unwrap();
    let tags: Vec<_> = model.tags().iter().map(|tag| (tag.name.as_str(), tag.id)).collect();
    assert_eq!((tags, model.tags().next_id()), (vec![("nature", 9), ("water", 4)], 10));
    assert_eq!(model.provenance().unwrap().get("data.rules"), Some(rules.to_string().as_str()));
    assert_eq!((model.vocabulary().get("river"), model.vocabulary().get("boat").is_some()), (None, true));
}

/// Items that are near a tag count nothing for it: as if their pairs had weight 0.
#[test]
fn near_synonyms_are_no_negatives() {
    let rules = Rules::parse(RULES, "r.toml").unwrap();
    let set = ruled(&rules);
    let data = set.dataset();
    assert_eq!(data.exclusions().ids().len(), 2 * 12);
    let new = |negatives| {
        let config = TrainConfig { hidden: 4, batch: data.len(), negatives, ..TrainConfig::default() };
        Trainer::new(config, set.vocabulary().clone(), set.tags().clone(), &Statistics::of(data, 2)).unwrap()
    };
    let bytes = |trainer: &Trainer| trainer.model(Provenance::new()).unwrap().bytes().to_vec();
    let mut by_epoch = new(Negatives::All);
    by_epoch.epoch(data, &mut |_| std::ops::ControlFlow::Continue(())).unwrap();

    let weights: Vec<[f32; 2]> =
        (0..data.len()).map(|i| [0, 1].map(|tag| if data.excluded(i).contains(&tag) { 0.0 } else { 1.0 })).collect();
    let order = tagomatic::rng::Philox::new(1).permutation(data.len() as u32, 1);
    let sample = |&index: &u32| Sample {
        index,
        keywords: data.keywords(index as usize),
        targets: Targets::Tags(data.tags(index as usize)),
        weights: PairWeights::PerTag(&weights[index as usize]),
    };
    let scored = |index: &&u32| weights[**index as usize] != [0.0; 2];
    let samples: Vec<Sample<'_>> = order.iter().filter(scored).map(sample).collect();
    assert_eq!(samples.len(), 48);
    let mut by_hand = new(Negatives::All);
    by_hand.step(&samples).unwrap();
    assert!(bytes(&by_epoch) == bytes(&by_hand));
    // Enough sampled negatives are all of the pool, which has none of the excluded either.
    let mut sampled = new(Negatives::Sampled(1e3));
    sampled.epoch(data, &mut |_| std::ops::ControlFlow::Continue(())).unwrap();
    assert!(sampled.snapshot() == by_hand.snapshot());
}

#[test]
fn the_program_applies_rules_and_tells_where_they_fail() {
    let place = Place::new();
    let lines: Vec<String> =
        items().iter().map(|item| serde_json::json!({"keywords": item.keywords, "tags": item.tags}).to_string()).collect();
    place.write("ruled.jsonl", lines.join("\n"));
    place.write("r.toml", RULES);
    let trained = place.run("train ruled.jsonl --tags r.toml --out r.tagm --epochs 3 --hidden 4 --json");
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    let eval = place.run("eval r.tagm ruled.jsonl --tags r.toml --json");
    let eval: Value = serde_json::from_slice(&eval.stdout).unwrap();
    let positives: Vec<_> = eval["tags"].as_array().unwrap().iter().map(|tag| tag["positives"].clone()).collect();
    assert_eq!(positives, [36, 24]);
    // The model tells its rules, so they need not be given; what is given is compared with them.
    place.write("other.toml", RULES.replace("\"sea\"", "\"town\""));
    for (labelling, tagged_by, sea) in [
        ("", "rules of the model", 24),
        ("--tags r.toml", "rules given", 24),
        ("--tags other.toml", "rules given, other than those of the model", 24),
    ] {
        let eval = place.json(&format!("eval r.tagm ruled.jsonl {labelling}"));
        assert_eq!(
            (eval["tagged_by"].as_str(), &eval["tags"][1]["positives"]),
            (Some(tagged_by), &Value::from(sea)),
            "{labelling}"
        );
        let text = place.text(&format!("eval r.tagm ruled.jsonl {labelling}"));
        assert!(text.contains(tagged_by), "{text}");
    }
    place.fails(1, "eval r.tagm ruled.jsonl --raw-tags", &["tags of the model", "\"sea\""]);
    place.write("tagged.jsonl", "{\"keywords\":[\"ship\"],\"tags\":[\"water\"]}\n");
    place.fails(1, "eval r.tagm tagged.jsonl", &["tagged by the rules of the model", "--raw-tags"]);
    let raw = place.json("eval r.tagm tagged.jsonl --raw-tags");
    assert_eq!((&raw["tagged_by"], &raw["tags"][1]["positives"]), (&Value::Null, &Value::from(1)));
    let tuned =
        [place.json("tune r.tagm ruled.jsonl --out t.tagm"), place.json("tune r.tagm ruled.jsonl --tags r.toml --out u.tagm")];
    assert_eq!((&tuned[0]["tags"], &tuned[0]["tagged_by"]), (&tuned[1]["tags"], &Value::from("rules of the model")));
    place.fails(2, "eval r.tagm ruled.jsonl --raw-tags --tags r.toml", &["--raw-tags"]);
    // The rules know nothing of what became of the model's tags since.
    place.text("tags rename r.tagm water wet --out renamed.tagm");
    place.text("tags remove r.tagm nature --out removed.tagm");
    for command in ["eval renamed.tagm ruled.jsonl", "tune renamed.tagm ruled.jsonl --out t.tagm"] {
        place.fails(2, command, &["do not give \"wet\"", "--raw-tags"]);
    }
    assert_eq!(place.json("eval removed.tagm ruled.jsonl")["tags"][0]["positives"], 24);
    let trained = place.json("train ruled.jsonl --tags r.toml --valid ruled.jsonl --out v.tagm --epochs 1 --hidden 4");
    assert_eq!(trained["valid_left"]["tagged_by"], "rules given");

    for (from, to, line) in [("\"sea\"", "\"see\"", 5), ("id = 4", "id = four", 4), ("[\"nature\"]", "[\"water\"]", 8)] {
        place.write("bad.toml", RULES.replace(from, to));
        let failed = place.run("train ruled.jsonl --tags bad.toml --out bad.tagm");
        let message = String::from_utf8(failed.stderr).unwrap();
        assert_eq!(failed.status.code(), Some(1), "{message}");
        assert!(message.contains(&format!("bad.toml:{line}: ")), "{message}");
        assert!(!place.path("bad.tagm").exists());
    }
}

/// Provenance that differs is joined by " | ", which the name of a tag may hold too.
#[test]
fn merged_models_keep_the_rules_that_they_share() {
    const PAIR: &str =
        "[tags.\"wet | dry\"]\nany = [\"rare\", \"low\"]\n[tags.even]\nany = [\"even\"]\nparents = [\"wet | dry\"]\n";
    let place = Place::new();
    place.write("r.toml", PAIR);
    place.write("other.toml", PAIR.replace("even", "rare"));
    let bank = |rules, tag, out| {
        let mut command = place.command("train items.jsonl --objective per-tag --epochs 1 --hidden 4 --tags");
        let output = command.args([rules, "--only", tag, "--out", out]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    bank("r.toml", "wet | dry", "a.tagm");
    bank("r.toml", "even", "b.tagm");
    bank("other.toml", "rare", "c.tagm");
    place.text("tags merge a.tagm b.tagm --out ab.tagm");
    place.text("tag ab.tagm items.jsonl --consistent");
    assert_eq!(place.json("info ab.tagm")["provenance"]["data.rules"], place.json("info a.tagm")["provenance"]["data.rules"]);
    // Rules of two kinds are no rules of the whole, and neither are those of some.
    place.text("train items.jsonl --objective per-tag --epochs 1 --hidden 4 --only low --out d.tagm");
    for other in ["c", "d"] {
        place.text(&format!("tags merge a.tagm {other}.tagm --out ac.tagm"));
        assert!(place.json("info ac.tagm")["provenance"].get("data.rules").is_none(), "{other}");
    }
}
