use blip2_evaluation::EvaluationError;
use blip2_evaluation::text::{exact_match, most_frequent, normalise_answer, token_f1, unigram_entropy};
use proptest::prelude::*;

#[test]
fn normalising_keeps_the_words_that_matter() {
    for (answer, expected) in [
        ("The  Fox.", "fox"),
        ("  a pizza, an apple\tand the CAR! ", "pizza apple and car"),
        ("T-shirt", "tshirt"),
        ("theatre", "theatre"),
        ("ÉCLAIR", "éclair"),
        ("the", ""),
        ("", ""),
    ] {
        assert_eq!(normalise_answer(answer), expected, "{answer:?}");
    }
}

#[test]
fn exact_match_sees_words_and_their_order() {
    assert!(exact_match(
        "A fox to the left of a pizza.",
        "a fox to left of the pizza"
    ));
    assert!(!exact_match(
        "a pizza to the left of a fox",
        "a fox to the left of a pizza"
    ));
    assert!(!exact_match("", "fox"));
    assert!(exact_match("the", ""));
}

#[test]
fn token_f1_counts_shared_words() {
    // Shared: "two", "red"; three words predicted, four true.
    assert!((token_f1("two red apples", "two red red cars") - 4.0 / 7.0).abs() < 1e-12);
    assert_eq!(token_f1("apple apple", "apple"), 2.0 / 3.0);
    assert_eq!(token_f1("left of fox", "fox left of"), 1.0);
    assert_eq!(token_f1("dog", "cat"), 0.0);
    assert_eq!(token_f1("", "cat"), 0.0);
    assert_eq!(token_f1("the", "a"), 1.0);
}

#[test]
fn unigram_entropy_is_in_nats_a_token() {
    let ln2 = std::f64::consts::LN_2;
    assert!((unigram_entropy(&[[1_u32, 2], [2, 1]]).unwrap() - ln2).abs() < 1e-12);
    assert_eq!(unigram_entropy(&[vec![7_u32, 7, 7]]).unwrap(), 0.0);
    // A half, a quarter and a quarter.
    assert!((unigram_entropy(&[vec![1_u32, 1, 2], vec![3]]).unwrap() - 1.5 * ln2).abs() < 1e-12);
    assert_eq!(
        unigram_entropy::<Vec<u32>>(&[vec![]]),
        Err(EvaluationError::Empty { what: "tokens" })
    );
}

#[test]
fn the_most_frequent_text_does_not_depend_on_order() {
    assert_eq!(most_frequent(&["b", "a", "b"]), Some("b"));
    assert_eq!(most_frequent(&["b", "a", "c", "a", "b"]), Some("a"));
    assert_eq!(most_frequent::<String>(&[]), None);
}

proptest! {
    #![proptest_config(crate::same_every_time())]

    #[test]
    fn normalising_twice_changes_nothing(answer in "[ a-zA-Z.,'-]{0,40}") {
        let once = normalise_answer(&answer);
        prop_assert_eq!(normalise_answer(&once), once);
    }

    #[test]
    fn token_f1_is_a_symmetric_share(left in "[abc .]{0,20}", right in "[abc .]{0,20}") {
        let shared = token_f1(&left, &right);
        prop_assert!((0.0..=1.0).contains(&shared));
        prop_assert_eq!(shared, token_f1(&right, &left));
        prop_assert!(!exact_match(&left, &right) || shared == 1.0);
    }

    #[test]
    fn unigram_entropy_lies_between_nothing_and_the_uniform(tokens in prop::collection::vec(0_u32..9, 1..60)) {
        let entropy = unigram_entropy(&[tokens]).unwrap();
        prop_assert!((0.0..=9_f64.ln() + 1e-12).contains(&entropy));
    }
}
