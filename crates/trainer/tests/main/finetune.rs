//! The recipes of fine-tuning, each for three steps on a tiny model of its kind, from the file to a model that is read back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use blip2::{
    ADAPTER, Blip2, DecodeOptions, ENCODER, EncoderConfig, HuggingFaceFolder, LanguageModelConfig,
    ModelConfig, Reads, Registry, open_picture, save_pretrained, trained_to_lavis,
};
use blip2_core::weights::{SafetensorsStore, TensorStore, collect};
use blip2_core::{Initializer, LoadPlan};
use blip2_data::sets::Formats;
use blip2_distributed::Communicator;
use blip2_golden::fixture;
use blip2_llm_adapters::{LanguageTokenizer, PeftFolder};
use blip2_qformer::{RepresentationConfig, RepresentationModel};
use blip2_trainer::{Observer, PretrainOptions, Prompts, Row, TrainError, pretrain};
use burn::tensor::Device;
use serde_json::{Value, json};
use toml::Table;

use crate::passed_on::{passed_on, updates_passed_on};

pub(crate) const RECIPES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../recipes/paper/finetune");
/// The one of the tiny models whose folder has BERT's vocabulary.
const VOCABULARY: &str = "hf/itm-tiny/tokenizer.json";

struct Nobody;

impl Observer for Nobody {
    fn phase(&self, _: &str, _: u64) {}
    fn step(&self, _: u64, _: &str) {}
    fn note(&self, _: &str) {}
}

fn recipes() -> Vec<PathBuf> {
    let entries = fs::read_dir(RECIPES).expect("a folder of recipes");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a recipe").path()).collect();
    files.sort();
    assert!(files.len() >= 9, "{files:?}");
    files
}

fn path(path: &Path) -> toml::Value {
    toml::Value::String(path.to_str().expect("a name in UTF-8").to_owned())
}

pub(crate) fn section<'t>(table: &'t mut Table, name: &str) -> &'t mut Table {
    table[name].as_table_mut().expect("a section")
}

/// Lists of captions and questions about the pictures of a tiny model.
pub(crate) fn write_lists(folder: &Path) {
    let captions = ["a woman with a dog", "a red bus", "two cats on a couch"];
    let entry = |index: usize| {
        let caption = captions[index / 2 % 3];
        json!({
            "image": format!("image{}.png", index % 3),
            "image_id": format!("coco_{}", index % 3),
            "caption": caption,
        })
    };
    let question = |index: usize| {
        json!({
            "image": format!("image{}.png", index % 3),
            "question_id": index,
            "question": "What is on the beach?",
            "answer": ["dog", "dog", "a cat"],
        })
    };
    for (name, list) in [
        ("captions.json", (0..8).map(entry).collect::<Vec<_>>()),
        ("questions.json", (0..8).map(question).collect()),
    ] {
        fs::write(folder.join(name), Value::from(list).to_string()).expect("written");
    }
}

/// A stage-1 model of these sizes in a folder of ours: what has a text branch.
fn write_stage1(folder: &Path, sizes: &RepresentationConfig) {
    let model = RepresentationModel::new(&mut Initializer::new(3, &Device::flex()), sizes).expect("sizes");
    let config = ModelConfig {
        encoder: EncoderConfig {
            path: "encoder".into(),
            model_type: None,
            image_size: None,
            block: -1,
            final_norm: false,
        },
        language_model: None,
        representation: sizes.clone(),
        vocabulary: fixture(VOCABULARY),
        max_text_tokens: 16,
        reads: Reads::Nothing,
    };
    save_pretrained(folder, &config, Some(&model), None).expect("saved");
}

/// The recipe in `file` for the tiny model in `model`, with everything else as it stands there.
pub(crate) fn scaled_down(file: &Path, model: &Path, folder: &Path) -> Table {
    let mut recipe: Table = fs::read_to_string(file).expect("readable").parse().expect("TOML");
    let config: Value =
        serde_json::from_slice(&fs::read(model.join("config.json")).expect("a configuration")).expect("JSON");
    let pixels = |key: &str| config["vision_config"][key].as_i64().expect("pixels");
    let opened = HuggingFaceFolder::open(model).expect("a folder");
    let mut sizes = opened.config().clone();
    sizes.qformer.vocab_size = HuggingFaceFolder::open(&fixture("hf/itm-tiny"))
        .expect("a folder")
        .config()
        .qformer
        .vocab_size;
    write_stage1(&folder.join("stage1"), &sizes);
    recipe["representation"] = toml::Value::try_from(&sizes).expect("TOML");
    recipe["vocabulary"] = path(&fixture(VOCABULARY));
    recipe["max_text_tokens"] = 16.into();
    let encoder = section(&mut recipe, "encoder");
    encoder["path"] = path(model);
    // Larger pictures than the positions were learned for, as in the paper.
    let larger = pixels("image_size") + 2 * pixels("patch_size");
    encoder.insert("image_size".to_owned(), larger.into());
    if recipe.contains_key("language_model") {
        section(&mut recipe, "language_model")["path"] = path(model);
    }
    let listed = |set: &mut Table| {
        let questions = ["vqav2", "okvqa", "vg-qa"].contains(&set["format"].as_str().expect("a format"));
        let list = if questions {
            "questions.json"
        } else {
            "captions.json"
        };
        set.insert("format".to_owned(), "lavis".into());
        set.insert("path".to_owned(), path(&folder.join(list)));
        set.insert("images".to_owned(), path(model));
        set.remove("annotations");
        set.remove("captions");
    };
    let sets = recipe["data"].as_array_mut().expect("sets");
    sets.iter_mut()
        .filter_map(toml::Value::as_table_mut)
        .for_each(listed);
    for evaluation in recipe
        .get_mut("evaluation")
        .and_then(toml::Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let evaluation = evaluation.as_table_mut().expect("an evaluation");
        evaluation["batches"] = 1.into();
        listed(section(evaluation, "data"));
    }
    let name = ["stage1", "stage2"]
        .into_iter()
        .find(|name| recipe.contains_key(*name));
    let stage = section(&mut recipe, name.expect("a stage"));
    stage.insert("from".to_owned(), path(model));
    if stage.contains_key("text_from") {
        stage["text_from"] = path(&folder.join("stage1"));
    }
    for (key, value) in [("steps", 3), ("batch", 4), ("parts", 2), ("log_every", 1)] {
        stage[key] = value.into();
    }
    // Three steps of the paper's warm-up would hardly show in single precision.
    section(stage, "schedule")["warmup_steps"] = 1.into();
    recipe
}

fn run(recipe: &Table, folder: &Path) -> PathBuf {
    run_on(&Device::flex(), recipe, folder)
}

/// Takes the steps of `recipe` on `device`, and gives the run folder.
pub(crate) fn run_on(device: &Device, recipe: &Table, folder: &Path) -> PathBuf {
    try_run_on(device, recipe, folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

pub(crate) fn try_run_on(device: &Device, recipe: &Table, folder: &Path) -> Result<PathBuf, TrainError> {
    let file = folder.join("recipe.toml");
    fs::write(&file, recipe.to_string()).expect("written");
    let options = PretrainOptions {
        recipe: file,
        overrides: Vec::new(),
        run: folder.join("run"),
        resume: false,
        home: folder.join("home"),
        registry: Registry::default(),
        formats: Formats::standard(),
        device: device.clone(),
    };
    let run = options.run.clone();
    pretrain(options, Communicator::alone(), &Nobody)?;
    Ok(run)
}

/// Every tensor of the encoder was trained, and none has another shape than the new size of pictures asks for.
fn encoder_learned(run: &Path, model: &Path, name: &str) {
    let tuned = SafetensorsStore::open(&run.join("model").join(ENCODER)).expect("an encoder");
    let folder = HuggingFaceFolder::open(model).expect("a folder");
    let before = folder
        .encoder(LoadPlan::from(&Device::flex()))
        .expect("an encoder");
    let blocks = before.blocks();
    let before: BTreeMap<_, _> = collect(&before).into_iter().collect();
    let unread = format!("blocks.{}.", blocks - 1);
    for (path, data) in before {
        let now = tuned.read(&path).expect("a tensor of the same name");
        // The shift of a key changes no attention; the last block of CLIP is not read.
        if path.ends_with("key.bias") || (name.contains("vit-l") && path.starts_with(&unread)) {
            continue;
        }
        assert_ne!(now, data, "{name}: {path} did not move");
    }
}

#[test]
fn low_rank_updates_are_learned_beside_a_frozen_language_model() {
    let file = Path::new(RECIPES).join("caption-vit-g-opt-2.7b.toml");
    let (model, folder) = (fixture("hf/opt-tiny"), tempfile::tempdir().expect("folder"));
    write_lists(folder.path());
    let mut recipe = scaled_down(&file, &model, folder.path());
    let lora = "rank = 2\nalpha = 4.0\ntargets = ['q_proj', 'fc2']".parse::<Table>();
    recipe.insert("lora".to_owned(), toml::Value::Table(lora.expect("TOML")));
    let run = run(&recipe, folder.path());
    let log = fs::read_to_string(run.join("metrics.jsonl")).expect("a log");
    let hashes: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|line| line["frozen"].is_string())
        .map(|line| line["language_model"].clone())
        .collect();
    assert!(hashes.len() == 2 && hashes[0] == hashes[1] && hashes[0].is_string());
    let adapter = PeftFolder::open(&run.join("model").join(ADAPTER), &Device::flex()).expect("updates");
    assert_eq!(adapter.config.rank, 2);
    assert!(!adapter.updates.is_empty());
    for (name, update) in &adapter.updates {
        let learned = update.up.val().abs().max().into_scalar::<f32>();
        assert!(learned > 0.0, "{name}");
    }
    // What is read back has the updates: without them it scores a caption otherwise.
    let picture = open_picture(&model.join("image0.png"), DecodeOptions::upright()).expect("a picture");
    let score = || {
        let tuned = Blip2::from_pretrained(&run, &folder.path().join("home"), &Device::flex());
        let tuned = tuned.expect("a model");
        let prompt = [tuned.caption_prompt().to_owned()];
        let pictures = std::slice::from_ref(&picture);
        let written = tuned.caption(pictures, &prompt, tuned.caption_settings());
        written.expect("a caption")[0].score
    };
    let (home, lavis) = (
        folder.path().join("home"),
        folder.path().join("tuned.safetensors"),
    );
    let passed = trained_to_lavis(&run, &home, &lavis).expect("a checkpoint");
    let updates = passed
        .dropped
        .iter()
        .filter(|left_out| left_out.name.contains("lora_"));
    assert_eq!(updates.count(), 2 * adapter.updates.len());
    updates_passed_on(&run, &home, &model, &picture);
    let with = score();
    fs::remove_dir_all(run.join("model").join(ADAPTER)).expect("removed");
    assert_ne!(with, score());
}

#[test]
fn neighbouring_pairs_are_one_text_of_a_decoder_only_model() {
    let losses = |recipe: &str, model: &str, pairs: i64| {
        let (model, folder) = (fixture(model), tempfile::tempdir().expect("folder"));
        write_lists(folder.path());
        let mut recipe = scaled_down(&Path::new(RECIPES).join(recipe), &model, folder.path());
        section(&mut recipe, "stage2").insert("interleaved".to_owned(), pairs.into());
        let run = try_run_on(&Device::flex(), &recipe, folder.path())?;
        let log = fs::read_to_string(run.join("metrics.jsonl")).expect("a log");
        let lines = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        Ok::<Vec<f64>, TrainError>(lines.filter_map(|line| line["lm"].as_f64()).collect())
    };
    let caption = |pairs| losses("caption-vit-g-opt-2.7b.toml", "hf/opt-tiny", pairs);
    let [alone, in_twos] = [1, 2].map(|pairs| caption(pairs).expect("losses"));
    assert!(alone.len() == in_twos.len() && alone.len() >= 3, "{alone:?}");
    assert!(
        alone
            .iter()
            .zip(&in_twos)
            .all(|(alone, in_twos)| alone != in_twos),
        "{alone:?}"
    );
    let error = losses("caption-vit-g-flan-t5-xl.toml", "hf/flant5-tiny", 2).expect_err("a refusal");
    assert!(error.to_string().contains("one picture a text"), "{error}");
}

fn asking_opt() -> (LanguageTokenizer, LanguageModelConfig) {
    let tokenizer = LanguageTokenizer::from_hugging_face(&fixture("hf/opt-tiny")).expect("a vocabulary");
    let config = LanguageModelConfig {
        path: "opt-tiny".into(),
        model_type: None,
        prompt: "a photo of".to_owned(),
        question_prompt: "Question: {} Answer:".to_owned(),
    };
    (tokenizer, config)
}

#[test]
fn a_long_question_keeps_what_asks_for_its_answer() {
    let (tokenizer, config) = asking_opt();
    let prompts = Prompts::new(&config, &tokenizer);
    let row = |words: usize| Row {
        prompt: Some(prompts.question(&"is it a dog ".repeat(words))),
        text: "a dog".to_owned(),
        ..Row::default()
    };
    let short = prompts.example(&row(1), None).expect("ids");
    assert_eq!(prompts.example(&row(1), Some(64)).expect("ids"), short);
    let (whole, cut) = (
        prompts.example(&row(40), None).expect("ids"),
        prompts.example(&row(40), Some(32)).expect("ids"),
    );
    assert_eq!(cut.target, short.target);
    assert_eq!(cut.prompt.len(), 32 - cut.target.len());
    assert_eq!(Some(cut.prompt[0]), tokenizer.beginning());
    assert!(whole.prompt.ends_with(&cut.prompt[1..]));
    // Of a length in which nothing has its place, each gets a half.
    let little = prompts.example(&row(40), Some(4)).expect("ids");
    assert_eq!((little.prompt.len(), little.target.len()), (2, 2));
}

#[test]
fn what_begins_a_text_stands_in_front_of_the_first_pair_alone() {
    let (tokenizer, config) = asking_opt();
    let prompts = Prompts::new(&config, &tokenizer);
    for prompt in [None, Some("Question: what is it? Answer:".to_owned())] {
        let row = Row {
            prompt,
            text: "a dog".to_owned(),
            ..Row::default()
        };
        let first = prompts.example(&row, None).expect("ids");
        let second = prompts.following(&row, None).expect("ids");
        assert_eq!(first.prompt[1..], second.prompt);
        assert_eq!(Some(first.prompt[0]), tokenizer.beginning());
        assert_eq!(first.target, second.target);
    }
}

#[test]
fn every_recipe_of_fine_tuning_takes_three_steps_and_is_read_back() {
    for file in recipes() {
        let name = file.file_stem().and_then(|name| name.to_str()).expect("a name");
        let model = fixture(match name {
            _ if name.starts_with("retrieval") => "hf/itm-tiny",
            _ if name.contains("flan-t5") => "hf/flant5-tiny",
            _ => "hf/opt-tiny",
        });
        let folder = tempfile::tempdir().expect("folder");
        write_lists(folder.path());
        let recipe = scaled_down(&file, &model, folder.path());
        let run = run(&recipe, folder.path());
        let trains = recipe["encoder"].get("train").is_some();
        assert_eq!(run.join("model").join(ENCODER).exists(), trains, "{name}");
        if trains {
            encoder_learned(&run, &model, name);
        }
        let tuned = Blip2::from_pretrained(&run, &folder.path().join("home"), &Device::flex())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let picture = open_picture(&model.join("image0.png"), DecodeOptions::upright()).expect("a picture");
        let pictures = [picture];
        passed_on(&run, &model, &tuned, &pictures, name);
        if name.starts_with("retrieval") {
            let embedded = tuned.embed_images(&pictures).expect("embeddings");
            assert_eq!(embedded.states.dims()[0], 1);
            continue;
        }
        let asked = ["what is on the beach?".to_owned()];
        let settings = tuned.answer_settings();
        let one = tuned.ask(&pictures, &asked, settings).expect("an answer");
        let again = tuned.ask(&pictures, &asked, settings).expect("an answer");
        assert_eq!(one[0].ids, again[0].ids, "{name}");
        // As an evaluation asks: also a Q-Former that reads the question reads the same.
        let put = tuned.answer(&pictures, &[&asked[0]], None, settings);
        assert_eq!(put.expect("an answer"), one, "{name}");
        assert_eq!(
            tuned.reads_instructions(),
            name.starts_with("vqa") || name.starts_with("instruct"),
            "{name}"
        );
    }
}

#[test]
fn a_frozen_encoder_is_the_same_bit_for_bit_and_saved_nowhere() {
    let file = Path::new(RECIPES).join("caption-vit-g-opt-2.7b.toml");
    let (model, folder) = (fixture("hf/opt-tiny"), tempfile::tempdir().expect("folder"));
    write_lists(folder.path());
    let mut recipe = scaled_down(&file, &model, folder.path());
    let encoder = section(&mut recipe, "encoder");
    for key in ["train", "layer_decay", "drop_path"] {
        encoder.remove(key);
    }
    let run = run(&recipe, folder.path());
    assert!(!run.join("model").join(ENCODER).exists());
    let log = fs::read_to_string(run.join("metrics.jsonl")).expect("a log");
    let hashes: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|line| line["frozen"].is_string())
        .map(|line| line["encoder"].clone())
        .collect();
    assert_eq!(hashes.len(), 2);
    assert!(hashes[0].is_string());
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn what_a_model_is_for_is_measured_on_the_way() {
    for (recipe, model, figure) in [
        ("retrieval-vit-g.toml", "hf/itm-tiny", "txt_r_mean"),
        ("caption-vit-g-opt-2.7b.toml", "hf/opt-tiny", "CIDEr"),
    ] {
        let (model, folder) = (fixture(model), tempfile::tempdir().expect("folder"));
        write_lists(folder.path());
        let mut recipe = scaled_down(&Path::new(RECIPES).join(recipe), &model, folder.path());
        let evaluations = recipe["evaluation"].as_array_mut().expect("evaluations");
        let evaluation = evaluations[0].as_table_mut().expect("an evaluation");
        evaluation["every"] = 2.into();
        evaluation.insert("measure".to_owned(), "task".into());
        let name = evaluation["name"].as_str().expect("a name").to_owned();
        let run = run(&recipe, folder.path());
        let log = fs::read_to_string(run.join("metrics.jsonl")).expect("a log");
        let found: Vec<f64> = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            .filter_map(|line| line[&name][figure].as_f64())
            .collect();
        // After step 2, and at the end.
        assert_eq!(found.len(), 2, "{log}");
        assert!(
            found.iter().all(|figure| (0.0..=100.0).contains(figure)),
            "{found:?}"
        );
    }
}
