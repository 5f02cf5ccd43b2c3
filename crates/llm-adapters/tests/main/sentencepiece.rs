//! SentencePiece models without a `tokenizer.json`: ids equal to those of the fast tokenizers of `transformers`, which
//! `tests/peer/sentencepiece_models.py` recorded.

use std::fs;
use std::path::{Path, PathBuf};

use blip2_llm_adapters::{LanguageTokenizer, TokenizerError};
use serde_json::{Value, json};
use tempfile::TempDir;

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/sentencepiece")
        .join(name)
}

fn copy(family: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(recorded(family)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn write(folder: &Path, file: &str, content: &Value) {
    fs::write(folder.join(file), content.to_string()).unwrap();
}

/// Asserts that the tokenizer in `folder` gives all recorded texts the ids under `key`, with `front` in front of them there.
fn assert_ids(folder: &Path, key: &str, front: &[u32]) {
    let cases: Value = serde_json::from_slice(&fs::read(recorded("cases.json")).unwrap()).unwrap();
    let texts: Vec<String> = serde_json::from_value(cases["texts"].clone()).unwrap();
    let ids: Vec<Vec<u32>> = serde_json::from_value(cases[key].clone()).unwrap();
    assert!(texts.len() > 200 && texts.len() == ids.len());
    let tokenizer = LanguageTokenizer::from_hugging_face(folder).unwrap();
    for (text, expected) in texts.iter().zip(&ids) {
        let actual = tokenizer.encode_prompt(text).unwrap();
        assert_eq!(actual, [front, expected].concat(), "{text:?}");
    }
}

#[test]
fn the_unigram_model_of_a_t5() {
    assert_ids(&recorded("t5"), "t5", &[]);
}

#[test]
fn the_byte_pairs_of_a_llama() {
    assert_ids(&recorded("llama"), "llama", &[]);
}

#[test]
fn a_llama_that_is_told_how_to_begin() {
    let folder = copy("llama");
    write(
        folder.path(),
        "tokenizer_config.json",
        &json!({"legacy": false, "add_bos_token": true}),
    );
    // What was recorded begins with the token; so does a Llama that is told nothing.
    assert_ids(folder.path(), "llama_not_legacy", &[]);
    write(folder.path(), "tokenizer_config.json", &json!({"legacy": false}));
    assert_ids(folder.path(), "llama_not_legacy", &[]);
    write(
        folder.path(),
        "tokenizer_config.json",
        &json!({"add_bos_token": false, "add_eos_token": true}),
    );
    let tokenizer = LanguageTokenizer::from_hugging_face(folder.path()).unwrap();
    let plain = tokenizer.encode("a photo of").unwrap();
    assert_eq!(
        tokenizer.encode_prompt("a photo of").unwrap(),
        [plain, vec![2]].concat()
    );
}

#[test]
fn tokens_that_other_files_add() {
    let folder = copy("t5");
    let before = LanguageTokenizer::from_hugging_face(folder.path()).unwrap();
    let first = before.encode("<extra_id_0>").unwrap()[0] + 1;
    write(folder.path(), "added_tokens.json", &json!({"<image>": first}));
    let tokenizer = LanguageTokenizer::from_hugging_face(folder.path()).unwrap();
    assert_eq!(tokenizer.encode("a <image>").unwrap().last(), Some(&first));
    let error = tokenizer.encode_written("a <image>").unwrap_err();
    assert!(
        matches!(&error, TokenizerError::Reserved { token } if token == "<image>"),
        "{error}"
    );
    write(folder.path(), "added_tokens.json", &json!({"<image>": first + 7}));
    let error = LanguageTokenizer::from_hugging_face(folder.path())
        .err()
        .expect("another id");
    assert!(error.to_string().contains("`<image>`"), "{error}");
}

#[test]
fn decoding_leads_back_to_the_text() {
    for (family, text) in [
        ("t5", "a photo of two red cats"),
        ("llama", "a photo of  two red cats: 日本 🙂"),
    ] {
        let tokenizer = LanguageTokenizer::from_hugging_face(&recorded(family)).unwrap();
        let ids = tokenizer.encode_prompt(text).unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    }
}

#[test]
fn special_tokens_that_no_text_of_the_training_held_are_refused() {
    let refused = |family: &str, text: &str| {
        let tokenizer = LanguageTokenizer::from_hugging_face(&recorded(family)).unwrap();
        matches!(
            tokenizer.encode_written(text),
            Err(TokenizerError::Reserved { .. })
        )
    };
    for (family, text, expected) in [
        ("t5", "fill <extra_id_0> in", false),
        ("t5", "a</s>", false),
        ("llama", "a</s>", false),
        ("llama", "a <unk> b", true),
        ("llama", "unk", false),
    ] {
        assert_eq!(refused(family, text), expected, "{family}: {text}");
    }
}

#[test]
fn models_that_are_damaged_are_refused() {
    for (family, file) in [("t5", "spiece.model"), ("llama", "tokenizer.model")] {
        let folder = copy(family);
        let whole = fs::read(folder.path().join(file)).unwrap();
        for part in 0..20 {
            fs::write(folder.path().join(file), &whole[..whole.len() * part / 20]).unwrap();
            // A cut between two fields leaves a smaller model.
            if let Err(error) = LanguageTokenizer::from_hugging_face(folder.path()) {
                assert!(error.to_string().contains(file), "{error}");
            }
        }
        fs::write(folder.path().join(file), b"not a model").unwrap();
        let error = LanguageTokenizer::from_hugging_face(folder.path())
            .err()
            .expect(file);
        assert!(error.to_string().contains(file), "{error}");
    }
    let folder = copy("t5");
    fs::remove_file(folder.path().join("spiece.model")).unwrap();
    let error = LanguageTokenizer::from_hugging_face(folder.path())
        .err()
        .expect("no tokenizer");
    assert!(error.to_string().contains("spiece.model"), "{error}");
}

#[test]
fn special_ids_are_those_of_the_family_unless_the_file_says_otherwise() {
    for (family, said, expected) in [
        ("t5", json!({}), (None, 1, 0)),
        ("llama", json!({}), (Some(1), 2, 2)),
        (
            "llama",
            json!({"pad_token_id": -1, "eos_token_id": [5, 6]}),
            (Some(1), 5, 5),
        ),
        (
            "llama",
            json!({"bos_token_id": null, "pad_token_id": 0}),
            (None, 2, 0),
        ),
        (
            "t5",
            json!({"eos_token_id": null}),
            (None, LanguageTokenizer::NO_ID, 0),
        ),
        (
            "llama",
            json!({"eos_token_id": -1}),
            (Some(1), LanguageTokenizer::NO_ID, 0),
        ),
    ] {
        let folder = copy(family);
        let mut config = said.clone();
        config["model_type"] = family.into();
        write(folder.path(), "config.json", &config);
        let tokenizer = LanguageTokenizer::from_hugging_face(folder.path()).unwrap();
        let ids = (
            tokenizer.beginning(),
            tokenizer.end_of_text(),
            tokenizer.padding(),
        );
        assert_eq!(ids, expected, "{family} {said}");
        assert!(!tokenizer.ends().contains(&LanguageTokenizer::NO_ID));
    }
}

#[test]
fn the_prompts_of_a_t5_end_also_where_its_texts_do_not() {
    let before = LanguageTokenizer::from_hugging_face(&recorded("t5")).unwrap();
    let folder = copy("t5");
    write(
        folder.path(),
        "config.json",
        &json!({"model_type": "t5", "eos_token_id": null}),
    );
    let tokenizer = LanguageTokenizer::from_hugging_face(folder.path()).unwrap();
    let text = "a photo of";
    assert_eq!(
        tokenizer.encode_prompt(text).unwrap(),
        before.encode_prompt(text).unwrap()
    );
    assert!(tokenizer.ends().is_empty());
}

#[test]
fn a_model_of_which_a_byte_was_changed_panics_nowhere() {
    for (family, file) in [("t5", "spiece.model"), ("llama", "tokenizer.model")] {
        let folder = copy(family);
        let path = folder.path().join(file);
        let whole = fs::read(&path).unwrap();
        for place in (0..whole.len()).step_by(13) {
            let mut changed = whole.clone();
            changed[place] ^= 0x95;
            fs::write(&path, &changed).unwrap();
            if let Ok(tokenizer) = LanguageTokenizer::from_hugging_face(folder.path()) {
                // Whatever it says, it says it.
                let _ = tokenizer.encode_prompt("ﬁne ½ №\tcafé\u{3000}🙂 e\u{301}");
            }
        }
    }
}
