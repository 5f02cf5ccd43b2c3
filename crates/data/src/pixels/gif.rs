//! The first frame of a GIF, on the canvas that Pillow lays it on.

use super::colour;
use super::decode::{Refusal, within_limits};
use gif::{ColorOutput, DecodeOptions, DecodingError};
use image::{Rgb, RgbImage};

impl From<DecodingError> for Refusal {
    fn from(error: DecodingError) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// What is cut off behind the last block of rows is not missed.
const END: [u8; 2] = [0, b';'];

pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<RgbImage, Refusal> {
    match first_frame(bytes, max_pixels) {
        Err(Refusal::Damaged(_)) if bytes.last() != Some(&b';') => {
            first_frame(&[bytes, &END].concat(), max_pixels)
        }
        decoded => decoded,
    }
}

fn first_frame(bytes: &[u8], max_pixels: u64) -> Result<RgbImage, Refusal> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    let mut decoder = options.read_info(bytes)?;
    let frame = decoder.next_frame_info()?;
    let frame = frame.ok_or_else(|| Refusal::Damaged("it holds no frame".into()))?;
    let [left, top, frame_width, frame_height] =
        [frame.left, frame.top, frame.width, frame.height].map(u32::from);
    let (transparent, own_colours) = (frame.transparent, frame.palette.clone());
    // A frame that leaves the canvas widens it.
    let width = u32::from(decoder.width()).max(left + frame_width);
    let height = u32::from(decoder.height()).max(top + frame_height);
    within_limits(width, height, max_pixels)?;
    within_limits(frame_width, frame_height, max_pixels)?;

    let colours = own_colours
        .as_deref()
        .or(decoder.global_palette())
        .unwrap_or_default();
    let colours = colour::palette(colours).map(Rgb);
    let mut indices = vec![0; frame_width as usize * frame_height as usize];
    decoder.read_into_buffer(&mut indices)?;
    // Opacity is dropped, so what is clear shows the colour of its index.
    let ground = colours[usize::from(transparent.unwrap_or(0))];
    let mut picture = RgbImage::from_pixel(width, height, ground);
    for (row, y) in indices.chunks_exact(frame_width as usize).zip(top..) {
        for (index, x) in row.iter().zip(left..) {
            picture.put_pixel(x, y, colours[usize::from(*index)]);
        }
    }
    Ok(picture)
}
