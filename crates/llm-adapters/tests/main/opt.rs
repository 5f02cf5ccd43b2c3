//! Properties of OPT that hold for any weights.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use blip2_core::weights::{collect, fingerprint, write_safetensors};
use blip2_core::{LanguageModel, ModelError, TextExample};
use blip2_llm_adapters::{LanguageTokenizer, Opt, OptConfig, conformance, load_language_model};
use burn::tensor::{Device, Tensor, TensorData, activation};
use tempfile::TempDir;

use super::loading::{id, tokenizer};

/// The repository's own copy, whose vocabulary is that of [`tokenizer`].
fn golden() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/parts/opt").into()
}

fn config() -> OptConfig {
    OptConfig {
        embedding_size: 24,
        hidden_size: 24,
        intermediate_size: 40,
        layers: 2,
        heads: 3,
        vocabulary_size: 30,
        positions: 24,
        norm_first: true,
        final_norm: true,
    }
}

/// The build of the 350M size: normalisations behind the residuals, none at the end, and narrower embeddings.
fn config_350m() -> OptConfig {
    OptConfig {
        embedding_size: 16,
        norm_first: false,
        final_norm: false,
        ..config()
    }
}

#[test]
fn the_scale_of_the_words_is_that_of_their_table() {
    let model = Opt::new(config_350m(), 3, &Device::flex());
    let table = collect(&model)
        .into_iter()
        .find(|(path, _)| path == "embed_tokens.weight")
        .expect("a table")
        .1;
    let values: Vec<f64> = table.iter::<f32>().map(f64::from).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let expected = (squares / values.len() as f64).sqrt();
    let deviation = model.embedding_deviation();
    assert!(
        (deviation - expected).abs() < 1e-6,
        "{deviation} instead of {expected}"
    );
}

#[test]
fn both_builds_conform() {
    for config in [config(), config_350m()] {
        let model = Opt::new(config, 3, &Device::flex());
        conformance::check(&model, &Device::flex()).unwrap();
    }
}

/// The 350M build, from its formulas: `softmax(q k / sqrt(width)) v` a head, each half normalised behind its residual,
/// projections at both ends.
fn logits_350m(model: &Opt, soft_prompt: Tensor<3>) -> Tensor<2> {
    let config = model.config();
    let weights: HashMap<String, TensorData> = collect(model).into_iter().collect();
    let device = Device::flex();
    let matrix = |name: &str| Tensor::<2>::from_data(weights[name].clone(), &device);
    let row = |name: &str| Tensor::<1>::from_data(weights[name].clone(), &device).unsqueeze::<2>();
    let linear = |x: Tensor<2>, name: &str| {
        x.matmul(matrix(&format!("{name}.weight")).transpose()) + row(&format!("{name}.bias"))
    };
    let norm = |x: Tensor<2>, name: &str| {
        let centred = x.clone() - x.mean_dim(1);
        let variance = centred.clone().powi_scalar(2).mean_dim(1);
        centred / (variance + 1e-5).sqrt() * row(&format!("{name}.weight")) + row(&format!("{name}.bias"))
    };
    let [_, tokens, width] = soft_prompt.dims();
    let future: Vec<f32> = (0..tokens * tokens)
        .map(|place| {
            if place % tokens > place / tokens {
                f32::NEG_INFINITY
            } else {
                0.0
            }
        })
        .collect();
    let future = Tensor::<2>::from_data(TensorData::new(future, [tokens, tokens]), &device);
    let embedded = soft_prompt.reshape([tokens, width]);
    let mut hidden = embedded.matmul(matrix("project_in.weight").transpose())
        + matrix("embed_positions.weight").narrow(0, 2, tokens);
    for layer in 0..config.layers {
        let name = |part: &str| format!("layers.{layer}.{part}");
        let [query, key, value] =
            ["q", "k", "v"].map(|part| linear(hidden.clone(), &name(&format!("self_attn.{part}_proj"))));
        let head_width = config.hidden_size / config.heads;
        let heads = (0..config.heads).map(|head| {
            let part = |x: &Tensor<2>| x.clone().narrow(1, head * head_width, head_width);
            let scores = part(&query).matmul(part(&key).transpose()) / (head_width as f64).sqrt();
            activation::softmax(scores + future.clone(), 1).matmul(part(&value))
        });
        let context = Tensor::cat(heads.collect(), 1);
        let attended = linear(context, &name("self_attn.out_proj"));
        hidden = norm(hidden + attended, &name("self_attn_layer_norm"));
        let inner = activation::relu(linear(hidden.clone(), &name("fc1")));
        hidden = norm(hidden + linear(inner, &name("fc2")), &name("final_layer_norm"));
    }
    hidden
        .matmul(matrix("project_out.weight").transpose())
        .matmul(matrix("embed_tokens.weight").transpose())
}

fn soft_prompt(rows: usize, queries: usize, width: usize) -> Tensor<3> {
    let values: Vec<f32> = (0..rows * queries * width)
        .map(|index| (index as f32 * 1.3).sin())
        .collect();
    Tensor::from_data(TensorData::new(values, [rows, queries, width]), &Device::flex())
}

#[test]
fn the_350m_build_follows_its_formulas() {
    let model = Opt::new(config_350m(), 5, &Device::flex());
    let soft = soft_prompt(1, 6, 16);
    let expected = logits_350m(&model, soft.clone());
    let actual = model
        .logits(soft, &[TextExample::default()])
        .unwrap()
        .reshape([6, 30]);
    let largest: f32 = expected.clone().abs().max().into_scalar();
    let apart: f32 = (actual - expected).abs().max().into_scalar();
    assert!(apart <= 2e-5 * largest, "{apart} of {largest}");
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    std::fs::write(folder.join(name), bytes).unwrap();
}

fn golden_json() -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(golden().join("config.json")).unwrap()).unwrap()
}

#[test]
fn a_folder_of_the_350m_build_is_read_with_its_projections_and_a_second_copy_of_the_head() {
    let place = TempDir::new().unwrap();
    let model = Opt::new(config_350m(), 5, &Device::flex());
    let mut tensors: Vec<(String, TensorData)> = collect(&model)
        .into_iter()
        .map(|(path, data)| (format!("model.decoder.{path}"), data))
        .collect();
    let head = tensors
        .iter()
        .find(|(name, _)| name.ends_with("embed_tokens.weight"))
        .unwrap();
    tensors.push(("lm_head.weight".to_owned(), head.1.clone()));
    write_safetensors(&place.path().join("model.safetensors"), &tensors, HashMap::new()).unwrap();
    let json = serde_json::json!({
        "model_type": "opt", "word_embed_proj_dim": 16, "hidden_size": 24, "ffn_dim": 40, "num_hidden_layers": 2,
        "num_attention_heads": 3, "vocab_size": 30, "max_position_embeddings": 24, "do_layer_norm_before": false,
    });
    write(place.path(), "config.json", json.to_string());
    let loaded = Opt::from_hugging_face(place.path(), &Device::flex()).unwrap();
    assert_eq!(loaded.config(), &config_350m());
    assert_eq!(fingerprint(&loaded), fingerprint(&model));
    assert_eq!(loaded.hidden_size(), 16);
}

#[test]
fn a_folder_is_loaded_by_its_kind_and_prompts_begin_as_the_family_was_trained() {
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
    let direct = Opt::from_hugging_face(&golden(), &Device::flex()).unwrap();
    assert_eq!(loaded.model.fingerprint(), fingerprint(&direct));
    let tokenizer = &loaded.tokenizer;
    assert_eq!(tokenizer.encode("the").unwrap(), [id("the")]);
    assert_eq!(tokenizer.encode_prompt("the").unwrap(), [2, id("the")]);
    assert_eq!(tokenizer.encode_prompt("").unwrap(), [2]);
    let (the, twelve) = (id("the"), id("12"));
    assert_eq!(tokenizer.encode_pieces(&[]).unwrap(), [[2]]);
    assert_eq!(tokenizer.encode_pieces(&["the"]).unwrap(), [[2, the]]);
    assert_eq!(
        tokenizer.encode_pieces(&["the", "", "12"]).unwrap(),
        [vec![2, the], vec![], vec![twelve]]
    );
    assert_eq!((tokenizer.end(), tokenizer.padding()), (id("Ċ"), 1));
}

#[test]
fn texts_of_a_model_without_an_end_end_at_a_line_break_alone() {
    let place = TempDir::new().unwrap();
    write(
        place.path(),
        "tokenizer.json",
        tokenizer().to_string(false).unwrap(),
    );
    for none in [serde_json::Value::Null, (-1).into(), serde_json::json!([])] {
        let mut json = golden_json();
        json["eos_token_id"] = none;
        write(place.path(), "config.json", json.to_string());
        let tokenizer = LanguageTokenizer::from_hugging_face(place.path()).unwrap();
        assert_eq!(tokenizer.ends(), [id("Ċ")]);
        assert_eq!(
            (tokenizer.end_of_text(), tokenizer.padding()),
            (LanguageTokenizer::NO_ID, 1)
        );
    }
}

#[test]
fn configurations_that_would_compute_something_else_are_refused() {
    let place = TempDir::new().unwrap();
    for (key, value, word) in [
        ("model_type", "llama".into(), "`llama`"),
        ("activation_function", "gelu".into(), "`gelu`"),
        ("enable_bias", false.into(), "enable_bias"),
        (
            "layer_norm_elementwise_affine",
            false.into(),
            "layer_norm_elementwise_affine",
        ),
        ("tie_word_embeddings", false.into(), "tie_word_embeddings"),
        ("num_hidden_layers", 0.into(), "number of layers"),
        ("num_attention_heads", 7.into(), "evenly"),
    ] {
        let mut json = golden_json();
        json[key] = value;
        write(place.path(), "config.json", json.to_string());
        let error = OptConfig::from_hugging_face(&place.path().join("config.json")).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn the_positions_are_as_many_as_the_configuration_says() {
    let model = Opt::new(config(), 1, &Device::flex());
    let loss = |count| {
        let example = TextExample {
            prompt: vec![],
            target: vec![1; count],
        };
        model.loss(soft_prompt(1, 4, 24), &[example])
    };
    assert!(loss(21).is_ok());
    assert!(matches!(
        loss(22),
        Err(ModelError::Context {
            tokens: 25,
            limit: 24,
            ..
        })
    ));
}
