//! VQA accuracy (Antol et al. 2015) with every habit of the scorer that LAVIS uses (`common/vqa_tools/vqa_eval.py`): what
//! was published was measured by it.

mod exact;
mod lemma;
mod normalise;

pub use exact::{exact_accuracy, without_types};
pub use lemma::lemmatise;
pub use normalise::{normalise_digits_and_articles, normalise_punctuation};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::EvaluationError;

/// So many equal answers of other people make a prediction entirely right.
const AGREEING: f64 = 3.0;

/// What one person answered, as the annotations of VQAv2 hold it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HumanAnswer {
    /// The answer.
    pub answer: String,
    /// How sure the person was.
    #[serde(default)]
    pub answer_confidence: Option<String>,
    /// Which of the answers to the question it is. Without it equal answers cannot be told apart, and leaving one out
    /// leaves out all of them.
    #[serde(default)]
    pub answer_id: Option<i64>,
}

/// A question as the annotations of VQAv2 hold it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AnsweredQuestion {
    /// The first words of the question, such as "what color is the".
    pub question_type: String,
    /// "yes/no", "number" or "other".
    pub answer_type: String,
    /// What people answered, commonly ten.
    pub answers: Vec<HumanAnswer>,
}

/// Accuracies in percent, rounded to two decimals as the original reports them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VqaAccuracy {
    /// Over all questions.
    pub overall: f64,
    /// By the kind of answer.
    pub per_answer_type: BTreeMap<String, f64>,
    /// By the kind of question.
    pub per_question_type: BTreeMap<String, f64>,
    /// Of each question, in the order given.
    pub per_question: Vec<f64>,
}

/// The accuracy of `predictions`, one for each of `questions`.
///
/// The prediction is normalised in full, people's answers only in their punctuation, and only where they differ: "two"
/// among the answers is matched by nothing, for a predicted "two" becomes "2".
///
/// # Errors
/// No questions, another number of predictions, a question without answers.
pub fn vqa_accuracy<Text: AsRef<str>>(
    predictions: &[Text],
    questions: &[AnsweredQuestion],
) -> Result<VqaAccuracy, EvaluationError> {
    if questions.is_empty() {
        return Err(EvaluationError::Empty { what: "questions" });
    }
    if predictions.len() != questions.len() {
        return Err(EvaluationError::Length {
            what: "predicted answers".to_owned(),
            expected: questions.len(),
            actual: predictions.len(),
        });
    }
    if let Some(question) = questions.iter().position(|question| question.answers.is_empty()) {
        return Err(EvaluationError::NoAnswer { question });
    }
    let shares: Vec<f64> = predictions
        .iter()
        .zip(questions)
        .map(|(prediction, question)| share(prediction.as_ref(), &question.answers))
        .collect();
    Ok(VqaAccuracy {
        overall: percent(&shares),
        per_answer_type: by(questions, &shares, |question| &question.answer_type),
        per_question_type: by(questions, &shares, |question| &question.question_type),
        per_question: shares.iter().map(|&share| rounded(100.0 * share)).collect(),
    })
}

/// The mean, over leaving out each answer in turn, of how far the others agree with the prediction.
fn share(prediction: &str, answers: &[HumanAnswer]) -> f64 {
    let prediction = prediction.replace(['\n', '\t'], " ");
    let prediction = normalise_digits_and_articles(&normalise_punctuation(prediction.trim()));
    let mut answers = answers.to_vec();
    if answers.iter().any(|answer| answer.answer != answers[0].answer) {
        for answer in &mut answers {
            answer.answer = normalise_punctuation(&answer.answer);
        }
    }
    let agreement = answers.iter().map(|left_out| {
        let agreeing = answers
            .iter()
            .filter(|&other| other != left_out && other.answer == prediction)
            .count();
        (agreeing as f64 / AGREEING).min(1.0)
    });
    agreement.sum::<f64>() / answers.len() as f64
}

fn by(
    questions: &[AnsweredQuestion],
    shares: &[f64],
    key: impl Fn(&AnsweredQuestion) -> &String,
) -> BTreeMap<String, f64> {
    let mut groups: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (question, &share) in questions.iter().zip(shares) {
        groups.entry(key(question).clone()).or_default().push(share);
    }
    groups
        .into_iter()
        .map(|(key, shares)| (key, percent(&shares)))
        .collect()
}

fn percent(shares: &[f64]) -> f64 {
    rounded(100.0 * shares.iter().sum::<f64>() / shares.len() as f64)
}

/// To two decimals by the exact value of the number, as Python rounds; multiplying by 100 would round twice.
fn rounded(percent: f64) -> f64 {
    format!("{percent:.2}")
        .parse()
        .expect("a printed number is a number")
}
