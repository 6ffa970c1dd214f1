#![doc = include_str!("../README.md")]
//!
//! # Where to go on
//!
//! | page | what it tells |
//! | --- | --- |
//! | `guide` | from items to a service: train, tune, serve, reload, add a tag |
//! | `guide::coming_from` | commands of fastText, Vowpal Wabbit and PyTorch beside ours |
//! | [`format`](mod@format) | the model file, byte by byte |
//!
//! # The house
//!
//! From the ground up; a room uses only rooms above it in this list, and beside it (`tests/suite/house.rs`).
//!
//! | room | what lives there |
//! | --- | --- |
//! | [`error`] | every failure: what was expected, what was found, the cure |
//! | [`atomic`] | files that appear whole or not at all |
//! | [`aligned`], `buffer` | the unit of storage, a block of 16 floats; memory on huge pages |
//! | `named` | enums whose variants have names that people type and files store |
//! | [`rng`], `ln` | random numbers that depend on what they decide; the natural logarithm |
//! | `workers` | work divided between threads |
//! | [`weights`], `activation` | matrices of weights of four types: `f32`, `f16`, `bf16`, `i8`; nonlinearities of hidden units |
//! | [`ids`], `column`, `csr` | a set of ids; numbers in memory or in a file; many sets |
//! | [`network`] | sizes and layout of the one network |
//! | [`kernels`] | all arithmetic on slices, at a level chosen once |
//! | [`calibration`], [`distribution`] | maps from a network's logits to calibrated ones; how scores were distributed |
//! | `layers` | the layers of the network, forward and backward |
//! | [`vocab`], [`tags`], [`selection`] | keywords and their ids; tags; which tags an item is given |
//! | [`format`](mod@format) | the model file |
//! | [`average`](mod@average) | several models as one |
//! | [`tagger`], [`accumulator`] | serving; sets of keywords that change one by one |
//! | [`speed`] | how fast a model serves on this machine |
//! | [`explain`], [`neighbors`] | what each keyword adds to a score; tags that a model sees alike |
//! | [`convert`] | weights rounded to narrower types, pruning |
//! | `interchange` | models as safetensors, to and from PyTorch |
//! | [`edit`] | models made of models: tags removed, renamed, merged |
//! | [`counters`], [`drift`] | what was served, for operators; whether scores are still those of the training |
//! | `live` | serving while the model is replaced |
//! | `metrics`, `data` | measures; data sets, reading and sampling |
//! | `rules` | what a tag is, in terms of the themes and keywords of items |
//! | `train`, `evaluate` | the trainer, and the recipe from items to a model; measuring a model on data |
//! | `teach` | a tag from a few examples, on the hidden units of a model |
//! | `calibrate`, `tune` | calibration and thresholds from validation data |
//! | `features`, `taxonomy`, `hierarchy` | a model as a feature space; groups of tags that are alike; parents and children |
//! | `report` | measures, curves and mistakes of a model, as a page of HTML |
//! | `capi` | serving, training and teaching from C |

pub mod accumulator;
mod activation;
pub mod aligned;
pub mod atomic;
pub mod average;
mod buffer;
#[cfg(feature = "train")]
pub mod calibrate;
pub mod calibration;
#[cfg(feature = "capi")]
pub mod capi;
#[cfg(feature = "train")]
mod column;
pub mod convert;
pub mod counters;
#[cfg(feature = "train")]
pub mod csr;
#[cfg(feature = "train")]
pub mod data;
pub mod distribution;
pub mod drift;
pub mod edit;
pub mod error;
#[cfg(feature = "train")]
pub mod evaluate;
pub mod explain;
#[cfg(feature = "train")]
pub mod features;
pub mod format;
#[cfg(all(feature = "jsonl", feature = "live"))]
pub mod guide;
#[cfg(feature = "train")]
pub mod hierarchy;
pub mod ids;
#[cfg(feature = "safetensors")]
pub mod interchange;
pub mod kernels;
mod layers;
#[cfg(feature = "live")]
pub mod live;
#[cfg(any(test, feature = "train"))]
mod ln;
#[cfg(feature = "train")]
pub mod metrics;
mod named;
pub mod neighbors;
pub mod network;
#[cfg(feature = "report")]
pub mod report;
pub mod rng;
#[cfg(feature = "train")]
pub mod rules;
pub mod selection;
pub mod speed;
pub mod tagger;
pub mod tags;
#[cfg(feature = "train")]
pub mod taxonomy;
#[cfg(feature = "train")]
pub mod teach;
#[cfg(feature = "train")]
pub mod train;
#[cfg(feature = "train")]
pub mod tune;
pub mod vocab;
pub mod weights;
#[cfg(feature = "train")]
mod workers;

pub use error::{Error, Result};
pub use format::{Model, ModelParts, Provenance};
pub use kernels::Level;
/// The crate whose thread pools [`Tagger::score_batch_in`] and its kin take.
#[cfg(feature = "parallel")]
pub use rayon;
pub use tagger::{KeywordCounts, Scratch, Tagger};
pub use tags::{Tag, Tags};
pub use vocab::Vocabulary;
