//! The Q-Former itself and its four passes (LAVIS `blip2_models/Qformer.py`, `blip2_qformer.py`).

use blip2_core::layers::{Embedding, LayerNorm};
use blip2_core::{Blocks, Initializer, ModelError};
use blip2_kernels::join_tokens;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use crate::attention::{KeyValue, Visibility, dropout};
use crate::layer::{Layer, LayerInput};
use crate::watch::Watches;
use crate::{QFormerConfig, TextBatch};

/// What BERT adds to a key that must not be seen.
const HIDDEN_KEY: f64 = -10_000.0;

/// The keys and values that the cross-attentions make of a batch of images. They depend on the image alone, so one context
/// serves the query pass and all of matching; a hard negative is another row of it.
#[derive(Clone, Debug)]
pub struct ImageContext {
    /// One entry a layer, `None` where the layer does not read the image.
    layers: Vec<Option<KeyValue>>,
}

impl ImageContext {
    /// What `layers` read of `features` `[batch, patches, encoder width]`.
    pub(crate) fn new(layers: &[Layer], features: Tensor<3>) -> Self {
        let key_value = |layer: &Layer| {
            let cross = layer.cross_attention.as_ref()?;
            Some(cross.key_value(features.clone()))
        };
        Self {
            layers: layers.iter().map(key_value).collect(),
        }
    }

    /// What layer `index` reads, if anything.
    pub(crate) fn layer(&self, index: usize) -> Option<&KeyValue> {
        self.layers[index].as_ref()
    }

    /// How many images there are.
    pub fn images(&self) -> usize {
        let first = self.layers[0].as_ref();
        first
            .expect("layer 0 reads the image: 0 is a multiple of every frequency")
            .count()
    }

    /// The images at `indices`, in that order. Nothing is copied.
    ///
    /// # Panics
    /// When it is read, where an index is not that of an image.
    pub fn select(&self, indices: &[usize]) -> Self {
        Self {
            layers: self
                .layers
                .iter()
                .map(|layer| layer.as_ref().map(|kv| kv.select(indices)))
                .collect(),
        }
    }

    /// These images and, behind them, those of `more`, which the same model prepared.
    pub fn followed_by(&self, more: &Self) -> Self {
        let pairs = self.layers.iter().zip(&more.layers);
        Self {
            layers: pairs
                .map(|(own, more)| Some(own.as_ref()?.with_rows(more.as_ref()?)))
                .collect(),
        }
    }
}

/// What the queries know of a batch of images.
#[derive(Clone, Debug)]
pub struct QueryOutput {
    /// Final states `[batch, queries, width]`: the soft prompt before its projection.
    pub hidden: Tensor<3>,
    /// Self-attention keys and values of the queries in each layer, for text to read.
    pub(crate) cache: Vec<KeyValue>,
}

/// Embeddings of the text branch.
#[derive(Module, Debug)]
pub struct TextEmbeddings {
    /// One row a word piece; the language head shares it.
    pub word_embeddings: Embedding,
    /// One row a position; the first text token has position 0, also behind queries.
    pub position_embeddings: Embedding,
}

impl TextEmbeddings {
    /// Words and positions of `text`, whose first token has `position`, added up: `[batch, tokens, width]`.
    ///
    /// # Errors
    /// [`ModelError`] where a position or a word is not in the tables.
    pub(crate) fn forward(&self, text: &TextBatch, position: usize) -> Result<Tensor<3>, ModelError> {
        let limit = self.position_embeddings.entries();
        if position + text.tokens() > limit {
            return Err(ModelError::Context {
                model: "the text branch",
                tokens: position + text.tokens(),
                limit,
            });
        }
        self.word_embeddings.check(text.rows().iter().flatten())?;
        let words = self.word_embeddings.forward(text.ids.clone());
        let positions = self
            .position_embeddings
            .weight
            .val()
            .narrow(0, position, text.tokens());
        Ok(words + positions.unsqueeze())
    }
}

/// Learned queries and the transformer that they share with the text.
#[derive(Module, Debug)]
pub struct QFormer {
    /// `[1, queries, width]`, without position embedding.
    pub query_tokens: Param<Tensor<3>>,
    /// Absent in stage 2, which has no text in the Q-Former.
    pub text_embeddings: Option<TextEmbeddings>,
    /// Normalises queries and text alike.
    pub layer_norm: LayerNorm,
    pub(crate) layers: Vec<Layer>,
    #[module(skip)]
    config: QFormerConfig,
}

impl QFormer {
    /// A Q-Former with random weights; `with_text` decides whether it has a text branch.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] where the configuration contradicts itself.
    pub fn new(
        initializer: &mut Initializer,
        config: &QFormerConfig,
        with_text: bool,
    ) -> Result<Self, ModelError> {
        if let Some(problem) = config.problem() {
            return Err(ModelError::Invalid(format!("Q-Former configuration: {problem}")));
        }
        let (width, deviation) = (config.hidden_size, config.initializer_range);
        Ok(Self {
            query_tokens: initializer.normal([1, config.num_query_tokens, width], deviation),
            text_embeddings: with_text.then(|| TextEmbeddings {
                word_embeddings: Embedding::new(initializer, config.vocab_size, width, deviation),
                position_embeddings: Embedding::new(
                    initializer,
                    config.max_position_embeddings,
                    width,
                    deviation,
                ),
            }),
            layer_norm: LayerNorm::new(initializer, width, config.layer_norm_eps),
            layers: (0..config.num_hidden_layers)
                .map(|index| Layer::new(initializer, config, index, with_text))
                .collect(),
            config: config.clone(),
        })
    }

    /// The same Q-Former for stage 2: text embeddings and text networks are dropped.
    pub fn without_text(mut self) -> Self {
        self.text_embeddings = None;
        self.layers
            .iter_mut()
            .for_each(|layer| layer.text_feed_forward = None);
        self
    }

    /// The same in evaluation on any device: it drops nothing where it is tracked.
    pub(crate) fn without_dropout(mut self) -> Self {
        self.layers = self.layers.into_iter().map(Layer::without_dropout).collect();
        self.config.hidden_dropout_prob = 0.0;
        self
    }

    /// Whether it has the text branch.
    pub fn reads_texts(&self) -> bool {
        self.text_embeddings.is_some()
    }

    /// Its sizes.
    pub fn config(&self) -> &QFormerConfig {
        &self.config
    }

    /// Where its parameters live.
    pub fn device(&self) -> Device {
        self.query_tokens.val().device()
    }

    /// # Errors
    /// [`ModelError::Shape`] where the width of `features` `[batch, patches, width]` is not that of the encoder that this
    /// Q-Former was made for.
    pub fn check_features(&self, features: &Tensor<3>) -> Result<(), ModelError> {
        let [_, _, width] = features.dims();
        if width != self.config.encoder_hidden_size {
            return Err(ModelError::Shape {
                tensor: "image features",
                expected: format!("[batch, patches, {}]", self.config.encoder_hidden_size),
                actual: features.dims().to_vec(),
                hint: "another encoder has other cross-attention weights: it needs stage 1 again",
            });
        }
        Ok(())
    }

    /// Prepares `features` `[batch, patches, encoder width]` for the cross-attentions.
    ///
    /// # Errors
    /// As for [`QFormer::check_features`].
    pub fn image_context(&self, features: Tensor<3>) -> Result<ImageContext, ModelError> {
        self.check_features(&features)?;
        Ok(ImageContext::new(&self.layers, features))
    }

    /// Pass 1, unimodal: the queries read the images of `context` (`batch` of them).
    pub fn query_pass(&self, context: &ImageContext, batch: usize) -> QueryOutput {
        self.queries_alone(context, batch, None)
    }

    /// [`QFormer::query_pass`] with `watches` over the attentions of some layers.
    pub(crate) fn queries_alone(
        &self,
        context: &ImageContext,
        batch: usize,
        watches: Option<&mut Watches>,
    ) -> QueryOutput {
        let pass = Pass {
            queries: true,
            image: Some(context),
            watches,
            ..Pass::default()
        };
        let (hidden, cache) = self.run(self.embed_queries(batch), pass);
        QueryOutput { hidden, cache }
    }

    /// Pass 2, unimodal: the text alone. Gives the final states of the first `leading` tokens of each text
    /// `[batch, leading, width]` (1 for `[CLS]`), or of all of them.
    ///
    /// # Errors
    /// [`ModelError`] where the text does not fit the model.
    pub fn text_pass(&self, text: &TextBatch, leading: Option<usize>) -> Result<Tensor<3>, ModelError> {
        let bias = hide_padding(text.mask.clone());
        let pass = Pass {
            bias: Some(bias),
            leading,
            ..Pass::default()
        };
        Ok(self.run(self.embed_text(text, 0)?, pass).0)
    }

    /// Pass 3, bidirectional: queries and text see each other. Gives the final states of the queries
    /// `[batch, queries, width]`.
    ///
    /// # Errors
    /// As for [`QFormer::text_pass`].
    pub fn multimodal_pass(&self, context: &ImageContext, text: &TextBatch) -> Result<Tensor<3>, ModelError> {
        self.multimodal(context, text, None)
    }

    /// [`QFormer::multimodal_pass`] with `watches` over the attentions of some layers.
    pub(crate) fn multimodal(
        &self,
        context: &ImageContext,
        text: &TextBatch,
        watches: Option<&mut Watches>,
    ) -> Result<Tensor<3>, ModelError> {
        let batch = text.len();
        let queries = self.config.num_query_tokens;
        let embedded = join_tokens(self.embed_queries(batch), self.embed_text(text, 0)?);
        let seen = Tensor::cat(
            vec![
                Tensor::ones([batch, queries], &text.mask.device()),
                text.mask.clone(),
            ],
            1,
        );
        let pass = Pass {
            queries: true,
            image: Some(context),
            bias: Some(hide_padding(seen)),
            leading: Some(queries),
            watches,
            ..Pass::default()
        };
        Ok(self.run(embedded, pass).0)
    }

    /// Pass 4, multimodal causal: each text token sees the queries of `images` and the text before it. Gives the states
    /// `[batch, tokens, width]`; those of padding mean nothing.
    ///
    /// # Errors
    /// As for [`QFormer::text_pass`].
    pub fn causal_pass(&self, images: &QueryOutput, text: &TextBatch) -> Result<Tensor<3>, ModelError> {
        // Padding stands on the right, so that causality hides it from all text that counts.
        let pass = Pass {
            past: Some(&images.cache),
            causal: true,
            ..Pass::default()
        };
        Ok(self.run(self.embed_text(text, 0)?, pass).0)
    }

    /// One step of writing: `tokens` `[rows, 1]` at `position` behind `past`, which grows by them.
    pub(crate) fn step(
        &self,
        past: &mut Vec<KeyValue>,
        text: &TextBatch,
        position: usize,
    ) -> Result<Tensor<3>, ModelError> {
        let embedded = self.embed_text(text, position)?;
        let (hidden, own) = self.run(
            embedded,
            Pass {
                past: Some(past),
                causal: true,
                ..Pass::default()
            },
        );
        *past = past
            .iter()
            .zip(own)
            .map(|(past, own)| past.followed_by(own))
            .collect();
        Ok(hidden)
    }

    fn embed_queries(&self, batch: usize) -> Tensor<3> {
        let queries = self.layer_norm.forward(self.query_tokens.val());
        let [_, count, width] = queries.dims();
        // Copied before dropout: each picture loses values of its own, as in the reference.
        dropout(
            queries.expand([batch, count, width]),
            self.config.hidden_dropout_prob,
        )
    }

    fn embed_text(&self, text: &TextBatch, position: usize) -> Result<Tensor<3>, ModelError> {
        let embeddings = self.text_embeddings.as_ref().ok_or_else(|| {
            ModelError::Invalid(
                "this Q-Former has no text branch (stage 2 drops it): load the stage-1 checkpoint for text"
                    .to_owned(),
            )
        })?;
        Ok(self.normalise(embeddings.forward(text, position)?))
    }

    fn normalise(&self, embedded: Tensor<3>) -> Tensor<3> {
        dropout(self.layer_norm.forward(embedded), self.config.hidden_dropout_prob)
    }

    fn run(&self, mut hidden: Tensor<3>, mut pass: Pass<'_>) -> (Tensor<3>, Vec<KeyValue>) {
        let last = self.layers.len() - 1;
        let mut cache = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let input = LayerInput {
                queries: if pass.queries {
                    self.config.num_query_tokens
                } else {
                    0
                },
                image: pass.image.and_then(|context| context.layer(index)),
                past: pass.past.map(|past| &past[index]),
                visibility: Visibility {
                    bias: pass.bias.clone(),
                    causal: pass.causal,
                },
                leading: pass.leading.filter(|_| index == last),
                watch: pass
                    .watches
                    .as_deref_mut()
                    .and_then(|watches| watches.get_mut(&index)),
            };
            let (next, own) = match input.watch.is_none() && Blocks::QFormer.are_recomputed() {
                true => layer.recomputed(hidden, input),
                false => layer.forward(hidden, input),
            };
            hidden = next;
            cache.push(own);
        }
        (hidden, cache)
    }
}

#[derive(Default)]
struct Pass<'a> {
    queries: bool,
    image: Option<&'a ImageContext>,
    past: Option<&'a [KeyValue]>,
    bias: Option<Tensor<4>>,
    causal: bool,
    leading: Option<usize>,
    watches: Option<&'a mut Watches>,
}

/// From a mask `[batch, keys]` to what is added to the scores `[batch, 1, 1, keys]`.
fn hide_padding(mask: Tensor<2>) -> Tensor<4> {
    let [batch, keys] = mask.dims();
    (mask - 1.0).mul_scalar(-HIDDEN_KEY).reshape([batch, 1, 1, keys])
}
