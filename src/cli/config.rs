//! `train --config`: options from a TOML file, under their names on the command line. What is typed wins.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use tagomatic::Error;
use toml::{Spanned, Value};

use super::failure::{Failure, Result};
use super::{Arguments, Command, train};

/// What `typed`, the program's own name first, and the file that it may name ask for. Ends the program where clap does.
pub(super) fn arguments(typed: Vec<OsString>) -> Result<Arguments> {
    let matches = Arguments::command().get_matches_from(&typed);
    let Some((train::NAME, given)) = matches.subcommand() else { return Ok(parsed(&matches)) };
    let Some(file) = train::config_file(given) else { return Ok(parsed(&matches)) };
    let text = fs::read_to_string(file).map_err(|source| Error::Io { path: file.to_owned(), doing: "read", source })?;
    let options = options(&text, file, given)?;
    // Only what clap has taken for the command can be the first argument of that name.
    let command = typed.iter().position(|argument| argument == train::NAME).map_or(typed.len(), |at| at + 1);
    let (before, after) = typed.split_at(command);
    let options = options.into_iter().map(OsString::from);
    let all = before.iter().cloned().chain(options).chain(after.iter().cloned());
    Ok(parsed(&Arguments::command().get_matches_from(all)))
}

fn parsed(matches: &ArgMatches) -> Arguments {
    let mut arguments = Arguments::from_arg_matches(matches).unwrap_or_else(|error| error.exit());
    if let (Command::Train(train), Some((_, given))) = (&mut arguments.command, matches.subcommand()) {
        train.note_given(given);
    }
    arguments
}

/// The options in `text`, the content of `file`, as they would be typed, without those that are in `given`.
fn options(text: &str, file: &Path, given: &ArgMatches) -> Result<Vec<String>> {
    let failure = |at: usize, message: &str| {
        let line = 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        Failure::Usage(format!("{}:{line}: {message}", file.display()))
    };
    let table: BTreeMap<Spanned<String>, Spanned<Value>> =
        toml::from_str(text).map_err(|error| failure(error.span().map_or(0, |span| span.start), error.message()))?;
    let known = train::options();
    let mut options = Vec::new();
    for (key, value) in table {
        let at = key.span().start;
        let Some(option) = known.get_arguments().find(|option| option.get_long() == Some(key.get_ref().as_str())) else {
            let names: Vec<&str> = known.get_arguments().filter_map(clap::Arg::get_long).collect();
            return Err(failure(at, &format!("expected one of {}, found {:?}", names.join(", "), key.get_ref())));
        };
        let value = match value.into_inner() {
            Value::String(text) => text,
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            other => return Err(failure(at, &format!("expected a string or a number, found {}", other.type_str()))),
        };
        let option_typed = format!("--{}={value}", key.get_ref());
        known.clone().try_get_matches_from([&option_typed]).map_err(|error| {
            let message = error.to_string();
            let first = message.lines().next().unwrap_or_default();
            failure(at, first.strip_prefix("error: ").unwrap_or(first))
        })?;
        if given.value_source(option.get_id().as_str()) != Some(ValueSource::CommandLine) {
            options.push(option_typed);
        }
    }
    Ok(options)
}
