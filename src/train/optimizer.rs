//! The optimiser: what becomes of a gradient, and how weights decay.
//!
//! In step t, with γ_t = lr / (1 + (t − 1)·lr_decay), each weight w with gradient g makes
//!
//! ```text
//! AdaGrad   G ← G + g²;  D = √G + ε or √(G + ε);  w ← w − γ·g/D      Duchi, Hazan, Singer, JMLR 12 (2011)
//! rowwise   G ← G + (1/n)·Σ_j g_j²                                   one G for the n weights of a row
//! SGD       D = 1
//! ```
//!
//! beside one of the three kinds of [`DecayMode`]. Gradients that are 0 change neither w nor G, so stepping only on the rows that a
//! mini-batch touches is exactly the dense optimiser ([`super::table`]).

use super::codec::Codec;
use super::config::{DecayMode, EpsilonPlace, OptimizerKind, Rowwise, TrainConfig};
use super::objective::{Biases, OutputForm};
use super::parameters::{Parameters, unit_of};
use super::table::{Table, TableSize, Touched};
use crate::aligned::{Block, LANES, as_floats, as_floats_mut, blocks_for};
use crate::buffer::Buffer;
use crate::error::Result;
use crate::ids::Sets;
use crate::kernels::{self, AdaGradStep, Decay, Denominator, Kernels, Shrink, Squares, SteppedRows, tree_sum};
use crate::layers::embedding_bag;
use crate::network::{Group, OutputLayout, Shape};

/// The optimiser's memory.
#[derive(Debug)]
pub(super) struct Optimizer {
    rule: Rule,
    shape: Shape,
    biases: Biases,
    w1: Table,
    b1: Sums,
    output: Output,
    b2: Sums,
}

/// The memory of the output weights.
#[derive(Debug)]
enum Output {
    /// The rows of W2 are hidden units, and every step is on all of them. Beside their sums a buffer, where these want to know all gradients of
    /// a row: one a weight.
    Units(Sums, Buffer<Block>),
    /// The rows of W2 are outputs, and a step is on some of them.
    Rows(Table),
    /// The output weights are W1.
    Tied,
}

/// Squared-gradient sums of one parameter.
#[derive(Clone, Debug)]
pub(super) enum Sums {
    /// One a weight, where the weight is.
    EachWeight(Buffer<Block>),
    /// One a row, as floats. The rows of W2 are hidden units, of a bias there is one.
    EachRow(Buffer<Block>),
    /// All are 1, and stay it: with no ε, D = 1.
    One,
}

/// What the configuration says of every step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) denominator: Denominator,
    decays: bool,
    pub(super) mode: DecayMode,
    pub(super) l1: f64,
    pub(super) l2: f64,
}

/// The constants of one step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Constants {
    kernels: Kernels,
    step: AdaGradStep,
    /// λ1 and λ2 of decay that enters the gradient.
    coupled: Option<(f32, f32)>,
}

impl Rule {
    pub(super) fn constants(&self, kernels: Kernels, lr: f64) -> Constants {
        let finite = |x: f64| x.min(f64::from(f32::MAX)) as f32;
        let shrink = Shrink { factor: (1.0 - lr * self.l2) as f32, offset: (lr * self.l1) as f32 };
        let decay = match self.mode {
            _ if !self.decays => Decay::None,
            DecayMode::Decoupled if shrink == Shrink::NONE => Decay::None,
            DecayMode::Decoupled => Decay::Shrink(shrink),
            DecayMode::Prox => Decay::Proximal { l1: finite(lr * self.l1), l2: finite(lr * self.l2) },
            // The gradient holds it all, but weights that have decayed to subnormal numbers become 0.
            DecayMode::Coupled => Decay::Shrink(Shrink::NONE),
        };
        let coupled = (self.decays && self.mode == DecayMode::Coupled).then_some((self.l1 as f32, self.l2 as f32));
        Constants { kernels, step: AdaGradStep { lr: lr as f32, denominator: self.denominator, decay }, coupled }
    }
}

impl Sums {
    pub(super) fn new(config: &TrainConfig, rowwise: bool, what: &'static str, weights: usize, rows: usize) -> Result<Self> {
        if config.optimizer == OptimizerKind::Sgd {
            return Ok(Sums::One);
        }
        let blocks = if rowwise { blocks_for(rows) } else { weights };
        let sums = Buffer::filled(what, blocks, Block([config.initial_square as f32; LANES]))?;
        Ok(if rowwise { Sums::EachRow(sums) } else { Sums::EachWeight(sums) })
    }

    /// Writes or reads them.
    pub(super) fn visit(&mut self, codec: &mut dyn Codec) -> Result<()> {
        match self {
            // They may overflow; that freezes the weight.
            Sums::EachWeight(sums) | Sums::EachRow(sums) => codec.floats("squared-gradient sums", sums, |sum| sum >= 0.0),
            Sums::One => Ok(()),
        }
    }

    /// The sums of a row, as they are.
    pub(super) fn of_row(&self, row: usize, width: usize) -> Squares<'_> {
        match self {
            Sums::EachWeight(sums) => Squares::Each(&sums[row * width..(row + 1) * width]),
            Sums::EachRow(sums) => Squares::Same(as_floats(sums)[row]),
            Sums::One => Squares::Same(1.0),
        }
    }

    /// What steps on rows with `length` weights write.
    pub(super) fn memory(&mut self, length: usize) -> Memory<'_> {
        match self {
            Sums::EachWeight(sums) => Memory::EachWeight(sums),
            Sums::EachRow(sums) => Memory::EachRow(as_floats_mut(sums), length),
            Sums::One => Memory::One,
        }
    }

    /// A sum for every weight, given the place of its row among all rows.
    pub(super) fn spread(&self, weights: usize, row_of: impl Fn(usize) -> usize) -> Buffer<Block> {
        let mut spread = vec![Block::ZERO; weights];
        match self {
            Sums::EachWeight(sums) => spread.copy_from_slice(sums),
            Sums::EachRow(sums) => {
                for (place, sum) in as_floats_mut(&mut spread).iter_mut().enumerate() {
                    *sum = as_floats(sums)[row_of(place)];
                }
            }
            Sums::One => {}
        }
        Buffer::Heap(spread)
    }
}

impl Optimizer {
    pub(super) fn new(config: &TrainConfig, shape: &Shape) -> Result<Self> {
        let Rowwise { w1, b1, w2, b2 } = config.rowwise;
        let (hidden, width) = (shape.hidden() * shape.groups().len(), shape.row_blocks());
        let epsilon = config.epsilon as f32;
        let rows_of = |rows| TableSize { rows, length: hidden, width };
        const OUTPUT: &str = "the output layer, for this machine's memory";
        let output = match config.output_form() {
            OutputForm::Units => {
                let sums = Sums::new(config, w2, OUTPUT, shape.w2_blocks(), width * LANES)?;
                let gathered = if let Sums::EachRow(_) = sums { shape.w2_blocks() } else { 0 };
                Output::Units(sums, Buffer::zeroed(OUTPUT, gathered)?)
            }
            OutputForm::Rows => Output::Rows(Table::new(config, w2, OUTPUT, rows_of(shape.tags()))?),
            OutputForm::Tied => Output::Tied,
        };
        Ok(Optimizer {
            rule: Rule {
                denominator: match (config.optimizer, config.epsilon_place) {
                    (OptimizerKind::Sgd, _) => Denominator { inside: 0.0, outside: 0.0 },
                    (OptimizerKind::AdaGrad, EpsilonPlace::Outside) => Denominator { inside: 0.0, outside: epsilon },
                    (OptimizerKind::AdaGrad, EpsilonPlace::Inside) => Denominator { inside: epsilon, outside: 0.0 },
                },
                decays: config.decays(),
                mode: config.decay,
                l1: config.l1,
                l2: config.l2,
            },
            biases: config.biases(),
            w1: Table::new(config, w1, "the first layer, for this machine's memory", rows_of(shape.keywords()))?,
            b1: Sums::new(config, b1, "the hidden biases, for this machine's memory", width, 1)?,
            output,
            b2: Sums::new(config, b2, "the output biases, for this machine's memory", shape.slot_blocks(), 1)?,
            shape: shape.clone(),
        })
    }

    /// Brings the rows of a mini-batch up to date, before they are read. [`Optimizer::undo`] takes it back.
    pub(super) fn catch_up(&mut self, kernels: Kernels, touched: Touched<'_>, parameters: &mut Parameters) -> Result<()> {
        self.w1.catch_up(&self.rule, kernels, touched.w1, &mut parameters.w1)?;
        match &mut self.output {
            Output::Rows(table) => table.catch_up(&self.rule, kernels, touched.outputs, &mut parameters.w2),
            Output::Units(..) | Output::Tied => Ok(()),
        }
    }

    /// Takes the last [`Optimizer::catch_up`] back.
    pub(super) fn undo(&mut self, touched: Touched<'_>, parameters: &mut Parameters) {
        self.w1.undo(touched.w1, &mut parameters.w1);
        if let Output::Rows(table) = &mut self.output {
            table.undo(touched.outputs, &mut parameters.w2);
        }
    }

    /// Begins a step at rate `lr`, to be taken on the rows that [`Optimizer::catch_up`] was told, and on all that has no such rows.
    pub(super) fn begin<'a>(
        &'a mut self,
        kernels: Kernels,
        lr: f64,
        touched: Touched<'_>,
        parameters: &'a mut Parameters,
    ) -> Step<'a> {
        let rule = &self.rule;
        let weights = rule.constants(kernels, lr);
        let biases = Constants { step: AdaGradStep { decay: Decay::None, ..weights.step }, coupled: None, ..weights };
        let Parameters { w1, b1, w2, b2, .. } = parameters;
        let (units, tags) = (self.shape.hidden() * self.shape.groups().len(), self.shape.tags());
        let output = match &mut self.output {
            Output::Units(sums, gathered) => OutputStep::Units(UnitStep { constants: weights, weights: w2, sums, gathered }),
            Output::Rows(table) => OutputStep::Rows(table.begin(rule, kernels, lr, touched.outputs, w2)),
            Output::Tied => OutputStep::Tied,
        };
        let b1 = StepRows { constants: biases, width: b1.len(), weights: b1, memory: self.b1.memory(units) };
        let b2 = StepRows { constants: biases, width: b2.len(), weights: b2, memory: self.b2.memory(tags) };
        Step {
            w1: self.w1.begin(rule, kernels, lr, touched.w1, w1),
            b1: self.biases.hidden.then_some(b1),
            output,
            b2: self.biases.output.then_some(b2),
        }
    }

    /// Catches all rows up where the log of their decay has grown long.
    pub(super) fn flush_if_due(&mut self, kernels: Kernels, parameters: &mut Parameters) -> Result<()> {
        self.w1.flush_if_due(&self.rule, kernels, &mut parameters.w1)?;
        match &mut self.output {
            Output::Rows(table) => table.flush_if_due(&self.rule, kernels, &mut parameters.w2),
            Output::Units(..) | Output::Tied => Ok(()),
        }
    }

    /// W1 with all decay applied; `None` if it is so already.
    pub(super) fn decayed_w1(&self, kernels: Kernels, w1: &[Block]) -> Option<Buffer<Block>> {
        self.w1.decayed(&self.rule, kernels, w1)
    }

    /// W2 with all decay applied; `None` if it is so already.
    pub(super) fn decayed_w2(&self, kernels: Kernels, w2: &[Block]) -> Option<Buffer<Block>> {
        match &self.output {
            Output::Rows(table) => table.decayed(&self.rule, kernels, w2),
            Output::Units(..) | Output::Tied => None,
        }
    }

    /// The squared-gradient sum of every weight, all decay applied.
    pub(super) fn squares(&self, kernels: Kernels, parameters: &Parameters) -> Parameters {
        let shape = &self.shape;
        Parameters {
            w1: self.w1.squares(&self.rule, kernels, &parameters.w1),
            b1: self.b1.spread(shape.row_blocks(), |_| 0),
            w2: match &self.output {
                Output::Units(sums, _) => sums.spread(shape.w2_blocks(), |place| unit_of(shape, place)),
                Output::Rows(table) => table.squares(&self.rule, kernels, &parameters.w2),
                Output::Tied => Buffer::EMPTY,
            },
            b2: self.b2.spread(shape.slot_blocks(), |_| 0),
            tied: parameters.tied,
        }
    }

    /// Writes or reads sums and clocks; which there are follows from the configuration.
    pub(super) fn visit(&mut self, codec: &mut dyn Codec) -> Result<()> {
        self.w1.visit(codec)?;
        self.b1.visit(codec)?;
        match &mut self.output {
            Output::Units(sums, _) => sums.visit(codec)?,
            Output::Rows(table) => table.visit(codec)?,
            Output::Tied => {}
        }
        self.b2.visit(codec)
    }

    /// All rows count as decayed up to the present step.
    pub(super) fn restart(&mut self) {
        self.w1.restart();
        if let Output::Rows(table) = &mut self.output {
            table.restart();
        }
    }
}

/// One step on all parameters.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) w1: StepRows<'a>,
    /// One row, if there are hidden biases.
    pub(super) b1: Option<StepRows<'a>>,
    pub(super) output: OutputStep<'a>,
    /// One row, if there are output biases.
    pub(super) b2: Option<StepRows<'a>>,
}

/// The step on the output weights.
#[derive(Debug)]
pub(super) enum OutputStep<'a> {
    /// On all of W2, whose rows are hidden units.
    Units(UnitStep<'a>),
    /// On some rows of W2, which are outputs.
    Rows(StepRows<'a>),
    /// The output weights are W1: a row's gradient as one of these is added to the other.
    Tied,
}

/// Rows to take a step on. Threads divide them.
#[derive(Debug)]
pub(super) struct StepRows<'a> {
    constants: Constants,
    /// Blocks in a row.
    width: usize,
    weights: &'a mut [Block],
    memory: Memory<'a>,
}

/// Where the squared gradients of some rows go.
#[derive(Debug)]
pub(super) enum Memory<'a> {
    /// To sums beside the weights.
    EachWeight(&'a mut [Block]),
    /// To one sum a row; rows have so many weights.
    EachRow(&'a mut [f32], usize),
    /// Nowhere.
    One,
    /// Nowhere yet: sums run across these rows, so gradients are kept here until all are known.
    Gather(&'a mut [Block]),
}

impl<'a> StepRows<'a> {
    pub(super) fn new(constants: Constants, width: usize, weights: &'a mut [Block], memory: Memory<'a>) -> Self {
        StepRows { constants, width, weights, memory }
    }

    /// The rows before row `middle`, and the rest.
    pub(super) fn split_at(self, middle: usize) -> (Self, Self) {
        let StepRows { constants, width, weights, memory } = self;
        let (weights, weights_right) = weights.split_at_mut(middle * width);
        let (memory, right) = match memory {
            Memory::EachWeight(sums) => {
                let (left, right) = sums.split_at_mut(middle * width);
                (Memory::EachWeight(left), Memory::EachWeight(right))
            }
            Memory::EachRow(sums, length) => {
                let (left, right) = sums.split_at_mut(middle);
                (Memory::EachRow(left, length), Memory::EachRow(right, length))
            }
            Memory::One => (Memory::One, Memory::One),
            Memory::Gather(gradients) => {
                let (left, right) = gradients.split_at_mut(middle * width);
                (Memory::Gather(left), Memory::Gather(right))
            }
        };
        (StepRows { constants, width, weights, memory }, StepRows { constants, width, weights: weights_right, memory: right })
    }

    /// The same blocks in rows of `width` blocks; they have no sum a row.
    pub(super) fn in_rows_of(self, width: usize) -> Self {
        debug_assert!(!matches!(self.memory, Memory::EachRow(..)), "sums of other rows");
        StepRows { width, ..self }
    }

    /// Blocks in a row.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.weights.len().checked_div(self.width).unwrap_or(0)
    }

    /// Steps on the rows `ids`, whose gradients are sums of rows of `terms`, a set of them for each. The table begins at row `first`.
    pub(super) fn step_bags(&mut self, ids: &[u32], first: usize, terms: &[Block], sets: Sets<'_>) -> Result<()> {
        if let (Memory::EachWeight(sums), Constants { kernels, step, coupled: None }) = (&mut self.memory, &self.constants) {
            let rows = SteppedRows { ids, first: first as u32, width: self.width };
            return kernels.adagrad_bags(step, rows, terms, sets, self.weights, sums);
        }
        let mut gradient = vec![Block::ZERO; self.width];
        for (id, (set, _)) in ids.iter().zip(sets.iter()) {
            embedding_bag::backward_row(self.constants.kernels, terms, set, &mut gradient)?;
            self.step(*id as usize - first, &mut gradient)?;
        }
        Ok(())
    }

    /// Steps on the rows from `row` on, given their gradients, row after row, which are used up.
    pub(super) fn step(&mut self, row: usize, gradient: &mut [Block]) -> Result<()> {
        let Constants { kernels, step, coupled } = &self.constants;
        let start = row * self.width;
        let range = start..start + gradient.len();
        let weights = &mut self.weights[range.clone()];
        if let Some((l1, l2)) = *coupled {
            kernels.couple(l1, l2, weights, gradient)?;
        }
        match &mut self.memory {
            Memory::EachWeight(sums) => kernels.adagrad(step, gradient, weights, Squares::Grow(&mut sums[range])),
            Memory::EachRow(sums, length) => {
                let rows = chunks(gradient, self.width).zip(chunks_mut(weights, self.width));
                for ((gradient, weights), sum) in rows.zip(&mut sums[row..]) {
                    *sum += mean_square(*kernels, [gradient], *length)?;
                    kernels.adagrad(step, gradient, weights, Squares::Same(*sum))?;
                }
                Ok(())
            }
            Memory::One => kernels.adagrad(step, gradient, weights, Squares::Same(1.0)),
            Memory::Gather(gradients) => {
                gradients[range].copy_from_slice(gradient);
                Ok(())
            }
        }
    }

    /// Steps on some blocks, ascending, of what is one row, given their gradients; those of its other blocks are 0. For parameters
    /// that do not decay.
    pub(super) fn step_blocks(&mut self, blocks: &[u32], gradients: &[Block]) -> Result<()> {
        let Constants { kernels, step, .. } = &self.constants;
        let sum = match &mut self.memory {
            Memory::EachRow(sums, length) => {
                sums[0] += mean_square(*kernels, gradients.chunks(1), *length)?;
                sums[0]
            }
            _ => 1.0,
        };
        for (block, gradient) in blocks.iter().map(|block| *block as usize).zip(gradients.chunks(1)) {
            let squares = match &mut self.memory {
                Memory::EachWeight(sums) => Squares::Grow(&mut sums[block..=block]),
                _ => Squares::Same(sum),
            };
            kernels.adagrad(step, gradient, &mut self.weights[block..=block], squares)?;
        }
        Ok(())
    }
}

/// `Σ x² / n` over the pieces of a row with n weights, in their order; padding is 0.
fn mean_square<'a>(kernels: Kernels, row: impl IntoIterator<Item = &'a [Block]>, n: usize) -> Result<f32> {
    let mut sums = [Block::ZERO];
    for piece in row {
        kernels.dot_rows(kernels::Rows::new(piece, piece.len()), &[0], piece, &mut sums)?;
    }
    Ok(tree_sum(&sums[0]) / n.max(1) as f32)
}

/// The step on W2 with a row for each hidden unit; rows in storage are not always these.
#[derive(Debug)]
pub(super) struct UnitStep<'a> {
    constants: Constants,
    weights: &'a mut [Block],
    sums: &'a mut Sums,
    /// All gradients, if they have to be known before the first step.
    gathered: &'a mut [Block],
}

impl UnitStep<'_> {
    /// The rows of `width` blocks that lie in the blocks `range` of W2.
    pub(super) fn rows(&mut self, range: std::ops::Range<usize>, width: usize) -> StepRows<'_> {
        let memory = match self.sums {
            Sums::EachWeight(sums) => Memory::EachWeight(&mut sums[range.clone()]),
            Sums::EachRow(_) => Memory::Gather(&mut self.gathered[range.clone()]),
            Sums::One => Memory::One,
        };
        StepRows { constants: self.constants, width, weights: &mut self.weights[range], memory }
    }

    /// Takes the step where gradients were gathered: a row is a hidden unit, and its n the tags of its group.
    pub(super) fn finish(self, shape: &Shape) -> Result<()> {
        let Sums::EachRow(sums) = self.sums else { return Ok(()) };
        let Constants { kernels, step, .. } = self.constants;
        for group in shape.groups() {
            match shape.layout() {
                OutputLayout::TagMajor => {
                    let width = group.hidden.len();
                    let gradients = &self.gathered[group.w2.clone()];
                    let sums = &mut sums[group.hidden.clone()];
                    add_mean_squares(group, gradients, sums);
                    for (gradient, weights) in
                        chunks(gradients, width).zip(chunks_mut(&mut self.weights[group.w2.clone()], width))
                    {
                        kernels.adagrad(&step, gradient, weights, Squares::Each(sums))?;
                    }
                }
                OutputLayout::Panels => {
                    for unit in 0..shape.hidden() {
                        let pieces = || {
                            shape.panels(group).map(|panel| {
                                let start = panel.w2.start + unit * panel.slots.len();
                                start..start + panel.slots.len()
                            })
                        };
                        let rows = pieces().map(|range| &self.gathered[range]);
                        let sum = &mut as_floats_mut(sums)[group.hidden.start * LANES + unit];
                        *sum += mean_square(kernels, rows, group.tags.len())?;
                        for range in pieces() {
                            let gradient = &self.gathered[range.clone()];
                            kernels.adagrad(&step, gradient, &mut self.weights[range], Squares::Same(*sum))?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Adds the mean over a group's tags, each a row of gradients, to the sums of its hidden units.
fn add_mean_squares(group: &Group, gradients: &[Block], sums: &mut [Block]) {
    let mut squares = vec![0.0_f32; sums.len() * LANES];
    for row in chunks(gradients, sums.len()) {
        for (square, g) in squares.iter_mut().zip(as_floats(row)) {
            *square += g * g;
        }
    }
    for (sum, square) in as_floats_mut(sums).iter_mut().zip(squares) {
        *sum += square / group.tags.len().max(1) as f32;
    }
}

/// Rows of `width` blocks, which may be 0.
fn chunks(blocks: &[Block], width: usize) -> std::slice::ChunksExact<'_, Block> {
    blocks.chunks_exact(width.max(1))
}

fn chunks_mut(blocks: &mut [Block], width: usize) -> std::slice::ChunksExactMut<'_, Block> {
    blocks.chunks_exact_mut(width.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Philox, unit};

    /// A number in (−½, ½) for each weight of W2 that is one; padding is 0.
    fn random_w2(shape: &Shape, seed: u64) -> Vec<Block> {
        let mut w2 = vec![Block::ZERO; shape.w2_blocks()];
        for group in shape.groups() {
            for (unit_, tag) in (0..shape.hidden()).flat_map(|unit| group.tags.clone().map(move |tag| (unit, tag))) {
                let word = Philox::new(seed).block([unit_ as u32, tag as u32, 0, 97])[0];
                as_floats_mut(&mut w2)[shape.w2_index(group, unit_, tag - group.tags.start)] = unit(word) - 0.5;
            }
        }
        w2
    }

    /// math: G_k ← G_k + (1/n) Σ_j g_kj², k a hidden unit and n the tags of its group, however W2 is stored.
    #[test]
    fn row_sums_of_w2_run_over_the_tags_of_a_group() {
        for (hidden, tags) in [(5, vec![3, 1]), (17, vec![2, 0, 7]), (5, vec![9]), (20, vec![130, 70, 16]), (0, vec![2])] {
            for layout in [OutputLayout::TagMajor, OutputLayout::Panels] {
                let shape = Shape::new(2, hidden, &tags, layout).unwrap();
                let rowwise = Rowwise { w2: true, ..Rowwise::default() };
                let config = TrainConfig { rowwise, lr: 0.1, initial_square: 0.25, ..TrainConfig::default() };
                let (gradients, start) = (random_w2(&shape, 1), random_w2(&shape, 2));
                let mut parameters = Parameters::filled(&shape, false, 0.0).unwrap();
                parameters.w2.copy_from_slice(&start);
                let mut optimizer = Optimizer::new(&config, &shape).unwrap();
                let kernels = Kernels::best();
                let step = optimizer.begin(kernels, 0.1, Touched { w1: &[], outputs: &[] }, &mut parameters);
                let OutputStep::Units(mut w2) = step.output else { panic!("the rows of a tagger's W2 are units") };
                for group in shape.groups() {
                    let strips = match layout {
                        OutputLayout::TagMajor => vec![(group.w2.clone(), group.hidden.len())],
                        OutputLayout::Panels => shape.panels(group).map(|p| (p.w2.clone(), p.slots.len())).collect(),
                    };
                    for (range, width) in strips {
                        let mut rows = w2.rows(range.clone(), width);
                        for row in 0..rows.count() {
                            let first = range.start + row * width;
                            rows.step(row, &mut gradients[first..first + width].to_vec()).unwrap();
                        }
                    }
                }
                w2.finish(&shape).unwrap();
                let squares = optimizer.squares(kernels, &parameters);
                for group in shape.groups() {
                    for unit in 0..hidden {
                        let places: Vec<usize> = (0..group.tags.len()).map(|tag| shape.w2_index(group, unit, tag)).collect();
                        let g = |place: usize| f64::from(as_floats(&gradients)[place]);
                        let mean = places.iter().map(|place| g(*place) * g(*place)).sum::<f64>() / places.len() as f64;
                        for place in places {
                            let square = f64::from(as_floats(&squares.w2)[place]);
                            assert!((square - 0.25 - mean).abs() < 1e-6, "{layout:?} {hidden} {tags:?}");
                            let expected = f64::from(as_floats(&start)[place]) - 0.1 * g(place) / (square.sqrt() + 1e-10);
                            assert!((f64::from(as_floats(&parameters.w2)[place]) - expected).abs() < 1e-6);
                        }
                    }
                }
            }
        }
    }
}
