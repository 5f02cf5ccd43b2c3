//! What is done with a picture before a model sees it.

use image::RgbImage;

use crate::Stream;
use crate::pixels::{Augmentation, ImageProcessor, PixelsError, RandAugment, resize};

/// What is done with a picture before a model sees it. All pictures of a batch get one size.
pub trait Transform: Send + Sync {
    /// The view of `picture` that `stream` draws.
    ///
    /// # Errors
    /// If the picture cannot be brought to size; it then counts as damaged.
    fn apply(&self, picture: &RgbImage, stream: &mut Stream) -> Result<RgbImage, PixelsError>;
}

/// As for evaluation: brought to size, nothing drawn.
impl Transform for ImageProcessor {
    fn apply(&self, picture: &RgbImage, _: &mut Stream) -> Result<RgbImage, PixelsError> {
        resize(picture, self.width, self.height)
    }
}

/// Views for training: a random resized crop, perhaps mirrored; for fine-tuning with RandAugment behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainView {
    /// The crop and the mirror image.
    pub augmentation: Augmentation,
    /// What follows them.
    pub rand_augment: Option<RandAugment>,
    /// Width of the view in pixels.
    pub width: u32,
    /// Height of the view in pixels.
    pub height: u32,
}

impl TrainView {
    /// LAVIS's `blip2_image_train`: the crop and the mirror image, of `side` by `side` pixels.
    pub fn pretraining(side: u32) -> Self {
        Self {
            augmentation: Augmentation::lavis(),
            rand_augment: None,
            width: side,
            height: side,
        }
    }

    /// LAVIS's `blip_image_train`: RandAugment behind them.
    pub fn fine_tuning(side: u32) -> Self {
        Self {
            rand_augment: Some(RandAugment::lavis()),
            ..Self::pretraining(side)
        }
    }
}

impl Transform for TrainView {
    fn apply(&self, picture: &RgbImage, stream: &mut Stream) -> Result<RgbImage, PixelsError> {
        let view = self.augmentation.draw(picture.width(), picture.height(), stream);
        let mut picture = view.apply(picture, self.width, self.height)?;
        if let Some(rand_augment) = &self.rand_augment {
            rand_augment.apply(&mut picture, stream);
        }
        Ok(picture)
    }
}
