//! Weight files, loading and initial weights, in one binary.

mod files;
mod initial;
mod loading;
mod pytorch;
mod packing;
mod shards;
mod writing;
