//! The kernels that only training asks for: a program that serves has none of them.

mod activation;
mod adagrad;
mod log_loss;
mod product;
mod rows;
mod scalar;

pub use adagrad::{AdaGradStep, Decay, Denominator, ProximalSteps, Rates, Shrink, Squares, SteppedRows};
pub use log_loss::{LogLoss, LossInputs, LossKind};
pub use product::{Product, RowsMut};

use super::{ActiveLists, HiddenRows, Kernels, Panels, Rows, check_ids, check_starts, magnitude, simd};
use crate::activation::Activation;
use crate::aligned::{Block, as_floats, blocks_for};
use crate::error::{Error, Result};
use crate::ids::Sets;

/// Where a sum starts; 0 if nowhere.
type Start<'a> = Option<&'a [Block]>;

/// [`Kernels::panels_backward_sparse`] of a level.
type BackwardSparse = unsafe fn(Panels<&[Block]>, HiddenRows<'_>, ActiveLists<'_>, &mut [Block], &mut RowsMut<'_>);

/// [`Kernels::adagrad_bags`] of a level.
type AdagradBags = unsafe fn(&AdaGradStep, SteppedRows<'_>, &[Block], Sets<'_>, &mut [Block], &mut [Block]);

/// One level's functions, as in [`super::Table`].
#[derive(Debug)]
pub(super) struct Table {
    sum_scaled_bags: unsafe fn(Rows<'_>, &[Block], Sets<'_>, f32, &mut [Block]),
    sum_weighted_bags: unsafe fn(Rows<'_>, Sets<'_>, &[f32], &mut [Block]),
    sum_rows: unsafe fn(Rows<'_>, Start<'_>, &[u32], &mut [Block]),
    weighted_sum_rows: unsafe fn(Rows<'_>, Start<'_>, &[u32], &[f32], &mut [Block]),
    dot_rows: unsafe fn(Rows<'_>, &[u32], &[Block], &mut [Block]),
    product: unsafe fn(Product<'_>, &mut RowsMut<'_>),
    panels_backward: unsafe fn(Panels<&[Block]>, HiddenRows<'_>, &mut RowsMut<'_>),
    panels_backward_sparse: BackwardSparse,
    activate_backward: unsafe fn(Activation, &[Block], &[Block], &mut [Block]),
    log_loss: unsafe fn(&LogLoss, LossInputs<'_>, &mut [Block]) -> f64,
    adagrad: unsafe fn(&AdaGradStep, &[Block], &mut [Block], Squares<'_>),
    adagrad_bags: AdagradBags,
    couple: unsafe fn(f32, f32, &[Block], &mut [Block]),
    shrink: unsafe fn(&Shrink, &mut [Block]),
    proximal: unsafe fn(&ProximalSteps<'_>, &mut [Block], &Squares<'_>),
    magnitude: unsafe fn(&[Block]) -> f32,
}

pub(super) static SCALAR: Table = Table {
    sum_scaled_bags: scalar::sum_scaled_bags,
    sum_weighted_bags: scalar::sum_weighted_bags,
    sum_rows: scalar::sum_rows,
    weighted_sum_rows: scalar::weighted_sum_rows,
    dot_rows: scalar::dot_rows,
    product: scalar::product,
    panels_backward: scalar::panels_backward,
    panels_backward_sparse: scalar::panels_backward_sparse,
    activate_backward: scalar::activate_backward,
    log_loss: scalar::log_loss,
    adagrad: scalar::adagrad,
    adagrad_bags: scalar::adagrad_bags,
    couple: scalar::couple,
    shrink: scalar::shrink,
    proximal: scalar::proximal,
    magnitude: scalar::magnitude,
};

/// Compiles every body for one level and puts the results in a table.
macro_rules! level {
    ($table:ident, $level:expr, $token:expr $(, #[$features:meta])?) => {
        pub(super) static $table: Table = {
            $(#[$features])?
            fn sum_scaled_bags(rows: Rows<'_>, init: &[Block], sets: Sets<'_>, factor: f32, out: &mut [Block]) {
                super::rows::sum_bags($token, rows, init, sets, rows::Same(factor), out);
            }
            $(#[$features])?
            fn sum_weighted_bags(rows: Rows<'_>, sets: Sets<'_>, weights: &[f32], out: &mut [Block]) {
                rows::sum_weighted_bags($token, rows, sets, weights, out);
            }
            $(#[$features])?
            fn sum_rows(rows: Rows<'_>, init: Start<'_>, ids: &[u32], out: &mut [Block]) {
                rows::sum($token, rows, init, ids, super::rows::Ones, out);
            }
            $(#[$features])?
            fn weighted_sum_rows(rows: Rows<'_>, init: Start<'_>, ids: &[u32], weights: &[f32], out: &mut [Block]) {
                rows::sum($token, rows, init, ids, weights, out);
            }
            $(#[$features])?
            fn dot_rows(rows: Rows<'_>, ids: &[u32], x: &[Block], partial_sums: &mut [Block]) {
                rows::dot($token, rows, ids, x, false, partial_sums);
            }
            $(#[$features])?
            fn product(product: Product<'_>, out: &mut RowsMut<'_>) {
                product::product($token, product, out);
            }
            $(#[$features])?
            fn panels_backward(panels: Panels<&[Block]>, delta: HiddenRows<'_>, out: &mut RowsMut<'_>) {
                product::panels_backward($token, panels, delta, out);
            }
            $(#[$features])?
            fn panels_backward_sparse(
                panels: Panels<&[Block]>,
                delta: HiddenRows<'_>,
                active: ActiveLists<'_>,
                partial_sums: &mut [Block],
                out: &mut RowsMut<'_>,
            ) {
                product::panels_backward_sparse($token, panels, delta, active, partial_sums, out);
            }
            $(#[$features])?
            fn activate_backward(activation: Activation, a: &[Block], h: &[Block], d: &mut [Block]) {
                activation::activate_backward($token, activation, a, h, d);
            }
            $(#[$features])?
            fn log_loss(loss: &LogLoss, inputs: LossInputs<'_>, logits: &mut [Block]) -> f64 {
                log_loss::log_loss($token, loss, inputs, logits)
            }
            $(#[$features])?
            fn adagrad(step: &AdaGradStep, gradients: &[Block], weights: &mut [Block], squares: Squares<'_>) {
                adagrad::adagrad($token, step, gradients, weights, squares);
            }
            $(#[$features])?
            fn adagrad_bags(
                step: &AdaGradStep,
                rows: SteppedRows<'_>,
                terms: &[Block],
                sets: Sets<'_>,
                weights: &mut [Block],
                squares: &mut [Block],
            ) {
                adagrad::adagrad_bags($token, step, rows, terms, sets, weights, squares);
            }
            $(#[$features])?
            fn couple(l1: f32, l2: f32, weights: &[Block], gradients: &mut [Block]) {
                adagrad::couple($token, l1, l2, weights, gradients);
            }
            $(#[$features])?
            fn shrink(shrink: &Shrink, weights: &mut [Block]) {
                adagrad::shrink($token, shrink, weights);
            }
            $(#[$features])?
            fn proximal(steps: &ProximalSteps<'_>, weights: &mut [Block], squares: &Squares<'_>) {
                adagrad::proximal(steps, weights, squares);
            }
            $(#[$features])?
            fn magnitude(x: &[Block]) -> f32 {
                magnitude::magnitude($token, as_floats(x))
            }
            Table {
                sum_scaled_bags,
                sum_weighted_bags,
                sum_rows,
                weighted_sum_rows,
                dot_rows,
                product,
                panels_backward,
                panels_backward_sparse,
                activate_backward,
                log_loss,
                adagrad,
                adagrad_bags,
                couple,
                shrink,
                proximal,
                magnitude,
            }
        };
    };
}

for_each_level!(level);

impl Kernels {
    /// The sum `out = init + Σ_n rows[ids[n]]`, added in the order of `ids`; without `init` the sum starts at 0.
    ///
    /// # Errors
    /// [`Error::Length`] if `init` and `out` differ in length; [`Error::KeywordOutOfRange`] if an id has no row.
    pub fn sum_rows(self, rows: Rows<'_>, init: Option<&[Block]>, ids: &[u32], out: &mut [Block]) -> Result<()> {
        check_init(init, out)?;
        check_ids(rows.count(out.len()), ids)?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.training.sum_rows)(rows, init, ids, out) };
        Ok(())
    }

    /// `out = init + Σ_n weights[n] · rows[ids[n]]`, added in the order of `ids`. A term with weight 0 changes no bit where rows are
    /// finite, so it may as well be left out.
    ///
    /// # Errors
    /// As [`Kernels::sum_rows`]; [`Error::Length`] also if `ids` and `weights` differ in length.
    pub fn weighted_sum_rows(
        self,
        rows: Rows<'_>,
        init: Option<&[Block]>,
        ids: &[u32],
        weights: &[f32],
        out: &mut [Block],
    ) -> Result<()> {
        check_init(init, out)?;
        Error::check_length("row weights", ids.len(), weights.len())?;
        check_ids(rows.count(out.len()), ids)?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.training.weighted_sum_rows)(rows, init, ids, weights, out) };
        Ok(())
    }

    /// Dot products of rows with `x`, left as 16 partial sums each: lane l of `partial_sums[n]` gains the products of the floats
    /// of `rows[ids[n]]` and `x` whose index is l mod 16, in ascending order. [`tree_sum`](super::tree_sum) finishes a dot product.
    ///
    /// # Errors
    /// [`Error::Length`] if `ids` and `partial_sums` differ in length; [`Error::KeywordOutOfRange`] if an id has no row.
    pub fn dot_rows(self, rows: Rows<'_>, ids: &[u32], x: &[Block], partial_sums: &mut [Block]) -> Result<()> {
        Error::check_length("partial sums", ids.len(), partial_sums.len())?;
        if x.is_empty() {
            return Ok(());
        }
        check_ids(rows.count(x.len()), ids)?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.training.dot_rows)(rows, ids, x, partial_sums) };
        Ok(())
    }

    /// [`Kernels::sum_bags`] with a factor on every row, and without an activation: `out = init + Σ_k factor · rows[k]`.
    ///
    /// # Errors
    /// As [`Kernels::sum_bags`].
    pub fn sum_scaled_bags(self, rows: Rows<'_>, init: &[Block], sets: Sets<'_>, factor: f32, out: &mut [Block]) -> Result<()> {
        Error::check_length("sums of bags", init.len().saturating_mul(sets.len()), out.len())?;
        sets.check_below(rows.count(init.len()))?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.training.sum_scaled_bags)(rows, init, sets, factor, out) };
        Ok(())
    }

    /// Adds weighted sums of rows to what stands in `out`, one for each set: `out += Σ_n weights[n] · rows[ids[n]]`, in ascending order, as
    /// [`Kernels::weighted_sum_rows`] does. A set's weights stand where its ids stand among all.
    ///
    /// # Errors
    /// [`Error::Length`] if `out` is no whole number of blocks a set, or if there is not a weight for every id;
    /// [`Error::KeywordOutOfRange`] if an id has no row.
    pub fn sum_weighted_bags(self, rows: Rows<'_>, sets: Sets<'_>, weights: &[f32], out: &mut [Block]) -> Result<()> {
        let width = out.len().checked_div(sets.len()).unwrap_or(0);
        Error::check_length("sums of bags", width.saturating_mul(sets.len()), out.len())?;
        sets.check_length("row weights", weights.len())?;
        sets.check_below(rows.count(width))?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.training.sum_weighted_bags)(rows, sets, weights, out) };
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
        unsafe { (self.table.training.product)(product, out) };
        Ok(())
    }

    /// `dh = δ·W2ᵀ` of one group: for each item and unit the dot product of δ and the unit's weights, the same bits as
    /// [`Kernels::dot_rows`] on panel after panel and [`tree_sum`](super::tree_sum). Floats behind the units are left alone.
    ///
    /// # Errors
    /// [`Error::Length`] if weights, δ or the result do not fit.
    pub fn panels_backward(self, panels: Panels<&[Block]>, delta: HiddenRows<'_>, out: &mut RowsMut<'_>) -> Result<()> {
        check_backward(panels, delta, out)?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.training.panels_backward)(panels, delta, out) };
        Ok(())
    }

    /// [`Kernels::panels_backward`] of the listed units only, for the lists of as many items as δ has. Other units' floats are left alone.
    ///
    /// # Errors
    /// [`Error::Length`] if weights, δ, lists or the result do not fit, or if there is not a partial sum for each listed unit;
    /// [`Error::KeywordOutOfRange`] if there is no such unit.
    pub fn panels_backward_sparse(
        self,
        panels: Panels<&[Block]>,
        delta: HiddenRows<'_>,
        active: ActiveLists<'_>,
        partial_sums: &mut [Block],
        out: &mut RowsMut<'_>,
    ) -> Result<()> {
        check_backward(panels, delta, out)?;
        Error::check_length("bounds of lists", delta.items.saturating_add(1), active.starts.len())?;
        Error::check_length("partial sums", active.units.len(), partial_sums.len())?;
        check_starts(active.starts, active.units.len())?;
        check_ids(panels.units, active.units)?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.training.panels_backward_sparse)(panels, delta, active, partial_sums, out) };
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
        unsafe { (self.table.training.activate_backward)(activation, a, h, d) };
        Ok(())
    }

    /// Log-loss of the pairs of one sample; its gradient by the logits takes their place.
    ///
    /// With u = z − ln π, target y, positive weight w, pair weight m, and softplus(x) = ln(1 + eˣ) in a form that does not overflow:
    ///
    /// ```text
    /// value    Σ m · (w·y·C(softplus(−u)) + (1−y)·C(softplus(u)))     C clamps to [−ln(1−eps), −ln eps], or not (`Logit`)
    /// gradient m · scale · ((1−y)·σ(u) − w·y·σ(−u))                   0 outside (eps, 1−eps) for `ClampTorch`
    /// ```
    ///
    /// The value is summed in f64, 16 partial sums. Of `ClampSte`, from 8 blocks on, the pairs of a block that count 0 or 1 each are summed as
    /// the logarithm of `Π (1 + e^−|u|)`, right to 2⁻²⁴ a pair: one logarithm for all. A pair with m = 0 contributes exactly 0 to both.
    ///
    /// # Errors
    /// [`Error::Length`] if the slices differ in length.
    pub fn log_loss(self, loss: &LogLoss, inputs: LossInputs<'_>, logits: &mut [Block]) -> Result<f64> {
        let LossInputs { targets, weights, positive_weights, offsets } = inputs;
        for (what, slice) in [
            ("targets", targets),
            ("pair weights", weights),
            ("positive weights", positive_weights),
            ("logit offsets", offsets),
        ] {
            Error::check_length(what, logits.len(), slice.len())?;
        }
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        Ok(unsafe { (self.table.training.log_loss)(loss, inputs, logits) })
    }

    /// One AdaGrad step on each float: `G += g²` if [`Squares`] says so, then `w ← w − γ·(g / D)` with the step's [`Decay`]. With
    /// g = 0 and no decay nothing changes.
    ///
    /// # Errors
    /// [`Error::Length`] if the slices differ in length.
    pub fn adagrad(self, step: &AdaGradStep, gradients: &[Block], weights: &mut [Block], squares: Squares<'_>) -> Result<()> {
        Error::check_length("gradients", weights.len(), gradients.len())?;
        squares.check_length(weights.len())?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.training.adagrad)(step, gradients, weights, squares) };
        Ok(())
    }

    /// [`Kernels::adagrad`] with growing sums on some rows of a table. The gradient of row `rows.ids[n]` is the sum of the rows of `terms` in
    /// set n, added in ascending order.
    ///
    /// # Errors
    /// [`Error::Length`] if `squares` is not as long as `weights`, or if there is not a set for each row;
    /// [`Error::KeywordOutOfRange`] for a row that the table does not have, or a term that there is not.
    pub fn adagrad_bags(
        self,
        step: &AdaGradStep,
        rows: SteppedRows<'_>,
        terms: &[Block],
        sets: Sets<'_>,
        weights: &mut [Block],
        squares: &mut [Block],
    ) -> Result<()> {
        Error::check_length("squared-gradient sums", weights.len(), squares.len())?;
        Error::check_length("rows to step on", sets.len(), rows.ids.len())?;
        sets.check_below(Rows::new(terms, rows.width).count(rows.width))?;
        let Some(count) = weights.len().checked_div(rows.width) else { return Ok(()) };
        let end = count.saturating_add(rows.first as usize);
        if let Some(&id) = rows.ids.iter().find(|id| **id < rows.first || **id as usize >= end) {
            return Err(Error::KeywordOutOfRange { id, keywords: end, item: None });
        }
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.training.adagrad_bags)(step, rows, terms, sets, weights, squares) };
        Ok(())
    }

    /// Adds the gradient of decay: `g ← g + l2·w + l1·sgn(w)`, held to the largest finite float. NaN stays NaN.
    ///
    /// # Errors
    /// [`Error::Length`] if the slices differ in length.
    pub fn couple(self, l1: f32, l2: f32, weights: &[Block], gradients: &mut [Block]) -> Result<()> {
        Error::check_length("gradients", weights.len(), gradients.len())?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.training.couple)(l1, l2, weights, gradients) };
        Ok(())
    }

    /// Decays weights, see [`Shrink`].
    pub fn shrink(self, shrink: &Shrink, weights: &mut [Block]) {
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.training.shrink)(shrink, weights) };
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
        unsafe { (self.table.training.proximal)(steps, weights, squares) };
        Ok(())
    }

    /// The largest |x|; NaN if any is not finite, 0 for an empty slice.
    #[must_use]
    pub fn magnitude(self, x: &[Block]) -> f32 {
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.training.magnitude)(x) }
    }
}

fn check_init(init: Option<&[Block]>, out: &[Block]) -> Result<()> {
    init.map_or(Ok(()), |init| Error::check_length("start of a sum", out.len(), init.len()))
}

fn check_backward(panels: Panels<&[Block]>, delta: HiddenRows<'_>, out: &RowsMut<'_>) -> Result<()> {
    Error::check_length("output weights", panels.width.saturating_mul(panels.units), panels.weights.len())?;
    delta.check(panels.width)?;
    out.check("gradients by hidden units", delta.items, blocks_for(panels.units))
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
