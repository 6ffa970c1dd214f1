//! How many hidden units are zero, dead or always on.

/// Counts zeros among the activations of hidden units, sample by sample (in evaluation mode: no dropout).
#[derive(Clone, Debug)]
pub struct Sparsity {
    samples: u64,
    /// Samples for which each unit is zero.
    zeros: Vec<u64>,
}

impl Sparsity {
    /// For `units` units.
    #[must_use]
    pub fn new(units: usize) -> Self {
        Sparsity { samples: 0, zeros: vec![0; units] }
    }

    /// The number of units.
    #[must_use]
    pub fn units(&self) -> usize {
        self.zeros.len()
    }

    /// Adds a sample given by its units that are not zero, each named once; a unit that does not exist is ignored.
    pub fn push_active(&mut self, units: impl IntoIterator<Item = usize>) {
        self.samples += 1;
        self.zeros.iter_mut().for_each(|zeros| *zeros += 1);
        for unit in units {
            if let Some(zeros) = self.zeros.get_mut(unit) {
                *zeros -= 1;
            }
        }
    }

    /// Adds the samples that `other` has counted, of as many units.
    pub fn merge(&mut self, other: &Sparsity) {
        self.samples += other.samples;
        self.zeros.iter_mut().zip(&other.zeros).for_each(|(zeros, other)| *zeros += other);
    }

    /// Of each unit the share of samples for which it is not zero; 0 before the first sample.
    #[must_use]
    pub fn activity(&self) -> Vec<f64> {
        let samples = self.samples.max(1) as f64;
        self.zeros.iter().map(|zeros| (self.samples - zeros) as f64 / samples).collect()
    }

    /// The share of activations that are zero; `None` without any.
    #[must_use]
    pub fn share_of_zeros(&self) -> Option<f64> {
        let all = self.samples as f64 * self.zeros.len() as f64;
        (all > 0.0).then(|| self.zeros.iter().sum::<u64>() as f64 / all)
    }

    /// Units that are zero for all samples; none before the first sample.
    #[must_use]
    pub fn dead(&self) -> usize {
        self.units_with_zeros(self.samples)
    }

    /// Units that are zero for no sample; none before the first sample.
    #[must_use]
    pub fn always_on(&self) -> usize {
        self.units_with_zeros(0)
    }

    fn units_with_zeros(&self, count: u64) -> usize {
        if self.samples == 0 { 0 } else { self.zeros.iter().filter(|&&zeros| zeros == count).count() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let mut sparsity = Sparsity::new(3);
        assert_eq!((sparsity.share_of_zeros(), sparsity.dead(), sparsity.always_on()), (None, 0, 0));
        sparsity.push_active([1]);
        sparsity.push_active([2, 1, 3]);
        assert_eq!((sparsity.share_of_zeros(), sparsity.dead(), sparsity.always_on()), (Some(0.5), 1, 1));
        assert_eq!(sparsity.activity(), [0.0, 1.0, 0.5]);
    }

    #[test]
    fn parts_count_as_the_whole() {
        let [mut whole, mut left, mut right] = [(); 3].map(|()| Sparsity::new(3));
        whole.push_active([1]);
        whole.push_active([0, 1]);
        left.push_active([1]);
        right.push_active([0, 1]);
        left.merge(&right);
        assert_eq!(format!("{whole:?}"), format!("{left:?}"));
    }
}
