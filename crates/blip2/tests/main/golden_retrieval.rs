//! `Blip2ForImageTextRetrieval`: probabilities, cosines and embeddings.

use blip2::HuggingFaceFolder;
use blip2_core::VisionEncoder;
use blip2_golden::{device, each, models, tolerance};
use blip2_qformer::TextBatch;

use crate::support::{load, picture};

const ARCHITECTURE: &str = "Blip2ForImageTextRetrieval";

#[test]
fn every_pair_matches_as_with_the_reference() {
    each(models(ARCHITECTURE), |model| {
        let (expected, cases) = (model.expected(), model.json("cases.json"));
        let blip2 = load(&model.path).unwrap();
        let mut check = model.check();
        for (number, pair) in cases["pairs"].as_array().unwrap().iter().enumerate() {
            let (picture, text) = (
                picture(&model.path, &pair["image"]),
                pair["text"].as_str().unwrap(),
            );
            let texts = [text.to_owned()];
            let found = blip2.match_texts(&picture, &texts).unwrap()[0];
            let probability = pair["itm_probability"].as_f64().unwrap();
            let cosine = pair["itc"][0].as_f64().unwrap();
            check.absolute(
                &format!("itm probability/{number}"),
                &[found.itm_probability],
                &[probability],
                tolerance::MATCH,
            );
            check.absolute(
                &format!("itc/{number}"),
                &[found.itc],
                &[cosine],
                tolerance::MATCH,
            );

            let trace = blip2.trace(&picture, "").unwrap();
            let (_, pixels) = trace.iter().find(|(name, _)| name == "pixel_values").unwrap();
            let recorded = |name: &str| expected.array(&format!("{number}.{name}"));
            check.close(
                &format!("pixel_values/{number}"),
                pixels,
                &recorded("pixel_values"),
                tolerance::FEATURES,
            );
            let images = blip2.embed_images(&[picture]).unwrap().embeddings;
            check.close(
                &format!("image_embeds/{number}"),
                &images,
                &recorded("image_embeds"),
                tolerance::FEATURES,
            );
            let embedded = blip2.embed_texts(&texts).unwrap();
            check.close(
                &format!("text_embeds/{number}"),
                &embedded.embeddings,
                &recorded("text_embeds"),
                tolerance::FEATURES,
            );
        }
    });
}

#[test]
fn every_pair_has_the_logits_of_the_reference() {
    each(models(ARCHITECTURE), |model| {
        let (expected, cases) = (model.expected(), model.json("cases.json"));
        let folder = HuggingFaceFolder::open(&model.path).unwrap();
        let (encoder, stage1) = (
            folder.encoder(&device()).unwrap(),
            folder.representation(&device()).unwrap(),
        );
        let mut check = model.check();
        for (number, pair) in cases["pairs"].as_array().unwrap().iter().enumerate() {
            let features = encoder
                .encode(expected.tensor(&format!("{number}.pixel_values")))
                .unwrap();
            let ids: Vec<u32> = serde_json::from_value(pair["input_ids"].clone()).unwrap();
            let text = TextBatch::new(vec![ids], &device()).unwrap();
            let context = stage1.image_context(features).unwrap();
            let logits = stage1.matching_logits(&context, &text).unwrap();
            let recorded = expected.array(&format!("{number}.itm_logits"));
            check.close(
                &format!("itm_logits/{number}"),
                &logits,
                &recorded,
                tolerance::FEATURES,
            );
        }
    });
}

#[test]
fn texts_have_the_ids_of_the_reference() {
    each(models(ARCHITECTURE), |model| {
        let cases = model.json("cases.json");
        let blip2 = load(&model.path).unwrap();
        let mut check = model.check();
        for (number, pair) in cases["pairs"].as_array().unwrap().iter().enumerate() {
            let ids: Vec<u32> = serde_json::from_value(pair["input_ids"].clone()).unwrap();
            let embedded = blip2
                .embed_texts(&[pair["text"].as_str().unwrap().to_owned()])
                .unwrap();
            check.identical(
                &format!("text length/{number}"),
                &[embedded.states.dims()[1]],
                &[ids.len()],
            );
        }
    });
}
