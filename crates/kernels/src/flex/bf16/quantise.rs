//! Quantization: numbers rounded to levels.

use half::f16;

use super::pack::DEPTH;
use crate::flex::simd::vectorised;

/// Added to a small number it leaves no bits behind the point, and the nearest whole number, ties to even, in the lowest ones.
const WHOLE: f32 = (3 << 22) as f32;

vectorised! {
    /// The least and the largest of 32 numbers. `None` where one is not a number or out of the reach of half precision.
    fn bounds(values: &[f32; DEPTH]) -> Option<[f32; 2]> {
        let (mut least, mut most) = (*values, *values);
        let mut inside = true;
        for value in values {
            inside &= value.abs() <= 65504.0;
        }
        for half in [16, 8, 4, 2, 1] {
            for lane in 0..half {
                let (a, b) = (least[lane], least[lane + half]);
                least[lane] = if b < a { b } else { a };
                let (a, b) = (most[lane], most[lane + half]);
                most[lane] = if b > a { b } else { a };
            }
        }
        inside.then_some([least[0], most[0]])
    }

    /// Writes the level of each number: the whole number from 0 to `highest` by which it is nearest to
    /// `offset + level * step`.
    fn round(values: &[f32; DEPTH], step: f32, offset: f32, highest: f32, levels: &mut [u8; DEPTH]) {
        for (level, value) in levels.iter_mut().zip(values) {
            let exact = (value - offset) / step;
            let exact = if exact > 0.0 { exact } else { 0.0 };
            let exact = if exact < highest { exact } else { highest };
            *level = (exact + WHOLE).to_bits() as u8;
        }
    }
}

/// Writes the levels, from 0 to `highest`, of 32 numbers, and returns step and offset: a number is about
/// `offset + level * step`. `None` where one is not a number or out of the reach of half precision.
pub(super) fn quantise(values: &[f32; DEPTH], highest: f32, levels: &mut [u8; DEPTH]) -> Option<[f16; 2]> {
    let [least, most] = bounds(values)?;
    let scale = [f16::from_f32((most - least) / highest), f16::from_f32(least)];
    let [step, offset] = scale.map(f32::from);
    if step > 0.0 {
        round(values, step, offset, highest, levels);
    } else {
        *levels = [0; DEPTH];
    }
    Some(scale)
}
