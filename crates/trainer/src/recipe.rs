//! A run on paper: one TOML file, with overrides, that decides everything.

use std::path::{Path, PathBuf};

use blip2::{EncoderConfig, LanguageModelConfig, ModelConfig};
use blip2_data::scenes::{Relation, Repertoire, ScenesError};
use blip2_kernels::Products;
use blip2_qformer::RepresentationConfig;
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::optimizer::OptimizerConfig;
use crate::schedule::Schedule;

/// All settings of a run of the embedded default: both stages on emoji scenes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
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
    /// What is shown, by the names of single ones; absent: all of [`blip2_data::scenes::CONCEPTS`].
    pub concepts: Option<Vec<String>>,
    /// How things lie to each other; absent: all four relations.
    pub relations: Option<Vec<Relation>>,
    /// Most drawings of one concept in a picture; absent: 3.
    pub most_of_a_kind: Option<usize>,
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
        )
    }
}

/// How the bridge begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeRecipe {
    /// First weights of the projection.
    pub projection: Projection,
}

/// First weights of the projection to the language model's width.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Projection {
    /// PyTorch's, as the reference: uniform within 1/sqrt(width), no bound on what it makes of the queries.
    #[default]
    Pytorch,
    /// So that soft prompts have the standard deviation of the language model's word embeddings.
    EmbeddingScale,
}

/// One phase of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRecipe {
    /// Optimiser steps.
    pub steps: u64,
    /// Pairs a step.
    pub batch: usize,
    /// Learning rate of tensors that start at random.
    pub schedule: Schedule,
    /// Learning rate of tensors that start pretrained, as a share of the schedule's.
    pub pretrained_rate: f64,
    /// Learning rate of the query tokens, likewise. Too fast, they become one: see `query_spread` in the log.
    pub query_rate: f64,
    /// AdamW.
    pub optimizer: OptimizerConfig,
    /// The temperature is kept at or below this; absent: free, as the reference.
    pub maximum_temperature: Option<f32>,
    /// Precision of the matrix products of the loss and its gradients; everything else stays in single precision.
    #[serde(default)]
    pub precision: Precision,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Steps between lines of the log.
    pub log_every: u64,
}

/// Precision of matrix products in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Operands rounded to bfloat16, sums in single precision.
    Bf16,
}

impl From<Precision> for Products {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
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
}

impl Recipe {
    /// Reads `file` and applies `overrides` such as `stage1.steps=100`.
    ///
    /// # Errors
    /// [`TrainError::Recipe`] with the file and the key at fault.
    pub fn read(file: &Path, overrides: &[String]) -> Result<Self, TrainError> {
        let refuse = |reason: String| TrainError::Recipe {
            path: file.to_owned(),
            reason,
        };
        let text = std::fs::read_to_string(file).map_err(|error| refuse(error.to_string()))?;
        let mut table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| refuse(error.to_string()))?;
        for assignment in overrides {
            set(&mut table, assignment).map_err(refuse)?;
        }
        let given = table.clone();
        let recipe: Self = table
            .try_into()
            .map_err(|error: toml::de::Error| refuse(error.to_string()))?;
        let known = toml::Table::try_from(&recipe).map_err(|error| refuse(error.to_string()))?;
        if let Some(key) = unknown(&given, &known) {
            return Err(refuse(format!("`{key}` is no key of a recipe")));
        }
        recipe.check().map_err(refuse)?;
        Ok(recipe)
    }

    /// The resolved recipe as TOML.
    ///
    /// # Errors
    /// [`TrainError::Recipe`] where a value has no TOML form.
    pub fn to_toml(&self) -> Result<String, TrainError> {
        toml::to_string_pretty(self).map_err(|error| TrainError::Recipe {
            path: "recipe.toml".into(),
            reason: error.to_string(),
        })
    }

    /// The part that a trained model needs to be read again.
    pub fn model_config(&self) -> ModelConfig {
        ModelConfig {
            encoder: self.encoder.clone(),
            language_model: self.language_model.clone(),
            representation: self.representation.clone(),
            vocabulary: self.vocabulary.clone(),
            max_text_tokens: self.max_text_tokens,
        }
    }

    fn check(&self) -> Result<(), String> {
        let stages = [
            ("stage1", Some(&self.stage1)),
            ("stage2", Some(&self.stage2)),
            ("baseline", self.baseline.as_ref()),
        ];
        for (name, stage) in stages {
            let Some(stage) = stage else { continue };
            if stage.batch < 2 || stage.batch as u64 > self.data.training_scenes {
                return Err(format!(
                    "{name}.batch is {}: it must be at least 2, so that a pair has a negative, and at most the {} training scenes",
                    stage.batch, self.data.training_scenes
                ));
            }
            if stage.batch % 2 == 1 {
                return Err(format!(
                    "{name}.batch is {}, but each scene comes with a variation of it: choose an even number",
                    stage.batch
                ));
            }
            if stage.checkpoint_every == 0 || stage.log_every == 0 {
                return Err(format!(
                    "{name}.checkpoint_every and {name}.log_every must be at least 1"
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

/// The first key of `given` that `known` lacks: sections that are also read from Hugging Face's files pass over theirs.
fn unknown(given: &toml::Table, known: &toml::Table) -> Option<String> {
    given
        .iter()
        .find_map(|(key, value)| match (value, known.get(key)) {
            (_, None) => Some(key.clone()),
            (toml::Value::Table(given), Some(toml::Value::Table(known))) => {
                unknown(given, known).map(|inner| format!("{key}.{inner}"))
            }
            _ => None,
        })
}

/// `a.b.c=value`, the value as TOML writes it; a bare word is a string.
fn set(table: &mut toml::Table, assignment: &str) -> Result<(), String> {
    let (path, value) = assignment
        .split_once('=')
        .ok_or_else(|| format!("`{assignment}` is not of the form key=value"))?;
    let value = format!("value = {value}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut keys: Vec<&str> = path.trim().split('.').collect();
    let last = keys.pop().unwrap_or_default();
    let mut place = table;
    for key in keys {
        place = place
            .get_mut(key)
            .and_then(toml::Value::as_table_mut)
            .ok_or_else(|| format!("`{path}`: the recipe has no section `{key}`"))?;
    }
    place.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::set;

    #[test]
    fn overrides_reach_nested_keys_and_keep_types() {
        let mut table: toml::Table = "a = 1\n[b]\nc = 2.5\n[b.d]\ne = 'x'".parse().expect("toml");
        set(&mut table, "b.d.e=word").expect("string");
        set(&mut table, "b.c=3.5").expect("float");
        set(&mut table, "a=7").expect("integer");
        assert_eq!(table["b"]["d"]["e"].as_str(), Some("word"));
        assert_eq!(table["b"]["c"].as_float(), Some(3.5));
        assert_eq!(table["a"].as_integer(), Some(7));
        assert!(set(&mut table, "nowhere.x=1").unwrap_err().contains("nowhere"));
        assert!(set(&mut table, "a").is_err());
    }
}
