//! Qwen2.5-Coder-0.5B-Instruct in ggml's mixed formats of 4 to 8 bits, where it has been fetched.

use std::sync::{Mutex, MutexGuard, OnceLock};

use blip2_core::LoadPlan;
use blip2_core::layers::Packing;
use blip2_generation::{GenerationConfig, generate};
use blip2_llm_adapters::{LoadedLanguageModel, load_language_model};
use burn::tensor::{Device, Tensor};

use super::assets::file;

/// The model packed in 4 bits, loaded once; `None` where nobody fetched it, and then the skipped test says so.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn model() -> Option<MutexGuard<'static, LoadedLanguageModel>> {
    static MODEL: OnceLock<Option<Mutex<LoadedLanguageModel>>> = OnceLock::new();
    let load = || {
        let file = file("qwen2.5-coder-0.5b/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf")?;
        let plan = LoadPlan::from(&Device::flex()).packed(Some(Packing::Int4));
        Some(Mutex::new(load_language_model(&file, plan).unwrap()))
    };
    let model = MODEL.get_or_init(load).as_ref();
    if model.is_none() {
        eprintln!(
            "SKIPPED: Qwen2.5 is not in the cache folder; run `cargo xtask assets --with qwen2.5-coder-0.5b`"
        );
    }
    Some(model?.lock().unwrap())
}

#[test]
fn it_writes_sensible_english_and_rust() {
    let Some(loaded) = model() else { return };
    for (prompt, expected) in [
        ("The capital of France is", " Paris"),
        ("One, two, three, four, five, six,", " seven"),
        ("fn square(x: i32) -> i32 {\n", "    x * x\n}"),
    ] {
        let prompt = vec![loaded.tokenizer.encode(prompt).unwrap()];
        let nothing = Tensor::zeros([1, 0, loaded.model.hidden_size()], &Device::flex());
        let mut text = loaded.model.start(nothing, &prompt).unwrap();
        let config = GenerationConfig {
            max_new_tokens: 8,
            end_tokens: vec![loaded.tokenizer.end_of_text()],
            ..Default::default()
        };
        let written = generate(text.as_mut(), &prompt, &config, None).unwrap();
        let written = loaded.tokenizer.decode(&written[0].ids).unwrap();
        assert!(written.starts_with(expected), "{written}");
    }
}

/// Ids of `transformers`' Qwen2 tokenizer.
#[test]
fn texts_have_the_ids_of_the_reference() {
    let Some(loaded) = model() else { return };
    for (text, expected) in IDS {
        assert_eq!(loaded.tokenizer.encode(text).unwrap(), *expected, "{text:?}");
    }
}

const IDS: &[(&str, &[u32])] = &[
    (
        "The year 2024: it's 12,345.67 km!",
        &[
            785, 1042, 220, 17, 15, 17, 19, 25, 432, 594, 220, 16, 17, 11, 18, 19, 20, 13, 21, 22, 13136, 0,
        ],
    ),
    (
        "I'LL don't WE'VE\n\n\n  indented\tcode();\r\nend  ",
        &[
            40, 6, 4086, 1513, 944, 19677, 6, 4491, 1406, 220, 1257, 15864, 43343, 1647, 408, 256,
        ],
    ),
    (
        "a(b)_c  d\u{a0}e 'quoted' \"x\"…",
        &[
            64, 1883, 25931, 66, 220, 294, 4102, 68, 364, 63725, 6, 330, 87, 1, 1940,
        ],
    ),
    (
        "Gru\u{308}n café e\u{301} \u{1100}\u{1161} 한국어 日本語 🦊",
        &[
            136589, 51950, 3958, 35509, 130092, 31079, 75402, 21894, 102819, 11162, 99, 232,
        ],
    ),
    (
        "<|im_start|>user\nhi<|im_end|>\n<tool_call>x",
        &[151644, 872, 198, 6023, 151645, 198, 151657, 87],
    ),
    ("   leading, trailing   ", &[256, 6388, 11, 27748, 262]),
    (
        "½²③ Ⅷ ١٢٣",
        &[
            26062, 29456, 48312, 95, 220, 70467, 100, 220, 149, 94, 149, 95, 149, 96,
        ],
    ),
];
