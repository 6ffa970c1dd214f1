//! Training, and teaching a tag.

use std::ffi::{CString, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr::{from_ref, null};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::super::source::bits;
use super::{Source, count, exactly, made, pointer};
use tagomatic::capi::*;

/// `tagm_sets` as the header tells it.
#[repr(C)]
struct Sets {
    ids: *const u32,
    id_count: usize,
    starts: *const usize,
    count: usize,
}

/// `tagm_names` as the header tells it.
#[repr(C)]
struct Names {
    names: *const *const c_char,
    count: usize,
}

/// The arrays of sets.
struct Drawn {
    ids: Box<[u32]>,
    starts: Box<[usize]>,
}

impl Drawn {
    /// `count` sets of numbers below `bound`, or rarely of others, or with bounds that are not in order.
    fn new(source: &mut Source<'_>, count: usize, bound: usize) -> Self {
        let (mut ids, mut starts) = (Vec::new(), vec![0]);
        for _ in 0..count {
            for _ in 0..source.below(5) {
                ids.push(if source.rarely(64) { source.any() } else { source.below(bound) as u32 });
            }
            starts.push(ids.len());
        }
        if source.rarely(16) {
            let at = source.below(starts.len());
            starts[at] = if source.flag() { source.any() } else { source.below(8) };
        }
        Drawn { ids: exactly(ids), starts: exactly(starts) }
    }

    fn sets(&self, source: &mut Source<'_>) -> Sets {
        Sets {
            ids: pointer(source, &self.ids),
            id_count: count(source, self.ids.len()),
            starts: pointer(source, &self.starts),
            count: count(source, self.starts.len() - 1),
        }
    }
}

impl Sets {
    /// What the library is given; rarely NULL.
    fn given(&self, source: &mut Source<'_>) -> Option<&tagm_sets> {
        let sets: *const tagm_sets = from_ref(self).cast();
        // SAFETY: the same fields in the same order, by the header; it lives as long as `self`.
        (!source.rarely(64)).then(|| unsafe { &*sets })
    }
}

impl Names {
    /// What the library is given; rarely NULL.
    fn given(&self, source: &mut Source<'_>) -> Option<&tagm_names> {
        let names: *const tagm_names = from_ref(self).cast();
        // SAFETY: the same fields in the same order, by the header; it lives as long as `self`.
        (!source.rarely(64)).then(|| unsafe { &*names })
    }
}

/// A string for C, seldom one that is not UTF-8.
fn string(source: &mut Source<'_>, longest: usize) -> CString {
    let mut bytes = source.word(longest).into_bytes();
    if source.rarely(64) {
        bytes.push(0xff);
    }
    bytes.retain(|byte| *byte != 0);
    CString::new(bytes).unwrap_or_default()
}

/// Strings, most of them different.
fn strings(source: &mut Source<'_>, most: usize) -> Vec<CString> {
    let count = source.below(most + 1);
    (0..count)
        .map(|at| if source.rarely(4) { string(source, 4) } else { CString::new(format!("n{at}")).unwrap_or_default() })
        .collect()
}

/// Pointers to strings, seldom one that is NULL.
fn pointers(source: &mut Source<'_>, strings: &[CString]) -> Box<[*const c_char]> {
    exactly(strings.iter().map(|string| if source.rarely(64) { null() } else { string.as_ptr() }).collect())
}

const NAMES: &[&str] = &[
    "hidden",
    "average",
    "activation",
    "hidden_bias",
    "epochs",
    "batch",
    "lr",
    "optimizer",
    "rowwise",
    "initial_scale",
    "l1",
    "l2",
    "decay",
    "decay_when",
    "loss",
    "eps",
    "reduction",
    "dropout_in",
    "dropout_hidden",
    "penalty",
    "penalty_weight",
    "negatives",
    "correction",
    "metric",
    "patience",
    "seed",
    "valid_fraction",
    "refit",
    "min_count",
    "threads",
];

/// No number so large that a training takes long.
const VALUES: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "8",
    "-1",
    "0.5",
    "0.9",
    "1e-3",
    "1e30",
    "nan",
    "inf",
    "true",
    "false",
    "all",
    "x",
    "",
    "elu:1",
    "identity",
    "sgd",
    "w1",
    "prox",
    "coupled",
    "touched",
    "clamp_ste",
    "clamp_torch",
    "sum",
    "student_t",
    "kl_mean:0.1",
    "shift",
    "micro_f1",
    "log_loss",
];

/// Options of a short training, or words that are none.
fn options(source: &mut Source<'_>) -> CString {
    let mut text = "hidden=3 epochs=2 min_count=1".to_owned();
    for _ in 0..source.below(4) {
        let word = if source.rarely(16) {
            source.word(8).replace(['=', '\0'], "")
        } else {
            format!("{}={}", source.of(NAMES), source.of(VALUES))
        };
        text = format!("{text} {word}");
    }
    CString::new(text).unwrap_or_default()
}

/// Whom the library tells of epochs.
struct Watcher {
    calls: AtomicU32,
    /// The call that ends the training.
    last: u32,
}

/// Counts the calls.
///
/// # Safety
/// `context` points to a [`Watcher`].
unsafe extern "C" fn watch(context: *mut c_void, epoch: u32, log_loss: f64) -> c_int {
    // SAFETY: the caller's promise.
    let watcher = unsafe { &*context.cast::<Watcher>() };
    assert!(epoch > 0 && !log_loss.is_nan());
    c_int::from(watcher.calls.fetch_add(1, Relaxed) + 1 == watcher.last)
}

pub(super) fn train(source: &mut Source<'_>) -> Option<Box<tagm_tagger>> {
    let (keyword_names, tag_names) = (strings(source, 8), strings(source, 4));
    let items = source.below(12);
    let keywords = Drawn::new(source, items, keyword_names.len());
    let items = if source.rarely(64) { source.below(12) } else { items };
    let tags = Drawn::new(source, items, tag_names.len());
    let (keyword_pointers, tag_pointers) = (pointers(source, &keyword_names), pointers(source, &tag_names));
    let (keywords, tags) = (keywords.sets(source), tags.sets(source));
    let names = |source: &mut Source<'_>, names: &[*const c_char]| Names {
        names: pointer(source, names),
        count: count(source, names.len()),
    };
    let (keywords_of, tags_of) = (names(source, &keyword_pointers), names(source, &tag_pointers));
    let options = options(source);
    let watcher = Watcher { calls: AtomicU32::new(0), last: source.below(5) as u32 };
    let context = from_ref(&watcher).cast_mut().cast();
    let progress: tagm_progress = if source.rarely(4) { None } else { Some(watch) };
    let mut place = MaybeUninit::uninit();
    // SAFETY: arrays as their counts say, which live until the call ends; other pointers and counts are refused before they are used.
    let status = unsafe {
        tagm_train(
            keywords.given(source),
            keywords_of.given(source),
            tags.given(source),
            tags_of.given(source),
            options.as_ptr(),
            progress,
            context,
            Some(&mut place),
        )
    };
    let tagger = made(status, place);
    let calls = watcher.calls.into_inner();
    assert!(watcher.last == 0 || calls <= watcher.last, "{calls} calls, of which number {} ends it", watcher.last);
    if let Some(tagger) = tagger.as_deref() {
        let (keywords, tags) = (tagm_keyword_count(Some(tagger)), tagm_tag_count(Some(tagger)));
        assert!(keywords <= keyword_names.len() && (1..=tag_names.len()).contains(&tags));
        assert_eq!(tagm_verify(Some(tagger)), tagm_status::TAGM_OK);
    }
    tagger
}

/// The scores of an item, as bits.
fn scores(tagger: &tagm_tagger, ids: &[u32]) -> Vec<u32> {
    let mut scratch = MaybeUninit::uninit();
    let status = tagm_scratch_new(Some(tagger), Some(&mut scratch));
    let mut scratch = made(status, scratch);
    let mut scores = vec![0.0; tagm_tag_count(Some(tagger))];
    // SAFETY: as many ids and places as the counts say.
    let status =
        unsafe { tagm_score(Some(tagger), scratch.as_deref_mut(), ids.as_ptr(), ids.len(), scores.as_mut_ptr(), scores.len()) };
    assert_eq!(status, tagm_status::TAGM_OK);
    tagm_scratch_free(scratch);
    bits(&scores)
}

/// A tag more, and the scores of the others as they were.
pub(super) fn add_tag(source: &mut Source<'_>, tagger: Option<&tagm_tagger>) -> Option<Box<tagm_tagger>> {
    let (keywords, tags) = (tagm_keyword_count(tagger), tagm_tag_count(tagger));
    let items = source.below(12);
    let drawn = Drawn::new(source, items, keywords);
    let has_tag = exactly((0..items).map(|_| source.any::<u8>() % 3).collect());
    let name = string(source, 5);
    let sets = drawn.sets(source);
    let mut taught = MaybeUninit::uninit();
    let name_pointer = if source.rarely(32) { null() } else { name.as_ptr() };
    let taught = (!source.rarely(4)).then_some(&mut taught);
    let mut place = MaybeUninit::uninit();
    // SAFETY: arrays as their counts say; other pointers and counts are refused before they are used.
    let status = unsafe {
        tagm_add_tag(
            tagger,
            name_pointer,
            sets.given(source),
            pointer(source, &has_tag),
            source.any(),
            taught,
            Some(&mut place),
        )
    };
    let made = made(status, place);
    if let (Some(old), Some(new)) = (tagger, made.as_deref()) {
        assert_eq!((tagm_keyword_count(Some(new)), tagm_tag_count(Some(new))), (keywords, tags + 1));
        let ids: Vec<u32> = (0..keywords.min(5) as u32).collect();
        let (before, mut after) = (scores(old, &ids), scores(new, &ids));
        // The new one stands last, or last of the first group.
        let at = before.iter().zip(&after).position(|(old, new)| old != new).unwrap_or(tags);
        after.remove(at);
        assert_eq!(before, after);
    }
    made
}
