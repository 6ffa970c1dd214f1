//! The small sections, `NETW`, `GRPS`, `TAGS` and `TNAM`: written from a network and its tags, and read back.

use super::header::{Fields, Part};
use crate::error::{Error, Result};
use crate::network::{Activation, Network, OutputLayout, Pooling, check_eps};
use crate::tags::{Tag, Tags};
use crate::weights::WeightType;

/// Bytes of `NETW`.
const NETWORK_LEN: usize = 64;

/// `NETW`: sizes and kinds, each in its range; not yet compared with the sections that they measure.
#[derive(Debug)]
pub(super) struct NetworkRecord {
    pub(super) keywords: u64,
    pub(super) hidden: u64,
    pub(super) tags: u64,
    pub(super) groups: u64,
    pub(super) layout: OutputLayout,
    pub(super) pooling: Pooling,
    pub(super) activation: Activation,
    pub(super) eps: f32,
    /// Of W1 and of W2.
    pub(super) weights: [WeightType; 2],
}

impl NetworkRecord {
    pub(super) fn parse(body: &[u8]) -> Result<Self> {
        let fault = |expected: &str, found: String| Error::model(Part::Network.name(), expected, found);
        let mut fields = Fields(body);
        let raw = (|| {
            let sizes = [fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?];
            let (layout, activation) = (fields.u32()?, fields.u32()?);
            let (parameter, eps) = (fields.f32()?, fields.f32()?);
            let (w1, pooling, w2, reserved) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.bytes::<4>()?);
            fields.0.is_empty().then_some((sizes, layout, activation, parameter, eps, [w1, w2], pooling, reserved))
        })();
        let Some((sizes, layout, activation, parameter, eps, weights, pooling, reserved)) = raw else {
            return Err(fault("64 bytes", format!("{} bytes", body.len())));
        };

        let [keywords, hidden, tags, groups] = sizes;
        if groups == 0 {
            return Err(fault("1 group at least", "none".to_owned()));
        }
        let layout = match layout {
            0 => OutputLayout::TagMajor,
            1 => OutputLayout::Panels,
            other => return Err(Error::newer_model(format!("output layout {other}, which this program does not know"))),
        };
        let activation = match activation {
            0 => Activation::Relu,
            1 => Activation::LeakyRelu(parameter),
            2 => Activation::Elu(parameter),
            3 => Activation::Sigmoid,
            4 => Activation::Trec(parameter),
            5 => Activation::Tlin(parameter),
            6 => Activation::Identity,
            other => return Err(Error::newer_model(format!("activation {other}, which this program does not know"))),
        };
        if activation.parameter().is_none() && parameter.to_bits() != 0 {
            return Err(fault("0 where the activation has no parameter", format!("{parameter:?}")));
        }
        activation.check().map_err(|_| fault("an activation with its parameter in range", activation.to_string()))?;
        if check_eps(eps.into()).is_err() {
            return Err(fault("a clamp in [0, 0.5), not -0", format!("{eps:?}")));
        }
        let [w1, w2] = weights.map(|code| {
            let known = WeightType::ALL.iter().find(|weights| weight_code(**weights) == code);
            known
                .copied()
                .ok_or_else(|| Error::newer_model(format!("weights of type {code}, which this program does not know")))
        });
        let weights = [w1?, w2?];
        let pooling = match pooling {
            0 => Pooling::Sum,
            1 => Pooling::Mean,
            other => return Err(Error::newer_model(format!("pooling {other}, which this program does not know"))),
        };
        if reserved != [0; 4] {
            return Err(fault("zeros at its end", format!("{reserved:02x?}")));
        }
        Ok(NetworkRecord { keywords, hidden, tags, groups, layout, pooling, activation, eps, weights })
    }
}

/// What stands in the file for a type.
const fn weight_code(weights: WeightType) -> u32 {
    match weights {
        WeightType::F32 => 0,
        WeightType::F16 => 1,
        WeightType::Bf16 => 2,
        WeightType::I8 => 3,
    }
}

/// The body of `NETW`; `weights` are the types of W1 and of W2.
///
/// # Errors
/// [`Error::Config`] if the clamp is out of range.
pub(super) fn write_network(network: &Network, weights: [WeightType; 2]) -> Result<Vec<u8>> {
    let Network { shape, pooling, activation, eps } = network;
    check_eps((*eps).into())?;
    activation.check()?;
    let (activation, parameter): (u32, f32) = match *activation {
        Activation::Relu => (0, 0.0),
        Activation::LeakyRelu(slope) => (1, slope),
        Activation::Elu(alpha) => (2, alpha),
        Activation::Sigmoid => (3, 0.0),
        Activation::Trec(theta) => (4, theta),
        Activation::Tlin(theta) => (5, theta),
        Activation::Identity => (6, 0.0),
    };
    let layout: u32 = match shape.layout() {
        OutputLayout::TagMajor => 0,
        OutputLayout::Panels => 1,
    };
    let mut body = Vec::with_capacity(NETWORK_LEN);
    for size in [shape.keywords(), shape.hidden(), shape.tags(), shape.groups().len()] {
        body.extend((size as u64).to_le_bytes());
    }
    body.extend(layout.to_le_bytes());
    body.extend(activation.to_le_bytes());
    body.extend(parameter.to_le_bytes());
    body.extend(eps.to_le_bytes());
    body.extend(weight_code(weights[0]).to_le_bytes());
    let pooling: u32 = match pooling {
        Pooling::Sum => 0,
        Pooling::Mean => 1,
    };
    body.extend(pooling.to_le_bytes());
    body.extend(weight_code(weights[1]).to_le_bytes());
    body.resize(NETWORK_LEN, 0);
    Ok(body)
}

/// The number of tags of each group. `body` is a whole number of `u32`.
pub(super) fn parse_groups(body: &[u8]) -> Result<Vec<usize>> {
    let absurd = |_| Error::TooLarge { what: "tags", limit: usize::MAX as u64 };
    let (counts, _) = body.as_chunks();
    counts.iter().map(|&count| usize::try_from(u32::from_le_bytes(count)).map_err(absurd)).collect()
}

/// The body of `GRPS`.
pub(super) fn write_groups(network: &Network) -> Result<Vec<u8>> {
    let too_many = |_| Error::TooLarge { what: "tags of one group", limit: u32::MAX.into() };
    let counts = network.shape.groups().iter().map(|group| u32::try_from(group.tags.len()).map_err(too_many));
    counts.map(|count| count.map(u32::to_le_bytes)).collect::<Result<Vec<_>>>().map(|counts| counts.concat())
}

/// Reads `TAGS` and `TNAM`.
pub(super) fn parse_tags(records: &[u8], names: &[u8]) -> Result<Tags> {
    let fault = |part: Part, expected: &str, found: String| Error::model(part.name(), expected, found);
    let mut fields = Fields(records);
    let cut = || fault(Part::Tags, "records of 12 bytes after the next free id", format!("{} bytes", records.len()));
    let next_id = fields.u32().ok_or_else(cut)?;
    let (mut tags, mut start) = (Vec::new(), 0);
    while !fields.0.is_empty() {
        let record = (|| Some((fields.u32()?, fields.f32()?, fields.u32()?)))();
        let (id, threshold, end) = record.ok_or_else(cut)?;
        let end = end as usize;
        // The empty name, which takes no byte, is refused here and not with the others.
        let name = names.get(start..end).filter(|name| !name.is_empty()).and_then(|name| std::str::from_utf8(name).ok());
        let name =
            name.ok_or_else(|| fault(Part::TagNames, "a name in UTF-8", format!("none at {start}..{end} (tag id {id})")))?;
        tags.push(Tag { id, name: name.to_owned(), threshold });
        start = end;
    }
    if start != names.len() {
        return Err(fault(Part::TagNames, "no text after the last name", format!("{} bytes", names.len() - start)));
    }
    Tags::new(tags, next_id).map_err(|error| fault(Part::Tags, "unique ids and names, thresholds in range", error.to_string()))
}

/// The bodies of `TAGS` and `TNAM`.
pub(super) fn write_tags(tags: &Tags) -> Result<(Vec<u8>, Vec<u8>)> {
    let too_long = |_| Error::TooLarge { what: "text of all tag names", limit: u32::MAX.into() };
    let (mut records, mut names) = (tags.next_id().to_le_bytes().to_vec(), Vec::new());
    for tag in tags {
        names.extend_from_slice(tag.name.as_bytes());
        records.extend(tag.id.to_le_bytes());
        records.extend(tag.threshold.to_le_bytes());
        records.extend(u32::try_from(names.len()).map_err(too_long)?.to_le_bytes());
    }
    Ok((records, names))
}

#[cfg(test)]
mod tests {
    use super::WeightType::{Bf16, F16, F32, I8};
    use super::*;
    use crate::network::Shape;

    #[test]
    fn networks_survive() {
        for layout in [OutputLayout::TagMajor, OutputLayout::Panels] {
            let shape = Shape::new(5, 3, &[2, 0, 70], layout).unwrap();
            let pooling = if layout == OutputLayout::Panels { Pooling::Sum } else { Pooling::Mean };
            let network = Network { shape, pooling, activation: Activation::Relu, eps: 1e-4 };
            let weights = if layout == OutputLayout::Panels { [F32, Bf16] } else { [I8, F16] };
            let body = write_network(&network, weights).unwrap();
            let record = NetworkRecord::parse(&body).unwrap();
            assert_eq!((record.keywords, record.hidden, record.tags, record.groups), (5, 3, 72, 3));
            assert_eq!((record.layout, record.pooling, record.activation), (layout, pooling, Activation::Relu));
            assert_eq!((record.eps, record.weights), (1e-4, weights));
            assert_eq!(parse_groups(&write_groups(&network).unwrap()).unwrap(), [2, 0, 70]);
            assert!(NetworkRecord::parse(&body[..63]).is_err());
            assert!(NetworkRecord::parse(&[&body[..], &[0]].concat()).is_err());
        }
    }

    #[test]
    fn tells_damage_from_novelty() {
        let shape = Shape::new(1, 1, &[1], OutputLayout::TagMajor).unwrap();
        let network = Network { shape, pooling: Pooling::Sum, activation: Activation::Relu, eps: 0.0 };
        let body = write_network(&network, [F32, F32]).unwrap();
        let with = |at: usize, field: [u8; 4]| {
            let mut body = body.clone();
            body[at..at + 4].copy_from_slice(&field);
            NetworkRecord::parse(&body).map(drop).unwrap_err()
        };
        for (at, value) in [(32, 2u32), (36, 7), (48, 4), (52, 2), (56, 4)] {
            assert!(matches!(with(at, value.to_le_bytes()), Error::NewerModel { .. }), "{at}");
        }
        for (at, value) in [(40, -0.0f32), (44, 0.5), (44, -0.0), (44, f32::NAN), (60, 1.0), (60, f32::NAN)] {
            assert!(matches!(with(at, value.to_le_bytes()), Error::Model { section: "NETW", .. }), "{at} {value}");
        }
        for eps in [0.5, -0.0, f32::NAN] {
            assert!(write_network(&Network { eps, ..network.clone() }, [F32, F32]).is_err());
        }
    }

    #[test]
    fn tags_survive_and_damage_is_found() {
        let tag = |id, name: &str, threshold| Tag { id, name: name.to_owned(), threshold };
        let tags = Tags::new(vec![tag(4, "größer", 0.25), tag(1, "b", f32::INFINITY)], 9).unwrap();
        let (records, names) = write_tags(&tags).unwrap();
        assert_eq!(parse_tags(&records, &names).unwrap(), tags);
        assert!(parse_tags(&records[..3], &names).is_err());
        assert!(parse_tags(&records[..27], &names).is_err());
        assert!(parse_tags(&records[..16], &names).is_err());
        assert!(parse_tags(&records, &names[..7]).is_err());
        assert!(parse_tags(&records, &[&names[..], b"c"].concat()).is_err());
        // next id, id, threshold, end of name, end of name before its start, duplicate id
        for (at, value) in [(0, 4u32), (4, 9), (8, 0xffc0_0000), (12, 3), (24, 7), (16, 4), (12, u32::MAX)] {
            let mut bad = records.clone();
            bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
            assert!(matches!(parse_tags(&bad, &names), Err(Error::Model { .. })), "{at} {value}");
        }
    }
}
