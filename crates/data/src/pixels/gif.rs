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
        Err(Refusal::Damaged(reason)) => {
            let mended = mended(bytes).ok_or(Refusal::Damaged(reason))?;
            first_frame(&mended, max_pixels)
        }
        decoded => decoded,
    }
}

/// The file as the decoder takes it where Pillow is less strict: with an end, with a palette (of greys) if it has none, and
/// in front of its first picture no other block than the one that says what is clear. Bytes between blocks begin none.
fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    const SCREEN: usize = 13;
    const HAS_PALETTE: u8 = 0x80;
    const OF_256_COLOURS: u8 = 7;
    const CONTROL: u8 = 0xf9;
    let mut clean = bytes.get(..SCREEN)?.to_vec();
    let mut place = SCREEN;
    if clean[10] & HAS_PALETTE == 0 {
        clean[10] |= HAS_PALETTE | OF_256_COLOURS;
        clean.extend(colour::SCALE.as_flattened());
    } else {
        place += 6usize << (clean[10] & OF_256_COLOURS);
        clean.extend(bytes.get(SCREEN..place)?);
    }
    loop {
        match bytes.get(place)? {
            b',' => break,
            b';' => return None,
            b'!' => {
                let start = place;
                place += 2;
                while *bytes.get(place)? != 0 {
                    place += 1 + usize::from(bytes[place]);
                }
                place += 1;
                if bytes[start + 1] == CONTROL {
                    clean.extend(&bytes[start..place]);
                }
            }
            _ => place += 1,
        }
    }
    clean.extend(&bytes[place..]);
    if bytes.last() != Some(&b';') {
        clean.extend(END);
    }
    Some(clean)
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

    // A palette that is a scale of greys is none to Pillow.
    let is_palette = |colours: &&[u8]| !colour::is_scale(colours);
    let colours = own_colours
        .as_deref()
        .filter(is_palette)
        .or(decoder.global_palette().filter(is_palette));
    let colours = colours.map_or(colour::SCALE, colour::palette).map(Rgb);
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
