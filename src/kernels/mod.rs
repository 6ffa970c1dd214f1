//! All arithmetic on slices, at a [`Level`] chosen once.
//!
//! [`Kernels`] is a handle to one table of functions. Its methods check lengths and indices, so they are safe and never panic.
//!
//! **Same bits on every level.** Products are rounded before they are added; there is no fused multiply-add anywhere. Sums run in
//! the order that each method states. Sums across lanes keep 16 partial sums (index mod 16) and end in [`tree_sum`].
//! Square root and division are the IEEE ones. `exp` and `log1p` are our own, not the platform's.
//!
//! Each operation's body is written once, over the small vocabulary in `simd/`, and compiled for each level; [`Level::Scalar`]
//! is a second, naive text that the others are tested against.

#![allow(unsafe_code, reason = "calls into functions that need a level's instructions, see `Kernels`")]

mod activation;
mod integers;
mod level;
mod magnitude;
mod network;
mod output;
mod rows;
mod scalar;
mod select;
mod sigmoid;
mod simd;
#[cfg(target_arch = "x86_64")]
mod vnni;

/// Calls `$make` with the name, level, token and instructions of each level that is compiled from the bodies.
macro_rules! for_each_level {
    ($make:ident) => {
        $make!(PORTABLE, Level::Portable, simd::portable::Portable);
        #[cfg(target_arch = "x86_64")]
        $make!(AVX2, Level::Avx2, simd::avx2::Avx2::new(), #[target_feature(enable = "avx2,f16c,popcnt")]);
        #[cfg(target_arch = "x86_64")]
        $make!(
            AVX512,
            Level::Avx512,
            simd::avx512::Avx512::<false>::new(),
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,popcnt")]
        );
    };
}

#[cfg(any(test, feature = "train"))]
mod training;

pub use activation::ActiveUnits;
pub(crate) use activation::clear_padding;
pub(crate) use integers::{MAX_INTEGERS, largest_integer};
pub use level::Level;
pub(crate) use network::ForwardBuffers;
#[cfg(any(test, feature = "train"))]
pub(crate) use output::is_dense;
pub use output::{ActiveLists, Answer, Answers, HiddenRows, ListBuffers, PANEL_BLOCKS, Panels, TagMajor};
#[cfg(test)]
pub(crate) use rows::PREFETCH_FROM;
pub use rows::{Rows, tree_sum};
pub use select::Bounds;
#[cfg(any(test, feature = "train"))]
pub use training::{
    AdaGradStep, Decay, Denominator, LogLoss, LossInputs, LossKind, Product, ProximalSteps, Rates, RowsMut, Shrink, Squares,
    SteppedRows,
};

use crate::activation::Activation;
use crate::aligned::{Block, LANES, blocks_for};
use crate::error::{Error, Result};
use crate::ids::Sets;
use crate::weights::Matrix;

/// The kernels of one level that this machine has.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    // Invariant: the machine has the table's level. That is what every call through the table relies on.
    table: &'static Table,
}

/// One level's functions. They may use instructions that only that level has, hence `unsafe`.
#[derive(Debug)]
struct Table {
    level: Level,
    ascends: unsafe fn(&[u32]) -> bool,
    sum_bags: unsafe fn(&Matrix<'_>, &[Block], Activation, Sets<'_>, &mut [Block]),
    panels: unsafe fn(Panels<&Matrix<'_>>, HiddenRows<'_>, ListBuffers<'_>, &[Block], &mut Answers<'_>),
    panels_sparse: unsafe fn(Panels<&Matrix<'_>>, ActiveLists<'_>, &[Block], &mut Answers<'_>),
    panels_dense: unsafe fn(Panels<&Matrix<'_>>, HiddenRows<'_>, &[Block], &mut Answers<'_>),
    tag_major: unsafe fn(TagMajor<'_>, HiddenRows<'_>, &mut Answers<'_>),
    activate: unsafe fn(Activation, &[Block], &mut [Block]),
    list_active: unsafe fn(&[Block], ActiveUnits<'_>) -> usize,
    list_reaching: unsafe fn(&[f32], Bounds<'_>, f32, ActiveUnits<'_>) -> usize,
    sigmoid: unsafe fn(f32, &mut [f32]),
    #[cfg(any(test, feature = "train"))]
    training: &'static training::Table,
}

static SCALAR: Table = Table {
    level: Level::Scalar,
    ascends: scalar::ascends,
    sum_bags: scalar::sum_bags,
    panels: scalar::panels,
    panels_sparse: scalar::panels_sparse,
    panels_dense: scalar::panels_dense,
    tag_major: scalar::tag_major,
    activate: scalar::activate,
    list_active: scalar::list_active,
    list_reaching: scalar::list_reaching,
    sigmoid: scalar::sigmoid,
    #[cfg(any(test, feature = "train"))]
    training: &training::SCALAR,
};

/// Compiles every body for one level and puts the results in a table.
macro_rules! level {
    ($table:ident, $level:expr, $token:expr $(, #[$features:meta])?) => {
        static $table: Table = {
            $(#[$features])?
            fn ascends(ids: &[u32]) -> bool {
                crate::ids::ascends(ids)
            }
            $(#[$features])?
            fn sum_bags(
                table: &Matrix<'_>,
                init: &[Block],
                activation: Activation,
                sets: Sets<'_>,
                out: &mut [Block],
            ) {
                rows::sum_table_bags($token, table, init, sets, out);
                activation::activate_in_place($token, activation, out);
            }
            $(#[$features])?
            fn panels(
                panels: Panels<&Matrix<'_>>,
                hidden: HiddenRows<'_>,
                lists: ListBuffers<'_>,
                bias: &[Block],
                answers: &mut Answers<'_>,
            ) {
                match output::list($token, panels, hidden, lists) {
                    Some(active) => panels_sparse(panels, active, bias, answers),
                    None => panels_dense(panels, hidden, bias, answers),
                }
            }
            $(#[$features])?
            fn panels_sparse(panels: Panels<&Matrix<'_>>, active: ActiveLists<'_>, bias: &[Block], answers: &mut Answers<'_>) {
                output::sparse($token, panels, active, bias, answers);
                let items = active.starts.len().saturating_sub(1);
                integers::score(panels.weights, items, answers, |eps, floats| sigmoid(eps, floats));
            }
            $(#[$features])?
            fn panels_dense(panels: Panels<&Matrix<'_>>, hidden: HiddenRows<'_>, bias: &[Block], answers: &mut Answers<'_>) {
                output::dense($token, panels, hidden, bias, answers);
                integers::score(panels.weights, hidden.items, answers, |eps, floats| sigmoid(eps, floats));
            }
            $(#[$features])?
            fn tag_major(tags: TagMajor<'_>, hidden: HiddenRows<'_>, answers: &mut Answers<'_>) {
                output::tag_major($token, tags, hidden, answers);
            }
            $(#[$features])?
            fn activate(activation: Activation, a: &[Block], h: &mut [Block]) {
                activation::activate($token, activation, a, h);
            }
            $(#[$features])?
            fn list_active(h: &[Block], active: ActiveUnits<'_>) -> usize {
                activation::list_active($token, h, active)
            }
            $(#[$features])?
            fn list_reaching(scores: &[f32], bounds: Bounds<'_>, above: f32, list: ActiveUnits<'_>) -> usize {
                select::list_reaching($token, scores, bounds, above, list)
            }
            $(#[$features])?
            fn sigmoid(eps: f32, x: &mut [f32]) {
                sigmoid::sigmoid($token, eps, x);
            }
            Table {
                level: $level,
                ascends,
                sum_bags,
                panels,
                panels_sparse,
                panels_dense,
                tag_major,
                activate,
                list_active,
                list_reaching,
                sigmoid,
                #[cfg(any(test, feature = "train"))]
                training: &training::$table,
            }
        };
    };
}

for_each_level!(level);

impl Kernels {
    /// The fastest kernels of this machine.
    #[must_use]
    pub fn best() -> Self {
        Self::at(Level::best()).unwrap_or(Kernels { table: &SCALAR })
    }

    /// The kernels of `level`.
    ///
    /// # Errors
    /// [`Error::UnsupportedLevel`] if this machine lacks the level.
    pub fn at(level: Level) -> Result<Self> {
        if !level.is_available() {
            return Err(Error::UnsupportedLevel { wanted: level.name(), best: Level::best().name() });
        }
        let table = match level {
            Level::Scalar => &SCALAR,
            Level::Portable => &PORTABLE,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => &AVX2,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 if vnni::is_available() => &vnni::AVX512,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => &AVX512,
            #[cfg(not(target_arch = "x86_64"))]
            _ => return Err(Error::UnsupportedLevel { wanted: level.name(), best: Level::best().name() }),
        };
        Ok(Kernels { table })
    }

    /// The level in use.
    #[must_use]
    pub fn level(self) -> Level {
        self.table.level
    }

    /// [`Sets::new`], at the speed of the level.
    #[must_use]
    #[inline]
    pub fn sets<'a>(self, ids: &'a [u32], starts: &'a [usize]) -> Option<Sets<'a>> {
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        Sets::new_with(ids, starts, |set| unsafe { (self.table.ascends)(set) })
    }

    /// Embedding bags: for each set `out = act(init + Σ_k table[k])`, rows of as many blocks as `init`, added in ascending order.
    /// Integers are added exactly, and their sum is multiplied with its column's scale before `init` is added. Rows of
    /// large tables are asked for before they are added, across sets.
    ///
    /// # Errors
    /// [`Error::Length`] unless `out` has as many blocks for each set as `init`, and the table, if it has scales, as many of them;
    /// [`Error::KeywordOutOfRange`] if an id has no row; [`Error::TooLarge`] if a set has more than 131,072 ids and the table
    /// is of integers.
    #[inline]
    pub fn sum_bags(
        self,
        table: &Matrix<'_>,
        init: &[Block],
        activation: Activation,
        sets: Sets<'_>,
        out: &mut [Block],
    ) -> Result<()> {
        Error::check_length("sums of bags", init.len().saturating_mul(sets.len()), out.len())?;
        // Rows without columns are never read.
        sets.check_below(table.len().checked_div(init.len()).unwrap_or(usize::MAX))?;
        if let Matrix::I8 { scales, .. } = table {
            Error::check_length("scales", init.len(), scales.len())?;
        }
        integers::check(table, sets)?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.sum_bags)(table, init, activation, sets, out) };
        Ok(())
    }

    /// Answers of one group, in panels: lists the units that are not zero, and goes on as [`Kernels::panels_sparse`] or
    /// [`Kernels::panels_dense`], whichever is faster for so many.
    ///
    /// # Errors
    /// [`Error::Length`] if weights, bias, hidden vectors, lists or answers do not fit.
    #[inline]
    pub fn panels(
        self,
        panels: Panels<&Matrix<'_>>,
        hidden: HiddenRows<'_>,
        lists: ListBuffers<'_>,
        bias: &[Block],
        answers: &mut Answers<'_>,
    ) -> Result<()> {
        check_panels(panels, bias)?;
        let width = blocks_for(panels.units);
        hidden.check(width)?;
        answers.check(hidden.items, panels.width * LANES)?;
        lists.check(hidden.items, width)?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.panels)(panels, hidden, lists, bias, answers) };
        Ok(())
    }

    /// Answers of one group from the hidden units that are not zero: a logit is the bias, then `h_j·W2[j]` in the order of the
    /// units. With weights of type `i8` units are rounded, products are added exactly, and scale and bias come last, see
    /// [`WeightType`](crate::weights::WeightType).
    ///
    /// # Errors
    /// [`Error::Length`] if weights, bias, lists or answers do not fit; [`Error::KeywordOutOfRange`] if there is no such unit.
    pub fn panels_sparse(
        self,
        panels: Panels<&Matrix<'_>>,
        active: ActiveLists<'_>,
        bias: &[Block],
        answers: &mut Answers<'_>,
    ) -> Result<()> {
        let ActiveLists { starts, units, values } = active;
        check_panels(panels, bias)?;
        Error::check_length("values of units", units.len(), values.len())?;
        check_starts(starts, units.len())?;
        check_ids(panels.units, units)?;
        answers.check(starts.len().saturating_sub(1), panels.width * LANES)?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.panels_sparse)(panels, active, bias, answers) };
        Ok(())
    }

    /// The same bits as [`Kernels::panels_sparse`], from whole hidden vectors; weights are finite.
    ///
    /// # Errors
    /// [`Error::Length`] if weights, bias, hidden vectors or answers do not fit.
    pub fn panels_dense(
        self,
        panels: Panels<&Matrix<'_>>,
        hidden: HiddenRows<'_>,
        bias: &[Block],
        answers: &mut Answers<'_>,
    ) -> Result<()> {
        check_panels(panels, bias)?;
        hidden.check(blocks_for(panels.units))?;
        answers.check(hidden.items, panels.width * LANES)?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.panels_dense)(panels, hidden, bias, answers) };
        Ok(())
    }

    /// Answers of all groups, tag-major: a logit is the dot product of a tag's row with the hidden vector of its group, 16 partial
    /// sums (unit mod 16) in ascending order, then [`tree_sum`], the scale of weights of type `i8`, and
    /// the bias. The groups' hidden vectors lie side by side.
    ///
    /// # Errors
    /// [`Error::Length`] if weights, groups, hidden vectors or answers do not fit.
    #[inline]
    pub fn tag_major(self, tags: TagMajor<'_>, hidden: HiddenRows<'_>, answers: &mut Answers<'_>) -> Result<()> {
        let TagMajor { weights, width, groups, bias } = tags;
        weights.check("output weights", width.saturating_mul(bias.len()), blocks_for(bias.len()))?;
        Error::check_length("tags of all groups", bias.len(), groups.iter().fold(0, |sum, tags| tags.saturating_add(sum)))?;
        hidden.check(width.saturating_mul(groups.len()))?;
        Error::check_length("tags", bias.len(), answers.tags)?;
        answers.check(hidden.items, bias.len())?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.tag_major)(tags, hidden, answers) };
        Ok(())
    }

    /// `h = act(a)`, see [`Activation`]; NaN stays NaN. Padding is treated like a unit, and σ(0) is not 0.
    ///
    /// # Errors
    /// [`Error::Length`] if `a` and `h` differ in length.
    pub fn activate(self, activation: Activation, a: &[Block], h: &mut [Block]) -> Result<()> {
        Error::check_length("hidden units", a.len(), h.len())?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.activate)(activation, a, h) };
        Ok(())
    }

    /// Lists the units that are not zero, NaN included, and returns how many there are.
    ///
    /// # Errors
    /// [`Error::Length`] unless `active` has exactly as many places as `h` has floats.
    pub fn list_active(self, h: &[Block], active: ActiveUnits<'_>) -> Result<usize> {
        Error::check_length("active units", h.len() * LANES, active.units.len())?;
        Error::check_length("active units", h.len() * LANES, active.values.len())?;
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        Ok(unsafe { (self.table.list_active)(h, active) })
    }

    /// Lists the scores that are at least their bound and more than `above`, by ascending index, and returns how many there are.
    /// NaN is never listed. A list longer than that may be written to behind them.
    ///
    /// # Errors
    /// [`Error::Length`] unless there are as many bounds as scores, and `list` has a place for each.
    pub fn list_reaching(self, scores: &[f32], bounds: Bounds<'_>, above: f32, list: ActiveUnits<'_>) -> Result<usize> {
        if let Bounds::Each(bounds) = bounds {
            Error::check_length("bounds of scores", scores.len(), bounds.len())?;
        }
        for found in [list.units.len(), list.values.len()] {
            if found < scores.len() {
                return Err(Error::Length { what: "list of scores", expected: scores.len(), found });
            }
        }
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        Ok(unsafe { (self.table.list_reaching)(scores, bounds, above, list) })
    }

    /// `x = clamp(σ(x), eps, 1 − eps)`; NaN stays NaN.
    pub fn sigmoid(self, eps: f32, x: &mut [f32]) {
        // SAFETY: the machine has the table's level (invariant of `Kernels`).
        unsafe { (self.table.sigmoid)(eps, x) };
    }
}

/// Fails unless `starts` ascends to no more than `ids`.
fn check_starts(starts: &[usize], ids: usize) -> Result<()> {
    match starts.last() {
        Some(&end) if end > ids || !starts.is_sorted() => {
            Err(Error::Length { what: "ids of bags", expected: starts.iter().copied().fold(0, usize::max), found: ids })
        }
        _ => Ok(()),
    }
}

fn check_panels(panels: Panels<&Matrix<'_>>, bias: &[Block]) -> Result<()> {
    Error::check_length("output biases", panels.width, bias.len())?;
    panels.weights.check("output weights", panels.width.saturating_mul(panels.units), panels.width)
}

fn check_ids(rows: usize, ids: &[u32]) -> Result<()> {
    let largest = ids.iter().copied().fold(0, u32::max);
    if ids.is_empty() || (largest as usize) < rows {
        Ok(())
    } else {
        Err(Error::KeywordOutOfRange { id: largest, keywords: rows, item: None })
    }
}

#[cfg(test)]
mod tests;
