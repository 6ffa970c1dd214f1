//! Lengths that do not fit in training, and numbers at the edge of a rule.

use super::super::sigmoid::EXP_UNDERFLOW;
use super::*;

fn levels() -> impl Iterator<Item = Kernels> {
    Level::available().map(|level| Kernels::at(level).unwrap())
}

#[test]
fn operands_of_other_lengths_are_errors_at_every_level() {
    let blocks = zeroed(3 * LANES);
    let fit = &blocks[..2];
    for kernels in levels() {
        for other in [&blocks[..1], &blocks[..3]] {
            let mut out = fit.to_vec();
            assert!(kernels.activate_backward(Activation::Relu, fit, other, &mut out).is_err());
            assert!(kernels.activate_backward(Activation::Relu, fit, fit, &mut other.to_vec()).is_err());
            let loss = LogLoss { kind: LossKind::Logit, eps: 0.0, bounds: [0.0; 2], scale: 1.0 };
            let inputs = LossInputs { logits: fit, targets: fit, weights: fit, positive_weights: fit, offsets: fit };
            assert!(kernels.log_loss(&loss, inputs, &mut out).is_ok());
            for inputs in [
                LossInputs { logits: other, ..inputs },
                LossInputs { targets: other, ..inputs },
                LossInputs { weights: other, ..inputs },
                LossInputs { positive_weights: other, ..inputs },
                LossInputs { offsets: other, ..inputs },
            ] {
                assert!(kernels.log_loss(&loss, inputs, &mut out).is_err(), "{}", kernels.level());
            }
            let step = steps().next().unwrap();
            let rows = SteppedRows { ids: &[0], first: 0, width: 2 };
            assert!(kernels.adagrad_rows(&step, rows, fit, &mut out, &mut fit.to_vec()).is_ok());
            assert!(kernels.adagrad_rows(&step, rows, fit, &mut out, &mut other.to_vec()).is_err());
            assert!(kernels.adagrad_rows(&step, rows, other, &mut out, &mut fit.to_vec()).is_err());
            let none = SteppedRows { ids: &[], first: 0, width: 0 };
            assert!(kernels.adagrad_rows(&step, none, &[], &mut [], &mut []).is_ok(), "no rows of nothing");
        }
    }
}

#[test]
fn the_smallest_power_is_not_flushed_and_the_next_is() {
    for kernels in levels() {
        let mut x = [EXP_UNDERFLOW, EXP_UNDERFLOW.next_down()];
        kernels.sigmoid(0.0, &mut x);
        assert!(x[0] >= f32::MIN_POSITIVE && x[1] == 0.0, "{x:?} at {}", kernels.level());
    }
}

/// The clamp of `ClampTorch` is an open interval.
#[test]
fn a_probability_at_the_clamp_has_no_gradient() {
    for kernels in levels() {
        let mut p = [-2.5];
        kernels.sigmoid(0.0, &mut p);
        let ones = [Block([1.0; LANES])];
        for (eps, moves) in [(p[0], false), (p[0].next_down(), true)] {
            let loss = LogLoss { kind: LossKind::ClampTorch, eps, bounds: [0.0, f32::INFINITY], scale: 1.0 };
            for (z, targets) in [(-2.5, ones), (2.5, [Block::ZERO])] {
                let logits = [Block([z; LANES])];
                let inputs = LossInputs {
                    logits: &logits,
                    targets: &targets,
                    weights: &ones,
                    positive_weights: &ones,
                    offsets: &[Block::ZERO],
                };
                let mut gradient = [Block::ZERO];
                kernels.log_loss(&loss, inputs, &mut gradient).unwrap();
                assert!(gradient[0].0.iter().all(|g| (*g != 0.0) == moves), "{z} at {}: {gradient:?}", kernels.level());
            }
        }
    }
}
