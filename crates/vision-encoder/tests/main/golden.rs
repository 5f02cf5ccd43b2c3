//! Every encoder against the reference implementations: `transformers`' own folders, and LAVIS's checkpoints
//! (`lavis/stage1_*`).

use blip2_core::weights::SafetensorsStore;
use blip2_core::{LoadPlan, VisionEncoder};
use blip2_golden::{Check, Model, TensorFile, device, each, find, models, tolerance, variants};
use blip2_vision_encoder::{Clip, VisionTransformer};
use burn::tensor::{DType, Tensor};

use crate::lavis;

fn encoder(model: &Model) -> VisionTransformer {
    VisionTransformer::from_hugging_face(&model.path, &device()).unwrap()
}

#[test]
fn features_of_dinov2_at_every_size() {
    each(models("Dinov2Model"), |model| {
        let (encoder, expected, mut check) = (encoder(&model), model.expected(), model.check());
        for name in expected.names() {
            let Some(size) = name.strip_prefix("last_hidden") else {
                continue;
            };
            let pixels: Tensor<4> = expected.tensor(&format!("pixel_values{size}"));
            let [_, _, height, width] = pixels.dims();
            let features = encoder.encode(pixels).unwrap();
            let size = [encoder.tokens(height, width).unwrap(), encoder.width()];
            check.identical(&format!("size/{height}x{width}"), &features.dims()[1..], &size);
            check.close(
                &format!("features/{height}x{width}"),
                &features,
                &expected.array(name),
                tolerance::FEATURES,
            );
        }
    });
}

#[test]
fn features_of_clip_after_the_last_and_the_second_last_block() {
    each(models("CLIPModel"), |model| {
        let (encoder, expected, mut check) = (encoder(&model), model.expected(), model.check());
        let blocks = encoder.blocks();
        for (name, after) in [
            ("vision.last_hidden", blocks),
            ("vision.second_last_hidden", blocks - 1),
        ] {
            let encoder = encoder.clone().with_features(after as i32, false).unwrap();
            check.close(
                name,
                &encoder.encode(expected.tensor("pixel_values")).unwrap(),
                &expected.array(name),
                tolerance::FEATURES,
            );
        }
    });
}

#[test]
fn the_last_norm_of_clip_leads_to_its_image_embeddings() {
    each(models("CLIPModel"), |model| {
        let (expected, mut check) = (model.expected(), model.check());
        let weights = SafetensorsStore::open(&model.path).unwrap();
        let projection: Tensor<2> = crate::tensor(&weights, "visual_projection.weight");
        let features = encoder(&model).encode(expected.tensor("pixel_values")).unwrap();
        let projected = features
            .narrow(1, 0, 1)
            .squeeze_dim::<2>(1)
            .matmul(projection.transpose());
        let length = projected.clone().square().sum_dim(1).sqrt();
        check.close(
            "image_embeds",
            &(projected / length),
            &expected.array("image_embeds"),
            tolerance::FEATURES,
        );
    });
}

#[test]
fn embeddings_and_logits_of_both_towers_of_clip() {
    each(models("CLIPModel"), |model| {
        let (expected, mut check) = (model.expected(), model.check());
        let clip = Clip::from_hugging_face(&model.path, &device()).unwrap();
        let images = clip.image_embeddings(expected.tensor("pixel_values")).unwrap();
        let texts = clip
            .text_embeddings(&expected.texts("input_ids", "attention_mask"))
            .unwrap();
        let logits = clip.logits(images.clone(), texts.clone());
        for (name, ours) in [
            ("image_embeds", images),
            ("text_embeds", texts),
            ("logits_per_image", logits),
        ] {
            check.close(name, &ours, &expected.array(name), tolerance::FEATURES);
        }
    });
}

#[test]
fn features_of_siglip() {
    each(models("SiglipVisionModel"), |model| {
        let (encoder, expected, mut check) = (encoder(&model), model.expected(), model.check());
        let pixels: Tensor<4> = expected.tensor("pixel_values");
        let [_, _, height, width] = pixels.dims();
        let features = encoder.encode(pixels).unwrap();
        let tokens = encoder.tokens(height, width).unwrap();
        check.identical("tokens", &[features.dims()[1]], &[tokens]);
        check.close(
            "features",
            &features,
            &expected.array("last_hidden"),
            tolerance::FEATURES,
        );
    });
}

#[test]
fn features_of_the_encoder_within_a_blip2_folder() {
    each(models("Blip2ForConditionalGeneration"), |model| {
        let (encoder, expected, mut check) = (encoder(&model), model.expected(), model.check());
        for image in expected.stems(".vision") {
            let pixels = expected.tensor(&format!("{image}.pixel_values"));
            check.close(
                &format!("vision/{image}"),
                &encoder.encode(pixels).unwrap(),
                &expected.array(&format!("{image}.vision")),
                tolerance::FEATURES,
            );
        }
    });
}

#[test]
fn features_of_lavis_behind_its_norm() {
    each(variants("lavis/stage1_", "_io.safetensors"), |family| {
        let path = find(&format!("lavis/stage1_{family}_weights.safetensors")).expect("weights beside them");
        let weights = SafetensorsStore::open(&path).unwrap();
        let sizes = blip2_golden::json("lavis/config.json").expect("sizes beside them");
        let io = TensorFile::open(&format!("lavis/stage1_{family}_io.safetensors"));
        let features = lavis::encoder(&family, &weights, &sizes)
            .encode(io.tensor("image"))
            .unwrap();
        let mut check = Check::new("lavis");
        check.close(
            &format!("image_embeds/{family}"),
            &lavis::vision_norm(&weights, &sizes).forward(features),
            &io.array("image_embeds"),
            tolerance::FEATURES,
        );
    });
}

#[test]
fn encoders_in_half_precision_are_near_those_in_single_precision() {
    for architecture in ["Dinov2Model", "CLIPModel", "SiglipVisionModel"] {
        each(models(architecture), |model| {
            let expected = model.expected();
            let name = expected
                .names()
                .iter()
                .find(|name| name.starts_with("pixel_values"))
                .unwrap();
            let pixels = || expected.tensor(name);
            let exact = encoder(&model).encode(pixels()).unwrap();
            let size: f32 = exact.clone().abs().max().into_scalar();
            for (dtype, tolerance) in [(DType::F16, 0.01), (DType::BF16, 0.06)] {
                let plan = LoadPlan {
                    dtype: Some(dtype),
                    ..LoadPlan::from(&device())
                };
                let half = VisionTransformer::from_hugging_face(&model.path, plan).unwrap();
                let features = half.encode(pixels()).unwrap();
                assert_eq!(features.dtype(), DType::F32);
                let difference: f32 = (features - exact.clone()).abs().max().into_scalar();
                assert!(
                    difference > 0.0 && difference < tolerance * size,
                    "{architecture} in {dtype:?}: {difference} of {size}"
                );
            }
        });
    }
}
