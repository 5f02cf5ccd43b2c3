//! ITM: image-text matching against hard negatives (paper section 3.2, LAVIS `blip2_qformer.py`).

use blip2_core::ModelError;
use blip2_kernels::{CrossEntropyOptions, cross_entropy};
use blip2_qformer::{ImageContext, RepresentationModel, TextBatch};
use burn::tensor::{Int, Tensor, TensorData};

use crate::Negatives;

/// Matching logits `[3 pairs, 2]` of as many pairs as there are `negatives`, two wrong ones for each true one: the first images
/// of `context` with the first of `texts`, then these texts with wrong images, then these images with wrong texts. Negatives are
/// places in `context` and `texts`, where what another part of the batch holds stands behind the pairs.
///
/// # Errors
/// [`ModelError`] where the texts do not fit the model or a negative is not among them.
pub fn itm_logits(
    model: &RepresentationModel,
    context: &ImageContext,
    texts: &TextBatch,
    negatives: &Negatives,
) -> Result<Tensor<2>, ModelError> {
    let (images, count) = (context.images(), negatives.images.len());
    if negatives.texts.len() != count
        || count > images.min(texts.len())
        || negatives.images.iter().any(|index| *index >= images)
        || negatives.texts.iter().any(|index| *index >= texts.len())
    {
        return Err(ModelError::Invalid(format!(
            "negatives do not belong to {images} images and {} texts: {negatives:?}",
            texts.len()
        )));
    }
    let own: Vec<usize> = (0..count).collect();
    let image_rows = [own.as_slice(), &negatives.images, &own].concat();
    let text_rows = [own.as_slice(), &own, &negatives.texts].concat();
    model.matching_logits(&context.select(&image_rows), &texts.select(&text_rows))
}

/// Mean cross-entropy `[1]` of telling true pairs from wrong ones by `logits` as [`itm_logits`] gives them.
pub fn itm_loss(logits: Tensor<2>) -> Tensor<1> {
    let [rows, _] = logits.dims();
    let labels: Vec<i64> = (0..rows).map(|row| i64::from(row < rows / 3)).collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [rows]), &logits.device());
    cross_entropy(logits, labels, CrossEntropyOptions { label_smoothing: 0.0 })
}
