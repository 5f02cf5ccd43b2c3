//! Decoded samples to RGB: libyuv's whole numbers where it has the matrix, libavif's floating point elsewhere.

use super::fixed::{self, Matrix};
use super::float::{Conversion, byte};
use super::frame::Frame;
use super::properties::Colour;
use crate::pixels::decode::Refusal;
use image::RgbImage;
use re_rav1d::PixelLayout;

/// How samples become RGB.
enum Rule {
    /// Samples are cut to so many bits first.
    Fixed(Matrix, u32),
    Float(Conversion),
}

impl Rule {
    fn of(frame: &Frame, has_opacity: bool, mut colour: Colour) -> Result<Self, Refusal> {
        let is_grey = frame.layout == PixelLayout::I400;
        let conversion = Conversion::of(colour, frame.bits, is_grey, frame.factors().0 == 2)?;
        if is_grey && colour.matrix == 0 {
            colour.matrix = 6;
        }
        Ok(match Matrix::of(colour) {
            Some(matrix) if has_opacity || !is_grey => Self::Fixed(
                matrix,
                match (has_opacity, frame.bits, frame.layout) {
                    (_, _, PixelLayout::I400) => 8,
                    (true, 10, _) => 10,
                    (true, 12, PixelLayout::I420) => 12,
                    _ => 8,
                },
            ),
            _ => Self::Float(conversion),
        })
    }
}

/// RGB of `frame`. Opacity is dropped, but where colour was multiplied by it, that is undone.
pub(super) fn convert(
    frame: &Frame,
    alpha: Option<&Frame>,
    is_multiplied: bool,
    colour: Colour,
) -> Result<RgbImage, Refusal> {
    let is_grey = frame.layout == PixelLayout::I400;
    let (factor_across, factor_down) = frame.factors();
    let rule = Rule::of(frame, alpha.is_some(), colour)?;
    // libyuv smooths up to 10 bits, and takes the last column as it is.
    let (is_smooth, copies_last) = match rule {
        Rule::Fixed(_, bits) => (bits < 12, true),
        Rule::Float(_) => (true, false),
    };
    let across = neighbours(frame.width, factor_across, is_smooth, copies_last);
    let down = neighbours(frame.height, factor_down, is_smooth, false);
    let divisor = alpha.filter(|_| is_multiplied);

    let mut brightness = vec![0; frame.width];
    let mut alpha = vec![0; frame.width];
    // The nearest row and the next one of each plane of colour.
    let mut rows = [(); 2].map(|()| [(); 2].map(|()| vec![0; frame.width.div_ceil(factor_across)]));
    let mut rgb = Vec::with_capacity(frame.width * frame.height * 3);
    for (y, near) in down.iter().enumerate() {
        frame.read_row(0, y, &mut brightness)?;
        for (plane, rows) in rows.iter_mut().enumerate().filter(|_| !is_grey) {
            for (row, y) in rows.iter_mut().zip(near) {
                frame.read_row(plane + 1, *y, row)?;
            }
        }
        if let Some(divisor) = divisor {
            divisor.read_row(0, y, &mut alpha)?;
            if !divisor.is_full {
                alpha
                    .iter_mut()
                    .for_each(|code| *code = to_full(*code, divisor.bits));
            }
        }
        for (x, &[nearest, beside]) in across.iter().enumerate() {
            let samples = rows
                .each_ref()
                .map(|[row, next]| [row[nearest], row[beside], next[nearest], next[beside]]);
            let alpha = divisor.map(|_| alpha[x]);
            rgb.extend(match &rule {
                Rule::Fixed(matrix, bits) => {
                    let cut = frame.bits - bits;
                    let [blue, red] = if is_grey {
                        [128; 2]
                    } else {
                        samples.map(|samples| fixed::between(samples.map(|sample| sample >> cut)))
                    };
                    let pixel = matrix.rgb([brightness[x] >> cut, blue, red], *bits);
                    match alpha {
                        // Where libyuv does not take opacity along, libavif rounds it.
                        Some(code) if is_grey || *bits == 12 => {
                            divided(pixel, Conversion::narrowed(code, frame.bits))
                        }
                        Some(code) => divided(pixel, (code >> (frame.bits - 8)) as u8),
                        None => pixel,
                    }
                }
                Rule::Float(conversion) => {
                    let is_halved = factor_across == 2;
                    let differences = samples.map(|samples| match is_halved {
                        true => conversion.between(samples),
                        false => conversion.difference(samples[0]),
                    });
                    let pixel = conversion.rgb(brightness[x], (!is_grey).then_some(differences));
                    match alpha {
                        Some(code) if conversion.is_general(is_halved) => {
                            pixel.map(|value| byte(conversion.divided(value, code)))
                        }
                        Some(code) => divided(pixel.map(byte), Conversion::narrowed(code, frame.bits)),
                        None => pixel.map(byte),
                    }
                }
            });
        }
    }
    let picture = RgbImage::from_raw(frame.width as u32, frame.height as u32, rgb);
    picture.ok_or_else(|| Refusal::Damaged("it holds too few pixels".into()))
}

/// For each pixel of a row or column, the sample that covers it and the next nearest. The first pixel has only the one, and so
/// has the last one where no sample follows; `copies_last`: always.
fn neighbours(length: usize, factor: usize, is_smooth: bool, copies_last: bool) -> Vec<[usize; 2]> {
    let pair = |pixel: usize| {
        let nearest = pixel / factor;
        let is_second = pixel % 2 == 1;
        let is_last = pixel + 1 == length && (is_second || copies_last);
        match factor == 2 && is_smooth && pixel > 0 && !is_last {
            true if is_second => [nearest, nearest + 1],
            true => [nearest, nearest - 1],
            false => [nearest; 2],
        }
    };
    (0..length).map(pair).collect()
}

fn divided(pixel: [u8; 3], alpha: u8) -> [u8; 3] {
    pixel.map(|value| fixed::divided(value, alpha))
}

/// Opacity whose codes go from 16 to 235 (of 8 bits), as old files have it, stretched to all codes.
fn to_full(code: u16, bits: u32) -> u16 {
    let (black, distance, most) = (16 << (bits - 8), 219 << (bits - 8), (1 << bits) - 1);
    (((i32::from(code) - black) * most + distance / 2) / distance).clamp(0, most) as u16
}
