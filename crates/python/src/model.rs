//! The model that Python holds.

use std::sync::Arc;

use blip2::{
    Blip2, Blip2Error, DecodeOptions, GenerationConfig, GenerationError, OpenedBatch, RgbImage, StopFlag,
    Written, join_vectors,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::arrays::array;
use crate::chat::Chat;
use crate::failure::Failure;
use crate::options::Options;
use crate::pictures::{Picture, Pictures};
use crate::stream::Stream;
use crate::work::done;
use crate::written::{Match, Text, one, shaped};

/// A model that was loaded (`blip2.load`). Threads may share it.
#[pyclass(frozen, module = "blip2")]
pub(crate) struct Model {
    pub(crate) model: Arc<Blip2>,
    /// The model as it was named.
    #[pyo3(get)]
    pub(crate) name: String,
    /// Where it computes: `"flex"`, `"cuda"`, `"wgpu"` or `"libtorch"`.
    #[pyo3(get)]
    pub(crate) device: &'static str,
    /// Number format of the frozen models: `"f32"`, `"bf16"`, `"int8"` or `"int4"`.
    #[pyo3(get)]
    pub(crate) dtype: &'static str,
    pub(crate) reading: DecodeOptions,
}

/// Writes about pictures, with a text each.
type Write = fn(&Blip2, &[RgbImage], &[String], &GenerationConfig) -> Result<Vec<Written>, Blip2Error>;
/// The same about one, aloud.
type Say =
    fn(&Blip2, &RgbImage, &str, &GenerationConfig, &mut dyn FnMut(&str)) -> Result<Written, Blip2Error>;

/// What is to be written, and about what.
struct Task {
    pictures: Pictures,
    /// One a picture.
    texts: Vec<String>,
    options: Options,
    usual: GenerationConfig,
    /// How many of each, where that is said.
    many: Option<usize>,
}

#[pymethods]
impl Model {
    /// Describes pictures.
    ///
    /// Args:
    ///     images: a picture or a list of them: paths, bytes of files, PIL images, numpy arrays `[height, width, 3]` of uint8.
    ///     prompt: text that the caption continues, or a list with one for each picture; the model's own by default.
    ///     by: who writes: `"language_model"`, or `"qformer"` alone, as stage 1 trained it.
    ///     batch_size: pictures that are looked at together; captions do not depend on it.
    ///     num_return_sequences: texts of each picture: as many samples, or the best of the beams.
    ///     stream: give an iterator of pieces instead, as they are written, of one picture. Beams are decided at the end: with
    ///         `num_beams=1` each word comes at once.
    ///     **options: how to write, see `GenerationOptions`; what is left out is as the model has it.
    ///
    /// Returns:
    ///     A `Text`; a list of them for a list of pictures, or with `num_return_sequences`; lists in a list for both; a `Stream`
    ///     with `stream`.
    #[pyo3(signature = (images, prompt=None, *, by="language_model", batch_size=8, num_return_sequences=None, stream=false, **options))]
    #[expect(clippy::too_many_arguments, reason = "each is a keyword")]
    fn caption<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        prompt: Option<&Bound<'py, PyAny>>,
        by: &str,
        batch_size: usize,
        num_return_sequences: Option<usize>,
        stream: bool,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let pictures = Pictures::read(images)?;
        let by_qformer = match by {
            "language_model" => false,
            "qformer" => true,
            other => {
                let reason = format!("by=\"{other}\": it is \"language_model\" or \"qformer\" that writes");
                return Err(Failure::input(reason).into());
            }
        };
        if by_qformer && (prompt.is_some() || stream) {
            let reason = "the Q-Former was trained to write without a prompt, and says a text at once: leave out prompt and stream";
            return Err(Failure::input(reason).into());
        }
        let texts = match prompt {
            Some(prompt) => texts("prompt", prompt, &pictures)?,
            None => vec![self.model.caption_prompt().to_owned(); pictures.pictures.len()],
        };
        let task = Task {
            pictures,
            texts,
            options: Options::read(options)?,
            usual: self.model.caption_settings().clone(),
            many: num_return_sequences,
        };
        let write: Write = match by_qformer {
            true => |model, pictures, _, settings| model.caption_by_qformer(pictures, settings),
            false => Blip2::caption,
        };
        match stream {
            true => self.say(py, task, Blip2::caption_aloud),
            false => self.write(py, task, batch_size, write),
        }
    }

    /// Answers a question about a picture, or one each about several.
    ///
    /// Args:
    ///     images: as for `caption`.
    ///     question: put into the model's own question prompt; for a list of pictures one for all, or a list.
    ///     batch_size, num_return_sequences, stream, **options: as for `caption`.
    ///
    /// Returns:
    ///     As `caption` does.
    #[expect(clippy::too_many_arguments, reason = "each is a keyword")]
    #[pyo3(signature = (images, question, *, batch_size=8, num_return_sequences=None, stream=false, **options))]
    fn ask<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        question: &Bound<'py, PyAny>,
        batch_size: usize,
        num_return_sequences: Option<usize>,
        stream: bool,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let pictures = Pictures::read(images)?;
        let task = Task {
            texts: texts("question", question, &pictures)?,
            pictures,
            options: Options::read(options)?,
            usual: self.model.answer_settings().clone(),
            many: num_return_sequences,
        };
        match stream {
            true => self.say(py, task, Blip2::ask_aloud),
            false => self.write(py, task, batch_size, Blip2::ask),
        }
    }

    /// Tells how well texts belong to a picture.
    ///
    /// Args:
    ///     image: a picture, as for `caption`.
    ///     text: a text, or a list of them.
    ///
    /// Returns:
    ///     A `Match`, or a list of them.
    #[pyo3(name = "match")]
    fn matches<'py>(
        &self,
        py: Python<'py>,
        image: &Bound<'py, PyAny>,
        text: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let picture = Picture::read(image, None)?;
        let (texts, several): (Vec<String>, bool) = match text.cast::<PyString>() {
            Ok(text) => (vec![text.extract()?], false),
            Err(_) => (text.extract()?, true),
        };
        let (model, reading) = (self.model.clone(), self.reading);
        let matches = done(py, StopFlag::default(), move || {
            Ok(model.match_texts(&picture.open(reading)?, &texts)?)
        })?;
        let matches: Vec<Match> = matches.into_iter().map(Match::from).collect();
        match several {
            true => matches.into_pyobject(py),
            false => one(py, matches),
        }
    }

    /// What the model makes of pictures, of texts, or of pictures each with its text, as numpy arrays of float32, which are not copied.
    ///
    /// Args:
    ///     images: a picture or a list of them, as for `caption`.
    ///     text: a text or a list of them; with `images` one for each.
    ///     only: the name of an array or a list of names: give these alone.
    ///     batch_size: pictures that are looked at together.
    ///
    /// Returns:
    ///     A dict of arrays by name, a row for each picture or text, as far as the model was trained for it. Of pictures:
    ///     `image_embeds` `[images, queries, width]` and `image_embeds_proj` `[images, queries, embedding]` of unit length;
    ///     `vision`, `qformer` and `projected`, the soft prompt of the language model. Of texts: `text_embeds`, `text_mask` and
    ///     `text_embeds_proj` `[texts, embedding]`. Of both: `multimodal_embeds`.
    #[pyo3(signature = (images=None, text=None, *, only=None, batch_size=8))]
    fn embed<'py>(
        &self,
        py: Python<'py>,
        images: Option<&Bound<'py, PyAny>>,
        text: Option<&Bound<'py, PyAny>>,
        only: Option<&Bound<'py, PyAny>>,
        batch_size: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        check_batch(batch_size)?;
        let only = only.map_or(Ok(Vec::new()), strings)?;
        let pictures = images.map(|images| Pictures::read(images)).transpose()?;
        let texts = match (&pictures, text) {
            (_, None) => None,
            (Some(pictures), Some(text)) => Some(self::texts("text", text, pictures)?),
            (None, Some(text)) => Some(strings(text)?),
        };
        let (model, reading) = (self.model.clone(), self.reading);
        let stop = StopFlag::default();
        let stops = stop.clone();
        let vectors = done(py, stop, move || match (pictures, texts) {
            (None, None) => Err(Failure::input(
                "there is nothing to embed: give images, text, or both",
            )),
            (None, Some(texts)) => Ok(model.vectors_of_texts(&texts, &only)?),
            (Some(pictures), texts) => {
                let (mut batches, mut at) = (Vec::new(), 0);
                let open = |picture: &Picture| picture.open(reading);
                model.open_in_batches(&pictures.pictures, batch_size, &open, |batch| {
                    let pictures = opened(batch, &stops)?;
                    let row = at..at + pictures.len();
                    at = row.end;
                    batches.push(match &texts {
                        Some(texts) => model.vectors_of_pairs(&pictures, &texts[row], &only)?,
                        None => model.vectors_of_pictures(&pictures, &only)?,
                    });
                    Ok::<_, Failure>(())
                })?;
                Ok(join_vectors(batches))
            }
        })?;
        let named = PyDict::new(py);
        for (name, data) in vectors {
            named.set_item(name, array(py, data)?)?;
        }
        Ok(named)
    }

    /// Begins a conversation about a picture.
    ///
    /// Args:
    ///     image: a picture, as for `caption`; it can be shown later, with `look_at`.
    ///     template: how questions and answers are put to the language model: `"dialogue"`, `"instruction"`, `"qwen"` or `"gemma"`;
    ///         as the model was trained by default.
    ///
    /// Returns:
    ///     A `Chat`.
    #[pyo3(signature = (image=None, *, template=None))]
    fn chat(
        &self,
        py: Python<'_>,
        image: Option<&Bound<'_, PyAny>>,
        template: Option<&str>,
    ) -> PyResult<Chat> {
        let chat = Chat::new(self.model.clone(), self.reading, template)?;
        if let Some(image) = image {
            chat.look_at(py, image)?;
        }
        Ok(chat)
    }

    fn __repr__(&self) -> String {
        format!(
            "blip2.load({:?}, device={:?}, dtype={:?})",
            self.name, self.device, self.dtype
        )
    }
}

impl Model {
    /// Does `task` batch by batch.
    fn write<'py>(
        &self,
        py: Python<'py>,
        task: Task,
        batch_size: usize,
        write: Write,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Task {
            pictures,
            texts,
            options,
            usual,
            many,
        } = task;
        let stop = options.stop.clone();
        let (model, reading, several) = (self.model.clone(), self.reading, pictures.several);
        let settings = options.settings(&usual, many.unwrap_or(1))?;
        check_batch(batch_size)?;
        let written = done(py, stop, move || {
            let mut written = Vec::new();
            let mut texts = texts.as_slice();
            let open = |picture: &Picture| picture.open(reading);
            model.open_in_batches(&pictures.pictures, batch_size, &open, |batch| {
                let pictures = opened(batch, &settings.stop)?;
                let (these, rest) = texts.split_at(pictures.len());
                texts = rest;
                written.extend(write(&model, &pictures, these, &settings)?);
                Ok::<_, Failure>(())
            })?;
            Ok(written)
        })?;
        shaped(py, written, several, many)
    }

    /// Does `task`, which is about one picture, aloud.
    fn say<'py>(&self, py: Python<'py>, task: Task, say: Say) -> PyResult<Bound<'py, PyAny>> {
        let Task {
            mut pictures,
            mut texts,
            options,
            usual,
            many,
        } = task;
        let alone = !pictures.several && many.is_none();
        let (Some(picture), Some(text), true) = (pictures.pictures.pop(), texts.pop(), alone) else {
            return Err(Failure::input(
                "stream=True gives one text of one picture: no list, no num_return_sequences",
            )
            .into());
        };
        let (model, reading) = (self.model.clone(), self.reading);
        let stop = options.stop.clone();
        let settings = options.settings(&usual, many.unwrap_or(1))?;
        let stream = Stream::begin(stop, move |hear| {
            let picture = picture.open(reading)?;
            Ok(Text::from(say(&model, &picture, &text, &settings, hear)?))
        })?;
        Ok(stream.into_pyobject(py)?.into_any())
    }
}

/// The pictures of `batch`, all of which must be there.
fn opened(batch: OpenedBatch, stop: &StopFlag) -> Result<Vec<RgbImage>, Failure> {
    if stop.is_raised() {
        return Err(GenerationError::Stopped.into());
    }
    batch.opened.into_iter().collect::<Result<(), _>>()?;
    Ok(batch.pictures)
}

fn check_batch(batch_size: usize) -> Result<(), Failure> {
    match batch_size {
        0 => Err(Failure::input("batch_size is 0: at least 1 picture is looked at")),
        _ => Ok(()),
    }
}

/// A text for each of `pictures`: the same for all, or those of a list.
fn texts(name: &str, value: &Bound<'_, PyAny>, pictures: &Pictures) -> PyResult<Vec<String>> {
    let count = pictures.pictures.len();
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(vec![text.extract()?; count]);
    }
    let texts: Vec<String> = value.extract()?;
    match pictures.several && texts.len() == count {
        true => Ok(texts),
        false => Err(Failure::input(format!(
            "{name} is a list of {}, for {count} pictures: give a list of as many pictures and texts, or one text",
            texts.len()
        ))
        .into()),
    }
}

/// A string or a list of them.
fn strings(value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    match value.cast::<PyString>() {
        Ok(text) => Ok(vec![text.extract()?]),
        Err(_) => value.extract(),
    }
}
