//! Windows and OS/2 bitmaps, by the rules of Pillow's `BmpImagePlugin`: of the header only what it looks at is looked at.

use super::colour;
use super::decode::{Refusal, within_limits};
use image::RgbImage;

/// In front of the header: a signature, sizes, and where the pixels are.
const FILE_HEADER: usize = 14;
/// The length of the header of OS/2's first version, which has shorter numbers.
const CORE: usize = 12;
/// The length of a header that masks may follow.
const INFO: usize = 40;

/// What the header calls compression.
const PLAIN: u32 = 0;
const RUNS_OF_BYTES: u32 = 1;
const RUNS_OF_HALVES: u32 = 2;
const MASKS: u32 = 3;

pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<RgbImage, Refusal> {
    let header = Header::read(bytes)?;
    let (width, height) = (header.width, header.height);
    within_limits(width, height, max_pixels)?;
    let form = Form::of(&header, bytes)?;
    let rgb = if matches!(header.compression, RUNS_OF_BYTES | RUNS_OF_HALVES) {
        let indices = header.run_lengths(bytes);
        if (indices.len() as u64) < u64::from(width) * u64::from(height) {
            return Err(Refusal::Truncated("its runs end before its pixels do".into()));
        }
        let mut rgb = Vec::with_capacity(indices.len() * 3);
        let form = Form { bits: 8, ..form };
        header
            .upright(indices.len() / width as usize)
            .for_each(|row| form.write(&indices[row * width as usize..], width as usize, &mut rgb));
        rgb
    } else {
        let (start, stride) = header.plain_rows(bytes)?;
        let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
        header
            .upright(height as usize)
            .for_each(|row| form.write(&bytes[start + row * stride..], width as usize, &mut rgb));
        rgb
    };
    let picture = RgbImage::from_raw(width, height, rgb);
    picture.ok_or_else(|| Refusal::Damaged("it holds too few pixels".into()))
}

struct Header {
    length: usize,
    width: u32,
    height: u32,
    is_top_down: bool,
    /// Of a pixel.
    bits: u32,
    compression: u32,
    /// Of the palette, and the bytes that one takes there.
    colours: u64,
    colour_size: usize,
    /// Where the pixels are; 0: behind all that is in front of them.
    pixels: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        Self::numbers(bytes).ok_or_else(|| Refusal::Truncated("its header is not whole".into()))?
    }

    fn numbers(bytes: &[u8]) -> Option<Result<Self, Refusal>> {
        let pixels = long(bytes, 10)? as usize;
        let length = long(bytes, FILE_HEADER)? as usize;
        if ![CORE, INFO, 52, 56, 64, 108, 124].contains(&length) {
            let reason = format!("a bitmap with a header of {length} bytes is not read");
            return Some(Err(Refusal::NotAPicture(reason)));
        }
        let header = bytes.get(FILE_HEADER..FILE_HEADER + length)?;
        let mut found = if length == CORE {
            Self {
                length,
                width: short(header, 4)?,
                height: short(header, 6)?,
                is_top_down: false,
                bits: short(header, 10)?,
                compression: PLAIN,
                colours: 0,
                colour_size: 3,
                pixels,
            }
        } else {
            let height = long(header, 8)?;
            // A height below zero: Pillow looks at the highest byte alone.
            let is_top_down = header[11] == 0xff;
            Self {
                length,
                width: long(header, 4)?,
                height: if is_top_down {
                    height.wrapping_neg()
                } else {
                    height
                },
                is_top_down,
                bits: short(header, 14)?,
                compression: long(header, 16)?,
                colours: u64::from(long(header, 32)?),
                colour_size: 4,
                pixels,
            }
        };
        if ![1, 4, 8, 16, 24, 32].contains(&found.bits) {
            let reason = format!("a bitmap of {} bits a pixel is not read", found.bits);
            return Some(Err(Refusal::NotAPicture(reason)));
        }
        if found.colours == 0 {
            found.colours = 1 << found.bits;
        }
        Some(Ok(found))
    }

    fn has_palette(&self) -> bool {
        self.bits <= 8
    }

    fn palette<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], Refusal> {
        if !self.has_palette() {
            return Ok(&[]);
        }
        if self.colours > 256 {
            let colours = self.colours;
            return Err(Refusal::Damaged(format!("its palette has {colours} colours")));
        }
        let rest = bytes.get(FILE_HEADER + self.length..).unwrap_or_default();
        Ok(&rest[..rest.len().min(self.colours as usize * self.colour_size)])
    }

    /// Where the pixels are, which some programs note as behind the header although the palette is there, or not at all.
    fn start(&self, bytes: &[u8]) -> Result<usize, Refusal> {
        let behind = FILE_HEADER + self.length;
        let palette = self.palette(bytes)?.len();
        let masks = if self.length == INFO && self.compression == MASKS {
            12
        } else {
            0
        };
        Ok(match self.pixels {
            0 => behind + masks + palette,
            place if place == behind => behind + palette,
            place => place,
        })
    }

    /// Where the rows begin and how far each is from the next; all of them are there. What fills up the last may be missing.
    fn plain_rows(&self, bytes: &[u8]) -> Result<(usize, usize), Refusal> {
        let start = self.start(bytes)?;
        let bits = u64::from(self.width) * u64::from(self.bits);
        let stride = bits.div_ceil(32) * 4;
        let needed = stride
            .saturating_mul(u64::from(self.height) - 1)
            .saturating_add(bits.div_ceil(8))
            .saturating_add(start as u64);
        let held = bytes.len();
        if needed > held as u64 {
            return Err(Refusal::Truncated(format!("{held} of {needed} bytes are there")));
        }
        Ok((start, stride as usize))
    }

    /// The numbers of the stored rows, from the picture's top.
    fn upright(&self, rows: usize) -> impl Iterator<Item = usize> {
        let is_top_down = self.is_top_down;
        (0..rows).map(move |row| if is_top_down { row } else { rows - 1 - row })
    }

    /// The index of each pixel, in the order of the file; fewer than there are pixels where the runs end early. Pillow
    /// counts pixels and has no cursor: what is skipped gets index 0, and an end of line at the beginning of one is nothing.
    fn run_lengths(&self, bytes: &[u8]) -> Vec<u8> {
        let width = self.width as usize;
        let whole = width * self.height as usize;
        let is_halves = self.compression == RUNS_OF_HALVES;
        let mut indices: Vec<u8> = Vec::new();
        // A palette that cannot be was refused.
        let mut place = self.start(bytes).unwrap_or(bytes.len());
        let mut across = 0;
        while indices.len() < whole {
            let Some(&[count, value]) = pair(bytes, place) else {
                break;
            };
            place += 2;
            match (count, value) {
                (0, 0) => {
                    indices.resize(indices.len().next_multiple_of(width), 0);
                    across = 0;
                }
                (0, 1) => break,
                (0, 2) => {
                    let Some(&[right, down]) = pair(bytes, place) else {
                        break;
                    };
                    place += 2;
                    let end = indices.len() + usize::from(right) + usize::from(down) * width;
                    indices.resize(end.min(whole), 0);
                    across = indices.len() % width;
                }
                (0, _) => {
                    let count = usize::from(value).min(whole - indices.len());
                    let length = if is_halves { count.div_ceil(2) } else { count };
                    let Some(stored) = bytes.get(place..place + length) else {
                        break;
                    };
                    if is_halves {
                        let halves = stored.iter().flat_map(|byte| [byte >> 4, byte & 15]);
                        indices.extend(halves.take(count));
                    } else {
                        indices.extend_from_slice(stored);
                    }
                    across += usize::from(value);
                    // Pillow makes places in the file even, wherever the pixels begin.
                    place = (place + length).next_multiple_of(2);
                }
                _ => {
                    // A run ends with its row.
                    let count = usize::from(count).min(width.saturating_sub(across));
                    let two = if is_halves {
                        [value >> 4, value & 15]
                    } else {
                        [value; 2]
                    };
                    indices.extend(two.iter().cycle().take(count));
                    across += count;
                }
            }
        }
        indices.truncate(whole);
        indices
    }
}

/// What a pixel's bits mean.
struct Form {
    bits: u32,
    meaning: Meaning,
}

enum Meaning {
    /// An index.
    Index(Box<[[u8; 3]; 256]>),
    /// A word that ends with so many bits of red, green and blue.
    Word([u32; 3]),
    /// Bytes; those of red, green and blue.
    Bytes([usize; 3]),
}

impl Form {
    fn of(header: &Header, bytes: &[u8]) -> Result<Self, Refusal> {
        let bits = header.bits;
        let meaning = match header.compression {
            PLAIN | RUNS_OF_BYTES | RUNS_OF_HALVES if header.has_palette() => {
                Meaning::Index(Box::new(header.colours(bytes)?))
            }
            PLAIN if bits == 16 => Meaning::Word([5; 3]),
            PLAIN => Meaning::Bytes([2, 1, 0]),
            MASKS => masked(header, bytes)?,
            other => {
                let reason = format!("a bitmap of compression {other} and {bits} bits a pixel is not read");
                return Err(Refusal::NotAPicture(reason));
            }
        };
        Ok(Self { bits, meaning })
    }

    /// Appends the first `width` pixels of `row`, which has them.
    fn write(&self, row: &[u8], width: usize, rgb: &mut Vec<u8>) {
        let bits = self.bits as usize;
        match &self.meaning {
            Meaning::Index(colours) => {
                let (per_byte, mask) = (8 / bits, ((1u16 << bits) - 1) as u8);
                rgb.extend((0..width).flat_map(|place| {
                    let shift = 8 - bits * (1 + place % per_byte);
                    colours[usize::from(row[place / per_byte] >> shift & mask)]
                }));
            }
            Meaning::Word([red, green, blue]) => {
                // Pillow spreads a sample over 0 to 255 rounding down.
                let spread = |word: u32, bits: u32| {
                    let most = (1u32 << bits) - 1;
                    ((word & most) * 255 / most) as u8
                };
                let words = row.as_chunks().0.iter().take(width);
                rgb.extend(words.flat_map(|stored| {
                    let word = u32::from(u16::from_le_bytes(*stored));
                    [
                        spread(word >> (green + blue), *red),
                        spread(word >> blue, *green),
                        spread(word, *blue),
                    ]
                }));
            }
            Meaning::Bytes(places) => {
                let places = *places;
                let pixels = row.chunks_exact(bits / 8).take(width);
                rgb.extend(pixels.flat_map(|pixel| places.map(|place| pixel[place])));
            }
        }
    }
}

impl Header {
    /// The colours of all indices; a palette that is a scale of greys is no palette to Pillow, so that it has no end.
    fn colours(&self, bytes: &[u8]) -> Result<[[u8; 3]; 256], Refusal> {
        let stored = self.palette(bytes)?;
        let rgb = stored.chunks_exact(self.colour_size);
        let rgb: Vec<u8> = rgb.flat_map(|entry| [entry[2], entry[1], entry[0]]).collect();
        let is_whole = rgb.len() as u64 == self.colours * 3;
        Ok(if is_whole && self.colours > 2 && colour::is_scale(&rgb) {
            colour::SCALE
        } else {
            colour::palette(&rgb)
        })
    }
}

/// The masks that Pillow knows, those of 32 bits in the order of red, green, blue and opacity, which is dropped.
fn masked(header: &Header, bytes: &[u8]) -> Result<Meaning, Refusal> {
    let place = FILE_HEADER + INFO;
    let mask = |index: usize| long(bytes, place + 4 * index);
    let opacity = if header.length >= 56 { mask(3) } else { Some(0) };
    let (Some(red), Some(green), Some(blue), Some(opacity)) = (mask(0), mask(1), mask(2), opacity) else {
        return Err(Refusal::Truncated("its masks are not whole".into()));
    };
    let masks = [red, green, blue, opacity];
    Ok(match (header.bits, masks) {
        (32, [0x00ff_0000, 0xff00, 0xff, 0 | 0xff00_0000] | [0, 0, 0, 0])
        | (24, [0x00ff_0000, 0xff00, 0xff, _]) => Meaning::Bytes([2, 1, 0]),
        (32, [0xff00_0000, 0x00ff_0000, 0xff00, 0 | 0xff]) => Meaning::Bytes([3, 2, 1]),
        (32, [0xff00_0000, 0xff00, 0xff, 0 | 0x00ff_0000]) => Meaning::Bytes([3, 1, 0]),
        (32, [0xff, 0xff00, 0x00ff_0000, 0xff00_0000]) => Meaning::Bytes([0, 1, 2]),
        (16, [0xf800, 0x07e0, 0x1f, _]) => Meaning::Word([5, 6, 5]),
        (16, [0x7c00, 0x03e0, 0x1f, _]) => Meaning::Word([5; 3]),
        (bits, _) => {
            let reason = format!("a bitmap of {bits} bits a pixel with masks {masks:x?} is not read");
            return Err(Refusal::NotAPicture(reason));
        }
    })
}

fn pair(bytes: &[u8], place: usize) -> Option<&[u8; 2]> {
    bytes.get(place..)?.first_chunk()
}

fn short(bytes: &[u8], place: usize) -> Option<u32> {
    let stored = bytes.get(place..)?.first_chunk()?;
    Some(u32::from(u16::from_le_bytes(*stored)))
}

fn long(bytes: &[u8], place: usize) -> Option<u32> {
    let stored = bytes.get(place..)?.first_chunk()?;
    Some(u32::from_le_bytes(*stored))
}
