//! What a run of pretraining loads once for all its stages: frozen models, tokenizer, data sets.

use std::path::Path;
use std::sync::Arc;

use blip2::{LoadPlan, LoadedEncoder, LoadedLanguageModel, Registry};
use blip2_data::mixture::{Mixing, Mixture, Part};
use blip2_data::sets::{Cache, DataSpec, Dataset, Formats, OpenOptions};
use blip2_data::text::BertTokenizer;
use burn::tensor::Device;

use crate::recipe::Recipe;
use crate::{Mixed, TrainError};

/// Most bytes of unpacked and fetched shards under the home folder, in `data`.
const CACHE_BYTES: u64 = 20 << 30;

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
    /// The models of `recipe` by the loaders of `registry`, for `device`, beside its `sets`.
    pub(crate) fn new(
        recipe: &Recipe,
        home: &Path,
        registry: &Registry,
        device: &Device,
        sets: Sets,
    ) -> Result<Self, TrainError> {
        let plan = LoadPlan::as_stored(device);
        let language_model = match (&recipe.stage2, &recipe.language_model) {
            (Some(_), Some(config)) => Some(registry.language_model(config, home, &plan)?),
            _ => None,
        };
        Ok(Self {
            encoder: match recipe.encoder.train {
                true => registry.encoder(&recipe.encoder.config, home, device)?,
                false => registry.encoder(&recipe.encoder.config, home, &plan)?,
            },
            trains_encoder: recipe.encoder.train,
            language_model,
            tokenizer: BertTokenizer::from_file(&home.join(&recipe.vocabulary))?,
            mixture: sets.0,
            held_out: sets.1,
        })
    }

    /// Name and SHA-256 of each frozen model as it is in memory.
    pub(crate) fn frozen(&self) -> Vec<(&'static str, String)> {
        let language_model = self.language_model.as_ref();
        let encoder = (!self.trains_encoder).then(|| ("encoder", self.encoder.encoder.fingerprint()));
        let language_model = language_model.map(|loaded| ("language_model", loaded.model.fingerprint()));
        encoder.into_iter().chain(language_model).collect()
    }
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
pub(crate) type Sets = (Arc<Mixture>, Vec<Arc<Mixture>>);

/// Those of `recipe`, by what `formats` reads; indices and fetched shards are kept below `home`.
pub(crate) fn open_sets(recipe: &Recipe, home: &Path, formats: &Formats) -> Result<Sets, TrainError> {
    let opening = OpenOptions {
        cache: Some(Cache::new(home.join("data"), CACHE_BYTES)),
        ..OpenOptions::default()
    };
    let mix = |specs: &[DataSpec]| -> Result<Arc<Mixture>, TrainError> {
        let part = |spec: &DataSpec| {
            let set: Arc<dyn Dataset> = formats.open(&found(spec, home), &opening)?.into();
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
