//! All integration tests, one module a subject.

#[cfg(feature = "cli")]
mod cli;
mod golden;
#[cfg(feature = "train")]
mod golden_network;
