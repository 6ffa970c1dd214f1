//! The command line: arguments, dispatch and exit status. What the commands do is the library's; here it is put into words.

mod bench;
mod check;
mod config;
mod convert;
mod course;
mod demo;
mod eval;
mod explain;
mod failure;
mod features;
mod folds;
mod info;
mod labels;
mod load;
mod names;
mod output;
mod progress;
mod search;
mod stats;
mod tag;
mod tags;
mod target;
mod train;
mod training;
mod tune;
mod verify;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand, value_parser};
use tagomatic::{Level, Model, Tagger};

use failure::{Failure, Result};

const LEVEL: &str = "TAGOMATIC_LEVEL";

/// Trains and serves small neural taggers: sets of keywords in, tag probabilities out.
#[derive(Parser)]
#[command(name = "tagomatic", version, after_help = AFTER_HELP)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Data are JSON Lines, unless --format says otherwise: {\"id\": \"1\", \"keywords\": [\"shark\", \"beach\"], \"tags\": [\"sea\"]}
Files whose names end in .gz or .zst are decompressed, and results in .gz compressed; - is standard input or output.

Exit status: 0 done, 1 the work failed (bad data, bad model, I/O), 2 wrong usage.

TAGOMATIC_LEVEL=scalar|portable|avx2|avx512 chooses the instructions; results never depend on it.";

const COMMON: &str = "Common options";

#[derive(Args)]
struct Common {
    /// Print JSON and nothing else on standard output: one document, or of `tag` a line per item
    #[arg(long, global = true, help_heading = COMMON)]
    json: bool,
    /// Threads to use, all cores by default; results never depend on it
    #[arg(long, global = true, help_heading = COMMON, value_name = "N", value_parser = value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// The largest model that is read, in bytes, or as 64K, 16M, 1G; any, unless told
    #[arg(long, global = true, help_heading = COMMON, value_name = "BYTES", default_value_t = u64::MAX, hide_default_value = true, value_parser = load::bytes)]
    max_model: u64,
}

#[derive(Subcommand)]
enum Command {
    /// Train on films that the program carries, measure on unseen ones, and tag some: needs nothing else
    Demo(demo::Arguments),
    /// Train a model
    Train(Box<train::Arguments>),
    /// Tag items, in order
    Tag(tag::Arguments),
    /// Measure a model on tagged items
    Eval(eval::Arguments),
    /// Choose thresholds on validation items and store them
    Tune(tune::Arguments),
    /// Show what each keyword adds to a tag
    Explain(explain::Arguments),
    /// Write what a model says of items as numbers, or as items with tags for keywords, for other models to learn from
    Features(features::Arguments),
    /// Look at the tags of a model
    Tags(tags::Arguments),
    /// Round a model's weights to a narrower type, or prune what changes no score
    Convert(convert::Arguments),
    /// Show what a model file holds
    Info(info::Arguments),
    /// Check every byte of a model file
    Verify(verify::Arguments),
    /// Measures latency and throughput on this machine
    Bench(bench::Arguments),
    /// Look for faults, duplicates and leaks in data, and split them
    Check(check::Arguments),
}

/// What is common to all commands.
struct Session {
    json: bool,
    level: Level,
    pool: Option<Arc<rayon::ThreadPool>>,
    max_model: u64,
}

impl Session {
    fn new(common: &Common) -> Result<Self> {
        let level = level()?;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let pool = tagomatic::train::pool(common.threads.map_or_else(cores, usize::from))?;
        Ok(Session { json: common.json, level, pool, max_model: common.max_model })
    }

    /// As [`load::model`].
    fn model(&self, path: &Path) -> tagomatic::Result<Model> {
        load::model(path, self.max_model)
    }

    fn tagger(&self, model: Model) -> Result<Tagger> {
        Ok(Tagger::with_level(model, self.level)?)
    }
}

/// The level that the environment asks for, else the best.
fn level() -> Result<Level> {
    let Some(name) = std::env::var_os(LEVEL) else { return Ok(Level::best()) };
    let known = name.to_str().and_then(|name| name.parse::<Level>().ok());
    known.filter(|level| level.is_available()).ok_or_else(|| {
        let available: Vec<&str> = Level::available().map(Level::name).collect();
        Failure::Usage(format!("{LEVEL}: expected a level of this machine ({}), found {name:?}", available.join(", ")))
    })
}

fn run(arguments: &Arguments) -> Result<()> {
    let session = Session::new(&arguments.common)?;
    match &arguments.command {
        Command::Demo(arguments) => demo::run(&session, arguments),
        Command::Train(arguments) => train::run(&session, arguments),
        Command::Tag(arguments) => tag::run(&session, arguments),
        Command::Eval(arguments) => eval::run(&session, arguments),
        Command::Tune(arguments) => tune::run(&session, arguments),
        Command::Explain(arguments) => explain::run(&session, arguments),
        Command::Features(arguments) => features::run(&session, arguments),
        Command::Tags(arguments) => tags::run(&session, arguments),
        Command::Convert(arguments) => convert::run(&session, arguments),
        Command::Info(arguments) => info::run(&session, arguments),
        Command::Verify(arguments) => verify::run(&session, arguments),
        Command::Bench(arguments) => bench::run(&session, arguments),
        Command::Check(arguments) => check::run(&session, arguments),
    }
}

/// Runs the command that the arguments name.
pub(crate) fn main() -> ExitCode {
    let arguments = config::arguments(std::env::args_os().collect());
    match arguments.and_then(|arguments| run(&arguments)) {
        Ok(()) | Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(Failure::Work(message)) => {
            output::message(format_args!("error: {message}"));
            ExitCode::from(1)
        }
        Err(Failure::Interrupted) => {
            output::message("error: interrupted");
            ExitCode::from(1)
        }
        Err(Failure::Usage(message)) => {
            output::message(format_args!("error: {message}"));
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
