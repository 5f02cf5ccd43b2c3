//! The Llama family (Touvron et al., 2023): SmolLM2, Llama, Vicuna, Mistral, Qwen2, Qwen3 and others of the same build.

mod config;
mod layer;
mod names;
mod rope;

use std::path::Path;

use blip2_core::layers::{Embedding, Linear};
use blip2_core::weights::{GgufStore, NameMap, TensorStore, WeightError, load, open_weights};
use blip2_core::{Initializer, LanguageModel, LoadPlan};
use burn::module::Module;
use burn::tensor::Tensor;

pub use config::{Architecture, LlamaConfig};

use crate::causal::{CausalModel, reads_and_writes};
use crate::config::language_model;
use crate::head::Head;
use crate::linears::{Linears, in_layers};
use crate::rms_norm::RmsNorm;
use crate::rotary::{RotaryEmbedding, Rotation};
use layer::DecoderLayer;
pub(crate) use names::HUGGING_FACE;
pub(crate) use names::gguf_name;
use names::{GGUF, HalfSplit};

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
    /// A model with random weights, held as `plan` says on its device, which is used without autodiff.
    pub fn new(config: LlamaConfig, seed: u64, plan: impl Into<LoadPlan>) -> Self {
        let initializer = &mut Initializer::new(seed, plan.into().frozen());
        let (vocabulary, width) = (config.vocabulary_size, config.hidden_size);
        let stretched = |pair: usize| config.rope_factors.get(pair).copied().unwrap_or(1.0);
        let model = Self {
            embed_tokens: Embedding::words(initializer, vocabulary, width, DEVIATION),
            layers: (0..config.layers)
                .map(|_| DecoderLayer::new(&config, initializer))
                .collect(),
            norm: RmsNorm::new(initializer, width, config.norm_epsilon),
            lm_head: (!config.tied).then(|| Linear::unbiased(initializer, width, vocabulary, DEVIATION)),
            rotary: RotaryEmbedding::new(config.head_width, config.rope_theta, stretched),
            config,
        };
        model.freeze()
    }

    /// Reads a Hugging Face folder: `config.json` and weights ([`open_weights`]) of the model alone, or of a larger one
    /// that has it as `text_config` and `language_model.`, and whose other parts are left unread.
    ///
    /// # Errors
    /// [`WeightError`] where a file is missing or damaged, or the weights do not fit the configuration.
    pub fn from_hugging_face(folder: &Path, plan: impl Into<LoadPlan>) -> Result<Self, WeightError> {
        let config = LlamaConfig::from_hugging_face(&folder.join("config.json"))?;
        let store = open_weights(folder)?;
        let store = language_model(store.as_ref());
        let plan = plan.into().resolve(&store);
        load(Self::new(config, 0, &plan), &store, &HUGGING_FACE, plan.options())
    }

    /// Reads weights and sizes from a GGUF file of the `llama`, the `qwen2` or the `qwen3` architecture.
    ///
    /// # Errors
    /// As for [`Llama::from_hugging_face`].
    pub fn from_gguf(store: &GgufStore, plan: impl Into<LoadPlan>) -> Result<Self, WeightError> {
        let config = LlamaConfig::from_gguf(store)?;
        let half_split;
        let store: &dyn TensorStore = match config.architecture {
            Architecture::Llama => {
                half_split = HalfSplit::new(store, &config);
                &half_split
            }
            Architecture::Qwen2 | Architecture::Qwen3 => store,
        };
        let plan = plan.into().resolve(store);
        load(Self::new(config, 0, &plan), store, &GGUF, plan.options())
    }

    /// The sizes of this model.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }
}

impl CausalModel for Llama {
    const NAME: &'static str = "the Llama language model";
    type Layer = DecoderLayer;

    fn embedding(&self) -> &Embedding {
        &self.embed_tokens
    }

    fn layers(&self) -> &[DecoderLayer] {
        &self.layers
    }

    fn positions(&self) -> usize {
        self.config.positions
    }

    fn enter(&self, embeddings: Tensor<3>, positions: &[usize], rows: usize) -> (Tensor<3>, Rotation) {
        let device = self.embed_tokens.weight.lazy_device();
        (embeddings, self.rotary.at(positions, rows, &device))
    }

    fn leave(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.norm.forward(hidden)
    }

    fn head(&self) -> Head<'_> {
        Head::new(self.lm_head.as_ref(), &self.embed_tokens)
    }
}

impl Linears for Llama {
    const NAMES: NameMap = HUGGING_FACE;

    fn linears(&mut self) -> Vec<(String, &mut Linear)> {
        in_layers("layers", &mut self.layers, DecoderLayer::linears)
    }
}

impl LanguageModel for Llama {
    fn hidden_size(&self) -> usize {
        self.config.hidden_size
    }

    fn embedding_deviation(&self) -> f64 {
        self.embed_tokens.deviation()
    }

    fn vocabulary_size(&self) -> usize {
        self.config.vocabulary_size
    }

    reads_and_writes!();
}
