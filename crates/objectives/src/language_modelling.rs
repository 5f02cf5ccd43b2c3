//! Language modelling behind the bridge: stage 2 (paper section 3.3, LAVIS `blip2_opt.py`, `blip2_t5.py`).

use blip2_core::{LanguageModel, ModelError, TextExample};
use blip2_qformer::Bridge;
use burn::tensor::Tensor;

/// The mean cross-entropy `[1]` of what `examples` have to predict behind the images of `features`
/// `[batch, patches, encoder width]`. Gradients reach the bridge alone.
///
/// Where an example has a prompt, an encoder-decoder model reads it behind the soft prompt, and a decoder-only model in front of
/// what it predicts: with a prompt that is the beginning of a text, this is prefix language modelling.
///
/// # Errors
/// [`ModelError`] where features, examples and models do not fit each other.
pub fn language_modelling_loss(
    bridge: &Bridge,
    language_model: &dyn LanguageModel,
    features: Tensor<3>,
    examples: &[TextExample],
) -> Result<Tensor<1>, ModelError> {
    language_model.loss(bridge.soft_prompt(features)?, examples)
}
