//! The data crate against the reference: one binary, a module a subject.

mod assets;
mod data_loader;
mod features;
mod filters;
mod golden;
mod golden_augment;
mod golden_data;
mod golden_pictures;
mod golden_sets;
mod mixture;
mod numbers;
mod odd_pictures;
mod order;
mod pixels;
#[cfg(feature = "remote")]
mod remote;
mod sets;
mod sets_in_parquet;
mod text;
mod webdataset;
