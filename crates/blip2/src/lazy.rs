//! A language model that is loaded when it is first asked.

use std::sync::OnceLock;

use blip2_llm_adapters::LoadedLanguageModel;

use crate::Blip2Error;

type Load = dyn Fn() -> Result<LoadedLanguageModel, Blip2Error> + Send + Sync;

/// A language model at hand, or one to be loaded.
pub(crate) enum LazyLanguageModel {
    Loaded(Box<LoadedLanguageModel>),
    Awaited {
        load: Box<Load>,
        loaded: OnceLock<Box<LoadedLanguageModel>>,
    },
}

impl LazyLanguageModel {
    /// One that `load` gives.
    pub(crate) fn new(
        load: impl Fn() -> Result<LoadedLanguageModel, Blip2Error> + Send + Sync + 'static,
    ) -> Self {
        Self::Awaited {
            load: Box::new(load),
            loaded: OnceLock::new(),
        }
    }

    /// The model, loaded by now.
    ///
    /// # Errors
    /// Those of loading, each time until it succeeds.
    pub(crate) fn get(&self) -> Result<&LoadedLanguageModel, Blip2Error> {
        match self {
            Self::Loaded(model) => Ok(model),
            Self::Awaited { load, loaded } => match loaded.get() {
                Some(model) => Ok(model),
                None => {
                    let model = load()?;
                    Ok(loaded.get_or_init(|| Box::new(model)))
                }
            },
        }
    }
}
