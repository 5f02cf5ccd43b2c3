//! What an evaluation asks of a model beside its texts: the parts of retrieval, the cost of captions.

use blip2_core::TextExample;
use blip2_data::pixels::RgbImage;
use blip2_data::text::{self, Padding};
use blip2_qformer::RepresentationModel;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::model::{Representation, finite};
use crate::{Blip2, Blip2Error};

/// What texts cost under a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TextCost {
    /// Sum of the negative log-probabilities of the tokens.
    pub nats: f64,
    /// How many tokens were predicted, the end of each text among them.
    pub tokens: usize,
}

impl Blip2 {
    /// The model that stage 1 trained: contrast and matching.
    ///
    /// # Errors
    /// [`Blip2Error::Untrained`] where the folder has none.
    pub fn representation_model(&self) -> Result<&RepresentationModel, Blip2Error> {
        Ok(&self.representation()?.model)
    }

    /// Features `[batch, patches, encoder width]` of the frozen encoder.
    ///
    /// # Errors
    /// [`Blip2Error`] where the pictures do not fit the encoder.
    pub fn image_features(&self, pictures: &[RgbImage]) -> Result<Tensor<3>, Blip2Error> {
        self.features(pictures)
    }

    /// The ids that stage 1 reads of `captions`, cleaned as LAVIS cleans them and cut to `max_tokens`, `[CLS]` and `[SEP]`
    /// included.
    ///
    /// # Errors
    /// [`Blip2Error::Untrained`] without stage 1, [`Blip2Error::Text`] where the tokenizer refuses.
    pub fn caption_ids(&self, captions: &[String], max_tokens: usize) -> Result<Vec<Vec<u32>>, Blip2Error> {
        let Representation { tokenizer, .. } = self.representation()?;
        let captions: Vec<String> = captions
            .iter()
            .map(|caption| text::caption(caption, ""))
            .collect();
        let ids = |caption: &String| {
            let row = tokenizer.encode(&[caption], max_tokens, Padding::Longest)?;
            Ok(row.ids.concat())
        };
        captions.iter().map(ids).collect()
    }

    /// Whether the folder was trained here; else `transformers` wrote it.
    pub fn is_trained_here(&self) -> bool {
        self.usage.trained_here
    }

    /// How many tokens stand in front of what is written behind `prompt` in the language model's own output: lengths of LAVIS and
    /// `transformers` count them.
    ///
    /// # Errors
    /// As for [`Blip2::caption`].
    pub fn tokens_before(&self, prompt: &str) -> Result<usize, Blip2Error> {
        let language_model = self.language_model()?;
        let prompt = language_model.tokenizer.encode_prompt(prompt)?;
        Ok(language_model.model.history(&prompt).len())
    }

    /// What `captions` of each of `pictures` cost under the language model, behind the picture and `prompt`. They are cleaned
    /// as LAVIS cleans them; what the model was given costs nothing.
    ///
    /// # Errors
    /// As for [`Blip2::caption`]; [`Blip2Error::Model`] where the numbers differ.
    pub fn caption_costs(
        &self,
        pictures: &[RgbImage],
        captions: &[&[String]],
        prompt: &str,
    ) -> Result<Vec<TextCost>, Blip2Error> {
        let language_model = self.language_model()?;
        let tokenizer = &language_model.tokenizer;
        let given = tokenizer.encode_prompt(prompt)?;
        // What follows words begins a word of its own.
        let behind = if prompt.is_empty() { "" } else { " " };
        let prompts = vec![prompt; pictures.len()];
        let soft_prompts = self.bridged(self.features(pictures)?, &prompts)?.projected;
        let [_, queries, hidden] = soft_prompts.dims();
        let mut costs = Vec::with_capacity(pictures.len());
        for (picture, captions) in captions.iter().enumerate() {
            if captions.is_empty() {
                costs.push(TextCost::default());
                continue;
            }
            let mut examples = Vec::with_capacity(captions.len());
            for caption in *captions {
                let mut target = tokenizer.encode(&text::caption(caption, behind))?;
                target.push(tokenizer.end());
                examples.push(TextExample {
                    prompt: given.clone(),
                    target,
                });
            }
            let tokens = examples.iter().map(|example| example.target.len()).sum();
            let soft_prompt = soft_prompts.clone().narrow(0, picture, 1);
            let soft_prompt = soft_prompt.expand([examples.len(), queries, hidden]);
            let loss = finite("loss", language_model.model.loss(soft_prompt, &examples)?)?;
            costs.push(TextCost {
                nats: f64::from(loss.into_scalar::<f32>()) * tokens as f64,
                tokens,
            });
        }
        Ok(costs)
    }
}
