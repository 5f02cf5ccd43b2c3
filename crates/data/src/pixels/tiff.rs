//! The first page of a TIFF: strips or tiles, one plane or several, samples of 1 to 16 bits.

use super::colour;
use super::decode::{Refusal, room, within_limits};
use super::directory::{Entry, entries};
use super::orientation::Turn;
use image::RgbImage;
use std::io::Cursor;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

/// `ExtraSamples`: colour is stored multiplied by its opacity.
const ASSOCIATED_OPACITY: u16 = 1;
/// `PhotometricInterpretation`.
const BLACK_IS_ZERO: u8 = 1;
const PALETTE: u8 = 3;
/// The tag of `PhotometricInterpretation`.
const PHOTOMETRIC: u64 = 262;
/// Values of an entry, of 32 bytes each in the decoder, for which room may be made on trust.
const MOST_VALUES: u64 = 1 << 20;

impl From<TiffError> for Refusal {
    fn from(error: TiffError) -> Self {
        match error {
            TiffError::UnsupportedError(error) => Self::NotAPicture(error.to_string()),
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// The picture, which Pillow turns upright whether it is asked to or not.
pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<RgbImage, Refusal> {
    check_counts(bytes)?;
    // The decoder knows no palettes: indices are read as if they were grey.
    let indexed = photometric_place(bytes).filter(|place| bytes[place.clone()].contains(&PALETTE));
    let relabelled = indexed.clone().map(|place| {
        let mut copy = bytes.to_vec();
        copy[place]
            .iter_mut()
            .filter(|byte| **byte == PALETTE)
            .for_each(|byte| *byte = BLACK_IS_ZERO);
        copy
    });
    let mut decoder = Decoder::new(Cursor::new(relabelled.as_deref().unwrap_or(bytes)))?;
    let (width, height) = decoder.dimensions()?;
    within_limits(width, height, max_pixels)?;
    let mut limits = Limits::default();
    let room = room(width, height) as usize;
    (limits.decoding_buffer_size, limits.intermediate_buffer_size) = (room, room);
    decoder = decoder.with_limits(limits);

    let kind = decoder.colortype()?;
    let mut stored = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut stored)?;
    let (width_, channels) = (width as usize, usize::from(kind.num_samples()));
    let (bits, planes) = (usize::from(kind.bit_depth()), layout.planes.max(1));
    let in_plane = if planes > 1 { 1 } else { channels };
    let samples = match stored {
        DecodingResult::U8(packed) if bits < 8 => unpack(&packed, bits, width_ * in_plane),
        DecodingResult::U8(samples) => samples,
        DecodingResult::F32(samples) if channels == 1 => samples.iter().map(|sample| *sample as u8).collect(),
        DecodingResult::I32(samples) if channels == 1 => samples
            .iter()
            .map(|sample| (*sample).clamp(0, 255) as u8)
            .collect(),
        DecodingResult::U16(samples) => {
            colour::narrow(samples.into_iter(), matches!(kind, ColorType::Gray(_)))
        }
        _ => return Err(unsupported(kind)),
    };
    let samples = if planes > 1 {
        interleave(&samples, planes)
    } else {
        samples
    };

    let mut rgb = Vec::with_capacity(width_ * height as usize * 3);
    match kind {
        ColorType::Gray(1 | 2 | 4 | 8) if indexed.is_some() => {
            let colours = palette(&decoder.get_tag_u16_vec(Tag::ColorMap)?);
            rgb.extend(samples.iter().flat_map(|index| colours[usize::from(*index)]));
        }
        ColorType::Gray(1 | 2 | 4) => {
            let white = (1u8 << bits) - 1;
            let grey: Vec<u8> = samples.iter().map(|sample| sample * (255 / white)).collect();
            colour::write_rgb(&grey, 1, &mut rgb);
        }
        ColorType::YCbCr(8) if planes == 1 => {
            let differences = Differences::of(bytes, &mut decoder)?;
            rgb.extend(
                samples
                    .as_chunks()
                    .0
                    .iter()
                    .flat_map(|pixel| differences.rgb(*pixel)),
            );
        }
        ColorType::CMYK(_) => rgb.extend(
            samples
                .as_chunks()
                .0
                .iter()
                .flat_map(|inks| colour::inks_to_rgb(*inks)),
        ),
        ColorType::RGBA(_) if extra_samples(&mut decoder)?.first() == Some(&ASSOCIATED_OPACITY) => {
            rgb.extend(samples.as_chunks().0.iter().flat_map(|pixel| divided(*pixel)));
        }
        ColorType::Gray(_) | ColorType::GrayA(_) | ColorType::RGB(_) | ColorType::RGBA(_) => {
            colour::write_rgb(&samples, channels, &mut rgb);
        }
        // Grey with channels of no stated meaning: Pillow takes a second one for opacity.
        ColorType::Multiband { num_samples: 2, .. } => colour::write_rgb(&samples, 2, &mut rgb),
        other => return Err(unsupported(other)),
    }
    let picture = RgbImage::from_raw(width, height, rgb);
    let picture = picture.ok_or_else(|| Refusal::Damaged("it holds too few pixels".into()))?;
    Ok(Turn::in_tiff(bytes).apply(picture))
}

fn unsupported(kind: ColorType) -> Refusal {
    Refusal::NotAPicture(format!("TIFFs of kind {kind:?} are not read"))
}

fn extra_samples(decoder: &mut Decoder<Cursor<&[u8]>>) -> Result<Vec<u16>, TiffError> {
    let found = decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples)?;
    Ok(found.unwrap_or_default())
}

/// One byte for each sample of `bits`; rows of `row` samples begin at whole bytes.
fn unpack(packed: &[u8], bits: usize, row: usize) -> Vec<u8> {
    let per_byte = 8 / bits;
    let mask = (1u8 << bits) - 1;
    let rows = packed.chunks_exact(row.div_ceil(per_byte));
    rows.flat_map(|bytes| {
        (0..row).map(move |place| {
            let shift = 8 - bits * (1 + place % per_byte);
            bytes[place / per_byte] >> shift & mask
        })
    })
    .collect()
}

fn interleave(samples: &[u8], planes: usize) -> Vec<u8> {
    let size = samples.len() / planes;
    let sample = |place: usize| samples[place % planes * size + place / planes];
    (0..size * planes).map(sample).collect()
}

/// A colour map holds 16-bit values: all reds, then all greens, then all blues.
fn palette(map: &[u16]) -> [[u8; 3]; 256] {
    let size = map.len() / 3;
    let entries: Vec<u8> = (0..size)
        .flat_map(|index| [0, 1, 2].map(|channel| (map[channel * size + index] >> 8) as u8))
        .collect();
    colour::palette(&entries)
}

/// Colour as it was before it was multiplied by its opacity.
fn divided([red, green, blue, opacity]: [u8; 4]) -> [u8; 3] {
    [red, green, blue].map(|sample| match opacity {
        0 => 0,
        opacity => (u32::from(sample) * 255 / u32::from(opacity)).min(255) as u8,
    })
}

/// What differences of colour add to brightness, in fractions of two to the power of `shift`.
struct Differences {
    shift: u32,
    red: [i32; 256],
    green: [[i32; 256]; 2],
    blue: [i32; 256],
}

impl Differences {
    /// Pillow converts what is stored plain by itself, and has libtiff convert what is packed: they round differently, and
    /// libtiff alone follows weights that a file brings (which are refused).
    fn of(bytes: &[u8], decoder: &mut Decoder<Cursor<&[u8]>>) -> Result<Self, Refusal> {
        const PLAIN: u16 = 1;
        const HALF: i32 = 1 << 15;
        /// `YCbCrCoefficients` and `ReferenceBlackWhite`: the tag, the denominator, the usual values.
        const WEIGHTS: &[(u64, u64, &[u64])] = &[
            (529, 1000, &[299, 587, 114]),
            (532, 1, &[0, 255, 128, 255, 128, 255]),
        ];
        let packing = decoder.find_tag_unsigned::<u16>(Tag::Compression)?;
        if packing.unwrap_or(PLAIN) == PLAIN {
            // As if with a cast of C.
            let table = |factor: f64| {
                std::array::from_fn(|index| (factor * 64.0 * (index as f64 - 128.0) + 0.5) as i32)
            };
            return Ok(Self {
                shift: 6,
                red: table(1.402),
                green: [table(-0.34414), table(-0.71414)],
                blue: table(1.772),
            });
        }
        let is_usual = |entry: &Entry| {
            let Some((_, whole, usual)) = WEIGHTS.iter().find(|weights| weights.0 == entry.tag) else {
                return true;
            };
            let stored = entry.fractions(bytes).unwrap_or_default();
            let mut pairs = stored.iter().zip(usual.iter());
            stored.len() == usual.len()
                && pairs.all(|((above, below), usual)| *below > 0 && above * whole == below * usual)
        };
        if !entries(bytes).all(|entry| is_usual(&entry)) {
            return Err(Refusal::NotAPicture(
                "TIFFs with weights of colour of their own are not read".into(),
            ));
        }
        let table = |factor: i32, add: i32| std::array::from_fn(|index| factor * (index as i32 - 128) + add);
        Ok(Self {
            shift: 16,
            red: table(91_881, HALF),
            green: [table(-22_553, HALF), table(-46_802, 0)],
            blue: table(116_130, HALF),
        })
    }

    fn rgb(&self, [brightness, to_blue, to_red]: [u8; 3]) -> [u8; 3] {
        let (to_blue, to_red) = (usize::from(to_blue), usize::from(to_red));
        let green = self.green[0][to_blue] + self.green[1][to_red];
        [self.red[to_red], green, self.blue[to_blue]]
            .map(|added| (i32::from(brightness) + (added >> self.shift)).clamp(0, 255) as u8)
    }
}

/// Where the first directory keeps the two bytes that say how samples are meant.
fn photometric_place(bytes: &[u8]) -> Option<std::ops::Range<usize>> {
    let place = entries(bytes).find(|entry| entry.tag == PHOTOMETRIC)?.place;
    bytes.get(place..place + 2)?;
    Some(place..place + 2)
}

/// The decoder makes room for as many values as an entry claims before it looks whether the file can hold them.
fn check_counts(bytes: &[u8]) -> Result<(), Refusal> {
    let most = MOST_VALUES.max(bytes.len() as u64);
    match entries(bytes).find(|entry| entry.count > most) {
        Some(Entry { tag, count, .. }) => Err(Refusal::Damaged(format!(
            "its entry {tag} claims {count} values, and it has {} bytes",
            bytes.len()
        ))),
        None => Ok(()),
    }
}
