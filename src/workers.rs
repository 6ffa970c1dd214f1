//! Dividing work between threads, and keeping them awake for it. How it is divided must not change what is computed.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Whether, and how finely, work is divided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workers {
    /// Only for work inside the caller's rayon pool: outside it nothing of rayon may be called, which would start a hidden pool.
    pub(crate) parallel: bool,
    /// Work below this cost, in blocks read, does not [divide](Workers::divides): handing it out would cost more than doing it.
    pub(crate) grain: usize,
    /// Whether threads without work are to look for some.
    awake: bool,
}

impl Workers {
    /// About 25 µs of work; to wake a thread takes as long, or longer.
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

    /// These for work on `items` items of `cost` each again and again: if that is worth it, to be [awake](Self::keep_awake) and to divide finer.
    pub(crate) fn awake_for(self, items: usize, cost: usize) -> Self {
        if self.divides(items, cost) { Workers { grain: self.grain / Self::FINER, awake: true, ..self } } else { self }
    }

    /// Runs both, and returns what they return.
    pub(crate) fn join<A: Send, B: Send>(self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
        if !self.parallel {
            return (a(), b());
        }
        let _inside = Inside::enter();
        rayon::join(a, b)
    }

    /// Lets the pool's other threads be [called](Awake::call) to look for work until it is dropped, if these are to be awake: to wake one that
    /// has gone to sleep takes longer than to do a part of the work.
    #[must_use]
    pub(crate) fn keep_awake(self) -> Awake {
        Awake { others: if self.awake { rayon::current_num_threads() - 1 } else { 0 }, lookout: Arc::default() }
    }
}

/// See [`Workers::keep_awake`].
pub(crate) struct Awake {
    others: usize,
    lookout: Arc<Lookout>,
}

/// What the threads that look for work share.
#[derive(Default)]
struct Lookout {
    /// Calls that are not answered yet, or whose thread has not left.
    called: AtomicUsize,
    ended: AtomicBool,
}

impl Awake {
    /// Calls for those threads that are missing; to be repeated every now and then. Nobody waits for them, as they may have other work.
    pub(crate) fn call(&self) {
        for _ in self.lookout.called.load(Ordering::Relaxed)..self.others {
            let lookout = self.lookout.clone();
            lookout.called.fetch_add(1, Ordering::Relaxed);
            rayon::spawn(move || {
                look_for_work(&lookout.ended);
                lookout.called.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.lookout.ended.store(true, Ordering::Relaxed);
    }
}

/// After how long a thread that looks for work leaves, to be called again: other work in its pool may be waiting for it. Long beside the parts of
/// a step that one thread does alone.
const STAY: Duration = Duration::from_millis(2);

/// Rounds without work after which a thread lets others have its core, if they want it.
const ROUNDS: u32 = 32;

/// Runs what other threads of the pool hand out, until that has ended or for a while. Returns whether it did: a thread that waits for a part
/// of such work is to go on with it.
fn look_for_work(ended: &AtomicBool) -> bool {
    if Inside::is_inside() {
        return false;
    }
    let _inside = Inside::enter();
    let (start, mut idle) = (Instant::now(), 0);
    while !ended.load(Ordering::Relaxed) && start.elapsed() < STAY {
        match rayon::yield_now() {
            Some(rayon::Yield::Executed) => idle = 0,
            _ if idle < ROUNDS => {
                idle += 1;
                (0..16).for_each(|_| std::hint::spin_loop());
            }
            _ => std::thread::yield_now(),
        }
    }
    true
}

thread_local! {
    /// The calls of [`look_for_work`], and of [`Workers::join`] in a pool, that this thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Counted in [`DEPTH`].
struct Inside;

impl Inside {
    fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Inside
    }

    fn is_inside() -> bool {
        DEPTH.get() > 0
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    const WORKERS: Workers = Workers { parallel: true, grain: 0, awake: true };

    /// Halves a range down to single numbers, and adds them up.
    fn sum(from: u64, to: u64) -> u64 {
        if !WORKERS.divides((to - from) as usize, 1) {
            return (from..to).sum();
        }
        let middle = from.midpoint(to);
        let (left, right) = WORKERS.join(|| sum(from, middle), || sum(middle, to));
        left + right
    }

    /// Calls until as many calls are out as there are `others`, dividing work meanwhile.
    fn until_called(awake: &Awake, others: usize) {
        loop {
            awake.call();
            assert_eq!(sum(0, 200), 19_900);
            assert!(awake.lookout.called.load(Ordering::Relaxed) <= others);
            if awake.lookout.called.load(Ordering::Relaxed) == others {
                return;
            }
        }
    }

    #[test]
    fn threads_come_when_called_and_leave_at_the_end() {
        for threads in [1, 2, 3, 8] {
            let pool = pool(threads);
            let lookout = pool.install(|| {
                let awake = WORKERS.keep_awake();
                until_called(&awake, threads - 1);
                // None stays for good, and they are called again.
                while threads > 1 && awake.lookout.called.load(Ordering::Relaxed) > 0 {
                    std::thread::yield_now();
                }
                until_called(&awake, threads - 1);
                awake.lookout.clone()
            });
            assert!(lookout.ended.load(Ordering::Relaxed));
            while lookout.called.load(Ordering::Relaxed) > 0 {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn as_many_at_a_time_as_there_are_threads_do_their_own_work() {
        let results = pool(3).broadcast(|_| {
            let awake = WORKERS.keep_awake();
            let sums = (0..200).map(|n| {
                awake.call();
                sum(0, n)
            });
            sums.sum::<u64>()
        });
        let expected: u64 = (0..200_u64).map(|n| (0..n).sum::<u64>()).sum();
        assert_eq!(results, [expected; 3]);
    }

    #[test]
    fn a_thread_in_the_middle_of_work_looks_for_no_other() {
        let never = AtomicBool::new(false);
        pool(1).install(|| {
            assert!(look_for_work(&never));
            assert_eq!(WORKERS.join(|| look_for_work(&never), || look_for_work(&never)), (false, false));
            let fails = || WORKERS.join(|| panic!("as expected"), || ());
            assert!(std::panic::catch_unwind(fails).is_err());
            assert!(look_for_work(&never), "after a panic");
        });
        let ended = AtomicBool::new(true);
        assert!(pool(1).install(|| look_for_work(&ended)));
    }
}
