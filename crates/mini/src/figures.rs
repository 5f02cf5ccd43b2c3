//! From a finished run to its report.

use blip2_evaluation::text::unigram_entropy;
use blip2_objectives::{NegativeSource, RepresentationOptions, representation_loss};
use blip2_qformer::{Bridge, RepresentationModel, TextBatch};
use blip2_report::{GenerationRow, Look, LossCurve, Report, Sample};
use blip2_trainer::{Prompts, Run, Trained, tokenise};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use crate::baseline::MeanBaseline;
use crate::corpus::{Corpus, encode_scenes};
use crate::error::io;
use crate::evaluate::{Wanted, always_the_same, asked, judge, write_by_language_model, write_by_qformer};
use crate::gallery::{Gallery, host};
use crate::held_out::HeldOut;
use crate::pretrain::Frozen;
use crate::scenes::{SceneSet, Split};
use crate::{MiniError, MiniRecipe};

/// Loss of always guessing where one text in three is right.
const MATCHING_GUESS: f64 = 0.636_514;
/// Batches of unseen scenes that the final losses are measured on.
const LOSS_BATCHES: u64 = 4;
/// Pictures whose query attention is shown, of each part.
const LOOKS: usize = 2;
/// Share of the steps of stage 2, its last ones, whose mean loss is reported.
const LAST: f64 = 0.1;
/// What training never showed, one thing each.
pub(crate) const PARTS: [Split; 3] = [
    Split::HeldOutStyle,
    Split::HeldOutPairs,
    Split::HeldOutCombination,
];

/// The trained models, off the tape.
pub(crate) struct Outcome {
    pub(crate) representation: Trained<RepresentationModel>,
    pub(crate) baseline: Option<Trained<MeanBaseline>>,
    pub(crate) bridge: Trained<Bridge>,
    pub(crate) alone: Option<Trained<Bridge>>,
}

impl Outcome {
    /// The same off the tape.
    pub(crate) fn valid(self) -> Self {
        Self {
            representation: self.representation.valid(),
            baseline: self.baseline.map(Trained::valid),
            bridge: self.bridge.valid(),
            alone: self.alone.map(Trained::valid),
        }
    }
}

/// Measures what was trained, on pictures that training never showed.
pub(crate) struct Reporter<'a> {
    pub(crate) run: &'a Run<'a>,
    pub(crate) recipe: &'a MiniRecipe,
    pub(crate) frozen: &'a Frozen,
    pub(crate) corpus: &'a Corpus,
    pub(crate) outcome: &'a Outcome,
}

impl Reporter<'_> {
    /// Writes `report.json`, `report.html` and the pictures; `resolved` is the recipe as TOML.
    pub(crate) fn write(&self, resolved: String) -> Result<(), MiniError> {
        let pictures = self.run.folder().join("pictures");
        std::fs::create_dir_all(&pictures).map_err(io("create", &pictures))?;
        let mut report = Report {
            title: "BLIP-2 on emoji scenes".to_owned(),
            recipe: resolved,
            machine: self.machine(),
            kernels: std::env::var("BLIP2_KERNELS").unwrap_or_default(),
            seconds: self.seconds(),
            ..Report::default()
        };
        let lines = self.run.log().lines()?;
        self.losses(&lines, &mut report)?;
        self.ablation(&lines, &mut report);
        self.run.observer().phase("evaluate", PARTS.len() as u64 + 1);
        for (number, split) in PARTS.into_iter().enumerate() {
            let gallery = Gallery::of_scenes(self.recipe, split, self.frozen)?;
            self.retrieval(&gallery, &mut report)?;
            let asked = HeldOut::first(self.recipe, split, self.recipe.evaluation.captions, self.frozen)?;
            self.words(&asked, &mut report)?;
            self.looks(&asked, &mut report)?;
            self.run.observer().step(number as u64 + 1, split.name());
        }
        let names = Gallery::of_names(self.recipe, self.frozen, &self.frozen.names()?)?;
        self.retrieval(&names, &mut report)?;
        self.run
            .observer()
            .step(PARTS.len() as u64 + 1, &names.shown.name);
        let page = report.write(self.run.folder())?;
        self.run.observer().note(&format!("report: {}", page.display()));
        Ok(())
    }

    fn machine(&self) -> String {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let seconds: Vec<String> = self
            .seconds()
            .into_iter()
            .map(|(name, seconds)| format!("{seconds:.0} s of {name}"))
            .collect();
        format!(
            "{threads} threads, {}; {}",
            std::env::consts::ARCH,
            seconds.join(", ")
        )
    }

    fn seconds(&self) -> Vec<(String, f64)> {
        let baseline = self.outcome.baseline.as_ref().map(|trained| trained.seconds);
        let alone = self.outcome.alone.as_ref().map(|trained| trained.seconds);
        let phases = [
            ("stage 1", Some(self.outcome.representation.seconds)),
            ("the baseline", baseline),
            ("stage 2", Some(self.outcome.bridge.seconds)),
            ("stage 2 alone", alone),
        ];
        let known = |(name, seconds): (&str, Option<f64>)| Some((name.to_owned(), seconds?));
        phases.into_iter().filter_map(known).collect()
    }

    /// Each loss of stage 1 beside that of what knows nothing of the picture.
    fn losses(&self, lines: &[Map<String, Value>], report: &mut Report) -> Result<(), MiniError> {
        let captions = self.corpus.scenes.iter().map(|scene| scene.caption.as_str());
        let captions = tokenise(&self.frozen.tokenizer, captions, self.recipe.max_text_tokens)?;
        let captions: Vec<_> = captions.iter().map(|ids| &ids[1..]).collect();
        let references = [
            ("itc", (self.recipe.stage1.batch as f64).ln(), "ln(batch)"),
            ("itm", MATCHING_GUESS, "always guessing"),
            ("itg", unigram_entropy(&captions)?, "unigram entropy"),
        ];
        for ((name, reference, label), value) in references.into_iter().zip(self.unseen_losses()?) {
            report.losses.push(LossCurve {
                phase: "stage 1".to_owned(),
                name: name.to_owned(),
                reference: Some(reference),
                reference_label: label.to_owned(),
                points: curve(lines, "stage1", name),
            });
            report.summary.push((
                format!("{name}, unseen scenes ({label} {reference:.3})"),
                rounded(value),
            ));
        }
        Ok(())
    }

    /// ITC, ITM and ITG on scenes drawn like the training ones but never trained on.
    fn unseen_losses(&self) -> Result<[f64; 3], MiniError> {
        let (recipe, frozen) = (self.recipe, self.frozen);
        let set = SceneSet {
            seed: recipe.data.seed,
            split: Split::Validation,
            repertoire: recipe.data.repertoire()?,
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
            let (_, features) = encode_scenes(frozen, frozen.encoder.processor.width, &scenes)?;
            let captions = scenes.iter().map(|scene| scene.caption.as_str());
            let texts = TextBatch::new(
                tokenise(&frozen.tokenizer, captions, recipe.max_text_tokens)?,
                &frozen.device,
            )?;
            let negatives = NegativeSource::Drawn(&mut generator);
            let model = &self.outcome.representation.model;
            let loss = representation_loss(model, features, &texts, &options, negatives)?;
            for (sum, term) in sums.iter_mut().zip(loss.terms.iter()) {
                *sum += f64::from(term.value.clone().into_scalar::<f32>()) / LOSS_BATCHES as f64;
            }
        }
        Ok(sums)
    }

    fn ablation(&self, lines: &[Map<String, Value>], report: &mut Report) {
        for (phase, name) in [("stage2", "with stage 1"), ("stage2-alone", "without stage 1")] {
            let points = curve(lines, phase, "loss");
            if !points.is_empty() {
                let label = format!("loss of stage 2 {name}, last tenth of its steps");
                report.summary.push((label, rounded(end_of(&points))));
                report.ablation.push(LossCurve {
                    phase: "stage 2".to_owned(),
                    name: name.to_owned(),
                    points,
                    ..LossCurve::default()
                });
            }
        }
    }

    fn retrieval(&self, gallery: &Gallery, report: &mut Report) -> Result<(), MiniError> {
        let chance = gallery.chance()?;
        let ranked = gallery.rank(&self.outcome.representation.model, self.recipe.evaluation.rerank)?;
        let label = format!(
            "image to text R@1, {} (chance {:.4})",
            gallery.shown.name, chance.image_to_text[0]
        );
        if let Some(best) = ranked.last() {
            report.summary.push((label, rounded(best.image_to_text[0])));
            report.summary.extend(best.relations.map(|relations| {
                let label = format!("true over turned, {} (chance 0.5)", gallery.shown.name);
                (label, rounded(relations))
            }));
        }
        report.retrieval.push(chance);
        if let Some(baseline) = &self.outcome.baseline {
            report.retrieval.push(gallery.rank_baseline(&baseline.model)?);
        }
        report.retrieval.extend(ranked);
        Ok(())
    }

    /// Captions and answers, beside what needs no picture to write them.
    fn words(&self, shown: &HeldOut, report: &mut Report) -> Result<(), MiniError> {
        let prompts = Prompts::new(&self.recipe.language_model, &self.frozen.language_model.tokenizer);
        let model = &self.outcome.representation.model;
        let by_qformer = write_by_qformer(shown, model, &self.frozen.tokenizer)?;
        report
            .generation
            .push(judge(shown, Wanted::Caption, "Q-Former alone", &by_qformer));
        let mut texts = Vec::new();
        for wanted in [Wanted::Caption, Wanted::Answer] {
            let write = |bridge: &Bridge, shifted: bool| {
                let language_model = &self.frozen.language_model;
                write_by_language_model(shown, bridge, language_model, &prompts, wanted, shifted)
            };
            let known: Vec<String> = self
                .corpus
                .scenes
                .iter()
                .map(|scene| wanted.truth(scene).to_owned())
                .collect();
            let bridge = &self.outcome.bridge.model;
            let (ours, swapped) = (write(bridge, false)?, write(bridge, true)?);
            let mut written = vec![
                (
                    GenerationRow::MOST_FREQUENT,
                    always_the_same(&known, shown.scenes.len()),
                ),
                (GenerationRow::SWAPPED, swapped.clone()),
            ];
            if let Some(alone) = &self.outcome.alone {
                written.push(("stage 2 alone", write(&alone.model, false)?));
            }
            written.push((GenerationRow::BOTH_STAGES, ours.clone()));
            for (model, words) in &written {
                let row = judge(shown, wanted, model, words);
                for (what, value) in in_summary(wanted, &row) {
                    let label = format!("{} {what}, {model}, {}", row.task, shown.name);
                    report.summary.push((label, rounded(value)));
                }
                report.generation.push(row);
            }
            texts.push([ours, swapped]);
        }
        self.samples(shown, &by_qformer, &texts, report)
    }

    /// `texts` are the captions and the answers of both stages, each with those of the swapped pictures.
    fn samples(
        &self,
        shown: &HeldOut,
        by_qformer: &[String],
        texts: &[[Vec<String>; 2]],
        report: &mut Report,
    ) -> Result<(), MiniError> {
        let count = self.recipe.evaluation.samples.min(by_qformer.len());
        for (index, scene) in shown.scenes.iter().take(count).enumerate() {
            let picture = picture_name(shown, index);
            let path = self.run.folder().join("pictures").join(&picture);
            let saved = shown.pictures[index].save(&path);
            saved.map_err(|error| io("write", &path)(std::io::Error::other(error)))?;
            let (question, answer) = asked(scene);
            report.samples.push(Sample {
                split: shown.name.clone(),
                picture,
                truth: scene.caption.clone(),
                written_by_qformer: Some(by_qformer[index].clone()),
                caption: texts[0][0][index].clone(),
                caption_is: None,
                caption_of_another: Some(texts[0][1][index].clone()),
                question: question.to_owned(),
                answer: answer.to_owned(),
                predicted: texts[1][0][index].clone(),
            });
        }
        Ok(())
    }

    /// Where the queries look, on the first pictures of the gallery that the report shows.
    fn looks(&self, shown: &HeldOut, report: &mut Report) -> Result<(), MiniError> {
        let model = &self.outcome.representation.model;
        for index in 0..LOOKS.min(self.recipe.evaluation.samples.min(shown.scenes.len())) {
            let context = model.image_context(shown.features.clone().narrow(0, index, 1))?;
            let looks = model.qformer.looks(&context, None)?;
            let last = looks.last().expect("layer 0 reads the picture");
            let attention = last.mean();
            let [_, _, tokens] = attention.dims();
            // The class token stands before a square of patches.
            let side = (tokens - 1).isqrt();
            report.looks.push(Look {
                picture: picture_name(shown, index),
                caption: shown.scenes[index].caption.clone(),
                grid: [side, side],
                queries: host(attention)
                    .chunks(tokens)
                    .map(|weights| weights[tokens - side * side..].to_vec())
                    .collect(),
            });
        }
        Ok(())
    }
}

/// The mean over the last tenth of the steps.
fn end_of(points: &[(u64, f64)]) -> f64 {
    let last = points.last().map_or(0, |(step, _)| *step);
    let late: Vec<f64> = points
        .iter()
        .filter(|(step, _)| *step as f64 > last as f64 * (1.0 - LAST))
        .map(|(_, loss)| *loss)
        .collect();
    late.iter().sum::<f64>() / late.len().max(1) as f64
}

/// What of a row stands in the summary: of a caption how many words are right, and how many would be with another picture;
/// of an answer, which is a word or two, whether it is right.
fn in_summary(wanted: Wanted, row: &GenerationRow) -> Vec<(&'static str, f64)> {
    let (f1, exact) = (("token F1", row.f1), ("exact", row.exact));
    match (wanted, row.model.as_str()) {
        (Wanted::Caption, GenerationRow::BOTH_STAGES) => vec![f1, exact],
        (Wanted::Caption, GenerationRow::SWAPPED) => vec![f1],
        (Wanted::Answer, GenerationRow::BOTH_STAGES | GenerationRow::MOST_FREQUENT) => vec![exact],
        _ => Vec::new(),
    }
}

fn picture_name(shown: &HeldOut, index: usize) -> String {
    format!("{}-{index}.png", shown.name.replace(' ', "-"))
}

/// Four decimals: what a reader compares.
fn rounded(value: f64) -> Value {
    json!((value * 1e4).round() / 1e4)
}

/// The points of one figure of a phase in the log.
fn curve(lines: &[Map<String, Value>], phase: &str, name: &str) -> Vec<(u64, f64)> {
    lines
        .iter()
        .filter(|line| line.get("phase").is_some_and(|value| value == phase))
        .filter_map(|line| Some((line.get("step")?.as_u64()?, line.get(name)?.as_f64()?)))
        .collect()
}
