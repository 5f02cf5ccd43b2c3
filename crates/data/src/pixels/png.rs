//! PNG with Pillow's strictness: checksums are compared up to the picture data, and what follows the last row may be missing.

use super::colour;
use super::decode::{Refusal, room, within_limits};
use super::orientation::Turn;
use image::RgbImage;
use png::{BitDepth, ColorType, DecodeOptions, Decoder, DecodingError, Info, Limits, Transformations};
use std::borrow::Cow;
use std::io::Cursor;
use std::ops::Range;

const END: [u8; 12] = [0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82];
/// A palette of one colour; the decoder takes what it lacks for black, too. No checksum of a chunk is looked at any more.
const BLACK: [u8; 15] = [0, 0, 0, 3, b'P', b'L', b'T', b'E', 0, 0, 0, 0, 0, 0, 0];
/// The kind of colour that is an index.
const INDEXED: u8 = 3;
const XMP: &str = "XML:com.adobe.xmp";
/// Where ImageMagick keeps EXIF: three lines of heading, then hexadecimal digits.
const EXIF_AS_TEXT: &str = "Raw profile type exif";

impl From<DecodingError> for Refusal {
    fn from(error: DecodingError) -> Self {
        Self::Damaged(error.to_string())
    }
}

pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<(RgbImage, Turn), Refusal> {
    let chunks = walk(bytes)?;
    rows(bytes, &chunks, max_pixels).map_err(|refusal| match refusal {
        Refusal::Damaged(reason) if !chunks.has_end => Refusal::Truncated(reason),
        refusal => refusal,
    })
}

fn rows(bytes: &[u8], chunks: &Chunks<'_>, max_pixels: u64) -> Result<(RgbImage, Turn), Refusal> {
    let whole = mended(bytes, chunks);
    let mut ways = DecodeOptions::default();
    ways.set_ignore_crc(true);
    // What is cut off may be the end of the checksum of all rows.
    ways.set_ignore_adler32(!chunks.has_end);
    let mut decoder = Decoder::new_with_options(Cursor::new(&whole[..]), ways);
    decoder.set_transformations(Transformations::EXPAND);
    let (width, height) = decoder.read_header_info()?.size();
    within_limits(width, height, max_pixels)?;
    decoder.set_limits(Limits {
        bytes: room(width, height) as usize,
    });
    let mut reader = decoder.read_info()?;

    let is_plain_grey = reader.info().color_type == ColorType::Grayscale;
    let (colour, depth) = reader.output_color_type();
    let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
    let mut add = |row: &[u8]| {
        let narrowed;
        let row = if depth == BitDepth::Sixteen {
            let samples = row.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair));
            narrowed = colour::narrow(samples, is_plain_grey);
            &narrowed
        } else {
            row
        };
        colour::write_rgb(row, colour.samples(), &mut rgb);
    };
    if reader.info().interlaced {
        let size = reader
            .output_buffer_size()
            .ok_or_else(|| too_large(width, height))?;
        let stride = reader
            .output_line_size(width)
            .ok_or_else(|| too_large(width, height))?;
        let mut rows = vec![0; size];
        reader.next_frame(&mut rows)?;
        rows.chunks_exact(stride).for_each(add);
    } else {
        for _ in 0..height {
            add(reader
                .next_row()?
                .ok_or_else(|| Refusal::Damaged("it holds too few rows".into()))?
                .data());
        }
        // The checksum of all rows stands behind the last one.
        if chunks.has_end {
            reader.next_row()?;
        }
    }
    // Texts may stand behind the rows; what else is wrong there is of no matter.
    let _ = reader.finish();
    let turn = noted(reader.info(), chunks.exif);
    let picture = RgbImage::from_raw(width, height, rgb);
    Ok((
        picture.ok_or_else(|| Refusal::Damaged("it holds too few pixels".into()))?,
        turn,
    ))
}

/// The file as the decoder takes it where Pillow is less strict: with an end; with a palette (of black) where pixels are
/// indices; without the chunk by which Apple marks files of another kind, which Pillow passes over.
fn mended<'a>(bytes: &'a [u8], chunks: &Chunks<'_>) -> Cow<'a, [u8]> {
    let mut whole = Cow::Borrowed(bytes);
    if !chunks.has_end {
        whole.to_mut().extend(END);
    }
    if let (Some(place), false) = (chunks.indices, chunks.has_palette) {
        drop(whole.to_mut().splice(place..place, BLACK));
    }
    if let Some(range) = chunks.apple.clone() {
        whole.to_mut().drain(range);
    }
    whole
}

fn too_large(width: u32, height: u32) -> Refusal {
    Refusal::TooLarge { width, height }
}

/// What is of interest in a file's chunks.
struct Chunks<'a> {
    has_end: bool,
    has_palette: bool,
    /// Where the picture data begin, if they are indices into a palette.
    indices: Option<usize>,
    exif: Option<&'a [u8]>,
    /// Apple's mark, in front of the picture data.
    apple: Option<Range<usize>>,
}

/// Walks from chunk to chunk; those in front of the picture data must have the checksum that they announce.
fn walk(bytes: &[u8]) -> Result<Chunks<'_>, Refusal> {
    let (mut place, mut in_front) = (8, true);
    let mut found = Chunks {
        has_end: false,
        has_palette: false,
        indices: None,
        exif: None,
        apple: None,
    };
    let mut is_indexed = false;
    while let Some(head) = bytes.get(place..place + 8) {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let name = &head[4..];
        if in_front && name == b"IDAT" {
            in_front = false;
            found.indices = is_indexed.then_some(place);
        }
        let end = place + 8 + length;
        let (Some(body), checksum) = (bytes.get(place + 8..end), bytes.get(end..end + 4)) else {
            break;
        };
        if in_front {
            let mut sum = flate2::Crc::new();
            sum.update(name);
            sum.update(body);
            if checksum != Some(&sum.sum().to_be_bytes()[..]) {
                let name = String::from_utf8_lossy(name);
                return Err(Refusal::Damaged(format!(
                    "the checksum of its chunk {name} is wrong"
                )));
            }
        }
        match name {
            b"IHDR" => is_indexed = body.get(9) == Some(&INDEXED),
            b"PLTE" => found.has_palette = true,
            b"CgBI" if in_front => found.apple = Some(place..end + 4),
            b"eXIf" => found.exif = Some(body),
            b"IEND" => {
                found.has_end = true;
                break;
            }
            _ => {}
        }
        place = end + 4;
    }
    Ok(found)
}

/// The orientation in a chunk of its own, in text, or in an XMP packet.
fn noted(info: &Info<'_>, exif: Option<&[u8]>) -> Turn {
    // Of texts with the same name the last one counts.
    let plain = info.uncompressed_latin1_text.iter().rev();
    let mut plain = plain.filter(|text| text.keyword == EXIF_AS_TEXT);
    let compressed = info.compressed_latin1_text.iter().rev();
    let mut compressed = compressed.filter(|text| text.keyword == EXIF_AS_TEXT);
    let named = |name: &'static str| {
        let text = info.utf8_text.iter().rev().find(|text| text.keyword == name);
        text.and_then(|text| text.get_text().ok())
    };
    let written = plain.next().map(|text| text.text.clone());
    let written = written.or_else(|| compressed.next().and_then(|text| text.get_text().ok()));
    let written = written.or_else(|| named(EXIF_AS_TEXT));
    let in_text = written.map(|text| digits(&text));
    let xmp = named(XMP);
    Turn::noted(
        exif.or(in_text.as_deref()),
        xmp.as_ref().map(|text| text.as_bytes()),
    )
}

/// The bytes that hexadecimal digits stand for, behind three lines of heading; what is no digit ends them.
fn digits(text: &str) -> Vec<u8> {
    let lines = text.split('\n').skip(3).flat_map(str::bytes);
    let digits: Vec<u8> = lines
        .map_while(|digit| (digit as char).to_digit(16).map(|digit| digit as u8))
        .collect();
    digits
        .as_chunks()
        .0
        .iter()
        .map(|[high, low]| high << 4 | low)
        .collect()
}
