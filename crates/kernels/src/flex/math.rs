//! Elementary functions as straight-line code that compilers turn into vectors.

use super::simd::multiply_add;

/// `e^x` within two units in the last place; exactly 0 below -87.3, infinite above 88.3; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp<const FUSED: bool>(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to a whole number, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const LOWEST: f32 = -87.3;
    const HIGHEST: f32 = 88.8;
    let inside = if x > HIGHEST { HIGHEST } else { x };
    let shifted = multiply_add::<FUSED>(inside, std::f32::consts::LOG2_E, ROUND);
    let power = shifted - ROUND;
    let rest = multiply_add::<FUSED>(power, -LN_2_LOW, multiply_add::<FUSED>(power, -LN_2_HIGH, inside));
    // Taylor's series to the seventh power: the rest is at most ln 2 / 2.
    let mut sum = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = multiply_add::<FUSED>(sum, rest, coefficient);
    }
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    if x < LOWEST { 0.0 } else { sum * scale }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<const FUSED: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FUSED>(-x))
}

/// Distribution function and density of the standard normal distribution at `x`.
///
/// The tail is approximation 7.1.26 of Abramowitz and Stegun, "Handbook of Mathematical Functions": the error of the
/// distribution function is below 1e-7.
#[inline(always)]
pub(crate) fn normal<const FUSED: bool>(x: f32) -> (f32, f32) {
    const DENSITY_AT_ZERO: f32 = 0.398_942_3;
    let bell = exp::<FUSED>(-0.5 * x * x);
    let t = 1.0 / multiply_add::<FUSED>(0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2, x.abs(), 1.0);
    let mut sum = 1.061_405_4;
    for coefficient in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        sum = multiply_add::<FUSED>(sum, t, coefficient);
    }
    let tail = 0.5 * bell * t * sum;
    (if x < 0.0 { tail } else { 1.0 - tail }, DENSITY_AT_ZERO * bell)
}
