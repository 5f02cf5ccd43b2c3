//! Folders as the hub has them: each is made of a golden model by what another version of `transformers`, or of `torch.save`,
//! writes in the place of the same thing, and must do the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use blip2::{Blip2, GenerationConfig, Match, RgbImage};
use blip2_core::weights::{SafetensorsStore, TensorStore, write_pytorch, write_safetensors};
use blip2_golden::fixture;
use burn::tensor::TensorData;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{chain, copy, edit, load, picture, recorded_defaults};

const WRITERS: [&str; 3] = ["hf/opt-tiny", "hf/flant5-tiny", "parts/instructblip-llama"];
const MATCHER: &str = "hf/itm-tiny";

fn all() -> impl Iterator<Item = &'static str> {
    WRITERS.into_iter().chain([MATCHER])
}

fn image() -> RgbImage {
    picture(&fixture("hf/opt-tiny"), &json!("image1.png"))
}

/// What a model has to say: ids that it writes, or how well texts match.
#[derive(Debug, PartialEq)]
enum Said {
    Written(Vec<u32>),
    Matched(Vec<Match>),
}

fn said(model: &Blip2) -> Said {
    let picture = image();
    if model.has_representation() {
        let texts = ["two red cats".to_owned(), "a photo of the dog".to_owned()];
        return Said::Matched(model.match_texts(&picture, &texts).unwrap());
    }
    let settings = GenerationConfig {
        num_beams: 1,
        max_new_tokens: 8,
        ..model.caption_settings().clone()
    };
    let prompt = "a photo of the dog".to_owned();
    let written = model.caption(&[picture], &[prompt], &settings).unwrap();
    Said::Written(written.into_iter().next().unwrap().ids)
}

/// Asserts that each golden model in `names` does the same after `change` of a copy of its folder.
fn assert_same(names: impl Iterator<Item = &'static str>, change: impl Fn(&Path)) {
    for name in names {
        let folder = copy(&fixture(name));
        change(folder.path());
        let changed = load(folder.path()).unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
        assert_eq!(said(&changed), said(&load(&fixture(name)).unwrap()), "{name}");
    }
}

/// What `save_pretrained` of `transformers` 4 leaves of `config`: what differs from the defaults of its `model_type`.
fn differing(config: &Value, defaults: &Value) -> Value {
    let kept = config.as_object().unwrap().iter().filter_map(|(key, value)| {
        let default = &defaults[key];
        match value {
            Value::Object(part) if key.ends_with("_config") => {
                let kind = part.get("model_type").and_then(Value::as_str);
                let own = recorded_defaults();
                let own = kind.map_or(default, |kind| own.get(kind).unwrap_or(default));
                Some((key.clone(), differing(value, own)))
            }
            _ if key != "model_type" && value == default => None,
            _ => Some((key.clone(), value.clone())),
        }
    });
    Value::Object(kept.collect())
}

#[test]
fn a_configuration_without_what_the_family_has_by_itself() {
    let shortened = std::cell::Cell::new(0);
    assert_same(all(), |folder| {
        let file = folder.join("config.json");
        edit(&file, |config| {
            let kind = config["model_type"].as_str().unwrap().to_owned();
            let short = differing(config, &recorded_defaults()[kind]);
            shortened.set(shortened.get() + config.to_string().len() - short.to_string().len());
            *config = short;
        });
    });
    assert!(shortened.get() > 2000, "hardly a key was left out");
}

#[test]
fn a_configuration_as_other_writers_have_it() {
    // The place of the picture under both of its names; no end where old files say -1.
    assert_same(all(), |folder| {
        edit(&folder.join("config.json"), |config| {
            (config["image_token_id"], config["image_token_index"]) = (json!(7), json!(7));
        });
    });
    assert_same(["hf/opt-tiny"].into_iter(), |folder| {
        edit(&folder.join("config.json"), |config| {
            config["eos_token_id"] = json!(-1)
        });
    });
    assert_same([MATCHER].into_iter(), |folder| {
        edit(&folder.join("config.json"), |config| {
            config["text_config"] = Value::Null
        });
    });
    // Texts end as the language model's own part says, which alone is asked to write.
    assert_same(WRITERS.into_iter(), |folder| {
        fs::write(
            folder.join("generation_config.json"),
            r#"{"eos_token_id": [5, 6, 7, 321]}"#,
        )
        .unwrap();
    });
}

#[test]
fn a_processor_that_says_nothing_is_none() {
    assert_same(all(), |folder| {
        let file = folder.join("processor_config.json");
        let whole: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let own = whole["image_processor"].to_string();
        fs::write(folder.join("preprocessor_config.json"), own).unwrap();
        fs::write(&file, r#"{"image_processor": null}"#).unwrap();
    });
}

#[test]
fn the_place_of_a_picture_is_no_text_even_where_the_vocabulary_lacks_it() {
    let folder = copy(&fixture("hf/opt-tiny"));
    edit(&folder.path().join("tokenizer.json"), |tokenizer| {
        let added = tokenizer["added_tokens"].as_array_mut().unwrap();
        added.retain(|token| token["content"] != "<image>");
    });
    let model = load(folder.path()).unwrap();
    let prompt = "<image> describe".to_owned();
    let written = model.caption(&[image()], &[prompt], model.caption_settings());
    assert!(chain(&written.unwrap_err()).contains("<image>"));
}

#[test]
fn a_processor_in_two_files() {
    assert_same(all(), |folder| {
        let file = folder.join("processor_config.json");
        let whole: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        fs::write(
            folder.join("preprocessor_config.json"),
            whole["image_processor"].to_string(),
        )
        .unwrap();
        let rest = json!({"num_query_tokens": 8, "processor_class": "Blip2Processor"});
        fs::write(&file, rest.to_string()).unwrap();
    });
}

#[test]
fn a_processor_without_pictures_names_the_file_that_is_missing() {
    let folder = copy(&fixture("hf/opt-tiny"));
    fs::write(
        folder.path().join("processor_config.json"),
        r#"{"num_query_tokens": 8}"#,
    )
    .unwrap();
    let message = chain(&load(folder.path()).err().unwrap());
    for part in [
        "processor_config.json",
        "image_processor",
        "preprocessor_config.json",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

/// The weights of `folder`, which are removed.
fn taken(folder: &Path) -> BTreeMap<String, TensorData> {
    let store = SafetensorsStore::open(folder).unwrap();
    let names = store.tensors().keys();
    let tensors = names
        .map(|name| (name.clone(), store.read(name).unwrap()))
        .collect();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains(".safetensors") {
            fs::remove_file(path).unwrap();
        }
    }
    tensors
}

/// Writes `tensors` as `torch.save` does, under the key `key`.
fn pickle(path: &Path, key: &str, tensors: &BTreeMap<String, TensorData>) {
    let list: Vec<_> = tensors.clone().into_iter().collect();
    let beside = path.with_extension("safetensors");
    write_safetensors(&beside, &list, Default::default()).unwrap();
    write_pytorch(path, key, &SafetensorsStore::open(&beside).unwrap()).unwrap();
    fs::remove_file(beside).unwrap();
}

#[test]
fn weights_in_one_file_of_torch() {
    for (key, prefix) in [("model", ""), ("state_dict", "module.")] {
        assert_same(all(), |folder| {
            let tensors = taken(folder).into_iter();
            let tensors = tensors.map(|(name, data)| (format!("{prefix}{name}"), data));
            pickle(&folder.join("pytorch_model.bin"), key, &tensors.collect());
        });
    }
}

#[test]
fn weights_in_shards_of_torch() {
    assert_same(all(), |folder| {
        let mut first = taken(folder);
        let middle = first.keys().nth(first.len() / 2).unwrap().clone();
        let second = first.split_off(&middle);
        let mut index = serde_json::Map::new();
        for (number, tensors) in [first, second].iter().enumerate() {
            let file = format!("pytorch_model-0000{}-of-00002.bin", number + 1);
            pickle(&folder.join(&file), "state_dict", tensors);
            index.extend(tensors.keys().map(|name| (name.clone(), json!(file))));
        }
        let index = json!({"metadata": {"total_size": 1}, "weight_map": index});
        fs::write(folder.join("pytorch_model.bin.index.json"), index.to_string()).unwrap();
    });
}

#[test]
fn safetensors_are_read_where_both_are_there() {
    assert_same(all(), |folder| {
        fs::write(folder.join("pytorch_model.bin"), "not read").unwrap();
    });
}

#[test]
fn buffers_of_older_versions() {
    assert_same(all(), |folder| {
        let mut tensors = taken(folder);
        for name in [
            "vision_model.embeddings.position_ids",
            "qformer.embeddings.position_ids",
            "embeddings.position_ids",
            "language_model.model.layers.0.self_attn.rotary_emb.inv_freq",
            "language_model.model.decoder.masked_bias",
        ] {
            tensors.insert(name.to_owned(), TensorData::new(vec![0_i64, 1], [1, 2]));
        }
        let list: Vec<_> = tensors.into_iter().collect();
        write_safetensors(&folder.join("model.safetensors"), &list, Default::default()).unwrap();
    });
}

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n\
                       oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 9998\n";

#[test]
fn a_pointer_of_git_lfs_is_named_as_one_whichever_file_it_stands_for() {
    let pointer = |name: &str, file: &str, make: &dyn Fn(&Path)| {
        let folder = copy(&fixture(name));
        make(folder.path());
        fs::write(folder.path().join(file), POINTER).unwrap();
        let error = load(folder.path()).and_then(|model| model.trace(&image(), "").map(drop));
        let message = chain(&error.expect_err(file));
        assert!(
            message.contains("Git LFS pointer") && message.contains(file),
            "{file}: {message}"
        );
    };
    for file in [
        "model.safetensors",
        "config.json",
        "processor_config.json",
        "tokenizer.json",
    ] {
        pointer("hf/opt-tiny", file, &|_| ());
        pointer("hf/itm-tiny", file, &|_| ());
    }
    pointer("hf/opt-tiny", "generation_config.json", &|_| ());
    pointer(
        "parts/instructblip-llama",
        "model-00003-of-00008.safetensors",
        &|_| (),
    );
    pointer(
        "parts/instructblip-llama",
        "model.safetensors.index.json",
        &|_| (),
    );
    let without = |file: &'static str| move |folder: &Path| fs::remove_file(folder.join(file)).unwrap();
    for file in ["pytorch_model.bin", "pytorch_model.bin.index.json"] {
        pointer("hf/opt-tiny", file, &without("model.safetensors"));
    }
    pointer("hf/flant5-tiny", "spiece.model", &without("tokenizer.json"));
    pointer(
        "parts/instructblip-llama",
        "tokenizer.model",
        &without("tokenizer.json"),
    );
    pointer("hf/itm-tiny", "vocab.txt", &without("tokenizer.json"));
    for (file, other) in [("vocab.json", "merges.txt"), ("merges.txt", "vocab.json")] {
        pointer("hf/opt-tiny", file, &|folder| {
            without("tokenizer.json")(folder);
            fs::write(folder.join(other), "{}").unwrap();
        });
    }
}

/// OPT's and BERT's tokenizers as their slow classes keep them.
fn slow(folder: &Path) {
    let file = folder.join("tokenizer.json");
    let whole: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    fs::remove_file(file).unwrap();
    let vocabulary = whole["model"]["vocab"].as_object().unwrap();
    let added: serde_json::Map<String, Value> = whole["added_tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| (token["content"].as_str().unwrap().to_owned(), token["id"].clone()))
        .filter(|(content, _)| !vocabulary.contains_key(content))
        .collect();
    fs::write(folder.join("added_tokens.json"), json!(added).to_string()).unwrap();
    if whole["model"]["type"] == "BPE" {
        let merge = |merge: &Value| match merge {
            Value::String(merge) => merge.clone(),
            pair => format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
        };
        let merges = whole["model"]["merges"].as_array().unwrap().iter().map(merge);
        let merges: Vec<String> = ["#version: 0.2".to_owned()].into_iter().chain(merges).collect();
        fs::write(folder.join("merges.txt"), merges.join("\n") + "\n").unwrap();
        fs::write(folder.join("vocab.json"), json!(vocabulary).to_string()).unwrap();
    } else {
        let mut words: Vec<(&String, u64)> = vocabulary
            .iter()
            .map(|(word, id)| (word, id.as_u64().unwrap()))
            .collect();
        words.sort_by_key(|(_, id)| *id);
        let words: Vec<&str> = words.into_iter().map(|(word, _)| word.as_str()).collect();
        fs::write(folder.join("vocab.txt"), words.join("\n") + "\n").unwrap();
    }
    let names = json!({"bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"});
    if vocabulary.contains_key("</s>") {
        fs::write(folder.join("special_tokens_map.json"), names.to_string()).unwrap();
    }
}

#[test]
fn the_files_of_slow_tokenizers() {
    assert_same(["hf/opt-tiny", MATCHER].into_iter(), slow);
    // The token in front of OPT's text comes from the family, also where no file says its id.
    assert_same(["hf/opt-tiny"].into_iter(), |folder| {
        slow(folder);
        fs::remove_file(folder.join("special_tokens_map.json")).unwrap();
        edit(&folder.join("config.json"), |config| {
            let text = config["text_config"].as_object_mut().unwrap();
            for key in ["bos_token_id", "eos_token_id", "pad_token_id"] {
                text.remove(key);
            }
        });
    });
}

/// Adds `<image>` to the tokenizer of `folder`, as the processor of `transformers` does, behind all other ids.
fn with_placeholder(folder: &Path) {
    edit(&folder.join("tokenizer.json"), |tokenizer| {
        let highest = match &tokenizer["model"]["vocab"] {
            Value::Object(ids) => ids.values().filter_map(Value::as_u64).max().unwrap(),
            pieces => pieces.as_array().unwrap().len() as u64 - 1,
        };
        let added = tokenizer["added_tokens"].as_array_mut().unwrap();
        if added.iter().any(|token| token["content"] == "<image>") {
            return;
        }
        let ids = added.iter().filter_map(|token| token["id"].as_u64());
        let id = ids.fold(highest, u64::max) + 1;
        added.push(json!({
            "id": id, "content": "<image>", "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        }));
    });
}

/// A retrieval model whose Q-Former has not a row more than its vocabulary has words.
fn without_spare_rows(folder: &Path) {
    let file = folder.join("tokenizer.json");
    let tokenizer: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let words = tokenizer["model"]["vocab"].as_object().unwrap().values();
    let rows = words.filter_map(Value::as_u64).max().unwrap() as usize + 1;
    let mut tensors = taken(folder);
    let words = tensors.get_mut("embeddings.word_embeddings.weight").unwrap();
    let width = words.shape()[1];
    let values: Vec<f32> = words.iter::<f32>().take(rows * width).collect();
    *words = TensorData::new(values, [rows, width]);
    let list: Vec<_> = tensors.into_iter().collect();
    write_safetensors(&folder.join("model.safetensors"), &list, Default::default()).unwrap();
    edit(&folder.join("config.json"), |config| {
        config["qformer_config"]["vocab_size"] = json!(rows)
    });
}

#[test]
fn a_vocabulary_with_one_more_token_for_the_picture() {
    assert_same(all(), with_placeholder);
    assert_same([MATCHER].into_iter(), |folder| {
        without_spare_rows(folder);
        with_placeholder(folder);
    });
}

/// The folder of a model whose tokenizer knows `<image>`.
fn knowing(name: &str) -> TempDir {
    let folder = copy(&fixture(name));
    with_placeholder(folder.path());
    folder
}

#[test]
fn the_place_of_the_picture_is_no_text() {
    let refused = |what: &str, result: Result<(), blip2::Blip2Error>| {
        let message = chain(&result.expect_err(what));
        assert!(message.contains("`<image>`"), "{what}: {message}");
    };
    let (picture, text) = (image(), "<image>\nDescribe".to_owned());
    let (pictures, texts) = (std::slice::from_ref(&picture), std::slice::from_ref(&text));
    for name in WRITERS {
        let knowing = knowing(name);
        for folder in [knowing.path(), &fixture(name)] {
            let model = load(folder).unwrap();
            let settings = model.caption_settings();
            refused(name, model.caption(pictures, texts, settings).map(drop));
            refused(
                name,
                model
                    .caption_aloud(&picture, &text, settings, &mut |_| ())
                    .map(drop),
            );
            refused(
                name,
                model.ask(pictures, texts, model.answer_settings()).map(drop),
            );
            refused(name, model.trace(&picture, &text).map(drop));
        }
    }
    let knowing = knowing(MATCHER);
    for folder in [knowing.path(), &fixture(MATCHER)] {
        let model = load(folder).unwrap();
        refused("match", model.match_texts(&picture, texts).map(drop));
        refused("embed texts", model.embed_texts(texts).map(drop));
        refused("embed both", model.embed_multimodal(pictures, texts).map(drop));
    }
}

#[test]
fn numbers_that_are_none_are_an_error() {
    for number in [f32::NAN, f32::INFINITY] {
        for tensor in [
            "query_tokens",
            "vision_projection.weight",
            "text_projection.weight",
            "itm_head.weight",
            "vision_model.embeddings.class_embedding",
        ] {
            let folder = copy(&fixture(MATCHER));
            let mut tensors = taken(folder.path());
            let data = tensors.get_mut(tensor).unwrap();
            let shape = data.shape().clone();
            let mut values: Vec<f32> = data.iter::<f32>().collect();
            values[0] = number;
            *data = TensorData::new(values, shape);
            let list: Vec<_> = tensors.into_iter().collect();
            write_safetensors(
                &folder.path().join("model.safetensors"),
                &list,
                Default::default(),
            )
            .unwrap();
            let model = load(folder.path()).unwrap();
            let (picture, texts) = (image(), ["a red circle".to_owned()]);
            let error = model.match_texts(&picture, &texts).expect_err(tensor);
            assert!(
                error.to_string().contains("no finite numbers"),
                "{tensor}: {error}"
            );
            let pictures = std::slice::from_ref(&picture);
            if !tensor.starts_with("text") && !tensor.starts_with("itm") {
                assert!(model.embed_images(pictures).is_err(), "{tensor}");
            }
            if tensor.starts_with("text") {
                assert!(model.embed_texts(&texts).is_err(), "{tensor}");
            }
            if ["query_tokens", "vision_model.embeddings.class_embedding"].contains(&tensor) {
                assert!(model.embed_multimodal(pictures, &texts).is_err(), "{tensor}");
            }
        }
    }
}
