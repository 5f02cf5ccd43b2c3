//! From a finished run to its report.

use blip2_data::scenes::{SceneSet, Split};
use blip2_evaluation::text::unigram_entropy;
use blip2_objectives::{Bridge, NegativeSource, RepresentationOptions, representation_loss};
use blip2_qformer::{RepresentationModel, TextBatch};
use blip2_report::{GenerationRow, Look, LossCurve, Report, RetrievalRow, Sample};
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::baseline::MeanBaseline;
use crate::checkpoint::io;
use crate::corpus::{Corpus, encode_scenes, tokenise};
use crate::evaluate::{Wanted, always_the_same, asked, judge, write_by_language_model, write_by_qformer};
use crate::gallery::{Gallery, host};
use crate::generative::Prompts;
use crate::pretrain::Frozen;
use crate::training::{Context, Trained, curve};
use crate::{Recipe, TrainError};

/// Guessing one of two texts to be wrong twice as often as right.
const MATCHING_GUESS: f64 = 0.636_514;
/// Batches of unseen scenes that the final losses are measured on.
const LOSS_BATCHES: u64 = 4;
/// Pictures whose query attention is shown, of each part.
const LOOKS: usize = 2;

/// The trained models, off the tape.
pub(crate) struct Outcome {
    pub(crate) representation: Trained<RepresentationModel>,
    pub(crate) baseline: Option<Trained<MeanBaseline>>,
    pub(crate) bridge: Trained<Bridge>,
    pub(crate) alone: Option<Trained<Bridge>>,
}

/// Measures `outcome` on held-out scenes and writes `report.json`, `report.html` and the pictures.
pub(crate) fn report(
    context: &Context<'_>,
    recipe: &Recipe,
    resolved: String,
    frozen: &Frozen,
    corpus: &Corpus,
    outcome: &Outcome,
) -> Result<(), TrainError> {
    let lines = context.log.lines()?;
    let entropy = unigram_entropy(&corpus.captions.iter().map(|ids| &ids[1..]).collect::<Vec<_>>())?;
    let batch = recipe.stage1.batch as f64;
    let references = [
        ("itc", batch.ln(), "ln(batch)"),
        ("itm", MATCHING_GUESS, "always guessing"),
        ("itg", entropy, "unigram entropy"),
    ];
    let mut report = Report {
        title: "BLIP-2 on emoji scenes".to_owned(),
        recipe: resolved,
        ..Report::default()
    };
    let unseen = unseen_losses(recipe, frozen, &outcome.representation.model)?;
    for ((name, reference, label), value) in references.into_iter().zip(unseen) {
        report.losses.push(LossCurve {
            phase: "stage 1".to_owned(),
            name: name.to_owned(),
            reference: Some(reference),
            reference_label: label.to_owned(),
            points: curve(&lines, "stage1", name),
        });
        report
            .summary
            .push((format!("{name} on unseen scenes"), rounded(value)));
        report
            .summary
            .push((format!("{name} of {label}"), rounded(reference)));
    }
    for (phase, name) in [("stage2", "with stage 1"), ("stage2-alone", "without stage 1")] {
        let points = curve(&lines, phase, "loss");
        if !points.is_empty() {
            report.ablation.push(LossCurve {
                phase: "stage 2".to_owned(),
                name: name.to_owned(),
                reference: None,
                reference_label: String::new(),
                points,
            });
        }
    }
    std::fs::create_dir_all(context.run.join("pictures"))
        .map_err(io("create", &context.run.join("pictures")))?;
    context.observer.phase("evaluate", 3);
    for (number, split) in [
        Split::HeldOutStyle,
        Split::HeldOutPairs,
        Split::HeldOutCombination,
    ]
    .into_iter()
    .enumerate()
    {
        let gallery = Gallery::prepare(recipe, split, &frozen.artist, &frozen.encoder, &frozen.tokenizer)?;
        measure(context, recipe, frozen, corpus, outcome, &gallery, &mut report)?;
        context.observer.step(number as u64 + 1, split.name());
    }
    let seconds = [
        Some(("seconds of stage 1", outcome.representation.seconds)),
        outcome
            .baseline
            .as_ref()
            .map(|trained| ("seconds of the baseline", trained.seconds)),
        Some(("seconds of stage 2", outcome.bridge.seconds)),
        outcome
            .alone
            .as_ref()
            .map(|trained| ("seconds of stage 2 alone", trained.seconds)),
    ];
    let seconds: Vec<String> = seconds
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{value:.0} {name}"))
        .collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    report.machine = format!(
        "{threads} threads, {}; {}",
        std::env::consts::ARCH,
        seconds.join(", ")
    );
    let page = report.write(&context.run)?;
    context.observer.note(&format!("report: {}", page.display()));
    Ok(())
}

/// ITC, ITM and ITG on scenes drawn like the training ones but never trained on.
fn unseen_losses(
    recipe: &Recipe,
    frozen: &Frozen,
    model: &RepresentationModel,
) -> Result<[f64; 3], TrainError> {
    let device = Device::flex();
    let set = SceneSet {
        seed: recipe.data.seed,
        split: Split::Validation,
    };
    let options = RepresentationOptions {
        start_token: frozen.tokenizer.decode_id(),
        ..RepresentationOptions::default()
    };
    let mut generator = ChaCha8Rng::seed_from_u64(recipe.seed);
    let size = recipe.stage1.batch as u64;
    let mut sums = [0.0; 3];
    for number in 0..LOSS_BATCHES {
        let scenes: Vec<_> = (number * size..(number + 1) * size)
            .map(|index| set.scene(index))
            .collect();
        let (_, features) = encode_scenes(
            &frozen.artist,
            &frozen.encoder,
            recipe.encoder.image_size,
            &scenes,
            &device,
        )?;
        let captions = scenes.iter().map(|scene| scene.caption.as_str());
        let texts = TextBatch::new(
            tokenise(&frozen.tokenizer, captions, recipe.max_text_tokens)?,
            &device,
        )?;
        let loss = representation_loss(
            model,
            features,
            &texts,
            &options,
            NegativeSource::Drawn(&mut generator),
        )?;
        for (sum, term) in sums
            .iter_mut()
            .zip([loss.contrastive, loss.matching, loss.generation])
        {
            *sum += f64::from(term.into_scalar::<f32>()) / LOSS_BATCHES as f64;
        }
    }
    Ok(sums)
}

fn measure(
    context: &Context<'_>,
    recipe: &Recipe,
    frozen: &Frozen,
    corpus: &Corpus,
    outcome: &Outcome,
    gallery: &Gallery,
    report: &mut Report,
) -> Result<(), TrainError> {
    let split = gallery.split.name();
    let retrieval = retrieval(recipe, outcome, gallery, &mut report.summary)?;
    report.retrieval.extend(retrieval);

    let count = recipe.evaluation.captions.min(gallery.scenes.len());
    let prompts = Prompts::new(recipe, &frozen.language_model.tokenizer)?;
    let by_qformer = write_by_qformer(gallery, &outcome.representation.model, &frozen.tokenizer, count)?;
    let mut rows = vec![judge(gallery, Wanted::Caption, "Q-Former alone", &by_qformer)];
    let mut shown = Vec::new();
    for wanted in [Wanted::Caption, Wanted::Answer] {
        let known: Vec<String> = match wanted {
            Wanted::Caption => corpus.scenes.iter().map(|scene| scene.caption.clone()).collect(),
            Wanted::Answer => corpus
                .scenes
                .iter()
                .map(|scene| asked(scene).1.to_owned())
                .collect(),
        };
        rows.push(judge(
            gallery,
            wanted,
            "most frequent",
            &always_the_same(&known, count),
        ));
        let write = |bridge: &Bridge, shifted: bool| {
            write_by_language_model(
                gallery,
                bridge,
                &frozen.language_model,
                &prompts,
                wanted,
                count,
                shifted,
            )
        };
        rows.push(judge(
            gallery,
            wanted,
            "picture swapped",
            &write(&outcome.bridge.model, true)?,
        ));
        if let Some(alone) = &outcome.alone {
            rows.push(judge(
                gallery,
                wanted,
                "stage 2 alone",
                &write(&alone.model, false)?,
            ));
        }
        let written = write(&outcome.bridge.model, false)?;
        rows.push(judge(gallery, wanted, "stage 1 and 2", &written));
        shown.push(written);
    }
    for row in rows.iter().filter(|row| row.model == "stage 1 and 2") {
        report
            .summary
            .push((format!("{} F1, {split}", row.task), rounded(row.f1)));
    }
    report.generation.extend::<Vec<GenerationRow>>(rows);
    samples(context, recipe, gallery, &by_qformer, &shown, report)?;
    looks(outcome, gallery, report)
}

fn retrieval(
    recipe: &Recipe,
    outcome: &Outcome,
    gallery: &Gallery,
    summary: &mut Vec<(String, Value)>,
) -> Result<Vec<RetrievalRow>, TrainError> {
    let split = gallery.split.name();
    let chance = gallery.chance()?;
    let [contrast, matched] = gallery.rank(&outcome.representation.model, recipe.evaluation.rerank)?;
    let mut rows = vec![chance];
    if let Some(baseline) = &outcome.baseline {
        let ranking = gallery.rank_baseline(&baseline.model)?;
        summary.push((
            format!("true over turned relation, mean feature, {split}"),
            rounded(ranking.relations),
        ));
        rows.push(ranking.row);
    }
    summary.push((
        format!("true over turned relation, ITC, {split}"),
        rounded(contrast.relations),
    ));
    summary.push((
        format!("true over turned relation, ITM, {split}"),
        rounded(matched.relations),
    ));
    summary.push((
        format!("image to text R@1, {split}"),
        rounded(matched.row.image_to_text[0]),
    ));
    summary.push((
        format!("image to text R@1 of chance, {split}"),
        rounded(rows[0].image_to_text[0]),
    ));
    rows.extend([contrast.row, matched.row]);
    Ok(rows)
}

fn samples(
    context: &Context<'_>,
    recipe: &Recipe,
    gallery: &Gallery,
    by_qformer: &[String],
    shown: &[Vec<String>],
    report: &mut Report,
) -> Result<(), TrainError> {
    let count = recipe.evaluation.samples.min(by_qformer.len());
    for (index, scene) in gallery.scenes.iter().take(count).enumerate() {
        let picture = picture_name(gallery, index);
        let path = context.run.join("pictures").join(&picture);
        gallery.pictures[index]
            .save(&path)
            .map_err(|error| io("write", &path)(std::io::Error::other(error)))?;
        let (question, answer) = asked(scene);
        report.samples.push(Sample {
            split: gallery.split.name().to_owned(),
            picture,
            truth: scene.caption.clone(),
            written_by_qformer: Some(by_qformer[index].clone()),
            caption: shown[0][index].clone(),
            question: question.to_owned(),
            answer: answer.to_owned(),
            predicted: shown[1][index].clone(),
        });
    }
    Ok(())
}

/// Where the queries look, on the first pictures of the gallery that the report shows.
fn looks(outcome: &Outcome, gallery: &Gallery, report: &mut Report) -> Result<(), TrainError> {
    let model = &outcome.representation.model;
    let shown = report
        .samples
        .iter()
        .filter(|sample| sample.split == gallery.split.name())
        .count();
    for index in 0..LOOKS.min(shown) {
        let context = model.image_context(gallery.features.clone().slice([index..index + 1]))?;
        let attention: Tensor<3> = model.qformer.image_attention(&context, 1);
        let [_, _, tokens] = attention.dims();
        // The class token stands before a square of patches.
        let side = (tokens - 1).isqrt();
        report.looks.push(Look {
            picture: picture_name(gallery, index),
            caption: gallery.scenes[index].caption.clone(),
            grid: [side, side],
            queries: host(attention)
                .chunks(tokens)
                .map(|weights| weights[tokens - side * side..].to_vec())
                .collect(),
        });
    }
    Ok(())
}

fn picture_name(gallery: &Gallery, index: usize) -> String {
    format!("{}-{index}.png", gallery.split.name().replace(' ', "-"))
}

/// Four decimals: what a reader compares.
fn rounded(value: f64) -> Value {
    json!((value * 1e4).round() / 1e4)
}
