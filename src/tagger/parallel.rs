//! A batch on several threads, which the caller lends.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Scratch, Tagger};
use crate::error::{Error, Result};

impl Tagger {
    /// [`Tagger::score_batch`] on the calling thread and on threads of `pool`, as many in all as `pool` and `scratches` have, with the
    /// same bits. Threads take parts of the batch as they get to them: the caller begins at once, and a thread that comes late
    /// finds less to do. A batch of one part is the caller's alone.
    ///
    /// It returns when each thread that was asked for help has answered, if only that there is nothing left to do: keep
    /// long work out of `pool`. A caller that is itself a thread of a pool may meanwhile run other jobs of that pool: hold no lock and no
    /// borrow that these want. Waking a thread can take 100 µs, so a batch should be worth some times that. Asking a thread
    /// allocates a few dozen bytes; nothing else does.
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
        let (items, threads) = (starts.len().saturating_sub(1), pool.current_num_threads().min(scratches.len()));
        let Some((own, others)) = scratches.split_first_mut() else {
            return Err(Error::Length { what: "scratches", expected: 1, found: 0 });
        };
        // Whole groups of those that go through the layers together.
        let part = items.div_ceil(threads * PARTS_A_THREAD).max(LEAST_ITEMS).next_multiple_of(own.forward.capacity());
        let helpers = threads.min(items.div_ceil(part)).saturating_sub(1);
        let parts = Parts::new(starts, part, self.tags().len(), scores);
        let work = |scratch: &mut Scratch| {
            while let Some(part) = parts.take() {
                if let Err(error) = self.score_items(ids, part.starts, scratch, part.scores) {
                    parts.fail(error);
                }
            }
        };
        pool.in_place_scope(|scope| {
            for scratch in others.iter_mut().take(helpers) {
                let work = &work;
                scope.spawn(move |_| work(scratch));
            }
            work(own);
        });
        parts.finish().map_err(|error| Self::in_batch(error, ids, starts))
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
    /// The first item.
    next: usize,
    /// Scores from that one on.
    scores: &'a mut [f32],
    /// Why a part failed.
    failed: Option<Error>,
}

/// Some items that follow each other.
struct Part<'a> {
    starts: &'a [usize],
    scores: &'a mut [f32],
}

impl<'a> Parts<'a> {
    fn new(starts: &'a [usize], items: usize, tags: usize, scores: &'a mut [f32]) -> Self {
        Parts { starts, items, tags, left: Mutex::new(Left { next: 0, scores, failed: None }) }
    }

    /// Nobody panics while holding the lock.
    fn left(&self) -> MutexGuard<'_, Left<'a>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next part; none after a failure.
    fn take(&self) -> Option<Part<'a>> {
        let mut left = self.left();
        let (first, all) = (left.next, self.starts.len().saturating_sub(1));
        if first >= all || left.failed.is_some() {
            return None;
        }
        let last = all.min(first + self.items);
        let scores = left.scores.split_off_mut(..(last - first) * self.tags)?;
        left.next = last;
        Some(Part { starts: &self.starts[first..=last], scores })
    }

    fn fail(&self, error: Error) {
        self.left().failed = Some(error);
    }

    fn finish(self) -> Result<()> {
        self.left.into_inner().unwrap_or_else(PoisonError::into_inner).failed.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_taken_once_each_until_one_fails() {
        let starts: Vec<usize> = (0..=1000).collect();
        let mut scores: Vec<f32> = (0..3000).map(|n| n as f32).collect();
        let parts = Parts::new(&starts, 36, 3, &mut scores);
        let mut items = 0;
        while let Some(part) = parts.take() {
            assert_eq!(part.starts[0], items);
            assert_eq!(part.scores.len(), (part.starts.len() - 1) * 3);
            assert!((part.scores[0] - 3.0 * items as f32).abs() < 0.5);
            items += part.starts.len() - 1;
        }
        assert_eq!(items, 1000);
        parts.finish().unwrap();

        let parts = Parts::new(&starts, 36, 3, &mut scores);
        assert!(parts.take().is_some());
        parts.fail(Error::Length { what: "part", expected: 0, found: 1 });
        assert!(parts.take().is_none());
        assert!(matches!(parts.finish(), Err(Error::Length { found: 1, .. })));
    }
}
