//! Hidden units: `h = act(a)`, and the way back.
//!
//! Padding of the hidden vector stays zero, so that it takes no part in the output layer: most activations are 0 at 0, and where
//! one is not, padding is cleared here.

use crate::aligned::Block;
use crate::error::Result;
use crate::kernels::{Kernels, clear_padding};
use crate::network::Network;

/// Writes `act(a)` to `h`, for one hidden vector or some end to end.
///
/// # Errors
/// If `a` and `h` differ in length.
pub(crate) fn forward(kernels: Kernels, network: &Network, a: &[Block], h: &mut [Block]) -> Result<()> {
    kernels.activate(network.activation, a, h)?;
    clear_padding(network.activation, network.shape.hidden(), h);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aligned::{LANES, as_floats, as_floats_mut};
    use crate::layers::tests::random_blocks;
    use crate::network::{Activation, OutputLayout, Pooling, Shape};

    const ALL: [Activation; 7] = [
        Activation::Relu,
        Activation::LeakyRelu(0.2),
        Activation::Elu(0.7),
        Activation::Sigmoid,
        Activation::Trec(0.25),
        Activation::Tlin(0.25),
        Activation::Identity,
    ];

    #[test]
    fn gradient_is_the_finite_difference_away_from_kinks() {
        let kernels = Kernels::best();
        for activation in ALL {
            let shape = Shape::new(0, 17, &[1, 1], OutputLayout::TagMajor).unwrap();
            let network = Network { shape, pooling: Pooling::Sum, activation, eps: 0.0 };
            let (a, d) = (random_blocks(5, 4), random_blocks(6, 4));
            let run = |a: &[Block]| {
                let mut h = a.to_vec();
                forward(kernels, &network, a, &mut h).unwrap();
                h
            };
            let h = run(&a);
            let mut da = d.clone();
            kernels.activate_backward(activation, &a, &h, &mut da).unwrap();
            for unit in (0..17).chain(32..49) {
                let x = as_floats(&a)[unit];
                if x.abs() < 0.01 || (x.abs() - 0.25).abs() < 0.01 {
                    continue;
                }
                let mut moved = a.clone();
                as_floats_mut(&mut moved)[unit] += 0.005;
                let difference = (as_floats(&run(&moved))[unit] - as_floats(&h)[unit]) / 0.005;
                let error = (difference * as_floats(&d)[unit] - as_floats(&da)[unit]).abs();
                assert!(error < 2e-3, "{activation} at {x}: off by {error}");
            }
            for padding in (17..32).chain(49..64) {
                assert!(activation != Activation::Sigmoid || as_floats(&h)[padding] == 0.0);
            }
        }
    }

    #[test]
    fn a_unit_at_the_kink_is_off() {
        let shape = Shape::new(0, 16, &[1], OutputLayout::TagMajor).unwrap();
        for (activation, kink) in [(Activation::Relu, -0.0), (Activation::Trec(0.5), 0.5), (Activation::Tlin(0.5), -0.5)] {
            let network = Network { shape: shape.clone(), pooling: Pooling::Sum, activation, eps: 0.0 };
            let mut h = [Block::ZERO];
            forward(Kernels::best(), &network, &[Block([kink; LANES])], &mut h).unwrap();
            assert_eq!(h[0].0.map(f32::to_bits), [0; LANES]);
        }
    }
}
