//! Which scores reach a bound.

use super::activation::ActiveUnits;
use super::simd::Simd;
use crate::aligned::{Block, LANES};

/// The least score that is listed, see [`super::Kernels::list_reaching`].
#[derive(Clone, Copy, Debug)]
pub enum Bounds<'a> {
    /// A bound for each score.
    Each(&'a [f32]),
    /// One for all.
    Same(f32),
}

impl<'a> Bounds<'a> {
    /// Those for the scores in `range`.
    #[must_use]
    pub(crate) fn slice(self, range: std::ops::Range<usize>) -> Self {
        match self {
            Bounds::Each(bounds) => Bounds::Each(&bounds[range]),
            same @ Bounds::Same(_) => same,
        }
    }

    pub(super) fn at(self, index: usize) -> f32 {
        match self {
            Bounds::Each(bounds) => bounds[index],
            Bounds::Same(bound) => bound,
        }
    }
}

/// See [`super::Kernels::list_reaching`]. There is a bound for each score, and the list has room for all.
#[inline(always)]
pub(super) fn list_reaching<S: Simd>(s: S, scores: &[f32], bounds: Bounds<'_>, above: f32, list: ActiveUnits<'_>) -> usize {
    let ActiveUnits { units, values } = list;
    let mut count = 0;
    let (blocks, rest) = scores.as_chunks::<LANES>();
    for (number, block) in blocks.iter().enumerate() {
        let score = s.load(block);
        let bound = match bounds {
            Bounds::Each(bounds) => s.load(&bounds.as_chunks::<LANES>().0[number]),
            Bounds::Same(bound) => s.splat(bound),
        };
        let reaching = s.select(s.less_or_equal(bound, score), score, s.splat(f32::NEG_INFINITY));
        let listed = s.less(s.splat(above), reaching);
        if s.bits(listed) == 0 {
            continue;
        }
        // So far at most 16 scores a block are listed, so there is room for 16 more.
        let (Some((units, _)), Some((values, _))) =
            (units[count..].split_first_chunk_mut(), values[count..].split_first_chunk_mut())
        else {
            return count;
        };
        count += s.compress(listed, &Block(*block), (number * LANES) as u32, units, values);
    }
    for (index, &score) in (blocks.len() * LANES..).zip(rest) {
        if score >= bounds.at(index) && score > above {
            (units[count], values[count]) = (index as u32, score);
            count += 1;
        }
    }
    count
}
