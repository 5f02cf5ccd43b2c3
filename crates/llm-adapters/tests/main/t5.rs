//! Properties of T5 that hold for any weights, and what its folders may hold.

use std::path::{Path, PathBuf};

use blip2_core::weights::fingerprint;
use blip2_core::{LanguageModel, ModelError};
use blip2_llm_adapters::{GateActivation, T5, T5Config, conformance, load_language_model};
use burn::tensor::{Device, Tensor};
use tempfile::TempDir;

use super::loading::{id, tokenizer};

/// The repository's own copy, whose vocabulary is that of [`tokenizer`].
fn golden() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/parts/t5-erf").into()
}

fn config(tied: bool) -> T5Config {
    T5Config {
        hidden_size: 24,
        intermediate_size: 40,
        encoder_layers: 2,
        decoder_layers: 3,
        heads: 3,
        head_width: 10,
        vocabulary_size: 30,
        distance_buckets: 8,
        longest_distance: 16,
        norm_epsilon: 1e-6,
        activation: GateActivation::GeluTanh,
        tied,
        scaled_output: tied,
        start_token: 0,
    }
}

#[test]
fn both_kinds_of_output_layer_conform() {
    for tied in [true, false] {
        let model = T5::new(config(tied), 3, &Device::flex());
        conformance::check(&model, &Device::flex()).unwrap();
    }
}

#[test]
fn nothing_to_encode_is_an_error() {
    let model = T5::new(config(true), 3, &Device::flex());
    let nothing = Tensor::zeros([2, 0, 24], &Device::flex());
    assert!(matches!(
        model.start(nothing, &[vec![1], vec![]]),
        Err(ModelError::Invalid(_))
    ));
}

#[test]
fn a_prompt_whose_scores_no_memory_holds_is_refused() {
    let model = T5::new(config(true), 1, &Device::flex());
    let begun = |count| {
        model
            .start(Tensor::zeros([1, 4, 24], &Device::flex()), &[vec![1; count]])
            .map(|_| ())
    };
    assert!(matches!(
        begun(4093),
        Err(ModelError::Context {
            tokens: 4097,
            limit: 4096,
            ..
        })
    ));
    assert!(begun(100).is_ok());
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    std::fs::write(folder.join(name), bytes).unwrap();
}

#[test]
fn a_folder_is_loaded_by_its_kind_and_texts_end_as_the_family_was_trained() {
    let place = TempDir::new().unwrap();
    for file in ["config.json", "model.safetensors"] {
        write(place.path(), file, std::fs::read(golden().join(file)).unwrap());
    }
    write(
        place.path(),
        "tokenizer.json",
        tokenizer().to_string(false).unwrap(),
    );
    let loaded = load_language_model(place.path(), &Device::flex()).unwrap();
    let direct = T5::from_hugging_face(&golden(), &Device::flex()).unwrap();
    // The configuration says tied, the weights hold a head.
    assert!(!direct.config().tied && !direct.config().scaled_output);
    assert_eq!(loaded.model.fingerprint(), fingerprint(&direct));
    assert_eq!(loaded.tokenizer.encode_prompt("the").unwrap(), [id("the"), 1]);
    assert_eq!(loaded.tokenizer.encode_prompt("").unwrap(), [1]);
    assert_eq!(
        loaded.tokenizer.encode_pieces(&["", "the"]).unwrap(),
        [vec![], vec![id("the"), 1]]
    );
    assert_eq!(loaded.tokenizer.ends(), [1]);
    assert_eq!(loaded.tokenizer.padding(), 0);
}

#[test]
fn configurations_are_read_or_refused() {
    let place = TempDir::new().unwrap();
    let bytes = std::fs::read(golden().join("config.json")).unwrap();
    let with = |key: &str, value: serde_json::Value| {
        let mut json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        json[key] = value;
        write(place.path(), "config.json", json.to_string());
        T5Config::from_hugging_face(&place.path().join("config.json"))
    };
    for (key, value, word) in [
        ("model_type", "llama".into(), "`llama`"),
        ("feed_forward_proj", "relu".into(), "`relu`"),
        ("dense_act_fn", "silu".into(), "`silu`"),
        ("num_layers", 0.into(), "number of encoder layers"),
        ("relative_attention_num_buckets", 6.into(), "buckets"),
        ("decoder_start_token_id", 1_000_000.into(), "1000000"),
    ] {
        let error = with(key, value).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
    let activation = |value| with("dense_act_fn", value).unwrap().activation;
    assert_eq!(activation("gelu".into()), GateActivation::Gelu);
    assert_eq!(activation(serde_json::Value::Null), GateActivation::GeluTanh);
    // Without its key, the scaling goes by the configuration's tie.
    assert!(
        with("scale_decoder_outputs", serde_json::Value::Null)
            .unwrap()
            .scaled_output
    );
}
