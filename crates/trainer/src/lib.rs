//! The open trainer of BLIP-2: recipes, feature sources, objectives, optimiser groups, schedules, the loop, checkpoints,
//! evaluators and the run log.
//!
#![doc = include_str!("../README.md")]
//!
//! ```text
//! RowSource ──rows of step N──> FeatureSource ──features──> Objective: named terms ──> gradients ──> Optimizer
//! (data sets in order)          (live or stored)            (stage 1, stage 2, yours)
//! ```
//!
//! A [`Run`] is a folder. A [`Trainer`] trains one model in it for one phase; each of its parts is a trait with
//! implementations here that have no other doors than yours would.
//!
//! A run is decided by (recipe, seed): rows, negatives and initial weights are functions of the step, so that a run that was
//! killed and resumed ends with the figures of one that was not.
//!
//! A run may be shared by the ranks of a [`Communicator`](blip2_distributed::Communicator): each computes some of the parts that
//! the recipe cuts every batch in. What is learned is decided by the parts, not by the number of ranks.

mod adapters;
mod batch;
mod checkpoint;
mod data_rows;
mod error;
mod evaluator;
mod features;
mod held_out;
mod held_out_retrieval;
mod held_out_texts;
mod layer_rates;
mod loaded;
mod log;
mod measured;
mod objective;
mod observer;
mod optimizer;
mod prefix_language_modelling;
mod pretrain;
mod ranks;
mod rates;
mod recipe;
mod resumption;
mod run;
mod schedule;
mod stage1;
mod stage2;
mod stages;
mod start;
mod step_context;
mod stored;
mod tensorboard;
mod trainer;
mod tuned;
mod tuning_start;
mod word_pieces;

pub use adapters::Adapters;
pub use batch::{Batch, Row, RowSource};
/// The tensors that signatures here speak of, in the one version that they can be of.
pub use burn;
pub use checkpoint::{Checkpoints, Kept, State};
pub use data_rows::DataRows;
pub use error::TrainError;
pub use evaluator::{Evaluator, HeldOut};
pub use features::{FeatureSource, Live, encode};
pub use held_out::HeldOutLoss;
pub use held_out_retrieval::HeldOutRetrieval;
pub use held_out_texts::HeldOutTexts;
pub use layer_rates::{LayerRates, LayerRule};
pub use log::RunLog;
pub use objective::Objective;
pub use observer::Observer;
pub use optimizer::{Group, Optimizer, OptimizerConfig, is_decayed};
pub use prefix_language_modelling::PrefixRows;
pub use pretrain::{PretrainOptions, pretrain};
pub use ranks::mean_over_ranks;
pub use rates::Origin;
pub use recipe::{
    BridgeRecipe, EncoderRecipe, EvaluationRecipe, FeaturesRecipe, LoaderRecipe, MeasureRecipe, Mixed,
    Precision, Projection, RandAugmentRecipe, Recipe, RecipeFile, StageRecipe,
};
pub use run::{Run, RunOptions, check_frozen};
pub use schedule::Schedule;
pub use stage1::{RepresentationObjective, bounded, representation_gradients};
pub use stage2::{GenerativeObjective, Prompts};
pub use start::{FirstSamples, Trunk, bridge_from, found, representation_from_bert};
pub use step_context::StepContext;
pub use stored::{FrozenEncoder, store_features};
pub use trainer::{Trained, Trainer};
pub use tuned::{Sighted, Tuned, WithinGraph};
pub use tuning_start::{bridge_at, representation_at};
pub use word_pieces::tokenise;
