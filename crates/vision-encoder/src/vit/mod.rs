//! The vision transformer (Dosovitskiy et al., 2021) with learned positions and pre-norm blocks, in the arrangements of
//! DINOv2, CLIP, SigLIP and EVA-CLIP.

mod attention;
mod block;
mod clip;
mod config;
mod embedding;
mod hugging_face;
mod lavis;
mod model;
mod names;
mod position;
mod saliency;

pub use clip::{Clip, ClipConfig, ClipTextConfig};
pub use config::{Activation, QkvBias, VisionTransformerConfig};
pub use hugging_face::HUGGING_FACE_ENCODER;
pub use lavis::{LAVIS_CLIP_ENCODER, LAVIS_EVA_ENCODER};
pub use model::VisionTransformer;
pub use saliency::{IMAGENET_DEVIATION, IMAGENET_MEAN};
