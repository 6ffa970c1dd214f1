//! The promise "no file can hurt you", and that every way to open a model gives the same one.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may unwrap like the tests themselves")]

mod damage;
mod extensions;
mod hostile;
mod mutants;

use std::fs;
use std::sync::OnceLock;

use tagomatic::aligned::{self, Block};
use tagomatic::calibration::{Calibration, Curve, Knot};
use tagomatic::convert::{Conversion, convert};
use tagomatic::distribution::{LogitDistribution, ScoreDistribution};
#[cfg(feature = "mmap")]
use tagomatic::format::MapAdvice;
use tagomatic::format::{Extensions, LogitError};
use tagomatic::network::{Activation, Network, OutputLayout, Pooling, Shape, StoredWeights, Weights};
use tagomatic::weights::WeightType;
use tagomatic::{Error, Model, ModelParts, Provenance, Tags, Vocabulary};
use xxhash_rust::xxh3::xxh3_64;

/// The sections of every file.
const NAMES: [&str; 12] = ["NETW", "GRPS", "VSLT", "VOFF", "VTXT", "TAGS", "TNAM", "WGT1", "BIA1", "WGT2", "BIA2", "PROV"];

/// Further ones that this version knows, and their flags.
const EXTENSIONS: [(&str, u32); 5] = [("CALB", 1), ("LERR", 0), ("SCL1", 1), ("SCL2", 1), ("SDIS", 0)];

/// All that a model is made of, owned.
struct Parts {
    network: Network,
    weights: [Vec<Block>; 4],
    vocabulary: Vocabulary,
    tags: Tags,
    provenance: Provenance,
    extensions: Extensions,
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
        Parts { network, weights: [w1, b1, w2, b2], vocabulary, tags, provenance, extensions: Extensions::default() }
    }

    fn small() -> Parts {
        Parts::new(3, 2, &[2, 1], OutputLayout::Panels)
    }

    /// A small network with everything that its parts can have.
    fn full() -> Parts {
        let mut parts = Parts::small();
        let curve = Curve { slope: 0.5, knots: vec![Knot { from: -1.5, to: 0.25 }, Knot { from: 2.5, to: 0.25 }] };
        let curves = [Curve::identity(), curve, Curve::linear(2.0, -1.0)];
        parts.extensions.calibration = Some(Calibration::new(&curves).unwrap());
        let known = LogitDistribution::of((0..50_u8).map(|n| f32::from(n % 37) - 20.0).collect());
        let scores = ScoreDistribution::new(vec![known, LogitDistribution::default(), LogitDistribution::of(vec![0.5])]);
        parts.extensions.scores = Some(scores.unwrap());
        parts
    }

    fn model(&self) -> Result<Model, Error> {
        let [w1, b1, w2, b2] = &self.weights;
        ModelParts {
            network: &self.network,
            weights: Weights { w1, b1, w2, b2 }.into(),
            vocabulary: self.vocabulary.view(),
            tags: &self.tags,
            provenance: &self.provenance,
            extensions: &self.extensions,
        }
        .to_model()
    }
}

/// A small model with everything that a model can have.
fn full() -> Model {
    rounded(&Parts::full(), WeightType::I8)
}

fn rounded(parts: &Parts, weights: WeightType) -> Model {
    let how = Conversion { weights: Some(weights), ..Conversion::default() };
    convert(&parts.model().unwrap(), how, [[0; 0]; 0]).unwrap().model
}

/// A file in pieces, to be damaged and put together again with correct checksums, offsets and lengths.
#[derive(Clone)]
struct Pieces(Vec<(String, u32, Vec<u8>)>);

impl Pieces {
    fn of(model: &Model) -> Pieces {
        let body = |at: u64, length: u64| model.bytes()[at as usize..][..length as usize].to_vec();
        let flags = |name: &str| EXTENSIONS.iter().find(|known| known.0 == name).map_or(1, |known| known.1);
        let pieces = model.sections().iter();
        Pieces(pieces.map(|s| (s.name().to_owned(), flags(s.name()), body(s.offset(), s.length()))).collect())
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
    assert_eq!(a.extensions(), b.extensions());
    assert_eq!(a.sections(), b.sections());
    assert!(a.vocabulary().iter().eq(b.vocabulary().iter()));
    let tensors = |model: &Model| {
        let StoredWeights { w1, b1, w2, b2 } = model.weights();
        format!("{w1:?}{b1:?}{w2:?}{b2:?}")
    };
    assert_eq!(tensors(a), tensors(b));
}

#[expect(unsafe_code, reason = "the tests keep the contract: no file is changed while it is mapped")]
#[cfg(feature = "mmap")]
fn map(path: &std::path::Path) -> Result<Model, Error> {
    // SAFETY: the file is in a folder of this test alone, which changes no file that is mapped; it renames others over it.
    let model = unsafe { Model::map(path) }?;
    let advice = [MapAdvice::Random, MapAdvice::Populate, MapAdvice::HugePages];
    // SAFETY: as above. Whether the system takes the advice or not, this is the same model.
    let advised = unsafe { Model::map_with(path, &advice) }?;
    assert_eq!(model.bytes(), advised.bytes());
    Ok(model)
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
            let Weights { w1, b1, w2, b2 } = read.weights().as_f32().unwrap();
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

/// Processors spell NaN in many ways, of which none is another score.
#[cfg(feature = "mmap")]
#[test]
fn a_damaged_model_has_one_signature() {
    let (folder, model) = (tempfile::tempdir().unwrap(), full());
    let bias = model.weights().b2.as_ptr().addr() - model.bytes().as_ptr().addr();
    let signature = |bits: u32| {
        let path = folder.path().join(format!("{bits:x}.tagm"));
        let mut bytes = model.bytes().to_vec();
        bytes[bias..bias + 4].copy_from_slice(&bits.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        let tagger = tagomatic::Tagger::new(map(&path).unwrap());
        let mut scores = vec![0.0_f32; tagger.tags().len()];
        tagger.score(&[], &mut tagger.scratch(), &mut scores).unwrap();
        assert!(scores[0].is_nan());
        (scores[0].to_bits(), tagger.signature().unwrap())
    };
    let (quiet, negative) = (signature(0x7FC0_0000), signature(0xFFC0_0001));
    assert_ne!(quiet.0, negative.0, "two spellings");
    assert_eq!(quiet.1, negative.1);
}

#[test]
fn every_way_to_open_gives_the_same_model() {
    fn send_and_sync<T: Send + Sync>(_: &T) {}
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tagm");
    let model = full();
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
    // Once in place, once copied. What lives as long as the process is held by something that does.
    static BLOCKS: OnceLock<Vec<Block>> = OnceLock::new();
    static SHIFTED: OnceLock<Vec<u8>> = OnceLock::new();
    let aligned: &'static [u8] = bytemuck::cast_slice(BLOCKS.get_or_init(|| bytemuck::cast_slice(model.bytes()).to_vec()));
    let fixed = Model::from_static(aligned).unwrap();
    assert_same(&model, &fixed);
    assert_eq!(fixed.bytes().as_ptr(), aligned.as_ptr());
    let shifted: &'static [u8] = &SHIFTED.get_or_init(|| [&[0], model.bytes()].concat())[1..];
    assert_same(&model, &Model::from_static(shifted).unwrap());
    assert!(Model::from_static(&aligned[..aligned.len() - 64]).is_err());
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
        let asked = Model::check_save(folder.path().join(target)).unwrap_err();
        assert_eq!(asked.to_string(), error.to_string(), "told before");
    }
    Model::check_save(folder.path().join("a.tagm")).unwrap();
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
