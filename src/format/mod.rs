#![doc = include_str!("FORMAT.md")]
#![warn(clippy::cast_possible_truncation)]

mod extensions;
mod header;
#[cfg(feature = "mmap")]
mod map;
mod provenance;
mod read;
mod records;
mod storage;
mod weights;
mod write;

use std::fmt;
use std::path::Path;

pub use extensions::{Extensions, LogitError};
pub use header::Section;
#[cfg(feature = "mmap")]
pub use map::MapAdvice;
#[cfg(all(feature = "mmap", feature = "train"))]
pub(crate) use map::MappedScratch;
pub(crate) use provenance::About;
pub use provenance::Provenance;
#[cfg(any(feature = "safetensors", feature = "train"))]
pub(crate) use storage::to_little_endian;
#[cfg(feature = "train")]
pub(crate) use weights::check_weights;
pub use write::ModelParts;

use crate::aligned::Block;
#[cfg(target_endian = "big")]
use crate::buffer::Buffer;
use crate::error::Result;
use crate::network::{Network, StoredWeights};
use crate::tags::Tags;
use crate::vocab::VocabularyView;
use header::Part;
use read::Contents;
use storage::Storage;

/// A trained model: the bytes of a model file, and views of what stands in them.
///
/// | made by | bytes | checked |
/// | --- | --- | --- |
/// | [`Model::open`] | read into memory | everything |
/// | [`Model::from_bytes`] | copied | everything |
/// | [`Model::from_static`] | used where they are, if they are aligned | everything |
/// | `Model::map` (unsafe, feature `mmap`) | mapped | all but vocabulary, weights and provenance |
/// | [`ModelParts::to_model`] | new | everything |
///
/// All of them give the same model, and none can be brought by any bytes to panic, to read where it must not, or to allocate
/// much more than these bytes.
///
/// ```
/// # fn main() -> tagomatic::Result<()> {
/// use tagomatic::Model;
///
/// let model = Model::open("models/movies.tagm")?;
/// println!("{} keywords, {} tags", model.vocabulary().len(), model.tags().len());
/// println!("made by {}", model.provenance()?.get("created_by").unwrap_or("an unknown program"));
/// // The same bytes are the same model, wherever they come from.
/// assert_eq!(Model::from_bytes(model.bytes())?.bytes(), model.bytes());
/// # Ok(())
/// # }
/// ```
pub struct Model {
    storage: Storage,
    contents: Contents,
    /// The bytes with the weights in the machine's byte order, where that is not the file's.
    #[cfg(target_endian = "big")]
    swapped: Buffer<Block>,
}

impl Model {
    /// Reads a model from a file, and checks everything.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::Model`] if it is not a valid model; [`Error::NewerModel`] if it has
    /// something that only a newer version of this crate knows; [`Error::TooLarge`] if it does not fit in memory.
    ///
    /// [`Error::Io`]: crate::error::Error::Io
    /// [`Error::Model`]: crate::error::Error::Model
    /// [`Error::NewerModel`]: crate::error::Error::NewerModel
    /// [`Error::TooLarge`]: crate::error::Error::TooLarge
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_within(path, u64::MAX)
    }

    /// [`Model::open`] for files that others hand in: one of more than `limit` bytes is refused before memory is taken for it. Opening
    /// takes as much memory as the file has bytes, a few times what its tags and provenance have, and until it is checked once more what its
    /// hash table of keywords has: 13 to 27 bytes a keyword.
    ///
    /// # Errors
    /// As [`Model::open`]; [`Error::Model`](crate::error::Error::Model) also if the file is larger.
    pub fn open_within(path: impl AsRef<Path>, limit: u64) -> Result<Self> {
        let path = path.as_ref();
        Storage::read(path, limit).and_then(Self::verified).map_err(|error| error.in_file(path))
    }

    /// Copies a model from the bytes of a file, and checks everything.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        // Also tells that they are a whole number of blocks.
        Contents::parse(bytes)?;
        Self::verified(Storage::Owned(Storage::copy(bytes)?))
    }

    /// A model in the program itself, as by [`include_bytes!`]; checks everything. The bytes are used where they are if they
    /// start at a multiple of 64, as those of [`include_model!`](crate::include_model) do, else copied.
    ///
    /// ```
    /// use tagomatic::{Model, Tagger};
    ///
    /// # fn main() -> tagomatic::Result<()> {
    /// let bytes = tagomatic::include_model!("../../models/movies.tagm");
    /// let tagger = Tagger::new(Model::from_static(bytes)?);
    /// assert_eq!(tagger.model().bytes().as_ptr(), bytes.as_ptr()); // no copy
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_static(bytes: &'static [u8]) -> Result<Self> {
        match bytemuck::try_cast_slice(bytes) {
            Ok(blocks) => Self::verified(Storage::Static(blocks)),
            Err(_) => Self::from_bytes(bytes),
        }
    }

    fn verified(storage: Storage) -> Result<Self> {
        let model = Self::new(storage)?;
        model.verify()?;
        Ok(model)
    }

    /// The model in `storage`, checked as far as views of it need.
    fn new(storage: Storage) -> Result<Self> {
        let contents = Contents::parse(storage.bytes())?;
        Ok(Model {
            #[cfg(target_endian = "big")]
            swapped: {
                let mut swapped = Storage::copy(storage.bytes())?;
                weights::to_little_endian(&contents.places, bytemuck::cast_slice_mut(&mut swapped));
                swapped
            },
            storage,
            contents,
        })
    }

    /// Checks everything: all that opening checks, every checksum, that padding is zero, that the vocabulary finds each of its
    /// keywords, that all weights are finite, and the provenance. Only a mapped model can fail.
    ///
    /// # Errors
    /// [`Error::Model`](crate::error::Error::Model), with the section and, for a weight, its index;
    /// [`Error::TooLarge`](crate::error::Error::TooLarge) if there is no memory for a second hash table of keywords.
    pub fn verify(&self) -> Result<()> {
        self.contents.verify_bytes(self.bytes())?;
        self.vocabulary().verify()?;
        weights::check(self.network(), self.weights()).map_err(weights::Fault::in_model)?;
        Provenance::check(self.body(Part::Provenance))
    }

    /// Sizes and nonlinearities.
    #[must_use]
    #[inline]
    pub fn network(&self) -> &Network {
        &self.contents.network
    }

    /// The parameters.
    #[must_use]
    #[inline(always)]
    pub fn weights(&self) -> StoredWeights<'_> {
        let (blocks, places) = (self.native_blocks(), &self.contents.places);
        StoredWeights {
            w1: places.w1.matrix(blocks),
            b1: &blocks[places.b1.clone()],
            w2: places.w2.matrix(blocks),
            b2: &blocks[places.b2.clone()],
        }
    }

    /// The keywords.
    #[must_use]
    pub fn vocabulary(&self) -> VocabularyView<'_> {
        VocabularyView::new(
            bytemuck::cast_slice(self.body(Part::VocabularyBuckets)),
            bytemuck::cast_slice(self.body(Part::VocabularyOffsets)),
            self.body(Part::VocabularyText),
        )
    }

    /// The tags, in the order of the scores.
    #[must_use]
    #[inline]
    pub fn tags(&self) -> &Tags {
        &self.contents.tags
    }

    /// What not every model has.
    #[must_use]
    #[inline]
    pub fn extensions(&self) -> &Extensions {
        &self.contents.extensions
    }

    /// How the model was made. It is read out of the file at each call.
    ///
    /// # Errors
    /// [`Error::Model`](crate::error::Error::Model) if a mapped file is corrupt.
    pub fn provenance(&self) -> Result<Provenance> {
        Provenance::parse(self.body(Part::Provenance))
    }

    /// The sections of the file in their order, those that this version does not know included.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.contents.header.sections
    }

    /// The version of the format.
    #[must_use]
    pub fn format_version(&self) -> u32 {
        self.contents.header.version
    }

    /// The length of the file in bytes.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.bytes().len()
    }

    /// The bytes of the file.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.storage.bytes()
    }

    #[inline]
    fn body(&self, part: Part) -> &[u8] {
        &self.bytes()[self.contents.header.range(part)]
    }

    /// The file with the weights in the machine's byte order.
    #[inline]
    fn native_blocks(&self) -> &[Block] {
        #[cfg(target_endian = "little")]
        let blocks = self.storage.blocks();
        #[cfg(target_endian = "big")]
        let blocks = &self.swapped;
        blocks
    }
}

/// The bytes of a model file, as by [`include_bytes!`] and with its kind of path, where [`Model::from_static`] can use them without a
/// copy.
#[macro_export]
macro_rules! include_model {
    ($path:expr $(,)?) => {{
        #[repr(C, align(64))]
        struct Aligned<B: ?Sized>(B);
        static MODEL: &Aligned<[u8]> = &Aligned(*include_bytes!($path));
        &MODEL.0
    }};
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("network", self.network()).field("tags", self.tags()).finish_non_exhaustive()
    }
}
