//! Hard negatives: never the own partner, in proportion to the softmax of the similarity, and refused where there are none.

use blip2_core::ModelError;
use blip2_objectives::{
    NegativeSource, NegativeWeights, Negatives, RepresentationOptions, RepresentationStep, Similarities,
    draw_negatives, itm_logits, negative_weights,
};
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::tiny;

const BATCH: usize = 4;
const DRAWS: usize = 20_000;
/// Neither symmetric nor alike in any two rows; the own entries are the largest, and one entry hardly ever wins.
const SIMILARITY: [f32; BATCH * BATCH] = [
    9.0, 0.0, 1.0, 2.0, -1.0, 9.0, 0.5, 0.5, 3.0, 1.0, 9.0, -7.0, 0.3, 0.2, 0.1, 9.0,
];

const RULE: NegativeWeights = NegativeWeights::Softmax;

fn similarities(image_to_text: &[f32], batch: usize) -> Similarities {
    let device = Device::flex();
    let image_to_text = Tensor::from_data(TensorData::new(image_to_text.to_vec(), [batch, batch]), &device);
    Similarities {
        text_to_image: image_to_text.clone().transpose(),
        image_to_text,
    }
}

/// The softmax over the partners of `own` without `own` itself.
fn expected(own: usize, score: impl Fn(usize) -> f32) -> [f64; BATCH] {
    let weights: [f64; BATCH] = std::array::from_fn(|other| {
        if other == own {
            0.0
        } else {
            f64::from(score(other)).exp()
        }
    });
    let total: f64 = weights.iter().sum();
    weights.map(|weight| weight / total)
}

#[test]
fn draws_follow_the_softmax_and_never_take_the_own_partner() {
    let similarities = similarities(&SIMILARITY, BATCH);
    let mut generator = ChaCha8Rng::seed_from_u64(11);
    let mut counts = [[[0.0; BATCH]; BATCH]; 2];
    for _ in 0..DRAWS {
        let Negatives { images, texts } =
            draw_negatives(&similarities, RULE, &mut generator).expect("negatives");
        for own in 0..BATCH {
            counts[0][own][images[own]] += 1.0;
            counts[1][own][texts[own]] += 1.0;
        }
    }
    for own in 0..BATCH {
        let image_for_text = expected(own, |image| SIMILARITY[image * BATCH + own]);
        let text_for_image = expected(own, |text| SIMILARITY[own * BATCH + text]);
        for (counts, expected) in [(counts[0][own], image_for_text), (counts[1][own], text_for_image)] {
            assert_eq!(counts[own], 0.0, "row {own} drew itself");
            let terms = (0..BATCH).filter(|other| *other != own).map(|other| {
                let expected = expected[other] * DRAWS as f64;
                (counts[other] - expected).powi(2) / expected
            });
            // Two degrees of freedom: a true sampler exceeds this once in 22,000 rows.
            let chi_square: f64 = terms.sum();
            assert!(
                chi_square < 20.0,
                "row {own}: {counts:?} instead of {expected:?} of {DRAWS}"
            );
        }
    }
}

#[test]
fn a_generator_decides_its_draws() {
    let similarities = similarities(&SIMILARITY, BATCH);
    let draws = |seed| {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        (0..8)
            .map(|_| draw_negatives(&similarities, RULE, &mut generator).expect("negatives"))
            .collect::<Vec<_>>()
    };
    assert_eq!(draws(1), draws(1));
    assert_ne!(draws(1), draws(2));
}

#[test]
fn enormous_similarities_do_not_overflow() {
    let similarities = similarities(&[0.0, 3e38, -3e38, 1e30, 0.0, 1e30, 1.0, 2.0, 0.0], 3);
    let mut generator = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..100 {
        assert_eq!(
            draw_negatives(&similarities, RULE, &mut generator)
                .expect("negatives")
                .texts[0],
            1
        );
    }
}

#[test]
fn one_pair_has_no_negative() {
    let error =
        draw_negatives(&similarities(&[1.0], 1), RULE, &mut ChaCha8Rng::seed_from_u64(1)).unwrap_err();
    assert!(
        matches!(&error, ModelError::Invalid(text) if text.contains("at least 2")),
        "{error}"
    );
}

/// The loss is no number then, and the trainer may pass over the step: nothing ends before.
#[test]
fn among_similarities_that_are_no_numbers_any_partner_is_drawn() {
    for bad in [f32::NAN, f32::INFINITY] {
        for place in 0..BATCH * BATCH {
            let mut similarity = SIMILARITY;
            similarity[place] = bad;
            let negatives = draw_negatives(
                &similarities(&similarity, BATCH),
                RULE,
                &mut ChaCha8Rng::seed_from_u64(1),
            )
            .unwrap();
            for drawn in [&negatives.images, &negatives.texts] {
                let wrong = drawn.iter().enumerate().all(|(own, other)| own != *other);
                assert!(drawn.len() == BATCH && wrong, "{bad} at {place}: {drawn:?}");
            }
        }
    }
}

#[test]
fn negatives_of_another_batch_are_refused() {
    let device = Device::flex();
    let model = tiny::model(&tiny::config(), &device);
    let context = model.image_context(tiny::features(3, &device)).expect("features");
    let texts = tiny::texts(3, &device);
    let loss = |images: &[usize], texts_for_images: &[usize]| {
        let negatives = Negatives {
            images: images.to_vec(),
            texts: texts_for_images.to_vec(),
        };
        itm_logits(&model, &context, &texts, &negatives)
    };
    loss(&[1, 2, 0], &[2, 0, 1]).expect("negatives of this batch");
    for (images, texts) in [
        (&[1, 2, 3][..], &[2, 0, 1][..]),
        (&[1, 2, 0], &[2, 0, usize::MAX]),
        (&[1, 2], &[2, 0, 1]),
        (&[1, 2, 0], &[2, 0, 1, 0]),
    ] {
        let error = loss(images, texts).unwrap_err();
        assert!(
            matches!(&error, ModelError::Invalid(text) if text.contains("3 images and 3 texts")),
            "{error}"
        );
    }
}

#[test]
fn a_floor_lets_everyone_but_the_own_partner_be_drawn() {
    let second = Tensor::<2>::from_data([[0.0f32, 40.0, 0.0], [1.0, 2.0, 3.0]], &Device::flex());
    let weights = negative_weights(&second, 1, NegativeWeights::SoftmaxFloor).expect("weights");
    // The own partner of the first row takes all of the softmax, and is then left out.
    for (weight, expected) in weights[0].iter().zip([1e-4, 0.0, 1e-4]) {
        assert!((weight - expected).abs() < 1e-12, "{weights:?}");
    }
    let exponentials = [1.0f64, 2.0, 3.0].map(f64::exp);
    let total: f64 = exponentials.iter().sum();
    let expected = [
        exponentials[0] / total + 1e-4,
        exponentials[1] / total + 1e-4,
        0.0,
    ];
    for (weight, expected) in weights[1].iter().zip(expected) {
        assert!((weight - expected).abs() < 1e-7, "{weights:?}");
    }
}

#[test]
fn pairs_of_one_picture_are_no_negatives() {
    let device = Device::flex().autodiff();
    let model = tiny::model(&tiny::config(), &device);
    let (texts, features) = (tiny::rows(BATCH), tiny::features(BATCH, &device));
    let pictures = [5, 6, 5, 7];
    let drawn = |rule: NegativeWeights, pictures: Option<&[u64]>, seed: u64| -> Negatives {
        let options = RepresentationOptions {
            start_token: tiny::config().qformer.vocab_size as u32 - 1,
            negatives: rule,
            ..RepresentationOptions::default()
        };
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let source = NegativeSource::Drawn(&mut generator);
        let step = RepresentationStep::new(&model, &options, &texts, 1, source, 0).expect("a step");
        let step = match pictures {
            Some(pictures) => step.showing(pictures).expect("a picture a pair"),
            None => step,
        };
        let loss = step.part::<ModelError>(0, &mut |_| Ok(features.clone()));
        loss.expect("a loss").negatives
    };
    let twice = |negatives: &Negatives| {
        let same = |(row, other): (usize, &usize)| pictures[row] == pictures[*other];
        negatives.images.iter().enumerate().any(same) || negatives.texts.iter().enumerate().any(same)
    };
    for rule in [NegativeWeights::Softmax, NegativeWeights::SoftmaxFloor] {
        let seeds = || 0..24;
        assert!(seeds().any(|seed| twice(&drawn(rule, None, seed))));
        assert!(!seeds().any(|seed| twice(&drawn(rule, Some(&pictures), seed))));
    }
}
