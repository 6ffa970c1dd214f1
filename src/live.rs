//! A tagger whose model is replaced while it serves.
//!
//! A [`LiveTagger`] holds the newest [`Version`] of a model. A new one is checked in full and held against the old one's [`Contract`]
//! before anybody sees it; then it is there for all readers at once, none of which waits. Whoever is in the middle of a request
//! finishes it with the version that it began with. A version that nobody reads any more is freed by the thread that publishes the
//! next one, or that asks for it ([`LiveTagger::free_unused`]): never inside a request.
//!
//! A [`Reader`] borrows nothing: it can stand beside an `Arc` of its tagger, in a thread-local, or in a task of its own.
//!
//! ```
//! use tagomatic::live::{Contract, LiveTagger};
//! use tagomatic::{Model, Result};
//!
//! # fn main() -> Result<()> {
//! let live = LiveTagger::new(Model::open("models/movies.tagm")?, Contract::Same);
//!
//! // In every thread that serves:
//! let mut reader = live.reader();
//! let (version, scratch) = reader.newest();
//! let mut scores = vec![0.0; version.tagger().tags().len()];
//! version.tagger().score_keywords(["zombie"], scratch, &mut scores)?;
//! assert_eq!(version.generation(), 1);
//!
//! // In any thread, when a new file has been published by renaming it to this name:
//! assert_eq!(live.reload("models/movies.tagm")?, 2);
//! assert_eq!(reader.newest().0.generation(), 2);
//! # Ok(())
//! # }
//! ```

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::error::{Error, Result};
use crate::format::Model;
use crate::kernels::Level;
use crate::tagger::{Scratch, Tagger};
use crate::tags::Tag;

/// What a new version must share with the one before it. Thresholds and weights may always change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contract {
    /// The same keywords and tags with the same ids in the same order: ids and places of scores that callers keep stay right.
    Same,
    /// The same, and there may be more keywords and tags behind them: callers size their buffers by each version.
    Extends,
    /// Nothing: callers look up keywords and tags in each version.
    Any,
}

/// A tagger with the number of its generation.
#[derive(Debug)]
pub struct Version {
    tagger: Tagger,
    generation: u64,
}

impl Version {
    /// The tagger.
    #[must_use]
    pub fn tagger(&self) -> &Tagger {
        &self.tagger
    }

    /// How many versions there have been with this one: 1 for the first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// The newest version of a model, for any number of readers; see the [module](self).
#[derive(Debug)]
pub struct LiveTagger {
    /// Readers have it too.
    newest: Arc<ArcSwap<Version>>,
    contract: Contract,
    level: Level,
    /// Held from before a file is opened until its model is published or refused. It is taken before `replaced`.
    reloading: Mutex<()>,
    /// Versions that were replaced and may still be read. Held while a version is replaced, so that each is checked against the one
    /// that it follows.
    replaced: Mutex<Vec<Arc<Version>>>,
}

impl LiveTagger {
    /// The first version, on the best kernels of this machine. Those that follow keep to `contract`. Unlike them it is taken as it is:
    /// of a mapped model call [`Model::verify`] before.
    #[must_use]
    pub fn new(model: Model, contract: Contract) -> Self {
        Self::of(Tagger::new(model), contract)
    }

    /// The same at a given kernel level, at which the versions that follow run too.
    ///
    /// # Errors
    /// [`Error::UnsupportedLevel`].
    pub fn with_level(model: Model, contract: Contract, level: Level) -> Result<Self> {
        Ok(Self::of(Tagger::with_level(model, level)?, contract))
    }

    fn of(tagger: Tagger, contract: Contract) -> Self {
        let level = tagger.level();
        let newest = Arc::new(ArcSwap::from_pointee(Version { tagger, generation: 1 }));
        LiveTagger { newest, contract, level, reloading: Mutex::default(), replaced: Mutex::default() }
    }

    /// The newest version. For a thread that serves many requests a [`LiveTagger::reader`] is cheaper.
    ///
    /// A version stays as long as an `Arc` of it does, but no longer for a [`Weak`](std::sync::Weak): who makes one and upgrades it when
    /// the version has been replaced may be the one who frees it.
    #[must_use]
    pub fn newest(&self) -> Arc<Version> {
        self.newest.load_full()
    }

    /// The generation of the newest version: what a reader compares with that of the version that it has.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.newest.load().generation
    }

    /// A reader for one thread, or one task at a time.
    #[must_use]
    pub fn reader(&self) -> Reader {
        let version = self.newest();
        let (scratch, generation) = (version.tagger.scratch(), version.generation);
        Reader { newest: Arc::clone(&self.newest), version: Some(version), scratch, generation }
    }

    /// Reads a model, checks all of it, and replaces the newest version by it; returns its generation. To be told that a file has
    /// changed is the caller's.
    ///
    /// Of several threads that reload, one does at a time, from the opening of its file on: the file that was opened last is served
    /// last. Neither readers nor [`LiveTagger::publish`] wait for them, so a model that is published while a file is read is replaced by
    /// that of the file.
    ///
    /// # Errors
    /// As [`Model::open`] and [`LiveTagger::publish`]; then the old version stays.
    pub fn reload(&self, path: impl AsRef<Path>) -> Result<u64> {
        self.reload_within(path, u64::MAX)
    }

    /// [`LiveTagger::reload`] of files that others hand in: one of more than `limit` bytes is refused, see [`Model::open_within`].
    ///
    /// # Errors
    /// As [`Model::open_within`] and [`LiveTagger::publish`]; then the old version stays.
    pub fn reload_within(&self, path: impl AsRef<Path>, limit: u64) -> Result<u64> {
        let _turn = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        self.replace(Model::open_within(path, limit)?)
    }

    /// Checks all of `model`, mapped ones too, and replaces the newest version by it; returns its generation. Models that are published
    /// at a time follow one another in the order in which their checks end.
    ///
    /// # Errors
    /// As [`Model::verify`]; [`Error::Contract`] if it does not keep the contract. Then the old version stays.
    pub fn publish(&self, model: Model) -> Result<u64> {
        model.verify()?;
        self.replace(model)
    }

    /// Replaces the newest version by a model that is checked.
    fn replace(&self, model: Model) -> Result<u64> {
        let tagger = Tagger::with_level(model, self.level)?;
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.newest();
        self.contract.check(old.tagger.model(), tagger.model())?;
        let generation = old.generation + 1;
        self.newest.store(Arc::new(Version { tagger, generation }));
        replaced.push(old);
        free_unused(&mut replaced);
        Ok(generation)
    }

    /// Frees the versions that were replaced and that nobody reads any more, and returns how many are still read. Without a call the
    /// next new version does it; a service that keeps an eye on its model's file may call this each time.
    pub fn free_unused(&self) -> usize {
        free_unused(&mut self.replaced.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A version that was replaced is given to nobody any more, so one that is held here alone stays so, but for who upgrades a `Weak` of it:
/// that one frees it himself, as [`LiveTagger::newest`] says.
fn free_unused(replaced: &mut Vec<Arc<Version>>) -> usize {
    replaced.retain(|version| Arc::strong_count(version) > 1);
    replaced.len()
}

impl Contract {
    /// Fails unless `new` may follow `old`.
    fn check(self, old: &Model, new: &Model) -> Result<()> {
        if self == Contract::Any {
            return Ok(());
        }
        let (keywords, new_keywords) = (old.vocabulary(), new.vocabulary());
        let (tags, new_tags) = (old.tags(), new.tags());
        for (what, old, new) in [("keywords", keywords.len(), new_keywords.len()), ("tags", tags.len(), new_tags.len())] {
            if new < old || self == Contract::Same && new != old {
                let expected = if self == Contract::Same { old.to_string() } else { format!("at least {old}") };
                return Err(Error::Contract { what, expected, found: new.to_string() });
            }
        }
        if !new_keywords.extends(keywords) {
            let differs = keywords.iter().zip(new_keywords.iter()).enumerate().find(|(_, (old, new))| old != new);
            let (id, (old, new)) = differs.unwrap_or_default();
            return Err(Error::Contract {
                what: "keywords",
                expected: format!("{old:?} with id {id}"),
                found: format!("{new:?}"),
            });
        }
        let named = |tag: &Tag| format!("{:?} with id {}", tag.name, tag.id);
        match tags.iter().zip(new_tags).map(|(old, new)| (named(old), named(new))).find(|(old, new)| old != new) {
            Some((expected, found)) => Err(Error::Contract { what: "tags", expected, found }),
            None => Ok(()),
        }
    }
}

/// A reader of a [`LiveTagger`] with the buffers of one thread.
///
/// It may outlive the tagger: then the last version stays the newest, and the reader frees what it lets go of itself.
#[derive(Debug)]
pub struct Reader {
    newest: Arc<ArcSwap<Version>>,
    /// None after a release.
    version: Option<Arc<Version>>,
    scratch: Scratch,
    /// That of the version which the scratch was made for.
    generation: u64,
}

impl Reader {
    /// The version that the last [`Reader::newest`] gave, or that was the newest when the reader was made; `None` after a
    /// [`Reader::release`].
    #[must_use]
    pub fn version(&self) -> Option<&Version> {
        self.version.as_deref()
    }

    /// The newest version, and buffers for its tagger: made anew, with an allocation, only where the version is another one than
    /// before. It waits for nobody.
    pub fn newest(&mut self) -> (&Version, &mut Scratch) {
        let newest = self.newest.load();
        if newest.generation != self.generation {
            self.scratch = newest.tagger.scratch();
            self.generation = newest.generation;
            self.version = None;
        }
        (self.version.get_or_insert_with(|| Arc::clone(&newest)), &mut self.scratch)
    }

    /// Lets go of the version, so that it can be freed when it is replaced: a reader that waits for work holds it otherwise, with all its
    /// memory, until its next request. The buffers stay, so the next [`Reader::newest`] allocates nothing if the version is still the
    /// newest.
    pub fn release(&mut self) {
        self.version = None;
    }
}
