//! Calls of the C interface in any order, with any arguments that the header allows: a status, never a fault of the library.

#![allow(unsafe_code, reason = "the functions are those for C")]

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use super::source::Source;
use super::{container, parts};
use tagomatic::Model;
use tagomatic::capi::*;

/// How many handles there are at most.
const HANDLES: usize = 3;

#[derive(Default)]
struct Handles {
    taggers: [Option<Box<tagm_tagger>>; HANDLES],
    scratches: [Option<Box<tagm_scratch>>; HANDLES],
}

fn models() -> &'static [Model] {
    static MODELS: OnceLock<Vec<Model>> = OnceLock::new();
    MODELS.get_or_init(parts::fixed)
}

/// A function of the library that fails says why, and never finds itself at fault.
fn check(status: tagm_status) {
    assert_ne!(status, tagm_status::TAGM_FAULT, "{:?}", message());
    if !matches!(status, tagm_status::TAGM_OK | tagm_status::TAGM_UNKNOWN) {
        assert!(!message().is_empty());
    }
}

fn message() -> &'static CStr {
    // SAFETY: the message lives until the next call that fails; it is not used after that.
    unsafe { CStr::from_ptr(tagm_message()) }
}

/// Numbers in memory of their own, so that a tool that watches memory sees every access beyond them.
fn exactly<T>(values: Vec<T>) -> Box<[T]> {
    values.into_boxed_slice()
}

/// A pointer to the values, or rarely one that is null or not aligned.
fn pointer<T>(source: &mut Source<'_>, values: &[T]) -> *const T {
    match source.below(24) {
        22 => null(),
        23 if align_of::<T>() > 1 => values.as_ptr().cast::<u8>().wrapping_add(1).cast(),
        _ => values.as_ptr(),
    }
}

fn pointer_mut<T>(source: &mut Source<'_>, values: &mut [T]) -> *mut T {
    match source.below(24) {
        22 => null_mut(),
        23 if align_of::<T>() > 1 => values.as_mut_ptr().cast::<u8>().wrapping_add(1).cast(),
        _ => values.as_mut_ptr(),
    }
}

/// A count that memory can hold, or rarely one that it cannot where the pointer says so too.
fn about(source: &mut Source<'_>, length: usize) -> usize {
    if source.rarely(8) { source.below(length + 20) } else { length }
}

fn ids(source: &mut Source<'_>, keywords: usize) -> Box<[u32]> {
    let count = source.below(30);
    let mut id = || if source.rarely(32) { source.any() } else { source.below(keywords.max(1)) as u32 };
    exactly((0..count).map(|_| id()).collect())
}

pub fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let mut handles = Handles::default();
    assert_eq!(tagm_abi_version(), TAGM_ABI_VERSION);
    for _ in 0..24 {
        if source.is_empty() {
            break;
        }
        call(&mut source, &mut handles);
    }
    handles.taggers.into_iter().for_each(|tagger| tagm_free(tagger));
    handles.scratches.into_iter().for_each(|scratch| tagm_scratch_free(scratch));
}

fn call(source: &mut Source<'_>, handles: &mut Handles) {
    let what = source.below(14);
    let (t, s) = (source.below(HANDLES), source.below(HANDLES));
    if what < 4 {
        return open(source, &mut handles.taggers[t], what);
    }
    let Handles { taggers, scratches } = handles;
    let tagger = taggers[t].as_deref();
    let (keywords, tags) = (tagm_keyword_count(tagger), tagm_tag_count(tagger));
    match what {
        4 => {
            tagm_scratch_free(scratches[s].take());
            let mut place = MaybeUninit::uninit();
            let status = tagm_scratch_new(tagger, Some(&mut place));
            check(status);
            assert_eq!(status == tagm_status::TAGM_OK, tagger.is_some());
            // SAFETY: the call writes a handle or NULL whatever its status.
            scratches[s] = unsafe { place.assume_init() };
        }
        5 => {
            let word = source.word(9);
            let mut id = MaybeUninit::new(7);
            let room = (!source.rarely(32)).then_some(&mut id);
            // SAFETY: so many bytes.
            let status = unsafe { tagm_keyword_id(tagger, word.as_ptr().cast(), word.len(), room) };
            check(status);
            // SAFETY: written above, if not by the call.
            let id = unsafe { id.assume_init() };
            assert!(status != tagm_status::TAGM_OK || (id as usize) < keywords);
        }
        6 => {
            let mut tag = MaybeUninit::uninit();
            let index = source.below(tags + 2);
            let status = tagm_tag_at(tagger, index, Some(&mut tag));
            check(status);
            assert_eq!(status == tagm_status::TAGM_OK, index < tags);
        }
        7 => {
            let mut signature = MaybeUninit::new(0);
            check(tagm_signature(tagger, source.flag().then_some(&mut signature)));
        }
        8 => check(tagm_verify(tagger)),
        9 => score(source, tagger, scratches[s].as_deref_mut(), keywords, tags),
        10 => score_batch(source, tagger, scratches[s].as_deref_mut(), keywords, tags),
        11 => select(source, tagger, scratches[s].as_deref_mut(), tags),
        12 => explain(source, tagger, keywords, tags),
        _ => tagm_free(taggers[t].take()),
    }
}

/// Makes a tagger: of a model, of a damaged one, of sections of any content, or of a file that is not there.
fn open(source: &mut Source<'_>, tagger: &mut Option<Box<tagm_tagger>>, how: usize) {
    tagm_free(tagger.take());
    let mut place = MaybeUninit::uninit();
    let model = &models()[source.below(models().len())];
    let bytes = match how {
        0 | 1 => model.bytes().to_vec(),
        2 => {
            let mut input = container::pack(model, source.any());
            let at = usize::from(source.any::<u16>()) % input.len();
            input[at] ^= source.any::<u8>();
            container::unpack(&input)
        }
        _ => {
            let path = CString::new("no/such/file.tagm").unwrap_or_default();
            // SAFETY: a path that ends with a zero.
            let status = unsafe { tagm_open(path.as_ptr(), Some(&mut place)) };
            assert_eq!(status, tagm_status::TAGM_IO);
            // SAFETY: the call writes a handle or NULL whatever its status.
            assert!(unsafe { place.assume_init() }.is_none());
            return;
        }
    };
    let bytes = exactly(bytes);
    let length = if source.rarely(8) { bytes.len() / 2 } else { bytes.len() };
    // SAFETY: so many bytes, or NULL.
    let status = unsafe { tagm_from_bytes(pointer(source, &bytes).cast(), length, Some(&mut place)) };
    check(status);
    // SAFETY: the call writes a handle or NULL whatever its status.
    *tagger = unsafe { place.assume_init() };
    assert_eq!(status == tagm_status::TAGM_OK, tagger.is_some());
}

fn score(
    source: &mut Source<'_>,
    tagger: Option<&tagm_tagger>,
    scratch: Option<&mut tagm_scratch>,
    keywords: usize,
    tags: usize,
) {
    let (ids, length) = (ids(source, keywords), about(source, tags));
    let mut scores = exactly(vec![f32::NAN; length]);
    let (from, to) = (pointer(source, &ids), pointer_mut(source, &mut scores));
    // SAFETY: as many ids and places as the counts say; other pointers are NULL or not aligned, which is looked at first.
    let status = unsafe { tagm_score(tagger, scratch, from, ids.len(), to, length) };
    check(status);
    assert!(status != tagm_status::TAGM_OK || length == tags);
}

fn score_batch(
    source: &mut Source<'_>,
    tagger: Option<&tagm_tagger>,
    scratch: Option<&mut tagm_scratch>,
    keywords: usize,
    tags: usize,
) {
    let (ids, items) = (ids(source, keywords), source.below(6));
    let mut starts: Vec<usize> = (0..=items).map(|_| source.below(ids.len() + 1)).collect();
    if !source.rarely(8) {
        starts.sort_unstable();
        starts[items] = ids.len();
        starts[0] = 0;
    }
    let (starts, length) = (exactly(starts), about(source, items * tags));
    let mut scores = exactly(vec![f32::NAN; length]);
    let (from, bounds, to) = (pointer(source, &ids), pointer(source, &starts), pointer_mut(source, &mut scores));
    // SAFETY: as many ids, starts and places as the counts say, or pointers that are looked at first.
    let status = unsafe { tagm_score_batch(tagger, scratch, from, ids.len(), bounds, items, to, length) };
    check(status);
    assert!(status != tagm_status::TAGM_OK || length == items * tags);
}

fn select(source: &mut Source<'_>, tagger: Option<&tagm_tagger>, scratch: Option<&mut tagm_scratch>, tags: usize) {
    let length = about(source, tags);
    let numbers = source.numbers(20, Source::number);
    let scores = exactly((0..length).map(|at| numbers[at % numbers.len()]).collect());
    let (min_score, top_k, room) = (source.number(), source.below(4), source.below(tags + 2));
    let (mut selected, mut count) = (exactly(vec![usize::MAX; room]), MaybeUninit::new(usize::MAX));
    let (from, to) = (pointer(source, &scores), pointer_mut(source, &mut selected));
    // SAFETY: as many scores and places as the counts say, or pointers that are looked at first.
    let status = unsafe { tagm_select(tagger, scratch, from, length, min_score, top_k, to, room, Some(&mut count)) };
    check(status);
    // SAFETY: written above, if not by the call.
    let count = unsafe { count.assume_init() };
    assert!(count <= tags);
    if status == tagm_status::TAGM_OK {
        assert!(count <= room && selected[..count].iter().all(|tag| *tag < tags));
    }
}

fn explain(source: &mut Source<'_>, tagger: Option<&tagm_tagger>, keywords: usize, tags: usize) {
    let (ids, tag, room) = (ids(source, keywords), source.below(tags + 1), source.below(34));
    let (mut explanation, mut count) = (MaybeUninit::uninit(), MaybeUninit::new(usize::MAX));
    let mut contributions: Box<[MaybeUninit<tagm_contribution>]> = exactly((0..room).map(|_| MaybeUninit::uninit()).collect());
    let (from, to) = (pointer(source, &ids), pointer_mut(source, &mut contributions).cast());
    // SAFETY: as many ids and places as the counts say, or pointers that are looked at first.
    let status = unsafe { tagm_explain(tagger, from, ids.len(), tag, Some(&mut explanation), to, room, Some(&mut count)) };
    check(status);
    // SAFETY: written above, if not by the call.
    assert!(unsafe { count.assume_init() } <= ids.len());
}
