//! Tagged items: reading them, turning their strings into ids, holding them in memory, splitting and sampling them.
//!
//! ```text
//! file ── input ── jsonl ──▶ Item ──┬─ Corpus: makes the vocabulary ──┬──▶ Dataset ──▶ NegativeSampler ──▶ ScoredPairs
//!                                   └─ Encoder: uses a given one ─────┘
//! ```
//!
//! `input` and `jsonl` come with the feature `jsonl`; an [`Item`] can be made of anything.

mod corpus;
mod counts;
mod dataset;
mod draws;
mod encoder;
#[cfg(feature = "jsonl")]
pub mod input;
mod item;
#[cfg(feature = "jsonl")]
pub mod jsonl;
mod negatives;

pub use corpus::{Corpus, CorpusStats, Prepared};
pub use counts::Counts;
pub use dataset::{Dataset, Pushed};
pub use draws::WeightedDraws;
pub use encoder::{Encoder, EncoderStats};
pub use item::Item;
pub use negatives::{NegativeSampler, Quota, ScoredPairs, logit_correction};
