//! Counters for operators: items, keywords, latencies.
//!
//! A [`Counters`] belongs to one thread, which counts without a lock or an allocation; whoever wants the sum of all [merges](Counters::merge)
//! them. Who does not count pays nothing.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use tagomatic::counters::Counters;
//! use tagomatic::{Model, Tagger};
//!
//! # fn main() -> tagomatic::Result<()> {
//! let tagger = Tagger::new(Model::open("models/movies.tagm")?);
//! let (mut scratch, mut scores) = (tagger.scratch(), vec![0.0; tagger.tags().len()]);
//! let mut counters = Counters::default();
//! for keywords in [&["zombie", "horror"][..], &["no such word"]] {
//!     let start = Instant::now();
//!     let known = tagger.score_keywords(keywords.iter().copied(), &mut scratch, &mut scores)?;
//!     counters.record(known, start.elapsed());
//! }
//! assert_eq!((counters.items, counters.known, counters.unknown, counters.empty), (2, 2, 1, 1));
//! assert!(counters.latency.quantile(0.99) > Duration::ZERO);
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use crate::tagger::KeywordCounts;

/// What was served.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// Items.
    pub items: u64,
    /// Items without a keyword that the model knows.
    pub empty: u64,
    /// Different keywords of each item that the model knows.
    pub known: u64,
    /// Keywords that it does not know.
    pub unknown: u64,
    /// Known keywords that an item had again.
    pub repeated: u64,
    /// How long items took.
    pub latency: Latency,
}

impl Counters {
    /// Counts an item.
    pub fn record(&mut self, keywords: KeywordCounts, time: Duration) {
        let KeywordCounts { known, unknown, repeated } = keywords;
        self.items += 1;
        self.empty += u64::from(known == 0);
        self.known += known as u64;
        self.unknown += unknown as u64;
        self.repeated += repeated as u64;
        self.latency.record(time);
    }

    /// Adds what another thread has counted.
    pub fn merge(&mut self, other: &Counters) {
        let Counters { items, empty, known, unknown, repeated, latency } = other;
        self.items += items;
        self.empty += empty;
        self.known += known;
        self.unknown += unknown;
        self.repeated += repeated;
        self.latency.merge(latency);
    }

    /// Forgets what was counted: to look at each hour for itself, say.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Bits after the leading one that tell bins apart.
const BITS: u32 = 4;
/// Values below it have a bin each.
const EXACT: u64 = 1 << BITS;
const BINS: usize = (64 - BITS as usize + 1) << BITS;

/// A histogram of durations: 16 bins between a power of two of nanoseconds and the next, 8 kB in all.
#[derive(Clone, PartialEq)]
pub struct Latency {
    counts: [u64; BINS],
    count: u64,
    total: Duration,
    longest: Duration,
}

impl Default for Latency {
    fn default() -> Self {
        Latency { counts: [0; BINS], count: 0, total: Duration::ZERO, longest: Duration::ZERO }
    }
}

impl std::fmt::Debug for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p99] = [0.5, 0.99].map(|share| self.quantile(share));
        f.debug_struct("Latency").field("count", &self.count).field("p50", &p50).field("p99", &p99).finish_non_exhaustive()
    }
}

fn bin(nanoseconds: u64) -> usize {
    if nanoseconds < EXACT {
        return nanoseconds as usize;
    }
    let shift = nanoseconds.ilog2() - BITS;
    ((shift as usize) << BITS) + (nanoseconds >> shift) as usize
}

/// The largest value of a bin.
fn upper(bin: usize) -> u64 {
    let shift = (bin >> BITS).saturating_sub(1);
    let first = (bin - (shift << BITS)) as u64;
    (first << shift) + ((1 << shift) - 1)
}

impl Latency {
    /// Counts a duration.
    pub fn record(&mut self, time: Duration) {
        // After 584 years the last bin counts.
        self.counts[bin(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))] += 1;
        self.count += 1;
        self.total = self.total.saturating_add(time);
        self.longest = self.longest.max(time);
    }

    /// Adds what another thread has counted.
    pub fn merge(&mut self, other: &Latency) {
        self.counts.iter_mut().zip(other.counts).for_each(|(to, from)| *to += from);
        self.count += other.count;
        self.total = self.total.saturating_add(other.total);
        self.longest = self.longest.max(other.longest);
    }

    /// Durations counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.total
    }

    /// The longest.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// The largest duration of each bin, ascending, and how many were counted in it: what is needed to fill a histogram of another system.
    /// Of Prometheus, say, whose counts are of all durations up to a bound. Bounds of 2^n − 1 nanoseconds are among those of bins, so
    /// counts up to them are exact. It gives 976 bins, whatever was counted.
    pub fn buckets(&self) -> impl ExactSizeIterator<Item = (Duration, u64)> {
        self.counts.iter().enumerate().map(|(bin, &count)| (Duration::from_nanos(upper(bin)), count))
    }

    /// A duration that a share of them, from 0 to 1, do not exceed: never less than the true one, and less than 1/16 more. 0 of none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        // Not above 1, where no count of them would be enough.
        let (share, all) = (share.min(1.0), self.count as f64);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            // 7 of 100 are 0.07 exactly, as it is written, and 0.07 times 100 is more than 7.
            seen > 0 && seen as f64 / all >= share
        });
        found.map_or(Duration::ZERO, |bin| Duration::from_nanos(upper(bin)).min(self.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_narrow_and_follow_one_another() {
        for at in 0..BINS {
            let last = upper(at);
            assert_eq!(bin(last), at);
            assert!(last == u64::MAX || bin(last + 1) == at + 1);
        }
        assert_eq!((bin(u64::MAX), upper(BINS - 1)), (BINS - 1, u64::MAX));
        for value in [0, 1, 15, 16, 17, 1_000, 123_456_789] {
            let most = upper(bin(value));
            assert!(most >= value && most - value <= value / 16);
        }
    }

    #[test]
    fn quantiles_are_those_of_the_durations() {
        let mut latency = Latency::default();
        assert_eq!(latency.quantile(0.5), Duration::ZERO);
        let mut halves = [Latency::default(), Latency::default()];
        for n in 1..=1000_u64 {
            latency.record(Duration::from_micros(n));
            halves[n as usize % 2].record(Duration::from_micros(n));
        }
        let [mut one, two] = halves;
        one.merge(&two);
        assert_eq!(one, latency);
        for (share, expected) in [(0.0, 1), (0.001, 1), (0.5, 500), (0.99, 990), (1.0, 1000)] {
            let found = latency.quantile(share).as_nanos() as f64;
            assert!((1.0..1.0625).contains(&(found / 1e3 / f64::from(expected))), "{share}: {found}");
        }
        assert_eq!((latency.longest(), latency.count()), (Duration::from_millis(1), 1000));
        assert_eq!(latency.total(), Duration::from_micros(500_500));
        latency.record(Duration::MAX);
        assert_eq!(latency.quantile(1.0), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn every_hundredth_of_a_hundred_is_one_of_them() {
        let mut latency = Latency::default();
        // Few enough to have a bin each.
        (0..100_u64).for_each(|n| latency.record(Duration::from_nanos(if n < 7 { 1 } else { 2 })));
        assert_eq!([0.07, 0.071, 2.0, f64::NAN].map(|share| latency.quantile(share).as_nanos()), [1, 2, 2, 2]);
        for rank in 1..=100_u64 {
            let mut latency = Latency::default();
            (1..=100).for_each(|n| latency.record(Duration::from_nanos(u64::from(n > rank))));
            let share = format!("{:.2}", rank as f64 / 100.0).parse().unwrap();
            assert_eq!(latency.quantile(share), Duration::ZERO, "{rank}");
        }
    }

    #[test]
    fn buckets_are_all_that_was_counted() {
        let mut counters = Counters::default();
        for nanoseconds in [0, 3, 3, 1023, 1024, u64::MAX] {
            counters.record(KeywordCounts { known: 1, unknown: 2, repeated: 3 }, Duration::from_nanos(nanoseconds));
        }
        let up_to = |nanoseconds| {
            let bound = Duration::from_nanos(nanoseconds);
            counters.latency.buckets().take_while(|(upper, _)| *upper <= bound).map(|(_, count)| count).sum::<u64>()
        };
        assert_eq!([0, 3, 1023, 2047, u64::MAX].map(up_to), [1, 3, 4, 5, counters.items]);
        assert!(counters.latency.buckets().is_sorted_by(|(a, _), (b, _)| a < b));
        assert_eq!(counters.latency.buckets().len(), 976);
        counters.clear();
        assert_eq!(counters, Counters::default());
    }
}
