//! AVIF as Pillow reads it through libavif: stills, grids and the first frame of sequences.

mod boxes;
mod fixed;
mod float;
mod frame;
mod items;
mod properties;
mod rgb;
mod tracks;

use super::decode::Refusal;
use super::orientation::Turn;
use boxes::{Name, Reader};
use frame::Frame;
use image::RgbImage;
use items::{Coded, Items};
use properties::{Colour, Properties};
use std::borrow::Cow;

/// The parts of a file that decide its pixels.
struct Source<'a> {
    coded: Coded<'a>,
    alpha: Option<Coded<'a>>,
    /// Whether the colour has been multiplied by opacity.
    is_multiplied: bool,
    /// How colour is coded; without it the AV1 data say so.
    colour: Option<Colour>,
    turn: Turn,
}

/// Whether the file's first bytes are those of AVIF or of a relative of it, which is told only further in.
pub(super) fn is_kin(bytes: &[u8]) -> bool {
    let brands: [&[u8]; 4] = [b"ftypavif", b"ftypavis", b"ftypmif1", b"ftypmsf1"];
    bytes.get(4..12).is_some_and(|start| brands.contains(&start))
}

pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<(RgbImage, Turn), Refusal> {
    let source = read(bytes)?;
    let frame = Frame::decode(&source.coded, max_pixels)?;
    let alpha = source.alpha.map(|alpha| Frame::decode(&alpha, max_pixels));
    let alpha = alpha.transpose()?;
    if let Some(alpha) = &alpha
        && (alpha.width, alpha.height, alpha.bits) != (frame.width, frame.height, frame.bits)
    {
        return Err(Refusal::Damaged(
            "its opacity is not of the size and depth of its colour".into(),
        ));
    }
    let colour = source.colour.map_or_else(|| frame::colour(&source.coded), Ok)?;
    let picture = rgb::convert(&frame, alpha.as_ref(), source.is_multiplied, colour)?;
    Ok((picture, source.turn))
}

fn read(bytes: &[u8]) -> Result<Source<'_>, Refusal> {
    let mut file = Reader(bytes);
    let brands = file.next_box()?.map_or(&[][..], |(_, content)| content.0);
    let major = brands.first_chunk().copied().unwrap_or_default();
    let has = |brand: &Name| {
        brands
            .chunks(4)
            .enumerate()
            .any(|(index, other)| index != 1 && other == brand)
    };
    if !has(b"avif") && !has(b"avis") {
        return Err(Refusal::NotAPicture(
            "it is of AVIF's family, but holds no AV1".into(),
        ));
    }
    let (mut meta, mut moov) = (None, None);
    // What lies behind a box that is cut short cannot be told; whether it is needed shows.
    while let Ok(Some((name, content))) = file.next_box() {
        match &name {
            b"meta" => meta = meta.or(Some(content)),
            b"moov" => moov = moov.or(Some(content)),
            _ => {}
        }
    }
    // As libavif chooses.
    let is_sequence = major == *b"avis" || major != *b"avif" && has(b"avis") && moov.is_some();
    let missing = || Refusal::Truncated("the description of its pictures is missing".into());
    if is_sequence {
        sequence(bytes, moov.ok_or_else(missing)?)
    } else {
        still(bytes, meta.ok_or_else(missing)?)
    }
}

fn still<'a>(file: &'a [u8], meta: Reader<'a>) -> Result<Source<'a>, Refusal> {
    let items = Items::read(file, meta)?;
    let (id, properties) = items.primary()?;
    let coded = items.picture(id)?;
    let (alpha, is_multiplied) = items.alpha(id, &coded)?.unzip();
    Ok(Source {
        coded,
        alpha,
        is_multiplied: is_multiplied == Some(true),
        colour: properties.colour()?,
        turn: turn(properties, items.notes(Some(id)))?,
    })
}

fn sequence<'a>(file: &'a [u8], moov: Reader<'a>) -> Result<Source<'a>, Refusal> {
    let (track, alpha) = tracks::read(moov)?;
    let notes = match track.meta {
        Some(meta) => Items::read(file, meta)?.notes(None),
        None => [None, None],
    };
    Ok(Source {
        coded: track.first(file)?,
        alpha: alpha.as_ref().map(|alpha| alpha.first(file)).transpose()?,
        is_multiplied: alpha.is_some_and(|alpha| track.is_multiplied(&alpha)),
        colour: track.properties.colour()?,
        turn: turn(&track.properties, notes)?,
    })
}

fn turn(properties: &Properties<'_>, [exif, xmp]: [Option<Cow<'_, [u8]>>; 2]) -> Result<Turn, Refusal> {
    // An EXIF block begins with the place of its header.
    let exif = exif.as_deref().and_then(|block| block.get(4..));
    Ok(Turn::beside(properties.orientation()?, exif, xmp.as_deref()))
}
