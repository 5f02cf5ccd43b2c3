//! The recipe of the embedded default: both stages on emoji scenes.

use std::path::{Path, PathBuf};

use blip2::{EncoderConfig, LanguageModelConfig, ModelConfig};
use blip2_core::Blocks;
use blip2_qformer::RepresentationConfig;
use blip2_trainer::{BridgeRecipe, RecipeFile, StageRecipe};
use serde::{Deserialize, Serialize};

use crate::scenes::{Combinations, Relation, Repertoire, ScenesError};

/// All settings of a run of the embedded default: both stages on emoji scenes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MiniRecipe {
    /// Decides initial weights, order, and negatives.
    pub seed: u64,
    /// Word pieces of the Q-Former, relative to the home folder.
    pub vocabulary: PathBuf,
    /// BERT weights that the Q-Former starts from, relative to the home folder.
    pub bert: PathBuf,
    /// Longest text of the Q-Former, special tokens included.
    pub max_text_tokens: usize,
    /// The frozen encoder.
    pub encoder: EncoderConfig,
    /// The frozen language model.
    pub language_model: LanguageModelConfig,
    /// What is trained.
    pub representation: RepresentationConfig,
    /// What joins it to the language model.
    #[serde(default)]
    pub bridge: BridgeRecipe,
    /// Whether stage 1 begins with the means of features and embeddings taken off, and with the frequencies of words, as some
    /// training samples have them.
    #[serde(default)]
    pub start_from_data: bool,
    /// The pictures.
    pub data: DataRecipe,
    /// Representation learning.
    pub stage1: StageRecipe,
    /// Generative learning.
    pub stage2: StageRecipe,
    /// A mean feature with a linear projection, trained by contrast; absent: not trained.
    pub baseline: Option<StageRecipe>,
    /// Whether stage 2 is also run without stage 1, to show what stage 1 is worth (the paper's figure 5).
    pub ablation: bool,
    /// What is measured at the end.
    pub evaluation: EvaluationRecipe,
}

/// Which scenes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecipe {
    /// Decides the scenes.
    pub seed: u64,
    /// How many different pictures training sees; every second one is a variation of the one before it.
    pub training_scenes: u64,
    /// Share of stage-2 examples that are questions; the others are captions.
    pub questions: f64,
    /// What is shown, by the names of single ones; absent: all of [`crate::scenes::CONCEPTS`].
    pub concepts: Option<Vec<String>>,
    /// How things lie to each other; absent: all four relations.
    pub relations: Option<Vec<Relation>>,
    /// Most drawings of one concept in a picture; absent: 3.
    pub most_of_a_kind: Option<usize>,
    /// Whether some scenes show three things in an L; absent: they do, where all four relations are shown.
    pub corners: Option<bool>,
    /// Which positions are held out; absent: those of one concept to anything.
    pub combinations: Option<Combinations>,
}

impl DataRecipe {
    /// What the scenes are drawn from.
    ///
    /// # Errors
    /// [`ScenesError::Repertoire`] where too little is left, or a name is none.
    pub fn repertoire(&self) -> Result<Repertoire, ScenesError> {
        Repertoire::new(
            self.concepts.as_deref(),
            self.relations.as_deref(),
            self.most_of_a_kind,
            self.corners,
            self.combinations,
        )
    }
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationRecipe {
    /// Pictures of each held-out gallery.
    pub gallery: usize,
    /// Candidates that matching re-ranks for each query; 0: it is not asked.
    pub rerank: usize,
    /// Pictures of each held-out part that are captioned and asked about.
    pub captions: usize,
    /// Pictures shown in the report for each part.
    pub samples: usize,
    /// Steps of stage 2 from one time that these pictures are asked about to the next; 0: at the end alone, for the report.
    #[serde(default, skip_serializing_if = "is_never")]
    pub every: u64,
}

fn is_never(every: &u64) -> bool {
    *every == 0
}

impl MiniRecipe {
    /// The part that a trained model needs to be read again.
    pub fn model_config(&self) -> ModelConfig {
        ModelConfig {
            encoder: self.encoder.clone(),
            language_model: Some(self.language_model.clone()),
            representation: self.representation.clone(),
            vocabulary: self.vocabulary.clone(),
            max_text_tokens: self.max_text_tokens,
            reads: blip2::Reads::Nothing,
        }
    }
}

impl RecipeFile for MiniRecipe {
    fn check(&self) -> Result<(), String> {
        let stages = [
            ("stage1", Some(&self.stage1), &[Blocks::QFormer][..]),
            ("stage2", Some(&self.stage2), &[Blocks::QFormer, Blocks::Language]),
            ("baseline", self.baseline.as_ref(), &[]),
        ];
        for (name, stage, kept) in stages {
            let Some(stage) = stage else { continue };
            if name != "stage1" && stage.from.is_some() {
                return Err(format!(
                    "{name}.from means nothing: say by stage1.from where this run begins"
                ));
            }
            stage.check(name, self.data.training_scenes)?;
            stage.check_recomputed(name, kept.iter().copied())?;
            if stage.batch % 2 == 1 {
                return Err(format!(
                    "{name}.batch is {}, but each scene comes with a variation of it: choose an even number",
                    stage.batch
                ));
            }
        }
        self.data.repertoire().map_err(|error| format!("data: {error}"))?;
        if self.evaluation.gallery < 20 {
            return Err(
                "evaluation.gallery must hold at least 20 pictures, or recall at 10 means nothing".to_owned(),
            );
        }
        Ok(())
    }
}

/// Whether `file` is a recipe of the embedded default: what it has under `data` is a table of scenes, not a list of data sets.
pub fn is_recipe(file: &Path) -> bool {
    let table = std::fs::read_to_string(file)
        .ok()
        .and_then(|text| text.parse::<toml::Table>().ok());
    table.is_some_and(|table| table.get("data").is_some_and(toml::Value::is_table))
}
