//! Rows out of data sets: a mixture in its order, read and decoded ahead by the loader's threads.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use blip2::Reads;
use blip2_data::Stream;
use blip2_data::loader::{self, DataLoader, LoaderOptions, Transform};
use blip2_data::mixture::Mixture;
use blip2_data::sets::Question;
use blip2_data::text::{caption, question};

use crate::{Row, RowSource, TrainError};

/// A mixture of data sets as a source of rows. The rows of a step are those at the positions `(step - 1) * batch` and on, so that
/// a run that goes on at any step sees the very samples that come next.
pub struct DataRows {
    /// What is read.
    pub mixture: Arc<Mixture>,
    /// What is done with each picture.
    pub transform: Arc<dyn Transform>,
    /// Batch, threads, and what happens to damaged samples.
    pub options: LoaderOptions,
    /// What stands in front of an answer, with `{}` for the question; absent: sets of questions are refused.
    pub question_prompt: Option<String>,
    /// Several ways to say what is in front, by the name of a set, with `{}` for the question where it has questions: one of them is
    /// drawn each time.
    pub templates: BTreeMap<String, Vec<String>>,
    /// What the Q-Former reads beside the picture.
    pub reads: Reads,
    loader: Option<DataLoader>,
}

impl DataRows {
    /// Nothing is read before rows are asked for.
    pub fn new(mixture: Arc<Mixture>, transform: Arc<dyn Transform>, options: LoaderOptions) -> Self {
        Self {
            mixture,
            transform,
            options,
            question_prompt: None,
            templates: BTreeMap::new(),
            reads: Reads::Nothing,
            loader: None,
        }
    }

    fn row(&self, row: loader::Row) -> Result<Row, TrainError> {
        let part = &self.mixture.parts()[row.set];
        let set = part.set.name();
        let template = self.template(set, row.position);
        let asked = row.question.as_ref().map(|asked| question(&asked.text));
        let is_caption = row.text.is_some();
        let (prompt, text) = match (
            row.text,
            &row.question,
            template.or(self.question_prompt.as_deref()),
        ) {
            (Some(_), ..) if template.is_some_and(|words| words.contains(PLACE)) => {
                return Err(refused(
                    set,
                    template,
                    "stands in front of a caption, and has the place of a question",
                ));
            }
            (None, Some(_), Some(words)) if !words.contains(PLACE) && self.reads != Reads::Question => {
                return Err(refused(
                    set,
                    Some(words),
                    "stands in front of an answer, and has no place for the question",
                ));
            }
            (Some(text), ..) => {
                let prompt = template.map(str::to_owned).or_else(|| part.prompt.clone());
                (prompt, caption(&text, ""))
            }
            (None, Some(question), Some(words)) => (
                Some(words.replace(PLACE, asked.as_deref().unwrap_or_default())),
                self.answer(question, row.position)
                    .ok_or_else(|| unusable(set, &row.key, "its question has no answer to learn"))?,
            ),
            _ => return Err(unusable(set, &row.key, "it has no text to learn")),
        };
        let read = match self.reads {
            Reads::Nothing => None,
            Reads::Question => asked.or_else(|| prompt.clone()),
            Reads::Prompt => prompt.clone(),
        };
        Ok(Row {
            index: self.mixture.number(row.set, row.index),
            key: format!("{set}/{}", row.key),
            answers: row.question.is_some() && !is_caption,
            prompt,
            read,
            image_id: row.image_id.map(|id| format!("{set}/{id}")),
            text,
            picture: Some(row.picture),
        })
    }

    /// One of the set's templates, each as likely.
    fn template(&self, set: &str, position: u64) -> Option<&str> {
        let templates = self.templates.get(set)?;
        let share = Stream::new(self.mixture.seed(), "template", position).unit();
        let drawn = (f64::from(share) * templates.len() as f64) as usize;
        templates
            .get(drawn.min(templates.len().saturating_sub(1)))
            .map(String::as_str)
    }

    /// One of the answers, as likely as people gave it.
    fn answer(&self, question: &Question, position: u64) -> Option<String> {
        let all: f64 = question.answers.iter().map(|answer| answer.count).sum();
        let mut point = f64::from(Stream::new(self.mixture.seed(), "answer", position).unit()) * all;
        let drawn = question.answers.iter().find(|answer| {
            point -= answer.count;
            point < 0.0
        });
        drawn
            .or(question.answers.last())
            .map(|answer| answer.text.clone())
    }
}

/// Where the question stands in what is put around it.
const PLACE: &str = "{}";

fn refused(set: &str, words: Option<&str>, problem: &str) -> TrainError {
    let words = words.unwrap_or_default();
    TrainError::other(format!(
        "`{words}` {problem}, {PLACE}: change templates.{set} or language_model.question_prompt"
    ))
}

fn unusable(set: &str, key: &str, problem: &str) -> TrainError {
    TrainError::other(format!("sample {key} of {set}: {problem}"))
}

impl RowSource for DataRows {
    fn rows(&mut self, step: u64) -> Result<Vec<Row>, TrainError> {
        self.some_rows(step, 0..self.options.batch as usize)
    }

    fn some_rows(&mut self, step: u64, places: Range<usize>) -> Result<Vec<Row>, TrainError> {
        let places = places.start as u64..places.end as u64;
        if self.options.rows != places {
            self.options.rows = places;
            self.loader = None;
        }
        let position = (step - 1) * self.options.batch;
        let loader = match self.loader.take().filter(|loader| loader.position() == position) {
            Some(loader) => loader,
            None => DataLoader::new(
                self.mixture.clone(),
                self.transform.clone(),
                &self.options,
                position,
            )?,
        };
        let batch = self.loader.insert(loader).next_batch()?;
        batch.rows.into_iter().map(|row| self.row(row)).collect()
    }
}
