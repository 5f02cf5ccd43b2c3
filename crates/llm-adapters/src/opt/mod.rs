//! OPT (Zhang et al., 2022), all sizes, as BLIP-2 uses it (LAVIS `blip2_opt.py`).

mod config;
mod layer;

use std::path::Path;

use blip2_core::layers::{Embedding, LayerNorm, Linear};
use blip2_core::weights::{NameMap, WeightError, load, open_weights};
use blip2_core::{Initializer, LanguageModel, LoadPlan};
use burn::module::Module;
use burn::tensor::Tensor;

pub use config::OptConfig;

use crate::batch::list;
use crate::causal::{CausalModel, reads_and_writes};
use crate::config::language_model;
use crate::head::Head;
use crate::linears::{Linears, in_layers};
use layer::DecoderLayer;

/// Deviation of random weights, `init_std` of the family.
const DEVIATION: f32 = 0.02;
const NORM_EPSILON: f64 = 1e-5;
/// The table of positions begins with two rows that no real token uses.
const POSITION_OFFSET: usize = 2;

/// Names of `transformers`' `OPTForCausalLM`.
pub(crate) const HUGGING_FACE: NameMap = NameMap {
    rename: |path| Some(format!("model.decoder.{path}")),
    // The head is the embedding; some checkpoints store it a second time.
    ignored: |name| name == "lm_head.weight",
};

/// A frozen OPT. Positions count the real tokens of a text, soft prompt included.
///
/// The original was trained with the id 2, `</s>`, in front of each text; what is read here is what is given
/// ([`crate::LanguageTokenizer::encode_prompt`]). The weights live on a plain device, without autodiff.
#[derive(Module, Debug)]
pub struct Opt {
    embed_tokens: Embedding,
    embed_positions: Embedding,
    project_in: Option<Linear>,
    layers: Vec<DecoderLayer>,
    final_layer_norm: Option<LayerNorm>,
    project_out: Option<Linear>,
    #[module(skip)]
    config: OptConfig,
}

impl Opt {
    /// A model with random weights, held as `plan` says on its device, which is used without autodiff.
    pub fn new(config: OptConfig, seed: u64, plan: impl Into<LoadPlan>) -> Self {
        let initializer = &mut Initializer::new(seed, plan.into().frozen());
        let (embedding, width) = (config.embedding_size, config.hidden_size);
        let mut projection = |inputs, outputs| {
            (inputs != outputs).then(|| Linear::unbiased(initializer, inputs, outputs, DEVIATION))
        };
        let (project_in, project_out) = (projection(embedding, width), projection(width, embedding));
        let positions = config.positions + POSITION_OFFSET;
        let model = Self {
            embed_tokens: Embedding::words(initializer, config.vocabulary_size, embedding, DEVIATION),
            embed_positions: Embedding::new(initializer, positions, width, DEVIATION),
            project_in,
            layers: (0..config.layers)
                .map(|_| DecoderLayer::new(&config, initializer))
                .collect(),
            final_layer_norm: config
                .final_norm
                .then(|| LayerNorm::new(initializer, width, NORM_EPSILON)),
            project_out,
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
        let config = OptConfig::from_hugging_face(&folder.join("config.json"))?;
        let store = open_weights(folder)?;
        let store = language_model(store.as_ref());
        let plan = plan.into().resolve(&store);
        load(Self::new(config, 0, &plan), &store, &HUGGING_FACE, plan.options())
    }

    /// The sizes of this model.
    pub fn config(&self) -> &OptConfig {
        &self.config
    }
}

impl CausalModel for Opt {
    const NAME: &'static str = "the OPT language model";
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

    fn enter(&self, embeddings: Tensor<3>, positions: &[usize], rows: usize) -> (Tensor<3>, ()) {
        let places = positions
            .iter()
            .map(|position| (position + POSITION_OFFSET) as i64)
            .collect();
        let places = list(places, &self.embed_positions.weight.lazy_device());
        let places = places.reshape([rows, positions.len() / rows]);
        let hidden = match &self.project_in {
            Some(projection) => projection.forward(embeddings),
            None => embeddings,
        };
        (hidden + self.embed_positions.forward(places), ())
    }

    fn leave(&self, hidden: Tensor<2>) -> Tensor<2> {
        let hidden = match &self.final_layer_norm {
            Some(norm) => norm.forward(hidden),
            None => hidden,
        };
        match &self.project_out {
            Some(projection) => projection.forward(hidden),
            None => hidden,
        }
    }

    fn head(&self) -> Head<'_> {
        Head::Table(&self.embed_tokens)
    }
}

impl Linears for Opt {
    const NAMES: NameMap = HUGGING_FACE;

    fn linears(&mut self) -> Vec<(String, &mut Linear)> {
        in_layers("layers", &mut self.layers, DecoderLayer::linears)
    }
}

impl LanguageModel for Opt {
    /// The width of the embeddings, which the soft prompt stands beside.
    #[expect(
        clippy::misnamed_getters,
        reason = "what a bridge feeds is as wide as the embeddings, which the 350M form projects"
    )]
    fn hidden_size(&self) -> usize {
        self.config.embedding_size
    }

    fn embedding_deviation(&self) -> f64 {
        self.embed_tokens.deviation()
    }

    fn vocabulary_size(&self) -> usize {
        self.config.vocabulary_size
    }

    reads_and_writes!();
}
