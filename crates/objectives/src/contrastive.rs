//! ITC: image-text contrast (paper section 3.2, LAVIS `blip2_qformer.py`).

use blip2_kernels::{CrossEntropyOptions, cross_entropy};
use burn::tensor::{Int, Tensor};

/// The contrastive loss and the similarities that hard negatives are drawn by.
#[derive(Clone, Debug)]
pub struct Contrast {
    /// `[1]`: the mean over both directions.
    pub loss: Tensor<1>,
    /// `[images, texts]`, divided by the temperature, without gradient.
    pub image_to_text: Tensor<2>,
    /// `[texts, images]`, likewise.
    pub text_to_image: Tensor<2>,
}

/// Contrasts unit-length `images` `[batch, queries, embedding]` with `texts` `[batch, embedding]`; row `i` belongs to row
/// `i`. A pair's similarity is that of its best query, divided by `temperature` `[1]`.
///
/// As in the reference, the side that is compared against carries no gradient: the image-to-text loss trains the images and
/// the text-to-image loss the texts; both train the temperature.
pub fn contrast(
    images: Tensor<3>,
    texts: Tensor<2>,
    temperature: Tensor<1>,
    label_smoothing: f64,
) -> Contrast {
    let [batch, _, _] = images.dims();
    let all_images = images.clone().detach();
    let all_texts = texts.clone().detach();
    let temperature = temperature.reshape([1, 1]);
    let image_to_text = best_query(images, all_texts) / temperature.clone();
    let text_to_image = best_query(all_images, texts).transpose() / temperature;

    let targets = Tensor::<1, Int>::arange(0..batch as i64, &image_to_text.device());
    let options = CrossEntropyOptions { label_smoothing };
    let loss = (cross_entropy(image_to_text.clone(), targets.clone(), options.clone())
        + cross_entropy(text_to_image.clone(), targets, options))
        / 2.0;
    Contrast {
        loss,
        image_to_text: image_to_text.detach(),
        text_to_image: text_to_image.detach(),
    }
}

/// Similarity of each image's best query with each text, `[images, texts]`.
fn best_query(images: Tensor<3>, texts: Tensor<2>) -> Tensor<2> {
    let [count, queries, width] = images.dims();
    let others = texts.dims()[0];
    let similarity = images.reshape([count * queries, width]).matmul(texts.transpose());
    similarity
        .reshape([count, queries, others])
        .max_dim(1)
        .reshape([count, others])
}
