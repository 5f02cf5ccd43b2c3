//! Pillow's `convert("RGB")` for every layout the decoders give.

use image::{DynamicImage, RgbImage};

/// Drops opacity, repeats grey, and narrows 16-bit samples as Pillow does: colour and grey with opacity keep the high
/// byte, plain 16-bit grey is cut off at 255 (Pillow's mode `I;16` holds whole numbers, not fractions of white).
pub(super) fn to_rgb(picture: DynamicImage) -> RgbImage {
    let (width, height) = (picture.width(), picture.height());
    let bytes: Vec<u8> = match picture {
        DynamicImage::ImageRgb8(pixels) => return pixels,
        DynamicImage::ImageLumaA8(pixels) => pixels.pixels().flat_map(|pixel| [pixel.0[0]; 3]).collect(),
        DynamicImage::ImageRgb16(pixels) => pixels.as_raw().iter().map(|sample| high_byte(*sample)).collect(),
        DynamicImage::ImageRgba16(pixels) => pixels
            .pixels()
            .flat_map(|pixel| [pixel.0[0], pixel.0[1], pixel.0[2]].map(high_byte))
            .collect(),
        DynamicImage::ImageLumaA16(pixels) => pixels
            .pixels()
            .flat_map(|pixel| [high_byte(pixel.0[0]); 3])
            .collect(),
        DynamicImage::ImageLuma16(pixels) => pixels
            .pixels()
            .flat_map(|pixel| [pixel.0[0].min(255) as u8; 3])
            .collect(),
        // 8-bit grey, 8-bit colour with opacity: the plain repetition or removal of a channel.
        other => return other.into_rgb8(),
    };
    RgbImage::from_raw(width, height, bytes).expect("three bytes for every pixel of the source")
}

fn high_byte(sample: u16) -> u8 {
    (sample >> 8) as u8
}
