//! The section of a recipe that says how the bridge to the language model begins.

use serde::{Deserialize, Serialize};

/// How the bridge begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeRecipe {
    /// First weights of the projection.
    pub projection: Projection,
}

/// First weights of the projection to the language model's width.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Projection {
    /// PyTorch's, as the reference: uniform within 1/sqrt(width), no bound on what it makes of the queries.
    #[default]
    Pytorch,
    /// So that soft prompts have the standard deviation of the language model's word embeddings.
    EmbeddingScale,
    /// So that soft prompts begin with what a linear map can tell of the words that are to be written.
    Words,
    /// As `stage2.from` holds it: fine-tuning goes on with a bridge that was trained before, in front of the same language model.
    Kept,
}
