//! Pictures as the frozen encoder sees them, kept for the next question about them.

use std::sync::{Mutex, PoisonError};

use blip2_data::pixels::RgbImage;
use blip2_generation::GenerationConfig;
use burn::tensor::Tensor;
use sha2::{Digest, Sha256};

use crate::captions::write_by_qformer;
use crate::model::Representation;
use crate::streams::digest;
use crate::{Blip2, Blip2Error, Written};

/// What a picture is known by: a hash of its size and pixels.
type Content = [u8; 32];

/// A picture that went through the image encoder.
#[derive(Clone, Debug)]
pub struct EncodedPicture {
    /// Image features `[1, patches, encoder width]`.
    pub(crate) features: Tensor<3>,
    pub(crate) content: Content,
}

/// The features of the pictures that were encoded last, by their content.
#[derive(Debug)]
pub struct PictureCache {
    /// Bytes that features may take.
    room: usize,
    /// The one used last is the last.
    kept: Mutex<Vec<EncodedPicture>>,
}

impl PictureCache {
    /// Keeps features of up to `room` bytes.
    pub fn new(room: usize) -> Self {
        Self {
            room,
            kept: Mutex::new(Vec::new()),
        }
    }

    /// Memory that the features take now.
    pub fn bytes(&self) -> usize {
        self.with(|kept| kept.iter().map(EncodedPicture::bytes).sum())
    }

    fn with<T>(&self, look: impl FnOnce(&mut Vec<EncodedPicture>) -> T) -> T {
        // Each change is whole before the next begins, whatever happens to who made it.
        look(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn find(&self, content: Content) -> Option<EncodedPicture> {
        self.with(|kept| {
            let index = kept.iter().position(|picture| picture.content == content)?;
            let picture = kept.remove(index);
            kept.push(picture.clone());
            Some(picture)
        })
    }

    fn keep(&self, picture: EncodedPicture) {
        self.with(|kept| {
            kept.retain(|other| other.content != picture.content);
            kept.push(picture);
            let mut bytes: usize = kept.iter().map(EncodedPicture::bytes).sum();
            while bytes > self.room {
                bytes -= kept.remove(0).bytes();
            }
        });
    }
}

impl EncodedPicture {
    fn bytes(&self) -> usize {
        self.features.shape().num_elements() * self.features.dtype().size()
    }
}

impl Blip2 {
    /// `picture` through the image encoder, or out of `cache` where the same picture went through it lately.
    ///
    /// # Errors
    /// [`Blip2Error`] where the picture does not fit the encoder.
    pub fn encode_picture(
        &self,
        picture: &RgbImage,
        cache: &PictureCache,
    ) -> Result<EncodedPicture, Blip2Error> {
        let mut hash = Sha256::new();
        hash.update(picture.width().to_le_bytes());
        hash.update(picture.as_raw());
        let content = hash.finalize().into();
        if let Some(picture) = cache.find(content) {
            return Ok(picture);
        }
        let features = self.features(std::slice::from_ref(picture))?;
        let picture = EncodedPicture { features, content };
        cache.keep(picture.clone());
        Ok(picture)
    }

    /// [`Blip2::caption_by_qformer`] of a picture that was encoded.
    ///
    /// # Errors
    /// As for [`Blip2::caption_by_qformer`].
    pub fn caption_encoded_by_qformer(
        &self,
        picture: &EncodedPicture,
        settings: &GenerationConfig,
    ) -> Result<Vec<Written>, Blip2Error> {
        let Representation { model, tokenizer, .. } = self.writing_representation()?;
        let stream = digest(&[&picture.content]);
        write_by_qformer(model, tokenizer, picture.features.clone(), &[stream], settings)
    }

    /// Contrastive embeddings of unit length of a picture that was encoded, one for each query.
    ///
    /// # Errors
    /// As for [`Blip2::embed_images`].
    pub fn embed_encoded(&self, picture: &EncodedPicture) -> Result<Vec<Vec<f32>>, Blip2Error> {
        let embeddings = self.embed_features(picture.features.clone())?.embeddings;
        let [_, _, width] = embeddings.dims();
        let values: Vec<f32> = embeddings.into_data().iter().collect();
        Ok(values.chunks(width).map(<[f32]>::to_vec).collect())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_features_used_longest_ago_make_room() {
        let cache = PictureCache::new(3 * 24);
        let picture = |content: u8| EncodedPicture {
            features: Tensor::zeros([1, 2, 3], &Device::flex()),
            content: [content; 32],
        };
        (0..3).for_each(|content| cache.keep(picture(content)));
        assert!(cache.find([0; 32]).is_some());
        cache.keep(picture(3));
        cache.keep(picture(3));
        assert_eq!(cache.bytes(), 3 * 24);
        let kept = [0, 1, 2, 3].map(|content| cache.find([content; 32]).is_some());
        assert_eq!(kept, [true, false, true, true]);
        PictureCache::new(0).keep(picture(1));
    }
}
