//! The frozen image encoders of BLIP-2: pixels to a sequence of image features (paper section 3.1).
//!
#![doc = include_str!("../README.md")]
//!
//! [`VisionTransformer`] is the encoder of the embedded default; an own encoder implements
//! [`blip2_core::VisionEncoder`] and proves itself with [`conformance::check`].

pub mod conformance;
mod error;
mod vit;

/// The tensors that signatures here speak of, in the one version that they can be of.
pub use burn;
pub use error::EncoderError;
pub use vit::{
    Activation, Clip, ClipConfig, ClipTextConfig, HUGGING_FACE_ENCODER, IMAGENET_DEVIATION, IMAGENET_MEAN,
    LAVIS_CLIP_ENCODER, LAVIS_EVA_ENCODER, QkvBias, VisionTransformer, VisionTransformerConfig,
};
