//! BLIP's captioner with its pixels and vocabulary: the one of the paper, with BLIP-large.

use std::path::Path;

use blip2_data::pixels::{ImageProcessor, RgbImage};
use blip2_data::text::BertTokenizer;
use blip2_generation::GenerationConfig;
use burn::tensor::Device;

use super::Captioner;
use crate::hugging_face::vocabulary_file;
use crate::{Blip2Error, captioner};

/// Writes behind `[DEC]` alone, as `transformers` does without a text.
pub(super) struct BlipCaptioner {
    model: captioner::Captioner,
    processor: ImageProcessor,
    tokenizer: BertTokenizer,
    device: Device,
}

impl BlipCaptioner {
    pub(super) fn open(folder: &Path, device: &Device) -> Result<Self, Blip2Error> {
        Ok(Self {
            model: captioner::Captioner::from_hugging_face(folder, device)?,
            processor: ImageProcessor::from_folder(folder)?,
            tokenizer: BertTokenizer::from_file(&vocabulary_file(folder))?,
            device: device.clone(),
        })
    }
}

impl Captioner for BlipCaptioner {
    fn write(&self, picture: &RgbImage, settings: &GenerationConfig) -> Result<Vec<String>, Blip2Error> {
        let pixels = self
            .processor
            .batch(std::slice::from_ref(picture), &self.device)?;
        let features = self.model.features(pixels)?;
        let start = [self.model.start_token()];
        let written = self.model.write(features, &start, settings)?;
        written
            .iter()
            .map(|text| Ok(self.tokenizer.decode(&text.ids)?.trim().to_owned()))
            .collect()
    }
}
