//! The frozen image encoder behind the bridge.

use std::any::Any;

use burn::tensor::Tensor;

use crate::ModelError;

/// Turns pixels into a sequence of image features for the Q-Former to read (paper section 3.1).
///
/// An encoder runs on plain tensors, outside of autodiff: a frozen encoder costs no backward pass. One that is to be trained is taken
/// out of its box as what it is.
pub trait VisionEncoder: Any + Send + Sync {
    /// Encodes `pixels` `[batch, 3, height, width]`, already normalised for this encoder, into image features
    /// `[batch, tokens, width]`.
    ///
    /// # Errors
    /// [`ModelError::Shape`] where the pixels do not fit the patch grid.
    fn encode(&self, pixels: Tensor<4>) -> Result<Tensor<3>, ModelError>;

    /// SHA-256 over all weights as they are in memory ([`crate::weights::fingerprint`]): a frozen model keeps it, and stored
    /// features are known by it.
    fn fingerprint(&self) -> String;

    /// Width of the image features, in floats.
    fn width(&self) -> usize;

    /// Number of tokens for an image of `height` x `width` pixels.
    ///
    /// # Errors
    /// [`ModelError::Shape`] where the size does not fit the patch grid.
    fn tokens(&self, height: usize, width: usize) -> Result<usize, ModelError>;
}
