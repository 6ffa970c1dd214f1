//! The output side of a step where each sample is scored on a list of outputs, whose rows of output weights stand one after the other.
//!
//! It costs what the pairs cost, however many outputs there are: only rows that are scored are read, summed and stepped on.
//!
//! ```text
//! z_iv = c_v + h_i · D_v       for the outputs v that sample i is scored on
//! dh_i = Σ_v δ_iv · D_v        dD_v = Σ_i δ_iv · h_i       dc_v = Σ_i δ_iv
//! ```

use super::batch::{PairWeights, Sample};
use super::by_row::ByRow;
use super::objective::SampleDraws;
use super::optimizer::StepRows;
use super::pass::PassInputs;
use crate::aligned::{Block, LANES, as_floats, as_floats_mut, blocks_for};
use crate::error::Result;
use crate::kernels::{Kernels, LossInputs, Rows, tree_sum};
use crate::network::Shape;

/// Which outputs the samples of a mini-batch are scored on.
#[derive(Clone, Copy)]
pub(super) enum Outputs<'a> {
    /// All; pairs that do not count have weight 0.
    All,
    /// Those that are listed.
    Listed(&'a Pairs),
}

impl Outputs<'_> {
    /// Blocks of a row of δ, which every sample has.
    pub(super) fn delta_blocks(self, shape: &Shape) -> usize {
        match self {
            Outputs::All => shape.slot_blocks(),
            Outputs::Listed(pairs) => blocks_for(pairs.longest),
        }
    }

    /// Blocks of output weights that are read for a sample.
    pub(super) fn blocks_read(self, shape: &Shape) -> usize {
        match self {
            Outputs::All => shape.w2_blocks(),
            Outputs::Listed(pairs) => pairs.outputs.len().div_ceil(pairs.samples().max(1)) * shape.row_blocks(),
        }
    }
}

/// The pairs of a mini-batch that count.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs {
    /// The pairs of sample i are at `starts[i]..starts[i + 1]` in the next three, ascending by output.
    starts: Vec<usize>,
    outputs: Vec<u32>,
    targets: Vec<f32>,
    weights: Vec<f32>,
    /// The longest list of a sample.
    longest: usize,
    /// The pairs by output.
    pub(super) by_row: ByRow,
}

/// Buffers for one sample after another.
#[derive(Clone, Debug, Default)]
pub(super) struct PairScratch {
    sums: Vec<Block>,
    targets: Vec<Block>,
    weights: Vec<Block>,
    positive_weights: Vec<Block>,
    offsets: Vec<Block>,
}

impl Pairs {
    /// Nothing yet, for so many outputs.
    pub(super) fn new(outputs: usize) -> Self {
        Pairs { by_row: ByRow::new(outputs), ..Pairs::default() }
    }

    /// Takes in a mini-batch; of samples whose pairs are listed, `draws` lists more.
    ///
    /// # Errors
    /// [`TooLarge`](crate::error::Error::TooLarge) from 2^32 pairs on.
    pub(super) fn load(
        &mut self,
        samples: &[Sample<'_>],
        outputs: usize,
        draws: Option<&SampleDraws>,
        step: u64,
    ) -> Result<()> {
        let Pairs { starts, outputs: scored, targets, weights, longest, by_row } = self;
        starts.clear();
        starts.push(0);
        scored.clear();
        targets.clear();
        weights.clear();
        let mut drawn = Vec::new();
        for sample in samples {
            let mut sample = *sample;
            if let (PairWeights::Listed { negatives, weight }, Some(draws)) = (sample.weights, draws) {
                drawn.clear();
                drawn.extend_from_slice(negatives);
                draws.draw(&sample, step, &mut drawn);
                sample.weights = PairWeights::Listed { negatives: &drawn, weight };
            }
            sample.for_each_scored(outputs, |output, target, weight| {
                scored.push(output);
                targets.push(target);
                weights.push(weight);
            });
            starts.push(scored.len());
        }
        *longest = starts.windows(2).map(|bounds| bounds[1] - bounds[0]).max().unwrap_or(0);
        by_row.load("pairs of a mini-batch", scored, starts)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.outputs.len()
    }

    /// How many samples there are.
    fn samples(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The output of a pair, given the sample and the place in its list.
    pub(super) fn output(&self, sample: usize, place: usize) -> Option<u32> {
        self.outputs.get(self.starts[sample]..self.starts[sample + 1])?.get(place).copied()
    }

    /// Scores sample `i` with hidden vector `hidden`: writes its row of δ, and returns its loss.
    pub(super) fn score(
        &self,
        inputs: &PassInputs<'_>,
        i: usize,
        hidden: &[Block],
        scratch: &mut PairScratch,
        delta: &mut [Block],
    ) -> Result<f64> {
        let range = self.starts[i]..self.starts[i + 1];
        let (outputs, blocks) = (&self.outputs[range.clone()], blocks_for(range.len()));
        let PairScratch { sums, targets, weights, positive_weights, offsets } = scratch;
        sums.clear();
        sums.resize(outputs.len(), Block::ZERO);
        inputs.kernels.dot_rows(Rows::new(inputs.weights.w2, hidden.len()), outputs, hidden, sums)?;
        for buffer in [&mut *targets, &mut *weights, &mut *positive_weights, &mut *offsets] {
            buffer.clear();
            buffer.resize(blocks, Block::ZERO);
        }
        as_floats_mut(targets)[..outputs.len()].copy_from_slice(&self.targets[range.clone()]);
        as_floats_mut(weights)[..outputs.len()].copy_from_slice(&self.weights[range]);
        let [bias, of_positives, of_outputs] = [inputs.weights.b2, inputs.positive_weights, inputs.offsets].map(as_floats);
        // Behind the pairs are lanes whose weight is 0: what they hold becomes 0 with the gradient.
        let (delta, rest) = delta.split_at_mut(blocks);
        rest.fill(Block::ZERO);
        let (z, w, o) = (as_floats_mut(delta), as_floats_mut(positive_weights), as_floats_mut(offsets));
        for (n, (&output, sum)) in outputs.iter().zip(&*sums).enumerate() {
            let output = output as usize;
            (z[n], w[n], o[n]) = (tree_sum(sum) + bias[output], of_positives[output], of_outputs[output]);
        }
        let inputs_of_loss = LossInputs {
            targets: &scratch.targets,
            weights: &scratch.weights,
            positive_weights: &scratch.positive_weights,
            offsets: &scratch.offsets,
        };
        inputs.kernels.log_loss(&inputs.loss, inputs_of_loss, delta)
    }

    /// Writes dh of sample `i` to `d_hidden`, given its row of δ.
    pub(super) fn backward_hidden(
        &self,
        inputs: &PassInputs<'_>,
        i: usize,
        delta: &[Block],
        d_hidden: &mut [Block],
    ) -> Result<()> {
        let outputs = &self.outputs[self.starts[i]..self.starts[i + 1]];
        let rows = Rows::new(inputs.weights.w2, d_hidden.len());
        inputs.kernels.weighted_sum_rows(rows, None, outputs, &as_floats(delta)[..outputs.len()], d_hidden)
    }

    /// The gradients of the outputs that are scored, given δ, a row a sample.
    pub(super) fn gradients<'a>(&'a self, delta: &'a [Block]) -> OutputGradients<'a> {
        OutputGradients { pairs: self, delta: as_floats(delta), stride: blocks_for(self.longest) * LANES }
    }
}

/// Gradients of rows of output weights, and of output biases.
#[derive(Clone, Copy)]
pub(super) struct OutputGradients<'a> {
    pairs: &'a Pairs,
    delta: &'a [f32],
    /// Floats from one sample's δ to the next.
    stride: usize,
}

impl OutputGradients<'_> {
    /// The pairs of the output at `place` among those that are scored: sample and δ, where δ is not 0.
    fn of_row(&self, place: usize) -> impl Iterator<Item = (u32, f32)> {
        let output = self.pairs.by_row.rows[place];
        self.pairs.by_row.samples_of_one(place).iter().filter_map(move |&sample| {
            let i = sample as usize;
            let listed = &self.pairs.outputs[self.pairs.starts[i]..self.pairs.starts[i + 1]];
            let delta = self.delta[i * self.stride + listed.partition_point(|listed| *listed < output)];
            (delta != 0.0).then_some((sample, delta))
        })
    }

    /// Writes `init + Σ_i δ_iv·h_i` to `out`, v the output at `place` among those that are scored; `hidden` has a row a sample.
    pub(super) fn add_row(
        &self,
        kernels: Kernels,
        place: usize,
        hidden: &[Block],
        init: Option<&[Block]>,
        out: &mut [Block],
    ) -> Result<()> {
        let (samples, factors): (Vec<u32>, Vec<f32>) = self.of_row(place).unzip();
        kernels.weighted_sum_rows(Rows::new(hidden, out.len()), init, &samples, &factors, out)
    }

    /// Steps on the biases of the outputs that are scored.
    pub(super) fn step_biases(&self, biases: &mut StepRows<'_>) -> Result<()> {
        let (mut blocks, mut gradients) = (Vec::new(), Vec::new());
        for (place, &output) in self.pairs.by_row.rows.iter().enumerate() {
            let block = output / LANES as u32;
            if blocks.last() != Some(&block) {
                blocks.push(block);
                gradients.push(Block::ZERO);
            }
            if let Some(gradient) = gradients.last_mut() {
                gradient.0[output as usize % LANES] = self.of_row(place).map(|(_, delta)| delta).sum();
            }
        }
        biases.step_blocks(&blocks, &gradients)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Anchor, AnchorKind, Autoencoder, Objective, PairWeights, Parameters, Sample, Statistics, Targets, TrainConfig, Trainer,
    };
    use crate::aligned::{Block, as_floats, as_floats_mut};
    use crate::buffer::Buffer;
    use crate::kernels::LossKind;
    use crate::tags::Tags;
    use crate::vocab::Vocabulary;

    fn names(prefix: &str, count: usize) -> Vec<String> {
        (0..count).map(|n| format!("{prefix}{n}")).collect()
    }

    /// With squared-gradient sums of 0 a first step leaves the squared gradient there, and moves a weight against its sign.
    #[test]
    fn gradients_by_lists_of_pairs_are_finite_differences() {
        let autoencoder = |tied| Objective::Autoencoder(Autoencoder { tied, ..Autoencoder::default() });
        let anchor = |kind| Objective::Anchor(Anchor { kind, ..Anchor::default() });
        for (n, objective) in [
            autoencoder(true),
            autoencoder(false),
            anchor(AnchorKind::Sum),
            anchor(AnchorKind::Mean),
            anchor(AnchorKind::Hidden),
        ]
        .into_iter()
        .enumerate()
        {
            for (hidden, samples) in [(1, 1), (5, 4), (16, 1), (17, 4), (33, 3)] {
                let (keywords, tags) = (9, 7);
                let is_autoencoder = matches!(objective, Objective::Autoencoder(_));
                let (outputs, tags) = if is_autoencoder { (keywords, 0) } else { (tags, tags) };
                let config = TrainConfig {
                    objective,
                    hidden,
                    // Without a kink at 0, where the empty bag stands.
                    activation: "elu:1".parse().unwrap(),
                    loss: LossKind::Logit,
                    lr: 1e-3,
                    initial_square: 0.0,
                    initial_scale: 1.0,
                    dropout_in: 0.2,
                    dropout_hidden: 0.3,
                    seed: n as u64,
                    ..TrainConfig::default()
                };
                let lists: [(&[u32], &[u32], &[u32]); 4] = [
                    (&[0, 3, 8], &[1, 4], &[2, 2, 6]),
                    (&[], &[0], &[5]),
                    (&[3], &[2], &[0, 1]),
                    (&[1, 2, 5, 7], &[], &[0, 6]),
                ];
                let samples: Vec<Sample<'_>> = (5..)
                    .zip(&lists[..samples])
                    .map(|(index, (keywords, positives, negatives))| Sample {
                        index,
                        keywords,
                        targets: Targets::Tags(if is_autoencoder { keywords } else { positives }),
                        weights: PairWeights::Listed { negatives, weight: 1.5 },
                    })
                    .collect();
                let started = |lr: f64, parameters: Option<&Parameters>| {
                    let statistics = Statistics { samples: 9, mean_keywords: 2.0, positives: vec![3; outputs] };
                    let vocabulary = Vocabulary::from_keywords(names("k", keywords)).unwrap();
                    let tags = Tags::from_names(names("t", tags)).unwrap();
                    let mut trainer =
                        Trainer::new(TrainConfig { lr, ..config.clone() }, vocabulary, tags, &statistics).unwrap();
                    if let Some(parameters) = parameters {
                        trainer.set_weights(parameters.weights()).unwrap();
                    }
                    trainer
                };
                let start = started(0.0, None).snapshot();
                let mut trainer = started(config.lr, None);
                trainer.step(&samples).unwrap();
                let (squares, moved) = (trainer.squares(), trainer.snapshot());
                type Part = fn(&mut Parameters) -> &mut Buffer<Block>;
                let parts: [Part; 4] = [|p| &mut p.w1, |p| &mut p.b1, |p| &mut p.w2, |p| &mut p.b2];
                for (part, stride) in parts.into_iter().zip([1, 1, 2, 1]) {
                    let of = |parameters: &Parameters| as_floats(part(&mut parameters.clone())).to_vec();
                    let (squares, moved, at_start) = (of(&squares), of(&moved), of(&start));
                    for place in (0..at_start.len()).filter(|place| moved[*place] != at_start[*place]).step_by(stride) {
                        let at = |step: f32| {
                            let mut parameters = start.clone();
                            as_floats_mut(part(&mut parameters))[place] += step;
                            started(0.0, Some(&parameters)).step(&samples).unwrap().loss
                        };
                        let difference = (at(0.01) - at(-0.01)) / 0.02;
                        let gradient = f64::from(squares[place].sqrt()).copysign(f64::from(at_start[place] - moved[place]));
                        assert!(
                            (difference - gradient).abs() < 2e-3,
                            "{objective:?}, {hidden}: {difference} against {gradient}"
                        );
                    }
                }
            }
        }
    }
}
