//! `train --search`: the trials, and the command that trains what they found.

use std::ops::ControlFlow;

use serde::Serialize;
use tagomatic::metrics::Metric;
use tagomatic::train::recipe::{TrainingSet, Validation};
use tagomatic::train::{TrainConfig, Trial, Trials, search};

use super::failure::Result;
use super::{Session, output};

/// What a search found, as it stands in a JSON document.
#[derive(Serialize)]
pub(super) struct Search {
    /// The best one first.
    trials: Vec<Tried>,
    /// Trains the best one, without a search.
    command: String,
    #[serde(skip)]
    metric: Metric,
}

#[derive(Serialize)]
struct Tried {
    trial: u32,
    /// What was drawn, where it is not what the first trial has.
    options: String,
    steps: u64,
    epochs: u32,
    /// Of the metric that epochs are chosen by; null if the trial failed.
    score: Option<f64>,
    log_loss: Option<f64>,
}

/// Searches, and sets `config` to the best that was found.
pub(super) fn run(
    session: &Session,
    set: &TrainingSet,
    config: &mut TrainConfig,
    validation: Validation<'_>,
    trials: Trials<'_>,
) -> Result<Search> {
    let given = config.clone();
    let metric = given.metric;
    let tried = |trial: &Trial| Tried {
        trial: trial.number,
        options: options(trial, &given).join(" "),
        steps: trial.steps,
        epochs: trial.epochs,
        score: trial.valid.and_then(|valid| valid.get(metric)),
        log_loss: trial.valid.and_then(|valid| valid.get(Metric::LogLoss)),
    };
    let mut observer = |trial: &Trial| {
        if output::is_terminal() {
            let Tried { trial, options, steps, score, .. } = tried(trial);
            output::message(format_args!("trial {trial} after {steps} steps: {metric} {} {options}", output::measure(score)));
        }
        ControlFlow::Continue(())
    };
    let found = search(set, &given, validation, trials, session.level, session.pool.clone(), &mut observer)?;
    let mut chosen = Vec::new();
    if let Some(best) = found.first() {
        chosen = options(best, &given);
        chosen.extend(average(best, &given));
        config.clone_from(&best.config);
    }
    let typed = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    let command = command(typed, chosen);
    Ok(Search { trials: found.iter().map(tried).collect(), command, metric })
}

impl Search {
    /// For people.
    pub(super) fn text(&self) -> String {
        let row = |tried: &Tried| {
            [
                format!("{} {}", tried.trial, tried.options),
                output::count(tried.steps),
                tried.epochs.to_string(),
                output::measure(tried.score),
                output::measure(tried.log_loss),
            ]
        };
        let rows: Vec<_> = self.trials.iter().map(row).collect();
        let table = output::table(["trial", "steps", "epochs", self.metric.name(), "log-loss"], &rows);
        format!("search\n{table}\nthe best of them again: {}\n\n", self.command)
    }
}

/// What differs in a trial from the configuration that the search was given, as it is typed.
fn options(trial: &Trial, given: &TrainConfig) -> Vec<String> {
    trial.options(given).into_iter().map(|(name, value)| format!("--{}={value}", name.replace('_', "-"))).collect()
}

/// How many networks are averaged, as it is typed, where the other options would not say so: who types how many hidden units there
/// are gets one network.
fn average(trial: &Trial, given: &TrainConfig) -> Option<String> {
    let TrainConfig { hidden, average, .. } = trial.config;
    (hidden != given.hidden && average != 1).then(|| format!("--average={average}"))
}

/// The command with these arguments, without a search, and with `options` instead of those of the same names.
fn command(mut typed: impl Iterator<Item = String>, options: Vec<String>) -> String {
    let mut command = "tagomatic".to_owned();
    let mut is_value = false;
    let mut files = None;
    for argument in typed.by_ref() {
        let (name, value) = argument.split_once('=').map_or((&argument[..], None), |(name, value)| (name, Some(value)));
        let is_chosen = |option: &String| option.split_once('=').is_some_and(|(chosen, _)| chosen == name);
        if std::mem::take(&mut is_value) {
            continue;
        }
        if name == "--" {
            // What follows are files, whatever they look like.
            files = Some(argument);
            break;
        }
        if name == "--search" || options.iter().any(is_chosen) {
            is_value = value.is_none();
            continue;
        }
        command.extend([" ", &quoted(&argument)]);
    }
    for option in options {
        command.extend([" ", &option]);
    }
    for argument in files.into_iter().chain(typed) {
        command.extend([" ", &quoted(&argument)]);
    }
    command
}

/// An argument as a shell wants it.
fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:=,@%+".contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_has_what_was_typed_and_what_was_found() {
        let typed = ["train", "my items.jsonl", "--search", "9", "--lr=0.1", "--hidden", "64", "--out", "it's.tagm"];
        let options = vec!["--hidden=32".to_owned(), "--lr=0.2".to_owned()];
        let found = command(typed.iter().map(|argument| (*argument).to_owned()), options);
        assert_eq!(found, r"tagomatic train 'my items.jsonl' --out 'it'\''s.tagm' --hidden=32 --lr=0.2");
        let typed = ["train", "--average=3", "--", "--search", "--lr"];
        let options = vec!["--lr=0.2".to_owned(), "--average=2".to_owned()];
        let found = command(typed.iter().map(|argument| (*argument).to_owned()), options);
        assert_eq!(found, "tagomatic train --lr=0.2 --average=2 -- --search --lr");
    }
}
