//! The encoders in checkpoints of LAVIS, BLIP-2's original code: EVA-CLIP's ViT-g/14 (`lavis/models/eva_vit.py`) and
//! CLIP's ViT-L/14 (`lavis/models/clip_vit.py`).

use blip2_core::weights::{NameMap, TensorStore, Views, WeightError, load};
use blip2_core::{Initializer, LoadPlan};

use super::names::Naming;
use super::{Activation, QkvBias, VisionTransformer, VisionTransformerConfig};
use crate::EncoderError;

const PREFIX: &str = "visual_encoder.";

impl VisionTransformer {
    /// Loads the encoder `visual_encoder.*` of a LAVIS checkpoint; all else in it is left unread. The features are those
    /// that the Q-Former's `ln_vision` normalises: the file holds no last norm, and no block that is not used.
    ///
    /// # Errors
    /// [`EncoderError`], with the file at fault, where `config` is not that of the file.
    pub fn from_lavis(
        file: &dyn TensorStore,
        config: &VisionTransformerConfig,
        plan: impl Into<LoadPlan>,
    ) -> Result<Self, EncoderError> {
        let family = Family::of(file)?;
        let views = family.views(file);
        let plan = plan.into().resolve(&views);
        let random = Self::new(config, &mut Initializer::new(0, &plan))?;
        Ok(load(random, &views, &family.names(), plan.options())?)
    }
}

impl VisionTransformerConfig {
    /// The configuration of the encoder `visual_encoder.*` in a LAVIS checkpoint: which of the two it is and its sizes as
    /// the tensors tell, and the number of heads, which they do not (16 in both published encoders).
    ///
    /// # Errors
    /// [`WeightError::Absent`] where the file has no such encoder; [`WeightError::Format`] where a tensor has too few
    /// dimensions, or the positions form no square.
    pub fn of_lavis(file: &dyn TensorStore, heads: usize) -> Result<Self, WeightError> {
        let family = Family::of(file)?;
        let views = family.views(file);
        let format = |reason: String| WeightError::Format {
            path: file.label().into(),
            format: "LAVIS checkpoint",
            reason,
        };
        let size = |path: &str, dimension: usize| {
            let name = family.naming().of(path);
            let info = views.tensors().get(&name).ok_or_else(|| WeightError::Absent {
                file: file.label(),
                name: format!("{PREFIX}{name}"),
            })?;
            let size = info.shape.get(dimension).copied();
            size.ok_or_else(|| format(format!("{PREFIX}{name} has shape {:?}", info.shape)))
        };
        let (patch_size, positions) = (
            size("embeddings.patches.weight", 2)?,
            size("embeddings.positions", 1)?,
        );
        let grid = positions.saturating_sub(1).isqrt();
        if grid * grid + 1 != positions {
            return Err(format(format!(
                "{positions} positions are not those of a class token and a square"
            )));
        }
        let blocks = (0..).take_while(|block| size(&format!("blocks.{block}.norm1.weight"), 0).is_ok());
        let shared = Self {
            hidden_size: size("embeddings.positions", 2)?,
            num_hidden_layers: blocks.count(),
            num_attention_heads: heads,
            intermediate_size: size("blocks.0.mlp.fc1.weight", 0)?,
            image_size: grid * patch_size,
            patch_size,
            num_channels: size("embeddings.patches.weight", 1)?,
            layer_scale: None,
            post_norm: false,
            ..Self::small()
        };
        Ok(match family {
            Family::Eva => Self {
                qkv_bias: QkvBias::QueryAndValue,
                ..shared
            },
            Family::Clip => Self {
                hidden_act: Activation::QuickGelu,
                layer_norm_eps: 1e-5,
                patch_bias: false,
                pre_norm: true,
                align_corners: true,
                ..shared
            },
        })
    }
}

/// EVA's ViT-g/14 in a LAVIS checkpoint, by the names in the whole file; thirds of fused tensors are `name[query]`,
/// `name[key]` and `name[value]` (see [`Views::split`]). There is no key bias.
pub const LAVIS_EVA_ENCODER: NameMap = NameMap {
    rename: |path| (!path.ends_with(".attention.key.bias")).then(|| format!("{PREFIX}{}", EVA.of(path))),
    ignored: |name| !name.starts_with(PREFIX),
};

/// CLIP's ViT-L/14 in a LAVIS checkpoint, likewise. The class token is a vector there, and positions a matrix.
pub const LAVIS_CLIP_ENCODER: NameMap = NameMap {
    rename: |path| Some(format!("{PREFIX}{}", CLIP.of(path))),
    ignored: |name| !name.starts_with(PREFIX),
};

/// Which of the two encoders a file holds.
#[derive(Clone, Copy)]
enum Family {
    Eva,
    Clip,
}

impl Family {
    fn of(file: &dyn TensorStore) -> Result<Self, WeightError> {
        let holds = |name: &str| file.tensors().contains_key(&format!("{PREFIX}{name}"));
        if holds("cls_token") {
            Ok(Self::Eva)
        } else if holds("class_embedding") {
            Ok(Self::Clip)
        } else {
            Err(WeightError::Absent {
                file: file.label(),
                name: format!("{PREFIX}cls_token` or `{PREFIX}class_embedding"),
            })
        }
    }

    fn naming(self) -> &'static Naming {
        match self {
            Self::Eva => &EVA,
            Self::Clip => &CLIP,
        }
    }

    fn views(self, file: &dyn TensorStore) -> Views<'_> {
        Views::below(file, PREFIX)
            .split("attn.qkv.weight")
            .split("attn.in_proj_weight")
            .split("attn.in_proj_bias")
            .deepen("class_embedding")
            .deepen("positional_embedding")
    }

    fn names(self) -> NameMap {
        NameMap {
            rename: match self {
                Self::Eva => |path| Some(EVA.of(path)),
                Self::Clip => |path| Some(CLIP.of(path)),
            },
            ignored: |_| false,
        }
    }
}

const EVA: Naming = Naming {
    beginnings: &[
        ("embeddings.class", "cls_token"),
        ("embeddings.positions", "pos_embed"),
        ("embeddings.patches.", "patch_embed.proj."),
        ("blocks.", "blocks."),
    ],
    pieces: &[
        ("attention.query.weight", "attn.qkv.weight[query]"),
        ("attention.key.weight", "attn.qkv.weight[key]"),
        ("attention.value.weight", "attn.qkv.weight[value]"),
        ("attention.query.bias", "attn.q_bias"),
        ("attention.value.bias", "attn.v_bias"),
        ("attention.output.", "attn.proj."),
    ],
};

const CLIP: Naming = Naming {
    beginnings: &[
        ("embeddings.class", "class_embedding"),
        ("embeddings.positions", "positional_embedding"),
        ("embeddings.patches.", "conv1."),
        ("pre_norm.", "ln_pre."),
        ("blocks.", "transformer.resblocks."),
    ],
    pieces: &[
        ("norm1.", "ln_1."),
        ("norm2.", "ln_2."),
        ("attention.query.weight", "attn.in_proj_weight[query]"),
        ("attention.key.weight", "attn.in_proj_weight[key]"),
        ("attention.value.weight", "attn.in_proj_weight[value]"),
        ("attention.query.bias", "attn.in_proj_bias[query]"),
        ("attention.key.bias", "attn.in_proj_bias[key]"),
        ("attention.value.bias", "attn.in_proj_bias[value]"),
        ("attention.output.", "attn.out_proj."),
        ("mlp.fc1.", "mlp.c_fc."),
        ("mlp.fc2.", "mlp.c_proj."),
    ],
};
