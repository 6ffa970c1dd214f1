//! The promise "no file can hurt you", and that every way to open a model gives the same one.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may unwrap like the tests themselves")]

use std::fs;

use tagomatic::aligned::{self, Block};
use tagomatic::network::{Activation, Network, OutputLayout, Pooling, Shape, Weights};
use tagomatic::{Error, Model, ModelParts, Provenance, Tags, Vocabulary};
use xxhash_rust::xxh3::xxh3_64;

const NAMES: [&str; 12] = ["NETW", "GRPS", "VSLT", "VOFF", "VTXT", "TAGS", "TNAM", "WGT1", "BIA1", "WGT2", "BIA2", "PROV"];

/// All that a model is made of, owned.
struct Parts {
    network: Network,
    weights: [Vec<Block>; 4],
    vocabulary: Vocabulary,
    tags: Tags,
    provenance: Provenance,
}

impl Parts {
    /// A network with distinct weights in all places that have a meaning.
    fn new(keywords: usize, hidden: usize, group_tags: &[usize], layout: OutputLayout) -> Parts {
        let shape = Shape::new(keywords, hidden, group_tags, layout).unwrap();
        let [mut w1, mut b1, mut w2, mut b2] = [shape.w1_blocks(), shape.row_blocks(), shape.w2_blocks(), shape.slot_blocks()]
            .map(|blocks| vec![Block::ZERO; blocks]);
        let mut count = 0.0;
        let mut next = || {
            count += 0.25;
            count
        };
        for (g, group) in shape.groups().iter().enumerate() {
            for unit in 0..hidden {
                let at = group.hidden.start * aligned::LANES + unit;
                for keyword in 0..keywords {
                    aligned::as_floats_mut(&mut w1)[keyword * shape.row_blocks() * aligned::LANES + at] = next();
                }
                aligned::as_floats_mut(&mut b1)[at] = next() - g as f32;
                for tag in 0..group.tags.len() {
                    aligned::as_floats_mut(&mut w2)[shape.w2_index(group, unit, tag)] = -next();
                }
            }
            for tag in group.tags.clone() {
                aligned::as_floats_mut(&mut b2)[shape.slot(tag)] = next();
            }
        }
        let tags = Tags::from_names((0..shape.tags()).map(|tag| format!("tag {tag}"))).unwrap();
        let vocabulary = Vocabulary::from_keywords((0..keywords).map(|id| format!("key{id}"))).unwrap();
        let mut provenance = Provenance::new();
        provenance.insert("train.seed", "7").unwrap();
        provenance.insert("note", "two\nlines").unwrap();
        let network = Network { shape, pooling: Pooling::Sum, activation: Activation::Relu, eps: 1e-4 };
        Parts { network, weights: [w1, b1, w2, b2], vocabulary, tags, provenance }
    }

    fn small() -> Parts {
        Parts::new(3, 2, &[2, 1], OutputLayout::Panels)
    }

    fn model(&self) -> Result<Model, Error> {
        let [w1, b1, w2, b2] = &self.weights;
        ModelParts {
            network: &self.network,
            weights: Weights { w1, b1, w2, b2 },
            vocabulary: self.vocabulary.view(),
            tags: &self.tags,
            provenance: &self.provenance,
        }
        .to_model()
    }
}

/// A file in pieces, to be damaged and put together again with correct checksums, offsets and lengths.
#[derive(Clone)]
struct Pieces(Vec<(String, u32, Vec<u8>)>);

impl Pieces {
    fn of(model: &Model) -> Pieces {
        let body = |at: u64, length: u64| model.bytes()[at as usize..][..length as usize].to_vec();
        Pieces(model.sections().iter().map(|s| (s.name().to_owned(), 1, body(s.offset(), s.length()))).collect())
    }

    fn body(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.0.iter_mut().find(|piece| piece.0 == name).unwrap().2
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; (24 + 32 * self.0.len() + 8).next_multiple_of(64)];
        bytes[..12].copy_from_slice(b"\x89TAGM\r\n\x1a\x01\0\0\0");
        bytes[12..16].copy_from_slice(&(self.0.len() as u32).to_le_bytes());
        for (i, (name, flags, body)) in self.0.iter().enumerate() {
            let fields = [bytes.len() as u64, body.len() as u64, xxh3_64(body)].map(u64::to_le_bytes).concat();
            bytes[24 + 32 * i..][..32].copy_from_slice(&[name.as_bytes(), &flags.to_le_bytes(), &fields].concat());
            bytes.extend(body);
            bytes.resize(bytes.len().next_multiple_of(64), 0);
        }
        let length = bytes.len() as u64;
        bytes[16..24].copy_from_slice(&length.to_le_bytes());
        seal(&mut bytes);
        bytes
    }
}

/// Makes the checksum of header and section table right.
fn seal(bytes: &mut [u8]) {
    let end = 24 + 32 * u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let checksum = xxh3_64(&bytes[..end]);
    bytes[end..end + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// Changes a field of the section table and makes the checksum right.
fn with_entry(bytes: &[u8], section: usize, field: usize, change: impl Fn(u64) -> u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = 24 + 32 * section + field;
    let value = change(u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()));
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    seal(&mut bytes);
    bytes
}

const OFFSET: usize = 8;
const LENGTH: usize = 16;

/// The error's message. It must name that section.
#[track_caller]
fn refused(bytes: &[u8], in_section: &str) -> String {
    match Model::from_bytes(bytes) {
        Err(error @ Error::Model { section, .. }) => {
            assert_eq!(section, in_section, "{error}");
            error.to_string()
        }
        other => panic!("expected an error in {in_section}, found {other:?}"),
    }
}

#[track_caller]
fn assert_same(a: &Model, b: &Model) {
    assert_eq!(a.bytes(), b.bytes());
    assert_eq!(a.network(), b.network());
    assert_eq!(a.tags(), b.tags());
    assert_eq!(a.provenance().unwrap(), b.provenance().unwrap());
    assert_eq!(a.sections(), b.sections());
    assert!(a.vocabulary().iter().eq(b.vocabulary().iter()));
    let tensors = |model: &Model| {
        let Weights { w1, b1, w2, b2 } = model.weights();
        [w1.to_vec(), b1.to_vec(), w2.to_vec(), b2.to_vec()]
    };
    assert_eq!(tensors(a), tensors(b));
}

#[expect(unsafe_code, reason = "the tests keep the contract: no file is changed while it is mapped")]
#[cfg(feature = "mmap")]
fn map(path: &std::path::Path) -> Result<Model, Error> {
    // SAFETY: the file is in a folder of this test alone, which changes no file that is mapped; it renames others over it.
    unsafe { Model::map(path) }
}

#[test]
fn what_goes_in_comes_out() {
    for layout in [OutputLayout::TagMajor, OutputLayout::Panels] {
        for (k, h, tags) in [(3, 2, vec![2, 1]), (40, 17, vec![70]), (0, 0, vec![0]), (2, 0, vec![1]), (5, 16, vec![0, 65])] {
            let parts = Parts::new(k, h, &tags, layout);
            let model = parts.model().unwrap();
            let read = Model::from_bytes(model.bytes()).unwrap();
            assert_same(&model, &read);
            assert_eq!((read.network(), read.tags()), (&parts.network, &parts.tags));
            assert_eq!(read.provenance().unwrap(), parts.provenance);
            let Weights { w1, b1, w2, b2 } = read.weights();
            assert_eq!([w1, b1, w2, b2], parts.weights.each_ref().map(|blocks| &blocks[..]));
            for (id, keyword) in parts.vocabulary.iter().enumerate() {
                assert_eq!(read.vocabulary().get(keyword), Some(id as u32));
            }
            assert_eq!(read.vocabulary().get("no such keyword"), None);
            assert!(read.sections().iter().map(|section| section.name()).eq(NAMES));
            assert_eq!((read.format_version(), read.byte_len()), (1, read.bytes().len()));
            assert_eq!(Pieces::of(&model).bytes(), model.bytes(), "the tests' own writer agrees");
        }
    }
}

#[test]
fn every_way_to_open_gives_the_same_model() {
    fn send_and_sync<T: Send + Sync>(_: &T) {}
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tagm");
    let model = Parts::small().model().unwrap();
    send_and_sync(&model);
    model.save(&path).unwrap();
    assert_same(&model, &Model::open(&path).unwrap());
    #[cfg(feature = "mmap")]
    {
        let mapped = map(&path).unwrap();
        mapped.verify().unwrap();
        assert_same(&model, &mapped);
        mapped.save(folder.path().join("b.tagm")).unwrap();
        assert_eq!(fs::read(folder.path().join("b.tagm")).unwrap(), model.bytes());
    }
    // Once in place, once copied.
    let blocks: &'static [Block] = bytemuck::cast_slice::<u8, Block>(model.bytes()).to_vec().leak();
    let aligned: &'static [u8] = bytemuck::cast_slice(blocks);
    let fixed = Model::from_static(aligned).unwrap();
    assert_same(&model, &fixed);
    assert_eq!(fixed.bytes().as_ptr(), aligned.as_ptr());
    let shifted: &'static [u8] = &[&[0], model.bytes()].concat().leak()[1..];
    assert_same(&model, &Model::from_static(shifted).unwrap());
    assert!(Model::from_static(&aligned[..aligned.len() - 64]).is_err());
}

#[test]
fn every_truncation_is_an_error() {
    let model = Parts::small().model().unwrap();
    for length in 0..model.byte_len() {
        assert!(Model::from_bytes(&model.bytes()[..length]).is_err(), "cut to {length} bytes");
    }
    for extra in [1, 63, 64] {
        let message = refused(&[model.bytes(), &vec![0; extra]].concat(), "header");
        assert!(message.contains("something was appended"), "{message}");
    }
    let message = refused(&model.bytes()[..100], "header");
    assert!(message.contains(&format!("expected a file of {} bytes, found 100 bytes", model.byte_len())), "{message}");
}

#[test]
fn every_changed_byte_is_an_error() {
    let model = Parts::small().model().unwrap();
    let mut bytes = model.bytes().to_vec();
    for at in 0..bytes.len() {
        let old = bytes[at];
        for new in (0..=u8::MAX).filter(|&new| new != old) {
            bytes[at] = new;
            let error = Model::from_bytes(&bytes).err().unwrap_or_else(|| panic!("{old} to {new} at byte {at}"));
            assert!(matches!(error, Error::Model { .. } | Error::NewerModel { .. }), "{error}");
        }
        bytes[at] = old;
    }
    assert_same(&model, &Model::from_bytes(&bytes).unwrap());
}

/// Here the checksums are right too, so every check behind them is reached: nothing panics, and what is accepted is canonical.
#[test]
fn every_changed_byte_with_correct_checksums_is_an_error_or_another_model() {
    let model = Parts::small().model().unwrap();
    let good = Pieces::of(&model);
    let mut accepted = Vec::new();
    for (piece, name) in NAMES.into_iter().enumerate() {
        for at in 0..good.0[piece].2.len() {
            for change in [1, 2, 0x40, 0x80, 0xff] {
                let mut bad = good.clone();
                bad.0[piece].2[at] ^= change;
                let bytes = bad.bytes();
                if let Ok(model) = Model::from_bytes(&bytes) {
                    assert_eq!(model.bytes(), bytes);
                    accepted.push(name);
                }
            }
        }
    }
    accepted.dedup();
    // Other names, ids, thresholds, clamps, weights and values are other models; these sections have no other content.
    for fixed in ["GRPS", "VSLT", "VOFF", "VTXT"] {
        assert!(!accepted.contains(&fixed), "{fixed}");
    }
}

#[test]
fn files_that_are_no_model_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let model = Parts::small().model().unwrap();
    let mut newer = model.bytes().to_vec();
    newer[8] = 9;
    for (path, words) in [
        (file("empty", b""), "an empty file"),
        (file("text", b"keywords,tags\nwar,drama\n"), "text that starts with \"keywords,tags\\nwar,drama\\n\""),
        (file("short", b"hi"), "text that starts with \"hi\""),
        (file("half", &model.bytes()[..model.byte_len() / 2]), "it was cut short"),
        (file("tiny", &model.bytes()[..20]), "20 bytes; it was cut short"),
        (file("longer", &[model.bytes(), b"x"].concat()), "something was appended"),
        (file("newer", &newer), "format version 9"),
        (folder.path().to_owned(), "found a folder"),
        (folder.path().join("nothing"), "cannot read the model"),
    ] {
        let check = |error: Error| {
            let message = error.to_string();
            assert!(message.contains(words) && message.contains(path.to_str().unwrap()), "{message}");
        };
        check(Model::open(&path).unwrap_err());
        #[cfg(feature = "mmap")]
        check(map(&path).unwrap_err());
    }
    assert!(matches!(Model::from_bytes(&newer), Err(Error::NewerModel { .. })));
}

#[test]
fn attacks_on_the_section_table() {
    let good = Pieces::of(&Parts::small().model().unwrap());
    let bytes = good.bytes();
    for section in 0..12 {
        // Overlapping the one before, misaligned, with a hole, outside.
        for by in [u64::MAX - 63, u64::MAX, 1, 64, 1 << 40, 1 << 63] {
            refused(&with_entry(&bytes, section, OFFSET, |offset| offset.wrapping_add(by)), "section table");
        }
        for length in [1 << 20, 1 << 63, u64::MAX, u64::MAX - 447] {
            let message = refused(&with_entry(&bytes, section, LENGTH, |_| length), "section table");
            assert!(message.contains("inside the file"), "{message}");
        }
        // Reserved flags, optional instead of required, lower case.
        for bits in [1 << 32, 1 << 33, 1 << 63, 0x20] {
            refused(&with_entry(&bytes, section, 0, |head| head ^ bits), "section table");
        }
    }
    // Zeros after the last section, with the length right.
    let mut longer = [&bytes[..], &[0; 64]].concat();
    let length = longer.len() as u64;
    longer[16..24].copy_from_slice(&length.to_le_bytes());
    seal(&mut longer);
    assert!(refused(&longer, "section table").contains("ends after the last section"));
    for section in 0..11 {
        let mut swapped = good.clone();
        swapped.0.swap(section, section + 1);
        refused(&swapped.bytes(), "section table");
    }
    for section in 0..12 {
        let mut missing = good.clone();
        missing.0.remove(section);
        refused(&missing.bytes(), "section table");
        let mut doubled = good.clone();
        doubled.0.insert(section, good.0[section].clone());
        refused(&doubled.bytes(), "section table");
        let mut again = good.clone();
        again.0.push(good.0[section].clone());
        refused(&again.bytes(), "section table");
    }
    let mut none = Pieces(Vec::new());
    refused(&none.bytes(), "section table");
    none.0.push(("ZZZZ".to_owned(), 0, Vec::new()));
    refused(&none.bytes(), "section table");
}

#[test]
fn unknown_sections() {
    let model = Parts::small().model().unwrap();
    let with = |more: &[(&str, u32, &[u8])]| {
        let mut pieces = Pieces::of(&model);
        pieces.0.extend(more.iter().map(|&(name, flags, body)| (name.to_owned(), flags, body.to_vec())));
        pieces.bytes()
    };
    let bytes = with(&[("AAAA", 0, b"anything"), ("B2B2", 0, b"")]);
    let known = Model::from_bytes(&bytes).unwrap();
    assert_eq!(known.bytes(), bytes, "unknown sections are kept");
    assert_eq!(known.sections().len(), 14);
    assert_eq!((known.sections()[12].name(), known.sections()[12].length()), ("AAAA", 8));
    assert_eq!(known.tags(), model.tags());

    assert!(
        matches!(Model::from_bytes(&with(&[("AAAA", 1, b"")])), Err(Error::NewerModel { what, .. }) if what.contains("AAAA"))
    );
    refused(&with(&[("AAAA", 2, b"")]), "section table");
    refused(&with(&[("B2B2", 0, b""), ("AAAA", 0, b"")]), "section table");
    refused(&with(&[("AAAA", 0, b""), ("AAAA", 0, b"")]), "section table");
    refused(&with(&[("aaaa", 0, b"")]), "section table");
    refused(&with(&[("\u{e9}\u{e9}", 0, b"")]), "section table");
    let mut damaged = bytes;
    let at = known.sections()[12].offset() as usize;
    damaged[at] ^= 1;
    assert!(refused(&damaged, "optional section").contains("AAAA"));
}

#[test]
fn absurd_sizes() {
    let good = Pieces::of(&Parts::small().model().unwrap());
    for at in [0, 8, 16, 24] {
        let old = u64::from_le_bytes(good.clone().body("NETW")[at..at + 8].try_into().unwrap());
        for size in
            [0, 1, 17, 1 << 31, (1 << 31) + 1, 1 << 32, 1 << 58, 1 << 60, 1 << 62, u64::MAX / 5 + 1, u64::MAX - 1, u64::MAX]
                .into_iter()
                .filter(|&size| size != old)
        {
            let mut bad = good.clone();
            bad.body("NETW")[at..at + 8].copy_from_slice(&size.to_le_bytes());
            match Model::from_bytes(&bad.bytes()) {
                // Sections of another length, or, with one hidden unit instead of two, weights in the padding.
                Err(Error::Model { .. }) => {}
                other => panic!("{size} at {at}: {other:?}"),
            }
        }
    }
    let mut bad = good.clone();
    bad.body("GRPS").copy_from_slice(&[u32::MAX, 4].map(u32::to_le_bytes).concat());
    refused(&bad.bytes(), "GRPS");
    // A huge network without any weight or tag is small in the file, too.
    let mut bad = good.clone();
    bad.body("NETW")[..24].copy_from_slice(&[0u64, 1 << 31, 0].map(u64::to_le_bytes).concat());
    refused(&bad.bytes(), "VOFF");
}

#[test]
fn every_section_must_have_its_length() {
    let good = Pieces::of(&Parts::small().model().unwrap());
    // Provenance has any length.
    for name in &NAMES[..11] {
        for change in [-64isize, -4, -1, 1, 4, 12, 64] {
            let mut bad = good.clone();
            let length = bad.body(name).len().saturating_add_signed(change);
            bad.body(name).resize(length, 0);
            if Model::from_bytes(&bad.bytes()).is_ok() {
                panic!("{name} longer by {change}");
            }
        }
    }
}

#[test]
fn bad_weights_are_named() {
    let parts = Parts::small();
    let good = Pieces::of(&parts.model().unwrap());
    let tensors = ["W1", "b1", "W2", "b2"];
    for (t, section) in ["WGT1", "BIA1", "WGT2", "BIA2"].into_iter().enumerate() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut bad = good.clone();
            let last = if section == "WGT2" { 48 } else { 16 };
            bad.body(section)[last * 4..last * 4 + 4].copy_from_slice(&value.to_le_bytes());
            let message = refused(&bad.bytes(), section);
            assert!(message.contains(&format!("{value:?} at index {last}")), "{message}");

            let mut bad = Parts::small();
            bad.weights[t][0].0[0] = value;
            let error = bad.model().unwrap_err();
            assert!(matches!(error, Error::BadWeight { tensor, index: 0, .. } if tensor == tensors[t]), "{error}");
        }
        for padding in [1.0f32, -0.0, f32::NAN] {
            let mut bad = good.clone();
            bad.body(section)[15 * 4..64].copy_from_slice(&padding.to_le_bytes());
            assert!(refused(&bad.bytes(), section).contains("at index 15"));
            let mut bad = Parts::small();
            bad.weights[t][0].0[15] = padding;
            assert!(matches!(bad.model(), Err(Error::BadWeight { index: 15, .. })));
        }
    }
}

#[test]
fn bytes_between_sections_must_be_zero() {
    let model = Parts::small().model().unwrap();
    let mut used = vec![false; model.byte_len()];
    used[..24 + 32 * 12 + 8].fill(true);
    for section in model.sections() {
        used[section.offset() as usize..][..section.length() as usize].fill(true);
    }
    let gaps: Vec<usize> = (0..used.len()).filter(|&at| !used[at]).collect();
    assert!(gaps.len() > 64);
    for at in gaps {
        let mut bytes = model.bytes().to_vec();
        bytes[at] = 1;
        assert!(refused(&bytes, "padding between sections").contains(&format!("0x01 at byte {at} ")));
    }
}

#[test]
fn wrong_vocabularies() {
    let good = Pieces::of(&Parts::small().model().unwrap());
    let buckets = good.clone().body("VSLT").clone();
    let taken: Vec<usize> = (0..buckets.len() / 8).filter(|bucket| buckets[bucket * 8 + 4..][..4] != [0xff; 4]).collect();
    let with = |change: &dyn Fn(&mut Pieces)| {
        let mut bad = good.clone();
        change(&mut bad);
        refused(&bad.bytes(), "vocabulary")
    };
    with(&|bad| bad.body("VSLT").fill(0xff));
    with(&|bad| bad.body("VSLT").fill(0));
    with(&|bad| bad.body("VSLT").rotate_left(8));
    with(&|bad| bad.body("VSLT")[taken[0] * 8] ^= 1);
    with(&|bad| bad.body("VSLT")[taken[0] * 8 + 4] ^= 1);
    with(&|bad| bad.body("VSLT").copy_within(taken[0] * 8..taken[0] * 8 + 8, taken[1] * 8));
    with(&|bad| bad.body("VTXT").copy_from_slice(b"key0key1key1"));
    with(&|bad| bad.body("VTXT")[0] = 0xff);
    with(&|bad| bad.body("VOFF")[0] = 1);
    with(&|bad| bad.body("VOFF")[4] = 9);
    with(&|bad| bad.body("VOFF")[12] = 11);
    with(&|bad| bad.body("VOFF").fill(0xff));
}

#[cfg(feature = "mmap")]
#[test]
fn a_corrupt_mapped_file_opens_but_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let good = Pieces::of(&Parts::small().model().unwrap());
    let mut number = 0;
    let mut check = |bytes: Vec<u8>| {
        number += 1;
        let path = folder.path().join(format!("{number}.tagm"));
        fs::write(&path, &bytes).unwrap();
        let model = map(&path).unwrap();
        for keyword in ["key0", "key1", "key2", "", "unknown"] {
            assert!(model.vocabulary().get(keyword).is_none_or(|id| id < 3));
        }
        assert_eq!(model.vocabulary().iter().count(), 3);
        assert_eq!(model.vocabulary().keyword(3), None);
        let _ = model.provenance();
        assert!(matches!(model.verify(), Err(Error::Model { .. })));
        assert!(matches!(Model::open(&path), Err(Error::Model { .. })));
    };
    for name in ["VSLT", "VOFF", "VTXT", "WGT1", "BIA1", "WGT2", "BIA2", "PROV"] {
        for (value, mask) in [(0u8, 0u8), (0xff, 0), (0x7f, 0), (0x01, 0xff), (0x80, 0xff)] {
            let mut bad = good.clone();
            bad.body(name).iter_mut().for_each(|byte| *byte = (*byte & mask) ^ value);
            // All zeros are fine weights.
            if value != 0 || name.starts_with('V') || name == "PROV" {
                check(bad.bytes());
            }
        }
    }
    let mut bytes = good.bytes();
    let last = bytes.len() - 1;
    bytes[last] = 1;
    check(bytes);

    // What is small is checked at once: another threshold, another name, with the old checksums.
    let model = Model::from_bytes(&good.bytes()).unwrap();
    for (section, at) in [(0, 44), (5, 8), (6, 0)] {
        let mut bytes = good.bytes();
        bytes[model.sections()[section].offset() as usize + at] ^= 1;
        let path = folder.path().join("small.tagm");
        fs::write(&path, bytes).unwrap();
        assert!(map(&path).unwrap_err().to_string().contains("expected checksum"), "{}", NAMES[section]);
    }
}

#[cfg(feature = "mmap")]
#[test]
fn a_mapped_model_stays_when_a_new_one_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tagm");
    let (old, new) = (Parts::small().model().unwrap(), Parts::new(9, 3, &[4], OutputLayout::TagMajor).model().unwrap());
    old.save(&path).unwrap();
    let mapped = map(&path).unwrap();
    new.save(&path).unwrap();
    assert_same(&mapped, &old);
    mapped.verify().unwrap();
    assert_same(&Model::open(&path).unwrap(), &new);
    // A model may be saved over the file that it is mapped from.
    let mapped = map(&path).unwrap();
    mapped.save(&path).unwrap();
    assert_same(&mapped, &Model::open(&path).unwrap());
}

#[test]
fn failing_saves_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let model = Parts::small().model().unwrap();
    fs::create_dir(folder.path().join("folder")).unwrap();
    for target in ["folder", "missing/a.tagm"] {
        let error = model.save(folder.path().join(target)).unwrap_err();
        assert!(error.to_string().starts_with("cannot save the model: "), "{error}");
    }
    model.save(folder.path().join("a.tagm")).unwrap();
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a.tagm", "folder"]);
    assert_eq!(fs::read_dir(folder.path().join("folder")).unwrap().count(), 0);
}

#[test]
fn parts_that_do_not_fit_together() {
    let change = |change: &dyn Fn(&mut Parts)| {
        let mut parts = Parts::small();
        change(&mut parts);
        parts.model().unwrap_err()
    };
    let more = Vocabulary::from_keywords(["a", "b", "c", "d"]).unwrap();
    assert!(matches!(change(&|parts| parts.vocabulary = more.clone()), Error::Length { what: "vocabulary", .. }));
    assert!(matches!(change(&|parts| drop(parts.tags.push("more"))), Error::Length { what: "tags", .. }));
    assert!(matches!(change(&|parts| parts.network.eps = 0.5), Error::Config { option: "eps", .. }));
    for t in 0..4 {
        assert!(matches!(change(&|parts| parts.weights[t].truncate(parts.weights[t].len() - 1)), Error::Length { .. }));
    }
}
