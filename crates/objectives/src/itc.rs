//! ITC: image-text contrast (paper section 3.2, LAVIS `blip2_qformer.py`), against all pairs of the global batch.

use blip2_kernels::{CrossEntropyOptions, cross_entropy};
use blip2_qformer::best_query;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};

/// Contrastive embeddings of pairs, of unit length; row `i` of both belongs together.
#[derive(Clone, Debug)]
pub struct Embeddings {
    /// `[pairs, queries, embedding]`.
    pub images: Tensor<3>,
    /// `[pairs, embedding]`.
    pub texts: Tensor<2>,
}

impl Embeddings {
    /// The pairs of all `parts`, one part behind the other.
    pub fn gathered(parts: Vec<Self>) -> Self {
        let (images, texts) = parts.into_iter().map(|part| (part.images, part.texts)).unzip();
        Self {
            images: Tensor::cat(images, 0),
            texts: Tensor::cat(texts, 0),
        }
    }

    /// The same without gradient: what others are compared with.
    pub fn detached(&self) -> Self {
        Self {
            images: self.images.clone().detach(),
            texts: self.texts.clone().detach(),
        }
    }
}

/// How alike the pairs of a part and those of the global batch are, divided by the temperature.
#[derive(Clone, Debug)]
pub struct Similarities {
    /// `[part, batch]`: each image of the part with each text.
    pub image_to_text: Tensor<2>,
    /// `[part, batch]`: each text of the part with each image.
    pub text_to_image: Tensor<2>,
}

/// Compares the pairs of a part, `own`, with `all` pairs of the global batch. A pair's similarity is that of its best query,
/// divided by `temperature` `[1]`.
///
/// As in the reference, what is compared against carries no gradient, the part's own rows of it neither: image to text trains
/// the images and text to image the texts; both train the temperature. So it is with a single part too.
pub fn similarities(own: &Embeddings, all: &Embeddings, temperature: Tensor<1>) -> Similarities {
    let all = all.detached();
    let temperature = temperature.reshape([1, 1]);
    Similarities {
        image_to_text: best_query(own.images.clone(), all.texts) / temperature.clone(),
        text_to_image: best_query(all.images, own.texts.clone()).transpose() / temperature,
    }
}

/// The mean `[1]` of the contrastive loss over both directions and the rows of a part, whose first pair is row `first` of the
/// global batch.
pub fn itc_loss(similarities: &Similarities, first: usize, label_smoothing: f64) -> Tensor<1> {
    let [pairs, _] = similarities.image_to_text.dims();
    let device = similarities.image_to_text.device();
    let targets = Tensor::<1, Int>::arange(first as i64..(first + pairs) as i64, &device);
    let options = CrossEntropyOptions { label_smoothing };
    (cross_entropy(
        similarities.image_to_text.clone(),
        targets.clone(),
        options.clone(),
    ) + cross_entropy(similarities.text_to_image.clone(), targets, options))
        / 2.0
}

/// As [`itc_loss`], where `pictures` holds a number for the picture of each row of the global batch: all rows of one picture are
/// right, each as much, and `label_smoothing` is spread over the whole batch (LAVIS's main branch with image ids).
///
/// # Panics
/// Where there is not one number a row of the global batch.
pub fn itc_loss_among(
    similarities: &Similarities,
    first: usize,
    pictures: &[u64],
    label_smoothing: f64,
) -> Tensor<1> {
    let [pairs, batch] = similarities.image_to_text.dims();
    assert_eq!(pictures.len(), batch, "a picture a row");
    let mut targets = Vec::with_capacity(pairs * batch);
    for own in &pictures[first..first + pairs] {
        let right = pictures.iter().filter(|other| *other == own).count() as f64;
        targets.extend(pictures.iter().map(|other| {
            let share = if other == own { 1.0 / right } else { 0.0 };
            ((1.0 - label_smoothing) * share + label_smoothing / batch as f64) as f32
        }));
    }
    let device = similarities.image_to_text.device();
    let targets = Tensor::<2>::from_data(TensorData::new(targets, [pairs, batch]), &device);
    let direction = |similarity: &Tensor<2>| {
        let likely = log_softmax(similarity.clone(), 1);
        (likely * targets.clone()).sum() / pairs as f64
    };
    (direction(&similarities.image_to_text) + direction(&similarities.text_to_image)) / -2.0
}
