//! BLIP's image-grounded decoder (Li et al., 2022, section 3.1): a BERT in which every word reads the image. It writes the
//! captions that CapFilt chooses from (BLIP-2, section 3.4).

use blip2_core::layers::{Embedding, LayerNorm};
use blip2_core::weights::NameMap;
use blip2_core::{Initializer, ModelError, NextTokenModel};
use burn::module::Module;
use burn::tensor::Tensor;

use crate::attention::{KeyValue, Visibility};
use crate::bert::bert_name;
use crate::caption::continued;
use crate::encoder::{ImageContext, TextEmbeddings};
use crate::layer::{Layer, LayerInput};
use crate::{LanguageHead, QFormerConfig, TextBatch};

/// A causal BERT with a cross-attention to the image in every layer, and BERT's language head.
#[derive(Module, Debug)]
pub struct GroundedDecoder {
    text_embeddings: TextEmbeddings,
    layer_norm: LayerNorm,
    layers: Vec<Layer>,
    language_head: LanguageHead,
    #[module(skip)]
    encoder_width: usize,
}

impl GroundedDecoder {
    /// Names of `transformers`' `BlipTextLMHeadModel`; the head's decoder is the word embedding, and its bias is stored twice.
    pub const HUGGING_FACE: NameMap = NameMap {
        rename: |path| Some(hugging_face(path)),
        ignored: |name| name.starts_with("cls.predictions.decoder."),
    };

    /// Random weights everywhere. Of `config`, the number of queries and the frequency of the cross-attention are not used:
    /// there are no queries, and every layer reads the image.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] where the configuration contradicts itself.
    pub fn new(initializer: &mut Initializer, config: &QFormerConfig) -> Result<Self, ModelError> {
        let config = QFormerConfig {
            cross_attention_frequency: 1,
            ..config.clone()
        };
        if let Some(problem) = config.problem() {
            return Err(ModelError::Invalid(format!("decoder configuration: {problem}")));
        }
        let (width, deviation) = (config.hidden_size, config.initializer_range);
        let positions = config.max_position_embeddings;
        Ok(Self {
            text_embeddings: TextEmbeddings {
                word_embeddings: Embedding::new(initializer, config.vocab_size, width, deviation),
                position_embeddings: Embedding::new(initializer, positions, width, deviation),
            },
            layer_norm: LayerNorm::new(initializer, width, config.layer_norm_eps),
            layers: (0..config.num_hidden_layers)
                .map(|index| Layer::new(initializer, &config, index, false))
                .collect(),
            language_head: LanguageHead::new(initializer, &config),
            encoder_width: config.encoder_hidden_size,
        })
    }

    /// Prepares image features `[batch, patches, encoder width]` for the cross-attentions.
    ///
    /// # Errors
    /// [`ModelError::Shape`] where they are another encoder's.
    pub fn image_context(&self, features: Tensor<3>) -> Result<ImageContext, ModelError> {
        let [_, _, width] = features.dims();
        if width != self.encoder_width {
            return Err(ModelError::Shape {
                tensor: "image features",
                expected: format!("[batch, patches, {}]", self.encoder_width),
                actual: features.dims().to_vec(),
                hint: "encode the images with the encoder of the same model",
            });
        }
        Ok(ImageContext::new(&self.layers, features))
    }

    /// Logits `[batch, tokens, vocabulary]` behind each token of `text`, which begins with the start token and of which each
    /// row tells of the image of `context` in the same place. Those of padding mean nothing.
    ///
    /// # Errors
    /// [`ModelError`] where the text does not fit the model.
    pub fn logits(&self, context: &ImageContext, text: &TextBatch) -> Result<Tensor<3>, ModelError> {
        let (hidden, _) = self.read(context, text, None, 0)?;
        let [batch, tokens, width] = hidden.dims();
        let logits = self.head(hidden.reshape([batch * tokens, width]));
        let [_, vocabulary] = logits.dims();
        Ok(logits.reshape([batch, tokens, vocabulary]))
    }

    /// Ready to write about each of the `batch` images of `context`, behind the same `prompt`, which begins with the start
    /// token.
    ///
    /// # Errors
    /// [`ModelError`] where the prompt is empty or does not fit the model.
    pub fn start<'a>(
        &'a self,
        context: &ImageContext,
        prompt: &[u32],
        batch: usize,
    ) -> Result<Box<dyn NextTokenModel + 'a>, ModelError> {
        let device = self.layer_norm.weight.lazy_device();
        let text = TextBatch::new(vec![prompt.to_vec(); batch], &device)?;
        let (hidden, past) = self.read(context, &text, None, 0)?;
        Ok(Box::new(GroundedText {
            model: self,
            context: context.clone(),
            position: prompt.len(),
            logits: self.last(hidden),
            past,
        }))
    }

    /// The states `[batch, tokens, width]` of `text`, whose first token has `position`, behind `past`; and what `past` grows to.
    fn read(
        &self,
        context: &ImageContext,
        text: &TextBatch,
        past: Option<&[KeyValue]>,
        position: usize,
    ) -> Result<(Tensor<3>, Vec<KeyValue>), ModelError> {
        let embedded = self.text_embeddings.forward(text, position)?;
        let mut hidden = self.layer_norm.forward(embedded);
        let mut seen = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let past = past.map(|past| &past[index]);
            let input = LayerInput {
                // A word here goes the way of a query there: past the image, and through the one network.
                queries: text.tokens(),
                image: context.layer(index),
                past,
                visibility: Visibility {
                    bias: None,
                    causal: true,
                },
                leading: None,
                watch: None,
            };
            let (next, own) = layer.forward(hidden, input);
            hidden = next;
            seen.push(match past {
                Some(past) => past.followed_by(own),
                None => own,
            });
        }
        Ok((hidden, seen))
    }

    /// Logits `[batch, vocabulary]` behind the last of `hidden` `[batch, tokens, width]`.
    fn last(&self, hidden: Tensor<3>) -> Tensor<2> {
        let [_, tokens, _] = hidden.dims();
        self.head(hidden.narrow(1, tokens - 1, 1).squeeze_dim(1))
    }

    fn head(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.language_head
            .logits(hidden, self.text_embeddings.word_embeddings.weight.val())
    }
}

/// Captions in the middle of being written.
struct GroundedText<'a> {
    model: &'a GroundedDecoder,
    context: ImageContext,
    past: Vec<KeyValue>,
    position: usize,
    logits: Tensor<2>,
}

impl NextTokenModel for GroundedText<'_> {
    fn logits(&self) -> Tensor<2> {
        self.logits.clone()
    }

    fn advance(&mut self, parents: &[usize], tokens: &[u32]) -> Result<(), ModelError> {
        let text = continued(&self.logits, parents, tokens)?;
        let context = self.context.select(parents);
        let chosen = |past: &KeyValue| past.select(parents).gathered();
        let past: Vec<KeyValue> = self.past.iter().map(chosen).collect();
        let (hidden, past) = self.model.read(&context, &text, Some(&past), self.position)?;
        self.logits = self.model.last(hidden);
        self.context = context;
        self.past = past;
        self.position += 1;
        Ok(())
    }
}

fn hugging_face(path: &str) -> String {
    let name = bert_name(path);
    if name.starts_with("cls.") {
        name
    } else {
        format!("bert.{name}")
    }
}
