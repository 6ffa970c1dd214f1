//! Checkpoints: a training in a file, to be gone on with after whatever ended it.
//!
//! The folder of a training holds
//!
//! | file | holds |
//! | --- | --- |
//! | `last.tagc` | all of the training at the last checkpoint, the weights of its best epoch among it |
//! | `best.tagm` | the model of the best epoch so far, where there is validation: as good as any model |
//! | `last-2.tagc`, `best-2.tagm`, … | the same of the second network and further ones, where several are averaged |
//! | `lock` | nothing; who trains there has it locked |
//!
//! Networks that are averaged are trained in turn, so all but the last one begun are finished, and of a finished one the checkpoint
//! at its end tells all.
//!
//! Files are replaced in one step, so at every instant there is a whole checkpoint, the old or the new one. A checkpoint begins with
//! a magic and a version, and ends with a checksum (XXH3) of all before it. Between them stand what decides the training besides its
//! state, as text (each field of [`TrainConfig`](super::TrainConfig), fingerprints of the data), and then the state. All is
//! little-endian. Lengths of arrays are not read but follow from configuration and data, which must be those of the training.

use std::fs::{self, File, TryLockError};
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::codec::{Codec, DOING, Reader, Writer};
use super::fit::Event;
use super::recipe::PhaseObserver;
use super::run::Run;
use crate::atomic::{self, NewFile};
use crate::error::{Difference, Error, Result};
use crate::format::Provenance;

const MAGIC: [u8; 8] = *b"\x89TAGC\r\n\x1a";
const VERSION: u32 = 1;

const LOCK: &str = "lock";

/// What checkpoints end in.
const EXTENSION: &str = "tagc";

/// The name of the checkpoint of a network, counted from 0, in its folder.
fn last(network: u32) -> String {
    numbered("last", network, EXTENSION)
}

/// The name of its best model there.
fn best(network: u32) -> String {
    numbered("best", network, "tagm")
}

fn numbered(name: &str, network: u32, extension: &str) -> String {
    match network {
        0 => format!("{name}.{extension}"),
        _ => format!("{name}-{}.{extension}", u64::from(network) + 1),
    }
}

/// When a checkpoint is due. There is one before the first step and one at the end in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every {
    /// After this many steps, if at all.
    pub steps: Option<u64>,
    /// After this time, if at all.
    pub time: Option<Duration>,
}

impl Default for Every {
    /// Every 30 seconds.
    fn default() -> Self {
        Every { steps: None, time: Some(Duration::from_secs(30)) }
    }
}

/// The folder of a training's checkpoints, locked against other trainings as long as this lives.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use std::ops::ControlFlow;
/// use tagomatic::train::recipe::{TrainingSet, Validation};
/// use tagomatic::train::{Checkpoints, Every, TrainConfig};
/// use tagomatic::Level;
/// # use tagomatic::data::{Corpus, Item};
/// # let mut corpus = Corpus::new();
/// # for n in 0..60 {
/// #     let (word, tag) = if n % 2 == 0 { ("shark", "sea") } else { ("castle", "horror") };
/// #     let keywords = vec![word.to_owned(), format!("word {}", n % 5)];
/// #     corpus.push(&Item { keywords, tags: vec![tag.to_owned()], ..Item::default() })?;
/// # }
/// # let set = TrainingSet::new(corpus, 1)?;
/// # let folder = tempfile::tempdir().unwrap();
/// # let folder = folder.path().join("run");
///
/// let config = TrainConfig { hidden: 16, epochs: 3, average: 2, ..TrainConfig::default() };
/// let validation = Validation::Split { fraction: 0.2, refit: true };
/// let every = Every::default();
/// let mut checkpoints =
///     if folder.exists() { Checkpoints::resume(&folder, every)? } else { Checkpoints::create(&folder, every)? };
/// let (model, _) = set.train_by(config, validation, Level::best(), None, |network, run| {
///     checkpoints.begin(network, run)?;
///     checkpoints.advance(run, &mut |_, _| ControlFlow::Continue(()))
/// })?;
/// assert_eq!(model.network().shape.hidden(), 2 * 16);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    every: Every,
    /// The network under way, counted from 0.
    network: u32,
    /// The epoch of the best model that is saved.
    best: u32,
    /// What decides the training, in the form that is saved.
    settings: Option<String>,
    /// Why the last checkpoint is an older one than it should be.
    unsaved: Option<Error>,
    _lock: File,
}

impl Checkpoints {
    /// A folder for a new training, made if it is not there.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be made or written to; also if it has a checkpoint already, or if another training uses it.
    pub fn create(folder: impl Into<PathBuf>, every: Every) -> Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(|error| Error::io(&folder, "make the folder of checkpoints", error))?;
        let checkpoints = Self::open(folder, every)?;
        let folder = &checkpoints.folder;
        let unread = |error| Error::io(folder, "read the folder of checkpoints", error);
        for entry in fs::read_dir(folder).map_err(unread)? {
            let path = entry.map_err(unread)?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                let error = io::Error::new(io::ErrorKind::AlreadyExists, "there is one (resume it, or remove the folder)");
                return Err(Error::io(&path, "begin a checkpoint", error));
            }
        }
        Ok(checkpoints)
    }

    /// The folder of a training that is to be gone on with, by [`Checkpoints::begin`].
    ///
    /// # Errors
    /// [`Error::Io`] if there is no checkpoint, or if another training uses the folder.
    pub fn resume(folder: impl Into<PathBuf>, every: Every) -> Result<Self> {
        let folder = folder.into();
        let last = folder.join(last(0));
        fs::metadata(&last).map_err(|error| Error::io(&last, "resume from the checkpoint", error))?;
        Self::open(folder, every)
    }

    fn open(folder: PathBuf, every: Every) -> Result<Self> {
        let path = folder.join(LOCK);
        let fail = |error| Error::io(&path, "lock the folder of checkpoints", error);
        let lock = File::create(&path).map_err(fail)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(fail(io::Error::other("another training uses it"))),
            // Some file systems have no locks. They protect from a mistake, not from a crash.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        atomic::sweep(&folder).map_err(|error| Error::io(&folder, "clear the folder of checkpoints", error))?;
        Ok(Checkpoints { folder, every, network: 0, best: 0, settings: None, unsaved: None, _lock: lock })
    }

    fn last(&self) -> PathBuf {
        self.folder.join(last(self.network))
    }

    /// Turns to a network, counted from 0, of those that [`TrainingSet::train_by`](super::recipe::TrainingSet::train_by) averages:
    /// what is saved from now on is of it. Its `run`, before its first step, is brought to where its checkpoint is, if it has one;
    /// that of a finished network is finished then.
    ///
    /// # Errors
    /// [`Error::OtherTraining`] if the checkpoint is of other data or another configuration; [`Error::Checkpoint`] if it is damaged;
    /// [`Error::Io`].
    pub fn begin(&mut self, network: u32, run: &mut Run<'_>) -> Result<()> {
        (self.network, self.settings) = (network, None);
        let path = self.last();
        match fs::read(&path) {
            Ok(file) => read(&file, run).map_err(|error| error.in_file(&path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(&path, "read the checkpoint", error)),
        }
        self.best = run.best_epoch();
        Ok(())
    }

    /// Saves a checkpoint of `run` now, and the best model, if it is a new one.
    ///
    /// # Errors
    /// [`Error::Io`]; then the last checkpoint is still there. [`Error::NonFinite`] for weights that could not be gone on with.
    pub fn save(&mut self, run: &mut Run<'_>) -> Result<()> {
        if run.best_epoch() != self.best
            && let Some(model) = run.best_model()?
        {
            model.save(self.folder.join(best(self.network)))?;
            self.best = run.best_epoch();
        }
        let path = self.last();
        let settings = match self.settings.take() {
            Some(settings) => settings,
            None => run.settings()?.to_string(),
        };
        let settings = self.settings.insert(settings);
        let mut writer = Writer::new(&path, NewFile::create(&path, DOING)?);
        write(&mut writer, settings, run)?;
        writer.finish()?.publish()
    }

    /// Goes on with `run` until it is done or the observer breaks, and saves a checkpoint first, last, and when it is due. If the
    /// training fails, the last checkpoint stays. Where the system does not let one be saved meanwhile, on a full disk, say, it goes on, for
    /// what has been trained is worth more; [`Checkpoints::unsaved`] tells.
    ///
    /// # Errors
    /// As [`Run::advance`]; as [`Checkpoints::save`] for the first checkpoint, and for the last one if the observer breaks.
    pub fn advance(&mut self, run: &mut Run<'_>, observer: &mut PhaseObserver<'_>) -> Result<ControlFlow<()>> {
        self.save(run)?;
        loop {
            let (from, start) = (run.steps(), Instant::now());
            let mut stopped = false;
            let flow = run.advance(&mut |phase, event| {
                stopped = observer(phase, event).is_break();
                let Event::Batch { step, .. } = event else {
                    return if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
                };
                // Another phase counts steps anew.
                let due = self.every.steps.is_some_and(|steps| step.abs_diff(from) >= steps)
                    || self.every.time.is_some_and(|time| start.elapsed() >= time);
                if stopped || due { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            self.unsaved = match self.save(run) {
                Err(error @ Error::Io { .. }) if !stopped => Some(error),
                saved => saved.map(|()| None)?,
            };
            if flow.is_continue() || stopped {
                return Ok(flow);
            }
        }
    }

    /// Why the last checkpoint that was due could not be saved, if it could not: the one that is there is older.
    #[must_use]
    pub fn unsaved(&self) -> Option<&Error> {
        self.unsaved.as_ref()
    }
}

fn write(codec: &mut dyn Codec, settings: &mut String, run: &mut Run<'_>) -> Result<()> {
    codec.bytes("header", &mut MAGIC.clone())?;
    codec.u32("header", &mut VERSION.clone(), |_| true)?;
    codec.text("settings", settings)?;
    run.write(codec)
}

fn read(file: &[u8], run: &mut Run<'_>) -> Result<()> {
    if !file.starts_with(&MAGIC) {
        let start = file[..file.len().min(MAGIC.len())].escape_ascii().to_string();
        return Err(Error::checkpoint("header", "the magic of a checkpoint", format!("{start:?}")));
    }
    let mut reader = Reader::new(file)?;
    let codec: &mut dyn Codec = &mut reader;
    codec.bytes("header", &mut MAGIC.clone())?;
    let mut version = 0;
    codec.u32("header", &mut version, |_| true)?;
    if version != VERSION {
        return Err(Error::checkpoint("header", format!("version {VERSION}"), format!("version {version}")));
    }
    let mut settings = String::new();
    codec.text("settings", &mut settings)?;
    let settings = Provenance::parse(settings.as_bytes())
        .map_err(|error| Error::checkpoint("settings", "lines of keys and values", error.to_string()))?;
    let differences = differences(&settings, &run.settings()?);
    if !differences.is_empty() {
        return Err(Error::OtherTraining { path: None, differences });
    }
    run.read(codec)?;
    reader.finish()
}

/// What is not the same in both.
fn differences(saved: &Provenance, given: &Provenance) -> Vec<Difference> {
    let keys = saved.iter().chain(given.iter().filter(|(key, _)| saved.get(key).is_none())).map(|(key, _)| key);
    let value = |settings: &Provenance, key| settings.get(key).map(str::to_owned);
    keys.map(|key| Difference { what: key.to_owned(), saved: value(saved, key), given: value(given, key) })
        .filter(|difference| difference.saved != difference.given)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::{Corpus, Item};
    use crate::kernels::Level;
    use crate::train::recipe::{Phase, TrainingSet, Validation};
    use crate::train::{
        Anchor, AnchorKind, Autoencoder, Correction, DecayMode, Negatives, Objective, OptimizerKind, Pretrain, Rowwise,
        TrainConfig,
    };

    const VALIDATION: Validation<'_> = Validation::Split { fraction: 0.3, refit: true };

    fn set() -> TrainingSet {
        let mut corpus = Corpus::new();
        for i in 0..60u32 {
            let tags = ["t", "u", "t u", ""][i as usize * 7 % 4];
            corpus.push(&Item::of(&format!("a{} b{} c{}", i % 5, i % 3, i % 11), tags)).unwrap();
        }
        TrainingSet::new(corpus, 1).unwrap()
    }

    fn config() -> TrainConfig {
        TrainConfig { hidden: 5, epochs: 3, batch: 8, ..TrainConfig::default() }
    }

    fn run<'a>(set: &'a TrainingSet, config: &TrainConfig) -> Run<'a> {
        Run::new(set, config.clone(), VALIDATION, Level::Scalar, None).unwrap()
    }

    /// A checkpoint of `run` as bytes.
    fn bytes(run: &mut Run<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(Path::new("memory"), &mut bytes);
        write(&mut writer, &mut run.settings().unwrap().to_string(), run).unwrap();
        let _ = writer.finish().unwrap();
        bytes
    }

    /// A break at every `n`th event.
    fn every(n: usize) -> impl FnMut(Phase, Event<'_>) -> ControlFlow<()> {
        let mut events = 0;
        move |_, _| {
            events += 1;
            if events % n == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }

    #[test]
    fn a_training_goes_on_where_no_checkpoint_can_be_saved() {
        let set = set();
        let go_on = |_: Phase, _: Event<'_>| ControlFlow::Continue(());
        let mut plain = run(&set, &config());
        assert!(plain.advance(&mut { go_on }).unwrap().is_continue());
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("run");
        let mut checkpoints = Checkpoints::create(&folder, Every { steps: Some(2), time: None }).unwrap();
        let mut lossy = run(&set, &config());
        checkpoints.begin(0, &mut lossy).unwrap();
        let mut is_gone = false;
        let lose = &mut |_: Phase, event: Event<'_>| {
            if matches!(event, Event::Epoch(_)) && !is_gone {
                fs::remove_dir_all(&folder).unwrap();
                is_gone = true;
            }
            ControlFlow::Continue(())
        };
        assert!(checkpoints.advance(&mut lossy, lose).unwrap().is_continue());
        assert!(matches!(checkpoints.unsaved(), Some(Error::Io { .. })));
        let [plain, lossy] = [plain, lossy].map(|run| run.into_model().unwrap().0);
        assert_eq!(plain.bytes(), lossy.bytes());
        // Where the training is ended, its last state would be lost: that is an error. So is a first one.
        let mut ended = run(&set, &config());
        assert!(matches!(checkpoints.advance(&mut ended, &mut { go_on }), Err(Error::Io { .. })));
        fs::create_dir(&folder).unwrap();
        let end = &mut |_: Phase, _: Event<'_>| {
            fs::remove_dir_all(&folder).unwrap();
            ControlFlow::Break(())
        };
        assert!(matches!(checkpoints.advance(&mut ended, end), Err(Error::Io { .. })));
    }

    #[test]
    fn a_training_that_moves_from_process_to_process_ends_in_the_same_bytes() {
        let set = set();
        let lazy = |decay, l1, l2, lr_decay| TrainConfig { decay, l1, l2, lr_decay, ..config() };
        let rowwise = Rowwise { w1: true, b1: false, w2: true, b2: true };
        let autoencoder = Autoencoder { negatives: Some(3), ..Autoencoder::default() };
        let tied = Autoencoder { tied: true, negatives: None, ..autoencoder };
        let hidden = Anchor { kind: AnchorKind::Hidden, ..Anchor::default() };
        for config in [
            config(),
            lazy(DecayMode::Decoupled, 1e-3, 1e-2, 0.1),
            lazy(DecayMode::Prox, 1e-3, 1e-2, 0.0),
            lazy(DecayMode::Prox, 1e-3, 0.0, 0.1),
            lazy(DecayMode::Prox, 0.0, 1e-2, 0.1),
            TrainConfig { rowwise, ..lazy(DecayMode::Coupled, 1e-3, 1e-2, 0.1) },
            TrainConfig { optimizer: OptimizerKind::Sgd, patience: 1, ..config() },
            TrainConfig { negatives: Negatives::Sampled(0.4), correction: Correction::Shift, ..config() },
            TrainConfig { epochs: 0, ..config() },
            TrainConfig { pretrain: Some(Pretrain { epochs: 2, autoencoder }), ..lazy(DecayMode::Decoupled, 1e-3, 1e-2, 0.1) },
            TrainConfig { pretrain: Some(Pretrain { epochs: 2, autoencoder: tied }), ..lazy(DecayMode::Prox, 1e-3, 1e-2, 0.1) },
            TrainConfig { objective: Objective::Anchor(Anchor::default()), ..lazy(DecayMode::Prox, 1e-3, 1e-2, 0.1) },
            TrainConfig { objective: Objective::Anchor(hidden), negatives: Negatives::Sampled(1.0), ..config() },
        ] {
            let mut whole = run(&set, &config);
            assert!(whole.advance(&mut every(usize::MAX)).unwrap().is_continue());
            let end = bytes(&mut whole);
            let (model, report) = whole.into_model().unwrap();
            for n in [1, 3, 7] {
                let mut broken = run(&set, &config);
                while broken.advance(&mut every(n)).unwrap().is_break() {
                    let saved = bytes(&mut broken);
                    broken = run(&set, &config);
                    read(&saved, &mut broken).unwrap();
                    assert!(bytes(&mut broken)[..] == saved[..], "{config:?}");
                }
                // A finished training can be gone on with too.
                let saved = bytes(&mut broken);
                let mut broken = run(&set, &config);
                read(&saved, &mut broken).unwrap();
                assert!(broken.advance(&mut every(1)).unwrap().is_continue());
                assert_eq!(saved.len(), end.len());
                let (resumed, resumed_report) = broken.into_model().unwrap();
                assert!(resumed.bytes() == model.bytes(), "{n}: {config:?}");
                assert_eq!((&resumed_report.fit, &resumed_report.measured), (&report.fit, &report.measured));
            }
        }
    }

    #[test]
    fn damage_is_an_error() {
        let (set, config) = (set(), TrainConfig { l2: 1e-3, ..config() });
        let mut states = Vec::new();
        let mut broken = run(&set, &config);
        while broken.advance(&mut every(11)).unwrap().is_break() {
            states.push(bytes(&mut broken));
        }
        // Of a fit and of a refit. What is damaged is refused before a run is touched, so one serves all.
        for saved in [&states[0], &states[states.len() - 1]] {
            let mut other = run(&set, &config);
            let mut refused = |damaged: &[u8]| match read(damaged, &mut other) {
                Err(Error::Checkpoint { part, .. }) => assert!(matches!(part, "header" | "file")),
                other => panic!("{other:?}"),
            };
            (0..saved.len()).for_each(|cut| refused(&saved[..cut]));
            refused(&[&saved[..], &[0]].concat());
            let mut damaged = saved.clone();
            for at in 0..saved.len() {
                for change in [1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0xff] {
                    damaged[at] ^= change;
                    refused(&damaged);
                    damaged[at] ^= change;
                }
            }
            read(&damaged, &mut other).unwrap();
            assert!(bytes(&mut other)[..] == saved[..]);
        }
    }

    /// Whoever makes a right checksum gets no further than fields that are in range.
    #[test]
    fn forged_fields_end_in_an_error_or_in_a_training_that_can_go_on() {
        let (set, config) = (set(), TrainConfig { l1: 1e-3, ..config() });
        let mut broken = run(&set, &config);
        let _ = broken.advance(&mut every(9)).unwrap();
        let saved = bytes(&mut broken);
        let body = saved.len() - 8;
        for at in (12..body).step_by(19) {
            for value in [0, 0x7f, 0xff] {
                let mut forged = saved.clone();
                forged[at] = value;
                let checksum = xxhash_rust::xxh3::xxh3_64(&forged[..body]);
                forged[body..].copy_from_slice(&checksum.to_le_bytes());
                let mut resumed = run(&set, &config);
                if read(&forged, &mut resumed).is_ok() {
                    let _ = resumed.advance(&mut every(2));
                }
            }
        }
    }

    #[test]
    fn another_training_is_refused_and_told_what_differs() {
        let (set, config) = (set(), config());
        let saved = bytes(&mut run(&set, &config));
        let differences = |run: &mut Run<'_>| match read(&saved, run) {
            Err(error @ Error::OtherTraining { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        };
        let found = differences(&mut run(&set, &TrainConfig { lr: 0.25, l2: 0.5, ..config.clone() }));
        assert!(found.contains("train.l2: expected 0 as in the checkpoint, found 0.5; train.lr: expected 0.05"), "{found}");
        let found = differences(&mut run(&set, &TrainConfig { metric: crate::metrics::Metric::Brier, ..config.clone() }));
        assert!(found.contains("train.metric: expected nothing as in the checkpoint, found brier"), "{found}");
        let mut other = Run::new(&set, config.clone(), Validation::None, Level::Scalar, None).unwrap();
        assert!(differences(&mut other).contains("data.valid_samples: expected "));
        let mut corpus = Corpus::new();
        for i in 0..60 {
            corpus.push(&Item::of(&format!("a{i} b"), if i % 2 == 0 { "t" } else { "u" })).unwrap();
        }
        let set = TrainingSet::new(corpus, 1).unwrap();
        assert!(differences(&mut run(&set, &config)).contains("data.fingerprint"));
    }

    #[test]
    fn a_folder_belongs_to_one_training() {
        let (set, config) = (set(), config());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        assert!(Checkpoints::resume(&path, Every::default()).unwrap_err().to_string().contains("last.tagc"));
        let mut checkpoints = Checkpoints::create(&path, Every { steps: Some(2), time: None }).unwrap();
        let error = Checkpoints::create(&path, Every::default()).unwrap_err();
        assert!(error.to_string().contains("another training uses it"), "{error}");
        fs::write(path.join(".tagomatic-1-1.tmp"), "killed").unwrap();
        assert!(checkpoints.advance(&mut run(&set, &config), &mut every(20)).unwrap().is_break());
        drop(checkpoints);
        let error = Checkpoints::create(&path, Every::default()).unwrap_err();
        assert!(error.to_string().contains("resume it"), "{error}");
        let mut checkpoints = Checkpoints::resume(&path, Every::default()).unwrap();
        let mut resumed = run(&set, &config);
        checkpoints.begin(0, &mut resumed).unwrap();
        assert!(resumed.steps() > 0);
        assert!(checkpoints.advance(&mut resumed, &mut every(usize::MAX)).unwrap().is_continue());
        let mut names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["best.tagm", "last.tagc", "lock"]);
        let best = crate::Model::open(path.join(best(0))).unwrap();
        assert!(best.bytes() == resumed.best_model().unwrap().unwrap().bytes());
    }
}
