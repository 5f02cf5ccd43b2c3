//! Tests of the language models, in one binary.

mod golden;
mod llama;
mod loading;
mod opt;
mod smollm;
mod t5;
