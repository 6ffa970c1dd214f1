//! Sets of keywords that change one by one score as if they were scored afresh.

use tagomatic::accumulator::Accumulator;
use tagomatic::network::{Activation, Network, OutputLayout, Pooling};
use tagomatic::rng::Philox;
use tagomatic::{Error, Level, ModelParts, Provenance, Tagger};

use super::serving::{bits, calibrated, copy, pooled};

const KEYWORDS: u32 = 60;

#[test]
fn any_walk_ends_in_the_bits_of_a_fresh_evaluation() {
    for (hidden, group_tags, layout) in [
        (40, &[1][..], OutputLayout::TagMajor),
        (33, &[70], OutputLayout::Panels),
        (7, &[3, 17, 1], OutputLayout::Panels),
        (0, &[3], OutputLayout::Panels),
    ] {
        for pooling in [Pooling::Sum, Pooling::Mean] {
            let model = pooled(pooling, KEYWORDS as usize, hidden, group_tags, layout);
            for level in Level::available() {
                walk(&Tagger::with_level(copy(&model), level).unwrap());
            }
        }
    }
}

/// Units whose padding is not 0 by itself, and scores that a map comes before.
#[test]
fn walks_of_other_activations_and_of_calibrated_models() {
    for activation in [Activation::Sigmoid, Activation::Elu(1.0), Activation::Identity] {
        for (hidden, group_tags, layout) in [(33, &[70, 3][..], OutputLayout::Panels), (7, &[4], OutputLayout::TagMajor)] {
            for pooling in [Pooling::Sum, Pooling::Mean] {
                let model = pooled(pooling, KEYWORDS as usize, hidden, group_tags, layout);
                let network = Network { activation, ..model.network().clone() };
                let model = ModelParts { network: &network, ..model.parts(&Provenance::new()) }.to_model().unwrap();
                walk(&Tagger::new(calibrated(&model)));
            }
        }
    }
}

fn walk(tagger: &Tagger) {
    let rng = Philox::new(3);
    let mut scratch = tagger.scratch();
    let mut item = Accumulator::new(tagger);
    let mut found = vec![0.0; tagger.tags().len()];
    let mut fresh = found.clone();
    for step in 0..300 {
        let [word, other, what, _] = rng.block([step, 0, 0, 0]);
        let id = word % KEYWORDS;
        // More is added than removed at first, then the other way round.
        let adds = what % 8 < if step < 150 { 6 } else { 2 };
        let was_there = item.ids().contains(&id);
        let changed = if adds { item.add(id).unwrap() } else { item.remove(id) };
        assert_eq!(changed, was_there != adds);
        // Several changes at once, too.
        if what >> 8 & 1 == 0 {
            continue;
        }
        item.score(&mut found).unwrap();
        tagger.score(item.ids(), &mut scratch, &mut fresh).unwrap();
        assert_eq!(bits(&found), bits(&fresh), "step {step}: {:?}", item.ids());
        item.logits(&mut found).unwrap();
        tagger.logits(item.ids(), &mut scratch, &mut fresh).unwrap();
        assert_eq!(bits(&found), bits(&fresh));
        let without = other % KEYWORDS;
        let left: Vec<u32> = item.ids().iter().copied().filter(|id| *id != without).collect();
        item.score_without(without, &mut found).unwrap();
        tagger.score(&left, &mut scratch, &mut fresh).unwrap();
        assert_eq!(bits(&found), bits(&fresh), "step {step}: {:?} without {without}", item.ids());
        item.logits_without(without, &mut found).unwrap();
        tagger.logits(&left, &mut scratch, &mut fresh).unwrap();
        assert_eq!(bits(&found), bits(&fresh));
    }
}

#[test]
fn a_keyword_that_is_not_there_changes_nothing() {
    let tagger = Tagger::new(pooled(Pooling::Sum, 5, 4, &[2], OutputLayout::TagMajor));
    let mut item = Accumulator::new(&tagger);
    assert!(matches!(item.add(5), Err(Error::KeywordOutOfRange { id: 5, keywords: 5, .. })));
    assert!(!item.remove(1) && item.add(1).unwrap() && !item.add(1).unwrap());
    assert_eq!(item.ids(), [1]);
    assert!(matches!(item.score(&mut [0.0; 3]), Err(Error::Length { .. })));
    assert!(matches!(item.logits_without(1, &mut [0.0; 1]), Err(Error::Length { .. })));
}
