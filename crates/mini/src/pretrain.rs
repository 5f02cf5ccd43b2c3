//! The run of the embedded default: features, both stages, the baseline and the ablation, figures and report.

use std::path::Path;

use blip2::{LoadPlan, LoadedEncoder, LoadedLanguageModel, Registry, save_pretrained, text_batch};
use blip2_core::Initializer;
use blip2_data::text::{BertTokenizer, Padding};
use blip2_distributed::Communicator;
use blip2_objectives::RepresentationOptions;
use blip2_qformer::{Bridge, RepresentationModel};
use blip2_trainer::{
    FirstSamples, GenerativeObjective, Objective, Observer, Origin, PretrainOptions, Projection, Prompts,
    RecipeFile, RepresentationObjective, Run, RunOptions, TrainError, Trained, Trainer, bridge_from,
    check_frozen, found, representation_at, representation_from_bert,
};
use burn::tensor::Device;

use crate::baseline::{self, BaselineObjective, MeanBaseline};
use crate::corpus::{Captions, CaptionsAndQuestions, Corpus};
use crate::figures::{Outcome, PARTS, Reporter};
use crate::held_out::HeldOut;
use crate::scenes::{EmojiAssets, EmojiNames, SceneArtist};
use crate::{MiniError, MiniRecipe};

/// Training samples whose means and words stage 1 begins from, where it does.
const SAMPLES_TO_START_FROM: usize = 256;

/// The frozen models of a run, and who draws.
pub(crate) struct Frozen {
    pub(crate) encoder: LoadedEncoder,
    /// SHA-256 of the encoder's weights as they were loaded.
    pub(crate) encoder_fingerprint: String,
    pub(crate) language_model: LoadedLanguageModel,
    /// The same of the language model's.
    language_model_fingerprint: String,
    pub(crate) tokenizer: BertTokenizer,
    pub(crate) artist: SceneArtist,
    /// Where they are, without autodiff.
    pub(crate) device: Device,
    assets: EmojiAssets,
}

impl Frozen {
    fn load(
        recipe: &MiniRecipe,
        home: &Path,
        registry: &Registry,
        device: &Device,
    ) -> Result<Self, MiniError> {
        let assets = EmojiAssets::in_home(home);
        let plan = LoadPlan::as_stored(device);
        let encoder = registry.encoder(&recipe.encoder, home, &plan)?;
        let language_model = registry.language_model(&recipe.language_model, home, &plan)?;
        Ok(Self {
            encoder_fingerprint: encoder.encoder.fingerprint(),
            encoder,
            language_model_fingerprint: language_model.model.fingerprint(),
            language_model,
            tokenizer: BertTokenizer::from_file(&home.join(&recipe.vocabulary))?,
            artist: SceneArtist::load(&assets)?,
            device: device.clone(),
            assets,
        })
    }

    /// Single emoji by name. Read when needed: the drawings take much memory.
    pub(crate) fn names(&self) -> Result<EmojiNames, MiniError> {
        Ok(EmojiNames::load(&self.assets)?)
    }

    /// Name and SHA-256 of each model as it was loaded.
    fn loaded(&self) -> [(&'static str, String); 2] {
        [
            ("encoder", self.encoder_fingerprint.clone()),
            ("language_model", self.language_model_fingerprint.clone()),
        ]
    }

    /// The same as they are now.
    fn present(&self) -> [(&'static str, String); 2] {
        [
            ("encoder", self.encoder.encoder.fingerprint()),
            ("language_model", self.language_model.model.fingerprint()),
        ]
    }
}

/// Runs `options` to its end and writes models, `report.json` and `report.html` into the run folder. `ranks` share the training; the
/// first of them alone stores features, evaluates and writes.
///
/// # Errors
/// [`MiniError`]; the run folder then holds the checkpoints so far, and resuming goes on from them.
pub fn pretrain(
    options: PretrainOptions,
    ranks: &Communicator,
    observer: &dyn Observer,
) -> Result<(), MiniError> {
    let recipe = MiniRecipe::read(&options.recipe, &options.overrides)?;
    let resolved = recipe.to_toml()?;
    let device = options.device;
    let mut run = Run::open(RunOptions {
        folder: options.run,
        recipe: resolved.clone(),
        data: None,
        seed: recipe.seed,
        resume: options.resume,
        device: device.clone(),
        observer,
        ranks,
    })?;
    let frozen = Frozen::load(&recipe, &options.home, &options.registry, &device)?;
    let prepare = || Corpus::prepare(&recipe, &options.home, &frozen, observer);
    let prepared = match ranks.is_first() {
        true => Some(prepare()?),
        false => None,
    };
    ranks.barrier("features").map_err(TrainError::from)?;
    let corpus = match prepared {
        Some(corpus) => corpus,
        None => prepare()?,
    };
    run.log_frozen("before", &frozen.loaded())?;
    let phases = Phases {
        recipe: &recipe,
        home: &options.home,
        frozen: &frozen,
        corpus: &corpus,
    };
    let outcome = phases.train(&mut run)?;
    let present = frozen.present();
    run.log_frozen("after", &present)?;
    check_frozen(&frozen.loaded(), &present)?;

    if !ranks.is_first() {
        return Ok(());
    }
    save_pretrained(
        &run.folder().join("model"),
        &recipe.model_config(),
        Some(&outcome.representation.model),
        Some(&outcome.bridge.model),
    )?;
    let reporter = Reporter {
        run: &run,
        recipe: &recipe,
        frozen: &frozen,
        corpus: &corpus,
        outcome: &outcome.valid(),
    };
    reporter.write(resolved)
}

/// All that is trained, one after the other.
struct Phases<'a> {
    recipe: &'a MiniRecipe,
    home: &'a Path,
    frozen: &'a Frozen,
    corpus: &'a Corpus,
}

impl Phases<'_> {
    fn train(&self, run: &mut Run<'_>) -> Result<Outcome, MiniError> {
        let representation = self.stage1(run)?;
        let baseline = self.baseline(run)?;
        let started = self.bridge_from(run, "stage2", representation.model.clone())?;
        let bridge = self.stage2(run, "stage2", Origin::from_stage1, started)?;
        let alone = match self.recipe.ablation {
            true => {
                let started = self.bridge_from(run, "stage2-alone", self.initial(run)?)?;
                Some(self.stage2(run, "stage2-alone", Origin::from_bert, started)?)
            }
            false => None,
        };
        Ok(Outcome {
            representation,
            baseline,
            bridge,
            alone,
        })
    }

    /// A stage-1 model as BERT and the seed make it.
    fn initial(&self, run: &Run<'_>) -> Result<RepresentationModel, MiniError> {
        Ok(representation_from_bert(
            &self.recipe.representation,
            self.frozen.encoder.encoder.width(),
            &self.home.join(&self.recipe.bert),
            self.recipe.seed,
            run.device(),
        )?)
    }

    /// `model` with what all training samples have in common set beforehand.
    fn started_from_data(
        &self,
        model: RepresentationModel,
        device: &Device,
    ) -> Result<RepresentationModel, MiniError> {
        let (tokenizer, longest) = (&self.frozen.tokenizer, self.recipe.max_text_tokens);
        let scenes = &self.corpus.scenes;
        let some: Vec<usize> = (0..scenes.len().min(SAMPLES_TO_START_FROM)).collect();
        let captions: Vec<&str> = some.iter().map(|index| scenes[*index].caption.as_str()).collect();
        let texts = text_batch(tokenizer, &captions, longest, device)?;
        // What is to be predicted: all but the first token.
        let words = tokenizer.encode(&captions, longest, Padding::Longest)?;
        let rows = words.ids.into_iter().zip(words.mask);
        let words = rows.flat_map(|(ids, mask)| ids.into_iter().zip(mask).skip(1));
        let words = words.filter_map(|(word, real)| real.then_some(word));
        Ok(model
            .with_centred_start(self.corpus.features.batch(&some, device)?, &texts)?
            .with_word_frequencies(words)?)
    }

    fn stage1(&self, run: &mut Run<'_>) -> Result<Trained<RepresentationModel>, MiniError> {
        let stage = &self.recipe.stage1;
        let (model, origin): (_, fn(&str) -> Origin) = match &stage.from {
            Some(from) => {
                let sizes = &self.recipe.representation;
                let model = representation_at(&found(from, self.home), sizes, run.device())?;
                (model, Origin::from_stage1)
            }
            None if self.recipe.start_from_data => {
                let model = self.started_from_data(self.initial(run)?, run.device())?;
                (model, Origin::from_bert)
            }
            None => (self.initial(run)?, Origin::from_bert),
        };
        let objective = RepresentationObjective {
            tokenizer: &self.frozen.tokenizer,
            max_text_tokens: self.recipe.max_text_tokens,
            options: stage.representation_options(self.frozen.tokenizer.decode_id()),
            maximum_temperature: stage.maximum_temperature,
            image_ids: false,
        };
        let mut trainer = Trainer {
            phase: "stage1",
            stage,
            rows: &mut self.captions(stage.batch),
            features: &self.corpus.features,
            objective: &objective,
            origin,
            layers: None,
            evaluators: Vec::new(),
        };
        Ok(trainer.train(run, model)?)
    }

    fn captions(&self, batch: usize) -> Captions<'_> {
        Captions {
            corpus: self.corpus,
            batch,
            seed: self.recipe.seed,
        }
    }

    fn baseline(&self, run: &mut Run<'_>) -> Result<Option<Trained<MeanBaseline>>, MiniError> {
        let Some(stage) = &self.recipe.baseline else {
            return Ok(None);
        };
        let text = self.initial(run)?;
        let mut initializer = Initializer::new(self.recipe.seed ^ 1, run.device());
        let model = MeanBaseline::new(&mut initializer, text, self.recipe.representation.embedding_size);
        let objective = BaselineObjective {
            tokenizer: &self.frozen.tokenizer,
            max_text_tokens: self.recipe.max_text_tokens,
            label_smoothing: RepresentationOptions::default().label_smoothing,
            maximum_temperature: stage.maximum_temperature,
        };
        let mut trainer = Trainer {
            phase: "baseline",
            stage,
            rows: &mut self.captions(stage.batch),
            features: &self.corpus.features,
            objective: &objective,
            origin: baseline::origin,
            layers: None,
            evaluators: Vec::new(),
        };
        Ok(Some(trainer.train(run, model)?))
    }

    /// Where the stage 2 called `phase` starts: with the Q-Former as stage 1 left it, or as BERT gave it.
    fn bridge_from(
        &self,
        run: &Run<'_>,
        phase: &str,
        representation: RepresentationModel,
    ) -> Result<Bridge, MiniError> {
        let projection = match run.decides_first_weights(phase)? {
            true => self.recipe.bridge.projection,
            false => Projection::Pytorch,
        };
        let frozen = &self.frozen.language_model;
        let prompts = Prompts::new(&self.recipe.language_model, &frozen.tokenizer);
        let (batch, scenes) = (self.recipe.stage2.batch, self.corpus.scenes.len());
        let samples = |part: u64| {
            let start = scenes.min(part as usize * batch);
            let some: Vec<_> = (start..scenes.min(start + batch)).collect();
            if some.is_empty() {
                return Ok(None);
            }
            let rows: Vec<_> = some.iter().map(|index| self.corpus.row(*index)).collect();
            let features = self.corpus.features.batch(&some, run.device())?;
            Ok(Some(FirstSamples::new(&prompts, &rows, None, features)?))
        };
        Ok(bridge_from(
            representation,
            frozen.model.as_ref(),
            projection,
            samples,
            self.recipe.seed,
            run.device(),
        )?)
    }

    /// The held-out pictures that are asked about while stage 2 trains.
    fn asked(&self) -> Result<Vec<HeldOut>, MiniError> {
        let evaluation = &self.recipe.evaluation;
        let parts = PARTS.iter().filter(|_| evaluation.every > 0);
        parts
            .map(|part| HeldOut::first(self.recipe, *part, evaluation.captions, self.frozen))
            .collect()
    }

    fn stage2(
        &self,
        run: &mut Run<'_>,
        phase: &str,
        origin: fn(&str) -> Origin,
        bridge: Bridge,
    ) -> Result<Trained<Bridge>, MiniError> {
        let stage = &self.recipe.stage2;
        let language_model = &self.frozen.language_model;
        let prompts = Prompts::new(&self.recipe.language_model, &language_model.tokenizer);
        let mut rows = CaptionsAndQuestions {
            corpus: self.corpus,
            batch: stage.batch,
            seed: self.recipe.seed,
            questions: self.recipe.data.questions,
            prompts: &prompts,
        };
        let objective = GenerativeObjective {
            language_model,
            prompts: &prompts,
            max_text_tokens: None,
            reader: None,
            interleaved: stage.pairs_a_text(),
        };
        let asked = self.asked()?;
        let device = run.device().clone().inner();
        let evaluators = asked.iter().filter_map(|part| {
            let samples = part.questions(self.recipe.evaluation.every, &prompts, &device);
            objective.evaluator(samples)
        });
        let mut trainer = Trainer {
            phase,
            stage,
            rows: &mut rows,
            features: &self.corpus.features,
            objective: &objective,
            origin,
            layers: None,
            evaluators: evaluators.collect(),
        };
        Ok(trainer.train(run, bridge)?)
    }
}
