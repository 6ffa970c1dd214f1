//! Where the bytes of a model live: aligned, and a whole number of blocks.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::Path;

use super::header::{self, PREAMBLE};
use crate::aligned::Block;
use crate::buffer::Buffer;
use crate::error::{Error, Result};

/// The bytes of a model file.
pub(super) enum Storage {
    Owned(Buffer<Block>),
    Static(&'static [Block]),
    #[cfg(feature = "mmap")]
    Mapped(memmap2::Mmap),
}

impl Storage {
    /// All bytes, a whole number of blocks.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Storage::Owned(blocks) => blocks.bytes(),
            Storage::Static(blocks) => bytemuck::cast_slice(blocks),
            #[cfg(feature = "mmap")]
            Storage::Mapped(map) => map,
        }
    }

    /// The blocks that these bytes are.
    #[inline]
    #[cfg(target_endian = "little")]
    pub(super) fn blocks(&self) -> &[Block] {
        match self {
            Storage::Owned(blocks) => blocks,
            Storage::Static(blocks) => blocks,
            // It starts with a page.
            #[cfg(feature = "mmap")]
            Storage::Mapped(map) => bytemuck::cast_slice(map),
        }
    }

    /// Zeros for a file of `length` bytes, a multiple of the block size. An error if there is no memory for them.
    pub(super) fn zeroed(length: usize) -> Result<Buffer<Block>> {
        Buffer::zeroed("model in memory", length / size_of::<Block>())
    }

    /// A copy of `bytes`, a whole number of blocks.
    pub(super) fn copy(bytes: &[u8]) -> Result<Buffer<Block>> {
        let mut blocks = Self::zeroed(bytes.len())?;
        bytemuck::cast_slice_mut(&mut blocks).copy_from_slice(bytes);
        Ok(blocks)
    }

    /// The content of a file, if the file's start and length say that it can be a model, and that of at most `limit` bytes.
    pub(super) fn read(path: &Path, limit: u64) -> Result<Self> {
        let (mut file, start, length) = open(path, limit)?;
        let mut blocks = Self::zeroed(length)?;
        let (read, unread) = bytemuck::cast_slice_mut(&mut blocks).split_at_mut(PREAMBLE);
        read.copy_from_slice(&start);
        file.read_exact(unread).map_err(|error| Error::io(path, READ, error))?;
        Ok(Storage::Owned(blocks))
    }
}

const READ: &str = "read the model";

/// Opens a file that can be a model by its first bytes and its length, at most `limit` bytes; returns these, too. The length is a
/// multiple of the block size.
pub(super) fn open(path: &Path, limit: u64) -> Result<(File, [u8; PREAMBLE], usize)> {
    let io = |error| Error::io(path, READ, error);
    let fault = |expected: &str, found: String| Error::model("file", expected, found);
    let regular = |metadata: &Metadata| {
        let found = if metadata.is_dir() { "a folder" } else { "a pipe or device" };
        if metadata.is_file() { Ok(()) } else { Err(fault("a regular file", found.to_owned()).in_file(path)) }
    };
    // Before it is opened: opening a pipe would wait for somebody to write to it. And after, when nobody can put another in its place.
    regular(&fs::metadata(path).map_err(io)?)?;
    let mut file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    regular(&metadata)?;
    let mut start = [0; PREAMBLE];
    let mut filled = 0;
    while filled < PREAMBLE {
        match file.read(&mut start[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(io(error)),
        }
    }
    header::check_start(&start[..filled], metadata.len()).map_err(|error| error.in_file(path))?;
    let length = usize::try_from(metadata.len()).ok().filter(|length| length.is_multiple_of(size_of::<Block>()));
    let length = length.ok_or_else(|| {
        fault("a length that is a multiple of 64 and fits in memory", format!("{} bytes", metadata.len())).in_file(path)
    })?;
    if length < PREAMBLE {
        return Err(fault("a header", format!("{length} bytes")).in_file(path));
    }
    if length as u64 > limit {
        let expected = format!("at most {limit} bytes, the limit that was set");
        return Err(fault(&expected, format!("{length} bytes")).in_file(path));
    }
    Ok((file, start, length))
}

/// Turns numbers of `width` bytes from the machine's byte order to that of the file, or back. Nothing to do on almost every machine.
pub(crate) fn to_little_endian(numbers: &mut [u8], width: usize) {
    if cfg!(target_endian = "big") {
        swap(numbers, width);
    }
}

fn swap(numbers: &mut [u8], width: usize) {
    numbers.chunks_exact_mut(width).for_each(<[u8]>::reverse);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn big_endian_numbers_become_little_endian() {
        let mut bytes = [1.5f32.to_be_bytes(), (-0.1f32).to_be_bytes()].concat();
        swap(&mut bytes, 4);
        assert_eq!(bytes, [1.5f32.to_le_bytes(), (-0.1f32).to_le_bytes()].concat());
        swap(&mut bytes, 1);
        assert_eq!(bytes, [1.5f32.to_le_bytes(), (-0.1f32).to_le_bytes()].concat());
        let mut halves = [0x1234_u16.to_be_bytes(), 0x5678_u16.to_be_bytes()].concat();
        swap(&mut halves, 2);
        assert_eq!(halves, [0x1234_u16.to_le_bytes(), 0x5678_u16.to_le_bytes()].concat());
    }

    // With addresses of 32 bits that is a half of all, and can be had.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn no_memory_is_an_error() {
        let length = isize::MAX.unsigned_abs() / 64 * 64;
        assert!(matches!(Storage::zeroed(length), Err(Error::TooLarge { limit, .. }) if limit == length as u64 - 1));
    }
}
