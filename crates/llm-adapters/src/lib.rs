//! Frozen language models behind [`blip2_core::LanguageModel`]: the Llama family, from GGUF or safetensors, with their
//! tokenizers.
//!
//! # What a caption looks like to the model
//!
//! Soft prompt, then the plain text of the prompt (often none), then the caption, then [`LanguageTokenizer::end`], a line
//! break. No chat template stands in between, even for instruction-tuned models such as
//! SmolLM2-Instruct: the soft prompt takes the place of all instructions, as in the paper (section 3.3). No beginning id
//! is put in front either: the soft prompt itself is what comes first.

pub mod conformance;
mod llama;
mod loading;
mod rms_norm;
mod tokenizer;

pub use llama::{Llama, LlamaConfig};
pub use loading::{LoadError, LoadedLanguageModel, load_language_model};
pub use tokenizer::{LanguageTokenizer, TokenizerError};
