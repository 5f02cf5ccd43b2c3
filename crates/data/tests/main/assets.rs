//! What can only be proved with the real vocabulary, which `cargo xtask assets` puts under `$BLIP2_HOME`.

use blip2_data::text::{BertTokenizer, Padding};
use std::path::PathBuf;

/// The assets' home, if the named file is there; else the skipped test says so.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn home(needed: &str) -> Option<PathBuf> {
    let home = std::env::var_os("BLIP2_HOME").map(PathBuf::from);
    let found = home.filter(|home| home.join(needed).is_file());
    if found.is_none() {
        eprintln!("SKIPPED: $BLIP2_HOME/{needed} is absent; run `cargo xtask assets` and set BLIP2_HOME");
    }
    found
}

#[test]
fn both_files_of_a_tokenizer_give_the_same_ids() {
    let Some(home) = home("assets/bert/tokenizer.json") else {
        return;
    };
    let read =
        |name: &str| BertTokenizer::from_file(&home.join("assets/bert").join(name)).expect("a tokenizer");
    let texts = [
        "Two Foxes to the LEFT of a café!",
        "what's above the light bulb?",
        "",
        "漢字 and naïve piñatas",
    ];
    let [words, json] = ["vocab.txt", "tokenizer.json"]
        .map(|name| read(name).encode(&texts, 12, Padding::MaxLength).expect("tokens"));
    assert_eq!(words, json);
}
