//! CLIP with its pixels and vocabulary: the ranker of the paper, with ViT-L/14.

use std::path::Path;

use blip2_core::ModelError;
use blip2_data::pixels::{CropBox, ImageProcessor, RgbImage, resize, resize_crop};
use blip2_llm_adapters::LanguageTokenizer;
use blip2_vision_encoder::{Clip, ClipConfig, EncoderError};
use burn::tensor::Device;

use super::Ranker;
use crate::Blip2Error;
use crate::hugging_face::CONFIG;
use crate::model::finite;

/// Both towers.
pub(super) struct ClipRanker {
    model: Clip,
    processor: ImageProcessor,
    tokenizer: LanguageTokenizer,
    longest: usize,
    device: Device,
}

impl ClipRanker {
    pub(super) fn open(folder: &Path, device: &Device) -> Result<Self, Blip2Error> {
        let wrong = |source: EncoderError| Blip2Error::Encoder {
            path: folder.to_owned(),
            source: Box::new(source),
        };
        let config = ClipConfig::read(&folder.join(CONFIG)).map_err(|error| wrong(error.into()))?;
        Ok(Self {
            model: Clip::from_hugging_face(folder, device).map_err(wrong)?,
            processor: ImageProcessor::clip_square(config.vision.image_size as u32),
            tokenizer: LanguageTokenizer::from_hugging_face(folder)?,
            longest: config.text.max_position_embeddings,
            device: device.clone(),
        })
    }

    /// The ids of `text` with its special tokens. Of one that is too long the end token stays.
    fn ids(&self, text: &str) -> Result<Vec<u32>, Blip2Error> {
        let mut ids = self.tokenizer.encode_prompt(text)?;
        if let Some(end) = ids.last().copied().filter(|_| ids.len() > self.longest) {
            ids.truncate(self.longest - 1);
            ids.push(end);
        }
        Ok(ids)
    }
}

impl Ranker for ClipRanker {
    fn scores(&self, picture: &RgbImage, texts: &[String]) -> Result<Vec<f64>, Blip2Error> {
        let square = centre(picture, self.processor.width)?;
        let pixels = self.processor.batch(&[square], &self.device)?;
        let ids: Vec<Vec<u32>> = texts
            .iter()
            .map(|text| self.ids(text))
            .collect::<Result<_, _>>()?;
        let image = finite("image embeddings", self.model.image_embeddings(pixels)?)?;
        let texts = finite("text embeddings", self.model.text_embeddings(&ids)?)?;
        let cosines = image.matmul(texts.transpose());
        Ok(cosines.into_data().iter::<f64>().collect())
    }
}

/// The middle square of `picture`, once its shorter side has `side` pixels: CLIP's own preparation.
fn centre(picture: &RgbImage, side: u32) -> Result<RgbImage, Blip2Error> {
    let (width, height) = picture.dimensions();
    let shorter = width.min(height);
    if shorter == 0 {
        return Err(ModelError::Invalid(format!("the picture has {width} x {height} pixels")).into());
    }
    let scaled = |length: u32| (u64::from(side) * u64::from(length) / u64::from(shorter)) as u32;
    let (width, height) = (scaled(width), scaled(height));
    let resized = resize(picture, width, height)?;
    let (left, top) = ((width - side) / 2, (height - side) / 2);
    let middle = CropBox {
        left,
        top,
        right: left + side,
        bottom: top + side,
    };
    Ok(resize_crop(&resized, middle, side, side)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_seen_and_not_squashed() {
        // Three squares side by side: only the middle one stays.
        let row: Vec<u8> = (0..30).flat_map(|x| [x / 10 * 90; 3]).collect();
        let picture = RgbImage::from_raw(30, 10, row.repeat(10)).unwrap();
        let square = centre(&picture, 10).unwrap();
        assert_eq!(square.dimensions(), (10, 10));
        assert!(square.as_raw().iter().all(|value| *value == 90));
        assert_eq!(centre(&RgbImage::new(7, 33), 12).unwrap().dimensions(), (12, 12));
        assert!(centre(&RgbImage::new(0, 3), 12).is_err());
    }
}
