//! Trains and serves small neural taggers on sparse binary input.

pub mod aligned;
pub mod error;
pub mod format;
pub mod kernels;
pub mod network;
pub mod rng;
pub mod tags;
pub mod vocab;

pub use error::{Error, Result};
pub use format::{Model, ModelParts, Provenance};
pub use kernels::Level;
pub use tags::Tags;
pub use vocab::Vocabulary;
