//! From header to header through an archive.

use std::io::Result;

use tar::{EntryType, Header};

use super::header::{Block, Kind};
use super::records::Records;
use super::{BLOCK, ReadAt};

/// Long names and PAX records are at most so long; a header that claims more is wrong.
const LONGEST_NOTE: u64 = 1 << 20;
/// Within so many blocks the member is looked for that a wrong note belongs to.
const LOST_WITHIN: usize = 16;
/// How far behind the end marker is looked for something that is not zero.
const LOOK_BEHIND: u64 = 1 << 20;

/// A member of the archive.
pub(crate) struct Member {
    /// The whole name, with its folders.
    pub(crate) name: Vec<u8>,
    /// Whether it holds the bytes of a file; else it is a link, a device, or a file with holes.
    pub(crate) is_file: bool,
    /// Where its first header begins.
    pub(crate) start: u64,
    /// Where its bytes begin.
    pub(crate) data: u64,
    /// How many there are.
    pub(crate) size: u64,
}

impl Member {
    /// Where its bytes end.
    pub(crate) fn end(&self) -> u64 {
        self.data + self.size
    }
}

/// How the archive ends.
pub(crate) enum End {
    /// With its two blocks of zeros.
    Marker,
    /// At the end of a member.
    NoMarker,
    /// Something follows the two blocks of zeros.
    BytesBehind,
    /// Where nothing can be trusted any more.
    Broken(Broken),
}

/// Where and how an archive breaks off.
pub(crate) struct Broken {
    /// `archive_truncated`, `archive_header_invalid`, `archive_not_a_tar` or `member_size_impossible`.
    pub(crate) reason: &'static str,
    /// What was found.
    pub(crate) problem: String,
    /// The member in which it breaks off, where it is known.
    pub(crate) name: Option<Vec<u8>>,
}

/// Members one after the other; folders are left out.
pub(crate) struct Walk<'a, Source> {
    source: &'a Source,
    at: u64,
    length: u64,
}

/// What stands in front of a member and belongs to it.
#[derive(Default)]
struct Notes {
    long_name: Option<Vec<u8>>,
    records: Records,
}

impl<'a, Source: ReadAt> Walk<'a, Source> {
    /// Through `source`, beginning with the header at `start`.
    pub(crate) fn new(source: &'a Source, start: u64) -> Result<Self> {
        let length = source.len()?;
        Ok(Self {
            source,
            at: start,
            length,
        })
    }

    /// The next member, or how the archive ends.
    ///
    /// # Errors
    /// If the source cannot be read; what is wrong with the archive is an end.
    pub(crate) fn step(&mut self) -> Result<std::result::Result<Member, End>> {
        let (mut start, mut notes) = (self.at, Notes::default());
        loop {
            let here = self.at;
            let block = match self.block()? {
                Ok(block) => block,
                Err(end) => return Ok(Err(end)),
            };
            if block.is_zero() {
                match self.behind_zeros()? {
                    Some(end) => return Ok(Err(end)),
                    // GNU tar goes on behind a single block of zeros, and so does this.
                    None => continue,
                }
            }
            let Some(header) = block.header() else {
                let reason = if here == 0 {
                    "archive_not_a_tar"
                } else {
                    "archive_header_invalid"
                };
                return Ok(Err(broken(
                    reason,
                    format!("the header at byte {here} has a wrong checksum"),
                    None,
                )));
            };
            let Head { name, kind, size } = head(&block, header, &notes);
            let Some(size) = size else {
                let problem = format!("the header at byte {here} gives a size that no file can have");
                let lost = self.lost(kind, name)?;
                return Ok(Err(broken("member_size_impossible", problem, lost)));
            };
            if header.entry_type() == EntryType::GNUSparse
                && let Err(end) = self.pass_sparse_map(&block)?
            {
                return Ok(Err(end));
            }
            let data = self.at;
            let left = self.length.saturating_sub(data);
            if size > left {
                let problem = format!(
                    "the archive ends inside of {}: {left} of {size} bytes are there",
                    String::from_utf8_lossy(&name)
                );
                let lost = self.lost(kind, name)?;
                return Ok(Err(broken("archive_truncated", problem, lost)));
            }
            self.at = data + size.next_multiple_of(BLOCK);
            match kind {
                Kind::LongName | Kind::Records if size > LONGEST_NOTE => {
                    let problem = format!("the header at byte {here} announces a name of {size} bytes");
                    return Ok(Err(broken("archive_header_invalid", problem, None)));
                }
                Kind::LongName => {
                    let name = self.note(data, size)?;
                    notes.long_name = name.split(|byte| *byte == 0).next().map(<[u8]>::to_vec);
                }
                Kind::Records => {
                    let Some(records) = Records::parse(&self.note(data, size)?) else {
                        let problem = format!(
                            "the PAX records at byte {data} do not have the lengths that they announce"
                        );
                        return Ok(Err(broken("archive_header_invalid", problem, None)));
                    };
                    notes.records = records;
                }
                Kind::Skip => {}
                Kind::Folder => (start, notes) = (self.at, Notes::default()),
                Kind::File | Kind::Other { .. } => {
                    let is_file = kind == Kind::File && !notes.records.has_holes;
                    return Ok(Ok(Member {
                        name,
                        is_file,
                        start,
                        data,
                        size,
                    }));
                }
            }
        }
    }

    /// The next block, or how the archive ends here.
    fn block(&mut self) -> Result<std::result::Result<Block, End>> {
        let left = self.length.saturating_sub(self.at);
        if self.at >= BLOCK && left == 0 {
            return Ok(Err(End::NoMarker));
        }
        if left < BLOCK {
            let reason = if self.at == 0 {
                "archive_not_a_tar"
            } else {
                "archive_truncated"
            };
            let problem = format!("{left} bytes are left at byte {}, a header has {BLOCK}", self.at);
            return Ok(Err(broken(reason, problem, None)));
        }
        let mut block = Block([0; BLOCK as usize]);
        self.source.read_at(&mut block.0, self.at)?;
        self.at += BLOCK;
        Ok(Ok(block))
    }

    /// Behind a block of zeros: the end, or nothing where a header follows after all.
    fn behind_zeros(&mut self) -> Result<Option<End>> {
        let first = self.at;
        match self.block()? {
            Ok(block) if block.is_zero() => {}
            Ok(_) => {
                self.at = first;
                return Ok(None);
            }
            Err(_) => return Ok(Some(End::NoMarker)),
        }
        let mut piece = [0; 1 << 14];
        let until = self.length.min(self.at + LOOK_BEHIND);
        while self.at < until {
            let count = (until - self.at).min(piece.len() as u64) as usize;
            self.source.read_at(&mut piece[..count], self.at)?;
            if piece[..count].iter().any(|byte| *byte != 0) {
                return Ok(Some(End::BytesBehind));
            }
            self.at += count as u64;
        }
        Ok(Some(End::Marker))
    }

    /// The bytes of a long name or of PAX records.
    fn note(&self, data: u64, size: u64) -> Result<Vec<u8>> {
        let mut text = vec![0; size as usize];
        self.source.read_at(&mut text, data)?;
        Ok(text)
    }

    /// Which member is lost with the header of this kind and name: where it is a note about a member, the next header with a
    /// right checksum says which. Only reports are made of it.
    fn lost(&self, kind: Kind, name: Vec<u8>) -> Result<Option<Vec<u8>>> {
        if !kind.is_note() {
            return Ok(Some(name));
        }
        let places = (self.at..self.length.saturating_sub(BLOCK - 1)).step_by(BLOCK as usize);
        for place in places.take(LOST_WITHIN) {
            let mut block = Block([0; BLOCK as usize]);
            self.source.read_at(&mut block.0, place)?;
            if let Some(header) = block.header().filter(|_| !block.is_zero()) {
                return Ok(Some(header.path_bytes().into_owned()));
            }
        }
        Ok(None)
    }

    /// Passes the blocks that continue the map of an old GNU file with holes.
    fn pass_sparse_map(&mut self, header: &Block) -> Result<std::result::Result<(), End>> {
        const IS_CONTINUED: [usize; 2] = [482, 504];
        let mut is_continued = header.0[IS_CONTINUED[0]] != 0;
        while is_continued {
            match self.block()? {
                Ok(block) => is_continued = block.0[IS_CONTINUED[1]] != 0,
                Err(end) => return Ok(Err(end)),
            }
        }
        Ok(Ok(()))
    }
}

fn broken(reason: &'static str, problem: String, name: Option<Vec<u8>>) -> End {
    End::Broken(Broken {
        reason,
        problem,
        name,
    })
}

/// What a header says, corrected by the notes in front of it.
struct Head {
    name: Vec<u8>,
    kind: Kind,
    size: Option<u64>,
}

fn head(block: &Block, header: &Header, notes: &Notes) -> Head {
    let kind = header.entry_type();
    let own_name = header.path_bytes();
    let own_kind = Kind::of(kind, &own_name);
    if own_kind.is_note() {
        return Head {
            name: own_name.into_owned(),
            kind: own_kind,
            size: block.size(),
        };
    }
    let noted = notes.records.path.as_ref().or(notes.long_name.as_ref());
    let name = noted.cloned().unwrap_or_else(|| own_name.into_owned());
    let kind = Kind::of(kind, &name);
    let size = notes.records.size().unwrap_or_else(|| block.size());
    Head {
        size: if kind.has_data() { size } else { Some(0) },
        name,
        kind,
    }
}
