//! BLIP-2 as `transformers` writes it: `config.json`, weights, processor and tokenizer files in one folder.

use std::path::{Path, PathBuf};

use blip2_core::weights::{LoadOptions, NameMap, TensorStore, WeightError, load, open_weights};
use blip2_core::{Initializer, LanguageModel, LoadPlan};
use blip2_data::pixels::ImageProcessor;
use blip2_data::text::BertTokenizer;
use blip2_qformer::{
    Bridge, HUGGING_FACE_BRIDGE, HUGGING_FACE_INSTRUCT, HUGGING_FACE_REPRESENTATION, RepresentationConfig,
    RepresentationModel,
};
use blip2_vision_encoder::VisionTransformer;
use burn::module::Module;
use serde::Deserialize;

use crate::Blip2Error;
use crate::registry::LoadedEncoder;
use crate::usage::read_json;
use crate::vocabulary::check_vocabulary;

/// File name of the configuration.
pub(crate) const CONFIG: &str = "config.json";
/// The bridge's output layer, whose rows say how wide the language model is.
const PROJECTION: &str = "language_projection.weight";
const MATCHING_HEAD: &str = "itm_head.weight";
/// Where an InstructBLIP keeps the tokenizer of its Q-Former.
pub(crate) const QFORMER_TOKENIZER: &str = "qformer_tokenizer";

/// What stands around the Q-Former in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HuggingFaceKind {
    /// A language model behind a bridge: `Blip2ForConditionalGeneration`.
    Generation,
    /// The same, with the instruction read by the Q-Former too: `InstructBlipForConditionalGeneration`.
    Instruction,
    /// The stage-1 model without language head and temperature: `Blip2ForImageTextRetrieval`.
    Retrieval,
}

/// A folder of `transformers`, its weights mapped but not read. Parts are loaded one by one.
pub struct HuggingFaceFolder {
    path: PathBuf,
    kind: HuggingFaceKind,
    config: RepresentationConfig,
    store: Box<dyn TensorStore>,
}

impl HuggingFaceFolder {
    /// Opens `path`. What the model is, its `model_type` and its weights say.
    ///
    /// # Errors
    /// [`Blip2Error`], with the file at fault.
    pub fn open(path: &Path) -> Result<Self, Blip2Error> {
        #[derive(Deserialize)]
        struct Family {
            model_type: String,
        }
        let file = path.join(CONFIG);
        let family: Family = read_json(&file)?;
        let unfit = |reason: String| Blip2Error::Config {
            path: file.clone(),
            reason,
        };
        if !["blip-2", "instructblip"].contains(&family.model_type.as_str()) {
            return Err(unfit(format!(
                "its model_type is `{}`; a whole model is `blip-2` or `instructblip`",
                family.model_type
            )));
        }
        let store = open_weights(path)?;
        let holds = |name: &str| store.tensors().contains_key(name);
        let kind = if holds(MATCHING_HEAD) {
            HuggingFaceKind::Retrieval
        } else if !holds(PROJECTION) {
            return Err(unfit(format!(
                "the weights beside it hold neither `{PROJECTION}` (BLIP-2 with a language model) nor \
                 `{MATCHING_HEAD}` (image-text retrieval)"
            )));
        } else if family.model_type == "instructblip" {
            HuggingFaceKind::Instruction
        } else {
            HuggingFaceKind::Generation
        };
        Ok(Self {
            config: RepresentationConfig::from_hugging_face(&file)?,
            path: path.to_owned(),
            kind,
            store,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its weights.
    pub(crate) fn store(&self) -> &dyn TensorStore {
        self.store.as_ref()
    }

    /// What kind of model it is.
    pub fn kind(&self) -> HuggingFaceKind {
        self.kind
    }

    /// Sizes of Q-Former and heads.
    pub fn config(&self) -> &RepresentationConfig {
        &self.config
    }

    /// The image encoder. Its last normalisation belongs to the bridge, or to the stage-1 model, which train it.
    ///
    /// # Errors
    /// [`Blip2Error::Encoder`] where the weights do not fit `config.json`.
    pub fn encoder(&self, plan: impl Into<LoadPlan>) -> Result<VisionTransformer, Blip2Error> {
        let encoder = VisionTransformer::from_hugging_face(&self.path, plan.into().frozen());
        let encoder = encoder.map_err(|source| Blip2Error::Encoder {
            path: self.path.clone(),
            source: Box::new(source),
        })?;
        Ok(encoder.without_norm())
    }

    /// The encoder, with the pixels that its processor file asks for.
    ///
    /// # Errors
    /// As for [`HuggingFaceFolder::encoder`]; [`Blip2Error::Pixels`] without a usable processor file.
    pub(crate) fn loaded_encoder(&self, plan: &LoadPlan) -> Result<LoadedEncoder, Blip2Error> {
        let processor = self.processor()?;
        Ok(LoadedEncoder {
            encoder: Box::new(self.encoder(plan)?),
            processor,
        })
    }

    /// The pixels that its processor file asks for.
    ///
    /// # Errors
    /// [`Blip2Error::Pixels`] without a usable processor file.
    pub(crate) fn processor(&self) -> Result<ImageProcessor, Blip2Error> {
        Ok(ImageProcessor::from_folder(&self.path)?)
    }

    /// Layer norm of the features, Q-Former and projection, of a model with a language model.
    ///
    /// # Errors
    /// [`Blip2Error::Weights`] where the weights do not fit `config.json`, or there is no language model to project to.
    pub fn bridge(&self, plan: impl Into<LoadPlan>) -> Result<Bridge, Blip2Error> {
        let projection = self.store.tensors().get(PROJECTION);
        let rows = projection.and_then(|info| info.shape.first());
        let &hidden_size = rows.ok_or_else(|| WeightError::Absent {
            file: self.store.label(),
            name: PROJECTION.to_owned(),
        })?;
        let sizes = (
            &self.config.qformer,
            self.config.vision_layer_norm_eps,
            hidden_size,
        );
        let initializer = &mut Initializer::new(0, plan);
        if self.kind == HuggingFaceKind::Instruction {
            let bridge = Bridge::instructed(initializer, sizes.0, sizes.1, sizes.2)?;
            self.fill(bridge, &HUGGING_FACE_INSTRUCT)
        } else {
            let bridge = Bridge::new(initializer, sizes.0, sizes.1, sizes.2)?;
            self.fill(bridge, &HUGGING_FACE_BRIDGE)
        }
    }

    /// The stage-1 model of a retrieval model. Its language head and temperature, which such a folder does not hold, are as
    /// new: it can match and embed, not write.
    ///
    /// # Errors
    /// [`Blip2Error::Weights`] where the weights do not fit `config.json`.
    pub fn representation(&self, plan: impl Into<LoadPlan>) -> Result<RepresentationModel, Blip2Error> {
        let model = RepresentationModel::new(&mut Initializer::new(0, plan), &self.config)?;
        self.fill(model, &HUGGING_FACE_REPRESENTATION)
    }

    /// The language model, without its tokenizer.
    ///
    /// # Errors
    /// [`Blip2Error::LanguageModel`] where its family is unknown or the weights do not fit `config.json`.
    pub fn language_model(&self, plan: impl Into<LoadPlan>) -> Result<Box<dyn LanguageModel>, Blip2Error> {
        let plan = plan.into().frozen();
        blip2_llm_adapters::from_hugging_face(&self.path, &plan).map_err(|source| Blip2Error::LanguageModel {
            path: self.path.clone(),
            source: Box::new(source),
        })
    }

    /// What stands around a question. The paper asks OPT and FlanT5 in their own ways (section 4.1); who was taught to follow
    /// instructions is asked the question itself.
    pub(crate) fn question_prompt(&self) -> Result<&'static str, Blip2Error> {
        if self.kind == HuggingFaceKind::Instruction {
            return Ok("{}");
        }
        let family = blip2_llm_adapters::model_type(&self.path);
        let family = family.map_err(|source| Blip2Error::LanguageModel {
            path: self.path.clone(),
            source: Box::new(source),
        })?;
        Ok(match family.as_str() {
            "t5" => "Question: {} Short answer:",
            _ => "Question: {} Answer:",
        })
    }

    /// The Q-Former's tokenizer.
    ///
    /// # Errors
    /// [`Blip2Error::Text`] where it is missing or damaged, [`Blip2Error::Config`] where it knows more ids than the Q-Former.
    pub(crate) fn qformer_tokenizer(&self) -> Result<BertTokenizer, Blip2Error> {
        let folder = match self.kind {
            HuggingFaceKind::Instruction => self.path.join(QFORMER_TOKENIZER),
            _ => self.path.clone(),
        };
        let path = vocabulary_file(&folder);
        let tokenizer = BertTokenizer::from_file(&path)?;
        check_vocabulary(&path, &tokenizer, self.config.qformer.vocab_size)?;
        Ok(tokenizer)
    }

    fn fill<M: Module>(&self, module: M, names: &NameMap) -> Result<M, Blip2Error> {
        Ok(load(module, self.store(), names, LoadOptions::default())?)
    }
}

/// Where BERT's vocabulary stands, or should stand, in `folder`.
pub(crate) fn vocabulary_file(folder: &Path) -> PathBuf {
    let json = folder.join("tokenizer.json");
    let lines = folder.join("vocab.txt");
    if !json.is_file() && lines.is_file() {
        lines
    } else {
        json
    }
}
