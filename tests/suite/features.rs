//! `features` and `tags taxonomy`, from the outside: a model as a building block.

use std::fs;

use serde_json::Value;
use tagomatic::features::{Features, Kind};
use tagomatic::{Model, Tagger};

use super::cli::{Place, assert_fields, items};

/// The rows of a NumPy file with `columns` columns.
fn npy(place: &Place, name: &str, columns: usize) -> Vec<Vec<f32>> {
    let bytes = fs::read(place.path(name)).unwrap();
    let length = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let floats: Vec<f32> = bytes[10 + length..].chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let rows: Vec<Vec<f32>> = floats.chunks(columns).map(<[f32]>::to_vec).collect();
    let header = String::from_utf8(bytes[10..10 + length].to_vec()).unwrap();
    assert!((10 + length).is_multiple_of(64) && header.contains(&format!("'shape': ({}, {columns})", rows.len())), "{header}");
    rows
}

#[test]
fn features_are_what_the_model_says() {
    let place = Place::with_model();
    place.text("tune m.tagm items.jsonl --out n.tagm --calibrate isotonic");
    let model = Model::open(place.path("n.tagm")).unwrap();
    let thresholds: Vec<f32> = model.tags().iter().map(|tag| tag.threshold).collect();
    let tagger = Tagger::new(model);
    for (options, kind, columns) in [
        ("", Kind::Confidences, 3),
        ("--what logits", Kind::Logits, 3),
        ("--what decisions", Kind::Decisions, 3),
        ("--hidden", Kind::Hidden, 16),
    ] {
        let report = place.json(&format!("features n.tagm items.jsonl --out f.npy {options}"));
        assert_fields(&report, &["rows", "columns"]);
        assert_eq!((&report["rows"], &report["columns"]), (&400.into(), &columns.into()));
        let rows = npy(&place, "f.npy", columns);
        let mut features = Features::new(&tagger, kind);
        for (row, line) in rows.iter().zip(items().lines()) {
            let item: Value = serde_json::from_str(line).unwrap();
            let keywords = item["keywords"].as_array().unwrap().iter().map(|keyword| keyword.as_str().unwrap());
            assert_eq!(features.row(keywords).unwrap(), row);
        }
    }
    let [confidences, logits, decisions] = ["confidences", "logits", "decisions"].map(|what| {
        place.text(&format!("features n.tagm items.jsonl --out f.npy --what {what}"));
        npy(&place, "f.npy", 3).concat()
    });
    for (i, ((&p, &z), &d)) in confidences.iter().zip(&logits).zip(&decisions).enumerate() {
        assert!((f64::from(p) - 1.0 / (1.0 + (-f64::from(z)).exp())).abs() < 1e-6, "{i}: {p} {z}");
        assert!(z.abs() <= 9.211 && d == f32::from(u8::from(p >= thresholds[i % 3])));
    }
}

#[test]
fn tags_of_tags_are_learnt_from_decided_tags() {
    let place = Place::with_model();
    place.text("tune m.tagm items.jsonl --out n.tagm");
    let report = place.json("features n.tagm items.jsonl --what keywords --out decided.jsonl");
    assert_eq!((&report["rows"], &report["columns"]), (&400.into(), &3.into()));
    let decided: Vec<Value> = fs::read_to_string(place.path("decided.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let tagged = place.text("tag n.tagm items.jsonl --json");
    for ((decided, tagged), line) in decided.iter().zip(tagged.lines()).zip(items().lines()) {
        let (tagged, item): (Value, Value) = (serde_json::from_str(tagged).unwrap(), serde_json::from_str(line).unwrap());
        let mut given: Vec<&str> = tagged["tags"].as_array().unwrap().iter().map(|tag| tag["tag"].as_str().unwrap()).collect();
        given.sort_unstable();
        assert_eq!(decided["keywords"], serde_json::json!(given));
        assert_eq!((&decided["tags"], decided["id"].as_str().unwrap()), (&item["tags"], &item["id"].to_string()[..]));
    }
    // The same on a stream, and a model of models.
    assert_eq!(
        place.text("features n.tagm items.jsonl --what keywords --out -"),
        fs::read_to_string(place.path("decided.jsonl")).unwrap()
    );
    place.text("train decided.jsonl --out second.tagm --epochs 20 --hidden 4 --min-count 1");
    let measures = place.json("eval second.tagm decided.jsonl");
    let even = measures["tags"].as_array().unwrap().iter().find(|tag| tag["tag"] == "even").unwrap();
    assert!(even["auc"].as_f64().unwrap() > 0.75, "{measures}");
}

#[test]
fn bad_wishes_are_refused() {
    let place = Place::with_model();
    place.fails(2, "features m.tagm items.jsonl --out -", &["--out", "number of rows"]);
    place.fails(2, "features m.tagm items.jsonl --out items.jsonl", &["--out", "items.jsonl"]);
    place.fails(1, "features m.tagm nope.jsonl --out f.npy", &["nope.jsonl"]);
    place.write("bad.jsonl", "{\"keywords\":[\"a1\"]}\nnonsense\n");
    place.fails(1, "features m.tagm bad.jsonl --out f.npy", &["bad.jsonl:2"]);
    assert_eq!(place.json("features m.tagm bad.jsonl --out f.npy --on-error skip")["skipped"], 1);
}

#[test]
fn a_taxonomy_is_a_tree_of_all_tags() {
    let place = Place::with_model();
    for options in ["", "--on items.jsonl"] {
        let document = place.json(&format!("tags taxonomy m.tagm --min-similarity -1 {options}"));
        let merges = document["merges"].as_array().unwrap();
        let similarity = |merge: &Value| merge["similarity"].as_f64().unwrap();
        assert_eq!(merges.len(), 2);
        assert!(similarity(&merges[0]) >= similarity(&merges[1]));
        let names: Vec<&str> =
            merges.iter().flat_map(|merge| [&merge["a"], &merge["b"]]).map(|name| name.as_str().unwrap()).collect();
        for name in ["low", "even", "rare", "#1"] {
            assert_eq!(names.iter().filter(|found| **found == name).count(), 1, "{names:?}");
        }
        assert_eq!(document["groups"][0]["tags"].as_array().unwrap().len(), 3);
        let text = place.text(&format!("tags taxonomy m.tagm {options}"));
        assert!(text.contains("├ ") && ["low", "even", "rare"].iter().all(|tag| text.contains(tag)), "{text}");
    }
    // By weights the first merge is of the two that are nearest.
    let first = place.json("tags taxonomy m.tagm")["merges"][0].clone();
    let near = place.json(&format!("tags near m.tagm {} --top 1", first["a"].as_str().unwrap()));
    assert_eq!(near["near"][0]["tag"], first["b"]);
    assert!((near["near"][0]["similarity"].as_f64().unwrap() - first["similarity"].as_f64().unwrap()).abs() < 1e-12);
}

#[test]
fn a_proposed_taxonomy_trains_and_parents_are_not_below_their_children() {
    let place = Place::with_model();
    place.text("tags taxonomy m.tagm --min-similarity -1 --out rules.toml");
    let rules = fs::read_to_string(place.path("rules.toml")).unwrap();
    assert_eq!(rules, place.text("tags taxonomy m.tagm --min-similarity -1 --out -"));
    let parent = rules.lines().find_map(|line| line.strip_prefix("parents = [\"")?.strip_suffix("\"]")).unwrap();
    place.text("train items.jsonl --tags rules.toml --out p.tagm --epochs 3 --hidden 16");
    let (old, new) = (Model::open(place.path("m.tagm")).unwrap(), Model::open(place.path("p.tagm")).unwrap());
    assert_eq!(new.tags().len(), 4);
    for tag in old.tags() {
        assert_eq!(new.tags().get(&tag.name).map(|index| new.tags()[index].id), Some(tag.id));
    }
    // Nobody has the parent in these items, so its calibrated scores fall below those of its children.
    place.text(&format!("tune p.tagm items.jsonl --out low.tagm --calibrate platt --tag {parent}"));
    let scores = |options: &str| {
        let lines = place.text(&format!("tag low.tagm items.jsonl --all --json {options}"));
        let of_line = |line: &str| {
            let tagged: Value = serde_json::from_str(line).unwrap();
            let tags = tagged["tags"].as_array().unwrap().clone();
            let score = |wanted: bool| {
                let of = tags.iter().filter(|tag| (tag["tag"] == parent) == wanted);
                of.map(|tag| tag["score"].as_f64().unwrap()).fold(0.0, f64::max)
            };
            (score(true), score(false))
        };
        lines.lines().map(of_line).collect::<Vec<(f64, f64)>>()
    };
    let (plain, consistent) = (scores(""), scores("--consistent"));
    assert!(plain.iter().any(|(parent, children)| parent < children), "nothing to mend");
    for ((parent, children), (raised, same)) in plain.iter().zip(&consistent) {
        assert_eq!((raised, same), (&parent.max(*children), children));
    }
    place.fails(2, "tag m.tagm items.jsonl --consistent", &["--consistent", "parents"]);
}

#[test]
fn too_few_known_keywords_give_no_tags() {
    let place = Place::with_model();
    place.write("few.jsonl", "{\"keywords\":[\"a1\",\"what\"]}\n{\"keywords\":[\"a1\",\"b2\",\"a1\"]}\n");
    let lines = place.text("tag m.tagm few.jsonl --all --min-known 2 --json");
    let tagged: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |line: usize| {
        (tagged[line]["known"].clone(), tagged[line]["abstained"].clone(), tagged[line]["tags"].as_array().unwrap().len())
    };
    assert_eq!(of(0), (1.into(), true.into(), 0));
    assert_eq!(of(1), (2.into(), false.into(), 3));
}
