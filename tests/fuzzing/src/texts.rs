//! What is written as text: configurations, vocabularies, recipes, results.

use std::path::Path;

use blip2::{ModelConfig, read_config};
use blip2_core::tokenizer_config::TokenizerConfig;
use blip2_data::pixels::ImageProcessor;
use blip2_data::sets::DataSpec;
use blip2_data::text::{BertTokenizer, Padding};
use blip2_evaluation::official::{Coverage, Document, caption_task, domains, vqa_task};
use blip2_generation::GenerationConfig;
use blip2_llm_adapters::{Gemma3Config, LanguageTokenizer, LlamaConfig, OptConfig, PeftFolder, T5Config};
use blip2_qformer::RepresentationConfig;
use blip2_trainer::{Recipe, RecipeFile};
use blip2_vision_encoder::{ClipConfig, VisionTransformerConfig};
use burn::tensor::Device;

use crate::in_folder;

/// What a tokenizer that was made up has to cut.
pub(crate) const TEXT: &str = "A photo of two <unk> dogs,\u{a0}na\u{ef}ve \u{1f600} \u{4e2d}\u{6587}\n";
/// Names the end of a text, without which no tokenizer is taken.
const CONFIG: &[u8] = br#"{"model_type":"llama","bos_token_id":1,"eos_token_id":2,"pad_token_id":0}"#;

/// The JSON files of `transformers`, PEFT and our own, each read as each.
pub fn configurations(data: &[u8]) {
    let names = [
        "config.json",
        "blip2.json",
        "adapter_config.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "preprocessor_config.json",
    ];
    let files = names.map(|name| (name, data));
    in_folder(&files, |folder| {
        let file = folder.join("config.json");
        let _ = LlamaConfig::from_hugging_face(&file);
        let _ = Gemma3Config::from_hugging_face(&file);
        let _ = OptConfig::from_hugging_face(&file);
        let _ = T5Config::from_hugging_face(&file);
        let _ = RepresentationConfig::from_hugging_face(&file);
        let _ = VisionTransformerConfig::read(&file);
        let _ = ClipConfig::read(&file);
        let _ = TokenizerConfig::read(folder);
        let _ = ImageProcessor::from_folder(folder);
        let _ = read_config(folder);
        let _ = PeftFolder::open(folder, &Device::flex());
    });
    let _ = serde_json::from_slice::<GenerationConfig>(data);
    let _ = serde_json::from_slice::<ModelConfig>(data);
}

/// Recipes and the names of data sets.
pub fn recipes(data: &[u8]) {
    in_folder(&[("recipe.toml", data)], |folder| {
        let _ = Recipe::read(&folder.join("recipe.toml"), &[]);
    });
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = text.parse::<DataSpec>();
        let _ = toml::from_str::<DataSpec>(text);
    }
}

/// Results and annotations of the official tasks, each read as each.
pub fn results(data: &[u8]) {
    let document = || Document {
        name: "made up",
        content: data,
    };
    let _ = domains(document());
    for coverage in [Coverage::All, Coverage::Subset] {
        let _ = caption_task(document(), document(), coverage);
        let _ = vqa_task(document(), document(), coverage);
    }
}

/// `tokenizer.json`, for a language model and for the Q-Former.
pub fn tokenizer_json(data: &[u8]) {
    in_folder(&[("tokenizer.json", data), ("config.json", CONFIG)], |folder| {
        cut(folder);
        cut_word_pieces(&folder.join("tokenizer.json"));
    });
}

/// `vocab.txt` of word pieces; `vocab.json` and `merges.txt` in one, cut at the first empty line.
pub fn vocabularies(data: &[u8]) {
    in_folder(&[("vocab.txt", data)], |folder| {
        cut_word_pieces(&folder.join("vocab.txt"));
    });
    let middle = data.windows(2).position(|pair| pair == b"\n\n");
    let (vocabulary, merges) = data.split_at(middle.unwrap_or(data.len()));
    let files = [
        ("vocab.json", vocabulary),
        ("merges.txt", merges.trim_ascii_start()),
        ("config.json", CONFIG),
    ];
    in_folder(&files, cut);
}

/// A model of SentencePiece, as Llama and as T5 call it.
pub fn sentencepiece(data: &[u8]) {
    for name in ["tokenizer.model", "spiece.model"] {
        in_folder(&[(name, data), ("config.json", CONFIG)], cut);
    }
}

/// Cuts a text by the tokenizer in `folder`.
fn cut(folder: &Path) {
    let Ok(tokenizer) = LanguageTokenizer::from_hugging_face(folder) else {
        return;
    };
    let _ = tokenizer.encode_prompt(TEXT);
    if let Ok(ids) = tokenizer.encode(TEXT) {
        let _ = tokenizer.decode(&ids);
    }
}

fn cut_word_pieces(file: &Path) {
    let Ok(tokenizer) = BertTokenizer::from_file(file) else {
        return;
    };
    if let Ok(batch) = tokenizer.encode(&[TEXT], 32, Padding::Longest) {
        for row in &batch.ids {
            let _ = tokenizer.decode(row);
        }
    }
}
