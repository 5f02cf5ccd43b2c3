//! Elementary functions as straight-line code that compilers turn into vectors.
//!
//! Polynomials have the smallest largest error of their degree, found by Lawson's algorithm.

use super::simd::multiply_add;

/// Added to a number, it rounds it to a whole one, which then stands in the lowest bits: 1.5 * 2^23.
const ROUND: f32 = 12_582_912.0;

/// Where [`normal_tail`] has vanished.
pub(crate) const FAR: f32 = 13.0;

/// `e^x` within two units in the last place; exactly 0 below -87.3, infinite above 88.3; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp<const FUSED: bool>(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const LOWEST: f32 = -87.3;
    const HIGHEST: f32 = 88.8;
    /// `e^x` up to ln 2 / 2 on either side of zero.
    const POLYNOMIAL: [f32; 7] = [
        1.383_680_7e-3,
        8.374_846e-3,
        4.166_823e-2,
        0.166_664_2,
        0.499_999_9,
        1.0,
        1.0,
    ];
    let inside = if x > HIGHEST { HIGHEST } else { x };
    let shifted = multiply_add::<FUSED>(inside, std::f32::consts::LOG2_E, ROUND);
    let power = shifted - ROUND;
    let rest = multiply_add::<FUSED>(power, -LN_2_LOW, multiply_add::<FUSED>(power, -LN_2_HIGH, inside));
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    if x < LOWEST {
        0.0
    } else {
        polynomial::<FUSED, 7>(POLYNOMIAL, rest) * scale
    }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<const FUSED: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FUSED>(-x))
}

/// `Φ(-a)` and `φ(a)` for `a` from 0 to [`FAR`], of the standard normal distribution: Φ is its distribution function, φ
/// its density. The errors of `a Φ(-a)` and of `Φ(-a) - a φ(a)` are below 1e-7.
#[inline(always)]
pub(crate) fn normal_tail<const FUSED: bool>(a: f32) -> (f32, f32) {
    const DENSITY_AT_ZERO: f32 = 0.398_942_3;
    const HALF_LOG2_E: f32 = 0.5 * std::f32::consts::LOG2_E;
    /// `2^x` up to one half on either side of zero.
    const POWER: [f32; 6] = [
        1.327_647_1e-3,
        9.675_541e-3,
        5.550_713e-2,
        0.240_221_2,
        0.693_146_94,
        1.000_000_1,
    ];
    /// `Φ(-a) / e^(-a²/2)`, best where that weighs most.
    const TAIL: [f32; 12] = [
        -2.441_983_6e-7,
        6.287_140_4e-6,
        -7.276_422_6e-5,
        5.074_444e-4,
        -2.429_955_4e-3,
        8.716_878_5e-3,
        -2.514_876_4e-2,
        6.170_241_5e-2,
        -0.132_719_31,
        0.249_955_68,
        -0.398_939_34,
        0.499_999_97,
    ];
    let square = a * a;
    let shifted = multiply_add::<FUSED>(square, -HALF_LOG2_E, ROUND);
    let rest = multiply_add::<FUSED>(square, -HALF_LOG2_E, ROUND - shifted);
    let power = polynomial::<FUSED, 6>(POWER, rest);
    // The whole part is added to the exponent where it stands: at FAR, that is still one of a normal number.
    let bell = f32::from_bits(power.to_bits().wrapping_add(shifted.to_bits() << 23));
    (bell * polynomial::<FUSED, 12>(TAIL, a), DENSITY_AT_ZERO * bell)
}

/// The polynomial with these coefficients, the highest first.
#[inline(always)]
fn polynomial<const FUSED: bool, const N: usize>(coefficients: [f32; N], x: f32) -> f32 {
    let mut sum = 0.0;
    for coefficient in coefficients {
        sum = multiply_add::<FUSED>(sum, x, coefficient);
    }
    sum
}
