//! `tune` and `explain`, from the outside.

use std::fs;

use serde_json::Value;
use tagomatic::Model;

use super::cli::{Place, assert_fields};

fn of_tag<'v>(document: &'v Value, name: &str) -> &'v Value {
    document["tags"].as_array().unwrap().iter().find(|tag| tag["tag"] == name).unwrap()
}

fn threshold(place: &Place, model: &str, tag: &str) -> f32 {
    let model = Model::open(place.path(model)).unwrap();
    let index = model.tags().get(tag).unwrap();
    model.tags()[index].threshold
}

#[test]
fn tuned_thresholds_are_stored_and_serve() {
    let place = Place::with_model();
    let report = place.json("tune m.tagm items.jsonl --out n.tagm");
    assert_fields(&report, &["samples", "ece_before", "ece_after", "macro_f1_before", "macro_f1_after", "tags"]);
    assert_eq!(report["ece_before"], report["ece_after"]);
    // Scores stay; what the report says of each tag is what the new model does.
    let (before, after) = (place.json("eval m.tagm items.jsonl"), place.json("eval n.tagm items.jsonl"));
    assert_eq!(before["log_loss"], after["log_loss"]);
    assert_eq!((&report["macro_f1_before"], &report["macro_f1_after"]), (&before["macro_f1"], &after["macro_f1"]));
    assert!(after["macro_f1"].as_f64() > before["macro_f1"].as_f64());
    for tag in after["tags"].as_array().unwrap() {
        let tuned = of_tag(&report, tag["tag"].as_str().unwrap());
        for field in ["threshold", "positives", "precision", "recall", "f1"] {
            assert_eq!(tuned[field], tag[field], "{field} of {tag}");
        }
        assert!(tag["f1"].as_f64() >= of_tag(&before, tag["tag"].as_str().unwrap())["f1"].as_f64());
    }
    // The file differs in thresholds and provenance alone, and tells where they are from.
    let (old, new) = (Model::open(place.path("m.tagm")).unwrap(), Model::open(place.path("n.tagm")).unwrap());
    assert_eq!(old.weights().w1, new.weights().w1);
    let provenance = new.provenance().unwrap();
    assert_eq!((provenance.get("tune.threshold"), provenance.get("tune.samples")), (Some("f1"), Some("400")));
    assert_eq!((provenance.get("tune.tags"), provenance.get("tune.data").map(str::len)), (Some("0,1,2"), Some(16)));
    assert_eq!(provenance.get("data.samples"), old.provenance().unwrap().get("data.samples"));
    // The same bytes whatever the threads, and if it is tuned anew.
    place.text("tune n.tagm items.jsonl --out again.tagm --threads 3");
    assert!(fs::read(place.path("n.tagm")).unwrap() == fs::read(place.path("again.tagm")).unwrap());
}

#[test]
fn calibration_is_stored_and_serves() {
    let place = Place::with_model();
    place.text("tune m.tagm items.jsonl --out plain.tagm --threshold 0.5");
    for method in ["platt", "isotonic"] {
        let report = place.json(&format!("tune m.tagm items.jsonl --out n.tagm --calibrate {method}"));
        let (before, after) = (place.json("eval m.tagm items.jsonl"), place.json("eval n.tagm items.jsonl"));
        for measure in ["ece", "brier"] {
            assert_eq!(report[format!("{measure}_before")], before[measure]);
            assert_eq!(report[format!("{measure}_after")], after[measure]);
        }
        assert!(after["ece"].as_f64().unwrap() < 0.5 * before["ece"].as_f64().unwrap(), "{method}: {report}");
        assert!(after["log_loss"].as_f64() < before["log_loss"].as_f64());
        // What a map that never falls cannot change but by ties, and what stands in the report.
        for tag in after["tags"].as_array().unwrap() {
            let name = tag["tag"].as_str().unwrap();
            let auc = |tag: &Value| tag["auc"].as_f64().unwrap();
            assert!((auc(tag) - auc(of_tag(&before, name))).abs() < 0.02, "{method} {name}");
            assert_eq!(of_tag(&report, name)["threshold"], tag["threshold"]);
            assert_eq!(of_tag(&report, name)["f1"], tag["f1"]);
        }
        let new = Model::open(place.path("n.tagm")).unwrap();
        let provenance = new.provenance().unwrap();
        assert_eq!((provenance.get("calibrate.method"), provenance.get("calibrate.samples")), (Some(method), Some("400")));
        assert!(new.sections().iter().any(|section| section.name() == "CALB"));
        // It is fitted to what the network computes: the same bytes if it is calibrated anew, and whatever the threads.
        place.text(&format!("tune n.tagm items.jsonl --out again.tagm --calibrate {method} --threads 3"));
        assert!(fs::read(place.path("n.tagm")).unwrap() == fs::read(place.path("again.tagm")).unwrap());
        // Other thresholds leave it alone.
        place.text("tune n.tagm items.jsonl --out t.tagm --threshold 0.5");
        assert_eq!(Model::open(place.path("t.tagm")).unwrap().extensions(), new.extensions());
    }
}

#[test]
fn a_threshold_that_is_not_chosen_anew_is_carried_over() {
    let place = Place::with_model();
    place.text("tune m.tagm items.jsonl --out n.tagm");
    let decisions = |model: &str| {
        let tagged = place.text(&format!("tag {model} items.jsonl --json"));
        let lines = tagged.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| line["tags"].as_array().unwrap().iter().filter(|tag| tag["tag"] == "low").count()).collect::<Vec<_>>()
    };
    // Nobody has "low" here, so nothing can be chosen for it; its scores change all the same.
    place.write("none.jsonl", fs::read_to_string(place.path("items.jsonl")).unwrap().replace("\"low\"", "\"x\""));
    place.text("tune n.tagm none.jsonl --out c.tagm --calibrate platt");
    assert_ne!(threshold(&place, "c.tagm", "low"), threshold(&place, "n.tagm", "low"));
    assert_eq!(decisions("c.tagm"), decisions("n.tagm"));
    // A tag that is not asked for keeps scores and threshold.
    place.text("tune n.tagm items.jsonl --out e.tagm --calibrate isotonic --tag even");
    assert_eq!(threshold(&place, "e.tagm", "low"), threshold(&place, "n.tagm", "low"));
    assert_eq!(decisions("e.tagm"), decisions("n.tagm"));
}

#[test]
fn targets_are_reached_or_the_tag_is_never_given() {
    let place = Place::with_model();
    let report = place.json("tune m.tagm items.jsonl --out n.tagm --threshold recall:0.9");
    for tag in report["tags"].as_array().unwrap() {
        assert!(tag["recall"].as_f64().unwrap() >= 0.9, "{tag}");
    }
    let report = place.json("tune m.tagm items.jsonl --out n.tagm --threshold precision:0.6");
    for tag in report["tags"].as_array().unwrap() {
        assert!(tag["threshold"].is_null() || tag["precision"].as_f64().unwrap() >= 0.6, "{tag}");
    }
    // Items that are the same cannot be told apart: half of them with the tag is a precision of one half.
    let twins = "{\"keywords\":[\"a1\"],\"tags\":[\"low\"]}\n{\"keywords\":[\"a1\"],\"tags\":[]}\n";
    place.write("twins.jsonl", twins);
    let report = place.json("tune m.tagm twins.jsonl --out n.tagm --threshold precision:0.6");
    assert!(of_tag(&report, "low")["threshold"].is_null());
    assert_eq!(threshold(&place, "n.tagm", "low"), f32::INFINITY);
    let text = place.text("tune m.tagm twins.jsonl --out n.tagm --threshold precision:0.6");
    assert!(text.lines().any(|line| line.contains("never given now") && line.contains("low")), "{text}");
    // Of tags that were not tuned, or are as they were, there is nothing to be told.
    assert!(!place.text("tune n.tagm twins.jsonl --out n2.tagm --threshold f1 --tag even").contains("never given now"));
}

#[test]
fn what_cannot_be_chosen_is_kept_and_told() {
    let place = Place::with_model();
    place.write("low.jsonl", "{\"keywords\":[\"a1\"],\"tags\":[\"low\"]}\n{\"keywords\":[\"a20\"],\"tags\":[]}\n");
    let report = place.json("tune m.tagm low.jsonl --out n.tagm");
    for name in ["even", "rare"] {
        assert_eq!((&of_tag(&report, name)["kept"], threshold(&place, "n.tagm", name)), (&true.into(), 0.5));
    }
    assert_eq!(of_tag(&report, "low")["kept"], false);
    assert_ne!(threshold(&place, "n.tagm", "low"), 0.5);
    assert!(place.text("tune m.tagm low.jsonl --out n.tagm").contains("threshold kept"));

    // By hand, for some tags.
    place.text("tune m.tagm low.jsonl --out n.tagm --threshold 0.25 --tag rare --tag low");
    assert_eq!(["low", "even", "rare"].map(|tag| threshold(&place, "n.tagm", tag)), [0.25, 0.5, 0.25]);
}

#[test]
fn bad_wishes_are_refused_before_anything_is_written() {
    let place = Place::with_model();
    place.write("none.jsonl", "");
    for rule in ["f2", "precision:0", "recall:1.5", "-1", "NaN"] {
        let output = place.run(&format!("tune m.tagm items.jsonl --out n.tagm --threshold {rule}"));
        assert_eq!(output.status.code(), Some(2), "{rule}");
    }
    place.fails(2, "tune m.tagm items.jsonl --out n.tagm --tag nope", &["--tag", "\"nope\""]);
    place.fails(2, "tune m.tagm items.jsonl --out items.jsonl", &["--out", "items.jsonl"]);
    place.fails(1, "tune m.tagm none.jsonl --out n.tagm", &["none.jsonl"]);
    place.fails(1, "tune m.tagm items.jsonl --out no/n.tagm", &["make the folder first"]);
}

#[test]
fn training_calibrates_on_items_that_folds_did_without() {
    let place = Place::new();
    let train = "train items.jsonl --epochs 2 --hidden 8 --folds 3";
    let plain = place.json("train items.jsonl --epochs 2 --hidden 8 --out plain.tagm");
    assert!(plain.get("tuned").is_none());
    let of_validation = |report: &Value| report["valid"]["tags"][0]["threshold"].clone();
    for (kind, options) in [("net", ""), ("bank", " --objective per-tag")] {
        let report = place.json(&format!("{train}{options} --calibrate platt --out {kind}.tagm"));
        let tuned = &report["tuned"];
        assert_fields(tuned, &["samples", "ece_before", "ece_after", "brier_before", "brier_after", "macro_f1_after", "tags"]);
        assert_eq!(
            (&tuned["samples"], &tuned["folds"], &tuned["needed_by_all"]),
            (&400.into(), &3.into(), &0.into()),
            "{kind}"
        );
        assert_eq!(of_validation(&report), of_validation(&plain), "measures are those before");
        assert!(tuned["ece_after"].as_f64() < tuned["ece_before"].as_f64(), "{kind}: {tuned}");
        let model = Model::open(place.path(&format!("{kind}.tagm"))).unwrap();
        let provenance = model.provenance().unwrap();
        for (key, value) in [
            ("calibrate.method", "platt"),
            ("calibrate.folds", "3"),
            ("calibrate.samples", "400"),
            ("tune.folds", "3"),
            ("tune.threshold", "f1"),
            ("tune.tags", "0,1,2"),
        ] {
            assert_eq!(provenance.get(key), Some(value), "{kind}");
        }
        for tag in tuned["tags"].as_array().unwrap() {
            let stored = threshold(&place, &format!("{kind}.tagm"), tag["tag"].as_str().unwrap());
            assert_eq!(tag["threshold"].as_f64().unwrap() as f32, stored, "{kind}: {tag}");
        }
        // The same bytes for any number of threads.
        place.text(&format!("{train}{options} --calibrate platt --out again.tagm --threads 3"));
        assert!(
            fs::read(place.path(&format!("{kind}.tagm"))).unwrap() == fs::read(place.path("again.tagm")).unwrap(),
            "{kind}"
        );
    }
    // The network is the one that is trained without it.
    let (plain, net) = (Model::open(place.path("plain.tagm")).unwrap(), Model::open(place.path("net.tagm")).unwrap());
    assert_eq!((plain.weights().w1, plain.extensions().calibration.is_some()), (net.weights().w1, false));
    // Thresholds alone leave the scores as they are.
    let text = place.text(&format!("{train} --threshold precision:0.6 --out t.tagm"));
    assert!(text.contains("calibration and thresholds"), "{text}");
    let thresholds = Model::open(place.path("t.tagm")).unwrap();
    assert_eq!(thresholds.extensions().calibration, None);
    assert_eq!(thresholds.provenance().unwrap().get("tune.threshold"), Some("precision:0.6"));
    // What `tune` then chooses is from the items that it is given; narrower weights keep all.
    place.text("tune net.tagm items.jsonl --out tuned.tagm");
    let provenance = Model::open(place.path("tuned.tagm")).unwrap().provenance().unwrap();
    assert_eq!((provenance.get("tune.folds"), provenance.get("calibrate.folds")), (None, Some("3")));
    place.text(&format!("{train} --calibrate platt --weights i8 --out i8.tagm"));
    assert_eq!(Model::open(place.path("i8.tagm")).unwrap().extensions().calibration, net.extensions().calibration);
}

/// Near-synonyms are no counterexamples of a tag, in training and where it is calibrated.
#[test]
fn what_rules_exclude_is_not_calibrated_on() {
    let place = Place::new();
    let item = |n: usize| {
        let tag = ["sea", "water", "dry", "dry"][n % 4];
        format!("{{\"keywords\":[\"{}\",\"k{}\"],\"tags\":[\"{tag}\"]}}\n", if n % 4 < 2 { "wet" } else { "sand" }, n % 3)
    };
    place.write("near.jsonl", (0..400).map(item).collect::<String>());
    place.write("rules.toml", "[tags.sea]\nnear = [\"water\"]\n");
    place.write("one.jsonl", "{\"keywords\":[\"wet\",\"k1\"]}\n");
    let score = |model: &str| {
        let tagged = place.json(&format!("tag {model} one.jsonl --all"));
        let tags = tagged["tags"].as_array().unwrap();
        tags.iter().find(|tag| tag["tag"] == "sea").unwrap()["score"].as_f64().unwrap()
    };
    let train = "train near.jsonl --tags rules.toml --epochs 5 --hidden 8 --lr 0.2";
    place.text(&format!("{train} --calibrate platt --out folds.tagm"));
    place.text(&format!("{train} --out m.tagm"));
    place.text("tune m.tagm near.jsonl --tags rules.toml --calibrate platt --out tuned.tagm");
    for model in ["m.tagm", "folds.tagm", "tuned.tagm"] {
        assert!(score(model) > 0.8, "{model}: {}", score(model));
    }
    let report = place.json("tune m.tagm near.jsonl --tags rules.toml --calibrate platt --out tuned.tagm");
    assert_eq!(report["excluded_pairs"], 100);
    // Without the rules half of them are counterexamples.
    place.text("tune m.tagm near.jsonl --raw-tags --calibrate platt --out other.tagm");
    assert!(score("other.tagm") < 0.6, "{}", score("other.tagm"));
}

#[test]
fn a_fold_that_fails_costs_the_calibration_alone() {
    let place = Place::new();
    let options = "--epochs 2 --hidden 4 --valid-fraction 0 --optimizer sgd --loss logit --lr 1e9 --threads 1";
    // At such a rate it is chance which training runs away.
    let whole = (1..60).find_map(|seed| {
        let train = format!("train items.jsonl --out m.tagm {options} --seed {seed}");
        let plain = place.run(&train);
        let bytes = plain.status.success().then(|| fs::read(place.path("m.tagm")).unwrap())?;
        let output = place.run(&format!("{train} --calibrate platt --folds 7"));
        (!output.status.success()).then_some((bytes, output))
    });
    let (bytes, output) = whole.expect("a seed with which a fold alone fails");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for words in ["error: m.tagm is written without a new calibration and thresholds: fold ", "is not finite in epoch"] {
        assert!(stderr.contains(words), "{stderr}");
    }
    assert!(fs::read(place.path("m.tagm")).unwrap() == bytes);
    // What a fold has too few items for is no wrong usage; without folds there are enough.
    let item = |n: usize| {
        let tags = if n.is_multiple_of(80) { "\"rare\"" } else { "" };
        format!("{{\"keywords\":[\"a{}\",\"b{}\",\"c{n}\"],\"tags\":[{tags}]}}\n", n % 30, n % 17)
    };
    place.write("rare.jsonl", (0..400).map(item).collect::<String>());
    let train = "train rare.jsonl --out - --epochs 2 --hidden 4 --valid-fraction 0 --negatives 0.1 --threads 1";
    let (plain, output) = (place.run(train), place.run(&format!("{train} --calibrate platt")));
    assert_eq!((plain.status.code(), output.status.code()), (Some(0), Some(1)));
    assert!(plain.stdout == output.stdout);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("error: standard output is written without"), "{stderr}");
}

#[test]
fn folds_that_cannot_be_are_refused() {
    let place = Place::with_model();
    let fails = |options: &str, words: &[&str]| place.fails(2, &format!("train items.jsonl --out n.tagm {options}"), words);
    fails("--folds 3", &["--folds", "--calibrate"]);
    fails("--calibrate platt --init m.tagm", &["--calibrate", "--init"]);
    fails("--threshold f1 --objective per-tag --only low", &["--threshold", "--only"]);
    fails("--threshold 0.3", &["precision:P", "tune"]);
    fails("--threshold precision:1.5", &["(0, 1]"]);
    fails("--calibrate platt --folds 1", &["--folds"]);
    fails("--calibrate platt --folds 401", &["--folds", "401 for 400 items"]);
    place.write("few.jsonl", "{\"keywords\":[\"a\"],\"tags\":[\"t\"]}\n{\"keywords\":[\"b\"],\"tags\":[]}\n".repeat(2));
    place.fails(2, "train few.jsonl --out n.tagm --min-count 1 --calibrate platt", &["--folds", "5 for 4 items"]);
}

#[test]
fn explain_takes_a_score_apart() {
    let place = Place::with_model();
    let document = place.json("explain m.tagm --keywords a1,b3,what,c2,a1,what --tag low");
    assert_fields(&document, &["tag", "logit", "bias", "keywords", "score", "threshold", "flip"]);
    assert_eq!((&document["tag"], &document["unknown"]), (&"low".into(), &serde_json::json!(["what"])));
    let keywords = document["keywords"].as_array().unwrap();
    let parts: Vec<f64> = keywords.iter().map(|keyword| keyword["contribution"].as_f64().unwrap()).collect();
    assert_eq!(parts.len(), 3);
    assert!(parts.windows(2).all(|pair| pair[0].abs() >= pair[1].abs()));
    let sum = parts.iter().sum::<f64>() + document["bias"].as_f64().unwrap();
    assert!((sum - document["logit"].as_f64().unwrap()).abs() < 1e-5, "{document}");

    // Scores are those that `tag` gives.
    let without = |left_out: &str| {
        let left: Vec<String> = ["a1", "b3", "c2"].iter().filter(|k| **k != left_out).map(|k| format!("\"{k}\"")).collect();
        place.write("one.jsonl", format!("{{\"keywords\":[{}]}}\n", left.join(",")));
        let tagged = place.json("tag m.tagm one.jsonl --all");
        tagged["tags"].as_array().unwrap().iter().find(|tag| tag["tag"] == "low").unwrap()["score"].clone()
    };
    assert_eq!(document["score"], without(""));
    for keyword in keywords {
        assert_eq!(keyword["score_without"], without(keyword["keyword"].as_str().unwrap()), "{keyword}");
    }

    // Without --tag it is the best one.
    place.write("one.jsonl", "{\"keywords\":[\"a1\",\"b3\",\"c2\"]}\n");
    let best = place.json("tag m.tagm one.jsonl --top 1");
    assert_eq!(place.json("explain m.tagm --keywords a1,b3,c2")["tag"], best["tags"][0]["tag"]);
    assert!(place.text("explain m.tagm --keywords a1,b3 --tag even").contains("(bias)"));

    // The score of a calibrated model is that of another logit, which is told too.
    assert_eq!(document["calibrated_logit"], Value::Null);
    place.text("tune m.tagm items.jsonl --out c.tagm --calibrate platt");
    let calibrated = place.json("explain c.tagm --keywords a1,b3,c2 --tag low");
    let [logit, score] = ["calibrated_logit", "score"].map(|field| calibrated[field].as_f64().unwrap());
    assert_eq!(calibrated["logit"], document["logit"]);
    assert!((1.0 / (1.0 + (-logit).exp()) - score).abs() < 1e-6, "{calibrated}");
    assert!(place.text("explain c.tagm --keywords a1 --tag low").contains("calibrated"));
}

#[test]
fn explain_refuses_what_it_cannot_tell() {
    let place = Place::with_model();
    place.fails(2, "explain m.tagm --keywords a1 --tag nope", &["--tag", "\"nope\""]);
    place.text("train items.jsonl --out s.tagm --epochs 1 --hidden 4 --activation sigmoid");
    place.fails(1, "explain s.tagm --keywords a1", &["piecewise linear", "sigmoid"]);
}

/// The thresholds were chosen on calibrated scores, and the calibration was one of the scores before.
#[test]
fn training_that_goes_on_leaves_a_calibration_and_its_thresholds_behind() {
    let place = Place::with_model();
    place.text("tune m.tagm items.jsonl --out plain.tagm");
    place.text("tune m.tagm items.jsonl --out calibrated.tagm --calibrate platt");
    for (init, left) in [("plain", false), ("calibrated", true)] {
        assert_ne!(threshold(&place, &format!("{init}.tagm"), "rare"), 0.5);
        let document = place.json(&format!("train items.jsonl --init {init}.tagm --epochs 1 --out n.tagm"));
        assert_eq!(document["calibration_left"], left);
        let kept = threshold(&place, "n.tagm", "rare") == threshold(&place, &format!("{init}.tagm"), "rare");
        assert!(if left { threshold(&place, "n.tagm", "rare") == 0.5 } else { kept });
        let told = place.text(&format!("train items.jsonl --init {init}.tagm --epochs 1 --out n.tagm"));
        assert_eq!(told.contains("left behind, thresholds are 0.5 again"), left, "{told}");
    }
}
