//! Negatives drawn with replacement, an id as often as its count to a power says.
//!
//! With counts of words and power 3/4 this is the sampling of Mikolov et al., *Distributed representations of words and phrases and
//! their compositionality* (2013).

use crate::error::{Error, Result};
use crate::rng::bounded;

/// Ids to draw from.
#[derive(Clone, Debug)]
pub struct WeightedDraws {
    /// The sum of the weights up to each id.
    cumulative: Vec<u64>,
}

impl WeightedDraws {
    /// Ids that are drawn in proportion to `floor(2²⁰ · count^power)`, at least 1 for a count above 0, and never for 0.
    ///
    /// # Errors
    /// [`Error::Config`] unless `0 <= power <= 1`; [`Error::TooLarge`] if the weights add up to 2⁶⁴ or more.
    pub fn new(counts: &[u64], power: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&power) {
            let expected = "a number from 0 to 1";
            return Err(Error::Config { option: "power of counts", expected, found: power.to_string() });
        }
        let mut sum = 0_u64;
        let mut add = |count: u64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
            let weight = if count == 0 { 0 } else { ((1 << 20) as f64 * root_power(count as f64, power)) as u64 };
            sum = sum.checked_add(weight).ok_or(Error::TooLarge { what: "sum of counts", limit: u64::MAX >> 20 })?;
            Ok(sum)
        };
        Ok(WeightedDraws { cumulative: counts.iter().map(|count| add(*count)).collect::<Result<_>>()? })
    }

    /// Draws `m` ids, none of `excluded` (ascending), and adds them to `out`; `key` gives the random number of an attempt, counted from 0
    /// ([`Philox::draw_key`](crate::rng::Philox::draw_key)). They are fewer where `64·m` attempts give no more.
    pub fn draw(&self, m: usize, excluded: &[u32], key: impl Fn(u32) -> u64, out: &mut Vec<u32>) {
        let total = self.cumulative.last().copied().unwrap_or(0);
        let end = out.len().saturating_add(m);
        for attempt in (0..u32::MAX).take(if total == 0 { 0 } else { m.saturating_mul(64) }) {
            if out.len() == end {
                return;
            }
            let r = bounded(key(attempt), total);
            let id = self.cumulative.partition_point(|sum| *sum <= r);
            out.extend(u32::try_from(id).ok().filter(|id| excluded.binary_search(id).is_err()));
        }
    }

    /// The expected number of times that each id is among `m` draws without exclusions.
    #[must_use]
    pub fn expected(&self, m: f64) -> Vec<f64> {
        let total = self.cumulative.last().copied().unwrap_or(0).max(1) as f64;
        let mut before = 0;
        let share = |sum: &u64| m * (sum - std::mem::replace(&mut before, *sum)) as f64 / total;
        self.cumulative.iter().map(share).collect()
    }
}

/// `x^power` for `x ≥ 1` and `0 ≤ power ≤ 1`, by the binary digits of the power and square roots: the same bits everywhere, and right to
/// the last for the powers that are used, 0, ½, ¾ and 1.
fn root_power(x: f64, power: f64) -> f64 {
    let (mut root, mut rest, mut product) = (x, power, 1.0);
    while rest > 0.0 && root > 1.0 {
        if rest >= 1.0 {
            product *= root;
            rest -= 1.0;
        }
        root = root.sqrt();
        rest *= 2.0;
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Drawn, Philox};

    #[test]
    fn powers_are_those_of_the_platform() {
        for x in [1.0_f64, 2.0, 17.0, 1e3, 123_456.0, 1e12] {
            for power in [0.0, 0.1, 0.25, 0.5, 0.7, 0.75, 0.999, 1.0, 1e-300] {
                let (found, expected) = (root_power(x, power), x.powf(power));
                assert!((found - expected).abs() <= 1e-14 * expected, "{x}^{power}: {found} against {expected}");
            }
        }
        assert_eq!((root_power(16.0, 0.75), root_power(1e6, 1.0), root_power(9.0, 0.5)), (8.0, 1e6, 3.0));
    }

    #[test]
    fn draws_follow_the_weights_and_leave_out_what_is_excluded() {
        let draws = WeightedDraws::new(&[16, 0, 1, 81, 16], 0.75).unwrap();
        let key = |sample| move |attempt| Philox::new(1).draw_key(Drawn::Tags, attempt, sample, 7);
        let mut drawn = Vec::new();
        for sample in 0..2000 {
            draws.draw(5, &[4], key(sample), &mut drawn);
        }
        assert_eq!(drawn.len(), 10_000);
        let share = |id: u32| drawn.iter().filter(|d| **d == id).count() as f64 / 1e4;
        // Weights 8, 0, 1, 27 and one that is excluded.
        for (id, weight) in [(0, 8.0), (1, 0.0), (2, 1.0), (3, 27.0), (4, 0.0)] {
            assert!((share(id) - weight / 36.0).abs() < 0.01, "{id}: {}", share(id));
        }
        let expected = draws.expected(44.0);
        assert!(expected.iter().zip([8.0, 0.0, 1.0, 27.0, 8.0]).all(|(a, b)| (a - b).abs() < 1e-9), "{expected:?}");
        let mut none = Vec::new();
        draws.draw(5, &[0, 1, 2, 3, 4], key(0), &mut none);
        WeightedDraws::new(&[0, 0], 1.0).unwrap().draw(5, &[], key(0), &mut none);
        WeightedDraws::new(&[], 1.0).unwrap().draw(5, &[], key(0), &mut none);
        assert!(none.is_empty());
    }

    #[test]
    fn what_cannot_be_drawn_from_is_refused() {
        for power in [-0.1, 1.1, f64::NAN] {
            assert!(matches!(WeightedDraws::new(&[1], power), Err(Error::Config { .. })));
        }
        assert!(matches!(WeightedDraws::new(&[u64::MAX, 1], 1.0), Err(Error::TooLarge { .. })));
    }
}
