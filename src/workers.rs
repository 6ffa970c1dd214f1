//! Dividing work between threads. What is computed never depends on how it is divided.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Whether two halves of some work may run at the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workers {
    /// Whether this runs inside the caller's rayon pool. Outside it nothing of rayon is called, so no hidden pool is started.
    pub(crate) parallel: bool,
    /// Work below this cost, counted in blocks read, is not divided: handing it out would cost more than doing it.
    pub(crate) grain: usize,
    /// Whether threads without work look for some.
    awake: bool,
}

impl Workers {
    /// About 25 µs of work, which is what it takes to wake a thread.
    const GRAIN: usize = 1 << 14;

    /// By how much finer work is divided between threads that are awake: coarser, and they wait for each other.
    const FINER: usize = 8;

    pub(crate) fn new(parallel: bool) -> Self {
        Workers { parallel, grain: Self::GRAIN, awake: false }
    }

    /// Whether `items` items of `cost` each are worth dividing.
    pub(crate) fn divides(self, items: usize, cost: usize) -> bool {
        self.parallel && items > 1 && items.saturating_mul(cost) > self.grain
    }

    /// These, kept awake if they are to [repeat](Self::repeat) work on `items` items of `cost` each that is worth it.
    pub(crate) fn for_repeated(self, items: usize, cost: usize) -> Self {
        if self.divides(items, cost) { Workers { grain: self.grain / Self::FINER, awake: true, ..self } } else { self }
    }

    /// Runs both, and returns what they return.
    pub(crate) fn join<A: Send, B: Send>(self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
        if !self.parallel {
            return (a(), b());
        }
        JOINS.set(JOINS.get() + 1);
        let results = rayon::join(a, b);
        JOINS.set(JOINS.get() - 1);
        results
    }

    /// Calls `work` until it returns something.
    pub(crate) fn repeat<R>(self, mut work: impl FnMut() -> Option<R>) -> R {
        let end = End(Arc::new(AtomicBool::new(false)));
        loop {
            // Once all have gone they are called again. They are not waited for, as they may have other work.
            if self.awake && Arc::strong_count(&end.0) == 1 {
                let (ended, caller) = (end.0.clone(), rayon::current_thread_index());
                rayon::spawn_broadcast(move |thread| {
                    // A thread that waits for a part of such work is not to be kept from going on with it.
                    if Some(thread.index()) != caller && JOINS.get() == 0 {
                        look_for_work(&ended);
                    }
                });
            }
            if let Some(result) = work() {
                return result;
            }
        }
    }
}

thread_local! {
    /// The calls of [`Workers::join`] that this thread is in.
    static JOINS: Cell<usize> = const { Cell::new(0) };
}

/// Long beside the parts of a step that one thread does alone, and short for a thread that has nothing to do.
const PATIENCE: Duration = Duration::from_micros(500);

/// Runs what other threads of the pool hand out, until that has ended or nothing has come for a while.
fn look_for_work(ended: &AtomicBool) {
    let mut since = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        match rayon::yield_now() {
            Some(rayon::Yield::Executed) => since = Instant::now(),
            _ if since.elapsed() > PATIENCE => return,
            _ => (0..16).for_each(|_| std::hint::spin_loop()),
        }
    }
}

/// Tells of the end when it is dropped, also by a panic.
struct End(Arc<AtomicBool>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Halves a range down to single numbers, and adds them up.
    fn sum(workers: Workers, from: u64, to: u64) -> u64 {
        if !workers.divides((to - from) as usize, 1) {
            return (from..to).sum();
        }
        let middle = from.midpoint(to);
        let (left, right) = workers.join(|| sum(workers, from, middle), || sum(workers, middle, to));
        left + right
    }

    #[test]
    fn what_is_repeated_ends_on_every_number_of_threads_whoever_else_works_there() {
        for threads in [1, 2, 3, 8] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let repeated = || {
                let (workers, mut calls) = (Workers { parallel: threads > 1, grain: 0, awake: threads > 1 }, 0);
                workers.repeat(|| {
                    calls += 1;
                    assert_eq!(sum(workers, 0, 100 + calls), (0..100 + calls).sum::<u64>());
                    (calls == 300).then_some(calls)
                })
            };
            assert_eq!(pool.install(repeated), 300, "{threads} threads");
            // As many of them as there are threads, so none looks for work of another.
            let results = pool.broadcast(|_| repeated());
            assert_eq!(results, vec![300; threads]);
        }
    }

    #[test]
    fn a_panic_in_what_is_repeated_comes_out() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let workers = Workers { parallel: true, grain: 0, awake: true };
        let result = pool.install(|| std::panic::catch_unwind(|| workers.repeat(|| -> Option<()> { panic!("as expected") })));
        assert!(result.is_err());
        assert_eq!(pool.install(|| sum(workers, 0, 9)), 36);
    }
}
