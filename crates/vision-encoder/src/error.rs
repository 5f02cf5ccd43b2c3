//! Why an encoder cannot be made from files.

use blip2_core::ModelError;
use blip2_core::weights::WeightError;
use thiserror::Error;

/// An encoder that cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// The weights or the configuration file are at fault.
    #[error(transparent)]
    Weights(#[from] WeightError),
    /// The configuration contradicts itself.
    #[error(transparent)]
    Model(#[from] ModelError),
}
