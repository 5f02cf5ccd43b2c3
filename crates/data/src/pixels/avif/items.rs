//! Items of a `meta` box (ISO/IEC 14496-12, 8.11): coded pictures, grids of pictures and notes, where their bytes lie and
//! what is said of each.

use super::boxes::{Name, Reader};
use super::properties::Properties;
use crate::pixels::decode::Refusal;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Pictures to be decoded and laid side by side, row by row; most often one.
pub(super) struct Coded<'a> {
    pub(super) size: (u32, u32),
    pub(super) tiles: Vec<Cow<'a, [u8]>>,
    pub(super) tile_size: (u32, u32),
    /// Tiles in a row.
    pub(super) columns: usize,
}

#[derive(Default)]
struct Item<'a> {
    kind: Name,
    /// What a note of kind `mime` holds.
    content_type: &'a [u8],
    /// Offset and length of each piece, in the file or in the `idat` box.
    pieces: Vec<(u64, u64)>,
    is_inside: bool,
    properties: Properties<'a>,
    essential: Vec<Name>,
}

/// Items by kind of reference and by the item at the other end: the parts of a grid (`dimg`), the opacity of a picture
/// (`auxl`), what it is about (`cdsc`) and so on.
type References = BTreeMap<(Name, u32), Vec<u32>>;

/// A `meta` box.
pub(super) struct Items<'a> {
    file: &'a [u8],
    inside: &'a [u8],
    primary: Option<u32>,
    items: BTreeMap<u32, Item<'a>>,
    from: References,
    to: References,
}

fn damaged(what: &str) -> Refusal {
    Refusal::Damaged(what.into())
}

impl<'a> Items<'a> {
    pub(super) fn read(file: &'a [u8], mut meta: Reader<'a>) -> Result<Self, Refusal> {
        meta.version()?;
        let mut read = Self {
            file,
            inside: &[],
            primary: None,
            items: BTreeMap::new(),
            from: References::new(),
            to: References::new(),
        };
        for (name, mut content) in meta.boxes()? {
            match &name {
                b"pitm" => {
                    let (version, _) = content.version()?;
                    read.primary = Some(content.id(version > 0)?);
                }
                b"idat" => read.inside = content.0,
                b"iinf" => read.kinds(content)?,
                b"iloc" => read.places(content)?,
                b"iref" => read.references(content)?,
                b"iprp" => read.properties(content)?,
                _ => {}
            }
        }
        Ok(read)
    }

    fn kinds(&mut self, mut content: Reader<'a>) -> Result<(), Refusal> {
        let (version, _) = content.version()?;
        content.id(version > 0)?;
        for (name, mut entry) in content.boxes()? {
            let (version, _) = entry.version()?;
            if name != *b"infe" || version < 2 {
                return Err(damaged("its list of items is of a kind that is not known"));
            }
            let item = self.items.entry(entry.id(version > 2)?).or_default();
            entry.u16()?;
            item.kind = entry.name()?;
            entry.text()?;
            if item.kind == *b"mime" {
                item.content_type = entry.text()?;
            }
        }
        Ok(())
    }

    fn places(&mut self, mut content: Reader<'a>) -> Result<(), Refusal> {
        let (version, _) = content.version()?;
        let sizes = content.u16()?;
        let [of_offset, of_length, of_base, of_index] =
            [12, 8, 4, 0].map(|shift| usize::from(sizes >> shift & 15));
        let is_wide = version > 1;
        // A length that is not written would let a small file list pieces without end.
        if of_length == 0 {
            return Err(damaged("it does not say how long its items are"));
        }
        for _ in 0..content.id(is_wide)? {
            let item = self.items.entry(content.id(is_wide)?).or_default();
            if version > 0 {
                item.is_inside = match content.u16()? & 15 {
                    0 => false,
                    1 => true,
                    _ => return Err(damaged("one of its items is made of others, which is not read")),
                };
            }
            content.u16()?;
            let base = content.number(of_base)?;
            for _ in 0..content.u16()? {
                content.take(if version > 0 { of_index } else { 0 })?;
                let offset = base.saturating_add(content.number(of_offset)?);
                item.pieces.push((offset, content.number(of_length)?));
            }
        }
        Ok(())
    }

    fn references(&mut self, mut content: Reader<'a>) -> Result<(), Refusal> {
        let (version, _) = content.version()?;
        for (kind, mut entry) in content.boxes()? {
            let from = entry.id(version > 0)?;
            for _ in 0..entry.u16()? {
                let to = entry.id(version > 0)?;
                self.from.entry((kind, to)).or_default().push(from);
                self.to.entry((kind, from)).or_default().push(to);
            }
        }
        Ok(())
    }

    fn properties(&mut self, content: Reader<'a>) -> Result<(), Refusal> {
        let boxes = content.boxes()?;
        let all = Properties(boxes.clone()).find(b"ipco").map(Reader::boxes);
        let all = all.transpose()?.unwrap_or_default();
        for (_, mut content) in boxes.into_iter().filter(|(name, _)| name == b"ipma") {
            let (version, flags) = content.version()?;
            for _ in 0..content.u32()? {
                let item = self.items.entry(content.id(version > 0)?).or_default();
                if !item.properties.0.is_empty() {
                    return Err(damaged("it lists the properties of an item twice"));
                }
                for _ in 0..content.u8()? {
                    let width = if flags & 1 == 1 { 2 } else { 1 };
                    let association = content.number(width)?;
                    let is_essential = 1 << (8 * width - 1);
                    let Some(index) = (association & (is_essential - 1)).checked_sub(1) else {
                        continue;
                    };
                    let missing = || damaged("it names a property that it does not have");
                    let property = all.get(index as usize).ok_or_else(missing)?;
                    item.properties.0.push(*property);
                    if association & is_essential != 0 {
                        item.essential.push(property.0);
                    }
                }
            }
        }
        Ok(())
    }

    /// The item that the file is about.
    pub(super) fn primary(&self) -> Result<(u32, &Properties<'a>), Refusal> {
        let id = self
            .primary
            .ok_or_else(|| damaged("it does not say which of its pictures to show"))?;
        Ok((id, &self.item(id)?.properties))
    }

    fn item(&self, id: u32) -> Result<&Item<'a>, Refusal> {
        self.items
            .get(&id)
            .ok_or_else(|| damaged("it names an item that it does not have"))
    }

    /// The items that point at this one.
    fn from(&self, kind: &Name, to: u32) -> &[u32] {
        self.from.get(&(*kind, to)).map_or(&[], Vec::as_slice)
    }

    /// The items that this one points at.
    fn to(&self, kind: &Name, from: u32) -> &[u32] {
        self.to.get(&(*kind, from)).map_or(&[], Vec::as_slice)
    }

    fn bytes(&self, item: &Item<'a>) -> Result<Cow<'a, [u8]>, Refusal> {
        let source = if item.is_inside { self.inside } else { self.file };
        let piece = |&(offset, length): &(u64, u64)| {
            let start = usize::try_from(offset).ok()?;
            source.get(start..start.checked_add(usize::try_from(length).ok()?)?)
        };
        let pieces: Option<Vec<&[u8]>> = item.pieces.iter().map(piece).collect();
        let pieces = pieces.ok_or_else(|| Refusal::Truncated("data of an item lie beyond its end".into()))?;
        match pieces[..] {
            [] => Err(damaged("one of its items has no data")),
            [whole] => Ok(Cow::Borrowed(whole)),
            // Pieces that share bytes would ask for more memory than the file has bytes, without end.
            _ if pieces.iter().map(|piece| piece.len()).sum::<usize>() > self.file.len() => {
                Err(damaged("the pieces of one of its items overlap"))
            }
            _ => Ok(Cow::Owned(pieces.concat())),
        }
    }

    /// A picture that is coded as AV1, or made up of such pictures.
    pub(super) fn picture(&self, id: u32) -> Result<Coded<'a>, Refusal> {
        let item = self.item(id)?;
        item.properties.judge(&item.essential)?;
        match &item.kind {
            b"av01" => {
                let size = item.properties.size()?;
                Ok(Coded {
                    size,
                    tiles: vec![self.bytes(item)?],
                    tile_size: size,
                    columns: 1,
                })
            }
            b"grid" => self.grid(id, item),
            kind => {
                let kind = String::from_utf8_lossy(kind);
                Err(Refusal::NotAPicture(format!(
                    "its picture is coded as {kind:?}, AV1 is read"
                )))
            }
        }
    }

    fn grid(&self, id: u32, item: &Item<'a>) -> Result<Coded<'a>, Refusal> {
        let layout = self.bytes(item)?;
        let mut layout = Reader(&layout);
        layout.u8()?;
        let is_wide = layout.u8()? & 1 == 1;
        let rows = usize::from(layout.u8()?) + 1;
        let columns = usize::from(layout.u8()?) + 1;
        let size = (layout.id(is_wide)?, layout.id(is_wide)?);
        let parts = self.to(b"dimg", id);
        if parts.len() != rows * columns || parts.iter().collect::<BTreeSet<_>>().len() != parts.len() {
            return Err(damaged("its grid has too few or too many parts"));
        }
        self.laid_out(parts, columns, size)
    }

    /// Coded pictures side by side, row by row.
    fn laid_out(&self, parts: &[u32], columns: usize, size: (u32, u32)) -> Result<Coded<'a>, Refusal> {
        // Parts that look alike may share their data, but not so often that a small file takes much memory or time.
        let mut left = 64 * self.file.len();
        let mut tiles = Vec::new();
        let mut tile_size = None;
        for part in parts {
            let part = self.item(*part)?;
            part.properties.judge(&part.essential)?;
            let size = part.properties.size()?;
            if part.kind != *b"av01" || *tile_size.get_or_insert(size) != size {
                return Err(damaged("the parts of its grid are not all of one kind and size"));
            }
            let tile = self.bytes(part)?;
            let shared_too_often = || damaged("the parts of its grid share too much data");
            left = left.checked_sub(tile.len()).ok_or_else(shared_too_often)?;
            tiles.push(tile);
        }
        let tile_size = tile_size.ok_or_else(|| damaged("its grid has no parts"))?;
        let overlaps = |tile: u32, count: usize, whole: u32| {
            let (tile, count, whole) = (u64::from(tile), count as u64, u64::from(whole));
            tile * (count - 1) < whole && whole <= tile * count
        };
        if !overlaps(tile_size.0, columns, size.0) || !overlaps(tile_size.1, parts.len() / columns, size.1) {
            return Err(damaged("the parts of its grid do not cover it"));
        }
        Ok(Coded {
            size,
            tiles,
            tile_size,
            columns,
        })
    }

    /// The opacity of a picture, if it has any, and whether the colour is multiplied by it.
    pub(super) fn alpha(&self, id: u32, picture: &Coded<'a>) -> Result<Option<(Coded<'a>, bool)>, Refusal> {
        if let Some(alpha) = self.alpha_of(id) {
            let is_multiplied = self.to(b"prem", id).contains(&alpha);
            return Ok(Some((self.picture(alpha)?, is_multiplied)));
        }
        // Or else each part of a grid has its own.
        let parts = self.to(b"dimg", id).iter();
        let parts: Option<Vec<u32>> = parts.map(|part| self.alpha_of(*part)).collect();
        match parts {
            Some(parts) if !parts.is_empty() && parts.len() == picture.tiles.len() => {
                let alpha = self.laid_out(&parts, picture.columns, picture.size)?;
                Ok(Some((alpha, false)))
            }
            _ => Ok(None),
        }
    }

    fn alpha_of(&self, id: u32) -> Option<u32> {
        let is_alpha = |item: &Item<'a>| {
            matches!(&item.kind, b"av01" | b"grid") && item.properties.is_alpha() == Some(true)
        };
        let mut all = self.from(b"auxl", id).iter().copied();
        all.find(|id| self.items.get(id).is_some_and(is_alpha))
    }

    /// The EXIF block and the XMP packet of a picture, or of whatever the box is about.
    pub(super) fn notes(&self, picture: Option<u32>) -> [Option<Cow<'a, [u8]>>; 2] {
        let ids: Vec<u32> = match picture {
            Some(picture) => self.from(b"cdsc", picture).to_vec(),
            None => self.items.keys().copied().collect(),
        };
        let find = |is_right: &dyn Fn(&Item<'a>) -> bool| {
            let mut all = ids.iter().filter_map(|id| self.items.get(id));
            self.bytes(all.find(|item| is_right(item))?).ok()
        };
        [
            find(&|item| item.kind == *b"Exif"),
            find(&|item| item.kind == *b"mime" && item.content_type == b"application/rdf+xml"),
        ]
    }
}
