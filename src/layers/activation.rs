//! Hidden units: `h = act(a)`, and the list of those that are not zero, which is all that the output layer looks at.

use crate::aligned::{Block, as_floats_mut};
use crate::error::Result;
use crate::kernels::{ActiveUnits, Kernels};
use crate::layers::Active;
use crate::network::Activation;

/// Writes `act(a)` to `h` and the units that are not zero to `units` and `values`; returns how many these are.
///
/// # Errors
/// If `h`, `units` or `values` do not have one place for each float of `a`.
pub fn forward(
    kernels: Kernels,
    activation: Activation,
    a: &[Block],
    h: &mut [Block],
    units: &mut [u32],
    values: &mut [f32],
) -> Result<usize> {
    match activation {
        Activation::Relu => kernels.relu(a, h, ActiveUnits { units, values }),
    }
}

/// Writes `da = dh ⊙ act'(a)` to `d_pre_activations`, given dh of the active units only: an inactive unit passes nothing on.
/// The derivative is that of the table in the crate's documentation; at the kink of relu it is 0.
pub fn backward(activation: Activation, active: Active<'_>, d_active: &[f32], d_pre_activations: &mut [Block]) {
    d_pre_activations.fill(Block::ZERO);
    let da = as_floats_mut(d_pre_activations);
    match activation {
        Activation::Relu => {
            for (&unit, &dh) in active.units.iter().zip(d_active) {
                da[unit as usize] = dh;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aligned::{LANES, as_floats};
    use crate::layers::tests::random_blocks;

    #[test]
    fn gradient_is_the_finite_difference_away_from_the_kink() {
        let a = random_blocks(5, 3);
        let d = random_blocks(6, 3);
        let kernels = Kernels::best();
        let run = |a: &[Block]| {
            let (mut h, mut units, mut values) = (a.to_vec(), vec![0; a.len() * LANES], vec![0.0; a.len() * LANES]);
            let count = forward(kernels, Activation::Relu, a, &mut h, &mut units, &mut values).unwrap();
            units.truncate(count);
            values.truncate(count);
            (h, units, values)
        };
        let (_, units, values) = run(&a);
        let d_active: Vec<f32> = units.iter().map(|&unit| as_floats(&d)[unit as usize]).collect();
        let mut da = d.clone();
        backward(Activation::Relu, Active { units: &units, values: &values }, &d_active, &mut da);
        for unit in 0..a.len() * LANES {
            let x = as_floats(&a)[unit];
            if x.abs() < 0.01 {
                continue;
            }
            let mut moved = a.clone();
            as_floats_mut(&mut moved)[unit] += 0.005;
            let difference = (as_floats(&run(&moved).0)[unit] - as_floats(&run(&a).0)[unit]) / 0.005;
            assert!((difference * as_floats(&d)[unit] - as_floats(&da)[unit]).abs() < 1e-3);
        }
        let (_, units, _) = run(&[Block::ZERO, Block([-0.0; LANES])]);
        assert!(units.is_empty(), "a unit at 0 is off");
    }
}
