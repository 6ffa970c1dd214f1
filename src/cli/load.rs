//! Data files and models.

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use tagomatic::data::{Corpus, Dataset, Encoder, EncoderStats, Format, Item, Reader, input};
use tagomatic::rules::{Labeller, Rules, Withhold};
use tagomatic::{Error, Model, Tags};

use super::failure::{Failure, Result};
use super::output;

/// Skipped lines whose fault is shown.
const SHOWN: u64 = 5;

/// What to do at a malformed line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum OnError {
    Stop,
    Skip,
}

/// How data files are read.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Reading {
    /// How items stand in the files
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Name::Jsonl)]
    format: Name,
    /// Of libsvm and xc: indices count from 1, not from 0
    #[arg(long)]
    one_based: bool,
    /// What to do at a malformed line: stop with its place, or skip and count it
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = OnError::Stop)]
    on_error: OnError,
    /// The longest line that is read, in bytes, or as 64K, 16M, 1G
    #[arg(long, value_name = "BYTES", default_value = "16M", value_parser = bytes)]
    max_line: u64,
}

/// A number of bytes, in units of 1024 of them, of the square or of the cube of that.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().next_back() {
        Some((end, 'K' | 'k')) => (&text[..end], 1 << 10),
        Some((end, 'M' | 'm')) => (&text[..end], 1 << 20),
        Some((end, 'G' | 'g')) => (&text[..end], 1 << 30),
        _ => (text, 1),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes.ok_or_else(|| "expected a number of bytes, as 4096, 64K, 16M or 1G".to_owned())
}

/// A format of items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Name {
    /// JSON Lines
    Jsonl,
    /// Lines of LIBSVM, with several labels: 3,17 5:1 92:1
    Libsvm,
    /// The same after a line "items keywords labels", as of the Extreme Classification Repository
    Xc,
    /// Words, of which tags are __label__TAG
    Fasttext,
}

impl Reading {
    /// The same, but malformed lines are returned as errors, one after the other.
    pub(super) fn stopping(self) -> Self {
        Reading { on_error: OnError::Stop, ..self }
    }

    /// Whether malformed lines are passed over.
    pub(super) fn skips(self) -> bool {
        self.on_error == OnError::Skip
    }

    pub(super) fn format(self) -> Result<Format> {
        let one_based = self.one_based;
        match self.format {
            Name::Libsvm => Ok(Format::LibSvm { one_based }),
            Name::Xc => Ok(Format::Xc { one_based }),
            _ if one_based => Err(Failure::Usage("--one-based: expected --format libsvm or xc beside it".to_owned())),
            Name::Jsonl => Ok(Format::JsonLines),
            Name::Fasttext => Ok(Format::FastText),
        }
    }
}

/// The items of some files, one after the other.
pub(super) struct Items<'a> {
    files: std::slice::Iter<'a, PathBuf>,
    reader: Option<Reader<Box<dyn BufRead + Send>>>,
    format: Format,
    reading: Reading,
    labeller: Option<Labeller<'a>>,
    counts: ReadCounts,
}

/// What was passed over while reading.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct ReadCounts {
    /// Malformed lines.
    pub(super) skipped: u64,
    /// Values that were neither 0 nor 1.
    pub(super) binarized: u64,
}

impl ReadCounts {
    /// For people.
    pub(super) fn rows(self) -> [(&'static str, u64); 2] {
        [("malformed lines skipped", self.skipped), ("values other than 0 and 1, made 1 if above 0, else 0", self.binarized)]
    }
}

impl<'a> Items<'a> {
    pub(super) fn new(files: &'a [PathBuf], reading: Reading) -> Result<Self> {
        let format = reading.format()?;
        let counts = ReadCounts::default();
        Ok(Items { files: files.iter(), reader: None, format, reading, labeller: None, counts })
    }

    /// The same items, tagged by rules.
    pub(super) fn labelled(mut self, rules: &'a Rules, withhold: Withhold) -> Self {
        self.labeller = Some(Labeller::new(rules, withhold));
        self
    }

    /// What was passed over so far.
    pub(super) fn counts(&self) -> ReadCounts {
        let binarized = self.reader.as_ref().map_or(0, Reader::binarized);
        ReadCounts { binarized: self.counts.binarized + binarized, ..self.counts }
    }

    /// The line of the last item.
    pub(super) fn text(&self) -> &[u8] {
        self.reader.as_ref().map_or(&[], |reader| reader.text())
    }

    /// Its number.
    pub(super) fn line(&self) -> u64 {
        self.reader.as_ref().map_or(0, Reader::line)
    }

    fn skip(&mut self, error: &Error) {
        self.counts.skipped += 1;
        if self.counts.skipped <= SHOWN {
            output::message(format_args!("skipped: {error}"));
        }
    }
}

impl Iterator for Items<'_> {
    type Item = tagomatic::Result<Item>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(reader) = &mut self.reader else {
                let file = self.files.next()?;
                match input::open(file) {
                    Ok(input) => {
                        let reader = Reader::new(input, self.format, file.display().to_string());
                        self.reader = Some(reader.with_max_line(usize::try_from(self.reading.max_line).unwrap_or(usize::MAX)));
                    }
                    Err(error) => return Some(Err(error)),
                }
                continue;
            };
            let mut next = reader.next();
            if let Some(Err(Error::Data { found, .. })) = &mut next
                && reader.text().len() as u64 > self.reading.max_line
            {
                found.push_str(": raise --max-line");
            }
            match next {
                None => {
                    self.counts = self.counts();
                    self.reader = None;
                }
                Some(Err(error @ Error::Data { .. })) if self.reading.skips() => self.skip(&error),
                Some(mut result) => {
                    if let (Ok(item), Some(labeller)) = (&mut result, &mut self.labeller) {
                        labeller.label(item);
                    }
                    return Some(result);
                }
            }
        }
    }
}

/// All items of `items`, in memory or in files of the folder `cache`, and what was passed over. Fails if they are tagged by rules that
/// do not fit them.
pub(super) fn corpus(mut items: Items<'_>, cache: Option<&Path>) -> Result<(Corpus, ReadCounts)> {
    cache.map_or(Ok(()), make_folder)?;
    let mut corpus = cache.map_or_else(|| Ok(Corpus::new()), Corpus::in_files)?;
    for item in &mut items {
        corpus.push(&item?)?;
    }
    if let Some(labeller) = &items.labeller {
        labeller.check_used()?;
    }
    Ok((corpus, items.counts()))
}

/// Makes a folder, and those that it is in, unless they are there.
pub(super) fn make_folder(folder: &Path) -> Result<()> {
    let failed = |source| Error::Io { path: folder.to_owned(), doing: "make the folder", source };
    Ok(std::fs::create_dir_all(folder).map_err(failed)?)
}

/// Items in the ids of a model, with what was left out.
pub(super) struct Encoded {
    pub(super) dataset: Dataset,
    /// Of each item its id, if it has one.
    pub(super) ids: Vec<Option<String>>,
    pub(super) stats: EncoderStats,
    pub(super) read: ReadCounts,
    /// The first tag that the model does not have.
    unknown_tag: Option<String>,
}

impl Encoded {
    /// Fails if no item has a tag of the model: on items that stand in `files`, and were tagged by what is told, nothing could be measured
    /// then.
    pub(super) fn check_tagged(&self, files: &[PathBuf], tagged_by: Option<&str>) -> Result<()> {
        if !self.dataset.tag_sets().ids().is_empty() {
            return Ok(());
        }
        let items = output::count(self.dataset.len());
        let others = self.unknown_tag.as_ref().map_or_else(String::new, |tag| format!(", but others such as {tag:?}"));
        let by = tagged_by.map_or_else(String::new, |by| format!(", tagged by the {by}"));
        let what = format!("expected items with tags of the model, found {items} items none of which has one{by}{others}");
        let cure = match tagged_by {
            Some(_) => {
                "give items that are tagged as those of the training, or --raw-tags if they have the tags that the rules make"
            }
            None => "give items that are tagged as those of the training; `tagomatic tags list` shows the model's tags",
        };
        Err(Failure::in_files(Error::NoData { what, cure }, files))
    }
}

/// Reads `files`, which must hold an item at least; their items are tagged by the rules, if there are some.
pub(super) fn encode(
    files: &[PathBuf],
    reading: Reading,
    rules: Option<&Rules>,
    keyword: impl Fn(&str) -> Option<u32>,
    tags: &Tags,
) -> Result<Encoded> {
    let mut items = Items::new(files, reading)?;
    if let Some(rules) = rules {
        // Models without a keyword do not know it, and those that have it need it.
        items = items.labelled(rules, Withhold::FromTag);
    }
    let encoded = encode_items(&mut items, keyword, tags)?;
    if encoded.dataset.is_empty() {
        let cure = "give at least one, each on a line";
        return Err(Failure::in_files(Error::NoData { what: "no items to measure on".to_owned(), cure }, files));
    }
    Ok(Encoded { read: items.counts(), ..encoded })
}

/// The same of items from anywhere.
pub(super) fn encode_items(
    items: impl Iterator<Item = tagomatic::Result<Item>>,
    keyword: impl Fn(&str) -> Option<u32>,
    tags: &Tags,
) -> Result<Encoded> {
    let tag = |name: &str| tags.get(name).and_then(|index| u32::try_from(index).ok());
    let mut encoder = Encoder::new(keyword, tag);
    let (mut ids, mut unknown_tag) = (Vec::new(), None);
    for item in items {
        let item = item?;
        if unknown_tag.is_none() {
            unknown_tag = item.tags.iter().find(|name| tag(name).is_none()).cloned();
        }
        encoder.push(&item)?;
        ids.push(item.id);
    }
    let (dataset, stats) = encoder.finish();
    Ok(Encoded { dataset, ids, stats, read: ReadCounts::default(), unknown_tag })
}

/// Reads tag rules.
pub(super) fn rules(path: &Path) -> Result<Rules> {
    let mut text = String::new();
    let read = input::open(path)?.read_to_string(&mut text);
    read.map_err(|source| Error::Io { path: path.to_owned(), doing: "read the rules", source })?;
    Ok(Rules::parse(&text, &path.display().to_string())?)
}

/// Fails if another file of the command is the one to write, the argument of `option`: it would be gone.
pub(super) fn check_apart(option: &str, out: &Path, others: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<()> {
    let Some(out) = place(out) else { return Ok(()) };
    match others.into_iter().find(|other| place(other.as_ref()).is_some_and(|other| other == out)) {
        Some(other) => {
            let other = other.as_ref().display();
            Err(Failure::Usage(format!("{option}: expected a file of its own, found {other}, which has another use")))
        }
        None => Ok(()),
    }
}

/// Where a file is or would be, links followed; none where no file can be.
fn place(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| {
        let path = std::path::absolute(path).ok()?;
        Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
    })
}

/// Fails if the file is larger than `limit` bytes; one that cannot be asked is left to who opens it.
pub(super) fn check_size(path: &Path, limit: u64) -> tagomatic::Result<()> {
    match std::fs::metadata(path) {
        Ok(file) if file.len() > limit => Err(too_large(path, limit, format!("{} bytes", file.len()))),
        _ => Ok(()),
    }
}

fn too_large(path: &Path, limit: u64, found: String) -> Error {
    let problem = format!("expected at most {limit} bytes, as --max-model says, found {found} (raise --max-model)");
    let source = io::Error::new(io::ErrorKind::FileTooLarge, problem);
    Error::Io { path: path.to_owned(), doing: "read the model", source }
}

/// Maps a model of at most `limit` bytes, and checks all of it: a bad file fails here and never later. For `-` the model is read from
/// standard input.
pub(super) fn model(path: &Path, limit: u64) -> tagomatic::Result<Model> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        let read = io::stdin().lock().take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|source| Error::Io { path: path.to_owned(), doing: "read the model", source })?;
        if bytes.len() as u64 > limit {
            return Err(too_large(path, limit, "more".to_owned()));
        }
        return Model::from_bytes(&bytes);
    }
    check_size(path, limit)?;
    let model = map(path, limit)?;
    model.verify().map_err(|error| error.in_file(path))?;
    Ok(model)
}

#[allow(unsafe_code, reason = "the program maps its models; this is the one place")]
fn map(path: &Path, limit: u64) -> tagomatic::Result<Model> {
    // SAFETY: `Model::map_within` wants a file that does not change while the model lives. This program changes no model in place: it
    // publishes by `Model::save`, which renames a new file over the old one and leaves the mapped one as it is. Of others the
    // help of each command that reads a model demands the same.
    unsafe { Model::map_within(path, limit, &[]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(["0", "4096", "64K", "2g"].map(|text| bytes(text).unwrap()), [0, 4096, 1 << 16, 1 << 31]);
        assert_eq!(bytes("16M"), Ok(tagomatic::data::MAX_LINE as u64), "what help says is the default");
        for wrong in ["", "K", "-1", "1.5M", "1T", "17179869184G"] {
            assert!(bytes(wrong).unwrap_err().contains("64K"), "{wrong}");
        }
    }
}
