//! `check`: what is wrong with data, and a split without leaks.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tagomatic::Error;
use tagomatic::atomic::NewFile;
use tagomatic::data::check::{Checked, Checker};
use tagomatic::data::{Format, stratified};
use tagomatic::rng::Philox;

use super::failure::{Failure, Result};
use super::load::{self, Items, Reading};
use super::{Session, output};

/// Characters of an example of a fault that are shown to people: enough for what was expected and what was found.
const EXAMPLE: usize = 300;

/// Suspicious keywords that are shown to people.
const SHOWN: usize = 20;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Tagged items; items in common between two files are leaks. Of items with the same keywords all but one are duplicates; with
    /// other tags are those that lack the most frequent tags among them. If lines are malformed the command fails in the end, unless
    /// --on-error is skip
    #[arg(required = true)]
    data: Vec<PathBuf>,
    /// Divide the items between train.jsonl and test.jsonl (and valid.jsonl) in this folder: every tag keeps its share, and items
    /// with the same keywords or id stay together. Nothing is written if lines are malformed, unless --on-error is skip
    #[arg(long, value_name = "DIR")]
    split: Option<PathBuf>,
    /// Share of the items that go to test.jsonl
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, requires = "split", value_parser = share)]
    test: f64,
    /// Share of the items that go to valid.jsonl, for early stopping or `tune`; the file is written if it is not 0
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, requires = "split", value_parser = share)]
    valid: f64,
    /// Decides the split
    #[arg(long, value_name = "N", default_value_t = 1, requires = "split")]
    seed: u64,
    /// All faults are counted, whatever --on-error says
    #[command(flatten)]
    reading: Reading,
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..1.0).contains(share)).ok_or_else(|| "expected a number from 0 to below 1".to_owned())
}

#[derive(Serialize)]
struct Document<'a> {
    samples: usize,
    keywords: usize,
    tags: usize,
    mean_keywords: f64,
    mean_tags: f64,
    untagged: u64,
    duplicates: u64,
    /// Items to change so that items with the same keywords have the same tags: all but those with the most frequent tags among them.
    contradictions: u64,
    /// All that is wrong with single items and lines; `details` tells what.
    faults: u64,
    details: Vec<Fault<'a>>,
    leaks: Vec<Leak<'a>>,
    suspects: Vec<Suspect<'a>>,
    /// Tags that every item has.
    untrainable: Vec<&'a str>,
    split: Option<Vec<Part>>,
}

#[derive(Serialize)]
struct Fault<'a> {
    fault: &'a str,
    count: u64,
    examples: &'a [String],
}

#[derive(Serialize)]
struct Leak<'a> {
    file: &'a str,
    other: &'a str,
    ids: u64,
    keyword_sets: u64,
}

#[derive(Serialize)]
struct Suspect<'a> {
    keyword: &'a str,
    tag: &'a str,
    /// Whether the keyword is the tag's name.
    name: bool,
    items: u64,
    precision: f64,
    recall: f64,
}

#[derive(Serialize)]
struct Part {
    file: String,
    samples: usize,
}

/// The text of each item, as it stands in its file.
#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    ends: Vec<usize>,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    let parts = arguments.split.as_deref().map(|folder| parts(arguments, folder)).transpose()?;
    let mut checker = Checker::new();
    let (mut lines, mut malformed) = (Lines::default(), 0);
    for file in &arguments.data {
        checker.file(file.display().to_string());
        let mut items = Items::new(std::slice::from_ref(file), arguments.reading.stopping())?;
        while let Some(item) = items.next() {
            match item {
                Ok(item) => {
                    checker.push(&item, items.line())?;
                    if arguments.split.is_some() {
                        lines.push(items.text());
                    }
                }
                Err(error @ Error::Data { .. }) => {
                    checker.malformed(&error);
                    malformed += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    let checked = checker.finish()?;
    let failure = failure(arguments, &checked, malformed);
    // What is wrong is not to be learnt from.
    let parts = parts.filter(|_| failure.is_none());
    let split = parts.map(|parts| divide(arguments.seed, &parts, &checked, &lines)).transpose()?;
    let document = Document::new(&checked, split);
    match output::print(if session.json { output::json(&document)? } else { document.text() }) {
        // That nobody reads the report is no error, but what it tells is.
        done @ (Ok(()) | Err(Failure::ClosedPipe)) => failure.map_or(done, Err),
        failed => failed,
    }
}

/// Why the command fails after it has told what it found.
fn failure(arguments: &Arguments, checked: &Checked, malformed: u64) -> Option<Failure> {
    let Arguments { data, split, reading, .. } = arguments;
    if malformed > 0 && !reading.skips() {
        let unsplit = if split.is_some() { ", so nothing is split" } else { "" };
        let found = output::count(malformed);
        return Some(Failure::Work(format!(
            "expected lines that are items, found {found} that are not{unsplit} (mend them, or go on without: --on-error skip)"
        )));
    }
    let cure = "give at least one, each on a line";
    let none = || Failure::in_files(Error::NoData { what: "no items to check".to_owned(), cure }, data);
    checked.prepared.dataset.is_empty().then(none)
}

/// The files that the split makes, each with its share of the items. Fails where they are not to be written.
fn parts(arguments: &Arguments, folder: &Path) -> Result<Vec<(PathBuf, f64)>> {
    let Arguments { test, valid, .. } = *arguments;
    let ending = match arguments.reading.format()? {
        Format::JsonLines => "jsonl",
        Format::Xc { .. } => {
            return Err(Failure::Usage("--split: expected another format than xc, whose first line counts items".to_owned()));
        }
        _ => "txt",
    };
    let rest = 1.0 - test - valid;
    if rest <= 0.0 {
        return Err(Failure::Usage(format!(
            "--test, --valid: expected shares that leave something to train on, found {test} and {valid}"
        )));
    }
    let path = |(name, share)| (folder.join(name).with_extension(ending), share);
    let all = [("train", rest), ("valid", valid), ("test", test)].map(path).into_iter();
    let (parts, others): (Vec<_>, Vec<_>) = all.partition(|(_, share)| *share > 0.0);
    for (path, _) in parts.iter().chain(&others) {
        load::check_apart("--split", path, &arguments.data)?;
    }
    // An older part beside the new ones has items of theirs.
    if let Some((old, _)) = others.iter().find(|(path, _)| path.symlink_metadata().is_ok()) {
        return Err(Failure::Usage(format!(
            "--split: expected a folder without parts that are not written anew, found {} (remove it, or name another folder)",
            old.display()
        )));
    }
    Ok(parts)
}

/// Writes the parts of the split; tells what they are.
fn divide(seed: u64, parts: &[(PathBuf, f64)], checked: &Checked, lines: &Lines) -> Result<Vec<Part>> {
    let shares: Vec<f64> = parts.iter().map(|(_, share)| *share).collect();
    let part_of = stratified(&checked.prepared.dataset, &checked.group, &shares, Philox::new(seed))?;
    // All are in one folder.
    parts.first().and_then(|(path, _)| path.parent()).map_or(Ok(()), load::make_folder)?;
    let write = |(part, (path, _)): (usize, &(PathBuf, f64))| {
        let mut file = NewFile::create(path, "write the items")?;
        let samples: Vec<usize> = (0..part_of.len()).filter(|sample| part_of[*sample] == part).collect();
        for &sample in &samples {
            file.write_all(lines.get(sample)).map_err(|error| file.error(error))?;
        }
        file.publish()?;
        Ok(Part { file: path.display().to_string(), samples: samples.len() })
    };
    parts.iter().enumerate().map(write).collect()
}

impl Lines {
    fn push(&mut self, line: &[u8]) {
        self.text.extend_from_slice(line.trim_ascii_end());
        self.text.push(b'\n');
        self.ends.push(self.text.len());
    }

    fn get(&self, item: usize) -> &[u8] {
        let start = if item == 0 { 0 } else { self.ends[item - 1] };
        &self.text[start..self.ends[item]]
    }
}

impl<'a> Document<'a> {
    fn new(checked: &'a Checked, split: Option<Vec<Part>>) -> Self {
        let prepared = &checked.prepared;
        let (dataset, tags) = (&prepared.dataset, &prepared.tags);
        let mean_tags = dataset.tag_sets().ids().len() as f64 / dataset.len().max(1) as f64;
        let suspect = |suspect: &'a tagomatic::data::check::Suspect| Suspect {
            keyword: &prepared.keywords[suspect.keyword],
            tag: &tags[suspect.tag],
            name: suspect.is_name,
            items: suspect.items,
            precision: suspect.precision,
            recall: suspect.recall,
        };
        let faults = checked.faults.iter();
        Document {
            samples: dataset.len(),
            keywords: prepared.keywords.len(),
            tags: tags.len(),
            mean_keywords: dataset.mean_keywords(),
            mean_tags,
            untagged: prepared.stats.untagged,
            duplicates: checked.duplicates,
            contradictions: checked.contradictions,
            faults: checked.faults.iter().map(|fault| fault.count).sum(),
            details: faults.map(|f| Fault { fault: f.kind, count: f.count, examples: &f.examples }).collect(),
            leaks: checked
                .leaks
                .iter()
                .map(|leak| Leak { file: &leak.file, other: &leak.other, ids: leak.ids, keyword_sets: leak.keyword_sets })
                .collect(),
            suspects: checked.suspects.iter().map(suspect).collect(),
            untrainable: checked.untrainable.iter().map(|&tag| &tags[tag][..]).collect(),
            split,
        }
    }

    /// For people.
    fn text(&self) -> String {
        let mut rows = vec![
            ("items", output::count(self.samples)),
            ("keywords", format!("{}, {:.1} an item", output::count(self.keywords), self.mean_keywords)),
            ("tags", format!("{}, {:.1} an item", output::count(self.tags), self.mean_tags)),
            ("items without tags", output::count(self.untagged)),
            (
                "duplicates",
                format!("{}, {} of them with other tags", output::count(self.duplicates), output::count(self.contradictions)),
            ),
            ("faults", output::count(self.faults)),
        ];
        for fault in &self.details {
            let examples: Vec<_> = fault.examples.iter().map(|example| output::beginning(example, EXAMPLE)).collect();
            rows.push((fault.fault, format!("{}: {}", output::count(fault.count), examples.join("; "))));
        }
        for leak in &self.leaks {
            let Leak { file, other, ids, keyword_sets } = leak;
            rows.push(("leak", format!("{other}: {ids} ids and {keyword_sets} sets of keywords of {file}")));
        }
        if !self.untrainable.is_empty() {
            let names: Vec<_> = self.untrainable.iter().map(|name| output::name(name)).collect();
            rows.push(("every item has", names.join(", ")));
        }
        for part in self.split.iter().flatten() {
            rows.push(("saved", format!("{}: {} items", part.file, output::count(part.samples))));
        }
        let mut text = output::list(&rows);
        if !self.suspects.is_empty() {
            let row = |suspect: &Suspect<'_>| {
                let why = if suspect.name { "is its name" } else { "decides it" };
                [
                    format!("{} -> {}, {why}", output::name(suspect.keyword), output::name(suspect.tag)),
                    output::count(suspect.items),
                    format!("{:.3}", suspect.precision),
                    format!("{:.3}", suspect.recall),
                ]
            };
            let rows: Vec<_> = self.suspects.iter().take(SHOWN).map(row).collect();
            text.push('\n');
            text.push_str(&output::table(["keywords that give a tag away", "items", "precision", "recall"], &rows));
            if self.suspects.len() > SHOWN {
                text.push_str(&format!("and {} more\n", self.suspects.len() - SHOWN));
            }
        }
        text
    }
}
