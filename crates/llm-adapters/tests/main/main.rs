//! Tests of the language models, in one binary.

mod assets;
mod gemma3;
mod golden;
mod golden_tokens;
mod golden_vocabulary;
mod llama;
mod loading;
mod lora;
mod opt;
mod packing;
mod qwen;
mod sentencepiece;
mod session;
mod smollm;
mod t5;
