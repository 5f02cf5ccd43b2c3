//! The stages of a recipe, one after the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use blip2::{LanguageModelConfig, LoadedLanguageModel};
use blip2_data::features::FeatureStore;
use blip2_data::loader::{LoaderOptions, TrainView, Transform};
use blip2_qformer::{Bridge, RepresentationModel};
use blip2_vision_encoder::VisionTransformer;
use burn::module::{Module, ModuleDisplay};

use crate::loaded::Loaded;
use crate::{
    Adapters, DataRows, Evaluator, FeatureSource, FirstSamples, GenerativeObjective, HeldOut, HeldOutLoss,
    LayerRates, Live, MeasureRecipe, Objective, Origin, PrefixRows, Projection, Prompts, RandAugmentRecipe,
    Recipe, RepresentationObjective, Row, RowSource, Run, StageRecipe, TrainError, Trainer, Trunk, Tuned,
    WithinGraph, bridge_at, bridge_from, found, representation_at, representation_from_bert,
};

const STAGE1: &str = "stage1";
const STAGE2: &str = "stage2";

/// The fewest rows that held-out losses are measured on at a time: matching needs a wrong partner.
const MATCHED: usize = 2;

/// Rows that first weights are made from at a time.
const START_ROWS: usize = 32;

/// Where the first value of a parameter comes from, by its path.
type OriginOf = fn(&str) -> Origin;

/// What the stages trained, as far as they were run.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) encoder: Option<VisionTransformer>,
    pub(crate) representation: Option<RepresentationModel>,
    pub(crate) bridge: Option<Bridge>,
    pub(crate) adapters: Option<Adapters>,
}

/// What tells one stage from another.
struct Phase<'a, O> {
    name: &'a str,
    stage: &'a StageRecipe,
    objective: &'a O,
    origin: OriginOf,
}

/// The stages of a recipe, with all that they stand on.
pub(crate) struct Stages<'a> {
    pub(crate) recipe: &'a Recipe,
    pub(crate) home: &'a Path,
    pub(crate) loaded: &'a Loaded,
    pub(crate) live: Live<'a>,
    pub(crate) store: Option<FeatureStore>,
}

impl Stages<'_> {
    pub(crate) fn train(&self, run: &mut Run<'_>) -> Result<Outcome, TrainError> {
        let mut outcome = Outcome::default();
        if let Some(stage) = &self.recipe.stage1 {
            self.stage1(run, stage, &mut outcome)?;
        }
        let behind = self
            .recipe
            .language_model
            .as_ref()
            .zip(self.loaded.language_model.as_ref());
        if let (Some(stage), Some(language_model)) = (&self.recipe.stage2, behind) {
            self.stage2(run, stage, language_model, &mut outcome)?;
        }
        Ok(outcome)
    }

    fn stage1(
        &self,
        run: &mut Run<'_>,
        stage: &StageRecipe,
        outcome: &mut Outcome,
    ) -> Result<(), TrainError> {
        let (model, origin): (_, OriginOf) = match &stage.from {
            Some(from) => {
                let sizes = &self.recipe.representation;
                (
                    representation_at(&self.found(from), sizes, run.device())?,
                    Origin::from_stage1,
                )
            }
            None => (self.begin(run)?, Origin::from_bert),
        };
        let objective = RepresentationObjective {
            tokenizer: &self.loaded.tokenizer,
            max_text_tokens: self.recipe.max_text_tokens,
            options: stage.representation_options(self.loaded.tokenizer.decode_id()),
            maximum_temperature: stage.maximum_temperature,
            image_ids: stage.image_ids,
        };
        let mut rows = self.rows(run, STAGE1, stage);
        let phase = Phase {
            name: STAGE1,
            stage,
            objective: &objective,
            origin,
        };
        let model = self.run_phase(run, phase, &mut rows, model, outcome)?;
        outcome.representation = Some(model);
        Ok(())
    }

    /// A stage-1 model as BERT and the seed make it.
    fn begin(&self, run: &Run<'_>) -> Result<RepresentationModel, TrainError> {
        let bert = self.recipe.bert.as_ref().ok_or_else(|| TrainError::Recipe {
            path: "recipe.toml".into(),
            reason: "bert is missing: it names the weights that a Q-Former begins with".to_owned(),
        })?;
        representation_from_bert(
            &self.recipe.representation,
            self.loaded.encoder.encoder.width(),
            &self.home.join(bert),
            self.recipe.seed,
            run.device(),
        )
    }

    fn stage2(
        &self,
        run: &mut Run<'_>,
        stage: &StageRecipe,
        (config, language_model): (&LanguageModelConfig, &LoadedLanguageModel),
        outcome: &mut Outcome,
    ) -> Result<(), TrainError> {
        let prompts = Prompts::new(config, &language_model.tokenizer);
        let mut rows = self.rows(run, STAGE2, stage);
        let (bridge, origin) = self.bridge(run, stage, language_model, (&prompts, &mut rows), outcome)?;
        let objective = GenerativeObjective {
            language_model,
            prompts: &prompts,
            max_text_tokens: Some(self.recipe.max_text_tokens),
            reader: (!stage.reads.is_nothing()).then_some(&self.loaded.tokenizer),
            interleaved: stage.pairs_a_text(),
        };
        let phase = Phase {
            name: STAGE2,
            stage,
            objective: &objective,
            origin,
        };
        let mut prefixes;
        let rows: &mut dyn RowSource = match stage.prefix_language_modelling {
            true => {
                let seed = self.recipe.seed;
                prefixes = PrefixRows { rows, seed };
                &mut prefixes
            }
            false => &mut rows,
        };
        outcome.bridge = Some(self.run_phase(run, phase, rows, bridge, outcome)?);
        Ok(())
    }

    /// The bridge that stage 2 begins with.
    fn bridge(
        &self,
        run: &Run<'_>,
        stage: &StageRecipe,
        language_model: &LoadedLanguageModel,
        (prompts, rows): (&Prompts<'_>, &mut DataRows),
        outcome: &Outcome,
    ) -> Result<(Bridge, OriginOf), TrainError> {
        let (frozen, projection) = (language_model.model.as_ref(), self.recipe.bridge.projection);
        let (sizes, seed, device) = (&self.recipe.representation, self.recipe.seed, run.device());
        if let (Projection::Kept, Some(from)) = (projection, &stage.from) {
            let text_from = stage.text_from.as_ref().map(|path| self.found(path));
            let hidden_size = frozen.hidden_size();
            let (from, text_from) = (self.found(from), text_from.as_deref());
            let bridge = bridge_at(&from, text_from, sizes, stage.reads, hidden_size, device)?;
            return Ok((bridge, Origin::from_stage2));
        }
        let (trunk, origin): (Trunk, OriginOf) = match (&outcome.representation, &stage.from) {
            (Some(model), _) => (
                Trunk::for_reading(stage.reads, model.clone()),
                Origin::from_stage1,
            ),
            (None, Some(from)) => (
                Trunk::open_for(stage.reads, &self.found(from), sizes, device)?,
                Origin::from_stage1,
            ),
            (None, None) => (
                Trunk::for_reading(stage.reads, self.begin(run)?),
                Origin::from_bert,
            ),
        };
        let projection = match run.decides_first_weights(STAGE2)? {
            true => projection,
            false => Projection::Pytorch,
        };
        // A few rows at a time: a whole batch of live features need not fit.
        let pieces = stage.batch.div_ceil(START_ROWS);
        let samples = |part: u64| {
            let (step, first) = (part / pieces as u64 + 1, part as usize % pieces * START_ROWS);
            let rows = rows.some_rows(step, first..stage.batch.min(first + START_ROWS))?;
            let features = self.live_or_stored().features(&rows, device)?;
            let longest = Some(self.recipe.max_text_tokens);
            Ok(Some(FirstSamples::new(prompts, &rows, longest, features)?))
        };
        let bridge = bridge_from(trunk, frozen, projection, samples, seed, device)?;
        Ok((bridge, origin))
    }

    fn found(&self, path: &Path) -> PathBuf {
        found(path, self.home)
    }

    /// Trains `model`, with the encoder in front of it and the updates of the language model behind it where the recipe says so. The
    /// encoder begins as it is in `outcome`.
    fn run_phase<M: Module + ModuleDisplay, O: Objective<M> + Objective<Tuned<M>>>(
        &self,
        run: &mut Run<'_>,
        phase: Phase<'_, O>,
        rows: &mut dyn RowSource,
        model: M,
        outcome: &mut Outcome,
    ) -> Result<M, TrainError> {
        let (recipe, loaded) = (&self.recipe.encoder, &self.loaded.encoder);
        let own = (self.live_or_stored(), &self.live as &dyn FeatureSource);
        let lora = self.recipe.lora.as_ref().filter(|_| phase.name == STAGE2);
        if !recipe.train && lora.is_none() {
            return self.run_trainer(run, &phase, rows, model, phase.objective, own, None);
        }
        let mut tuned = Tuned::new(loaded, model);
        let mut features = own;
        if recipe.train {
            let encoder = outcome.encoder.take().or_else(|| loaded.vision_transformer());
            let encoder = encoder.ok_or_else(|| TrainError::Recipe {
                path: "recipe.toml".into(),
                reason: "encoder.train: this encoder cannot be trained here, since it is no vision transformer of this library"
                    .to_owned(),
            })?;
            tuned = tuned.with_encoder(encoder, recipe.drop_path, run.device())?;
            features = (&WithinGraph, &WithinGraph);
        }
        if let (Some(config), Some(language_model)) = (lora, &self.loaded.language_model) {
            let frozen = language_model.model.as_ref();
            tuned.adapters = Some(Adapters::new(config, frozen, self.recipe.seed, run.device())?);
        }
        let layers = LayerRates::new(tuned.encoder.as_ref(), recipe.layer_decay, recipe.layer_rule);
        let tuned = self.run_trainer(run, &phase, rows, tuned, phase.objective, features, Some(layers))?;
        outcome.encoder = tuned.encoder;
        outcome.adapters = tuned.adapters;
        Ok(tuned.model)
    }

    /// `features` are those of training, and those of evaluation.
    #[expect(clippy::too_many_arguments, reason = "the parts of a phase, each once")]
    fn run_trainer<M: Module, O>(
        &self,
        run: &mut Run<'_>,
        phase: &Phase<'_, O>,
        rows: &mut dyn RowSource,
        model: M,
        objective: &dyn Objective<M>,
        features: (&dyn FeatureSource, &dyn FeatureSource),
        layers: Option<LayerRates>,
    ) -> Result<M, TrainError> {
        let mut evaluators = Vec::new();
        for (evaluation, mixture) in self.recipe.evaluation.iter().zip(&self.loaded.held_out) {
            let transform = Arc::new(self.loaded.encoder.processor.clone());
            let options = LoaderOptions {
                threads: self.recipe.loader.threads,
                ..LoaderOptions::new((phase.stage.batch / phase.stage.parts).max(MATCHED) as u64)
            };
            let rows = DataRows::new(mixture.clone(), transform, options);
            let mut rows = self.as_said(rows, phase.name, phase.stage);
            let mut prefixes;
            // The loss is that of training; what is written follows the prompt alone.
            let cuts = phase.stage.prefix_language_modelling && evaluation.measure == MeasureRecipe::Loss;
            let rows: &mut dyn RowSource = match cuts {
                true => {
                    let seed = self.recipe.seed;
                    prefixes = PrefixRows { rows, seed };
                    &mut prefixes
                }
                false => &mut rows,
            };
            let batches: Vec<Vec<Row>> = (1..=evaluation.batches)
                .map(|number| rows.rows(number))
                .collect::<Result<_, _>>()?;
            let (name, every) = (evaluation.name.clone(), evaluation.every);
            let device = run.device().clone().inner();
            let evaluator: Option<Box<dyn Evaluator<M>>> = match evaluation.measure {
                MeasureRecipe::Loss => Some(Box::new(HeldOutLoss {
                    name,
                    every,
                    batches,
                    features: features.1,
                    objective,
                    seed: self.recipe.seed,
                    device,
                    ranks: run.ranks(),
                })),
                MeasureRecipe::Task => objective.evaluator(HeldOut {
                    name,
                    every,
                    rows: batches.concat(),
                    features: features.1,
                    device,
                }),
            };
            evaluators.push(evaluator.ok_or_else(|| TrainError::Recipe {
                path: "recipe.toml".into(),
                reason: format!(
                    "evaluation `{}` in {}: measure = \"task\" does not go with a Q-Former that reads questions; measure = \"loss\" does",
                    evaluation.name, phase.name
                ),
            })?);
        }
        let mut trainer = Trainer {
            phase: phase.name,
            stage: phase.stage,
            rows,
            features: features.0,
            objective,
            origin: phase.origin,
            layers,
            evaluators,
        };
        Ok(trainer.train(run, model)?.model)
    }

    fn live_or_stored(&self) -> &dyn FeatureSource {
        match &self.store {
            Some(store) => store,
            None => &self.live,
        }
    }

    /// `rows` with the words of the recipe around their texts, and what the Q-Former reads of them. Questions are for stage 2.
    fn as_said(&self, mut rows: DataRows, phase: &str, stage: &StageRecipe) -> DataRows {
        let asks = self.recipe.language_model.as_ref().filter(|_| phase == STAGE2);
        rows.question_prompt = asks.map(|config| config.question_prompt.clone());
        rows.templates = self.recipe.templates.clone();
        rows.reads = stage.reads;
        rows
    }

    fn rows(&self, run: &Run<'_>, phase: &str, stage: &StageRecipe) -> DataRows {
        let processor = &self.loaded.encoder.processor;
        let transform: Arc<dyn Transform> = match &self.recipe.loader.augmentation {
            None => Arc::new(processor.clone()),
            Some(augmentation) => Arc::new(TrainView {
                augmentation: augmentation.clone(),
                rand_augment: self
                    .recipe
                    .loader
                    .rand_augment
                    .map(RandAugmentRecipe::rand_augment),
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
        let rows = DataRows::new(self.loaded.mixture.clone(), transform, options);
        self.as_said(rows, phase, stage)
    }
}
