//! Texts that one person has written one after the other, of which each may begin as others before it did.

use std::mem;

use blip2_core::{KeptBeginnings, OpenTexts};
use blip2_data::pixels::RgbImage;
use blip2_generation::{Generated, Request, TokenCallback, generate_by_streams};

use crate::captions::written;
use crate::encoded::{EncodedPicture, PictureCache};
use crate::{Blip2, Blip2Error, Written};

/// Bytes of keys and values: 1 GB are some 1600 places of a model with 2.7 billion weights.
const BEGINNINGS: usize = 1 << 30;
/// Bytes of image features: those of some twenty pictures.
const PICTURES: usize = 32 << 20;

/// How much of a prompt the language model had read before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Places of the prompt: the queries of pictures, and tokens.
    pub places: usize,
    /// Those at its beginning whose keys and values were kept: nothing was computed for them.
    pub known: usize,
}

/// What is left of texts for the next ones of the same model: image features, and keys and values of beginnings. Both are bounded, and
/// what was used longest ago goes first.
pub(crate) struct Recollection {
    pictures: PictureCache,
    beginnings: KeptBeginnings,
    /// Of the last text.
    reading: Reading,
}

impl Recollection {
    pub(crate) fn new() -> Self {
        Self {
            pictures: PictureCache::new(PICTURES),
            beginnings: KeptBeginnings::default(),
            reading: Reading::default(),
        }
    }

    pub(crate) fn reading(&self) -> Reading {
        self.reading
    }

    /// `picture` through the image encoder of `model`, unless it went through it lately.
    ///
    /// # Errors
    /// [`Blip2Error`] where the picture does not fit the encoder.
    pub(crate) fn encode(&self, model: &Blip2, picture: &RgbImage) -> Result<EncodedPicture, Blip2Error> {
        model.encode_picture(picture, &self.pictures)
    }

    /// Lets `model` write what `request` asks for; `callback` hears each token as it is decided.
    ///
    /// # Errors
    /// As for [`Blip2::caption`].
    pub(crate) fn write(
        &mut self,
        model: &Blip2,
        request: &Request,
        callback: TokenCallback,
    ) -> Result<Vec<Written>, Blip2Error> {
        let language_model = model.language_model()?;
        let mut texts = language_model.model.open(BEGINNINGS);
        texts.recall(mem::take(&mut self.beginnings));
        let generated = self.generate(texts.as_mut(), request, callback);
        // Also where the writing failed: what was read stays read.
        self.beginnings = texts.release();
        generated?
            .into_iter()
            .map(|text| Ok(written(language_model.tokenizer.decode(&text.ids)?, text)))
            .collect()
    }

    fn generate(
        &mut self,
        texts: &mut dyn OpenTexts,
        request: &Request,
        callback: TokenCallback,
    ) -> Result<Vec<Generated>, Blip2Error> {
        texts.admit(&request.prompt)?;
        self.reading = Reading {
            places: request.prompt.iter().map(blip2_core::Segment::places).sum(),
            known: texts.reused(),
        };
        let (history, streams) = (std::slice::from_ref(&request.history), [request.stream]);
        Ok(generate_by_streams(
            texts,
            history,
            &streams,
            &request.settings,
            Some(callback),
        )?)
    }
}
