//! What can be wrong with a picture or with the settings that say how to read it.

use std::path::PathBuf;

/// What can be wrong with a picture or with the settings that say how to read it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PixelsError {
    /// The file could not be read from disk.
    #[error("cannot read picture {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are no picture, or one of a kind that is not read.
    #[error(
        "{name} is not a picture this program reads: {reason} (PNG, JPEG, WebP, AVIF, GIF, BMP and TIFF are read)"
    )]
    NotAPicture {
        /// File name or other label.
        name: String,
        /// What was found instead.
        reason: String,
    },
    /// The header announces more than is decoded; nothing was allocated.
    #[error(
        "{name} is {width}x{height}, {} pixels: at most {max_pixels} are read; make it smaller first, or allow more",
        u64::from(*width) * u64::from(*height)
    )]
    TooLarge {
        /// File name or other label.
        name: String,
        /// Announced width in pixels.
        width: u32,
        /// Announced height in pixels.
        height: u32,
        /// The limit on width times height.
        max_pixels: u64,
    },
    /// The picture ends too early.
    #[error("{name} is cut short: {reason}")]
    Truncated {
        /// File name or other label.
        name: String,
        /// What is missing.
        reason: String,
    },
    /// The picture is damaged in another way.
    #[error("{name} is damaged: {reason}")]
    Damaged {
        /// File name or other label.
        name: String,
        /// What the decoder met.
        reason: String,
    },
    /// A crop box that is empty or leaves the picture.
    #[error("crop box {left},{top} to {right},{bottom} does not lie inside a picture of {width}x{height}")]
    CropOutside {
        /// Left edge.
        left: u32,
        /// Top edge.
        top: u32,
        /// Right edge, exclusive.
        right: u32,
        /// Bottom edge, exclusive.
        bottom: u32,
        /// Width of the picture.
        width: u32,
        /// Height of the picture.
        height: u32,
    },
    /// A size of zero was asked for.
    #[error("cannot resize to {width}x{height}: both sides must be at least 1")]
    EmptyTarget {
        /// Asked width.
        width: u32,
        /// Asked height.
        height: u32,
    },
    /// A processor configuration that cannot be followed to the letter.
    #[error("image processor configuration {name}: {reason}")]
    Configuration {
        /// File name or other label.
        name: String,
        /// The key and what is wrong with it.
        reason: String,
    },
}
