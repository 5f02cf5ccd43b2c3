//! Low-rank updates of the language model in training (LoRA, Hu et al., 2021).

use blip2_core::layers::LowRank;
use blip2_core::{Initializer, LanguageModel, ModelError};
use blip2_llm_adapters::{LoraConfig, PeftFolder};
use burn::module::Module;
use burn::tensor::Device;

/// Updates beside layers of a language model, which itself stays frozen.
#[derive(Module, Debug)]
pub struct Adapters {
    updates: Vec<LowRank>,
    /// The layer of each.
    #[module(skip)]
    names: Vec<String>,
    #[module(skip)]
    config: LoraConfig,
}

impl Adapters {
    /// As `config` wants them for `model`: as yet they change nothing.
    ///
    /// # Errors
    /// As for [`LoraConfig::begin`].
    pub fn new(
        config: &LoraConfig,
        model: &dyn LanguageModel,
        seed: u64,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let begun = config.begin(model, &mut Initializer::new(seed ^ 3, device))?;
        let (names, updates) = begun.into_iter().unzip();
        Ok(Self {
            updates,
            names,
            config: config.clone(),
        })
    }

    /// `model` with the updates as they are now: a copy that shares its weights.
    ///
    /// # Errors
    /// As for [`LanguageModel::adapted`].
    pub fn attach(&self, model: &dyn LanguageModel) -> Result<Box<dyn LanguageModel>, ModelError> {
        model.adapted(&self.named())
    }

    /// As PEFT keeps them.
    pub fn into_peft(self) -> PeftFolder {
        PeftFolder {
            updates: self.named(),
            config: self.config,
        }
    }

    fn named(&self) -> Vec<(String, LowRank)> {
        self.names
            .iter()
            .cloned()
            .zip(self.updates.iter().cloned())
            .collect()
    }
}
