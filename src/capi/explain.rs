//! Explanations.

use std::mem::MaybeUninit;

use super::border::{call, copy_out, given, many, places, tagm_status};
use super::model::{no_tag, tagger_of, tagm_tagger};
use crate::explain::explain;

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
        let tagger = tagger_of(tagger)?;
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
