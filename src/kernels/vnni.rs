//! The AVX-512 level on CPUs that multiply integers and add the products in one instruction (VNNI).
//!
//! Sums of integers are exact, so that answers are the same bits. Only dense layers of integers gain: in sparse ones weights wait to be widened.

use super::integers::IntegerPanels;
use super::output::{Answers, HiddenRows, ListBuffers, Panels, list};
use super::simd::avx512::Avx512;
use super::{Table, integers};
use crate::aligned::Block;
use crate::weights::Matrix;

/// Whether this machine has the instructions, beside the level's.
pub(super) fn is_available() -> bool {
    std::arch::is_x86_feature_detected!("avx512vnni")
}

/// The level's kernels, but for dense layers of integers.
pub(super) static AVX512: Table = Table { panels, panels_dense, ..super::AVX512 };

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,popcnt")]
fn panels(
    panels: Panels<&Matrix<'_>>,
    hidden: HiddenRows<'_>,
    lists: ListBuffers<'_>,
    bias: &[Block],
    answers: &mut Answers<'_>,
) {
    match list(Avx512::with_vnni(), panels, hidden, lists) {
        // SAFETY: this function runs where all of the level's instructions are.
        Some(active) => unsafe { (super::AVX512.panels_sparse)(panels, active, bias, answers) },
        None => panels_dense(panels, hidden, bias, answers),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,popcnt")]
fn panels_dense(panels: Panels<&Matrix<'_>>, hidden: HiddenRows<'_>, bias: &[Block], answers: &mut Answers<'_>) {
    let Panels { weights, units, width } = panels;
    let Matrix::I8 { weights: blocks, scales } = weights else {
        // SAFETY: this function runs where all of the level's instructions are.
        return unsafe { (super::AVX512.panels_dense)(panels, hidden, bias, answers) };
    };
    IntegerPanels { panels: Panels { weights: blocks, units, width }, scales, bias }.dense(
        Avx512::with_vnni(),
        hidden,
        answers,
    );
    integers::score(weights, hidden.items, answers, |eps, floats| {
        // SAFETY: this function runs where all of the level's instructions are.
        unsafe { (super::AVX512.sigmoid)(eps, floats) };
    });
}
