//! The system's allocator, with counts for each thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What a thread has allocated.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Allocations {
    /// How often.
    pub(super) count: u64,
    /// Bytes at a time at most.
    pub(super) largest: usize,
}

thread_local! {
    static SO_FAR: Cell<Allocations> = const { Cell::new(Allocations { count: 0, largest: 0 }) };
}

/// What `run` allocates in this thread.
pub(super) fn of<R>(run: impl FnOnce() -> R) -> (R, Allocations) {
    let before = SO_FAR.replace(Allocations::default());
    let result = run();
    (result, SO_FAR.replace(before))
}

struct Counting;

#[expect(unsafe_code, reason = "a global allocator is an unsafe trait")]
// SAFETY: every call is passed on to the system's allocator unchanged; counting touches no memory that is handed out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Allocations { count, largest } = SO_FAR.get();
        SO_FAR.set(Allocations { count: count + 1, largest: largest.max(layout.size()) });
        // SAFETY: the caller's promise about `layout` is the one that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` by `alloc` above, with this layout, as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
