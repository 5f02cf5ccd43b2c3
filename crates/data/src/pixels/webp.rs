//! WebP, lossy and lossless; of an animation the first frame.

use super::decode::{Refusal, room, within_limits};
use super::orientation::Turn;
use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder, Limits, RgbImage};
use std::io::Cursor;

pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<(RgbImage, Turn), Refusal> {
    let mut decoder = WebPDecoder::new(Cursor::new(bytes))?;
    let (width, height) = decoder.dimensions();
    within_limits(width, height, max_pixels)?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(room(width, height));
    decoder.set_limits(limits)?;
    // Nothing of the picture itself: notes that are damaged are not followed.
    let exif = decoder.exif_metadata().unwrap_or_default();
    let xmp = decoder.xmp_metadata().unwrap_or_default();
    let turn = Turn::noted(exif.as_deref(), xmp.as_deref());
    Ok((DynamicImage::from_decoder(decoder)?.into_rgb8(), turn))
}
