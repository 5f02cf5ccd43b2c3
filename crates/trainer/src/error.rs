//! What can end a run.

use std::path::PathBuf;

use thiserror::Error;

/// A run that could not start or go on. What was checkpointed stays, and `--resume` goes on from there.
#[derive(Debug, Error)]
pub enum TrainError {
    /// A recipe that cannot be used.
    #[error("recipe {path}: {reason}", path = path.display())]
    Recipe {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The run folder is not what it should be.
    #[error("run folder {path}: {reason}", path = path.display())]
    Run {
        /// Which folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// `read`, `write`, ...
        action: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Loss or gradient is no number.
    #[error(
        "{phase} diverged at step {step}: {what} is {value}; lower the learning rate or clip the gradient norm"
    )]
    Diverged {
        /// Which phase.
        phase: String,
        /// Which step.
        step: u64,
        /// What was not finite.
        what: String,
        /// Its value.
        value: f64,
    },
    /// A frozen model changed, which must not happen.
    #[error("the frozen {0} is no longer what was loaded: this is a bug, its results cannot be trusted")]
    Thawed(&'static str),
    /// Weights.
    #[error(transparent)]
    Weights(#[from] blip2_core::weights::WeightError),
    /// A model refused its input.
    #[error(transparent)]
    Model(#[from] blip2_core::ModelError),
    /// Loading or saving models.
    #[error(transparent)]
    Blip2(#[from] blip2::Blip2Error),
    /// Drawing scenes.
    #[error(transparent)]
    Scenes(#[from] blip2_data::scenes::ScenesError),
    /// Preparing pixels.
    #[error(transparent)]
    Pixels(#[from] blip2_data::pixels::PixelsError),
    /// Tokenising.
    #[error(transparent)]
    Text(#[from] blip2_data::text::TextError),
    /// The stored features.
    #[error(transparent)]
    Features(#[from] blip2_data::features::FeatureError),
    /// The order of examples.
    #[error(transparent)]
    Loader(#[from] blip2_data::loader::LoaderError),
    /// The language model's tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] blip2_llm_adapters::TokenizerError),
    /// Measuring.
    #[error(transparent)]
    Evaluation(#[from] blip2_evaluation::EvaluationError),
    /// Writing the report.
    #[error(transparent)]
    Report(#[from] blip2_report::ReportError),
}
