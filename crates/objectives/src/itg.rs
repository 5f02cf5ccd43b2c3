//! ITG: writing the text from the queries (paper section 3.2, LAVIS `blip2_qformer.py`).

use blip2_core::ModelError;
use blip2_qformer::{QueryOutput, RepresentationModel, TextBatch};
use burn::tensor::{Int, Tensor, TensorData};

/// Mean cross-entropy `[1]` of each text token given the images and the tokens before it. The texts are as tokenised, with
/// `[CLS]` first; `start`, the id of `[DEC]`, takes its place.
///
/// Only rows that have a label reach the language head.
///
/// # Errors
/// [`ModelError`] where the texts do not fit the model, or all of them are a single token long.
pub fn itg_loss(
    model: &RepresentationModel,
    images: &QueryOutput,
    texts: &TextBatch,
    start: u32,
    label_smoothing: f64,
) -> Result<Tensor<1>, ModelError> {
    let hidden = model.qformer.causal_pass(images, &texts.with_first(start))?;
    let [batch, tokens, width] = hidden.dims();
    let (mut rows, mut targets) = (Vec::new(), Vec::new());
    for (index, text) in texts.rows().iter().enumerate() {
        for (position, next) in text.iter().skip(1).enumerate() {
            rows.push((index * tokens + position) as i64);
            targets.push(i64::from(*next));
        }
    }
    let count = rows.len();
    if count == 0 {
        return Err(ModelError::Invalid(
            "no text of the batch has a second token to predict".to_owned(),
        ));
    }
    let device = texts.ids.device();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), &device);
    let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [count]), &device);
    let labelled = hidden.reshape([batch * tokens, width]).select(0, rows);
    Ok(model
        .language_head
        .loss(labelled, model.decoder(), targets, label_smoothing))
}
