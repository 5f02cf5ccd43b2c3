//! Decoding with limits: the header is read and judged before any pixel is allocated.

use super::{PixelsError, colour, jpeg};
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, RgbImage};
use std::io::Cursor;
use std::path::Path;

/// The most pixels a picture may have: 64 megapixels, 192 MB once decoded.
pub const MAX_PIXELS: u64 = 64_000_000;
/// The longest side a picture may have.
pub const MAX_SIDE: u32 = 32_768;

/// Reads a picture file and decodes it; see [`decode`].
///
/// # Errors
/// If the file cannot be read, is no picture, announces too many pixels, or is damaged; each error names the file.
pub fn open(path: &Path) -> Result<RgbImage, PixelsError> {
    let bytes = std::fs::read(path).map_err(|source| PixelsError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    decode(&bytes, &path.display().to_string())
}

/// Decodes PNG, JPEG or WebP bytes to RGB as Pillow's `Image.open(...).convert("RGB")` does: opacity is dropped (not
/// blended), 16-bit colour keeps its high byte, and an EXIF orientation is not applied, because the reference
/// processors do not apply it either. `name` appears in errors.
///
/// # Errors
/// If the bytes are no picture, announce more than [`MAX_PIXELS`] or [`MAX_SIDE`], or are damaged or cut short.
pub fn decode(bytes: &[u8], name: &str) -> Result<RgbImage, PixelsError> {
    let not_a_picture = |reason: String| PixelsError::NotAPicture {
        name: name.to_owned(),
        reason,
    };
    let damaged = |reason: String| PixelsError::Damaged {
        name: name.to_owned(),
        reason,
    };
    let judge = |error: ImageError| match error {
        ImageError::Unsupported(error) => not_a_picture(error.to_string()),
        other => damaged(other.to_string()),
    };

    let within_limits = |width: u32, height: u32| {
        if width > MAX_SIDE || height > MAX_SIDE || u64::from(width) * u64::from(height) > MAX_PIXELS {
            let (max_side, max_pixels) = (MAX_SIDE, MAX_PIXELS);
            return Err(PixelsError::TooLarge {
                name: name.to_owned(),
                width,
                height,
                max_side,
                max_pixels,
            });
        }
        if width == 0 || height == 0 {
            return Err(damaged(format!("its header says {width}x{height}")));
        }
        Ok(())
    };

    let format = image::guess_format(bytes)
        .map_err(|_| not_a_picture("its first bytes are no known header".into()))?;
    if format == ImageFormat::Jpeg {
        let (width, height) = jpeg::size(bytes).map_err(damaged)?;
        within_limits(width, height)?;
        return jpeg::decode(bytes).map_err(damaged);
    }
    let mut decoder = ImageReader::with_format(Cursor::new(bytes), format)
        .into_decoder()
        .map_err(judge)?;
    let (width, height) = decoder.dimensions();
    within_limits(width, height)?;
    // Room for the pixels at 16 bits with opacity, and as much again for the decoder's own tables.
    let mut limits = image::Limits::no_limits();
    limits.max_alloc = Some(MAX_PIXELS * 16);
    decoder.set_limits(limits).map_err(judge)?;
    DynamicImage::from_decoder(decoder)
        .map(colour::to_rgb)
        .map_err(judge)
}
