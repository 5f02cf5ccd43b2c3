//! What a model says: texts, and how well some fit a picture.

use blip2::Written;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};

/// A text that a model wrote: a value that is compared, looked up, copied and pickled. `str()` gives it without the rest.
#[pyclass(frozen, eq, module = "blip2", skip_from_py_object)]
#[derive(Clone, PartialEq)]
pub(crate) struct Text {
    /// The text, without special tokens and surrounding white space.
    #[pyo3(get)]
    text: String,
    /// The ids of the new tokens alone, without the prompt.
    #[pyo3(get)]
    ids: Vec<u32>,
    /// Sum of the log-probabilities of `ids`, divided by their number to the power of the length penalty.
    #[pyo3(get)]
    score: f64,
}

impl From<Written> for Text {
    fn from(Written { text, ids, score }: Written) -> Self {
        Self { text, ids, score }
    }
}

#[pymethods]
impl Text {
    #[new]
    fn new(text: String, ids: Vec<u32>, score: f64) -> Self {
        Self { text, ids, score }
    }

    fn __str__(&self) -> &str {
        &self.text
    }

    /// As `str` has it: `f"{text:>40}"`.
    #[pyo3(signature = (specification, /))]
    fn __format__<'py>(&self, py: Python<'py>, specification: &str) -> PyResult<Bound<'py, PyAny>> {
        PyString::new(py, &self.text).call_method1("__format__", (specification,))
    }

    // Python's own, in which 0.0 and -0.0 are one as they are in a comparison.
    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        let ids = PyTuple::new(py, &self.ids)?;
        (self.text.as_str(), ids, self.score).into_pyobject(py)?.hash()
    }

    /// For `pickle` and `copy`.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyType>, (String, Vec<u32>, f64)) {
        let Self { text, ids, score } = slf.get().clone();
        (slf.get_type(), (text, ids, score))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (text, score) = (slf.getattr("text")?.repr()?, slf.getattr("score")?.repr()?);
        Ok(format!("Text({text}, score={score})"))
    }
}

/// How well a text belongs to a picture: a value, as a `Text` is.
#[pyclass(frozen, eq, module = "blip2", skip_from_py_object)]
#[derive(Clone, PartialEq)]
pub(crate) struct Match {
    /// Probability, 0 to 1, that they belong together, of the head that reads both together.
    #[pyo3(get)]
    itm_probability: f64,
    /// Cosine, -1 to 1, of their embeddings by the best query.
    #[pyo3(get)]
    itc: f64,
}

impl From<blip2::Match> for Match {
    fn from(blip2::Match { itm_probability, itc }: blip2::Match) -> Self {
        Self { itm_probability, itc }
    }
}

#[pymethods]
impl Match {
    #[new]
    fn new(itm_probability: f64, itc: f64) -> Self {
        Self { itm_probability, itc }
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        (self.itm_probability, self.itc).into_pyobject(py)?.hash()
    }

    /// For `pickle` and `copy`.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyType>, (f64, f64)) {
        let Self { itm_probability, itc } = slf.get();
        (slf.get_type(), (*itm_probability, *itc))
    }

    fn __repr__(&self) -> String {
        let Self { itm_probability, itc } = self;
        format!("Match(itm_probability={itm_probability}, itc={itc})")
    }
}

/// `texts` as they were asked for: of `several` pictures or of one, and of each `many` or the only one.
pub(crate) fn shaped<'py>(
    py: Python<'py>,
    texts: Vec<Written>,
    several: bool,
    many: Option<usize>,
) -> PyResult<Bound<'py, PyAny>> {
    let texts: Vec<Text> = texts.into_iter().map(Text::from).collect();
    match (several, many) {
        (false, None) => one(py, texts),
        (false, Some(_)) | (true, None) => texts.into_pyobject(py),
        (true, Some(many)) => {
            let rows = texts.chunks(many).map(<[Text]>::to_vec);
            rows.collect::<Vec<_>>().into_pyobject(py)
        }
    }
}

/// The first of `values`, of which there is one.
pub(crate) fn one<'py, T: IntoPyObject<'py>>(py: Python<'py>, values: Vec<T>) -> PyResult<Bound<'py, PyAny>>
where
    Vec<T>: IntoPyObject<'py, Target = PyAny, Output = Bound<'py, PyAny>, Error = PyErr>,
{
    values.into_pyobject(py)?.get_item(0)
}
