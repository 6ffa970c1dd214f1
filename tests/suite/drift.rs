//! Scores that are, and are not, those of the training.

use tagomatic::calibration::{Calibration, Curve};
use tagomatic::data::{Corpus, Item};
use tagomatic::drift::Drift;
use tagomatic::format::Extensions;
use tagomatic::train::TrainConfig;
use tagomatic::train::recipe::{TrainingSet, Validation};
use tagomatic::{Error, Level, Model, ModelParts, Tagger};

/// Item n of a stream of which the items are alike; `rare` of a hundred are of the tag.
fn item(n: u32, rare: u32) -> Item {
    let hash = n.wrapping_mul(0x9E37_79B9).rotate_left(13).wrapping_mul(0x85EB_CA6B) >> 8;
    let tagged = hash % 100 < rare;
    let keywords = [format!("a{}", hash % 7), format!("b{}", hash / 100 % 11), (if tagged { "yes" } else { "no" }).to_owned()];
    let tags = if tagged { vec!["t".to_owned()] } else { vec!["u".to_owned(); usize::from(hash.is_multiple_of(3))] };
    Item { keywords: keywords.into(), tags, ..Item::default() }
}

fn model() -> Model {
    let mut corpus = Corpus::new();
    (0..4000).for_each(|n| corpus.push(&item(n, 20)).unwrap());
    let set = TrainingSet::new(corpus, 1).unwrap();
    let config = TrainConfig { hidden: 8, epochs: 3, ..TrainConfig::default() };
    // The net that is validated is the one that serves: half of the items are too many for one trained anew to score alike.
    let validation = Validation::Split { fraction: 0.5, refit: false };
    set.train(config, validation, Level::best(), None, &mut |_, _| std::ops::ControlFlow::Continue(())).unwrap().0
}

fn served(tagger: &Tagger, first: u32, rare: u32) -> Drift {
    let mut drift = Drift::new(tagger).unwrap();
    let (mut scratch, mut scores) = (tagger.scratch(), vec![0.0; tagger.tags().len()]);
    for n in first..first + 2000 {
        let item = item(n, rare);
        tagger.score_keywords(item.keywords.iter().map(String::as_str), &mut scratch, &mut scores).unwrap();
        drift.record(&scores).unwrap();
    }
    drift
}

#[test]
fn drift_is_seen_where_there_is_some() {
    let tagger = Tagger::new(model());
    let known = tagger.model().extensions().scores.clone().unwrap();
    // The half that was validated on.
    assert!(known.tags().iter().all(|tag| (1900..2100).contains(&tag.items())));
    let alike = served(&tagger, 10_000, 20);
    for tag in 0..2 {
        let (psi, noise) = (alike.psi(tag).unwrap(), alike.noise(tag).unwrap());
        assert!(psi < 5.0 * noise && noise < 0.02, "{psi} {noise}");
    }
    let other = served(&tagger, 10_000, 60);
    assert!(other.psi(0).unwrap() > 0.25, "{:?}", other.psi(0));

    let mut sum = served(&tagger, 10_000, 20);
    sum.merge(&served(&tagger, 12_000, 20)).unwrap();
    assert_eq!(sum.items(), 4000);
    assert!(matches!(sum.record(&[0.5]), Err(Error::Length { .. })));
    assert!(sum.record(&[0.5; 4]).is_ok());
}

#[test]
fn what_changes_no_logit_changes_no_drift() {
    let model = model();
    let provenance = model.provenance().unwrap();
    let curves = [Curve::linear(0.5, -3.0), Curve::linear(2.0, 1.0)];
    let extensions = Extensions { calibration: Some(Calibration::new(&curves).unwrap()), ..model.extensions().clone() };
    let calibrated = ModelParts { extensions: &extensions, ..model.parts(&provenance) }.to_model().unwrap();
    let removed = tagomatic::edit::remove(&model, &[0]).unwrap();
    let kept = removed.extensions().scores.clone().unwrap();
    assert_eq!(kept.tags(), &model.extensions().scores.as_ref().unwrap().tags()[1..]);

    let [plain, calibrated] = [model, calibrated].map(Tagger::new);
    let [a, b] = [&plain, &calibrated].map(|tagger| served(tagger, 20_000, 30));
    for tag in 0..2 {
        let (a, b) = (a.psi(tag).unwrap(), b.psi(tag).unwrap());
        // But for bins that clamping makes one.
        assert!((a - b).abs() < 0.05 * a.max(0.1), "{a} {b}");
    }
    assert!(matches!(a.clone().merge(&b), Err(Error::Config { option: "drift", .. })));
    let without = ModelParts { extensions: &Extensions::default(), ..plain.model().parts(&provenance) }.to_model().unwrap();
    assert!(Drift::new(&Tagger::new(without)).is_none());
}

#[cfg(feature = "cli")]
#[test]
fn tag_tells_at_the_end_what_it_did() {
    let place = super::cli::Place::with_model();
    let plain = place.text("tag m.tagm items.jsonl --json");
    let output = place.run("tag m.tagm items.jsonl --json --stats --threads 3");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), plain);
    let stats: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    let items = plain.lines().count();
    assert_eq!(stats["items"], items);
    let known = plain.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["known"].as_u64().unwrap());
    assert_eq!(stats["known_keywords"], known.sum::<u64>());
    let time = |name: &str| stats["latency_us"][name].as_f64().unwrap();
    assert!(0.0 < time("p50") && time("p50") <= time("p99") && time("p99") <= time("longest"));
    let drift = stats["drift"].as_array().unwrap();
    let psi: Vec<f64> = drift.iter().map(|tag| tag["psi"].as_f64().unwrap()).collect();
    assert!(psi.is_sorted_by(|a, b| a >= b) && psi.len() == 3, "{psi:?}");
    let text = String::from_utf8(place.run("tag m.tagm items.jsonl --stats").stderr).unwrap();
    assert!(text.contains(&format!("items                   {items}")) && text.contains("drift"), "{text}");
}
