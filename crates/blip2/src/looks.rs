//! Where the queries look in a picture, and for which words of a text.

use blip2_core::ModelError;
use blip2_data::pixels::RgbImage;
use blip2_qformer::{ImageContext, QFormer, TextBatch};
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use serde::Serialize;

use crate::model::{LanguageBridge, Representation, finite};
use crate::{Blip2, Blip2Error};

/// Whose Q-Former is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// That which matches, and may have a text beside the queries.
    First,
    /// That in front of the language model, which has a text beside the queries where it reads instructions.
    Second,
}

/// Where the queries look in a picture: the attention of each layer that reads it, mean over heads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Looks {
    /// Whose they are.
    pub stage: Stage,
    /// Rows and columns of the encoder's patches.
    pub grid: [usize; 2],
    /// From the first layer that reads the picture to the last.
    pub layers: Vec<LayerLook>,
}

/// Where the queries look in one layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerLook {
    /// Which layer, from 0.
    pub layer: usize,
    /// `[queries][rows * columns]`, row by row of the picture: how much a query takes of each patch. What it takes of the
    /// encoder's class token is left out, so that its weights are less than 1 in sum.
    pub queries: Vec<Vec<f32>>,
}

/// What of the looks in one layer speaks for a match of picture and text: attention times the gradient that the match's logit
/// has in it, as far as it is positive, mean over heads (GradCAM, as `compute_gradcam` of LAVIS).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WordLooks {
    /// Which layer, from 0.
    pub layer: usize,
    /// Rows and columns of the encoder's patches.
    pub grid: [usize; 2],
    /// Probability that the text belongs to the picture.
    pub itm_probability: f64,
    /// `[queries][rows * columns]`: of each query.
    pub queries: Vec<Vec<f32>>,
    /// Of each word of the text, in its order.
    pub words: Vec<WordLook>,
}

/// Where the queries look for a word: each query's map as much as the query took of the word, likewise weighted, in sum.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WordLook {
    /// As it was read.
    pub word: String,
    /// `[rows * columns]`; of no scale that could be compared between texts.
    pub weights: Vec<f32>,
}

impl Blip2 {
    /// Where the queries look in `picture`: of `stage`, by default of stage 2 where it was trained and, with a `text`, can read it,
    /// else of stage 1. A `text` stands beside the queries: a caption in stage 1, an instruction in stage 2.
    ///
    /// # Errors
    /// [`Blip2Error::Untrained`] where the folder has no model of that stage; [`Blip2Error::Model`] where a text is given that
    /// stage 2 does not read; [`Blip2Error`] where picture or text do not fit the model.
    pub fn looks(
        &self,
        picture: &RgbImage,
        text: Option<&str>,
        stage: Option<Stage>,
    ) -> Result<Looks, Blip2Error> {
        self.check_square()?;
        let stage = stage.unwrap_or(match text {
            Some(_) if self.has_representation() && !self.reads_instructions() => Stage::First,
            _ if self.has_bridge() => Stage::Second,
            _ => Stage::First,
        });
        let looks = match stage {
            Stage::First => {
                let model = &self.representation()?.model;
                let text = text.map(|text| self.read(&[text.to_owned()])).transpose()?;
                let context = model.image_context(self.features(std::slice::from_ref(picture))?)?;
                looks(&model.qformer, &context, text.as_ref())?
            }
            Stage::Second => {
                let LanguageBridge {
                    bridge, instructions, ..
                } = self.language_bridge()?;
                let text = match (instructions, text) {
                    (Some(tokenizer), text) => {
                        Some(self.instructions(bridge, tokenizer, &[text.unwrap_or_default()])?)
                    }
                    (None, None) => None,
                    (None, Some(_)) => return Err(ModelError::Invalid(UNREAD.to_owned()).into()),
                };
                let features = bridge.normalise(self.features(std::slice::from_ref(picture))?)?;
                let context = bridge.qformer.image_context(features)?;
                looks(&bridge.qformer, &context, text.as_ref())?
            }
        };
        let (grid, layers) = looks;
        Ok(Looks { stage, grid, layers })
    }

    /// What of the looks in `layer` speaks for a match of `picture` with `text`, cleaned as captions are; without `layer`, in the
    /// one that LAVIS looks at: the first in the second half of the Q-Former that reads the picture.
    ///
    /// # Errors
    /// [`Blip2Error::Untrained`] without stage 1; [`Blip2Error::Model`] where `layer` does not read the picture, or the text does
    /// not fit the model.
    pub fn word_looks(
        &self,
        picture: &RgbImage,
        text: &str,
        layer: Option<usize>,
    ) -> Result<WordLooks, Blip2Error> {
        self.check_square()?;
        let Representation { model, tokenizer, .. } = self.representation()?;
        let layer = layer.unwrap_or_else(|| model.telling_layer());
        let batch = self.read(&[text.to_owned()])?;
        let context = model.image_context(self.features(std::slice::from_ref(picture))?)?;
        let looks = model.match_looks(&context, &batch, layer)?;
        let probability = softmax(finite("matching logits", looks.logits.clone())?, 1);
        let probability = probability.narrow(1, 1, 1).into_scalar::<f32>();
        let (grid, queries) = maps(looks.image.clone())?;
        let (_, tokens) = maps(looks.tokens())?;
        let words = tokenizer.words(&self.cleaned(text), self.usage.max_text_tokens)?;
        let words = words.into_iter().map(|(word, pieces)| WordLook {
            word,
            weights: (0..grid[0] * grid[1])
                .map(|patch| tokens[pieces.clone()].iter().map(|map| map[patch]).sum())
                .collect(),
        });
        Ok(WordLooks {
            layer,
            grid,
            itm_probability: f64::from(probability),
            queries,
            words: words.collect(),
        })
    }

    /// # Errors
    /// [`ModelError::Invalid`] where the encoder's patches make no square, so that nobody could tell which lies where.
    fn check_square(&self) -> Result<(), ModelError> {
        let processor = &self.encoder.processor;
        if processor.width == processor.height {
            return Ok(());
        }
        Err(ModelError::Invalid(format!(
            "pictures are brought to {} x {} pixels, but looks are told of squares alone",
            processor.width, processor.height
        )))
    }
}

const UNREAD: &str = "the Q-Former in front of the language model reads no text beside the picture: leave the text out, or look at \
                      stage 1";

fn looks(
    qformer: &QFormer,
    context: &ImageContext,
    text: Option<&TextBatch>,
) -> Result<([usize; 2], Vec<LayerLook>), Blip2Error> {
    let mut layers = Vec::new();
    let mut grid = [0; 2];
    for look in qformer.looks(context, text)? {
        let queries;
        (grid, queries) = maps(look.mean())?;
        layers.push(LayerLook {
            layer: look.layer,
            queries,
        });
    }
    Ok((grid, layers))
}

/// The rows of `weights` `[1, rows, image tokens]` over the patches of the picture, and how many rows and columns these have: the
/// picture is a square, and what stands in front of its patches, such as a class token, is left out.
fn maps(weights: Tensor<3>) -> Result<([usize; 2], Vec<Vec<f32>>), Blip2Error> {
    let [_, _, tokens] = weights.dims();
    let side = tokens.isqrt();
    let weights: Vec<f32> = finite("attention", weights)?.into_data().iter().collect();
    let rows = weights.chunks(tokens);
    Ok((
        [side, side],
        rows.map(|row| row[tokens - side * side..].to_vec()).collect(),
    ))
}
