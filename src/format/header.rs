//! The header and the section table: where everything stands in a file.

use std::cmp::Ordering;
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use crate::aligned::Block;
use crate::error::{Error, Result};

pub(crate) const MAGIC: [u8; 8] = *b"\x89TAGM\r\n\x1a";

/// The newest version that this code reads, and the one that it writes.
pub(crate) const VERSION: u32 = 1;

/// Bytes before the section table.
pub(crate) const PREAMBLE: usize = 24;

/// Bytes of an entry of the section table.
const ENTRY: usize = 32;

/// Bytes of the checksum that ends the header.
const CHECKSUM: usize = 8;

/// Every section starts at a multiple of this.
const ALIGN: usize = size_of::<Block>();

/// Flag of a section that no reader may skip.
const REQUIRED: u32 = 1;

const HEADER: &str = "header";
const TABLE: &str = "section table";

/// The sections that every file has, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Network,
    Groups,
    VocabularyBuckets,
    VocabularyOffsets,
    VocabularyText,
    Tags,
    TagNames,
    W1,
    B1,
    W2,
    B2,
    Provenance,
}

impl Part {
    pub(crate) const COUNT: usize = Part::Provenance as usize + 1;

    pub(crate) const ALL: [Part; Part::COUNT] = [
        Part::Network,
        Part::Groups,
        Part::VocabularyBuckets,
        Part::VocabularyOffsets,
        Part::VocabularyText,
        Part::Tags,
        Part::TagNames,
        Part::W1,
        Part::B1,
        Part::W2,
        Part::B2,
        Part::Provenance,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Part::Network => "NETW",
            Part::Groups => "GRPS",
            Part::VocabularyBuckets => "VSLT",
            Part::VocabularyOffsets => "VOFF",
            Part::VocabularyText => "VTXT",
            Part::Tags => "TAGS",
            Part::TagNames => "TNAM",
            Part::W1 => "WGT1",
            Part::B1 => "BIA1",
            Part::W2 => "WGT2",
            Part::B2 => "BIA2",
            Part::Provenance => "PROV",
        }
    }
}

/// The sections that a file may have after the [`Part`]s, ascending by kind. `super::extensions` tells how one is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    Calibration,
    LogitError,
    W1Scales,
    W2Scales,
    Scores,
}

impl Extension {
    pub(crate) const ALL: [Extension; 5] =
        [Extension::Calibration, Extension::LogitError, Extension::W1Scales, Extension::W2Scales, Extension::Scores];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Extension::Calibration => "CALB",
            Extension::LogitError => "LERR",
            Extension::W1Scales => "SCL1",
            Extension::W2Scales => "SCL2",
            Extension::Scores => "SDIS",
        }
    }

    /// Its flags: whoever does not know a section that changes answers must refuse the file.
    const fn flags(self) -> u32 {
        match self {
            Extension::Calibration => REQUIRED,
            Extension::LogitError | Extension::Scores => 0,
            Extension::W1Scales | Extension::W2Scales => REQUIRED,
        }
    }
}

/// A section of a model file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    kind: [u8; 4],
    flags: u32,
    pub(super) body: Range<usize>,
    checksum: u64,
}

impl Section {
    /// Its kind, four capital letters or digits.
    #[must_use]
    pub fn name(&self) -> &str {
        std::str::from_utf8(&self.kind).unwrap_or_default()
    }

    /// Where its body starts in the file.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.body.start as u64
    }

    /// The length of its body in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.body.len() as u64
    }

    /// Its entry in the section table.
    fn entry(&self) -> [u8; ENTRY] {
        let [a, b, c, d] = self.kind;
        let head = u64::from(u32::from_le_bytes([a, b, c, d])) | u64::from(self.flags) << 32;
        bytemuck::cast([head, self.offset(), self.length(), self.checksum].map(u64::to_le))
    }

    /// Fails unless the body has the checksum that the table gives it. `bytes` is the whole file.
    pub(crate) fn verify(&self, bytes: &[u8]) -> Result<()> {
        let found = xxh3_64(&bytes[self.body.clone()]);
        if found == self.checksum {
            return Ok(());
        }
        let found = format!("{found:016x}; the section {} is damaged", self.name());
        let mut known = Part::ALL.map(Part::name).into_iter().chain(Extension::ALL.map(Extension::name));
        let name = known.find(|name| *name == self.name()).unwrap_or("unknown section");
        Err(Error::model(name, format!("checksum {:016x}", self.checksum), found))
    }
}

/// Fields of fixed size, one after the other.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    pub(crate) fn f32(&mut self) -> Option<f32> {
        self.bytes().map(f32::from_le_bytes)
    }

    pub(crate) fn f64(&mut self) -> Option<f64> {
        self.bytes().map(f64::from_le_bytes)
    }
}

/// The bytes before the section table.
struct Preamble {
    version: u32,
    sections: u32,
    length: u64,
}

impl Preamble {
    /// Reads the first bytes of a file of `length` bytes.
    fn parse(start: &[u8], length: u64) -> Result<Self> {
        let mut fields = Fields(start);
        if fields.bytes() != Some(MAGIC) {
            return Err(Error::model(HEADER, "the tagomatic magic", describe(start)));
        }
        let preamble = (|| Some(Preamble { version: fields.u32()?, sections: fields.u32()?, length: fields.u64()? }))();
        let cut_short = |expected| Error::model(HEADER, expected, format!("{length} bytes; it was cut short"));
        let preamble = preamble.ok_or_else(|| cut_short(format!("a file of {PREAMBLE} bytes at least")))?;
        match preamble.version {
            1..=VERSION => {}
            0 => return Err(Error::model(HEADER, "a version from 1 on", "version 0")),
            newer => return Err(Error::newer_model(format!("format version {newer}; this program reads up to {VERSION}"))),
        }
        let expected = format!("a file of {} bytes", preamble.length);
        match length.cmp(&preamble.length) {
            Ordering::Less => Err(cut_short(expected)),
            Ordering::Equal => Ok(preamble),
            Ordering::Greater => Err(Error::model(HEADER, expected, format!("{length} bytes; something was appended"))),
        }
    }
}

/// Fails unless `start`, the first [`PREAMBLE`] bytes of a file of `length` bytes, can begin a model of that length.
pub(crate) fn check_start(start: &[u8], length: u64) -> Result<()> {
    Preamble::parse(start, length).map(drop)
}

/// What a file that is no model starts with, for a person.
fn describe(start: &[u8]) -> String {
    let start = &start[..start.len().min(PREAMBLE)];
    if start.is_empty() {
        return "an empty file".to_owned();
    }
    if start.get(1..5) == MAGIC.get(1..5) {
        return format!("the magic damaged, {:02x?}, as by a transfer as text", &start[..start.len().min(MAGIC.len())]);
    }
    // A character cut at the end of the excerpt is still text.
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default(),
        Err(_) => "",
    };
    let printable = |c: char| !c.is_control() || c.is_ascii_whitespace();
    if !text.is_empty() && text.chars().all(printable) {
        format!("text that starts with {text:?}")
    } else {
        format!("bytes that start with {:02x?}", &start[..start.len().min(MAGIC.len())])
    }
}

/// The section table of a valid file: the first [`Part::COUNT`] sections are the [`Part`]s, and all lie inside the file.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) sections: Vec<Section>,
    length: usize,
}

impl Header {
    /// Reads and checks header and table of the whole file `bytes`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let Preamble { version, sections: count, .. } = Preamble::parse(bytes, bytes.len() as u64)?;
        let absurd = || Error::model(HEADER, "a section table inside the file", format!("{count} sections"));
        let table_end = usize::try_from(count).ok().and_then(table_end).ok_or_else(absurd)?;
        let (covered, rest) = bytes.split_at_checked(table_end).ok_or_else(absurd)?;
        let said = Fields(rest).u64().ok_or_else(absurd)?;
        let found = xxh3_64(covered);
        if said != found {
            return Err(Error::model(HEADER, format!("checksum {said:016x}"), format!("{found:016x}; the header is damaged")));
        }

        let (entries, _) = covered[PREAMBLE..].as_chunks::<ENTRY>();
        if let Some(missing) = Part::ALL.get(entries.len()) {
            return Err(Error::model(TABLE, format!("{} sections at least", Part::COUNT), format!("no {}", missing.name())));
        }
        let mut sections: Vec<Section> = Vec::with_capacity(entries.len());
        let mut end = table_end + CHECKSUM;
        for entry in entries {
            let section = parse_entry(entry, &sections, end, bytes.len())?;
            end = section.body.end;
            sections.push(section);
        }
        if end.checked_next_multiple_of(ALIGN) != Some(bytes.len()) {
            let expected = format!("a file that ends after the last section, at {end} rounded up to a multiple of {ALIGN}");
            return Err(Error::model(TABLE, expected, format!("{} bytes", bytes.len())));
        }
        Ok(Header { version, sections, length: bytes.len() })
    }

    /// The header of a new file whose sections have these lengths; extensions ascend. The checksums are still to be made.
    pub(crate) fn plan(lengths: [usize; Part::COUNT], extensions: &[(Extension, usize)]) -> Result<Self> {
        let limit = Error::TooLarge { what: "model", limit: isize::MAX as u64 };
        Self::try_plan(lengths, extensions).filter(|header| header.length <= isize::MAX.unsigned_abs()).ok_or(limit)
    }

    fn try_plan(lengths: [usize; Part::COUNT], extensions: &[(Extension, usize)]) -> Option<Self> {
        let parts = Part::ALL.into_iter().zip(lengths).map(|(part, length)| (part.name(), REQUIRED, length));
        let extensions = extensions.iter().map(|&(extension, length)| (extension.name(), extension.flags(), length));
        let planned: Vec<_> = parts.chain(extensions).collect();
        let mut sections = Vec::with_capacity(planned.len());
        let mut end = table_end(planned.len())? + CHECKSUM;
        for (name, flags, length) in planned {
            let start = end.checked_next_multiple_of(ALIGN)?;
            end = start.checked_add(length)?;
            let kind = *name.as_bytes().first_chunk()?;
            sections.push(Section { kind, flags, body: start..end, checksum: 0 });
        }
        Some(Header { version: VERSION, sections, length: end.checked_next_multiple_of(ALIGN)? })
    }

    /// Makes the checksums of a planned file whose bodies are written, and writes the header.
    pub(crate) fn seal(&mut self, bytes: &mut [u8]) {
        for section in &mut self.sections {
            section.checksum = xxh3_64(&bytes[section.body.clone()]);
        }
        let mut header = MAGIC.to_vec();
        header.extend(self.version.to_le_bytes());
        // A plan has a few dozen sections at most.
        header.extend(&(self.sections.len() as u64).to_le_bytes()[..4]);
        header.extend((self.length as u64).to_le_bytes());
        header.extend(self.sections.iter().flat_map(Section::entry));
        header.extend(xxh3_64(&header).to_le_bytes());
        bytes[..header.len()].copy_from_slice(&header);
    }

    /// The length of the file in bytes, a multiple of 64.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Where the body of a part stands in the file.
    #[inline]
    pub(crate) fn range(&self, part: Part) -> Range<usize> {
        self.sections[part as usize].body.clone()
    }

    /// The section of an extension, if the file has it.
    pub(crate) fn extension(&self, extension: Extension) -> Option<&Section> {
        self.sections[Part::COUNT..].iter().find(|section| section.name() == extension.name())
    }

    /// Fails unless all bytes that belong to nothing are zero.
    pub(crate) fn verify_gaps(&self, bytes: &[u8]) -> Result<()> {
        // The table was read from this many entries, so this cannot overflow.
        let mut end = PREAMBLE + ENTRY * self.sections.len() + CHECKSUM;
        let bodies = self.sections.iter().map(|section| section.body.clone());
        for next in bodies.chain(std::iter::once(self.length..self.length)) {
            if let Some(at) = bytes[end..next.start].iter().position(|&byte| byte != 0) {
                let found = format!("{:#04x} at byte {}", bytes[end + at], end + at);
                return Err(Error::model("padding between sections", "zeros", found));
            }
            end = next.end;
        }
        Ok(())
    }
}

fn table_end(sections: usize) -> Option<usize> {
    sections.checked_mul(ENTRY)?.checked_add(PREAMBLE)
}

/// Reads the entry that follows those of `before`, whose last body ends at `end`, in a file of `length` bytes.
fn parse_entry(entry: &[u8; ENTRY], before: &[Section], end: usize, length: usize) -> Result<Section> {
    let fault = |expected: String, found: String| Error::model(TABLE, expected, found);
    let [head, offset, body, checksum] = bytemuck::cast::<_, [u64; 4]>(*entry).map(u64::from_le);
    let [kind, flags]: [[u8; 4]; 2] = bytemuck::cast(head.to_le_bytes());
    let flags = u32::from_le_bytes(flags);
    let name = kind.escape_ascii();
    let number = before.len() + 1;

    let known = Part::ALL.iter().any(|part| part.name().as_bytes() == kind);
    if let Some(part) = Part::ALL.get(before.len()) {
        if part.name().as_bytes() != kind {
            return Err(fault(format!("{} as section {number}", part.name()), format!("{name}")));
        }
        if flags != REQUIRED {
            return Err(fault(format!("flags {REQUIRED:#x} of {name}"), format!("{flags:#x}")));
        }
    } else {
        if !kind.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()) {
            return Err(fault(format!("capital letters and digits as the kind of section {number}"), format!("{name}")));
        }
        let last = before.get(Part::COUNT..).and_then(<[Section]>::last);
        if known || last.is_some_and(|last| last.kind >= kind) {
            return Err(fault(
                format!("every section once, those after the first {} ascending by kind", Part::COUNT),
                format!("{name} as section {number}"),
            ));
        }
        let extension = Extension::ALL.into_iter().find(|extension| extension.name().as_bytes() == kind);
        match (extension.map(Extension::flags), flags) {
            (Some(expected), found) if expected == found => {}
            (Some(expected), _) => return Err(fault(format!("flags {expected:#x} of {name}"), format!("{flags:#x}"))),
            (None, 0) => {}
            (None, REQUIRED) => {
                return Err(Error::newer_model(format!("the section {name}, which this program does not know")));
            }
            (None, _) => return Err(fault(format!("flags 0x0 or {REQUIRED:#x} of {name}"), format!("{flags:#x}"))),
        }
    }

    let start = end.checked_next_multiple_of(ALIGN).filter(|&start| start as u64 == offset);
    let start =
        start.ok_or_else(|| fault(format!("{name} at {end} rounded up to a multiple of {ALIGN}"), format!("{offset}")))?;
    let end = usize::try_from(body).ok().and_then(|body| start.checked_add(body)).filter(|&end| end <= length);
    let end =
        end.ok_or_else(|| fault(format!("{name} inside the file of {length} bytes"), format!("{body} bytes at {offset}")))?;
    Ok(Section { kind, flags, body: start..end, checksum })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(lengths: [usize; Part::COUNT]) -> Vec<u8> {
        let mut header = Header::plan(lengths, &[]).unwrap();
        let mut bytes = vec![0; header.length()];
        header.seal(&mut bytes);
        bytes
    }

    #[test]
    fn reads_what_it_wrote() {
        let bytes = sealed([64, 4, 0, 1, 63, 65, 64, 0, 128, 1, 2, 3]);
        let header = Header::parse(&bytes).unwrap();
        assert_eq!(header.length(), bytes.len());
        header.verify_gaps(&bytes).unwrap();
        for (part, section) in Part::ALL.iter().zip(&header.sections) {
            assert_eq!(part.name(), section.name());
            assert_eq!(section.offset() % 64, 0);
            section.verify(&bytes).unwrap();
        }
        assert_eq!(header.range(Part::Provenance).len(), 3);
    }

    #[test]
    fn the_first_bytes_stay_as_they_are() {
        let bytes = sealed([0; Part::COUNT]);
        assert_eq!(bytes.len(), 448);
        assert_eq!(&bytes[..24], b"\x89TAGM\r\n\x1a\x01\0\0\0\x0c\0\0\0\xc0\x01\0\0\0\0\0\0");
        assert_eq!(&bytes[24..32], b"NETW\x01\0\0\0");
    }

    #[test]
    fn tells_a_person_what_was_given() {
        let found = |start: &[u8]| check_start(start, start.len() as u64).err().unwrap().to_string();
        assert!(found(b"").contains("an empty file"));
        assert!(found(b"{\"keywords\": [\"a\", \"b\"]}").contains(r#"text that starts with "{\"keywords\""#));
        assert!(found("äöüäöüäöüäöü".as_bytes()).contains("text that starts with \"äöü"));
        assert!(found("x€€€€€€€€€€".as_bytes()).contains("text that starts with \"x€"));
        assert!(found(b"abc\0\x01").contains("bytes that start with [61, 62, 63, 00, 01]"));
        assert!(found(b"\x1f\x8b\x08\0\0\0\0\0\0").contains("bytes that start with [1f, 8b, 08, 00,"));
        assert!(found(b"\x89TAGM\n\x1a\x01").contains("transfer as text"));
        assert!(found(b"\x89TAGM\r\n\x1a\x01\0").contains("10 bytes; it was cut short"));
        assert!(found(b"\x89TAGM\r\n\x1a\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0").contains("update tagomatic"));
    }

    #[test]
    fn absurd_sizes_are_errors() {
        assert!(matches!(Header::plan([usize::MAX; Part::COUNT], &[]), Err(Error::TooLarge { .. })));
        assert!(matches!(Header::plan([isize::MAX.unsigned_abs() / 2; Part::COUNT], &[]), Err(Error::TooLarge { .. })));
        let mut bytes = sealed([0; Part::COUNT]);
        bytes[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Header::parse(&bytes).unwrap_err().to_string().contains("4294967295 sections"));
    }
}
