//! Visual question answering: VQAv2, OK-VQA, GQA, VizWiz.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, bail};
use blip2::{Asked, Blip2Error, GenerationConfig};
use blip2_data::sets::{DataSpec, Question};
use blip2_evaluation::official::{Document, Id, vqa_questions};
use blip2_evaluation::vqa::{AnsweredQuestion, exact_accuracy, lemmatise, vqa_accuracy, without_types};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use super::examples::Examples;
use super::measured::{Case, Measured, document};
use super::units::Unit;
use super::work::Work;

/// Kind of answer that VizWiz reports apart.
const UNANSWERABLE: &str = "unanswerable";

/// By which rules answers are judged, and in which form they are sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Protocol {
    /// Agreement with ten people
    Vqav2,
    /// The same, of answers in their base form
    Okvqa,
    /// Exactly the one true answer
    Gqa,
    /// As vqav2, what cannot be answered also by itself
    Vizwiz,
}

impl Protocol {
    /// What was `asked` for, else the protocol of those who made the data set, by its format; of others, the one true answer where
    /// each question has one.
    ///
    /// # Errors
    /// Agreement among people where each question has one answer: it would be 0 whatever is predicted.
    pub(super) fn choose(asked: Option<Self>, spec: &DataSpec, units: &[Unit]) -> Result<Self> {
        let has_one_answer_each = has_one_answer_each(units);
        let protocol = asked.unwrap_or(match spec.format.as_str() {
            "okvqa" => Self::Okvqa,
            "gqa" => Self::Gqa,
            "vizwiz" => Self::Vizwiz,
            _ if has_one_answer_each => Self::Gqa,
            _ => Self::Vqav2,
        });
        if has_one_answer_each && protocol != Self::Gqa {
            bail!(
                "each question has one answer, for which agreement among people would be 0 whatever is predicted: say --protocol gqa"
            );
        }
        Ok(protocol)
    }

    /// An answer as it is judged and sent in.
    fn judged(self, answer: &str) -> String {
        match self {
            Self::Okvqa => lemmatise(answer),
            _ => answer.to_owned(),
        }
    }

    fn result(self, question: &str, answer: &str) -> Value {
        match self {
            Self::Vqav2 | Self::Okvqa => json!({"question_id": Id::of(question), "answer": answer}),
            Self::Gqa => json!({"questionId": question, "prediction": answer}),
            Self::Vizwiz => json!({"image": question, "answer": answer}),
        }
    }
}

/// Whether there are answers, and no question has more than one person's.
fn has_one_answer_each(units: &[Unit]) -> bool {
    let people = |unit: &Unit| -> usize {
        let answers = question(unit).answers.iter();
        answers.map(|answer| people(answer.count)).sum()
    };
    units.iter().map(people).max() == Some(1)
}

/// How questions are put.
pub(super) struct Asking<'a> {
    pub(super) protocol: Protocol,
    pub(super) prompt: Option<&'a str>,
    pub(super) settings: &'a GenerationConfig,
    pub(super) examples: Option<&'a Examples>,
}

/// Asks all questions, and judges the answers where the set has people's.
pub(super) fn measure(work: &Work, asking: &Asking) -> Result<Option<Measured>> {
    if asking.settings.num_return_sequences != 1 {
        bail!("a question gets one answer: leave num_return_sequences at 1");
    }
    // Read first: hours of answers are not to end at a file of another form.
    let official = official(&work.data.spec)?;
    let known = work.each("answers", |pictures, units| -> Result<Vec<String>, Blip2Error> {
        let written = match asking.examples {
            Some(examples) => {
                let asked = units.iter().zip(pictures);
                let asked = asked.map(|(unit, picture)| examples.in_front_of(work, *unit, picture));
                let asked: Vec<Asked> = asked.collect::<Result<_, _>>()?;
                work.model
                    .answer_by_example(&asked, asking.prompt, asking.settings)?
            }
            None => {
                let questions = units
                    .iter()
                    .map(|unit| question(&work.units[*unit]).text.as_str());
                let questions: Vec<&str> = questions.collect();
                work.model
                    .answer(pictures, &questions, asking.prompt, asking.settings)?
            }
        };
        Ok(written.into_iter().map(|written| written.text).collect())
    })?;
    let Some(found) = work.whole(known)? else {
        return Ok(None);
    };
    let failed = found.iter().filter(|answer| answer.is_err()).count();
    let answered: Vec<(usize, String)> = found
        .into_iter()
        .enumerate()
        .filter_map(|(unit, answer)| Some((unit, asking.protocol.judged(&answer.ok()?))))
        .collect();
    let results = answered
        .iter()
        .map(|(unit, answer)| asking.protocol.result(&question(&work.units[*unit]).id, answer));
    let mut measured = Measured {
        results: Some(results.collect()),
        failed,
        ..Measured::default()
    };
    let asked: Vec<&Question> = answered
        .iter()
        .map(|(unit, _)| question(&work.units[*unit]))
        .collect();
    if asked.iter().all(|question| question.answers.is_empty()) {
        measured.not_measured.insert(
            "accuracy",
            "the set has no answers: the evaluation server does".to_owned(),
        );
        return Ok(Some(measured));
    }
    if let Some(question) = asked.iter().find(|question| question.answers.is_empty()) {
        bail!(
            "question {} has no answer of people, others have: leave it out",
            question.id
        );
    }
    let predictions: Vec<&str> = answered.iter().map(|(_, answer)| answer.as_str()).collect();
    let qualities = match asking.protocol {
        Protocol::Gqa => {
            let truths: Vec<&str> = asked.iter().map(|one| one.answers[0].text.as_str()).collect();
            let accuracies = exact_accuracy(&predictions, &truths)?;
            measured.figures.push(("overall".to_owned(), mean(&accuracies)));
            let questions: Vec<AnsweredQuestion> = asked.iter().map(|question| untyped(question)).collect();
            measured.figures.extend(by_kind(&questions, &accuracies));
            accuracies
        }
        protocol => agreement(&official, protocol, &asked, &predictions, &mut measured)?,
    };
    measured.cases = answered
        .iter()
        .zip(&asked)
        .zip(qualities)
        .map(|(((unit, answer), question), quality)| Case {
            unit: *unit,
            quality,
            truth: most_given(question),
            written: answer.clone(),
        })
        .collect();
    Ok(Some(measured))
}

/// The accuracy of each question by the rules of VQAv2, and its means by kind.
fn agreement(
    official: &HashMap<Id, AnsweredQuestion>,
    protocol: Protocol,
    asked: &[&Question],
    predictions: &[&str],
    measured: &mut Measured,
) -> Result<Vec<f64>> {
    let questions: Vec<AnsweredQuestion> = asked
        .iter()
        .map(|question| match official.get(&Id::of(&question.id)) {
            Some(answered) => answered.clone(),
            None => untyped(question),
        })
        .collect();
    let accuracy = vqa_accuracy(predictions, &questions)?;
    measured.figures.push(("overall".to_owned(), accuracy.overall));
    if protocol == Protocol::Vizwiz {
        let mean_of = |apart: bool| {
            let of_kind = questions.iter().zip(&accuracy.per_question);
            let of_kind: Vec<f64> = of_kind
                .filter(|(question, _)| (question.answer_type == UNANSWERABLE) == apart)
                .map(|(_, accuracy)| *accuracy)
                .collect();
            (!of_kind.is_empty()).then(|| mean(&of_kind))
        };
        for (name, apart) in [("answerable", false), (UNANSWERABLE, true)] {
            measured
                .figures
                .extend(mean_of(apart).map(|mean| (name.to_owned(), mean)));
        }
    }
    for (what, groups) in [
        ("answers", &accuracy.per_answer_type),
        ("questions", &accuracy.per_question_type),
    ] {
        for (kind, figure) in groups {
            measured.figures.push((format!("{what}: {kind}"), *figure));
        }
    }
    Ok(accuracy.per_question)
}

/// The official annotations by question, where the set was opened with them: they say of which kind each is.
fn official(spec: &DataSpec) -> Result<HashMap<Id, AnsweredQuestion>> {
    let Some(path) = &spec.annotations else {
        return Ok(HashMap::new());
    };
    let (name, content) = document(path)?;
    let questions = vqa_questions(Document {
        name: &name,
        content: &content,
    })?;
    Ok(questions.into_iter().collect())
}

/// The mean accuracy of each kind of answer and of question.
fn by_kind(questions: &[AnsweredQuestion], accuracies: &[f64]) -> impl Iterator<Item = (String, f64)> {
    let mut groups: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (question, accuracy) in questions.iter().zip(accuracies) {
        let AnsweredQuestion {
            answer_type,
            question_type,
            ..
        } = question;
        for kind in [
            format!("answers: {answer_type}"),
            format!("questions: {question_type}"),
        ] {
            groups.entry(kind).or_default().push(*accuracy);
        }
    }
    groups
        .into_iter()
        .map(|(kind, accuracies)| (kind, mean(&accuracies)))
}

/// A question whose annotations do not tell of which kind it is.
fn untyped(question: &Question) -> AnsweredQuestion {
    let answers = question.answers.iter();
    let answers = answers.map(|one| (one.text.clone(), people(one.count)));
    without_types(&question.text, &answers.collect::<Vec<_>>())
}

/// How many people a count stands for: a share of ten is as many.
fn people(count: f64) -> usize {
    let people = if count < 1.0 { 10.0 * count } else { count };
    people.round() as usize
}

fn mean(figures: &[f64]) -> f64 {
    figures.iter().sum::<f64>() / figures.len() as f64
}

pub(super) fn most_given(question: &Question) -> String {
    let answers = question.answers.iter().rev();
    let most = answers.max_by(|one, other| one.count.total_cmp(&other.count));
    most.map_or(String::new(), |answer| answer.text.clone())
}

pub(super) fn question(unit: &Unit) -> &Question {
    unit.question.as_ref().expect("units of questions have one")
}
