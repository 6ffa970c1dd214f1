//! Dividing work between threads. What is computed never depends on how it is divided.

/// Whether two halves of some work may run at the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workers {
    /// Whether this runs inside the caller's rayon pool. Outside it nothing of rayon is called, so no hidden pool is started.
    pub(crate) parallel: bool,
    /// Work below this cost, counted in blocks read, is not divided: handing it out would cost more than doing it.
    pub(crate) grain: usize,
}

impl Workers {
    /// About 25 µs of work: finer than that it costs more to hand out, coarser and threads wait for each other.
    pub(crate) const GRAIN: usize = 1 << 14;

    /// Whether `items` items of `cost` each are worth dividing.
    pub(crate) fn divides(self, items: usize, cost: usize) -> bool {
        self.parallel && items > 1 && items.saturating_mul(cost) > self.grain
    }

    /// Runs both, and returns what they return.
    pub(crate) fn join<A: Send, B: Send>(self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
        if self.parallel { rayon::join(a, b) } else { (a(), b()) }
    }
}
