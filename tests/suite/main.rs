//! All integration tests, one module a subject.

mod golden;
#[cfg(feature = "train")]
mod golden_network;
