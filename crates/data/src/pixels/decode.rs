//! Decoding with limits: the kind of a picture is told by its first bytes, its header is judged before any pixel is allocated.

use super::orientation::Turn;
use super::{PixelsError, avif, bmp, gif, jpeg, png, tiff, webp};
use blip2_core::files::refuse_pointer;
use image::{ImageError, ImageFormat, RgbImage};
use std::io::ErrorKind;
use std::path::Path;

/// The most pixels that a picture has by default: 178,956,970, twice Pillow's `Image.MAX_IMAGE_PIXELS`, where Pillow
/// refuses; 512 MB once decoded.
pub const MAX_PIXELS: u64 = 2 * (1024 * 1024 * 1024 / 4 / 3);

/// How a picture file is read. Programs and recipes say which way they mean: there is no default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeOptions {
    /// What becomes of the orientation that a camera has noted.
    pub orientation: Orientation,
    /// The most pixels, width times height; more is refused before memory is taken.
    pub max_pixels: u64,
}

/// What becomes of the orientation that a camera has noted in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orientation {
    /// The picture is turned upright: Pillow's `ImageOps.exif_transpose`, as `transformers` loads paths and URLs.
    Upright,
    /// Pixels come as they lie in the file: `Image.open(...).convert("RGB")`, as LAVIS loads data sets.
    AsStored,
}

/// What the names of picture files end with.
pub const ENDINGS: [&str; 12] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "tif", "tiff", "avif",
];

/// Whether the name of `path` is that of a picture; the content may be another.
pub fn has_picture_name(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

impl DecodeOptions {
    /// Turned upright, at most [`MAX_PIXELS`].
    pub fn upright() -> Self {
        Self {
            orientation: Orientation::Upright,
            max_pixels: MAX_PIXELS,
        }
    }

    /// As it lies in the file, at most [`MAX_PIXELS`].
    pub fn as_stored() -> Self {
        Self {
            orientation: Orientation::AsStored,
            ..Self::upright()
        }
    }
}

/// Reads a picture file and decodes it; see [`decode`].
///
/// # Errors
/// If the file cannot be read, is no picture, announces too many pixels, or is damaged; each error names the file.
pub fn open(path: &Path, options: DecodeOptions) -> Result<RgbImage, PixelsError> {
    let bytes = std::fs::read(path).map_err(|source| PixelsError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    decode(&bytes, &path.display().to_string(), options)
}

/// Decodes PNG, JPEG, WebP, AVIF, GIF, BMP or TIFF bytes (the first frame or page) to RGB as Pillow's
/// `Image.open(...).convert("RGB")` does: opacity is dropped (not blended) and 16-bit colour keeps its high byte. `name`
/// appears in errors.
///
/// # Errors
/// If the bytes are no picture, announce no pixel or more than `options.max_pixels`, or are damaged or cut short.
pub fn decode(bytes: &[u8], name: &str, options: DecodeOptions) -> Result<RgbImage, PixelsError> {
    let most = options.max_pixels;
    let unturned = |picture| (picture, Turn::of(None));
    let picture = match kind(bytes) {
        Some(ImageFormat::Jpeg) => jpeg::decode(bytes, most),
        Some(ImageFormat::Png) => png::decode(bytes, most),
        Some(ImageFormat::Avif) => avif::decode(bytes, most),
        Some(ImageFormat::WebP) => webp::decode(bytes, most),
        Some(ImageFormat::Gif) => gif::decode(bytes, most).map(unturned),
        Some(ImageFormat::Bmp) => bmp::decode(bytes, most).map(unturned),
        Some(ImageFormat::Tiff) => tiff::decode(bytes, most).map(unturned),
        Some(other) => Err(Refusal::NotAPicture(format!(
            "{} is not supported",
            format!("{other:?}").to_uppercase()
        ))),
        None => Err(Refusal::NotAPicture(match refuse_pointer(bytes) {
            Err(pointer) => pointer.to_string(),
            Ok(()) => "its first bytes are no known header".into(),
        })),
    };
    let (picture, turn) = picture.map_err(|refusal| refusal.of(name, most))?;
    Ok(match options.orientation {
        Orientation::Upright => turn.apply(picture),
        Orientation::AsStored => picture,
    })
}

/// Why bytes are not decoded; the caller knows what they are called.
pub(super) enum Refusal {
    NotAPicture(String),
    TooLarge { width: u32, height: u32 },
    Damaged(String),
    Truncated(String),
}

impl Refusal {
    fn of(self, name: &str, max_pixels: u64) -> PixelsError {
        let name = name.to_owned();
        match self {
            Self::NotAPicture(reason) => PixelsError::NotAPicture { name, reason },
            Self::TooLarge { width, height } => PixelsError::TooLarge {
                name,
                width,
                height,
                max_pixels,
            },
            Self::Damaged(reason) => PixelsError::Damaged { name, reason },
            Self::Truncated(reason) => PixelsError::Truncated { name, reason },
        }
    }
}

impl From<ImageError> for Refusal {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Unsupported(error) => Self::NotAPicture(error.to_string()),
            ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Self::Truncated(error.to_string())
            }
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// What every decoder asks of a header before it takes memory.
pub(super) fn within_limits(width: u32, height: u32, max_pixels: u64) -> Result<(), Refusal> {
    match u64::from(width) * u64::from(height) {
        0 => Err(Refusal::Damaged(format!("its header says {width}x{height}"))),
        pixels if pixels > max_pixels => Err(Refusal::TooLarge { width, height }),
        _ => Ok(()),
    }
}

/// What the first bytes say; BigTIFF is a kind of TIFF, and AVIF may be named after its family.
fn kind(bytes: &[u8]) -> Option<ImageFormat> {
    if bytes.starts_with(b"II+\0") || bytes.starts_with(b"MM\0+") {
        return Some(ImageFormat::Tiff);
    }
    if avif::is_kin(bytes) {
        return Some(ImageFormat::Avif);
    }
    image::guess_format(bytes).ok()
}

/// Bytes that a decoder may take: the pixels at 16 bits with opacity, as much again for its own rows, and its tables.
pub(super) fn room(width: u32, height: u32) -> u64 {
    u64::from(width) * u64::from(height) * 16 + (64 << 20)
}
