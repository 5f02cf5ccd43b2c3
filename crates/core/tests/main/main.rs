//! Weight files, loading and initial weights, in one binary.

mod files;
mod initial;
mod loading;
mod packing;
mod pytorch;
mod shards;
mod writing;
