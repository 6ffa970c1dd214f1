//! Model files mutated at random, some with checksums that are right again: none panics, none is accepted that is not canonical.
//!
//! `TAGOMATIC_MUTANTS=100000 cargo test --release --all-features mutants -- --nocapture` makes so many.

use tagomatic::rng::Philox;
use tagomatic::{Level, Tagger};

use super::*;

/// The draws of one mutant.
struct Draws {
    number: u32,
    drawn: u32,
}

impl Draws {
    fn word(&mut self) -> u64 {
        self.drawn += 1;
        let [low, high, ..] = Philox::new(7).block([self.number, self.drawn, 0, 7]);
        u64::from(high) << 32 | u64::from(low)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound.max(1) as u64) as usize
    }

    /// Changes bytes in one of the ways in which files get damaged, or are.
    fn damage(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let (at, length) = (self.below(bytes.len()), 1 + self.below(64));
        let end = (at + length).min(bytes.len());
        match self.below(11) {
            0 | 1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << self.below(8)),
            2 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = self.word() as u8),
            3 => {
                let value = self.word() as u8;
                bytes[at..end].fill([0, 0xff, value][self.below(3)]);
            }
            4 => {
                // A number where numbers stand.
                let at = at / 4 * 4;
                let extremes = [0, 1, 2, 1 << 31, u64::MAX, u64::MAX - 63, 0x7fc0_0000, 0x7f80_0000, 0x8000_0000, self.word()];
                let number = extremes[self.below(extremes.len())].to_le_bytes();
                let width = 4 << self.below(2);
                bytes.iter_mut().skip(at).zip(&number[..width]).for_each(|(byte, new)| *byte = *new);
            }
            5 => bytes.truncate(at),
            6 => {
                bytes.drain(at..end);
            }
            7 => {
                let copy = bytes[at..end].to_vec();
                let to = self.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            8 => {
                let to = self.below(bytes.len() - (end - at) + 1);
                bytes.copy_within(at..end, to);
            }
            9 => bytes[at..end].reverse(),
            _ => bytes.iter_mut().skip(at).zip(other.iter().skip(at)).take(length).for_each(|(byte, new)| *byte = *new),
        }
    }

    /// A mutant of `model` that has bytes of `other` too, perhaps.
    fn mutant(&mut self, model: &Model, other: &Model) -> Vec<u8> {
        if self.below(4) == 0 {
            let mut bytes = model.bytes().to_vec();
            (0..1 + self.below(6)).for_each(|_| self.damage(&mut bytes, other.bytes()));
            return bytes;
        }
        // Behind right checksums, offsets and lengths.
        let (mut pieces, others) = (Pieces::of(model), Pieces::of(other));
        for _ in 0..1 + self.below(2) {
            let (piece, count) = (self.below(pieces.0.len()), pieces.0.len());
            match self.below(24) {
                0 => pieces.0.swap(piece, self.drawn as usize % count),
                1 => drop(pieces.0.remove(piece)),
                2 => pieces.0.insert(piece, others.0[self.drawn as usize % others.0.len()].clone()),
                3 => pieces.0[piece].1 ^= 1 << self.below(32),
                4 => pieces.0[piece].2.clone_from(&others.0[piece % others.0.len()].2),
                _ if pieces.0[piece].2.is_empty() => pieces.0[piece].2.push(self.word() as u8),
                _ => self.damage(&mut pieces.0[piece].2, &others.0[piece % others.0.len()].2),
            }
            if pieces.0.is_empty() {
                break;
            }
        }
        pieces.bytes()
    }
}

#[test]
fn mutants_are_refused_or_other_models() {
    let wanted: u32 = std::env::var("TAGOMATIC_MUTANTS").map_or(2000, |count| count.parse().unwrap());
    let full = Parts::full();
    let weights = [WeightType::F16, WeightType::Bf16, WeightType::I8].map(|weights| rounded(&full, weights));
    let plain = [
        full.model().unwrap(),
        Parts::new(40, 17, &[70], OutputLayout::Panels).model().unwrap(),
        Parts::new(5, 16, &[0, 3], OutputLayout::TagMajor).model().unwrap(),
        Parts::new(0, 0, &[1], OutputLayout::TagMajor).model().unwrap(),
    ];
    let models: Vec<&Model> = weights.iter().chain(&plain).collect();
    let (mut same, mut accepted, mut refused) = (0, 0, 0);
    for number in 0..wanted {
        let mut draws = Draws { number, drawn: 0 };
        let (model, other) = (models[draws.below(models.len())], models[draws.below(models.len())]);
        let bytes = draws.mutant(model, other);
        match Model::from_bytes(&bytes) {
            Ok(read) => {
                assert!(read.bytes() == bytes, "{number}: other bytes than were read");
                let provenance = read.provenance().unwrap();
                assert_eq!(
                    read.parts(&provenance).to_model().unwrap().bytes() == bytes,
                    read.sections().iter().all(is_known),
                    "{number}"
                );
                serves(&read);
                if bytes == model.bytes() { same += 1 } else { accepted += 1 }
            }
            Err(error @ (Error::Model { .. } | Error::NewerModel { .. } | Error::TooLarge { .. })) => {
                assert!(error.to_string().len() > 10);
                refused += 1;
            }
            Err(other) => panic!("{number}: {other:?}"),
        }
    }
    println!("{wanted} mutants: {refused} refused, {accepted} other models, {same} unchanged");
    assert!(refused * 10 > wanted * 6 && accepted * 50 > wanted, "{refused} refused, {accepted} other models");
}

fn is_known(section: &tagomatic::format::Section) -> bool {
    NAMES.contains(&section.name()) || EXTENSIONS.iter().any(|(name, _)| *name == section.name())
}

/// An accepted mutant scores the same bits at the lowest level and at the highest.
fn serves(model: &Model) {
    let run = |level| {
        let tagger = Tagger::with_level(Model::from_bytes(model.bytes()).unwrap(), level).unwrap();
        let (mut scratch, mut scores) = (tagger.scratch(), vec![0.0; tagger.tags().len()]);
        let ids: Vec<u32> = (0..tagger.model().network().shape.keywords().min(3) as u32).collect();
        tagger.score(&ids, &mut scratch, &mut scores).unwrap();
        scores.into_iter().map(|score| if score.is_nan() { 0 } else { score.to_bits() }).collect::<Vec<_>>()
    };
    assert_eq!(run(Level::Scalar), run(Level::best()));
}
