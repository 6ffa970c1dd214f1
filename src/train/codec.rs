//! A state as bytes: each type tells its fields once, and that serves writing and reading, so the two cannot differ.

use std::io::Write;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3Default;

use crate::aligned::{Block, as_floats};
use crate::error::{Error, Result};
use crate::format::to_little_endian;

/// What passes over the fields of a state. A writer leaves them as they are; a reader fills them, and checks what it finds.
pub(super) trait Codec {
    /// The next bytes.
    fn bytes(&mut self, part: &'static str, bytes: &mut [u8]) -> Result<()>;
}

impl dyn Codec + '_ {
    /// A number for which `fits` holds.
    pub(super) fn u64(&mut self, part: &'static str, value: &mut u64, fits: impl Fn(u64) -> bool) -> Result<()> {
        let mut bytes = value.to_le_bytes();
        self.bytes(part, &mut bytes)?;
        *value = u64::from_le_bytes(bytes);
        if fits(*value) { Ok(()) } else { Err(Error::checkpoint(part, "a number in range", value.to_string())) }
    }

    /// A number of 32 bits for which `fits` holds.
    pub(super) fn u32(&mut self, part: &'static str, value: &mut u32, fits: impl Fn(u32) -> bool) -> Result<()> {
        let mut wide = u64::from(*value);
        self.u64(part, &mut wide, |wide| u32::try_from(wide).is_ok_and(&fits))?;
        // It fits.
        *value = wide as u32;
        Ok(())
    }

    /// A size that this machine can hold.
    pub(super) fn size(&mut self, part: &'static str, value: &mut usize) -> Result<()> {
        let mut wide = *value as u64;
        self.u64(part, &mut wide, |wide| usize::try_from(wide).is_ok())?;
        *value = wide as usize;
        Ok(())
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, part: &'static str, value: &mut bool) -> Result<()> {
        let mut number = u64::from(*value);
        self.u64(part, &mut number, |number| number < 2)?;
        *value = number == 1;
        Ok(())
    }

    /// A number for which `fits` holds.
    pub(super) fn f64(&mut self, part: &'static str, value: &mut f64, fits: impl Fn(f64) -> bool) -> Result<()> {
        let mut bits = value.to_bits();
        self.u64(part, &mut bits, |bits| fits(f64::from_bits(bits)))?;
        *value = f64::from_bits(bits);
        Ok(())
    }

    /// Something that may be absent; `make` is what a reader fills.
    pub(super) fn option<T>(
        &mut self,
        part: &'static str,
        value: &mut Option<T>,
        make: impl FnOnce() -> Result<T>,
        visit: impl FnOnce(&mut Self, &mut T) -> Result<()>,
    ) -> Result<()> {
        let mut is_there = value.is_some();
        self.flag(part, &mut is_there)?;
        if !is_there {
            *value = None;
            return Ok(());
        }
        let mut inner = match value.take() {
            Some(inner) => inner,
            None => make()?,
        };
        visit(self, &mut inner)?;
        *value = Some(inner);
        Ok(())
    }

    /// A list. It grows with what is read, so a length out of thin air costs nothing.
    pub(super) fn list<T: Default>(
        &mut self,
        part: &'static str,
        list: &mut Vec<T>,
        mut visit: impl FnMut(&mut Self, &mut T) -> Result<()>,
    ) -> Result<()> {
        let mut length = list.len();
        self.size(part, &mut length)?;
        list.truncate(length);
        for i in 0..length {
            if i == list.len() {
                list.push(T::default());
            }
            visit(self, &mut list[i])?;
        }
        Ok(())
    }

    /// Text.
    pub(super) fn text(&mut self, part: &'static str, text: &mut String) -> Result<()> {
        let mut bytes = std::mem::take(text).into_bytes();
        self.list(part, &mut bytes, |codec, byte| codec.bytes(part, std::slice::from_mut(byte)))?;
        *text = String::from_utf8(bytes).map_err(|error| Error::checkpoint(part, "UTF-8", error.to_string()))?;
        Ok(())
    }

    /// Words of 32 bits, as many as there are.
    pub(super) fn words(&mut self, part: &'static str, words: &mut [u32]) -> Result<()> {
        self.little_endian(part, bytemuck::cast_slice_mut(words))
    }

    /// Floats, as many as there are, for all of which `fits` holds.
    pub(super) fn floats(&mut self, part: &'static str, floats: &mut [Block], fits: impl Fn(f32) -> bool) -> Result<()> {
        self.little_endian(part, bytemuck::cast_slice_mut(floats))?;
        match as_floats(floats).iter().position(|float| !fits(*float)) {
            None => Ok(()),
            Some(at) => {
                let found = format!("{} at index {at}", as_floats(floats)[at]);
                Err(Error::checkpoint(part, "numbers in range", found))
            }
        }
    }

    fn little_endian(&mut self, part: &'static str, words: &mut [u8]) -> Result<()> {
        to_little_endian(words, 4);
        let done = self.bytes(part, words);
        to_little_endian(words, 4);
        done
    }
}

/// What a writer does when it fails.
pub(super) const DOING: &str = "save the checkpoint";

/// Writes a file that ends with the checksum of all before it.
pub(super) struct Writer<'a, W> {
    path: &'a Path,
    file: W,
    hash: Xxh3Default,
}

impl<'a, W: Write> Writer<'a, W> {
    pub(super) fn new(path: &'a Path, file: W) -> Self {
        Writer { path, file, hash: Xxh3Default::new() }
    }

    /// Adds the checksum.
    pub(super) fn finish(mut self) -> Result<W> {
        let checksum = self.hash.digest().to_le_bytes();
        self.file.write_all(&checksum).map_err(|error| Error::io(self.path, DOING, error))?;
        Ok(self.file)
    }
}

impl<W: Write> Codec for Writer<'_, W> {
    fn bytes(&mut self, _part: &'static str, bytes: &mut [u8]) -> Result<()> {
        self.hash.update(bytes);
        self.file.write_all(bytes).map_err(|error| Error::io(self.path, DOING, error))
    }
}

/// Reads what a [`Writer`] wrote.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The content of a whole file, if its checksum is right.
    pub(super) fn new(file: &'a [u8]) -> Result<Self> {
        let (rest, checksum) = file
            .split_last_chunk()
            .ok_or_else(|| Error::checkpoint("file", "a checksum at its end", format!("{} bytes", file.len())))?;
        let (said, found) = (u64::from_le_bytes(*checksum), xxhash_rust::xxh3::xxh3_64(rest));
        if said == found {
            return Ok(Reader { rest });
        }
        let found = format!("{found:016x}; it is damaged or was cut short");
        Err(Error::checkpoint("file", format!("checksum {said:016x}"), found))
    }

    /// Fails if something is left.
    pub(super) fn finish(self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(Error::checkpoint("file", "an end after the last field", format!("{more} bytes more"))),
        }
    }
}

impl Codec for Reader<'_> {
    fn bytes(&mut self, part: &'static str, bytes: &mut [u8]) -> Result<()> {
        let short = || Error::checkpoint(part, format!("{} bytes", bytes.len()), format!("{} bytes", self.rest.len()));
        let (read, rest) = self.rest.split_at_checked(bytes.len()).ok_or_else(short)?;
        bytes.copy_from_slice(read);
        self.rest = rest;
        Ok(())
    }
}
