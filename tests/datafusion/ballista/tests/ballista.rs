//! The function on Ballista: its scheduler and its executor answer a Parquet file of several partitions, over loopback, as DataFusion
//! alone does. What DataFusion alone answers is compared with the library in the package above this.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListBuilder, RecordBatch, StringBuilder};
use arrow::util::pretty::pretty_format_batches;
use ballista::prelude::{SessionConfigExt, SessionContextExt};
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::error::Result;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use tagomatic::selection::Selection;
use tagomatic::{Model, Tagger};

const FILES: i64 = 4;
const ROWS: i64 = 5_000;

fn tagger() -> Tagger {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../models/movies.tagm");
    Tagger::new(Model::open(path).expect("the model of the repository"))
}

fn register(ctx: &SessionContext) {
    ctx.register_udf(tagomatic_datafusion::tag(tagger(), Selection::default()));
}

/// What scheduler and executor begin with: the function is sent by its name, so each must know it.
fn state() -> SessionState {
    let config = SessionConfig::new_with_ballista().with_target_partitions(2);
    let state = SessionStateBuilder::new().with_config(config).with_default_features().build();
    let ctx = SessionContext::new_with_state(state);
    register(&ctx);
    ctx.state()
}

/// `FILES` files of `ROWS` items, each with up to 12 keywords, one unknown, some items NULL.
async fn write_items(folder: &str) -> Result<()> {
    let tagger = tagger();
    let vocabulary = tagger.model().vocabulary();
    for file in 0..FILES {
        let ids = file * ROWS..(file + 1) * ROWS;
        let mut keywords = ListBuilder::new(StringBuilder::new());
        for id in ids.clone() {
            keywords.values().append_value("no such keyword");
            for n in 0..id % 12 {
                let keyword = (id * (2 * n + 1) * 7919) as usize % vocabulary.len();
                keywords.values().append_option(vocabulary.keyword(keyword as u32));
            }
            keywords.append(id % 97 > 0);
        }
        let columns: [(&str, ArrayRef, bool); 2] =
            [("id", Arc::new(Int64Array::from_iter_values(ids)), false), ("keywords", Arc::new(keywords.finish()), true)];
        let ctx = SessionContext::new();
        let items = ctx.read_batch(RecordBatch::try_from_iter_with_nullable(columns)?)?;
        items.write_parquet(&format!("{folder}/{file}.parquet"), DataFrameWriteOptions::new(), None).await?;
    }
    Ok(())
}

async fn answers(ctx: &SessionContext, folder: &str, sql: &str) -> Result<String> {
    if !ctx.table_exist("items")? {
        ctx.register_parquet("items", folder, ParquetReadOptions::default()).await?;
    }
    Ok(pretty_format_batches(&ctx.sql(sql).await?.collect().await?)?.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_gives_the_tags_that_one_process_gives() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path().to_str().expect("a name in UTF-8");
    write_items(folder).await?;
    let alone = SessionContext::new_with_state(state());
    let cluster = SessionContext::standalone_with_state(state()).await?;
    register(&cluster);

    let every = "SELECT id, tag(keywords) AS tags FROM items ORDER BY id";
    let expected = answers(&alone, folder, every).await?;
    assert!(expected.lines().count() as i64 > FILES * ROWS && expected.contains("{tag: "));
    assert!(answers(&cluster, folder, every).await? == expected, "tags differ");

    // Tags are counted in two stages with an exchange between them, so that rows of tags travel too.
    let counted = "SELECT get_field(t, 'tag') AS tag, count(*) AS n FROM (SELECT unnest(tag(keywords)) AS t FROM items) GROUP BY 1 ORDER BY 1";
    let expected = answers(&alone, folder, counted).await?;
    assert_eq!(answers(&cluster, folder, counted).await?, expected);

    let explained = answers(&cluster, folder, &format!("EXPLAIN {every}")).await?;
    let distributed = explained.contains("distributed_plan") && explained.contains("ShuffleWriterExec");
    assert!(distributed, "expected a plan in stages, found {explained}");
    Ok(())
}
