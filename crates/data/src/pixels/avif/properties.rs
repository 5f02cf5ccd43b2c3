//! What is said of a picture beside its coded data: size, colour, opacity, how it is turned (ISO/IEC 23008-12, 6.5).

use super::boxes::{Name, Reader};
use crate::pixels::decode::Refusal;

/// The properties of an item, or of the samples of a track.
#[derive(Debug, Clone, Default)]
pub(super) struct Properties<'a>(pub(super) Vec<(Name, Reader<'a>)>);

/// How colour is coded, by the numbers of ITU-T H.273.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Colour {
    pub(super) primaries: u16,
    pub(super) matrix: u16,
    /// Whether brightness uses all codes, not only those from 16 to 235 (of 8 bits).
    pub(super) is_full: bool,
}

impl<'a> Properties<'a> {
    pub(super) fn find(&self, name: &Name) -> Option<Reader<'a>> {
        let mut all = self.0.iter();
        all.find_map(|(other, content)| (other == name).then_some(*content))
    }

    /// Width and height.
    pub(super) fn size(&self) -> Result<(u32, u32), Refusal> {
        let missing = || Refusal::Damaged("it does not say how large its picture is".into());
        let mut content = self.find(b"ispe").ok_or_else(missing)?;
        content.version()?;
        Ok((content.u32()?, content.u32()?))
    }

    pub(super) fn colour(&self) -> Result<Option<Colour>, Refusal> {
        for (name, mut content) in self.0.iter().copied() {
            if name == *b"colr" && content.name()? == *b"nclx" {
                let (primaries, _transfer) = (content.u16()?, content.u16()?);
                return Ok(Some(Colour {
                    primaries,
                    matrix: content.u16()?,
                    is_full: content.u8()? >> 7 == 1,
                }));
            }
        }
        Ok(None)
    }

    /// Whether this is the opacity of another picture; `None` where nothing is said.
    pub(super) fn is_alpha(&self) -> Option<bool> {
        let mut content = self.find(b"auxC").or_else(|| self.find(b"auxi"))?;
        let kind = content.version().and_then(|_| content.text()).ok()?;
        Some(kind == b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha" || kind == b"urn:mpeg:hevc:2015:auxid:1")
    }

    /// Rotation (quarter turns against the clock), then mirroring (of left and right, or of top and bottom), as the value
    /// of an EXIF orientation tag.
    pub(super) fn orientation(&self) -> Result<u8, Refusal> {
        let value = |name| self.find(name).map(|mut content| content.u8()).transpose();
        let swaps_left_and_right = value(b"imir")?.map(|axis| axis & 1 == 1);
        Ok(match (value(b"irot")?.unwrap_or(0) & 3, swaps_left_and_right) {
            (0, None) => 1,
            (1, None) => 8,
            (2, None) => 3,
            (_, None) => 6,
            (0, Some(true)) | (2, Some(false)) => 2,
            (0, Some(false)) | (2, Some(true)) => 4,
            (1, Some(false)) | (3, Some(true)) => 5,
            (_, Some(_)) => 7,
        })
    }

    /// Refuses what a reader must understand and this one does not: layers that are chosen, and of what `essential` names
    /// all that does not change pixels or is read above.
    pub(super) fn judge(&self, essential: &[Name]) -> Result<(), Refusal> {
        const KNOWN: [&Name; 12] = [
            b"ispe", b"auxC", b"colr", b"av1C", b"pasp", b"clap", b"irot", b"imir", b"pixi", b"clli",
            b"a1op", b"lsel",
        ];
        if let Some(name) = essential.iter().find(|name| !KNOWN.contains(name)) {
            let name = String::from_utf8_lossy(name);
            return Err(Refusal::NotAPicture(format!(
                "it asks for property {name:?}, which is not known"
            )));
        }
        let point = self.find(b"a1op").map(|mut content| content.u8()).transpose()?;
        let layer = self.find(b"lsel").map(|mut content| content.u16()).transpose()?;
        if point.unwrap_or(0) != 0 || layer.is_some_and(|layer| layer != 0xffff) {
            return Err(Refusal::NotAPicture(
                "it asks for one of several layers, which is not read".into(),
            ));
        }
        Ok(())
    }
}
