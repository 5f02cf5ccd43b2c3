//! What can end a run of the embedded default.

use std::path::{Path, PathBuf};

/// A run that could not start or go on. What was checkpointed stays, and `--resume` goes on from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MiniError {
    /// Training, or reading the recipe.
    #[error(transparent)]
    Train(#[from] blip2_trainer::TrainError),
    /// Drawing scenes.
    #[error(transparent)]
    Scenes(#[from] crate::scenes::ScenesError),
    /// A sample that could not be read.
    #[error(transparent)]
    Sample(#[from] blip2_data::sets::SampleError),
    /// Stored features.
    #[error(transparent)]
    Features(#[from] blip2_data::features::FeatureError),
    /// The Q-Former's vocabulary.
    #[error(transparent)]
    Text(#[from] blip2_data::text::TextError),
    /// A model refused its input.
    #[error(transparent)]
    Model(#[from] blip2_core::ModelError),
    /// Loading, saving or asking models.
    #[error(transparent)]
    Blip2(#[from] blip2::Blip2Error),
    /// Measuring.
    #[error(transparent)]
    Evaluation(#[from] blip2_evaluation::EvaluationError),
    /// Writing the report.
    #[error(transparent)]
    Report(#[from] blip2_report::ReportError),
    /// The operating system refused.
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// `write`, `create`, ...
        action: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What the operating system said when it was to do `action` with `path`.
pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> MiniError + use<> {
    let path = path.to_owned();
    move |source| MiniError::Io { action, path, source }
}
