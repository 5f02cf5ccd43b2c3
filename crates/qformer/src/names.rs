//! What LAVIS and Hugging Face call the parameters of the bridge.
//!
//! Each table leads from our paths to the names of a file, and serves reading and writing alike: what has a name is
//! stored under it, what has none the family never stores.

use blip2_core::weights::NameMap;

/// The stage-1 model in a LAVIS checkpoint. The frozen encoder stands in the same file and is left to its own loader;
/// `cls.predictions.bias` and the decoder weight are stored twice, and the decoder's bias is the one in effect.
pub const LAVIS_REPRESENTATION: NameMap = NameMap {
    rename: |path| Some(lavis(path)),
    ignored: |name| {
        name.starts_with("visual_encoder.")
            || name == "Qformer.cls.predictions.bias"
            || name == "Qformer.cls.predictions.decoder.weight"
    },
};

fn lavis(path: &str) -> String {
    const HEADS: [(&str, &str); 9] = [
        ("vision_norm.", "ln_vision."),
        ("language_head.bias", "Qformer.cls.predictions.decoder.bias"),
        (
            "language_head.layer_norm.",
            "Qformer.cls.predictions.transform.LayerNorm.",
        ),
        ("language_head.dense.", "Qformer.cls.predictions.transform.dense."),
        ("vision_projection.", "vision_proj."),
        ("text_projection.", "text_proj."),
        ("matching_head.", "itm_head."),
        ("temperature", "temp"),
        ("qformer.query_tokens", "query_tokens"),
    ];
    for (ours, theirs) in HEADS {
        if let Some(rest) = path.strip_prefix(ours) {
            return format!("{theirs}{rest}");
        }
    }
    format!(
        "Qformer.bert.{}",
        bert(path.strip_prefix("qformer.").unwrap_or(path))
    )
}

/// The bridge in a `Blip2ForConditionalGeneration` of `transformers`: layer norm of the features, Q-Former without text,
/// and projection, as a module with `vision_norm`, `qformer` and `projection`. Encoder and language model stand in the same
/// file and are left to their own loaders.
pub const HUGGING_FACE_BRIDGE: NameMap = NameMap {
    rename: |path| hugging_face(path, BLIP_2),
    ignored: beside_the_bridge,
};

/// The stage-1 model in a `Blip2ForImageTextRetrieval`, which stores neither language head nor temperature.
pub const HUGGING_FACE_REPRESENTATION: NameMap = NameMap {
    rename: |path| hugging_face(path, BLIP_2),
    ignored: beside_the_bridge,
};

/// The bridge in an `InstructBlipForConditionalGeneration`: as [`HUGGING_FACE_BRIDGE`], with the Q-Former's text branch.
pub const HUGGING_FACE_INSTRUCT: NameMap = NameMap {
    rename: |path| hugging_face(path, INSTRUCT_BLIP),
    ignored: beside_the_bridge,
};

/// Whether the parameter at `path` of a [`Bridge`](crate::Bridge) is there only where its Q-Former reads texts.
pub fn of_text_branch(path: &str) -> bool {
    path.starts_with("qformer.text_embeddings.") || path.contains(".text_feed_forward.")
}

/// What BLIP-2 and InstructBLIP call differently: the layer norm of the embeddings, and where those of text stand.
type EmbeddingNames = [(&'static str, &'static str); 2];

const BLIP_2: EmbeddingNames = [
    ("qformer.layer_norm.", "qformer.layernorm."),
    ("qformer.text_embeddings.", "embeddings."),
];

const INSTRUCT_BLIP: EmbeddingNames = [
    ("qformer.layer_norm.", "qformer.embeddings.layernorm."),
    ("qformer.text_embeddings.", "qformer.embeddings."),
];

fn hugging_face(path: &str, embeddings: EmbeddingNames) -> Option<String> {
    const OUTSIDE: [(&str, &str); 6] = [
        ("vision_norm.", VISION_NORM),
        ("qformer.query_tokens", "query_tokens"),
        ("projection.", "language_projection."),
        ("vision_projection.", "vision_projection."),
        ("text_projection.", "text_projection."),
        ("matching_head.", "itm_head."),
    ];
    for (ours, theirs) in OUTSIDE.into_iter().chain(embeddings) {
        if let Some(rest) = path.strip_prefix(ours) {
            return Some(format!("{theirs}{rest}"));
        }
    }
    let layer = bert(path.strip_prefix("qformer.")?).replace("attention.self.", "attention.attention.");
    Some(format!("qformer.{layer}"))
}

const VISION_NORM: &str = "vision_model.post_layernorm.";

/// Other parts of the same file.
fn beside_the_bridge(name: &str) -> bool {
    (name.starts_with("vision_model.") && !name.starts_with(VISION_NORM))
        || name.starts_with("language_model.")
}

/// BERT's name of a parameter of the Q-Former; LAVIS extends BERT's scheme to cross-attention and query networks.
pub(crate) fn bert(path: &str) -> String {
    if let Some(rest) = path.strip_prefix("layer_norm.") {
        return format!("embeddings.LayerNorm.{rest}");
    }
    if let Some(rest) = path.strip_prefix("text_embeddings.") {
        return format!("embeddings.{rest}");
    }
    path.replacen("layers.", "encoder.layer.", 1)
        .replace(".cross_attention.", ".crossattention.")
        .replace("attention.query.", "attention.self.query.")
        .replace("attention.key.", "attention.self.key.")
        .replace("attention.value.", "attention.self.value.")
        .replace("attention.dense.", "attention.output.dense.")
        .replace("attention.layer_norm.", "attention.output.LayerNorm.")
        .replace(".text_feed_forward.intermediate.", ".intermediate.dense.")
        .replace(".text_feed_forward.output.", ".output.dense.")
        .replace(".text_feed_forward.layer_norm.", ".output.LayerNorm.")
        .replace(".query_feed_forward.intermediate.", ".intermediate_query.dense.")
        .replace(".query_feed_forward.output.", ".output_query.dense.")
        .replace(".query_feed_forward.layer_norm.", ".output_query.LayerNorm.")
}

/// The bridge in a LAVIS checkpoint in front of OPT (`blip2_opt.py`). The frozen models of the same file are left to their
/// own loaders.
pub const LAVIS_OPT_BRIDGE: NameMap = NameMap {
    rename: |path| lavis_bridge(path, "opt_proj."),
    ignored: frozen_models,
};

/// The bridge in a LAVIS checkpoint in front of FlanT5 (`blip2_t5.py`).
pub const LAVIS_T5_BRIDGE: NameMap = NameMap {
    rename: |path| lavis_bridge(path, "t5_proj."),
    ignored: frozen_models,
};

/// The bridge in a LAVIS checkpoint in front of Vicuna (`blip2_vicuna_instruct.py`).
pub const LAVIS_LLAMA_BRIDGE: NameMap = NameMap {
    rename: |path| lavis_bridge(path, "llm_proj."),
    ignored: frozen_models,
};

fn lavis_bridge(path: &str, projection: &str) -> Option<String> {
    match path.strip_prefix("projection.") {
        Some(part) => Some(format!("{projection}{part}")),
        None => Some(lavis(path)),
    }
}

fn frozen_models(name: &str) -> bool {
    ["visual_encoder.", "opt_model.", "t5_model.", "llm_model."]
        .iter()
        .any(|frozen| name.starts_with(frozen))
}
