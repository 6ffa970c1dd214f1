//! Trains and serves small neural taggers on sparse binary input.

pub mod aligned;
#[cfg(feature = "train")]
pub mod csr;
#[cfg(feature = "train")]
pub mod data;
pub mod error;
pub mod ids;
pub mod kernels;
#[cfg(feature = "train")]
mod ln;
#[cfg(feature = "train")]
pub mod metrics;
pub mod network;
pub mod rng;

pub use error::{Error, Result};
pub use kernels::Level;
