//! What can go wrong, and which exception Python sees.

use std::io;

use blip2::{Blip2Error, GenerationError, ModelError, PixelsError, causes};
use blip2_core::devices::{DeviceError, UnknownEngine};
use blip2_hub::{CacheError, DownloadError};
use pyo3::PyErr;
use thiserror::Error;

/// The exceptions of `python/blip2/errors.py`.
mod exceptions {
    pyo3::import_exception!(blip2.errors, Blip2Error);
    pyo3::import_exception!(blip2.errors, DeviceError);
    pyo3::import_exception!(blip2.errors, DownloadError);
    pyo3::import_exception!(blip2.errors, InputError);
    pyo3::import_exception!(blip2.errors, NotFoundError);
    pyo3::import_exception!(blip2.errors, UntrainedError);
}

/// Any failure that is not a wrong type.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Model(#[from] Blip2Error),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Download(#[from] DownloadError),
    #[error(transparent)]
    Engine(#[from] UnknownEngine),
    #[error("device=\"{name}\" cannot be used; \"flex\" computes on the CPU everywhere")]
    Device { name: String, source: DeviceError },
    /// An argument of the right type that makes no sense.
    #[error("{0}")]
    Input(String),
    #[error("no thread can be started")]
    Thread(#[source] io::Error),
    #[error("a fault of this package, please report it: {0}")]
    Panicked(String),
}

impl Failure {
    /// An argument that makes no sense.
    pub(crate) fn input(reason: impl Into<String>) -> Self {
        Self::Input(reason.into())
    }
}

impl From<PixelsError> for Failure {
    fn from(error: PixelsError) -> Self {
        Self::Model(error.into())
    }
}

impl From<GenerationError> for Failure {
    fn from(error: GenerationError) -> Self {
        Self::Model(error.into())
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        let text = causes(&failure).join(": ");
        match failure {
            Failure::Model(error) => of_model(&error, text),
            Failure::Cache(_) | Failure::Download(DownloadError::Cache(_) | DownloadError::Offline(_)) => {
                exceptions::NotFoundError::new_err(text)
            }
            Failure::Download(_) => exceptions::DownloadError::new_err(text),
            Failure::Device { .. } => exceptions::DeviceError::new_err(text),
            Failure::Engine(_) | Failure::Input(_) => exceptions::InputError::new_err(text),
            Failure::Thread(_) | Failure::Panicked(_) => exceptions::Blip2Error::new_err(text),
        }
    }
}

fn of_model(error: &Blip2Error, text: String) -> PyErr {
    let absent = |source: &io::Error| source.kind() == io::ErrorKind::NotFound;
    match error {
        Blip2Error::NotAModel { .. } | Blip2Error::Cache(_) | Blip2Error::Absent { .. } => {
            exceptions::NotFoundError::new_err(text)
        }
        Blip2Error::Pixels(PixelsError::Read { source, .. }) | Blip2Error::Io { source, .. }
            if absent(source) =>
        {
            exceptions::NotFoundError::new_err(text)
        }
        Blip2Error::Untrained { .. } => exceptions::UntrainedError::new_err(text),
        // No fault of what was asked.
        Blip2Error::Model(ModelError::NotFinite { .. })
        | Blip2Error::Generation(GenerationError::NotFinite { .. } | GenerationError::Stopped) => {
            exceptions::Blip2Error::new_err(text)
        }
        Blip2Error::Model(_)
        | Blip2Error::Generation(_)
        | Blip2Error::Pixels(_)
        | Blip2Error::Text(_)
        | Blip2Error::Tokenizer(_)
        | Blip2Error::NoVectors { .. }
        | Blip2Error::NoPicture => exceptions::InputError::new_err(text),
        _ => exceptions::Blip2Error::new_err(text),
    }
}
