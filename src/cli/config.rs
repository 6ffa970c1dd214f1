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
    let command = typed.iter().skip(1).position(|argument| argument == train::NAME).map_or(typed.len(), |at| at + 2);
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

/// A value as it would be typed; those of an array are apart by commas.
fn typed_value(value: &Value) -> Result<String, String> {
    let joined = |values: &[Value]| Some(values.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?.join(","));
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(truth) => Ok(truth.to_string()),
        Value::Array(values) if let Some(text) = joined(values) => Ok(text),
        other => {
            let found = other.type_str();
            Err(format!("expected a string, a number, true, false or an array of strings, found {found}"))
        }
    }
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
        // `info` tells the names of the library, which have underscores.
        let name = key.get_ref().replace('_', "-");
        let Some(option) = known.get_arguments().find(|option| option.get_long() == Some(&name)) else {
            let names: Vec<&str> = known.get_arguments().filter_map(clap::Arg::get_long).collect();
            return Err(failure(at, &format!("expected one of {}, found {:?}", names.join(", "), key.get_ref())));
        };
        let option_typed = format!("--{name}={}", typed_value(value.get_ref()).map_err(|problem| failure(at, &problem))?);
        if options.iter().any(|other: &String| other.starts_with(&format!("--{name}="))) {
            return Err(failure(at, &format!("expected {name} once, found it with dashes and with underscores")));
        }
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
