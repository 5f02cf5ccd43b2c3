//! Models by name: where the Hugging Face libraries keep what was fetched from the hub, and, with the feature `download`, how
//! it gets there.
//!
#![doc = include_str!("../README.md")]

mod cache;
#[cfg(feature = "download")]
mod download;
mod environment;

pub use cache::{CacheError, hub_name, locate};
#[cfg(feature = "download")]
pub use download::{DownloadError, Event, Hub, obtain};
