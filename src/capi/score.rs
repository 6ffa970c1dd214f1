//! Scoring and selecting.

use std::mem::MaybeUninit;

use super::border::tagm_status::TAGM_OK;
use super::border::{Place, call, copy_out, given, hand_over, many, places, tagm_status};
use super::model::{tagger_of, tagm_tagger};
use crate::selection::{MinScore, Selection};
use crate::tagger::Scratch;

/// The buffers of one thread.
pub struct tagm_scratch {
    scratch: Scratch,
    selected: Vec<usize>,
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_scratch_new(tagger: Option<&tagm_tagger>, scratch: Place<'_, tagm_scratch>) -> tagm_status {
    hand_over(scratch, || {
        let tagger = tagger_of(tagger)?;
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
        tagger_of(tagger)?.score(ids, &mut given(scratch, "scratch")?.scratch, scores)?;
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
        tagger_of(tagger)?.score_batch(ids, starts, &mut given(scratch, "scratch")?.scratch, scores)?;
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
        let (tags, selected) = (tagger_of(tagger)?.tags(), &mut given(scratch, "scratch")?.selected);
        let min_score = if min_score.is_nan() { MinScore::PerTag } else { MinScore::Fixed(min_score) };
        let selection = Selection { min_score, top_k: (top_k > 0).then_some(top_k), ..Selection::default() };
        // How many keywords are known plays no part by default.
        selection.select(tags, scores, usize::MAX, selected)?;
        *tag_count = selected.len();
        copy_out(places, selected, "tags")
    })
}
