//! Damaged and forged files: each is an error in the right section, or another valid model.

use super::*;

#[test]
fn every_truncation_is_an_error() {
    let model = full();
    for length in 0..model.byte_len() {
        refused(&model.bytes()[..length], "header");
    }
    for extra in [1, 63, 64] {
        let message = refused(&[model.bytes(), &vec![0; extra]].concat(), "header");
        assert!(message.contains("something was appended"), "{message}");
    }
    let message = refused(&model.bytes()[..100], "header");
    assert!(message.contains(&format!("expected a file of {} bytes, found 100 bytes", model.byte_len())), "{message}");
}

#[test]
fn every_changed_byte_and_so_every_bit_is_an_error_in_its_section() {
    let model = full();
    let header = 24 + 32 * model.sections().len() + 8;
    let place = |at: usize| {
        let at = at as u64;
        let inside =
            model.sections().iter().find(|section| (section.offset()..section.offset() + section.length()).contains(&at));
        inside.map_or(if at < header as u64 { "header" } else { "padding between sections" }, |section| section.name())
    };
    let mut bytes = model.bytes().to_vec();
    for at in 0..bytes.len() {
        let old = bytes[at];
        for new in (0..=u8::MAX).filter(|&new| new != old) {
            bytes[at] = new;
            match Model::from_bytes(&bytes) {
                Err(Error::Model { section, .. }) => assert_eq!(section, place(at), "{old} to {new} at byte {at}"),
                Err(Error::NewerModel { .. }) => assert!((8..12).contains(&at), "{old} to {new} at byte {at}"),
                other => panic!("{old} to {new} at byte {at}: {other:?}"),
            }
        }
        bytes[at] = old;
    }
    assert_same(&model, &Model::from_bytes(&bytes).unwrap());
}

/// Here the checksums are right too, so every check behind them is reached: nothing panics, and what is accepted is canonical.
#[test]
fn every_changed_byte_with_correct_checksums_is_an_error_or_another_model() {
    let model = full();
    let good = Pieces::of(&model);
    let mut accepted = Vec::new();
    for (piece, name) in good.0.iter().map(|piece| &piece.0).enumerate() {
        for at in 0..good.0[piece].2.len() {
            for change in [1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0xff] {
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
        assert!(!accepted.contains(&&fixed.to_owned()), "{fixed}");
    }
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
    for (section, name) in NAMES.iter().enumerate().take(11) {
        let mut swapped = good.clone();
        swapped.0.swap(section, section + 1);
        let message = refused(&swapped.bytes(), "section table");
        assert!(message.contains(&format!("{name} as section {}", section + 1)), "{message}");
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
    // A tag more than the network has, good for itself.
    let mut bad = good.clone();
    bad.body("TNAM").push(b'x');
    let end = bad.body("TNAM").len() as u32;
    bad.body("TAGS")[..4].copy_from_slice(&10_u32.to_le_bytes());
    bad.body("TAGS").extend([9, 0.5_f32.to_bits(), end].map(u32::to_le_bytes).concat());
    refused(&bad.bytes(), "TAGS");
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

/// The rules of the other types: 16 bits are finite, an integer has a counterpart, a scale is 0 or normal, and padding is 0.
#[test]
fn bad_weights_of_every_type_are_named() {
    let check = |good: &Pieces, section: &str, at: usize, bits: &[u8], wants: &str| {
        let mut bad = good.clone();
        bad.body(section)[at * bits.len()..][..bits.len()].copy_from_slice(bits);
        let message = refused(&bad.bytes(), section);
        assert!(message.contains(wants) && message.contains(&format!("at index {at}")), "{bits:x?}: {message}");
    };
    let parts = Parts::small();
    let halves = [0x7c00, 0x7c01, 0x7e00, 0xfc00, 0xffff_u16];
    for (weights, bad) in [(WeightType::F16, halves), (WeightType::Bf16, [0x7f80, 0x7f81, 0x7fc0, 0xff80, 0xffff])] {
        let good = Pieces::of(&rounded(&parts, weights));
        for section in ["WGT1", "WGT2"] {
            bad.iter().for_each(|bits| check(&good, section, 0, &bits.to_le_bytes(), "finite weights"));
            [1, 0x8000_u16].iter().for_each(|bits| check(&good, section, 15, &bits.to_le_bytes(), "padding"));
        }
    }
    let good = Pieces::of(&rounded(&parts, WeightType::I8));
    for section in ["WGT1", "WGT2"] {
        check(&good, section, 0, &[0x80], "integers from -127 on");
        check(&good, section, 15, &[1], "padding");
    }
    for section in ["SCL1", "SCL2"] {
        for bad in [f32::NAN, f32::INFINITY, -1.0, -0.0, 1e-40] {
            check(&good, section, 0, &bad.to_le_bytes(), "scales that are 0 or normal numbers");
        }
        check(&good, section, 15, &1.0_f32.to_le_bytes(), "padding");
    }
}

#[test]
fn parameters_of_activations_are_in_range() {
    let mut parts = Parts::small();
    parts.network.activation = Activation::LeakyRelu(0.25);
    let good = Pieces::of(&parts.model().unwrap());
    for slope in [1.0, -0.25, -0.0, f32::NAN, f32::INFINITY] {
        let mut bad = good.clone();
        bad.body("NETW")[40..44].copy_from_slice(&slope.to_le_bytes());
        assert!(refused(&bad.bytes(), "NETW").contains("parameter in range"), "{slope}");
        parts.network.activation = Activation::LeakyRelu(slope);
        assert!(matches!(parts.model(), Err(Error::Config { option: "activation", .. })), "{slope}");
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
    let with = |section, change: &dyn Fn(&mut Pieces)| {
        let mut bad = good.clone();
        change(&mut bad);
        refused(&bad.bytes(), section)
    };
    with("VSLT", &|bad| bad.body("VSLT").fill(0xff));
    with("VSLT", &|bad| bad.body("VSLT").fill(0));
    with("VSLT", &|bad| bad.body("VSLT").rotate_left(8));
    with("VSLT", &|bad| bad.body("VSLT")[taken[0] * 8] ^= 1);
    with("VSLT", &|bad| bad.body("VSLT")[taken[0] * 8 + 4] ^= 1);
    with("VSLT", &|bad| bad.body("VSLT").copy_within(taken[0] * 8..taken[0] * 8 + 8, taken[1] * 8));
    with("VTXT", &|bad| bad.body("VTXT").copy_from_slice(b"key0key1key1"));
    with("VTXT", &|bad| bad.body("VTXT")[0] = 0xff);
    with("VOFF", &|bad| bad.body("VOFF")[0] = 1);
    with("VOFF", &|bad| bad.body("VOFF")[4] = 9);
    with("VOFF", &|bad| bad.body("VOFF")[12] = 11);
    with("VOFF", &|bad| bad.body("VOFF").fill(0xff));
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
        // What is made of it is a model or nothing.
        let made = model.parts(&Provenance::new()).to_model();
        assert!(made.is_err() || made.is_ok_and(|made| made.verify().is_ok()));
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
