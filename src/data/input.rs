//! Files as streams of bytes, decompressed on the way.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::error::{Error, Result};

const BUFFER: usize = 1 << 16;

/// Opens the file at `path`, or standard input for `-`. What ends in `.gz` or `.zst` is decompressed: all members or frames, one
/// after the other.
///
/// # Errors
///
/// [`Error::Io`] if the file can't be opened. Reading fails with an [`io::Error`]; damaged or truncated compressed data are among
/// its reasons.
pub fn open(path: &Path) -> Result<Box<dyn BufRead + Send>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::with_capacity(BUFFER, io::stdin())));
    }
    let file = File::open(path).map_err(|source| Error::io(path, "open", source))?;
    let file = BufReader::with_capacity(BUFFER, file);
    Ok(match path.extension().and_then(OsStr::to_str) {
        Some("gz") => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file))),
        Some("zst") => Box::new(BufReader::with_capacity(BUFFER, ZstdDecoder::new(file))),
        _ => Box::new(file),
    })
}

/// Decodes consecutive zstd frames and skips skippable ones.
struct ZstdDecoder<R> {
    source: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> ZstdDecoder<R> {
    fn new(source: R) -> Self {
        ZstdDecoder { source, decoder: FrameDecoder::new(), in_frame: false }
    }

    /// Starts the next frame; false at the end of the source.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let length = u64::from(length);
                    if io::copy(&mut (&mut self.source).take(length), &mut io::sink())? < length {
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "zstd: a skippable frame is cut off"));
                    }
                }
                Err(error) => return Err(damaged(&error)),
            }
        }
        Ok(false)
    }

    fn check_sum(&self) -> io::Result<()> {
        match (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum()) {
            (Some(stored), Some(computed)) if stored != computed => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("zstd: the content's checksum is {computed:08x}, not {stored:08x} as stored"),
            )),
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for ZstdDecoder<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.in_frame {
                if !self.next_frame()? {
                    return Ok(0);
                }
                self.in_frame = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one_block = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, one_block).map_err(|error| damaged(&error))?;
            }
            let read = self.decoder.read(bytes)?;
            if read > 0 || bytes.is_empty() {
                return Ok(read);
            }
            self.check_sum()?;
            self.in_frame = false;
        }
    }
}

fn damaged(error: &FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("zstd: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write;

    fn gz(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn zst(text: &str) -> Vec<u8> {
        compress_to_vec(text.as_bytes(), CompressionLevel::Fastest)
    }

    fn read(name: &str, bytes: &[u8]) -> io::Result<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut text = String::new();
        open(&path).unwrap().read_to_string(&mut text).map(|_| text)
    }

    #[test]
    fn the_name_tells_how_to_read() {
        let long = "sea war love\n".repeat(20_000);
        assert_eq!(read("a.jsonl", long.as_bytes()).unwrap(), long);
        assert_eq!(read("a.jsonl.gz", &[gz("one\n"), gz(&long), gz("")].concat()).unwrap(), format!("one\n{long}"));
        let skippable = [&[0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let frames = [zst("one\n"), skippable, zst(""), zst(&long)].concat();
        assert_eq!(read("a.jsonl.zst", &frames).unwrap(), format!("one\n{long}"));
        assert_eq!(read("a.zst", b"").unwrap(), "");
    }

    #[test]
    fn damage_is_an_error() {
        let text: String = (0..5000u32).map(|i| format!("{} ", i.wrapping_mul(2_654_435_761))).collect();
        for (name, whole) in [("a.gz", gz(&text)), ("a.zst", zst(&text))] {
            for cut in [1, 3, whole.len() / 2, whole.len() - 1] {
                assert!(read(name, &whole[..cut]).is_err(), "{name} cut at {cut}");
            }
            let mut flipped = whole.clone();
            let middle = whole.len() / 2;
            flipped[middle] ^= 0x10;
            assert!(read(name, &flipped).is_err(), "{name} damaged");
            assert!(read(name, b"plain text").is_err());
        }
        let cut_off = [0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, b'a'];
        assert!(read("a.zst", &cut_off).is_err());
    }

    #[test]
    fn a_missing_file_is_named() {
        let Err(error) = open(Path::new("no/such/file.jsonl")) else { panic!("opened") };
        assert!(error.to_string().contains("no/such/file.jsonl"), "{error}");
    }
}
