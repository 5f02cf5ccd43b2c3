//! OPT's tokenizer as LAVIS has it: a vocabulary and its merges.

use blip2_golden::{Check, TensorFile, each, find, json, variants};
use blip2_llm_adapters::LanguageTokenizer;
use serde_json::json;
use tempfile::TempDir;

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
