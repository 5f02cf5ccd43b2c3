//! Frozen models by the type that their files say, also of a program's own.

use std::fs;
use std::path::Path;

use blip2::{Blip2Error, EncoderConfig, LanguageModelConfig, LoadPlan, LoadedEncoder, Packing, Registry};
use blip2_core::VisionEncoder;
use blip2_data::pixels::ImageProcessor;
use blip2_golden::{device, fixture};
use blip2_vision_encoder::VisionTransformer;
use burn::tensor::Tensor;
use serde_json::{Value, json};
use tempfile::TempDir;

fn encoder_config(path: &str) -> EncoderConfig {
    serde_json::from_value(json!({ "path": path })).unwrap()
}

/// A home with a folder `encoder` like the golden `name`, whose processor file is `processor` where there is one.
fn home_with(name: &str, processor: Option<Value>) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("encoder");
    fs::create_dir(&folder).unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
    for file in ["preprocessor_config.json", "processor_config.json"] {
        let _ = fs::remove_file(folder.join(file));
    }
    if let Some(processor) = processor {
        fs::write(folder.join("preprocessor_config.json"), processor.to_string()).unwrap();
    }
    home
}

/// As OpenAI's CLIP says it.
fn clip_processor() -> Value {
    json!({
        "crop_size": 224, "do_center_crop": true, "do_normalize": true, "do_resize": true, "size": 224, "resample": 3,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
    })
}

fn features(encoder: &dyn VisionEncoder, side: usize) -> Vec<f32> {
    let pixels = Tensor::<4>::ones([1, 3, side, side], &device()) * 0.3;
    encoder
        .encode(pixels)
        .unwrap()
        .into_data()
        .try_into_vec()
        .unwrap()
}

#[test]
fn pixels_are_those_of_the_folder_and_features_those_of_the_block() {
    let home = home_with("parts/clip", Some(clip_processor()));
    let folder = home.path().join("encoder");
    let whole = VisionTransformer::from_hugging_face(&folder, &device()).unwrap();
    let side = {
        let config: Value = serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
        config["vision_config"]["image_size"].as_u64().unwrap() as u32
    };
    let last = whole.blocks() as i32;
    for (block, expected) in [(-1, last), (-2, last - 1), (0, 0), (1, 1), (-last, 1)] {
        let config = EncoderConfig {
            block,
            image_size: Some(side),
            ..encoder_config("encoder")
        };
        let LoadedEncoder { encoder, processor } = Registry::default()
            .encoder(&config, home.path(), &device())
            .unwrap();
        let expected = whole.clone().with_features(expected, false).unwrap();
        assert_eq!(
            features(encoder.as_ref(), side as usize),
            features(&expected, side as usize),
            "{block}"
        );
        assert_eq!(processor, ImageProcessor::clip_square(side));
    }
    for block in [last + 1, -last - 1, i32::MIN, i32::MAX] {
        let config = EncoderConfig {
            block,
            image_size: Some(side),
            ..encoder_config("encoder")
        };
        let error = Registry::default()
            .encoder(&config, home.path(), &device())
            .err()
            .unwrap();
        assert!(matches!(error, Blip2Error::Encoder { .. }), "{error}");
    }
}

#[test]
fn an_encoder_whose_folder_does_not_say_its_pixels_is_refused() {
    let mut silent = clip_processor();
    silent.as_object_mut().unwrap().remove("image_mean");
    for (processor, said) in [(None, "preprocessor_config.json"), (Some(silent), "image_mean")] {
        let home = home_with("parts/clip", processor);
        let error = Registry::default()
            .encoder(&encoder_config("encoder"), home.path(), &device())
            .err()
            .unwrap();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(said), "{cause}");
    }
}

#[test]
fn a_program_registers_types_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("mine")).unwrap();
    fs::write(
        home.path().join("mine/config.json"),
        r#"{"model_type": "my_type"}"#,
    )
    .unwrap();
    fs::write(home.path().join("file.bin"), "anything").unwrap();
    let error = Registry::default()
        .encoder(&encoder_config("mine"), home.path(), &device())
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("`my_type`") && error.contains("dinov2"), "{error}");

    let registry = Registry::default().with_encoder("my_type", |config, plan| {
        assert!(config.path.exists());
        let encoder = VisionTransformer::from_hugging_face(&fixture("parts/dinov2"), plan)?;
        Ok(LoadedEncoder {
            encoder: Box::new(encoder.with_features(config.block, config.final_norm)?),
            processor: ImageProcessor::clip_square(config.image_size.unwrap_or(14)),
        })
    });
    let patch = {
        let config = fixture("parts/dinov2").join("config.json");
        let config: Value = serde_json::from_slice(&fs::read(config).unwrap()).unwrap();
        config["patch_size"].as_u64().unwrap() as u32
    };
    let by_config = EncoderConfig {
        image_size: Some(2 * patch),
        ..encoder_config("mine")
    };
    let by_name = EncoderConfig {
        path: "file.bin".into(),
        model_type: Some("my_type".to_owned()),
        ..by_config.clone()
    };
    for config in [by_config, by_name] {
        let loaded = registry.encoder(&config, home.path(), &device()).unwrap();
        assert_eq!(loaded.processor.width, 2 * patch);
    }

    let language_model: LanguageModelConfig = serde_json::from_value(
        json!({"path": "file.bin", "model_type": "my_words", "prompt": "", "question_prompt": "{}"}),
    )
    .unwrap();
    let refused = registry.language_model(&language_model, home.path(), &device());
    assert!(matches!(refused, Err(Blip2Error::Unregistered { .. })));
    let registry = registry.with_language_model("my_words", |path, _| {
        Err(format!("heard of {}", path.display()).into())
    });
    let error = registry
        .language_model(&language_model, home.path(), &device())
        .err()
        .unwrap();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        cause.contains("heard of") && cause.contains("file.bin"),
        "{cause}"
    );
}

#[test]
fn a_loader_on_another_thread_does_the_same() {
    let home = home_with("parts/clip", Some(clip_processor()));
    let load = |home: &Path, packing| {
        let plan = LoadPlan::from(&device()).packed(packing);
        let config: Value =
            serde_json::from_slice(&fs::read(home.join("encoder/config.json")).unwrap()).unwrap();
        let side = config["vision_config"]["image_size"].as_u64().unwrap() as u32;
        let config = EncoderConfig {
            image_size: Some(side),
            ..encoder_config("encoder")
        };
        Registry::default().encoder(&config, home, plan).unwrap().encoder
    };
    let plain = load(home.path(), None).fingerprint();
    for packing in [Packing::Bf16, Packing::Int8, Packing::Int4] {
        let here = load(home.path(), Some(packing));
        assert_ne!(here.fingerprint(), plain, "{packing:?}: nothing was packed");
        let there =
            std::thread::scope(|scope| scope.spawn(|| load(home.path(), Some(packing))).join().unwrap());
        assert_eq!(here.fingerprint(), there.fingerprint(), "{packing:?}");
    }
}
