//! Bytes as a model: a typed error, or a model that is whole.

use super::serve;
use tagomatic::Model;

pub fn run(input: &[u8]) {
    match Model::from_bytes(input) {
        Ok(model) => serve::whole(model, input),
        Err(error) => serve::refused(&error),
    }
}
