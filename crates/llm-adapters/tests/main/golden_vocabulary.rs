//! Tokenizers of a vocabulary and its merges: OPT's as LAVIS has it, and those that begin a text with a space.

use std::collections::BTreeMap;

use blip2_golden::{Check, TensorFile, each, find, json, variants};
use blip2_llm_adapters::LanguageTokenizer;
use serde_json::json;
use tempfile::TempDir;

use super::loading::{id, tokenizer};

#[test]
fn vocabulary_and_merges_cut_captions_as_lavis_does() {
    let (Some(vocabulary), Some(merges), Some(config)) = (
        find("lavis/opt-vocab.json"),
        find("lavis/opt-merges.txt"),
        json("lavis/config.json"),
    ) else {
        return;
    };
    let tokens = json("lavis/opt-vocab.json").unwrap();
    let id = |key: &str| tokens[config["opt"][key].as_str().unwrap()].clone();
    let folder = TempDir::new().unwrap();
    std::fs::copy(vocabulary, folder.path().join("vocab.json")).unwrap();
    std::fs::copy(merges, folder.path().join("merges.txt")).unwrap();
    let special = json!({
        "model_type": "opt",
        "bos_token_id": id("bos_token_id"),
        "eos_token_id": id("bos_token_id"),
        "pad_token_id": id("pad_token_id"),
    });
    std::fs::write(folder.path().join("config.json"), special.to_string()).unwrap();
    let tokenizer = LanguageTokenizer::from_hugging_face(folder.path()).unwrap();

    each(variants("lavis/opt_", "_io.safetensors"), |encoder| {
        let name = format!("lavis/opt_{encoder}_io.safetensors");
        let recorded = TensorFile::open(&name);
        let longest = recorded.shape("input_ids")[1];
        let mut check = Check::new(&name);
        for (row, ids) in recorded.texts("input_ids", "attention_mask").iter().enumerate() {
            let text = tokenizer.decode(ids).unwrap();
            // A text that was cut to the longest may be merged otherwise at its end.
            if ids.len() < longest {
                let again = tokenizer.encode_prompt(&text).unwrap();
                check.identical(&format!("caption ids/{row}"), &again, ids);
            }
            // No special token and no mark of a space is left in it.
            assert!(!text.contains(['<', 'Ġ', '▁']), "`{text}`");
        }
    });
}

/// Cut as `transformers` 5.23 cuts these texts with the same files.
#[test]
fn a_text_that_is_to_begin_with_a_space_does() {
    let folder = TempDir::new().unwrap();
    let write = |file: &str, content: String| std::fs::write(folder.path().join(file), content).unwrap();
    let vocabulary: BTreeMap<String, u32> = tokenizer().get_vocab(true).into_iter().collect();
    write("vocab.json", json!(vocabulary).to_string());
    write("merges.txt", "#version: 0.2\nh e\nt he\nĠ the\n1 2\n".to_owned());
    write(
        "tokenizer_config.json",
        json!({"add_prefix_space": true}).to_string(),
    );
    for (family, line) in [("opt", &["Ġthe", "Ċ"][..]), ("qwen2", &["Ġthe", "Ġ", "Ċ"])] {
        let config = json!({"model_type": family, "bos_token_id": 1, "eos_token_id": 0, "pad_token_id": 0});
        write("config.json", config.to_string());
        let tokenizer = LanguageTokenizer::from_hugging_face(folder.path()).unwrap();
        for (text, expected) in [
            ("the", &["Ġthe"][..]),
            (" the", &["Ġthe"]),
            ("the the", &["Ġthe", "Ġthe"]),
            ("the<|end|>the", &["Ġthe", "<|end|>", "Ġthe"]),
            ("the\n", line),
            ("", &[]),
        ] {
            let expected: Vec<u32> = expected.iter().map(|token| id(token)).collect();
            assert_eq!(tokenizer.encode(text).unwrap(), expected, "{family}: {text:?}");
        }
    }
}
