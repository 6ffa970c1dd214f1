//! Sections after the twelve, known and unknown.

use super::*;

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
    refused(&with(&[("AAAa", 0, b"")]), "section table");
    refused(&with(&[("\u{e9}\u{e9}", 0, b"")]), "section table");
    let mut damaged = bytes;
    let at = known.sections()[12].offset() as usize;
    damaged[at] ^= 1;
    assert!(refused(&damaged, "unknown section").contains("AAAA"));
}

#[test]
fn extensions() {
    let model = full();
    let error = model.extensions().logit_error.unwrap();
    assert!(error.measured > 0.0 && error.measured < error.bound);
    let names: Vec<&str> = NAMES.into_iter().chain(EXTENSIONS.iter().map(|(name, _)| *name)).collect();
    assert!(model.sections().iter().map(|section| section.name()).eq(names), "all of them, ascending");
    assert!(EXTENSIONS.is_sorted());
    assert_eq!(Pieces::of(&model).bytes(), model.bytes(), "the tests' own writer agrees");
    // A model of another one's parts keeps them.
    let provenance = model.provenance().unwrap();
    assert_eq!(model.parts(&provenance).to_model().unwrap().bytes(), model.bytes());

    let good = Pieces::of(&model);
    for (name, flags) in EXTENSIONS {
        for other in [0, 1, 2].into_iter().filter(|&other| other != flags) {
            let mut bad = good.clone();
            bad.0.iter_mut().filter(|piece| piece.0 == name).for_each(|piece| piece.1 = other);
            assert!(refused(&bad.bytes(), "section table").contains(&format!("flags {flags:#x} of {name}")));
        }
        for change in [-1, 1, 4, 64] {
            let mut bad = good.clone();
            let length = bad.body(name).len().saturating_add_signed(change);
            bad.body(name).resize(length, 0);
            refused(&bad.bytes(), name);
        }
        let mut bytes = model.bytes().to_vec();
        let section = model.sections().iter().find(|section| section.name() == name).unwrap();
        bytes[section.offset() as usize] ^= 1;
        assert!(refused(&bytes, name).contains("expected checksum"));
        // Another order, or twice.
        let place = good.0.iter().position(|piece| piece.0 == name).unwrap();
        for at in [place, 11] {
            let mut bad = good.clone();
            bad.0.insert(at, good.0[place].clone());
            refused(&bad.bytes(), "section table");
        }
        let mut bad = good.clone();
        bad.0.insert(place, ("ZZZZ".to_owned(), 0, Vec::new()));
        refused(&bad.bytes(), "section table");
    }
}

/// They are small, so a mapped file's are checked at once: here other values that are as good, with the old checksums.
#[cfg(feature = "mmap")]
#[test]
fn extensions_of_mapped_files_are_checked_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let model = full();
    for (name, at) in [("CALB", 0), ("LERR", 16), ("SDIS", 44)] {
        let section = model.sections().iter().find(|section| section.name() == name).unwrap();
        let mut bytes = model.bytes().to_vec();
        bytes[section.offset() as usize + at] ^= 1;
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = map(&path).unwrap_err();
        assert!(matches!(error, Error::Model { section, .. } if section == name), "{error}");
        assert!(error.to_string().contains("expected checksum"), "{error}");
    }
}

#[test]
fn calibrations_that_are_no_maps() {
    let full = Parts::full();
    let good = Pieces::of(&full.model().unwrap());
    // Slope and end of three tags, then four knots.
    let numbers = |bytes: &[u8]| bytes.chunks(4).map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect::<Vec<_>>();
    assert_eq!(numbers(good.clone().body("CALB"))[..6], [0x3F80_0000, 1, 0x3F00_0000, 3, 0x4000_0000, 4]);
    let float = f32::to_bits;
    for (place, value, wants) in [
        (0, float(0.0), "a slope above 0"),
        (0, float(f32::NAN), "a slope above 0"),
        (1, 0, "at least one knot"),
        (1, 4, "ends of knots"),
        (3, 2, "knots"),
        (5, 3, "bytes"),
        (5, 5, "ends of knots"),
        (5, u32::MAX, "ends of knots"),
        (8, float(2.5), "ascend"),
        (9, float(0.5), "ascend"),
        (12, float(-0.0), "not -0"),
        (13, float(f32::INFINITY), "1e30"),
    ] {
        let mut bad = good.clone();
        bad.body("CALB")[4 * place..][..4].copy_from_slice(&value.to_le_bytes());
        let error = refused(&bad.bytes(), "CALB");
        assert!(error.contains(wants), "{place}: {error}");
    }
    for length in [0, 7, 23, 24, 52, 57, 64] {
        let mut bad = good.clone();
        bad.body("CALB").resize(length, 0);
        refused(&bad.bytes(), "CALB");
    }
    let mut parts = full;
    parts.extensions.calibration = Some(Calibration::new(&[Curve::identity()]).unwrap());
    assert!(matches!(parts.model(), Err(Error::Length { expected: 3, found: 1, .. })));
}

#[test]
fn logit_errors_out_of_range() {
    let good = Pieces::of(&full());
    for (measured, bound) in
        [(-0.0, 1.0), (-1.0, 1.0), (f64::NAN, 1.0), (f64::INFINITY, f64::INFINITY), (1.0, 0.5), (1.0, f64::NAN), (0.0, -0.0)]
    {
        let mut bad = good.clone();
        bad.body("LERR")[..16].copy_from_slice(&[measured, bound].map(f64::to_le_bytes).concat());
        assert!(refused(&bad.bytes(), "LERR").contains("0 <= measured <= bound"));
        let mut parts = Parts::small();
        parts.extensions.logit_error = Some(LogitError { measured, bound, keywords: 64 });
        assert!(matches!(parts.model(), Err(Error::Config { option: "logit error", .. })));
    }
    for (measured, bound) in [(0.0, 0.0), (0.5, 0.5), (f64::MAX, f64::INFINITY)] {
        let mut parts = Parts::small();
        parts.extensions.logit_error = Some(LogitError { measured, bound, keywords: 64 });
        let model = parts.model().unwrap();
        assert_eq!(Model::from_bytes(model.bytes()).unwrap().extensions(), &parts.extensions);
    }
}

#[test]
fn distributions_that_are_none() {
    let full = Parts::full();
    let good = Pieces::of(&full.model().unwrap());
    // Three tags, of which the second is unknown: eleven bounds and twelve counts each.
    assert_eq!(good.clone().body("SDIS").len(), 3 * 92);
    for (place, value) in [
        (0, 100.0_f32.to_bits()),
        (10, f32::NEG_INFINITY.to_bits()),
        (10, f32::NAN.to_bits()),
        (10, f32::INFINITY.to_bits()),
        (46, (-0.0_f32).to_bits()),
        (23 + 10, 1.0_f32.to_bits()),
        (46 + 11, 0),
    ] {
        let mut bad = good.clone();
        bad.body("SDIS")[4 * place..][..4].copy_from_slice(&value.to_le_bytes());
        assert!(refused(&bad.bytes(), "SDIS").contains("bounds"), "{place}");
    }
    let mut parts = full;
    parts.extensions.scores = Some(ScoreDistribution::new(Vec::new()).unwrap());
    assert!(matches!(parts.model(), Err(Error::Length { expected: 3, found: 0, .. })));
    assert!(ScoreDistribution::new(vec![LogitDistribution { bounds: [-1.0; 11], counts: [0; 12] }]).is_err());
}
