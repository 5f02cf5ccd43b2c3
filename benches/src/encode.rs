//! The frozen image encoders of the paper, with random weights.

use anyhow::Result;
use blip2_core::{Initializer, LoadPlan, VisionEncoder};
use blip2_vision_encoder::{Activation, QkvBias, VisionTransformer, VisionTransformerConfig};
use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use serde::Deserialize;

use crate::frozen::{Weights, drawn};
use crate::workload::Workload;

/// Features of one batch.
#[derive(Deserialize)]
pub(crate) struct Encode {
    architecture: Architecture,
    batch: usize,
    #[serde(default, rename = "precision")]
    weights: Weights,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Architecture {
    /// CLIP's ViT-L/14, without the last of its 24 blocks.
    ClipL,
    /// EVA's ViT-g/14, all 39 blocks that BLIP-2 uses.
    EvaG,
}

impl Architecture {
    /// A frozen encoder of random weights.
    pub(crate) fn encoder(self, plan: &LoadPlan) -> Result<VisionTransformer> {
        let encoder = VisionTransformer::new(&self.config(), &mut Initializer::new(1, plan))?;
        Ok(drawn(encoder.freeze(), plan))
    }

    /// Tokens of a picture and their width.
    pub(crate) fn tokens_and_width(self) -> [usize; 2] {
        let config = self.config();
        let patches = config.image_size / config.patch_size;
        [patches * patches + 1, config.hidden_size]
    }

    pub(crate) fn config(self) -> VisionTransformerConfig {
        let shared = VisionTransformerConfig {
            image_size: 224,
            num_attention_heads: 16,
            layer_scale: None,
            ..VisionTransformerConfig::small()
        };
        match self {
            Self::ClipL => VisionTransformerConfig {
                hidden_size: 1024,
                num_hidden_layers: 23,
                intermediate_size: 4096,
                hidden_act: Activation::QuickGelu,
                layer_norm_eps: 1e-5,
                patch_bias: false,
                pre_norm: true,
                post_norm: false,
                ..shared
            },
            Self::EvaG => VisionTransformerConfig {
                hidden_size: 1408,
                num_hidden_layers: 39,
                intermediate_size: 6144,
                qkv_bias: QkvBias::QueryAndValue,
                ..shared
            },
        }
    }
}

impl Encode {
    pub(crate) fn open(self, device: &Device) -> Result<Workload> {
        let config = self.architecture.config();
        let encoder = self.architecture.encoder(&self.weights.plan(device))?;
        let side = config.image_size;
        let pixels = Tensor::<4>::random(
            [self.batch, 3, side, side],
            Distribution::Normal(0.0, 1.0),
            device,
        );
        let operations = self.batch as f64 * operations(&config, encoder.tokens(side, side)?);
        let run = move || {
            std::hint::black_box(encoder.encode(pixels.clone())?);
            Ok(())
        };
        Ok(Workload {
            phases: vec![self.weights.products(operations)],
            run: Box::new(run),
        })
    }
}

/// Operations of all matrix products for one picture of so many tokens.
pub(crate) fn operations(config: &VisionTransformerConfig, tokens: usize) -> f64 {
    let (width, inner) = (config.hidden_size, config.intermediate_size);
    let block = 4 * width * width + 2 * width * inner + 2 * tokens * width;
    let patches = config.patch_size * config.patch_size * config.num_channels * width;
    2.0 * tokens as f64 * (config.num_hidden_layers * block + patches) as f64
}
