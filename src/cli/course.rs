//! How a training is run: checkpoints, what ends it early, and the record of its course. What is learnt does not depend on it.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, value_parser};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use tagomatic::evaluate::{HiddenActivity, KeyMeasures};
use tagomatic::metrics::Metric;
use tagomatic::train::recipe::{Phase, PhaseObserver};
use tagomatic::train::{Checkpoints, EpochReport, Event, Every, Run};
use tagomatic::{Error, Result as LibraryResult};

use super::failure::{Failure, Result};
use super::output;
use super::progress::{Part, Progress};

#[derive(Args, Default)]
#[command(next_help_heading = "Course of the training")]
pub(super) struct Course {
    /// Keep checkpoints in this folder, and the best model so far, of each network; Ctrl-C then ends the training with a checkpoint
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Go on with the training whose checkpoints are there, given the same data and options; its model has the same bytes as if it
    /// had never ended
    #[arg(long, value_name = "DIR", conflicts_with = "checkpoint")]
    resume: Option<PathBuf>,
    /// Steps between checkpoints [default: by time]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    checkpoint_steps: Option<u64>,
    /// Seconds between checkpoints [default: 30, if not by steps]
    #[arg(long, value_name = "X", value_parser = seconds)]
    checkpoint_seconds: Option<Duration>,
    /// Write the learning curve to this file, JSON Lines: an epoch a line; of several networks all epochs, with the network's number
    #[arg(long, value_name = "FILE")]
    curve: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "expected a number of seconds, at least 0".to_owned())
}

/// Whether the user has asked to stop.
static STOP: AtomicBool = AtomicBool::new(false);

impl Course {
    /// Whether it is to be kept: in checkpoints, or as a curve.
    pub(super) fn is_kept(&self) -> bool {
        self.checkpoint.is_some() || self.resume.is_some() || self.curve.is_some()
    }

    /// Fails if it is told how often to keep checkpoints, and not where.
    pub(super) fn check(&self) -> Result<()> {
        let is_idle = self.checkpoint.is_none() && self.resume.is_none();
        let options = [
            ("--checkpoint-steps", self.checkpoint_steps.is_some()),
            ("--checkpoint-seconds", self.checkpoint_seconds.is_some()),
        ];
        match options.iter().find(|(_, is_given)| is_idle && *is_given) {
            Some((option, _)) => Err(Failure::Usage(format!("{option}: expected --checkpoint or --resume beside it"))),
            None => Ok(()),
        }
    }

    /// The file of the learning curve.
    pub(super) fn curve(&self) -> Option<&Path> {
        self.curve.as_deref()
    }

    /// The failure of a training that the user has ended, `what` being where it was, and how to go on, where that can be done.
    pub(super) fn interrupted(&self, what: impl Display) -> Failure {
        let folder = self.checkpoint.as_ref().or(self.resume.as_ref());
        let hint = folder.map_or_else(String::new, |folder| format!(" (go on with --resume {})", folder.display()));
        Failure::Work(format!("interrupted {what}{hint}"))
    }

    /// Begins a training of so many networks, or goes on with it. `part` tells of what it is a part, if it is not all.
    pub(super) fn begin(&self, networks: u32, part: Option<Part>) -> Result<UnderWay<'_>> {
        let mut under_way = UnderWay { course: self, networks, part, checkpoints: None, curve: None };
        let Some(folder) = self.checkpoint.as_ref().or(self.resume.as_ref()) else {
            return Ok(under_way);
        };
        let every = match (self.checkpoint_steps, self.checkpoint_seconds) {
            (None, None) => Every::default(),
            (steps, time) => Every { steps, time },
        };
        let checkpoints = match self.resume {
            Some(_) => Checkpoints::resume(folder, every).map_err(|error| resuming(error, folder))?,
            None => Checkpoints::create(folder, every)?,
        };
        let stop = || {
            // Whoever asks twice does not want to wait for a checkpoint; the last one stays.
            if STOP.swap(true, Ordering::Relaxed) {
                std::process::exit(1);
            }
        };
        ctrlc::set_handler(stop).map_err(|error| Failure::Work(format!("cannot catch Ctrl-C: {error}")))?;
        under_way.checkpoints = Some((folder, checkpoints));
        Ok(under_way)
    }
}

/// A training under way, network after network.
pub(super) struct UnderWay<'c> {
    course: &'c Course,
    networks: u32,
    part: Option<Part>,
    checkpoints: Option<(&'c Path, Checkpoints)>,
    curve: Option<Curve>,
}

impl UnderWay<'_> {
    /// Trains a network, counted from 0, to its end; one that was finished before is only read.
    pub(super) fn train(&mut self, network: u32, run: &mut Run<'_>) -> Result<()> {
        if let Some((_, checkpoints)) = &mut self.checkpoints {
            checkpoints.begin(network, run)?;
        }
        if network == 0 {
            self.curve = self.course.curve().map(Curve::create).transpose()?;
        }
        let number = (self.networks > 1).then_some(Part { name: "network", number: network + 1, of: self.networks });
        let mut progress = Shown::new(self.part, number, self.curve.as_mut(), run)?;
        let Some((folder, checkpoints)) = &mut self.checkpoints else {
            let flow = run.advance(&mut |phase, event| progress.show(phase, event))?;
            progress.finish()?;
            return if flow.is_continue() { Ok(()) } else { Err(Failure::Interrupted) };
        };
        let mut observer = |phase: Phase, event: Event<'_>| progress.show(phase, event);
        let observer: &mut PhaseObserver<'_> = &mut observer;
        let flow = checkpoints.advance(run, observer).map_err(|error| match error {
            Error::NonFinite { .. } => {
                Failure::Work(format!("{error}; the last good state is the checkpoint in {}", folder.display()))
            }
            error => error.into(),
        })?;
        progress.finish()?;
        if let Some(error) = checkpoints.unsaved() {
            output::message(format_args!("{error}; the training went on, and the checkpoint is an older one"));
        }
        if flow.is_continue() {
            return Ok(());
        }
        let network = number.map_or_else(String::new, |number| format!(" of {number}"));
        Err(self.course.interrupted(format_args!("after {} steps{network}", output::count(run.steps()))))
    }
}

/// That there is nothing to resume is the commonest mistake of all.
fn resuming(error: Error, folder: &Path) -> Failure {
    match &error {
        Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Failure::Work(format!("{error} (begin with --checkpoint {})", folder.display()))
        }
        _ => error.into(),
    }
}

/// What is seen of a training: on the terminal, and in the file of its curve.
struct Shown<'c> {
    network: Option<Part>,
    progress: Progress,
    curve: Option<&'c mut Curve>,
    /// Why the curve could not be written; it ends the training.
    failure: Option<Failure>,
}

impl<'c> Shown<'c> {
    /// `network` tells which one it is, where there are several, and `part` of what all are a part.
    fn new(part: Option<Part>, network: Option<Part>, mut curve: Option<&'c mut Curve>, run: &Run<'_>) -> Result<Self> {
        if let Some(curve) = &mut curve {
            // Of a training that goes on, what was before.
            run.epochs().try_for_each(|(phase, epoch)| curve.write(network, phase, epoch))?;
        }
        Ok(Shown { network, progress: Progress::new(run.metric(), part.into_iter().chain(network)), curve, failure: None })
    }

    fn show(&mut self, phase: Phase, event: Event<'_>) -> ControlFlow<()> {
        self.progress.show(phase, event);
        if let (Event::Epoch(epoch), Some(curve)) = (event, &mut self.curve) {
            self.failure = curve.write(self.network, phase, epoch).err();
        }
        let stop = self.failure.is_some() || STOP.load(Ordering::Relaxed);
        if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn finish(self) -> Result<()> {
        self.failure.map_or(Ok(()), Err)
    }
}

/// The file of a learning curve.
struct Curve {
    path: PathBuf,
    file: BufWriter<File>,
}

/// A line of it.
#[derive(Serialize)]
struct Point {
    /// Counted from 1, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<u32>,
    /// `pretrain` of the autoencoder, `fit`, or `refit` on all items.
    phase: &'static str,
    epoch: u32,
    log_loss: f64,
    penalty: f64,
    valid: Option<Valid>,
    zeros: Option<f64>,
    dead_units: usize,
    always_on_units: usize,
    mean_activity: Option<f64>,
    best: bool,
}

/// Measures on the validation items under their names; undefined ones are null.
struct Valid(KeyMeasures);

impl Serialize for Valid {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for metric in Metric::ALL {
            map.serialize_entry(metric.name(), &self.0.get(*metric))?;
        }
        map.end()
    }
}

impl Curve {
    fn create(path: &Path) -> LibraryResult<Self> {
        let file = File::create(path).map_err(|error| failed(path, error))?;
        Ok(Curve { path: path.to_owned(), file: BufWriter::new(file) })
    }

    fn write(&mut self, network: Option<Part>, phase: Phase, epoch: &EpochReport) -> Result<()> {
        let EpochReport { epoch, log_loss, penalty, valid, hidden, best } = *epoch;
        let HiddenActivity { zeros, mean, dead_units, always_on_units, .. } = hidden;
        let phase = match phase {
            Phase::Pretrain { .. } => "pretrain",
            Phase::Fit { .. } => "fit",
            Phase::Refit { .. } => "refit",
        };
        let (network, valid) = (network.map(|network| network.number), valid.map(Valid));
        let mean_activity = mean;
        let point =
            Point { network, phase, epoch, log_loss, penalty, valid, zeros, dead_units, always_on_units, mean_activity, best };
        let line = output::json(&point)?;
        // Whoever follows the file sees the epoch at once.
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.flush());
        Ok(written.map_err(|error| failed(&self.path, error))?)
    }
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::Io { path: path.to_owned(), doing: "write the learning curve", source }
}
