//! AV1 by a port of dav1d, which is what Pillow decodes AVIF with.

use super::items::Coded;
use super::properties::Colour;
use crate::pixels::decode::{Refusal, within_limits};
use re_rav1d::include::dav1d::headers::Dav1dSequenceHeader;
use re_rav1d::pixel::YUVRange;
use re_rav1d::src::lib::dav1d_parse_sequence_header;
use re_rav1d::{Decoder, Error, Picture, PixelLayout, PlanarImageComponent, Settings};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Damaged(format!("its AV1 data cannot be decoded: {error}"))
    }
}

/// Decoded samples: brightness and, unless it is grey, two planes of colour, which may have half as many columns and rows.
pub(super) struct Frame {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Bits of a sample: 8, 10 or 12.
    pub(super) bits: u32,
    pub(super) layout: PixelLayout,
    pub(super) is_full: bool,
    tiles: Vec<Picture>,
    tile_size: (usize, usize),
    columns: usize,
}

impl Frame {
    pub(super) fn decode(coded: &Coded<'_>, max_pixels: u64) -> Result<Self, Refusal> {
        for (width, height) in [coded.size, coded.tile_size] {
            within_limits(width, height, max_pixels)?;
        }
        let (tile_width, tile_height) = coded.tile_size;
        let mut settings = Settings::new();
        settings.set_n_threads(1);
        settings.set_max_frame_delay(1);
        settings.set_all_layers(false);
        // The size that the AV1 data announce themselves is judged by the decoder before it takes memory.
        settings.set_frame_size_limit(u32::try_from(max_pixels).unwrap_or(u32::MAX));
        let mut decoder = Decoder::with_settings(&settings)?;
        let tiles: Result<Vec<Picture>, Refusal> = coded
            .tiles
            .iter()
            .map(|tile| {
                let picture = first_picture(&mut decoder, tile)?;
                decoder.flush();
                if (picture.width(), picture.height()) != coded.tile_size {
                    let (width, height) = (picture.width(), picture.height());
                    return Err(Refusal::Damaged(format!(
                        "its picture is {width}x{height} where its header says {tile_width}x{tile_height}"
                    )));
                }
                Ok(picture)
            })
            .collect();
        let tiles = tiles?;
        let kind = |tile: &Picture| (tile.bit_depth(), tile.pixel_layout(), tile.color_range());
        let first = tiles
            .first()
            .ok_or_else(|| Refusal::Damaged("it has no picture".into()))?;
        let (bits, layout, range) = kind(first);
        if tiles.iter().any(|tile| kind(tile) != kind(first)) {
            return Err(Refusal::Damaged(
                "the parts of its grid are not all of one kind".into(),
            ));
        }
        Ok(Self {
            width: coded.size.0 as usize,
            height: coded.size.1 as usize,
            bits: bits as u32,
            layout,
            is_full: range == YUVRange::Full,
            tiles,
            tile_size: (tile_width as usize, tile_height as usize),
            columns: coded.columns,
        })
    }

    /// How many pixels a sample of colour covers, across and down.
    pub(super) fn factors(&self) -> (usize, usize) {
        match self.layout {
            PixelLayout::I420 => (2, 2),
            PixelLayout::I422 => (2, 1),
            PixelLayout::I400 | PixelLayout::I444 => (1, 1),
        }
    }

    /// Fills `row` with row `y` of a plane: 0 is brightness, 1 and 2 are colour.
    pub(super) fn read_row(&self, plane: usize, y: usize, row: &mut [u16]) -> Result<(), Refusal> {
        let (across, down) = if plane == 0 { (1, 1) } else { self.factors() };
        let (tile_width, tile_height) = (self.tile_size.0.div_ceil(across), self.tile_size.1.div_ceil(down));
        let component = PlanarImageComponent::from(plane);
        let tiles = self.tiles.iter().skip(y / tile_height * self.columns);
        for (part, tile) in row.chunks_mut(tile_width).zip(tiles) {
            let (bytes, stride) = (tile.plane(component), tile.stride(component) as usize);
            let start = y % tile_height * stride;
            let short = || Refusal::Damaged("it is too large for its decoder".into());
            if self.bits == 8 {
                let samples = bytes.get(start..start + part.len()).ok_or_else(short)?;
                part.iter_mut()
                    .zip(samples)
                    .for_each(|(out, sample)| *out = u16::from(*sample));
            } else {
                let samples = bytes.get(start..start + 2 * part.len()).ok_or_else(short)?;
                let samples = samples.as_chunks().0.iter();
                part.iter_mut()
                    .zip(samples)
                    .for_each(|(out, sample)| *out = u16::from_ne_bytes(*sample));
            }
        }
        Ok(())
    }
}

/// The first picture that the decoder makes of `data`; of several layers the uppermost. What follows must be sound, too.
fn first_picture(decoder: &mut Decoder, data: &[u8]) -> Result<Picture, Refusal> {
    let none = || Refusal::Damaged("its AV1 data holds no picture".into());
    if data.is_empty() {
        return Err(none());
    }
    let mut sent = decoder.send_data(data.to_vec(), None, None, None);
    let mut first = None;
    // Each turn takes in some of the data, or gives a picture.
    for _ in 0..=data.len() {
        let is_pending = match sent {
            Ok(()) => false,
            Err(Error::Again) => true,
            Err(error) => return Err(error.into()),
        };
        match decoder.get_picture() {
            Ok(picture) => first = first.or(Some(picture)),
            Err(Error::Again) if is_pending && first.is_none() => sent = decoder.send_pending_data(),
            Err(Error::Again) => break,
            Err(error) => return Err(error.into()),
        }
    }
    first.ok_or_else(none)
}

/// How colour is coded, as the AV1 data itself says.
pub(super) fn colour(coded: &Coded<'_>) -> Result<Colour, Refusal> {
    let data = coded.tiles.first().map_or(&[][..], |tile| tile);
    let mut header = MaybeUninit::<Dav1dSequenceHeader>::uninit();
    // SAFETY: `data` is a slice that outlives the call, and `header` has room for what is written.
    let result = unsafe {
        dav1d_parse_sequence_header(
            NonNull::new(header.as_mut_ptr()),
            NonNull::new(data.as_ptr().cast_mut()),
            data.len(),
        )
    };
    if result.0 != 0 {
        return Err(Refusal::Damaged("its AV1 data has no header".into()));
    }
    // SAFETY: the call has succeeded, so it has written the header.
    let header = unsafe { header.assume_init() };
    Ok(Colour {
        primaries: header.pri as u16,
        matrix: header.mtrx as u16,
        is_full: header.color_range != 0,
    })
}
