//! Sizes of the Q-Former.

use std::path::Path;

use blip2_core::files;
use blip2_core::weights::WeightError;
use serde::{Deserialize, Serialize};

use crate::RepresentationConfig;

/// Keys are those of the `qformer_config` in a Hugging Face BLIP-2 `config.json`; the defaults are BERT-base's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QFormerConfig {
    /// Rows of the word embedding: BERT's 30,522 and the `[DEC]` token.
    pub vocab_size: usize,
    /// Width of queries and text.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Attention heads of each layer.
    pub num_attention_heads: usize,
    /// Inner width of both feed-forward networks.
    pub intermediate_size: usize,
    /// Dropout of hidden states while training.
    pub hidden_dropout_prob: f64,
    /// Dropout of attention probabilities while training.
    pub attention_probs_dropout_prob: f64,
    /// Positions of the text.
    pub max_position_embeddings: usize,
    /// Standard deviation of new weights.
    pub initializer_range: f32,
    /// The same for the queries and keys of cross-attention, where it differs: with larger ones, each learned query begins
    /// with places of its own. No key of Hugging Face's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross_attention_initializer_range: Option<f32>,
    /// Epsilon of every layer norm.
    pub layer_norm_eps: f64,
    /// Layer `i` reads the image where `i` is a multiple of this.
    pub cross_attention_frequency: usize,
    /// Width of the image features.
    pub encoder_hidden_size: usize,
    /// Number of learned queries. A top-level key of Hugging Face's file.
    pub num_query_tokens: usize,
}

impl Default for QFormerConfig {
    fn default() -> Self {
        Self {
            vocab_size: 30_523,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            max_position_embeddings: 512,
            initializer_range: 0.02,
            cross_attention_initializer_range: None,
            layer_norm_eps: 1e-12,
            cross_attention_frequency: 2,
            encoder_hidden_size: 1408,
            num_query_tokens: 32,
        }
    }
}

impl QFormerConfig {
    /// Whether layer `index` holds a cross-attention.
    pub fn reads_image(&self, index: usize) -> bool {
        index.is_multiple_of(self.cross_attention_frequency)
    }

    /// What is wrong with these sizes, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        if self.num_attention_heads == 0 || !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            Some(format!(
                "hidden_size {} is not a multiple of num_attention_heads {}",
                self.hidden_size, self.num_attention_heads
            ))
        } else if self.cross_attention_frequency == 0 {
            Some("cross_attention_frequency is 0; 1 lets every layer read the image".to_owned())
        } else if self.num_query_tokens == 0 || self.num_hidden_layers == 0 {
            Some("a Q-Former needs at least one query and one layer".to_owned())
        } else {
            None
        }
    }
}

impl RepresentationConfig {
    /// Reads the `config.json` of a BLIP-2 or InstructBLIP of `transformers`: its `qformer_config`, and what the Q-Former needs
    /// to know of the rest. What the file leaves out has the default of that library.
    ///
    /// # Errors
    /// [`WeightError::Io`] where the file cannot be read; [`WeightError::Format`] where it is not the configuration of such a
    /// model, or asks for another activation.
    pub fn from_hugging_face(file: &Path) -> Result<Self, WeightError> {
        let text = files::read(file).map_err(|source| WeightError::Io {
            action: "read",
            path: file.to_owned(),
            source,
        })?;
        let parsed: Result<ConfigFile, _> = serde_json::from_slice(&text);
        let resolved = parsed
            .map_err(|error| error.to_string())
            .and_then(ConfigFile::resolve);
        resolved.map_err(|reason| WeightError::Format {
            path: file.to_owned(),
            format: "BLIP-2 configuration",
            reason,
        })
    }
}

/// `config.json` with the defaults of `transformers`' `Blip2Config`.
#[derive(Deserialize)]
struct ConfigFile {
    qformer_config: Option<QFormerFile>,
    vision_config: Option<VisionFile>,
    #[serde(default = "default_queries")]
    num_query_tokens: usize,
    #[serde(default = "default_embedding")]
    image_text_hidden_size: usize,
}

#[derive(Deserialize, Default)]
struct QFormerFile {
    vocab_size: Option<usize>,
    hidden_act: Option<String>,
    #[serde(flatten)]
    sizes: QFormerConfig,
}

/// The encoder's, as far as the bridge is concerned.
#[derive(Deserialize)]
#[serde(default)]
struct VisionFile {
    hidden_size: usize,
    layer_norm_eps: f64,
}

impl Default for VisionFile {
    fn default() -> Self {
        Self {
            hidden_size: 1408,
            layer_norm_eps: 1e-6,
        }
    }
}

fn default_queries() -> usize {
    32
}

fn default_embedding() -> usize {
    256
}

/// BERT's own vocabulary, without `[DEC]`.
const DEFAULT_VOCABULARY: usize = 30_522;

impl ConfigFile {
    fn resolve(self) -> Result<RepresentationConfig, String> {
        let file = self.qformer_config.unwrap_or_default();
        let vision = self.vision_config.unwrap_or_default();
        if let Some(activation) = file.hidden_act.filter(|name| name != "gelu") {
            return Err(format!(
                "the Q-Former's activation is `{activation}`; only `gelu` is supported"
            ));
        }
        let qformer = QFormerConfig {
            vocab_size: file.vocab_size.unwrap_or(DEFAULT_VOCABULARY),
            // Whatever else the file says, the features are the encoder's.
            encoder_hidden_size: vision.hidden_size,
            num_query_tokens: self.num_query_tokens,
            ..file.sizes
        };
        match qformer.problem() {
            Some(problem) => Err(problem),
            None => Ok(RepresentationConfig {
                qformer,
                embedding_size: self.image_text_hidden_size,
                vision_layer_norm_eps: vision.layer_norm_eps,
            }),
        }
    }
}
