//! JPEGs whose channels the decoder does not bring to one size by itself: four inks, and colour finer than brightness.
//! Upsampling and conversion as in libjpeg-turbo (`jdsample.c`, `jdcolor.c`), in whole numbers.

use super::finest;
use crate::pixels::colour::inks_to_rgb;
use crate::pixels::decode::Refusal;
use libjpeg_turbo_rs::{ColorSpace, Decoder};

/// One channel at its own size.
struct Plane {
    samples: Vec<u8>,
    stride: usize,
    width: usize,
    height: usize,
    /// Pixels that a sample covers, across and down.
    factors: (usize, usize),
}

/// RGB, three bytes a pixel.
pub(super) fn decode(decoder: Decoder<'_>) -> Result<Vec<u8>, Refusal> {
    let space = decoder.jpeg_color_space();
    let (across, down) = finest(decoder.header());
    let factors: Vec<(usize, usize)> = decoder
        .header()
        .components
        .iter()
        .map(|channel| {
            (
                usize::from(across / channel.horizontal_sampling),
                usize::from(down / channel.vertical_sampling),
            )
        })
        .collect();
    let raw = decoder.decode_raw()?;
    let (width, height) = (raw.width, raw.height);
    let planes = raw.planes.into_iter().zip(raw.plane_widths).zip(factors);
    let planes: Vec<Plane> = planes
        .map(|((samples, stride), factors)| Plane {
            samples,
            stride,
            width: width.div_ceil(factors.0),
            height: height.div_ceil(factors.1),
            factors,
        })
        .collect();

    let mut rows: Vec<Vec<u8>> = vec![vec![0; width + 3]; planes.len()];
    let mut sums = vec![0; width];
    let mut rgb = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for (plane, row) in planes.iter().zip(&mut rows) {
            plane.write_row(y, &mut sums, row);
        }
        let sample = |channel: usize, x: usize| rows[channel][x];
        for x in 0..width {
            let first = [0, 1, 2].map(|channel| sample(channel, x));
            rgb.extend(match space {
                ColorSpace::Rgb => first,
                // Inks are stored as what they leave of the light, as Adobe's programs do and Pillow assumes.
                ColorSpace::Cmyk => {
                    inks_to_rgb([first[0], first[1], first[2], sample(3, x)].map(|ink| 255 - ink))
                }
                ColorSpace::Ycck => {
                    let [cyan, magenta, yellow] = ycc_to_rgb(first);
                    inks_to_rgb([cyan, magenta, yellow, 255 - sample(3, x)])
                }
                _ => ycc_to_rgb(first),
            });
        }
    }
    Ok(rgb)
}

impl Plane {
    /// Row `y` of the picture. Factors of 2 are smoothed, others repeat a sample, and so do rows of 1 or 2 samples.
    fn write_row(&self, y: usize, sums: &mut [u32], out: &mut [u8]) {
        let (across, down) = self.factors;
        let row = |index: usize| &self.samples[index * self.stride..][..self.width];
        let current = row(y / down);
        if !(across == 2 && down <= 2 && self.width > 2 || across == 1 && down == 2) {
            let repeated = current
                .iter()
                .flat_map(|sample| std::iter::repeat_n(*sample, across));
            out.iter_mut()
                .zip(repeated)
                .for_each(|(out, sample)| *out = sample);
            return;
        }
        let near = match (down, y % 2) {
            (2, 0) => row((y / 2).saturating_sub(1)),
            (2, _) => row((y / 2 + 1).min(self.height - 1)),
            _ => current,
        };
        // Three parts of the sample itself and one of its neighbour; whole parts where no row lies between.
        for ((sum, sample), near) in sums.iter_mut().zip(current).zip(near) {
            *sum = if down == 2 {
                3 * u32::from(*sample) + u32::from(*near)
            } else {
                u32::from(*sample)
            };
        }
        let sums = &sums[..self.width];
        if across == 1 {
            let rounding = 1 + (y % 2) as u32;
            out.iter_mut()
                .zip(sums)
                .for_each(|(out, sum)| *out = ((sum + rounding) >> 2) as u8);
            return;
        }
        let (left_rounding, right_rounding, shift) = if down == 2 { (8, 7, 4) } else { (1, 2, 2) };
        for (x, sum) in sums.iter().enumerate() {
            let left = sums[x.saturating_sub(1)];
            let right = sums[(x + 1).min(sums.len() - 1)];
            out[2 * x] = ((3 * sum + left + left_rounding) >> shift) as u8;
            out[2 * x + 1] = ((3 * sum + right + right_rounding) >> shift) as u8;
        }
    }
}

/// BT.601 over the whole range, in 16-bit fixed point.
fn ycc_to_rgb([brightness, blue, red]: [u8; 3]) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (blue, red) = (i32::from(blue) - 128, i32::from(red) - 128);
    [
        (91_881 * red + HALF) >> 16,
        (-22_554 * blue - 46_802 * red + HALF) >> 16,
        (116_130 * blue + HALF) >> 16,
    ]
    .map(|offset| (i32::from(brightness) + offset).clamp(0, 255) as u8)
}
