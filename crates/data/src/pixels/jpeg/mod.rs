//! JPEG by way of a port of libjpeg-turbo, which is what Pillow decodes with: the same inverse transform, the same smoothing
//! of subsampled colour and the same rule for colour spaces, so that every byte is the same.

mod planes;
mod segments;

use super::decode::{Refusal, within_limits};
use super::orientation::Turn;
use image::RgbImage;
use libjpeg_turbo_rs::common::types::FrameHeader;
use libjpeg_turbo_rs::{Decoder, JpegError, PixelFormat};

impl From<JpegError> for Refusal {
    fn from(error: JpegError) -> Self {
        match error {
            JpegError::Unsupported(feature) => Self::NotAPicture(feature),
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// Decodes grey, colour and four-ink JPEGs to RGB, and says how they must be turned.
///
/// Scans that go wrong halfway are filled up as libjpeg does; a file that stops before its end marker is refused, as
/// Pillow refuses it.
pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<(RgbImage, Turn), Refusal> {
    let renamed = segments::renamed(bytes);
    let mut decoder =
        Decoder::new(renamed.as_deref().unwrap_or(bytes)).map_err(|error| match error.into() {
            Refusal::Damaged(_) if !has_end(bytes) => cut_short(),
            refusal => refusal,
        })?;
    let frame = decoder.header();
    let (width, height) = (u32::from(frame.width), u32::from(frame.height));
    within_limits(width, height, max_pixels)?;
    let is_usual = judge(frame)?;
    if !has_end(bytes) {
        return Err(cut_short());
    }
    let (exif, xmp) = segments::notes(bytes);
    let turn = Turn::noted(exif.as_deref(), xmp);
    decoder.set_lenient(true);
    let rgb = if is_usual {
        decoder.set_output_format(PixelFormat::Rgb);
        // Where a progressive file lacks its last scans, libjpeg smooths over the edges of blocks.
        decoder.set_block_smoothing(true);
        decoder.decode_image()?.data
    } else {
        planes::decode(decoder)?
    };
    let picture = RgbImage::from_raw(width, height, rgb);
    let picture = picture.ok_or_else(|| Refusal::Damaged("it holds too few pixels".into()))?;
    Ok((picture, turn))
}

fn cut_short() -> Refusal {
    Refusal::Truncated("it has no end marker".into())
}

/// Refuses what Pillow refuses; says whether the decoder brings all channels to one size by itself, which it does for
/// grey and for colour whose first channel is the finest.
fn judge(frame: &FrameHeader) -> Result<bool, Refusal> {
    let channels = &frame.components;
    if frame.precision != 8 {
        let bits = frame.precision;
        return Err(Refusal::NotAPicture(format!(
            "it has {bits} bits a sample, JPEGs of 8 are read"
        )));
    }
    if ![1, 3, 4].contains(&channels.len()) {
        let count = channels.len();
        return Err(Refusal::NotAPicture(format!(
            "it has {count} channels, JPEGs of 1, 3 and 4 are read"
        )));
    }
    let samplings = || {
        channels
            .iter()
            .map(|channel| (channel.horizontal_sampling, channel.vertical_sampling))
    };
    let (across, down) = finest(frame);
    if samplings().any(|(h, v)| h == 0 || v == 0 || across % h != 0 || down % v != 0) {
        return Err(Refusal::NotAPicture(
            "its channels are sampled in ratios that are no whole numbers".into(),
        ));
    }
    let first_is_finest = samplings().next() == Some((across, down));
    Ok(channels.len() == 1 || channels.len() == 3 && first_is_finest)
}

/// The largest sampling factors of the channels, across and down.
fn finest(frame: &FrameHeader) -> (u8, u8) {
    let largest = |factors: &mut dyn Iterator<Item = u8>| factors.max().unwrap_or(1);
    (
        largest(&mut frame.components.iter().map(|channel| channel.horizontal_sampling)),
        largest(&mut frame.components.iter().map(|channel| channel.vertical_sampling)),
    )
}

/// Whether a walk from marker to marker meets the end marker.
fn has_end(bytes: &[u8]) -> bool {
    const END: u8 = 0xd9;
    if bytes.ends_with(&[0xff, END]) {
        return true;
    }
    let mut place = 2;
    while let Some(pair) = bytes.get(place..place + 2) {
        place += match *pair {
            [0xff, END] => return true,
            // Coded data (where 0xff stands for itself before 0), restart markers, fill bytes: nothing with a length.
            [0xff, 0xff] => 1,
            [0xff, 0x00 | 0x01 | 0xd0..=0xd8] => 2,
            [0xff, _] => {
                let length = bytes.get(place + 2..place + 4);
                2 + length.map_or(0, |length| usize::from(length[0]) << 8 | usize::from(length[1]))
            }
            _ => 1,
        };
    }
    false
}
