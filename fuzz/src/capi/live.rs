//! Serving while the model is replaced.

use std::ffi::CString;
use std::fs;
use std::mem::MaybeUninit;

use super::{Source, bytes_of, check, made, model, tagm_tagger};
use tagomatic::capi::*;
use tempfile::NamedTempFile;

/// A file with a model: that of the tagger, another one, a damaged one; or no file.
struct File {
    path: CString,
    /// Removed with this.
    _file: Option<NamedTempFile>,
}

fn file(source: &mut Source<'_>, tagger: Option<&tagm_tagger>) -> File {
    let bytes = match (source.below(8), tagger) {
        (0, _) => return File { path: c"no/such/file.tagm".to_owned(), _file: None },
        (1, _) => model(source, true),
        (2..7, Some(tagger)) => bytes_of(tagger).to_vec(),
        _ => model(source, false),
    };
    let file = NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), bytes).expect("a temporary file");
    let path = file.path().to_str().and_then(|path| CString::new(path).ok());
    File { path: path.expect("a path that C can have"), _file: Some(file) }
}

pub(super) fn open(source: &mut Source<'_>, tagger: Option<&tagm_tagger>) -> Option<Box<tagm_live>> {
    let (file, may_extend) = (file(source, tagger), source.any());
    let mut place = MaybeUninit::uninit();
    // SAFETY: a path that ends with a zero.
    let status = unsafe { tagm_live_open(file.path.as_ptr(), may_extend, Some(&mut place)) };
    let live = made(status, place);
    assert_eq!(tagm_live_generation(live.as_deref()), u64::from(live.is_some()));
    live
}

/// A version more, or the old one stays.
pub(super) fn reload(source: &mut Source<'_>, live: Option<&tagm_live>, tagger: Option<&tagm_tagger>) {
    let (file, before) = (file(source, tagger), tagm_live_generation(live));
    // SAFETY: a path that ends with a zero.
    let status = unsafe { tagm_live_reload(live, file.path.as_ptr()) };
    check(status);
    assert_eq!(tagm_live_generation(live), before + u64::from(status == tagm_status::TAGM_OK));
}

pub(super) fn newest(source: &mut Source<'_>, live: Option<&tagm_live>) -> Option<Box<tagm_tagger>> {
    let (mut place, mut generation) = (MaybeUninit::uninit(), MaybeUninit::new(0));
    let room = (!source.rarely(16)).then_some(&mut generation);
    let possible = live.is_some() && room.is_some();
    let tagger = made(tagm_live_newest(live, Some(&mut place), room), place);
    assert_eq!(tagger.is_some(), possible);
    if possible {
        // SAFETY: written above, if not by the call.
        assert_eq!(unsafe { generation.assume_init() }, tagm_live_generation(live));
    }
    tagger
}
