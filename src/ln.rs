//! The natural logarithm and its inverse, the same bits on every platform: only `+ - * /` on `f64`, no libm.

/// Leading bits of ln 2, so that a product with any exponent is exact, and the rest.
const LN2_HIGH: f64 = f64::from_bits(0x3FE6_2E42_FEE0_0000);
const LN2_LOW: f64 = f64::from_bits(0x3DEA_39EF_3579_3C76);

/// `ln x` to within 1 ULP (2 is promised): `-inf` at zero, NaN below it.
///
/// With `x = 2^e (1 + f)`, `1 + f` in `(√½, √2]` and `s = f / (2 + f)`: `ln(1 + f) = 2 atanh s = 2s + s·R`,
/// `R = Σ 2 s^2n / (2n + 1)`. As `2s = f - s·f`, the sum is led by the exact `f` and only its small corrections are rounded.
pub(crate) fn ln(x: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;

    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if x == f64::INFINITY {
        return x;
    }
    // 2^54 lifts every subnormal into the normal range.
    let (x, scaled) = if x < f64::MIN_POSITIVE { (x * 18_014_398_509_481_984.0, 54) } else { (x, 0) };
    let bits = x.to_bits();
    let mut e = (bits >> 52) as i32 - 1023 - scaled;
    let mut m = f64::from_bits(bits & MANTISSA | 1.0f64.to_bits());
    if m > std::f64::consts::SQRT_2 {
        m *= 0.5;
        e += 1;
    }
    let e = f64::from(e);
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let s2 = s * s;
    // |s| < 0.1716, so the first term left out is below 2^-57 of the sum.
    let mut r = 0.0;
    for n in (1..=11).rev() {
        r = s2 * (2.0 / f64::from(2 * n + 1) + r);
    }
    let half = 0.5 * f * f;
    e * LN2_HIGH - ((half - (s * (half + r) + e * LN2_LOW)) - f)
}

/// `e^x` to within 1 ULP (2 is promised); 0 where it would not be a normal number, infinity where it would overflow.
///
/// With `x = n ln 2 + r`, `|r| <= ln 2 / 2`: `e^x = 2^n e^r`, and `e^r` by its series to degree 13, whose remainder is below 2^-55.
#[cfg(feature = "train")]
pub(crate) fn exp(x: f64) -> f64 {
    if x.is_nan() || x > 709.0 {
        return if x.is_nan() { x } else { f64::INFINITY };
    }
    if x < -708.0 {
        return 0.0;
    }
    // Adding and taking away 1.5·2^52 rounds to an integer.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let n = x * std::f64::consts::LOG2_E + ROUND - ROUND;
    let high = x - n * LN2_HIGH;
    let low = n * LN2_LOW;
    let r = high - low;
    // What rounding of the difference has lost.
    let lost = (high - r) - low;
    let mut poly = 0.0;
    for k in (2..=13).rev() {
        poly = (1.0 + poly) * r / f64::from(k);
    }
    // e^r = 1 + r + r·poly, small terms first; the lost part counts once, as its product with r is far below an ULP.
    let e = 1.0 + (r + (r * poly + lost));
    e * f64::from_bits(((n as i64 + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "train")]
    use super::exp;
    use super::ln;
    use crate::rng::Philox;

    #[test]
    fn special_values() {
        assert_eq!(ln(0.0), f64::NEG_INFINITY);
        assert_eq!(ln(-0.0), f64::NEG_INFINITY);
        assert_eq!(ln(1.0).to_bits(), 0.0f64.to_bits());
        assert_eq!(ln(f64::INFINITY), f64::INFINITY);
        assert!(ln(-1.0).is_nan() && ln(f64::NEG_INFINITY).is_nan() && ln(f64::NAN).is_nan());
    }

    fn ulps(x: f64) -> u64 {
        let (ours, theirs) = (ln(x), x.ln());
        assert_eq!(ours.is_sign_negative(), theirs.is_sign_negative(), "ln {x:e}");
        ours.to_bits().abs_diff(theirs.to_bits())
    }

    #[test]
    fn within_two_ulp_of_the_platform() {
        let mut edges = vec![f64::MIN_POSITIVE, f64::MAX, f64::from_bits(1), f64::from_bits((1 << 52) - 1), 0.5, 2.0, 10.0];
        for near in [1.0, std::f64::consts::SQRT_2, std::f64::consts::FRAC_1_SQRT_2] {
            edges.extend((1..=64u64).flat_map(|d| [near.to_bits() - d, near.to_bits() + d]).map(f64::from_bits));
        }
        assert_eq!(edges.iter().copied().map(ulps).filter(|&u| u > 2).count(), 0);

        // Uniform over bit patterns: every exponent, subnormals too; and uniform over (0, 2), where probabilities and odds live.
        let rng = Philox::new(1);
        let mut worst = 0;
        for i in 0..200_000 {
            let [a, b, c, d] = rng.block([i, 0, 0, 0]);
            let word = u64::from(a) << 32 | u64::from(b);
            worst = worst.max(ulps(f64::from_bits(word % f64::INFINITY.to_bits()).max(f64::from_bits(1))));
            worst = worst.max(ulps(f64::from(c) / 2_147_483_648.0 + f64::from(d | 1) / 9_223_372_036_854_775_808.0));
            worst = worst.max(ulps(f64::from_bits((word % (1 << 52)).max(1))));
        }
        assert!(worst <= 2, "{worst} ULP");
    }

    #[cfg(feature = "train")]
    #[test]
    fn exp_is_within_two_ulp_of_the_platform() {
        let rng = Philox::new(2);
        let mut worst = 0;
        let mut points =
            vec![0.0, -0.0, 1.0, -1.0, 1e-300, -1e-20, 708.9, -707.9, std::f64::consts::LN_2, 0.346_573, -0.346_574];
        points.extend((0..100_000).flat_map(|i| {
            let [a, b, ..] = rng.block([i, 0, 0, 0]);
            let unit = f64::from(a) / 4_294_967_296.0;
            [1416.0 * unit - 708.0, 2.0 * unit - 1.0, (unit - 0.5) / f64::from(b | 1)]
        }));
        for x in points {
            worst = worst.max(exp(x).to_bits().abs_diff(x.exp().to_bits()));
        }
        assert!(worst <= 2, "{worst} ULP");
        assert_eq!((exp(710.0), exp(-1e9), exp(f64::INFINITY)), (f64::INFINITY, 0.0, f64::INFINITY));
        assert!(exp(f64::NAN).is_nan() && exp(f64::NEG_INFINITY) == 0.0);
    }
}
