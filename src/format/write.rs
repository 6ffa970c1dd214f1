//! From the parts of a model to its bytes, and from these to a file.

use std::borrow::Cow;
use std::path::Path;

use super::extensions::Extensions;
use super::header::{Extension, Header, Part};
use super::provenance::Provenance;
use super::read::Places;
use super::storage::Storage;
use super::{Model, records, weights};
use crate::aligned::Block;
use crate::atomic;
use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::network::{Network, StoredWeights};
use crate::tags::Tags;
use crate::vocab::VocabularyView;
use crate::weights::{Matrix, WeightType};

/// All that a model consists of, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct ModelParts<'a> {
    /// Sizes and nonlinearities.
    pub network: &'a Network,
    /// The parameters, with the lengths that the network's shape gives them.
    pub weights: StoredWeights<'a>,
    /// The keywords: as many as the network has.
    pub vocabulary: VocabularyView<'a>,
    /// The tags: as many as the network has.
    pub tags: &'a Tags,
    /// How the model was made.
    pub provenance: &'a Provenance,
    /// What not every model has.
    pub extensions: &'a Extensions,
}

impl ModelParts<'_> {
    /// Makes a model of them. The same parts make the same bytes, everywhere and always.
    ///
    /// # Errors
    /// [`Error::Length`] if vocabulary, tags or weights do not have the network's sizes; [`Error::BadWeight`] if a weight is not
    /// finite or padding is not zero; [`Error::Config`] if the network's clamp or an extension is out of range; [`Error::Model`] if the
    /// vocabulary is borrowed from a corrupt mapped file; [`Error::TooLarge`] if it all exceeds what a file can hold.
    pub fn to_model(&self) -> Result<Model> {
        let ModelParts { network, weights, vocabulary, tags, provenance, extensions } = *self;
        weights.check(&network.shape)?;
        Error::check_length("vocabulary", network.shape.keywords(), vocabulary.len())?;
        Error::check_length("tags", network.shape.tags(), tags.len())?;
        weights::check(network, weights).map_err(weights::Fault::in_weights)?;
        vocabulary.verify()?;

        let StoredWeights { w1, b1, w2, b2 } = weights;
        let types = [w1.weight_type(), w2.weight_type()];
        let network_record = records::write_network(network, types)?;
        let groups = records::write_groups(network)?;
        let [buckets, offsets, text] = vocabulary.sections();
        let (tag_records, tag_names) = records::write_tags(tags)?;
        let provenance = provenance.to_string();
        let parts: [&[u8]; Part::COUNT] = [
            &network_record,
            &groups,
            buckets,
            offsets,
            text,
            &tag_records,
            &tag_names,
            w1.bytes(),
            bytemuck::cast_slice(b1),
            w2.bytes(),
            bytemuck::cast_slice(b2),
            provenance.as_bytes(),
        ];
        let mut extensions: Vec<_> =
            extensions.write(tags.len())?.into_iter().map(|(kind, body)| (kind, Cow::Owned(body))).collect();
        for (kind, matrix) in [(Extension::W1Scales, w1), (Extension::W2Scales, w2)] {
            if let Matrix::I8 { scales, .. } = matrix {
                extensions.push((kind, Cow::Borrowed(bytemuck::cast_slice(scales))));
            }
        }
        extensions.sort_by_key(|(kind, _)| kind.name());
        let blocks = serialize(parts, &extensions, types)?;
        Model::new(Storage::Owned(blocks))
    }
}

/// The file with these bodies, parts in the order of [`Part::ALL`]; those of weights of these types are in the machine's byte order.
fn serialize(
    parts: [&[u8]; Part::COUNT],
    extensions: &[(Extension, Cow<'_, [u8]>)],
    types: [WeightType; 2],
) -> Result<Buffer<Block>> {
    let lengths: Vec<_> = extensions.iter().map(|(kind, body)| (*kind, body.len())).collect();
    let mut header = Header::plan(parts.map(<[u8]>::len), &lengths)?;
    let mut blocks = Storage::zeroed(header.length())?;
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut blocks);
    let bodies = parts.into_iter().chain(extensions.iter().map(|(_, body)| &body[..]));
    for (section, body) in header.sections.iter().zip(bodies) {
        bytes[section.body.clone()].copy_from_slice(body);
    }
    weights::to_little_endian(&Places::new(&header, types), bytes);
    header.seal(bytes);
    Ok(blocks)
}

impl Model {
    /// The model's parts, to make another one that differs in some of them; `provenance` tells how that one was made:
    ///
    /// ```
    /// # fn rename(model: &tagomatic::Model, tags: &tagomatic::Tags) -> tagomatic::Result<tagomatic::Model> {
    /// let mut provenance = model.provenance()?;
    /// provenance.insert("renamed", "yes")?;
    /// tagomatic::ModelParts { tags, ..model.parts(&provenance) }.to_model()
    /// # }
    /// ```
    ///
    /// Sections that this version does not know are left behind: they may tell of what is changed.
    #[must_use]
    pub fn parts<'a>(&'a self, provenance: &'a Provenance) -> ModelParts<'a> {
        ModelParts {
            network: self.network(),
            weights: self.weights(),
            vocabulary: self.vocabulary(),
            tags: self.tags(),
            provenance,
            extensions: self.extensions(),
        }
    }

    /// Fails where [`save`](Model::save) would fail for want of a folder or a permission: to be asked before hours of training.
    ///
    /// # Errors
    /// As [`save`](Model::save).
    pub fn check_save(path: impl AsRef<Path>) -> Result<()> {
        atomic::check(path.as_ref(), "save the model")
    }

    /// Saves the model: the bytes that it was opened from or made of.
    ///
    /// The file is replaced in one step: whatever happens, the old or the new file is there, whole. Whoever has the old one
    /// mapped keeps it. A file keeps its mode, but not its owner, group and access control list, which are those of any file that the
    /// process makes there; a symbolic link stays one.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses, or if `path` is a folder, a device, or a read-only file. The old file stays then, and
    /// nothing else is left; only where the disk fails at the very last, when the new name is to be brought to it, the new file is there,
    /// and could be gone after a loss of power.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        atomic::write(path.as_ref(), "save the model", self.bytes())
    }
}
