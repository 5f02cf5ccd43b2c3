//! The embedded default through what it offers to others, in one binary: scenes and recipes. Whole runs are tested with the
//! program (`crates/cli/tests/main/pretrain.rs`).

mod assets;
mod dataset;
mod drawing;
mod pretraining;
mod recipe;
mod repertoire;
mod scenes;
