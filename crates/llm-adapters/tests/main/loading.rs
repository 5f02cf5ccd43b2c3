//! The golden models as GGUF files and as Hugging Face folders, each with a tokenizer: both must be the same model.

#[path = "../../../core/src/weights/gguf/tests/builder.rs"]
pub(super) mod builder;

use std::path::{Path, PathBuf};

use blip2_core::LanguageModel;
use blip2_core::weights::{GgufStore, WeightError, open_weights};
use blip2_llm_adapters::{Architecture, LlamaConfig, LoadError, TokenizerError, load_language_model};
use burn::tensor::{Device, Tensor, Tolerance};
use tempfile::TempDir;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

use builder::{GgufBuilder, text};

const MERGES: [(&str, &str); 4] = [("h", "e"), ("t", "he"), ("Ġ", "the"), ("1", "2")];
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// The repository's own copy, whose vocabulary has room for all bytes.
fn folder(golden: &str) -> PathBuf {
    let parts: PathBuf = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/parts").into();
    parts.join(golden)
}

fn config_of(golden: &str) -> LlamaConfig {
    LlamaConfig::from_hugging_face(&folder(golden).join("config.json")).unwrap()
}

fn config() -> LlamaConfig {
    config_of("llama")
}

/// Two special tokens, all bytes, the merges, and fillers up to the vocabulary of the model.
fn tokens() -> Vec<String> {
    let mut alphabet: Vec<String> = ByteLevel::alphabet().into_iter().map(String::from).collect();
    alphabet.sort();
    let special = ["<|end|>", "<|start|>"].map(str::to_owned);
    let merged = MERGES.map(|(left, right)| format!("{left}{right}"));
    let mut tokens: Vec<String> = special.into_iter().chain(alphabet).chain(merged).collect();
    (tokens.len()..config().vocabulary_size).for_each(|index| tokens.push(format!("filler{index}")));
    tokens
}

pub(super) fn id(token: &str) -> u32 {
    tokens().iter().position(|other| other == token).unwrap() as u32
}

/// The vocabulary of [`tokens`] as a `tokenizer.json` would hold it.
pub(super) fn tokenizer() -> Tokenizer {
    let vocabulary: Vocab = tokens()
        .into_iter()
        .enumerate()
        .map(|(id, token)| (token, id as u32))
        .collect();
    let merges = MERGES
        .map(|(left, right)| (left.to_owned(), right.to_owned()))
        .to_vec();
    let mut tokenizer = Tokenizer::new(
        BPE::builder()
            .vocab_and_merges(vocabulary, merges)
            .build()
            .unwrap(),
    );
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    tokenizer
        .add_special_tokens(["<|end|>", "<|start|>"].map(|token| AddedToken::from(token, true)))
        .unwrap();
    tokenizer
}

fn texts(values: impl IntoIterator<Item = String>) -> Vec<u8> {
    array(TEXT, values.into_iter().map(|value| text(&value)).collect())
}

fn array(code: u32, values: Vec<Vec<u8>>) -> Vec<u8> {
    [
        &code.to_le_bytes()[..],
        &(values.len() as u64).to_le_bytes(),
        &values.concat(),
    ]
    .concat()
}

/// The tensors of a golden model, with the rows of queries and keys in llama.cpp's order of its architecture.
fn weights_of(golden: &str) -> GgufBuilder {
    let store = open_weights(&folder(golden)).unwrap();
    let config = config_of(golden);
    let half = config.head_width / 2;
    let factors: Vec<u8> = (config.rope_factors.iter())
        .flat_map(|factor| (*factor as f32).to_le_bytes())
        .collect();
    let scaling = match factors.is_empty() {
        true => GgufBuilder::default(),
        false => GgufBuilder::default().tensor("rope_freqs.weight", &[half as u64], 0, &factors),
    };
    store.tensors().iter().fold(scaling, |builder, (name, info)| {
        let mut values: Vec<f32> = store.read(name).unwrap().iter().collect();
        let turned = name.contains("q_proj") || name.contains("k_proj");
        if turned && config.architecture == Architecture::Llama {
            let columns = info.shape[1];
            let row = |head: usize, side: usize, pair: usize| {
                let start = (head * 2 * half + side * half + pair) * columns;
                values[start..start + columns].to_vec()
            };
            let heads = info.shape[0] / (2 * half);
            let order = (0..heads).flat_map(|head| (0..half).map(move |pair| (head, pair)));
            values = order
                .flat_map(|(head, pair)| [row(head, 0, pair), row(head, 1, pair)].concat())
                .collect();
        }
        let dimensions: Vec<u64> = info.shape.iter().rev().map(|size| *size as u64).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        builder.tensor(&gguf_name(name), &dimensions, 0, &bytes)
    })
}

fn gguf_name(name: &str) -> String {
    let pairs = [
        ("model.layers.", "blk."),
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("input_layernorm", "attn_norm"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.", "attn_"),
        ("mlp.", "ffn_"),
        ("_proj", ""),
    ];
    pairs
        .iter()
        .fold(name.to_owned(), |name, (theirs, ours)| name.replace(theirs, ours))
}

/// The golden model of Llama's own build with all metadata, of which `change` may replace entries, or drop them with an empty
/// value.
fn gguf(change: &[(&str, Vec<u8>)]) -> Vec<u8> {
    gguf_of("llama", change)
}

fn gguf_of(golden: &str, change: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let config = config_of(golden);
    let own = |key: &str| format!("{}.{key}", config.architecture.name());
    let tokenizer = |key: &str| format!("tokenizer.ggml.{key}");
    let size = |value: usize| (4, (value as u32).to_le_bytes().to_vec());
    let float = |value: f64| (6, (value as f32).to_le_bytes().to_vec());
    let types = (0..tokens().len())
        .map(|index| if index < 2 { 3i32 } else { 1 }.to_le_bytes().to_vec())
        .collect();
    let merges = MERGES.map(|(left, right)| format!("{left} {right}"));
    let entries = [
        (
            "general.architecture".to_owned(),
            (TEXT, text(config.architecture.name())),
        ),
        (own("embedding_length"), size(config.hidden_size)),
        (own("feed_forward_length"), size(config.intermediate_size)),
        (own("block_count"), size(config.layers)),
        (own("attention.head_count"), size(config.heads)),
        (own("attention.head_count_kv"), size(config.key_heads)),
        (own("attention.key_length"), size(config.head_width)),
        (own("context_length"), size(config.positions)),
        (
            own("attention.layer_norm_rms_epsilon"),
            float(config.norm_epsilon),
        ),
        (own("rope.freq_base"), float(config.rope_theta)),
        (tokenizer("model"), (TEXT, text("gpt2"))),
        (tokenizer("pre"), (TEXT, text("smollm"))),
        (tokenizer("tokens"), (ARRAY, texts(tokens()))),
        (tokenizer("token_type"), (ARRAY, array(5, types))),
        (tokenizer("merges"), (ARRAY, texts(merges))),
        (tokenizer("eos_token_id"), size(0)),
        (tokenizer("bos_token_id"), size(1)),
    ];
    let whole = entries
        .into_iter()
        .fold(weights_of(golden), |builder, (key, (code, value))| {
            match change.iter().find(|(changed, _)| *changed == key) {
                Some((_, value)) if value.is_empty() => builder,
                Some((_, value)) => builder.metadata(&key, code, value),
                None => builder.metadata(&key, code, &value),
            }
        });
    whole.bytes()
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    std::fs::write(folder.join(name), bytes).unwrap();
}

/// Loads the GGUF model with `change`d metadata and gives the error.
fn refused(change: &[(&str, Vec<u8>)]) -> LoadError {
    let place = TempDir::new().unwrap();
    write(place.path(), "model.gguf", gguf(change));
    match load_language_model(&place.path().join("model.gguf"), &Device::flex()) {
        Err(error) => error,
        Ok(_) => panic!("the file was taken"),
    }
}

#[test]
fn a_gguf_file_and_a_folder_of_the_same_model_are_the_same_model() {
    for golden in [
        "llama",
        "llama-scaled",
        "llama-stretched",
        "mistral",
        "qwen2",
        "qwen3",
    ] {
        let place = TempDir::new().unwrap();
        let file = "weights-without-a-telling-name";
        write(place.path(), file, gguf_of(golden, &[]));
        let gguf = load_language_model(&place.path().join(file), &Device::flex()).unwrap();
        for entry in std::fs::read_dir(folder(golden)).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, place.path().join(path.file_name().unwrap())).unwrap();
        }
        let file = place.path().join("config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        config["eos_token_id"] = 0.into();
        write(place.path(), "config.json", config.to_string());
        write(
            place.path(),
            "tokenizer.json",
            tokenizer().to_string(false).unwrap(),
        );
        let hugging_face = load_language_model(place.path(), &Device::flex()).unwrap();

        assert_eq!(
            gguf.model.fingerprint(),
            hugging_face.model.fingerprint(),
            "{golden}"
        );
        let prompt = vec![gguf.tokenizer.encode("the grün theatre").unwrap()];
        assert_eq!(
            prompt[0],
            hugging_face.tokenizer.encode("the grün theatre").unwrap()
        );
        let logits = |model: &dyn LanguageModel| {
            let nothing = Tensor::zeros([1, 0, model.hidden_size()], &Device::flex());
            model.start(nothing, &prompt).unwrap().logits().into_data()
        };
        // A GGUF file has the factors of a rotary embedding in single precision.
        logits(gguf.model.as_ref()).assert_approx_eq::<f32>(
            &logits(hugging_face.model.as_ref()),
            Tolerance::absolute(if golden == "llama-scaled" { 1e-5 } else { 0.0 }),
        );
    }
}

/// What this small vocabulary can tell apart; `qwen.rs` compares with the reference on the real one.
#[test]
fn the_tokenizer_of_qwen2_keeps_digits_apart_and_composes_letters() {
    let place = TempDir::new().unwrap();
    let kind = [("tokenizer.ggml.pre", text("qwen2"))];
    write(place.path(), "model.gguf", gguf_of("qwen2", &kind));
    let loaded = load_language_model(&place.path().join("model.gguf"), &Device::flex()).unwrap();
    let ids = |text: &str| loaded.tokenizer.encode(text).unwrap();
    assert_eq!(ids("the12"), ["the", "1", "2"].map(id));
    assert_eq!(ids("e\u{301}"), ids("é"));
    assert_eq!(
        loaded.tokenizer.decode(&ids("the 12!\n\n (the)")).unwrap(),
        "the 12!\n\n (the)"
    );
}

#[test]
fn the_tokenizer_of_llama3_keeps_up_to_three_digits_together() {
    let place = TempDir::new().unwrap();
    let kind = [("tokenizer.ggml.pre", text("llama-bpe"))];
    write(place.path(), "model.gguf", gguf(&kind));
    let loaded = load_language_model(&place.path().join("model.gguf"), &Device::flex()).unwrap();
    let ids = |text: &str| loaded.tokenizer.encode(text).unwrap();
    assert_eq!(ids("the12"), ["the", "12"].map(id));
    // Of the digits 121 and 2.
    assert_eq!(ids("1212"), ["12", "1", "2"].map(id));
    assert_eq!(ids("1,212"), ["1", ",", "2", "12"].map(id));
    assert_ne!(ids("e\u{301}"), ids("é"));
}

#[test]
fn the_tokenizer_of_a_gguf_file_merges_bytes_and_keeps_digits_apart() {
    let place = TempDir::new().unwrap();
    write(place.path(), "model.gguf", gguf(&[]));
    let loaded = load_language_model(&place.path().join("model.gguf"), &Device::flex()).unwrap();
    let tokenizer = &loaded.tokenizer;
    assert_eq!(tokenizer.text_vocabulary(), config().vocabulary_size);
    let expected = ["the", "Ġthe", "Ġ", "1", "2"].map(id);
    assert_eq!(tokenizer.encode("the the 12").unwrap(), expected);
    let with_end = [&[1], &expected[..], &[tokenizer.end(), 0]].concat();
    assert_eq!(
        tokenizer.encode("<|start|>the the 12\n<|end|>").unwrap(),
        with_end
    );
    assert_eq!(tokenizer.decode(&with_end).unwrap(), "the the 12\n");
    assert!(tokenizer.encode("").unwrap().is_empty());
    let odd = "Grün 🦊\u{0}\t  end";
    assert_eq!(tokenizer.decode(&tokenizer.encode(odd).unwrap()).unwrap(), odd);
    assert_eq!(tokenizer.end(), id("Ċ"));
    assert_eq!(
        (
            tokenizer.beginning(),
            tokenizer.end_of_text(),
            tokenizer.padding()
        ),
        (Some(1), 0, 0)
    );
    assert_eq!(tokenizer.ends(), [id("Ċ"), 0]);
}

#[test]
fn metadata_that_does_not_fit_is_refused_by_name() {
    let message = |change: &[(&str, Vec<u8>)]| refused(change).to_string();
    assert!(message(&[("llama.block_count", vec![])]).contains("`llama.block_count`"));
    assert!(message(&[("llama.block_count", 0u32.to_le_bytes().to_vec())]).contains("number of layers"));
    assert!(message(&[("llama.attention.head_count_kv", 5u32.to_le_bytes().to_vec())]).contains("evenly"));
    assert!(message(&[("tokenizer.ggml.pre", text("gemma"))]).contains("`gemma`"));
    assert!(message(&[("tokenizer.ggml.model", text("bert"))]).contains("`bert`"));
    assert!(message(&[("tokenizer.ggml.eos_token_id", 9_999u32.to_le_bytes().to_vec())]).contains("9999"));
    assert!(message(&[("tokenizer.ggml.merges", texts(["nospace".to_owned()]))]).contains("`nospace`"));
    let more = texts(tokens().into_iter().chain(["extra".to_owned()]));
    assert!(message(&[("tokenizer.ggml.tokens", more)]).contains("types"));
    let missing = refused(&[("tokenizer.ggml.merges", vec![])]);
    assert!(matches!(
        missing,
        LoadError::Tokenizer(TokenizerError::File(WeightError::Format { .. }))
    ));
    let layers = (config().layers as u32 + 1).to_le_bytes().to_vec();
    let LoadError::Weights(WeightError::Mismatch {
        missing, unexpected, ..
    }) = refused(&[("llama.block_count", layers)])
    else {
        panic!("another error");
    };
    assert_eq!((missing.len(), unexpected.len()), (9, 0));
}

#[test]
fn what_is_no_supported_model_is_told_what_is() {
    let place = TempDir::new().unwrap();
    let load = |name: &str| {
        load_language_model(&place.path().join(name), &Device::flex())
            .err()
            .unwrap()
    };
    let unsupported = |name: &str, found: &str| {
        let message = load(name).to_string();
        assert!(
            message.contains(found)
                && message.contains("a GGUF file of the `llama`, `qwen2`, `qwen3` or `gemma3` architecture"),
            "{message}"
        );
    };
    write(place.path(), "picture.gguf", b"\x89PNG....");
    unsupported("picture.gguf", "does not begin with `GGUF`");
    write(place.path(), "empty.gguf", b"");
    unsupported("empty.gguf", "does not begin with `GGUF`");
    write(
        place.path(),
        "gemma.gguf",
        GgufBuilder::default()
            .metadata("general.architecture", TEXT, &text("gemma"))
            .bytes(),
    );
    unsupported("gemma.gguf", "`gemma`");
    unsupported("", "without a readable `config.json`");
    write(place.path(), "config.json", r#"{"model_type": "gemma"}"#);
    unsupported("", "`gemma`");
    write(place.path(), "config.json", "{");
    unsupported("", "cannot be understood");
    assert!(matches!(
        load("nothing"),
        LoadError::Weights(WeightError::Io { .. })
    ));
    write(place.path(), "short.gguf", b"GGUF\x03\0\0\0");
    assert!(matches!(
        load("short.gguf"),
        LoadError::Weights(WeightError::Format { .. })
    ));
    assert!(GgufStore::open(&place.path().join("short.gguf")).is_err());
}

#[test]
fn configurations_that_would_compute_something_else_are_refused() {
    let place = TempDir::new().unwrap();
    let json = std::fs::read_to_string(folder("llama").join("config.json")).unwrap();
    let with = |key: &str, value: serde_json::Value| {
        let mut config: serde_json::Value = serde_json::from_str(&json).unwrap();
        config[key] = value;
        write(place.path(), "config.json", config.to_string());
        LlamaConfig::from_hugging_face(&place.path().join("config.json"))
    };
    for key in ["rope_parameters", "rope_scaling"] {
        let refused = |scaling: serde_json::Value| with(key, scaling).unwrap_err().to_string();
        assert!(refused(serde_json::json!({"rope_type": "yarn", "factor": 4.0})).contains("`yarn`"));
        let llama3 = serde_json::json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0,
            "high_freq_factor": 1.0, "original_max_position_embeddings": 64});
        assert!(refused(llama3.clone()).contains("is not below"));
        let mut without = llama3;
        without["factor"] = serde_json::Value::Null;
        assert!(refused(without).contains("a positive `factor`"));
        assert!(
            refused(serde_json::json!({"type": "linear", "factor": -1.0})).contains("a positive `factor`")
        );
    }
    assert!(
        with("hidden_act", "gelu".into())
            .unwrap_err()
            .to_string()
            .contains("`gelu`")
    );
    assert!(
        with("attention_bias", true.into())
            .unwrap_err()
            .to_string()
            .contains("biases")
    );
    assert!(
        with("model_type", "opt".into())
            .unwrap_err()
            .to_string()
            .contains("`opt`")
    );
    assert!(
        with("num_attention_heads", 0.into())
            .unwrap_err()
            .to_string()
            .contains("number of heads")
    );
    assert!(
        with("num_hidden_layers", (1u64 << 40).into())
            .unwrap_err()
            .to_string()
            .contains("number of layers")
    );
    assert!(
        with("head_dim", 7.into())
            .unwrap_err()
            .to_string()
            .contains("halves")
    );
    assert!(
        with("head_dim", (1u64 << 60).into())
            .unwrap_err()
            .to_string()
            .contains("head width")
    );
    assert_eq!(
        with("rope_parameters", serde_json::json!({"rope_theta": 5e5}))
            .unwrap()
            .rope_theta,
        5e5
    );
    assert_eq!(
        with("rope_parameters", serde_json::Value::Null)
            .unwrap()
            .rope_theta,
        1e4
    );
}

#[test]
fn a_sliding_window_bounds_the_text_where_it_is_used() {
    let place = TempDir::new().unwrap();
    let positions = |golden: &str, keys: serde_json::Value| {
        let json = std::fs::read(folder(golden).join("config.json")).unwrap();
        let mut config: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let object = config.as_object_mut().unwrap();
        object.remove("sliding_window");
        object.extend(keys.as_object().unwrap().clone());
        object.insert("max_position_embeddings".to_owned(), 10_000.into());
        write(place.path(), "config.json", config.to_string());
        LlamaConfig::from_hugging_face(&place.path().join("config.json"))
            .unwrap()
            .positions
    };
    let window = |size: serde_json::Value| serde_json::json!({"sliding_window": size});
    assert_eq!(positions("mistral", window(64.into())), 64);
    assert_eq!(positions("mistral", window(serde_json::Value::Null)), 10_000);
    assert_eq!(positions("mistral", serde_json::json!({})), 4096);
    for qwen in ["qwen2", "qwen3"] {
        assert_eq!(positions(qwen, window(64.into())), 10_000);
        let used = serde_json::json!({"sliding_window": 64, "use_sliding_window": true});
        assert_eq!(positions(qwen, used), 64);
    }
}
