//! Where a training begins.

use tagomatic::aligned::as_floats;
use tagomatic::network::Weights;
use tagomatic::rng::{Parameter, Philox};
use tagomatic::train::{Anchor, AnchorKind, Objective, Statistics, TrainConfig, Trainer};
use tagomatic::{Tags, Vocabulary};

/// He's radius for W1 by the keywords that an item has, or Glorot's for sigmoid units; Glorot's for W2, whose rows are units, or tags
/// in an anchor model; and the log-odds of each tag.
#[test]
fn initial_weights_are_those_of_their_streams() {
    let statistics = Statistics { samples: 60, mean_keywords: 5.5, positives: (0..40).collect() };
    let anchor = Objective::Anchor(Anchor { kind: AnchorKind::Hidden, ..Anchor::default() });
    for (activation, inputs, objective) in [
        ("relu", 5.5, Objective::Tagger),
        ("leaky_relu:0.5", 1.25 * 5.5, Objective::Tagger),
        ("sigmoid", 5.5 + 20.0, Objective::Tagger),
        ("relu", 5.5, anchor),
    ] {
        let config = TrainConfig { hidden: 20, objective, activation: activation.parse().unwrap(), ..TrainConfig::default() };
        let vocabulary = Vocabulary::from_keywords((0..200).map(|n| format!("k{n}"))).unwrap();
        let tags = Tags::from_names((0..40).map(|n| format!("t{n}"))).unwrap();
        let trainer = Trainer::new(config.clone(), vocabulary, tags, &statistics).unwrap();
        let (snapshot, shape) = (trainer.snapshot(), &trainer.network().shape);
        let Weights { w1, b1, w2, b2 } = snapshot.weights();
        let drawn = |stream, radius: f64, count| {
            let mut values = vec![0.0; count];
            Philox::new(config.seed).uniform(stream, radius as f32, 0, &mut values);
            values
        };
        let expected = drawn(Parameter::W1, config.initial_scale * (6.0_f64 / inputs).sqrt(), 200 * 20);
        for (row, expected) in as_floats(w1).chunks(32).zip(expected.chunks(20)) {
            assert_eq!((&row[..20], &row[20..]), (expected, &[0.0; 12][..]), "{activation}");
        }
        assert!(as_floats(b1).iter().all(|b| *b == 0.0));
        let stream = if objective == Objective::Tagger { Parameter::W2 } else { Parameter::TagVectors };
        for (i, expected) in drawn(stream, (6.0_f64 / 60.0).sqrt(), 20 * 40).into_iter().enumerate() {
            let (unit, tag) = if objective == Objective::Tagger { (i / 40, i % 40) } else { (i % 20, i / 20) };
            assert_eq!(as_floats(w2)[shape.w2_index(&shape.groups()[0], unit, tag)], expected, "{unit} {tag}");
        }
        for (tag, &positives) in statistics.positives.iter().enumerate() {
            let odds = (positives as f64 + 1.0) / (60.0 - positives as f64 + 1.0);
            let expected = if objective == Objective::Tagger { odds.ln() } else { 0.0 };
            assert!((f64::from(as_floats(b2)[shape.slot(tag)]) - expected).abs() < 1e-6, "{tag}");
        }
    }
}
