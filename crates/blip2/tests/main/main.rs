//! Whole models from folders, as their users load them.

mod aloud;
mod chat;
mod defaults;
mod golden_captioner;
mod golden_convert;
mod golden_generation;
mod golden_instruction;
mod golden_looks;
mod golden_names;
mod golden_rerank;
mod golden_retrieval;
mod hub_folders;
mod instructed;
mod matching;
mod refusals;
mod registry;
mod session;
mod storage;
mod support;
