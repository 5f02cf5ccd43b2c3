//! JPEG by way of a decoder that smooths subsampled colour as libjpeg (and so Pillow) does: others are up to twice as
//! far from what the encoders were trained on.

use image::RgbImage;
use jpeg_decoder::{Decoder, PixelFormat};

/// Width and height as the header announces them; no pixel is allocated.
///
/// # Errors
/// What is wrong with the header, in words.
pub(super) fn size(bytes: &[u8]) -> Result<(u32, u32), String> {
    let mut decoder = Decoder::new(bytes);
    decoder.read_info().map_err(|error| error.to_string())?;
    let info = decoder.info().ok_or("it has no frame header")?;
    Ok((u32::from(info.width), u32::from(info.height)))
}

/// Decodes grey, colour and four-ink JPEGs to RGB.
///
/// # Errors
/// What is wrong with the data, in words.
pub(super) fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let mut decoder = Decoder::new(bytes);
    let pixels = decoder.decode().map_err(|error| error.to_string())?;
    let info = decoder.info().ok_or("it has no frame header")?;
    let rgb = match info.pixel_format {
        PixelFormat::RGB24 => pixels,
        PixelFormat::L8 => pixels.into_iter().flat_map(|grey| [grey; 3]).collect(),
        PixelFormat::CMYK32 => pixels
            .as_chunks::<4>()
            .0
            .iter()
            .flat_map(|inks| inks_to_rgb(*inks))
            .collect(),
        PixelFormat::L16 => return Err("16-bit JPEG is not read".into()),
    };
    RgbImage::from_raw(info.width.into(), info.height.into(), rgb)
        .ok_or_else(|| "it holds too few pixels".into())
}

/// Pillow's conversion of cyan, magenta, yellow and black (255 is full ink), in whole numbers.
fn inks_to_rgb([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    let white = u32::from(255 - black);
    [cyan, magenta, yellow].map(|ink| {
        let product = u32::from(ink) * white + 128;
        (white - (((product >> 8) + product) >> 8)) as u8
    })
}
