//! Answers to questions, also behind examples: other pictures with a question and its answer each, in one text with what is asked.

use std::collections::BTreeMap;

use blip2_data::pixels::RgbImage;
use blip2_data::text;
use blip2_generation::{Event, Generated, GenerationConfig, GenerationError, Request, RowId};

use crate::captions::written;
use crate::encoded::EncodedPicture;
use crate::{Blip2, Blip2Error, Piece, Written};

/// What ends an example where the model has no line break to end a text with: as in the paper's dialogues.
const STOP: &str = ". ";

/// A picture with a question about it and the answer.
#[derive(Clone, Debug)]
pub struct Example {
    /// What is seen.
    pub picture: EncodedPicture,
    /// As it was asked.
    pub question: String,
    /// As people gave it.
    pub answer: String,
}

/// A question about a picture, and what stands in front of it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What is seen.
    pub picture: EncodedPicture,
    /// What is asked.
    pub question: String,
    /// The first is the first that is read.
    pub examples: Vec<Example>,
}

impl Blip2 {
    /// Answers one question a picture, each cleaned as LAVIS cleans it and put into `prompt` in the place of `{}`; absent: the
    /// model's own. A Q-Former that was trained to read the question reads it without these words.
    ///
    /// # Errors
    /// As for [`Blip2::caption`].
    pub fn answer(
        &self,
        pictures: &[RgbImage],
        questions: &[&str],
        prompt: Option<&str>,
        settings: &GenerationConfig,
    ) -> Result<Vec<Written>, Blip2Error> {
        let put = questions.iter().map(|question| self.evaluated(question, prompt));
        let (prompts, read): (Vec<_>, Vec<_>) = put.unzip();
        self.write(pictures, &prompts, &read, settings)
    }

    /// The same of questions with examples in front: picture, prompt and answer of each, as training writes them (a line break
    /// ends an answer, or with a model that has none a full stop), then picture and prompt of what is asked. What is drawn depends
    /// on the seed and on all of these.
    ///
    /// # Errors
    /// As for [`Blip2::caption`]; [`Blip2Error::Generation`] where examples and answer are longer than what the language model can
    /// read.
    pub fn answer_by_example(
        &self,
        asked: &[Asked],
        prompt: Option<&str>,
        settings: &GenerationConfig,
    ) -> Result<Vec<Written>, Blip2Error> {
        let mut session = self.session(0)?;
        for one in asked {
            session.admit(self.request_by_example(one, prompt, settings)?)?;
        }
        let mut done: BTreeMap<RowId, Result<Written, Blip2Error>> = BTreeMap::new();
        while session.requests() > 0 {
            session.step(&mut |event| {
                if let Event::Done { row, texts } = event {
                    done.insert(row, self.first(texts));
                }
            })?;
        }
        done.into_values().collect()
    }

    fn request_by_example(
        &self,
        asked: &Asked,
        prompt: Option<&str>,
        settings: &GenerationConfig,
    ) -> Result<Request, Blip2Error> {
        let tokenizer = &self.language_model()?.tokenizer;
        let stop = match tokenizer.end() == tokenizer.end_of_text() {
            true => STOP,
            false => "\n",
        };
        let (mut pieces, mut read) = (Vec::new(), Vec::new());
        for Example {
            picture,
            question,
            answer,
        } in &asked.examples
        {
            let (text, own) = self.evaluated(question, prompt);
            pieces.push(Piece::Picture(picture.clone()));
            pieces.push(Piece::Text(format!("{text} {}{stop}", answer.trim())));
            read.push(own);
        }
        let (text, own) = self.evaluated(&asked.question, prompt);
        pieces.push(Piece::Picture(asked.picture.clone()));
        pieces.push(Piece::Text(text));
        read.push(own);
        let read = read.iter().map(String::as_str);
        self.request_reading(&pieces, read, settings, 0, None)
    }

    fn first(&self, texts: Result<Vec<Generated>, GenerationError>) -> Result<Written, Blip2Error> {
        let text = texts?.into_iter().next();
        let text = text.expect("settings ask for at least one text");
        Ok(written(self.decode(&text.ids)?, text))
    }

    /// What the Q-Former reads beside the picture while [`Blip2::answer`] answers; none where it sees the picture alone.
    pub fn read_beside(&self, question: &str, prompt: Option<&str>) -> Option<String> {
        self.reads_instructions()
            .then(|| self.evaluated(question, prompt).1)
    }

    /// What stands in front of an answer to `question`, and what the Q-Former reads of it, where it reads a text.
    fn evaluated(&self, question: &str, prompt: Option<&str>) -> (String, String) {
        self.put(
            text::question(question),
            prompt.unwrap_or(&self.usage.question_prompt),
        )
    }
}
