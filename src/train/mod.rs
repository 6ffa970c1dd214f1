//! Training: one loop, one optimiser, for one network.
//!
//! A [`Trainer`] takes [steps](Trainer::step) on mini-batches of [samples](Sample): forward, loss, manual gradients, and the
//! optimiser on the rows that the mini-batch touched. [`Trainer::fit`] runs epochs over a data set and stops when validation says
//! so. [`Trainer::model`] makes a servable model at any time. [`recipe`] is all of it, from items to a model that tells how it was
//! made.
//!
//! # Learning while serving
//!
//! [`Trainer::warm`] goes on from a model, [`Trainer::step`] learns from a few examples in microseconds, and [`Trainer::model`] is a model
//! of the moment, which costs a copy and a check of the weights. With the feature `live` a service takes it up without a reader
//! waiting:
//!
//! ```
//! # #[cfg(feature = "live")]
//! # fn main() -> tagomatic::Result<()> {
//! use tagomatic::live::{Contract, LiveTagger};
//! use tagomatic::train::{PairWeights, Sample, Statistics, Targets, TrainConfig, Trainer};
//! use tagomatic::{Model, Provenance, Vocabulary};
//!
//! let model = Model::open("models/movies.tagm")?;
//! let config = TrainConfig { hidden: model.network().shape.hidden(), lr: 0.01, ..TrainConfig::default() };
//! let vocabulary = Vocabulary::from_keywords(model.vocabulary().iter())?;
//! let statistics = Statistics { samples: 0, mean_keywords: 0.0, positives: vec![0; model.tags().len()] };
//! let mut trainer = Trainer::warm(config, &model, vocabulary, model.tags().clone(), &statistics)?;
//!
//! // A user says that this film should have this tag too.
//! let mut keywords: Vec<u32> = ["zombie", "wedding"].iter().filter_map(|word| model.vocabulary().get(word)).collect();
//! keywords.sort_unstable();
//! let tags: Vec<u32> = model.tags().get("zombie").map(|tag| tag as u32).into_iter().collect();
//! let live = LiveTagger::new(model, Contract::Same);
//! for index in 0..10 {
//!     let (targets, weights) = (Targets::Tags(&tags), PairWeights::All(1.0));
//!     trainer.step(&[Sample { index, keywords: &keywords, targets, weights }])?;
//! }
//! live.publish(trainer.model(Provenance::new())?)?;
//! assert_eq!(live.newest().generation(), 2);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "live"))]
//! # fn main() {}
//! ```
//!
//! Every sum over samples has a fixed order and every row is written by one thread, so weights are the same bits for any number
//! of threads and any kernel level; every random decision is a function of what it decides ([`crate::rng`]).

mod bank;
mod batch;
mod by_row;
mod checkpoint;
mod codec;
mod config;
mod decay;
mod dropout;
mod fit;
mod folds;
mod loader;
mod objective;
mod optimizer;
mod options;
mod order;
mod pairs;
mod parameters;
mod pass;
mod penalty;
pub mod recipe;
mod reduction;
mod run;
mod search;
mod state;
mod table;
mod trainer;
mod undo;
mod update;
mod warm;

pub use bank::{BankObserver, BankReport, TagDone, TagFailure};
pub use batch::{PairWeights, Sample, Targets};
pub use checkpoint::{Checkpoints, Every};
pub use config::{Correction, DecayMode, DecayWhen, EpsilonPlace, Negatives, OptimizerKind, Rowwise, TrainConfig};
pub use fit::{EpochReport, Event, FitReport, FitState, Observer, pool};
pub use folds::Unseen;
pub use objective::{Anchor, AnchorKind, Autoencoder, Objective, Pretrain};
pub use parameters::{Parameters, Statistics, glorot_radius, he_radius, prior_logit};
pub use penalty::{Penalty, PenaltyKind};
pub use reduction::Reduction;
pub use run::Run;
pub use search::{Trial, Trials, search};
pub use trainer::{StepReport, Trainer};
