//! `train`: tagged items become a model.

use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::ArgPredicate;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use tagomatic::kernels::LossKind;
use tagomatic::metrics::Metric;
use tagomatic::network::{Activation, Network};
use tagomatic::rules::Withhold;
use tagomatic::train::Reduction;
use tagomatic::train::recipe::{TrainingSet, Validation};
use tagomatic::train::{
    Anchor, AnchorKind, Autoencoder, Correction, DecayMode, DecayWhen, EpsilonPlace, Negatives, Objective, OptimizerKind,
    Penalty, PenaltyKind, Pretrain, Rowwise, TrainConfig, Trials,
};
use tagomatic::weights::WeightType;

use super::course::Course;
use super::eval::Skipped;
use super::failure::{Failure, Result};
use super::folds::Tuning;
use super::load::{Items, Reading};
use super::target::Target;
use super::training::Plan;
use super::{Session, load, names, output, search, tune};

/// The share of items to validate on, and the number of items that a keyword needs, unless told otherwise.
pub(super) const VALID_FRACTION: f64 = 0.1;
pub(super) const MIN_COUNT: u64 = 2;

#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub(super) struct Arguments {
    /// Tagged items; of several files all items
    #[arg(required = true)]
    data: Vec<PathBuf>,
    /// Where the model goes; it appears whole or not at all. For - it goes to standard output, and the report to standard error
    #[arg(long, value_name = "M.tagm")]
    out: PathBuf,
    /// Items to validate on, which decide when training stops and which epoch is kept
    #[arg(long, value_name = "FILE", conflicts_with = "valid_fraction")]
    valid: Option<PathBuf>,
    /// Rules that make tags out of the tags and keywords of the items, of those in --valid too
    #[arg(long = "tags", value_name = "RULES.toml")]
    rules: Option<PathBuf>,
    /// Of --objective per-tag: only the nets of these tags, apart by commas; `tags merge` makes one bank of several, with the same bytes
    /// as if all had been trained together
    #[arg(long, value_name = "TAG,...", value_delimiter = ',')]
    only: Vec<String>,
    /// The share of DATA to validate on instead; 0 for none, then the last epoch is kept
    #[arg(long, value_name = "X", default_value_t = VALID_FRACTION, value_parser = fraction)]
    valid_fraction: f64,
    /// Keep the model that was validated. Otherwise, when a share of DATA was for validation, the final model is trained on all of
    /// DATA, for as many epochs as were best
    #[arg(long)]
    no_refit: bool,
    /// Leave out keywords that fewer items have
    #[arg(long, value_name = "N", default_value_t = MIN_COUNT)]
    min_count: u64,
    /// Round the trained weights to this type; measures are those before
    #[arg(long, value_name = "f32|f16|bf16|i8", default_value_t = WeightType::F32)]
    weights: WeightType,
    #[command(flatten)]
    reading: Reading,
    /// What is learnt, --objective to --seed below, in TOML by the options' names, as in: lr = 0.1; what is typed wins
    #[arg(long, value_name = "C.toml")]
    config: Option<PathBuf>,
    /// Go on from this model: its weights, keywords and tags are kept, new ones are added. It must not be changed in place meanwhile
    #[arg(long, value_name = "M.tagm", conflicts_with = "rules")]
    init: Option<PathBuf>,
    /// Keep items in files in this folder, not in memory: for data that are larger. The files have no names and go with the program
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Try N configurations first, and train the best: the first has the defaults for the items, the others sensible values drawn of
    /// --hidden, --batch, --lr, --initial-scale, --initial-square, --dropout-in, --dropout-hidden and --l2. Options that are given, here
    /// or in --config, stay as they are
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    search: Option<u32>,
    /// Which options were given: values do not tell, as a default can be given too.
    #[arg(skip)]
    given: Vec<String>,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    tuning: Tuning,
    #[command(flatten)]
    course: Course,
}

impl Arguments {
    /// Notes which options were typed, or stand in the file of `--config`.
    pub(super) fn note_given(&mut self, matches: &ArgMatches) {
        let names = matches.ids().map(|id| id.as_str());
        let given = names.filter(|name| matches.value_source(name) == Some(ValueSource::CommandLine));
        self.given = given.map(str::to_owned).collect();
    }

    /// Whether the option of this field was given.
    fn is_given(&self, field: &str) -> bool {
        self.given.iter().any(|given| given == field)
    }

    /// Fails if an option was given that would do nothing beside the others.
    fn check_idle(&self, config: &TrainConfig) -> Result<()> {
        let TrainConfig { objective, pretrain, optimizer, negatives, .. } = config;
        let anchor = if let Objective::Anchor(anchor) = objective { Some(anchor.kind) } else { None };
        let has_units = anchor.is_none_or(|kind| kind == AnchorKind::Hidden);
        let is_corrected = anchor.is_none() && matches!(negatives, Negatives::Sampled(_));
        let rules: [(&[&str], bool, &str); 5] = [
            (&["anchor"], anchor.is_some(), "--objective anchor"),
            (&["decoder", "decoder_negatives"], pretrain.is_some(), "--pretrain"),
            (&["activation", "hidden_bias"], has_units, "--anchor hidden"),
            (&["correction"], is_corrected, "--negatives RATIO, and not --objective anchor,"),
            // Not --initial-square, which a search draws for any optimizer.
            (&["epsilon", "epsilon_place", "rowwise"], *optimizer == OptimizerKind::AdaGrad, "--optimizer adagrad"),
        ];
        for (fields, is_used, expected) in rules {
            if let Some(field) = fields.iter().find(|field| !is_used && self.is_given(field)) {
                let option = field.replace('_', "-");
                return Err(Failure::Usage(format!("--{option}: expected {expected} beside it")));
            }
        }
        Ok(())
    }
}

/// What a model lacks that could not be tuned.
const UNTUNED: &str = "a new calibration and thresholds";

/// The command's name.
pub(super) const NAME: &str = "train";

/// The file that `--config` names.
pub(super) fn config_file(given: &ArgMatches) -> Option<&PathBuf> {
    given.get_one("config")
}

/// A command of the options that `--config` may give, and of nothing else.
pub(super) fn options() -> clap::Command {
    Options::augment_args(clap::Command::new(NAME).no_binary_name(true).disable_help_flag(true))
}

/// [`TrainConfig::per_tag`] in words: what options are by default for a bank, but for those that hang on the items.
mod per_tag {
    pub(super) const EPOCHS: &str = "80";
    pub(super) const LR: &str = "0.1";
    pub(super) const METRIC: &str = "log_loss";
    pub(super) const INITIAL_SCALE: &str = "0.05";
    pub(super) const INITIAL_SQUARE: &str = "1";
}

/// The options that change what is learnt from given items.
#[derive(Args)]
struct Options {
    /// What is learnt: tagger, one net that all tags share; per-tag, a bank with a small net for each; anchor, vectors of keywords and
    /// tags whose products are the logits
    #[arg(long, value_name = "NAME", default_value = "tagger", value_parser = ["tagger", "per-tag", "anchor"])]
    objective: String,
    /// What the anchor of an item is: the sum or mean of its keywords' vectors, or hidden units on their sum
    #[arg(long, value_name = "NAME", default_value_t = Anchor::default().kind)]
    anchor: AnchorKind,
    /// Train an autoencoder of the keywords first, for so many epochs; the tagger begins with its first layer
    #[arg(long, value_name = "EPOCHS", default_value_t = 0)]
    pretrain: u32,
    /// The autoencoder's output weights: tied to those of its first layer, or untied
    #[arg(long, value_name = "tied|untied", default_value = "untied", value_parser = ["tied", "untied"])]
    decoder: String,
    /// Keywords that an item lacks and the autoencoder is told so of: all, or so many, drawn anew in each step
    #[arg(long, value_name = "all|N", default_value = "20", value_parser = decoder_negatives)]
    decoder_negatives: DecoderNegatives,
    /// Hidden units; with --init those of the model [default: 256; 32 a tag of a bank]
    #[arg(long, value_name = "N")]
    hidden: Option<usize>,
    /// Networks to train from seeds SEED, SEED + 1 and so on, and to average on the logits: one network of N times the hidden units
    /// [default: 1; 2 for items with 25 keywords or more in the mean, unless --hidden or --init is given]
    #[arg(long, value_name = "N")]
    average: Option<u32>,
    /// Nonlinearity of the hidden units: relu, leaky_relu[:slope], elu[:alpha], sigmoid, trec[:theta], tlin[:theta], identity;
    /// with --init that of the model
    #[arg(long, value_name = "NAME[:PARAM]", default_value = "relu", default_value_if("init", ArgPredicate::IsPresent, None))]
    activation: Option<Activation>,
    /// Whether hidden units have biases
    #[arg(long, value_name = "true|false", default_value_t = true, action = clap::ArgAction::Set)]
    hidden_bias: bool,
    /// Epochs at most
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().epochs, default_value_if("objective", "per-tag", per_tag::EPOCHS))]
    epochs: u32,
    /// Items in a mini-batch
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().batch)]
    batch: usize,
    /// Optimizer: adagrad or sgd
    #[arg(long, value_name = "NAME", default_value_t = TrainConfig::default().optimizer)]
    optimizer: OptimizerKind,
    /// Learning rate
    #[arg(long, value_name = "X", default_value_t = TrainConfig::default().lr, default_value_if("objective", "per-tag", per_tag::LR))]
    lr: f64,
    /// Fall of the learning rate: in step n it is LR / (1 + (n - 1) X)
    #[arg(long, value_name = "X", default_value_t = TrainConfig::default().lr_decay)]
    lr_decay: f64,
    /// AdaGrad's epsilon
    #[arg(long, value_name = "X", default_value_t = TrainConfig::default().epsilon)]
    epsilon: f64,
    /// Where it is added to AdaGrad's sum of squares: outside of the root, or inside
    #[arg(long, value_name = "NAME", default_value_t = TrainConfig::default().epsilon_place)]
    epsilon_place: EpsilonPlace,
    /// Parameters with one of AdaGrad's sums for each row, not each weight: none, or some of w1,b1,w2,b2
    #[arg(long, value_name = "w1,...|none", default_value_t = TrainConfig::default().rowwise)]
    rowwise: Rowwise,
    /// L1 decay of weights
    #[arg(long, value_name = "X", default_value_t = TrainConfig::default().l1)]
    l1: f64,
    /// L2 decay of weights [default: 0; 0.003 of a bank for items with 25 keywords or more in the mean]
    #[arg(long, value_name = "X")]
    l2: Option<f64>,
    /// How weights decay: decoupled, prox or coupled
    #[arg(long, value_name = "NAME", default_value_t = TrainConfig::default().decay)]
    decay: DecayMode,
    /// When the weights of a keyword decay: every_step, or touched for the steps whose items have it
    #[arg(long, value_name = "NAME", default_value_t = TrainConfig::default().decay_when)]
    decay_when: DecayWhen,
    /// Loss: clamp_ste, logit or clamp_torch
    #[arg(long, value_name = "NAME", default_value_t = TrainConfig::default().loss)]
    loss: LossKind,
    /// Clamp of probabilities, to [X, 1 - X]
    #[arg(long, value_name = "X", default_value_t = TrainConfig::default().eps)]
    eps: f64,
    /// How the losses of a mini-batch become one: mean, mean_active, sum_tags or sum
    #[arg(long, value_name = "NAME", default_value_t = TrainConfig::default().reduction)]
    reduction: Reduction,
    /// Rate at which keywords are dropped [default: 0.1; 0.2 for items with 25 keywords or more in the mean; of a bank 0.2, and 0.3]
    #[arg(long, value_name = "X")]
    dropout_in: Option<f64>,
    /// Rate at which hidden units are dropped [default: 0.3; 0.5 for such items; of a bank 0.5, and 0.6]
    #[arg(long, value_name = "X")]
    dropout_hidden: Option<f64>,
    /// Penalty on hidden activity: l1, student_t, mean_square[:p], or with sigmoid units kl_mean:p, ce_mean:p, kl_elem:p
    #[arg(long, value_name = "KIND[:P]")]
    penalty: Option<PenaltyKind>,
    /// Weight of the penalty
    #[arg(long, value_name = "X")]
    penalty_weight: Option<f64>,
    /// Items that each tag is told apart from: all, or so many for each item with the tag, drawn anew in each epoch. Of the anchor
    /// model: tags that each item lacks, all, or so many for each that it has, drawn anew in each step [default: all; of a bank 20, and 50
    /// for items with 25 keywords or more in the mean]
    #[arg(long, value_name = "all|RATIO", value_parser = negatives)]
    negatives: Option<Negatives>,
    /// How scores are corrected for sampled negatives: offset, shift or importance
    #[arg(long, value_name = "NAME", default_value_t = TrainConfig::default().correction)]
    correction: Correction,
    /// The validation score: macro_ap, macro_auc, micro_f1, macro_f1, p_at_1, p_at_3, p_at_5, ndcg_at_5, log_loss, brier or ece
    #[arg(long, value_name = "NAME", default_value_t = TrainConfig::default().metric, default_value_if("objective", "per-tag", per_tag::METRIC))]
    metric: Metric,
    /// Epochs without a better validation score before training stops; 0 to run all
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().patience)]
    patience: u32,
    /// Factor on the initial weights of the first layer
    #[arg(long, value_name = "X", default_value_t = TrainConfig::default().initial_scale, default_value_if("objective", "per-tag", per_tag::INITIAL_SCALE))]
    initial_scale: f64,
    /// Where AdaGrad's sums of squares start
    #[arg(long, value_name = "X", default_value_t = TrainConfig::default().initial_square, default_value_if("objective", "per-tag", per_tag::INITIAL_SQUARE))]
    initial_square: f64,
    /// Seed of all that is random
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().seed)]
    seed: u64,
}

fn fraction(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|x| (0.0..1.0).contains(x)).ok_or_else(|| "expected a number in [0, 1)".to_owned())
}

fn negatives(text: &str) -> Result<Negatives, String> {
    match text {
        "all" => Ok(Negatives::All),
        _ => text.parse().map(Negatives::Sampled).map_err(|_| "expected \"all\" or a finite ratio above 0".to_owned()),
    }
}

/// What `--decoder-negatives` says.
#[derive(Clone, Copy)]
struct DecoderNegatives(Option<usize>);

fn decoder_negatives(text: &str) -> Result<DecoderNegatives, String> {
    match text {
        "all" => Ok(DecoderNegatives(None)),
        _ => match text.parse() {
            Ok(n) if n > 0 => Ok(DecoderNegatives(Some(n))),
            _ => Err("expected \"all\" or a number, at least 1".to_owned()),
        },
    }
}

impl Options {
    /// What was asked for, and what was not as in `init`, the network that training begins from, and as it suits items with
    /// `mean_keywords`; 0 before they are known.
    fn config(&self, init: Option<&Network>, mean_keywords: f64) -> TrainConfig {
        let default = match self.objective.as_str() {
            "tagger" => TrainConfig::for_items(mean_keywords),
            "per-tag" => TrainConfig::per_tag_for_items(mean_keywords),
            _ => TrainConfig::default(),
        };
        let (hidden, activation) = init.map_or((default.hidden, default.activation), |n| (n.shape.hidden(), n.activation));
        let DecoderNegatives(negatives) = self.decoder_negatives;
        let autoencoder = Autoencoder { tied: self.decoder == "tied", negatives, ..Autoencoder::default() };
        let anchor = Anchor { kind: self.anchor, ..Anchor::default() };
        TrainConfig {
            objective: if self.objective == "anchor" { Objective::Anchor(anchor) } else { Objective::Tagger },
            pretrain: (self.pretrain > 0).then_some(Pretrain { epochs: self.pretrain, autoencoder }),
            hidden: self.hidden.unwrap_or(hidden),
            // Who says how many units there are gets as many.
            average: self.average.unwrap_or(if self.hidden.is_some() || init.is_some() { 1 } else { default.average }),
            activation: self.activation.unwrap_or(activation),
            hidden_bias: self.hidden_bias,
            epochs: self.epochs,
            batch: self.batch,
            optimizer: self.optimizer,
            lr: self.lr,
            lr_decay: self.lr_decay,
            epsilon: self.epsilon,
            epsilon_place: self.epsilon_place,
            rowwise: self.rowwise,
            l1: self.l1,
            l2: self.l2.unwrap_or(default.l2),
            decay: self.decay,
            decay_when: self.decay_when,
            loss: self.loss,
            eps: self.eps,
            reduction: self.reduction,
            dropout_in: self.dropout_in.unwrap_or(default.dropout_in),
            dropout_hidden: self.dropout_hidden.unwrap_or(default.dropout_hidden),
            penalty: self.penalty.zip(self.penalty_weight).map(|(kind, weight)| Penalty { kind, weight }),
            negatives: self.negatives.unwrap_or(default.negatives),
            correction: self.correction,
            metric: self.metric,
            patience: self.patience,
            initial_scale: self.initial_scale,
            initial_square: self.initial_square,
            seed: self.seed,
        }
    }
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<()> {
    let Arguments { data, out, valid, rules, reading, .. } = arguments;
    // What can be known to fail fails before the work.
    let Options { penalty, penalty_weight, .. } = arguments.options;
    if penalty.is_some() != penalty_weight.is_some() {
        return Err(Failure::Usage("--penalty, --penalty-weight: expected both, found one".to_owned()));
    }
    let init = arguments.init.as_ref().map(|model| session.model(model)).transpose()?;
    let network = init.as_ref().map(|model| model.network().clone());
    let config = arguments.options.config(network.as_ref(), 0.0);
    config.validate()?;
    arguments.check_idle(&config)?;
    arguments.course.check()?;
    let is_bank = arguments.options.objective == "per-tag";
    if !is_bank && !arguments.only.is_empty() {
        return Err(Failure::Usage("--only: expected --objective per-tag beside it".to_owned()));
    }
    if is_bank && arguments.course.is_kept() {
        let message = "--checkpoint, --resume, --curve: expected --objective tagger; of a bank, train some tags at a time (--only) and merge them";
        return Err(Failure::Usage(message.to_owned()));
    }
    let not_of_banks = [
        ("--init", arguments.init.is_some()),
        ("--cache", arguments.cache.is_some()),
        ("--search", arguments.search.is_some()),
    ];
    if let Some((option, _)) = not_of_banks.iter().find(|(_, is_given)| is_bank && *is_given) {
        return Err(Failure::Usage(format!("{option}: expected one net for all tags, found --objective per-tag")));
    }
    let wishes = arguments.tuning.wishes()?;
    if wishes.is_some() && (arguments.init.is_some() || !arguments.only.is_empty()) {
        let message = "--calibrate, --threshold: expected a training of all tags from their beginnings, found --init or --only; \
                       see `tune`";
        return Err(Failure::Usage(message.to_owned()));
    }
    let target = Target::new("--out", out);
    if let Some(curve) = arguments.course.curve() {
        let curve = Target::new("--curve", curve);
        if curve.is_stdout() {
            let message = "--curve: expected a file, found -: standard output takes the results";
            return Err(Failure::Usage(message.to_owned()));
        }
        let read = data.iter().chain(valid).chain(rules).chain(&arguments.init).chain(&arguments.config);
        curve.check_plain(read.chain([out]), |_| Ok(()))?;
    }
    target.check_model(data.iter().chain(valid).chain(rules).chain(&arguments.config))?;

    let rules = rules.as_deref().map(load::rules).transpose()?;
    let mut items = Items::new(data, *reading)?;
    if let Some(rules) = &rules {
        items = items.labelled(rules, if is_bank { Withhold::FromTag } else { Withhold::FromAll });
    }
    let (corpus, read) = load::corpus(items, arguments.cache.as_deref())?;
    let set = match (&rules, init) {
        (None, None) => TrainingSet::new(corpus, arguments.min_count),
        (Some(rules), _) => TrainingSet::with_rules(corpus, arguments.min_count, rules),
        (None, Some(model)) => TrainingSet::extending(Arc::new(model), corpus, arguments.min_count),
    };
    let set = set.map_err(|error| Failure::in_files(error, data))?;
    if wishes.is_some() {
        arguments.tuning.check(&set)?;
    }
    let mut config = arguments.options.config(network.as_ref(), set.dataset().mean_keywords());
    let keyword = |keyword: &str| set.vocabulary().get(keyword);
    let encode = |file| load::encode(std::slice::from_ref(file), *reading, rules.as_ref(), keyword, set.tags());
    let valid = valid.as_ref().map(encode).transpose()?;
    let validation = match &valid {
        Some(valid) => Validation::On(&valid.dataset),
        None => Validation::Split { fraction: arguments.valid_fraction, refit: !arguments.no_refit },
    };
    let found = match arguments.search {
        Some(count) => {
            // The names of the library's fields are those of the arguments.
            let kept: Vec<&str> = Trials::DRAWN.iter().copied().filter(|field| arguments.is_given(field)).collect();
            let trials = Trials { count, kept: &kept };
            Some(search::run(session, &set, &mut config, validation, trials)?)
        }
        None => None,
    };
    let bank = is_bank.then(|| wanted(&set, &arguments.only)).transpose()?;
    let plan = Plan { session, config, validation, bank };
    let mut training = plan.train(&set, &arguments.course, None)?;
    let (mut tuned, mut untuned) = (None, None);
    if let Some(wishes) = wishes.filter(|_| !training.is_partial()) {
        match arguments.tuning.tune(wishes, &plan, &set, &training) {
            Ok((found, counts)) => {
                tuned = Some(tune::Document::new(&found, training.model().tags(), Some(counts), None));
                training = training.with_model(session, found.model)?;
            }
            Err(Failure::Interrupted) => return Err(arguments.course.interrupted("in the folds")),
            // What has been trained is not to be lost.
            Err(failure) => untuned = Some(failure.prefixed(format_args!("{target} is written without {UNTUNED}"))),
        }
    }
    let training = training.with_weights(session, &set, arguments.weights)?;
    let tagged_by = rules.is_some().then_some("rules given");
    let valid_left = valid.as_ref().map(|valid| Skipped::of(valid, tagged_by));
    let mut document = training.document(&set, read, valid_left);
    document.search = found;
    document.tuned = tuned;

    let results = if session.json {
        output::json(&document)?
    } else {
        let found = document.search.as_ref().map(search::Search::text).unwrap_or_default();
        format!("{found}{}\nsaved {}: {}\n", document.text(), out.display(), document.file())
    };
    match target.write_model(training.model(), &results) {
        // That nobody reads the results is no error, but what is missing in the model is.
        done @ (Ok(()) | Err(Failure::ClosedPipe)) => {
            let without = if wishes.is_some() { format!(", without {UNTUNED}") } else { String::new() };
            training.check_whole(format_args!("{target}{without}"))?;
            untuned.map_or(done, Err)
        }
        failed => failed,
    }
}

/// The indices of the tags called `only`, or of all.
fn wanted(set: &TrainingSet, only: &[String]) -> Result<Vec<usize>> {
    if only.is_empty() { Ok((0..set.tags().len()).collect()) } else { names::tags("--only", only, set.tags(), "the data") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn defaults_are_those_of_the_library() {
        let program = Program::parse_from(["train", "data", "--out", "m.tagm"]);
        assert_eq!(program.arguments.options.config(None, 10.0), TrainConfig::default());
        assert_eq!(program.arguments.options.config(None, 50.0), TrainConfig::for_items(50.0));
        let program = Program::parse_from(["train", "data", "--out", "m.tagm", "--hidden", "8"]);
        assert_eq!(program.arguments.options.config(None, 50.0).average, 1);
        let program = Program::parse_from(["train", "data", "--out", "m.tagm", "--objective", "per-tag"]);
        for mean_keywords in [10.0, 50.0] {
            assert_eq!(program.arguments.options.config(None, mean_keywords), TrainConfig::per_tag_for_items(mean_keywords));
        }
    }
}
