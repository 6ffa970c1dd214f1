//! Calibration: the map from the logit that a network computes for a tag to one whose sigmoid is how often the tag is right.
//!
//! A map is piecewise linear and never falls, so it changes probabilities and no tag's order of items. Between two knots it
//! interpolates, `y_i + (z - x_i) / (x_{i+1} - x_i) · (y_{i+1} - y_i)`, at most `y_{i+1}`; before the first and after the last knot
//! it goes on with a slope, `y + (z - x) · slope`. So Platt's scaling is one knot, isotonic regression some of them, and
//! `(0, 0)` with slope 1 leaves a logit as it is. All in `f32`, each operation rounded: the same bits on every machine.

use crate::error::{Error, Result};

/// One map for each tag of a model.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::calibration::{Calibration, Curve, Knot};
///
/// // One map a tag: Platt's scaling, and one that is linear between two points.
/// let knots = vec![Knot { from: -2.0, to: -3.0 }, Knot { from: 1.0, to: 0.5 }];
/// let calibration = Calibration::new(&[Curve::linear(0.5, -0.25), Curve { slope: 1.0, knots }])?;
/// let mut logits = [1.0, 2.0];
/// calibration.apply(&mut logits);
/// assert_eq!(logits, [0.25, 1.5]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    slopes: Vec<f32>,
    /// Where the knots of each tag end.
    ends: Vec<usize>,
    knots: Vec<Knot>,
}

/// A point of a map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knot {
    /// The logit of the network.
    pub from: f32,
    /// The logit that it is mapped to.
    pub to: f32,
}

/// The map of one tag.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// The slope before the first and after the last knot.
    pub slope: f32,
    /// At least one; `from` ascends, `to` does not fall.
    pub knots: Vec<Knot>,
}

/// Knots and slopes are not larger than this, so that no difference of two of them overflows.
pub(crate) const LARGEST: f32 = 1e30;

impl Curve {
    /// The map that leaves every logit as it is.
    #[must_use]
    pub fn identity() -> Self {
        Curve::linear(1.0, 0.0)
    }

    /// The map `slope · z + shift`.
    #[must_use]
    pub fn linear(slope: f32, shift: f32) -> Self {
        Curve { slope, knots: vec![Knot { from: 0.0, to: shift }] }
    }

    /// Where a logit is mapped to.
    #[must_use]
    pub fn map(&self, logit: f32) -> f32 {
        map(self.slope, &self.knots, logit)
    }

    fn check(&self) -> Result<(), &'static str> {
        // -0 is refused: a number has one spelling.
        let is_number = |x: f32| x.abs() <= LARGEST && (x != 0.0 || x.is_sign_positive());
        let numbers = || self.knots.iter().flat_map(|knot| [knot.from, knot.to]);
        if !(self.slope > 0.0 && self.slope <= LARGEST) {
            Err("a slope above 0")
        } else if self.knots.is_empty() {
            Err("at least one knot")
        } else if !numbers().all(is_number) {
            Err("knots between -1e30 and 1e30, not -0")
        } else if !self.knots.windows(2).all(|pair| pair[0].from < pair[1].from && pair[0].to <= pair[1].to) {
            Err("knots that ascend")
        } else {
            Ok(())
        }
    }
}

impl Calibration {
    /// A calibration with these maps, one a tag.
    ///
    /// # Errors
    /// [`Error::Config`] for a map with a slope that is not above 0, without knots, with knots that do not ascend, or with numbers
    /// that are not finite or above 1e30.
    pub fn new(curves: &[Curve]) -> Result<Self> {
        let mut calibration = Calibration { slopes: Vec::new(), ends: Vec::new(), knots: Vec::new() };
        for (tag, curve) in curves.iter().enumerate() {
            let refuse =
                |expected| Error::Config { option: "calibration", expected, found: format!("{curve:?} for tag {tag}") };
            curve.check().map_err(refuse)?;
            calibration.slopes.push(curve.slope);
            calibration.knots.extend_from_slice(&curve.knots);
            calibration.ends.push(calibration.knots.len());
        }
        Ok(calibration)
    }

    /// The number of tags.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slopes.len()
    }

    /// Whether there are no tags.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slopes.is_empty()
    }

    /// The map of the tag at index `tag`, which must exist, as with a slice.
    #[must_use]
    pub fn curve(&self, tag: usize) -> Curve {
        let start = if tag == 0 { 0 } else { self.ends[tag - 1] };
        Curve { slope: self.slopes[tag], knots: self.knots[start..self.ends[tag]].to_vec() }
    }

    /// Maps the logits of some items, one a tag, item after item.
    pub fn apply(&self, logits: &mut [f32]) {
        for logits in logits.chunks_mut(self.len().max(1)) {
            let mut start = 0;
            for ((logit, &slope), &end) in logits.iter_mut().zip(&self.slopes).zip(&self.ends) {
                *logit = map(slope, &self.knots[start..end], *logit);
                start = end;
            }
        }
    }
}

#[inline]
fn map(slope: f32, knots: &[Knot], z: f32) -> f32 {
    let after = knots.partition_point(|knot| knot.from <= z);
    match (after.checked_sub(1).map(|before| knots[before]), knots.get(after)) {
        (Some(a), Some(b)) => {
            let share = (z - a.from) / (b.from - a.from);
            // Rounding may carry a sum past the end.
            (a.to + share * (b.to - a.to)).min(b.to)
        }
        (Some(end), None) => end.to + (z - end.from) * slope,
        (None, Some(end)) => end.to + (z - end.from) * slope,
        (None, None) => z,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Philox, unit};

    fn knots(knots: &[(f32, f32)]) -> Vec<Knot> {
        knots.iter().map(|&(from, to)| Knot { from, to }).collect()
    }

    #[test]
    fn maps_by_hand() {
        let curve = Curve { slope: 0.5, knots: knots(&[(-2.0, -1.0), (0.0, 0.0), (2.0, 4.0)]) };
        for (z, expected) in [(-4.0, -2.0), (-2.0, -1.0), (-1.0, -0.5), (0.0, 0.0), (0.5, 1.0), (2.0, 4.0), (4.0, 5.0)] {
            assert_eq!(curve.map(z), expected, "{z}");
        }
        assert_eq!((Curve::linear(2.0, 1.0).map(3.0), Curve::identity().map(0.3)), (7.0, 0.3));
        assert_eq!((curve.map(f32::INFINITY), curve.map(f32::NEG_INFINITY)), (f32::INFINITY, f32::NEG_INFINITY));
        assert!(curve.map(f32::NAN).is_nan() && Curve::identity().map(f32::NAN).is_nan());
        let calibration = Calibration::new(&[Curve::identity(), curve.clone(), Curve::linear(2.0, 1.0)]).unwrap();
        let mut logits = [0.5, 0.5, 0.5, -1.0, -4.0, 0.0];
        calibration.apply(&mut logits);
        assert_eq!(logits, [0.5, 1.0, 2.0, -1.0, -2.0, 1.0]);
        assert_eq!((calibration.len(), calibration.curve(1)), (3, curve));
    }

    /// Over all of `f32`: what is larger is never mapped below, and numbers stay numbers.
    #[test]
    fn maps_never_fall() {
        let rng = Philox::new(11);
        for case in 0..60 {
            let word = |i: u32, lane: usize| unit(rng.block([i, case, 0, 0])[lane]);
            let scale = [1.0, 1e-3, 20.0, 1e20][case as usize % 4];
            let (mut from, mut to) = (-scale * word(0, 0), -scale * word(0, 1));
            let knots = (0..1 + case % 7).map(|i| {
                (from, to) = (from + scale * (word(i, 2) + 1e-6), to + scale * (word(i, 3) - 0.3).max(0.0));
                Knot { from, to }
            });
            let curve = Curve { slope: word(0, 3) + 1e-3, knots: knots.collect() };
            curve.check().unwrap();
            let mut points: Vec<f32> = (0..4000).map(|i| f32::from_bits(rng.block([i, case, 1, 0])[0])).collect();
            points.extend((0..2000).map(|i| scale * (8.0 * word(i, 1) - 4.0)));
            for knot in &curve.knots {
                points.extend([knot.from, knot.from.next_up(), knot.from.next_down()]);
            }
            points.extend([f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN]);
            points.retain(|z| !z.is_nan());
            points.sort_unstable_by(f32::total_cmp);
            let mapped: Vec<f32> = points.iter().map(|&z| curve.map(z)).collect();
            assert!(mapped.windows(2).all(|pair| pair[0] <= pair[1]), "{curve:?}");
        }
    }

    #[test]
    fn what_is_no_map_is_refused() {
        let bad = [
            Curve { slope: 0.0, ..Curve::identity() },
            Curve { slope: f32::NAN, ..Curve::identity() },
            Curve { slope: f32::INFINITY, ..Curve::identity() },
            Curve { slope: 1.0, knots: vec![] },
            Curve { slope: 1.0, knots: knots(&[(-0.0, 0.0)]) },
            Curve { slope: 1.0, knots: knots(&[(0.0, -0.0)]) },
            Curve { slope: 1.0, knots: knots(&[(0.0, f32::NAN)]) },
            Curve { slope: 1.0, knots: knots(&[(f32::NEG_INFINITY, 0.0)]) },
            Curve { slope: 1.0, knots: knots(&[(0.0, 2e30)]) },
            Curve { slope: 1.0, knots: knots(&[(0.0, 0.0), (0.0, 1.0)]) },
            Curve { slope: 1.0, knots: knots(&[(0.0, 0.0), (1.0, -1.0)]) },
        ];
        for curve in bad {
            let error = Calibration::new(&[Curve::identity(), curve.clone()]).unwrap_err();
            assert!(matches!(&error, Error::Config { option: "calibration", .. }), "{curve:?}");
            assert!(error.to_string().contains("for tag 1"), "{error}");
        }
        assert!(Calibration::new(&[]).unwrap().is_empty());
    }
}
