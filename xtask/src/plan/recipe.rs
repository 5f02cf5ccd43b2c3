//! What a plan needs of a recipe, and the sizes of the frozen models that it names.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

/// The sections of a recipe that decide what a run costs; the others are left to the trainer.
#[derive(Deserialize)]
pub(super) struct Recipe {
    pub(super) max_text_tokens: u64,
    encoder: EncoderSection,
    language_model: Option<LanguageModelSection>,
    pub(super) representation: Representation,
    pub(super) stage1: Option<Stage>,
    pub(super) stage2: Option<Stage>,
}

#[derive(Deserialize)]
struct EncoderSection {
    path: String,
    image_size: Option<u64>,
}

#[derive(Deserialize)]
struct LanguageModelSection {
    path: String,
}

#[derive(Deserialize)]
pub(super) struct Representation {
    pub(super) embedding_size: u64,
    pub(super) qformer: QFormer,
}

#[derive(Deserialize)]
pub(super) struct QFormer {
    pub(super) vocab_size: u64,
    pub(super) hidden_size: u64,
    pub(super) num_hidden_layers: u64,
    pub(super) intermediate_size: u64,
    pub(super) max_position_embeddings: u64,
    pub(super) cross_attention_frequency: u64,
    pub(super) num_query_tokens: u64,
    pub(super) hidden_dropout_prob: f64,
}

#[derive(Deserialize)]
pub(super) struct Stage {
    pub(super) steps: u64,
    pub(super) batch: u64,
    #[serde(default = "one")]
    pub(super) parts: u64,
    #[serde(default)]
    recompute: Option<Recomputed>,
}

/// Blocks that the backward pass computes again.
#[derive(Deserialize)]
#[serde(untagged)]
enum Recomputed {
    One(String),
    Many(Vec<String>),
}

impl Stage {
    /// Whether the backward pass computes `blocks` again.
    pub(super) fn recomputes(&self, blocks: &str) -> bool {
        match &self.recompute {
            None => false,
            Some(Recomputed::One(one)) => one == blocks,
            Some(Recomputed::Many(many)) => many.iter().any(|one| one == blocks),
        }
    }
}

fn one() -> u64 {
    1
}

/// `recipes/models.toml`.
#[derive(Deserialize)]
struct Catalogue {
    encoder: BTreeMap<String, Encoder>,
    language_model: BTreeMap<String, LanguageModel>,
}

/// A vision transformer, up to the block whose output is read.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct Encoder {
    pub(super) width: u64,
    pub(super) layers: u64,
    pub(super) inner: u64,
    pub(super) patch: u64,
    image: u64,
    pub(super) parameters: u64,
}

/// Layers of a language model; with `decoder_layers`, the others are an encoder's.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct LanguageModel {
    pub(super) width: u64,
    pub(super) layers: u64,
    #[serde(default)]
    pub(super) decoder_layers: u64,
    pub(super) inner: u64,
    /// Matrices of a feed-forward network: 2, or 3 where it is gated.
    pub(super) matrices: u64,
    pub(super) vocabulary: u64,
    pub(super) parameters: u64,
}

/// A recipe with the sizes of its frozen models.
pub(super) struct Sized {
    pub(super) recipe: Recipe,
    pub(super) encoder: Encoder,
    /// Side of a picture, in pixels.
    pub(super) image: u64,
    pub(super) language_model: Option<LanguageModel>,
}

impl Sized {
    /// # Errors
    /// One of both files cannot be read, or the catalogue lacks a model of the recipe.
    pub(super) fn read(recipe: &Path, catalogue: &Path) -> Result<Self> {
        let known: Catalogue = parse(catalogue)?;
        let recipe: Recipe = parse(recipe)?;
        let absent = |path: &str| {
            anyhow!(
                "the sizes of `{path}` are not known: add them to {}",
                crate::places::shown(catalogue)
            )
        };
        let named = &recipe.encoder.path;
        let encoder = *known.encoder.get(named).ok_or_else(|| absent(named))?;
        let language_model = match &recipe.language_model {
            Some(section) => {
                let found = known.language_model.get(&section.path);
                Some(*found.ok_or_else(|| absent(&section.path))?)
            }
            None => None,
        };
        Ok(Self {
            image: recipe.encoder.image_size.unwrap_or(encoder.image),
            recipe,
            encoder,
            language_model,
        })
    }
}

fn parse<T: for<'file> Deserialize<'file>>(path: &Path) -> Result<T> {
    let shown = crate::places::shown(path);
    let text = std::fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?;
    toml::from_str(&text).with_context(|| format!("{shown} cannot be planned"))
}
