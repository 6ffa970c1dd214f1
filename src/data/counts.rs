//! What a model remembers of its training data in numbers.

use super::Dataset;
use crate::error::Result;
use crate::format::{Model, Provenance};
use crate::metrics::Propensities;

/// How many samples a model was trained on, and how many of them have each tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Samples.
    pub samples: u64,
    /// Samples with each tag.
    pub positives: Vec<u64>,
}

impl Counts {
    /// The counts of a data set with `tags` tags.
    #[must_use]
    pub fn of(dataset: &Dataset, tags: usize) -> Self {
        Counts { samples: dataset.len() as u64, positives: dataset.tag_counts(tags) }
    }

    /// Writes them to a model's provenance, as `data.samples` and `data.tag_counts`.
    ///
    /// # Errors
    ///
    /// None: the keys are good.
    pub fn describe(&self, provenance: &mut Provenance) -> Result<()> {
        let positives: Vec<String> = self.positives.iter().map(u64::to_string).collect();
        provenance.insert(Provenance::SAMPLES, self.samples.to_string())?;
        provenance.insert(Provenance::TAG_COUNTS, positives.join(","))
    }

    /// Those in a model's provenance; `None` if it has none for its tags.
    ///
    /// # Errors
    ///
    /// [`crate::error::Error::Model`] if a mapped file is corrupt.
    pub fn of_model(model: &Model) -> Result<Option<Self>> {
        Ok(Self::read(&model.provenance()?).filter(|counts| counts.positives.len() == model.tags().len()))
    }

    fn read(provenance: &Provenance) -> Option<Self> {
        let samples = provenance.get(Provenance::SAMPLES)?.parse().ok()?;
        let positives = provenance.get(Provenance::TAG_COUNTS)?.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Counts { samples, positives })
    }

    /// The propensities that follow from them; `None` from too few samples.
    #[must_use]
    pub fn propensities(&self) -> Option<Propensities> {
        Propensities::new(&self.positives, self.samples).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_survive_the_provenance() {
        let mut data = Dataset::new();
        for tags in [&[0, 2][..], &[2], &[]] {
            data.push(&[], tags, 1.0).unwrap();
        }
        let counts = Counts::of(&data, 3);
        assert_eq!(counts, Counts { samples: 3, positives: vec![1, 0, 2] });
        let mut provenance = Provenance::new();
        assert_eq!(Counts::read(&provenance), None);
        counts.describe(&mut provenance).unwrap();
        assert_eq!(provenance.get("data.tag_counts"), Some("1,0,2"));
        assert_eq!(Counts::read(&provenance), Some(counts.clone()));
        assert!(counts.propensities().is_some());
        assert_eq!(Counts { samples: 2, ..counts }.propensities(), None);
        provenance.insert("data.tag_counts", "1,x").unwrap();
        assert_eq!(Counts::read(&provenance), None);
    }
}
