//! `check`, from the outside.

use std::fs;

use serde_json::{Value, json};

use super::cli::{Place, assert_fields, items};

fn lines(place: &Place, name: &str) -> Vec<String> {
    fs::read_to_string(place.path(name)).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn faults_duplicates_and_leaks_are_counted() {
    let place = Place::new();
    place.write(
        "a.jsonl",
        "{\"id\":1,\"keywords\":[\"sea\",\"war\"],\"tags\":[\"t\"]}\nnonsense\n{\"id\":2,\"keywords\":[\"war\",\"sea\"],\"tags\":[]}\n",
    );
    place.write(
        "b.jsonl",
        "{\"id\":3,\"keywords\":[\"sea\",\"war\"],\"tags\":[\"u\"]}\n{\"id\":1,\"keywords\":[],\"tags\":[\"T/Sea\"]}\n",
    );
    let report = place.json("check a.jsonl b.jsonl --on-error skip");
    assert_fields(&report, &["samples", "keywords", "tags", "mean_keywords", "mean_tags", "duplicates", "faults"]);
    let of = |field: &str| report[field].clone();
    assert_eq!([of("samples"), of("keywords"), of("tags"), of("untagged")], [4, 2, 3, 1].map(Value::from));
    assert_eq!([of("mean_keywords"), of("mean_tags")], [1.5, 0.75].map(Value::from));
    assert_eq!([of("duplicates"), of("contradictions"), of("faults")], [2, 2, 3].map(Value::from));
    let fault = |kind: &str| report["details"].as_array().unwrap().iter().find(|f| f["fault"] == kind).unwrap().clone();
    assert!(fault("malformed lines")["examples"][0].as_str().unwrap().starts_with("a.jsonl:2"));
    assert_eq!(fault("items without keywords")["examples"], json!(["b.jsonl:2"]));
    assert_eq!(fault("items with the id of an earlier one")["examples"], json!(["b.jsonl:2: 1"]));
    assert_eq!(of("leaks"), json!([{"file": "a.jsonl", "other": "b.jsonl", "ids": 1, "keyword_sets": 1}]));
    let text = place.text("check a.jsonl b.jsonl --on-error skip");
    assert!(text.contains("a.jsonl:2:1: expected a JSON object") && text.contains("found `nonsense"), "{text}");
    assert!(text.contains("b.jsonl: 1 ids and 1 sets of keywords of a.jsonl"), "{text}");
}

#[test]
fn a_split_leaks_nothing_and_keeps_the_lines() {
    let place = Place::new();
    let items = lines(&place, "items.jsonl");
    // Each third item again, under another id and with a field that nobody knows.
    let again = |line: &String| line.replacen("\"id\":", "\"title\":\"é\",\"id\":1000", 1);
    let twice: Vec<String> = items.iter().step_by(3).map(again).collect();
    place.write("all.jsonl", [items.clone(), twice.clone()].concat().join("\r\n"));
    let report = place.json("check all.jsonl --split parts --test 0.25 --valid 0.25 --seed 3");
    let parts = ["train", "valid", "test"].map(|part| lines(&place, &format!("parts/{part}.jsonl")));
    for (part, (lines, share)) in parts.iter().zip([0.5, 0.25, 0.25]).enumerate() {
        assert_eq!(report["split"][part]["samples"], lines.len());
        let expected = share * (items.len() + twice.len()) as f64;
        assert!((lines.len() as f64 - expected).abs() < 0.1 * expected, "{part}: {} of {expected}", lines.len());
    }
    let mut all = parts.concat();
    let mut expected = [items, twice].concat();
    all.sort();
    expected.sort();
    assert_eq!(all, expected);
    let again = place.json("check parts/train.jsonl parts/valid.jsonl parts/test.jsonl");
    assert_eq!((&again["leaks"], &again["duplicates"]), (&json!([]), &report["duplicates"]));
    // The same again, and another one for another seed.
    place.text("check all.jsonl --split again --test 0.25 --valid 0.25 --seed 3");
    place.text("check all.jsonl --split other --test 0.25 --valid 0.25 --seed 4");
    assert_eq!(lines(&place, "again/test.jsonl"), parts[2]);
    assert_ne!(lines(&place, "other/test.jsonl"), parts[2]);
}

#[test]
fn malformed_lines_fail_in_the_end_and_nothing_is_split() {
    let place = Place::new();
    place.write("faulty.jsonl", items() + "nonsense\n{\"keywords\":[\"sea\",\"sea\"]}\n");
    let output = place.run("check faulty.jsonl --split parts --json");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &report["faults"], &report["split"]), (Some(1), &json!(2), &Value::Null));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("found 1 that are not, so nothing is split") && message.contains("--on-error skip"), "{message}");
    assert!(!place.path("parts").exists());
    let report = place.json("check faulty.jsonl --split parts --on-error skip");
    assert_eq!((&report["faults"], report["split"].as_array().unwrap().len()), (&json!(2), 2));

    place.write("nonsense.jsonl", "nonsense\n".repeat(3));
    for arguments in ["check nonsense.jsonl", "check nonsense.jsonl --on-error skip --split none"] {
        let output = place.run(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && message.contains("error: "), "{arguments}: {message}");
        assert!(String::from_utf8(output.stdout).unwrap().contains("malformed lines"), "{arguments}");
    }
    assert!(!place.path("none").exists());
}

#[test]
fn a_stale_part_is_no_neighbour_of_new_ones() {
    let place = Place::new();
    place.text("check items.jsonl --split parts --valid 0.2");
    let before = lines(&place, "parts/train.jsonl");
    place.fails(2, "check items.jsonl --split parts", &["--split: ", "found parts/valid.jsonl", "remove it"]);
    assert_eq!(lines(&place, "parts/train.jsonl"), before);
    fs::remove_file(place.path("parts/valid.jsonl")).unwrap();
    place.text("check items.jsonl --split parts");
    // What is read is not to be removed.
    place.write("valid.jsonl", items());
    place.fails(2, "check valid.jsonl --split .", &["expected a file of its own, found valid.jsonl"]);
}

#[test]
fn endless_names_do_not_flood_the_terminal() {
    let place = Place::new();
    let long = "x".repeat(1_000_000);
    let item = format!("{{\"id\":\"{long}\",\"keywords\":[\"{long}\"],\"tags\":[\"{long}\"]}}\n");
    place.write("long.jsonl", items() + &item.repeat(6));
    let text = place.text("check long.jsonl --on-error skip");
    assert!(text.len() < 5000 && text.contains(&format!("{0}... -> {0}..., is its name", "x".repeat(60))), "{}", text.len());
    let report = place.json("check long.jsonl --on-error skip");
    assert!(report["suspects"].as_array().unwrap().iter().any(|suspect| suspect["keyword"] == long));
}

#[test]
fn bad_wishes_are_refused() {
    let place = Place::new();
    place.fails(1, "check nope.jsonl", &["nope.jsonl"]);
    place.fails(2, "check items.jsonl --split parts --test 0.6 --valid 0.4", &["--test, --valid", "leave something"]);
    for wrong in ["--test 1", "--split", "--seed 1"] {
        assert_eq!(place.run(&format!("check items.jsonl {wrong}")).status.code(), Some(2), "{wrong}");
    }
    place.write("file", "");
    place.fails(1, "check items.jsonl --split file", &["make the folder"]);
}
