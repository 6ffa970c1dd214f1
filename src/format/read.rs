//! From bytes to a model's contents: what is checked on opening, and what only when everything is verified.

use std::ops::Range;

use super::extensions::Extensions;
use super::header::{Extension, Header, Part};
use super::records::{NetworkRecord, parse_groups, parse_tags};
use crate::aligned::{Block, LANES};
use crate::error::{Error, Result};
use crate::network::{Network, Shape};
use crate::tags::Tags;
use crate::vocab::{Bucket, buckets_for};
use crate::weights::{Matrix, WeightType};

/// What opening a file reads out of it; all else stays where it is.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) header: Header,
    pub(super) network: Network,
    pub(super) tags: Tags,
    pub(super) extensions: Extensions,
    pub(super) places: Places,
}

/// Where the parameters stand. Every request looks at all of them.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) w1: MatrixPlace,
    /// In blocks.
    pub(super) b1: Range<usize>,
    pub(super) w2: MatrixPlace,
    /// In blocks.
    pub(super) b2: Range<usize>,
}

impl Places {
    /// Those of a file with W1 and W2 of these types.
    pub(super) fn new(header: &Header, [first, output]: [WeightType; 2]) -> Self {
        Places {
            w1: MatrixPlace::new(header, first, Part::W1, Extension::W1Scales),
            b1: in_blocks(header.range(Part::B1), size_of::<Block>()),
            w2: MatrixPlace::new(header, output, Part::W2, Extension::W2Scales),
            b2: in_blocks(header.range(Part::B2), size_of::<Block>()),
        }
    }
}

/// Where a matrix stands.
#[derive(Debug)]
pub(super) struct MatrixPlace {
    pub(super) weights: WeightType,
    /// In blocks of these weights.
    pub(super) body: Range<usize>,
    /// In blocks of floats; empty for types without scales.
    pub(super) scales: Range<usize>,
}

impl MatrixPlace {
    fn new(header: &Header, weights: WeightType, part: Part, scales: Extension) -> Self {
        let scales = header.extension(scales).map_or(0..0, |section| section.body.clone());
        let body = in_blocks(header.range(part), weights.block_bytes());
        MatrixPlace { weights, body, scales: in_blocks(scales, size_of::<Block>()) }
    }

    /// The matrix in the blocks of its file.
    #[inline(always)]
    pub(super) fn matrix<'a>(&self, file: &'a [Block]) -> Matrix<'a> {
        let body = self.body.clone();
        match self.weights {
            WeightType::F32 => Matrix::F32(&file[body]),
            WeightType::F16 => Matrix::F16(&bytemuck::cast_slice(file)[body]),
            WeightType::Bf16 => Matrix::Bf16(&bytemuck::cast_slice(file)[body]),
            WeightType::I8 => Matrix::I8 { weights: &bytemuck::cast_slice(file)[body], scales: &file[self.scales.clone()] },
        }
    }
}

/// A section, given in bytes: it starts at a multiple of 64 of them, and has a whole number of blocks.
fn in_blocks(bytes: Range<usize>, block: usize) -> Range<usize> {
    debug_assert!(bytes.start.is_multiple_of(block) && bytes.end.is_multiple_of(block), "{bytes:?} in blocks of {block}");
    bytes.start / block..bytes.end / block
}

impl Contents {
    /// Reads header and small sections, and checks that every other section has the length that the network gives it. So all
    /// of a model's slices lie inside `bytes`, whatever stands in them.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let header = Header::parse(bytes)?;
        let body = |part| &bytes[header.range(part)];
        for part in [Part::Network, Part::Groups, Part::Tags, Part::TagNames] {
            header.sections[part as usize].verify(bytes)?;
        }

        let record = NetworkRecord::parse(body(Part::Network))?;
        // Sizes come from the file. None is used before the section that it measures is known to have that length: so sums
        // and products below stay in range, and nothing is allocated for sizes out of thin air.
        let keywords = check_length(&header, Part::VocabularyOffsets, record.keywords, |k| sizes(&[k.checked_add(1)?, 4]))?;
        let groups = check_length(&header, Part::Groups, record.groups, |g| sizes(&[g, 4]))?;
        check_length(&header, Part::Tags, record.tags, |t| sizes(&[t, 12])?.checked_add(4))?;
        let hidden =
            check_length(&header, Part::B1, record.hidden, |h| sizes(&[h.div_ceil(LANES), groups, size_of::<Block>()]))?;
        check_length(&header, Part::VocabularyBuckets, record.keywords, |k| sizes(&[buckets_for(k)?, size_of::<Bucket>()]))?;

        // Such groups have no bytes but their count of tags, and would take far more memory than the file.
        if hidden == 0 && groups > Shape::MAX_EMPTY_GROUPS {
            let expected = format!("at most {} groups without hidden units", Shape::MAX_EMPTY_GROUPS);
            return Err(Error::model(Part::Network.name(), expected, groups.to_string()));
        }
        let group_tags = parse_groups(body(Part::Groups))?;
        let sum: u64 = group_tags.iter().map(|&tags| tags as u64).sum();
        if sum != record.tags {
            return Err(Error::model(
                Part::Groups.name(),
                format!("{} tags in all groups", record.tags),
                format!("{sum} tags"),
            ));
        }
        let shape = Shape::new(keywords, hidden, &group_tags, record.layout)
            .map_err(|error| Error::model(Part::Network.name(), "sizes in range", error.to_string()))?;
        let [first, output] = record.weights;
        for (part, blocks, block) in [
            (Part::W1, shape.w1_blocks(), first.block_bytes()),
            (Part::W2, shape.w2_blocks(), output.block_bytes()),
            (Part::B2, shape.slot_blocks(), size_of::<Block>()),
        ] {
            check_length(&header, part, blocks as u64, |blocks| sizes(&[blocks, block]))?;
        }
        check_scales(&header, Extension::W1Scales, first, shape.row_blocks())?;
        check_scales(&header, Extension::W2Scales, output, shape.slot_blocks())?;
        let tags = parse_tags(body(Part::Tags), body(Part::TagNames))?;
        let network = Network { shape, pooling: record.pooling, activation: record.activation, eps: record.eps };
        let extensions = Extensions::parse(&header, bytes, tags.len())?;
        let places = Places::new(&header, record.weights);
        Ok(Contents { header, network, tags, extensions, places })
    }

    /// Checks padding between sections and the checksum of every section. `bytes` is what was parsed.
    pub(super) fn verify_bytes(&self, bytes: &[u8]) -> Result<()> {
        self.header.verify_gaps(bytes)?;
        self.header.sections.iter().try_for_each(|section| section.verify(bytes))
    }
}

/// The product of sizes, if it can be one.
fn sizes(factors: &[usize]) -> Option<usize> {
    factors.iter().try_fold(1usize, |product, &factor| product.checked_mul(factor))
}

/// Fails unless `part` has the length that `size`, read from the file, gives it. Returns the size.
fn check_length(header: &Header, part: Part, size: u64, length: impl Fn(usize) -> Option<usize>) -> Result<usize> {
    let found = header.range(part).len();
    let size_in_range = usize::try_from(size).ok();
    let expected = size_in_range.and_then(length);
    match size_in_range {
        Some(size) if expected == Some(found) => Ok(size),
        _ => {
            let bytes = expected.map_or_else(|| "more bytes than there can be".to_owned(), |bytes| format!("{bytes} bytes"));
            Err(Error::model(part.name(), format!("{bytes} for a size of {size}"), format!("{found} bytes")))
        }
    }
}

/// Fails unless weights have scales, `blocks` blocks of them, exactly if their type has.
fn check_scales(header: &Header, extension: Extension, weights: WeightType, blocks: usize) -> Result<()> {
    let found = header.extension(extension).map(|section| section.body.len());
    let expected = (weights == WeightType::I8).then_some(blocks * size_of::<Block>());
    if found == expected {
        return Ok(());
    }
    let describe =
        |length: Option<usize>| length.map_or_else(|| "no such section".to_owned(), |bytes| format!("{bytes} bytes"));
    Err(Error::model(extension.name(), format!("{} for weights of type {weights}", describe(expected)), describe(found)))
}
