//! CLIP's, SigLIP's and BLIP-2's own encoder at other sizes than their own.

use std::path::Path;

use blip2_golden::fixture;
use blip2_vision_encoder::{VisionTransformer, conformance};
use burn::tensor::Device;

fn patch(folder: &Path) -> usize {
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    let vision = config.get("vision_config").unwrap_or(&config);
    vision["patch_size"].as_u64().unwrap() as usize
}

#[test]
fn each_conforms_at_another_size_too() {
    for folder in ["parts/clip", "parts/siglip-vision", "hf/opt-tiny"] {
        let patch = patch(&fixture(folder));
        let encoder = VisionTransformer::from_hugging_face(&fixture(folder), &Device::flex()).unwrap();
        conformance::check(&encoder, 3 * patch, 5 * patch, &Device::flex()).unwrap();
    }
}
