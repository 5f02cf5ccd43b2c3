//! Frozen language models behind [`blip2_core::LanguageModel`]: the Llama family and Gemma 3, from GGUF or safetensors, OPT,
//! and FlanT5, with their tokenizers.
//!
#![doc = include_str!("../README.md")]
//!
//! # What a caption looks like to the model
//!
//! Soft prompt, then the plain text of the prompt (often none), then the caption, then [`LanguageTokenizer::end`]. No chat
//! template stands in between, even for instruction-tuned models such as SmolLM2-Instruct: the soft prompt takes the place
//! of all instructions, as in the paper (section 3.3). The special ids around it are those that `tokenizer.json` names, else
//! those of each family ([`LanguageTokenizer::encode_prompt`]):
//!
//! | family | in front of the prompt | behind the prompt | end of a caption | padding |
//! |---|---|---|---|---|
//! | Llama, Mistral, Qwen2, Qwen3 | nothing: the soft prompt is what comes first | nothing | the line break, where it is one id | its own, or the end-of-text id |
//! | Gemma 3 | `<bos>` (2) | nothing | the line break | `<pad>` (0) |
//! | OPT | `</s>` (2) | nothing | the line break | `<pad>` (1) |
//! | T5 | nothing | `</s>` (1), also of an empty prompt | `</s>` (1) | `<pad>` (0) |
//!
//! LAVIS trains OPT with an empty prompt on `</s>` too: put it in front of the target instead of into the prompt to have
//! its loss.

mod attention;
mod batch;
mod beginnings;
mod byte_level;
mod cache;
mod causal;
mod config;
pub mod conformance;
mod gemma3;
mod gguf_tokenizer;
mod head;
mod interleaved;
mod linears;
mod llama;
mod loading;
mod opt;
mod peft;
mod rms_norm;
mod rotary;
mod sentencepiece;
mod special_ids;
mod t5;
mod tokenizer;
mod tokenizer_files;

/// The tensors that signatures here speak of, in the one version that they can be of.
pub use burn;
pub use gemma3::{Gemma3, Gemma3Config};
pub use llama::{Architecture, Llama, LlamaConfig};
pub use loading::{
    LanguageModelTensors, LoadError, LoadedLanguageModel, MODEL_TYPES, from_hugging_face,
    hugging_face_tensors, load_language_model, model_type,
};
pub use opt::{Opt, OptConfig};
pub use peft::{LoraConfig, PeftFolder};
pub use t5::{GateActivation, T5, T5Config};
pub use tokenizer::{LanguageTokenizer, PLACEHOLDER, TokenizerError};
