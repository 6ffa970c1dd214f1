//! `verify`: every byte of a model file is checked.

use std::path::PathBuf;

use serde::Serialize;

use super::failure::Result;
use super::{Session, output};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The model; the file must not be changed in place meanwhile (rename a new one over it)
    model: PathBuf,
}

#[derive(Serialize)]
struct Good {
    ok: bool,
    signature: String,
}

#[derive(Serialize)]
struct Bad {
    ok: bool,
    error: String,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    let model = match session.model(&arguments.model) {
        Ok(model) => model,
        Err(error) => {
            if session.json {
                output::print(output::json(&Bad { ok: false, error: error.to_string() })?)?;
            }
            return Err(error.into());
        }
    };
    let bytes = model.byte_len();
    let signature = output::signature(&session.tagger(model)?)?;
    output::print(if session.json {
        output::json(&Good { ok: true, signature })?
    } else {
        format!("{}: ok, {}, signature {signature}\n", arguments.model.display(), output::size(bytes))
    })
}
