//! A run on paper: what recipes have in common, and how they are read.

mod bridge;
mod pretraining;
mod read;
mod stage;

pub use bridge::{BridgeRecipe, Projection};
pub use pretraining::{EvaluationRecipe, FeaturesRecipe, LoaderRecipe, Recipe};
pub use read::RecipeFile;
pub use stage::{Precision, StageRecipe};
