//! Sections of a model, put together with right offsets, lengths and checksums: what is behind those checks is reached, whatever
//! an input does to the sections.
//!
//! An input is a byte of options and then, for each section, its kind by number, its length as two bytes, and its body. [`pack`]
//! makes the input of a model.

use tagomatic::Model;
use xxhash_rust::xxh3::xxh3_64;

/// The kinds that are known, with their flags; then others.
const KINDS: [(&[u8; 4], u32); 21] = [
    (b"NETW", 1),
    (b"GRPS", 1),
    (b"VSLT", 1),
    (b"VOFF", 1),
    (b"VTXT", 1),
    (b"TAGS", 1),
    (b"TNAM", 1),
    (b"WGT1", 1),
    (b"BIA1", 1),
    (b"WGT2", 1),
    (b"BIA2", 1),
    (b"PROV", 1),
    (b"CALB", 1),
    (b"LERR", 0),
    (b"SCL1", 1),
    (b"SCL2", 1),
    (b"SDIS", 0),
    (b"AAAA", 0),
    (b"ZZZZ", 0),
    (b"ZZZZ", 1),
    (b"abcd", 2),
];

/// Options: sections get the lengths that `NETW` gives them.
const FIT: u8 = 1;

/// The file that an input stands for.
pub fn unpack(input: &[u8]) -> Vec<u8> {
    let Some((&options, mut rest)) = input.split_first() else { return Vec::new() };
    let mut sections: Vec<(usize, Vec<u8>)> = Vec::new();
    while let Some(([kind, low, high], more)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(more.len());
        let (body, more) = more.split_at(length);
        sections.push((usize::from(*kind) % KINDS.len(), body.to_vec()));
        rest = more;
    }
    if options & FIT != 0 {
        fit(&mut sections);
    }
    assemble(&sections)
}

/// Cuts or fills sections to the lengths that the sizes in `NETW` call for, where these are small.
fn fit(sections: &mut [(usize, Vec<u8>)]) {
    let Some(record) = sections.iter().find(|(kind, _)| *kind == 0).map(|(_, body)| body.clone()) else { return };
    let size = |at: usize| record.get(at..at + 8).map_or(0, |eight| u64::from_le_bytes(eight.try_into().unwrap_or_default()));
    let [keywords, hidden, tags, groups] = [0, 8, 16, 24].map(size);
    if [keywords, hidden, tags, groups].iter().any(|size| *size > 80) {
        return;
    }
    let [keywords, hidden, tags, groups] = [keywords, hidden, tags, groups].map(|size| size as usize);
    let code = |at: usize| record.get(at).map_or(0, |code| usize::from(*code).min(3));
    let bytes = [64, 32, 32, 16];
    let (w1, w2) = (bytes[code(48)], bytes[code(56)]);
    let row = hidden.div_ceil(16) * groups;
    let group_tags: Vec<usize> = sections.iter().find(|(kind, _)| *kind == 1).map_or(Vec::new(), |(_, body)| {
        body.as_chunks::<4>().0.iter().take(groups).map(|four| u32::from_le_bytes(*four) as usize % 256).collect()
    });
    let panels = code(32) == 1;
    let slots = if panels { group_tags.iter().map(|tags| tags.div_ceil(16)).sum() } else { tags.div_ceil(16) };
    let output = if panels { slots * hidden } else { tags * hidden.div_ceil(16) };
    let buckets = (5 * keywords).div_ceil(3).max(1).next_power_of_two();
    for (kind, body) in sections {
        let length = match kind {
            0 => 64,
            1 => 4 * groups,
            2 => 8 * buckets,
            3 => 4 * (keywords + 1),
            5 => 4 + 12 * tags,
            7 => w1 * keywords * row,
            8 | 14 => 64 * row,
            9 => w2 * output,
            10 | 15 => 64 * slots,
            13 => 24,
            16 => 92 * tags,
            _ => continue,
        };
        body.resize(length.min(1 << 16), 0);
    }
}

fn assemble(sections: &[(usize, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0; (24 + 32 * sections.len() + 8).next_multiple_of(64)];
    bytes[..12].copy_from_slice(b"\x89TAGM\r\n\x1a\x01\0\0\0");
    bytes[12..16].copy_from_slice(&(sections.len() as u32).to_le_bytes());
    for (number, (kind, body)) in sections.iter().enumerate() {
        let (name, flags) = KINDS[*kind];
        let fields = [bytes.len() as u64, body.len() as u64, xxh3_64(body)].map(u64::to_le_bytes).concat();
        bytes[24 + 32 * number..][..32].copy_from_slice(&[name, &flags.to_le_bytes()[..], &fields].concat());
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(64), 0);
    }
    let length = bytes.len() as u64;
    bytes[16..24].copy_from_slice(&length.to_le_bytes());
    let end = 24 + 32 * sections.len();
    let checksum = xxh3_64(&bytes[..end]);
    bytes[end..end + 8].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The input that stands for a model's file.
pub fn pack(model: &Model, options: u8) -> Vec<u8> {
    let mut input = vec![options];
    for section in model.sections() {
        let body = &model.bytes()[section.offset() as usize..][..section.length() as usize];
        let kind = KINDS.iter().position(|(name, _)| *name == section.name().as_bytes()).unwrap_or_default();
        input.push(kind as u8);
        input.extend(&(body.len() as u32).to_le_bytes()[..2]);
        input.extend(body);
    }
    input
}
