//! Gemma 3: properties for any weights, the two file formats, and the real 270M, where it has been fetched.

use std::path::Path;

use blip2_core::layers::Packing;
use blip2_core::weights::{SafetensorsStore, TensorStore};
use blip2_core::{LanguageModel, LoadPlan, TextExample};
use blip2_generation::{GenerationConfig, generate};
use blip2_golden::fixture;
use blip2_llm_adapters::{
    Gemma3, Gemma3Config, LanguageTokenizer, LoadError, conformance, load_language_model, model_type,
};
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::assets::file;
use super::loading::builder::{GgufBuilder, text};

const FILE: &str = "gemma-3-270m/gemma-3-270m-q4_k_m.gguf";

fn config(window: usize, tied: bool) -> Gemma3Config {
    Gemma3Config {
        hidden_size: 24,
        intermediate_size: 40,
        sliding: vec![true, true, false],
        window,
        heads: 4,
        key_heads: 2,
        head_width: 8,
        score_scale: 0.3,
        vocabulary_size: 50,
        positions: 64,
        norm_epsilon: 1e-6,
        rope_theta: 1e6,
        rope_factor: 8.0,
        local_rope_theta: 1e4,
        tied,
    }
}

#[test]
fn it_conforms_with_windows_of_any_length() {
    for (window, tied) in [(1, true), (2, false), (4, true), (63, false)] {
        let model = Gemma3::new(config(window, tied), 7, &Device::flex());
        conformance::check(&model, &Device::flex()).unwrap();
    }
}

/// Logits `[places, vocabulary]` behind `ids`, without a soft prompt.
fn logits(model: &dyn LanguageModel, ids: &[u32]) -> Vec<f32> {
    let nothing = Tensor::zeros([1, 0, model.hidden_size()], &Device::flex());
    let example = TextExample {
        prompt: ids.to_vec(),
        target: Vec::new(),
    };
    let logits = model.logits(nothing, &[example]).unwrap();
    logits.into_data().try_into_vec().unwrap()
}

#[test]
fn a_token_beyond_the_window_of_every_layer_changes_nothing() {
    let all_sliding = Gemma3Config {
        sliding: vec![true; 2],
        ..config(3, true)
    };
    let model = Gemma3::new(all_sliding, 7, &Device::flex());
    let last = |first: u32| {
        let logits = logits(&model, &[first, 5, 6, 7, 8, 9]);
        logits[5 * 50..].to_vec()
    };
    // Two layers of three tokens see five, and the sixth from the end no more.
    assert_eq!(last(1), last(2));
    let wider = Gemma3::new(
        Gemma3Config {
            sliding: vec![true, false],
            ..config(3, true)
        },
        7,
        &Device::flex(),
    );
    let last = |first: u32| logits(&wider, &[first, 5, 6, 7, 8, 9])[5 * 50..].to_vec();
    assert_ne!(last(1), last(2));
}

#[test]
fn the_scale_of_its_words_is_that_which_it_reads() {
    let model = Gemma3::new(config(4, true), 7, &Device::flex());
    let ids: Vec<u32> = (0..50).collect();
    let direct = logits(&model, &ids);
    // The same words as a soft prompt of that scale are the same text.
    let table = blip2_core::weights::collect(&model)
        .into_iter()
        .find(|(path, _)| path == "embed_tokens.weight")
        .unwrap()
        .1;
    let scaled: Vec<f32> = table.iter::<f32>().map(|value| value * 24f32.sqrt()).collect();
    let soft = Tensor::from_data(TensorData::new(scaled, [1, 50, 24]), &Device::flex());
    let soft = model.logits(soft, &[TextExample::default()]).unwrap();
    let soft: Vec<f32> = soft.into_data().try_into_vec().unwrap();
    let apart = direct
        .iter()
        .zip(&soft)
        .fold(0f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(apart < 1e-5, "{apart}");
}

/// A folder with the golden model, whose `config.json` is changed by `change`.
fn folder_with(change: impl FnOnce(&mut Value)) -> TempDir {
    let folder = TempDir::new().unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture("parts/gemma3").join(name), folder.path().join(name)).unwrap();
    }
    let path = folder.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(&path, config.to_string()).unwrap();
    folder
}

fn config_in(folder: &Path) -> Result<Gemma3Config, String> {
    Gemma3Config::from_hugging_face(&folder.join("config.json")).map_err(|error| error.to_string())
}

/// The model in `folder` as llama.cpp's converter writes it, with tokens of byte pairs.
fn gguf(folder: &Path) -> Vec<u8> {
    const NAMES: [(&str, &str); 13] = [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("model.layers.", "blk."),
        ("input_layernorm", "attn_norm"),
        ("pre_feedforward_layernorm", "ffn_norm"),
        ("post_feedforward_layernorm", "post_ffw_norm"),
        ("post_attention_layernorm", "post_attention_norm"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.", "attn_"),
        ("mlp.", "ffn_"),
        ("_proj", ""),
        ("attn_output_", "attn_output"),
    ];
    let config = config_in(folder).unwrap();
    let store = SafetensorsStore::open(&folder.join("model.safetensors")).unwrap();
    let weights = store
        .tensors()
        .iter()
        .fold(GgufBuilder::default(), |builder, (name, info)| {
            let one = if name.ends_with("norm.weight") { 1.0 } else { 0.0 };
            let values = store.read(name).unwrap().convert::<f32>();
            let bytes: Vec<u8> = values
                .iter::<f32>()
                .flat_map(|value| (value + one).to_le_bytes())
                .collect();
            let name = NAMES
                .iter()
                .fold(name.clone(), |name, (theirs, ours)| name.replace(theirs, ours));
            let dimensions: Vec<u64> = info.shape.iter().rev().map(|size| *size as u64).collect();
            builder.tensor(&name, &dimensions, 0, &bytes)
        });
    let size = |value: usize| (4, (value as u32).to_le_bytes().to_vec());
    let float = |value: f64| (6, (value as f32).to_le_bytes().to_vec());
    let pattern = 1 + config.sliding.iter().position(|sliding| !sliding).unwrap();
    let sizes = [
        ("embedding_length", size(config.hidden_size)),
        ("feed_forward_length", size(config.intermediate_size)),
        ("block_count", size(config.sliding.len())),
        ("attention.head_count", size(config.heads)),
        ("attention.head_count_kv", size(config.key_heads)),
        ("attention.key_length", size(config.head_width)),
        ("attention.sliding_window", size(config.window)),
        ("attention.sliding_window_pattern", size(pattern)),
        ("attention.layer_norm_rms_epsilon", float(config.norm_epsilon)),
        ("context_length", size(config.positions)),
        ("rope.freq_base", float(config.rope_theta)),
        ("rope.freq_base_swa", float(config.local_rope_theta)),
        ("rope.scaling.type", (8, text("linear"))),
        ("rope.scaling.factor", float(config.rope_factor)),
    ];
    let array = |code: u32, values: Vec<Vec<u8>>| {
        let head = [&code.to_le_bytes()[..], &(values.len() as u64).to_le_bytes()].concat();
        (9, [head, values.concat()].concat())
    };
    let tokens = tokens(config.vocabulary_size);
    let vocabulary = [
        ("model", (8, text("llama"))),
        (
            "tokens",
            array(8, tokens.iter().map(|(token, ..)| text(token)).collect()),
        ),
        (
            "scores",
            array(
                6,
                tokens
                    .iter()
                    .map(|(_, score, _)| score.to_le_bytes().to_vec())
                    .collect(),
            ),
        ),
        (
            "token_type",
            array(
                5,
                tokens
                    .iter()
                    .map(|(.., kind)| kind.to_le_bytes().to_vec())
                    .collect(),
            ),
        ),
        ("bos_token_id", size(2)),
        ("eos_token_id", size(1)),
        ("padding_token_id", size(0)),
        ("unknown_token_id", size(3)),
        ("add_bos_token", (7, vec![1])),
        ("add_space_prefix", (7, vec![0])),
    ];
    let sizes = sizes
        .into_iter()
        .map(|(key, value)| (format!("gemma3.{key}"), value));
    let vocabulary = vocabulary
        .into_iter()
        .map(|(key, value)| (format!("tokenizer.ggml.{key}"), value));
    let named = [("general.architecture".to_owned(), (8, text("gemma3")))];
    named
        .into_iter()
        .chain(sizes)
        .chain(vocabulary)
        .fold(weights, |builder, (key, (code, value))| {
            builder.metadata(&key, code, &value)
        })
        .bytes()
}

/// Special tokens, a line break, all bytes, some pieces with their ranks, and fillers.
fn tokens(count: usize) -> Vec<(String, f32, i32)> {
    let special = ["<pad>", "<eos>", "<bos>", "<unk>"].map(|token| (token.to_owned(), -1000.0, 3));
    let user = ["\n", "  "].map(|token| (token.to_owned(), -1000.0, 4));
    let bytes = (0..=255u8).map(|byte| (format!("<0x{byte:02X}>"), 0.0, 6));
    let pieces = ["▁", "t", "h", "e", "he", "the", "▁the"];
    let ranks = [-5.0, -6.0, -7.0, -8.0, -1.0, -2.0, -3.0];
    let pieces = pieces
        .into_iter()
        .zip(ranks)
        .map(|(piece, rank)| (piece.to_owned(), rank, 1));
    let mut tokens: Vec<_> = special
        .into_iter()
        .chain(user)
        .chain(bytes)
        .chain(pieces)
        .collect();
    let fillers = (tokens.len()..count).map(|index| (format!("filler{index}"), -9.0, 1));
    tokens.extend(fillers.collect::<Vec<_>>());
    tokens
}

#[test]
fn a_gguf_file_and_a_folder_of_the_same_model_are_the_same_model() {
    // What scores are scaled by, a GGUF file cannot say.
    let folder = folder_with(|config| config["query_pre_attn_scalar"] = config["head_dim"].clone());
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, gguf(folder.path())).unwrap();
    assert_eq!(model_type(&path).unwrap(), "gemma3");
    assert_eq!(model_type(folder.path()).unwrap(), "gemma3_text");
    let loaded = load_language_model(&path, &Device::flex()).unwrap();
    let other = Gemma3::from_hugging_face(folder.path(), &Device::flex()).unwrap();
    assert_eq!(loaded.model.fingerprint(), other.fingerprint());
    let ids: Vec<u32> = (4..24).collect();
    assert_eq!(logits(loaded.model.as_ref(), &ids), logits(&other, &ids));

    let tokenizer: &LanguageTokenizer = &loaded.tokenizer;
    let places = tokens(0);
    let id = |token: &str| places.iter().position(|(other, ..)| other == token).unwrap() as u32;
    assert_eq!(
        tokenizer.encode("the the  \nü").unwrap(),
        ["the", "▁the", "  ", "\n", "<0xC3>", "<0xBC>"].map(id)
    );
    assert_eq!(tokenizer.encode_prompt("the").unwrap(), [2, id("the")]);
    for text in ["the the  \nü 🦊", " the", "x"] {
        assert_eq!(tokenizer.decode(&tokenizer.encode(text).unwrap()).unwrap(), text);
    }
    assert_eq!(tokenizer.ends(), [id("\n"), 1]);
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (key, value) in [
        ("hidden_activation", json!("silu")),
        ("attention_bias", json!(true)),
        ("use_bidirectional_attention", json!(true)),
        ("final_logit_softcapping", json!(30.0)),
        ("attn_logit_softcapping", json!(50.0)),
        ("num_key_value_heads", json!(3)),
        ("sliding_window", json!(0)),
        ("layer_types", json!(["full_attention"])),
        ("layer_types", json!(["something"])),
        ("query_pre_attn_scalar", json!(0)),
        (
            "rope_parameters",
            json!({"full_attention": {"rope_type": "yarn"}}),
        ),
        ("model_type", json!("gemma2")),
    ] {
        let folder = folder_with(|config| config[key] = value.clone());
        assert!(config_in(folder.path()).is_err(), "{key} = {value}");
    }
}

#[test]
fn what_older_files_say_in_other_keys_is_the_same() {
    let folder = folder_with(|config| {
        let object = config.as_object_mut().unwrap();
        object.remove("rope_parameters");
        object.remove("layer_types");
        object.insert("rope_theta".to_owned(), json!(5e5));
        object.insert("rope_local_base_freq".to_owned(), json!(2e4));
        object.insert(
            "rope_scaling".to_owned(),
            json!({"rope_type": "linear", "factor": 8.0}),
        );
        object.insert("sliding_window_pattern".to_owned(), json!(2));
    });
    let config = config_in(folder.path()).unwrap();
    assert_eq!(
        (config.rope_theta, config.local_rope_theta, config.rope_factor),
        (5e5, 2e4, 8.0)
    );
    let pattern: Vec<bool> = (0..config.sliding.len()).map(|layer| layer % 2 == 0).collect();
    assert_eq!(config.sliding, pattern);
}

#[test]
fn a_model_that_is_none_of_these_is_named() {
    let folder = folder_with(|config| config["model_type"] = json!("gemma4"));
    let error = load_language_model(folder.path(), &Device::flex()).err().unwrap();
    assert!(matches!(error, LoadError::Unsupported { .. }), "{error}");
}

/// Ids and continuations of the reference (llama.cpp on the same file).
#[test]
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn the_real_one_writes_what_the_reference_writes() {
    let Some(path) = file(FILE) else {
        eprintln!(
            "SKIPPED: Gemma 3 is not in the cache folder; run `cargo xtask assets --with gemma-3-270m`"
        );
        return;
    };
    let plan = LoadPlan::from(&Device::flex()).packed(Some(Packing::Int8));
    let loaded = load_language_model(&path, plan).unwrap();
    for (text, ids, continued) in REFERENCE {
        let prompt = vec![loaded.tokenizer.encode_prompt(text).unwrap()];
        assert_eq!(prompt[0], *ids, "{text:?}");
        let nothing = Tensor::zeros([1, 0, loaded.model.hidden_size()], &Device::flex());
        let mut written = loaded.model.start(nothing, &prompt).unwrap();
        let settings = GenerationConfig {
            max_new_tokens: 6,
            end_tokens: vec![loaded.tokenizer.end_of_text()],
            ..Default::default()
        };
        let written = generate(written.as_mut(), &prompt, &settings, None).unwrap();
        let written = loaded.tokenizer.decode(&written[0].ids).unwrap();
        assert!(written.starts_with(continued), "{text:?}: {written:?}");
    }
}

const REFERENCE: &[(&str, &[u32], &str)] = &[
    (
        "The capital of France is",
        &[2, 818, 5279, 529, 7001, 563],
        " the capital of the",
    ),
    (
        "One, two, three, four, five, six,",
        &[
            2, 4906, 236764, 1156, 236764, 1806, 236764, 2390, 236764, 3493, 236764, 3962, 236764,
        ],
        " seven, eight,",
    ),
    (
        "def square(x):\n    return",
        &[2, 2063, 6281, 236769, 236781, 1473, 107, 140, 2060],
        " x**2\n\n",
    ),
    (
        "I'LL don't\n\n\n  indented\tcode();\r\nend  ",
        &[
            2, 236777, 236789, 2182, 1537, 236789, 236745, 109, 138, 724, 16764, 255968, 3970, 1086, 251,
            107, 643, 138,
        ],
        "",
    ),
    (
        "Grün café e\u{301} 한국어 日本語 🦊",
        &[
            2, 9322, 5701, 33443, 545, 238288, 50413, 237430, 33375, 238582, 236743, 249086,
        ],
        " 🦊",
    ),
    (
        "<bos>hi<eos><start_of_turn>user\nx",
        &[2, 2, 2202, 1, 105, 2364, 107, 236781],
        "",
    ),
];
