//! How far a training is: a bar on a terminal, and nothing elsewhere.

use std::fmt::{self, Display, Formatter};
use std::io::{self, IsTerminal};
use std::time::Instant;

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tagomatic::metrics::Metric;
use tagomatic::train::recipe::Phase;
use tagomatic::train::{Event, TagDone};

use super::output;

/// What is shown of a training.
pub(super) struct Progress {
    metric: Metric,
    /// What is trained, ahead of all else.
    what: String,
    bar: Option<Bar>,
}

/// Which part of something is trained, where there are several.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// What it is called.
    pub(super) name: &'static str,
    /// Counted from 1.
    pub(super) number: u32,
    pub(super) of: u32,
}

impl Display for Part {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.name, self.number, self.of)
    }
}

/// Parts within parts, ahead of something else.
fn prefix(parts: impl IntoIterator<Item = Part>) -> String {
    parts.into_iter().map(|part| format!("{part}, ")).collect()
}

/// What is shown of the training of a bank: a bar on a terminal, and nothing elsewhere.
pub(super) struct TagProgress {
    metric: Metric,
    bar: ProgressBar,
}

impl TagProgress {
    /// Of `tags` tags; `part` tells of what it is a part.
    pub(super) fn new(tags: usize, metric: Metric, part: Option<Part>) -> Self {
        let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(tags as u64), target);
        // Without colours, as NO_COLOR asks.
        let style = ProgressStyle::with_template("[{bar:30}] {prefix}{pos}/{len} tags{msg}, at most {eta} left");
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        TagProgress { metric, bar: bar.with_prefix(prefix(part)) }
    }

    /// Shows that a tag is done.
    pub(super) fn show(&self, done: TagDone<'_>) {
        let fit = &done.report.fit;
        let best = fit.epochs.iter().find(|epoch| epoch.epoch == fit.best_epoch);
        let score = best.and_then(|best| best.valid?.get(self.metric));
        let score = score.map_or_else(String::new, |score| format!(", validation {} {score:.4}", self.metric));
        self.bar.set_message(format!(", {}: {} epochs{score}", output::plain(done.tag), fit.epochs.len()));
        self.bar.inc(1);
    }
}

impl Drop for TagProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The bar of a phase.
struct Bar {
    phase: Phase,
    bar: ProgressBar,
    /// When the phase began or was gone on with, and the samples that were done.
    start: (Instant, u64),
    /// Measures of the last epoch and the best one, in words.
    measures: String,
}

impl Progress {
    /// `parts` tell which part of which it is.
    pub(super) fn new(metric: Metric, parts: impl IntoIterator<Item = Part>) -> Self {
        Progress { metric, what: prefix(parts), bar: None }
    }

    /// Shows what happened in a phase.
    pub(super) fn show(&mut self, phase: Phase, event: Event<'_>) {
        let is_terminal = io::stderr().is_terminal();
        match event {
            Event::Batch { epoch, done, samples, log_loss, .. } if is_terminal => {
                let (what, epochs) = match phase {
                    Phase::Pretrain { epochs } => ("autoencoder, ", epochs),
                    Phase::Fit { epochs } => ("", epochs),
                    Phase::Refit { epochs } => ("all items, ", epochs),
                };
                let all = u64::from(epochs) * samples as u64;
                let done = (u64::from(epoch) - 1) * samples as u64 + done as u64;
                let bar = match &mut self.bar {
                    Some(bar) if bar.phase == phase => bar,
                    bar => bar.insert(Bar::new(phase, all, done)),
                };
                let rate = bar.rate(done);
                let left = HumanDuration(std::time::Duration::from_secs_f64((all - done) as f64 / rate.max(1.0)));
                bar.bar.set_message(format!(
                    "{}{what}epoch {epoch}/{epochs}: log-loss {log_loss:.4}{}, {} items/s, at most {left:#} left",
                    self.what,
                    bar.measures,
                    output::count(rate as u64)
                ));
                bar.bar.set_position(done);
            }
            Event::Batch { .. } => {}
            Event::Epoch(report) => {
                let hidden = &report.hidden;
                if let Some(bar) = &mut self.bar {
                    let score = report.valid.as_ref().map_or_else(String::new, |valid| {
                        let best = if report.best { " (best)" } else { "" };
                        format!(", {} {}{best}", self.metric, output::measure(valid.get(self.metric)))
                    });
                    let zeros = hidden.zeros.map_or_else(String::new, |zeros| format!(", {:.0} % zeros", zeros * 100.0));
                    bar.measures = score + &zeros;
                }
                if hidden.units > 0 && hidden.dead_units == hidden.units {
                    let warning = format!(
                        "warning: {}all {} hidden units are zero for every item looked at, so nothing is learnt; lower the threshold \
                         of the units or the weight of the penalty, or raise --initial-scale",
                        self.what, hidden.units
                    );
                    match &self.bar {
                        Some(bar) => bar.bar.println(warning),
                        None => output::message(format_args!("{warning}")),
                    }
                }
            }
        }
    }
}

impl Bar {
    fn new(phase: Phase, all: u64, done: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(all), ProgressDrawTarget::stderr());
        // Without colours, as NO_COLOR asks.
        let style = ProgressStyle::with_template("[{bar:20}] {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
        Bar { phase, bar: bar.with_style(style), start: (Instant::now(), done), measures: String::new() }
    }

    /// Items a second since the start.
    fn rate(&self, done: u64) -> f64 {
        let (start, before) = self.start;
        (done - before) as f64 / start.elapsed().as_secs_f64().max(1e-9)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
