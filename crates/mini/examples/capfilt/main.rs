//! What is CapFilt worth? On 500 pictures of the demo's world, a third of them with another picture's caption, its own model writes
//! and ranks captions; then stage 2 is trained on the noisy captions, on those that CapFilt keeps, and on true ones.
//!
//! `cargo run --release -p blip2-mini --example capfilt -- RUN OUT [STEPS]`
//!
//! RUN is a run of `cargo xtask demo`. Pictures are of the part `validation`, which it has not seen, and so are those that the loss is
//! measured on. Each training starts from the Q-Former as stage 1 of RUN left it, with the seed of its recipe. OUT gets shards,
//! captions, recipes and runs; what was found is printed as tables.

#![expect(clippy::print_stdout, reason = "a measurement to be read")]

mod noisy;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use blip2::capfilt::{Kept, Origin, Settings, filter, open_captioner, open_ranker};
use blip2_data::sets::{DataSpec, Dataset};
use blip2_data::text;
use blip2_distributed::Communicator;
use blip2_mini::{MiniRecipe, formats, registry, write_shards};
use blip2_trainer::{
    EncoderRecipe, EvaluationRecipe, FeaturesRecipe, LoaderRecipe, MeasureRecipe, Mixed, Observer,
    PretrainOptions, Recipe, RecipeFile, StageRecipe, pretrain,
};
use burn::tensor::Device;
use noisy::NoisySet;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Pictures with captions to filter, and others that the loss is measured on.
const PICTURES: usize = 500;
const HELD_OUT: usize = 96;
/// Steps of stage 2 in each training, unless others are asked for.
const STEPS: u64 = 150;

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let (run, out, steps) = match &arguments[..] {
        [run, out] => (run, out, STEPS),
        [run, out, steps] => (
            run,
            out,
            steps.to_string_lossy().parse().context("STEPS is a number")?,
        ),
        _ => anyhow::bail!("usage: capfilt RUN OUT [STEPS]"),
    };
    ensure!(!out.exists(), "{} is there already", out.display());
    let home = blip2::home()?;
    let recipe = MiniRecipe::read(&run.join("recipe.toml"), &[])?;
    let set = NoisySet::draw(&recipe, &home, PICTURES, HELD_OUT)?;
    for (name, captioned) in [
        ("noisy", set.noisy()),
        ("true", set.unspoiled()),
        ("held-out", set.held_out()),
    ] {
        write_shards(&captioned, &out.join(name))?;
    }
    let captions = out.join("captions.jsonl");
    let kept = filtered(run, &home, &set.noisy())?;
    write_captions(&captions, &set.noisy(), &kept)?;
    println!("{}", counted(&set, &kept));

    println!("| captions to learn from | held-out loss | exact | token F1 | CIDEr |");
    println!("|---|--:|--:|--:|--:|");
    for (name, shards, captions) in [
        ("noisy, as they are", "noisy", None),
        ("noisy, filtered by CapFilt", "noisy", Some(captions.as_path())),
        ("true", "true", None),
    ] {
        let folder = out.join(format!("run-{}", name.replace([' ', ','], "-")));
        let found = train(&recipe, (run, &home, out), (shards, captions), &folder, steps)?;
        let figure = |evaluator: &str, name: &str| found(evaluator, name).unwrap_or(f64::NAN);
        println!(
            "| {name} | {:.3} | {:.1}% | {:.1}% | {:.2} |",
            figure("held-out", "loss"),
            100.0 * figure("captions", "exact"),
            100.0 * figure("captions", "f1"),
            figure("captions", "CIDEr"),
        );
    }
    Ok(())
}

/// What CapFilt keeps for each picture of `set`, with the model of `run` as captioner and ranker.
fn filtered(run: &Path, home: &Path, set: &dyn Dataset) -> Result<Vec<Vec<Kept>>> {
    let (device, registry, settings) = (Device::flex(), registry(), Settings::default());
    let captioner = open_captioner(run, home, &device, &registry)?;
    let ranker = open_ranker(run, home, &device, &registry)?;
    let keep = |index| {
        let sample = set.read(index)?;
        let picture = sample.picture.decode(&sample.key)?;
        let models = (&*captioner, &*ranker);
        Ok(filter(models, &settings, (&sample.key, &picture), &sample.texts)?)
    };
    (0..set.len()).map(keep).collect()
}

/// As `blip2 capfilt` writes them.
fn write_captions(place: &Path, set: &dyn Dataset, kept: &[Vec<Kept>]) -> Result<()> {
    let mut lines = String::new();
    for (index, kept) in (0..).zip(kept) {
        let captions: Vec<&str> = kept.iter().map(|one| one.text.as_str()).collect();
        lines += &json!({ "key": set.key(index)?, "captions": captions }).to_string();
        lines.push('\n');
    }
    fs::write(place, lines).with_context(|| format!("cannot write {}", place.display()))
}

/// What happened to the captions that the pictures came with, and how many of all are true.
fn counted(set: &NoisySet, kept: &[Vec<Kept>]) -> String {
    let share =
        |part: usize, whole: usize| format!("{part} of {whole} ({:.0}%)", 100.0 * part as f64 / whole as f64);
    let own = |kept: &[Kept]| kept.iter().any(|one| one.origin == Origin::Web);
    let removed = |swapped: bool| {
        let of_kind = set
            .pictures
            .iter()
            .zip(kept)
            .filter(|(picture, _)| picture.is_swapped() == swapped);
        let (gone, all) = of_kind.fold((0, 0), |(gone, all), (_, kept)| {
            (gone + usize::from(!own(kept)), all + 1)
        });
        share(gone, all)
    };
    let is_true = |truths: &[String], caption: &str| {
        let clean = text::caption(caption, "");
        truths.iter().any(|truth| text::caption(truth, "") == clean)
    };
    let pairs = set.pictures.iter().zip(kept);
    let judged: Vec<bool> = pairs
        .flat_map(|(picture, kept)| kept.iter().map(|one| is_true(&picture.truths, &one.text)))
        .collect();
    let before = set
        .pictures
        .iter()
        .filter(|picture| is_true(&picture.truths, &picture.caption))
        .count();
    format!(
        "| of the captions that came with the pictures | removed |\n|---|--:|\n| another picture's | {} |\n| true | {} |\n\n\
         True captions: {} before, {} after.\n",
        removed(true),
        removed(false),
        share(before, set.pictures.len()),
        share(judged.iter().filter(|is_true| **is_true).count(), judged.len()),
    )
}

/// Trains stage 2 on the shards called so, with other captions where they are given, and gives figures by evaluator and name.
fn train(
    recipe: &MiniRecipe,
    (run, home, out): (&Path, &Path, &Path),
    (shards, captions): (&str, Option<&Path>),
    folder: &Path,
    steps: u64,
) -> Result<impl Fn(&str, &str) -> Option<f64> + use<>> {
    let data = |name: &str| DataSpec::new("webdataset", out.join(name).join("00000.tar").to_string_lossy());
    let measure = |name: &str, measure| EvaluationRecipe {
        name: name.to_owned(),
        every: 0,
        batches: HELD_OUT as u64 / recipe.stage2.batch as u64,
        measure,
        data: data("held-out"),
    };
    let own = Recipe {
        seed: recipe.seed,
        vocabulary: recipe.vocabulary.clone(),
        bert: None,
        max_text_tokens: recipe.max_text_tokens,
        features: FeaturesRecipe::Live,
        encoder: EncoderRecipe::frozen(recipe.encoder.clone()),
        language_model: Some(recipe.language_model.clone()),
        representation: recipe.representation.clone(),
        bridge: recipe.bridge,
        lora: None,
        data: vec![DataSpec {
            captions: captions.map(Path::to_owned),
            ..data(shards)
        }],
        mixed: Mixed::Size,
        templates: Default::default(),
        loader: LoaderRecipe::default(),
        stage1: None,
        stage2: Some(StageRecipe {
            steps,
            from: Some(run.to_owned()),
            checkpoint_every: steps,
            ..recipe.stage2.clone()
        }),
        evaluation: vec![
            measure("held-out", MeasureRecipe::Loss),
            measure("captions", MeasureRecipe::Task),
        ],
    };
    let file = folder.with_extension("toml");
    fs::write(&file, own.to_toml()?).with_context(|| format!("cannot write {}", file.display()))?;
    let options = PretrainOptions {
        recipe: file,
        overrides: Vec::new(),
        run: folder.to_owned(),
        resume: false,
        home: home.to_owned(),
        registry: registry(),
        formats: formats(home),
        device: Device::flex(),
    };
    pretrain(options, Communicator::alone(), &Nobody)?;
    let log = fs::read_to_string(folder.join("metrics.jsonl"))?;
    let lines = log
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<Vec<Value>, _>>()?;
    Ok(move |evaluator: &str, name: &str| lines.iter().rev().find_map(|line| line[evaluator][name].as_f64()))
}

struct Nobody;

impl Observer for Nobody {
    fn phase(&self, _: &str, _: u64) {}
    fn step(&self, _: u64, _: &str) {}
    fn note(&self, _: &str) {}
}
