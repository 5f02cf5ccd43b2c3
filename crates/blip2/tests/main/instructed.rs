//! A model of ours whose Q-Former reads texts, behind language models that BLIP-2 has and InstructBLIP was never published with: as a
//! folder of `transformers`, as a checkpoint of LAVIS, and back.

use std::fs;
use std::path::{Path, PathBuf};

use blip2::{
    Blip2, Blip2Error, Conversion, EncoderConfig, GenerationConfig, HuggingFaceFolder, HuggingFaceKind,
    LanguageModelConfig, ModelConfig, Reads, Written, convert_to_hugging_face, convert_to_lavis,
    save_pretrained, trained_to_hugging_face, trained_to_lavis,
};
use blip2_core::Initializer;
use blip2_core::weights::{TensorStore, open_weights};
use blip2_golden::{device, fixture};
use blip2_qformer::Bridge;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{copy, edit, load, picture};

const LIKE: [(&str, &str, &str); 2] = [
    ("hf/opt-tiny", "opt_proj.weight", "opt_model."),
    ("hf/flant5-tiny", "t5_proj.weight", "t5_model."),
];
const WORDS: &str = "Qformer.bert.embeddings.word_embeddings.weight";

/// A BLIP-2 of `transformers`, and a model folder of ours with its frozen models and a bridge that reads texts.
struct Case {
    like: TempDir,
    trained: TempDir,
    vocabulary: PathBuf,
    /// Rows of the embeddings of words: with one for `[DEC]`, where the vocabulary leaves that out.
    words: usize,
}

impl Case {
    fn new(like: &str, reads: Reads) -> Self {
        let (like, trained) = (copy(&fixture(like)), tempfile::tempdir().unwrap());
        let mut representation = HuggingFaceFolder::open(like.path()).unwrap().config().clone();
        let own = like.path().join("qformer_tokenizer/tokenizer.json");
        let vocabulary = match own.is_file() {
            true => own,
            false => {
                let lines = fixture("lavis/bert-vocab.txt");
                let words = fs::read_to_string(&lines).unwrap().lines().count();
                representation.qformer.vocab_size = words + 1;
                representation.qformer.max_position_embeddings = 24;
                lines
            }
        };
        let words = representation.qformer.vocab_size;
        let config = ModelConfig {
            encoder: EncoderConfig {
                path: like.path().to_owned(),
                model_type: None,
                image_size: None,
                block: -1,
                final_norm: false,
            },
            language_model: Some(LanguageModelConfig {
                path: like.path().to_owned(),
                model_type: None,
                prompt: "a photo of".to_owned(),
                question_prompt: "Question: {} The answer:".to_owned(),
            }),
            representation,
            vocabulary: vocabulary.clone(),
            max_text_tokens: 7,
            reads,
        };
        let width = HuggingFaceFolder::open(like.path())
            .unwrap()
            .bridge(&device())
            .unwrap()
            .projection
            .weight
            .lazy_shape()
            .dims::<2>()[0];
        let sizes = &config.representation;
        let initializer = &mut Initializer::new(11, &device());
        let bridge =
            Bridge::instructed(initializer, &sizes.qformer, sizes.vision_layer_norm_eps, width).unwrap();
        save_pretrained(trained.path(), &config, None, Some(&bridge)).unwrap();
        Self {
            like,
            trained,
            vocabulary,
            words,
        }
    }

    fn home(&self) -> PathBuf {
        self.trained.path().join("no home")
    }

    fn export(&self, out: &Path) -> Conversion {
        trained_to_hugging_face(self.trained.path(), &self.home(), self.like.path(), out).unwrap()
    }

    fn ours(&self) -> Blip2 {
        Blip2::from_pretrained(self.trained.path(), &self.home(), &device()).unwrap()
    }
}

fn config(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap()
}

fn assert_alike(here: &[Written], there: &[Written], what: &str) {
    assert_eq!(here.len(), there.len(), "{what}");
    for (here, there) in here.iter().zip(there) {
        assert_eq!((&here.ids, &here.text), (&there.ids, &there.text), "{what}");
        assert!(
            (here.score - there.score).abs() < 1e-5,
            "{what}: {here:?} {there:?}"
        );
    }
}

#[test]
fn a_q_former_that_reads_texts_becomes_an_instructblip_that_writes_the_same() {
    for (like, ..) in LIKE {
        for reads in [Reads::Question, Reads::Prompt] {
            let what = format!("{like}, {reads:?}");
            let case = Case::new(like, reads);
            let work = tempfile::tempdir().unwrap();
            let out = work.path().join("out");
            let converted = case.export(&out);
            let folder = HuggingFaceFolder::open(&out).unwrap();
            folder.check().unwrap();
            assert_eq!(folder.kind(), HuggingFaceKind::Instruction, "{what}");
            assert!(converted.dropped.is_empty(), "{what}: {converted:?}");
            assert_eq!(converted.written, open_weights(&out).unwrap().tensors().len());

            let (ours, passed) = (case.ours(), load(&out).unwrap());
            let pictures =
                [0, 1].map(|number| picture(case.like.path(), &json!(format!("image{number}.png"))));
            // The second is longer than what the Q-Former was trained to read.
            let questions = [
                "a dog",
                "a dog runs on the beach with two red apples under a table",
            ]
            .map(str::to_owned);
            let seen = |model: &Blip2| model.image_prompts(&pictures, &questions).unwrap().projected;
            let apart = (seen(&ours) - seen(&passed)).abs().max().into_scalar::<f32>();
            assert!(apart < 1e-5, "{what}: {apart}");
            let settings = GenerationConfig {
                num_beams: 3,
                ..passed.answer_settings().clone()
            };
            let asked = |model: &Blip2| model.ask(&pictures, &questions, &settings).unwrap();
            assert_alike(&asked(&ours), &asked(&passed), &what);
            // What the folder says of it counts.
            for (key, other) in [
                (
                    "reads",
                    json!(if reads == Reads::Prompt {
                        "question"
                    } else {
                        "prompt"
                    }),
                ),
                ("max_text_tokens", json!(24)),
                ("question_prompt", json!("{}")),
            ] {
                let changed = copy(&out);
                edit(&changed.path().join("config.json"), |config| {
                    config["blip2"][key] = other
                });
                let [here, there] =
                    [&ours, &load(changed.path()).unwrap()].map(|model| asked(model)[1].score);
                assert!((here - there).abs() > 1e-5, "{what}: {key} changes nothing");
            }
            let prompts = [0, 1].map(|_| passed.caption_prompt().to_owned());
            assert_eq!(prompts[0], "a photo of", "{what}");
            let captioned = |model: &Blip2| model.caption(&pictures, &prompts, &settings).unwrap();
            assert_alike(&captioned(&ours), &captioned(&passed), &what);
        }
    }
}

#[test]
fn the_files_say_what_transformers_wants_to_know() {
    let case = Case::new("hf/opt-tiny", Reads::Question);
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("out");
    case.export(&out);
    let (before, after) = (config(case.like.path()), config(&out));
    assert_eq!(after["model_type"], "instructblip");
    assert_eq!(
        after["architectures"],
        json!(["InstructBlipForConditionalGeneration"])
    );
    assert_eq!(after["vision_config"]["model_type"], "instructblip_vision_model");
    assert_eq!(after["qformer_config"]["model_type"], "instructblip_qformer");
    assert_eq!(after["qformer_config"]["vocab_size"], case.words);
    assert_eq!(after["qformer_config"]["max_position_embeddings"], 24);
    assert_eq!(after["blip2"]["reads"], "question");
    for same in ["image_token_index", "num_query_tokens", "text_config"] {
        assert_eq!(after[same], before[same], "{same}");
    }
    for gone in [
        "/qformer_config/use_qformer_text_input",
        "/image_text_hidden_size",
    ] {
        assert!(
            before.pointer(gone).is_some() && after.pointer(gone).is_none(),
            "{gone}"
        );
    }
    let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(out.join(name)).unwrap()).unwrap() };
    let processor = read("processor_config.json");
    assert_eq!(processor["processor_class"], "InstructBlipProcessor");
    assert_eq!(processor["num_query_tokens"], before["num_query_tokens"]);
    assert!(processor["image_processor"]["size"].is_object());
    assert_eq!(
        read("tokenizer_config.json")["processor_class"],
        "InstructBlipProcessor"
    );
    let tokenizer = read("qformer_tokenizer/tokenizer_config.json");
    assert_eq!(
        (&tokenizer["bos_token"], &tokenizer["model_max_length"]),
        (&json!("[DEC]"), &json!(7))
    );

    // An old folder tells neither the place of the picture, nor of its processor but what becomes of pixels.
    edit(&case.like.path().join("config.json"), |config| {
        config["image_token_index"] = Value::Null;
    });
    let processor = fs::read(case.like.path().join("processor_config.json")).unwrap();
    let processor: Value = serde_json::from_slice(&processor).unwrap();
    fs::remove_file(case.like.path().join("processor_config.json")).unwrap();
    let mut pixels = processor["image_processor"].clone();
    pixels["processor_class"] = "Blip2Processor".into();
    fs::write(
        case.like.path().join("preprocessor_config.json"),
        pixels.to_string(),
    )
    .unwrap();
    let old = work.path().join("old");
    case.export(&old);
    assert_eq!(config(&old)["image_token_index"], before["image_token_index"]);
    let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(old.join(name)).unwrap()).unwrap() };
    assert_eq!(
        read("preprocessor_config.json")["processor_class"],
        "InstructBlipProcessor"
    );
    assert_eq!(
        read("processor_config.json"),
        json!({"processor_class": "InstructBlipProcessor", "num_query_tokens": before["num_query_tokens"]})
    );
    load(&old).unwrap();
}

/// Both hold the same, but for a key bias of the encoder, for which LAVIS has no place.
fn assert_same(here: &Path, there: &Path) {
    let (here, there) = (open_weights(here).unwrap(), open_weights(there).unwrap());
    let names = |store: &dyn TensorStore| store.tensors().keys().cloned().collect::<Vec<_>>();
    // A copy of the embedding is not written twice.
    let shared: Vec<String> = names(there.as_ref());
    let lost = names(here.as_ref())
        .into_iter()
        .filter(|name| !shared.contains(name));
    for name in lost {
        assert!(
            name.ends_with("embed_tokens.weight") || name.ends_with("lm_head.weight"),
            "{name}"
        );
    }
    for name in shared.iter().filter(|name| !name.ends_with("qkv.bias")) {
        assert!(here.read(name).unwrap() == there.read(name).unwrap(), "{name}");
    }
}

#[test]
fn checkpoints_of_lavis_hold_it_under_the_names_of_instructblip_and_come_back() {
    for (like, projection, language_model) in LIKE {
        let case = Case::new(like, Reads::Prompt);
        let work = tempfile::tempdir().unwrap();
        let path = |name: &str| work.path().join(name);
        case.export(&path("out"));
        convert_to_lavis(&path("out"), &path("whole.pth")).unwrap();
        trained_to_lavis(case.trained.path(), &case.home(), &path("trained.pth")).unwrap();
        for file in ["whole.pth", "trained.pth"] {
            let store = open_weights(&path(file)).unwrap();
            for name in [
                WORDS,
                "Qformer.bert.embeddings.position_embeddings.weight",
                "Qformer.bert.embeddings.LayerNorm.weight",
                "Qformer.bert.encoder.layer.0.intermediate.dense.weight",
                "Qformer.bert.encoder.layer.0.output.LayerNorm.bias",
                "Qformer.bert.encoder.layer.0.output_query.dense.weight",
                "query_tokens",
                "ln_vision.weight",
                projection,
            ] {
                assert!(store.tensors().contains_key(name), "{file}: {name}");
            }
            let frozen = store
                .tensors()
                .keys()
                .any(|name| name.starts_with(language_model));
            assert_eq!(frozen, file == "whole.pth");
            let back = path(&format!("{file}.back"));
            let vocabulary = Some(case.vocabulary.as_path());
            let converted =
                convert_to_hugging_face(&path(file), Some(case.like.path()), vocabulary, &back).unwrap();
            assert_eq!(converted.frozen > 0, file == "trained.pth", "{converted:?}");
            assert_same(&path("out"), &back);
            let mut expected = config(&path("out"));
            // How it is asked, a checkpoint does not say.
            expected.as_object_mut().unwrap().remove("blip2");
            assert_eq!(config(&back), expected);
            load(&back).unwrap();
            // An InstructBLIP has the vocabulary itself.
            let again = path(&format!("{file}.again"));
            convert_to_hugging_face(&path(file), Some(&path("out")), None, &again).unwrap();
            assert_same(&path("out"), &again);
        }
    }
}

#[test]
fn an_instructblip_stays_one_and_says_how_it_is_asked() {
    let case = Case::new("parts/instructblip-llama", Reads::Question);
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("out");
    case.export(&out);
    let mut expected = config(case.like.path());
    expected["blip2"] = json!({
        "reads": "question",
        "prompt": "a photo of",
        "question_prompt": "Question: {} The answer:",
        "max_text_tokens": 7,
    });
    assert_eq!(config(&out), expected);
    let (ours, passed) = (case.ours(), load(&out).unwrap());
    let pictures = [picture(case.like.path(), &json!("image0.png"))];
    let questions = ["a dog runs on the beach".to_owned()];
    let seen = |model: &Blip2| model.image_prompts(&pictures, &questions).unwrap().projected;
    // What was trained is in half precision there, as the folder is.
    let apart = (seen(&ours) - seen(&passed)).abs().max().into_scalar::<f32>();
    assert!(
        apart < 1e-2 * seen(&ours).abs().max().into_scalar::<f32>(),
        "{apart}"
    );
}

#[test]
fn a_checkpoint_does_not_say_by_which_vocabulary_it_reads() {
    let case = Case::new("hf/flant5-tiny", Reads::Prompt);
    let work = tempfile::tempdir().unwrap();
    let (checkpoint, out) = (work.path().join("trained.pth"), work.path().join("out"));
    trained_to_lavis(case.trained.path(), &case.home(), &checkpoint).unwrap();
    let convert = |vocabulary| convert_to_hugging_face(&checkpoint, Some(case.like.path()), vocabulary, &out);
    let error = convert(None).unwrap_err();
    assert!(matches!(error, Blip2Error::Config { .. }), "{error}");
    assert!(error.to_string().contains("vocab.txt"), "{error}");
    // Nor is any vocabulary that of any model.
    let error = convert(Some(&fixture("hf/itm-tiny/tokenizer.json"))).unwrap_err();
    assert!(error.to_string().contains("word embeddings"), "{error}");
    assert!(!out.exists());
}
