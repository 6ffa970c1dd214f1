//! What a model must do once it is open.

use super::source::{Source, bits};
use tagomatic::accumulator::Accumulator;
use tagomatic::explain::explain;
use tagomatic::selection::Selection;
use tagomatic::{Error, Level, Model, Tagger};

/// A refusal must be of the kind that a bad model gets, and say something.
pub fn refused(error: &Error) {
    assert!(matches!(error, Error::Model { .. } | Error::NewerModel { .. } | Error::TooLarge { .. }), "{error:?}");
    assert!(error.to_string().len() > 10);
}

/// A model that was accepted is whole, canonical, and scores the same at every level.
pub fn whole(model: Model, bytes: &[u8]) {
    assert!(model.bytes() == bytes, "other bytes than were read");
    model.verify().expect("what was opened is valid");
    let provenance = model.provenance().expect("what was opened is valid");
    let vocabulary = model.vocabulary();
    for (id, keyword) in vocabulary.iter().enumerate() {
        assert_eq!(vocabulary.get(keyword), Some(id as u32));
    }
    // Unknown sections are left behind by parts: without them, the same parts are the same bytes.
    let again = model.parts(&provenance).to_model().expect("the parts of a valid model");
    let known = model.sections().iter().all(|section| again.sections().iter().any(|other| other.name() == section.name()));
    assert_eq!(again.bytes() == bytes, known);
    scores(&model, &Model::from_bytes(again.bytes()).expect("a model that was made"));
    tag(model);
}

/// Both score the same bits, one at the lowest level and one at the highest.
pub fn scores(a: &Model, b: &Model) {
    let copy =
        |model: &Model, level| Tagger::with_level(Model::from_bytes(model.bytes()).expect("valid"), level).expect("ours");
    let (a, b) = (copy(a, Level::Scalar), copy(b, Level::best()));
    let (tags, keywords) = (a.tags().len(), a.model().network().shape.keywords());
    let run = |tagger: &Tagger, ids: &[u32]| {
        let (mut scratch, mut answers) = (tagger.scratch(), vec![0.0; 2 * tags]);
        let (scores, logits) = answers.split_at_mut(tags);
        tagger.score(ids, &mut scratch, scores).expect("ids of the model");
        tagger.logits(ids, &mut scratch, logits).expect("ids of the model");
        assert!(scores.iter().all(|score| score.is_nan() || (0.0..=1.0).contains(score)), "{scores:?}");
        bits(&answers)
    };
    let all: Vec<u32> = (0..keywords.min(40) as u32).collect();
    for ids in [&[], &all[..], &all[..all.len() / 2]] {
        assert_eq!(run(&a, ids), run(&b, ids));
    }
}

/// Selects, explains and walks.
fn tag(model: Model) {
    let tagger = Tagger::new(model);
    let (tags, keywords) = (tagger.tags().len(), tagger.model().network().shape.keywords());
    let (mut scratch, mut scores, mut selected) = (tagger.scratch(), vec![0.0; tags], Vec::new());
    tagger.score(&[], &mut scratch, &mut scores).expect("no id");
    Selection::default().select(tagger.tags(), &scores, 0, &mut selected).unwrap();
    assert!(selected.iter().all(|tag| scores[*tag] >= tagger.tags()[*tag].threshold));
    let ids: Vec<u32> = (0..keywords.min(3) as u32).collect();
    if tags > 0 {
        match explain(&tagger, &ids, tags - 1) {
            Ok(explained) => assert_eq!(explained.keywords.len(), ids.len()),
            // Units that are not linear in pieces have no contributions.
            Err(Error::Config { option, .. }) => assert_eq!(option, "activation"),
            Err(error) => panic!("{error:?}"),
        }
    }
    let mut item = Accumulator::new(&tagger);
    for id in ids {
        assert!(item.add(id).expect("an id of the model"));
    }
    item.score(&mut scores).expect("a place for each tag");
    assert!(matches!(item.add(keywords as u32), Err(Error::KeywordOutOfRange { .. })));
}

/// A model whose small sections alone were checked, as those of a mapped file are: nothing that is asked of it does harm.
pub fn unverified(model: Model, source: &mut Source<'_>) {
    let vocabulary = model.vocabulary();
    let keywords = model.network().shape.keywords();
    for _ in 0..4 {
        let word = source.word(8);
        assert!(vocabulary.get(&word).is_none_or(|id| (id as usize) < keywords));
    }
    assert_eq!(vocabulary.iter().count(), keywords);
    for (id, keyword) in vocabulary.iter().enumerate() {
        assert_eq!(vocabulary.keyword(id as u32).unwrap_or_default(), keyword);
        assert!(vocabulary.get(keyword).is_none_or(|id| (id as usize) < keywords));
    }
    let _ = model.provenance();
    let valid = model.verify();
    let opened = Model::from_bytes(model.bytes());
    assert_eq!(valid.is_ok(), opened.is_ok(), "{valid:?} {opened:?}");
    if valid.is_err() {
        // Whatever the weights are, scoring ends.
        tag(model);
    }
}
