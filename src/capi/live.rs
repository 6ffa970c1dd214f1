//! Serving while the model is replaced.

use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;

use super::border::tagm_status::TAGM_OK;
use super::border::{Place, call, given, hand_over, path_of, tagm_status};
use super::model::tagm_tagger;
use crate::format::Model;
use crate::live::{Contract, LiveTagger};

/// The newest version of a model.
pub struct tagm_live(LiveTagger);

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagm_live_open(path: *const c_char, may_extend: c_int, live: Place<'_, tagm_live>) -> tagm_status {
    hand_over(live, || {
        // SAFETY: the header's contract: a zero-terminated string.
        let path = unsafe { path_of(path)? };
        let contract = if may_extend != 0 { Contract::Extends } else { Contract::Same };
        Ok(tagm_live(LiveTagger::new(Model::open(path)?, contract)))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_live_free(live: Option<Box<tagm_live>>) {
    drop(live);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagm_live_reload(live: Option<&tagm_live>, path: *const c_char) -> tagm_status {
    call(|| {
        // SAFETY: the header's contract: a zero-terminated string.
        let path = unsafe { path_of(path)? };
        given(live, "live")?.0.reload(path)?;
        Ok(TAGM_OK)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_live_generation(live: Option<&tagm_live>) -> u64 {
    live.map_or(0, |live| live.0.generation())
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_live_newest(
    live: Option<&tagm_live>,
    tagger: Place<'_, tagm_tagger>,
    generation: Option<&mut MaybeUninit<u64>>,
) -> tagm_status {
    hand_over(tagger, || {
        let generation = given(generation, "generation")?;
        let version = given(live, "live")?.0.newest();
        generation.write(version.generation());
        Ok(tagm_tagger::shared(version))
    })
}
