//! Tags: what a model predicts, in the order of its scores.

use std::ops::Index;

use crate::error::{Error, Result};

/// One tag of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Tag {
    /// Its stable number: unique in the model, kept for life, never given to another tag.
    pub id: u32,
    /// Its name: unique in the model, not empty, without control characters.
    pub name: String,
    /// It fires if its score is at least this: in `[0, 1]`, or infinity for a tag that never fires.
    pub threshold: f32,
}

/// The tags of a model, in the order of its scores.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::Tags;
///
/// let mut tags = Tags::from_names(["sea", "horror"])?;
/// tags.set_threshold(1, 0.8)?;
/// let spy = tags.push("spy")?;
/// assert_eq!((spy, tags.get("spy"), tags[1].threshold), (2, Some(2), 0.8));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Tags {
    tags: Vec<Tag>,
    next_id: u32,
    /// Indices of the tags, ascending by name.
    by_name: Vec<usize>,
    /// Indices of the tags, ascending by id.
    by_id: Vec<usize>,
    /// The tags' thresholds, side by side.
    thresholds: Vec<f32>,
}

impl Tags {
    /// The threshold of a new tag.
    pub const DEFAULT_THRESHOLD: f32 = 0.5;

    /// Tags with ids 0, 1, and so on, and the default threshold.
    ///
    /// # Errors
    /// [`Error::BadName`] if a name is empty, has control characters, or occurs twice; [`Error::TooLarge`] if the ids run out.
    pub fn from_names<I>(names: I) -> Result<Self>
    where
        I: IntoIterator<Item: Into<String>>,
    {
        let too_many = |_| Error::TooLarge { what: "ids of tags", limit: u32::MAX.into() };
        let tag = |(index, name): (usize, I::Item)| {
            let id = u32::try_from(index).map_err(too_many)?;
            Ok(Tag { id, name: name.into(), threshold: Self::DEFAULT_THRESHOLD })
        };
        let tags = names.into_iter().enumerate().map(tag).collect::<Result<Vec<Tag>>>()?;
        let next_id = u32::try_from(tags.len()).map_err(too_many)?;
        Self::new(tags, next_id)
    }

    /// The tags `tags`, and `next_id` for the next new tag.
    ///
    /// # Errors
    /// [`Error::BadName`] if a name is empty, has control characters, or occurs twice, or if an id occurs twice or is not below
    /// `next_id`; [`Error::Config`] if a threshold is out of range.
    pub fn new(tags: Vec<Tag>, next_id: u32) -> Result<Self> {
        for tag in &tags {
            check_name(&tag.name)?;
            check_threshold(tag.threshold)?;
            if tag.id >= next_id {
                return Err(bad(tag, "its id is not below the next free id"));
            }
        }
        let mut by_id: Vec<usize> = (0..tags.len()).collect();
        by_id.sort_unstable_by_key(|&index| tags[index].id);
        if let Some(pair) = by_id.windows(2).find(|pair| tags[pair[0]].id == tags[pair[1]].id) {
            return Err(bad(&tags[pair[1]], "its id belongs to another tag too"));
        }
        let mut by_name = by_id.clone();
        by_name.sort_unstable_by(|&a, &b| tags[a].name.cmp(&tags[b].name));
        if let Some(pair) = by_name.windows(2).find(|pair| tags[pair[0]].name == tags[pair[1]].name) {
            return Err(bad(&tags[pair[1]], TWICE));
        }
        let thresholds = tags.iter().map(|tag| tag.threshold).collect();
        Ok(Tags { tags, next_id, by_name, by_id, thresholds })
    }

    /// Adds a tag at the end, with the next free id and the default threshold; returns its id.
    ///
    /// # Errors
    /// As [`Tags::from_names`]; then nothing was changed.
    pub fn push(&mut self, name: impl Into<String>) -> Result<u32> {
        let tag = Tag { id: self.next_id, name: name.into(), threshold: Self::DEFAULT_THRESHOLD };
        check_name(&tag.name)?;
        let Err(place) = self.find(&tag.name) else { return Err(bad(&tag, TWICE)) };
        let limit = Error::TooLarge { what: "ids of tags", limit: u32::MAX.into() };
        self.next_id = self.next_id.checked_add(1).ok_or(limit)?;
        self.by_name.insert(place, self.tags.len());
        // No id is larger.
        self.by_id.push(self.tags.len());
        self.thresholds.push(tag.threshold);
        self.tags.push(tag);
        Ok(self.next_id - 1)
    }

    /// Sets the threshold of the tag at `index`.
    ///
    /// # Errors
    /// [`Error::Config`] if it is neither in `[0, 1]` nor infinity; [`Error::Length`] without such a tag.
    pub fn set_threshold(&mut self, index: usize, threshold: f32) -> Result<()> {
        check_threshold(threshold)?;
        let tags = self.tags.len();
        let tag =
            self.tags.get_mut(index).ok_or(Error::Length { what: "tags", expected: index.saturating_add(1), found: tags })?;
        tag.threshold = threshold;
        self.thresholds[index] = threshold;
        Ok(())
    }

    /// The index of the tag of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<usize> {
        self.find(name).ok().map(|place| self.by_name[place])
    }

    /// The index of the tag with this stable id: where its score stands.
    #[must_use]
    pub fn by_id(&self, id: u32) -> Option<usize> {
        let place = self.by_id.binary_search_by_key(&id, |&index| self.tags[index].id).ok()?;
        Some(self.by_id[place])
    }

    /// The tags in the order of the scores.
    pub fn iter(&self) -> std::slice::Iter<'_, Tag> {
        self.tags.iter()
    }

    /// Their thresholds.
    #[must_use]
    pub fn thresholds(&self) -> &[f32] {
        &self.thresholds
    }

    /// The number of tags.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tags.len()
    }

    /// Whether there is no tag.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }

    /// The id that the next new tag gets: above every id that was ever in use.
    #[must_use]
    pub fn next_id(&self) -> u32 {
        self.next_id
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.by_name.binary_search_by(|&index| self.tags[index].name.as_str().cmp(name))
    }
}

impl Index<usize> for Tags {
    type Output = Tag;

    fn index(&self, index: usize) -> &Tag {
        &self.tags[index]
    }
}

impl<'a> IntoIterator for &'a Tags {
    type Item = &'a Tag;
    type IntoIter = std::slice::Iter<'a, Tag>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

const TWICE: &str = "occurs twice; every tag needs its own name";

fn bad(tag: &Tag, problem: &'static str) -> Error {
    Error::BadName { what: "tag", name: tag.name.clone(), problem }
}

fn check_name(name: &str) -> Result<()> {
    let problem = if name.is_empty() {
        "a tag needs a name"
    } else if name.contains(char::is_control) {
        "a tag's name has no control characters, such as tabs and line breaks"
    } else {
        return Ok(());
    };
    Err(Error::BadName { what: "tag", name: name.to_owned(), problem })
}

fn check_threshold(threshold: f32) -> Result<()> {
    // -0.0 is refused too: a threshold has one spelling.
    if threshold.is_sign_positive() && (threshold <= 1.0 || threshold == f32::INFINITY) {
        Ok(())
    } else {
        Err(Error::Config { option: "threshold", expected: "a number from 0 to 1, or infinity", found: threshold.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_tags_by_name_in_score_order() {
        let mut tags = Tags::from_names(["war", "comedy", "noir"]).unwrap();
        assert_eq!(tags.push("animation").unwrap(), 3);
        assert_eq!(
            ["war", "comedy", "noir", "animation", "x", ""].map(|name| tags.get(name)),
            [Some(0), Some(1), Some(2), Some(3), None, None]
        );
        assert_eq!((tags.len(), tags.next_id(), &tags[1].name[..]), (4, 4, "comedy"));
        assert!(tags.iter().map(|tag| tag.id).eq(0..4));
        assert_eq!(tags, Tags::from_names(["war", "comedy", "noir", "animation"]).unwrap());
        assert!(Tags::from_names::<[&str; 0]>([]).unwrap().is_empty());
    }

    #[test]
    fn ids_are_never_reused() {
        let tag = |id, name: &str| Tag { id, name: name.to_owned(), threshold: 0.5 };
        let mut tags = Tags::new(vec![tag(7, "a"), tag(2, "b")], 9).unwrap();
        assert_eq!((tags.push("c").unwrap(), tags.next_id()), (9, 10));
        assert_eq!([2, 7, 9, 0, 8, 10, u32::MAX].map(|id| tags.by_id(id)), [Some(1), Some(0), Some(2), None, None, None, None]);
        assert!(Tags::new(vec![tag(7, "a"), tag(2, "b")], 7).is_err());
        assert!(Tags::new(vec![tag(7, "a"), tag(2, "c"), tag(7, "b")], 9).is_err());
        let mut last = Tags::new(vec![tag(0, "a")], u32::MAX).unwrap();
        let before = last.clone();
        assert!(matches!(last.push("b"), Err(Error::TooLarge { .. })));
        assert_eq!(last, before);
    }

    #[test]
    fn refuses_bad_names_and_thresholds() {
        for names in [["a", ""], ["a", "a"], ["a", "b\n"], ["a", "\u{7f}"], ["a", "\0"]] {
            assert!(matches!(Tags::from_names(names), Err(Error::BadName { .. })), "{names:?}");
            assert!(Tags::from_names([names[0]]).unwrap().push(names[1]).is_err(), "{names:?}");
        }
        let mut tags = Tags::from_names(["a"]).unwrap();
        for good in [0.0, 0.3, 1.0, f32::INFINITY] {
            tags.set_threshold(0, good).unwrap();
            assert_eq!(tags[0].threshold, good);
        }
        for bad in [-0.0, -0.1, 1.000_001, f32::NAN, -f32::NAN, f32::NEG_INFINITY, f32::MAX] {
            assert!(matches!(tags.set_threshold(0, bad), Err(Error::Config { .. })), "{bad}");
        }
        assert!(matches!(tags.set_threshold(1, 0.5), Err(Error::Length { .. })));
    }
}
