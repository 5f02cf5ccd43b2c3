//! What can end a run.

use std::error::Error;
use std::path::{Path, PathBuf};

/// A run that could not start or go on. What was checkpointed stays, and `--resume` goes on from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
        "{phase} diverged at step {step}: {what} is {value}, and {skipped} such steps were skipped before; lower the learning \
         rate or clip the gradient norm (the last checkpoint is from before, and what was in the batch stands in metrics.jsonl)"
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
        /// How often that was let pass before.
        skipped: u64,
    },
    /// An objective gave no term of the loss.
    #[error("no term of the loss has a weight: there is nothing to learn")]
    NothingToLearn,
    /// A row whose features are to be computed now came without a picture.
    #[error("sample {0} came without its picture: live features need a row source that opens pictures")]
    NoPicture(String),
    /// A frozen model changed, which must not happen.
    #[error("the frozen {0} is no longer what was loaded: this is a bug, its results cannot be trusted")]
    Thawed(&'static str),
    /// Ranks that cannot train together.
    #[error("{0}")]
    Ranks(String),
    /// Ranks that could not meet.
    #[error(transparent)]
    Collective(#[from] blip2_distributed::CollectiveError),
    /// Weights.
    #[error(transparent)]
    Weights(#[from] blip2_core::weights::WeightError),
    /// A model refused its input.
    #[error(transparent)]
    Model(#[from] blip2_core::ModelError),
    /// Loading or saving models.
    #[error(transparent)]
    Blip2(#[from] blip2::Blip2Error),
    /// Preparing pixels.
    #[error(transparent)]
    Pixels(#[from] blip2_data::pixels::PixelsError),
    /// Tokenising.
    #[error(transparent)]
    Text(#[from] blip2_data::text::TextError),
    /// The stored features.
    #[error(transparent)]
    Features(#[from] blip2_data::features::FeatureError),
    /// Opening data sets.
    #[error(transparent)]
    Sets(#[from] blip2_data::sets::SetError),
    /// Mixing them.
    #[error(transparent)]
    Mixture(#[from] blip2_data::mixture::MixtureError),
    /// Reading them.
    #[error(transparent)]
    Data(#[from] blip2_data::loader::DataLoaderError),
    /// The language model's tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] blip2_llm_adapters::TokenizerError),
    /// A part that the caller brought failed: a row source, an evaluator, an objective.
    #[error(transparent)]
    Other(Box<dyn Error + Send + Sync>),
}

impl TrainError {
    /// What a part of the caller's own failed with.
    pub fn other(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Other(error.into())
    }
}

/// What the operating system said when it was to do `action` with `path`.
pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> TrainError + use<> {
    let path = path.to_owned();
    move |source| TrainError::Io { action, path, source }
}
