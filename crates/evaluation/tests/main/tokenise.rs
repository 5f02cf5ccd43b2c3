//! The tokeniser against what the scorer's own one gave for captions of ours (`tests/data/tokens.json`, in the order in
//! which it read them), and against what must hold for any captions.

use blip2_evaluation::caption::tokenise;
use proptest::prelude::*;

use crate::same_every_time;

fn observed() -> Vec<(String, String)> {
    serde_json::from_str(include_str!("../data/tokens.json")).unwrap()
}

#[test]
fn tokens_are_those_that_the_original_was_seen_to_give() {
    let observed = observed();
    let captions: Vec<&str> = observed.iter().map(|(caption, _)| caption.as_str()).collect();
    for (found, (caption, expected)) in tokenise(&captions).iter().zip(&observed) {
        assert_eq!(found, expected, "{caption:?}");
    }
}

#[test]
fn the_next_caption_says_whose_period_it_is() {
    assert_eq!(
        tokenise(&["a shirt of size m.", "The back of a shirt"])[0],
        "a shirt of size m"
    );
    assert_eq!(
        tokenise(&["a shirt of size m.", "the back of a shirt"])[0],
        "a shirt of size m."
    );
    assert_eq!(tokenise(&["a shirt of size m."])[0], "a shirt of size m.");
}

#[test]
fn no_captions_have_no_tokens_and_an_empty_one_has_none() {
    assert!(tokenise::<&str>(&[]).is_empty());
    assert_eq!(
        tokenise(&["", "a dog", " ", "\u{ad}", "!"]),
        ["", "a dog", "", "", ""]
    );
}

#[test]
fn a_line_break_inside_of_a_caption_is_a_blank() {
    assert_eq!(tokenise(&["a dog\nand a cat", "x"]), ["a dog and a cat", "x"]);
}

proptest! {
    #![proptest_config(same_every_time())]

    #[test]
    fn any_text_is_tokenised_line_by_line(captions in prop::collection::vec(any::<String>(), 0..6)) {
        let tokens = tokenise(&captions);
        prop_assert_eq!(tokens.len(), captions.len());
        for line in &tokens {
            prop_assert!(!line.contains('\n') && !line.starts_with(' ') && !line.ends_with(' ') && !line.contains("  "));
        }
    }

    #[test]
    fn plain_words_stay_as_they_are(words in prop::collection::vec("[b-z]{2,8}", 1..12)) {
        let known = ["cannot", "gimme", "gonna", "gotta", "lemme", "wanna"];
        prop_assume!(!words.iter().any(|word| known.contains(&word.as_str())));
        let caption = words.join(" ");
        prop_assert_eq!(&tokenise(&[caption.as_str()])[0], &caption);
        let shouted = format!("{}!", caption.to_uppercase());
        prop_assert_eq!(&tokenise(&[shouted])[0], &caption);
    }

    #[test]
    fn a_possessive_is_a_token_of_its_own(word in "[b-z]{2,8}") {
        let caption = format!("the {word}'s bone");
        let expected = format!("the {word} 's bone");
        prop_assert_eq!(&tokenise(&[caption])[0], &expected);
    }
}
