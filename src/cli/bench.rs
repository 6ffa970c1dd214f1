//! `bench`: how fast a model serves on this machine.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use tagomatic::speed::{self, Speed};

use super::failure::Result;
use super::load::Reading;
use super::{Session, load, output};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The model; the file must not be changed in place meanwhile (rename a new one over it)
    model: PathBuf,
    /// Items to score
    #[arg(required = true)]
    file: Vec<PathBuf>,
    /// Seconds for each of three measurements
    #[arg(long, value_name = "S", default_value = "1", value_parser = seconds)]
    seconds: Duration,
    #[command(flatten)]
    reading: Reading,
}

/// Less is too short to measure anything, and more says nothing more.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.001..=3600.0).contains(seconds)).map(Duration::from_secs_f64);
    seconds.ok_or_else(|| "expected a number of seconds from 0.001 to 3600".to_owned())
}

#[derive(Serialize)]
struct Document {
    level: &'static str,
    samples: usize,
    single_ns: Percentiles,
    batch_samples_per_second: f64,
    bytes_per_sample: f64,
    share_of_limit: f64,
    open_us: f64,
}

#[derive(Serialize)]
struct Percentiles {
    p50: f64,
    p99: f64,
    p999: f64,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    let Arguments { model: path, file, seconds, reading } = arguments;
    let model = session.model(path)?;
    let encoded = load::encode(file, *reading, None, |keyword| model.vocabulary().get(keyword), model.tags())?;
    let (mut ids, mut starts) = (Vec::new(), vec![0]);
    for sample in 0..encoded.dataset.len() {
        ids.extend_from_slice(encoded.dataset.keywords(sample));
        starts.push(ids.len());
    }
    drop(model);

    // The file has been read, so this is what it costs when it is in memory.
    let start = Instant::now();
    let tagger = session.tagger(session.model(path)?)?;
    tagger.score(&ids[..starts[1]], &mut tagger.scratch(), &mut vec![0.0; tagger.tags().len()])?;
    let open_us = start.elapsed().as_secs_f64() * 1e6;

    let Speed { level, single_ns: [p50, p99, p999], batch_samples_per_second, bytes_per_sample, share_of_limit } =
        speed::measure(&tagger, &ids, &starts, *seconds)?;
    let samples = encoded.dataset.len();
    if session.json {
        let single_ns = Percentiles { p50, p99, p999 };
        let level = level.name();
        let document =
            Document { level, samples, single_ns, batch_samples_per_second, bytes_per_sample, share_of_limit, open_us };
        return output::print(output::json(&document)?);
    }
    output::print(output::list(&[
        ("level", level.to_string()),
        ("samples", output::count(samples as u64)),
        ("single request, p50", format!("{p50:.0} ns")),
        ("p99", format!("{p99:.0} ns")),
        ("p99.9", format!("{p999:.0} ns")),
        ("batches of 256", format!("{} samples/s", output::count(batch_samples_per_second as u64))),
        ("parameters read a sample", format!("{bytes_per_sample:.0} bytes")),
        ("reading the rows alone", format!("{:.0} % of a batch's time", 100.0 * share_of_limit)),
        ("open to first answer", format!("{open_us:.0} µs")),
    ]))
}
