//! `demo`: the main job, on the films that the program carries.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{fs, io};

use flate2::read::GzDecoder;
use serde::Serialize;
use tagomatic::Error;
use tagomatic::data::{Corpus, Format, Item, Reader};
use tagomatic::selection::{MinScore, Selection};
use tagomatic::train::TrainConfig;
use tagomatic::train::recipe::{TrainingSet, Validation};

use super::course::Course;
use super::eval::{self, Measures};
use super::failure::{Failure, Result};
use super::load::ReadCounts;
use super::tag::{Tagged, Worker};
use super::target::Target;
use super::train::{MIN_COUNT, VALID_FRACTION};
use super::training::Plan;
use super::{Session, load, output, training};

/// Films to learn from, and others to be tagged: see models/README.md.
const TRAIN: &[u8] = include_bytes!("../../models/movies-train.jsonl.gz");
const TEST: &[u8] = include_bytes!("../../models/movies-test.jsonl.gz");

/// Films of the second file to show, by id.
const FILMS: [&str; 6] = [
    "Passengers_(2016_film)",
    "Penthouse_(film)",
    "Police_Academy_(film)",
    "Piranha_3DD",
    "Back_to_the_Future_Part_II",
    "They_Came_Together",
];

/// What a user may type.
const TYPED: [&[&str]; 4] = [
    &["zombie", "undead", "horror"],
    &["spaceship", "alien", "planet"],
    &["detective", "murder"],
    &["bride", "wedding", "comedy"],
];

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Keep the model there, instead of in a temporary folder for as long as the program runs
    #[arg(long, value_name = "M.tagm")]
    out: Option<PathBuf>,
    /// Epochs at most
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().epochs)]
    epochs: u32,
}

#[derive(Serialize)]
struct Document<'a> {
    train: training::Document<'a>,
    eval: Measures<'a>,
    examples: Vec<Example<'a>>,
}

#[derive(Serialize)]
struct Example<'a> {
    keywords: &'a [String],
    /// The tags that the item has; null where nobody knows.
    truth: Option<&'a [String]>,
    #[serde(flatten)]
    tagged: Tagged<'a>,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    // The model is read back, which a stream cannot be.
    if arguments.out.as_deref() == Some(Path::new("-")) {
        return Err(Failure::Usage("--out: expected a file, found -".to_owned()));
    }
    let folder = TempFolder::new()?;
    let file = arguments.out.clone().unwrap_or_else(|| folder.path.join("movies.tagm"));
    let target = Target::new("--out", &file);
    target.check_model([] as [&Path; 0])?;

    let config = TrainConfig { epochs: arguments.epochs, ..TrainConfig::default() };
    let mut corpus = Corpus::new();
    items(TRAIN).try_for_each(|item| corpus.push(&item?))?;
    let set = TrainingSet::new(corpus, MIN_COUNT)?;
    let validation = Validation::Split { fraction: VALID_FRACTION, refit: true };
    let plan = Plan { session, config, validation, bank: None };
    let training = plan.train(&set, &Course::default(), None)?;
    training.model().save(&file).map_err(Failure::saving)?;
    let trained = training.document(&set, ReadCounts::default(), None);

    // From here on all comes out of the file.
    let opening = Instant::now();
    let tagger = session.tagger(session.model(&file)?)?;
    let opening = opening.elapsed();
    let unseen = items(TEST).collect::<tagomatic::Result<Vec<Item>>>()?;
    let encoded = load::encode_items(items(TEST), |keyword| tagger.model().vocabulary().get(keyword), tagger.tags())?;
    let measuring = Instant::now();
    let evaluated = eval::measure(session, &tagger, &encoded)?;
    let measuring = measuring.elapsed();

    let is_shown = |item: &&Item| FILMS.iter().any(|film| item.id.as_deref() == Some(film));
    let typed = TYPED.map(|keywords| Item { keywords: keywords.iter().map(|&k| k.to_owned()).collect(), ..Item::default() });
    let mut worker = Worker::new(&tagger, Selection::default());
    let tagging = Instant::now();
    let films = unseen.iter().filter(is_shown).map(|film| example(&mut worker, film, Some(&film.tags)));
    let films = films.collect::<Result<Vec<_>>>()?;
    // Too few keywords to be sure of much: what is likeliest is shown, whatever the thresholds.
    let mut worker =
        Worker::new(&tagger, Selection { min_score: MinScore::Fixed(0.0), top_k: Some(3), ..Selection::default() });
    let typed = typed.iter().map(|item| example(&mut worker, item, None)).collect::<Result<Vec<_>>>()?;
    let tagging = tagging.elapsed() / (films.len() + typed.len()) as u32;

    let measures = Measures::new(&evaluated, tagger.tags());
    if session.json {
        let examples = films.into_iter().chain(typed).collect();
        return output::print(output::json(&Document { train: trained, eval: measures, examples })?);
    }
    let mut text = format!("Trained on films that the program carries\n{}", trained.text());
    let _ = write!(text, "\nOn {} films that it has not seen\n{}", output::count(unseen.len()), measures.summary());
    let _ = writeln!(text, "\nSome of them");
    films.iter().for_each(|example| text.push_str(&example.text()));
    let _ = writeln!(text, "\nKeywords as one may type them, with the likeliest tags");
    typed.iter().for_each(|example| text.push_str(&example.text()));
    let _ = writeln!(
        text,
        "\nModel {}; mapped and checked in {:.1} ms; {} films measured in {:.1} ms; one tagged in {:.1} us",
        trained.file(),
        opening.as_secs_f64() * 1e3,
        output::count(unseen.len()),
        measuring.as_secs_f64() * 1e3,
        tagging.as_secs_f64() * 1e6,
    );
    if arguments.out.is_some() {
        let _ = writeln!(text, "saved {}", file.display());
    }
    output::print(text)
}

/// The items in one of the files above.
fn items(bytes: &'static [u8]) -> impl Iterator<Item = tagomatic::Result<Item>> {
    Reader::new(io::BufReader::new(GzDecoder::new(bytes)), Format::JsonLines, "the program's own films")
}

fn example<'a>(worker: &mut Worker<'a>, item: &'a Item, truth: Option<&'a [String]>) -> Result<Example<'a>> {
    Ok(Example { keywords: &item.keywords, truth, tagged: worker.tag(item)? })
}

impl Example<'_> {
    /// For people.
    fn text(&self) -> String {
        let mut text = format!("  {}\n", self.tagged.id.map_or_else(|| self.keywords.join(", "), |id| id.replace('_', " ")));
        if let Some(truth) = self.truth {
            let _ = writeln!(text, "    has    {}", truth.join(", "));
        }
        let _ = writeln!(text, "    given  {}", if self.tagged.tags.is_empty() { "-".to_owned() } else { self.tagged.tags() });
        text
    }
}

/// A folder for as long as the value lives.
struct TempFolder {
    path: PathBuf,
}

impl TempFolder {
    fn new() -> tagomatic::Result<Self> {
        let process = std::process::id();
        // Left by a process of the same number that was killed; not ours to touch.
        let is_taken = |made: &io::Result<()>| made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists);
        let mut number = 0_u64;
        loop {
            let path = std::env::temp_dir().join(format!("tagomatic-demo-{process}-{number}"));
            let made = fs::create_dir(&path);
            if !is_taken(&made) {
                let failed = |source| Error::Io { path: path.clone(), doing: "make a temporary folder", source };
                made.map_err(failed)?;
                return Ok(TempFolder { path });
            }
            number += 1;
        }
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean.
        let _ = fs::remove_dir_all(&self.path);
    }
}
