//! Many small sets of ids in two flat arrays (compressed sparse rows).

use crate::column::Column;
use crate::error::{Error, Result};
use crate::ids::canonicalize;

/// Rows of ids, each ascending and unique.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::csr::Csr;
///
/// let mut rows = Csr::new();
/// rows.push([7, 3, 7])?;
/// rows.push([])?;
/// assert_eq!((rows.len(), rows.row(0)), (2, &[3, 7][..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csr {
    /// Row `i` is `ids[starts[i]..starts[i + 1]]`.
    starts: Column<u64>,
    ids: Column<u32>,
}

impl Default for Csr {
    fn default() -> Self {
        Csr { starts: vec![0].into(), ids: Column::default() }
    }
}

impl Csr {
    /// No rows.
    #[must_use]
    pub fn new() -> Self {
        Csr::default()
    }

    /// Rows that stand in columns: row i is `ids[starts[i]..starts[i + 1]]`.
    #[cfg(feature = "mmap")]
    pub(crate) fn from_columns(starts: Column<u64>, ids: Column<u32>) -> Self {
        Csr { starts, ids }
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids of row `i`, which must exist, as with a slice.
    #[must_use]
    pub fn row(&self, i: usize) -> &[u32] {
        self.starts.touch(2);
        let [start, end] = [self.starts[i] as usize, self.starts[i + 1] as usize];
        self.ids.touch(end - start);
        &self.ids[start..end]
    }

    /// Where row `i` starts in [`Csr::ids`]; the row must exist.
    #[cfg(feature = "train")]
    pub(crate) fn start(&self, i: usize) -> u64 {
        self.starts[i]
    }

    /// All rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        (0..self.len()).map(|i| self.row(i))
    }

    /// The ids of all rows, one row after the other.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Appends the set of `ids` as a row; the number of repeats among them.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] when there are 2^32 - 1 rows already: rows are numbered by `u32` elsewhere.
    pub fn push(&mut self, ids: impl IntoIterator<Item = u32>) -> Result<usize> {
        const ROWS: u32 = u32::MAX;
        if u32::try_from(self.len()).is_ok_and(|rows| rows < ROWS) {
            let all = self.ids.to_mut();
            let start = all.len();
            all.extend(ids);
            let mut repeated = 0;
            if !all[start..].is_sorted_by(|a, b| a < b) {
                let mut row = all.split_off(start);
                repeated = canonicalize(&mut row);
                all.append(&mut row);
            }
            self.starts.to_mut().push(all.len() as u64);
            Ok(repeated)
        } else {
            Err(Error::TooLarge { what: "samples of a data set", limit: ROWS.into() })
        }
    }

    /// How many rows hold each id below `columns`; larger ids are not counted.
    #[must_use]
    pub fn counts(&self, columns: usize) -> Vec<u64> {
        let mut counts = vec![0; columns];
        for &id in self.rows().flatten() {
            if let Some(count) = counts.get_mut(id as usize) {
                *count += 1;
            }
        }
        counts
    }

    /// For each id below `columns`, the rows that hold it; larger ids are left out.
    #[must_use]
    pub fn transposed(&self, columns: usize) -> Csr {
        let mut starts = vec![0_u64; columns + 1];
        for &id in self.rows().flatten() {
            if let Some(count) = starts.get_mut(id as usize + 1) {
                *count += 1;
            }
        }
        for i in 0..columns {
            starts[i + 1] += starts[i];
        }
        let mut next = starts.clone();
        let mut ids = vec![0; starts[columns] as usize];
        for (row, columns_of_row) in (0u32..).zip(self.rows()) {
            for &column in columns_of_row.iter().take_while(|&&column| (column as usize) < columns) {
                let place = &mut next[column as usize];
                ids[*place as usize] = row;
                *place += 1;
            }
        }
        Csr { starts: starts.into(), ids: ids.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csr(rows: &[&[u32]]) -> Csr {
        let mut csr = Csr::new();
        for row in rows {
            csr.push(row.iter().copied()).unwrap();
        }
        csr
    }

    #[test]
    fn rows_become_sets() {
        let mut sets = csr(&[&[3, 1], &[]]);
        assert_eq!(sets.push([2, 2, 0, 2]).unwrap(), 2);
        assert_eq!(sets.rows().collect::<Vec<_>>(), [&[1, 3][..], &[], &[0, 2]]);
        assert_eq!((sets.len(), sets.ids().iter().max(), sets.row(2)), (3, Some(&3), &[0, 2][..]));
    }

    #[test]
    fn transposing_twice_gives_the_same_back() {
        let sets = csr(&[&[1, 3], &[], &[0, 1]]);
        let columns = sets.transposed(4);
        assert_eq!(columns.rows().collect::<Vec<_>>(), [&[2][..], &[0, 2], &[], &[0]]);
        assert_eq!(columns.transposed(3), sets);
        assert_eq!(sets.counts(4), [1, 2, 0, 1]);
    }

    #[test]
    fn ids_beyond_the_columns_are_left_out() {
        let sets = csr(&[&[0, 7], &[7], &[u32::MAX]]);
        assert_eq!(sets.counts(1), [1]);
        assert_eq!(sets.transposed(1).rows().collect::<Vec<_>>(), [&[0u32][..]]);
        assert!(sets.transposed(0).is_empty());
    }
}
