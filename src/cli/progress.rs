//! How far a training is: a bar on a terminal, else a line an epoch.

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tagomatic::train;

use super::output;

/// What is shown of a training.
pub(super) struct Progress {
    /// Absent where standard error is no terminal.
    bar: Option<ProgressBar>,
    /// What is trained on, if not the first thing.
    what: &'static str,
    epochs: u32,
    /// The best epoch so far, in words.
    best: String,
}

impl Progress {
    pub(super) fn new(what: &'static str, epochs: u32, samples: usize) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let all = u64::from(epochs) * samples as u64;
            let bar = ProgressBar::with_draw_target(Some(all), ProgressDrawTarget::stderr());
            // Without colours, as NO_COLOR asks.
            let style = ProgressStyle::with_template("[{bar:30}] {msg}");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "))
        });
        Progress { bar, what, epochs, best: String::new() }
    }

    /// Shows `event`; training goes on.
    pub(super) fn show(&mut self, event: train::Event<'_>) -> ControlFlow<()> {
        match event {
            train::Event::Batch { epoch, done, samples, log_loss } => {
                if let Some(bar) = &self.bar {
                    let Progress { what, epochs, best, .. } = self;
                    bar.set_message(format!("{what}epoch {epoch}/{epochs}: log-loss {log_loss:.4}{best}"));
                    bar.set_position((u64::from(epoch) - 1) * samples as u64 + done as u64);
                }
            }
            train::Event::Epoch(report) => {
                let ap = report.valid.as_ref().map(|valid| output::measure(valid.evaluation.macro_ap.value));
                if let (Some(ap), true) = (&ap, report.best) {
                    self.best = format!(", best validation macro-AP {ap} in epoch {}", report.epoch);
                }
                if self.bar.is_none() {
                    let ap = ap.map(|ap| format!(", validation macro-AP {ap}{}", if report.best { " (best)" } else { "" }));
                    let (what, epoch, epochs) = (self.what, report.epoch, self.epochs);
                    output::message(format_args!(
                        "{what}epoch {epoch}/{epochs}: log-loss {:.4}{}",
                        report.log_loss,
                        ap.unwrap_or_default()
                    ));
                }
            }
        }
        ControlFlow::Continue(())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
