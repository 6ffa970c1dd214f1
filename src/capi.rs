//! The C interface, as `capi/tagomatic.h` tells it: opaque handles, buffers of the caller, a status and a message.
//!
//! Whatever a function is given, short of a pointer that lies, it ends in a status: nothing panics into C.

#![doc = concat!("```c\n", include_str!("capi/tagomatic.h"), "```")]
#![allow(unsafe_code, reason = "arrays come from C as pointer and count")]
#![allow(missing_docs, clippy::missing_safety_doc, reason = "documentation and contract of every function are the header's")]
#![allow(non_camel_case_types, reason = "the names in C")]

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Error;
use crate::explain::explain;
use crate::format::Model;
use crate::selection::{MinScore, Selection};
use crate::tagger::{Scratch, Tagger};

/// Rises when a function changes or goes; new functions leave it.
pub const TAGM_ABI_VERSION: u32 = 1;

/// What became of a call.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum tagm_status {
    /// Done.
    TAGM_OK = 0,
    /// The system refused to read or write.
    TAGM_IO = 1,
    /// The bytes are no valid model.
    TAGM_BAD_MODEL = 2,
    /// The model needs a newer version of this library.
    TAGM_NEWER_MODEL = 3,
    /// A pointer is NULL that must not be, or a number is out of its range.
    TAGM_BAD_ARGUMENT = 4,
    /// A buffer has the wrong size, or a scratch is not of this tagger.
    TAGM_BAD_LENGTH = 5,
    /// There is no such keyword, tag or id.
    TAGM_UNKNOWN = 6,
    /// A fault of the library; please report it.
    TAGM_FAULT = 7,
}

use tagm_status::{
    TAGM_BAD_ARGUMENT, TAGM_BAD_LENGTH, TAGM_BAD_MODEL, TAGM_FAULT, TAGM_IO, TAGM_NEWER_MODEL, TAGM_OK, TAGM_UNKNOWN,
};

/// A model that is ready to score.
pub struct tagm_tagger(Tagger);

/// The buffers of one thread.
pub struct tagm_scratch {
    scratch: Scratch,
    selected: Vec<usize>,
}

/// One tag of a model. The name is UTF-8, not ended by a zero, and lives as long as the tagger.
#[repr(C)]
#[derive(Debug)]
pub struct tagm_tag {
    name: *const c_char,
    name_length: usize,
    id: u32,
    threshold: f32,
}

/// What makes up the logit of a tag.
#[repr(C)]
#[derive(Debug)]
pub struct tagm_explanation {
    logit: f32,
    score: f32,
    bias: f64,
}

/// What one keyword adds to a logit.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tagm_contribution {
    contribution: f64,
    id: u32,
    score_without: f32,
}

// SAFETY: all of its fields are numbers, for which all bits zero is a value.
unsafe impl bytemuck::Zeroable for tagm_contribution {}

thread_local! {
    /// Why the thread's last call that failed did so.
    static MESSAGE: RefCell<CString> = RefCell::default();
}

/// Why a call did not work.
struct Failure {
    status: tagm_status,
    message: String,
}

type Result<T> = std::result::Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::Io { .. } => TAGM_IO,
            Error::Model { .. } => TAGM_BAD_MODEL,
            Error::NewerModel { .. } => TAGM_NEWER_MODEL,
            Error::Length { .. } => TAGM_BAD_LENGTH,
            Error::KeywordOutOfRange { .. } => TAGM_UNKNOWN,
            _ => TAGM_BAD_ARGUMENT,
        };
        Failure { status, message: error.to_string() }
    }
}

fn failure<T>(status: tagm_status, message: impl Into<String>) -> Result<T> {
    Err(Failure { status, message: message.into() })
}

/// Runs a call: what it fails with becomes its status and the thread's message, a panic too.
fn call(run: impl FnOnce() -> Result<tagm_status>) -> tagm_status {
    // What a call leaves half-done belongs to the caller, who is told that it failed.
    let result = catch_unwind(AssertUnwindSafe(run));
    let result = result.unwrap_or_else(|_| failure(TAGM_FAULT, "a fault of tagomatic itself; please report it"));
    result.unwrap_or_else(|Failure { status, message }| {
        let message = CString::new(message.replace('\0', "\\0")).unwrap_or_default();
        // Where a thread is ending its message is gone already: nobody can ask for it any more.
        let _ = MESSAGE.try_with(|kept| kept.replace(message));
        status
    })
}

/// A reference from C, which is absent where C gives NULL.
fn given<T>(reference: Option<T>, name: &str) -> Result<T> {
    reference.map_or_else(|| failure(TAGM_BAD_ARGUMENT, format!("{name}: expected a pointer, found NULL")), Ok)
}

/// The `count` values that start where a pointer from C points to; of no values the pointer may be anything.
///
/// # Safety
/// It is NULL, or points to `count` values that live for `'a` and are not written to meanwhile.
unsafe fn many<'a, T>(pointer: *const T, count: usize, name: &str) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    check_array(pointer, count, name)?;
    // SAFETY: not NULL, aligned, and of a size that an object can have; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
}

/// The `count` places that start where a pointer from C points to, set to zero; of no places the pointer may be anything.
///
/// # Safety
/// It is NULL, or points to `count` places that live for `'a` and that nothing else reads or writes meanwhile.
unsafe fn places<'a, T: bytemuck::Zeroable>(pointer: *mut T, count: usize, name: &str) -> Result<&'a mut [T]> {
    if count == 0 {
        return Ok(&mut []);
    }
    check_array(pointer, count, name)?;
    // SAFETY: not NULL, aligned, and the caller promises the places. C may never have written to them: now they are a value of `T`.
    unsafe { pointer.write_bytes(0, count) };
    // SAFETY: as above, of a size that an object can have, and initialized by now.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, count) })
}

fn check_array<T>(pointer: *const T, count: usize, name: &str) -> Result<()> {
    if pointer.is_null() || !pointer.is_aligned() {
        return failure(TAGM_BAD_ARGUMENT, format!("{name}: expected an aligned pointer, found {pointer:?}"));
    }
    match count.checked_mul(size_of::<T>()) {
        Some(bytes) if bytes <= isize::MAX.unsigned_abs() => Ok(()),
        _ => failure(TAGM_BAD_ARGUMENT, format!("{name}: expected a number of values that memory can hold, found {count}")),
    }
}

/// A zero-terminated path from C.
///
/// # Safety
/// It is NULL, or points to a zero-terminated string that lives for `'a`.
unsafe fn path_of<'a>(pointer: *const c_char) -> Result<&'a std::path::Path> {
    check_array(pointer, 1, "path")?;
    // SAFETY: not NULL; the rest is the caller's promise.
    let text = unsafe { CStr::from_ptr(pointer) };
    #[cfg(unix)]
    let path = std::path::Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(text.to_bytes()));
    #[cfg(not(unix))]
    let path = match text.to_str() {
        Ok(text) => std::path::Path::new(text),
        Err(_) => return failure(TAGM_BAD_ARGUMENT, "path: expected UTF-8"),
    };
    Ok(path)
}

/// The place for a handle: NULL stands in it until there is one.
type Place<'a, T> = Option<&'a mut MaybeUninit<Option<Box<T>>>>;

/// Hands a new object to C.
fn hand_over<T>(place: Place<'_, T>, make: impl FnOnce() -> Result<T>) -> tagm_status {
    call(|| {
        let place = given(place, "the place for the handle")?.write(None);
        *place = Some(Box::new(make()?));
        Ok(TAGM_OK)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_abi_version() -> u32 {
    TAGM_ABI_VERSION
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_message() -> *const c_char {
    MESSAGE.try_with(|message| message.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagm_open(path: *const c_char, tagger: Place<'_, tagm_tagger>) -> tagm_status {
    hand_over(tagger, || {
        // SAFETY: the header's contract: a zero-terminated string.
        let path = unsafe { path_of(path)? };
        Ok(tagm_tagger(Tagger::new(Model::open(path)?)))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagm_map(path: *const c_char, tagger: Place<'_, tagm_tagger>) -> tagm_status {
    hand_over(tagger, || {
        // SAFETY: the header's contract: a zero-terminated string.
        let path = unsafe { path_of(path)? };
        // SAFETY: the header's contract: the file does not change while it is mapped.
        let model = unsafe { Model::map(path)? };
        Ok(tagm_tagger(Tagger::new(model)))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagm_from_bytes(bytes: *const c_void, length: usize, tagger: Place<'_, tagm_tagger>) -> tagm_status {
    hand_over(tagger, || {
        // SAFETY: the header's contract: `length` bytes.
        let bytes = unsafe { many(bytes.cast(), length, "bytes")? };
        Ok(tagm_tagger(Tagger::new(Model::from_bytes(bytes)?)))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_free(tagger: Option<Box<tagm_tagger>>) {
    drop(tagger);
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_verify(tagger: Option<&tagm_tagger>) -> tagm_status {
    call(|| {
        given(tagger, "tagger")?.0.model().verify()?;
        Ok(TAGM_OK)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_keyword_count(tagger: Option<&tagm_tagger>) -> usize {
    tagger.map_or(0, |tagger| tagger.0.model().vocabulary().len())
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_tag_count(tagger: Option<&tagm_tagger>) -> usize {
    tagger.map_or(0, |tagger| tagger.0.tags().len())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagm_keyword_id(
    tagger: Option<&tagm_tagger>,
    keyword: *const c_char,
    length: usize,
    id: Option<&mut MaybeUninit<u32>>,
) -> tagm_status {
    call(|| {
        // SAFETY: the header's contract: `length` bytes.
        let keyword: &[u8] = unsafe { many(keyword.cast(), length, "keyword")? };
        let (vocabulary, id) = (given(tagger, "tagger")?.0.model().vocabulary(), given(id, "id")?);
        // No keyword of a model is anything else than UTF-8.
        let found = std::str::from_utf8(keyword).ok().and_then(|keyword| vocabulary.get(keyword));
        id.write(found.unwrap_or(u32::MAX));
        Ok(if found.is_some() { TAGM_OK } else { TAGM_UNKNOWN })
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_tag_at(
    tagger: Option<&tagm_tagger>,
    index: usize,
    tag: Option<&mut MaybeUninit<tagm_tag>>,
) -> tagm_status {
    call(|| {
        let (tags, place) = (given(tagger, "tagger")?.0.tags(), given(tag, "tag")?);
        if index >= tags.len() {
            return no_tag("index", index, tags.len());
        }
        let tag = &tags[index];
        let (name, name_length) = (tag.name.as_ptr().cast(), tag.name.len());
        place.write(tagm_tag { name, name_length, id: tag.id, threshold: tag.threshold });
        Ok(TAGM_OK)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_signature(tagger: Option<&tagm_tagger>, signature: Option<&mut MaybeUninit<u64>>) -> tagm_status {
    call(|| {
        let (tagger, signature) = (given(tagger, "tagger")?, given(signature, "signature")?);
        signature.write(tagger.0.signature()?);
        Ok(TAGM_OK)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_scratch_new(tagger: Option<&tagm_tagger>, scratch: Place<'_, tagm_scratch>) -> tagm_status {
    hand_over(scratch, || {
        let tagger = &given(tagger, "tagger")?.0;
        Ok(tagm_scratch { scratch: tagger.scratch(), selected: Vec::with_capacity(tagger.tags().len()) })
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_scratch_free(scratch: Option<Box<tagm_scratch>>) {
    drop(scratch);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagm_score(
    tagger: Option<&tagm_tagger>,
    scratch: Option<&mut tagm_scratch>,
    ids: *const u32,
    id_count: usize,
    scores: *mut f32,
    score_count: usize,
) -> tagm_status {
    call(|| {
        // SAFETY: the header's contract: `id_count` ids.
        let ids = unsafe { many(ids, id_count, "ids")? };
        // SAFETY: the header's contract: room for `score_count` scores, of this call alone.
        let scores = unsafe { places(scores, score_count, "scores")? };
        given(tagger, "tagger")?.0.score(ids, &mut given(scratch, "scratch")?.scratch, scores)?;
        Ok(TAGM_OK)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagm_score_batch(
    tagger: Option<&tagm_tagger>,
    scratch: Option<&mut tagm_scratch>,
    ids: *const u32,
    id_count: usize,
    starts: *const usize,
    item_count: usize,
    scores: *mut f32,
    score_count: usize,
) -> tagm_status {
    call(|| {
        // SAFETY: the header's contract: `id_count` ids.
        let ids = unsafe { many(ids, id_count, "ids")? };
        // SAFETY: the header's contract: a start for each item and one more.
        let starts = unsafe { many(starts, item_count.saturating_add(1), "starts")? };
        // SAFETY: the header's contract: room for `score_count` scores, of this call alone.
        let scores = unsafe { places(scores, score_count, "scores")? };
        given(tagger, "tagger")?.0.score_batch(ids, starts, &mut given(scratch, "scratch")?.scratch, scores)?;
        Ok(TAGM_OK)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagm_select(
    tagger: Option<&tagm_tagger>,
    scratch: Option<&mut tagm_scratch>,
    scores: *const f32,
    score_count: usize,
    min_score: f32,
    top_k: usize,
    tags: *mut usize,
    room: usize,
    tag_count: Option<&mut MaybeUninit<usize>>,
) -> tagm_status {
    call(|| {
        let tag_count = given(tag_count, "tag_count")?.write(0);
        // SAFETY: the header's contract: `score_count` scores.
        let scores = unsafe { many(scores, score_count, "scores")? };
        // SAFETY: the header's contract: room for `room` indices, of this call alone.
        let places = unsafe { places(tags, room, "tags")? };
        let (tags, selected) = (given(tagger, "tagger")?.0.tags(), &mut given(scratch, "scratch")?.selected);
        if score_count != tags.len() {
            return failure(TAGM_BAD_LENGTH, format!("scores: expected length {}, found {score_count}", tags.len()));
        }
        let min_score = if min_score.is_nan() { MinScore::PerTag } else { MinScore::Fixed(min_score) };
        let selection = Selection { min_score, top_k: (top_k > 0).then_some(top_k), ..Selection::default() };
        // How many keywords are known plays no part by default.
        selection.select(tags, scores, usize::MAX, selected);
        *tag_count = selected.len();
        copy_out(places, selected, "tags")
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagm_explain(
    tagger: Option<&tagm_tagger>,
    ids: *const u32,
    id_count: usize,
    tag: usize,
    explanation: Option<&mut MaybeUninit<tagm_explanation>>,
    contributions: *mut tagm_contribution,
    room: usize,
    contribution_count: Option<&mut MaybeUninit<usize>>,
) -> tagm_status {
    call(|| {
        let (place, count) = (given(explanation, "explanation")?, given(contribution_count, "contribution_count")?.write(0));
        // SAFETY: the header's contract: `id_count` ids.
        let ids = unsafe { many(ids, id_count, "ids")? };
        // SAFETY: the header's contract: room for `room` contributions, of this call alone.
        let places = unsafe { places(contributions, room, "contributions")? };
        let tagger = &given(tagger, "tagger")?.0;
        if tag >= tagger.tags().len() {
            return no_tag("tag", tag, tagger.tags().len());
        }
        let explained = explain(tagger, ids, tag)?;
        place.write(tagm_explanation { logit: explained.logit, score: explained.score, bias: explained.bias });
        let parts = explained.keywords.iter().map(|part| tagm_contribution {
            contribution: part.contribution,
            id: part.id,
            score_without: part.score_without,
        });
        *count = explained.keywords.len();
        copy_out(places, &parts.collect::<Vec<_>>(), "contributions")
    })
}

/// What is said of a tag that a model does not have.
fn no_tag(argument: &str, found: usize, tags: usize) -> Result<tagm_status> {
    failure(TAGM_UNKNOWN, format!("{argument}: expected a number below the model's {tags} tags, found {found}"))
}

/// Copies all values to the first places, or none.
fn copy_out<T: Copy>(places: &mut [T], values: &[T], name: &str) -> Result<tagm_status> {
    let room = places.len();
    match places.get_mut(..values.len()) {
        Some(places) => places.copy_from_slice(values),
        None => return failure(TAGM_BAD_LENGTH, format!("{name}: expected room for {}, found {room}", values.len())),
    }
    Ok(TAGM_OK)
}
