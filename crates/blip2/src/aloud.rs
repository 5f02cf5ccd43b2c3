//! Texts that are heard while they are written.

use blip2_data::pixels::RgbImage;
use blip2_generation::{GenerationConfig, TextStream, TokenCallback};
use burn::tensor::Tensor;

use crate::streams::streams;
use crate::{Blip2, Blip2Error, Written};

impl Blip2 {
    /// As [`Blip2::caption`] of one picture; `hear` gets the text piece by piece, as it is decided: with each word in greedy
    /// search and sampling, all at the end in beam search.
    ///
    /// # Errors
    /// As for [`Blip2::caption`].
    pub fn caption_aloud(
        &self,
        picture: &RgbImage,
        prompt: &str,
        settings: &GenerationConfig,
        hear: &mut dyn FnMut(&str),
    ) -> Result<Written, Blip2Error> {
        self.say_aloud(picture, (prompt, prompt), settings, hear)
    }

    /// As [`Blip2::ask`] about one picture; `hear` gets the answer as in [`Blip2::caption_aloud`].
    ///
    /// # Errors
    /// As for [`Blip2::caption`].
    pub fn ask_aloud(
        &self,
        picture: &RgbImage,
        question: &str,
        settings: &GenerationConfig,
        hear: &mut dyn FnMut(&str),
    ) -> Result<Written, Blip2Error> {
        let (prompt, read) = self.asked(question);
        self.say_aloud(picture, (&prompt, &read), settings, hear)
    }

    /// Writes behind `prompt`, while the Q-Former reads `read` beside the picture, where it reads a text.
    fn say_aloud(
        &self,
        picture: &RgbImage,
        (prompt, read): (&str, &str),
        settings: &GenerationConfig,
        hear: &mut dyn FnMut(&str),
    ) -> Result<Written, Blip2Error> {
        self.language_model()?;
        let pixels = self.pixels(std::slice::from_ref(picture))?;
        let streams = streams(&pixels, &[prompt], settings);
        self.aloud((self.encode(pixels)?, streams[0]), prompt, read, settings, hear)
    }

    /// [`Blip2::caption_aloud`] about image features `[1, patches, encoder width]`, with the stream of what is drawn, while the
    /// Q-Former reads `read` beside them, where it reads a text.
    fn aloud(
        &self,
        (features, stream): (Tensor<3>, u64),
        prompt: &str,
        read: &str,
        settings: &GenerationConfig,
        hear: &mut dyn FnMut(&str),
    ) -> Result<Written, Blip2Error> {
        let (prompts, read) = ([prompt.to_owned()], [read.to_owned()]);
        self.heard(hear, |callback| {
            self.write_about((features, &[stream]), &prompts, &read, settings, Some(callback))
        })
    }

    /// The one text that `write` writes with the language model; `hear` gets it piece by piece, as its tokens are decided.
    pub(crate) fn heard(
        &self,
        hear: &mut dyn FnMut(&str),
        write: impl FnOnce(TokenCallback) -> Result<Vec<Written>, Blip2Error>,
    ) -> Result<Written, Blip2Error> {
        let tokenizer = &self.language_model()?.tokenizer;
        let (mut ids, mut text) = (Vec::new(), TextStream::default());
        let mut say = |piece: String| {
            if !piece.is_empty() {
                hear(&piece);
            }
        };
        let mut callback = |_, token| {
            ids.push(token);
            say(text.push(&tokenizer.decode(&ids).unwrap_or_default()));
        };
        let written = write(&mut callback)?;
        say(text.finish(&tokenizer.decode(&ids)?));
        let written = written.into_iter().next();
        Ok(written.expect("one picture gets one text"))
    }
}
