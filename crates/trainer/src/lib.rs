//! Training BLIP-2: recipes, optimiser groups, schedules, the loop, checkpoints, the run log, and the run of the embedded
//! default through both stages.
//!
//! A run is decided by (recipe, seed): order, negatives and initial weights are functions of the step, so that a run that
//! was killed and resumed ends with the figures of one that was not.

mod baseline;
mod checkpoint;
mod corpus;
mod error;
mod evaluate;
mod figures;
mod gallery;
mod generative;
mod held_out;
mod log;
mod optimizer;
mod pretrain;
mod recipe;
mod representation;
mod schedule;
mod training;

pub use checkpoint::{Checkpoints, State};
pub use error::TrainError;
pub use log::RunLog;
pub use optimizer::{Optimizer, OptimizerConfig, StepReport, is_decayed};
pub use pretrain::{Observer, PretrainOptions, pretrain};
pub use recipe::{BridgeRecipe, DataRecipe, EvaluationRecipe, Precision, Projection, Recipe, StageRecipe};
pub use schedule::Schedule;
