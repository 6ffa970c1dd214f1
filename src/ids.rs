//! A sample is a *set* of ids: sorted, unique, in range.
//!
//! A repeated id counts once. An id that does not exist is an error for [`strict`] and dropped and counted by [`lossy`].

use crate::error::{Error, Result};

/// Sorts `ids` and drops repeats; the number dropped.
pub fn canonicalize(ids: &mut Vec<u32>) -> usize {
    let before = ids.len();
    if !ids.is_sorted_by(|a, b| a < b) {
        ids.sort_unstable();
        ids.dedup();
    }
    before - ids.len()
}

/// Makes `ids` a set of ids below `keywords`; the number of repeats dropped.
///
/// # Errors
///
/// [`Error::KeywordOutOfRange`] names the first id that is too large; `ids` are then as they were.
pub fn strict(ids: &mut Vec<u32>, keywords: usize) -> Result<usize> {
    match ids.iter().find(|&&id| !in_range(id, keywords)) {
        Some(&id) => Err(Error::KeywordOutOfRange { id, keywords }),
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
    fn strict_leaves_a_bad_list_alone() {
        let mut ids = vec![7, 1, 9, 1];
        assert!(matches!(strict(&mut ids, 5), Err(Error::KeywordOutOfRange { id: 7, keywords: 5 })));
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
