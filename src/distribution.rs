//! How the scores of a model were distributed when it was measured, as its file keeps it.

use crate::error::{Error, Result};

/// The shares of items below the bounds between bins. The upper end is divided more finely: that is where tags are given.
pub const LEVELS: [f64; BOUNDS] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];

pub(crate) const BOUNDS: usize = 11;
pub(crate) const BINS: usize = BOUNDS + 1;

/// How the logits of each tag were distributed, before any calibration, so that calibrating changes nothing of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreDistribution {
    tags: Vec<LogitDistribution>,
}

/// How the logits of one tag were distributed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogitDistribution {
    /// The quantiles at [`LEVELS`]: finite, not −0, not falling.
    pub bounds: [f32; BOUNDS],
    /// Items in each bin: above the bound before, and not above its own. All are 0, and so are the bounds, if nothing is known.
    pub counts: [u32; BINS],
}

impl LogitDistribution {
    /// That of these logits; nothing is known of none. Those that are NaN are left out.
    #[must_use]
    pub fn of(mut logits: Vec<f32>) -> Self {
        let mut distribution = Self::default();
        logits.retain(|logit| !logit.is_nan());
        logits.sort_unstable_by(f32::total_cmp);
        let Some(last) = logits.len().checked_sub(1) else { return distribution };
        for (bound, level) in distribution.bounds.iter_mut().zip(LEVELS) {
            let rank = (level * logits.len() as f64).ceil() as usize;
            // Adding 0 makes 0 of -0.
            *bound = logits[rank.saturating_sub(1).min(last)] + 0.0;
        }
        for logit in logits {
            let count = &mut distribution.counts[bin(&distribution.bounds, logit)];
            *count = count.saturating_add(1);
        }
        distribution
    }

    /// Items in all bins.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.counts.iter().map(|&count| u64::from(count)).sum()
    }

    fn is_sound(&self) -> bool {
        let is_number = |x: &f32| x.is_finite() && (*x != 0.0 || x.is_sign_positive());
        let is_known = self.items() > 0 || self.bounds == [0.0; BOUNDS];
        self.bounds.iter().all(is_number) && self.bounds.is_sorted() && is_known
    }
}

/// The bin of a value: those before it end below. That of NaN means nothing.
pub(crate) fn bin(bounds: &[f32; BOUNDS], value: f32) -> usize {
    bounds.iter().map(|&bound| usize::from(bound < value)).sum()
}

impl ScoreDistribution {
    /// One for each tag.
    ///
    /// # Errors
    /// [`Error::Config`] if bounds are not as [`LogitDistribution`] says.
    pub fn new(tags: Vec<LogitDistribution>) -> Result<Self> {
        match tags.iter().find(|tag| !tag.is_sound()) {
            None => Ok(ScoreDistribution { tags }),
            Some(tag) => {
                let expected = "finite bounds that do not fall, 0 where no item was counted";
                Err(Error::Config { option: "score distribution", expected, found: format!("{tag:?}") })
            }
        }
    }

    /// That of each tag.
    #[must_use]
    pub fn tags(&self) -> &[LogitDistribution] {
        &self.tags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_hold_what_their_levels_say() {
        let known = LogitDistribution::of((0..1000).map(|n| (n * 7919 % 1000) as f32 - 500.0).collect());
        assert_eq!(known.counts, [100, 100, 100, 100, 100, 100, 100, 100, 100, 50, 40, 10]);
        assert_eq!((known.bounds[0], known.bounds[10], known.items()), (-401.0, 489.0, 1000));
        // Equal ones are together, in the first of their bins.
        let known = LogitDistribution::of([vec![-0.0; 95], vec![1.0; 5]].concat());
        assert_eq!((known.counts[0], known.counts[10], known.items()), (95, 5, 100));
        assert!(known.is_sound());
        assert_eq!(LogitDistribution::of(Vec::new()), LogitDistribution::default());
        // What is no number is in no bin.
        assert_eq!(LogitDistribution::of([vec![f32::NAN, -f32::NAN], vec![-0.0; 95], vec![1.0; 5]].concat()), known);
        assert_eq!(LogitDistribution::of(vec![f32::NAN]), LogitDistribution::default());
    }
}
