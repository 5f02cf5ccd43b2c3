//! The recipe of pretraining on anyone's pictures: both stages, or one of them alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use blip2::{LanguageModelConfig, ModelConfig, Reads};
use blip2_core::Blocks;
use blip2_data::pixels::{Augmentation, RandAugment};
use blip2_data::sets::DataSpec;
use blip2_llm_adapters::LoraConfig;
use blip2_qformer::RepresentationConfig;
use serde::{Deserialize, Serialize};

use super::{BridgeRecipe, EncoderRecipe, Projection, RecipeFile, StageRecipe};

/// All settings of a run of pretraining.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Decides initial weights, order, views, captions and negatives.
    pub seed: u64,
    /// Word pieces of the Q-Former, relative to the home folder.
    pub vocabulary: PathBuf,
    /// BERT weights that the Q-Former starts from, relative to the home folder; not needed where stages say `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bert: Option<PathBuf>,
    /// Longest text in tokens, special ones included: 32 in the reference.
    pub max_text_tokens: usize,
    /// Where image features come from.
    #[serde(default)]
    pub features: FeaturesRecipe,
    /// The encoder, frozen unless it says otherwise.
    pub encoder: EncoderRecipe,
    /// The frozen language model; stage 1 alone does without.
    pub language_model: Option<LanguageModelConfig>,
    /// What is trained.
    pub representation: RepresentationConfig,
    /// What joins it to the language model.
    #[serde(default)]
    pub bridge: BridgeRecipe,
    /// Low-rank updates of the language model in stage 2, which itself stays frozen; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// What there is to learn from: one set, or a mixture.
    pub data: Vec<DataSpec>,
    /// What a set's share of the mixture is measured by.
    #[serde(default)]
    pub mixed: Mixed,
    /// Several ways to say what is in front of a text, by the name of a set: with `{}` for the question in sets of questions. One of
    /// them is drawn each time, in place of the set's prompt.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub templates: BTreeMap<String, Vec<String>>,
    /// How samples are read.
    #[serde(default)]
    pub loader: LoaderRecipe,
    /// Representation learning; absent: left out.
    pub stage1: Option<StageRecipe>,
    /// Generative learning; absent: left out.
    pub stage2: Option<StageRecipe>,
    /// What is measured on the way.
    #[serde(default)]
    pub evaluation: Vec<EvaluationRecipe>,
}

/// How samples are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoaderRecipe {
    /// Threads that read and decode; a run is the same with any number of them.
    pub threads: usize,
    /// Batches that wait, decoded, besides the one that is asked for.
    pub ahead: u64,
    /// Share of samples that may turn out to be damaged before the run stops.
    pub max_skipped: f64,
    /// A random view of each picture in every epoch; absent: the whole picture, the same each time.
    pub augmentation: Option<Augmentation>,
    /// What follows it, for fine-tuning; absent: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rand_augment: Option<RandAugmentRecipe>,
}

/// Which RandAugment: two operations of ten, drawn for each view (LAVIS `blip_image_train`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RandAugmentRecipe {
    /// As LAVIS's code does it, with its errors.
    Lavis,
    /// As its authors meant it.
    Intended,
}

impl RandAugmentRecipe {
    /// The operations and how they are drawn.
    pub fn rand_augment(self) -> RandAugment {
        match self {
            Self::Lavis => RandAugment::lavis(),
            Self::Intended => RandAugment::intended(),
        }
    }
}

impl Default for LoaderRecipe {
    fn default() -> Self {
        Self {
            threads: 2,
            ahead: 2,
            max_skipped: 0.05,
            augmentation: None,
            rand_augment: None,
        }
    }
}

/// What a set's share of a mixture is measured by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Mixed {
    /// Its `weight`; without weights its size, each sample once an epoch.
    #[default]
    Size,
    /// The square root of its size, times its `weight` where it has one (InstructBLIP, section 2.4 of Dai et al., 2023).
    SquareRoot,
}

/// Where image features come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FeaturesRecipe {
    /// From the encoder, in every step anew.
    #[default]
    Live,
    /// From a file in the home folder, in half precision, which is made once. Every picture has one view.
    Stored,
}

/// What is measured on held-out samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MeasureRecipe {
    /// The terms of the objective.
    #[default]
    Loss,
    /// What the model is for: retrieval in stage 1, captions or answers in stage 2.
    Task,
}

/// Held-out samples, and what is measured on them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationRecipe {
    /// What the log calls it.
    pub name: String,
    /// Steps from one time to the next; 0: at the end of each stage alone.
    #[serde(default)]
    pub every: u64,
    /// Batches, as large as a part of the stage's.
    pub batches: u64,
    /// What is measured.
    #[serde(default)]
    pub measure: MeasureRecipe,
    /// Samples that training does not see.
    pub data: DataSpec,
}

impl Recipe {
    /// Whether its first stage goes on with what was trained before.
    pub fn starts_trained(&self) -> bool {
        let first = self.stage1.as_ref().or(self.stage2.as_ref());
        first.is_some_and(|stage| stage.from.is_some())
    }

    /// Models that it names, by a path or by their name on the hub: the encoder, the language model, and where stages start.
    pub fn models(&self) -> Vec<&Path> {
        let stages = self.stage1.iter().chain(&self.stage2);
        let starts = stages.flat_map(|stage| stage.from.iter().chain(&stage.text_from));
        let language_model = self.language_model.iter().map(|config| &config.path);
        let named = [&self.encoder.config.path].into_iter();
        named
            .chain(language_model)
            .chain(starts)
            .map(PathBuf::as_path)
            .collect()
    }

    /// The part that a trained model needs to be read again.
    pub fn model_config(&self) -> ModelConfig {
        ModelConfig {
            encoder: self.encoder.config.clone(),
            language_model: self.language_model.clone(),
            representation: self.representation.clone(),
            vocabulary: self.vocabulary.clone(),
            max_text_tokens: self.max_text_tokens,
            reads: self.stage2.as_ref().map_or(Reads::Nothing, |stage| stage.reads),
        }
    }
}

impl RecipeFile for Recipe {
    fn check(&self) -> Result<(), String> {
        let refuse = |reason: &str| Err(reason.to_owned());
        if self.data.is_empty() {
            return refuse("data: there is nothing to learn from: give a [[data]] entry");
        }
        if self.stage1.is_none() && self.stage2.is_none() {
            return refuse("neither [stage1] nor [stage2] is there: nothing would be trained");
        }
        self.encoder.check()?;
        let vision = self.encoder.train.then_some(Blocks::Vision);
        if let Some(stage) = &self.stage1 {
            stage.check("stage1", u64::MAX)?;
            stage.check_recomputed("stage1", vision.into_iter().chain([Blocks::QFormer]))?;
            if stage.prefix_language_modelling || !stage.reads.is_nothing() || stage.text_from.is_some() {
                return refuse(
                    "stage1.prefix_language_modelling, stage1.reads and stage1.text_from mean nothing: they belong to stage 2",
                );
            }
        }
        if let Some(stage) = &self.stage2 {
            stage.check("stage2", u64::MAX)?;
            let behind = [Blocks::QFormer, Blocks::Language];
            stage.check_recomputed("stage2", vision.into_iter().chain(behind))?;
            if self.language_model.is_none() {
                return refuse("stage2 needs a [language_model]");
            }
            if stage.from.is_some() && self.stage1.is_some() {
                return refuse(
                    "stage2.from says where to start, but stage 1 runs before it: drop one of the two",
                );
            }
            if stage.weights.is_some()
                || stage.itg_mean.is_some()
                || stage.maximum_temperature.is_some()
                || stage.image_ids
            {
                return refuse(
                    "stage2.weights, stage2.itg_mean, stage2.maximum_temperature and stage2.image_ids mean nothing: they belong \
                     to stage 1",
                );
            }
            let kept = self.bridge.projection == Projection::Kept;
            if kept && stage.from.is_none() {
                return refuse(
                    "bridge.projection = \"kept\" needs stage2.from: the projection is read there",
                );
            }
            if stage.text_from.is_some() && (!kept || stage.reads.is_nothing()) {
                return refuse(
                    "stage2.text_from gives the text branch of a Q-Former that reads one (stage2.reads) to a bridge that has none \
                     (bridge.projection = \"kept\"): drop it",
                );
            }
        }
        if self.lora.is_some() && self.stage2.is_none() {
            return refuse("lora adapts the language model behind stage 2: there is no [stage2]");
        }
        for (name, stage) in [("stage1", &self.stage1), ("stage2", &self.stage2)] {
            let Some(keep) = stage.as_ref().map(|stage| &stage.keep) else {
                continue;
            };
            let mut evaluations = self.evaluation.iter();
            let is_measured = evaluations.any(|evaluation| keep.figure_of(&evaluation.name).is_some());
            if let Some(best) = keep.best.as_ref().filter(|_| !is_measured) {
                return Err(format!(
                    "{name}.keep.best is `{best}`: it must be a figure of an [[evaluation]] of this recipe, of the form name/figure"
                ));
            }
        }
        if self.bert.is_none() && !self.starts_trained() {
            return refuse(
                "bert is missing: without `from` in its stage, a Q-Former begins with the weights of a BERT",
            );
        }
        let names: Vec<String> = self.data.iter().map(DataSpec::name).collect();
        if let Some(set) = self.templates.keys().find(|set| !names.contains(set)) {
            return Err(format!(
                "templates.{set}: no [[data]] has this name, but {}",
                names.join(", ")
            ));
        }
        if let Some((set, _)) = self.templates.iter().find(|(_, templates)| templates.is_empty()) {
            return Err(format!("templates.{set} is empty"));
        }
        if self.encoder.train && self.features == FeaturesRecipe::Stored {
            return refuse(
                "features = \"stored\" are those of a frozen encoder, but encoder.train asks for one that changes: choose \
                 features = \"live\"",
            );
        }
        if self.loader.rand_augment.is_some() && self.loader.augmentation.is_none() {
            return refuse("loader.rand_augment follows a random view: set loader.augmentation, too");
        }
        if self.features == FeaturesRecipe::Stored && self.loader.augmentation.is_some() {
            return refuse(
                "features = \"stored\" has one view of each picture, but loader.augmentation asks for others: choose \
                 features = \"live\"",
            );
        }
        let by_task = |evaluation: &EvaluationRecipe| evaluation.measure == MeasureRecipe::Task;
        let writes = self.stage2.as_ref();
        let writes = writes.is_none_or(|stage| stage.reads.is_nothing() && self.lora.is_none());
        if !writes && self.evaluation.iter().any(by_task) {
            return refuse(
                "evaluation.measure = \"task\" writes texts on the way, which neither a Q-Former that reads them (stage2.reads) nor \
                 updates of the language model (lora) can before they are saved: choose measure = \"loss\", and `blip2 evaluate` at \
                 the end",
            );
        }
        if let Some(number) = self
            .evaluation
            .iter()
            .position(|evaluation| evaluation.batches == 0)
        {
            return Err(format!("evaluation.{number}.batches must be at least 1"));
        }
        if !(0.0..=1.0).contains(&self.loader.max_skipped) || self.loader.threads == 0 {
            return refuse("loader.max_skipped is a share from 0 to 1, and loader.threads at least 1");
        }
        Ok(())
    }
}
