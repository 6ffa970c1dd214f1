//! Memory for long lists of numbers, on huge pages where the system has them.
//!
//! Rows of a table are read at random, and so are the parts of a mini-batch. In pages of 4 KiB nearly each of them waits for the place of
//! its page to be looked up, of a long table even in memory. Pages of 2 MiB are few enough for the CPU to remember the places of all. Linux
//! has them ("transparent huge pages") for programs that ask.

use std::fmt;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;

use crate::error::{Error, Result};
use pages::Pages;

/// Numbers in memory of their own.
pub(crate) enum Buffer<T> {
    Heap(Vec<T>),
    Pages(Pages<T>),
}

impl<T> Buffer<T> {
    /// Nothing.
    pub(crate) const EMPTY: Self = Buffer::Heap(Vec::new());
}

impl<T: Pod> Buffer<T> {
    /// So many zeros; `what` is what there may be no memory for.
    pub(crate) fn zeroed(what: &'static str, count: usize) -> Result<Self> {
        Self::with_room(what, count, 0)
    }

    /// So many zeros, in as many bytes of memory at least.
    fn with_room(what: &'static str, count: usize, room: usize) -> Result<Self> {
        let bytes = count.saturating_mul(size_of::<T>());
        let too_large = || Error::TooLarge { what, limit: (bytes as u64).saturating_sub(1) };
        if pages::ARE_HUGE && bytes.max(room) >= pages::HUGE {
            return Pages::new(count, room).map(Buffer::Pages).ok_or_else(too_large);
        }
        let mut numbers = Vec::new();
        numbers.try_reserve_exact(count).map_err(|_| too_large())?;
        numbers.resize(count, T::zeroed());
        Ok(Buffer::Heap(numbers))
    }

    /// Their bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Buffer::Heap(numbers) => bytemuck::cast_slice(numbers),
            Buffer::Pages(pages) => pages.bytes(),
        }
    }

    /// A copy of `numbers`; `what` is what there may be no memory for.
    pub(crate) fn copy(what: &'static str, numbers: &[T]) -> Result<Self> {
        let mut copy = Self::zeroed(what, numbers.len())?;
        copy.copy_from_slice(numbers);
        Ok(copy)
    }
}

#[cfg(any(test, feature = "train"))]
impl<T: Pod> Buffer<T> {
    /// So many numbers that are all `value`.
    pub(crate) fn filled(what: &'static str, count: usize, value: T) -> Result<Self> {
        let mut filled = Self::zeroed(what, count)?;
        if bytemuck::bytes_of(&value).iter().any(|byte| *byte != 0) {
            filled.fill(value);
        }
        Ok(filled)
    }

    /// Bytes from which a buffer that is resized takes whole huge pages: there are few such buffers, and they are used all the time.
    const WHOLE_FROM: usize = 256 << 10;

    /// Makes it `count` long. What is in it is lost where its memory is not enough; whatever else is new in it is 0.
    pub(crate) fn resize(&mut self, what: &'static str, count: usize) -> Result<()> {
        match self {
            Buffer::Heap(numbers) if count <= numbers.capacity() => numbers.resize(count, T::zeroed()),
            Buffer::Pages(pages) if count <= pages.room() => pages.resize(count),
            _ => {
                let bytes = count.saturating_mul(size_of::<T>());
                let room = if bytes >= Self::WHOLE_FROM { bytes.checked_next_multiple_of(pages::HUGE).unwrap_or(0) } else { 0 };
                // Not both at a time.
                *self = Self::EMPTY;
                *self = Self::with_room(what, count, room)?;
            }
        }
        Ok(())
    }
}

#[cfg(all(feature = "mmap", target_os = "linux", target_pointer_width = "64"))]
mod pages {
    use std::marker::PhantomData;

    use bytemuck::Pod;
    use memmap2::{Advice, MmapMut};

    /// Whether [`Pages`] can be had.
    pub(super) const ARE_HUGE: bool = true;

    /// Bytes of a huge page.
    pub(super) const HUGE: usize = 2 << 20;

    /// Anonymous memory from the first place on where a huge page can be.
    pub(crate) struct Pages<T> {
        map: MmapMut,
        start: usize,
        count: usize,
        /// Bytes from `start` on.
        #[cfg_attr(not(any(test, feature = "train")), allow(dead_code, reason = "only training resizes"))]
        room: usize,
        of: PhantomData<T>,
    }

    impl<T: Pod> Pages<T> {
        /// So many zeros, in `room` bytes at least, unless there is no memory for them.
        pub(super) fn new(count: usize, room: usize) -> Option<Self> {
            let bytes = count.checked_mul(size_of::<T>())?.max(room);
            // The system puts it anywhere, so there is room to begin at a multiple. What is not written takes no memory.
            let map = MmapMut::map_anon(bytes.checked_add(HUGE)?).ok()?;
            let start = map.as_ptr().addr().wrapping_neg() % HUGE;
            // The end of it stays on small pages, so that no more is taken than was asked for. Without huge pages all of it does.
            let _ = map.advise_range(Advice::HugePage, start, bytes / HUGE * HUGE);
            Some(Pages { map, start, count, room: bytes, of: PhantomData })
        }

        #[inline]
        pub(super) fn bytes(&self) -> &[u8] {
            &self.map[self.start..self.start + self.count * size_of::<T>()]
        }

        #[inline]
        pub(super) fn numbers(&self) -> &[T] {
            bytemuck::cast_slice(self.bytes())
        }

        #[inline]
        pub(super) fn numbers_mut(&mut self) -> &mut [T] {
            bytemuck::cast_slice_mut(&mut self.map[self.start..self.start + self.count * size_of::<T>()])
        }
    }

    #[cfg(any(test, feature = "train"))]
    impl<T: Pod> Pages<T> {
        /// How many numbers it can hold.
        pub(super) fn room(&self) -> usize {
            self.room / size_of::<T>()
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

#[cfg(not(all(feature = "mmap", target_os = "linux", target_pointer_width = "64")))]
mod pages {
    use std::convert::Infallible;
    use std::marker::PhantomData;

    pub(super) const ARE_HUGE: bool = false;
    pub(super) const HUGE: usize = 2 << 20;

    /// There are none.
    pub(crate) struct Pages<T>(Infallible, PhantomData<T>);

    impl<T> Pages<T> {
        pub(super) fn new(_: usize, _: usize) -> Option<Self> {
            None
        }

        pub(super) fn bytes(&self) -> &[u8] {
            match self.0 {}
        }

        pub(super) fn numbers(&self) -> &[T] {
            match self.0 {}
        }

        pub(super) fn numbers_mut(&mut self) -> &mut [T] {
            match self.0 {}
        }
    }

    #[cfg(any(test, feature = "train"))]
    impl<T> Pages<T> {
        pub(super) fn room(&self) -> usize {
            match self.0 {}
        }

        pub(super) fn resize(&mut self, _: usize) {
            match self.0 {}
        }
    }
}

impl<T: Pod> Deref for Buffer<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Buffer::Heap(numbers) => numbers,
            Buffer::Pages(pages) => pages.numbers(),
        }
    }
}

impl<T: Pod> DerefMut for Buffer<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Buffer::Heap(numbers) => numbers,
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

#[cfg(test)]
mod tests {
    use super::*;

    const HUGE: usize = pages::HUGE / size_of::<u32>();

    #[test]
    fn buffers_are_what_lists_would_be() {
        for count in [0, 1, HUGE - 1, HUGE, HUGE + 1, 2 * HUGE + 3] {
            let mut buffer = Buffer::zeroed("numbers", count).unwrap();
            assert_eq!(matches!(buffer, Buffer::Pages(_)), pages::ARE_HUGE && count >= HUGE);
            let numbers: Vec<u32> = (7..).take(count).collect();
            assert_eq!(buffer[..], vec![0; count]);
            buffer.copy_from_slice(&numbers);
            assert!(buffer.clone()[..] == numbers && buffer == Buffer::from(&numbers[..]));
            assert!(Buffer::filled("numbers", count, 3_u32).unwrap().iter().all(|number| *number == 3));
        }
    }

    #[test]
    fn what_is_new_after_a_resize_is_zero() {
        let mut buffer = Buffer::EMPTY;
        let whole = Buffer::<u32>::WHOLE_FROM / size_of::<u32>();
        let mut before = 0;
        for count in [5, 3, 9, whole - 1, 4, whole, 2, whole + 7, HUGE, HUGE + 1, 8, 3 * HUGE, 0] {
            let is_kept = match &buffer {
                Buffer::Heap(numbers) => count <= numbers.capacity(),
                Buffer::Pages(pages) => count <= pages.room(),
            };
            buffer.resize("numbers", count).unwrap();
            let kept = if is_kept { before.min(count) } else { 0 };
            assert!(buffer.len() == count && buffer[..kept].iter().all(|number| *number == 1), "{count} after {before}");
            assert!(buffer[kept..].iter().all(|number| *number == 0), "{count} after {before}");
            buffer.fill(1_u32);
            before = count;
        }
    }

    #[test]
    fn no_memory_is_an_error() {
        let count = isize::MAX.unsigned_abs() / size_of::<u64>();
        for buffer in [Buffer::<u64>::zeroed("part", count), Buffer::filled("part", usize::MAX, 1)] {
            assert!(matches!(buffer, Err(Error::TooLarge { what: "part", .. })));
        }
        let mut buffer = Buffer::<u64>::zeroed("part", 3).unwrap();
        assert!(buffer.resize("part", usize::MAX).is_err() && buffer.is_empty());
    }
}
