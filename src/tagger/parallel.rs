//! A batch on several threads, which the caller lends.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Scratch, Tagger};
use crate::error::{Error, Result};

impl Tagger {
    /// [`Tagger::score_batch`] on the calling thread and on all but one of the threads of `pool`, as many as there are scratches, with
    /// the same bits. Threads take parts of the batch as they get to them: a late one delays no other, and the caller begins
    /// at once.
    ///
    /// A batch should be worth some times 100 µs, which is what it can take to wake a thread. Asking a thread for help allocates a
    /// few dozen bytes; nothing else does.
    ///
    /// # Errors
    /// As [`Tagger::score_batch`]; [`Error::Length`] also without any scratch.
    pub fn score_batch_in(
        &self,
        pool: &rayon::ThreadPool,
        ids: &[u32],
        starts: &[usize],
        scratches: &mut [Scratch],
        scores: &mut [f32],
    ) -> Result<()> {
        self.check_batch(ids, starts, scores)?;
        let threads = pool.current_num_threads().min(scratches.len());
        let Some((own, others)) = scratches.split_first_mut() else {
            return Err(Error::Length { what: "scratches", expected: 1, found: 0 });
        };
        let parts = Parts::new(starts, self.tags().len(), threads, scores);
        let work = |scratch: &mut Scratch| {
            while let Some(part) = parts.take() {
                if let Err(error) = self.score_items(ids, part.starts, scratch, part.scores) {
                    parts.fail(part.number, error);
                }
            }
        };
        pool.in_place_scope(|scope| {
            for scratch in others.iter_mut().take(threads - 1) {
                let work = &work;
                scope.spawn(move |_| work(scratch));
            }
            work(own);
        });
        parts.finish()
    }
}

/// Parts of a batch that a thread takes, if all take equally many: the last ones to be finished are this fine.
const PARTS_A_THREAD: usize = 8;

/// Items that a part has at least: taking it costs less than a hundredth of them, and what is read for one item is near for the next.
const LEAST_ITEMS: usize = 32;

/// A batch in parts, for threads to take.
struct Parts<'a> {
    starts: &'a [usize],
    /// Items in a part.
    items: usize,
    tags: usize,
    left: Mutex<Left<'a>>,
}

/// What nobody has taken yet.
struct Left<'a> {
    /// The number of the next part.
    next: usize,
    /// Scores of all parts from the next one on.
    scores: &'a mut [f32],
    /// The first part that failed, and why.
    failed: Option<(usize, Error)>,
}

/// Some items that follow each other.
struct Part<'a> {
    number: usize,
    starts: &'a [usize],
    scores: &'a mut [f32],
}

impl<'a> Parts<'a> {
    fn new(starts: &'a [usize], tags: usize, threads: usize, scores: &'a mut [f32]) -> Self {
        let items = starts.len().saturating_sub(1).div_ceil(threads * PARTS_A_THREAD).max(LEAST_ITEMS);
        Parts { starts, items, tags, left: Mutex::new(Left { next: 0, scores, failed: None }) }
    }

    /// Nobody panics while holding the lock.
    fn left(&self) -> MutexGuard<'_, Left<'a>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next part; none after a failure.
    fn take(&self) -> Option<Part<'a>> {
        let mut left = self.left();
        let (number, all) = (left.next, self.starts.len().saturating_sub(1));
        let first = number * self.items;
        if first >= all || left.failed.is_some() {
            return None;
        }
        let last = all.min(first + self.items);
        let scores = left.scores.split_off_mut(..(last - first) * self.tags)?;
        left.next += 1;
        Some(Part { number, starts: &self.starts[first..=last], scores })
    }

    /// Keeps the error of the first part that fails. All parts before it were taken, so it is the same however threads take turns.
    fn fail(&self, part: usize, error: Error) {
        let failed = &mut self.left().failed;
        if failed.as_ref().is_none_or(|(first, _)| part < *first) {
            *failed = Some((part, error));
        }
    }

    fn finish(self) -> Result<()> {
        self.left.into_inner().unwrap_or_else(PoisonError::into_inner).failed.map_or(Ok(()), |(_, error)| Err(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_taken_once_each_and_the_first_failure_is_told() {
        let starts: Vec<usize> = (0..=1000).collect();
        let mut scores: Vec<f32> = (0..3000).map(|n| n as f32).collect();
        let parts = Parts::new(&starts, 3, 2, &mut scores);
        let mut items = 0;
        while let Some(part) = parts.take() {
            assert_eq!(part.starts[0], items);
            assert_eq!(part.scores.len(), (part.starts.len() - 1) * 3);
            assert!((part.scores[0] - 3.0 * items as f32).abs() < 0.5);
            items += part.starts.len() - 1;
        }
        assert_eq!(items, 1000);
        parts.finish().unwrap();

        let parts = Parts::new(&starts, 3, 2, &mut scores);
        let (first, second) = (parts.take().unwrap(), parts.take().unwrap());
        let error = |found| Error::Length { what: "part", expected: 0, found };
        parts.fail(second.number, error(2));
        assert!(parts.take().is_none());
        parts.fail(first.number, error(1));
        parts.fail(second.number, error(3));
        assert!(matches!(parts.finish(), Err(Error::Length { found: 1, .. })));
    }
}
