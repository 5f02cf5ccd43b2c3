//! BLIP-2 over HTTP: OpenAI's chat completions and embeddings, captions, matches, attention, and a web page.
//!
#![doc = include_str!("../README.md")]
//!
//! All texts are written by one [`blip2::Session`]: requests join and leave it at any time. Everything that a request may take is
//! bounded ([`Limits`]), and what a client says is checked before the model sees it. Logs hold no user's data.

mod answer;
mod attention;
mod caption;
mod chat;
mod embeddings;
mod engine;
mod error;
mod health;
mod hosts;
mod json;
mod keys;
mod listen;
mod listens;
mod matching;
mod metrics;
mod models;
mod openapi;
mod options;
mod page;
mod pictures;
mod remote;
mod routes;
mod sampling;
mod state;
mod stream;
mod tickets;
mod withheld;

pub use blip2::{Filter, Finding, WordList};
pub use error::ServerError;
pub use keys::Keys;
pub use listen::Server;
pub use options::{Limits, ServerOptions};
