//! Writing a file so that at every instant the old or the new one is there, whole.

#[cfg(feature = "train")]
use std::fs::TryLockError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// A file in the making, written piece by piece. It takes the place of the one at its path when it is published, and is gone if it is
/// not.
///
/// The bytes go to a new file in the same folder, are on the disk before that file gets its name, and the name is too before
/// [`publish`](NewFile::publish) returns. Someone who has the old file open or mapped keeps it. A file keeps its mode, but not its
/// owner, group and access control list, which are those of any file that the process makes there; a symbolic link stays one, also to a
/// file that is not there yet.
#[derive(Debug)]
pub struct NewFile {
    // Dropped first: what it still holds is of no use to a file that goes.
    writer: BufWriter<File>,
    temp: Temp,
    place: Place,
    given: PathBuf,
    doing: &'static str,
}

impl NewFile {
    /// Starts the file that is to stand at `path`. `doing` is what an error calls it, as in "save the model".
    ///
    /// # Errors
    /// [`Error::Io`]; also if `path` is a folder, a device, or a read-only file.
    pub fn create(path: &Path, doing: &'static str) -> Result<Self> {
        let failed = |error| Error::io(path, doing, error);
        let (temp, place) = prepare(path).map_err(failed)?;
        let writer = BufWriter::with_capacity(1 << 16, temp.file.try_clone().map_err(failed)?);
        Ok(NewFile { writer, temp, place, given: path.to_owned(), doing })
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// [`Error::Io`]. The old file stays then; only where the disk fails at the very last, when the new name is to be brought to it, the
    /// new one is there, and could be gone after a loss of power.
    pub fn publish(self) -> Result<()> {
        let NewFile { mut writer, temp, place, given, doing } = self;
        writer.flush().and_then(|()| temp.publish(&place)).map_err(|error| Error::io(&given, doing, error))
    }

    /// An error of the system, from a write to this file.
    #[must_use]
    pub fn error(&self, error: io::Error) -> Error {
        Error::io(&self.given, self.doing, error)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Seek for NewFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.writer.seek(to)
    }
}

/// Replaces the file at `path` by one with these bytes, or makes it, as a [`NewFile`].
///
/// # Errors
/// As [`NewFile::create`] and [`NewFile::publish`].
pub(crate) fn write(path: &Path, doing: &'static str, bytes: &[u8]) -> Result<()> {
    try_write(path, bytes).map_err(|error| Error::io(path, doing, error))
}

/// Fails if [`write()`] would fail at `path` now, for want of a folder or a permission. Nothing is left behind.
///
/// # Errors
/// As [`write()`].
pub(crate) fn check(path: &Path, doing: &'static str) -> Result<()> {
    prepare(path).map(drop).map_err(|error| Error::io(path, doing, error))
}

fn try_write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (mut temp, place) = prepare(path)?;
    temp.file.write_all(bytes)?;
    temp.publish(&place)
}

/// Removes what processes that were killed while they wrote have left in `folder`. What is still written to stays, where the file
/// system has locks.
#[cfg(feature = "train")]
pub(crate) fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(TEMP) && name.ends_with(TEMP_END)) {
            let is_held = match File::open(entry.path()) {
                Ok(file) => matches!(file.try_lock(), Err(TryLockError::WouldBlock)),
                // Published or given up just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => true,
                Err(error) => return Err(error),
            };
            if !is_held {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

/// An empty file beside the one at `path`, to take its place; and where that place is, links followed.
fn prepare(path: &Path) -> io::Result<(Temp, Place)> {
    // Renaming would put the file in the place of a link, not of what it points to.
    let path = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => behind_links(path),
        found => found?,
    };
    let permissions = match fs::metadata(&path) {
        Ok(old) if old.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(old) if !old.is_file() => return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
        Ok(old) if old.permissions().readonly() => return Err(io::Error::new(io::ErrorKind::PermissionDenied, "read-only")),
        Ok(old) => Some(old.permissions()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let folder = folder_or_here(path.parent().ok_or(io::ErrorKind::InvalidInput)?);
    let names = Folder::open(folder)?;
    let temp = Temp::create(folder)?;
    if let Some(permissions) = permissions {
        temp.file.set_permissions(permissions)?;
    }
    Ok((temp, Place { path, folder: names }))
}

/// Where a file is to be made that a link, or a link to a link, points to.
fn behind_links(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // As many as systems follow.
    for _ in 0..40 {
        let Ok(to) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("")).join(to);
    }
    path
}

/// The parent of a bare file name is the empty path.
fn folder_or_here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// A file for numbers that do not fit in memory. It goes when this is dropped, and where the system allows it has no name from the
/// start: then it goes whatever ends the process.
#[cfg(all(feature = "mmap", feature = "train"))]
pub(crate) struct Scratch(Temp);

#[cfg(all(feature = "mmap", feature = "train"))]
impl Scratch {
    pub(crate) fn create(folder: &Path) -> io::Result<Self> {
        let temp = Temp::create(folder_or_here(folder))?;
        #[cfg(unix)]
        fs::remove_file(&temp.path)?;
        Ok(Scratch(temp))
    }

    pub(crate) fn file(&self) -> &File {
        &self.0.file
    }
}

/// How the names of unfinished files begin and end.
const TEMP: &str = ".tagomatic-";
const TEMP_END: &str = ".tmp";

/// A new file that goes when dropped, unless it was renamed.
#[derive(Debug)]
struct Temp {
    file: File,
    path: PathBuf,
    renamed: bool,
}

impl Temp {
    fn create(folder: &Path) -> io::Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("{TEMP}{}-{number}{TEMP_END}", std::process::id()));
            match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => {
                    // For `sweep`, and of no use to anybody else: without locks there is none.
                    let _ = file.try_lock();
                    return Ok(Temp { file, path, renamed: false });
                }
                // Left by a process with the same number that was killed, or on another machine; not ours to touch.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Brings the file to the disk, then to its place, then its name to the disk.
    fn publish(mut self, place: &Place) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, &place.path)?;
        self.renamed = true;
        place.folder.sync()
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.renamed {
            // The error that led here is the one to report.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Where a file is to stand.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// Opened before anything is replaced: a folder that cannot be opened is known by then.
    folder: Folder,
}

/// An open folder.
#[derive(Debug)]
struct Folder(#[cfg(unix)] File);

#[cfg(unix)]
impl Folder {
    fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(Folder)
    }

    /// Brings its list of names to the disk.
    fn sync(&self) -> io::Result<()> {
        match self.0.sync_all() {
            // Some file systems do not know this of folders. They say so by one of these.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
            done => done,
        }
    }
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the same signatures as on unix")]
impl Folder {
    fn open(_path: &Path) -> io::Result<Self> {
        Ok(Folder())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn makes_and_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for bytes in [&b"one"[..], b"", b"three"] {
            write(&path, "save", bytes).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        // Left over by a killed process of the same number.
        for number in 0..50 {
            let _ = fs::write(folder.path().join(format!(".tagomatic-{}-{number}.tmp", std::process::id())), "");
        }
        write(&path, "save", b"four").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"four");
    }

    #[test]
    fn a_file_is_there_when_it_is_published_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, "save", b"old").unwrap();
        for publish in [false, true] {
            let mut new = NewFile::create(&path, "save").unwrap();
            new.write_all(b"....new").unwrap();
            new.seek(SeekFrom::Start(0)).unwrap();
            new.write_all(b"very").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"old");
            if publish {
                new.publish().unwrap();
            }
        }
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"verynew".to_vec(), vec!["a".to_owned()]));
        let error = NewFile::create(&folder.path().join("no/a"), "save").unwrap_err();
        assert!(matches!(error, Error::Io { doing: "save", .. }));
    }

    #[test]
    fn a_failure_leaves_everything_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("folder")).unwrap();
        fs::write(path("locked"), "old").unwrap();
        let mut permissions = fs::metadata(path("locked")).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(path("locked"), permissions).unwrap();
        for name in ["folder", "locked", "missing/a", "locked/a", &"x".repeat(300)] {
            let error = write(&path(name), "save", b"new").unwrap_err();
            assert!(matches!(error, Error::Io { doing: "save", .. }), "{name}: {error}");
            assert!(check(&path(name), "save").is_err(), "{name}");
        }
        assert_eq!(names(folder.path()), ["folder", "locked"]);
        assert_eq!(names(&path("folder")), [""; 0]);
        assert_eq!(fs::read(path("locked")).unwrap(), b"old");
        check(&path("new"), "save").unwrap();
        assert_eq!(names(folder.path()), ["folder", "locked"]);
        for odd in ["", "/", ".", ".."] {
            assert!(write(Path::new(odd), "save", b"new").is_err(), "{odd:?}");
        }
    }

    #[cfg(feature = "train")]
    #[test]
    fn a_sweep_takes_unfinished_files_only() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.tmp", ".tagomatic-1-0.tmp", ".tagomatic-77-3.tmp", ".tagomatic-notes"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        // Another process saves meanwhile.
        let mut saving = NewFile::create(&folder.path().join("m"), "save").unwrap();
        sweep(folder.path()).unwrap();
        assert_eq!(names(folder.path()).len(), 3);
        saving.write_all(b"new").unwrap();
        saving.publish().unwrap();
        assert_eq!(names(folder.path()), [".tagomatic-notes", "a.tmp", "m"]);
    }

    #[cfg(all(unix, feature = "mmap", feature = "train"))]
    #[test]
    fn a_scratch_file_has_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(folder.path()).unwrap();
        scratch.file().write_all(b"numbers").unwrap();
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn an_unfinished_file_goes() {
        let folder = tempfile::tempdir().unwrap();
        drop(Temp::create(folder.path()).unwrap());
        assert_eq!(names(folder.path()), [""; 0]);
        let place = Place { path: folder.path().join("missing/a"), folder: Folder::open(folder.path()).unwrap() };
        assert!(Temp::create(folder.path()).unwrap().publish(&place).is_err());
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[cfg(unix)]
    #[test]
    fn permissions_links_and_devices_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "old").unwrap();
        fs::set_permissions(path("file"), PermissionsExt::from_mode(0o640)).unwrap();
        symlink("file", path("link")).unwrap();
        write(&path("link"), "save", b"new").unwrap();
        assert!(fs::symlink_metadata(path("link")).unwrap().is_symlink());
        assert_eq!(fs::read(path("file")).unwrap(), b"new");
        assert_eq!(fs::metadata(path("file")).unwrap().permissions().mode() & 0o777, 0o640);
        symlink("/dev/null", path("null")).unwrap();
        assert!(write(&path("null"), "save", b"new").unwrap_err().to_string().contains("not a regular file"));
        // A link to what is not there yet makes it.
        symlink("later", path("first")).unwrap();
        symlink(path("first"), path("second")).unwrap();
        write(&path("second"), "save", b"new").unwrap();
        assert!(fs::symlink_metadata(path("second")).unwrap().is_symlink());
        assert_eq!(fs::read(path("later")).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["file", "first", "later", "link", "null", "second"]);
    }
}
