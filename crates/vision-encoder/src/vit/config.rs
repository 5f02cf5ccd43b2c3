//! The shape of a vision transformer.

use blip2_core::ModelError;
use serde::Deserialize;

use super::block::BlockConfig;

/// More than any size or count of a real encoder: a damaged configuration fails here, not in the allocator.
pub(super) const LARGEST: usize = 1 << 16;
/// More blocks than any real encoder has.
pub(super) const MOST_BLOCKS: usize = 1 << 10;

/// A vision transformer's configuration, named as in Hugging Face's `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct VisionTransformerConfig {
    /// Width of the image features.
    pub hidden_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Heads of the self-attention; they share the width.
    pub num_attention_heads: usize,
    /// Width within the feed-forward layer.
    pub intermediate_size: usize,
    /// Activation of the feed-forward layer.
    pub hidden_act: Activation,
    /// Height and width, in pixels, of the images that the positions were learned for.
    pub image_size: usize,
    /// Height and width of a patch, in pixels.
    pub patch_size: usize,
    /// Colour channels.
    pub num_channels: usize,
    /// Epsilon of every layer normalisation.
    pub layer_norm_eps: f64,
    /// Standard deviation of initial weights.
    pub initializer_range: f32,
    /// Initial value of the layer scales, where the blocks have them.
    pub layer_scale: Option<f32>,
    /// Which of query, key and value have a bias.
    pub qkv_bias: QkvBias,
    /// Whether a class token stands before the patches.
    pub class_token: bool,
    /// Whether the patch embedding has a bias.
    pub patch_bias: bool,
    /// Whether the embeddings are normalised before the first block.
    pub pre_norm: bool,
    /// Whether there is a normalisation after the last block.
    pub post_norm: bool,
    /// Whether positions resized for another image keep their corners in place (PyTorch's `align_corners`).
    pub align_corners: bool,
}

/// Which of an attention's input projections have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QkvBias {
    /// None of them.
    None,
    /// Query and value: a key's bias shifts all scores of a row alike, and the softmax undoes that.
    QueryAndValue,
    /// All three.
    All,
}

/// Activation of a feed-forward layer, named as Hugging Face does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activation {
    /// With the error function.
    Gelu,
    /// With the hyperbolic tangent.
    GeluPytorchTanh,
    /// With a sigmoid, as CLIP.
    QuickGelu,
}

impl VisionTransformerConfig {
    /// ViT-S/14 with 37 x 37 positions: 12 blocks of width 384, 6 heads (DINOv2's `small`).
    pub fn small() -> Self {
        Self {
            hidden_size: 384,
            num_hidden_layers: 12,
            num_attention_heads: 6,
            intermediate_size: 1536,
            hidden_act: Activation::Gelu,
            image_size: 518,
            patch_size: 14,
            num_channels: 3,
            layer_norm_eps: 1e-6,
            initializer_range: 0.02,
            layer_scale: Some(1.0),
            qkv_bias: QkvBias::All,
            class_token: true,
            patch_bias: true,
            pre_norm: false,
            post_norm: true,
            align_corners: false,
        }
    }

    /// Positions along each side of the grid that was learned.
    pub(crate) fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// Tokens before the patches.
    pub(crate) fn tokens_before(&self) -> usize {
        usize::from(self.class_token)
    }

    /// The shape of its blocks.
    pub(super) fn block(&self) -> BlockConfig {
        BlockConfig {
            width: self.hidden_size,
            heads: self.num_attention_heads,
            inner: self.intermediate_size,
            activation: self.hidden_act,
            qkv_bias: self.qkv_bias,
            causal: false,
            epsilon: self.layer_norm_eps,
            deviation: self.initializer_range,
            layer_scale: self.layer_scale,
        }
    }

    /// # Errors
    /// [`ModelError::Invalid`] where sizes are zero, beyond reason, or do not divide each other.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        check_sizes(&[
            ("hidden_size", self.hidden_size, LARGEST),
            ("num_hidden_layers", self.num_hidden_layers, MOST_BLOCKS),
            ("num_attention_heads", self.num_attention_heads, LARGEST),
            ("intermediate_size", self.intermediate_size, LARGEST),
            ("image_size", self.image_size, LARGEST),
            ("patch_size", self.patch_size, LARGEST),
            ("num_channels", self.num_channels, LARGEST),
        ])?;
        check_multiple(
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
        )?;
        check_multiple(("image_size", self.image_size), ("patch_size", self.patch_size))
    }
}

/// # Errors
/// [`ModelError::Invalid`] for the first of `sizes` (name, value, most) that is 0 or beyond its most.
pub(super) fn check_sizes(sizes: &[(&str, usize, usize)]) -> Result<(), ModelError> {
    match sizes.iter().find(|(_, value, most)| !(1..=*most).contains(value)) {
        Some((name, value, most)) => Err(ModelError::Invalid(format!(
            "{name} is {value}, but must lie within 1 and {most}"
        ))),
        None => Ok(()),
    }
}

/// # Errors
/// [`ModelError::Invalid`] where `whole` (name, value) is not a multiple of `part`, which is not 0.
pub(super) fn check_multiple(whole: (&str, usize), part: (&str, usize)) -> Result<(), ModelError> {
    if whole.1.is_multiple_of(part.1) {
        return Ok(());
    }
    Err(ModelError::Invalid(format!(
        "{} {} is not a multiple of {} {}",
        whole.0, whole.1, part.0, part.1
    )))
}
