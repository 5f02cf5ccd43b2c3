//! Learning rates of an encoder by depth, and which of its tensors decay (LAVIS `eva_vit.py`, `clip_vit.py`).

use blip2_vision_encoder::VisionTransformer;
use serde::{Deserialize, Serialize};

use crate::is_decayed;

/// The encoder's place in [`Tuned`](crate::Tuned).
const ENCODER: &str = "encoder.";
/// The place of the model behind it.
pub(crate) const BEHIND: &str = "model.";
/// CLIP's class token, which is a vector in its files.
const CLASS: &str = "encoder.embeddings.class";

/// Which layer a tensor belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LayerRule {
    /// By its depth: what stands in front of the first block belongs to the embeddings.
    #[default]
    Depth,
    /// As the rule is written in LAVIS: with CLIP, the patch embedding and the norm in front of the first block fall among the
    /// tensors of the last.
    Lavis,
}

/// How fast the tensors of an encoder learn: layer `i` of `n` blocks, the embeddings being 0, by `decay` to the power of
/// `n + 1 - i`. All that is no encoder learns at the full rate.
///
/// LAVIS computes these numbers, but no schedule of it reads them; here they act.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerRates {
    decay: f64,
    blocks: usize,
    rule: LayerRule,
    is_clip: bool,
}

impl LayerRates {
    /// Of `encoder`, where one is trained.
    pub fn new(encoder: Option<&VisionTransformer>, decay: f64, rule: LayerRule) -> Self {
        Self {
            decay,
            blocks: encoder.map_or(0, VisionTransformer::blocks),
            rule,
            is_clip: encoder.is_some_and(VisionTransformer::has_pre_norm),
        }
    }

    /// The layer of the parameter at `path`: the embeddings 0, block `i` (from 0) `i + 1`; `None` outside of the encoder.
    pub fn layer(&self, path: &str) -> Option<usize> {
        let path = path.strip_prefix(ENCODER)?;
        let block = path
            .strip_prefix("blocks.")
            .and_then(|rest| rest.split('.').next());
        if let Some(block) = block.and_then(|block| block.parse::<usize>().ok()) {
            return Some(block + 1);
        }
        let misplaced = self.rule == LayerRule::Lavis
            && self.is_clip
            && (path.starts_with("embeddings.patches.") || path.starts_with("pre_norm."));
        let in_front = path.starts_with("embeddings.") || path.starts_with("pre_norm.");
        Some(if in_front && !misplaced { 0 } else { self.blocks })
    }

    /// What the learning rate of the parameter at `path` is multiplied with.
    pub fn scale(&self, path: &str) -> f64 {
        match self.layer(path) {
            Some(layer) => self.decay.powi((self.blocks + 1 - layer) as i32),
            None => 1.0,
        }
    }

    /// Whether weight decay applies to the parameter at `path`: as everywhere ([`is_decayed`]), but that CLIP's class token, a
    /// sequence of one here, is a vector in its files.
    pub fn is_decayed(&self, path: &str, dimensions: usize) -> bool {
        let path = path.strip_prefix(BEHIND).unwrap_or(path);
        is_decayed(path, dimensions) && !(self.is_clip && path == CLASS)
    }
}
