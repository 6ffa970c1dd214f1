//! A long list of numbers: in memory, or in a file of which little is in memory at a time.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytemuck::Pod;

/// Bytes of a file that can be let go of, and come back when they are read.
pub(crate) trait Backing: Send + Sync {
    /// All of them, aligned for any number.
    fn bytes(&self) -> &[u8];

    /// Tells that `bytes` bytes at some place are about to be read.
    fn touch(&self, bytes: usize);
}

/// A list of numbers.
#[derive(Clone)]
pub(crate) struct Column<T> {
    memory: Vec<T>,
    /// Where the numbers are instead.
    file: Option<Arc<dyn Backing>>,
}

impl<T: Pod> Column<T> {
    /// The numbers in a file, all of it.
    #[cfg(feature = "mmap")]
    pub(crate) fn in_file(file: Arc<dyn Backing>) -> Self {
        Column { memory: Vec::new(), file: Some(file) }
    }

    #[cfg(feature = "train")]
    pub(crate) fn is_in_file(&self) -> bool {
        self.file.is_some()
    }

    /// The numbers in memory, to be changed; those in a file are copied.
    pub(crate) fn to_mut(&mut self) -> &mut Vec<T> {
        if let Some(file) = self.file.take() {
            self.memory.extend_from_slice(bytemuck::cast_slice(file.bytes()));
        }
        &mut self.memory
    }

    /// Tells that a piece of `length` numbers is about to be read. Whoever reads piece by piece keeps little in memory.
    pub(crate) fn touch(&self, length: usize) {
        if let Some(file) = &self.file {
            file.touch(length * size_of::<T>());
        }
    }
}

impl<T: Pod> Deref for Column<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.file {
            None => &self.memory,
            Some(file) => bytemuck::cast_slice(file.bytes()),
        }
    }
}

impl<T> From<Vec<T>> for Column<T> {
    fn from(memory: Vec<T>) -> Self {
        Column { memory, file: None }
    }
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Column::from(Vec::new())
    }
}

impl<T: Pod + PartialEq> PartialEq for Column<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Pod + Eq> Eq for Column<T> {}

impl<T: Pod + fmt::Debug> fmt::Debug for Column<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
