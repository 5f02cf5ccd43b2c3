//! Keyword arguments that decide how text is written, by the names of `transformers`.

use blip2::{EarlyStopping, GenerationConfig, GenerationWishes, StopFlag};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::failure::Failure;

/// What is asked for, and the flag that ends it.
pub(crate) struct Options {
    wishes: GenerationWishes,
    pub(crate) stop: StopFlag,
}

impl Options {
    /// # Errors
    /// `TypeError` for a name that is none or a value of another type, [`Failure::Input`] for one that makes no sense.
    pub(crate) fn read(options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let mut wishes = GenerationWishes::default();
        for (name, value) in options.into_iter().flatten() {
            let name: String = name.extract()?;
            match name.as_str() {
                "max_new_tokens" => wishes.max_new_tokens = count(&name, &value)?,
                "min_new_tokens" => wishes.min_new_tokens = count(&name, &value)?,
                "num_beams" => wishes.num_beams = count(&name, &value)?,
                "no_repeat_ngram_size" => wishes.no_repeat_ngram_size = count(&name, &value)?,
                "top_k" => wishes.top_k = count(&name, &value)?,
                "early_stopping" => wishes.early_stopping = stopping(&value)?,
                "length_penalty" => wishes.length_penalty = value.extract()?,
                "repetition_penalty" => wishes.repetition_penalty = value.extract()?,
                "do_sample" => wishes.sample = value.extract()?,
                "temperature" => wishes.temperature = value.extract()?,
                "top_p" => wishes.top_p = value.extract()?,
                "seed" => wishes.seed = seed(&value)?,
                _ => {
                    let message = format!("there is no option `{name}`: see blip2.GenerationOptions");
                    return Err(PyTypeError::new_err(message));
                }
            }
        }
        if wishes.sample == Some(false) && wishes.narrows() {
            let reason = "top_p, top_k and temperature sample: leave out do_sample=False";
            return Err(Failure::input(reason).into());
        }
        Ok(Self {
            wishes,
            stop: StopFlag::default(),
        })
    }

    /// `base` where nothing else is asked for, and `texts` texts a picture.
    ///
    /// # Errors
    /// [`Failure::Model`] where the settings contradict each other.
    pub(crate) fn settings(
        mut self,
        base: &GenerationConfig,
        texts: usize,
    ) -> Result<GenerationConfig, Failure> {
        if texts > GenerationWishes::MOST {
            return Err(Failure::input(format!(
                "num_return_sequences is {texts}: nobody reads them"
            )));
        }
        self.wishes.num_return_sequences = Some(texts);
        let settings = GenerationConfig {
            stop: self.stop,
            ..self.wishes.meant(base)
        };
        settings.check()?;
        Ok(settings)
    }
}

/// A number that counts something.
fn count(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    let Some(number) = value.extract::<Option<i64>>()? else {
        return Ok(None);
    };
    let found = usize::try_from(number).ok();
    let found = found.filter(|number| *number <= GenerationWishes::MOST);
    let reason = || {
        Failure::input(format!(
            "{name} is {number}: 0 to {} make sense",
            GenerationWishes::MOST
        ))
    };
    Ok(Some(found.ok_or_else(reason)?))
}

fn seed(value: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
    let reason = |_| Failure::input("seed is a whole number from 0 to 2**64 - 1");
    Ok(value.extract().map_err(reason)?)
}

/// `early_stopping` of `transformers`.
fn stopping(value: &Bound<'_, PyAny>) -> PyResult<Option<EarlyStopping>> {
    Ok(match value.extract::<Option<bool>>() {
        Ok(None) => None,
        Ok(Some(false)) => Some(EarlyStopping::Estimated),
        Ok(Some(true)) => Some(EarlyStopping::WhenFull),
        Err(_) if value.extract::<String>().is_ok_and(|word| word == "never") => Some(EarlyStopping::Never),
        Err(_) => return Err(Failure::input("early_stopping is True, False or \"never\"").into()),
    })
}
