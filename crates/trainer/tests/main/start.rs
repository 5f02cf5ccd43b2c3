//! Where stage 2 starts: the same trunk, whoever wrote it down.

use std::path::Path;

use blip2::{EncoderConfig, HuggingFaceFolder, LanguageModelConfig, ModelConfig, save_pretrained};
use blip2_core::Initializer;
use blip2_core::weights::{LoadOptions, TensorStore, fingerprint, load};
use blip2_golden::{each, find, fixture, models, variants};
use blip2_llm_adapters::load_language_model;
use blip2_qformer::{Bridge, LAVIS_REPRESENTATION, QFormerConfig, RepresentationConfig};
use blip2_trainer::{FirstSamples, Projection, TrainError, Trunk, bridge_from};
use burn::module::Module;
use burn::tensor::Device;

use crate::case::{qformer_config, sizes, weights};
use crate::tiny;

fn config(representation: &RepresentationConfig) -> ModelConfig {
    ModelConfig {
        encoder: EncoderConfig {
            path: "encoder".into(),
            model_type: None,
            image_size: Some(28),
            block: 1,
            final_norm: false,
        },
        language_model: Some(LanguageModelConfig {
            path: "language-model".into(),
            model_type: None,
            prompt: String::new(),
            question_prompt: String::new(),
        }),
        representation: representation.clone(),
        vocabulary: "vocab.txt".into(),
        max_text_tokens: 10,
        reads: blip2::Reads::Nothing,
    }
}

fn opened(path: &Path, config: &RepresentationConfig) -> String {
    fingerprint(&Trunk::open(path, config, &Device::flex()).expect("a trunk"))
}

#[test]
fn a_model_folder_gives_its_trunk_after_either_stage() {
    let sizes = tiny::config();
    let representation = tiny::model(&sizes, &Device::flex());
    let bridge = Bridge::from_representation(
        &mut Initializer::new(3, &Device::flex()),
        representation.clone(),
        12,
    );
    let expected = fingerprint(&Trunk::from(representation.clone()));
    for (stage1, stage2) in [
        (Some(&representation), None),
        (None, Some(&bridge)),
        (Some(&representation), Some(&bridge)),
    ] {
        let run = tempfile::tempdir().expect("folder");
        save_pretrained(&run.path().join("model"), &config(&sizes), stage1, stage2).expect("saved");
        assert_eq!(opened(run.path(), &sizes), expected);
        assert_eq!(opened(&run.path().join("model"), &sizes), expected);
    }
}

#[test]
fn a_checkpoint_of_lavis_gives_its_trunk() {
    each(variants("lavis/stage1_", "_trajectory.json"), |encoder| {
        let path = find(&format!("lavis/stage1_{encoder}_weights.safetensors")).expect("weights");
        let store = weights(&format!("stage1_{encoder}_weights"));
        let rows = |name: &str| store.tensors()[name].shape[0];
        let config = RepresentationConfig {
            qformer: QFormerConfig {
                vocab_size: rows("Qformer.bert.embeddings.word_embeddings.weight"),
                ..qformer_config(&sizes(), &store)
            },
            embedding_size: rows("vision_proj.weight"),
            ..RepresentationConfig::default()
        };
        let whole = tiny::model(&config, &Device::flex());
        let whole = load(whole, &store, &LAVIS_REPRESENTATION, LoadOptions::default()).expect("stage 1");
        let expected = fingerprint(&Trunk::from(whole));
        assert_eq!(opened(&path, &config), expected, "{encoder}");
    });
}

#[test]
fn a_folder_of_transformers_gives_its_trunk() {
    let device = Device::flex();
    each(models("Blip2ForImageTextRetrieval"), |model| {
        let folder = HuggingFaceFolder::open(&model.path).expect("a folder");
        let expected = Trunk::from(folder.representation(&device).expect("stage 1"));
        assert_eq!(
            opened(&model.path, folder.config()),
            fingerprint(&expected),
            "{}",
            model.name
        );
    });
    each(models("Blip2ForConditionalGeneration"), |model| {
        let folder = HuggingFaceFolder::open(&model.path).expect("a folder");
        let Bridge {
            vision_norm, qformer, ..
        } = folder.bridge(&device).expect("stage 2");
        let expected = Trunk { vision_norm, qformer };
        assert_eq!(
            opened(&model.path, folder.config()),
            fingerprint(&expected),
            "{}",
            model.name
        );
    });
}

#[test]
fn what_is_missing_is_named() {
    let mut sizes = tiny::config();
    let run = tempfile::tempdir().expect("folder");
    let model = tiny::model(&sizes, &Device::flex());
    save_pretrained(run.path(), &config(&sizes), Some(&model), None).expect("saved");
    sizes.qformer.num_hidden_layers += 1;
    sizes.qformer.num_query_tokens += 1;
    let error = Trunk::open(run.path(), &sizes, &Device::flex()).expect_err("a refusal");
    assert!(matches!(&error, TrainError::Weights(_)), "{error}");
    assert!(error.to_string().contains("query_tokens"), "{error}");
}

#[test]
fn a_projection_to_words_reads_samples_until_it_has_enough() {
    let device = Device::flex().autodiff();
    let frozen = load_language_model(&fixture("hf/opt-tiny"), &Device::flex())
        .expect("a language model")
        .model;
    let start = |parts: u64, read: &mut u64| {
        let samples = |part| {
            *read = part;
            Ok((part < parts).then(|| FirstSamples {
                features: tiny::features(64, &device) + part as f32,
                targets: (0..64u32).map(|row| vec![4 + row % 7, 4 + row % 5]).collect(),
            }))
        };
        let mut config = tiny::config();
        config.qformer.hidden_dropout_prob = 0.1;
        let model = tiny::model(&config, &device);
        bridge_from(model, frozen.as_ref(), Projection::Words, samples, 3, &device)
    };
    let mut read = 0;
    let bridge = start(u64::MAX, &mut read).expect("samples");
    assert_eq!(read, 7, "eight parts of 64 are 512 samples");
    let again = start(u64::MAX, &mut read).expect("samples");
    assert_eq!(
        fingerprint(&again),
        fingerprint(&bridge),
        "nothing drops out of a start"
    );
    let prompt = bridge
        .valid()
        .soft_prompt(tiny::features(64, &Device::flex()))
        .expect("features");
    let values: Vec<f64> = prompt.into_data().iter::<f64>().collect();
    let square = values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64;
    let scale = square.sqrt() / frozen.embedding_deviation();
    assert!(
        (0.3..3.0).contains(&scale),
        "{scale} times the scale of the words"
    );
    start(2, &mut read).expect("fewer samples do");
    assert_eq!(read, 2);
    let error = start(0, &mut read).unwrap_err().to_string();
    assert!(error.contains("there are none"), "{error}");
}
