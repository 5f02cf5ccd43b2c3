//! Pretraining on anyone's pictures: the run that a [`Recipe`] decides.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use blip2::{LoadPlan, LoadedEncoder, LoadedLanguageModel, Registry, save_tuned};
use blip2_data::mixture::{Mixing, Mixture, Part};
use blip2_data::sets::{Cache, DataSpec, Dataset, Formats, OpenOptions};
use blip2_data::text::BertTokenizer;
use blip2_distributed::Communicator;
use burn::tensor::Device;

use crate::recipe::{FeaturesRecipe, Recipe};
use crate::stages::Stages;
use crate::{
    FrozenEncoder, Live, Mixed, Observer, RecipeFile, Run, RunOptions, TrainError, check_frozen,
    store_features,
};

/// Most bytes of unpacked and fetched shards under the home folder, in `data`.
const CACHE_BYTES: u64 = 20 << 30;

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

/// What is loaded once for all stages.
pub(crate) struct Loaded {
    pub(crate) encoder: LoadedEncoder,
    trains_encoder: bool,
    pub(crate) language_model: Option<LoadedLanguageModel>,
    pub(crate) tokenizer: BertTokenizer,
    pub(crate) mixture: Arc<Mixture>,
    pub(crate) held_out: Vec<Arc<Mixture>>,
}

impl Loaded {
    /// Name and SHA-256 of each frozen model as it is in memory.
    fn frozen(&self) -> Vec<(&'static str, String)> {
        let language_model = self.language_model.as_ref();
        let encoder = (!self.trains_encoder).then(|| ("encoder", self.encoder.encoder.fingerprint()));
        let language_model = language_model.map(|loaded| ("language_model", loaded.model.fingerprint()));
        encoder.into_iter().chain(language_model).collect()
    }
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
    let sets = open_sets(&recipe, &options)?;
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
    let loaded = load(&recipe, &options, sets)?;
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

/// `spec` with a path below `home` where that is there, and no such path here: as models are found.
fn found(spec: &DataSpec, home: &Path) -> DataSpec {
    let below = home.join(&spec.path);
    match !Path::new(&spec.path).exists() && below.exists() {
        true => DataSpec {
            name: Some(spec.name()),
            path: below.to_string_lossy().into_owned(),
            ..spec.clone()
        },
        false => spec.clone(),
    }
}

/// The mixture to learn from, and the sets of the evaluators.
type Sets = (Arc<Mixture>, Vec<Arc<Mixture>>);

fn open_sets(recipe: &Recipe, options: &PretrainOptions) -> Result<Sets, TrainError> {
    let opening = OpenOptions {
        cache: Some(Cache::new(options.home.join("data"), CACHE_BYTES)),
        ..OpenOptions::default()
    };
    let mix = |specs: &[DataSpec]| -> Result<Arc<Mixture>, TrainError> {
        let part = |spec: &DataSpec| {
            let set: Arc<dyn Dataset> = options
                .formats
                .open(&found(spec, &options.home), &opening)?
                .into();
            Ok(Part {
                weight: match recipe.mixed {
                    Mixed::Size => spec.weight,
                    Mixed::SquareRoot => Some(spec.weight.unwrap_or(1.0) * (set.len() as f64).sqrt()),
                },
                set,
                prompt: spec.prompt.clone(),
            })
        };
        let parts = specs.iter().map(part).collect::<Result<Vec<_>, TrainError>>()?;
        Ok(Arc::new(Mixture::new(parts, Mixing::new(recipe.seed))?))
    };
    let held_out = recipe.evaluation.iter();
    Ok((
        mix(&recipe.data)?,
        held_out
            .map(|evaluation| mix(std::slice::from_ref(&evaluation.data)))
            .collect::<Result<_, _>>()?,
    ))
}

fn load(recipe: &Recipe, options: &PretrainOptions, sets: Sets) -> Result<Loaded, TrainError> {
    let (home, registry) = (&options.home, &options.registry);
    let plan = LoadPlan::as_stored(&options.device);
    let language_model = match (&recipe.stage2, &recipe.language_model) {
        (Some(_), Some(config)) => Some(registry.language_model(config, home, &plan)?),
        _ => None,
    };
    Ok(Loaded {
        encoder: match recipe.encoder.train {
            true => registry.encoder(&recipe.encoder.config, home, &options.device)?,
            false => registry.encoder(&recipe.encoder.config, home, &plan)?,
        },
        trains_encoder: recipe.encoder.train,
        language_model,
        tokenizer: BertTokenizer::from_file(&home.join(&recipe.vocabulary))?,
        mixture: sets.0,
        held_out: sets.1,
    })
}
