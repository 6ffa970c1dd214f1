//! A model as a feature space: items become rows of numbers, or items whose keywords are tags, for another model to learn from.
//!
//! With M models `φ(x) = (f_1 .. f_M)`: models that share nothing but keywords are building blocks. An item without keywords gives
//! what a model says of the empty set.

use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use crate::atomic::NewFile;
use crate::data::Item;
use crate::error::{Error, Result};
use crate::ln::ln;
use crate::named::named;
use crate::selection::Selection;
use crate::tagger::{Scratch, Tagger};

/// What stands in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The score of each tag.
    Confidences,
    /// The calibrated logit of each tag, within ±ln((1-ε)/ε): what the clamped score would be the sigmoid of.
    Logits,
    /// For each tag 1 if its score reaches its threshold, else 0.
    Decisions,
    /// The hidden units, group by group.
    Hidden,
}

named!(Kind, "what", "confidences, logits, decisions or hidden", {
    Confidences => "confidences",
    Logits => "logits",
    Decisions => "decisions",
    Hidden => "hidden",
});

/// Makes rows of items.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use std::io::Cursor;
/// use tagomatic::features::{Features, Kind, NpyWriter};
/// # let tagger = tagomatic::Tagger::new(tagomatic::Model::open("models/movies.tagm")?);
/// # let io = |source| tagomatic::Error::Io { path: "memory".into(), doing: "write", source };
/// let mut features = Features::new(&tagger, Kind::Hidden);
/// let mut npy = NpyWriter::new(Cursor::new(Vec::new()), features.columns()).map_err(io)?;
/// for keywords in [["zombie", "undead"], ["cowboy", "sheriff"]] {
///     npy.push(features.row(keywords)?).map_err(io)?;
/// }
/// let (rows, file) = npy.finish().map_err(io)?; // numpy.load reads it
/// assert_eq!((rows, file.get_ref().len()), (2, 128 + 2 * 4 * features.columns()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Features<'a> {
    tagger: &'a Tagger,
    kind: Kind,
    scratch: Scratch,
    ids: Vec<u32>,
    row: Vec<f32>,
    /// The largest logit that a clamped score has.
    bound: f32,
}

impl<'a> Features<'a> {
    /// Rows of `kind` from a model.
    #[must_use]
    pub fn new(tagger: &'a Tagger, kind: Kind) -> Self {
        let network = tagger.model().network();
        let columns = match kind {
            Kind::Confidences | Kind::Logits | Kind::Decisions => tagger.tags().len(),
            Kind::Hidden => network.shape.hidden() * network.shape.groups().len(),
        };
        let eps = f64::from(network.eps);
        let bound = ln((1.0 - eps) / eps) as f32;
        Features { tagger, kind, scratch: tagger.scratch(), ids: Vec::new(), row: vec![0.0; columns], bound }
    }

    /// The number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.row.len()
    }

    /// The row of an item with these keywords; unknown ones are left out.
    ///
    /// # Errors
    /// None.
    pub fn row<'k>(&mut self, keywords: impl IntoIterator<Item = &'k str>) -> Result<&[f32]> {
        let Features { tagger, scratch, ids, row, .. } = self;
        let vocabulary = tagger.model().vocabulary();
        ids.clear();
        ids.extend(keywords.into_iter().filter_map(|keyword| vocabulary.get(keyword)));
        match self.kind {
            Kind::Confidences => tagger.score(ids, scratch, row)?,
            Kind::Logits => {
                tagger.logits(ids, scratch, row)?;
                if let Some(calibration) = tagger.calibration() {
                    calibration.apply(row);
                }
                row.iter_mut().for_each(|logit| *logit = logit.clamp(-self.bound, self.bound));
            }
            Kind::Decisions => {
                tagger.score(ids, scratch, row)?;
                for (score, tag) in row.iter_mut().zip(tagger.tags()) {
                    *score = f32::from(u8::from(*score >= tag.threshold));
                }
            }
            Kind::Hidden => tagger.hidden(ids, scratch, row)?,
        }
        Ok(&self.row)
    }
}

/// Makes items of items: the tags that a model gives become the keywords, in the order of the model's tags; all else stays.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::data::Item;
/// use tagomatic::features::DecidedTags;
/// # let tagger = tagomatic::Tagger::new(tagomatic::Model::open("models/movies.tagm")?);
/// let item = Item { keywords: vec!["zombie".to_owned(), "undead".to_owned()], ..Item::default() };
/// let item = DecidedTags::new(&tagger).item(item)?;
/// println!("{:?}", item.keywords); // names of tags
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DecidedTags<'a> {
    tagger: &'a Tagger,
    scratch: Scratch,
    scores: Vec<f32>,
    selected: Vec<usize>,
}

impl<'a> DecidedTags<'a> {
    /// Tags by a model's thresholds.
    #[must_use]
    pub fn new(tagger: &'a Tagger) -> Self {
        DecidedTags { tagger, scratch: tagger.scratch(), scores: vec![0.0; tagger.tags().len()], selected: Vec::new() }
    }

    /// The item with its decided tags for keywords.
    ///
    /// # Errors
    /// None.
    pub fn item(&mut self, mut item: Item) -> Result<Item> {
        let keywords = item.keywords.iter().map(String::as_str);
        let counts = self.tagger.score_keywords(keywords, &mut self.scratch, &mut self.scores)?;
        let tags = self.tagger.tags();
        Selection::default().select(tags, &self.scores, counts.known, &mut self.selected)?;
        self.selected.sort_unstable();
        item.keywords.clear();
        item.keywords.extend(self.selected.iter().map(|&tag| tags[tag].name.clone()));
        Ok(item)
    }
}

/// Writes a table of `f32` to a NumPy file (`.npy`, format version 1.0), row by row, in constant memory.
///
/// NumPy reads it with `numpy.load`, also mapped: the header is 128 bytes, rows follow one another, little-endian, in C order.
#[derive(Debug)]
pub struct NpyWriter<W> {
    out: W,
    columns: usize,
    rows: u64,
    bytes: Vec<u8>,
}

/// Bytes of the header: room for any shape, and a multiple of 64, as the format wants.
const HEADER: usize = 128;

impl<W: Write + Seek> NpyWriter<W> {
    /// Starts a table with so many columns at the start of `out`.
    ///
    /// # Errors
    /// Those of `out`, here and below.
    pub fn new(mut out: W, columns: usize) -> io::Result<Self> {
        out.write_all(&[0; HEADER])?;
        Ok(NpyWriter { out, columns, rows: 0, bytes: Vec::with_capacity(columns * size_of::<f32>()) })
    }

    /// Adds a row; floats beyond the columns are left out, missing ones are 0.
    ///
    /// # Errors
    /// As [`NpyWriter::new`].
    pub fn push(&mut self, row: &[f32]) -> io::Result<()> {
        self.bytes.clear();
        self.bytes.extend(row.iter().take(self.columns).flat_map(|x| x.to_le_bytes()));
        self.bytes.resize(self.columns * size_of::<f32>(), 0);
        self.rows += 1;
        self.out.write_all(&self.bytes)
    }

    /// Writes the header, which tells the number of rows, and returns it and what was written to.
    ///
    /// # Errors
    /// As [`NpyWriter::new`].
    pub fn finish(mut self) -> io::Result<(u64, W)> {
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header(self.rows, self.columns))?;
        Ok((self.rows, self.out))
    }
}

fn header(rows: u64, columns: usize) -> [u8; HEADER] {
    let mut header = [b' '; HEADER];
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    header[..8].copy_from_slice(b"\x93NUMPY\x01\x00");
    header[8..10].copy_from_slice(&(HEADER as u16 - 10).to_le_bytes());
    // The text is at most 99 bytes long.
    header[10..10 + text.len()].copy_from_slice(text.as_bytes());
    header[HEADER - 1] = b'\n';
    header
}

/// Writes the rows of all items to a NumPy file, which appears whole or not at all. Returns how many rows it has.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written; those of `items`.
pub fn write_npy(features: &mut Features<'_>, items: impl IntoIterator<Item = Result<Item>>, path: &Path) -> Result<u64> {
    const DOING: &str = "write the features";
    let failed = |error| Error::Io { path: path.to_owned(), doing: DOING, source: error };
    let mut writer = NpyWriter::new(NewFile::create(path, DOING)?, features.columns()).map_err(failed)?;
    for item in items {
        let row = features.row(item?.keywords.iter().map(String::as_str))?;
        writer.push(row).map_err(failed)?;
    }
    let (rows, file) = writer.finish().map_err(failed)?;
    file.publish()?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_what_numpy_writes() {
        let mut writer = NpyWriter::new(io::Cursor::new(Vec::new()), 3).unwrap();
        writer.push(&[1.0, -2.5, 0.0]).unwrap();
        writer.push(&[0.25, f32::MAX, 1e-30]).unwrap();
        let (rows, bytes) = writer.finish().unwrap();
        let bytes = bytes.into_inner();
        assert_eq!((rows, bytes.len()), (2, 128 + 24));
        // What `numpy.lib.format` says: magic, version, length of the rest of the header, a Python literal, spaces, a line's end.
        let text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
        assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x76\x00");
        assert_eq!(&bytes[10..10 + text.len()], text);
        assert!(bytes[10 + text.len()..127].iter().all(|&byte| byte == b' ') && bytes[127] == b'\n');
        let floats: Vec<f32> = bytes[128..].chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
        assert_eq!(floats, [1.0, -2.5, 0.0, 0.25, f32::MAX, 1e-30]);
    }

    #[test]
    fn any_shape_fits_the_header() {
        let text = String::from_utf8_lossy(&header(u64::MAX, usize::MAX)[10..]).into_owned();
        assert!(text.contains("(18446744073709551615, 18446744073709551615), }") && text.ends_with(" \n"), "{text}");
        assert_eq!(NpyWriter::new(io::Cursor::new(Vec::new()), 0).unwrap().finish().unwrap().1.into_inner().len(), 128);
    }
}
