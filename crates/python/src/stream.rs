//! A text that is heard while it is written.

use std::sync::OnceLock;

use blip2::StopFlag;
use pyo3::prelude::*;

use crate::failure::Failure;
use crate::work::Work;
use crate::written::Text;

/// What is heard.
pub(crate) enum Heard {
    /// A piece of the text.
    Piece(String),
    /// All of it.
    Whole(Text),
}

/// The pieces of a text, in the order in which they are written: an iterator of `str` that gives up the writing when it is
/// dropped or closed before the end.
#[pyclass(frozen, module = "blip2")]
pub(crate) struct Stream {
    work: Work<Heard>,
    whole: OnceLock<Text>,
}

impl Stream {
    /// Begins `work`, which is given what hears pieces.
    ///
    /// # Errors
    /// As for [`Work::begin`].
    pub(crate) fn begin(
        stop: StopFlag,
        work: impl FnOnce(&mut dyn FnMut(&str)) -> Result<Text, Failure> + Send + 'static,
    ) -> Result<Self, Failure> {
        let work = Work::begin(stop, |say| {
            let whole = work(&mut |piece| say(Heard::Piece(piece.to_owned())))?;
            Ok(Heard::Whole(whole))
        })?;
        Ok(Self {
            work,
            whole: OnceLock::new(),
        })
    }
}

#[pymethods]
impl Stream {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<String>> {
        if self.work.is_stopped() {
            return Ok(None);
        }
        Ok(match self.work.next(py)? {
            Some(Heard::Piece(piece)) => Some(piece),
            Some(Heard::Whole(whole)) => {
                self.whole.get_or_init(|| whole);
                None
            }
            None => None,
        })
    }

    /// The whole text with its ids and score; waits for the end.
    fn result(&self, py: Python<'_>) -> PyResult<Text> {
        while self.__next__(py)?.is_some() {}
        let closed = || Failure::input("there is no text: the stream was closed, or failed, before its end");
        Ok(self.whole.get().cloned().ok_or_else(closed)?)
    }

    /// Gives up the writing.
    fn close(&self) {
        self.work.stop();
    }
}
