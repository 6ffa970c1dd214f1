//! Calls of the C interface in any order, with any arguments that the header allows, and sizes that no memory has: a status, never a
//! fault of the library.

#![allow(unsafe_code, reason = "the functions are those for C")]

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::slice;
use std::sync::OnceLock;

mod learn;
mod live;

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
    lives: [Option<Box<tagm_live>>; HANDLES],
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

/// A number of places, rarely another one than is wanted.
fn about(source: &mut Source<'_>, length: usize) -> usize {
    if source.rarely(8) { source.below(length + 20) } else { length }
}

/// The number of values that are there, or rarely one that no memory holds: it is to be refused before anything is read.
fn count(source: &mut Source<'_>, length: usize) -> usize {
    if source.rarely(32) { usize::MAX - source.below(256) } else { length }
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
    handles.lives.into_iter().for_each(|live| tagm_live_free(live));
}

fn call(source: &mut Source<'_>, handles: &mut Handles) {
    let what = source.below(21);
    let (t, s) = (source.below(HANDLES), source.below(HANDLES));
    let Handles { taggers, scratches, lives } = handles;
    // Calls that make a tagger.
    let made = match what {
        0..4 => open(source, what),
        4 => learn::train(source),
        5 => learn::add_tag(source, taggers[s].as_deref()),
        6 => live::newest(source, lives[s].as_deref()),
        _ => {
            return with(source, what - 7, &mut taggers[t], &mut scratches[s], &mut lives[s]);
        }
    };
    tagm_free(taggers[t].take());
    taggers[t] = made;
}

/// Calls with a tagger, a scratch, a live model.
fn with(
    source: &mut Source<'_>,
    what: usize,
    held: &mut Option<Box<tagm_tagger>>,
    scratch: &mut Option<Box<tagm_scratch>>,
    live: &mut Option<Box<tagm_live>>,
) {
    let tagger = held.as_deref();
    let (keywords, tags) = (tagm_keyword_count(tagger), tagm_tag_count(tagger));
    match what {
        0 => {
            tagm_scratch_free(scratch.take());
            let mut place = MaybeUninit::uninit();
            let status = tagm_scratch_new(tagger, Some(&mut place));
            check(status);
            assert_eq!(status == tagm_status::TAGM_OK, tagger.is_some());
            // SAFETY: the call writes a handle or NULL whatever its status.
            *scratch = unsafe { place.assume_init() };
        }
        1 => {
            let word = source.word(9);
            let mut id = MaybeUninit::new(7);
            let room = (!source.rarely(32)).then_some(&mut id);
            // SAFETY: so many bytes, or a number that is refused.
            let status = unsafe { tagm_keyword_id(tagger, word.as_ptr().cast(), count(source, word.len()), room) };
            check(status);
            // SAFETY: written above, if not by the call.
            let id = unsafe { id.assume_init() };
            assert!(status != tagm_status::TAGM_OK || (id as usize) < keywords);
        }
        2 => {
            let mut tag = MaybeUninit::uninit();
            let index = source.below(tags + 2);
            let status = tagm_tag_at(tagger, index, Some(&mut tag));
            check(status);
            assert_eq!(status == tagm_status::TAGM_OK, index < tags);
        }
        3 => keyword_at(source, tagger, keywords),
        4 => {
            let mut signature = MaybeUninit::new(0);
            check(tagm_signature(tagger, source.flag().then_some(&mut signature)));
        }
        5 => {
            check(tagm_verify(tagger));
            // SAFETY: a path that ends with a zero.
            let status = unsafe { tagm_save(tagger, c"no/such/folder/m.tagm".as_ptr()) };
            check(status);
            assert_ne!(status, tagm_status::TAGM_OK);
        }
        6 => score(source, tagger, scratch.as_deref_mut(), keywords, tags),
        7 => score_batch(source, tagger, scratch.as_deref_mut(), keywords, tags),
        8 => select(source, tagger, scratch.as_deref_mut(), tags),
        9 => explain(source, tagger, keywords, tags),
        10 => {
            tagm_live_free(live.take());
            *live = live::open(source, tagger);
        }
        11 => live::reload(source, live.as_deref(), tagger),
        12 => tagm_live_free(live.take()),
        _ => tagm_free(held.take()),
    }
}

/// The tagger of a call that ended so.
fn made<T>(status: tagm_status, place: MaybeUninit<Option<Box<T>>>) -> Option<Box<T>> {
    check(status);
    // SAFETY: a call that has a place for a handle writes one or NULL whatever its status.
    let handle = unsafe { place.assume_init() };
    assert_eq!(status == tagm_status::TAGM_OK, handle.is_some());
    handle
}

/// The bytes of a tagger's model, which the tagger keeps.
fn bytes_of(tagger: &tagm_tagger) -> &[u8] {
    let (mut bytes, mut length) = (MaybeUninit::new(null()), MaybeUninit::new(0));
    assert_eq!(tagm_bytes(Some(tagger), Some(&mut bytes), Some(&mut length)), tagm_status::TAGM_OK);
    // SAFETY: written above, if not by the call.
    let bytes = unsafe { bytes.assume_init() };
    // SAFETY: as above.
    let length = unsafe { length.assume_init() };
    // SAFETY: the header's promise: so many bytes, for as long as the tagger lives.
    unsafe { slice::from_raw_parts(bytes.cast(), length) }
}

/// A model, whole or damaged.
fn model(source: &mut Source<'_>, damaged: bool) -> Vec<u8> {
    let model = &models()[source.below(models().len())];
    if !damaged {
        return model.bytes().to_vec();
    }
    let mut input = container::pack(model, source.any());
    let at = usize::from(source.any::<u16>()) % input.len();
    input[at] ^= source.any::<u8>();
    container::unpack(&input)
}

/// Makes a tagger: of a model, of a damaged one, of sections of any content, or of a file that is not there.
fn open(source: &mut Source<'_>, how: usize) -> Option<Box<tagm_tagger>> {
    let mut place = MaybeUninit::uninit();
    if how == 3 {
        let path = c"no/such/file.tagm".as_ptr();
        let open = if source.flag() { tagm_open } else { tagm_map };
        // SAFETY: a path that ends with a zero, of no file that could change.
        let status = unsafe { open(path, Some(&mut place)) };
        assert_eq!(status, tagm_status::TAGM_IO);
        return made(status, place);
    }
    let bytes = exactly(model(source, how == 2));
    let length = if source.rarely(8) { bytes.len() / 2 } else { count(source, bytes.len()) };
    // SAFETY: so many bytes, or NULL, or a number that is refused.
    let status = unsafe { tagm_from_bytes(pointer(source, &bytes).cast(), length, Some(&mut place)) };
    made(status, place)
}

fn keyword_at(source: &mut Source<'_>, tagger: Option<&tagm_tagger>, keywords: usize) {
    let id = if source.rarely(8) { source.any() } else { source.below(keywords + 1) as u32 };
    let (mut keyword, mut length) = (MaybeUninit::new(null()), MaybeUninit::new(0));
    let status = tagm_keyword_at(tagger, id, (!source.rarely(32)).then_some(&mut keyword), Some(&mut length));
    check(status);
    assert!(status != tagm_status::TAGM_OK || (id as usize) < keywords);
    if status == tagm_status::TAGM_OK {
        // SAFETY: written above, if not by the call.
        let keyword = unsafe { keyword.assume_init() };
        // SAFETY: as above.
        let length = unsafe { length.assume_init() };
        let mut found = MaybeUninit::new(0);
        // SAFETY: the header's promise: so many bytes, for as long as the tagger lives.
        let status = unsafe { tagm_keyword_id(tagger, keyword, length, Some(&mut found)) };
        assert_eq!(status, tagm_status::TAGM_OK);
        // SAFETY: written above, if not by the call.
        assert_eq!(unsafe { found.assume_init() }, id);
    }
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
    // SAFETY: as many ids and places as the counts say; other pointers and counts are refused before they are used.
    let status = unsafe { tagm_score(tagger, scratch, from, count(source, ids.len()), to, length) };
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
    let (id_count, item_count) = (count(source, ids.len()), count(source, items));
    // SAFETY: as many ids, starts and places as the counts say; other pointers and counts are refused before they are used.
    let status = unsafe { tagm_score_batch(tagger, scratch, from, id_count, bounds, item_count, to, length) };
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
    let (ids, room) = (ids(source, keywords), source.below(34));
    let tag = if source.rarely(16) { usize::MAX - source.below(256) } else { source.below(tags + 1) };
    let (mut explanation, mut found) = (MaybeUninit::uninit(), MaybeUninit::new(0));
    let mut contributions: Box<[MaybeUninit<tagm_contribution>]> = exactly((0..room).map(|_| MaybeUninit::uninit()).collect());
    let (from, to) = (pointer(source, &ids), pointer_mut(source, &mut contributions).cast());
    let (id_count, room) = (count(source, ids.len()), count(source, room));
    let place = (!source.rarely(32)).then_some(&mut explanation);
    let count_place = (!source.rarely(32)).then_some(&mut found);
    // SAFETY: as many ids and places as the counts say; other pointers and counts are refused before they are used.
    let status = unsafe { tagm_explain(tagger, from, id_count, tag, place, to, room, count_place) };
    check(status);
    // SAFETY: written above, if not by the call.
    let found = unsafe { found.assume_init() };
    assert!(found <= ids.len());
    assert!(status != tagm_status::TAGM_OK || tag < tags && found <= room);
}
