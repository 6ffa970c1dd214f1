//! What `tag --stats` tells at the end.

use std::time::Duration;

use serde::Serialize;
use tagomatic::counters::Counters;
use tagomatic::drift::Drift;
use tagomatic::{KeywordCounts, Tagger};

use super::failure::Result;
use super::{Session, output};

/// Tags that are named because their scores are furthest from those in training.
const SHOWN: usize = 5;

/// What one worker counts.
pub(super) struct Stats {
    counters: Counters,
    drift: Option<Drift>,
}

#[derive(Serialize)]
struct Document<'a> {
    items: u64,
    empty: u64,
    known_keywords: u64,
    unknown_keywords: u64,
    repeated_keywords: u64,
    latency_us: LatencyUs,
    /// Furthest first; null if the model does not know how its scores were distributed.
    drift: Option<Vec<TagDrift<'a>>>,
}

#[derive(Serialize)]
struct LatencyUs {
    mean: f64,
    p50: f64,
    p99: f64,
    p999: f64,
    longest: f64,
}

#[derive(Serialize)]
struct TagDrift<'a> {
    tag: &'a str,
    psi: f64,
    /// What it is by chance.
    noise: f64,
}

impl Stats {
    pub(super) fn new(tagger: &Tagger) -> Self {
        Stats { counters: Counters::default(), drift: Drift::new(tagger) }
    }

    pub(super) fn record(&mut self, keywords: KeywordCounts, time: Duration, scores: &[f32]) -> Result<()> {
        self.counters.record(keywords, time);
        self.drift.as_mut().map_or(Ok(()), |drift| drift.record(scores))?;
        Ok(())
    }

    /// What all workers have counted, as text or as JSON.
    pub(super) fn report(session: &Session, tagger: &Tagger, all: Vec<Stats>) -> Result<String> {
        let mut sum = Stats::new(tagger);
        for Stats { counters, drift } in all {
            sum.counters.merge(&counters);
            if let (Some(sum), Some(drift)) = (&mut sum.drift, drift) {
                sum.merge(&drift)?;
            }
        }
        let document = Document::new(tagger, &sum);
        if session.json { output::json(&document) } else { Ok(document.text()) }
    }
}

impl<'a> Document<'a> {
    fn new(tagger: &'a Tagger, Stats { counters, drift }: &Stats) -> Self {
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        let latency = &counters.latency;
        let drift = drift.as_ref().map(|drift| {
            let of_tag = |(index, tag): (usize, &'a tagomatic::Tag)| {
                Some(TagDrift { tag: &tag.name, psi: drift.psi(index)?, noise: drift.noise(index)? })
            };
            let mut all: Vec<TagDrift<'a>> = tagger.tags().iter().enumerate().filter_map(of_tag).collect();
            all.sort_by(|a, b| b.psi.total_cmp(&a.psi));
            all
        });
        Document {
            items: counters.items,
            empty: counters.empty,
            known_keywords: counters.known,
            unknown_keywords: counters.unknown,
            repeated_keywords: counters.repeated,
            latency_us: LatencyUs {
                mean: us(latency.total()) / counters.items.max(1) as f64,
                p50: us(latency.quantile(0.5)),
                p99: us(latency.quantile(0.99)),
                p999: us(latency.quantile(0.999)),
                longest: us(latency.longest()),
            },
            drift,
        }
    }

    /// For people.
    fn text(&self) -> String {
        let LatencyUs { mean, p50, p99, p999, longest } = &self.latency_us;
        let mut rows = vec![
            ("items", output::count(self.items)),
            ("without known keywords", output::count(self.empty)),
            (
                "keywords",
                format!("{} known, {} unknown", output::count(self.known_keywords), output::count(self.unknown_keywords)),
            ),
            ("time an item", format!("{mean:.1} µs, p50 {p50:.1}, p99 {p99:.1}, p99.9 {p999:.1}, longest {longest:.1}")),
        ];
        let furthest: Vec<String> = self.drift.iter().flatten().take(SHOWN).map(TagDrift::text).collect();
        rows.push(match self.drift {
            None => ("drift", "unknown: the model does not tell how its scores were distributed".to_owned()),
            Some(_) => ("drift (PSI, by chance)", furthest.join(", ")),
        });
        output::list(&rows)
    }
}

impl TagDrift<'_> {
    fn text(&self) -> String {
        format!("{} {:.3} ({:.3})", output::plain(self.tag), self.psi, self.noise)
    }
}
