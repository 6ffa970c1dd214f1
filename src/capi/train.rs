//! Training, and teaching a tag.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::ops::{ControlFlow, Range};

use super::border::tagm_status::{TAGM_BAD_ARGUMENT, TAGM_BAD_LENGTH};
use super::border::{Failure, Place, Result, failure, given, hand_over, many, tagm_status};
use super::model::{tagger_of, tagm_tagger};
use crate::data::{Corpus, Dataset};
use crate::error::Error;
use crate::kernels::Level;
use crate::teach::Catalogue;
use crate::train::recipe::{TrainingSet, Validation};
use crate::train::{Event, TrainConfig, pool};

/// Sets of numbers, end to end.
#[repr(C)]
pub struct tagm_sets {
    ids: *const u32,
    id_count: usize,
    starts: *const usize,
    count: usize,
}

/// Strings, each ended by a zero.
#[repr(C)]
pub struct tagm_names {
    names: *const *const c_char,
    count: usize,
}

/// Is told of each epoch; another answer than 0 ends the training.
pub type tagm_progress = Option<unsafe extern "C" fn(context: *mut c_void, epoch: u32, log_loss: f64) -> c_int>;

/// What teaching a tag has found.
#[repr(C)]
#[derive(Debug)]
pub struct tagm_taught {
    threshold: f32,
    auc: f64,
    average_precision: f64,
    precision: f64,
    recall: f64,
    f1: f64,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagm_train(
    keywords: Option<&tagm_sets>,
    keyword_names: Option<&tagm_names>,
    tags: Option<&tagm_sets>,
    tag_names: Option<&tagm_names>,
    options: *const c_char,
    progress: tagm_progress,
    context: *mut c_void,
    tagger: Place<'_, tagm_tagger>,
) -> tagm_status {
    hand_over(tagger, || {
        // SAFETY: the header's contract: sets of numbers.
        let keywords = unsafe { Sets::of(given(keywords, "keywords")?, "keywords")? };
        // SAFETY: as above.
        let tags = unsafe { Sets::of(given(tags, "tags")?, "tags")? };
        // SAFETY: the header's contract: strings, each ended by a zero.
        let keyword_names = unsafe { names(given(keyword_names, "keyword_names")?, "keyword_names")? };
        // SAFETY: as above.
        let tag_names = unsafe { names(given(tag_names, "tag_names")?, "tag_names")? };
        let options = if options.is_null() {
            ""
        } else {
            // SAFETY: not NULL; the header's contract: a string ended by a zero.
            unsafe { text(options, "options")? }
        };
        // What they begin with depends on the items that they tell of, so first it is seen whether they can be read.
        let min_count = Options::read(options, 0.0)?.min_count;
        if keywords.len() != tags.len() {
            let (expected, found) = (keywords.len(), tags.len());
            return failure(TAGM_BAD_LENGTH, format!("tags: expected as many sets as of keywords, {expected}, found {found}"));
        }
        let mut corpus = Corpus::new();
        for item in 0..keywords.len() {
            let keywords = named(keywords.get(item), &keyword_names, "keywords")?;
            corpus.push_names(keywords, named(tags.get(item), &tag_names, "tags")?, [], 1.0)?;
        }
        let set = TrainingSet::new(corpus, min_count)?;
        let options = Options::read(options, set.dataset().mean_keywords())?;
        let validation = Validation::Split { fraction: options.valid_fraction, refit: options.refit };
        let watcher = Watcher { progress, context };
        let mut observer = |_, event: Event<'_>| watcher.see(event);
        let pool = pool(options.threads)?;
        let (model, _) = set.train(options.config, validation, Level::best(), pool, &mut observer)?;
        Ok(tagm_tagger::of(model))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagm_add_tag(
    tagger: Option<&tagm_tagger>,
    name: *const c_char,
    keywords: Option<&tagm_sets>,
    has_tag: *const u8,
    seed: u64,
    taught: Option<&mut MaybeUninit<tagm_taught>>,
    with_tag: Place<'_, tagm_tagger>,
) -> tagm_status {
    hand_over(with_tag, || {
        let tagger = tagger_of(tagger)?;
        // SAFETY: the header's contract: a string ended by a zero.
        let name = unsafe { text(name, "name")? };
        // SAFETY: the header's contract: sets of numbers.
        let keywords = unsafe { Sets::of(given(keywords, "keywords")?, "keywords")? };
        // SAFETY: the header's contract: a byte for each set.
        let has_tag = unsafe { many(has_tag, keywords.len(), "has_tag")? };
        let mut dataset = Dataset::new();
        for item in 0..keywords.len() {
            dataset.push(keywords.get(item), &[], 1.0)?;
        }
        let catalogue = Catalogue::new(tagger, &dataset, 0)?;
        let (mut positives, mut negatives) = (Vec::new(), Vec::new());
        for (item, &has_tag) in (0..).zip(has_tag) {
            if has_tag == 0 { &mut negatives } else { &mut positives }.push(item);
        }
        let found = catalogue.teach(&positives, &negatives, seed).map_err(|error| match error {
            Error::UntrainableTag { positives, negatives, .. } => {
                Error::UntrainableTag { tag: name.to_owned(), positives, negatives }
            }
            error => error,
        })?;
        let model = found.add_to(tagger.model(), name)?;
        if let Some(place) = taught {
            let of = |measure: fn(&crate::teach::Measures) -> f64| found.measures.as_ref().map_or(f64::NAN, measure);
            place.write(tagm_taught {
                threshold: found.threshold,
                auc: of(|measures| measures.auc),
                average_precision: of(|measures| measures.ap),
                precision: of(|measures| measures.precision),
                recall: of(|measures| measures.recall),
                f1: of(|measures| measures.f1),
            });
        }
        Ok(tagm_tagger::of(model))
    })
}

/// Sets whose bounds are known to be in order.
struct Sets<'a> {
    ids: &'a [u32],
    starts: &'a [usize],
}

impl<'a> Sets<'a> {
    /// # Safety
    /// The pointers are NULL, or to as many values as the counts say (of `starts` one more), which live for `'a` and are not written to
    /// meanwhile.
    unsafe fn of(sets: &tagm_sets, name: &str) -> Result<Self> {
        // SAFETY: the caller's promise.
        let ids = unsafe { many(sets.ids, sets.id_count, &format!("ids of {name}"))? };
        // SAFETY: the caller's promise.
        let starts = unsafe { many(sets.starts, sets.count.saturating_add(1), &format!("starts of {name}"))? };
        let ascends = starts.first() == Some(&0) && starts.is_sorted() && starts.last() == Some(&ids.len());
        if !ascends {
            let message = format!("starts of {name}: expected numbers that ascend from 0 to the number of ids, {}", ids.len());
            return failure(TAGM_BAD_LENGTH, message);
        }
        Ok(Sets { ids, starts })
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn get(&self, item: usize) -> &'a [u32] {
        let range: Range<usize> = self.starts[item]..self.starts[item + 1];
        &self.ids[range]
    }
}

/// The names of ids.
fn named<'a>(ids: &'a [u32], names: &'a [&'a str], what: &str) -> Result<impl Iterator<Item = &'a str>> {
    match ids.iter().find(|&&id| id as usize >= names.len()) {
        Some(id) => failure(TAGM_BAD_ARGUMENT, format!("{what}: expected ids below the {} names, found {id}", names.len())),
        None => Ok(ids.iter().map(|&id| names[id as usize])),
    }
}

/// # Safety
/// `names.names` is NULL, or to `names.count` pointers that are NULL or to strings ended by a zero; all live for `'a` and are not
/// written to meanwhile.
unsafe fn names<'a>(names: &tagm_names, what: &str) -> Result<Vec<&'a str>> {
    // SAFETY: the caller's promise.
    let pointers = unsafe { many(names.names, names.count, what)? };
    // SAFETY: the caller's promise.
    pointers.iter().map(|&pointer| unsafe { text(pointer, what) }).collect()
}

/// A string from C.
///
/// # Safety
/// `pointer` is NULL, or to a string ended by a zero that lives for `'a` and is not written to meanwhile.
unsafe fn text<'a>(pointer: *const c_char, what: &str) -> Result<&'a str> {
    if pointer.is_null() {
        return failure(TAGM_BAD_ARGUMENT, format!("{what}: expected a string, found NULL"));
    }
    // SAFETY: not NULL; the rest is the caller's promise.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().or_else(|_| failure(TAGM_BAD_ARGUMENT, format!("{what}: expected UTF-8, found {text:?}")))
}

/// Whom to tell of epochs.
struct Watcher {
    progress: tagm_progress,
    context: *mut c_void,
}

// SAFETY: the header's contract: the function may be called, with the context, from another thread than the one that trains.
unsafe impl Send for Watcher {}
// SAFETY: as above; it is called by one thread at a time, for an observer is called by one.
unsafe impl Sync for Watcher {}

impl Watcher {
    fn see(&self, event: Event<'_>) -> ControlFlow<()> {
        let (Event::Epoch(epoch), Some(progress)) = (event, self.progress) else { return ControlFlow::Continue(()) };
        // SAFETY: the header's contract: a function of this type, which takes the context.
        let answer = unsafe { progress(self.context, epoch.epoch, epoch.log_loss) };
        if answer == 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// The options of a training.
struct Options {
    config: TrainConfig,
    valid_fraction: f64,
    refit: bool,
    min_count: u64,
    threads: usize,
}

impl Options {
    /// Reads `name=value` between spaces and ends of lines; what is not told is as the program would train items of so many keywords.
    fn read(text: &str, mean_keywords: f64) -> Result<Self> {
        let config = TrainConfig::for_items(mean_keywords);
        let mut options = Options { config, valid_fraction: 0.1, refit: true, min_count: 2, threads: 1 };
        let mut of_config = Vec::new();
        for word in text.split_ascii_whitespace() {
            let Some((name, value)) = word.split_once('=') else {
                return failure(TAGM_BAD_ARGUMENT, format!("options: expected name=value, found {word:?}"));
            };
            let bad = |expected: &str| Failure::argument(format!("{name}: expected {expected}, found {value:?}"));
            match name {
                "valid_fraction" => options.valid_fraction = value.parse().map_err(|_| bad("a number"))?,
                "refit" => options.refit = value.parse().map_err(|_| bad("true or false"))?,
                "min_count" => options.min_count = value.parse().map_err(|_| bad("a whole number"))?,
                "threads" => {
                    let threads = value.parse().ok().filter(|threads| (1..=1024).contains(threads));
                    options.threads = threads.ok_or_else(|| bad("a number from 1 to 1024"))?;
                }
                _ => of_config.push((name, value)),
            }
        }
        options.config.set_all(of_config)?;
        Ok(options)
    }
}
