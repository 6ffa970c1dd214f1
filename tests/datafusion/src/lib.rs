//! Tagging in SQL: tagomatic as a scalar function of DataFusion.
//!
//! ```no_run
//! use datafusion::prelude::*;
//! use tagomatic::selection::Selection;
//! use tagomatic::{Model, Tagger};
//!
//! # async fn tags() -> Result<(), Box<dyn std::error::Error>> {
//! let ctx = SessionContext::new();
//! ctx.register_parquet("items", "items.parquet", ParquetReadOptions::default()).await?;
//! ctx.register_udf(tagomatic_datafusion::tag(Tagger::new(Model::open("m.tagm")?), Selection::default()));
//! ctx.sql("SELECT id, tag(keywords) AS tags FROM items").await?.show().await?;
//! ctx.sql("SELECT get_field(t, 'tag'), count(*) FROM (SELECT unnest(tag(keywords)) AS t FROM items) GROUP BY 1").await?.show().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The function is pure: DataFusion calls it in as many threads as it reads partitions, each call with buffers of its own, all with the
//! one model. A query is answered by the model that was registered when it was planned; to serve a new one, register it anew.
//!
//! # On several machines
//!
//! Ballista runs the same plans on a cluster. It sends functions by name, so each of its processes must register this one, of the same
//! model file, under the same name; compare [`Tagger::signature`] where in doubt. In programs of your own around Ballista's:
//!
//! | process | where |
//! | --- | --- |
//! | client | `register_udf` on the context that `SessionContext::remote_with_state` gives |
//! | scheduler | `SchedulerConfig::with_override_session_builder`, with a function that builds a state and registers `tag` in it |
//! | executor | `ExecutorProcessConfig { override_function_registry, .. }`, a `BallistaFunctionRegistry` made of such a state |
//!
//! Build with the version of DataFusion that Ballista has; at the time of writing both are at 55. The package in `ballista` runs such a
//! cluster in one process, `SessionContext::standalone_with_state`, and compares its answers with those of DataFusion alone.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, AsArray, Float32Builder, GenericListArray, ListArray, OffsetSizeTrait, StringArrayType,
    StringBuilder, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion_common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use tagomatic::Tagger;
use tagomatic::ids::canonicalize_from;
use tagomatic::selection::Selection;

/// How many items are scored together: enough to share reads of output weights, few enough for scores to stay in cache.
const PORTION: usize = 256;

/// The function `tag(keywords)`: the tags that `selection` gives an item with these keywords, the best first, as a list of
/// `{tag, score}`. `keywords` is a list of strings of any of Arrow's types; repeated and unknown ones, and nulls in it, add nothing. The
/// answer to NULL is NULL.
#[must_use]
pub fn tag(tagger: Tagger, selection: Selection) -> ScalarUDF {
    let fields = Fields::from(vec![Field::new("tag", DataType::Utf8, false), Field::new("score", DataType::Float32, false)]);
    let served = Served { tagger, selection, fields, signature: Signature::user_defined(Volatility::Immutable) };
    ScalarUDF::new_from_impl(Tag(Arc::new(served)))
}

#[derive(Debug)]
struct Served {
    tagger: Tagger,
    selection: Selection,
    /// Of one tag of an answer.
    fields: Fields,
    signature: Signature,
}

/// Two functions are the same if they serve the same model from the same memory.
#[derive(Debug)]
struct Tag(Arc<Served>);

impl PartialEq for Tag {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tag {}

impl Hash for Tag {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl ScalarUDFImpl for Tag {
    fn name(&self) -> &str {
        "tag"
    }

    fn signature(&self) -> &Signature {
        &self.0.signature
    }

    /// Lists of strings are taken as they are, others cast if they hold nothing but strings or nulls.
    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [given] = types else { return plan_err!("expected tag(keywords), found {} arguments", types.len()) };
        let strings = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
        let item = match given {
            DataType::List(item) | DataType::LargeList(item) => item.data_type(),
            DataType::ListView(item) | DataType::LargeListView(item) | DataType::FixedSizeList(item, _) => {
                return if is_text(item.data_type()) { Ok(vec![strings]) } else { not_keywords(given) };
            }
            DataType::Null => return Ok(vec![strings]),
            _ => return not_keywords(given),
        };
        match item {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(vec![given.clone()]),
            item if is_text(item) => Ok(vec![strings]),
            _ => not_keywords(given),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(self.item()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Array(keywords)] => Ok(ColumnarValue::Array(self.tag(keywords)?)),
            [ColumnarValue::Scalar(keywords)] => {
                let tags = self.tag(&keywords.to_array_of_size(1)?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&tags, 0)?))
            }
            other => exec_err!("expected one argument, found {}", other.len()),
        }
    }
}

/// Whether a list of these can be cast to one of strings without meaning something else.
fn is_text(item: &DataType) -> bool {
    match item {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => true,
        DataType::Dictionary(_, value) => is_text(value),
        _ => false,
    }
}

fn not_keywords<T>(found: &DataType) -> Result<T> {
    plan_err!("expected a list of strings as keywords, found {found}")
}

impl Tag {
    /// The field of one tag in the list of an answer.
    fn item(&self) -> FieldRef {
        Arc::new(Field::new_list_field(DataType::Struct(self.0.fields.clone()), false))
    }

    fn tag(&self, keywords: &ArrayRef) -> Result<ArrayRef> {
        match keywords.data_type() {
            DataType::List(_) => self.tag_lists(keywords.as_list::<i32>()),
            DataType::LargeList(_) => self.tag_lists(keywords.as_list::<i64>()),
            other => exec_err!("expected a list of strings as keywords, found {other}"),
        }
    }

    fn tag_lists<O: OffsetSizeTrait>(&self, lists: &GenericListArray<O>) -> Result<ArrayRef> {
        let words = lists.values();
        match words.data_type() {
            DataType::Utf8 => self.tag_words(lists, words.as_string::<i32>()),
            DataType::LargeUtf8 => self.tag_words(lists, words.as_string::<i64>()),
            DataType::Utf8View => self.tag_words(lists, words.as_string_view()),
            other => exec_err!("expected a list of strings as keywords, found a list of {other}"),
        }
    }

    /// `words` are the values of `lists`.
    fn tag_words<'w, O: OffsetSizeTrait>(
        &self,
        lists: &GenericListArray<O>,
        words: impl StringArrayType<'w>,
    ) -> Result<ArrayRef> {
        let Served { tagger, selection, fields, .. } = &*self.0;
        let (tags, vocabulary) = (tagger.tags(), tagger.model().vocabulary());
        let mut scratch = tagger.scratch();
        let (mut ids, mut starts, mut selected) = (Vec::new(), Vec::with_capacity(PORTION + 1), Vec::new());
        let mut scores = vec![0.0; PORTION.min(lists.len()) * tags.len()];
        let (mut names, mut given, mut lengths) =
            (StringBuilder::new(), Float32Builder::new(), Vec::with_capacity(lists.len()));

        for first in (0..lists.len()).step_by(PORTION) {
            let rows = first..lists.len().min(first + PORTION);
            ids.clear();
            starts.clear();
            starts.push(0);
            for row in rows.clone() {
                let begin = ids.len();
                if lists.is_valid(row) {
                    let (from, to) = (lists.value_offsets()[row].as_usize(), lists.value_offsets()[row + 1].as_usize());
                    ids.extend((from..to).filter(|&at| words.is_valid(at)).filter_map(|at| vocabulary.get(words.value(at))));
                    // Each once, so that there are as many known keywords as ids.
                    canonicalize_from(&mut ids, begin);
                }
                starts.push(ids.len());
            }
            let scores = &mut scores[..rows.len() * tags.len()];
            let failed = |error: tagomatic::Error| DataFusionError::External(error.into());
            tagger.score_batch(&ids, &starts, &mut scratch, scores).map_err(failed)?;
            for (row, bounds) in rows.zip(starts.windows(2)) {
                let begin = given.len();
                if lists.is_valid(row) {
                    let scores = &scores[(row - first) * tags.len()..][..tags.len()];
                    selection.select(tags, scores, bounds[1] - bounds[0], &mut selected).map_err(failed)?;
                    for &tag in &selected {
                        names.append_value(&tags[tag].name);
                        given.append_value(scores[tag]);
                    }
                }
                lengths.push(given.len() - begin);
            }
        }
        let columns: Vec<ArrayRef> = vec![Arc::new(names.finish()), Arc::new(given.finish())];
        let all = StructArray::try_new(fields.clone(), columns, None)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(self.item(), offsets, Arc::new(all), lists.nulls().cloned())?))
    }
}
