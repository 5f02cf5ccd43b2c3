//! Gemma 3, the text models (Gemma team, 2025): normalisations on both sides of each part and of queries and keys, five layers
//! with a sliding window to one that sees all, and words scaled by the root of the width.

mod config;
mod layer;
mod names;

use std::path::Path;

use blip2_core::layers::{Embedding, Linear};
use blip2_core::weights::{GgufStore, NameMap, WeightError, load, open_weights};
use blip2_core::{Initializer, LanguageModel, LoadPlan};
use burn::module::Module;
use burn::tensor::Tensor;

pub use config::Gemma3Config;

use crate::batch::Words;
use crate::causal::{CausalModel, reads_and_writes};
use crate::config::language_model;
use crate::head::Head;
use crate::linears::{Linears, in_layers};
pub(crate) use crate::llama::HUGGING_FACE;
use crate::rms_norm::RmsNorm;
use crate::rotary::RotaryEmbedding;
use layer::{DecoderLayer, Positions};
use names::{GGUF, ScalesFromOne};

/// Deviation of random weights, `initializer_range` of the family.
const DEVIATION: f32 = 0.02;

/// A frozen decoder-only language model of the Gemma 3 family. The soft prompt stands beside the scaled words.
///
/// The weights live on a plain device, without autodiff.
#[derive(Module, Debug)]
pub struct Gemma3 {
    embed_tokens: Embedding,
    layers: Vec<DecoderLayer>,
    norm: RmsNorm,
    lm_head: Option<Linear>,
    #[module(skip)]
    config: Gemma3Config,
    /// Of the layers that see all.
    #[module(skip)]
    global: RotaryEmbedding,
    /// Of those with a sliding window.
    #[module(skip)]
    local: RotaryEmbedding,
}

impl Gemma3 {
    /// A model with random weights, held as `plan` says on its device, which is used without autodiff.
    pub fn new(config: Gemma3Config, seed: u64, plan: impl Into<LoadPlan>) -> Self {
        let initializer = &mut Initializer::new(seed, plan.into().frozen());
        let (vocabulary, width) = (config.vocabulary_size, config.hidden_size);
        let rotary = |theta, factor| RotaryEmbedding::new(config.head_width, theta, |_| factor);
        let model = Self {
            embed_tokens: Embedding::words(initializer, vocabulary, width, DEVIATION),
            layers: config
                .sliding
                .iter()
                .map(|sliding| DecoderLayer::new(&config, *sliding, initializer))
                .collect(),
            norm: RmsNorm::new(initializer, width, config.norm_epsilon),
            lm_head: (!config.tied).then(|| Linear::unbiased(initializer, width, vocabulary, DEVIATION)),
            global: rotary(config.rope_theta, config.rope_factor),
            local: rotary(config.local_rope_theta, 1.0),
            config,
        };
        model.freeze()
    }

    /// Reads a Hugging Face folder: `config.json` and weights ([`open_weights`]) of the text model alone, or of a larger one
    /// that has it as `text_config` and `language_model.`, and whose other parts are left unread.
    ///
    /// # Errors
    /// [`WeightError`] where a file is missing or damaged, or the weights do not fit the configuration.
    pub fn from_hugging_face(folder: &Path, plan: impl Into<LoadPlan>) -> Result<Self, WeightError> {
        let config = Gemma3Config::from_hugging_face(&folder.join("config.json"))?;
        let store = open_weights(folder)?;
        let store = language_model(store.as_ref());
        let plan = plan.into().resolve(&store);
        let store = ScalesFromOne::new(&store);
        load(Self::new(config, 0, &plan), &store, &HUGGING_FACE, plan.options())
    }

    /// Reads weights and sizes from a GGUF file of the `gemma3` architecture.
    ///
    /// # Errors
    /// As for [`Gemma3::from_hugging_face`].
    pub fn from_gguf(store: &GgufStore, plan: impl Into<LoadPlan>) -> Result<Self, WeightError> {
        let config = Gemma3Config::from_gguf(store)?;
        let plan = plan.into().resolve(store);
        load(Self::new(config, 0, &plan), store, &GGUF, plan.options())
    }

    /// The sizes of this model.
    pub fn config(&self) -> &Gemma3Config {
        &self.config
    }

    /// What words are multiplied with before they are read.
    fn word_scale(&self) -> f64 {
        (self.config.hidden_size as f64).sqrt()
    }
}

impl CausalModel for Gemma3 {
    const NAME: &'static str = "the Gemma 3 language model";
    type Layer = DecoderLayer;

    fn embedding(&self) -> &Embedding {
        &self.embed_tokens
    }

    fn words(&self) -> Words<'_> {
        Words {
            table: &self.embed_tokens,
            scale: self.word_scale(),
        }
    }

    fn layers(&self) -> &[DecoderLayer] {
        &self.layers
    }

    fn positions(&self) -> usize {
        self.config.positions
    }

    fn enter(&self, embeddings: Tensor<3>, positions: &[usize], rows: usize) -> (Tensor<3>, Positions) {
        let device = self.embed_tokens.weight.lazy_device();
        let positions = Positions {
            global: self.global.at(positions, rows, &device),
            local: self.local.at(positions, rows, &device),
        };
        (embeddings, positions)
    }

    fn leave(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.norm.forward(hidden)
    }

    fn head(&self) -> Head<'_> {
        Head::new(self.lm_head.as_ref(), &self.embed_tokens)
    }
}

impl Linears for Gemma3 {
    const NAMES: NameMap = HUGGING_FACE;

    fn linears(&mut self) -> Vec<(String, &mut Linear)> {
        in_layers("layers", &mut self.layers, DecoderLayer::linears)
    }
}

impl LanguageModel for Gemma3 {
    fn hidden_size(&self) -> usize {
        self.config.hidden_size
    }

    fn embedding_deviation(&self) -> f64 {
        self.embed_tokens.deviation() * self.word_scale()
    }

    fn vocabulary_size(&self) -> usize {
        self.config.vocabulary_size
    }

    reads_and_writes!();
}
