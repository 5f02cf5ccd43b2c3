//! Cleaning of text as the original training code does it, and word pieces.

use blip2_data::text::{BertTokenizer, Padding, TextError, caption, question};
use blip2_golden::fixture;
use std::path::Path;

fn tokenizer() -> BertTokenizer {
    BertTokenizer::from_file(&fixture("lavis/bert-vocab.txt")).expect("the golden vocabulary")
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
fn the_decode_token_follows_the_vocabulary() {
    let lines = std::fs::read_to_string(fixture("lavis/bert-vocab.txt"))
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
fn words_are_told_with_their_tokens() {
    let tokenizer = tokenizer();
    let text = "Two cats, playing";
    let row = &tokenizer
        .encode(&[text], 32, Padding::Longest)
        .expect("tokens")
        .ids[0];
    let words = tokenizer.words(text, 32).expect("words");
    let spelled: Vec<&str> = words.iter().map(|(word, _)| word.as_str()).collect();
    assert_eq!(spelled, ["Two", "cats", ",", "playing"]);
    let cut = |word: &str| {
        tokenizer
            .encode(&[word], 32, Padding::Longest)
            .expect("tokens")
            .ids[0]
            .clone()
    };
    for (word, tokens) in &words {
        let alone = cut(word);
        assert_eq!(row[tokens.clone()], alone[1..alone.len() - 1], "{word}");
    }
    assert!(words[1].1.len() > 1, "a word of several pieces is one word");
    assert_eq!(words.last().expect("words").1.end, row.len() - 1);
    // What is cut off with the row is no word of it.
    let short = tokenizer.words(text, 4).expect("words");
    assert_eq!(short.last().expect("words").1.end, 3);
}

#[test]
fn what_is_written_reads_as_the_file_did() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokenizer.json");
    let texts = ["A dog runs, on the beach!", "two zebras", ""];
    for name in ["lavis/bert-vocab.txt", "hf/itm-tiny/tokenizer.json"] {
        let first = BertTokenizer::from_file(&fixture(name)).expect("a tokenizer");
        std::fs::write(&path, first.to_json().expect("a form")).expect("written");
        let second = BertTokenizer::from_file(&path).expect("a tokenizer");
        let ids = |tokenizer: &BertTokenizer| {
            tokenizer
                .encode(&texts, 32, Padding::Longest)
                .expect("tokens")
                .ids
        };
        assert_eq!(ids(&first), ids(&second), "{name}");
        assert_eq!(first.decode_id(), second.decode_id(), "{name}");
        // Others read it, too: what stands around a text is in the file.
        let other = tokenizers::Tokenizer::from_file(&path).expect("a tokenizer");
        for (text, row) in texts.iter().zip(ids(&first)) {
            let read = other.encode(*text, true).expect("tokens");
            assert_eq!(read.get_ids(), &row[..read.get_ids().len()], "{name}");
            assert!(
                row[read.get_ids().len()..].iter().all(|id| *id == first.pad_id()),
                "{name}"
            );
        }
    }
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
