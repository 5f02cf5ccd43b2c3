//! The embedded default: both stages of BLIP-2 on *emoji scenes*, small enough for two cores, nothing about it simulated.
//!
#![doc = include_str!("../README.md")]
//!
//! An ordinary client of `blip2-trainer`: scenes are a source of rows, the mean-feature baseline is an objective, and what a
//! run is worth is measured on pictures that training never showed. Nothing else in the house knows of it.

mod baseline;
mod corpus;
mod dataset;
mod encoder;
mod epochs;
mod error;
mod evaluate;
mod figures;
mod gallery;
mod held_out;
mod pretrain;
mod recipe;
pub mod scenes;
mod shards;

/// The tensors that signatures here speak of, in the one version that they can be of.
pub use burn;
pub use dataset::{Said, SceneDataset, Shown, World, formats};
pub use encoder::registry;
pub use error::MiniError;
pub use pretrain::pretrain;
pub use recipe::{DataRecipe, EvaluationRecipe, MiniRecipe, is_recipe};
pub use shards::write_shards;
