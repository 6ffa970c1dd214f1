//! All integration tests, one module a subject.

#![allow(clippy::unwrap_used, reason = "a test that finds something else than it expects must fail")]

#[cfg(feature = "train")]
mod absurd;
mod accumulator;
mod allocations;
#[cfg(feature = "train")]
mod banks;
mod bounds;
#[cfg(feature = "capi")]
mod capi;
#[cfg(feature = "cli")]
mod checking;
#[cfg(feature = "cli")]
mod cli;
mod convert;
#[cfg(feature = "train")]
mod drift;
#[cfg(feature = "cli")]
mod features;
#[cfg(feature = "cli")]
mod files;
mod format;
#[cfg(feature = "train")]
mod golden;
mod house;
#[cfg(feature = "train")]
mod initial;
#[cfg(feature = "cli")]
mod interchange;
#[cfg(feature = "live")]
mod live;
#[cfg(feature = "cli")]
mod lost;
#[cfg(feature = "train")]
mod objectives;
#[cfg(feature = "cli")]
mod rules;
#[cfg(feature = "safetensors")]
mod safetensors;
#[cfg(feature = "cli")]
mod saves;
mod serving;
#[cfg(feature = "cli")]
mod sources;
#[cfg(feature = "cli")]
mod targets;
#[cfg(feature = "train")]
mod training;
#[cfg(feature = "cli")]
mod tuning;
#[cfg(feature = "cli")]
mod usage;
#[cfg(feature = "train")]
mod wide;
