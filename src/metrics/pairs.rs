//! Measures that are means over all (sample, tag) pairs.

use super::Predictions;
use crate::error::Result;
use crate::ln::ln;
use crate::network::check_eps;

impl<S: Copy + Into<f64>> Predictions<'_, S> {
    /// Log-loss: the mean of `-y ln p - (1-y) ln(1-p)` with `p` clamped to `[eps, 1-eps]`. Infinite if `eps` is 0 and some score
    /// is surely wrong.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::error::Error::Config) unless `0 <= eps < 0.5`, and for -0.
    pub fn log_loss(&self, eps: f64) -> Result<f64> {
        check_eps(eps)?;
        let mut likelihood = LogProduct::default();
        self.for_each_pair(|p, y| {
            let p = p.clamp(eps, 1.0 - eps);
            likelihood.multiply(if y { p } else { 1.0 - p });
        });
        Ok(-likelihood.ln() / self.pairs())
    }

    /// Brier score: the mean of `(p - y)^2`.
    #[must_use]
    pub fn brier(&self) -> f64 {
        let mut sum = 0.0;
        self.for_each_pair(|p, y| {
            let error = p - f64::from(u8::from(y));
            sum += error * error;
        });
        sum / self.pairs()
    }

    /// Expected calibration error: how far confidence is from frequency, `Σ_m |Σ_{i in m} (p_i - y_i)| / pairs` over `bins`
    /// bins of equal width. `None` without bins.
    #[must_use]
    pub fn calibration_error(&self, bins: usize) -> Option<f64> {
        let last = bins.checked_sub(1)?;
        let mut excess = vec![0.0; bins];
        self.for_each_pair(|p, y| {
            // A conversion to an integer rounds towards zero, which is floor here.
            excess[((p * bins as f64) as usize).min(last)] += p - f64::from(u8::from(y));
        });
        Some(excess.iter().map(|sum: &f64| sum.abs()).sum::<f64>() / self.pairs())
    }

    fn pairs(&self) -> f64 {
        self.samples() as f64 * self.tags() as f64
    }
}

/// The logarithm of a long product of numbers in [0, 1]: one logarithm for all of them instead of one each, as exact as their sum.
struct LogProduct {
    /// The product is `mantissa * 2^(-512 shifts)`, with the mantissa in `[2^-512, 1]`, or 0.
    mantissa: f64,
    shifts: u64,
}

const SHIFT: f64 = f64::from_bits((1023 + 512) << 52);

impl Default for LogProduct {
    fn default() -> Self {
        LogProduct { mantissa: 1.0, shifts: 0 }
    }
}

impl LogProduct {
    #[inline]
    fn multiply(&mut self, mut factor: f64) {
        // Only subnormals of f64 need more than one shift; factors made of f32 never do.
        while factor < 1.0 / SHIFT && factor > 0.0 {
            factor *= SHIFT;
            self.shifts += 1;
        }
        self.mantissa *= factor;
        if self.mantissa < 1.0 / SHIFT {
            self.mantissa *= SHIFT;
            self.shifts += 1;
        }
    }

    fn ln(&self) -> f64 {
        ln(self.mantissa) - self.shifts as f64 * 512.0 * std::f64::consts::LN_2
    }
}

#[cfg(test)]
mod tests {
    use super::super::predictions::tests::truth;
    use super::*;
    use crate::error::Error;

    #[test]
    fn a_log_product_is_a_sum_of_logs() {
        let factors: Vec<f64> = (1..20_000).map(|i| f64::from(i % 997 + 1) / 1000.0).chain([1e-4; 500]).collect();
        let mut product = LogProduct::default();
        factors.iter().for_each(|&f| product.multiply(f));
        let sum: f64 = factors.iter().map(|f| f.ln()).sum();
        assert!((product.ln() / sum - 1.0).abs() < 1e-13);

        let mut tiny = LogProduct::default();
        (0..10).for_each(|_| tiny.multiply(f64::from_bits(1)));
        assert!((tiny.ln() / (10.0 * f64::from_bits(1).ln()) - 1.0).abs() < 1e-14);
        tiny.multiply(0.0);
        tiny.multiply(0.5);
        assert_eq!(tiny.ln(), f64::NEG_INFINITY);
    }

    #[test]
    fn values_by_hand() {
        let truth = truth(&[&[0], &[]]);
        let predictions = Predictions::new(&[0.75f32, 0.5, 0.25, 0.0], 2, &truth).unwrap();
        let expected = -(0.75f64.ln() + 0.5f64.ln() + 0.75f64.ln() + 1f64.ln()) / 4.0;
        assert!((predictions.log_loss(0.0).unwrap() - expected).abs() < 1e-15);
        assert_eq!(predictions.brier(), (0.0625 + 0.25 + 0.0625) / 4.0);
        assert_eq!(predictions.calibration_error(1), Some(0.125));
        assert_eq!(predictions.calibration_error(4), Some((0.25 + 0.5 + 0.25) / 4.0));
        assert_eq!(predictions.calibration_error(0), None);
    }

    #[test]
    fn eps_bounds_the_loss() {
        let truth = truth(&[&[0]]);
        let wrong = Predictions::new(&[0.0f32], 1, &truth).unwrap();
        assert_eq!(wrong.log_loss(0.0).unwrap(), f64::INFINITY);
        assert!((wrong.log_loss(1e-4).unwrap() + 1e-4f64.ln()).abs() < 1e-14);
        for eps in [-1e-9, -0.0, 0.5, f64::NAN, f64::INFINITY] {
            assert!(matches!(wrong.log_loss(eps), Err(Error::Config { option: "eps", .. })));
        }
    }
}
