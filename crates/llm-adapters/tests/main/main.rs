//! Tests of the language models, in one binary.

mod golden;
mod llama;
mod loading;
mod smollm;
