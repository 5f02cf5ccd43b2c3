//! WebP, lossy and lossless; of an animation the first frame.

use super::decode::{Refusal, room, within_limits};
use super::orientation::Turn;
use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder, Limits, RgbImage};
use std::io::Cursor;

/// What stands in front of the size that a RIFF file announces, and the size itself.
const HEAD: u64 = 8;
/// What the extended header's first byte announces.
const HAS_EXIF: u8 = 8;
const HAS_XMP: u8 = 4;

pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<(RgbImage, Turn), Refusal> {
    if let Some(size) = bytes.get(4..8) {
        let announced = HEAD + u64::from(u32::from_le_bytes([size[0], size[1], size[2], size[3]]));
        if announced > bytes.len() as u64 {
            let held = bytes.len();
            return Err(Refusal::Truncated(format!(
                "{held} of {announced} bytes are there"
            )));
        }
    }
    let mut decoder = WebPDecoder::new(Cursor::new(bytes))?;
    let (width, height) = decoder.dimensions();
    within_limits(width, height, max_pixels)?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(room(width, height));
    decoder.set_limits(limits)?;
    // Nothing of the picture itself: notes that are damaged are not followed, nor such as the header does not announce.
    let announced = if bytes.get(12..16) == Some(&b"VP8X"[..]) {
        bytes.get(20).copied().unwrap_or_default()
    } else {
        0
    };
    let exif = decoder.exif_metadata().unwrap_or_default();
    let exif = exif.filter(|_| announced & HAS_EXIF != 0);
    let xmp = decoder.xmp_metadata().unwrap_or_default();
    let xmp = xmp.filter(|_| announced & HAS_XMP != 0);
    let turn = Turn::noted(exif.as_deref(), xmp.as_deref());
    Ok((DynamicImage::from_decoder(decoder)?.into_rgb8(), turn))
}
