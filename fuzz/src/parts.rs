//! Models of any sizes, names and weights.

use super::source::Source;
use tagomatic::aligned::{Bf16Block, Block, F16Block, I8Block, as_floats, as_floats_mut, zeroed};
use tagomatic::calibration::{Calibration, Curve, Knot};
use tagomatic::distribution::{LogitDistribution, ScoreDistribution};
use tagomatic::format::{Extensions, LogitError};
use tagomatic::network::{Activation, Network, OutputLayout, Pooling, Shape, StoredWeights};
use tagomatic::weights::{MatrixBuf, WeightType};
use tagomatic::{Error, Model, ModelParts, Provenance, Result, Tag, Tags, Vocabulary};
use xxhash_rust::xxh3::xxh3_64;

/// All that a model is made of.
pub struct Parts {
    pub network: Network,
    pub w1: MatrixBuf,
    pub b1: Vec<Block>,
    pub w2: MatrixBuf,
    pub b2: Vec<Block>,
    pub vocabulary: Vocabulary,
    pub tags: Tags,
    pub provenance: Provenance,
    pub extensions: Extensions,
}

pub fn activation(source: &mut Source<'_>) -> Activation {
    let parameter = if source.flag() { source.of(&[0.0, 0.1, 0.5, 1.0]) } else { source.number() };
    source.of(&[
        Activation::Relu,
        Activation::LeakyRelu(parameter),
        Activation::Elu(parameter),
        Activation::Sigmoid,
        Activation::Trec(parameter),
        Activation::Tlin(parameter),
        Activation::Identity,
    ])
}

impl Parts {
    /// Small parts, most of them sound.
    ///
    /// # Errors
    /// Where names, sizes or curves are not.
    pub fn draw(source: &mut Source<'_>) -> Result<Self> {
        let layout = source.of(&[OutputLayout::TagMajor, OutputLayout::Panels]);
        let (keywords, hidden) = (source.below(12), source.of(&[0, 1, 2, 5, 16, 17, 33]));
        let group_tags: Vec<usize> = (0..1 + source.below(3)).map(|_| source.of(&[0, 1, 2, 3, 7, 17, 65])).collect();
        let shape = Shape::new(keywords, hidden, &group_tags, layout)?;
        let pooling = source.of(&[Pooling::Sum, Pooling::Mean]);
        let eps = source.of(&[0.0, 1e-4, 0.25, 0.499]);
        let network = Network { pooling, activation: activation(source), eps, shape };
        let shape = &network.shape;
        let [first, output] = [(); 2].map(|()| source.of(WeightType::ALL));
        let (w1, b1) = (row_by_row(source, shape, keywords), row_by_row(source, shape, 1));
        let (scales, output_scales) = (row_by_row(source, shape, 1), slot_by_slot(source, shape));
        let w2 = output_weights(source, shape);
        let b2 = slot_by_slot(source, shape);
        Ok(Parts {
            w1: stored(first, w1, scales),
            b1,
            w2: stored(output, w2, output_scales),
            b2,
            vocabulary: vocabulary(source, keywords)?,
            tags: tags(source, shape.tags())?,
            provenance: provenance(source)?,
            extensions: extensions(source, shape.tags())?,
            network,
        })
    }

    pub fn model(&self) -> Result<Model> {
        ModelParts {
            network: &self.network,
            weights: StoredWeights { w1: self.w1.view(), b1: &self.b1, w2: self.w2.view(), b2: &self.b2 },
            vocabulary: self.vocabulary.view(),
            tags: &self.tags,
            provenance: &self.provenance,
            extensions: &self.extensions,
        }
        .to_model()
    }
}

/// `rows` rows of weights of hidden units, padding zero.
fn row_by_row(source: &mut Source<'_>, shape: &Shape, rows: usize) -> Vec<Block> {
    let mut blocks = source.blocks(rows * shape.row_blocks(), Source::float);
    let padded = shape.hidden().next_multiple_of(16).max(1);
    for (i, float) in as_floats_mut(&mut blocks).iter_mut().enumerate() {
        if i % padded >= shape.hidden() {
            *float = 0.0;
        }
    }
    blocks
}

/// A number a tag, padding zero.
fn slot_by_slot(source: &mut Source<'_>, shape: &Shape) -> Vec<Block> {
    let (numbers, mut blocks) = (source.numbers(16, Source::float), zeroed(shape.slot_blocks() * 16));
    for tag in 0..shape.tags() {
        as_floats_mut(&mut blocks)[shape.slot(tag)] = numbers[tag % numbers.len()];
    }
    blocks
}

fn output_weights(source: &mut Source<'_>, shape: &Shape) -> Vec<Block> {
    let (numbers, mut blocks) = (source.numbers(24, Source::float), zeroed(shape.w2_blocks() * 16));
    let mut count = 0;
    for group in shape.groups() {
        for (unit, tag) in (0..shape.hidden()).flat_map(|unit| (0..group.tags.len()).map(move |tag| (unit, tag))) {
            as_floats_mut(&mut blocks)[shape.w2_index(group, unit, tag)] = numbers[count * 5 % numbers.len()];
            count += 1;
        }
    }
    blocks
}

/// Floats as weights of a type: of narrow ones their bits, not their values. Zeros stay.
pub fn stored(weights: WeightType, floats: Vec<Block>, scales: Vec<Block>) -> MatrixBuf {
    let upper = |x: f32| (x.to_bits() >> 16) as u16;
    match weights {
        WeightType::F32 => MatrixBuf::F32(floats),
        WeightType::F16 => {
            let finite = |x: f32| Some(upper(x)).filter(|bits| bits & 0x7c00 != 0x7c00).unwrap_or(upper(x) & 0xbfff);
            MatrixBuf::F16(floats.iter().map(|block| F16Block(block.0.map(finite))).collect())
        }
        WeightType::Bf16 => MatrixBuf::Bf16(floats.iter().map(|block| Bf16Block(block.0.map(upper))).collect()),
        WeightType::I8 => {
            let integer = |x: f32| ((x.to_bits() >> 19) as i8).max(-127);
            let mut scales = scales;
            let normal = |x: &mut f32| *x = if x.is_normal() { x.abs() } else { 0.0 };
            as_floats_mut(&mut scales).iter_mut().for_each(normal);
            MatrixBuf::I8 { weights: floats.iter().map(|block| I8Block(block.0.map(integer))).collect(), scales }
        }
    }
}

fn vocabulary(source: &mut Source<'_>, keywords: usize) -> Result<Vocabulary> {
    let mut words: Vec<String> = (0..keywords).map(|_| source.word(7)).collect();
    // Seldom twice the same.
    if !source.rarely(16) {
        words.iter_mut().enumerate().for_each(|(id, word)| word.push_str(&id.to_string()));
    }
    Vocabulary::from_keywords(words)
}

fn tags(source: &mut Source<'_>, count: usize) -> Result<Tags> {
    let plain = !source.rarely(16);
    let mut tag = |number: usize| {
        let id = if plain { number as u32 * 3 } else { source.any() };
        let mut name = if number < 4 { source.word(5) } else { String::new() };
        if plain {
            name = name.chars().filter(|c| !c.is_control()).chain(format!("t{number}").chars()).collect();
        }
        let threshold = if source.rarely(16) { source.number() } else { source.of(&[0.0, 0.25, 0.5, 1.0, f32::INFINITY]) };
        Tag { id, name, threshold }
    };
    let tags = (0..count).map(&mut tag).collect();
    Tags::new(tags, if plain { 1000 } else { u32::MAX })
}

fn provenance(source: &mut Source<'_>) -> Result<Provenance> {
    let mut provenance = Provenance::new();
    for number in 0..source.below(4) {
        let key = if source.rarely(16) { source.word(4) } else { format!("key.{number}") };
        provenance.insert(key, source.word(9))?;
    }
    Ok(provenance)
}

fn extensions(source: &mut Source<'_>, tags: usize) -> Result<Extensions> {
    let mut extensions = Extensions::default();
    if source.flag() {
        let mut curve = |_| {
            let slope = source.float().abs();
            let (mut from, mut to) = (source.float(), source.float());
            let mut knots = vec![Knot { from, to }];
            for _ in 0..source.below(3) {
                from += source.float().abs();
                to += source.float().abs();
                knots.push(Knot { from, to });
            }
            Curve { slope, knots }
        };
        extensions.calibration = Some(Calibration::new(&(0..tags).map(&mut curve).collect::<Vec<_>>())?);
    }
    if source.flag() {
        let (measured, bound) = (f64::from(source.number()), f64::from(source.number()));
        extensions.logit_error = Some(LogitError { measured, bound, keywords: source.any() });
    }
    if source.flag() {
        let mut of_tag = |_| {
            let mut distribution = LogitDistribution::default();
            let mut bound = source.float();
            for place in &mut distribution.bounds {
                bound += source.float().abs();
                *place = bound;
            }
            distribution.counts = distribution.counts.map(|_| source.any());
            distribution
        };
        extensions.scores = Some(ScoreDistribution::new((0..tags).map(&mut of_tag).collect())?);
    }
    Ok(extensions)
}

/// Whether a float is one that a model can have.
pub fn all_finite(blocks: &[Block]) -> bool {
    as_floats(blocks).iter().all(|x| x.is_finite())
}

/// Models of every layout, type of weights and pooling, the same at each call: what targets serve from.
pub fn fixed() -> Vec<Model> {
    let mut models = Vec::new();
    for seed in 0u32.. {
        let bytes: Vec<u8> = (0..700u32).map(|i| xxh3_64(&[seed.to_le_bytes(), i.to_le_bytes()].concat()) as u8).collect();
        match Parts::draw(&mut Source::new(&bytes)).and_then(|parts| parts.model()) {
            Ok(model) => models.push(model),
            Err(Error::BadName { .. } | Error::Config { .. } | Error::BadWeight { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        if models.len() == 16 {
            break;
        }
    }
    models
}
