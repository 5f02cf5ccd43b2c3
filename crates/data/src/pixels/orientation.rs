//! The orientation that a camera has noted in a picture's EXIF block or XMP packet, followed as Pillow's
//! `ImageOps.exif_transpose` follows it.

use super::directory::entries;
use image::metadata::Orientation as Transform;
use image::{DynamicImage, RgbImage};

/// How pixels must be turned to stand upright.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn(Transform);

impl Turn {
    /// What a file's EXIF block (with or without its `Exif\0\0`) says, else what its XMP packet says. A block that
    /// does not begin as one, or whose value means nothing, leaves the picture as it lies.
    pub(super) fn noted(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Self {
        let block = exif.map(unnamed).unwrap_or_default();
        if !block.is_empty() && !begins_as_exif(block) {
            return Self::of(None);
        }
        Self::either(in_directory(block), xmp)
    }

    /// What the first directory of a TIFF says, else the XMP packet that it keeps.
    pub(super) fn in_tiff(file: &[u8]) -> Self {
        const XMP: u64 = 700;
        let packet = entries(file).find(|entry| entry.tag == XMP);
        Self::either(in_directory(file), packet.and_then(|entry| entry.bytes(file)))
    }

    fn either(code: Option<u64>, xmp: Option<&[u8]>) -> Self {
        match code {
            Some(code) => Self::of(u16::try_from(code).ok()),
            None => Self(xmp.and_then(in_xmp).unwrap_or(Transform::NoTransforms)),
        }
    }

    /// What a format says itself, as an orientation tag's value. It goes before the tag in the EXIF block, whatever that says;
    /// an XMP packet is followed where there is neither.
    pub(super) fn beside(code: u8, exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Self {
        if code != 1 || exif.map(unnamed).and_then(in_directory).is_some() {
            return Self::of(Some(u16::from(code)));
        }
        Self::noted(None, xmp)
    }

    /// What an orientation tag's value says.
    pub(super) fn of(code: Option<u16>) -> Self {
        let noted = code.and_then(|code| Transform::from_exif(u8::try_from(code).ok()?));
        Self(noted.unwrap_or(Transform::NoTransforms))
    }

    pub(super) fn apply(self, picture: RgbImage) -> RgbImage {
        if self.0 == Transform::NoTransforms {
            return picture;
        }
        let mut picture = DynamicImage::ImageRgb8(picture);
        picture.apply_orientation(self.0);
        picture.into_rgb8()
    }
}

/// An EXIF block without its name, which some programs write twice.
fn unnamed(block: &[u8]) -> &[u8] {
    let mut block = block;
    while let Some(rest) = block.strip_prefix(b"Exif\0\0") {
        block = rest;
    }
    block
}

/// Whether Pillow takes it for an EXIF block: a TIFF, but not a BigTIFF; the mark behind the order of bytes may be in the other
/// one.
fn begins_as_exif(block: &[u8]) -> bool {
    let begins = matches!(
        block.first_chunk::<4>(),
        Some(b"II*\0" | b"II\0*" | b"MM\0*" | b"MM*\0")
    );
    begins && block.len() >= 8
}

/// The orientation tag's value, in whatever type it is written; the first one's that there is, where there are several.
fn in_directory(block: &[u8]) -> Option<u64> {
    const TAG: u64 = 0x0112;
    let mut noted = entries(block).filter(|entry| entry.tag == TAG);
    noted.find_map(|entry| entry.first(block))
}

/// The digit behind `tiff:Orientation`, which is written as an attribute or as an element.
fn in_xmp(packet: &[u8]) -> Option<Transform> {
    const KEY: &[u8] = b"tiff:Orientation";
    let mut places = (0..packet.len()).filter(|place| packet[*place..].starts_with(KEY));
    places.find_map(|place| {
        let rest = &packet[place + KEY.len()..];
        let value = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
        let digit = value.first().filter(|digit| digit.is_ascii_digit())?;
        Transform::from_exif(digit - b'0')
    })
}
