//! Files that lie about their sizes, or change while they are opened; and how little memory that costs.

use std::io::Write;

use super::*;
use crate::allocations;

/// What a refusal may allocate beside the file: a message, the section table, the tags read so far.
const BESIDE: usize = 4096;

/// Opens the bytes; no allocation is larger than they are.
#[track_caller]
fn open(bytes: &[u8]) -> Result<Model, Error> {
    let (result, allocated) = allocations::of(|| Model::from_bytes(bytes));
    assert!(allocated.largest <= bytes.len() + BESIDE, "{allocated:?} for {} bytes", bytes.len());
    result
}

/// Numbers that sums, products and roundings of sizes stumble over.
fn extremes(width: usize) -> Vec<u64> {
    let largest = u64::MAX >> (64 - 8 * width);
    let around = |number: u64| [number.wrapping_sub(1), number, number.wrapping_add(1)];
    let powers = (0..8 * width as u32).flat_map(|power| around(1 << power));
    let mut numbers: Vec<u64> = powers.chain([0, largest, largest - 63, largest - 64, largest / 3, largest / 5 + 1]).collect();
    numbers.retain(|number| *number <= largest);
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// The bytes with another number of `width` bytes at `at`, and a header whose checksum is right as long as there is a place for it.
fn with(bytes: &[u8], at: usize, width: usize, number: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
    let sections = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    if sections < 1000 && bytes.len() > 24 + 32 * sections + 8 {
        seal(&mut bytes);
    }
    bytes
}

#[test]
fn extreme_values_in_every_field_of_the_header_are_refused_by_name() {
    let model = full();
    let bytes = model.bytes();
    let mut fields =
        vec![(0, 8, vec!["header"]), (8, 4, vec!["header"]), (12, 4, vec!["header", "section table"]), (16, 8, vec!["header"])];
    for (number, section) in model.sections().iter().enumerate() {
        let (at, table) = (24 + 32 * number, "section table");
        fields.extend([(at, 4, vec![table]), (at + 4, 4, vec![table]), (at + 8, 8, vec![table])]);
        // A length that moves no other section is missed in the section, or behind it.
        fields.push((at + 16, 8, vec![table, section.name(), "padding between sections"]));
        fields.push((at + 24, 8, vec![section.name()]));
    }
    let mut refusals = 0;
    for (at, width, names) in fields {
        for number in extremes(width) {
            let changed = with(bytes, at, width, number);
            if changed == bytes {
                continue;
            }
            match open(&changed) {
                Err(Error::Model { section, .. }) => assert!(names.contains(&section), "{number} at {at}: {section}"),
                // A version, or an extension with a name that only a newer version can know.
                Err(Error::NewerModel { .. }) => assert!(at == 8 || at >= 24 + 32 * 12, "{number} at {at}"),
                // An extension by the name of one that nobody knows yet, and may do without.
                Ok(_) => {
                    assert!(at > 24 + 32 * 12 && (at - 24) % 32 == 0, "{number} at {at}");
                    continue;
                }
                other => panic!("{number} at {at}: {other:?}"),
            }
            refusals += 1;
        }
    }
    assert!(refusals > 8000, "{refusals}");
}

#[test]
fn extreme_values_in_every_field_of_the_small_sections_are_refused_or_canonical() {
    let good = Pieces::of(&full());
    let mut refusals = 0;
    for name in ["NETW", "GRPS", "VSLT", "VOFF", "TAGS", "CALB", "LERR"] {
        let length = good.clone().body(name).len();
        for (at, width) in (0..length).step_by(4).flat_map(|at| [(at, 4), (at, 8)]).filter(|(at, width)| at + width <= length) {
            for number in extremes(width) {
                let mut bad = good.clone();
                bad.body(name)[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
                let bytes = bad.bytes();
                match open(&bytes) {
                    Ok(model) => assert!(model.bytes() == bytes, "{name}: {number} at {at}"),
                    Err(Error::Model { .. } | Error::NewerModel { .. }) => refusals += 1,
                    other => panic!("{name}: {number} at {at}: {other:?}"),
                }
            }
        }
    }
    assert!(refusals > 10_000, "{refusals}");
}

#[test]
fn absurd_counts_allocate_no_more_than_the_file_has_bytes() {
    let small = Pieces::of(&Parts::small().model().unwrap());
    // All four sizes at once, so that none gives the others away.
    for size in [1 << 20, 1 << 31, 1 << 32, 1 << 40, u64::MAX / 64, u64::MAX] {
        let mut bad = small.clone();
        bad.body("NETW")[..32].copy_from_slice(&[size; 4].map(u64::to_le_bytes).concat());
        assert!(matches!(open(&bad.bytes()), Err(Error::Model { .. })), "{size}");
    }
    // Tags of groups that add up to what is said, knots that end where none are, names of lengths that nobody has.
    for (name, numbers) in [
        ("GRPS", &[3_u32, 0][..]),
        ("GRPS", &[u32::MAX, 4]),
        ("VOFF", &[0, u32::MAX, u32::MAX, u32::MAX]),
        ("TAGS", &[u32::MAX, 0, 0, u32::MAX]),
    ] {
        let mut bad = small.clone();
        let body = bad.body(name);
        let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
        body.iter_mut().zip(numbers).for_each(|(byte, new)| *byte = new);
        assert!(matches!(open(&bad.bytes()), Err(Error::Model { .. })), "{name}");
    }
    // A table of as many sections as the header can count, in a file that has the length that it says.
    let mut file = small.bytes();
    for sections in [13_u32, 1 << 16, u32::MAX / 32, u32::MAX] {
        file[12..16].copy_from_slice(&sections.to_le_bytes());
        assert_eq!(refused(&file, "header").contains("section table inside the file"), sections > 100);
        open(&file).unwrap_err();
    }
    // The last 8 bytes say that the file is huge: it is not, and that is seen before anything is read.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.tagm");
    let mut file = small.bytes();
    file[16..24].copy_from_slice(&(1_u64 << 50).to_le_bytes());
    fs::write(&path, &file).unwrap();
    let (result, allocated) = allocations::of(|| Model::open(&path));
    assert!(result.unwrap_err().to_string().contains("it was cut short"));
    assert!(allocated.largest < BESIDE, "{allocated:?}");
}

/// A model without keywords and hidden units, of which some sections are replaced.
fn without_units(groups: u64, tags: u64, sections: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut pieces = Pieces::of(&Parts::new(0, 0, &[0], OutputLayout::TagMajor).model().unwrap());
    pieces.body("NETW")[16..32].copy_from_slice(&[tags, groups].map(u64::to_le_bytes).concat());
    for (name, body) in sections {
        pieces.body(name).clone_from(body);
    }
    pieces.bytes()
}

#[test]
fn what_takes_few_bytes_in_a_file_takes_few_in_memory() {
    // Groups of nothing.
    let groups = Shape::MAX_EMPTY_GROUPS;
    assert!(Model::from_bytes(&without_units(groups as u64, 0, &[("GRPS", vec![0; 4 * groups])])).is_ok());
    let many = without_units(groups as u64 + 1, 0, &[("GRPS", vec![0; 4 * (groups + 1)])]);
    assert!(refused(&many, "NETW").contains("groups without hidden units"));
    assert!(open(&many).is_err());
    assert!(matches!(Shape::new(0, 0, &vec![0; groups + 1], OutputLayout::TagMajor), Err(Error::TooLarge { .. })));
    // Tags without names.
    let tags: u32 = 1 << 17;
    let sections = [
        ("GRPS", tags.to_le_bytes().to_vec()),
        ("TAGS", vec![0; 4 + 12 * tags as usize]),
        ("BIA2", vec![0; 4 * tags as usize]),
    ];
    let bytes = without_units(1, tags.into(), &sections);
    assert!(matches!(open(&bytes), Err(Error::Model { section: "TNAM", .. })));
    // Lines of provenance: nothing is made of them until somebody asks.
    let lines: String = (0..1 << 17).map(|number| format!("{number:05x} = \n")).collect();
    let bytes = without_units(1, 0, &[("PROV", lines.into_bytes())]);
    let (model, allocated) = allocations::of(|| Model::from_bytes(&bytes).unwrap());
    assert!(allocated.count < 100 && allocated.largest <= bytes.len(), "{allocated:?}");
    assert_eq!(model.provenance().unwrap().len(), 1 << 17);
}

/// A sparse file of the length that its header says: as many bytes as it has are allocated, or as many as there is memory for.
#[test]
fn a_huge_file_of_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse.tagm");
    let length: u64 = 64 << 20;
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(b"\x89TAGM\r\n\x1a\x01\0\0\0\xff\xff\x1f\0").unwrap();
    file.write_all(&length.to_le_bytes()).unwrap();
    file.set_len(length).unwrap();
    let (result, allocated) = allocations::of(|| Model::open(&path));
    assert!(matches!(result.unwrap_err(), Error::Model { section: "header", .. }));
    assert!(allocated.largest <= length as usize, "{allocated:?}");
}

#[test]
fn files_that_grew_or_shrank_before_they_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tagm");
    let model = full();
    for change in [-64_i64, -1, 1, 63, 64, 1 << 20] {
        model.save(&path).unwrap();
        let length = model.byte_len() as u64;
        fs::File::options().write(true).open(&path).unwrap().set_len(length.saturating_add_signed(change)).unwrap();
        let message = Model::open(&path).unwrap_err().to_string();
        let words = if change < 0 { "it was cut short" } else { "something was appended" };
        assert!(message.contains("header") && message.contains(words), "{message}");
        #[cfg(feature = "mmap")]
        assert!(map(&path).unwrap_err().to_string().contains(words));
    }
}

/// Whatever a reader sees of a file that another program writes into: the model, or an error that says where.
#[test]
fn a_file_that_grows_and_shrinks_while_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tagm");
    let model = Parts::new(400, 64, &[70], OutputLayout::Panels).model().unwrap();
    model.save(&path).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    let order = std::sync::atomic::Ordering::Relaxed;
    let (mut whole, mut broken) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::File::options().write(true).open(&path).unwrap();
            while !done.load(order) {
                file.set_len(model.byte_len() as u64 / 2).unwrap();
                fs::write(&path, model.bytes()).unwrap();
                std::thread::yield_now();
                file.set_len(model.byte_len() as u64 + 100).unwrap();
                file.flush().unwrap();
                file.set_len(model.byte_len() as u64).unwrap();
                std::thread::yield_now();
            }
        });
        for _ in 0..2000 {
            match Model::open(&path) {
                Ok(opened) => {
                    assert!(opened.bytes() == model.bytes());
                    whole += 1;
                }
                Err(Error::Model { .. } | Error::Io { .. }) => broken += 1,
                Err(other) => panic!("{other}"),
            }
        }
        done.store(true, order);
    });
    assert_eq!(whole + broken, 2000);
    assert_same(&Model::open(&path).unwrap(), &model);
}
