//! Models of full size without their weights: every tensor of the official files has a place, every place a tensor, and as
//! much is trained as was published.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use blip2::{Captioner, HuggingFaceFolder};
use blip2_core::Initializer;
use blip2_core::weights::{ParameterInfo, SafetensorsStore, parameters};
use blip2_golden::{Check, each, find, json, variants};
use blip2_qformer::{Bridge, QFormerConfig, RepresentationConfig, RepresentationModel, check_bert};
use blip2_vision_encoder::{Clip, QkvBias, VisionTransformer, VisionTransformerConfig};
use burn::tensor::Device;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

const LISTS: &str = "names/";
const SUFFIX: &str = ".json.gz";

/// What `blip2-map.md`, section 0, says is trained, by the name of the list.
const TRAINED: [(&str, usize); 5] = [
    ("blip2-itm-vit-g", 186_705_470),
    ("blip2-opt-2.7b", 107_133_696),
    ("blip2-opt-6.7b", 108_314_880),
    ("blip2-flan-t5-xl", 106_739_968),
    ("blip2-flan-t5-xxl", 108_314_880),
];

/// EVA's 39 blocks at 224 pixels, and what 364 pixels add in positions.
const ENCODER: usize = 985_894_528;
const LARGER_IMAGE: usize = 591_360;

struct Listed {
    name: String,
    /// The shape of each tensor, outermost extent first.
    shapes: BTreeMap<String, Vec<usize>>,
    config: Value,
}

fn lists() -> Vec<Listed> {
    let open = |name: String| {
        let list = find(&format!("{LISTS}{name}{SUFFIX}"))?;
        let mut text = String::new();
        GzDecoder::new(File::open(list).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        Some(Listed {
            shapes: serde_json::from_str(&text).unwrap(),
            config: json(&format!("{LISTS}{name}.config.json"))?,
            name,
        })
    };
    variants(LISTS, SUFFIX).into_iter().filter_map(open).collect()
}

impl Listed {
    /// A folder that has all of the model but values: the file of weights ends with its header, and is a hole from there on.
    fn folder(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut end = 0;
        let mut header = serde_json::Map::new();
        for (name, shape) in &self.shapes {
            let start = end;
            end += shape.iter().product::<usize>() * 2;
            header.insert(
                name.clone(),
                json!({"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}),
            );
        }
        let mut header = Value::Object(header).to_string();
        header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
        let path = folder.path().join("model.safetensors");
        let length = (header.len() as u64).to_le_bytes();
        std::fs::write(&path, [&length[..], header.as_bytes()].concat()).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len((8 + header.len() + end) as u64).unwrap();
        std::fs::write(folder.path().join("config.json"), self.config.to_string()).unwrap();
        folder
    }

    /// What is wrong with the list, as our loaders see it.
    fn problem(&self) -> Option<String> {
        let folder = self.folder();
        let config = folder.path().join("config.json");
        let store = SafetensorsStore::open(folder.path()).unwrap();
        let result: Result<(), Box<dyn Error>> = match self.config["model_type"].as_str().unwrap() {
            "blip-2" | "instructblip" => HuggingFaceFolder::open(folder.path())
                .and_then(|folder| folder.check())
                .map_err(Into::into),
            "blip" => Captioner::check_hugging_face(&config, &store).map_err(Into::into),
            "clip" => Clip::check_hugging_face(&config, &store).map_err(Into::into),
            "bert" => check_bert(&self.bert(), &store).map_err(Into::into),
            _ => VisionTransformer::check_hugging_face(&config, &store).map_err(Into::into),
        };
        let error = result.err()?;
        let (mut text, mut cause) = (error.to_string(), error.source());
        while let Some(error) = cause {
            text += &format!("\n{error}");
            cause = error.source();
        }
        Some(text)
    }

    /// The same list, changed.
    fn with(&self, change: impl FnOnce(&mut BTreeMap<String, Vec<usize>>)) -> Self {
        let mut shapes = self.shapes.clone();
        change(&mut shapes);
        Self {
            name: self.name.clone(),
            config: self.config.clone(),
            shapes,
        }
    }

    fn bert(&self) -> RepresentationModel {
        let mut qformer: QFormerConfig = serde_json::from_value(self.config.clone()).unwrap();
        // `[DEC]` is added.
        qformer.vocab_size += 1;
        let config = RepresentationConfig {
            qformer,
            ..RepresentationConfig::default()
        };
        RepresentationModel::new(&mut initializer(), &config).unwrap()
    }
}

fn initializer() -> Initializer {
    Initializer::new(0, &Device::flex())
}

#[test]
fn every_tensor_of_the_published_models_has_its_place() {
    each(lists(), |list| {
        let mut check = Check::new(&format!("{LISTS}{}{SUFFIX}", list.name));
        let problem = list.problem();
        check.identical("tensors", problem.as_slice(), &[]);
    });
}

/// The check above is worth something.
#[test]
fn a_tensor_too_many_or_of_another_shape_is_noticed() {
    each(lists(), |list| {
        let surplus = list.with(|shapes| {
            shapes.insert("vision_model.surplus".to_owned(), vec![1]);
        });
        let message = surplus.problem().unwrap_or_default();
        assert!(message.contains("surplus"), "{}: {message}", list.name);
        for name in list.shapes.keys().step_by(151) {
            let misshapen = list.with(|shapes| shapes.get_mut(name).unwrap().push(2));
            let absent = list.with(|shapes| {
                shapes.remove(name);
            });
            // What nobody misses is a copy, and its shape does not matter.
            assert!(
                misshapen.problem().is_some() || absent.problem().is_none(),
                "{}: {name}",
                list.name
            );
        }
    });
}

fn count(list: &[ParameterInfo]) -> usize {
    list.iter()
        .map(|parameter| parameter.shape.iter().product::<usize>())
        .sum()
}

/// The `config.json` of a list, where a reader of files finds it.
fn config_file(list: &Listed) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, list.config.to_string()).unwrap();
    (folder, path)
}

/// The encoder as LAVIS has it: no key bias, and the last normalisation outside.
fn encoder(config: &Path, image_size: usize) -> usize {
    let config = VisionTransformerConfig {
        qkv_bias: QkvBias::QueryAndValue,
        post_norm: false,
        image_size,
        ..VisionTransformerConfig::read(config).unwrap()
    };
    count(&parameters(
        &VisionTransformer::new(&config, &mut initializer()).unwrap(),
    ))
}

#[test]
fn as_much_is_trained_as_was_published() {
    each(lists(), |list| {
        let Some((_, expected)) = TRAINED.iter().find(|(name, _)| *name == list.name) else {
            return;
        };
        let (_folder, path) = config_file(&list);
        let sizes = RepresentationConfig::from_hugging_face(&path).unwrap();
        let trained = match list.shapes.get("language_projection.weight") {
            Some(projection) => {
                let bridge = Bridge::new(&mut initializer(), &sizes.qformer, 1e-5, projection[0]).unwrap();
                count(&parameters(&bridge))
            }
            None => count(&parameters(
                &RepresentationModel::new(&mut initializer(), &sizes).unwrap(),
            )),
        };
        let mut check = Check::new(&format!("{LISTS}{}.config.json", list.name));
        check.identical("trained", &[trained], &[*expected]);
        check.identical("encoder", &[encoder(&path, 224)], &[ENCODER]);
        let larger = encoder(&path, 364);
        check.identical("encoder at 364 pixels", &[larger], &[ENCODER + LARGER_IMAGE]);
        // Captioning trains both: 1,093,619,584 in LAVIS's own log.
        if list.name == "blip2-opt-2.7b" {
            check.identical("trained for captions", &[trained + larger], &[1_093_619_584]);
        }
    });
}
