//! The run of the embedded default: features, both stages, the baseline and the ablation, figures and report.

use std::path::{Path, PathBuf};

use blip2::{LoadedEncoder, load_encoder, load_language_model, save_pretrained};
use blip2_core::Initializer;
use blip2_core::weights::SafetensorsStore;
use blip2_data::scenes::{EmojiAssets, EmojiNames, SceneArtist};
use blip2_data::text::BertTokenizer;
use blip2_llm_adapters::LoadedLanguageModel;
use blip2_objectives::{Bridge, RepresentationOptions};
use blip2_qformer::{RepresentationModel, load_bert};
use burn::module::Module;
use burn::tensor::Device;
use serde_json::{Map, json};

use crate::baseline::{BaselineTask, MeanBaseline};
use crate::checkpoint::{digest, io};
use crate::corpus::Corpus;
use crate::figures::{Outcome, Reporter};
use crate::generative::{GenerativeTask, Prompts};
use crate::recipe::Projection;
use crate::representation::RepresentationTask;
use crate::training::{Context, Trained, train};
use crate::{Recipe, RunLog, TrainError};

/// What to run and where.
#[derive(Clone, Debug)]
pub struct PretrainOptions {
    /// The TOML file.
    pub recipe: PathBuf,
    /// `key=value` pairs that replace entries of the recipe.
    pub overrides: Vec<String>,
    /// The run folder; made where it is missing.
    pub run: PathBuf,
    /// Go on from the newest checkpoints of the run folder, from the start where there are none.
    pub resume: bool,
    /// Where assets lie and features are stored.
    pub home: PathBuf,
}

/// Told of the progress of a run.
pub trait Observer {
    /// A phase of `total_steps` begins.
    fn phase(&self, name: &str, total_steps: u64);
    /// A step of the phase is done.
    fn step(&self, step: u64, line: &str);
    /// Something worth a line.
    fn note(&self, line: &str);
}

/// The frozen models of a run.
pub(crate) struct Frozen {
    pub(crate) encoder: LoadedEncoder,
    /// SHA-256 of the encoder's weights as they were loaded.
    pub(crate) encoder_fingerprint: String,
    pub(crate) language_model: LoadedLanguageModel,
    /// The same of the language model's.
    language_model_fingerprint: String,
    pub(crate) tokenizer: BertTokenizer,
    pub(crate) artist: SceneArtist,
    assets: EmojiAssets,
}

impl Frozen {
    /// Single emoji by name. Read when needed: the drawings take much memory.
    pub(crate) fn names(&self) -> Result<EmojiNames, TrainError> {
        Ok(EmojiNames::load(&self.assets)?)
    }
}

/// Runs `options` to its end and writes models, `report.json` and `report.html` into the run folder.
///
/// # Errors
/// [`TrainError`]; the run folder then holds the checkpoints so far, and resuming goes on from them.
pub fn pretrain(options: PretrainOptions, observer: &dyn Observer) -> Result<(), TrainError> {
    let recipe = Recipe::read(&options.recipe, &options.overrides)?;
    let resolved = recipe.to_toml()?;
    open_run(&options, &resolved)?;
    let device = Device::flex();
    let frozen = load_frozen(&recipe, &options.home, &device)?;
    let corpus = Corpus::prepare(&recipe, &options.home, &frozen, observer)?;
    let mut context = Context {
        run: options.run.clone(),
        recipe: digest(&resolved),
        seed: recipe.seed,
        log: RunLog::open(&options.run)?,
        observer,
        device: device.autodiff(),
    };

    log_frozen(&mut context, &frozen, "before")?;
    let representation = stage1(&mut context, &recipe, &options.home, &frozen, &corpus)?;
    let baseline = baseline(&mut context, &recipe, &options.home, &frozen, &corpus)?;
    let started = bridge_from(&context, &recipe, &frozen, &corpus, representation.model.clone())?;
    let bridge = stage2(&mut context, &recipe, &frozen, &corpus, "stage2", started)?;
    let alone = match recipe.ablation {
        true => {
            let untrained = initial(&context, &recipe, &options.home, &frozen)?;
            let started = bridge_from(&context, &recipe, &frozen, &corpus, untrained)?;
            Some(stage2(
                &mut context,
                &recipe,
                &frozen,
                &corpus,
                "stage2-alone",
                started,
            )?)
        }
        false => None,
    };
    log_frozen(&mut context, &frozen, "after")?;
    check_frozen(&frozen)?;

    let model = options.run.join("model");
    save_pretrained(
        &model,
        &recipe.model_config(),
        Some(&representation.model),
        Some(&bridge.model),
    )?;
    let outcome = Outcome {
        representation: valid(representation),
        baseline: baseline.map(valid),
        bridge: valid(bridge),
        alone: alone.map(valid),
    };
    let reporter = Reporter {
        context: &context,
        recipe: &recipe,
        frozen: &frozen,
        corpus: &corpus,
        outcome: &outcome,
    };
    reporter.write(resolved)
}

fn valid<M: Module>(trained: Trained<M>) -> Trained<M> {
    Trained {
        model: trained.model.valid(),
        seconds: trained.seconds,
    }
}

fn open_run(options: &PretrainOptions, resolved: &str) -> Result<(), TrainError> {
    let file = options.run.join("recipe.toml");
    if file.exists() && !options.resume {
        return Err(TrainError::Run {
            path: options.run.clone(),
            reason: "holds a run already: resume it with --resume, or choose another --run".to_owned(),
        });
    }
    if file.exists() {
        let begun = std::fs::read_to_string(&file).map_err(io("read", &file))?;
        return match begun == resolved {
            true => Ok(()),
            false => Err(TrainError::Run {
                path: options.run.clone(),
                reason: "was begun with another recipe or seed (its recipe.toml differs): resume with the same one, or \
                         choose another --run"
                    .to_owned(),
            }),
        };
    }
    std::fs::create_dir_all(&options.run).map_err(io("create", &options.run))?;
    let partial = file.with_extension("partial");
    std::fs::write(&partial, resolved)
        .and_then(|()| std::fs::rename(&partial, &file))
        .map_err(io("write", &file))
}

fn load_frozen(recipe: &Recipe, home: &Path, device: &Device) -> Result<Frozen, TrainError> {
    let assets = EmojiAssets::in_home(home);
    let encoder = load_encoder(&recipe.encoder, home, device)?;
    let language_model = load_language_model(&recipe.language_model, home, device)?;
    Ok(Frozen {
        encoder_fingerprint: encoder.encoder.fingerprint(),
        encoder,
        language_model_fingerprint: language_model.model.fingerprint(),
        language_model,
        tokenizer: BertTokenizer::from_file(&home.join(&recipe.vocabulary))?,
        artist: SceneArtist::load(&assets)?,
        assets,
    })
}

/// Writes the SHA-256 of the frozen models, as they are in memory, into the run log.
fn log_frozen(context: &mut Context<'_>, frozen: &Frozen, when: &str) -> Result<(), TrainError> {
    let mut line = Map::new();
    line.insert("frozen".into(), json!(when));
    line.insert("encoder".into(), json!(frozen.encoder.encoder.fingerprint()));
    line.insert(
        "language_model".into(),
        json!(frozen.language_model.model.fingerprint()),
    );
    context.log.write(line)
}

/// Frozen models are bit for bit what they were when they were loaded.
fn check_frozen(frozen: &Frozen) -> Result<(), TrainError> {
    if frozen.encoder.encoder.fingerprint() != frozen.encoder_fingerprint {
        return Err(TrainError::Thawed("encoder"));
    }
    if frozen.language_model.model.fingerprint() != frozen.language_model_fingerprint {
        return Err(TrainError::Thawed("language model"));
    }
    Ok(())
}

/// A stage-1 model as BERT and the seed make it.
fn initial(
    context: &Context<'_>,
    recipe: &Recipe,
    home: &Path,
    frozen: &Frozen,
) -> Result<RepresentationModel, TrainError> {
    let needed = frozen.encoder.encoder.width();
    if recipe.representation.qformer.encoder_hidden_size != needed {
        return Err(TrainError::Recipe {
            path: context.run.join("recipe.toml"),
            reason: format!(
                "representation.qformer.encoder_hidden_size is {}, but the encoder's features are {needed} wide",
                recipe.representation.qformer.encoder_hidden_size
            ),
        });
    }
    let mut initializer = Initializer::new(recipe.seed, &context.device);
    let model = RepresentationModel::new(&mut initializer, &recipe.representation)?;
    Ok(load_bert(
        model,
        &SafetensorsStore::open(&home.join(&recipe.bert))?,
    )?)
}

fn stage1(
    context: &mut Context<'_>,
    recipe: &Recipe,
    home: &Path,
    frozen: &Frozen,
    corpus: &Corpus,
) -> Result<Trained<RepresentationModel>, TrainError> {
    let model = initial(context, recipe, home, frozen)?;
    let mut task = RepresentationTask {
        corpus,
        stage: &recipe.stage1,
        options: RepresentationOptions {
            start_token: frozen.tokenizer.decode_id(),
            ..RepresentationOptions::default()
        },
        seed: recipe.seed,
        device: context.device.clone(),
    };
    train(context, "stage1", &recipe.stage1, model, &mut task)
}

fn baseline(
    context: &mut Context<'_>,
    recipe: &Recipe,
    home: &Path,
    frozen: &Frozen,
    corpus: &Corpus,
) -> Result<Option<Trained<MeanBaseline>>, TrainError> {
    let Some(stage) = &recipe.baseline else {
        return Ok(None);
    };
    let text = initial(context, recipe, home, frozen)?;
    let mut initializer = Initializer::new(recipe.seed ^ 1, &context.device);
    let model = MeanBaseline::new(&mut initializer, text, recipe.representation.embedding_size);
    let mut task = BaselineTask {
        corpus,
        stage,
        label_smoothing: RepresentationOptions::default().label_smoothing,
        seed: recipe.seed,
        device: context.device.clone(),
    };
    train(context, "baseline", stage, model, &mut task).map(Some)
}

/// Where stage 2 starts: with the Q-Former as stage 1 left it, or as BERT gave it.
fn bridge_from(
    context: &Context<'_>,
    recipe: &Recipe,
    frozen: &Frozen,
    corpus: &Corpus,
    representation: RepresentationModel,
) -> Result<Bridge, TrainError> {
    let language_model = &frozen.language_model.model;
    let mut initializer = Initializer::new(recipe.seed ^ 2, &context.device);
    let hidden_size = language_model.hidden_size();
    let bridge = Bridge::from_representation(&mut initializer, representation, hidden_size);
    match recipe.bridge.projection {
        Projection::Pytorch => Ok(bridge),
        Projection::EmbeddingScale => {
            let first: Vec<usize> = (0..recipe.stage2.batch).collect();
            let features = corpus.features.batch(&first, &context.device)?;
            let deviation = language_model.embedding_deviation();
            Ok(bridge.with_projection_at_scale(&mut initializer, features, deviation)?)
        }
    }
}

fn stage2(
    context: &mut Context<'_>,
    recipe: &Recipe,
    frozen: &Frozen,
    corpus: &Corpus,
    phase: &str,
    bridge: Bridge,
) -> Result<Trained<Bridge>, TrainError> {
    let prompts = Prompts::new(recipe, &frozen.language_model.tokenizer)?;
    let mut task = GenerativeTask {
        corpus,
        stage: &recipe.stage2,
        language_model: &frozen.language_model,
        prompts: &prompts,
        questions: recipe.data.questions,
        from_representation: phase == "stage2",
        seed: recipe.seed,
        device: context.device.clone(),
    };
    train(context, phase, &recipe.stage2, bridge, &mut task)
}
