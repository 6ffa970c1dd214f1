//! Measures of the first k tags of a sample, as in Jain, Prabhu and Varma, *Extreme multi-label loss functions for
//! recommendation, tagging, ranking and other missing label applications*, KDD 2016.

use super::Predictions;
use crate::error::{Error, Result};
use crate::ln::ln;

/// The `k` best of `scores` as (tag, score): by descending score, ties by ascending tag. Written to `best`; meant for small `k`.
pub(crate) fn top_k<S: Copy + Into<f64>>(scores: &[S], k: usize, best: &mut Vec<(u32, f64)>) {
    best.clear();
    for (tag, &score) in (0u32..).zip(scores) {
        let score = score.into();
        if best.len() == k {
            // Tags come in ascending order, so one that only ties with the last is behind it.
            match best.last() {
                Some(&(_, worst)) if score > worst => best.pop(),
                _ => continue,
            };
        }
        let place = best.partition_point(|&(_, better)| better >= score);
        best.insert(place, (tag, score));
    }
}

/// Inverse propensities of tags: how much a hit counts, more for a tag that is rare and so more often missing from the truth.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::metrics::Propensities;
///
/// // Of 1,000 training items 500 have the first tag, 3 the second.
/// let propensities = Propensities::new(&[500, 3], 1000)?;
/// assert!(propensities.inverse()[1] > propensities.inverse()[0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Propensities(Vec<f64>);

impl Propensities {
    /// `v_t = 1 + C (N_t + B)^-A` with `C = (ln N - 1) (B + 1)^A`, `A` = 0.55, `B` = 1.5, from the number of training samples with
    /// each tag, `N_t`, and of all training samples, `N`.
    ///
    /// # Errors
    ///
    /// [`Error::NoData`] unless `samples` is at least 3: `C` would be negative.
    pub fn new(positives: &[u64], samples: u64) -> Result<Self> {
        const A: f64 = 0.55;
        const B: f64 = 1.5;
        if samples < 3 {
            return Err(Error::NoData {
                what: format!("propensities from {samples} training samples"),
                cure: "give at least 3, or leave the propensities out",
            });
        }
        let c = (ln(samples as f64) - 1.0) * (B + 1.0).powf(A);
        Ok(Propensities(positives.iter().map(|&n| 1.0 + c * (n as f64 + B).powf(-A)).collect()))
    }

    /// The inverse propensity of each tag, above 1.
    #[must_use]
    pub fn inverse(&self) -> &[f64] {
        &self.0
    }
}

/// Measures of the first k tags; means over the samples that have a tag at all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ranking {
    /// Samples with at least one tag. Without any, and for k = 0, all measures are `None`.
    pub samples: usize,
    /// P@k: hits among the first k, over k.
    pub precision: Option<f64>,
    /// R@k: hits among the first k, over the sample's tags.
    pub recall: Option<f64>,
    /// nDCG@k: hits discounted by `log2(rank + 1)`, over the best that is possible.
    pub ndcg: Option<f64>,
    /// PSP@k: hits weighted by inverse propensity, over the best that is possible, both summed over all samples. `None` without
    /// propensities.
    pub psp: Option<f64>,
}

impl<S: Copy + Into<f64>> Predictions<'_, S> {
    /// The quality of the first `k` tags of each sample.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if `propensities` are not of these tags.
    pub fn ranking(&self, k: usize, propensities: Option<&Propensities>) -> Result<Ranking> {
        let [ranking] = self.rankings([k], propensities)?;
        Ok(ranking)
    }

    /// [`ranking`](Self::ranking) for several `k` in one pass.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if `propensities` are not of these tags.
    pub fn rankings<const N: usize>(&self, ks: [usize; N], propensities: Option<&Propensities>) -> Result<[Ranking; N]> {
        if let Some(propensities) = propensities {
            Error::check_length("propensities", self.tags(), propensities.0.len())?;
        }
        let most = ks.iter().copied().max().unwrap_or(0).min(self.tags());
        let discounts: Vec<f64> = (1..=most).map(|rank| std::f64::consts::LN_2 / ln(rank as f64 + 1.0)).collect();
        let mut sums = [Sums::default(); N];
        let mut best = Vec::with_capacity(most);
        let mut hits = Vec::with_capacity(most);
        let mut values = Vec::new();
        let mut samples = 0;
        for (scores, truth) in self.rows().filter(|(_, truth)| !truth.is_empty()) {
            samples += 1;
            top_k(scores, most, &mut best);
            hits.clear();
            hits.extend(best.iter().map(|&(tag, _)| truth.binary_search(&tag).is_ok().then_some(tag)));
            if let Some(Propensities(inverse)) = propensities {
                values.clear();
                values.extend(truth.iter().map(|&tag| inverse[tag as usize]));
                values.sort_unstable_by(|a, b| b.total_cmp(a));
            }
            for (sums, &k) in sums.iter_mut().zip(&ks) {
                let hits_at_k = hits.iter().take(k);
                let found = hits_at_k.clone().flatten().count();
                sums.hits += found as u64;
                sums.recall += found as f64 / truth.len() as f64;
                let gain: f64 = hits_at_k.clone().zip(&discounts).filter(|(hit, _)| hit.is_some()).map(|(_, d)| d).sum();
                sums.ndcg += gain / discounts.iter().take(k.min(truth.len())).sum::<f64>();
                if let Some(Propensities(inverse)) = propensities {
                    sums.gained += hits_at_k.flatten().map(|&tag| inverse[tag as usize]).sum::<f64>();
                    sums.gainable += values.iter().take(k).sum::<f64>();
                }
            }
        }
        let mut rankings = [Ranking { samples, ..Ranking::default() }; N];
        for ((ranking, sums), &k) in rankings.iter_mut().zip(&sums).zip(&ks) {
            if samples > 0 && k > 0 {
                let n = samples as f64;
                ranking.precision = Some(sums.hits as f64 / k as f64 / n);
                ranking.recall = Some(sums.recall / n);
                ranking.ndcg = Some(sums.ndcg / n);
                ranking.psp = propensities.map(|_| sums.gained / sums.gainable);
            }
        }
        Ok(rankings)
    }
}

/// Sums over the samples for one k.
#[derive(Clone, Copy, Default)]
struct Sums {
    hits: u64,
    recall: f64,
    ndcg: f64,
    gained: f64,
    gainable: f64,
}

#[cfg(test)]
mod tests {
    use super::super::predictions::tests::truth;
    use super::*;

    #[test]
    fn top_k_agrees_with_a_stable_sort() {
        let scores: Vec<f32> = (0..200u32).map(|i| (i * 7919 % 23) as f32).collect();
        let mut sorted: Vec<(u32, f64)> = (0..).zip(scores.iter().map(|&s| f64::from(s))).collect();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut best = Vec::new();
        for k in [0, 1, 2, 5, 60, 199, 200, 300] {
            top_k(&scores, k, &mut best);
            assert_eq!(best, sorted[..k.min(200)]);
        }
    }

    #[test]
    fn values_by_hand() {
        // Sample 0 ranks 1, 0, 2 (0 and 2 tie); sample 1 has no tags; sample 2 ranks 0, 1, 2.
        let truth = truth(&[&[1, 2], &[], &[1]]);
        let predictions = Predictions::new(&[0.5f32, 0.9, 0.5, 0.1, 0.2, 0.3, 0.9, 0.5, 0.1], 3, &truth).unwrap();
        let [one, two, five] = predictions.rankings([1, 2, 5], None).unwrap();
        assert_eq!((one.samples, one.precision, one.recall), (2, Some(0.5), Some(0.25)));
        assert_eq!((two.precision, two.recall, two.psp), (Some(0.5), Some(0.75), None));
        // k counts even where there are fewer tags.
        assert_eq!((five.precision, five.recall), (Some(3.0 / 5.0 / 2.0), Some(1.0)));
        let second = 1.0 / 3f64.log2();
        let expected = (1.0 / (1.0 + second) + second) / 2.0;
        assert!((two.ndcg.unwrap() - expected).abs() < 1e-15);
    }

    #[test]
    fn rare_tags_count_more() {
        let propensities = Propensities::new(&[100, 1], 1000).unwrap();
        let &[common, rare] = propensities.inverse() else { panic!("two tags") };
        assert!(rare > common && common > 1.0);
        let truth = truth(&[&[0, 1]]);
        let predictions = Predictions::new(&[0.9f32, 0.1], 2, &truth).unwrap();
        assert_eq!(predictions.ranking(1, Some(&propensities)).unwrap().psp, Some(common / rare));
        assert!(matches!(Propensities::new(&[1], 2), Err(Error::NoData { .. })));
        let of_another = Propensities::new(&[1], 3).unwrap();
        assert!(matches!(predictions.ranking(1, Some(&of_another)), Err(Error::Length { .. })));
    }

    #[test]
    fn nothing_to_rank_is_undefined() {
        let truth = truth(&[&[], &[]]);
        let predictions = Predictions::new(&[0.5f32, 0.5], 1, &truth).unwrap();
        assert_eq!(predictions.ranking(3, None).unwrap(), Ranking::default());
    }
}
