//! Pictures in all formats: the first bytes say which.

use blip2_data::pixels::{DecodeOptions, decode};

/// Small enough that a picture within the limit is decoded in no time.
const MOST_PIXELS: u64 = 1 << 18;

/// JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF.
pub fn pictures(data: &[u8]) {
    for options in [DecodeOptions::upright(), DecodeOptions::as_stored()] {
        let options = DecodeOptions {
            max_pixels: MOST_PIXELS,
            ..options
        };
        if let Ok(picture) = decode(data, "made up", options) {
            let (width, height) = picture.dimensions();
            assert!(
                u64::from(width) * u64::from(height) <= MOST_PIXELS,
                "the limit holds"
            );
        }
    }
}
