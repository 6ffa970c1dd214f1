//! SQL beside the library's own answers: what the function takes, and a Parquet file of a million rows.
//!
//!     cargo test --release -- --nocapture      tells rows a second, too

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, ListArray, ListBuilder, RecordBatch, StringArray, StringBuilder, StructArray,
    new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Int64Type};
use datafusion::error::Result;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext, lit};
use datafusion::scalar::ScalarValue;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use tagomatic::rng::{Philox, bounded};
use tagomatic::selection::Selection;
use tagomatic::{Model, Scratch, Tagger};

const ROWS: usize = 1_000_000;

fn model() -> Tagger {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/movies.tagm");
    Tagger::new(Model::open(path).expect("the model of the repository"))
}

fn context(partitions: usize) -> SessionContext {
    let ctx = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(partitions));
    ctx.register_udf(tagomatic_datafusion::tag(model(), Selection::default()));
    ctx
}

/// The library's answers, one item at a time.
struct Plain {
    tagger: Tagger,
    scratch: Scratch,
    scores: Vec<f32>,
    selected: Vec<usize>,
}

impl Plain {
    fn new() -> Self {
        let tagger = model();
        let (scratch, scores) = (tagger.scratch(), vec![0.0; tagger.tags().len()]);
        Plain { tagger, scratch, scores, selected: Vec::new() }
    }

    /// The tags of an item, the best first, with their scores.
    fn tags<'k>(&mut self, keywords: impl Iterator<Item = &'k str>) -> impl Iterator<Item = (&str, f32)> {
        let counts = self.tagger.score_keywords(keywords, &mut self.scratch, &mut self.scores).expect("buffers fit");
        Selection::default().select(self.tagger.tags(), &self.scores, counts.known, &mut self.selected).expect("a score a tag");
        self.selected.iter().map(|&tag| (self.tagger.tags()[tag].name.as_str(), self.scores[tag]))
    }
}

/// The tags of one row of the function's answer.
fn tags_of(row: &StructArray) -> impl Iterator<Item = (&str, f32)> {
    let (names, scores) = (row.column(0).as_string::<i32>(), row.column(1).as_primitive::<Float32Type>());
    (0..row.len()).map(|at| (names.value(at), scores.value(at)))
}

/// Writes the same file each time: up to 20 keywords an item, common ones more often, some unknown, some items without any or NULL.
fn write_items(path: &Path) {
    let tagger = model();
    let vocabulary = tagger.model().vocabulary();
    let rng = Philox::new(8);
    let mut writer = None;
    for first in (0..ROWS).step_by(50_000) {
        let mut keywords = ListBuilder::new(StringBuilder::new());
        for row in first..first + 50_000 {
            let word = |n: usize| rng.block([row as u32, n as u32, 0, 0]);
            let [kind, count, ..] = word(0);
            for n in 0..count as usize % 21 {
                let [unknown, low, high, _] = word(n + 1);
                // The smaller of two ids: the vocabulary is in the order of how common a keyword is.
                let id = |word: u32| bounded(u64::from(word) << 32, vocabulary.len() as u64) as u32;
                match unknown % 10 {
                    0 => keywords.values().append_value(format!("no keyword {low}")),
                    _ => keywords.values().append_option(vocabulary.keyword(id(low).min(id(high)))),
                }
            }
            keywords.append(kind % 100 > 0);
        }
        let ids = Int64Array::from_iter_values((first..first + 50_000).map(|row| row as i64));
        let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("keywords", Arc::new(keywords.finish()))];
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).expect("columns");
        let properties = || WriterProperties::builder().set_max_row_group_row_count(Some(50_000)).build();
        let writer = writer.get_or_insert_with(|| {
            let file = File::create(path).expect("a temporary file");
            ArrowWriter::try_new(file, batch.schema(), Some(properties())).expect("a schema for Parquet")
        });
        writer.write(&batch).expect("written");
    }
    writer.expect("at least one batch").close().expect("closed");
}

fn run<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

#[test]
fn a_million_rows_have_the_tags_that_the_library_gives_them() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("items.parquet");
    write_items(&path);
    let name = path.to_str().expect("a name in UTF-8");

    let begun = Instant::now();
    let (mut plain, mut given) = (Plain::new(), 0);
    let mut items: Vec<Option<ArrayRef>> = Vec::with_capacity(ROWS);
    for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(&path)?)?.with_batch_size(8192).build()? {
        let batch = batch?;
        let lists = batch.column(1).as_list::<i32>();
        for row in 0..lists.len() {
            let keywords = lists.is_valid(row).then(|| lists.value(row));
            if let Some(keywords) = &keywords {
                given += plain.tags(keywords.as_string::<i32>().iter().flatten()).count();
            }
            items.push(keywords);
        }
    }
    let rate = |begun: Instant| ROWS as f64 / begun.elapsed().as_secs_f64();
    println!("{ROWS} rows, {given} tags given, {} bytes of Parquet", std::fs::metadata(&path)?.len());
    println!("plain loop, one thread: {:.0} rows/s", rate(begun));

    for partitions in [1, 2] {
        let ctx = context(partitions);
        let answers = run(async {
            ctx.register_parquet("items", name, ParquetReadOptions::default()).await?;
            let begun = Instant::now();
            let answers = ctx.sql("SELECT id, tag(keywords) AS tags FROM items").await?.collect_partitioned().await?;
            println!("SQL, {partitions} partitions: {:.0} rows/s", rate(begun));
            Ok(answers)
        })?;
        assert_eq!(answers.len(), partitions);
        let mut seen = vec![false; ROWS];
        for batch in answers.iter().flatten() {
            let (ids, lists) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_list::<i32>());
            for row in 0..batch.num_rows() {
                let id = ids.value(row) as usize;
                assert!(!std::mem::replace(&mut seen[id], true), "row {id} came twice");
                assert_eq!(items[id].is_none(), lists.is_null(row), "row {id}");
                let Some(keywords) = &items[id] else { continue };
                let tags = lists.value(row);
                let expected = plain.tags(keywords.as_string::<i32>().iter().flatten());
                assert!(tags_of(tags.as_struct()).eq(expected), "row {id}");
            }
        }
        assert!(seen.iter().all(|&seen| seen));
    }

    let ctx = context(2);
    let counted = run(async {
        ctx.register_parquet("items", name, ParquetReadOptions::default()).await?;
        let begun = Instant::now();
        let sql =
            "SELECT get_field(t, 'tag') AS tag, count(*) AS n FROM (SELECT unnest(tag(keywords)) AS t FROM items) GROUP BY 1";
        let counted = ctx.sql(sql).await?.collect().await?;
        println!("SQL, counting each tag, 2 partitions: {:.0} rows/s", rate(begun));
        Ok(counted)
    })?;
    let counts = counted.iter().map(|batch| batch.column(1).as_primitive::<Int64Type>().values().iter().sum::<i64>());
    assert_eq!(counts.sum::<i64>(), given as i64);
    Ok(())
}

/// What SQL answers to `tag(k)` for a table with this one row, or why it does not.
fn tags(k: ArrayRef) -> Result<Option<Vec<(String, f32)>>> {
    let ctx = context(1);
    ctx.register_batch("t", RecordBatch::try_from_iter_with_nullable([("k", k, true)])?)?;
    let batches = run(async { ctx.sql("SELECT tag(k) FROM t").await?.collect().await })?;
    let lists = batches[0].column(0).as_list::<i32>();
    assert_eq!(lists.len(), 1);
    Ok(lists.is_valid(0).then(|| owned(tags_of(lists.value(0).as_struct()))))
}

fn owned<'t>(tags: impl Iterator<Item = (&'t str, f32)>) -> Vec<(String, f32)> {
    tags.map(|(tag, score)| (tag.to_owned(), score)).collect()
}

fn list<'k>(keywords: impl IntoIterator<Item = Option<&'k str>>) -> ArrayRef {
    let mut list = ListBuilder::new(StringBuilder::new());
    list.append_value(keywords);
    Arc::new(list.finish())
}

#[test]
fn every_type_of_list_literals_and_nulls_are_answered() -> Result<()> {
    let expected = owned(Plain::new().tags(["zombie", "undead"].into_iter()));
    assert!(expected.len() > 1);
    let keywords = list([Some("zombie"), Some("undead")]);
    let item = |data| Arc::new(Field::new_list_field(data, true));
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    for data in [
        DataType::List(item(DataType::Utf8)),
        DataType::List(item(DataType::LargeUtf8)),
        DataType::List(item(DataType::Utf8View)),
        DataType::List(item(dictionary)),
        DataType::LargeList(item(DataType::Utf8)),
        DataType::FixedSizeList(item(DataType::Utf8), 2),
    ] {
        assert_eq!(tags(cast(&keywords, &data)?)?.as_ref(), Some(&expected), "{data}");
    }
    let more = list([Some("undead"), None, Some("zombie"), Some("undead"), Some("no such keyword")]);
    assert_eq!(tags(more)?.as_ref(), Some(&expected));
    assert_eq!(tags(list([None]))?, Some(owned(Plain::new().tags([].into_iter()))));
    assert_eq!(tags(new_null_array(keywords.data_type(), 1))?, None);
    assert_eq!(tags(new_null_array(&DataType::Null, 1))?, None);

    let literal = lit(ScalarValue::try_from_array(&keywords, 0)?);
    let call = tagomatic_datafusion::tag(model(), Selection::default()).call(vec![literal]);
    let batches = run(async { context(1).read_empty()?.select([call])?.collect().await })?;
    assert_eq!(owned(tags_of(batches[0].column(0).as_list::<i32>().value(0).as_struct())), expected);
    Ok(())
}

#[test]
fn what_is_no_list_of_strings_is_an_error_of_planning() -> Result<()> {
    let numbers = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1)])]);
    for keywords in [Arc::new(StringArray::from(vec!["zombie"])) as ArrayRef, Arc::new(numbers)] {
        let data = keywords.data_type().clone();
        let error = tags(keywords).expect_err("no keywords").to_string();
        assert!(error.contains("expected a list of strings as keywords"), "{data}: {error}");
    }
    let error = run(context(1).sql("SELECT tag()")).expect_err("no argument").to_string();
    assert!(error.contains("expected tag(keywords)"), "{error}");
    Ok(())
}
