//! The report of a run: what was learned, as figures (`report.json`) and as one page (`report.html`) that opens from
//! disk without a network.

mod content;
mod error;
mod ordered;

pub use content::{GenerationRow, Look, LossCurve, Report, RetrievalRow, Sample};
pub use error::ReportError;
pub use serde_json::Value;
