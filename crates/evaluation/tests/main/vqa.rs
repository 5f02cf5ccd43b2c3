//! VQA accuracy against the scorer in LAVIS, and its habits one by one.

use std::collections::{BTreeMap, HashMap};

use blip2_evaluation::EvaluationError;
use blip2_evaluation::vqa::{
    AnsweredQuestion, HumanAnswer, normalise_digits_and_articles, normalise_punctuation, vqa_accuracy,
};
use blip2_golden::Check;
use serde::Deserialize;

use crate::golden::scores;

#[derive(Deserialize)]
struct Golden {
    annotations: Vec<Annotation>,
    results: Vec<Prediction>,
    accuracy: Accuracy,
    per_question: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Annotation {
    question_id: i64,
    #[serde(flatten)]
    question: AnsweredQuestion,
}

#[derive(Deserialize)]
struct Prediction {
    question_id: i64,
    answer: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Accuracy {
    overall: f64,
    per_question_type: BTreeMap<String, f64>,
    per_answer_type: BTreeMap<String, f64>,
}

#[test]
fn golden_accuracy_is_that_of_the_original() {
    const FILE: &str = "metrics/vqa.json";
    let Some(golden) = scores::<Golden>(FILE) else {
        return;
    };
    let answers: HashMap<i64, &str> = golden
        .results
        .iter()
        .map(|prediction| (prediction.question_id, prediction.answer.as_str()))
        .collect();
    let predictions: Vec<&str> = golden
        .annotations
        .iter()
        .map(|one| answers[&one.question_id])
        .collect();
    let questions: Vec<AnsweredQuestion> = golden
        .annotations
        .iter()
        .map(|one| one.question.clone())
        .collect();
    let found = vqa_accuracy(&predictions, &questions).unwrap();
    let mut check = Check::new(FILE);
    let by_name = |scores: &BTreeMap<String, f64>| scores.clone().into_iter().collect::<Vec<_>>();
    check.identical("overall", &[found.overall], &[golden.accuracy.overall]);
    for (what, found, expected) in [
        (
            "by-question-type",
            &found.per_question_type,
            &golden.accuracy.per_question_type,
        ),
        (
            "by-answer-type",
            &found.per_answer_type,
            &golden.accuracy.per_answer_type,
        ),
    ] {
        check.identical(what, &by_name(found), &by_name(expected));
    }
    let expected: Vec<f64> = golden
        .annotations
        .iter()
        .map(|one| golden.per_question[&one.question_id.to_string()])
        .collect();
    check.identical("by-question", &found.per_question, &expected);
}

fn question(answers: &[&str], with_ids: bool) -> AnsweredQuestion {
    AnsweredQuestion {
        question_type: "what is".to_owned(),
        answer_type: "other".to_owned(),
        answers: answers
            .iter()
            .enumerate()
            .map(|(n, answer)| HumanAnswer {
                answer: (*answer).to_owned(),
                answer_confidence: None,
                answer_id: with_ids.then_some(n as i64 + 1),
            })
            .collect(),
    }
}

fn accuracy(prediction: &str, question: &AnsweredQuestion) -> f64 {
    vqa_accuracy(&[prediction], std::slice::from_ref(question))
        .unwrap()
        .overall
}

#[test]
fn three_of_ten_agree_in_part() {
    let three = question(&["fox", "fox", "fox", "a", "b", "c", "d", "e", "f", "g"], true);
    // Leaving out one of the three leaves two.
    assert_eq!(accuracy("A fox!", &three), 90.0);
}

#[test]
fn true_numbers_in_words_are_never_met_and_equal_answers_keep_their_punctuation() {
    assert_eq!(accuracy("two", &question(&["two"; 10], true)), 0.0);
    assert_eq!(accuracy("two", &question(&["2"; 10], true)), 100.0);
    assert_eq!(accuracy("fox.", &question(&["fox."; 10], true)), 0.0);
}

#[test]
fn answers_without_ids_vanish_together() {
    assert_eq!(accuracy("fox", &question(&["fox"; 10], false)), 0.0);
}

#[test]
fn punctuation_is_deleted_beside_blanks_and_becomes_one_elsewhere() {
    for (answer, expected) in [
        ("well-lit", "well lit"),
        ("well- lit", "well lit"),
        ("1,000", "1000"),
        ("1,000 a/b", "1000 ab"),
        ("3.5 m.", "3.5 m"),
        ("5.", "5"),
        ("what?", "what "),
    ] {
        assert_eq!(normalise_punctuation(answer), expected, "{answer:?}");
    }
    assert_eq!(normalise_punctuation(&".".repeat(40)).len(), 8);
}

#[test]
fn digits_articles_and_contractions() {
    assert_eq!(
        normalise_digits_and_articles("None of THE ten dont"),
        "0 of 10 don't"
    );
    assert_eq!(
        normalise_digits_and_articles("youve oclock aint"),
        "you've o'clock ain't"
    );
}

#[test]
fn bad_input_is_named() {
    let error = |predictions: &[&str], questions: &[AnsweredQuestion]| {
        vqa_accuracy(predictions, questions).unwrap_err()
    };
    assert_eq!(error(&[], &[]), EvaluationError::Empty { what: "questions" });
    assert_eq!(
        error(&["a"], &[question(&[], true)]),
        EvaluationError::NoAnswer { question: 0 }
    );
    let short = error(&[], &[question(&["a"], true)]);
    assert_eq!(short.to_string(), "predicted answers: 0 where 1 are needed");
}
