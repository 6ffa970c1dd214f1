//! Trains and serves small neural taggers on sparse binary input.

pub mod aligned;
pub mod error;
pub mod kernels;
pub mod layers;
mod ln;
pub mod network;
pub mod rng;

pub use error::{Error, Result};
pub use kernels::Level;
