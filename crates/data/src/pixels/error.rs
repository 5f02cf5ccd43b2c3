//! What can be wrong with a picture or with the settings that say how to read it.

use std::path::PathBuf;

/// What can be wrong with a picture or with the settings that say how to read it.
#[derive(Debug, thiserror::Error)]
pub enum PixelsError {
    /// The file could not be read from disk.
    #[error("cannot read picture {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are no PNG, JPEG or WebP.
    #[error("{name} is not a picture this program reads: {reason} (PNG, JPEG and WebP are read)")]
    NotAPicture {
        /// File name or other label.
        name: String,
        /// What was found instead.
        reason: String,
    },
    /// The header announces more than is decoded; nothing was allocated.
    #[error(
        "{name} is {width}x{height}: a picture may have at most {max_side} pixels a side and {max_pixels} in all; \
         make it smaller first"
    )]
    TooLarge {
        /// File name or other label.
        name: String,
        /// Announced width in pixels.
        width: u32,
        /// Announced height in pixels.
        height: u32,
        /// The limit a side.
        max_side: u32,
        /// The limit on width times height.
        max_pixels: u64,
    },
    /// The picture is truncated or damaged.
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
