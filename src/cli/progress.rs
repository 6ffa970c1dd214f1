//! How far a training is: a bar on a terminal, else a line an epoch.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tagomatic::metrics::Metric;
use tagomatic::train::Event;
use tagomatic::train::recipe::Phase;

use super::output;

/// What is shown of a training.
#[derive(Default)]
pub(super) struct Progress {
    phase: Option<Phase>,
    /// Absent before the first mini-batch, and where standard error is no terminal.
    bar: Option<ProgressBar>,
    /// The best epoch so far, in words.
    best: String,
}

impl Progress {
    /// Shows what happened in a phase.
    pub(super) fn show(&mut self, phase: Phase, event: Event<'_>) {
        let (what, epochs) = match phase {
            Phase::Pretrain { epochs } => ("autoencoder, ", epochs),
            Phase::Fit { epochs } => ("", epochs),
            Phase::Refit { epochs } => ("all items, ", epochs),
        };
        match event {
            Event::Batch { epoch, done, samples, log_loss, .. } => {
                if self.phase != Some(phase) {
                    *self = Progress { phase: Some(phase), bar: bar(epochs, samples), best: String::new() };
                }
                if let Some(bar) = &self.bar {
                    bar.set_message(format!("{what}epoch {epoch}/{epochs}: log-loss {log_loss:.4}{}", self.best));
                    bar.set_position((u64::from(epoch) - 1) * samples as u64 + done as u64);
                }
            }
            Event::Epoch(report) => {
                let ap = report.valid.as_ref().map(|valid| output::measure(valid.get(Metric::MacroAp)));
                if let (Some(ap), true) = (&ap, report.best) {
                    self.best = format!(", best validation macro-AP {ap} in epoch {}", report.epoch);
                }
                let hidden = report.valid.as_ref().and_then(|valid| valid.zeros);
                let hidden = hidden.map_or_else(String::new, |zeros| format!(", {:.0} % of units zero", zeros * 100.0));
                let penalty = if report.penalty > 0.0 { format!(", penalty {:.4}", report.penalty) } else { String::new() };
                if let Some(valid) = report.valid.as_ref().filter(|valid| valid.units > 0 && valid.dead_units == valid.units) {
                    let warning = format!(
                        "warning: all {} hidden units are zero for every validation item, so nothing is learnt; lower the threshold \
                         of the units or the weight of the penalty, or raise --initial-scale",
                        valid.units
                    );
                    match &self.bar {
                        Some(bar) => bar.println(warning),
                        None => output::message(format_args!("{warning}")),
                    }
                }
                if self.bar.is_none() {
                    let ap = ap.map(|ap| format!(", validation macro-AP {ap}{}", if report.best { " (best)" } else { "" }));
                    output::message(format_args!(
                        "{what}epoch {}/{epochs}: log-loss {:.4}{penalty}{}{hidden}",
                        report.epoch,
                        report.log_loss,
                        ap.unwrap_or_default()
                    ));
                }
            }
        }
    }
}

/// A bar for `epochs` epochs of `samples` samples, on a terminal.
fn bar(epochs: u32, samples: usize) -> Option<ProgressBar> {
    io::stderr().is_terminal().then(|| {
        let all = u64::from(epochs) * samples as u64;
        let bar = ProgressBar::with_draw_target(Some(all), ProgressDrawTarget::stderr());
        // Without colours, as NO_COLOR asks.
        let style = ProgressStyle::with_template("[{bar:30}] {msg}");
        bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "))
    })
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
