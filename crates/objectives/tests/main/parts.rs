//! The same batch in any number of parts.

use std::collections::BTreeMap;

use blip2_core::ModelError;
use blip2_objectives::{
    Embeddings, ItgMean, NegativeSource, Negatives, RepresentationOptions, RepresentationStep,
    RepresentationWeights, draw_negatives, itc_loss, itg_loss, itm_logits, itm_loss, similarities,
};
use blip2_qformer::{RepresentationModel, TextBatch};
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::gradients::{ByPath, assert_equal_bits, assert_near, gradients};
use crate::tiny;

const BATCH: usize = 32;
const SEED: u64 = 5;

fn options() -> RepresentationOptions {
    RepresentationOptions {
        start_token: tiny::config().qformer.vocab_size as u32 - 1,
        ..RepresentationOptions::default()
    }
}

fn model() -> RepresentationModel {
    tiny::model(&tiny::config(), &Device::flex().autodiff())
}

fn generator() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(3)
}

/// A wrong partner from far and near for each row.
fn given() -> Negatives {
    Negatives {
        images: (0..BATCH)
            .map(|row| (row * 3 + 7) % BATCH)
            .map(|drawn| drawn ^ 1)
            .collect(),
        texts: (0..BATCH).map(|row| (row + 1 + row % 5) % BATCH).collect(),
    }
}

/// The terms and every gradient of a step in `parts`, and how many images were asked for at a time.
struct Outcome {
    terms: BTreeMap<&'static str, f32>,
    gradients: ByPath,
    asked: Vec<usize>,
}

fn step(
    model: &RepresentationModel,
    options: &RepresentationOptions,
    parts: usize,
    negatives: NegativeSource<'_>,
) -> Result<Outcome, ModelError> {
    let features = tiny::features(BATCH, &model.qformer.device());
    let texts = tiny::rows(BATCH);
    let mut asked = Vec::new();
    let step = RepresentationStep::new(model, options, &texts, parts, negatives, SEED)?;
    let step = step.gradients(&mut |rows: &[usize]| {
        asked.push(rows.len());
        let rows = rows.iter().map(|row| features.clone().narrow(0, *row, 1));
        Ok::<_, ModelError>(Tensor::cat(rows.collect(), 0))
    })?;
    let value = |tensor: &Tensor<1>| tensor.clone().into_scalar::<f32>();
    Ok(Outcome {
        terms: step
            .terms
            .iter()
            .map(|term| (term.name, value(&term.value)))
            .collect(),
        gradients: gradients(model, &step.gradients),
        asked,
    })
}

#[test]
fn a_single_part_is_the_three_objectives_on_the_whole_batch_bit_for_bit() {
    let (model, options) = (model(), options());
    let device = model.qformer.device();
    let texts = tiny::texts(BATCH, &device);
    let context = model
        .image_context(tiny::features(BATCH, &device))
        .expect("features");
    let images = model.qformer.query_pass(&context, BATCH);
    let own = Embeddings {
        images: model.image_embeddings(images.hidden.clone()),
        texts: model.text_embeddings(&texts).expect("texts"),
    };
    let similarities = similarities(&own, &own, model.temperature.val());
    let negatives = draw_negatives(&similarities, options.negatives, &mut generator()).expect("negatives");
    let itc = itc_loss(&similarities, 0, options.label_smoothing);
    let itm = itm_loss(itm_logits(&model, &context, &texts, &negatives).expect("logits"));
    let itg = itg_loss(
        &model,
        &images,
        &texts,
        options.start_token,
        options.label_smoothing,
    )
    .expect("texts");
    let expected = [("itc", &itc), ("itm", &itm), ("itg", &itg)]
        .map(|(name, loss)| (name, loss.clone().into_scalar::<f32>()));
    let expected_gradients = gradients(&model, &(itc + itm + itg).backward());

    let ours = step(&model, &options, 1, NegativeSource::Drawn(&mut generator())).expect("a step");
    for (name, expected) in expected {
        assert_eq!(ours.terms[name].to_bits(), expected.to_bits(), "{name}");
    }
    assert_equal_bits(&ours.gradients, &expected_gradients);
    assert_eq!(ours.asked, [BATCH], "a single part needs no second pass");
}

#[test]
fn contrast_and_matching_do_not_depend_on_the_parts() {
    let model = model();
    let options = RepresentationOptions {
        weights: RepresentationWeights {
            itg: 0.0,
            ..RepresentationWeights::default()
        },
        ..options()
    };
    let whole = step(&model, &options, 1, NegativeSource::Given(given())).expect("a step");
    for parts in [2, 4, 8] {
        let cut = step(&model, &options, parts, NegativeSource::Given(given())).expect("a step");
        for name in ["itc", "itm"] {
            let (cut, whole) = (cut.terms[name], whole.terms[name]);
            assert!(
                (cut - whole).abs() < 1e-6,
                "{name} in {parts} parts: {cut} and {whole}"
            );
        }
        assert_near(&cut.gradients, &whole.gradients);
    }
}

#[test]
fn generation_is_the_mean_over_a_part_or_over_the_batch() {
    let model = model();
    let device = model.qformer.device();
    let of_the_batch = RepresentationOptions {
        itg_mean: ItgMean::Global,
        ..options()
    };
    let loss_in = |options: &RepresentationOptions, parts| {
        step(&model, options, parts, NegativeSource::Given(given())).expect("a step")
    };
    let whole = loss_in(&options(), 1);
    for parts in [2, 8] {
        let cut = loss_in(&of_the_batch, parts);
        assert!(
            (cut.terms["itg"] - whole.terms["itg"]).abs() < 1e-6,
            "{parts} parts"
        );
        assert_near(&cut.gradients, &whole.gradients);

        // By hand: the part's own tokens, then the parts.
        let (pairs, options) = (BATCH / parts, options());
        let features = tiny::features(BATCH, &device);
        let mean = |part: usize| {
            let features = features.clone().narrow(0, part * pairs, pairs);
            let texts = tiny::rows(BATCH)[part * pairs..][..pairs].to_vec();
            let texts = TextBatch::new(texts, &device).expect("texts");
            let context = model.image_context(features).expect("features");
            let images = model.qformer.query_pass(&context, pairs);
            let loss = itg_loss(
                &model,
                &images,
                &texts,
                options.start_token,
                options.label_smoothing,
            );
            loss.expect("texts").into_scalar::<f32>()
        };
        let expected = (0..parts).map(mean).sum::<f32>() / parts as f32;
        let ours = loss_in(&options, parts).terms["itg"];
        assert!((ours - expected).abs() < 1e-6, "{ours} instead of {expected}");
        assert!((ours - whole.terms["itg"]).abs() > 1e-4, "texts differ in length");
    }
}

#[test]
fn negatives_are_drawn_from_the_whole_batch_and_the_same_in_any_number_of_parts() {
    let (model, options, texts) = (model(), options(), tiny::rows(BATCH));
    let features = tiny::features(BATCH, &model.qformer.device());
    let drawn = |parts: usize| {
        let mut generator = generator();
        let source = NegativeSource::Drawn(&mut generator);
        let step = RepresentationStep::new(&model, &options, &texts, parts, source, SEED).expect("a step");
        let mut of = |rows: &[usize]| -> Result<Tensor<3>, ModelError> {
            let rows = rows.iter().map(|row| features.clone().narrow(0, *row, 1));
            Ok(Tensor::cat(rows.collect(), 0))
        };
        let all = (0..parts).map(|part| step.embed(&model, part, &mut of).expect("embeddings"));
        let all = Embeddings::gathered(all.collect());
        let step = step.against(all, 0..parts).expect("negatives");
        let parts = (0..parts).map(|part| step.part(part, &mut of).expect("a loss").negatives);
        let (images, texts): (Vec<_>, Vec<_>) = parts.map(|part| (part.images, part.texts)).unzip();
        (images.concat(), texts.concat())
    };
    let whole = drawn(1);
    assert!(whole.0.iter().enumerate().all(|(row, image)| row != *image));
    let far = whole
        .0
        .iter()
        .enumerate()
        .filter(|(row, image)| row / 4 != *image / 4);
    assert!(far.count() > BATCH / 2, "most lie in other parts: {whole:?}");
    for parts in [2, 8] {
        assert_eq!(drawn(parts), whole, "{parts} parts");
    }
}

#[test]
fn what_has_no_weight_is_not_computed() {
    let model = model();
    let weighted = |itc, itm, itg| {
        let weights = RepresentationWeights { itc, itm, itg };
        let options = RepresentationOptions { weights, ..options() };
        step(&model, &options, 4, NegativeSource::Drawn(&mut generator()))
    };
    let trained = |outcome: &Outcome, prefix: &str| {
        let mut named = outcome
            .gradients
            .iter()
            .filter(|(path, _)| path.starts_with(prefix));
        named.any(|(_, gradient)| gradient.is_some())
    };
    let without = weighted(1.0, 0.5, 0.0).expect("a step");
    assert!(!without.terms.contains_key("itg") && !trained(&without, "language_head"));
    assert!(trained(&without, "matching_head") && trained(&without, "text_projection"));

    let alone = weighted(0.0, 0.0, 2.0).expect("a step");
    assert_eq!(
        alone.terms.keys().copied().collect::<Vec<_>>(),
        ["itg", "query_spread", "temperature"]
    );
    assert!(!trained(&alone, "matching_head") && !trained(&alone, "text_projection"));
    assert_eq!(alone.asked, [BATCH / 4; 4], "nothing is compared: one pass");
    let matching = weighted(0.0, 1.0, 0.0).expect("a step");
    assert!(trained(&matching, "matching_head") && !trained(&matching, "temperature"));

    let nothing = weighted(0.0, 0.0, 0.0).err().expect("nothing to minimise");
    assert!(nothing.to_string().contains("weight 0"), "{nothing}");
}

#[test]
fn no_more_than_a_part_and_its_negatives_is_asked_for() {
    let outcome = step(&model(), &options(), 8, NegativeSource::Drawn(&mut generator())).expect("a step");
    assert!(
        outcome.asked.iter().all(|rows| *rows <= BATCH / 8),
        "{:?}",
        outcome.asked
    );
    let passes = 2 * BATCH;
    let rows: usize = outcome.asked.iter().sum();
    assert!(rows > passes && rows <= passes + BATCH, "{rows} rows");
}

#[test]
fn a_batch_is_cut_in_equal_parts() {
    let model = model();
    for parts in [0, 3, 64] {
        let error = step(&model, &options(), parts, NegativeSource::Given(given()))
            .err()
            .expect("refused");
        assert!(error.to_string().contains("32 pairs cannot be cut"), "{error}");
    }
    let mut foreign = given();
    foreign.texts[3] = BATCH;
    let error = step(&model, &options(), 4, NegativeSource::Given(foreign))
        .err()
        .expect("refused");
    assert!(error.to_string().contains("batch of 32"), "{error}");
}
