//! What the backend and its clients say to each other, as JSON.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// `POST /tag`.
#[derive(Debug, Deserialize, Serialize)]
pub struct Question {
    /// The keywords of one item.
    pub keywords: Vec<String>,
}

/// The answer to a [`Question`]. All of it comes from one generation of the model.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Answer<'a> {
    /// How many models have been served with this one.
    pub generation: u64,
    /// Keywords that it knows.
    pub known: usize,
    /// Keywords that it does not know.
    pub unknown: usize,
    /// The tags that the item is given, the best first.
    pub tags: Vec<Given<'a>>,
}

/// One tag of an [`Answer`].
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Given<'a> {
    /// Its name.
    pub tag: Cow<'a, str>,
    /// Its score.
    pub score: f32,
}

/// The answer to `GET /health`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Health {
    /// The generation that is served.
    pub generation: u64,
    /// How many files were refused so far.
    pub refused: u64,
    /// Why the last of them was.
    pub reason: Option<String>,
}
