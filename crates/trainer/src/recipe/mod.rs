//! A run on paper: what recipes have in common, and how they are read.

mod bridge;
mod encoder;
mod pretraining;
mod read;
mod stage;

pub use bridge::{BridgeRecipe, Projection};
pub use encoder::EncoderRecipe;
pub use pretraining::{
    EvaluationRecipe, FeaturesRecipe, LoaderRecipe, MeasureRecipe, Mixed, RandAugmentRecipe, Recipe,
};
pub use read::RecipeFile;
pub use stage::{Precision, StageRecipe};
