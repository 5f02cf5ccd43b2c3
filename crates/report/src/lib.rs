//! The report of a run: what was learned, as figures (`report.json`) and as one page (`report.html`) that opens from
//! disk without a network.
//!
#![doc = include_str!("../README.md")]

mod axis;
mod chart;
mod check;
mod content;
mod error;
mod files;
mod heat;
mod html;
mod markdown;
mod ordered;
mod page;
mod pictures;
mod plot;
mod sheets;
mod tables;
mod words;

pub use content::{GenerationRow, Look, LossCurve, Report, RetrievalRow, Sample};
pub use error::ReportError;
pub use heat::heat;
pub use plot::plot;
pub use serde_json::Value;
