//! Visual question answering: results `[{"question_id", "answer"}]`, annotations as in `v2_mscoco_val2014_annotations.json`. The
//! file of the questions themselves is not needed: no figure depends on how a question reads.

use serde::Deserialize;

use super::{Coverage, Document, Id, OfficialError, joined};
use crate::vqa::{AnsweredQuestion, HumanAnswer};

const QUESTION: &str = "question";

/// Answered questions, in the order of the annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VqaTask {
    /// What each question is known by.
    pub ids: Vec<Id>,
    /// What was predicted.
    pub predictions: Vec<String>,
    /// What people answered.
    pub questions: Vec<AnsweredQuestion>,
}

#[derive(Deserialize)]
struct Prediction {
    question_id: Id,
    answer: String,
}

#[derive(Deserialize)]
struct Annotations {
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Annotation {
    question_id: Id,
    question_type: String,
    answer_type: String,
    answers: Vec<HumanAnswer>,
}

/// The questions in `annotations` with people's answers, in their order.
///
/// # Errors
/// [`OfficialError`] names file, entry and id.
pub fn vqa_questions(annotations: Document) -> Result<Vec<(Id, AnsweredQuestion)>, OfficialError> {
    let of_people: Annotations = annotations.parse()?;
    let answered = of_people.annotations;
    if let Some(entry) = answered.iter().position(|one| one.answers.is_empty()) {
        return Err(OfficialError::Unanswered {
            file: annotations.name.to_owned(),
            entry,
            id: answered[entry].question_id.clone(),
        });
    }
    let question = |one: Annotation| {
        let question = AnsweredQuestion {
            question_type: one.question_type,
            answer_type: one.answer_type,
            answers: one.answers,
        };
        (one.question_id, question)
    };
    Ok(answered.into_iter().map(question).collect())
}

/// Joins the answers in `results` with those of people in `annotations`.
///
/// # Errors
/// [`OfficialError`] names file, entry and id.
pub fn vqa_task(
    results: Document,
    annotations: Document,
    coverage: Coverage,
) -> Result<VqaTask, OfficialError> {
    let predicted: Vec<Prediction> = results.parse()?;
    let answered = vqa_questions(annotations)?;
    let predicted_ids: Vec<&Id> = predicted.iter().map(|one| &one.question_id).collect();
    let annotated: Vec<&Id> = answered.iter().map(|(id, _)| id).collect();
    let found = joined(
        QUESTION,
        (results, &predicted_ids),
        (annotations, &annotated),
        coverage,
    )?;
    let mut task = VqaTask {
        ids: Vec::new(),
        predictions: Vec::new(),
        questions: Vec::new(),
    };
    for ((id, question), place) in answered.into_iter().zip(found) {
        let Some(place) = place else {
            continue;
        };
        task.ids.push(id);
        task.predictions.push(predicted[place].answer.clone());
        task.questions.push(question);
    }
    Ok(task)
}
