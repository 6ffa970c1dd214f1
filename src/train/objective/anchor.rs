//! The anchor model: a vector for every keyword and every tag. A sample's *anchor* is made of the vectors of its keywords, and its
//! product with a tag's vector is the logit of the tag.
//!
//! ```text
//! A = Σ_{k∈S} E_k,  or that divided by |S|,  or act(b1 + Σ_{k∈S} E_k)         z_t = A · V_t
//! ```
//!
//! It is the network with W1 = E and a row of output weights V_t a tag, without biases. With negatives that are drawn by how frequent
//! tags are, products are not logits of probabilities: they are shifted by about −ln(n·q_t), n draws of share q_t, as those of word
//! vectors are (Levy & Goldberg, *Neural word embedding as implicit matrix factorization*, 2014).

use crate::named::named;

/// An anchor model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Anchor {
    /// What the anchor of a sample is.
    pub kind: AnchorKind,
    /// Negatives that are drawn ([`super::Negatives::Sampled`]: so many for each tag of a sample, 1,000,000 for a sample at most)
    /// are tags in proportion to their counts to this power, from 0 to 1.
    pub power: f64,
}

/// What the anchor of a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnchorKind {
    /// The sum of its keywords' vectors.
    Sum,
    /// Their mean; 0 without keywords.
    Mean,
    /// Hidden units on their sum, with their activation and bias.
    Hidden,
}

named!(AnchorKind, "anchor", "sum, mean or hidden", { Sum => "sum", Mean => "mean", Hidden => "hidden" });

impl Default for Anchor {
    fn default() -> Self {
        Anchor { kind: AnchorKind::Sum, power: 0.75 }
    }
}
