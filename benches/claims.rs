//! What is claimed of such taggers, measured anew on the films in `models/`, one thread, in two minutes, and
//! a quarter of an hour for the autoencoder.
//!
//! ```text
//! cargo bench --all-features --bench claims                # all
//! cargo bench --all-features --bench claims -- adagrad     # one of clamp, sparsity, autoencoder, adagrad, specific, sampling
//! ```
//!
//! Tables are Markdown. Every number of a net is the mean over three seeds, on films that were not trained on. The epoch is chosen by the
//! macro-AP of a tenth of the training films, kept apart. With `--test` nets are tiny and trained for one epoch: numbers mean nothing.

#![allow(clippy::unwrap_used, reason = "a bench that cannot run shows where")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the tables are what it is for")]

use std::ops::ControlFlow;
use std::path::Path;

use tagomatic::data::{Corpus, Dataset, Encoder, Format, Item, Reader, input};
use tagomatic::evaluate::{Evaluated, evaluate};
use tagomatic::format::Extensions;
use tagomatic::kernels::LossKind;
use tagomatic::metrics::Predictions;
use tagomatic::network::{Activation, StoredWeights};
use tagomatic::rng::{Parameter, Philox};
use tagomatic::train::Reduction;
use tagomatic::train::{
    Autoencoder, Correction, Negatives, OptimizerKind, Penalty, PenaltyKind, Pretrain, Statistics, TrainConfig, Trainer,
};
use tagomatic::{Model, ModelParts, Provenance, Tagger, Tags, Vocabulary};

type Claim = fn(&Bench);

const CLAIMS: [(&str, Claim); 6] = [
    ("clamp", clamp),
    ("sparsity", sparsity),
    ("autoencoder", autoencoder_sparsity),
    ("adagrad", adagrad),
    ("specific", specific),
    ("sampling", sampling),
];

const SEEDS: [u64; 3] = [1, 2, 3];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let chosen = arguments.iter().find(|argument| !argument.starts_with('-'));
    let names = CLAIMS.map(|(name, _)| name);
    if let Some(chosen) = chosen.filter(|chosen| !names.contains(&chosen.as_str())) {
        eprintln!("expected one of {}, found {chosen}", names.join(", "));
        std::process::exit(2);
    }
    let bench = Bench { films: Films::new(|_| true), quick: arguments.iter().any(|argument| argument == "--test") };
    for (name, claim) in CLAIMS {
        if chosen.is_none_or(|chosen| chosen == name) {
            claim(&bench);
        }
    }
}

/// The films, in ids of one vocabulary.
struct Films {
    vocabulary: Vocabulary,
    tags: Tags,
    train: Dataset,
    valid: Dataset,
    test: Dataset,
}

impl Films {
    /// The films with those of their keywords that `keep` says.
    fn new(keep: impl Fn(&str) -> bool) -> Self {
        let kept = |mut item: Item| {
            item.keywords.retain(|keyword| keep(keyword));
            item
        };
        let mut corpus = Corpus::new();
        items("movies-train.jsonl.gz").for_each(|item| corpus.push(&kept(item)).unwrap());
        let prepared = corpus.finish(2).unwrap();
        let tags = Tags::from_names(prepared.tags).unwrap();
        let (train, valid) = prepared.dataset.split_trainable(Philox::new(0), 0.1, tags.len()).unwrap();
        let vocabulary = Vocabulary::from_keywords(prepared.keywords).unwrap();
        let tag = |name: &str| tags.get(name).map(|tag| tag as u32);
        let mut test = Encoder::new(|keyword: &str| vocabulary.get(keyword), tag);
        items("movies-test.jsonl.gz").for_each(|item| test.push(&kept(item)).unwrap());
        Films {
            train: prepared.dataset.subset(train).unwrap(),
            valid: prepared.dataset.subset(valid).unwrap(),
            test: test.finish().0,
            vocabulary,
            tags,
        }
    }

    fn trainer(&self, config: TrainConfig) -> Trainer {
        let statistics = Statistics::of(&self.train, self.tags.len());
        Trainer::new(config, self.vocabulary.clone(), self.tags.clone(), &statistics).unwrap()
    }

    /// A trainer that ends with the epoch that validation chose; `None` if a weight was not finite on the way.
    fn fitted(&self, config: TrainConfig) -> Option<Trainer> {
        let mut trainer = self.trainer(config);
        trainer.fit(&self.train, Some(&self.valid), &mut |_| ControlFlow::Continue(())).ok()?;
        Some(trainer)
    }

    /// Scores of all tags for all samples of `dataset`, by the weights as they are.
    fn scores(&self, trainer: &Trainer, weights: StoredWeights<'_>, dataset: &Dataset) -> (Tagger, Vec<f32>) {
        let tagger = Tagger::new(self.model(trainer, weights));
        let (mut scratch, tags) = (tagger.scratch(), self.tags.len());
        let mut scores = vec![0.0; dataset.len() * tags];
        for (i, scores) in scores.chunks_exact_mut(tags).enumerate() {
            tagger.score(dataset.keywords(i), &mut scratch, scores).unwrap();
        }
        (tagger, scores)
    }

    fn model(&self, trainer: &Trainer, weights: StoredWeights<'_>) -> Model {
        let parts = ModelParts {
            network: trainer.network(),
            weights,
            vocabulary: self.vocabulary.view(),
            tags: &self.tags,
            provenance: &Provenance::new(),
            extensions: &Extensions::default(),
        };
        parts.to_model().unwrap()
    }
}

fn items(file: &str) -> impl Iterator<Item = Item> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(file);
    Reader::new(input::open(&path).unwrap(), Format::JsonLines, file).map(Result::unwrap)
}

struct Bench {
    films: Films,
    quick: bool,
}

impl Bench {
    fn config(&self, seed: u64) -> TrainConfig {
        let (hidden, epochs) = if self.quick { (4, 1) } else { (64, 60) };
        TrainConfig { hidden, epochs, seed, ..TrainConfig::default() }
    }

    /// What `measure` finds, for each seed, in the training that `change` describes; `None` if one of them failed.
    fn runs<const N: usize>(
        &self,
        change: impl Fn(TrainConfig) -> TrainConfig,
        measure: impl Fn(&Trainer) -> [f64; N],
    ) -> Option<Vec<[f64; N]>> {
        SEEDS.iter().map(|seed| Some(measure(&self.films.fitted(change(self.config(*seed)))?))).collect()
    }

    fn test(&self, trainer: &Trainer) -> Evaluated {
        trainer.evaluate(&self.films.test, None).unwrap()
    }
}

fn title(text: &str) {
    println!("\n## {text}\n");
}

fn header(cells: &[&str]) {
    println!("| {} |\n|{}", cells.join(" | "), " --- |".repeat(cells.len()));
}

fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// The mean of each measure.
fn means<const N: usize>(runs: &[[f64; N]]) -> [f64; N] {
    std::array::from_fn(|n| runs.iter().map(|run| run[n]).sum::<f64>() / runs.len() as f64)
}

/// Macro-AP and precision of the first tag.
fn quality(evaluated: &Evaluated) -> [f64; 2] {
    let evaluation = &evaluated.evaluation;
    [evaluation.macro_ap.value.unwrap(), evaluation.summary.p_at_1.unwrap()]
}

fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + (-z).exp())
}

/// The gradient by the logit of -ln p, or of -ln (1 - p), of an unclamped p, link by link as automatic differentiation takes it.
fn literal(z: f32, tagged: bool) -> f32 {
    let p = sigmoid(z);
    let by_p = if tagged { -1.0 / p } else { 1.0 / (1.0 - p) };
    by_p * (p * (1.0 - p))
}

/// The same with p clamped, and the gradient let through.
fn clamped(z: f32, tagged: bool) -> f32 {
    sigmoid(z).clamp(1e-4, 1.0 - 1e-4) - f32::from(u8::from(tagged))
}

/// Trains a logistic regression of every tag with AdaGrad on mini-batches of 32 films, in plain loops. The first step after which
/// a weight is not finite, if there is one.
fn first_nan(films: &Films, radius: f32, lr: f32, steps: usize, gradient: fn(f32, bool) -> f32) -> Option<usize> {
    let tags = films.tags.len();
    let mut weights = vec![0.0; films.vocabulary.len() * tags];
    Philox::new(1).uniform(Parameter::W1, radius, 0, &mut weights);
    let mut squares = vec![0.0_f32; weights.len()];
    let samples: Vec<usize> = (0..films.train.len()).collect();
    for (step, batch) in (1..=steps).zip(samples.chunks(32)) {
        let mut gradients = std::collections::BTreeMap::<usize, f32>::new();
        for &i in batch {
            for tag in 0..tags {
                let places = || films.train.keywords(i).iter().map(|&keyword| keyword as usize * tags + tag);
                let z = places().map(|place| weights[place]).sum();
                let g = gradient(z, films.train.tags(i).contains(&(tag as u32)));
                places().for_each(|place| *gradients.entry(place).or_default() += g / batch.len() as f32);
            }
        }
        for (place, g) in gradients {
            squares[place] += g * g;
            weights[place] -= lr * g / (squares[place].sqrt() + 1e-10);
        }
        if weights.iter().any(|w| !w.is_finite()) {
            return Some(step);
        }
    }
    None
}

/// Without a clamp the loss becomes NaN; what the clamp as it is mostly written costs.
fn clamp(bench: &Bench) {
    let films = &bench.films;
    title("clamp: the loss without a clamp gives NaN, with it not");
    let first = |tagged: bool, sign: f32| (0..2000).map(|n| sign * n as f32 / 10.0).find(|z| literal(*z, tagged).is_nan());
    let (tagged, untagged) = (first(true, -1.0).unwrap(), first(false, 1.0).unwrap());
    println!(
        "The gradient of the unclamped loss in f32 is NaN from logit {tagged} down for pairs with the tag, from {untagged} up for those without.\n"
    );
    header(&["initial weights", "lr", "unclamped", "clamped"]);
    let steps = if bench.quick { 2 } else { films.train.len().div_ceil(32) };
    for (radius, lr) in [(0.1, 0.05), (0.1, 1.0), (1.0, 0.05), (3.0, 0.05)] {
        let cell = |gradient| match first_nan(films, radius, lr, steps, gradient) {
            Some(step) => format!("not finite after step {step}"),
            None => format!("finite after {steps} steps"),
        };
        let [unclamped, clamped] = [literal, clamped].map(cell);
        assert!(clamped.starts_with("finite") && (radius < 3.0 || unclamped.starts_with("not")));
        row(&[format!("±{radius}"), lr.to_string(), unclamped, clamped]);
    }
    println!("\nThe clamp with (`clamp_torch`) and without (`clamp_ste`) its zero gradient, the last of 20 epochs:\n");
    header(&["initial_scale", "lr", "loss", "macro-AP", "P@1", "training tags scored at the lower clamp"]);
    let torch_and_ste = [LossKind::ClampTorch, LossKind::ClampSte];
    for (initial_scale, lr, loss) in [(0.1, 0.05), (10.0, 0.05), (10.0, 0.5), (0.1, 1.0)]
        .into_iter()
        .flat_map(|(s, lr)| torch_and_ste.map(|loss| (s, lr, loss)))
    {
        let runs = SEEDS.map(|seed| {
            let epochs = if bench.quick { 1 } else { 20 };
            let mut trainer = films.trainer(TrainConfig { initial_scale, lr, loss, epochs, ..bench.config(seed) });
            trainer.fit(&films.train, None, &mut |_| ControlFlow::Continue(())).unwrap();
            let (_, scores) = films.scores(&trainer, trainer.snapshot().weights().into(), &films.train);
            let (mut wrong, mut pairs) = (0, 0);
            for (scores, tags) in scores.chunks_exact(films.tags.len()).zip(films.train.tag_sets().rows()) {
                pairs += tags.len();
                wrong += tags.iter().filter(|tag| scores[**tag as usize] <= trainer.network().eps).count();
            }
            let [ap, p] = quality(&bench.test(&trainer));
            [ap, p, wrong as f64 / pairs as f64]
        });
        let [ap, p, wrong] = means(&runs);
        row(&[
            initial_scale.to_string(),
            lr.to_string(),
            loss.to_string(),
            format!("{ap:.3}"),
            format!("{p:.3}"),
            percent(wrong),
        ]);
    }
}

/// The penalty on the mean makes one-sided units sparse, two-sided ones not.
fn sparsity(bench: &Bench) {
    title("sparsity: zero activations with a penalty on hidden units");
    header(&["units", "penalty", "weight", "zeros", "dead units", "macro-AP", "P@1"]);
    let relu = [0.0, 0.01, 0.03, 0.1, 0.3, 1.0].map(|weight| (Activation::Relu, PenaltyKind::MeanSquare(0.0), weight));
    let tlin = [0.0, 0.1, 1.0, 10.0].map(|weight| (Activation::Tlin(0.1), PenaltyKind::MeanSquare(0.0), weight));
    let l1 = [0.01, 0.1, 0.3].map(|weight| (Activation::Tlin(0.1), PenaltyKind::L1, weight));
    for (activation, kind, weight) in relu.into_iter().chain(tlin).chain(l1) {
        let penalty = (weight > 0.0).then_some(Penalty { kind, weight });
        let runs = bench.runs(
            |config| TrainConfig { activation, penalty, ..config },
            |trainer| {
                let evaluated = bench.test(trainer);
                let [ap, p] = quality(&evaluated);
                [evaluated.hidden.zeros.unwrap(), evaluated.hidden.dead_units as f64, ap, p]
            },
        );
        let [zeros, dead, ap, p] = means(&runs.unwrap());
        let kind = penalty.map_or("none".to_owned(), |penalty| penalty.kind.to_string());
        let numbers = [weight.to_string(), percent(zeros), format!("{dead:.1}"), format!("{ap:.3}"), format!("{p:.3}")];
        row(&[&[activation.to_string(), kind][..], &numbers].concat());
    }
}

/// The same of an autoencoder, as it was claimed: which of the keywords of an item can be told from 64 units.
fn autoencoder_sparsity(bench: &Bench) {
    let films = &bench.films;
    title("autoencoder: zero activations with a penalty on the mean of hidden units, and the keywords that are told right");
    header(&["units", "weight", "zeros", "dead units", "mean activity", "P@5 of an item's keywords"]);
    let relu = [0.0, 0.1, 0.3, 1.0, 3.0].map(|weight| (Activation::Relu, weight));
    let tlin = [0.0, 1.0, 10.0].map(|weight| (Activation::Tlin(0.1), weight));
    for (activation, weight) in relu.into_iter().chain(tlin) {
        let penalty = (weight > 0.0).then_some(Penalty { kind: PenaltyKind::MeanSquare(0.0), weight });
        let runs = SEEDS.map(|seed| {
            let epochs = if bench.quick { 1 } else { 20 };
            let (dropout_in, dropout_hidden, initial_scale) = (0.2, 0.5, 1.0);
            let batch = 128;
            let tagger =
                TrainConfig { activation, penalty, dropout_in, dropout_hidden, batch, initial_scale, ..bench.config(seed) };
            // All keywords are scored, and the loss is summed over them, as the penalty is over units.
            let autoencoder = Autoencoder { negatives: None, ..Autoencoder::default() };
            let config = TrainConfig { reduction: Reduction::SumTags, ..Pretrain { epochs, autoencoder }.config(&tagger) };
            let keywords = films.vocabulary.len();
            let statistics = Statistics::of_keywords(&films.train, keywords);
            let no_tags = Tags::from_names::<[&str; 0]>([]).unwrap();
            let mut trainer = Trainer::new(config, films.vocabulary.clone(), no_tags, &statistics).unwrap();
            trainer.fit(&films.train, None, &mut |_| ControlFlow::Continue(())).unwrap();
            let own: Vec<&[u32]> = (0..films.test.len()).map(|i| films.test.keywords(i)).collect();
            let mut reconstruction = Dataset::new();
            own.iter().for_each(|keywords| _ = reconstruction.push(keywords, keywords, 1.0).unwrap());
            let evaluated = trainer.evaluate(&reconstruction, None).unwrap();
            let hidden = evaluated.hidden;
            [
                hidden.zeros.unwrap(),
                hidden.dead_units as f64,
                hidden.mean.unwrap(),
                evaluated.evaluation.summary.p_at_5.unwrap(),
            ]
        });
        let [zeros, dead, mean, p] = means(&runs);
        row(&[
            activation.to_string(),
            weight.to_string(),
            percent(zeros),
            format!("{dead:.1}"),
            format!("{mean:.2}"),
            format!("{p:.3}"),
        ]);
    }
}

/// AdaGrad is better than plain gradient descent, each at its best learning rate.
fn adagrad(bench: &Bench) {
    title("adagrad: against plain gradient descent over a grid of learning rates");
    header(&["optimizer", "lr", "macro-AP of validation", "macro-AP", "of each seed", "macro-AUC", "P@1", "log-loss"]);
    for (optimizer, rates) in [
        (OptimizerKind::Sgd, [0.03, 0.1, 0.2, 0.5, 1.0, 3.0, 10.0]),
        (OptimizerKind::AdaGrad, [0.01, 0.03, 0.05, 0.1, 0.2, 0.3, 1.0]),
    ] {
        for lr in rates {
            let runs = bench.runs(
                |config| TrainConfig { optimizer, lr, ..config },
                |trainer| {
                    let valid = trainer.evaluate(&bench.films.valid, None).unwrap();
                    let test = bench.test(trainer);
                    let [ap, p] = quality(&test);
                    let evaluation = &test.evaluation;
                    [quality(&valid)[0], ap, evaluation.macro_auc.value.unwrap(), p, evaluation.summary.log_loss]
                },
            );
            let numbers = runs.map_or(vec!["not finite".to_owned(); 6], |runs| {
                let each: Vec<String> = runs.iter().map(|run| format!("{:.3}", run[1])).collect();
                let mut numbers = means(&runs).map(|x| format!("{x:.4}")).to_vec();
                numbers.insert(2, each.join(" "));
                numbers
            });
            row(&[&[optimizer.to_string(), lr.to_string()][..], &numbers].concat());
        }
    }
}

/// Specific tags are easy, general ones hard, with as many items.
fn specific(bench: &Bench) {
    title("specific: ROC-AUC of tags with 90 to 150 training films");
    // Themes were found by words, which are among the keywords: without those that begin as a tag's name does, it is less easy.
    let beginnings: Vec<String> =
        bench.films.tags.iter().flat_map(|tag| tag.name.split([' ', '/'])).map(|word| beginning(word).to_lowercase()).collect();
    let withheld = Bench {
        films: Films::new(|keyword| !beginnings.iter().any(|b| b.len() > 3 && keyword.starts_with(b.as_str()))),
        quick: bench.quick,
    };
    let aucs = |bench: &Bench| {
        let mut means = vec![0.0; bench.films.tags.len()];
        for seed in SEEDS {
            let trainer = bench.films.fitted(bench.config(seed)).unwrap();
            let tags = bench.test(&trainer).evaluation.tags;
            means.iter_mut().zip(tags).for_each(|(mean, tag)| *mean += tag.auc.unwrap() / SEEDS.len() as f64);
        }
        means
    };
    let (all, without) = (aucs(bench), aucs(&withheld));
    let counts = bench.films.train.tag_counts(bench.films.tags.len());
    let test_counts = bench.films.test.tag_counts(bench.films.tags.len());
    let mut tags: Vec<usize> = (0..counts.len()).filter(|tag| (90..=150).contains(&counts[*tag])).collect();
    tags.sort_by(|a, b| without[*b].total_cmp(&without[*a]));
    header(&["tag", "training films", "test films", "AUC", "AUC, words of tags' names withheld"]);
    for tag in tags {
        let auc = [&all, &without].map(|aucs| format!("{:.3}", aucs[tag]));
        let counts = [counts[tag], test_counts[tag]].map(|count| count.to_string());
        row(&[&[bench.films.tags[tag].name.clone()][..], &counts, &auc].concat());
    }
}

/// The first five letters of a word, or all.
fn beginning(word: &str) -> &str {
    word.char_indices().nth(5).map_or(word, |(end, _)| &word[..end])
}

/// With sampled negatives confidences are no probabilities; the correction makes them so.
fn sampling(bench: &Bench) {
    title("sampling: 3 sampled negatives for each film with the tag");
    let films = &bench.films;
    let (tags, truth) = (films.tags.len(), films.test.tag_sets());
    let measure = |scores: &[f32]| {
        let log_loss = Predictions::new(scores, tags, truth).unwrap().log_loss(1e-4).unwrap();
        [scores.iter().map(|p| f64::from(*p)).sum::<f64>() / scores.len() as f64, log_loss]
    };
    header(&["scores", "mean confidence", "log-loss", "macro-AP"]);
    let print = |what: &str, [mean, log_loss]: [f64; 2], ap: &str| {
        row(&[what.to_owned(), format!("{mean:.4}"), format!("{log_loss:.4}"), ap.to_owned()]);
    };
    let positives = truth.rows().map(<[u32]>::len).sum::<usize>() as f64;
    print("the truth", [positives / (films.test.len() * tags) as f64, 0.0], "");
    let priors: Vec<f32> = films.train.tag_counts(tags).iter().map(|count| *count as f32 / films.train.len() as f32).collect();
    print("each tag's share of the training films", measure(&priors.repeat(films.test.len())), "");
    let negatives = Negatives::Sampled(3.0);
    for (what, negatives, correction, served) in [
        ("no correction", negatives, Correction::Shift, false),
        ("`shift`: the same nets, ln ρ added", negatives, Correction::Shift, true),
        ("`offset`", negatives, Correction::Offset, true),
        ("`importance`", negatives, Correction::Importance, true),
        ("all negatives", Negatives::All, Correction::Offset, true),
    ] {
        let runs = bench.runs(
            |config| TrainConfig { negatives, correction, ..config },
            |trainer| {
                let served_model = trainer.model(Provenance::new()).unwrap();
                let snapshot = trainer.snapshot();
                let weights = if served { served_model.weights() } else { snapshot.weights().into() };
                let (tagger, scores) = films.scores(trainer, weights, &films.test);
                let [mean, log_loss] = measure(&scores);
                [mean, log_loss, quality(&evaluate(&tagger, &films.test, None, None).unwrap())[0]]
            },
        );
        let [mean, log_loss, ap] = means(&runs.unwrap());
        print(what, [mean, log_loss], &format!("{ap:.3}"));
    }
}
