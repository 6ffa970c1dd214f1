//! Models: opening, saving, and what they hold.

use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
#[cfg(feature = "live")]
use std::sync::Arc;

use super::border::tagm_status::{TAGM_OK, TAGM_UNKNOWN};
use super::border::{Place, Result, call, failure, given, hand_over, many, path_of, tagm_status};
use crate::format::Model;
#[cfg(feature = "live")]
use crate::live::Version;
use crate::tagger::Tagger;

/// A model that is ready to score.
pub struct tagm_tagger(Held);

/// Where the tagger is.
#[cfg_attr(feature = "live", expect(clippy::large_enum_variant, reason = "each stands in a box of its own"))]
enum Held {
    Own(Tagger),
    /// In a version that others hold too.
    #[cfg(feature = "live")]
    Shared(Arc<Version>),
}

impl tagm_tagger {
    pub(super) fn of(model: Model) -> Self {
        tagm_tagger(Held::Own(Tagger::new(model)))
    }

    #[cfg(feature = "live")]
    pub(super) fn shared(version: Arc<Version>) -> Self {
        tagm_tagger(Held::Shared(version))
    }

    pub(super) fn tagger(&self) -> &Tagger {
        match &self.0 {
            Held::Own(tagger) => tagger,
            #[cfg(feature = "live")]
            Held::Shared(version) => version.tagger(),
        }
    }
}

/// The tagger of a handle, which may be NULL.
pub(super) fn tagger_of(handle: Option<&tagm_tagger>) -> Result<&Tagger> {
    given(handle, "tagger").map(tagm_tagger::tagger)
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

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagm_open(path: *const c_char, tagger: Place<'_, tagm_tagger>) -> tagm_status {
    hand_over(tagger, || {
        // SAFETY: the header's contract: a zero-terminated string.
        let path = unsafe { path_of(path)? };
        Ok(tagm_tagger::of(Model::open(path)?))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagm_map(path: *const c_char, tagger: Place<'_, tagm_tagger>) -> tagm_status {
    hand_over(tagger, || {
        // SAFETY: the header's contract: a zero-terminated string.
        let path = unsafe { path_of(path)? };
        // SAFETY: the header's contract: the file does not change while it is mapped.
        let model = unsafe { Model::map(path)? };
        Ok(tagm_tagger::of(model))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagm_from_bytes(bytes: *const c_void, length: usize, tagger: Place<'_, tagm_tagger>) -> tagm_status {
    hand_over(tagger, || {
        // SAFETY: the header's contract: `length` bytes.
        let bytes = unsafe { many(bytes.cast(), length, "bytes")? };
        Ok(tagm_tagger::of(Model::from_bytes(bytes)?))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_free(tagger: Option<Box<tagm_tagger>>) {
    drop(tagger);
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_verify(tagger: Option<&tagm_tagger>) -> tagm_status {
    call(|| {
        tagger_of(tagger)?.model().verify()?;
        Ok(TAGM_OK)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagm_save(tagger: Option<&tagm_tagger>, path: *const c_char) -> tagm_status {
    call(|| {
        // SAFETY: the header's contract: a zero-terminated string.
        let path = unsafe { path_of(path)? };
        tagger_of(tagger)?.model().save(path)?;
        Ok(TAGM_OK)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_bytes(
    tagger: Option<&tagm_tagger>,
    bytes: Option<&mut MaybeUninit<*const c_void>>,
    length: Option<&mut MaybeUninit<usize>>,
) -> tagm_status {
    call(|| {
        let (bytes, length) = (given(bytes, "bytes")?, given(length, "length")?);
        let file = tagger_of(tagger)?.model().bytes();
        bytes.write(file.as_ptr().cast());
        length.write(file.len());
        Ok(TAGM_OK)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_keyword_count(tagger: Option<&tagm_tagger>) -> usize {
    tagger.map_or(0, |tagger| tagger.tagger().model().vocabulary().len())
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_tag_count(tagger: Option<&tagm_tagger>) -> usize {
    tagger.map_or(0, |tagger| tagger.tagger().tags().len())
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
        let (vocabulary, id) = (tagger_of(tagger)?.model().vocabulary(), given(id, "id")?);
        // No keyword of a model is anything else than UTF-8.
        let found = std::str::from_utf8(keyword).ok().and_then(|keyword| vocabulary.get(keyword));
        id.write(found.unwrap_or(u32::MAX));
        Ok(if found.is_some() { TAGM_OK } else { TAGM_UNKNOWN })
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_keyword_at(
    tagger: Option<&tagm_tagger>,
    id: u32,
    keyword: Option<&mut MaybeUninit<*const c_char>>,
    length: Option<&mut MaybeUninit<usize>>,
) -> tagm_status {
    call(|| {
        let (keyword, length) = (given(keyword, "keyword")?, given(length, "length")?);
        let vocabulary = tagger_of(tagger)?.model().vocabulary();
        let Some(name) = vocabulary.keyword(id) else {
            let keywords = vocabulary.len();
            return failure(TAGM_UNKNOWN, format!("id: expected a number below the model's {keywords} keywords, found {id}"));
        };
        keyword.write(name.as_ptr().cast());
        length.write(name.len());
        Ok(TAGM_OK)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn tagm_tag_at(
    tagger: Option<&tagm_tagger>,
    index: usize,
    tag: Option<&mut MaybeUninit<tagm_tag>>,
) -> tagm_status {
    call(|| {
        let (tags, place) = (tagger_of(tagger)?.tags(), given(tag, "tag")?);
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
        let (tagger, signature) = (tagger_of(tagger)?, given(signature, "signature")?);
        signature.write(tagger.signature()?);
        Ok(TAGM_OK)
    })
}

/// What is said of a tag that a model does not have.
pub(super) fn no_tag(argument: &str, found: usize, tags: usize) -> Result<tagm_status> {
    failure(TAGM_UNKNOWN, format!("{argument}: expected a number below the model's {tags} tags, found {found}"))
}
