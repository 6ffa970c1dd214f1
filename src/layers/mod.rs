//! The layers of the [network](crate::network), forward and backward side by side, each with its gradient check.
//!
//! Layers own nothing. They take slices of parameters and buffers and call [kernels](crate::kernels).
//!
//! A request does not go layer by layer: [`Tagger::score`](crate::Tagger::score) asks `Net::run` (a network, its weights, its kernels), which
//! asks `Forward::run` (buffers, so many items at a time), which asks `Kernels::forward` (one check for all), which calls the level's
//! `sum_bags` and then `tag_major` or, group by group, `panels`: the same functions of the level that the layers here call.

#[cfg(any(test, feature = "train"))]
pub(crate) mod activation;
#[cfg(any(test, feature = "train"))]
pub(crate) mod embedding_bag;
mod forward;
mod net;
#[cfg(any(test, feature = "train"))]
pub(crate) mod output;

pub(crate) use forward::Forward;
pub(crate) use net::{Net, Wanted};

/// The hidden units of one sample that are not zero, ascending, and their values.
#[cfg(feature = "train")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Active<'a> {
    /// Unit numbers: positions in the hidden vector, padding included.
    pub(crate) units: &'a [u32],
    /// The values of these units.
    pub(crate) values: &'a [f32],
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::aligned::{Block, LANES, as_floats_mut};
    use crate::rng::{Philox, unit};

    /// Deterministic numbers in [-1, 1).
    pub(crate) fn random_blocks(seed: u64, blocks: usize) -> Vec<Block> {
        let mut out = vec![Block::ZERO; blocks];
        for (i, x) in as_floats_mut(&mut out).iter_mut().enumerate() {
            *x = unit(Philox::new(seed).block([i as u32, 0, 0, LANES as u32])[0]) * 2.0 - 1.0;
        }
        out
    }
}
