//! BLIP-2 composed of its parts: a frozen image encoder, the Q-Former, and a frozen language model.
//!
#![doc = include_str!("../README.md")]
//!
//! A folder that `transformers` wrote holds a model whole ([`HuggingFaceFolder`]). A *model folder* of our own holds what was
//! trained (see [`save_pretrained`]); the frozen models stand where its `blip2.json` says, relative to the home folder
//! ([`home`]) that all models share.

mod aloud;
pub mod capfilt;
mod captioner;
mod captions;
mod causes;
mod chat;
mod config;
mod convert;
mod encoded;
mod error;
mod folder;
mod hugging_face;
mod in_context;
mod lazy;
mod looks;
mod many;
mod matching;
mod measured;
mod model;
mod number_format;
mod parts;
mod pretrained;
mod recollection;
mod registry;
mod save;
mod session;
mod stored;
mod streams;
mod text;
mod trace;
mod usage;
mod vectors;
mod vocabulary;

pub use blip2_core::layers::Packing;
pub use blip2_core::{LoadPlan, ModelError, Segment};
pub use blip2_data::pixels::{
    DecodeOptions, MAX_PIXELS, Orientation, PixelsError, RgbImage, open as open_picture,
};
pub use blip2_generation::{
    EarlyStopping, Event, Filter, Finding, Generated, GenerationConfig, GenerationError, GenerationWishes,
    Guarded, Request, RowId, Session, StopFlag, TextStream, Token, TokenScores, WordList, WordListError,
    whole_words,
};
pub use blip2_hub::locate;
pub use blip2_llm_adapters::LoadedLanguageModel;
/// The tensors that signatures here speak of, in the one version that they can be of.
pub use burn;
pub use captioner::Captioner;
pub use captions::{Written, answer_settings, caption_settings, write_captions, write_captions_by_qformer};
pub use causes::causes;
pub use chat::{Chat, Template, Turn, UnknownTemplate};
pub use config::{EncoderConfig, LanguageModelConfig, ModelConfig, Reads, home};
pub use convert::{
    Conversion, LeftOut, convert_to_hugging_face, convert_to_lavis, trained_to_hugging_face, trained_to_lavis,
};
pub use encoded::{EncodedPicture, PictureCache};
pub use error::Blip2Error;
pub use folder::{
    ADAPTER, BRIDGE, CONFIG, ENCODER, REPRESENTATION, model_folder, read_config, save_pretrained, save_tuned,
};
pub use hugging_face::{HuggingFaceFolder, HuggingFaceKind};
pub use in_context::{Asked, Example};
pub use looks::{LayerLook, Looks, Stage, WordLook, WordLooks};
pub use many::{CaptionRequest, CaptionTask, OpenedBatch, Writer};
pub use matching::Match;
pub use measured::TextCost;
pub use model::{Blip2, ImageEmbeddings, ImagePrompts, TextEmbeddings};
pub use number_format::{NumberFormat, PackingChoice};
pub use recollection::Reading;
pub use registry::{LoadedEncoder, LoaderError, Registry};
pub use save::Trained;
pub use session::Piece;
pub use stored::StoredWeights;
pub use text::text_batch;
pub use vectors::join_vectors;
