//! The kernels that only training asks for.

use super::{
    AdaGradStep, HiddenRows, Kernels, LogLoss, LossInputs, Panels, Product, ProximalSteps, Rows, RowsMut, Shrink, Squares,
    SteppedRows,
};
use crate::activation::Activation;
use crate::aligned::{Block, blocks_for};
use crate::error::{Error, Result};
use crate::ids::Sets;

impl Kernels {
    /// [`Kernels::sum_bags`] with a factor on every row, and without an activation: `out = init + Σ_k factor · rows[k]`.
    ///
    /// # Errors
    /// As [`Kernels::sum_bags`].
    pub fn sum_scaled_bags(self, rows: Rows<'_>, init: &[Block], sets: Sets<'_>, factor: f32, out: &mut [Block]) -> Result<()> {
        Error::check_length("sums of bags", init.len().saturating_mul(sets.len()), out.len())?;
        sets.check_below(rows.count(init.len()))?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.sum_scaled_bags)(rows, init, sets, factor, out) };
        Ok(())
    }

    /// Row m of the result is `Σ_k factor(m, k) · rows[k]`, in ascending order of k. The same bits as [`Kernels::weighted_sum_rows`]
    /// with or without terms whose factor is 0, if rows are finite.
    ///
    /// # Errors
    /// [`Error::Length`] if there are too few factors or rows, or no room for the result.
    pub fn product(self, product: Product<'_>, out: &mut RowsMut<'_>) -> Result<()> {
        product.check()?;
        out.check("rows of a product", product.items, product.width)?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.product)(product, out) };
        Ok(())
    }

    /// `dh = δ·W2ᵀ` of one group: for each item and unit the dot product of δ and the unit's weights, the same bits as
    /// [`Kernels::dot_rows`] on panel after panel and [`tree_sum`](super::tree_sum). Floats behind the units are left alone.
    ///
    /// # Errors
    /// [`Error::Length`] if weights, δ or the result do not fit.
    pub fn panels_backward(self, panels: Panels<&[Block]>, delta: HiddenRows<'_>, out: &mut RowsMut<'_>) -> Result<()> {
        Error::check_length("output weights", panels.width.saturating_mul(panels.units), panels.weights.len())?;
        delta.check(panels.width)?;
        out.check("gradients by hidden units", delta.items, blocks_for(panels.units))?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.panels_backward)(panels, delta, out) };
        Ok(())
    }

    /// `d = d ⊙ act'(a)`, given `h = act(a)`: turns the gradient by h into the gradient by a. NaN where h is NaN.
    ///
    /// # Errors
    /// [`Error::Length`] if the slices differ in length.
    pub fn activate_backward(self, activation: Activation, a: &[Block], h: &[Block], d: &mut [Block]) -> Result<()> {
        Error::check_length("hidden units", a.len(), h.len())?;
        Error::check_length("gradients by hidden units", a.len(), d.len())?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.activate_backward)(activation, a, h, d) };
        Ok(())
    }

    /// Log-loss of the pairs of one sample, and its gradient by the logits.
    ///
    /// With u = z − ln π, target y, positive weight w, pair weight m, and softplus(x) = ln(1 + eˣ) in a form that does not overflow:
    ///
    /// ```text
    /// value    Σ m · (w·y·C(softplus(−u)) + (1−y)·C(softplus(u)))     C clamps to `bounds`, or not (`Logit`)
    /// gradient m · scale · ((1−y)·σ(u) − w·y·σ(−u))                   0 outside (eps, 1−eps) for `ClampTorch`
    /// ```
    ///
    /// The value is summed in f64, 16 partial sums. A pair with m = 0 contributes exactly 0 to both.
    ///
    /// # Errors
    /// [`Error::Length`] if the slices differ in length.
    pub fn log_loss(self, loss: &LogLoss, inputs: LossInputs<'_>, gradient: &mut [Block]) -> Result<f64> {
        let LossInputs { logits, targets, weights, positive_weights, offsets } = inputs;
        for (what, slice) in [
            ("logits", logits),
            ("targets", targets),
            ("pair weights", weights),
            ("positive weights", positive_weights),
            ("logit offsets", offsets),
        ] {
            Error::check_length(what, gradient.len(), slice.len())?;
        }
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        Ok(unsafe { (self.table.log_loss)(loss, inputs, gradient) })
    }

    /// One AdaGrad step on each float: `G += g²` if [`Squares`] says so, then `w ← w − γ·(g / D)` with the step's [`Decay`](super::Decay). With
    /// g = 0 and no decay nothing changes.
    ///
    /// # Errors
    /// [`Error::Length`] if the slices differ in length.
    pub fn adagrad(self, step: &AdaGradStep, gradients: &[Block], weights: &mut [Block], squares: Squares<'_>) -> Result<()> {
        Error::check_length("gradients", weights.len(), gradients.len())?;
        squares.check_length(weights.len())?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.adagrad)(step, gradients, weights, squares) };
        Ok(())
    }

    /// [`Kernels::adagrad`] with growing sums on some rows of a table, each with its own gradient, row after row in `gradients`.
    ///
    /// # Errors
    /// [`Error::Length`] if `squares` is not as long as `weights`, or if there are not as many rows as gradients;
    /// [`Error::KeywordOutOfRange`] for a row that the table does not have.
    pub fn adagrad_rows(
        self,
        step: &AdaGradStep,
        rows: SteppedRows<'_>,
        gradients: &[Block],
        weights: &mut [Block],
        squares: &mut [Block],
    ) -> Result<()> {
        let count = gradients.len().checked_div(rows.width).unwrap_or(0);
        Error::check_length("squared-gradient sums", weights.len(), squares.len())?;
        Error::check_length("gradients of rows", count.saturating_mul(rows.width), gradients.len())?;
        if rows.ids.len() < count {
            return Err(Error::Length { what: "rows to step on", expected: count, found: rows.ids.len() });
        }
        let end = weights.len().checked_div(rows.width).unwrap_or(0).saturating_add(rows.first as usize);
        if let Some(&id) = rows.ids[..count].iter().find(|id| **id < rows.first || **id as usize >= end) {
            return Err(Error::KeywordOutOfRange { id, keywords: end, item: None });
        }
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.adagrad_rows)(step, rows, gradients, weights, squares) };
        Ok(())
    }

    /// Adds the gradient of decay: `g ← g + l2·w + l1·sgn(w)`, held to the largest finite float. NaN stays NaN.
    ///
    /// # Errors
    /// [`Error::Length`] if the slices differ in length.
    pub fn couple(self, l1: f32, l2: f32, weights: &[Block], gradients: &mut [Block]) -> Result<()> {
        Error::check_length("gradients", weights.len(), gradients.len())?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.couple)(l1, l2, weights, gradients) };
        Ok(())
    }

    /// Decays weights, see [`Shrink`].
    pub fn shrink(self, shrink: &Shrink, weights: &mut [Block]) {
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.shrink)(shrink, weights) };
    }

    /// Takes proximal steps without a gradient, any number of steps of one rate at once:
    /// `|w| ← max(0, |w| − γ·l1/D) / (1 + γ·l2/D)` in each, G as it is; where G = 0 nothing changes. Computed in f64 with `+ - * /`
    /// and the root; the result is 0 where it would be subnormal.
    ///
    /// # Errors
    /// [`Error::Length`] if there are not as many sums as weights.
    pub fn proximal(self, steps: &ProximalSteps<'_>, weights: &mut [Block], squares: &Squares<'_>) -> Result<()> {
        squares.check_length(weights.len())?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.proximal)(steps, weights, squares) };
        Ok(())
    }

    /// The largest |x|; NaN if any is not finite, 0 for an empty slice.
    #[must_use]
    pub fn magnitude(self, x: &[Block]) -> f32 {
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.magnitude)(x) }
    }
}

impl Squares<'_> {
    fn check_length(&self, weights: usize) -> Result<()> {
        match self {
            Squares::Grow(sums) => Error::check_length("squared-gradient sums", weights, sums.len()),
            Squares::Each(sums) => Error::check_length("squared-gradient sums", weights, sums.len()),
            Squares::Same(_) => Ok(()),
        }
    }
}
