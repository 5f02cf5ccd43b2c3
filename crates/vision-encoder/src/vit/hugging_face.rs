//! Hugging Face folders: `config.json` beside the weights.

use std::path::Path;

use blip2_core::weights::{LoadOptions, NameMap, TensorStore, Views, WeightError, check, load, open_weights};
use blip2_core::{Initializer, LoadPlan, files};
use burn::tensor::Device;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::names::Naming;
use super::{Activation, QkvBias, VisionTransformer, VisionTransformerConfig};
use crate::EncoderError;

/// Where a model of several parts keeps its encoder.
const PREFIX: &str = "vision_model.";
/// Models of several parts, by their `model_type`, and that of their encoder.
const WHOLE: [(&str, &str); 5] = [
    ("blip-2", "blip_2_vision_model"),
    ("instructblip", "instructblip_vision_model"),
    ("blip", "blip_vision_model"),
    ("clip", "clip_vision_model"),
    ("siglip", "siglip_vision_model"),
];

impl VisionTransformer {
    /// Each `model_type` of a `config.json` that [`from_hugging_face`](Self::from_hugging_face) takes: encoders, and models of
    /// several parts that have one.
    pub const MODEL_TYPES: [&str; 11] = [
        "dinov2",
        "clip_vision_model",
        "siglip_vision_model",
        "blip_vision_model",
        "blip_2_vision_model",
        "instructblip_vision_model",
        WHOLE[0].0,
        WHOLE[1].0,
        WHOLE[2].0,
        WHOLE[3].0,
        WHOLE[4].0,
    ];

    /// Loads a Hugging Face folder: DINOv2, CLIP, SigLIP, or BLIP-2 with its ViT-g/14, alone or as the `vision_config` and
    /// `vision_model.` of a larger model, whose other parts are left unread. The features are taken at the end, normalised;
    /// those that BLIP-2 takes of CLIP are [`with_features(-2, false)`](Self::with_features).
    ///
    /// # Errors
    /// [`EncoderError`], with the file at fault.
    pub fn from_hugging_face(folder: &Path, plan: impl Into<LoadPlan>) -> Result<Self, EncoderError> {
        let config = folder.join("config.json");
        let store = open_weights(folder)?;
        let (random, views, names, plan) = match_names(&config, store.as_ref(), plan.into())?;
        Ok(load(random, &views, &names, plan.options())?)
    }

    /// Whether the tensors of `store` are those of the encoder in the `config.json` at `config`, as
    /// [`from_hugging_face`](Self::from_hugging_face) would want them, by names and shapes alone: nothing is read.
    ///
    /// # Errors
    /// [`EncoderError`] as from there.
    pub fn check_hugging_face(config: &Path, store: &dyn TensorStore) -> Result<(), EncoderError> {
        let (random, views, names, _) = match_names(config, store, LoadPlan::from(&Device::flex()))?;
        Ok(check(&random, &views, &names, LoadOptions::default())?)
    }
}

/// The encoder in the `config.json` at `config` before it is loaded, its part of `store`, what the tensors are called there, and
/// what `plan` comes to.
fn match_names<'a>(
    config: &Path,
    store: &'a dyn TensorStore,
    plan: LoadPlan,
) -> Result<(VisionTransformer, Views<'a>, NameMap, LoadPlan), EncoderError> {
    let file = ConfigFile::read(config)?;
    let nested = store.tensors().keys().any(|name| name.starts_with(PREFIX));
    let views = Views::below(store, if nested { PREFIX } else { "" })
        .split("self_attn.qkv.weight")
        .split("self_attn.qkv.bias")
        .deepen("embeddings.class_embedding")
        .deepen("embeddings.position_embedding.weight");
    let names = file.model_type.names(&views);
    let plan = plan.resolve(&views);
    let random = VisionTransformer::new(&file.config(config)?, &mut Initializer::new(0, &plan))?;
    Ok((random, views, names, plan))
}

impl VisionTransformerConfig {
    /// Reads a Hugging Face `config.json` with `model_type` `dinov2`, `clip_vision_model`, `siglip_vision_model`,
    /// `blip_vision_model` or `blip_2_vision_model`, or with one of them as its `vision_config`. What the file leaves out has
    /// the default of the `transformers` library.
    ///
    /// # Errors
    /// [`WeightError::Io`] where the file cannot be read; [`WeightError::Format`] where it is not the configuration of
    /// such a model.
    pub fn read(path: &Path) -> Result<Self, WeightError> {
        ConfigFile::read(path)?.config(path)
    }
}

/// The families, named as `model_type` does.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Family {
    /// DINOv2 (Oquab et al., 2023).
    Dinov2,
    /// CLIP (Radford et al., 2021).
    ClipVisionModel,
    /// SigLIP (Zhai et al., 2023).
    SiglipVisionModel,
    /// EVA-CLIP ViT-g/14 (Fang et al., 2023) as BLIP-2 keeps it.
    #[serde(rename = "blip_2_vision_model", alias = "instructblip_vision_model")]
    Blip2VisionModel,
    /// The encoder of BLIP, which writes and filters captions (Li et al., 2022).
    BlipVisionModel,
}

/// What `config.json` may say of an encoder.
#[derive(Deserialize)]
struct ConfigFile {
    model_type: Family,
    hidden_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    intermediate_size: Option<usize>,
    mlp_ratio: Option<usize>,
    hidden_act: Option<Activation>,
    image_size: Option<usize>,
    patch_size: Option<usize>,
    num_channels: Option<usize>,
    layer_norm_eps: Option<f64>,
    initializer_range: Option<f32>,
    layerscale_value: Option<f32>,
    qkv_bias: Option<bool>,
    #[serde(default)]
    use_swiglu_ffn: bool,
}

impl ConfigFile {
    fn read(path: &Path) -> Result<Self, WeightError> {
        serde_json::from_value(nested(parse(path)?)).map_err(|error| wrong(path, error.to_string()))
    }

    fn config(&self, path: &Path) -> Result<VisionTransformerConfig, WeightError> {
        if self.use_swiglu_ffn {
            return Err(wrong(
                path,
                "use_swiglu_ffn is set, but a gated feed-forward layer is not supported".to_owned(),
            ));
        }
        let usual = self.model_type.defaults();
        let hidden_size = self.hidden_size.unwrap_or(usual.hidden_size);
        let ratio = self.mlp_ratio.map(|ratio| ratio.saturating_mul(hidden_size));
        let intermediate_size = match self.model_type {
            Family::Dinov2 => ratio.unwrap_or(hidden_size.saturating_mul(4)),
            _ => self.intermediate_size.unwrap_or(usual.intermediate_size),
        };
        let config = VisionTransformerConfig {
            hidden_size,
            num_hidden_layers: self.num_hidden_layers.unwrap_or(usual.num_hidden_layers),
            num_attention_heads: self.num_attention_heads.unwrap_or(usual.num_attention_heads),
            intermediate_size,
            hidden_act: self.hidden_act.unwrap_or(usual.hidden_act),
            image_size: self.image_size.unwrap_or(usual.image_size),
            patch_size: self.patch_size.unwrap_or(usual.patch_size),
            num_channels: self.num_channels.unwrap_or(usual.num_channels),
            layer_norm_eps: self.layer_norm_eps.unwrap_or(usual.layer_norm_eps),
            initializer_range: self.initializer_range.unwrap_or(usual.initializer_range),
            layer_scale: usual
                .layer_scale
                .map(|scale| self.layerscale_value.unwrap_or(scale)),
            qkv_bias: match self.qkv_bias {
                Some(false) => QkvBias::None,
                _ => QkvBias::All,
            },
            ..usual
        };
        config.check().map_err(|error| wrong(path, error.to_string()))?;
        Ok(config)
    }
}

/// The configuration of the encoder in a `config.json`: its `vision_config`, where it has one. What a model of several parts
/// leaves out of it, the family or all, is that of the encoder which `transformers` gives it.
fn nested(mut whole: Value) -> Value {
    let usual = WHOLE.iter().find(|(family, _)| whole["model_type"] == *family);
    let vision = whole.get_mut("vision_config").map(Value::take);
    let mut vision = match vision.filter(|vision| !vision.is_null()) {
        Some(vision) => vision,
        None if usual.is_some() => Value::Object(Map::new()),
        None => return whole,
    };
    if let (Some(object), Some((_, family))) = (vision.as_object_mut(), usual) {
        object.entry("model_type").or_insert_with(|| (*family).into());
    }
    vision
}

/// The JSON file at `path`.
pub(super) fn parse<T: DeserializeOwned>(path: &Path) -> Result<T, WeightError> {
    let text = files::read(path).map_err(|source| WeightError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&text).map_err(|error| wrong(path, error.to_string()))
}

pub(super) fn wrong(path: &Path, reason: String) -> WeightError {
    WeightError::Format {
        path: path.to_owned(),
        format: "encoder configuration",
        reason,
    }
}

impl Family {
    /// The arrangement of the family, with the sizes that the `transformers` library falls back to.
    fn defaults(self) -> VisionTransformerConfig {
        let base = VisionTransformerConfig {
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            image_size: 224,
            layer_scale: None,
            ..VisionTransformerConfig::small()
        };
        match self {
            Self::Dinov2 => VisionTransformerConfig {
                layer_scale: Some(1.0),
                ..base
            },
            Self::ClipVisionModel => VisionTransformerConfig {
                hidden_act: Activation::QuickGelu,
                patch_size: 32,
                layer_norm_eps: 1e-5,
                patch_bias: false,
                pre_norm: true,
                ..base
            },
            Self::SiglipVisionModel => VisionTransformerConfig {
                hidden_act: Activation::GeluPytorchTanh,
                patch_size: 16,
                class_token: false,
                ..base
            },
            Self::Blip2VisionModel => VisionTransformerConfig {
                hidden_size: 1408,
                num_hidden_layers: 39,
                num_attention_heads: 16,
                intermediate_size: 6144,
                initializer_range: 1e-10,
                ..base
            },
            Self::BlipVisionModel => VisionTransformerConfig {
                image_size: 384,
                patch_size: 16,
                layer_norm_eps: 1e-5,
                initializer_range: 1e-10,
                ..base
            },
        }
    }

    fn names(self, store: &dyn TensorStore) -> NameMap {
        match self {
            // Its mask token serves self-supervised training alone.
            Self::Dinov2 => NameMap {
                rename: match store
                    .tensors()
                    .keys()
                    .any(|name| name.contains(".attention.q_proj."))
                {
                    true => |path| Some(DINOV2_FLAT.of(path)),
                    false => |path| Some(DINOV2.of(path)),
                },
                ignored: |name| name == "embeddings.mask_token",
            },
            // SigLIP's head pools the tokens into one vector.
            Self::ClipVisionModel | Self::SiglipVisionModel => NameMap {
                rename: |path| Some(CLIP.of(path)),
                ignored: |name| name.starts_with("head."),
            },
            Self::Blip2VisionModel | Self::BlipVisionModel => NameMap {
                rename: |path| Some(BLIP2.of(path)),
                ignored: |_| false,
            },
        }
    }
}

/// The encoder in a BLIP-2 of `transformers`, by the names in the whole file; thirds of fused tensors are `name[query]`,
/// `name[key]` and `name[value]` (see [`Views::split`]). Its last normalisation belongs to the bridge.
pub const HUGGING_FACE_ENCODER: NameMap = NameMap {
    rename: |path| Some(format!("{PREFIX}{}", BLIP2.of(path))),
    ignored: |name| match name.strip_prefix(PREFIX) {
        Some(rest) => rest.starts_with("post_layernorm."),
        None => true,
    },
};

pub(super) const DINOV2: Naming = Naming {
    beginnings: DINOV2_FLAT.beginnings,
    pieces: &[
        ("attention.query.", "attention.attention.query."),
        ("attention.key.", "attention.attention.key."),
        ("attention.value.", "attention.attention.value."),
        ("attention.output.", "attention.output.dense."),
        ("layer_scale1", "layer_scale1.lambda1"),
        ("layer_scale2", "layer_scale2.lambda1"),
    ],
};

/// As `transformers` calls the parameters since version 5, where it did not translate them back before saving.
const DINOV2_FLAT: Naming = Naming {
    beginnings: &[
        ("embeddings.class", "embeddings.cls_token"),
        ("embeddings.positions", "embeddings.position_embeddings"),
        ("embeddings.patches.", "embeddings.patch_embeddings.projection."),
        ("blocks.", "encoder.layer."),
        ("norm.", "layernorm."),
    ],
    pieces: &[
        ("attention.query.", "attention.q_proj."),
        ("attention.key.", "attention.k_proj."),
        ("attention.value.", "attention.v_proj."),
        ("attention.output.", "attention.o_proj."),
        ("layer_scale1", "layer_scale1.lambda1"),
        ("layer_scale2", "layer_scale2.lambda1"),
    ],
};

pub(super) const CLIP: Naming = Naming {
    beginnings: &[
        ("embeddings.class", "embeddings.class_embedding"),
        ("embeddings.positions", "embeddings.position_embedding.weight"),
        ("embeddings.patches.", "embeddings.patch_embedding."),
        // So spelt there.
        ("pre_norm.", "pre_layrnorm."),
        ("blocks.", "encoder.layers."),
        ("norm.", "post_layernorm."),
    ],
    pieces: &[
        ("norm1.", "layer_norm1."),
        ("norm2.", "layer_norm2."),
        ("attention.query.", "self_attn.q_proj."),
        ("attention.key.", "self_attn.k_proj."),
        ("attention.value.", "self_attn.v_proj."),
        ("attention.output.", "self_attn.out_proj."),
    ],
};

const BLIP2: Naming = Naming {
    beginnings: &[
        ("embeddings.class", "embeddings.class_embedding"),
        ("embeddings.positions", "embeddings.position_embedding"),
        ("embeddings.patches.", "embeddings.patch_embedding."),
        ("blocks.", "encoder.layers."),
        ("norm.", "post_layernorm."),
    ],
    pieces: &[
        ("norm1.", "layer_norm1."),
        ("norm2.", "layer_norm2."),
        ("attention.query.weight", "self_attn.qkv.weight[query]"),
        ("attention.key.weight", "self_attn.qkv.weight[key]"),
        ("attention.value.weight", "self_attn.qkv.weight[value]"),
        ("attention.query.bias", "self_attn.qkv.bias[query]"),
        ("attention.key.bias", "self_attn.qkv.bias[key]"),
        ("attention.value.bias", "self_attn.qkv.bias[value]"),
        ("attention.output.", "self_attn.projection."),
    ],
};
