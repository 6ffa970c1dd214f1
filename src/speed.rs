//! How fast a model serves on this machine.
//!
//! ```
//! # fn main() -> tagomatic::Result<()> {
//! use std::time::Duration;
//! use tagomatic::speed::measure;
//! # let tagger = tagomatic::Tagger::new(tagomatic::Model::open("models/movies.tagm")?);
//! let speed = measure(&tagger, &[3, 7, 5], &[0, 2, 3], Duration::from_millis(5))?;
//! println!("{:?}: {:.0} ns, {:.0} items/s", speed.level, speed.single_ns[0], speed.batch_samples_per_second);
//! # Ok(())
//! # }
//! ```

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::kernels::Level;
use crate::tagger::Tagger;

/// Items of a batch.
pub const BATCH: usize = 256;

/// How long requests take, and how many are served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// The kernel level.
    pub level: Level,
    /// Single requests, ids in, scores out: nanoseconds that a half of them, 99 % and 99.9 % do not exceed.
    pub single_ns: [f64; 3],
    /// Items a second in batches of [`BATCH`], one thread.
    pub batch_samples_per_second: f64,
    /// Bytes of parameters that an item is scored from, on average: the rows of its keywords, and all of the output layer.
    pub bytes_per_sample: f64,
    /// What the machine needs to read the rows of the keywords and add them, and nothing else, as a share of the time of a batch.
    pub share_of_limit: f64,
}

/// Measures requests with keywords `ids[starts[i]..starts[i + 1]]`, for about three times `time`. Latencies are those of whole passes over
/// the items, without the timer's own; rates are those of the median pass.
///
/// # Errors
/// As [`Tagger::score_batch`]; [`Error::NoData`] without items.
pub fn measure(tagger: &Tagger, ids: &[u32], starts: &[usize], time: Duration) -> Result<Speed> {
    let items = starts.len().saturating_sub(1);
    if items == 0 {
        return Err(Error::NoData { what: "no items to measure with".to_owned(), cure: "give at least one" });
    }
    Tagger::check_starts(ids, starts)?;
    let (mut scratch, tags) = (tagger.scratch(), tagger.tags().len());
    let mut scores = vec![0.0; items.min(BATCH) * tags];
    let mut timer: Vec<f64> = (0..1001).map(|_| nanoseconds(|| ())).collect();
    let timer = percentile(&mut timer, 0.5);

    let mut latencies = Vec::new();
    passes(time, |warm| {
        for item in starts.windows(2) {
            let ids = &ids[item[0]..item[1]];
            let mut result = Ok(());
            let latency = nanoseconds(|| result = tagger.score(black_box(ids), &mut scratch, black_box(&mut scores[..tags])));
            result?;
            if warm {
                latencies.push((latency - timer).max(0.0));
            }
        }
        Ok(())
    })?;
    let single_ns = [0.5, 0.99, 0.999].map(|share| percentile(&mut latencies, share));

    // Bounds of each batch start at 0, as those of a batch must.
    let batches: Vec<(&[u32], Vec<usize>)> = starts
        .windows(2)
        .collect::<Vec<_>>()
        .chunks(BATCH)
        .map(|batch| {
            let (first, last) = (batch[0][0], batch[batch.len() - 1][1]);
            let bounds = std::iter::once(0).chain(batch.iter().map(|item| item[1] - first)).collect();
            (&ids[first..last], bounds)
        })
        .collect();
    let whole = passes(time, |_| {
        batches.iter().try_for_each(|(ids, starts)| {
            let scores = &mut scores[..(starts.len() - 1) * tags];
            tagger.score_batch(ids, starts, &mut scratch, black_box(scores))
        })
    })?;
    let rows = passes(time, |_| batches.iter().try_for_each(|(ids, starts)| tagger.add_rows(ids, starts, &mut scratch)))?;

    let [row, output] = tagger.parameter_bytes();
    Ok(Speed {
        level: tagger.level(),
        single_ns,
        batch_samples_per_second: items as f64 / whole,
        bytes_per_sample: ids.len() as f64 / items as f64 * row + output,
        share_of_limit: rows / whole,
    })
}

/// Repeats `pass` for `time`, at least twice; the first time it is not warm. The seconds of the median pass.
fn passes(time: Duration, mut pass: impl FnMut(bool) -> Result<()>) -> Result<f64> {
    pass(false)?;
    let (start, mut seconds) = (Instant::now(), Vec::new());
    while seconds.is_empty() || start.elapsed() < time {
        let start = Instant::now();
        pass(true)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    Ok(percentile(&mut seconds, 0.5))
}

fn nanoseconds(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_nanos() as f64
}

/// The value that a share of the values, at least one, do not exceed.
fn percentile(values: &mut [f64], share: f64) -> f64 {
    let place = ((values.len() as f64 * share).ceil() as usize).clamp(1, values.len()) - 1;
    *values.select_nth_unstable_by(place, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values() {
        let mut values: Vec<f64> = (1..=1000).rev().map(f64::from).collect();
        assert_eq!(
            [0.5, 0.99, 0.999, 1.0, 0.0].map(|share| percentile(&mut values, share)),
            [500.0, 990.0, 999.0, 1000.0, 1.0]
        );
        assert_eq!(percentile(&mut [7.0], 0.999), 7.0);
    }
}
