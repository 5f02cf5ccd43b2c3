//! The vision transformer (Dosovitskiy et al., 2021) as DINOv2 arranges it: pre-norm blocks with layer scale, a class
//! token in front, learned positions.

mod attention;
mod block;
mod config;
mod embedding;
mod load;
mod model;
mod position;

pub use config::{Activation, Family, VisionTransformerConfig};
pub use load::{IMAGENET_DEVIATION, IMAGENET_MEAN};
pub use model::VisionTransformer;
