//! A conversation that Python holds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blip2::{Blip2, DecodeOptions, StopFlag, UnknownTemplate};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::failure::Failure;
use crate::options::Options;
use crate::pictures::Picture;
use crate::stream::Stream;
use crate::work::done;
use crate::written::Text;

type Conversation = blip2::Chat<Arc<Blip2>>;

/// A conversation about a picture (`Model.chat`). The picture is encoded once, and a decoder (OPT, Llama) reads with each question only
/// what is new since the one before; FlanT5 and InstructBLIP read the whole conversation again.
#[pyclass(frozen, module = "blip2")]
pub(crate) struct Chat {
    model: Arc<Blip2>,
    reading: DecodeOptions,
    conversation: Arc<Mutex<Conversation>>,
}

impl Chat {
    /// # Errors
    /// [`Failure::Input`] for a template that there is none of.
    pub(crate) fn new(
        model: Arc<Blip2>,
        reading: DecodeOptions,
        template: Option<&str>,
    ) -> Result<Self, Failure> {
        let template = match template {
            None => model.chat_template(),
            Some(name) => name
                .parse()
                .map_err(|error: UnknownTemplate| Failure::input(error.to_string()))?,
        };
        Ok(Self {
            conversation: Arc::new(Mutex::new(Conversation::new(model.clone(), template))),
            model,
            reading,
        })
    }

    /// Does `work` with the conversation, as soon as nobody else does.
    fn with<Done: Send + 'static>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Conversation) -> Result<Done, Failure> + Send + 'static,
    ) -> PyResult<Done> {
        let conversation = self.conversation.clone();
        done(py, StopFlag::default(), move || work(&mut locked(&conversation)))
    }
}

#[pymethods]
impl Chat {
    /// Asks a question, and keeps it with its answer.
    ///
    /// Args:
    ///     question: put into words as the template has it.
    ///     stream: give an iterator of pieces instead, as they are written. A question whose answer is given up (`close()`) while
    ///         it is being written leaves no trace in `history`. The model writes ahead of who listens: what it has written to the
    ///         end by then is kept, heard or not.
    ///     **options: how to write, see `GenerationOptions`; by default the likeliest word each time, up to 64 tokens.
    ///
    /// Returns:
    ///     A `Text`, or a `Stream`.
    #[pyo3(signature = (question, *, stream=false, **options))]
    fn ask<'py>(
        &self,
        py: Python<'py>,
        question: String,
        stream: bool,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = Options::read(options)?;
        let stop = options.stop.clone();
        let settings = options.settings(&self.model.chat_settings(), 1)?;
        let conversation = self.conversation.clone();
        let answer = move |hear: &mut dyn FnMut(&str)| {
            let written = locked(&conversation).ask(&question, &settings, hear)?;
            Ok(Text::from(written))
        };
        match stream {
            true => Ok(Stream::begin(stop, answer)?.into_pyobject(py)?.into_any()),
            false => {
                let text = done(py, stop, move || answer(&mut |_| ()))?;
                Ok(text.into_pyobject(py)?.into_any())
            }
        }
    }

    /// Talks about another picture, from the beginning.
    ///
    /// Args:
    ///     image: a picture, as for `Model.caption`.
    pub(crate) fn look_at(&self, py: Python<'_>, image: &Bound<'_, PyAny>) -> PyResult<()> {
        let picture = Picture::read(image, None)?;
        let reading = self.reading;
        self.with(py, move |conversation| {
            Ok(conversation.begin(Some(&picture.open(reading)?))?)
        })
    }

    /// Forgets what was said.
    fn reset(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |conversation| Ok(conversation.begin(None)?))
    }

    /// Questions and answers since it began, as far as the model still reads them: a list of pairs.
    #[getter]
    fn history(&self, py: Python<'_>) -> PyResult<Vec<(String, String)>> {
        self.with(py, |conversation| {
            let turns = conversation.turns().iter();
            Ok(turns
                .map(|turn| (turn.question.clone(), turn.answer.clone()))
                .collect())
        })
    }
}

/// A question that failed has left no trace, whatever it failed of.
fn locked(conversation: &Mutex<Conversation>) -> MutexGuard<'_, Conversation> {
    conversation.lock().unwrap_or_else(PoisonError::into_inner)
}
