//! Cleaning and word pieces against the original training code.

use crate::golden;
use blip2_data::text::{BertTokenizer, Padding, TextError, caption, question};
use std::path::Path;

fn tokenizer() -> BertTokenizer {
    BertTokenizer::from_file(&golden::folder("lavis/bert-vocab.txt")).expect("the golden vocabulary")
}

#[test]
fn captions_are_cleaned_like_the_reference() {
    assert_eq!(caption("A Dog.  Runs!\n", ""), "a dog runs");
    assert_eq!(
        caption("(two) \"cats\"; #1: * ~ what?, it's", "a photo of "),
        "a photo of two cats 1 what?, it's"
    );
    assert_eq!(
        caption("one\ttab \t and\u{1f}\u{1f}more", ""),
        "one\ttab and more"
    );
    assert_eq!(caption("", "x "), "x ");
    let long = vec!["word"; 70].join(" ");
    assert_eq!(caption(&long, "").split(' ').count(), 50);
}

#[test]
fn questions_lose_punctuation_without_a_space() {
    assert_eq!(question("What is (this), e.g. here?  "), "what is this, eg here?");
    // Only the right end is stripped, and inner runs of spaces stay: so does the reference.
    assert_eq!(question(" Is  it ~ so"), " is  it  so");
    assert_eq!(question(&"a ".repeat(80)).split(' ').count(), 50);
}

#[test]
fn the_captions_of_the_training_step_get_its_ids() {
    let sizes = golden::json("lavis/config.json");
    let max_length = sizes["max_txt_len"].as_u64().expect("a length") as usize;
    for kind in ["eva", "clip"] {
        let trajectory = golden::json(&format!("lavis/stage1_{kind}_trajectory.json"));
        let captions: Vec<&str> = trajectory["captions"]
            .as_array()
            .expect("captions")
            .iter()
            .filter_map(|text| text.as_str())
            .collect();
        let batch = tokenizer()
            .encode(&captions, max_length, Padding::MaxLength)
            .expect("tokens");

        let bytes = golden::bytes(&format!("lavis/stage1_{kind}_io.safetensors"));
        let tensors = golden::tensors(&bytes);
        let reference = |name: &str| -> Vec<i64> {
            let view = tensors
                .tensor(name)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(view.shape(), batch.shape());
            view.data()
                .as_chunks::<8>()
                .0
                .iter()
                .map(|bytes| i64::from_le_bytes(*bytes))
                .collect()
        };
        let ids: Vec<i64> = batch.ids.iter().flatten().map(|id| i64::from(*id)).collect();
        let mask: Vec<i64> = batch.mask.iter().flatten().map(|real| i64::from(*real)).collect();
        assert_eq!(ids, reference("input_ids"));
        assert_eq!(mask, reference("attention_mask"));

        for (row, text) in batch.ids.iter().zip(&captions) {
            assert_eq!(tokenizer().decode(row).expect("known ids"), *text);
        }
    }
}

#[test]
fn the_decode_token_follows_the_vocabulary() {
    let lines = std::fs::read_to_string(golden::folder("lavis/bert-vocab.txt"))
        .expect("a file")
        .lines()
        .count();
    let tokenizer = tokenizer();
    assert_eq!(tokenizer.decode_id() as usize, lines);
    assert_eq!(tokenizer.vocabulary_size(), lines + 1);
    assert_eq!(
        tokenizer
            .decode(&[tokenizer.decode_id(), tokenizer.class_id()])
            .expect("specials"),
        ""
    );
}

#[test]
fn rows_are_cut_and_padded() {
    let tokenizer = tokenizer();
    let texts = ["a dog", "a dog runs on the beach"];
    let longest = tokenizer.encode(&texts, 5, Padding::Longest).expect("tokens");
    assert_eq!(longest.shape(), [2, 5]);
    assert_eq!(
        longest.ids[1][4],
        tokenizer.separator_id(),
        "a cut text still ends with [SEP]"
    );
    assert_eq!(longest.ids[0][4], tokenizer.pad_id());
    assert_eq!(longest.mask[0], [true, true, true, true, false]);
    let none: [&str; 0] = [];
    assert_eq!(
        tokenizer
            .encode(&none, 5, Padding::Longest)
            .expect("nothing")
            .shape(),
        [0, 0]
    );
    assert!(matches!(
        tokenizer.encode(&texts, 1, Padding::Longest),
        Err(TextError::TooShort(1))
    ));
}

#[test]
fn a_file_that_is_no_vocabulary_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("words.txt");
    std::fs::write(&path, "[PAD]\n[UNK]\nhello\n").expect("written");
    let message = BertTokenizer::from_file(&path).expect_err("no [CLS]").to_string();
    assert!(
        message.contains("words.txt") && message.contains("[CLS]"),
        "{message}"
    );
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, "{\"version\": ").expect("written");
    assert!(matches!(
        BertTokenizer::from_file(&path),
        Err(TextError::Vocabulary { .. })
    ));
    assert!(matches!(
        BertTokenizer::from_file(Path::new("none.txt")),
        Err(TextError::Read { .. })
    ));
}
