//! The Q-Former (paper section 3.1): 32 learned queries that read image features through cross-attention and share their
//! self-attention with a text branch, so that one set of weights serves contrast, matching and generation.
//!
#![doc = include_str!("../README.md")]
//!
//! Shapes: `batch` rows, `queries` learned queries, `tokens` text tokens, `patches` image tokens, `width` of the Q-Former.

mod attention;
mod bert;
mod bridge;
mod caption;
mod config;
mod encoder;
mod grounded;
mod layer;
mod looks;
mod names;
mod projection;
mod retrieval;
mod stage1;
mod start;
mod text;
mod watch;

pub use bert::{check_bert, load_bert};
pub use blip2_core::layers::unit_length;
pub use bridge::Bridge;
/// The tensors that signatures here speak of, in the one version that they can be of.
pub use burn;
pub use caption::CaptionDecoder;
pub use config::QFormerConfig;
pub use encoder::{ImageContext, QFormer, QueryOutput};
pub use grounded::GroundedDecoder;
pub use looks::{LayerLooks, MatchLooks};
pub use names::{
    HUGGING_FACE_BRIDGE, HUGGING_FACE_INSTRUCT, HUGGING_FACE_REPRESENTATION, LAVIS_LLAMA_BRIDGE,
    LAVIS_OPT_BRIDGE, LAVIS_REPRESENTATION, LAVIS_T5_BRIDGE, of_text_branch,
};
pub use retrieval::best_query;
pub use stage1::{LanguageHead, RepresentationConfig, RepresentationModel};
pub use text::TextBatch;
