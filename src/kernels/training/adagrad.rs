//! The optimiser's kernels: AdaGrad (Duchi, Hazan, Singer, JMLR 12, 2011) with three kinds of decay, one pass over weights,
//! gradients and squared-gradient sums; and decay alone.

use crate::aligned::{Block, LANES};
use crate::ids::Sets;
use crate::kernels::rows::{Ahead, FAR_FROM, Ones, PREFETCH_FROM, Rows, Tile};
use crate::kernels::simd::Simd;

/// Constants of one AdaGrad step, see [`crate::kernels::Kernels::adagrad`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaGradStep {
    /// Learning rate γ of this step.
    pub lr: f32,
    /// What gradients are divided by.
    pub denominator: Denominator,
    /// The decay that goes with the step.
    pub decay: Decay,
}

/// `D = √(G + inside) + outside` for a squared-gradient sum G.
///
/// One of the two is AdaGrad's ε and the other 0, which changes no bit. Plain gradient descent is G = 1 with both 0: D = 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Denominator {
    /// Added to G.
    pub inside: f32,
    /// Added to the root.
    pub outside: f32,
}

/// Decay of weights beside a gradient step, `v = w − γ·g/D`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    /// `w ← v`.
    None,
    /// The weight shrinks, whatever its gradients were: `w ← S(w·factor − γ·g/D, offset)`, S the soft threshold.
    Shrink(Shrink),
    /// The proximal step of composite mirror descent (COMID; Duchi et al. 2011), divided by D as the gradient is:
    /// `w ← S(v, l1/D) / (1 + l2/D)`. Where G = 0, `w ← v`.
    Proximal {
        /// γ·λ1, finite.
        l1: f32,
        /// γ·λ2, finite.
        l2: f32,
    },
}

/// Decay of weights: `|w| ← max(0, |w|·factor − offset)`, the sign kept. The result is 0 where it would be subnormal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shrink {
    /// In [0, 1].
    pub factor: f32,
    /// At least 0.
    pub offset: f32,
}

impl Shrink {
    /// No decay.
    pub const NONE: Shrink = Shrink { factor: 1.0, offset: 0.0 };
}

/// The squared-gradient sums G of a slice of weights.
#[derive(Debug)]
pub enum Squares<'a> {
    /// One a weight; a step first adds the squared gradient.
    Grow(&'a mut [Block]),
    /// One a weight, as they are.
    Each(&'a [Block]),
    /// One for all, as it is.
    Same(f32),
}

/// Rows of a table that take a step, see [`crate::kernels::Kernels::adagrad_bags`].
#[derive(Clone, Copy, Debug)]
pub struct SteppedRows<'a> {
    /// Their numbers.
    pub ids: &'a [u32],
    /// The number of the table's first row.
    pub first: u32,
    /// Blocks in a row.
    pub width: usize,
}

/// Rows ahead at which [`crate::kernels::Kernels::adagrad_bags`] asks for a row.
const STEPS_AHEAD: usize = 16;

/// Proximal steps without a gradient, see [`crate::kernels::Kernels::proximal`].
#[derive(Clone, Copy, Debug)]
pub struct ProximalSteps<'a> {
    /// λ1.
    pub l1: f64,
    /// λ2.
    pub l2: f64,
    /// D.
    pub denominator: Denominator,
    /// γ of each step.
    pub rates: Rates<'a>,
}

/// Learning rates of consecutive steps.
#[derive(Clone, Copy, Debug)]
pub enum Rates<'a> {
    /// The same in each of so many steps.
    Constant(f64, u32),
    /// One a step.
    Varying(&'a [f64]),
}

/// See [`crate::kernels::Kernels::adagrad`]. All slices are equally long.
#[inline(always)]
pub(super) fn adagrad<S: Simd>(s: S, step: &AdaGradStep, gradients: &[Block], weights: &mut [Block], squares: Squares<'_>) {
    let pairs = gradients.iter().zip(weights);
    match squares {
        Squares::Grow(squares) => {
            for ((gradient, weight), square) in pairs.zip(squares) {
                grow(s, step, s.load(gradient), weight, square);
            }
        }
        Squares::Each(squares) => {
            for ((gradient, weight), square) in pairs.zip(squares) {
                s.store(stepped(s, step, s.load(gradient), s.load(weight), s.load(square)), weight);
            }
        }
        Squares::Same(sum) => {
            for (gradient, weight) in pairs {
                s.store(stepped(s, step, s.load(gradient), s.load(weight), s.splat(sum)), weight);
            }
        }
    }
}

/// See [`crate::kernels::Kernels::adagrad_bags`]. The rows lie in the table; there is a set for each, of terms that there are.
#[inline(always)]
pub(super) fn adagrad_bags<S: Simd>(
    s: S,
    step: &AdaGradStep,
    rows: SteppedRows<'_>,
    terms: &[Block],
    sets: Sets<'_>,
    weights: &mut [Block],
    squares: &mut [Block],
) {
    let SteppedRows { ids, width, .. } = rows;
    let bytes = size_of_val(weights);
    // Weights and sums are both read.
    let (asks, far) = (2 * bytes > PREFETCH_FROM, bytes > FAR_FROM);
    for (n, (&id, (set, _))) in ids.iter().zip(sets.iter()).enumerate() {
        let next = ids.get(n + STEPS_AHEAD).filter(|_| asks).map(|next| rows.start(*next));
        let row = Stepped { step, start: rows.start(id), next, far };
        let mut column = 0;
        while column < width {
            let bag = Tile { rows: Rows::new(terms, width), init: None, ids: set, column, ahead: Ahead::NONE };
            column += match width - column {
                8.. if S::TILE >= 8 => row.step_on::<S, 8>(s, &bag, weights, squares),
                4.. if S::TILE >= 4 => row.step_on::<S, 4>(s, &bag, weights, squares),
                2.. => row.step_on::<S, 2>(s, &bag, weights, squares),
                _ => row.step_on::<S, 1>(s, &bag, weights, squares),
            };
        }
    }
}

/// A row that takes a step.
struct Stepped<'a> {
    step: &'a AdaGradStep,
    /// Its first block.
    start: usize,
    /// That of the row to ask for.
    next: Option<usize>,
    far: bool,
}

impl Stepped<'_> {
    /// Steps on `N` blocks, whose gradient is the bag; returns `N`. Roots and quotients of one row take their time while the terms of the
    /// next are added.
    #[inline(always)]
    fn step_on<S: Simd, const N: usize>(
        &self,
        s: S,
        bag: &Tile<'_, Block>,
        weights: &mut [Block],
        squares: &mut [Block],
    ) -> usize {
        let gradients: [S::F; N] = bag.sums(s, Ones);
        for (column, g) in (bag.column..).zip(gradients) {
            if let Some(next) = self.next {
                s.prefetch(weights, next.wrapping_add(column), self.far);
                s.prefetch(squares, next.wrapping_add(column), self.far);
            }
            grow(s, self.step, g, &mut weights[self.start + column], &mut squares[self.start + column]);
        }
        N
    }
}

/// A step on 16 weights, given their gradient.
#[inline(always)]
fn grow<S: Simd>(s: S, step: &AdaGradStep, g: S::F, weight: &mut Block, square: &mut Block) {
    let sum = s.add(s.load(square), s.mul(g, g));
    s.store(sum, square);
    s.store(stepped(s, step, g, s.load(weight), sum), weight);
}

impl SteppedRows<'_> {
    /// Where row `id`, which the table has, begins.
    #[inline(always)]
    fn start(&self, id: u32) -> usize {
        (id - self.first) as usize * self.width
    }
}

/// The weight after a step.
#[inline(always)]
fn stepped<S: Simd>(s: S, step: &AdaGradStep, g: S::F, w: S::F, sum: S::F) -> S::F {
    let Denominator { inside, outside } = step.denominator;
    let denominator = s.add(s.sqrt(s.add(sum, s.splat(inside))), s.splat(outside));
    // The quotient first: it is 0 where G has overflowed, and no learning rate makes NaN of that.
    let change = s.mul(s.splat(step.lr), s.div(g, denominator));
    match step.decay {
        Decay::None => s.sub(w, change),
        Decay::Shrink(Shrink { factor, offset }) => {
            soft_threshold(s, s.sub(s.mul(w, s.splat(factor)), change), s.splat(offset))
        }
        Decay::Proximal { l1, l2 } => {
            let moved = s.sub(w, change);
            let magnitude = s.sub(s.abs(moved), s.div(s.splat(l1), denominator));
            // Zero before the division: D may be so small that both quotients are infinite.
            let magnitude = s.at_least(magnitude, s.splat(0.0));
            let magnitude = s.div(magnitude, s.add(s.splat(1.0), s.div(s.splat(l2), denominator)));
            let decayed = or_zero(s, magnitude, moved);
            s.select(s.equal(sum, s.splat(0.0)), moved, decayed)
        }
    }
}

/// See [`crate::kernels::Kernels::couple`].
#[inline(always)]
pub(super) fn couple<S: Simd>(s: S, l1: f32, l2: f32, weights: &[Block], gradients: &mut [Block]) {
    let (largest, zero) = (s.splat(f32::MAX), s.splat(0.0));
    for (weight, gradient) in weights.iter().zip(gradients) {
        let w = s.load(weight);
        let sign = s.zero_where(s.equal(w, zero), s.copysign(s.splat(l1), w));
        let g = s.add(s.add(s.load(gradient), s.mul(s.splat(l2), w)), sign);
        s.store(s.select(s.less(largest, s.abs(g)), s.copysign(largest, g), g), gradient);
    }
}

/// See [`crate::kernels::Kernels::shrink`].
#[inline(always)]
pub(super) fn shrink<S: Simd>(s: S, shrink: &Shrink, weights: &mut [Block]) {
    let (factor, offset) = (s.splat(shrink.factor), s.splat(shrink.offset));
    for weight in weights {
        s.store(soft_threshold(s, s.mul(s.load(weight), factor), offset), weight);
    }
}

/// `sgn(w)·max(|w| − offset, 0)`, and 0 instead of a subnormal number. NaN stays.
#[inline(always)]
fn soft_threshold<S: Simd>(s: S, w: S::F, offset: S::F) -> S::F {
    or_zero(s, s.sub(s.abs(w), offset), w)
}

/// `magnitude` with the sign of `w`, and 0 instead of a subnormal or negative one. NaN stays.
#[inline(always)]
fn or_zero<S: Simd>(s: S, magnitude: S::F, w: S::F) -> S::F {
    let vanishes = s.less(magnitude, s.splat(f32::MIN_POSITIVE));
    s.zero_where(vanishes, s.copysign(magnitude, w))
}

/// See [`crate::kernels::Kernels::proximal`]. In f64, of which [`Simd`] knows nothing: each lane is a plain loop, which the compiler turns
/// into the level's instructions and may not fuse.
///
/// A step is the map `u → a·u − b` of a magnitude, with `a = 1 / (1 + γλ2/D)` and `b = a·γλ1/D`, cut off at 0. Maps that rise can
/// be cut off once at the end; and n equal ones are the maps whose n is a power of two, each the one before applied twice:
/// `(a, b) → (a², b·(1 + a))`. Everything is a sum or product of numbers that are not negative, so nothing cancels.
#[inline(always)]
pub(super) fn proximal(steps: &ProximalSteps<'_>, weights: &mut [Block], squares: &Squares<'_>) {
    let Denominator { inside, outside } = steps.denominator;
    for (i, weight) in weights.iter_mut().enumerate() {
        let sums = match squares {
            Squares::Grow(squares) => squares[i].0,
            Squares::Each(squares) => squares[i].0,
            Squares::Same(sum) => [*sum; LANES],
        };
        let quotient = sums.map(|sum| 1.0 / ((f64::from(sum) + f64::from(inside)).sqrt() + f64::from(outside)));
        let mut u = weight.0.map(|w| f64::from(w.abs()));
        let map = |rate: f64| {
            let a = quotient.map(|q| 1.0 / (1.0 + rate * steps.l2 * q));
            let b: [f64; LANES] = std::array::from_fn(|lane| rate * steps.l1 * quotient[lane] * a[lane]);
            (a, b)
        };
        match steps.rates {
            Rates::Constant(rate, count) => {
                let ((mut a, mut b), mut count) = (map(rate), count);
                while count > 0 {
                    if count % 2 == 1 {
                        apply(&a, &b, &mut u);
                    }
                    b = std::array::from_fn(|lane| b[lane] * (1.0 + a[lane]));
                    a = a.map(|a| a * a);
                    count /= 2;
                }
            }
            Rates::Varying(rates) => {
                for &rate in rates {
                    let (a, b) = map(rate);
                    apply(&a, &b, &mut u);
                }
            }
        }
        for ((w, u), sum) in weight.0.iter_mut().zip(u).zip(sums) {
            let magnitude = u as f32;
            if sum != 0.0 {
                *w = if magnitude < f32::MIN_POSITIVE { 0.0 } else { magnitude.copysign(*w) };
            }
        }
    }
}

#[inline(always)]
fn apply(a: &[f64; LANES], b: &[f64; LANES], u: &mut [f64; LANES]) {
    for ((u, a), b) in u.iter_mut().zip(a).zip(b) {
        *u = *u * a - b;
    }
}
