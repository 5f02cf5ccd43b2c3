//! The ground floor of BLIP-2: the traits through which encoders and language models are swapped, the stores
//! that weights come from, and the layers that every model shares.
//!
#![doc = include_str!("../README.md")]

pub mod devices;
mod error;
pub mod files;
mod init;
mod kept;
mod language;
pub mod layers;
mod plan;
pub mod protobuf;
mod recomputation;
pub mod tokenizer_config;
mod vision;
pub mod weights;

/// The tensors that signatures here speak of, in the one version that they can be of.
pub use burn;
pub use error::ModelError;
pub use init::Initializer;
pub use kept::KeptBeginnings;
pub use language::{AdaptableLayer, LanguageModel, NextTokenModel, OpenTexts, Segment, TextExample};
pub use plan::LoadPlan;
pub use recomputation::{Blocks, with_recomputed};
pub use vision::VisionEncoder;
