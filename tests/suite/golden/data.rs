//! Random numbers, id lists, negative sampling and metrics.

use serde_json::Value;
use tagomatic::csr::Csr;
use tagomatic::data::{Quota, WeightedDraws};
use tagomatic::ids;
use tagomatic::metrics::{Evaluation, Options, Predictions, Propensities, Sparsity, ThresholdCurve};
use tagomatic::rng::{Drawn, DropoutLayer, Parameter, Philox, bounded, dropout_threshold, without_replacement};

use super::{f64_of, list, u32_of, u64_of};

fn hex(value: &Value) -> u32 {
    u32::from_str_radix(value.as_str().unwrap(), 16).unwrap()
}

fn usize_of(value: &Value) -> usize {
    usize::try_from(u64_of(value)).unwrap()
}

pub(super) fn ids_of(value: &Value) -> Vec<u32> {
    list(value).iter().map(u32_of).collect()
}

fn philox(case: &Value) -> Philox {
    Philox::new(u64_of(&case["seed"]))
}

/// The parts of an `rng` file.
pub(super) fn random_numbers(file: &Value) {
    for (part, cases) in file.as_object().unwrap() {
        let Some(cases) = cases.as_array() else { continue };
        for case in cases {
            match part.as_str() {
                "kat" | "philox" => {
                    let counter = [0, 1, 2, 3].map(|i| hex(&case["ctr"][i]));
                    let seed = u64::from(hex(&case["key"][0])) | u64::from(hex(&case["key"][1])) << 32;
                    assert_eq!(Philox::new(seed).block(counter), [0, 1, 2, 3].map(|i| hex(&case["out"][i])), "{case}");
                }
                "keep" => {
                    let layer = if case["kind"] == "input" { DropoutLayer::Input } else { DropoutLayer::Hidden };
                    let threshold = dropout_threshold(f64_of(&case["q"]));
                    assert_eq!(threshold, u32_of(&case["threshold"]), "{case}");
                    let (sample, step) = (u32_of(&case["sample"]), u32_of(&case["step"]));
                    let items: Vec<u32> = (0..21).collect();
                    let mut masks = [0; 21];
                    philox(case).dropout(layer, sample, step, threshold, &items, &mut masks);
                    assert_eq!(masks.map(|mask| mask & 1).to_vec(), ids_of(&case["keep"]), "{case}");
                }
                "uniform" => {
                    let parameter = match u64_of(&case["param_id"]) {
                        0 => Parameter::W1,
                        1 => Parameter::W2,
                        2 => Parameter::Decoder,
                        3 => Parameter::TagVectors,
                        _ => panic!("{case}"),
                    };
                    let expected: Vec<u32> = list(&case["values_f32_bits"]).iter().map(hex).collect();
                    let mut values = vec![0.0; expected.len()];
                    philox(case).uniform(parameter, f64_of(&case["r"]) as f32, 0, &mut values);
                    assert_eq!(values.into_iter().map(f32::to_bits).collect::<Vec<_>>(), expected, "{case}");
                }
                "without_replacement" => {
                    let (rng, tag, epoch) = (philox(case), u32_of(&case["tag"]), u32_of(&case["epoch"]));
                    let pool = ids_of(&case["pool"]).into_iter();
                    let chosen = without_replacement(pool, usize_of(&case["m"]), |item| rng.negative_key(item, tag, epoch));
                    assert_eq!(chosen, ids_of(&case["expect"]), "{case}");
                }
                "permutation" => {
                    let permutation = philox(case).permutation(u32_of(&case["n"]), u32_of(&case["epoch"]));
                    assert_eq!(permutation, ids_of(&case["expect"]), "{case}");
                }
                "bounded" => {
                    let word = u64::from_str_radix(case["x"].as_str().unwrap(), 16).unwrap();
                    assert_eq!(bounded(word, u64_of(&case["n"])), u64_of(&case["expect"]), "{case}");
                }
                "split" => {
                    // The JSON reader may be an ULP of `f64` off.
                    let expected = f64_of(&case["value"]) as f32;
                    assert_eq!(philox(case).split(u32_of(&case["sample"])).to_bits(), expected.to_bits(), "{case}");
                }
                "draw" => draws(case),
                part => panic!("{part}: no test"),
            }
        }
    }
}

/// Weighted negatives: of tags unless the case says that they are keywords.
fn draws(case: &Value) {
    let stream = case.get("stream").map_or(5, u64_of);
    let drawn = if stream == 6 { Drawn::Keywords } else { Drawn::Tags };
    let (sample, step) = (u32_of(&case["sample"]), u32_of(&case["step"]));
    let counts: Vec<u64> = list(&case["counts"]).iter().map(u64_of).collect();
    let mut found = Vec::new();
    WeightedDraws::new(&counts, f64_of(&case["alpha"])).unwrap().draw(
        usize_of(&case["m"]),
        &ids_of(&case["exclude"]),
        |attempt| philox(case).draw_key(drawn, attempt, sample, step),
        &mut found,
    );
    assert_eq!(found, ids_of(&case["expect"]), "{case}");
}

/// An edge case of kind `ids`.
pub(super) fn id_list(case: &Value) {
    let keywords = usize_of(&case["K"]);
    let canonical = ids_of(&case["canonical"]);
    let mut strict = ids_of(&case["ids"]);
    match ids::strict(&mut strict, keywords) {
        Ok(_) => assert!(case["strict"] == "ok" && strict == canonical, "{case}"),
        Err(_) => assert_eq!(case["strict"], "error", "{case}"),
    }
    let mut lossy = ids_of(&case["ids"]);
    assert_eq!(ids::lossy(&mut lossy, keywords).out_of_range, usize_of(&case["ignored"]), "{case}");
    assert_eq!(lossy, canonical, "{case}");
}

/// The tags of a `sampling` file: positives, pool and the negatives of each epoch.
pub(super) fn negatives_of_tags(file: &Value) {
    for case in list(&file["tags"]) {
        let (own, excluded) = (ids_of(&case["tag_themes"]), ids_of(&case["exclude_themes"]));
        let (mut positives, mut pool) = (Vec::new(), Vec::new());
        for (sample, themes) in (0..).zip(list(&case["sample_themes"])) {
            let themes = ids_of(themes);
            if themes.iter().any(|theme| own.contains(theme)) {
                positives.push(sample);
            } else if !themes.iter().any(|theme| excluded.contains(theme)) {
                pool.push(sample);
            }
        }
        assert_eq!((&positives, &pool), (&ids_of(&case["positives"]), &ids_of(&case["pool"])), "{case}");
        let quota = Quota::new("tag", positives.len(), pool.len(), f64_of(&case["ratio"])).unwrap();
        assert_eq!(quota.negatives, usize_of(&case["m"]), "{case}");
        close("rate", Some(quota.rate), &case["neg_rate"], 1e-9);
        for (epoch, expected) in (0..).zip(list(&case["epochs"])) {
            let drawn = quota.draw(philox(case), u32_of(&case["tag"]), epoch, pool.iter().copied());
            assert_eq!(drawn, ids_of(expected), "{case}");
        }
    }
}

#[track_caller]
fn close(what: &str, value: Option<f64>, expected: &Value, tolerance: f64) {
    match value {
        None => assert!(expected.is_null(), "{what}: undefined, expected {expected}"),
        Some(value) => {
            let expected = f64_of(expected);
            let near = (value - expected).abs() <= tolerance * expected.abs().max(1.0);
            assert!(near || value == expected, "{what}: {value}, expected {expected}");
        }
    }
}

/// All measures of a case with scores of type `S`, converted by `of`; chosen thresholds must be equal.
fn check_metrics<S: Copy + Into<f64>>(case: &Value, of: impl Fn(f64) -> S, tolerance: f64) {
    let table = list(&case["p"]);
    let tags = list(&table[0]).len();
    let scores: Vec<S> = table.iter().flat_map(list).map(|p| of(f64_of(p))).collect();
    let mut truth = Csr::new();
    for row in list(&case["y"]) {
        truth.push((0..).zip(list(row)).filter(|(_, y)| **y == 1).map(|(tag, _)| tag)).unwrap();
    }
    let predictions = Predictions::new(&scores, tags, &truth).unwrap();
    let expect = &case["expect"];
    let near = |what: &str, value: Option<f64>, expected: &Value| close(what, value, expected, tolerance);

    // The table holds probabilities of 0 and 1, and no clamp is stated for it.
    near("log_loss", Some(predictions.log_loss(0.0).unwrap()), &expect["log_loss"]);
    near("brier", Some(predictions.brier()), &expect["brier"]);
    near("ece15", predictions.calibration_error(15), &expect["ece15"]);
    near("ece10", predictions.calibration_error(10), &expect["ece10"]);

    let counts: Vec<u64> = list(&case["tag_counts"]).iter().map(u64_of).collect();
    let propensities = Propensities::new(&counts, u64_of(&case["n_train"])).unwrap();
    for (&value, expected) in propensities.inverse().iter().zip(list(&expect["inv_propensity"])) {
        near("inv_propensity", Some(value), expected);
    }
    let at_k = predictions.ranking(usize_of(&case["k"]), Some(&propensities)).unwrap();
    let expected = &expect["at_k"];
    assert_eq!(at_k.samples, usize_of(&expected["n"]));
    near("precision", at_k.precision, &expected["precision"]);
    near("recall", at_k.recall, &expected["recall"]);
    near("ndcg", at_k.ndcg, &expected["ndcg"]);
    near("psp", at_k.psp, &expected["psp"]);

    let thresholds: Vec<S> = list(&case["tau"]).iter().map(|tau| of(f64_of(tau))).collect();
    let options = Options { eps: 0.0, propensities: Some(&propensities) };
    let evaluation = Evaluation::new(&predictions, &thresholds, options).unwrap();
    near("micro F1", Some(evaluation.micro_f1), &expect["f1"]["micro"]);
    near("macro F1", Some(evaluation.macro_f1), &expect["f1"]["macro"]);
    let defined = list(&expect["roc_auc"]).iter().filter(|auc| !auc.is_null()).count();
    assert_eq!(evaluation.macro_auc.defined, defined);

    predictions.for_each_tag(|tag, scores, positives| {
        let curve = ThresholdCurve::new(scores, positives);
        near("roc_auc", curve.auc(), &expect["roc_auc"][tag]);
        near("average_precision", curve.average_precision(), &expect["average_precision"][tag]);
        assert_eq!((evaluation.tags[tag].auc, evaluation.tags[tag].ap), (curve.auc(), curve.average_precision()));

        let threshold = |expected: &Value| expected.get(0).map(|tau| of(f64_of(tau)).into());
        let (by_f1, expected) = (curve.best_f1(), &expect["threshold_f1"][tag]);
        assert_eq!(by_f1.map(|point| point.threshold), threshold(expected));
        near("best F1", by_f1.map(|point| point.f1), &expected[1]);
        let (by_precision, expected) =
            (curve.best_recall(f64_of(&case["target_precision"])), &expect["threshold_precision"][tag]);
        assert_eq!(by_precision.map(|point| point.threshold), threshold(expected));
        near("recall", by_precision.map(|point| point.recall), &expected[1]);
        near("precision", by_precision.map(|point| point.precision), &expected[2]);
    });
}

/// The tables of a `metrics` file. They are decimal: rounding them to `f32` moves sums by 1e-7, and must move no rank and no
/// threshold.
pub(super) fn measures(file: &Value) {
    for case in list(&file["cases"]) {
        check_metrics(case, |p| p, 1e-9);
        check_metrics(case, |p| p as f32, 1e-6);
    }
    file.get("sparsity").map_or(&[][..], |cases| list(cases)).iter().for_each(sparsity);
}

fn sparsity(case: &Value) {
    let rows = list(&case["h"]);
    let mut sparsity = Sparsity::new(list(&rows[0]).len());
    for row in rows {
        sparsity.push_active(list(row).iter().enumerate().filter(|(_, h)| f64_of(h) as f32 != 0.0).map(|(unit, _)| unit));
    }
    let expect = &case["expect"];
    close("share of zeros", sparsity.share_of_zeros(), &expect["share_zeros"], 1e-9);
    assert_eq!((sparsity.dead(), sparsity.always_on()), (usize_of(&expect["dead"]), usize_of(&expect["always_on"])));
}
