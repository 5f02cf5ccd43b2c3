//! Pretraining on anyone's pictures: the run that a [`Recipe`] decides.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use blip2::{LanguageModelConfig, LoadPlan, LoadedEncoder, LoadedLanguageModel, Registry, save_pretrained};
use blip2_data::features::FeatureStore;
use blip2_data::loader::{LoaderOptions, TrainView, Transform};
use blip2_data::mixture::{Mixing, Mixture, Part};
use blip2_data::sets::{Cache, DataSpec, Formats, OpenOptions};
use blip2_data::text::BertTokenizer;
use blip2_distributed::Communicator;
use blip2_qformer::{Bridge, RepresentationModel};
use burn::module::Module;
use burn::tensor::Device;

use crate::recipe::{FeaturesRecipe, Recipe};
use crate::{
    DataRows, Evaluator, FeatureSource, GenerativeObjective, HeldOutLoss, Live, Objective, Observer, Origin,
    PrefixRows, Prompts, RecipeFile, RepresentationObjective, RowSource, Run, RunOptions, StageRecipe,
    TrainError, Trained, Trainer, Trunk, bridge_from, check_frozen, representation_from_bert, store_features,
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
struct Loaded {
    encoder: LoadedEncoder,
    language_model: Option<LoadedLanguageModel>,
    tokenizer: BertTokenizer,
    mixture: Arc<Mixture>,
    held_out: Vec<Arc<Mixture>>,
}

impl Loaded {
    /// Name and SHA-256 of each frozen model as it is in memory.
    fn frozen(&self) -> Vec<(&'static str, String)> {
        let language_model = self.language_model.as_ref();
        let encoder = ("encoder", self.encoder.encoder.fingerprint());
        let language_model = language_model.map(|loaded| ("language_model", loaded.model.fingerprint()));
        [encoder].into_iter().chain(language_model).collect()
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
            &loaded.encoder,
            &before[0].1,
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
    let (representation, bridge) = stages.train(&mut run)?;
    let after = loaded.frozen();
    run.log_frozen("after", &after)?;
    check_frozen(&before, &after)?;
    if !ranks.is_first() {
        return Ok(());
    }
    Ok(save_pretrained(
        &run.folder().join("model"),
        &recipe.model_config(),
        representation.map(|trained| trained.model).as_ref(),
        bridge.map(|trained| trained.model).as_ref(),
    )?)
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
            Ok(Part {
                set: options.formats.open(spec, &opening)?.into(),
                weight: spec.weight,
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
        encoder: registry.encoder(&recipe.encoder, home, &plan)?,
        language_model,
        tokenizer: BertTokenizer::from_file(&home.join(&recipe.vocabulary))?,
        mixture: sets.0,
        held_out: sets.1,
    })
}

/// What the stages trained, as far as they were run.
type Outcome = (Option<Trained<RepresentationModel>>, Option<Trained<Bridge>>);

/// What tells one stage from another.
struct Phase<'a, M> {
    name: &'a str,
    stage: &'a StageRecipe,
    objective: &'a dyn Objective<M>,
    origin: fn(&str) -> Origin,
}

/// The stages of a recipe, with all that they stand on.
struct Stages<'a> {
    recipe: &'a Recipe,
    home: &'a Path,
    loaded: &'a Loaded,
    live: Live<'a>,
    store: Option<FeatureStore>,
}

impl Stages<'_> {
    fn train(&self, run: &mut Run<'_>) -> Result<Outcome, TrainError> {
        let representation = match &self.recipe.stage1 {
            Some(stage) => Some(self.stage1(run, stage)?),
            None => None,
        };
        let behind = self
            .recipe
            .language_model
            .as_ref()
            .zip(self.loaded.language_model.as_ref());
        let bridge = match (&self.recipe.stage2, behind) {
            (Some(stage), Some(language_model)) => {
                let start = representation.as_ref().map(|trained| trained.model.clone());
                Some(self.stage2(run, stage, language_model, start)?)
            }
            _ => None,
        };
        Ok((representation, bridge))
    }

    fn stage1(
        &self,
        run: &mut Run<'_>,
        stage: &StageRecipe,
    ) -> Result<Trained<RepresentationModel>, TrainError> {
        let model = self.begin(run)?;
        let objective = RepresentationObjective {
            tokenizer: &self.loaded.tokenizer,
            max_text_tokens: self.recipe.max_text_tokens,
            options: stage.representation_options(self.loaded.tokenizer.decode_id()),
            maximum_temperature: stage.maximum_temperature,
        };
        let mut rows = self.rows(run, "stage1", stage);
        let phase = Phase {
            name: "stage1",
            stage,
            objective: &objective,
            origin: Origin::from_bert,
        };
        self.run_phase(run, phase, &mut rows, model)
    }

    /// A stage-1 model as BERT and the seed make it.
    fn begin(&self, run: &Run<'_>) -> Result<RepresentationModel, TrainError> {
        representation_from_bert(
            &self.recipe.representation,
            self.loaded.encoder.encoder.width(),
            &self.home.join(&self.recipe.bert),
            self.recipe.seed,
            run.device(),
        )
    }

    fn stage2(
        &self,
        run: &mut Run<'_>,
        stage: &StageRecipe,
        (config, language_model): (&LanguageModelConfig, &LoadedLanguageModel),
        trained: Option<RepresentationModel>,
    ) -> Result<Trained<Bridge>, TrainError> {
        let prompts = Prompts::new(config, &language_model.tokenizer);
        let mut rows = self.rows(run, "stage2", stage);
        rows.question_prompt = Some(config.question_prompt.clone());
        let (frozen, projection) = (language_model.model.as_ref(), self.recipe.bridge.projection);
        let (seed, device) = (self.recipe.seed, run.device().clone());
        let (trunk, origin): (Trunk, fn(&str) -> Origin) = match (trained, &stage.from) {
            (Some(model), _) => (model.into(), Origin::from_stage1),
            (None, Some(from)) => (
                Trunk::open(&self.found(from), &self.recipe.representation, &device)?,
                Origin::from_stage1,
            ),
            (None, None) => (self.begin(run)?.into(), Origin::from_bert),
        };
        let first = || self.features().features(&rows.rows(1)?, &device);
        let bridge = bridge_from(trunk, frozen, projection, first, seed, &device)?;
        let objective = GenerativeObjective {
            language_model,
            prompts: &prompts,
            max_text_tokens: Some(self.recipe.max_text_tokens),
        };
        let phase = Phase {
            name: "stage2",
            stage,
            objective: &objective,
            origin,
        };
        match stage.prefix_language_modelling {
            true => self.run_phase(run, phase, &mut PrefixRows { rows, seed }, bridge),
            false => self.run_phase(run, phase, &mut rows, bridge),
        }
    }

    /// A path as it is, or under the home folder.
    fn found(&self, path: &Path) -> PathBuf {
        match path.exists() {
            true => path.to_owned(),
            false => self.home.join(path),
        }
    }

    fn run_phase<M: Module>(
        &self,
        run: &mut Run<'_>,
        phase: Phase<'_, M>,
        rows: &mut dyn RowSource,
        model: M,
    ) -> Result<Trained<M>, TrainError> {
        let mut evaluators = Vec::new();
        for (evaluation, mixture) in self.recipe.evaluation.iter().zip(&self.loaded.held_out) {
            let transform = Arc::new(self.loaded.encoder.processor.clone());
            let options = LoaderOptions {
                threads: self.recipe.loader.threads,
                ..LoaderOptions::new((phase.stage.batch / phase.stage.parts) as u64)
            };
            let mut rows = DataRows::new(mixture.clone(), transform, options);
            let evaluator = HeldOutLoss {
                name: evaluation.name.clone(),
                every: evaluation.every,
                batches: (1..=evaluation.batches)
                    .map(|number| rows.rows(number))
                    .collect::<Result<_, _>>()?,
                features: &self.live,
                objective: phase.objective,
                seed: self.recipe.seed,
                device: run.device().clone().inner(),
                ranks: run.ranks(),
            };
            evaluators.push(Box::new(evaluator) as Box<dyn Evaluator<M>>);
        }
        let mut trainer = Trainer {
            phase: phase.name,
            stage: phase.stage,
            rows,
            features: self.features(),
            objective: phase.objective,
            origin: phase.origin,
            evaluators,
        };
        trainer.train(run, model)
    }

    fn features(&self) -> &dyn FeatureSource {
        match &self.store {
            Some(store) => store,
            None => &self.live,
        }
    }

    fn rows(&self, run: &Run<'_>, phase: &str, stage: &StageRecipe) -> DataRows {
        let processor = &self.loaded.encoder.processor;
        let transform: Arc<dyn Transform> = match &self.recipe.loader.augmentation {
            None => Arc::new(processor.clone()),
            Some(augmentation) => Arc::new(TrainView {
                augmentation: augmentation.clone(),
                rand_augment: None,
                width: processor.width,
                height: processor.height,
            }),
        };
        let skipped = match run.ranks().rank() {
            0 => format!("skipped-{phase}.jsonl"),
            rank => format!("skipped-{phase}-rank-{rank}.jsonl"),
        };
        let is_there = run.folder().is_dir();
        let options = LoaderOptions {
            threads: self.recipe.loader.threads,
            ahead: self.recipe.loader.ahead,
            max_skipped: self.recipe.loader.max_skipped,
            skipped: is_there.then(|| run.folder().join(skipped)),
            ..LoaderOptions::new(stage.batch as u64)
        };
        DataRows::new(self.loaded.mixture.clone(), transform, options)
    }
}
