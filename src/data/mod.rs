//! Tagged items: reading them, turning their strings into ids, holding them in memory, splitting and sampling them.
//!
//! ```text
//! file ── input ── Reader ──▶ Item ──┬─ Corpus: makes the vocabulary ──┬──▶ Dataset ──▶ NegativeSampler ──▶ ScoredPairs
//!                                    └─ Encoder: uses a given one ─────┘
//! ```
//!
//! A [`Reader`] knows the formats of others; JSON Lines and `input`, which decompresses, come with the feature `jsonl`. An [`Item`] can
//! be made of anything.

mod builder;
pub mod check;
mod corpus;
mod counts;
mod dataset;
mod draws;
mod encoder;
mod fasttext;
#[cfg(feature = "jsonl")]
pub mod input;
mod item;
#[cfg(feature = "jsonl")]
mod jsonl;
mod libsvm;
mod lines;
mod negatives;
mod reader;
mod split;
mod writer;

pub use corpus::{Corpus, CorpusStats, FirstNames, Prepared};
pub use counts::Counts;
pub use dataset::{Dataset, Pushed};
pub use draws::WeightedDraws;
pub use encoder::{Encoder, EncoderStats};
pub use item::Item;
pub use negatives::{NegativeSampler, Quota, ScoredPairs, logit_correction};
pub use reader::{Format, MAX_LINE, Reader};
pub use split::stratified;
pub use writer::{write_item, write_samples};
