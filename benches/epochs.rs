//! Our side of `peers/train.py`: trains on a file of items as told line by line on standard input, and answers in JSON.
//!
//! ```text
//! cargo bench --bench epochs -- FILE [--threads N] [--batch B] [--level L] [--lr γ] [--initial-square G] [--initial-scale X]
//! ```
//!
//! `time S` trains epochs for S seconds and answers with samples/s, everything counted: the order of an epoch, mini-batches, steps.
//! `train N` starts afresh, each time from another seed, trains N epochs and answers with the log-loss of the test items, the peak of resident memory, and how
//! much of it is beyond the weights, AdaGrad's sums and what the process held before there was a trainer: the data.
//! The file is one of `peers/train_data.py`.

#![allow(clippy::unwrap_used, reason = "a bench that cannot run shows where")]
#![allow(clippy::print_stdout, reason = "a program")]

use std::f64::consts::FRAC_1_SQRT_2;
use std::io::BufRead;
use std::ops::ControlFlow;
use std::time::Instant;

use tagomatic::aligned::Block;
use tagomatic::data::Dataset;
use tagomatic::train::Reduction;
use tagomatic::train::{Event, Statistics, TrainConfig, Trainer, pool};
use tagomatic::{Level, Tags, Vocabulary};

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Some(path) = arguments.first().filter(|path| !path.starts_with("--")) else {
        return println!("epochs: no file of items, so nothing to do");
    };
    let option = |name: &str| arguments.iter().position(|argument| argument == name).map(|at| arguments[at + 1].as_str());
    let number = |name, default| option(name).map_or(default, |text| text.parse().unwrap());
    let real = |name, default| option(name).map_or(default, |text| text.parse::<f64>().unwrap());
    let bytes = std::fs::read(path).unwrap();
    let mut words = bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    let [keywords, hidden, tags, train, test] = std::array::from_fn(|_| words.next().unwrap() as usize);
    let (train, test) = (items(&mut words, train), items(&mut words, test));
    drop(bytes);
    let mut config = TrainConfig {
        hidden,
        batch: number("--batch", 256),
        lr: real("--lr", 0.05),
        initial_square: real("--initial-square", 0.0),
        // As the peers' rows: uniform within half of √(3 / active keywords), where He's radius has a 6.
        initial_scale: real("--initial-scale", 0.5 * FRAC_1_SQRT_2),
        dropout_in: 0.0,
        dropout_hidden: 0.0,
        reduction: Reduction::SumTags,
        eps: 1e-6,
        ..TrainConfig::default()
    };
    let new = |config: &TrainConfig| {
        let vocabulary = Vocabulary::from_keywords((0..keywords).map(|id| format!("w{id}"))).unwrap();
        let names = Tags::from_names((0..tags).map(|tag| format!("t{tag}"))).unwrap();
        let mut trainer = Trainer::new(config.clone(), vocabulary, names, &Statistics::of(&train, tags)).unwrap();
        trainer.set_level(option("--level").map_or(Level::best(), |level| level.parse().unwrap())).unwrap();
        if let Some(pool) = pool(number("--threads", 1)).unwrap() {
            trainer.set_pool(pool);
        }
        trainer
    };
    let data = memory("VmRSS:");
    let mut trainer = new(&config);
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        match line.split_once(' ').unwrap() {
            ("time", seconds) => {
                let (seconds, start, mut samples) = (seconds.parse::<f64>().unwrap(), Instant::now(), 0);
                while start.elapsed().as_secs_f64() < seconds {
                    let mut of_epoch = 0;
                    let mut watch = |event: Event<'_>| {
                        if let Event::Batch { done, .. } = event {
                            of_epoch = done;
                        }
                        let time_left = start.elapsed().as_secs_f64() < seconds;
                        if time_left { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                    };
                    trainer.epoch(&train, &mut watch).unwrap();
                    samples += of_epoch;
                }
                println!("{{\"samples_per_second\": {:.0}}}", f64::from(samples as u32) / start.elapsed().as_secs_f64());
            }
            ("train", epochs) => {
                // One at a time: the peak is to be that of one.
                drop(trainer);
                trainer = new(&config);
                config.seed += 1;
                for _ in 0..epochs.parse().unwrap() {
                    trainer.epoch(&train, &mut |_| ControlFlow::Continue(())).unwrap();
                }
                let evaluated = trainer.evaluate(&test, None).unwrap();
                let shape = &trainer.network().shape;
                let blocks = shape.w1_blocks() + shape.w2_blocks() + shape.row_blocks() + shape.slot_blocks();
                let weights = 2 * blocks * size_of::<Block>();
                let peak = memory("VmHWM:");
                println!(
                    "{{\"log_loss\": {:.5}, \"macro_auc\": {:.5}, \"peak_mb\": {}, \"beyond_weights_mb\": {}}}",
                    evaluated.evaluation.summary.log_loss,
                    evaluated.evaluation.macro_auc.value.unwrap_or(f64::NAN),
                    peak >> 20,
                    peak.saturating_sub(data + weights) >> 20
                );
            }
            _ => panic!("`time SECONDS` or `train EPOCHS`, not {line:?}"),
        }
    }
}

/// Reads `count` items.
fn items(words: &mut impl Iterator<Item = u32>, count: usize) -> Dataset {
    let mut sets = || {
        let starts: Vec<usize> = words.by_ref().take(count + 1).map(|word| word as usize).collect();
        let ids: Vec<u32> = words.by_ref().take(starts[count]).collect();
        (starts, ids)
    };
    let ((starts, ids), (tag_starts, tag_ids)) = (sets(), sets());
    let mut dataset = Dataset::new();
    for item in 0..count {
        let [keywords, tags] =
            [(&ids, &starts), (&tag_ids, &tag_starts)].map(|(ids, starts)| &ids[starts[item]..starts[item + 1]]);
        dataset.push(keywords, tags, 1.0).unwrap();
    }
    dataset
}

/// What the system says of this process's memory, in bytes; 0 where it does not.
fn memory(what: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<usize>().ok()).unwrap_or(0) << 10
}
