//! ITM: image-text matching against hard negatives (paper section 3.2, LAVIS `blip2_qformer.py`).

use blip2_core::ModelError;
use blip2_kernels::{CrossEntropyOptions, cross_entropy};
use blip2_qformer::{ImageContext, RepresentationModel, TextBatch};
use burn::tensor::{Int, Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::Contrast;

/// The wrong partners of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negatives {
    /// For each text, an image that is not its own.
    pub images: Vec<usize>,
    /// For each image, a text that is not its own.
    pub texts: Vec<usize>,
}

/// Draws one wrong partner a row, in proportion to the softmax of the similarity: what is easily confused is drawn often.
///
/// # Errors
/// [`ModelError::Invalid`] for a batch of one, which has no negative.
pub fn draw_negatives(contrast: &Contrast, generator: &mut ChaCha8Rng) -> Result<Negatives, ModelError> {
    let [batch, _] = contrast.image_to_text.dims();
    if batch < 2 {
        return Err(ModelError::Invalid(
            "matching needs a batch of at least 2: one pair has no negative".to_owned(),
        ));
    }
    Ok(Negatives {
        images: draw(&contrast.text_to_image, batch, generator)?,
        texts: draw(&contrast.image_to_text, batch, generator)?,
    })
}

fn draw(similarity: &Tensor<2>, batch: usize, generator: &mut ChaCha8Rng) -> Result<Vec<usize>, ModelError> {
    let scores = similarity
        .clone()
        .inner()
        .into_data()
        .convert::<f32>()
        .try_to_vec::<f32>();
    let scores =
        scores.map_err(|error| ModelError::Invalid(format!("similarities cannot be read: {error}")))?;
    scores
        .chunks(batch)
        .enumerate()
        .map(|(own, row)| draw_one(row, own, generator))
        .collect()
}

/// A multinomial draw over the softmax of `row` without its entry `own`.
fn draw_one(row: &[f32], own: usize, generator: &mut ChaCha8Rng) -> Result<usize, ModelError> {
    let others = || row.iter().enumerate().filter(|(index, _)| *index != own);
    let largest = others().fold(f32::NEG_INFINITY, |largest, (_, score)| largest.max(*score));
    let weight = |score: f32| f64::from(score - largest).exp();
    let total: f64 = others().map(|(_, score)| weight(*score)).sum();
    if !total.is_finite() {
        return Err(ModelError::Invalid(format!(
            "similarities of row {own} are not finite: training has diverged, lower the learning rate"
        )));
    }
    let mut point = generator.random::<f64>() * total;
    let mut chosen = if own == 0 { 1 } else { 0 };
    for (index, score) in others() {
        chosen = index;
        point -= weight(*score);
        if point < 0.0 {
            break;
        }
    }
    Ok(chosen)
}

/// Mean cross-entropy `[1]` of telling true pairs from wrong ones, two wrong ones for each true one: the images of
/// `context` with their texts, with wrong texts, and the texts with wrong images.
///
/// # Errors
/// [`ModelError`] where the texts do not fit the model or a negative lies outside of the batch.
pub fn matching_loss(
    model: &RepresentationModel,
    context: &ImageContext,
    texts: &TextBatch,
    negatives: &Negatives,
) -> Result<Tensor<1>, ModelError> {
    let batch = texts.len();
    if negatives.images.len() != batch
        || negatives.texts.len() != batch
        || negatives
            .images
            .iter()
            .chain(&negatives.texts)
            .any(|index| *index >= batch)
    {
        return Err(ModelError::Invalid(format!(
            "negatives do not belong to a batch of {batch}: {negatives:?}"
        )));
    }
    let own: Vec<usize> = (0..batch).collect();
    let image_rows = [own.as_slice(), &negatives.images, &own].concat();
    let text_rows = [own.as_slice(), &own, &negatives.texts].concat();

    let device = texts.ids.device();
    let logits = model.matching_logits(&context.select(&image_rows), &texts.select(&text_rows))?;

    let labels: Vec<i64> = (0..3 * batch).map(|row| i64::from(row < batch)).collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [3 * batch]), &device);
    Ok(cross_entropy(
        logits,
        labels,
        CrossEntropyOptions { label_smoothing: 0.0 },
    ))
}
