//! The contrastive loss and its gradients against the formula written out, with the compared side held fixed.

use blip2_core::Initializer;
use blip2_objectives::{Embeddings, itc_loss, itc_loss_among, similarities};
use blip2_qformer::unit_length;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};

const SMOOTHING: f64 = 0.1;
const BATCH: usize = 5;

/// Leaves of the graph: images `[batch, queries, embedding]`, texts `[batch, embedding]`, temperature `[1]`.
fn leaves() -> (Tensor<3>, Tensor<2>, Tensor<1>) {
    let device = Device::flex().autodiff();
    let mut initializer = Initializer::new(7, &Device::flex());
    let images = unit_length(initializer.normal([BATCH, 3, 8], 1.0).val());
    let texts = unit_length(initializer.normal([BATCH, 8], 1.0).val());
    (
        Tensor::from_data(images.into_data(), &device).require_grad(),
        Tensor::from_data(texts.into_data(), &device).require_grad(),
        Tensor::full([1], 0.3, &device).require_grad(),
    )
}

/// `[images, texts]`: each pair's best query, one product at a time.
fn similarity(images: Tensor<3>, texts: Tensor<2>, temperature: Tensor<1>) -> Tensor<2> {
    let products = images.unsqueeze_dim::<4>(1) * texts.unsqueeze_dim::<3>(1).unsqueeze_dim::<4>(0);
    products.sum_dim(3).max_dim(2).reshape([BATCH, BATCH]) / temperature.reshape([1, 1])
}

/// Mean over rows of `(1 - smoothing)` times the own entry's and `smoothing` times the mean negative log probability.
fn smoothed(scores: Tensor<2>) -> Tensor<1> {
    let log_probabilities = log_softmax(scores, 1);
    let own = Tensor::<2>::eye(BATCH, &log_probabilities.device());
    let weights = own * (1.0 - SMOOTHING) + SMOOTHING / BATCH as f64;
    (log_probabilities * weights).sum().neg() / BATCH as f64
}

/// Of a batch in one part.
fn contrast(images: Tensor<3>, texts: Tensor<2>, temperature: Tensor<1>) -> Tensor<1> {
    let own = Embeddings { images, texts };
    itc_loss(&similarities(&own, &own, temperature), 0, SMOOTHING)
}

fn difference<const D: usize>(left: &Tensor<D>, right: &Tensor<D>) -> f32 {
    (left.clone() - right.clone()).abs().max().into_scalar()
}

#[test]
fn the_compared_side_carries_no_gradient() {
    let (images, texts, temperature) = leaves();
    let loss = contrast(images.clone(), texts.clone(), temperature.clone());
    let gradients = loss.backward();
    let [own_images, own_texts] = [
        images.grad(&gradients).expect("images").flatten::<1>(0, 2),
        texts.grad(&gradients).expect("texts").flatten(0, 1),
    ];
    let own_temperature = temperature.grad(&gradients).expect("temperature");

    // Image to text, with the texts held fixed: the images' gradient, and half of the temperature's.
    let (images, texts, temperature) = leaves();
    let image_loss = smoothed(similarity(
        images.clone(),
        texts.clone().detach(),
        temperature.clone(),
    )) / 2.0;
    let from_images = image_loss.backward();
    // Text to image, with the images held fixed.
    let text_loss =
        smoothed(similarity(images.clone().detach(), texts.clone(), temperature.clone()).transpose()) / 2.0;
    let from_texts = text_loss.backward();

    let total = (image_loss + text_loss).into_scalar::<f32>();
    assert!((loss.into_scalar::<f32>() - total).abs() < 1e-6);
    let expected_images = images.grad(&from_images).expect("images").flatten::<1>(0, 2);
    let expected_texts = texts.grad(&from_texts).expect("texts").flatten::<1>(0, 1);
    assert!(difference(&own_images, &expected_images) < 1e-6);
    assert!(difference(&own_texts, &expected_texts) < 1e-6);
    let expected_temperature = temperature.grad(&from_images).expect("one half")
        + temperature.grad(&from_texts).expect("the other half");
    assert!(difference(&own_temperature, &expected_temperature) < 1e-5);
    assert!(texts.grad(&from_images).is_none() && images.grad(&from_texts).is_none());

    // Without the detaching the gradients would be others: the comparison above can tell.
    let (images, texts, temperature) = leaves();
    let scores = similarity(images.clone(), texts.clone(), temperature);
    let whole = ((smoothed(scores.clone()) + smoothed(scores.transpose())) / 2.0).backward();
    assert!(difference(&own_images, &images.grad(&whole).expect("images").flatten(0, 2)) > 1e-3);
    assert!(difference(&own_texts, &texts.grad(&whole).expect("texts").flatten(0, 1)) > 1e-3);
}

#[test]
fn a_part_is_compared_with_the_whole_batch_both_ways() {
    let (images, texts, temperature) = leaves();
    let expected = similarity(images.clone(), texts.clone(), temperature.clone());
    let all = Embeddings { images, texts };
    let part = |rows: std::ops::Range<usize>| {
        let own = Embeddings {
            images: all.images.clone().slice([rows.clone()]),
            texts: all.texts.clone().slice([rows]),
        };
        similarities(&own, &all, temperature.clone())
    };
    let (first, second) = (part(0..2), part(2..BATCH));
    let join = |one: &Tensor<2>, other: &Tensor<2>| Tensor::cat(vec![one.clone(), other.clone()], 0);
    let image_to_text = join(&first.image_to_text, &second.image_to_text);
    let text_to_image = join(&first.text_to_image, &second.text_to_image);
    assert!(difference(&image_to_text, &expected) < 1e-5);
    assert!(difference(&text_to_image, &expected.transpose()) < 1e-5);

    // Each row counts once, whatever part it is in.
    let losses = itc_loss(&first, 0, SMOOTHING) * 2.0 + itc_loss(&second, 2, SMOOTHING) * 3.0;
    let whole = contrast(all.images.clone(), all.texts.clone(), temperature);
    assert!(difference(&(losses / BATCH as f64), &whole) < 1e-6);
}

#[test]
fn equal_similarities_cost_the_logarithm_of_the_batch() {
    let device = Device::flex();
    let images = Tensor::ones([BATCH, 3, 4], &device) / 2.0;
    let texts = Tensor::ones([BATCH, 4], &device) / 2.0;
    let loss = contrast(images, texts, Tensor::full([1], 0.07, &device)).into_scalar::<f32>();
    assert!((loss - (BATCH as f32).ln()).abs() < 1e-5, "{loss}");
}

#[test]
fn pairs_of_one_picture_are_right_answers_to_each_other() {
    let (images, texts, temperature) = leaves();
    let own = Embeddings { images, texts };
    let similar = similarities(&own, &own, temperature);
    let alone: Vec<u64> = (0..BATCH as u64).collect();
    let apart = difference(
        &itc_loss_among(&similar, 0, &alone, SMOOTHING),
        &itc_loss(&similar, 0, SMOOTHING),
    );
    assert!(
        apart < 1e-6,
        "without pictures that come twice nothing changes: {apart}"
    );

    // The third row shows the first one's picture: LAVIS's targets, (1 - smoothing) over both, and the rest over all.
    let pictures = [7, 8, 7, 9, 10];
    let target = |row: usize, column: usize| {
        let same = pictures
            .iter()
            .filter(|picture| **picture == pictures[row])
            .count() as f64;
        let right = f64::from(u8::from(pictures[row] == pictures[column]));
        (1.0 - SMOOTHING) * right / same + SMOOTHING / BATCH as f64
    };
    let targets = (0..BATCH * BATCH).map(|place| target(place / BATCH, place % BATCH) as f32);
    let targets = TensorData::new(targets.collect::<Vec<f32>>(), [BATCH, BATCH]);
    let targets = Tensor::<2>::from_data(targets, &Device::flex().autodiff());
    let written_out =
        |scores: &Tensor<2>| (log_softmax(scores.clone(), 1) * targets.clone()).sum().neg() / BATCH as f64;
    let expected = (written_out(&similar.image_to_text) + written_out(&similar.text_to_image)) / 2.0;
    let loss = itc_loss_among(&similar, 0, &pictures, SMOOTHING);
    assert!(difference(&loss, &expected) < 1e-6);
    assert!(difference(&loss, &itc_loss(&similar, 0, SMOOTHING)) > 1e-3);
}
