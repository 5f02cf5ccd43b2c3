//! The shape of a vision transformer.

use std::path::Path;

use blip2_core::ModelError;
use blip2_core::weights::WeightError;
use serde::{Deserialize, Serialize};

/// More than any size or count of a real encoder: a damaged configuration fails here, not in the allocator.
const LARGEST: usize = 1 << 16;
/// More blocks than any real encoder has.
const MOST_BLOCKS: usize = 1 << 10;

/// A vision transformer's configuration: Hugging Face's `config.json` of `model_type` `dinov2`, read unchanged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VisionTransformerConfig {
    /// Which arrangement the file describes.
    pub model_type: Family,
    /// Width of the image features.
    pub hidden_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Heads of the self-attention; they share the width.
    pub num_attention_heads: usize,
    /// Width of the feed-forward layer, in widths.
    pub mlp_ratio: usize,
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
    /// Initial value of the layer scales.
    pub layerscale_value: f32,
    /// Whether query, key and value have a bias.
    #[serde(default = "yes")]
    pub qkv_bias: bool,
    /// Whether the feed-forward layer is gated, as in DINOv2's largest model. Not supported.
    #[serde(default)]
    pub use_swiglu_ffn: bool,
}

/// The arrangements that [`VisionTransformerConfig`] can describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// DINOv2 (Oquab et al., 2023).
    Dinov2,
}

/// Activation of a feed-forward layer, named as Hugging Face does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// With the error function.
    Gelu,
    /// With the hyperbolic tangent.
    GeluPytorchTanh,
    /// With a sigmoid, as CLIP.
    QuickGelu,
}

fn yes() -> bool {
    true
}

impl VisionTransformerConfig {
    /// ViT-S/14 with 37 x 37 positions: 12 blocks of width 384, 6 heads (DINOv2's `small`).
    pub fn small() -> Self {
        Self {
            model_type: Family::Dinov2,
            hidden_size: 384,
            num_hidden_layers: 12,
            num_attention_heads: 6,
            mlp_ratio: 4,
            hidden_act: Activation::Gelu,
            image_size: 518,
            patch_size: 14,
            num_channels: 3,
            layer_norm_eps: 1e-6,
            initializer_range: 0.02,
            layerscale_value: 1.0,
            qkv_bias: true,
            use_swiglu_ffn: false,
        }
    }

    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`WeightError::Io`] where the file cannot be read; [`WeightError::Format`] where it is not the configuration of
    /// such a model.
    pub fn read(path: &Path) -> Result<Self, WeightError> {
        let text = std::fs::read_to_string(path).map_err(|source| WeightError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        let format = |reason: String| WeightError::Format {
            path: path.to_owned(),
            format: "vision transformer configuration",
            reason,
        };
        let config: Self = serde_json::from_str(&text).map_err(|error| format(error.to_string()))?;
        config.check().map_err(|error| format(error.to_string()))?;
        Ok(config)
    }

    /// Positions along each side of the grid that was learned.
    pub(crate) fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// # Errors
    /// [`ModelError::Invalid`] where sizes are zero, beyond reason, or do not divide each other.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        let sizes = [
            ("hidden_size", self.hidden_size, LARGEST),
            ("num_hidden_layers", self.num_hidden_layers, MOST_BLOCKS),
            ("num_attention_heads", self.num_attention_heads, LARGEST),
            ("mlp_ratio", self.mlp_ratio, LARGEST),
            ("image_size", self.image_size, LARGEST),
            ("patch_size", self.patch_size, LARGEST),
            ("num_channels", self.num_channels, LARGEST),
        ];
        for (name, value, most) in sizes {
            if !(1..=most).contains(&value) {
                return Err(ModelError::Invalid(format!(
                    "{name} is {value}, but must lie within 1 and {most}"
                )));
            }
        }
        for (whole, size, part, divisor) in [
            (
                "hidden_size",
                self.hidden_size,
                "num_attention_heads",
                self.num_attention_heads,
            ),
            ("image_size", self.image_size, "patch_size", self.patch_size),
        ] {
            if size % divisor != 0 {
                return Err(ModelError::Invalid(format!(
                    "{whole} {size} is not a multiple of {part} {divisor}"
                )));
            }
        }
        if self.use_swiglu_ffn {
            return Err(ModelError::Invalid(
                "use_swiglu_ffn is set, but a gated feed-forward layer is not supported".to_owned(),
            ));
        }
        Ok(())
    }
}
