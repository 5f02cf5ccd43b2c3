//! Sequences of pictures (`moov`, ISO/IEC 14496-12, 8.3): what the first frame needs.

use super::boxes::Reader;
use super::items::Coded;
use super::properties::Properties;
use crate::pixels::decode::Refusal;
use std::borrow::Cow;

/// One track of a sequence, colour or opacity.
#[derive(Default)]
pub(super) struct Track<'a> {
    pub(super) id: u32,
    size: (u32, u32),
    /// The track whose opacity this is.
    auxiliary_of: Option<u32>,
    /// The track by which this one's colour is multiplied.
    multiplied_by: Option<u32>,
    pub(super) properties: Properties<'a>,
    pub(super) meta: Option<Reader<'a>>,
    is_av1: bool,
    offset: Option<u64>,
    length: Option<u64>,
}

/// The colour of a sequence and its opacity, if any.
pub(super) fn read<'a>(moov: Reader<'a>) -> Result<(Track<'a>, Option<Track<'a>>), Refusal> {
    let tracks = moov.boxes()?.into_iter().filter(|(name, _)| name == b"trak");
    let tracks: Result<Vec<Track<'a>>, Refusal> = tracks.map(|(_, content)| Track::read(content)).collect();
    let mut tracks: Vec<Track<'a>> = tracks?
        .into_iter()
        .filter(|track| track.is_av1 && track.id != 0)
        .collect();
    let first = tracks
        .iter()
        .position(|track| track.auxiliary_of.is_none() && track.offset.is_some());
    let none = || Refusal::NotAPicture("it has no track of AV1 pictures".into());
    let colour = tracks.swap_remove(first.ok_or_else(none)?);
    let alpha = tracks
        .into_iter()
        .find(|track| track.auxiliary_of == Some(colour.id) && track.properties.is_alpha() != Some(false));
    Ok((colour, alpha))
}

impl<'a> Track<'a> {
    fn read(content: Reader<'a>) -> Result<Self, Refusal> {
        let mut track = Self::default();
        track.descend(content, 3)?;
        Ok(track)
    }

    /// Boxes within boxes, so many levels down to the sample tables.
    fn descend(&mut self, content: Reader<'a>, levels: u8) -> Result<(), Refusal> {
        for (name, mut content) in content.boxes()? {
            match &name {
                b"mdia" | b"minf" | b"stbl" if levels > 0 => self.descend(content, levels - 1)?,
                b"meta" => self.meta = Some(content),
                b"tkhd" => {
                    let (version, _) = content.version()?;
                    content.take(if version == 1 { 16 } else { 8 })?;
                    self.id = content.u32()?;
                    // Duration, layer, volume and a matrix; then whole numbers with 16 bits behind the point.
                    content.take(if version == 1 { 64 } else { 60 })?;
                    self.size = (content.u32()? >> 16, content.u32()? >> 16);
                }
                b"tref" => {
                    for (name, mut content) in content.boxes()? {
                        match &name {
                            b"auxl" => self.auxiliary_of = Some(content.u32()?),
                            b"prem" => self.multiplied_by = Some(content.u32()?),
                            _ => {}
                        }
                    }
                }
                b"stsd" => {
                    content.take(8)?;
                    if let Some((_, mut entry)) = content.next_box()?.filter(|(name, _)| name == b"av01") {
                        self.is_av1 = true;
                        entry.take(78)?;
                        self.properties = Properties(entry.boxes()?);
                    }
                }
                b"stsz" => {
                    content.version()?;
                    let (of_all, count) = (content.u32()?, content.u32()?);
                    let length = if of_all == 0 && count > 0 {
                        content.u32()?
                    } else {
                        of_all
                    };
                    self.length = Some(u64::from(length));
                }
                b"stco" | b"co64" => {
                    content.version()?;
                    if content.u32()? > 0 {
                        self.offset = Some(content.number(if name == *b"co64" { 8 } else { 4 })?);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the colour is multiplied by `alpha`.
    pub(super) fn is_multiplied(&self, alpha: &Self) -> bool {
        self.multiplied_by == Some(alpha.id)
    }

    /// The first frame.
    pub(super) fn first(&self, file: &'a [u8]) -> Result<Coded<'a>, Refusal> {
        let frame = || {
            let start = usize::try_from(self.offset?).ok()?;
            file.get(start..start.checked_add(usize::try_from(self.length?).ok()?)?)
        };
        let missing = || Refusal::Truncated("its first frame lies beyond its end".into());
        Ok(Coded {
            size: self.size,
            tiles: vec![Cow::Borrowed(frame().ok_or_else(missing)?)],
            tile_size: self.size,
            columns: 1,
        })
    }
}
