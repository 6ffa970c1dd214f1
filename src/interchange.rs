//! Models as safetensors files, to and from PyTorch and whatever else reads them.
//!
//! The tensors are those of this module's `state_dict`, by the same names:
//!
//! ```python
//! class Tagger(torch.nn.Module):
//!     def __init__(self, keywords, hidden, tags):
//!         super().__init__()
//!         self.embedding = torch.nn.EmbeddingBag(keywords, hidden, mode="sum")
//!         self.hidden_bias = torch.nn.Parameter(torch.zeros(hidden))
//!         self.output = torch.nn.Linear(hidden, tags)
//!
//!     def forward(self, ids, offsets):
//!         return self.output(torch.relu(self.embedding(ids, offsets) + self.hidden_bias))  # logits
//!
//! names = {"keywords": ["shark", "beach"], "tags": ["sea"]}
//! safetensors.torch.save_file(tagger.state_dict(), "m.safetensors", metadata={"tagomatic": json.dumps(names)})
//! ```
//!
//! | tensor | shape | type |
//! | --- | --- | --- |
//! | `embedding.weight` | keywords × hidden units | F32, F16 or BF16, and the model's weights are of the same type |
//! | `hidden_bias` | hidden units; zeros if there is none | F32 |
//! | `output.weight` | tags × hidden units | as `embedding.weight` |
//! | `output.bias` | tags; zeros if there is none | F32 |
//! | `tagomatic.CALB`, `tagomatic.LERR`, `tagomatic.SDIS` | bytes; only of models that have them | U8, a section of the model file |
//!
//! The metadata has one entry, `tagomatic`, a JSON object:
//!
//! | key | value, and what it is if there is none |
//! | --- | --- |
//! | `keywords`, `tags` | the names in the order of the rows; if there are none, the caller gives them |
//! | `activation` | of the hidden units, as text: `relu` |
//! | `pooling` | `sum` or `mean`: `sum` |
//! | `eps` | scores are clamped to `[eps, 1 − eps]`: 0, which clamps nothing |
//! | `thresholds` | of the tags, null for never: 0.5 |
//! | `tag_ids`, `next_tag_id` | stable numbers: 0, 1 and so on |
//! | `layout` | `tag_major` or `panels`, which decides the order of sums: what is fastest |
//! | `provenance` | an object of strings: that it was converted |
//!
//! A model that goes out and comes in again is the same file, byte for byte. Scores of a net that PyTorch trained are those of the
//! same arithmetic in another order: they differ in the last bits.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use bytemuck::Zeroable;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use crate::aligned::{Bf16Block, Block, F16Block, LANES};
use crate::atomic;
use crate::error::{Error, Result};
use crate::format::{Extensions, Model, ModelParts, Provenance, to_little_endian};
use crate::network::{Activation, Network, OutputLayout, Pooling, Shape, StoredWeights};
use crate::tags::{Tag, Tags};
use crate::vocab::Vocabulary;
use crate::weights::{MatrixBuf, WeightType};

const EMBEDDING: &str = "embedding.weight";
const HIDDEN_BIAS: &str = "hidden_bias";
const OUTPUT: &str = "output.weight";
const OUTPUT_BIAS: &str = "output.bias";
/// The entry of the metadata, and before the dot the start of the names of sections.
const OURS: &str = "tagomatic";

/// Names that a file does not have, or others than it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The keywords in the order of their rows.
    pub keywords: Option<Vec<String>>,
    /// The tags in the order of their rows.
    pub tags: Option<Vec<String>>,
}

/// What stands in the metadata.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Document {
    keywords: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    activation: Option<String>,
    pooling: Option<String>,
    /// As `f64`, which JSON keeps exactly enough.
    eps: Option<f64>,
    thresholds: Option<Vec<Option<f64>>>,
    tag_ids: Option<Vec<u32>>,
    next_tag_id: Option<u32>,
    layout: Option<String>,
    provenance: Option<BTreeMap<String, String>>,
}

fn fault(part: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Error {
    Error::Safetensors { path: None, part: part.into(), expected: expected.into(), found: found.into() }
}

/// Where the numbers of a tensor stand among those of a model.
struct Places<'a> {
    rows: usize,
    columns: usize,
    /// The index of a row's column, padding counted.
    of: Box<dyn Fn(usize, usize) -> usize + 'a>,
}

impl<'a> Places<'a> {
    /// Those of the tensors, in the order of [`EMBEDDING`], [`HIDDEN_BIAS`], [`OUTPUT`], [`OUTPUT_BIAS`], in a model of one group.
    fn of(shape: &'a Shape) -> [Places<'a>; 4] {
        let (keywords, hidden, tags, row) = (shape.keywords(), shape.hidden(), shape.tags(), shape.row_blocks() * LANES);
        [
            Places { rows: keywords, columns: hidden, of: Box::new(move |keyword, unit| keyword * row + unit) },
            Places { rows: 1, columns: hidden, of: Box::new(|_, unit| unit) },
            Places { rows: tags, columns: hidden, of: Box::new(|tag, unit| shape.w2_index(&shape.groups()[0], unit, tag)) },
            Places { rows: 1, columns: tags, of: Box::new(|_, tag| shape.slot(tag)) },
        ]
    }

    fn all(&self) -> impl Iterator<Item = usize> {
        (0..self.rows).flat_map(move |row| (0..self.columns).map(move |column| (self.of)(row, column)))
    }

    /// A tensor of a model's numbers, each `width` bytes in the machine's order.
    fn gather(&self, numbers: &[u8], width: usize) -> Vec<u8> {
        let mut data = Vec::with_capacity(self.rows * self.columns * width);
        self.all().for_each(|place| data.extend_from_slice(&numbers[place * width..][..width]));
        to_little_endian(&mut data, width);
        data
    }

    /// The other way round; `numbers` has all places.
    fn scatter(&self, data: &[u8], width: usize, numbers: &mut [u8]) {
        let mut data = data.to_vec();
        to_little_endian(&mut data, width);
        for (place, number) in self.all().zip(data.chunks_exact(width)) {
            numbers[place * width..][..width].copy_from_slice(number);
        }
    }
}

/// Reads a model from a safetensors file, see [`from_safetensors`].
///
/// # Errors
/// As [`from_safetensors`]; [`Error::Io`] if the file cannot be read.
pub fn open(path: impl AsRef<Path>, names: Names) -> Result<Model> {
    open_within(path, names, u64::MAX)
}

/// [`open`] for files that others hand in: of one with more than `limit` bytes no more are read, and it is refused.
///
/// # Errors
/// As [`open`]; [`Error::Safetensors`] also if the file is larger.
pub fn open_within(path: impl AsRef<Path>, names: Names, limit: u64) -> Result<Model> {
    let path = path.as_ref();
    let mut bytes = Vec::new();
    // One byte more tells a file that is too large, also where nobody knows its length before.
    let read = File::open(path).and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes));
    read.map_err(|error| Error::io(path, "read the model", error))?;
    let model = if bytes.len() as u64 > limit {
        Err(fault("file", format!("at most {limit} bytes, the limit that was set"), "more"))
    } else {
        from_safetensors(&bytes, names)
    };
    model.map_err(|error| error.in_file(path))
}

/// Saves the model as a safetensors file, which appears whole or not at all.
///
/// # Errors
/// As [`to_safetensors`] and [`Model::save`].
pub fn save(model: &Model, path: impl AsRef<Path>) -> Result<()> {
    atomic::write(path.as_ref(), "save the model", &to_safetensors(model)?)
}

/// The model as a safetensors file.
///
/// # Errors
/// [`Error::Safetensors`] if the model has several groups of hidden units, or weights of type `i8`: PyTorch has nothing like it;
/// [`Error::Model`] if a mapped file is corrupt.
pub fn to_safetensors(model: &Model) -> Result<Vec<u8>> {
    let (Network { shape, pooling, activation, eps }, weights) = (model.network(), model.weights());
    if shape.groups().len() != 1 {
        return Err(fault("model", "one group of hidden units", shape.groups().len().to_string()));
    }
    let dtype = |weights| match weights {
        WeightType::F32 => Ok(Dtype::F32),
        WeightType::F16 => Ok(Dtype::F16),
        WeightType::Bf16 => Ok(Dtype::BF16),
        WeightType::I8 => Err(fault("model", "weights of type f32, f16 or bf16", WeightType::I8.name())),
    };
    let [w1, b1, w2, b2] = Places::of(shape);
    let [first, output] = [weights.w1, weights.w2];
    let gather =
        |places: &Places<'_>, matrix: crate::weights::Matrix<'_>| places.gather(matrix.bytes(), matrix.weight_type().bytes());
    let mut tensors = vec![
        (EMBEDDING.to_owned(), dtype(first.weight_type())?, vec![w1.rows, w1.columns], gather(&w1, first)),
        (HIDDEN_BIAS.to_owned(), Dtype::F32, vec![b1.columns], b1.gather(bytemuck::cast_slice(weights.b1), 4)),
        (OUTPUT.to_owned(), dtype(output.weight_type())?, vec![w2.rows, w2.columns], gather(&w2, output)),
        (OUTPUT_BIAS.to_owned(), Dtype::F32, vec![b2.columns], b2.gather(bytemuck::cast_slice(weights.b2), 4)),
    ];
    for (name, body) in model.extensions().bodies(shape.tags())? {
        tensors.push((format!("{OURS}.{name}"), Dtype::U8, vec![body.len()], body));
    }
    let owned = |text: &str| text.to_owned();
    let document = Document {
        keywords: Some(model.vocabulary().iter().map(owned).collect()),
        tags: Some(model.tags().iter().map(|tag| tag.name.clone()).collect()),
        activation: Some(activation.to_string()),
        pooling: Some(pooling.to_string()),
        eps: Some(f64::from(*eps)),
        thresholds: Some(
            model.tags().iter().map(|tag| tag.threshold.is_finite().then_some(f64::from(tag.threshold))).collect(),
        ),
        tag_ids: Some(model.tags().iter().map(|tag| tag.id).collect()),
        next_tag_id: Some(model.tags().next_id()),
        layout: Some(owned(layout_name(shape.layout()))),
        provenance: Some(model.provenance()?.iter().map(|(key, value)| (owned(key), owned(value))).collect()),
    };
    let internal = |error: &dyn std::fmt::Display| fault("file", "tensors that can be written", error.to_string());
    let document = serde_json::to_string(&document).map_err(|error| internal(&error))?;
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, data)| Ok((name, TensorView::new(*dtype, shape.clone(), data)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|error| internal(&error))?;
    let metadata = std::iter::once((OURS.to_owned(), document)).collect();
    safetensors::serialize(views, Some(metadata)).map_err(|error| internal(&error))
}

fn layout_name(layout: OutputLayout) -> &'static str {
    match layout {
        OutputLayout::TagMajor => "tag_major",
        OutputLayout::Panels => "panels",
    }
}

/// A model of a safetensors file, and of names that go before those in the file.
///
/// # Errors
/// [`Error::Safetensors`] if it is no such file, or a tensor is missing, unknown, or of another shape or type, or a name is missing;
/// [`Error::BadName`] for names that cannot be; [`Error::BadWeight`] for a weight that is not finite; [`Error::Model`] if the
/// metadata that this crate wrote says what no model has; [`Error::TooLarge`].
pub fn from_safetensors(bytes: &[u8], names: Names) -> Result<Model> {
    read(bytes, names).map_err(|error| match error {
        // What a caller may choose is an option elsewhere; here the file has chosen.
        Error::Config { option, expected, found } => fault(format!("{option} of the metadata"), expected, found),
        error => error,
    })
}

fn read(bytes: &[u8], names: Names) -> Result<Model> {
    let broken = |error: &dyn std::fmt::Display| fault("file", "a safetensors file", error.to_string());
    let file = SafeTensors::deserialize(bytes).map_err(|error| broken(&error))?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| broken(&error))?;
    let text = metadata.metadata().as_ref().and_then(|entries| entries.get(OURS));
    let document: Document = match text {
        None => Document::default(),
        Some(text) => serde_json::from_str(text)
            .map_err(|error| fault("metadata tagomatic", "a JSON object as documented", error.to_string()))?,
    };
    check_names(&file)?;

    let [keywords, hidden] = matrix_size(&file, EMBEDDING, "keywords x hidden units")?;
    let [tag_count, _] = matrix_size(&file, OUTPUT, "tags x hidden units")?;
    let vocabulary = names.keywords.or(document.keywords);
    let vocabulary = vocabulary.ok_or_else(|| fault("keywords", "their names, in the file or beside it", "none"))?;
    check_count("keywords", "as many names as rows of embedding.weight", keywords, vocabulary.len())?;
    let tag_names = names.tags.or(document.tags);
    let tag_names = tag_names.ok_or_else(|| fault("tags", "their names, in the file or beside it", "none"))?;
    check_count("tags", "as many names as rows of output.weight", tag_count, tag_names.len())?;
    let tags = tags_of(tag_names, document.tag_ids, document.next_tag_id, document.thresholds)?;
    if hidden > bytes.len() {
        let expected = "as many hidden units at most as there are bytes";
        return Err(fault(EMBEDDING, expected, format!("{hidden} of {} bytes", bytes.len())));
    }

    let layout = match document.layout.as_deref() {
        None => OutputLayout::for_tags(tags.len()),
        Some("tag_major") => OutputLayout::TagMajor,
        Some("panels") => OutputLayout::Panels,
        Some(other) => return Err(fault("layout", "tag_major or panels", format!("{other:?}"))),
    };
    let shape = Shape::new(keywords, hidden, &[tags.len()], layout)?;
    let [w1, b1, w2, b2] = Places::of(&shape);
    let w1 = matrix(&file, EMBEDDING, &w1, shape.w1_blocks())?;
    let b1 = bias(&file, HIDDEN_BIAS, &b1, shape.row_blocks())?;
    let w2 = matrix(&file, OUTPUT, &w2, shape.w2_blocks())?;
    let b2 = bias(&file, OUTPUT_BIAS, &b2, shape.slot_blocks())?;

    let activation = document.activation.map_or(Ok(Activation::Relu), |text| Activation::from_str(&text))?;
    let pooling = document.pooling.map_or(Ok(Pooling::Sum), |text| Pooling::from_str(&text))?;
    let eps = crate::network::check_eps(document.eps.unwrap_or(0.0))?;
    let mut provenance = Provenance::new();
    match document.provenance {
        Some(entries) => entries.into_iter().try_for_each(|(key, value)| provenance.insert(key, value))?,
        None => provenance.insert("created_by", concat!("tagomatic ", env!("CARGO_PKG_VERSION"), ", of a safetensors file"))?,
    }
    let section = |name: &str| file.tensor(&format!("{OURS}.{name}")).ok().map(|tensor| tensor.data());
    ModelParts {
        network: &Network { shape: shape.clone(), pooling, activation, eps },
        weights: StoredWeights { w1: w1.view(), b1: &b1, w2: w2.view(), b2: &b2 },
        vocabulary: Vocabulary::from_keywords(vocabulary)?.view(),
        tags: &tags,
        provenance: &provenance,
        extensions: &Extensions::of_bodies(section, tags.len())?,
    }
    .to_model()
}

fn check_names(file: &SafeTensors<'_>) -> Result<()> {
    let ours = [EMBEDDING, HIDDEN_BIAS, OUTPUT, OUTPUT_BIAS].map(str::to_owned);
    let sections = Extensions::kinds().map(|kind| format!("{OURS}.{kind}"));
    let known: Vec<String> = ours.into_iter().chain(sections).collect();
    let mut unknown: Vec<&str> = file.names().into_iter().filter(|name| !known.iter().any(|known| known == name)).collect();
    unknown.sort_unstable();
    match unknown.first() {
        None => Ok(()),
        Some(name) => Err(fault("names of tensors", format!("some of {}", known.join(", ")), format!("{name:?}"))),
    }
}

fn check_count(what: &str, expected: &str, count: usize, found: usize) -> Result<()> {
    if count == found { Ok(()) } else { Err(fault(what, format!("{expected}, {count}"), found.to_string())) }
}

fn tensor<'a>(file: &SafeTensors<'a>, name: &str) -> Result<TensorView<'a>> {
    file.tensor(name).map_err(|_| {
        let mut names = file.names();
        names.sort_unstable();
        fault(name, "a tensor of this name", format!("{}, and no such one", names.join(", ")))
    })
}

fn matrix_size(file: &SafeTensors<'_>, name: &str, expected: &str) -> Result<[usize; 2]> {
    let tensor = tensor(file, name)?;
    let [rows, columns] = tensor.shape() else { return Err(fault(name, expected, format!("shape {:?}", tensor.shape()))) };
    Ok([*rows, *columns])
}

fn check_shape(name: &str, expected: &[usize], found: &[usize]) -> Result<()> {
    if expected == found { Ok(()) } else { Err(fault(name, format!("shape {expected:?}"), format!("{found:?}"))) }
}

fn matrix(file: &SafeTensors<'_>, name: &str, places: &Places<'_>, blocks: usize) -> Result<MatrixBuf> {
    let tensor = tensor(file, name)?;
    check_shape(name, &[places.rows, places.columns], tensor.shape())?;
    let data = tensor.data();
    Ok(match tensor.dtype() {
        Dtype::F32 => {
            let mut weights = vec![Block::ZERO; blocks];
            places.scatter(data, 4, bytemuck::cast_slice_mut(&mut weights));
            MatrixBuf::F32(weights)
        }
        Dtype::F16 => {
            let mut weights = vec![F16Block::zeroed(); blocks];
            places.scatter(data, 2, bytemuck::cast_slice_mut(&mut weights));
            MatrixBuf::F16(weights)
        }
        Dtype::BF16 => {
            let mut weights = vec![Bf16Block::zeroed(); blocks];
            places.scatter(data, 2, bytemuck::cast_slice_mut(&mut weights));
            MatrixBuf::Bf16(weights)
        }
        other => return Err(fault(name, "type F32, F16 or BF16", format!("{other:?}"))),
    })
}

fn bias(file: &SafeTensors<'_>, name: &str, places: &Places<'_>, blocks: usize) -> Result<Vec<Block>> {
    let mut biases = vec![Block::ZERO; blocks];
    let Ok(tensor) = file.tensor(name) else { return Ok(biases) };
    check_shape(name, &[places.columns], tensor.shape())?;
    if tensor.dtype() != Dtype::F32 {
        return Err(fault(name, "type F32", format!("{:?}", tensor.dtype())));
    }
    places.scatter(tensor.data(), 4, bytemuck::cast_slice_mut(&mut biases));
    Ok(biases)
}

fn tags_of(
    names: Vec<String>,
    ids: Option<Vec<u32>>,
    next_id: Option<u32>,
    thresholds: Option<Vec<Option<f64>>>,
) -> Result<Tags> {
    let tags = Tags::from_names(names)?;
    let (ids, next_id) = match (ids, next_id) {
        (Some(ids), Some(next_id)) => (ids, next_id),
        (None, None) => (tags.iter().map(|tag| tag.id).collect(), tags.next_id()),
        _ => return Err(fault("tag_ids, next_tag_id", "both or none", "one of them")),
    };
    check_count("tag_ids", "as many as tags", tags.len(), ids.len())?;
    let thresholds = thresholds.unwrap_or_else(|| vec![Some(f64::from(Tags::DEFAULT_THRESHOLD)); tags.len()]);
    check_count("thresholds", "as many as tags", tags.len(), thresholds.len())?;
    let numbered = tags.iter().zip(ids).zip(thresholds).map(|((tag, id), threshold)| {
        let threshold = threshold.map_or(f32::INFINITY, |threshold| threshold as f32);
        Tag { id, threshold, ..tag.clone() }
    });
    Tags::new(numbered.collect(), next_id)
}
