//! Operations on values where they stand: contrast, brightness, sharpness, histograms.

use super::ContrastStretch;
use crate::pixels::RgbImage;

/// Replaces the values of each channel by what its table says; `table` makes one from the histogram.
fn by_table(picture: &mut RgbImage, mut table: impl FnMut(&[u64; 256]) -> Option<[u8; 256]>) {
    for channel in 0..3 {
        let mut histogram = [0u64; 256];
        for pixel in picture.pixels() {
            histogram[usize::from(pixel.0[channel])] += 1;
        }
        if let Some(table) = table(&histogram) {
            for pixel in picture.pixels_mut() {
                pixel.0[channel] = table[usize::from(pixel.0[channel])];
            }
        }
    }
}

/// Stretches each channel to 0..255.
pub(super) fn stretch_contrast(picture: &mut RgbImage, way: ContrastStretch) {
    by_table(picture, |histogram| {
        let low = histogram.iter().position(|count| *count > 0)?;
        let high = histogram.iter().rposition(|count| *count > 0)?;
        if high <= low {
            return None;
        }
        let scale = 255.0 / (high - low) as f64;
        let offset = match way {
            ContrastStretch::Pillow => -(low as f64) * scale,
            ContrastStretch::Lavis => f64::from((low as u8).wrapping_neg()) * scale,
        };
        Some(std::array::from_fn(|value| {
            (value as f64 * scale + offset).clamp(0.0, 255.0) as u8
        }))
    });
}

/// Multiplies all values.
pub(super) fn brighten(picture: &mut RgbImage, factor: f32) {
    by_table(picture, |_| {
        Some(std::array::from_fn(|value| {
            (value as f32 * factor).clamp(0.0, 255.0) as u8
        }))
    });
}

/// Makes the values of each channel equally frequent, as Pillow's `ImageOps.equalize`.
pub(super) fn equalise(picture: &mut RgbImage) {
    by_table(picture, |histogram| {
        let last = histogram.iter().rposition(|count| *count > 0)?;
        let step = histogram[..last].iter().sum::<u64>() / 255;
        if step == 0 {
            return None;
        }
        let mut sum = step / 2;
        Some(std::array::from_fn(|value| {
            let equalised = (sum / step).min(255) as u8;
            sum += histogram[value];
            equalised
        }))
    });
}

/// Moves each value away from the weighted mean of its neighbourhood by `factor`; the outermost pixels stay as they are.
pub(super) fn sharpen(picture: &mut RgbImage, factor: f32) {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    if factor == 1.0 || width < 3 || height < 3 {
        return;
    }
    let before = picture.as_raw().clone();
    let stride = width * 3;
    for row in 1..height - 1 {
        for place in row * stride + 3..(row + 1) * stride - 3 {
            let own = u32::from(before[place]);
            let around: u32 = [place - stride, place, place + stride]
                .into_iter()
                .flat_map(|middle| [middle - 3, middle, middle + 3])
                .map(|place| u32::from(before[place]))
                .sum();
            // The middle counts five times among thirteen; the mean is rounded to a byte first.
            let mean = ((2 * (around + 4 * own) + 13) / 26) as f32;
            let moved = mean + factor * (own as f32 - mean);
            // NumPy's conversion drops the fraction and wraps around.
            picture.as_mut()[place] = moved as i32 as u8;
        }
    }
}
