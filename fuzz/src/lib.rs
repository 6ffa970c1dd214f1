//! What each fuzz target does with an input: a function `run`, which panics if a promise is broken.
//!
//! `fuzz_targets/` hands libFuzzer's inputs to them, `tests/fuzzed.rs` the committed ones, with a stable compiler.

pub mod accumulator_walk;
pub mod capi;
pub mod container;
pub mod kernels_match_scalar;
pub mod load_model;
pub mod load_model_after_valid_header;
pub mod map_model;
pub mod model_roundtrip;
pub mod parse_fasttext;
pub mod parse_jsonl;
pub mod parse_libsvm;
pub mod parts;
mod serve;
pub mod source;
pub mod tag_rules;
mod text;
pub mod train_step_numerics;
