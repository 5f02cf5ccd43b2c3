//! FlanT5's tokenizer as LAVIS has it: the halves of captions that stand before and behind the soft prompt's turn.

use std::fs;

use blip2_golden::{Check, TensorFile, each, find, json, variants};
use blip2_llm_adapters::LanguageTokenizer;
use serde_json::Value;

#[test]
fn halves_of_captions_have_the_ids_of_lavis() {
    each(variants("lavis/t5_", "_io.safetensors"), |encoder| {
        let sizes = json("lavis/config.json").expect("sizes beside the recorded runs");
        let tokenizer = find("lavis/t5-tokenizer.json").expect("a tokenizer beside the recorded runs");
        let folder = tempfile::tempdir().unwrap();
        let parts: Value = serde_json::from_slice(&fs::read(&tokenizer).unwrap()).unwrap();
        let unknown = parts["model"]["unk_id"].as_u64();
        fs::copy(tokenizer, folder.path().join("tokenizer.json")).unwrap();
        let mut config = sizes["t5"].clone();
        config["model_type"] = "t5".into();
        fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let tokenizer = LanguageTokenizer::from_hugging_face(folder.path()).unwrap();

        let longest = sizes["max_txt_len"].as_u64().unwrap() as usize;
        let io = TensorFile::open(&format!("lavis/t5_{encoder}_io.safetensors"));
        let mut check = Check::new(&format!("lavis/t5_{encoder}"));
        for part in ["prefix", "suffix"] {
            let rows = io.texts(&format!("{part}_ids"), &format!("{part}_mask"));
            // A text that was cut to the longest may be pieced otherwise at its end, and what is unknown does not come back.
            let comes_back =
                |ids: &[u32]| ids.len() < longest && !ids.iter().any(|id| Some(u64::from(*id)) == unknown);
            for (row, ids) in rows.iter().enumerate().filter(|(_, ids)| comes_back(ids)) {
                let text = tokenizer.decode(ids).unwrap();
                let again = tokenizer.encode_prompt(&text).unwrap();
                check.identical(&format!("{part}_ids/{row}"), &again, ids);
            }
        }
    });
}
