//! Trains and serves small neural taggers on sparse binary input.

pub mod aligned;
pub mod choice;
#[cfg(feature = "train")]
pub mod csr;
#[cfg(feature = "train")]
pub mod data;
pub mod error;
#[cfg(feature = "train")]
pub mod evaluate;
pub mod format;
pub mod ids;
pub mod kernels;
pub mod layers;
mod ln;
#[cfg(feature = "train")]
pub mod metrics;
mod named;
pub mod network;
pub mod rng;
pub mod tagger;
pub mod tags;
#[cfg(feature = "train")]
pub mod train;
pub mod vocab;

pub use error::{Error, Result};
pub use format::{Model, ModelParts, Provenance};
pub use kernels::Level;
pub use tagger::{Known, Scratch, Tagger};
pub use tags::{Tag, Tags};
pub use vocab::Vocabulary;
