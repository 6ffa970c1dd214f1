//! `tag`: a stream of items is tagged, in order.

use std::collections::HashSet;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rayon::prelude::*;
use serde::Serialize;
use tagomatic::data::Item;
use tagomatic::hierarchy::Hierarchy;
use tagomatic::selection::{MinScore, Selection};
use tagomatic::{Scratch, Tagger};

use super::failure::{Failure, Result};
use super::load::{Items, Reading};
use super::stats::Stats;
use super::{Session, output};

/// Items that are read before they are tagged together.
const CHUNK: usize = 4096;

/// Items that a thread takes at a time.
const GRAIN: usize = 64;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The model; the file must not be changed in place meanwhile (rename a new one over it)
    model: PathBuf,
    /// Items; standard input if none is named
    file: Vec<PathBuf>,
    /// The K best tags of each item, whatever the model's thresholds say
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    top: Option<u32>,
    /// Tags with at least this score, whatever the model's thresholds say
    #[arg(long, value_name = "P", value_parser = score)]
    min_score: Option<f32>,
    /// Every tag of each item
    #[arg(long, conflicts_with_all = ["top", "min_score"])]
    all: bool,
    /// No tags for an item of which the model knows fewer different keywords
    #[arg(long, value_name = "N", default_value_t = 0)]
    min_known: u32,
    /// Raise the score of each parent to those of its children, by the rules that the model was trained with
    #[arg(long)]
    consistent: bool,
    /// Say at the end, on standard error, how many items and keywords there were, how long items took, and how far the scores are from
    /// those in training
    #[arg(long)]
    stats: bool,
    #[command(flatten)]
    reading: Reading,
}

fn score(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|score| (0.0..=1.0).contains(score)).ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

impl Arguments {
    fn selection(&self) -> Selection {
        let min_score = match (self.min_score, self.top, self.all) {
            (Some(score), ..) => MinScore::Fixed(score),
            (None, None, false) => MinScore::PerTag,
            _ => MinScore::Fixed(0.0),
        };
        let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        Selection { min_score, top_k: self.top.map(size), min_known: size(self.min_known) }
    }
}

/// What is said of an item.
#[derive(Serialize)]
pub(super) struct Tagged<'a> {
    pub(super) id: Option<&'a str>,
    pub(super) tags: Vec<Given<'a>>,
    /// Keywords that the model does not know, each once.
    pub(super) unknown: Vec<&'a str>,
    /// How many different ones it knows.
    pub(super) known: usize,
    /// Whether these were too few to say anything.
    pub(super) abstained: bool,
}

/// A tag that was given.
#[derive(Serialize)]
pub(super) struct Given<'a> {
    tag: &'a str,
    score: f32,
}

/// A tagger with the buffers of one thread.
pub(super) struct Worker<'a> {
    tagger: &'a Tagger,
    selection: Selection,
    hierarchy: Option<&'a Hierarchy>,
    scratch: Scratch,
    scores: Vec<f32>,
    selected: Vec<usize>,
    stats: Option<Stats>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(tagger: &'a Tagger, selection: Selection) -> Self {
        let scores = vec![0.0; tagger.tags().len()];
        Worker { tagger, selection, hierarchy: None, scratch: tagger.scratch(), scores, selected: Vec::new(), stats: None }
    }

    pub(super) fn tag<'i: 'o, 'o>(&mut self, item: &'i Item) -> Result<Tagged<'o>>
    where
        'a: 'o,
    {
        let (mut seen, mut unknown) = (HashSet::new(), Vec::new());
        let keywords = item.keywords.iter().map(String::as_str);
        let start = self.stats.is_some().then(Instant::now);
        let counts = self.tagger.score_keywords_with(keywords, &mut self.scratch, &mut self.scores, |keyword| {
            if seen.insert(keyword) {
                unknown.push(keyword);
            }
        })?;
        if let (Some(stats), Some(start)) = (&mut self.stats, start) {
            stats.record(counts, start.elapsed(), &self.scores)?;
        }
        if let Some(hierarchy) = self.hierarchy {
            hierarchy.raise(&mut self.scores);
        }
        let tags = self.tagger.tags();
        self.selection.select(tags, &self.scores, counts.known, &mut self.selected)?;
        let given = |&tag: &usize| Given { tag: &tags[tag].name, score: self.scores[tag] };
        Ok(Tagged {
            id: item.id.as_deref(),
            tags: self.selected.iter().map(given).collect(),
            unknown,
            known: counts.known,
            abstained: self.selection.abstains(counts.known),
        })
    }
}

impl Tagged<'_> {
    /// The tags with their scores, for people.
    pub(super) fn tags(&self) -> String {
        let tags: Vec<String> = self.tags.iter().map(|given| format!("{} {:.3}", given.tag, given.score)).collect();
        tags.join(", ")
    }
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    let tagger = session.tagger(session.model(&arguments.model)?)?;
    let hierarchy = arguments.consistent.then(|| hierarchy(&tagger)).transpose()?;
    let stats = arguments.stats.then(|| Mutex::new(vec![Stats::new(&tagger)]));
    let (selection, hierarchy) = (arguments.selection(), hierarchy.as_ref());
    let stream = Stream { session, tagger: &tagger, selection, hierarchy, stats: stats.as_ref() };
    let stdin = [PathBuf::from("-")];
    let files = if arguments.file.is_empty() { &stdin[..] } else { &arguments.file };
    // Who types items wants each one's tags at once.
    let typed = files.iter().any(|file| file == Path::new("-")) && io::stdin().is_terminal();
    let chunk = if typed { 1 } else { CHUNK };

    let mut items = Items::new(files, arguments.reading)?;
    let mut number = 0;
    let mut batch = Vec::with_capacity(chunk);
    loop {
        let mut end = None;
        batch.clear();
        while end.is_none() && batch.len() < chunk {
            match items.next() {
                Some(Ok(item)) => batch.push(item),
                Some(Err(error)) => end = Some(Err(error.into())),
                None => end = Some(Ok(())),
            }
        }
        // Also what stands before a malformed line.
        output::print(stream.lines(number, &batch)?)?;
        number += batch.len() as u64;
        if let Some(end) = end {
            for (what, count) in items.counts().rows().into_iter().filter(|(_, count)| *count > 0) {
                output::message(format_args!("{what}: {}", output::count(count)));
            }
            if let Some(stats) = stats {
                output::print_aside(&Stats::report(session, &tagger, stats.into_inner().unwrap_or_default())?);
            }
            return end;
        }
    }
}

/// A worker that panicked has left whole counts.
fn lock(all: &Mutex<Vec<Stats>>) -> MutexGuard<'_, Vec<Stats>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hierarchy(tagger: &Tagger) -> Result<Hierarchy> {
    let hierarchy = Hierarchy::of_model(tagger.model())?;
    if hierarchy.is_empty() {
        let problem = "--consistent: expected a model whose tags have parents, found one without (train it with --tags)";
        return Err(Failure::Usage(problem.to_owned()));
    }
    Ok(hierarchy)
}

struct Stream<'a> {
    session: &'a Session,
    tagger: &'a Tagger,
    selection: Selection,
    hierarchy: Option<&'a Hierarchy>,
    /// Those that no worker has in hand.
    stats: Option<&'a Mutex<Vec<Stats>>>,
}

impl Stream<'_> {
    /// The lines for `items`, the first of which is number `first` of the stream, counted from 0.
    fn lines(&self, first: u64, items: &[Item]) -> Result<Vec<u8>> {
        let worker = || Worker { hierarchy: self.hierarchy, ..Worker::new(self.tagger, self.selection) };
        let part = |worker: &mut Worker<'_>, (n, items): (usize, &[Item])| {
            let mut lines = String::new();
            worker.stats = self.stats.map(|all| lock(all).pop().unwrap_or_else(|| Stats::new(self.tagger)));
            for (number, item) in (first + (n * GRAIN) as u64 + 1..).zip(items) {
                lines.push_str(&self.line(number, &worker.tag(item)?)?);
            }
            if let (Some(all), Some(stats)) = (self.stats, worker.stats.take()) {
                lock(all).push(stats);
            }
            Ok(lines)
        };
        let parts: Vec<String> = match &self.session.pool {
            Some(pool) if items.len() > GRAIN => {
                pool.install(|| items.par_chunks(GRAIN).enumerate().map_init(worker, part).collect::<Result<_>>())?
            }
            _ => {
                let mut worker = worker();
                items.chunks(GRAIN).enumerate().map(|chunk| part(&mut worker, chunk)).collect::<Result<_>>()?
            }
        };
        Ok(parts.concat().into_bytes())
    }

    fn line(&self, number: u64, tagged: &Tagged<'_>) -> Result<String> {
        if self.session.json {
            return output::json(tagged);
        }
        let tags = tagged.tags();
        Ok(match tagged.id {
            Some(id) => format!("{}\t{tags}\n", output::plain(id)),
            None => format!("#{number}\t{tags}\n"),
        })
    }
}
