//! Memory for long lists of numbers, on huge pages where the system has them.
//!
//! Rows of a table are read at random, and so are the parts of a mini-batch. In pages of 4 KiB nearly each of them waits for the place of
//! its page to be looked up, of a long table even in memory. Pages of 2 MiB are few enough for the CPU to remember the places of all. Linux
//! has them ("transparent huge pages") for programs that ask.

use std::fmt;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;

use crate::error::{Error, Result};

/// Numbers in memory of their own.
pub(crate) enum Buffer<T> {
    Heap(Vec<T>),
    #[cfg(all(feature = "mmap", target_os = "linux"))]
    Pages(pages::Pages<T>),
}

impl<T> Buffer<T> {
    /// Nothing.
    pub(crate) const EMPTY: Self = Buffer::Heap(Vec::new());
}

impl<T: Pod> Buffer<T> {
    /// So many zeros; `what` is what there may be no memory for.
    pub(crate) fn zeroed(what: &'static str, count: usize) -> Result<Self> {
        let bytes = count.saturating_mul(size_of::<T>());
        let too_large = || Error::TooLarge { what, limit: (bytes as u64).saturating_sub(1) };
        #[cfg(all(feature = "mmap", target_os = "linux"))]
        if bytes >= pages::HUGE_FROM {
            return pages::Pages::new(count).map(Buffer::Pages).ok_or_else(too_large);
        }
        let mut numbers = Vec::new();
        numbers.try_reserve_exact(count).map_err(|_| too_large())?;
        numbers.resize(count, T::zeroed());
        Ok(Buffer::Heap(numbers))
    }

    /// So many numbers that are all `value`.
    pub(crate) fn filled(what: &'static str, count: usize, value: T) -> Result<Self> {
        let mut filled = Self::zeroed(what, count)?;
        if bytemuck::bytes_of(&value).iter().any(|byte| *byte != 0) {
            filled.fill(value);
        }
        Ok(filled)
    }

    /// A copy of `numbers`; `what` is what there may be no memory for.
    pub(crate) fn copy(what: &'static str, numbers: &[T]) -> Result<Self> {
        let mut copy = Self::zeroed(what, numbers.len())?;
        copy.copy_from_slice(numbers);
        Ok(copy)
    }

    /// Makes it `count` long, by zeros at the end or without what is there. It keeps its memory if that is enough.
    pub(crate) fn resize(&mut self, what: &'static str, count: usize) -> Result<()> {
        let room = match self {
            Buffer::Heap(numbers) => numbers.capacity(),
            #[cfg(all(feature = "mmap", target_os = "linux"))]
            Buffer::Pages(pages) => pages.room(),
        };
        if count > room {
            let mut longer = Self::zeroed(what, count)?;
            longer[..self.len()].copy_from_slice(self);
            *self = longer;
            return Ok(());
        }
        match self {
            Buffer::Heap(numbers) => numbers.resize(count, T::zeroed()),
            #[cfg(all(feature = "mmap", target_os = "linux"))]
            Buffer::Pages(pages) => pages.resize(count),
        }
        Ok(())
    }
}

#[cfg(all(feature = "mmap", target_os = "linux"))]
mod pages {
    use std::marker::PhantomData;

    use bytemuck::Pod;
    use memmap2::{Advice, MmapMut};

    /// Bytes from which huge pages are asked for.
    pub(super) const HUGE_FROM: usize = 256 << 10;

    /// A huge page.
    const HUGE: usize = 2 << 20;

    /// Anonymous memory from the first place on where a huge page can be.
    pub(crate) struct Pages<T> {
        map: MmapMut,
        start: usize,
        count: usize,
        of: PhantomData<T>,
    }

    impl<T: Pod> Pages<T> {
        /// So many zeros, unless there is no memory for them.
        pub(super) fn new(count: usize) -> Option<Self> {
            // Room for whole pages, wherever the system puts it. What is not written takes no memory.
            let bytes = count.checked_mul(size_of::<T>())?.checked_next_multiple_of(HUGE)?;
            let map = MmapMut::map_anon(bytes.checked_add(HUGE)?).ok()?;
            let start = map.as_ptr().addr().wrapping_neg() % HUGE;
            // A system that has no huge pages goes on with small ones.
            let _ = map.advise_range(Advice::HugePage, start, bytes);
            Some(Pages { map, start, count, of: PhantomData })
        }

        pub(super) fn numbers(&self) -> &[T] {
            bytemuck::cast_slice(&self.map[self.start..self.start + self.count * size_of::<T>()])
        }

        pub(super) fn numbers_mut(&mut self) -> &mut [T] {
            bytemuck::cast_slice_mut(&mut self.map[self.start..self.start + self.count * size_of::<T>()])
        }

        /// How many numbers it can hold.
        pub(super) fn room(&self) -> usize {
            (self.map.len() - HUGE) / size_of::<T>()
        }

        /// Makes it `count` long, for which there is room.
        pub(super) fn resize(&mut self, count: usize) {
            let before = std::mem::replace(&mut self.count, count);
            if let Some(new) = self.numbers_mut().get_mut(before..) {
                new.fill(T::zeroed());
            }
        }
    }
}

impl<T: Pod> Deref for Buffer<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Buffer::Heap(numbers) => numbers,
            #[cfg(all(feature = "mmap", target_os = "linux"))]
            Buffer::Pages(pages) => pages.numbers(),
        }
    }
}

impl<T: Pod> DerefMut for Buffer<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Buffer::Heap(numbers) => numbers,
            #[cfg(all(feature = "mmap", target_os = "linux"))]
            Buffer::Pages(pages) => pages.numbers_mut(),
        }
    }
}

impl<T: Pod> From<&[T]> for Buffer<T> {
    fn from(numbers: &[T]) -> Self {
        // Where there is no memory for pages, the heap says so, as to every `Vec` that is copied.
        Self::copy("copy", numbers).unwrap_or_else(|_| Buffer::Heap(numbers.to_vec()))
    }
}

impl<T: Pod> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        Self::from(&**self)
    }
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<T: Pod + PartialEq> PartialEq for Buffer<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
