//! What LAVIS calls the parameters of the bridge.

use blip2_core::weights::NameMap;

/// The stage-1 model in a LAVIS checkpoint. The frozen encoder stands in the same file and is left to its own loader;
/// `cls.predictions.bias` and the decoder weight are stored twice, and the decoder's bias is the one in effect.
pub const LAVIS_REPRESENTATION: NameMap = NameMap {
    rename: |path| Some(lavis(path)),
    ignored: |name| {
        name.starts_with("visual_encoder.")
            || name == "Qformer.bert.embeddings.position_ids"
            || name == "Qformer.cls.predictions.bias"
            || name == "Qformer.cls.predictions.decoder.weight"
    },
};

/// The Q-Former's part of a LAVIS stage-2 checkpoint, beside projection and language model.
pub const LAVIS_BRIDGE: NameMap = NameMap {
    rename: |path| Some(lavis(path)),
    ignored: |name| {
        [
            "visual_encoder.",
            "opt_model.",
            "opt_proj.",
            "t5_model.",
            "t5_proj.",
        ]
        .iter()
        .any(|part| name.starts_with(part))
            || name == "Qformer.bert.embeddings.position_ids"
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
