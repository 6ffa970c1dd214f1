//! Building a data set, in memory or in files.
//!
//! In files are columns of numbers: where the keywords of each sample begin, the keywords, the same of tags and excluded tags, and weights.
//! They are written one number after the other, checked once against the checksum of what was written, and mapped. Then samples can be read in
//! any order, and what was read is let go of again: at most 32 MiB of each column, 224 MiB of a data set, are in memory at a time.
//! The files have no names, so they go with the process, whatever ends it.

use std::path::Path;
use std::sync::Arc;

use super::dataset::{Dataset, Pushed};
use crate::error::Result;

/// A data set to be.
pub(crate) enum DatasetBuilder {
    Memory(Dataset),
    #[cfg(feature = "mmap")]
    Files(Box<files::Writer>),
}

impl DatasetBuilder {
    /// In memory.
    pub(crate) fn in_memory() -> Self {
        DatasetBuilder::Memory(Dataset::new())
    }

    /// In memory or in files of a folder.
    pub(crate) fn in_folder(folder: Option<Arc<Path>>) -> Result<Self> {
        match folder {
            None => Ok(Self::in_memory()),
            #[cfg(feature = "mmap")]
            Some(folder) => Ok(DatasetBuilder::Files(Box::new(files::Writer::new(folder)?))),
            #[cfg(not(feature = "mmap"))]
            Some(_) => Ok(Self::in_memory()),
        }
    }

    /// Where `dataset` is.
    pub(crate) fn like(dataset: &Dataset) -> Result<Self> {
        Self::in_folder(dataset.folder.clone())
    }

    /// Samples so far.
    pub(crate) fn len(&self) -> usize {
        match self {
            DatasetBuilder::Memory(dataset) => dataset.len(),
            #[cfg(feature = "mmap")]
            DatasetBuilder::Files(writer) => writer.len(),
        }
    }

    /// As [`Dataset::push_excluding`].
    pub(crate) fn push_excluding(&mut self, keywords: &[u32], tags: &[u32], excluded: &[u32], weight: f32) -> Result<Pushed> {
        match self {
            DatasetBuilder::Memory(dataset) => dataset.push_excluding(keywords, tags, excluded, weight),
            #[cfg(feature = "mmap")]
            DatasetBuilder::Files(writer) => writer.push(keywords, tags, excluded, weight),
        }
    }

    pub(crate) fn finish(self) -> Result<Dataset> {
        match self {
            DatasetBuilder::Memory(dataset) => Ok(dataset),
            #[cfg(feature = "mmap")]
            DatasetBuilder::Files(writer) => writer.finish(),
        }
    }
}

#[cfg(feature = "mmap")]
pub(crate) mod files {
    //! The columns of a data set in files.

    use std::io::{self, BufWriter, Write};
    use std::marker::PhantomData;
    use std::path::Path;
    use std::sync::Arc;

    use bytemuck::Pod;
    use xxhash_rust::xxh3::Xxh3Default;

    use super::super::dataset::{Dataset, Pushed, check_weight};
    use crate::atomic::Scratch;
    use crate::column::{Backing, Column};
    use crate::csr::Csr;
    use crate::error::{Error, Result};
    use crate::format::MappedScratch;
    use crate::ids::canonicalize;

    const BUFFER: usize = 1 << 20;
    const DOING: &str = "keep items in a file";

    /// Writes a data set.
    pub(crate) struct Writer {
        folder: Arc<Path>,
        keywords: Sets,
        tags: Sets,
        excluded: Sets,
        weights: ColumnWriter<f32>,
    }

    /// Writes many sets of ids.
    struct Sets {
        starts: ColumnWriter<u64>,
        ids: ColumnWriter<u32>,
        row: Vec<u32>,
    }

    /// Writes numbers, one after the other.
    struct ColumnWriter<T> {
        file: BufWriter<OwnedScratch>,
        hash: Xxh3Default,
        length: u64,
        numbers: PhantomData<T>,
    }

    /// A scratch file that can be written to.
    struct OwnedScratch(Scratch);

    impl Write for OwnedScratch {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.file().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<T: Pod> ColumnWriter<T> {
        fn create(folder: &Path) -> io::Result<Self> {
            let file = BufWriter::with_capacity(BUFFER, OwnedScratch(Scratch::create(folder)?));
            Ok(ColumnWriter { file, hash: Xxh3Default::new(), length: 0, numbers: PhantomData })
        }

        fn push(&mut self, numbers: &[T]) -> io::Result<()> {
            let bytes = bytemuck::cast_slice(numbers);
            self.hash.update(bytes);
            self.length += numbers.len() as u64;
            self.file.write_all(bytes)
        }

        /// The numbers, as the file gives them back.
        fn finish(self) -> io::Result<Column<T>> {
            let written = self.hash.digest();
            let OwnedScratch(scratch) = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
            // Nothing cannot be mapped.
            if self.length == 0 {
                return Ok(Column::default());
            }
            let mapped = MappedScratch::new(scratch)?;
            let mut hash = Xxh3Default::new();
            for bytes in mapped.bytes().chunks(BUFFER) {
                mapped.touch(bytes.len());
                hash.update(bytes);
            }
            if hash.digest() != written {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the disk gives back other bytes than were written"));
            }
            Ok(Column::in_file(Arc::new(mapped)))
        }
    }

    impl Sets {
        fn create(folder: &Path) -> io::Result<Self> {
            let mut starts = ColumnWriter::create(folder)?;
            starts.push(&[0])?;
            Ok(Sets { starts, ids: ColumnWriter::create(folder)?, row: Vec::new() })
        }

        fn push(&mut self, ids: &[u32]) -> io::Result<usize> {
            self.row.clear();
            self.row.extend_from_slice(ids);
            let repeated = canonicalize(&mut self.row);
            self.ids.push(&self.row)?;
            self.starts.push(&[self.ids.length])?;
            Ok(repeated)
        }

        fn finish(self) -> io::Result<Csr> {
            Ok(Csr::from_columns(self.starts.finish()?, self.ids.finish()?))
        }
    }

    impl Writer {
        pub(super) fn new(folder: Arc<Path>) -> Result<Self> {
            let sets = || Sets::create(&folder);
            let parts = || Ok((sets()?, sets()?, sets()?, ColumnWriter::create(&folder)?));
            let (keywords, tags, excluded, weights) = parts().map_err(|error| Error::io(&folder, DOING, error))?;
            Ok(Writer { folder, keywords, tags, excluded, weights })
        }

        pub(super) fn len(&self) -> usize {
            // Samples are numbered by 32 bits.
            self.weights.length as usize
        }

        pub(super) fn push(&mut self, keywords: &[u32], tags: &[u32], excluded: &[u32], weight: f32) -> Result<Pushed> {
            check_weight(self.len(), weight)?;
            if self.len() >= u32::MAX as usize {
                return Err(Error::TooLarge { what: "samples of a data set", limit: u32::MAX.into() });
            }
            let mut push = || {
                let repeated_keywords = self.keywords.push(keywords)?;
                let repeated_tags = self.tags.push(tags)?;
                // The tags that it has are in the last row.
                let has = &self.tags.row;
                let excluded: Vec<u32> = excluded.iter().copied().filter(|tag| has.binary_search(tag).is_err()).collect();
                self.excluded.push(&excluded)?;
                self.weights.push(&[weight])?;
                Ok(Pushed { repeated_keywords, repeated_tags })
            };
            push().map_err(|error| Error::io(&self.folder, DOING, error))
        }

        pub(super) fn finish(self) -> Result<Dataset> {
            let Writer { folder, keywords, tags, excluded, weights } = self;
            let columns = || Ok((keywords.finish()?, tags.finish()?, excluded.finish()?, weights.finish()?));
            let (keywords, tags, excluded, weights) = columns().map_err(|error| Error::io(&folder, DOING, error))?;
            let excluded = if excluded.ids().is_empty() { Csr::new() } else { excluded };
            let [keywords, tags, excluded] = [keywords, tags, excluded].map(Arc::new);
            Ok(Dataset { keywords, tags, excluded, weights: Arc::new(weights), folder: Some(folder) })
        }
    }
}
