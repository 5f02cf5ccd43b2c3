//! From a folder to a model that is ready to use.

use std::path::Path;

use blip2_core::LoadPlan;
use blip2_core::layers::Packing;
use blip2_llm_adapters::PeftFolder;
use blip2_qformer::Bridge;

use crate::folder::{load_bridge, load_encoder, load_representation};
use crate::hugging_face::{self, HuggingFaceFolder, HuggingFaceKind};
use crate::lazy::LazyLanguageModel;
use crate::model::{LanguageBridge, Representation};
use crate::usage::Usage;
use crate::vocabulary::load_vocabulary;
use crate::{
    ADAPTER, BRIDGE, Blip2, Blip2Error, CONFIG, LoadedLanguageModel, REPRESENTATION, Reads, Registry,
    answer_settings, caption_settings, locate, model_folder, read_config,
};

impl Blip2 {
    /// Loads the model in `folder`: a folder that `transformers` wrote (`Blip2ForConditionalGeneration`,
    /// `InstructBlipForConditionalGeneration`, `Blip2ForImageTextRetrieval`), with low-rank updates where they stand in it
    /// ([`ADAPTER`]), or the name of one in the Hugging Face cache ([`locate`]); or a model or run folder of our own, with the
    /// frozen models that it names under `home`. All is held as `plan` says; where linear layers are packed, those of a Q-Former
    /// that `transformers` wrote are so in bfloat16.
    ///
    /// # Errors
    /// [`Blip2Error`] names the file at fault: the folder is no model, a frozen model is absent or damaged, or weights do
    /// not fit.
    pub fn from_pretrained(
        folder: &Path,
        home: &Path,
        plan: impl Into<LoadPlan>,
    ) -> Result<Self, Blip2Error> {
        Self::from_pretrained_with(folder, home, plan, &Registry::default())
    }

    /// As [`Blip2::from_pretrained`], with the loaders of `registry` for the frozen models.
    ///
    /// # Errors
    /// As for [`Blip2::from_pretrained`].
    pub fn from_pretrained_with(
        folder: &Path,
        home: &Path,
        plan: impl Into<LoadPlan>,
        registry: &Registry,
    ) -> Result<Self, Blip2Error> {
        let folder = locate(folder, None)?;
        let plan = plan.into().frozen();
        match model_folder(&folder) {
            Ok(folder) => trained_here(&folder, home, &plan, registry),
            Err(_) if folder.join(hugging_face::CONFIG).is_file() => {
                from_hugging_face(&folder, &plan, registry)
            }
            Err(error) => Err(error),
        }
    }
}

fn trained_here(
    folder: &Path,
    home: &Path,
    plan: &LoadPlan,
    registry: &Registry,
) -> Result<Blip2, Blip2Error> {
    let device = &plan.device;
    let config = read_config(folder)?;
    let refuse = |reason: String| Blip2Error::Config {
        path: folder.join(CONFIG),
        reason,
    };
    let bridge = load_bridge(folder, &config, device)?;
    let representation = match load_representation(folder, &config, device)? {
        Some(model) => Some(Representation {
            model,
            tokenizer: load_vocabulary(&config, home)?,
            writes: true,
        }),
        None => None,
    };
    if bridge.is_none() && representation.is_none() {
        return Err(refuse(format!(
            "beside it stands neither {REPRESENTATION} nor {BRIDGE}: the folder is incomplete"
        )));
    }
    let encoder = load_encoder(folder, registry.encoder(&config.encoder, home, plan)?)?;
    let (width, expected) = (
        encoder.encoder.width(),
        config.representation.qformer.encoder_hidden_size,
    );
    if width != expected {
        return Err(refuse(format!(
            "the Q-Former reads features of width {expected}, but the encoder's are {width} wide"
        )));
    }
    let usual = config.language_model.clone();
    let instructions = match config.reads {
        Reads::Nothing => None,
        Reads::Question | Reads::Prompt => Some(load_vocabulary(&config, home)?),
    };
    let behind = |bridge: Bridge| -> Result<LanguageBridge, Blip2Error> {
        let language_model = config.language_model.ok_or_else(|| {
            refuse(format!("it names no `language_model`, but {BRIDGE} stands beside it: name the one that it was trained with"))
        })?;
        let (home, plan, registry) = (home.to_owned(), plan.clone(), registry.clone());
        let adapter = folder.join(ADAPTER);
        Ok(LanguageBridge {
            bridge,
            instructions,
            language_model: LazyLanguageModel::new(move || {
                let frozen = registry.language_model(&language_model, &home, &plan)?;
                adapted(frozen, &adapter, &plan)
            }),
        })
    };
    Ok(Blip2 {
        folder: folder.to_owned(),
        device: plan.device.clone(),
        encoder,
        representation,
        bridge: bridge.map(behind).transpose()?,
        usage: Usage {
            caption_prompt: usual.as_ref().map_or(String::new(), |usual| usual.prompt.clone()),
            question_prompt: usual.map_or(String::new(), |usual| usual.question_prompt),
            trained_here: true,
            max_text_tokens: config.max_text_tokens,
            reads: config.reads,
            image_token: None,
            captions: caption_settings(),
            answers: answer_settings(),
        },
    })
}

/// `language_model` with the updates in the folder `adapter`, where it is there.
fn adapted(
    language_model: LoadedLanguageModel,
    adapter: &Path,
    plan: &LoadPlan,
) -> Result<LoadedLanguageModel, Blip2Error> {
    if !adapter.is_dir() {
        return Ok(language_model);
    }
    let PeftFolder { updates, .. } = PeftFolder::open(adapter, &plan.device)?;
    Ok(LoadedLanguageModel {
        model: language_model.model.adapted(&updates)?,
        ..language_model
    })
}

fn from_hugging_face(path: &Path, plan: &LoadPlan, registry: &Registry) -> Result<Blip2, Blip2Error> {
    let folder = HuggingFaceFolder::open(path)?;
    folder.check()?;
    // What was trained is small: it is kept in bfloat16, whatever the frozen models are packed in.
    let trained = LoadPlan::from(&plan.device).packed(plan.packing.map(|_| Packing::Bf16));
    let (mut representation, mut bridge) = (None, None);
    let behind = |bridge: Bridge, instructions| {
        let (path, plan, registry) = (path.to_owned(), plan.clone(), registry.clone());
        LanguageBridge {
            bridge,
            instructions,
            language_model: LazyLanguageModel::new(move || {
                let frozen = registry.language_model_at(&path, None, &plan)?;
                adapted(frozen, &path.join(ADAPTER), &plan)
            }),
        }
    };
    let load_bridge = || folder.bridge(&trained);
    match folder.kind() {
        HuggingFaceKind::Generation => bridge = Some(behind(load_bridge()?, None)),
        HuggingFaceKind::Instruction => {
            bridge = Some(behind(load_bridge()?, Some(folder.qformer_tokenizer()?)));
        }
        HuggingFaceKind::Retrieval => {
            representation = Some(Representation {
                model: folder.representation(&trained)?,
                tokenizer: folder.qformer_tokenizer()?,
                writes: false,
            });
        }
    }
    Ok(Blip2 {
        folder: path.to_owned(),
        device: plan.device.clone(),
        encoder: folder.loaded_encoder(plan)?,
        representation,
        bridge,
        usage: Usage::of_hugging_face(path, folder.question_prompt()?)?,
    })
}
