//! Sets of keywords that change one by one: the bits of a fresh evaluation after any walk.

use std::sync::OnceLock;

use super::parts;
use super::source::{Source, bits};
use tagomatic::accumulator::Accumulator;
use tagomatic::{Level, Model, Tagger};

/// Each model at the lowest and at the highest level.
fn taggers() -> &'static [Tagger] {
    static TAGGERS: OnceLock<Vec<Tagger>> = OnceLock::new();
    TAGGERS.get_or_init(|| {
        let at =
            |model: &Model, level| Tagger::with_level(Model::from_bytes(model.bytes()).expect("valid"), level).expect("ours");
        parts::fixed().iter().flat_map(|model| [at(model, Level::Scalar), at(model, Level::best())]).collect()
    })
}

pub fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let tagger = &taggers()[source.below(taggers().len())];
    let (tags, keywords) = (tagger.tags().len(), tagger.model().network().shape.keywords());
    let (mut scratch, mut item) = (tagger.scratch(), Accumulator::new(tagger));
    let (mut walked, mut fresh) = (vec![0.0; tags], vec![0.0; tags]);
    for _ in 0..48 {
        if source.is_empty() {
            break;
        }
        let (what, id): (u8, u32) = (source.any(), source.below(keywords + 1) as u32);
        let had = item.ids().contains(&id);
        match what % 8 {
            0..3 => match item.add(id) {
                Ok(added) => assert!(added != had && (id as usize) < keywords),
                Err(_) => assert!(id as usize >= keywords),
            },
            3 => assert_eq!(item.remove(id), had),
            4 => {
                item.score(&mut walked).expect("a place for each tag");
                tagger.score(item.ids(), &mut scratch, &mut fresh).expect("ids of the model");
                assert_eq!(bits(&walked), bits(&fresh));
            }
            5 => {
                item.logits(&mut walked).expect("a place for each tag");
                tagger.logits(item.ids(), &mut scratch, &mut fresh).expect("ids of the model");
                assert_eq!(bits(&walked), bits(&fresh));
            }
            6 => {
                item.score_without(id, &mut walked).expect("a place for each tag");
                let left: Vec<u32> = item.ids().iter().copied().filter(|other| *other != id).collect();
                tagger.score(&left, &mut scratch, &mut fresh).expect("ids of the model");
                assert_eq!(bits(&walked), bits(&fresh));
            }
            _ => item = item.clone(),
        }
    }
    item.logits(&mut walked).expect("a place for each tag");
    tagger.logits(item.ids(), &mut scratch, &mut fresh).expect("ids of the model");
    assert_eq!(bits(&walked), bits(&fresh));
}
