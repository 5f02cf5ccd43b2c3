//! Pixels: from the bytes of a picture to the normalised tensor an encoder reads, exactly as the reference
//! processor (Pillow) computes them. Reference: `blip_processors.py` of LAVIS, `BlipImageProcessor` of transformers.

mod augment;
mod colour;
mod decode;
mod error;
mod jpeg;
mod passes;
mod processor;
mod resample;

pub use augment::{Augmentation, View};
pub use decode::{MAX_PIXELS, MAX_SIDE, decode, open};
pub use error::PixelsError;
pub use image::RgbImage;
pub use processor::ImageProcessor;
pub use resample::{CropBox, flip_horizontal, resize, resize_crop, resize_premultiplied};
