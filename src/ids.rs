//! A sample is a *set* of ids: sorted, unique, in range. [`Sets`] are some of them, known to be that.
//!
//! A repeated id counts once. An id that does not exist is an error for [`strict`] and dropped and counted by [`lossy`].

use crate::error::{Error, Result};

/// Some sets of ids, each ascending without repeats. Whoever holds one need not look at all ids again.
#[derive(Clone, Copy, Debug)]
pub struct Sets<'a> {
    ids: &'a [u32],
    starts: &'a [usize],
    /// One more than the largest id; 0 without any.
    end: u64,
}

impl<'a> Sets<'a> {
    /// The sets `ids[starts[i]..starts[i + 1]]`, if `starts` ascends to no more than the length of `ids` and each set ascends
    /// without repeats.
    #[must_use]
    pub fn new(ids: &'a [u32], starts: &'a [usize]) -> Option<Self> {
        Self::new_with(ids, starts, ascends)
    }

    /// [`Sets::new`], given [`ascends`] or its like.
    #[inline]
    pub(crate) fn new_with(ids: &'a [u32], starts: &'a [usize], ascends: impl Fn(&[u32]) -> bool) -> Option<Self> {
        let mut end = 0;
        for bounds in starts.windows(2) {
            let set = ids.get(bounds[0]..bounds[1])?;
            if !ascends(set) {
                return None;
            }
            end = end.max(set.last().map_or(0, |last| u64::from(*last) + 1));
        }
        Some(Sets { ids, starts, end })
    }

    /// [`Sets::new`] for ids below `end` of which the caller knows that they are such sets.
    #[cfg(feature = "train")]
    pub(crate) fn known(ids: &'a [u32], starts: &'a [usize], end: u64) -> Self {
        debug_assert!(Sets::new(ids, starts).is_some_and(|sets| sets.end <= end), "sets of ids below {end}");
        Sets { ids, starts, end }
    }

    /// [`Sets::new`], as a result.
    ///
    /// # Errors
    /// [`Error::Config`] if they are not such sets.
    pub fn checked(ids: &'a [u32], starts: &'a [usize]) -> Result<Self> {
        let fault =
            || Error::Config { option: "ids", expected: "sets that ascend without repeats", found: "others".to_owned() };
        Self::new(ids, starts).ok_or_else(fault)
    }

    /// The number of sets.
    #[must_use]
    #[inline]
    pub fn len(self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Fails if a set has an id from `keywords` on.
    ///
    /// # Errors
    /// [`Error::KeywordOutOfRange`] with the largest id.
    #[inline]
    pub fn check_below(self, keywords: usize) -> Result<()> {
        match u32::try_from(self.end.saturating_sub(1)) {
            Ok(id) if self.end > keywords as u64 => Err(Error::KeywordOutOfRange { id, keywords, item: None }),
            _ => Ok(()),
        }
    }

    /// Where each set lies in the ids, and the set.
    #[cfg(any(test, feature = "train"))]
    pub(crate) fn places(self) -> impl Iterator<Item = (std::ops::Range<usize>, &'a [u32])> {
        self.starts.windows(2).map(move |bounds| (bounds[0]..bounds[1], &self.ids[bounds[0]..bounds[1]]))
    }

    /// Fails unless there are `count` ids.
    #[cfg(any(test, feature = "train"))]
    pub(crate) fn check_length(self, what: &'static str, count: usize) -> Result<()> {
        Error::check_length(what, self.ids.len(), count)
    }

    /// Each set, with the ids that come after its first.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a [u32], &'a [u32])> {
        self.starts.windows(2).map(move |bounds| (&self.ids[bounds[0]..bounds[1]], &self.ids[bounds[0]..]))
    }
}

/// Whether `ids` ascend without repeats.
#[inline(always)]
pub(crate) fn ascends(ids: &[u32]) -> bool {
    // One for each lane: they become a vector, which is looked at once.
    let mut faults = [0_u32; 8];
    // Vectors of neighbours; the last one reaches back.
    let last = ids.len().saturating_sub(9);
    let mut start = 0;
    while let Some(nine) = ids[start..].first_chunk::<9>() {
        for (i, faults) in faults.iter_mut().enumerate() {
            *faults |= u32::from(nine[i] >= nine[i + 1]);
        }
        if start == last {
            return faults == [0; 8];
        }
        start = last.min(start + 8);
    }
    ids.is_sorted_by(|a, b| a < b)
}

/// Sorts `ids` and drops repeats; the number dropped.
pub fn canonicalize(ids: &mut Vec<u32>) -> usize {
    let before = ids.len();
    if !ids.is_sorted_by(|a, b| a < b) {
        ids.sort_unstable();
        ids.dedup();
    }
    before - ids.len()
}

/// Like [`canonicalize`], for the ids from `start` on, none if there are not so many; the ones before stay as they are.
pub fn canonicalize_from(ids: &mut Vec<u32>, start: usize) {
    let start = start.min(ids.len());
    ids[start..].sort_unstable();
    let mut end = start;
    for next in start..ids.len() {
        if next == start || ids[next] != ids[end - 1] {
            ids[end] = ids[next];
            end += 1;
        }
    }
    ids.truncate(end);
}

/// Makes `ids` a set of ids below `keywords`; the number of repeats dropped.
///
/// # Errors
///
/// [`Error::KeywordOutOfRange`] names the first id that is too large; `ids` are then as they were.
pub fn strict(ids: &mut Vec<u32>, keywords: usize) -> Result<usize> {
    match ids.iter().find(|&&id| !in_range(id, keywords)) {
        Some(&id) => Err(Error::KeywordOutOfRange { id, keywords, item: None }),
        None => Ok(canonicalize(ids)),
    }
}

/// What [`lossy`] dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Ids that do not exist, every occurrence counted.
    pub out_of_range: usize,
    /// Repeats of ids that do.
    pub repeated: usize,
}

/// Makes `ids` a set of ids below `keywords`, dropping the others.
pub fn lossy(ids: &mut Vec<u32>, keywords: usize) -> Dropped {
    let before = ids.len();
    ids.retain(|&id| in_range(id, keywords));
    let out_of_range = before - ids.len();
    Dropped { out_of_range, repeated: canonicalize(ids) }
}

fn in_range(id: u32, keywords: usize) -> bool {
    usize::try_from(id).is_ok_and(|id| id < keywords)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_count_once() {
        let mut ids = vec![4, 0, 4, 2, 0];
        assert_eq!(strict(&mut ids, 5).unwrap(), 2);
        assert_eq!(ids, [0, 2, 4]);
        assert_eq!(strict(&mut ids, 5).unwrap(), 0);
    }

    #[test]
    fn sets_ascend() {
        let ids = [1, 5, 0, 9, 9];
        let sets = Sets::new(&ids, &[0, 2, 2, 4]).unwrap();
        assert_eq!(
            sets.iter().map(|(set, rest)| (set.to_vec(), rest.len())).collect::<Vec<_>>(),
            [(vec![1, 5], 5), (vec![], 3), (vec![0, 9], 3)]
        );
        assert!(sets.check_below(10).is_ok());
        assert!(matches!(sets.check_below(9), Err(Error::KeywordOutOfRange { id: 9, keywords: 9, .. })));
        assert!(Sets::new(&[], &[]).unwrap().check_below(0).is_ok());
        for starts in [&[0, 3][..], &[3, 5], &[0, 6], &[2, 0], &[6, 6]] {
            assert!(Sets::new(&ids, starts).is_none() && Sets::checked(&ids, starts).is_err(), "{starts:?}");
        }
        assert!(Sets::new(&[u32::MAX], &[0, 1]).unwrap().check_below(u32::MAX as usize).is_err());
    }

    #[test]
    fn one_id_out_of_order_is_found_wherever_it_is() {
        for length in 0..40 {
            let ids: Vec<u32> = (0..length).map(|id| id * 100_000_000).collect();
            assert!(ascends(&ids));
            for place in 1..ids.len() {
                let mut repeated = ids.clone();
                repeated[place] = repeated[place - 1];
                assert!(!ascends(&repeated), "{place} of {length}");
            }
        }
    }

    #[test]
    fn only_the_end_is_made_a_set() {
        for (given, expected) in
            [(vec![5, 5, 4, 0, 4, 2, 0], vec![5, 5, 0, 2, 4]), (vec![1, 0], vec![1, 0]), (vec![3, 3, 3], vec![3, 3, 3])]
        {
            let mut ids = given;
            canonicalize_from(&mut ids, 2);
            assert_eq!(ids, expected);
            for start in [ids.len(), ids.len() + 1, usize::MAX] {
                canonicalize_from(&mut ids, start);
                assert_eq!(ids, expected);
            }
        }
    }

    #[test]
    fn strict_leaves_a_bad_list_alone() {
        let mut ids = vec![7, 1, 9, 1];
        assert!(matches!(strict(&mut ids, 5), Err(Error::KeywordOutOfRange { id: 7, keywords: 5, .. })));
        assert_eq!(ids, [7, 1, 9, 1]);
    }

    #[test]
    fn lossy_tells_unknown_from_repeated() {
        let mut ids = vec![9, 1, 1, 700, u32::MAX];
        assert_eq!(lossy(&mut ids, 5), Dropped { out_of_range: 3, repeated: 1 });
        assert_eq!(ids, [1]);
        assert_eq!(lossy(&mut ids, 0), Dropped { out_of_range: 1, repeated: 0 });
    }
}
