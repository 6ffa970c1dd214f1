//! Models as safetensors: there and back, and from a file that other software wrote.

use tagomatic::convert::{Conversion, convert};
use tagomatic::interchange::{self, Names, from_safetensors, to_safetensors};
use tagomatic::weights::WeightType;
use tagomatic::{Error, Model, Tagger};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interchange/");

fn movies() -> Model {
    Model::open(concat!(env!("CARGO_MANIFEST_DIR"), "/models/movies.tagm")).unwrap()
}

#[test]
fn a_model_that_goes_out_comes_in_byte_for_byte() {
    let movies = movies();
    assert!(movies.extensions().scores.is_some());
    let mut models = vec![tagomatic::edit::remove(&movies, &(3..62).collect::<Vec<_>>()).unwrap()];
    for weights in [WeightType::F16, WeightType::Bf16] {
        models
            .push(convert(&movies, Conversion { weights: Some(weights), ..Conversion::default() }, [[0; 0]; 0]).unwrap().model);
    }
    models.push(movies);
    for model in &models {
        let bytes = to_safetensors(model).unwrap();
        assert_eq!(to_safetensors(model).unwrap(), bytes, "the same bytes each time");
        let back = from_safetensors(&bytes, Names::default()).unwrap();
        assert!(back.bytes() == model.bytes());
    }
    let i8 = Conversion { weights: Some(WeightType::I8), ..Conversion::default() };
    let i8 = convert(&models[3], i8, [[0; 0]; 0]).unwrap().model;
    assert!(matches!(to_safetensors(&i8), Err(Error::Safetensors { .. })));
}

#[test]
fn files_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    interchange::save(&movies(), &path).unwrap();
    let bytes = std::fs::metadata(&path).unwrap().len();
    assert!(interchange::open_within(&path, Names::default(), bytes).unwrap().bytes() == movies().bytes());
    let error = interchange::open_within(&path, Names::default(), bytes - 1).unwrap_err();
    assert!(matches!(error, Error::Safetensors { path: Some(_), .. }), "{error}");
    assert!(error.to_string().contains(&format!("at most {} bytes", bytes - 1)), "{error}");
}

/// The net that `make.py` wrote answers what PyTorch says, from names in the file or beside it.
#[test]
fn a_file_of_other_software_is_served() {
    let expected: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(format!("{FOLDER}expected.json")).unwrap()).unwrap();
    let names = |what: &str, count: u32| Some((0..count).map(|n| format!("{what} {n}")).collect());
    let beside = Names { keywords: names("keyword", 40), tags: names("tag", 9) };
    for (file, names, key, weights) in
        [("tagger", Names::default(), "f32", WeightType::F32), ("nameless", beside, "f16", WeightType::F16)]
    {
        let model = interchange::open(format!("{FOLDER}{file}.safetensors"), names).unwrap();
        assert_eq!(model.weights().w1.weight_type(), weights);
        let tagger = Tagger::new(model);
        let (mut scratch, mut scores) = (tagger.scratch(), [0.0; 9]);
        for (item, row) in expected["items"].as_array().unwrap().iter().zip(expected[key].as_array().unwrap()) {
            let ids = item.as_array().unwrap().iter().map(|id| format!("keyword {id}")).collect::<Vec<_>>();
            let known = tagger.score_keywords(ids.iter().map(String::as_str), &mut scratch, &mut scores).unwrap();
            assert_eq!(known.unknown, 0);
            for (score, expected) in scores.iter().zip(row.as_array().unwrap()) {
                assert!((f64::from(*score) - expected.as_f64().unwrap()).abs() < 2e-6, "{score} {expected}");
            }
        }
    }
}

/// A file of these tensors, each of zeros, and this document.
fn file(tensors: &[(&str, &str, &[usize])], document: &str) -> Vec<u8> {
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    if !document.is_empty() {
        header.insert("__metadata__".to_owned(), serde_json::json!({ "tagomatic": document }));
    }
    for (name, dtype, shape) in tensors {
        let width = match *dtype {
            "F64" => 8,
            "F32" => 4,
            "U8" => 1,
            _ => 2,
        };
        let start = end;
        end += width * shape.iter().product::<usize>();
        header.insert((*name).to_owned(), serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] }));
    }
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes()[..], &header, &vec![0; end]].concat()
}

const TENSORS: [(&str, &str, &[usize]); 2] = [("embedding.weight", "F32", &[3, 2]), ("output.weight", "F32", &[1, 2])];
const DOCUMENT: &str = r#"{"keywords":["a","b","c"],"tags":["t"]}"#;

#[test]
fn what_is_left_out_has_a_default() {
    let model = from_safetensors(&file(&TENSORS, DOCUMENT), Names::default()).unwrap();
    let network = model.network();
    assert_eq!((network.eps, network.activation.to_string(), network.pooling.to_string()), (0.0, "relu".into(), "sum".into()));
    assert_eq!((model.tags()[0].threshold, model.tags().next_id()), (0.5, 1));
    let tagger = Tagger::new(model);
    let mut scores = [0.0];
    tagger.score(&[0, 2], &mut tagger.scratch(), &mut scores).unwrap();
    assert_eq!(scores, [0.5]);
}

#[test]
fn a_file_that_is_none_is_told_what_it_lacks() {
    let document = |more: &str| DOCUMENT.replace('}', &format!(",{more}}}"));
    let refused = |bytes: &[u8], words: &str| {
        let error = from_safetensors(bytes, Names::default()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    for (tensors, words) in [
        (&[TENSORS[0]][..], "output.weight: expected a tensor of this name"),
        (&[TENSORS[1]], "embedding.weight: expected a tensor"),
        (&[TENSORS[0], ("output.weight", "F32", &[1, 3])], "output.weight: expected shape [1, 2], found [1, 3]"),
        (&[TENSORS[0], ("output.weight", "F32", &[2])], "tags x hidden units"),
        (&[TENSORS[0], ("output.weight", "F64", &[1, 2])], "type F32, F16 or BF16"),
        (&[TENSORS[0], TENSORS[1], ("hidden_bias", "F32", &[3])], "hidden_bias: expected shape [2]"),
        (&[TENSORS[0], TENSORS[1], ("output.bias", "F16", &[1])], "output.bias: expected type F32"),
        (&[TENSORS[0], TENSORS[1], ("extra", "F32", &[1])], "found \"extra\""),
        (&[TENSORS[0], TENSORS[1], ("tagomatic.SDIS", "U8", &[7])], "SDIS"),
        (&[("embedding.weight", "F32", &[4, 2]), TENSORS[1]], "keywords: expected as many names"),
    ] {
        refused(&file(tensors, DOCUMENT), words);
    }
    refused(
        &file(
            &[("embedding.weight", "F32", &[0, 1 << 30]), ("output.weight", "F32", &[0, 1 << 30])],
            r#"{"keywords":[],"tags":[]}"#,
        ),
        "hidden units",
    );
    for (more, words) in [
        (r#""activation":"gelu""#, "activation of the metadata: expected"),
        (r#""pooling":"max""#, "pooling"),
        (r#""eps":0.5"#, "eps"),
        (r#""thresholds":[2]"#, "threshold"),
        (r#""thresholds":[0.1,0.2]"#, "thresholds: expected as many as tags"),
        (r#""tag_ids":[0]"#, "tag_ids, next_tag_id"),
        (r#""tag_ids":[3],"next_tag_id":3"#, "next free id"),
        (r#""layout":"rows""#, "layout"),
        (r#""colour":"red""#, "colour"),
        (r#""provenance":{"A":"b"}"#, "A"),
    ] {
        refused(&file(&TENSORS, &document(more)), words);
    }
    refused(&file(&TENSORS, ""), "keywords: expected their names");
    refused(&file(&TENSORS, r#"{"keywords":["a","a","c"],"tags":["t"]}"#), "\"a\"");
    let good = file(&TENSORS, DOCUMENT);
    for length in 0..good.len() {
        assert!(matches!(from_safetensors(&good[..length], Names::default()), Err(Error::Safetensors { .. })), "{length}");
    }
}

#[cfg(feature = "cli")]
#[test]
fn the_program_converts_both_ways() {
    use super::cli::Place;
    let place = Place::with_model();
    place.json("convert m.tagm m.safetensors");
    place.json("convert m.safetensors back.tagm");
    let bytes = |name: &str| std::fs::read(place.path(name)).unwrap();
    assert!(bytes("m.tagm") == bytes("back.tagm"));
    std::fs::copy(format!("{FOLDER}nameless.safetensors"), place.path("n.safetensors")).unwrap();
    let names = |what: &str, count: u32| (0..count).map(|n| format!("{what} {n}\n")).collect::<String>();
    place.write("words.txt", names("keyword", 40));
    place.write("tags.txt", names("tag", 9));
    place.json("convert n.safetensors n.tagm --vocabulary words.txt --tags tags.txt");
    assert_eq!(place.json("info n.tagm")["tags"], 9);
    place.fails(1, "convert n.safetensors no.tagm", &["n.safetensors", "keywords: expected their names"]);
    place.fails(2, "convert m.tagm no.tagm --tags tags.txt --weights f16", &["--tags", ".safetensors"]);
    place.fails(2, "convert m.tagm no.tagm", &["--weights, --prune or a .safetensors file"]);
}
