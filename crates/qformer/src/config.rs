//! Sizes of the Q-Former.

use serde::{Deserialize, Serialize};

/// Reads the `qformer_config` of a Hugging Face BLIP-2 `config.json` unchanged; the defaults are BERT-base's.
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
