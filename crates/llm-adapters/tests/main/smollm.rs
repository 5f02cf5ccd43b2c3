//! SmolLM2-135M-Instruct, the real model of the embedded default, where it has been fetched.

use std::sync::{Mutex, MutexGuard, OnceLock};

use blip2_core::layers::Packing;
use blip2_core::{LoadPlan, TextExample};
use blip2_generation::{GenerationConfig, generate};
use blip2_llm_adapters::{LoadedLanguageModel, load_language_model};
use burn::tensor::{Device, Tensor};

use super::assets::file;

/// Six short passages about different things, 650 words.
const ENGLISH: &str = include_str!("../data/english.txt");

const FILE: &str = "smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";

/// The model, loaded once; `None` where nobody fetched it, and then the skipped test says so.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn model() -> Option<MutexGuard<'static, LoadedLanguageModel>> {
    static MODEL: OnceLock<Option<Mutex<LoadedLanguageModel>>> = OnceLock::new();
    let load = || {
        Some(Mutex::new(
            load_language_model(&file(FILE)?, &Device::flex()).unwrap(),
        ))
    };
    let model = MODEL.get_or_init(load).as_ref();
    if model.is_none() {
        eprintln!("SKIPPED: SmolLM2 is not in the cache folder; run `cargo xtask assets`");
    }
    Some(model?.lock().unwrap())
}

fn no_soft_prompt(loaded: &LoadedLanguageModel, rows: usize) -> Tensor<3> {
    Tensor::zeros([rows, 0, loaded.model.hidden_size()], &Device::flex())
}

fn perplexity(loaded: &LoadedLanguageModel, ids: &[u32]) -> f64 {
    let text = [TextExample {
        prompt: Vec::new(),
        target: ids.to_vec(),
    }];
    loaded
        .model
        .loss(no_soft_prompt(loaded, 1), &text)
        .unwrap()
        .into_scalar::<f64>()
        .exp()
}

#[test]
fn the_scale_of_its_words_is_known() {
    let Some(loaded) = model() else { return };
    let deviation = loaded.model.embedding_deviation();
    assert!((deviation - 0.136).abs() < 0.001, "{deviation}");
}

#[test]
fn english_is_likely_and_the_same_words_shuffled_are_not() {
    let Some(loaded) = model() else { return };
    let passage = ENGLISH.lines().next().unwrap();
    let ids = loaded.tokenizer.encode(passage).unwrap();
    assert_eq!(loaded.tokenizer.decode(&ids).unwrap(), passage);
    // Rows of queries and keys in the wrong order, or halves of a block swapped, give thousands.
    let english = perplexity(&loaded, &ids);
    assert!((5.0..25.0).contains(&english), "{english}");
    let mut words: Vec<&str> = passage.split(' ').collect();
    words.sort_by_key(|word| (word.len() * 7 + word.bytes().map(usize::from).sum::<usize>() * 31) % 101);
    let shuffled = perplexity(&loaded, &loaded.tokenizer.encode(&words.join(" ")).unwrap());
    assert!(shuffled > 20.0 * english, "{shuffled}");
}

#[test]
fn it_knows_the_capital_of_france() {
    let Some(loaded) = model() else { return };
    let prompt = vec![loaded.tokenizer.encode("The capital of France is").unwrap()];
    for num_beams in [1, 4] {
        let mut text = loaded.model.start(no_soft_prompt(&loaded, 1), &prompt).unwrap();
        let config = GenerationConfig {
            max_new_tokens: 4,
            num_beams,
            end_tokens: loaded.tokenizer.ends(),
            ..Default::default()
        };
        let written = generate(text.as_mut(), &prompt, &config, None).unwrap();
        let written = loaded.tokenizer.decode(&written[0].ids).unwrap();
        assert!(written.starts_with(" Paris."), "{num_beams} beams: {written}");
    }
}

#[test]
fn a_caption_is_expected_to_end_with_a_line_break() {
    let Some(loaded) = model() else { return };
    let caption = loaded.tokenizer.encode("two apples above a bicycle").unwrap();
    let surprise = |end: u32| {
        let text = [TextExample {
            prompt: caption.clone(),
            target: vec![end],
        }];
        loaded
            .model
            .loss(no_soft_prompt(&loaded, 1), &text)
            .unwrap()
            .into_scalar::<f64>()
    };
    let (line_break, end_of_text) = (
        surprise(loaded.tokenizer.end()),
        surprise(loaded.tokenizer.end_of_text()),
    );
    assert!(line_break + 5.0 < end_of_text, "{line_break} and {end_of_text}");
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures stand in docs/performance.md")]
fn packed_weights_find_english_as_likely() {
    let Some(loaded) = model() else { return };
    let ids = loaded.tokenizer.encode(ENGLISH).unwrap();
    let exact = perplexity(&loaded, &ids);
    drop(loaded);
    let packed = |packing| {
        let plan = LoadPlan::from(&Device::flex()).packed(Some(packing));
        let loaded = load_language_model(&file(FILE).expect("it is there"), plan).unwrap();
        perplexity(&loaded, &ids)
    };
    let bf16 = packed(Packing::Bf16);
    for (name, packed, of, tolerance) in [
        ("bf16", bf16, exact, 0.005),
        ("int8", packed(Packing::Int8), bf16, 0.005),
        ("int4", packed(Packing::Int4), bf16, 0.04),
    ] {
        let change = packed / of - 1.0;
        println!("perplexity in {name}: {packed:.3}, {:+.2}%", 100.0 * change);
        assert!(change != 0.0, "{name}: nothing was packed");
        assert!(change.abs() < tolerance, "{name}: {packed} instead of {of}");
    }
}
