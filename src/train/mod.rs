//! Training: one loop, one optimiser, for one network.
//!
//! A [`Trainer`] takes [steps](Trainer::step) on mini-batches of [samples](Sample): forward, loss, manual gradients, and the
//! optimiser on the rows that the mini-batch touched. [`Trainer::fit`] runs epochs over a data set and stops when validation says
//! so. [`Trainer::model`] makes a servable model at any time. [`recipe`] is all of it, from items to a model that tells how it was
//! made.
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
mod fit;
mod objective;
mod optimizer;
mod pairs;
mod parameters;
mod pass;
mod penalty;
pub mod recipe;
mod run;
mod state;
mod table;
mod trainer;
mod undo;
mod update;

pub use bank::{BankObserver, BankReport, TagDone};
pub use batch::{PairWeights, Sample, Targets};
pub use checkpoint::{Checkpoints, Every};
pub use config::{Correction, DecayMode, DecayWhen, EpsilonPlace, Negatives, OptimizerKind, Rowwise, TrainConfig};
pub use fit::{EpochReport, Event, FitReport, FitState, Observer, pool};
pub use objective::{Anchor, AnchorKind, Autoencoder, Objective, Pretrain};
pub use parameters::{Parameters, Statistics, glorot_radius, he_radius, prior_logit};
pub use penalty::{Penalty, PenaltyKind};
pub use run::Run;
pub use trainer::{StepReport, Trainer};
