//! A model served straight from a mapped file.

#![allow(unsafe_code, reason = "mapping a file, with its contract")]

use std::path::Path;
#[cfg(feature = "train")]
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::Mmap;
#[cfg(feature = "train")]
use {crate::atomic::Scratch, crate::column::Backing, std::io};

use super::Model;
use super::storage::{self, Storage};
use crate::error::{Error, Result};

/// What to tell the system about a mapped model, see [`Model::map_with`].
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::Model;
/// use tagomatic::format::MapAdvice;
///
/// // SAFETY: new versions of this file are renamed over it; nobody writes into it.
/// let model = unsafe { Model::map_with("models/movies.tagm", &[MapAdvice::Populate])? };
/// model.verify()?; // reads all of it once
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapAdvice {
    /// Rows are read at random: do not read ahead. Of use where the file is larger than what is free of memory.
    Random,
    /// Read all of it now, so that no request waits for the disk.
    Populate,
    /// Use large pages if the file system has them: fewer of them, so fewer are looked up.
    HugePages,
}

impl MapAdvice {
    fn give(self, map: &Mmap) {
        #[cfg(target_os = "linux")]
        {
            let advice = match self {
                MapAdvice::Random => memmap2::Advice::Random,
                MapAdvice::Populate => memmap2::Advice::PopulateRead,
                MapAdvice::HugePages => memmap2::Advice::HugePage,
            };
            // An older system refuses: then it goes on as without.
            let _ = map.advise(advice);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (self, map);
    }
}

impl Model {
    /// Maps a model file into memory, in a time that does not depend on the number of keywords and weights.
    ///
    /// Checked are the header, the section table, the network's sizes, the tags, and that every section has its length. What
    /// stands in the vocabulary and the weights is checked by [`verify`](Model::verify) alone. A file damaged there cannot harm
    /// the process: it gives wrong scores, NaN perhaps, or misses keywords.
    ///
    /// # Safety
    /// The file must not be changed or truncated while the model lives, by this or any other process: the bytes behind `&self`
    /// would change, which is undefined behaviour, or be gone, which ends the process with a bus error. To publish a new version
    /// of a model, write a new file and rename it over the old one, as [`Model::save`] does; the mapped one then stays what it
    /// is. Copying over a mapped file, as `cp` does, breaks the contract. If you cannot promise this, use [`Model::open`].
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read or mapped; [`Error::Model`] and [`Error::NewerModel`] if a check fails.
    pub unsafe fn map(path: impl AsRef<Path>) -> Result<Self> {
        // SAFETY: the caller's promise.
        unsafe { Self::map_with(path, &[]) }
    }

    /// [`Model::map`], with advice to the system about the use of the map. Advice that the system knows not or takes not is no
    /// error: it changes speed, never answers.
    ///
    /// # Safety
    /// As [`Model::map`].
    ///
    /// # Errors
    /// As [`Model::map`].
    pub unsafe fn map_with(path: impl AsRef<Path>, advice: &[MapAdvice]) -> Result<Self> {
        // SAFETY: the caller's promise.
        unsafe { Self::map_within(path, u64::MAX, advice) }
    }

    /// [`Model::map_with`] for files that others hand in: one of more than `limit` bytes is refused before it is mapped. Opening takes
    /// a few times as much memory as its tags have bytes, and [`verify`](Model::verify) as much as its hash table of keywords.
    ///
    /// # Safety
    /// As [`Model::map`]: also those who hand files in must not change them any more.
    ///
    /// # Errors
    /// As [`Model::map`]; [`Error::Model`] also if the file is larger.
    pub unsafe fn map_within(path: impl AsRef<Path>, limit: u64, advice: &[MapAdvice]) -> Result<Self> {
        let path = path.as_ref();
        let (file, _, _) = storage::open(path, limit)?;
        // SAFETY: the mapping is read-only, and the caller promises that nobody changes the file while it lives; `Mmap` asks for
        // nothing else. A change between the length's check and here does no harm: only the mapping's own length counts below.
        let map = unsafe { Mmap::map(&file) }.map_err(|error| Error::io(path, "map the model", error))?;
        for &advice in advice {
            advice.give(&map);
        }
        Model::new(Storage::Mapped(map)).map_err(|error| error.in_file(path))
    }
}

/// A scratch file, mapped. Of what was read of it, little stays in memory.
#[cfg(feature = "train")]
pub(crate) struct MappedScratch {
    map: Mmap,
    /// Bytes that may have come into memory since they were let go of.
    resident: AtomicUsize,
    /// Where the file has a name, it goes with this.
    _file: Scratch,
}

#[cfg(feature = "train")]
impl MappedScratch {
    /// When this much may be in memory, it is let go of.
    pub(crate) const BUDGET: usize = 32 << 20;
    /// What comes with the first byte of a place, at most: systems map pages that they have at hand around the one that is asked for.
    const AROUND: usize = 64 << 10;

    /// Maps a file that is written. It must not be empty.
    pub(crate) fn new(scratch: Scratch) -> io::Result<Self> {
        // SAFETY: the mapping is read-only, and nobody changes the file while it lives: this process has made it and has it in
        // `scratch`, which is not written from here on; others know no name of it, since it has none or one that nobody was told.
        let map = unsafe { Mmap::map(scratch.file()) }?;
        #[cfg(unix)]
        map.advise(memmap2::Advice::Random)?;
        Ok(MappedScratch { map, resident: AtomicUsize::new(0), _file: scratch })
    }

    /// Lets go of all pages.
    fn release(&self) {
        self.resident.store(0, Ordering::Relaxed);
        // SAFETY: the mapping is shared, read-only, and of a file. So pages that are let go of, in whole or only in part if this fails,
        // have lost nothing: they are read from the file again.
        #[cfg(unix)]
        let _ = unsafe { self.map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
    }
}

#[cfg(feature = "train")]
impl Backing for MappedScratch {
    fn bytes(&self) -> &[u8] {
        &self.map
    }

    fn touch(&self, bytes: usize) {
        let coming = bytes.next_multiple_of(Self::AROUND);
        if self.resident.fetch_add(coming, Ordering::Relaxed) + coming > Self::BUDGET {
            self.release();
        }
    }
}

#[cfg(test)]
#[cfg(all(feature = "train", target_os = "linux"))]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;

    use super::*;

    /// What the system holds of the advice about a mapping; nothing where it does not tell.
    fn flags(mapping: &[u8]) -> String {
        let start = format!("{:08x}-", mapping.as_ptr() as usize);
        let told = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        let mut lines = told.lines().skip_while(|line| !line.starts_with(&start));
        lines.find(|line| line.starts_with("VmFlags")).unwrap_or_default().to_owned()
    }

    /// A mapping that was given advice, which systems may refuse.
    fn advised(file: &File, advice: memmap2::Advice) -> Mmap {
        // SAFETY: nobody writes into the file while the test runs.
        let map = unsafe { Mmap::map(file) }.unwrap();
        let _ = map.advise(advice);
        map
    }

    #[test]
    fn advice_about_a_model_reaches_the_system() {
        let path = "models/movies.tagm";
        for (advice, same) in [(MapAdvice::Random, memmap2::Advice::Random), (MapAdvice::HugePages, memmap2::Advice::HugePage)]
        {
            // SAFETY: nobody writes into the file while the test runs.
            let model = unsafe { Model::map_with(path, &[advice]) }.unwrap();
            assert_eq!(flags(model.bytes()), flags(&advised(&File::open(path).unwrap(), same)), "{advice:?}");
        }
    }

    #[test]
    fn a_scratch_file_is_read_at_random_and_let_go_of_beyond_the_budget() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(folder.path()).unwrap();
        scratch.file().write_all(&[7; 100]).unwrap();
        let at_random = advised(scratch.file(), memmap2::Advice::Random);
        let mapped = MappedScratch::new(scratch).unwrap();
        assert_eq!(flags(mapped.bytes()), flags(&at_random));
        let resident = || mapped.resident.load(Ordering::Relaxed);
        for _ in 0..2 {
            (0..MappedScratch::BUDGET / MappedScratch::AROUND).for_each(|_| mapped.touch(1));
            assert_eq!(resident(), MappedScratch::BUDGET);
            mapped.touch(1);
            assert_eq!(resident(), 0);
            assert_eq!(mapped.bytes(), [7; 100]);
        }
    }
}
