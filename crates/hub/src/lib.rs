//! Models by name: where the Hugging Face libraries keep what was fetched from the hub.

mod cache;
mod environment;

pub use cache::{CacheError, locate};
