//! Pretraining on anyone's pictures: the run that a [`Recipe`] decides.

use std::path::PathBuf;

use blip2::{Registry, save_tuned};
use blip2_data::sets::Formats;
use blip2_distributed::Communicator;
use burn::tensor::Device;

use crate::loaded::{Loaded, open_sets};
use crate::recipe::{FeaturesRecipe, Recipe};
use crate::stages::Stages;
use crate::{
    FrozenEncoder, Live, Observer, RecipeFile, Run, RunOptions, TrainError, check_frozen, store_features,
};

/// What to run, where, and with what beside the recipe.
pub struct PretrainOptions {
    /// The TOML file.
    pub recipe: PathBuf,
    /// `key=value` pairs that replace entries of the recipe.
    pub overrides: Vec<String>,
    /// The run folder; made where it is missing.
    pub run: PathBuf,
    /// Go on from the newest checkpoints of the run folder, from the start where there are none.
    pub resume: bool,
    /// Where assets lie, features are stored and indices of data sets kept.
    pub home: PathBuf,
    /// Loaders of encoders and language models.
    pub registry: Registry,
    /// Formats of data sets.
    pub formats: Formats,
    /// Where models are trained, without autodiff.
    pub device: Device,
}

/// Runs `options` to its end: the stages of the recipe, and what they trained as a model folder `model` in the run folder. `ranks`
/// share the work; the home folder must be the same for all of them, the run folder is written by the first alone.
///
/// # Errors
/// [`TrainError`]; the run folder then holds the checkpoints so far, and resuming goes on from them.
pub fn pretrain(
    options: PretrainOptions,
    ranks: &Communicator,
    observer: &dyn Observer,
) -> Result<(), TrainError> {
    let recipe = Recipe::read(&options.recipe, &options.overrides)?;
    let sets = open_sets(&recipe, &options.home, &options.formats)?;
    let mut run = Run::open(RunOptions {
        folder: options.run.clone(),
        recipe: recipe.to_toml()?,
        data: Some(sets.0.fingerprint()),
        seed: recipe.seed,
        resume: options.resume,
        device: options.device.clone(),
        observer,
        ranks,
    })?;
    let loaded = Loaded::new(&recipe, &options.home, &options.registry, &options.device, sets)?;
    let before = loaded.frozen();
    run.log_frozen("before", &before)?;
    let store = match recipe.features {
        FeaturesRecipe::Live => None,
        FeaturesRecipe::Stored => Some(store_features(
            &loaded.mixture,
            FrozenEncoder {
                loaded: &loaded.encoder,
                fingerprint: &before[0].1,
                device: &options.device,
            },
            &options.home.join("features"),
            recipe.loader.threads,
            ranks,
            observer,
        )?),
    };
    let stages = Stages {
        recipe: &recipe,
        home: &options.home,
        loaded: &loaded,
        live: Live {
            encoder: &loaded.encoder,
        },
        store,
    };
    let outcome = stages.train(&mut run)?;
    let after = loaded.frozen();
    run.log_frozen("after", &after)?;
    check_frozen(&before, &after)?;
    if !ranks.is_first() {
        return Ok(());
    }
    let trained = blip2::Trained {
        encoder: outcome.encoder.as_ref(),
        bridge: outcome.bridge.as_ref(),
        representation: outcome.representation.as_ref(),
    };
    let folder = run.folder().join("model");
    save_tuned(&folder, &recipe.model_config(), trained)?;
    if let (Some(adapters), Some(config), Some(language_model)) =
        (outcome.adapters, &recipe.language_model, &loaded.language_model)
    {
        let model = language_model.model.as_ref();
        adapters
            .into_peft()
            .save(&folder.join(blip2::ADAPTER), &config.path, model)?;
    }
    Ok(())
}
