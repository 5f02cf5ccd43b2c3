//! Antialiased bicubic resizing with Pillow's arithmetic, of a whole picture or of a box of it.
//! Reference: Pillow 13's `Image.resize(..., BICUBIC)`, torchvision's `resized_crop`.

use super::PixelsError;
use super::passes::{Kernel, horizontal_pass, vertical_pass};
use image::{ImageBuffer, Pixel, RgbImage, Rgba};

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

impl CropBox {
    fn whole<P: Pixel<Subpixel = u8>>(picture: &ImageBuffer<P, Vec<u8>>) -> Self {
        Self {
            left: 0,
            top: 0,
            right: picture.width(),
            bottom: picture.height(),
        }
    }
}

/// Resizes `[height, width]` pixels to the given size, ignoring the aspect ratio, as Pillow's bicubic does.
///
/// # Errors
/// If the picture is empty or a side of the target is 0.
pub fn resize(picture: &RgbImage, width: u32, height: u32) -> Result<RgbImage, PixelsError> {
    resize_crop(picture, CropBox::whole(picture), width, height)
}

/// Resizes a picture whose colours are already multiplied by their opacity (as renderers make them).
///
/// # Errors
/// If the picture is empty or a side of the target is 0.
pub fn resize_premultiplied(
    picture: &ImageBuffer<Rgba<u8>, Vec<u8>>,
    width: u32,
    height: u32,
) -> Result<ImageBuffer<Rgba<u8>, Vec<u8>>, PixelsError> {
    resample::<_, 4>(picture, CropBox::whole(picture), width, height, false)
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
    resample::<_, 3>(picture, crop, width, height, false)
}

/// [`resize_crop`], then [`flip_horizontal`], in one go.
///
/// # Errors
/// Those of [`resize_crop`].
pub(super) fn resize_crop_mirrored(
    picture: &RgbImage,
    crop: CropBox,
    width: u32,
    height: u32,
) -> Result<RgbImage, PixelsError> {
    resample::<_, 3>(picture, crop, width, height, true)
}

/// The picture mirrored left to right. A caption that says "left" or "right" is no longer true of it.
pub fn flip_horizontal(picture: &RgbImage) -> RgbImage {
    image::imageops::flip_horizontal(picture)
}

fn resample<P, const CHANNELS: usize>(
    picture: &ImageBuffer<P, Vec<u8>>,
    crop: CropBox,
    width: u32,
    height: u32,
    mirrored: bool,
) -> Result<ImageBuffer<P, Vec<u8>>, PixelsError>
where
    P: Pixel<Subpixel = u8>,
{
    if width == 0 || height == 0 {
        return Err(PixelsError::EmptyTarget { width, height });
    }
    let rows = rows_inside::<P, CHANNELS>(picture, crop)?;
    let old = [
        (crop.right - crop.left) as usize,
        (crop.bottom - crop.top) as usize,
    ];
    let new = [width as usize, height as usize];
    let pixels = if old == new && !mirrored {
        rows.concat()
    } else {
        let mut across = Kernel::new(old[0], new[0]);
        if mirrored {
            across.mirror();
        }
        let down = Kernel::new(old[1], new[1]);
        if vertical_pass_first(old, new) {
            let between = vertical_pass(&rows, &down);
            horizontal_pass::<CHANNELS>(&split(&between, old[0] * CHANNELS), &across)
        } else {
            let between = horizontal_pass::<CHANNELS>(&rows, &across);
            vertical_pass(&split(&between, new[0] * CHANNELS), &down)
        }
    };
    Ok(ImageBuffer::from_raw(width, height, pixels)
        .expect("both passes fill height * width * channels bytes"))
}

/// The part of each row that lies in the box.
///
/// # Errors
/// If the box is empty or leaves the picture.
fn rows_inside<P: Pixel<Subpixel = u8>, const CHANNELS: usize>(
    picture: &ImageBuffer<P, Vec<u8>>,
    crop: CropBox,
) -> Result<Vec<&[u8]>, PixelsError> {
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
    let rows = split(picture.as_raw(), picture.width() as usize * CHANNELS);
    let columns = crop.left as usize * CHANNELS..crop.right as usize * CHANNELS;
    Ok(rows[crop.top as usize..crop.bottom as usize]
        .iter()
        .map(|row| &row[columns.clone()])
        .collect())
}

fn split(pixels: &[u8], stride: usize) -> Vec<&[u8]> {
    pixels.chunks_exact(stride).collect()
}

/// Since version 13 Pillow begins with the vertical pass where the height shrinks by more than twice as many pixels as
/// the width. The values between the passes are rounded, so the order can be seen in the result.
fn vertical_pass_first(old: [usize; 2], new: [usize; 2]) -> bool {
    let lost_width = old[0] as i64 - new[0] as i64;
    let lost_height = old[1] as i64 - new[1] as i64;
    lost_height > 0 && lost_height > 2 * lost_width
}
