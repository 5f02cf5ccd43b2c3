//! Sets whose questions have one answer, and sets that do not say of which kind theirs are.

use super::{AnsweredQuestion, HumanAnswer, normalise_digits_and_articles, normalise_punctuation};
use crate::EvaluationError;

/// What people say who see that a picture does not answer the question (VizWiz).
const UNANSWERABLE: &str = "unanswerable";

/// For each question 100 where the prediction is its one true answer once both are normalised, else 0: what GQA and LAVIS's task for it
/// ask.
///
/// # Errors
/// No questions, or another number of predictions.
pub fn exact_accuracy<Text: AsRef<str>>(
    predictions: &[Text],
    truths: &[Text],
) -> Result<Vec<f64>, EvaluationError> {
    if truths.is_empty() {
        return Err(EvaluationError::Empty { what: "questions" });
    }
    if predictions.len() != truths.len() {
        return Err(EvaluationError::Length {
            what: "predicted answers".to_owned(),
            expected: truths.len(),
            actual: predictions.len(),
        });
    }
    let pairs = predictions.iter().zip(truths);
    Ok(pairs
        .map(|(prediction, truth)| {
            let normalised = |text: &str| normalise_digits_and_articles(&normalise_punctuation(text));
            match normalised(prediction.as_ref()) == normalised(truth.as_ref()) {
                true => 100.0,
                false => 0.0,
            }
        })
        .collect())
}

/// A question whose set does not say of which kind it is: known by its first two words, and its answers by the one that most
/// people gave: "yes/no", "number", "unanswerable" or "other".
pub fn without_types(question: &str, answers: &[(String, usize)]) -> AnsweredQuestion {
    let words: Vec<&str> = question.split_whitespace().take(2).collect();
    // The first of those that are as frequent.
    let most = answers.iter().rev().max_by_key(|(_, count)| *count);
    let most = most.map_or("", |(answer, _)| answer.as_str());
    let answer_type = match most {
        "yes" | "no" => "yes/no",
        UNANSWERABLE => UNANSWERABLE,
        number if number.parse::<f64>().is_ok() => "number",
        _ => "other",
    };
    let each = answers
        .iter()
        .flat_map(|(answer, count)| std::iter::repeat_n(answer, *count));
    AnsweredQuestion {
        question_type: words.join(" ").to_lowercase(),
        answer_type: answer_type.to_owned(),
        answers: (0..)
            .zip(each)
            .map(|(id, answer)| HumanAnswer {
                answer: answer.clone(),
                answer_confidence: None,
                answer_id: Some(id),
            })
            .collect(),
    }
}
