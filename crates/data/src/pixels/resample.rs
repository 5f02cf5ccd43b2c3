//! Antialiased bicubic resizing with Pillow's arithmetic: two 8-bit passes with coefficients in 22-bit fixed point.
//! Reference: Pillow 13's `Image.resize(..., BICUBIC)`.

use super::PixelsError;
use image::{ImageBuffer, Pixel, Rgb, RgbImage, Rgba};

/// Fraction bits of a coefficient: 32 less 8 for the pixel and 2 for the sign and the overshoot of the kernel.
const PRECISION_BITS: u32 = 32 - 8 - 2;
/// The kernel's reach in source pixels when it is not stretched.
const SUPPORT: f64 = 2.0;
/// The sharpness of the bicubic kernel that Pillow uses.
const SHARPNESS: f64 = -0.5;

/// A rectangle of whole pixels, right and bottom exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CropBox {
    /// Left edge.
    pub left: u32,
    /// Top edge.
    pub top: u32,
    /// Right edge, exclusive.
    pub right: u32,
    /// Bottom edge, exclusive.
    pub bottom: u32,
}

/// Resizes `[height, width]` pixels to the given size, ignoring the aspect ratio, as Pillow's bicubic does.
///
/// # Errors
/// If a side of the target is 0.
pub fn resize(picture: &RgbImage, width: u32, height: u32) -> Result<RgbImage, PixelsError> {
    resample::<Rgb<u8>, 3>(picture, width, height)
}

/// Resizes a picture whose colours are already multiplied by their opacity (as renderers make them).
///
/// # Errors
/// If a side of the target is 0.
pub fn resize_premultiplied(
    picture: &ImageBuffer<Rgba<u8>, Vec<u8>>,
    width: u32,
    height: u32,
) -> Result<ImageBuffer<Rgba<u8>, Vec<u8>>, PixelsError> {
    resample::<Rgba<u8>, 4>(picture, width, height)
}

/// Cuts `crop` out of the picture, then resizes it: torchvision's `resized_crop`.
///
/// # Errors
/// If the box is empty or leaves the picture, or a side of the target is 0.
pub fn resize_crop(
    picture: &RgbImage,
    crop: CropBox,
    width: u32,
    height: u32,
) -> Result<RgbImage, PixelsError> {
    let inside = crop.left < crop.right
        && crop.top < crop.bottom
        && crop.right <= picture.width()
        && crop.bottom <= picture.height();
    if !inside {
        return Err(PixelsError::CropOutside {
            left: crop.left,
            top: crop.top,
            right: crop.right,
            bottom: crop.bottom,
            width: picture.width(),
            height: picture.height(),
        });
    }
    let (crop_width, crop_height) = (crop.right - crop.left, crop.bottom - crop.top);
    let cut = image::imageops::crop_imm(picture, crop.left, crop.top, crop_width, crop_height).to_image();
    resize(&cut, width, height)
}

/// The picture mirrored left to right. A caption that says "left" or "right" is no longer true of it.
pub fn flip_horizontal(picture: &RgbImage) -> RgbImage {
    image::imageops::flip_horizontal(picture)
}

fn resample<P, const CHANNELS: usize>(
    picture: &ImageBuffer<P, Vec<u8>>,
    width: u32,
    height: u32,
) -> Result<ImageBuffer<P, Vec<u8>>, PixelsError>
where
    P: Pixel<Subpixel = u8>,
{
    if width == 0 || height == 0 {
        return Err(PixelsError::EmptyTarget { width, height });
    }
    let (old_width, old_height) = (picture.width() as usize, picture.height() as usize);
    let (new_width, new_height) = (width as usize, height as usize);
    // A pass that keeps its size is skipped, as in Pillow: it would be the identity.
    let horizontal = |pixels: Vec<u8>| {
        if old_width == new_width {
            return pixels;
        }
        horizontal_pass::<CHANNELS>(&pixels, old_width, &Kernel::new(old_width, new_width))
    };
    let vertical = |pixels: Vec<u8>, width: usize| {
        if old_height == new_height {
            return pixels;
        }
        vertical_pass(&pixels, width * CHANNELS, &Kernel::new(old_height, new_height))
    };
    let pixels = picture.as_raw().clone();
    let pixels = if vertical_pass_first([old_width, old_height], [new_width, new_height]) {
        horizontal(vertical(pixels, old_width))
    } else {
        vertical(horizontal(pixels), new_width)
    };
    Ok(ImageBuffer::from_raw(width, height, pixels)
        .expect("both passes fill height * width * channels bytes"))
}

/// Since version 13 Pillow begins with the vertical pass where the height shrinks by more than twice as many pixels as
/// the width. The values between the passes are rounded, so the order can be seen in the result.
fn vertical_pass_first(old: [usize; 2], new: [usize; 2]) -> bool {
    let lost_width = old[0] as i64 - new[0] as i64;
    let lost_height = old[1] as i64 - new[1] as i64;
    lost_height > 0 && lost_height > 2 * lost_width
}

/// For each output position, the first source position it reads and its weights.
struct Kernel(Vec<(usize, Vec<i32>)>);

impl Kernel {
    fn new(old: usize, new: usize) -> Self {
        let scale = old as f64 / new as f64;
        // Shrinking stretches the kernel over every source pixel that an output pixel covers: the antialiasing.
        let stretch = scale.max(1.0);
        let reach = SUPPORT * stretch;
        let position = |out: usize| {
            let centre = (out as f64 + 0.5) * scale;
            // `as usize` cuts towards zero and stops at 0, as Pillow's cast and clamp do.
            let first = (centre - reach + 0.5) as usize;
            let end = ((centre + reach + 0.5) as usize).min(old);
            let weights: Vec<f64> = (first..end)
                .map(|source| bicubic((source as f64 - centre + 0.5) / stretch))
                .collect();
            let total: f64 = weights.iter().sum();
            (
                first,
                weights.iter().map(|weight| fixed_point(weight / total)).collect(),
            )
        };
        Self((0..new).map(position).collect())
    }
}

fn bicubic(distance: f64) -> f64 {
    let x = distance.abs();
    if x < 1.0 {
        ((SHARPNESS + 2.0) * x - (SHARPNESS + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * SHARPNESS
    } else {
        0.0
    }
}

/// Rounds half away from zero.
fn fixed_point(weight: f64) -> i32 {
    let scaled = weight * f64::from(1u32 << PRECISION_BITS);
    (scaled + if weight < 0.0 { -0.5 } else { 0.5 }) as i32
}

/// Half a unit in fixed point: where every sum starts, so that the final shift rounds.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

fn horizontal_pass<const CHANNELS: usize>(pixels: &[u8], old_width: usize, kernel: &Kernel) -> Vec<u8> {
    let rows = pixels.chunks_exact(old_width * CHANNELS);
    let mut output = Vec::with_capacity(rows.len() * kernel.0.len() * CHANNELS);
    for row in rows {
        let (row, _) = row.as_chunks::<CHANNELS>();
        for (first, weights) in &kernel.0 {
            let mut sums = [HALF; CHANNELS];
            for (pixel, weight) in row[*first..].iter().zip(weights) {
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(*value) * weight;
                }
            }
            output.extend(sums.map(to_byte));
        }
    }
    output
}

/// `stride` is the length of a row in bytes.
fn vertical_pass(pixels: &[u8], stride: usize, kernel: &Kernel) -> Vec<u8> {
    let mut output = Vec::with_capacity(kernel.0.len() * stride);
    let mut sums = vec![HALF; stride];
    for (first, weights) in &kernel.0 {
        sums.fill(HALF);
        for (row, weight) in pixels[first * stride..].chunks_exact(stride).zip(weights) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += i32::from(*value) * weight;
            }
        }
        output.extend(sums.iter().map(|sum| to_byte(*sum)));
    }
    output
}
