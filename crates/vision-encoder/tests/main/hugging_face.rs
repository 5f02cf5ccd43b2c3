//! CLIP, SigLIP and BLIP-2's own encoder against Hugging Face's.

use std::path::Path;

use blip2_core::VisionEncoder;
use blip2_core::weights::{SafetensorsStore, TensorStore};
use blip2_vision_encoder::{VisionTransformer, conformance};
use burn::tensor::{Device, Tensor};

use crate::golden;

const TOLERANCE: f32 = 1e-5;

fn encoder(folder: &str) -> VisionTransformer {
    VisionTransformer::from_hugging_face(&golden::folder(folder), &Device::flex()).unwrap()
}

fn open(folder: &str, file: &str) -> SafetensorsStore {
    SafetensorsStore::open(&golden::folder(folder).join(file)).unwrap()
}

#[test]
fn features_of_clip_are_those_of_the_reference() {
    let expected = open("parts/clip", "expected.safetensors");
    let encoder = encoder("parts/clip");
    let blocks = encoder.blocks();
    for (name, after) in [
        ("vision.last_hidden", blocks),
        ("vision.second_last_hidden", blocks - 1),
    ] {
        let features = encoder.clone().with_features(after, false).unwrap();
        golden::assert_close(
            name,
            features
                .encode(golden::tensor(&expected, "pixel_values"))
                .unwrap(),
            golden::tensor(&expected, name),
            TOLERANCE,
        );
    }
}

#[test]
fn the_last_norm_of_clip_leads_to_its_image_embeddings() {
    let expected = open("parts/clip", "expected.safetensors");
    let projection: Tensor<2> = golden::tensor(
        &SafetensorsStore::open(&golden::folder("parts/clip")).unwrap(),
        "visual_projection.weight",
    );
    let features = encoder("parts/clip")
        .encode(golden::tensor(&expected, "pixel_values"))
        .unwrap();
    let projected = features
        .narrow(1, 0, 1)
        .squeeze_dim::<2>(1)
        .matmul(projection.transpose());
    let length = projected.clone().square().sum_dim(1).sqrt();
    golden::assert_close(
        "image_embeds",
        projected / length,
        golden::tensor(&expected, "image_embeds"),
        TOLERANCE,
    );
}

#[test]
fn features_of_siglip_are_those_of_the_reference() {
    let expected = open("parts/siglip-vision", "expected.safetensors");
    let encoder = encoder("parts/siglip-vision");
    let pixels: Tensor<4> = golden::tensor(&expected, "pixel_values");
    let [_, _, height, width] = pixels.dims();
    let features = encoder.encode(pixels).unwrap();
    assert_eq!(features.dims()[1], encoder.tokens(height, width).unwrap());
    golden::assert_close(
        "last_hidden",
        features,
        golden::tensor(&expected, "last_hidden"),
        TOLERANCE,
    );
}

#[test]
fn the_encoder_within_a_blip2_folder_is_that_of_the_reference() {
    let folder = "hf/opt-tiny";
    let expected = open(folder, "expected.safetensors");
    let encoder = encoder(folder);
    let images: Vec<&str> = expected
        .tensors()
        .keys()
        .filter_map(|name| name.strip_suffix(".vision"))
        .collect();
    assert!(!images.is_empty());
    for image in images {
        golden::assert_close(
            image,
            encoder
                .encode(golden::tensor(&expected, &format!("{image}.pixel_values")))
                .unwrap(),
            golden::tensor(&expected, &format!("{image}.vision")),
            TOLERANCE,
        );
    }
}

fn patch(folder: &Path) -> usize {
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    let vision = config.get("vision_config").unwrap_or(&config);
    vision["patch_size"].as_u64().unwrap() as usize
}

#[test]
fn each_conforms_at_another_size_too() {
    for folder in ["parts/clip", "parts/siglip-vision", "hf/opt-tiny"] {
        let patch = patch(&golden::folder(folder));
        conformance::check(&encoder(folder), 3 * patch, 5 * patch, &Device::flex()).unwrap();
    }
}
