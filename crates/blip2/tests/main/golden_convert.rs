//! Between LAVIS and `transformers`: nothing is lost on the way there and back, and what cannot go is said.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use blip2::{
    Blip2Error, HuggingFaceFolder, HuggingFaceKind, Trained, convert_to_hugging_face, convert_to_lavis,
};
use blip2_core::weights::{
    LoadOptions, SafetensorsStore, TensorStore, WeightError, fingerprint, load, open_weights,
    write_safetensors,
};
use blip2_core::{Initializer, VisionEncoder};
use blip2_golden::{Check, TensorFile, device, each, find, json, models, tolerance, variants};
use blip2_qformer::{Bridge, LAVIS_OPT_BRIDGE, LAVIS_REPRESENTATION, LAVIS_T5_BRIDGE, RepresentationModel};
use blip2_vision_encoder::{VisionTransformer, VisionTransformerConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The folders of whole models.
fn folders() -> Vec<PathBuf> {
    [
        "Blip2ForConditionalGeneration",
        "Blip2ForImageTextRetrieval",
        "InstructBlipForConditionalGeneration",
    ]
    .into_iter()
    .flat_map(models)
    .map(|model| model.path)
    .collect()
}

/// Both hold the same, but for what is ignored.
fn assert_same(here: &dyn TensorStore, there: &dyn TensorStore, ignore: impl Fn(&str) -> bool) {
    let names = |store: &dyn TensorStore| -> Vec<String> {
        let names = store.tensors().keys().filter(|name| !ignore(name));
        names.cloned().collect()
    };
    assert_eq!(names(here), names(there));
    for name in names(here) {
        assert_eq!(here.tensors()[&name], there.tensors()[&name], "{name}");
        assert!(here.read(&name).unwrap() == there.read(&name).unwrap(), "{name}");
    }
}

/// Copies of the embedding that a folder may hold, and the numbers of positions.
fn is_copy(name: &str) -> bool {
    name.ends_with(".encoder.embed_tokens.weight")
        || name.ends_with(".decoder.embed_tokens.weight") && name.starts_with("language_model.decoder.")
        || name.ends_with("position_ids")
}

#[test]
fn a_folder_comes_back_from_lavis_as_it_went() {
    each(folders(), |folder| {
        let work = tempfile::tempdir().unwrap();
        let (there, back) = (work.path().join("lavis"), work.path().join("back"));
        let went = convert_to_lavis(&folder, &there).unwrap();
        assert!(
            went.dropped
                .iter()
                .all(|tensor| tensor.name.ends_with(".self_attn.qkv.bias[key]"))
        );
        let came = convert_to_hugging_face(&there, None, None, &back).unwrap();
        assert_eq!(came.frozen, 0);
        let (before, after) = (
            SafetensorsStore::open(&folder).unwrap(),
            SafetensorsStore::open(&back).unwrap(),
        );
        let is_fused_bias = |name: &str| name.ends_with(".self_attn.qkv.bias");
        let is_tied = |name: &str| name.ends_with(".lm_head.weight") && !after.tensors().contains_key(name);
        assert_same(&before, &after, |name| {
            is_copy(name) || is_fused_bias(name) || is_tied(name)
        });
        for name in before.tensors().keys().filter(|name| is_fused_bias(name)) {
            let values =
                |store: &SafetensorsStore| -> Vec<f64> { store.read(name).unwrap().iter::<f64>().collect() };
            let (before, after) = (values(&before), values(&after));
            let third = before.len() / 3;
            assert_eq!(before[..third], after[..third], "{name}");
            assert_eq!(before[2 * third..], after[2 * third..], "{name}");
            assert!(after[third..2 * third].iter().all(|bias| *bias == 0.0), "{name}");
        }
        HuggingFaceFolder::open(&back).unwrap().check().unwrap();
    });
}

#[test]
fn what_is_loaded_and_saved_is_the_same() {
    each(folders(), |path| {
        let work = tempfile::tempdir().unwrap();
        let out = work.path().join("saved");
        let folder = HuggingFaceFolder::open(&path).unwrap();
        folder.check().unwrap();
        let encoder = folder.encoder(&device()).unwrap();
        let (mut bridge, mut representation) = (None, None);
        match folder.kind() {
            HuggingFaceKind::Retrieval => representation = Some(folder.representation(&device()).unwrap()),
            _ => bridge = Some(folder.bridge(&device()).unwrap()),
        }
        let left_out = folder
            .save_pretrained(
                &out,
                Trained {
                    encoder: Some(&encoder),
                    bridge: bridge.as_ref(),
                    representation: representation.as_ref(),
                },
            )
            .unwrap();
        assert_eq!(
            left_out.iter().any(|tensor| tensor.name == "temperature"),
            folder.kind() == HuggingFaceKind::Retrieval
        );
        let (before, after) = (
            SafetensorsStore::open(&path).unwrap(),
            SafetensorsStore::open(&out).unwrap(),
        );
        assert_same(&before, &after, |_| false);
        for file in ["config.json", "tokenizer.json", "processor_config.json"] {
            let read = |folder: &Path| std::fs::read(folder.join(file)).ok();
            assert_eq!(read(&path), read(&out), "{file}");
        }
        let full = folder.save_pretrained(&out, Trained::default()).unwrap_err();
        assert!(full.to_string().contains("saved"), "{full}");
    });
}

/// A recorded run of LAVIS, and the `config.json` that `transformers` would give it.
struct Lavis {
    name: String,
    weights: PathBuf,
    like: TempDir,
}

impl Lavis {
    /// `stage` is `stage1`, `opt` or `t5`.
    fn new(stage: &str, encoder: &str) -> Option<Self> {
        let name = format!("lavis/{stage}_{encoder}");
        let weights = find(&format!("{name}_weights.safetensors"))?;
        let sizes = json("lavis/config.json")?;
        let store = SafetensorsStore::open(&weights).unwrap();
        let extent = |name: &str, dimension: usize| store.tensors()[name].shape[dimension];
        let vit = &sizes["vit"];
        let mlp = match encoder {
            "eva" => "visual_encoder.blocks.0.mlp.fc1.weight",
            _ => "visual_encoder.transformer.resblocks.0.mlp.c_fc.weight",
        };
        let mut qformer = sizes["qformer"].clone();
        let width = extent("ln_vision.weight", 0);
        qformer["encoder_hidden_size"] = json!(width);
        let mut config = json!({
            "model_type": "blip-2",
            "num_query_tokens": extent("query_tokens", 1),
            "image_text_hidden_size": sizes["embed_dim"],
            "vision_config": {
                "model_type": "blip_2_vision_model",
                "hidden_size": width,
                "num_hidden_layers": vit["layers"],
                "num_attention_heads": vit["heads"],
                "intermediate_size": extent(mlp, 0),
                "image_size": sizes["image_size"],
                "patch_size": sizes["patch_size"],
                "layer_norm_eps": vit["eva"]["layer_norm_eps"],
            },
        });
        if stage == "stage1" {
            qformer["vocab_size"] = json!(extent("Qformer.bert.embeddings.word_embeddings.weight", 0));
        } else {
            let embedding = match stage {
                "opt" => "opt_model.model.decoder.embed_tokens.weight",
                _ => "t5_model.shared.weight",
            };
            let mut text: Value = sizes[stage].clone();
            text["model_type"] = json!(stage);
            text["vocab_size"] = json!(extent(embedding, 0));
            config["text_config"] = text;
        }
        config["qformer_config"] = qformer;
        let like = tempfile::tempdir().unwrap();
        std::fs::write(like.path().join("config.json"), config.to_string()).unwrap();
        Some(Self { name, weights, like })
    }
}

fn recorded(encoder: &str) -> Vec<(&'static str, Lavis)> {
    let stages = ["stage1", "opt", "t5"].into_iter();
    stages
        .filter(|stage| {
            let found = variants(&format!("lavis/{stage}_"), "_weights.safetensors");
            found.iter().any(|found| found == encoder)
        })
        .filter_map(|stage| Some((stage, Lavis::new(stage, encoder)?)))
        .collect()
}

#[test]
fn a_checkpoint_of_lavis_becomes_the_same_model() {
    each(recorded("eva"), |(stage, case)| {
        let work = tempfile::tempdir().unwrap();
        let out = work.path().join("out");
        let converted = convert_to_hugging_face(&case.weights, Some(case.like.path()), None, &out).unwrap();
        assert_eq!(converted.frozen, 0);
        let dropped = |name: &str| converted.dropped.iter().any(|tensor| tensor.name == name);
        assert_eq!(dropped("temp"), stage == "stage1");

        let lavis = SafetensorsStore::open(&case.weights).unwrap();
        let folder = HuggingFaceFolder::open(&out).unwrap();
        let mut check = Check::new(&case.name);
        let (ours, theirs) = if stage == "stage1" {
            // The language head and the temperature do not go over.
            let mut ours = folder.representation(&device()).unwrap();
            let theirs = RepresentationModel::new(&mut Initializer::new(0, &device()), folder.config());
            let theirs = load(
                theirs.unwrap(),
                &lavis,
                &LAVIS_REPRESENTATION,
                LoadOptions::default(),
            )
            .unwrap();
            ours.language_head = theirs.language_head.clone();
            ours.temperature = theirs.temperature.clone();
            (fingerprint(&ours), fingerprint(&theirs))
        } else {
            let (sizes, names) = match stage {
                "opt" => (&lavis.tensors()["opt_proj.bias"], &LAVIS_OPT_BRIDGE),
                _ => (&lavis.tensors()["t5_proj.bias"], &LAVIS_T5_BRIDGE),
            };
            let theirs = Bridge::new(
                &mut Initializer::new(0, &device()),
                &folder.config().qformer,
                1e-5,
                sizes.shape[0],
            );
            let theirs = load(theirs.unwrap(), &lavis, names, LoadOptions::default()).unwrap();
            folder.language_model(&device()).unwrap();
            (
                fingerprint(&folder.bridge(&device()).unwrap()),
                fingerprint(&theirs),
            )
        };
        check.identical("bridge", &[ours], &[theirs]);

        let io = TensorFile::open(&format!("{}_io.safetensors", case.name));
        let config = VisionTransformerConfig {
            post_norm: false,
            qkv_bias: blip2_vision_encoder::QkvBias::QueryAndValue,
            ..VisionTransformerConfig::read(&out.join("config.json")).unwrap()
        };
        let theirs = VisionTransformer::from_lavis(&lavis, &config, &device()).unwrap();
        check.close(
            "features",
            &folder
                .encoder(&device())
                .unwrap()
                .encode(io.tensor("image"))
                .unwrap(),
            &theirs.encode(io.tensor("image")).unwrap(),
            tolerance::FEATURES,
        );
    });
}

#[test]
fn what_lavis_leaves_out_comes_from_the_model_it_began_with() {
    let whole = recorded("eva").into_iter().find(|(stage, _)| *stage == "stage1");
    let (Some((_, case)), Some(partial)) = (whole, find("lavis/stage1_eva.pth")) else {
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let (first, second) = (work.path().join("first"), work.path().join("second"));
    convert_to_hugging_face(&case.weights, Some(case.like.path()), None, &first).unwrap();
    let converted = convert_to_hugging_face(&partial, Some(&first), None, &second).unwrap();
    let (first, second) = (
        SafetensorsStore::open(&first).unwrap(),
        SafetensorsStore::open(&second).unwrap(),
    );
    let encoder = |name: &&String| name.starts_with("vision_model.") && !name.contains("post_layernorm");
    assert_eq!(converted.frozen, first.tensors().keys().filter(encoder).count());
    assert_same(&first, &second, |_| false);

    // Without that model, all of the encoder is missing, and all of it is said.
    let alone = convert_to_hugging_face(&partial, Some(case.like.path()), None, &work.path().join("third"));
    let Err(Blip2Error::Weights(WeightError::Mismatch {
        missing, unexpected, ..
    })) = alone
    else {
        panic!("{alone:?}")
    };
    let lavis = SafetensorsStore::open(&case.weights).unwrap();
    let frozen = lavis
        .tensors()
        .keys()
        .filter(|name| name.starts_with("visual_encoder."));
    // A fused projection is missed by its thirds.
    let thirds = lavis
        .tensors()
        .keys()
        .filter(|name| name.ends_with(".attn.qkv.weight"));
    assert_eq!(missing.len(), frozen.count() + 2 * thirds.count(), "{missing:?}");
    assert!(
        unexpected.is_empty() && !work.path().join("third").exists(),
        "{unexpected:?}"
    );
}

#[test]
fn what_was_trained_must_be_there() {
    let whole = recorded("eva").into_iter().find(|(stage, _)| *stage == "opt");
    let Some((_, case)) = whole else { return };
    let work = tempfile::tempdir().unwrap();
    let first = work.path().join("first");
    convert_to_hugging_face(&case.weights, Some(case.like.path()), None, &first).unwrap();
    let lavis = SafetensorsStore::open(&case.weights).unwrap();
    let gone = ["query_tokens", "opt_proj.bias"];
    let mut tensors: BTreeMap<String, _> = lavis
        .tensors()
        .keys()
        .filter(|name| !gone.contains(&name.as_str()))
        .map(|name| (name.clone(), lavis.read(name).unwrap()))
        .collect();
    let surplus = tensors["ln_vision.bias"].clone();
    tensors.insert("Qformer.surplus".to_owned(), surplus);
    let path = work.path().join("checkpoint.safetensors");
    write_safetensors(&path, &tensors.into_iter().collect::<Vec<_>>(), HashMap::new()).unwrap();
    let error = convert_to_hugging_face(&path, Some(&first), None, &work.path().join("out")).unwrap_err();
    let message = error.to_string();
    for part in [
        "2 missing: ",
        "query_tokens (query_tokens there)",
        "opt_proj.bias (language_projection.bias there)",
        "1 unexpected: Qformer.surplus",
    ] {
        assert!(message.contains(part), "no `{part}`: {message}");
    }
}

#[test]
fn an_encoder_that_transformers_has_no_form_for_is_refused_in_one_error() {
    each(recorded("clip"), |(_, case)| {
        let work = tempfile::tempdir().unwrap();
        let out = work.path().join("out");
        let error = convert_to_hugging_face(&case.weights, Some(case.like.path()), None, &out).unwrap_err();
        let message = error.to_string();
        for part in [
            "visual_encoder.cls_token (vision_model.embeddings.class_embedding there)",
            "unexpected: visual_encoder.class_embedding",
        ] {
            assert!(message.contains(part), "no `{part}`: {message}");
        }
    });
}

#[test]
fn both_files_of_lavis_hold_what_the_original_held() {
    let whole = recorded("eva").into_iter().find(|(stage, _)| *stage == "opt");
    let Some((_, case)) = whole else { return };
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("folder");
    convert_to_hugging_face(&case.weights, Some(case.like.path()), None, &folder).unwrap();
    let [torch, safetensors] = ["a.pth", "a.safetensors"].map(|name| work.path().join(name));
    convert_to_lavis(&folder, &torch).unwrap();
    convert_to_lavis(&folder, &safetensors).unwrap();
    let (torch, safetensors) = (open_weights(&torch).unwrap(), open_weights(&safetensors).unwrap());
    assert_same(torch.as_ref(), safetensors.as_ref(), |_| false);
    let before = SafetensorsStore::open(&case.weights).unwrap();
    assert_same(&before, torch.as_ref(), |name| {
        name.ends_with("position_ids") || name == "opt_model.lm_head.weight"
    });
}
