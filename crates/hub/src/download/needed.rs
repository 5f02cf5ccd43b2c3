//! Which files of a repository a model consists of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::DownloadError;

const CONFIG: &str = "config.json";
/// What is small: configurations, processors, tokenizers.
const SMALL: [&str; 13] = [
    CONFIG,
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spiece.model",
    "tokenizer.model",
];
/// Where an InstructBLIP keeps the tokenizer of its Q-Former.
const QFORMER_TOKENIZER: &str = "qformer_tokenizer/";
/// Weights, in one file or in shards that an index names; what stands first is preferred.
const WEIGHTS: [(&str, &str); 2] = [
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
];

/// All that is needed of `files`, but for the shards of an index, which is then named.
pub(super) fn first<'a>(
    model: &str,
    files: &'a [String],
) -> Result<(Vec<String>, Option<&'a str>), DownloadError> {
    let holds = |name: &str| files.iter().find(|file| *file == name);
    let lacks = |what| DownloadError::NoModel {
        name: model.to_owned(),
        what,
        files: files.join(", "),
    };
    if holds(CONFIG).is_none() {
        return Err(lacks("`config.json`"));
    }
    let weights = WEIGHTS.iter().find_map(|(single, index)| {
        let whole = holds(single).map(|file| (file, false));
        whole.or_else(|| holds(index).map(|file| (file, true)))
    });
    let (weights, is_index) =
        weights.ok_or_else(|| lacks("weights (safetensors or `pytorch_model.bin`, whole or in shards)"))?;
    let is_small = |file: &&String| SMALL.contains(&file.strip_prefix(QFORMER_TOKENIZER).unwrap_or(file));
    let mut needed: Vec<String> = files.iter().filter(is_small).cloned().collect();
    needed.push(weights.clone());
    Ok((needed, is_index.then_some(weights)))
}

/// The shards that the index in the file `index` names.
pub(super) fn shards(index: &Path, files: &[String]) -> Result<Vec<String>, DownloadError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let unfit = |reason: String| DownloadError::Index {
        path: index.to_owned(),
        reason,
    };
    let text = std::fs::read(index).map_err(|error| unfit(error.to_string()))?;
    let index: Index = serde_json::from_slice(&text).map_err(|error| unfit(error.to_string()))?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    match shards.iter().find(|shard| !files.contains(shard)) {
        Some(absent) => Err(unfit(format!(
            "it names the shard `{absent}`, which the hub does not hold"
        ))),
        None => Ok(shards.into_iter().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(files: &[&str]) -> Vec<String> {
        files.iter().map(|&file| file.to_owned()).collect()
    }

    #[test]
    fn only_what_a_model_consists_of_is_needed() {
        let files = list(&[
            ".gitattributes",
            "README.md",
            "config.json",
            "flax_model.msgpack",
            "merges.txt",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "onnx/model.onnx",
            "pytorch_model-00001-of-00002.bin",
            "pytorch_model.bin.index.json",
            "qformer_tokenizer/README.md",
            "qformer_tokenizer/tokenizer.json",
            "tf_model.h5",
            "training_args.bin",
            "vocab.json",
        ]);
        let (needed, index) = first("o/n", &files).unwrap();
        assert_eq!(
            needed,
            [
                "config.json",
                "merges.txt",
                "qformer_tokenizer/tokenizer.json",
                "vocab.json",
                "model.safetensors.index.json"
            ]
        );
        assert_eq!(index, Some("model.safetensors.index.json"));
    }

    #[test]
    fn weights_are_taken_in_the_best_form_that_is_there() {
        let all = [
            "model.safetensors",
            "model.safetensors.index.json",
            "pytorch_model.bin",
            "pytorch_model.bin.index.json",
        ];
        for present in 0..all.len() {
            let files = list(&[&["config.json"], &all[present..]].concat());
            let (needed, index) = first("o/n", &files).unwrap();
            assert_eq!(needed, ["config.json", all[present]]);
            assert_eq!(index.is_some(), all[present].ends_with(".json"));
        }
        for (files, lacking) in [
            (list(&["config.json"]), "weights"),
            (list(&["model.safetensors"]), "config.json"),
        ] {
            let message = first("o/n", &files).unwrap_err().to_string();
            assert!(
                message.contains(lacking) && message.contains(&files[0]),
                "{message}"
            );
        }
    }

    #[test]
    fn shards_are_those_of_the_index() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("index.json");
        std::fs::write(&index, r#"{"weight_map": {"a": "two", "b": "one", "c": "two"}}"#).unwrap();
        assert_eq!(
            shards(&index, &list(&["one", "two", "three"])).unwrap(),
            ["one", "two"]
        );
        let message = shards(&index, &list(&["one"])).unwrap_err().to_string();
        assert!(message.contains("`two`"), "{message}");
        std::fs::write(&index, "{}").unwrap();
        let message = shards(&index, &[]).unwrap_err().to_string();
        assert!(
            message.contains("index.json") && message.contains("weight_map"),
            "{message}"
        );
    }
}
