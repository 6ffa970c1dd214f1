//! Search: which configuration fits best, found by random trials of which few are run to the end.
//!
//! Trials are drawn from lists of sensible values (the first trial is the given configuration), but for the options that the caller
//! keeps. They are trained until each has stepped through a budget of samples, and measured on the validation items; the
//! better third goes on with three times the budget, and so on until one is left (successive halving: Jamieson & Talwalkar, AISTATS
//! 2016; Li et al., *Hyperband*, JMLR 18, 2018). The last ones reach about [`TrainConfig::epochs`] epochs. Budgets are steps times the
//! size of mini-batches, so that sizes can be compared. All trials are held in memory: their weights, and AdaGrad's sums.

use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::config::TrainConfig;
use super::fit::{Event, FitState};
use super::parameters::Statistics;
use super::recipe::{Sides, TrainingSet, Validation};
use super::trainer::Trainer;
use crate::error::{Error, Result};
use crate::evaluate::KeyMeasures;
use crate::kernels::Level;
use crate::rng::{Philox, bounded};

/// Trials that go on, of each so many.
const KEEP_ONE_OF: u64 = 3;

/// A configuration that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Its number, counted from 1; the first is the configuration that the search was given.
    pub number: u32,
    /// The configuration.
    pub config: TrainConfig,
    /// Steps taken.
    pub steps: u64,
    /// Epochs begun.
    pub epochs: u32,
    /// Measures on the validation items at the end of its budget; `None` if it failed.
    pub valid: Option<KeyMeasures>,
}

/// How many trials there are, and what they have in common.
#[derive(Clone, Copy, Debug)]
pub struct Trials<'a> {
    /// Trials, at least 1.
    pub count: u32,
    /// Those of [`Trials::DRAWN`] that are not drawn: every trial has the values that the search was given.
    pub kept: &'a [&'a str],
}

/// The values that are tried of each option.
macro_rules! choices {
    ($($field:ident: $values:expr;)*) => {
        impl Trials<'_> {
            /// The fields of [`TrainConfig`] that are drawn, by their names.
            pub const DRAWN: &'static [&'static str] = &[$(stringify!($field)),*];

            /// Draws what is not kept.
            fn draw(self, config: &mut TrainConfig, mut choose: impl FnMut(usize) -> usize) {
                $(
                    let values = $values;
                    // Drawn in any case, so that what is kept does not change what else is drawn.
                    let value = values[choose(values.len())];
                    if !self.kept.contains(&stringify!($field)) {
                        config.$field = value;
                    }
                )*
            }
        }

        impl Trial {
            /// The drawn options whose values are not those of `given`, the configuration that the search was given: name and value.
            #[must_use]
            pub fn options(&self, given: &TrainConfig) -> Vec<(&'static str, String)> {
                let mut options = Vec::new();
                $(
                    if self.config.$field != given.$field {
                        options.push((stringify!($field), self.config.$field.to_string()));
                    }
                )*
                options
            }
        }
    };
}

choices! {
    hidden: [32, 64, 128, 256, 512];
    batch: [16, 32, 64, 128, 256];
    lr: [0.01, 0.02, 0.05, 0.1, 0.2];
    initial_scale: [0.03, 0.1, 0.3, 1.0];
    initial_square: [0.01, 0.1, 1.0];
    dropout_in: [0.0, 0.1, 0.2, 0.3];
    dropout_hidden: [0.0, 0.1, 0.3, 0.5];
    l2: [0.0, 0.0, 1e-6, 1e-5, 1e-4];
}

/// A trial under way.
struct Running {
    trial: Trial,
    trainer: Trainer,
    fit: FitState,
}

/// Tries configurations on `set`, each with one network even where several are to be averaged, at a kernel level and
/// on the threads of `pool`; the result depends on neither. All of them are returned, the best one first: the survivor, then
/// those that were given up last. `observer` is told of each trial when its budget is spent, and can end the search: then those
/// that were still in it come first, by their last scores, and one whose turn never came has no steps.
///
/// # Errors
/// [`Error::Config`] without trials or without validation items, with an autoencoder to come first, or if what is to be kept is not
/// drawn; whatever else ends every training. A trial whose training fails by itself ([`Error::NonFinite`]) is only the worst.
pub fn search(
    set: &TrainingSet,
    config: &TrainConfig,
    validation: Validation<'_>,
    trials: Trials<'_>,
    level: Level,
    pool: Option<Arc<rayon::ThreadPool>>,
    observer: &mut (dyn FnMut(&Trial) -> ControlFlow<()> + Send),
) -> Result<Vec<Trial>> {
    let Trials { count, kept } = trials;
    if count == 0 {
        return Err(Error::Config { option: "search", expected: "at least 1 trial", found: "0".to_owned() });
    }
    if let Some(other) = kept.iter().find(|name| !Trials::DRAWN.contains(name)) {
        let expected = "options to keep that are drawn (Trials::DRAWN)";
        return Err(Error::Config { option: "search", expected, found: format!("{other:?}") });
    }
    if let Some(pretrain) = config.pretrain {
        let expected = "0 with a search, whose trials have no autoencoder before them";
        return Err(Error::Config { option: "pretrain", expected, found: pretrain.epochs.to_string() });
    }
    let Sides { train, valid: Some(valid), .. } = set.sides(validation, config)? else {
        return Err(Error::Config { option: "search", expected: "items to validate on", found: "none".to_owned() });
    };
    let statistics = Statistics::of(&train, set.tags().len());
    let mut running = Vec::new();
    for number in 1..=count {
        let given = config;
        let mut config = given.clone();
        if number > 1 {
            let rng = Philox::new(config.seed);
            let mut choice = 0;
            trials.draw(&mut config, |values| {
                choice += 1;
                bounded(rng.search_key(number, choice), values as u64) as usize
            });
            if set.begins_from().is_some() {
                config.hidden = given.hidden;
            }
        }
        let mut trainer = set.trainer(config.clone(), &statistics)?;
        trainer.set_level(level)?;
        pool.iter().for_each(|pool| trainer.set_pool(pool.clone()));
        let trial = Trial { number, config, steps: 0, epochs: 0, valid: None };
        running.push(Running { trial, trainer, fit: FitState::default() });
    }
    let mut rounds = 0;
    while KEEP_ONE_OF.pow(rounds) < u64::from(count) {
        rounds += 1;
    }
    let all = u64::from(config.epochs) * train.len() as u64;
    let (mut given_up, mut is_ended) = (Vec::new(), false);
    for round in 0..=rounds {
        let budget = all / KEEP_ONE_OF.pow(rounds - round);
        for Running { trial, trainer, fit } in &mut running {
            let batch = trial.config.batch as u64;
            let spent = |event: Event<'_>| match event {
                Event::Batch { step, .. } if step * batch >= budget => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            };
            trial.valid = match trainer.advance(fit, &train, Some(&valid), &mut { spent }) {
                Ok(_) => Some(KeyMeasures::of(&trainer.evaluate(&valid, None)?.evaluation)),
                Err(Error::NonFinite { .. }) => None,
                Err(error) => return Err(error),
            };
            (trial.steps, trial.epochs) = (trainer.steps(), trainer.epochs());
            is_ended = observer(trial).is_break();
            if is_ended {
                break;
            }
        }
        running.sort_by(|a, b| by_score(&a.trial, &b.trial));
        let kept = if is_ended || round == rounds { 0 } else { (running.len() as u64).div_ceil(KEEP_ONE_OF) as usize };
        given_up.splice(0..0, running.drain(kept..).map(|running| running.trial));
        if is_ended {
            break;
        }
    }
    Ok(given_up)
}

/// The better trial first, of equals the earlier one; those that failed last.
fn by_score(a: &Trial, b: &Trial) -> Ordering {
    let score = |trial: &Trial| trial.valid.map_or(f64::NEG_INFINITY, |valid| valid.score(trial.config.metric));
    score(b).total_cmp(&score(a)).then(a.number.cmp(&b.number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Corpus, Item};
    use crate::train::{Autoencoder, Pretrain};

    #[test]
    fn all_is_drawn_but_what_is_kept() {
        let last = |given: &TrainConfig, kept: &[&str]| {
            let mut config = given.clone();
            Trials { count: 2, kept }.draw(&mut config, |values| values - 1);
            config
        };
        // From whatever configuration: its values are no sign that somebody chose them.
        let (few, many) = (TrainConfig::default(), TrainConfig::for_items(50.0));
        assert_eq!(last(&many, &[]), TrainConfig { average: 2, ..last(&few, &[]) });
        for given in [few, many] {
            assert_eq!(last(&given, Trials::DRAWN), given);
            let kept = last(&given, &["hidden", "dropout_in"]);
            let TrainConfig { hidden, dropout_in, .. } = given;
            assert_eq!(kept, TrainConfig { hidden, dropout_in, ..last(&given, &[]) });
        }
    }

    #[test]
    fn few_trials_are_run_to_the_end_and_the_best_comes_first() {
        let mut corpus = Corpus::new();
        for i in 0..300_u32 {
            let keywords = format!("a{} b{} c{}", i % 7, i % 5, i % 3);
            corpus.push(&Item::of(&keywords, if i % 7 < 3 { "t" } else { "u" })).unwrap();
        }
        let set = TrainingSet::new(corpus, 1).unwrap();
        let config = TrainConfig { hidden: 4, epochs: 9, ..TrainConfig::default() };
        let validation = Validation::Split { fraction: 0.2, refit: true };
        let told = std::sync::atomic::AtomicUsize::new(0);
        let kept = ["hidden"];
        let of = |count| Trials { count, kept: &kept };
        let run = |count| {
            let mut observer = |_: &Trial| {
                told.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                ControlFlow::Continue(())
            };
            search(&set, &config, validation, of(count), Level::Scalar, None, &mut observer)
        };
        let trials = run(7).unwrap();
        assert_eq!(trials, run(7).unwrap(), "a seed decides it all");
        let mut numbers: Vec<u32> = trials.iter().map(|trial| trial.number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
        assert!(trials.iter().all(|trial| trial.config.hidden == 4), "what is to be kept is");
        let samples = |trial: &Trial| trial.steps * trial.config.batch as u64;
        assert!(samples(&trials[0]) > 2 * samples(&trials[6]), "{trials:?}");
        assert_eq!(trials.iter().find(|trial| trial.number == 1).unwrap().config, config);
        assert!(trials[1..].iter().any(|trial| trial.options(&config).iter().any(|(name, _)| *name == "lr")));
        assert!(matches!(run(0), Err(Error::Config { option: "search", .. })));
        // A name that is none must not be taken for one that is not drawn.
        let misspelt = Trials { count: 2, kept: &["hiden"] };
        let none = search(&set, &config, validation, misspelt, Level::Scalar, None, &mut |_| ControlFlow::Continue(()));
        assert!(matches!(none, Err(Error::Config { option: "search", found, .. }) if found.contains("hiden")));
        assert_eq!(told.into_inner(), 2 * (7 + 3 + 1), "trials told of");
        // An end in the second round: of 7 trials 3 were in it, and one of these was told of.
        let mut left = 8;
        let ended = search(&set, &config, validation, of(7), Level::Scalar, None, &mut |_| {
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let ended = ended.unwrap();
        assert_eq!((left, ended.len()), (0, 7));
        assert_eq!(ended[3..], trials[3..], "those that were given up before the end");
        let pretrain = Some(Pretrain { epochs: 1, autoencoder: Autoencoder::default() });
        let pretrained = TrainConfig { pretrain, ..config.clone() };
        let none =
            search(&set, &pretrained, validation, of(2), Level::Scalar, None, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert!(matches!(none, Error::Config { option: "pretrain", .. }), "{none}");
        let none = search(&set, &config, Validation::None, of(2), Level::Scalar, None, &mut |_| ControlFlow::Continue(()));
        assert!(matches!(none, Err(Error::Config { option: "search", .. })));
    }
}
