//! A run on paper: what recipes have in common, and how they are read.

mod bridge;
mod read;
mod stage;

pub use bridge::{BridgeRecipe, Projection};
pub use read::RecipeFile;
pub use stage::{Precision, StageRecipe};
