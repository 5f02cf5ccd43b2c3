//! Random resized crop and horizontal flip: train-time views of a picture, as torchvision's `RandomResizedCrop` draws them, from a
//! seeded stream.

use super::resample::resize_crop_mirrored;
use super::{CropBox, PixelsError, RgbImage, resize_crop};
use crate::Stream;
use serde::{Deserialize, Serialize};

/// Attempts to fit a random box before the whole picture's centre is taken, as torchvision does.
const ATTEMPTS: usize = 10;

/// How a train-time view is drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Smallest and largest share of the picture's area that the box covers.
    pub scale: (f32, f32),
    /// Smallest and largest width over height of the box.
    pub ratio: (f32, f32),
    /// Probability of a mirror image. Keep it at 0 where captions say left or right.
    pub flip: f32,
}

/// One drawn view: the box that is cut out and whether it is mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The box that is cut out and resized.
    pub crop: CropBox,
    /// Whether the result is mirrored left to right.
    pub flip: bool,
}

impl Default for Augmentation {
    /// LAVIS's `blip2_image_train` without its flip, which would make "left" and "right" false.
    fn default() -> Self {
        Self {
            scale: (0.5, 1.0),
            ratio: (3.0 / 4.0, 4.0 / 3.0),
            flip: 0.0,
        }
    }
}

impl Augmentation {
    /// LAVIS's `blip2_image_train`, with its flip of one picture in two.
    pub fn lavis() -> Self {
        Self {
            flip: 0.5,
            ..Self::default()
        }
    }

    /// Draws a view of a picture of `width` x `height` pixels, both at least 1.
    pub fn draw(&self, width: u32, height: u32, stream: &mut Stream) -> View {
        let crop = (0..ATTEMPTS)
            .find_map(|_| self.draw_box(width, height, stream))
            .unwrap_or_else(|| self.centre_box(width, height));
        View {
            crop,
            flip: stream.chance(self.flip),
        }
    }

    fn draw_box(&self, width: u32, height: u32, stream: &mut Stream) -> Option<CropBox> {
        let area = width as f32 * height as f32 * stream.between(self.scale.0, self.scale.1);
        let ratio = stream.between(self.ratio.0.ln(), self.ratio.1.ln()).exp();
        let box_width = (area * ratio).sqrt().round() as u32;
        let box_height = (area / ratio).sqrt().round() as u32;
        if box_width == 0 || box_height == 0 || box_width > width || box_height > height {
            return None;
        }
        let left = stream.below((width - box_width + 1) as usize) as u32;
        let top = stream.below((height - box_height + 1) as usize) as u32;
        Some(CropBox {
            left,
            top,
            right: left + box_width,
            bottom: top + box_height,
        })
    }

    /// The largest central box whose proportions are allowed.
    fn centre_box(&self, width: u32, height: u32) -> CropBox {
        let ratio = width as f32 / height as f32;
        let (box_width, box_height) = if ratio < self.ratio.0 {
            (
                width,
                ((width as f32 / self.ratio.0).round() as u32).clamp(1, height),
            )
        } else if ratio > self.ratio.1 {
            (
                ((height as f32 * self.ratio.1).round() as u32).clamp(1, width),
                height,
            )
        } else {
            (width, height)
        };
        let (left, top) = ((width - box_width) / 2, (height - box_height) / 2);
        CropBox {
            left,
            top,
            right: left + box_width,
            bottom: top + box_height,
        }
    }
}

impl View {
    /// Cuts this view out of the picture and resizes it.
    ///
    /// # Errors
    /// If the box leaves the picture (a view drawn for another one) or a side of the target is 0.
    pub fn apply(&self, picture: &RgbImage, width: u32, height: u32) -> Result<RgbImage, PixelsError> {
        let resize = if self.flip {
            resize_crop_mirrored
        } else {
            resize_crop
        };
        resize(picture, self.crop, width, height)
    }
}
