//! Names of `transformers`' `T5ForConditionalGeneration`.

use blip2_core::weights::NameMap;

pub(crate) const HUGGING_FACE: NameMap = NameMap {
    rename,
    // Copies of the embedding, and a position bias that old checkpoints keep for attention to the encoder.
    ignored: |name| {
        name.ends_with(".embed_tokens.weight")
            || name == "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    },
};

/// The output layer, where a file has one of its own.
pub(crate) const HEAD: &str = "lm_head.weight";

const PARTS: [(&str, &str); 7] = [
    ("query", "q"),
    ("key", "k"),
    ("value", "v"),
    ("output", "o"),
    ("gate", "wi_0"),
    ("up", "wi_1"),
    ("down", "wo"),
];

fn rename(path: &str) -> Option<String> {
    let (stack, rest) = path.split_once('.')?;
    match (stack, rest) {
        ("shared" | "lm_head", "weight") => return Some(path.to_owned()),
        (_, "norm.weight") => return Some(format!("{stack}.final_layer_norm.weight")),
        (_, "position_bias.table.weight") => {
            return Some(format!(
                "{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
            ));
        }
        _ => {}
    }
    let mut parts = rest.strip_prefix("layers.")?.splitn(3, '.');
    let (layer, module, part) = (parts.next()?, parts.next()?, parts.next()?);
    let (place, name) = match (stack, module) {
        (_, "attention") => (0, "SelfAttention"),
        ("decoder", "cross_attention") => (1, "EncDecAttention"),
        ("encoder", "feed_forward") => (1, "DenseReluDense"),
        ("decoder", "feed_forward") => (2, "DenseReluDense"),
        _ => return None,
    };
    let part = part.strip_suffix(".weight")?;
    let place = format!("{stack}.block.{layer}.layer.{place}");
    if part == "norm" {
        return Some(format!("{place}.layer_norm.weight"));
    }
    let (_, theirs) = PARTS.iter().find(|(ours, _)| *ours == part)?;
    Some(format!("{place}.{name}.{theirs}.weight"))
}
