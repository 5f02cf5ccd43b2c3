//! A tiny model on disk, and runs of the real program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use blip2::{EncoderConfig, LanguageModelConfig, ModelConfig, save_pretrained};
use blip2_core::Initializer;
use blip2_data::text::BertTokenizer;
use blip2_golden::fixture;
use blip2_qformer::{Bridge, QFormerConfig, RepresentationConfig, RepresentationModel};
use burn::tensor::Device;
use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const QUERIES: usize = 5;
pub(crate) const WIDTH: usize = 32;
pub(crate) const EMBEDDING: usize = 16;

/// Which of the two weight files a model folder gets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stages {
    First,
    Second,
    Both,
}

/// A home folder with tiny frozen models, a model folder with random weights, and two pictures.
pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    pub(crate) config: ModelConfig,
}

impl Fixture {
    pub(crate) fn new(stages: Stages) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        copy_folder(&fixture("parts/dinov2"), &root.join("home/encoder"));
        write_processor(&root.join("home/encoder"));
        copy_folder(&fixture("parts/llama"), &root.join("home/language-model"));
        write_tokenizer(&root.join("home/language-model"));
        let fixture = Self {
            config: config(root),
            folder,
        };
        fixture.save("model", stages);
        picture(&fixture.path("red.png"), 70, 40, [255, 30, 30]);
        picture(&fixture.path("blue.png"), 33, 90, [20, 60, 255]);
        fixture
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a model folder called `name`.
    pub(crate) fn save(&self, name: &str, stages: Stages) {
        let initializer = &mut Initializer::new(11, &Device::flex());
        let model = RepresentationModel::new(initializer, &self.config.representation).unwrap();
        let hidden = number(&self.path("home/language-model/config.json"), "hidden_size");
        let bridge = Bridge::from_representation(initializer, model.clone(), hidden);
        let first = (stages != Stages::Second).then_some(&model);
        let second = (stages != Stages::First).then_some(&bridge);
        save_pretrained(&self.path(name), &self.config, first, second).unwrap();
    }

    /// Runs `blip2` in the fixture's folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_blip2"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("BLIP2_HOME", self.path("home"));
        command.env_remove("RUST_LOG").output().unwrap()
    }

    /// Output of a run that must succeed.
    pub(crate) fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The records of a run with `--json`.
    pub(crate) fn records(&self, arguments: &[&str]) -> Vec<Value> {
        let stdout = self.stdout(&[arguments, &["--json"]].concat());
        stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Asserts that a run fails with exit code 1, without a panic, and says each of `parts`.
    pub(crate) fn assert_fails(&self, arguments: &[&str], parts: &[&str]) {
        let output = self.run(arguments);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {message}");
        assert!(
            message.contains("error: ") && !message.contains("panicked"),
            "{arguments:?}: {message}"
        );
        for part in parts {
            assert!(
                message.contains(part),
                "{arguments:?} does not say `{part}`: {message}"
            );
        }
    }
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A size in a `config.json`.
pub(crate) fn number(file: &Path, key: &str) -> usize {
    let config: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    config[key].as_u64().unwrap() as usize
}

/// The word that stands for `id` in the tiny language model's vocabulary.
pub(crate) fn word(id: usize) -> String {
    format!("w{id}")
}

fn config(root: &Path) -> ModelConfig {
    let vocabulary = fixture("lavis/bert-vocab.txt").canonicalize().unwrap();
    let encoder = root.join("home/encoder/config.json");
    ModelConfig {
        encoder: EncoderConfig {
            path: "encoder".into(),
            model_type: None,
            image_size: Some(number(&encoder, "image_size") as u32),
            block: number(&encoder, "num_hidden_layers") as i32,
            final_norm: true,
        },
        language_model: Some(LanguageModelConfig {
            path: "language-model".into(),
            model_type: None,
            prompt: word(7),
            question_prompt: format!("{} {{}} {}", word(8), word(9)),
        }),
        representation: RepresentationConfig {
            qformer: QFormerConfig {
                vocab_size: BertTokenizer::from_file(&vocabulary).unwrap().vocabulary_size(),
                hidden_size: WIDTH,
                num_hidden_layers: 2,
                num_attention_heads: 4,
                intermediate_size: 2 * WIDTH,
                max_position_embeddings: 64,
                // Large enough for different pictures to get different texts.
                initializer_range: 0.4,
                encoder_hidden_size: number(&encoder, "hidden_size"),
                num_query_tokens: QUERIES,
                ..QFormerConfig::default()
            },
            embedding_size: EMBEDDING,
            ..RepresentationConfig::default()
        },
        vocabulary,
        max_text_tokens: 16,
        reads: blip2::Reads::Nothing,
    }
}

/// What a DINOv2 of `transformers` says of its pixels.
fn write_processor(folder: &Path) {
    let processor = json!({
        "crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "size": {"shortest_edge": 256},
        "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3,
    });
    fs::write(folder.join("preprocessor_config.json"), processor.to_string()).unwrap();
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::write(to.join(entry.file_name()), fs::read(entry.path()).unwrap()).unwrap();
    }
}

/// One word an id, so that any text of the tiny language model can be read.
fn write_tokenizer(folder: &Path) {
    let ids = number(&folder.join("config.json"), "vocab_size");
    let vocabulary: serde_json::Map<_, _> = (0..ids).map(|id| (word(id), json!(id))).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": word(0)},
    });
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
}

/// A gradient towards `colour`.
pub(crate) fn picture(path: &Path, width: u32, height: u32, colour: [u8; 3]) {
    let shade = |x: u32, y: u32| (f64::from(x + y) / f64::from(width + height)).sqrt();
    RgbImage::from_fn(width, height, |x, y| {
        Rgb(colour.map(|channel| (f64::from(channel) * shade(x, y)) as u8))
    })
    .save(path)
    .unwrap();
}
