//! The Llama family (Touvron et al., 2023): SmolLM2, Llama, Vicuna and others of the same build.

mod cache;
mod config;
mod layer;
mod names;
mod rotary;

use std::path::Path;

use blip2_core::layers::{Embedding, Linear};
use blip2_core::weights::{GgufStore, LoadOptions, SafetensorsStore, WeightError, load};
use blip2_core::{Initializer, LanguageModel, ModelError, NextTokenModel, TextExample};
use blip2_kernels::{self as kernels, CrossEntropyOptions};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};

pub use config::LlamaConfig;

use crate::rms_norm::RmsNorm;
use cache::{LayerCache, LlamaText};
use layer::DecoderLayer;
use names::{GGUF, HUGGING_FACE, HalfSplit};
use rotary::RotaryEmbedding;

const NAME: &str = "the Llama language model";
const DEVIATION: f32 = 0.02;

/// A frozen decoder-only language model of the Llama family.
///
/// The weights live on a plain device: beside an autodiff soft prompt they act as constants, so that no gradient of a
/// weight is ever computed.
#[derive(Module, Debug)]
pub struct Llama {
    embed_tokens: Embedding,
    layers: Vec<DecoderLayer>,
    norm: RmsNorm,
    lm_head: Option<Linear>,
    #[module(skip)]
    config: LlamaConfig,
    #[module(skip)]
    rotary: RotaryEmbedding,
}

impl Llama {
    /// A model with random weights on `device`, which is used without autodiff.
    pub fn new(config: LlamaConfig, seed: u64, device: &Device) -> Self {
        let initializer = &mut Initializer::new(seed, &device.clone().inner());
        let (vocabulary, width) = (config.vocabulary_size, config.hidden_size);
        let model = Self {
            embed_tokens: Embedding::new(initializer, vocabulary, width, DEVIATION),
            layers: (0..config.layers)
                .map(|_| DecoderLayer::new(&config, initializer))
                .collect(),
            norm: RmsNorm::new(initializer, width, config.norm_epsilon),
            lm_head: (!config.tied).then(|| Linear::unbiased(initializer, width, vocabulary, DEVIATION)),
            rotary: RotaryEmbedding::new(config.head_width, config.rope_theta),
            config,
        };
        model.freeze()
    }

    /// Reads a Hugging Face folder: `config.json` and safetensors, one file or shards.
    ///
    /// # Errors
    /// [`WeightError`] where a file is missing or damaged, or the weights do not fit the configuration.
    pub fn from_hugging_face(folder: &Path, device: &Device) -> Result<Self, WeightError> {
        let config = LlamaConfig::from_hugging_face(&folder.join("config.json"))?;
        let store = SafetensorsStore::open(folder)?;
        load(
            Self::new(config, 0, device),
            &store,
            &HUGGING_FACE,
            LoadOptions::default(),
        )
    }

    /// Reads weights and sizes from a GGUF file of the `llama` architecture.
    ///
    /// # Errors
    /// As for [`Llama::from_hugging_face`].
    pub fn from_gguf(store: &GgufStore, device: &Device) -> Result<Self, WeightError> {
        let config = LlamaConfig::from_gguf(store)?;
        let store = HalfSplit::new(store, &config);
        load(
            Self::new(config, 0, device),
            &store,
            &GGUF,
            LoadOptions::default(),
        )
    }

    /// The sizes of this model.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Logits `[batch, queries + tokens, vocabulary]` at every position of `soft_prompt` `[batch, queries, hidden]`
    /// followed by `texts`, which are padded on the right to the longest.
    ///
    /// # Errors
    /// As for [`LanguageModel::loss`].
    pub fn logits(&self, soft_prompt: Tensor<3>, texts: &[Vec<u32>]) -> Result<Tensor<3>, ModelError> {
        let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let hidden = self.read(soft_prompt, &texts, |layer, hidden, rotation| {
            layer.forward(hidden, rotation)
        })?;
        let [batch, tokens, width] = hidden.dims();
        let logits = self.head(hidden.reshape([batch * tokens, width]));
        Ok(logits.reshape([batch, tokens, self.config.vocabulary_size]))
    }

    /// The residual stream `[batch, queries + tokens, hidden]` behind the last layer, before the final normalisation.
    fn read(
        &self,
        soft_prompt: Tensor<3>,
        texts: &[&[u32]],
        mut run: impl FnMut(&DecoderLayer, Tensor<3>, &rotary::Rotation) -> Tensor<3>,
    ) -> Result<Tensor<3>, ModelError> {
        let [batch, queries, width] = soft_prompt.dims();
        if batch != texts.len() || batch == 0 || width != self.config.hidden_size {
            return Err(ModelError::Shape {
                tensor: "soft_prompt",
                expected: format!("[{}, queries, {}]", texts.len(), self.config.hidden_size),
                actual: soft_prompt.dims().to_vec(),
                hint: "give one row for each text, as wide as the language model's embeddings",
            });
        }
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        self.check_context(queries + longest)?;
        texts.iter().try_for_each(|text| self.check_vocabulary(text))?;
        let mut parts = Vec::new();
        if queries > 0 {
            parts.push(soft_prompt);
        }
        if longest > 0 {
            // Nothing real looks at what stands behind it, so that any id will do as padding.
            let padded: Vec<u32> = texts
                .iter()
                .flat_map(|text| text.iter().copied().chain(std::iter::repeat(0)).take(longest))
                .collect();
            parts.push(self.embed(&padded, batch));
        }
        if parts.is_empty() {
            return Err(ModelError::Invalid(
                "a soft prompt without queries and empty texts leave nothing to read".into(),
            ));
        }
        let positions: Vec<usize> = (0..queries + longest).collect();
        let rotation = self.rotary.at(&positions, 1, &self.device());
        let hidden = Tensor::cat(parts, 1);
        Ok(self
            .layers
            .iter()
            .fold(hidden, |hidden, layer| run(layer, hidden, &rotation)))
    }

    /// Logits `[rows, vocabulary]` of rows of the residual stream `[rows, hidden]`.
    fn head(&self, hidden: Tensor<2>) -> Tensor<2> {
        kernels::linear(self.norm.forward(hidden), self.head_weight(), None)
    }

    /// `[vocabulary, hidden]`.
    fn head_weight(&self) -> Tensor<2> {
        self.lm_head
            .as_ref()
            .map_or(&self.embed_tokens.weight, |head| &head.weight)
            .val()
    }

    /// Embeddings `[rows, tokens, hidden]` of `ids`, row after row.
    fn embed(&self, ids: &[u32], rows: usize) -> Tensor<3> {
        let list: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
        let list = Tensor::from_data(TensorData::new(list, [rows, ids.len() / rows]), &self.device());
        self.embed_tokens.forward(list)
    }

    fn layers(&self) -> &[DecoderLayer] {
        &self.layers
    }

    fn rotary(&self) -> &RotaryEmbedding {
        &self.rotary
    }

    fn device(&self) -> Device {
        self.embed_tokens.weight.lazy_device()
    }

    fn check_vocabulary(&self, ids: &[u32]) -> Result<(), ModelError> {
        self.embed_tokens.check(ids)
    }

    fn check_context(&self, tokens: usize) -> Result<(), ModelError> {
        let limit = self.config.positions;
        if tokens > limit {
            Err(ModelError::Context {
                model: NAME,
                tokens,
                limit,
            })
        } else {
            Ok(())
        }
    }
}

impl LanguageModel for Llama {
    fn hidden_size(&self) -> usize {
        self.config.hidden_size
    }

    fn fingerprint(&self) -> String {
        blip2_core::weights::fingerprint(self)
    }

    fn vocabulary_size(&self) -> usize {
        self.config.vocabulary_size
    }

    fn loss(&self, soft_prompt: Tensor<3>, examples: &[TextExample]) -> Result<Tensor<1>, ModelError> {
        let queries = soft_prompt.dims()[1];
        let texts: Vec<Vec<u32>> = examples
            .iter()
            .map(|example| [&example.prompt[..], &example.target].concat())
            .collect();
        texts.iter().try_for_each(|text| self.check_vocabulary(text))?;
        // The last token is predicted, never read.
        let read: Vec<&[u32]> = texts
            .iter()
            .map(|text| text.split_last().map_or(&[][..], |(_, read)| read))
            .collect();
        let width = queries + read.iter().map(|text| text.len()).max().unwrap_or(0);
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        for (row, example) in examples.iter().enumerate() {
            for (index, target) in example.target.iter().enumerate() {
                // The token at `place` is predicted by the one before; the very first by nothing.
                let place = queries + example.prompt.len() + index;
                if place > 0 {
                    rows.push((row * width + place - 1) as i64);
                    targets.push(i64::from(*target));
                }
            }
        }
        if targets.is_empty() {
            return Err(ModelError::Invalid(
                "no example of the batch has a target token to predict".into(),
            ));
        }
        let hidden = self.read(soft_prompt, &read, |layer, hidden, rotation| {
            layer.forward(hidden, rotation)
        })?;
        let [batch, tokens, hidden_size] = hidden.dims();
        let list = |values: Vec<i64>| {
            let count = values.len();
            Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &self.device())
        };
        let labelled = hidden
            .reshape([batch * tokens, hidden_size])
            .select(0, list(rows));
        Ok(kernels::linear_cross_entropy(
            self.norm.forward(labelled),
            self.head_weight(),
            None,
            list(targets),
            CrossEntropyOptions::default(),
        ))
    }

    fn start(
        &self,
        soft_prompt: Tensor<3>,
        prompts: &[Vec<u32>],
    ) -> Result<Box<dyn NextTokenModel + '_>, ModelError> {
        let queries = soft_prompt.dims()[1];
        let starts: Vec<usize> = prompts.iter().map(|prompt| queries + prompt.len()).collect();
        if starts.contains(&0) {
            return Err(ModelError::Invalid(
                "an empty prompt without a soft prompt leaves nothing to continue: give a first token".into(),
            ));
        }
        let texts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let mut caches: Vec<LayerCache> = Vec::with_capacity(self.layers.len());
        let hidden = self.read(soft_prompt, &texts, |layer, hidden, rotation| {
            let (hidden, cache) = layer.forward_keeping(hidden, rotation);
            caches.push(cache);
            hidden
        })?;
        let [batch, tokens, width] = hidden.dims();
        let last: Vec<i64> = starts
            .iter()
            .enumerate()
            .map(|(row, start)| (row * tokens + start - 1) as i64)
            .collect();
        let last = Tensor::from_data(TensorData::new(last, [batch]), &self.device());
        let logits = self.head(hidden.reshape([batch * tokens, width]).select(0, last));
        Ok(Box::new(LlamaText::new(self, caches, starts, logits)))
    }
}
