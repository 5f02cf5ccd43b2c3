//! Pixels: from the bytes of a picture to the normalised tensor an encoder reads, exactly as the reference
//! processor (Pillow) computes them. Reference: `blip_processors.py` of LAVIS, `BlipImageProcessor` of transformers.

mod avif;
mod bmp;
mod colour;
mod decode;
mod directory;
mod error;
mod gif;
mod jpeg;
mod orientation;
mod passes;
mod png;
mod processor;
mod rand_augment;
mod random_resized_crop;
mod resample;
mod tiff;
mod webp;

pub use decode::{DecodeOptions, ENDINGS, MAX_PIXELS, Orientation, decode, has_picture_name, open};
pub use error::PixelsError;
pub use image::RgbImage;
pub use processor::ImageProcessor;
pub use rand_augment::{ContrastStretch, Operation, RandAugment};
pub use random_resized_crop::{Augmentation, View};
pub use resample::{CropBox, flip_horizontal, resize, resize_crop, resize_premultiplied};
