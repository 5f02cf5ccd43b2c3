//! Windows and OS/2 bitmaps.

use super::decode::{Refusal, room, within_limits};
use image::codecs::bmp::BmpDecoder;
use image::{DynamicImage, ImageDecoder, Limits, RgbImage};
use std::io::Cursor;

/// The most bytes that fill up a row: those of the last one may be missing.
const PADDING: [u8; 3] = [0; 3];

pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<RgbImage, Refusal> {
    match stored(bytes, max_pixels) {
        Err(Refusal::Damaged(_) | Refusal::Truncated(_)) => stored(&[bytes, &PADDING].concat(), max_pixels),
        decoded => decoded,
    }
}

fn stored(bytes: &[u8], max_pixels: u64) -> Result<RgbImage, Refusal> {
    let mut decoder = BmpDecoder::new(Cursor::new(bytes))?;
    let (width, height) = decoder.dimensions();
    within_limits(width, height, max_pixels)?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(room(width, height));
    decoder.set_limits(limits)?;
    let mut picture = DynamicImage::from_decoder(decoder)?.into_rgb8();
    if let Some(bits) = bits_of_words(bytes) {
        for pixel in picture.pixels_mut() {
            for (sample, bits) in pixel.0.iter_mut().zip(bits) {
                *sample = spread_down(*sample, bits);
            }
        }
    }
    Ok(picture)
}

/// Bits of red, green and blue where a pixel is a word of 16 bits.
fn bits_of_words(bytes: &[u8]) -> Option<[u32; 3]> {
    const CORE: [u8; 4] = 12u32.to_le_bytes();
    const MASKS: [u8; 4] = 3u32.to_le_bytes();
    if bytes.get(14..18)? == CORE || bytes.get(28..30)? != [16, 0] {
        return None;
    }
    if bytes.get(30..34)? != MASKS {
        return Some([5; 3]);
    }
    let mask = |place: usize| {
        Some(
            bytes
                .get(place..place + 4)?
                .iter()
                .map(|byte| byte.count_ones())
                .sum(),
        )
    };
    Some([mask(54)?, mask(58)?, mask(62)?])
}

/// The decoder spreads 5 and 6 bits over 0 to 255 rounding to the nearest, Pillow rounding down.
fn spread_down(sample: u8, bits: u32) -> u8 {
    if !(1..=7).contains(&bits) {
        return sample;
    }
    let most = (1 << bits) - 1;
    let stored = (u32::from(sample) * most + 127) / 255;
    (stored * 255 / most) as u8
}
