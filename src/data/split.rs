//! Dividing samples so that every tag keeps its share in each part, and samples that belong together stay together.

use super::Dataset;
use crate::error::{Error, Result};
use crate::rng::Philox;

/// Divides the samples of `dataset` into one part for each of `shares`: positive numbers that sum up to 1. `group[i]` is a number
/// below the number of samples; samples of the same group stay in one part. Returns the part of each sample.
///
/// Iterative stratification (Sechidis, Tsoumakas, Vlahavas, ECML PKDD 2011): the tag with the fewest groups left is served first,
/// each of its groups goes to the part that lacks this tag most, ties to the part that lacks samples most, then to the first one.
/// The seed orders the groups of a tag. So the rarest tags, which chance would treat worst, are divided best. The result depends on
/// the samples, the groups, the shares and the seed alone.
///
/// # Errors
/// [`Error::Config`] unless the shares are such; [`Error::Length`] unless each sample has a group; [`Error::Sample`] for a group out
/// of range.
pub fn stratified(dataset: &Dataset, group: &[u32], shares: &[f64], rng: Philox) -> Result<Vec<usize>> {
    // Written so that NaN is refused.
    let sum: f64 = shares.iter().sum();
    if !(shares.iter().all(|share| *share > 0.0) && (sum - 1.0).abs() < 1e-9) {
        let expected = "positive numbers that sum up to 1";
        return Err(Error::Config { option: "shares", expected, found: format!("{shares:?}") });
    }
    let samples = dataset.len();
    Error::check_length("groups", samples, group.len())?;
    if let Some(sample) = group.iter().position(|&group| group as usize >= samples) {
        let found = format!("group {}", group[sample]);
        return Err(Error::Sample { sample, expected: format!("a group below {samples}"), found });
    }
    let tags = dataset.tag_sets().ids().iter().max().map_or(0, |tag| *tag as usize + 1);
    Ok(Stratification::new(dataset, group, shares, tags).run(dataset, rng))
}

/// Where every group is to go, and what the parts still lack.
struct Stratification<'a> {
    group: &'a [u32],
    members: Vec<Vec<u32>>,
    /// The part of each group.
    part: Vec<Option<usize>>,
    /// Samples that each part still lacks.
    lacks: Vec<f64>,
    /// Samples with each tag that each part still lacks: parts x tags.
    lacks_tag: Vec<f64>,
    tags: usize,
}

impl<'a> Stratification<'a> {
    fn new(dataset: &Dataset, group: &'a [u32], shares: &[f64], tags: usize) -> Self {
        let mut members = vec![Vec::new(); dataset.len()];
        for (sample, &group) in (0u32..).zip(group) {
            members[group as usize].push(sample);
        }
        let counts = dataset.tag_counts(tags);
        Stratification {
            group,
            members,
            part: vec![None; dataset.len()],
            lacks: shares.iter().map(|share| share * dataset.len() as f64).collect(),
            lacks_tag: shares.iter().flat_map(|share| counts.iter().map(move |&count| share * count as f64)).collect(),
            tags,
        }
    }

    fn run(mut self, dataset: &Dataset, rng: Philox) -> Vec<usize> {
        // `dataset.len()` fits: a data set has fewer than 2^32 samples.
        let order = rng.permutation(u32::try_from(dataset.len()).unwrap_or(u32::MAX), 0);
        let mut groups_of_tag = vec![Vec::new(); self.tags];
        for &group in &order {
            let mut tags: Vec<u32> =
                self.members[group as usize].iter().flat_map(|&sample| dataset.tags(sample as usize)).copied().collect();
            tags.sort_unstable();
            tags.dedup();
            tags.iter().for_each(|&tag| groups_of_tag[tag as usize].push(group));
        }
        let mut left: Vec<usize> = groups_of_tag.iter().map(Vec::len).collect();
        while let Some(tag) = (0..self.tags).filter(|&tag| left[tag] > 0).min_by_key(|&tag| left[tag]) {
            for &group in &groups_of_tag[tag] {
                if self.part[group as usize].is_none() {
                    let part = self.neediest(|this, part| this.lacks_tag[part * this.tags + tag]);
                    self.assign(dataset, group, part, &mut left);
                }
            }
            left[tag] = 0;
        }
        for &group in &order {
            if self.part[group as usize].is_none() {
                let part = self.neediest(|this, part| this.lacks[part]);
                self.assign(dataset, group, part, &mut left);
            }
        }
        self.group.iter().map(|&group| self.part[group as usize].unwrap_or(0)).collect()
    }

    /// The part with the greatest need; of equals the one that lacks samples most, then the first.
    fn neediest(&self, need: impl Fn(&Self, usize) -> f64) -> usize {
        let order = |a: usize, b: usize| {
            need(self, a).total_cmp(&need(self, b)).then(self.lacks[a].total_cmp(&self.lacks[b])).then(b.cmp(&a))
        };
        (0..self.lacks.len()).max_by(|&a, &b| order(a, b)).unwrap_or(0)
    }

    fn assign(&mut self, dataset: &Dataset, group: u32, part: usize, left: &mut [usize]) {
        self.part[group as usize] = Some(part);
        let mut seen = Vec::new();
        for &sample in &self.members[group as usize] {
            self.lacks[part] -= 1.0;
            for &tag in dataset.tags(sample as usize) {
                self.lacks_tag[part * self.tags + tag as usize] -= 1.0;
                seen.push(tag);
            }
        }
        seen.sort_unstable();
        seen.dedup();
        seen.iter().for_each(|&tag| left[tag as usize] = left[tag as usize].saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples with tags of many frequencies, some without any.
    fn dataset(samples: u32) -> Dataset {
        let rng = Philox::new(9);
        let mut dataset = Dataset::new();
        for i in 0..samples {
            let word = rng.block([i, 0, 0, 0]);
            let mut tags: Vec<u32> = (0..6).filter(|tag| word[0] >> (4 * tag) & ((2 << tag) - 1) == 0).collect();
            tags.extend((i % 100 == 7).then_some(6 + i % 3));
            dataset.push(&[i], &tags, 1.0).unwrap();
        }
        dataset
    }

    fn alone(dataset: &Dataset) -> Vec<u32> {
        (0..dataset.len() as u32).collect()
    }

    #[test]
    fn every_tag_keeps_its_share() {
        let data = dataset(2000);
        for shares in [&[0.8, 0.2][..], &[0.7, 0.1, 0.2], &[1.0], &[0.5, 0.5]] {
            let parts = stratified(&data, &alone(&data), shares, Philox::new(1)).unwrap();
            let all = data.tag_counts(9);
            for (part, share) in shares.iter().enumerate() {
                let members: Vec<usize> = (0..data.len()).filter(|&i| parts[i] == part).collect();
                assert!((members.len() as f64 - share * 2000.0).abs() <= 3.0, "{shares:?} {part}: {}", members.len());
                for (tag, (&n, &all)) in data.subset(members).unwrap().tag_counts(9).iter().zip(&all).enumerate() {
                    // The rarest are served first, so to the sample; what is served later suffers a little.
                    let slack = if all < 10 { 1.0 } else { 2.0 + 0.01 * all as f64 };
                    assert!((n as f64 - share * all as f64).abs() <= slack, "{shares:?} {part} {tag}: {n} of {all}");
                }
            }
        }
    }

    #[test]
    fn groups_stay_together_and_the_seed_decides() {
        let data = dataset(600);
        let group: Vec<u32> = (0..600).map(|i| i / 3).collect();
        let run = |seed| stratified(&data, &group, &[0.75, 0.25], Philox::new(seed)).unwrap();
        let parts = run(5);
        assert!(parts.chunks(3).all(|group| group.iter().all(|part| *part == group[0])));
        let test = parts.iter().filter(|part| **part == 1).count();
        assert!((140..=160).contains(&test), "{test}");
        assert_eq!(parts, run(5));
        assert_ne!(parts, run(6));
    }

    #[test]
    fn odd_wishes() {
        let data = dataset(10);
        for shares in [&[][..], &[0.5], &[1.5, -0.5], &[f64::NAN, 0.5], &[0.0, 1.0]] {
            assert!(
                matches!(stratified(&data, &alone(&data), shares, Philox::new(1)), Err(Error::Config { .. })),
                "{shares:?}"
            );
        }
        assert!(matches!(stratified(&data, &[0; 9], &[1.0], Philox::new(1)), Err(Error::Length { .. })));
        assert!(matches!(stratified(&data, &[10; 10], &[1.0], Philox::new(1)), Err(Error::Sample { sample: 0, .. })));
        assert!(stratified(&Dataset::new(), &[], &[0.5, 0.5], Philox::new(1)).unwrap().is_empty());
    }
}
