//! The trainable parameters of the paper's models, counted from shapes alone: no value is made.

use blip2_core::Initializer;
use blip2_core::weights::parameters;
use blip2_qformer::{QFormerConfig, RepresentationConfig, RepresentationModel};
use burn::tensor::Device;

/// Stage 1 behind an encoder of `width`. The decoder of the language head is the word embedding and counts once.
fn trainable(width: usize) -> usize {
    let config = RepresentationConfig {
        qformer: QFormerConfig {
            encoder_hidden_size: width,
            ..QFormerConfig::default()
        },
        ..RepresentationConfig::default()
    };
    let model = RepresentationModel::new(&mut Initializer::new(0, &Device::flex().autodiff()), &config)
        .expect("sizes");
    parameters(&model)
        .iter()
        .map(|parameter| parameter.shape.iter().product::<usize>())
        .sum()
}

#[test]
fn stage_1_trains_as_many_parameters_as_the_reference() {
    assert_eq!(
        trainable(1408),
        186_705_470,
        "ViT-g, as a public training log of LAVIS says"
    );
    assert_eq!(trainable(1024), 183_165_758, "ViT-L");
}

#[test]
fn a_hugging_face_configuration_is_read_unchanged() {
    let text = r#"{"model_type": "blip_2_qformer", "vocab_size": 30522, "hidden_size": 64, "num_hidden_layers": 3,
        "num_attention_heads": 2, "encoder_hidden_size": 1408, "hidden_act": "gelu", "use_qformer_text_input": false}"#;
    let config: QFormerConfig = serde_json::from_str(text).expect("a configuration");
    let expected = QFormerConfig {
        vocab_size: 30_522,
        hidden_size: 64,
        num_hidden_layers: 3,
        num_attention_heads: 2,
        ..QFormerConfig::default()
    };
    assert_eq!(config, expected);
}
