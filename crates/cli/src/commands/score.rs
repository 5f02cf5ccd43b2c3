//! `blip2 score`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use blip2_evaluation::caption::CaptionScore;
use blip2_evaluation::official::{Coverage, Document, Id, caption_task, vqa_task};
use blip2_evaluation::vqa::vqa_accuracy;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::caption_scores::{CaptionScorers, CaptionScores};
use crate::model::named;
use crate::{output, progress, wrong_usage};

const EXAMPLES: &str = "\
Examples:
  blip2 score --task coco-caption results.json --annotations captions_val2014.json
  blip2 score --task coco-caption results.json --annotations captions_val2014.json --subset --meteor meteor-1.5.jar
  blip2 score --task vqa results.json --annotations v2_mscoco_val2014_annotations.json --json
  blip2 score --task vqa results.json --annotations v2_mscoco_val2014_annotations.json --each

coco-caption: RESULTS is [{\"image_id\": 42, \"caption\": \"a dog\"}, ...]; the annotations hold an image_id and a caption an entry,
  several entries an image. Bleu_1 to Bleu_4, METEOR, ROUGE_L, CIDEr and SPICE as the official pycocoevalcap measures them,
  from 0 to 1 (CIDEr to 10); papers give them times 100. METEOR and SPICE are their authors' Java programs: both come with
  the Python package pycocoevalcap, SPICE needs Stanford CoreNLP 3.6.0 beside it. They are measured where their jars are named.
vqa: RESULTS is [{\"question_id\": 42, \"answer\": \"red\"}, ...]; the annotations hold people's answers. The file of the questions is
  not needed. Accuracy in percent, over all and by kind of answer and question, as the official VQA scorer in LAVIS has it.

With --json, one object: task, images or questions, and the figures under their official names; with --each, one object an
image or question before it.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Score {
    /// What was written: a JSON file in the official form
    #[arg(value_name = "RESULTS")]
    results: PathBuf,
    /// What people wrote: a JSON file in the official form
    #[arg(long, value_name = "A")]
    annotations: PathBuf,
    /// By which rules
    #[arg(long, value_enum)]
    task: Task,
    /// Score only the images or questions that RESULTS holds
    #[arg(long)]
    subset: bool,
    /// Give the figures of each image or question, too
    #[arg(long)]
    each: bool,
    #[command(flatten)]
    scorers: CaptionScorers,
    /// Write one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Task {
    /// Captions of images
    CocoCaption,
    /// Answers to questions about images
    Vqa,
}

#[derive(Serialize)]
struct CaptionRecord<'a> {
    task: &'static str,
    images: usize,
    #[serde(flatten)]
    figures: BTreeMap<&'a str, f64>,
    /// What was not measured, and why.
    not_measured: BTreeMap<&'a str, String>,
}

#[derive(Serialize)]
struct ImageRecord<'a> {
    image_id: &'a Id,
    #[serde(flatten)]
    figures: BTreeMap<&'a str, f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VqaRecord {
    task: &'static str,
    questions: usize,
    overall: f64,
    per_answer_type: BTreeMap<String, f64>,
    per_question_type: BTreeMap<String, f64>,
}

#[derive(Serialize)]
struct QuestionRecord<'a> {
    question_id: &'a Id,
    answer: &'a str,
    accuracy: f64,
}

impl Score {
    pub(crate) fn run(self) -> Result<()> {
        if self.task == Task::Vqa && self.scorers.are_named() {
            wrong_usage(
                "score",
                "--meteor and --spice measure captions: they go with --task coco-caption",
            );
        }
        let (results, annotations) = (read(&self.results)?, read(&self.annotations)?);
        let names = (named(&self.results), named(&self.annotations));
        let results = Document {
            name: &names.0,
            content: &results,
        };
        let annotations = Document {
            name: &names.1,
            content: &annotations,
        };
        let coverage = if self.subset {
            Coverage::Subset
        } else {
            Coverage::All
        };
        match self.task {
            Task::CocoCaption => self.captions(results, annotations, coverage),
            Task::Vqa => self.answers(results, annotations, coverage),
        }
    }

    fn captions(&self, results: Document, annotations: Document, coverage: Coverage) -> Result<()> {
        let task = caption_task(results, annotations, coverage)?;
        let spinner = progress::spinner("scoring captions");
        let CaptionScores { scores, not_measured } = self.scorers.score(&task.images)?;
        spinner.finish_and_clear();
        if self.each {
            self.print_images(&task.ids, &scores)?;
        }
        if self.json {
            return output::json(&CaptionRecord {
                task: "coco-caption",
                images: task.images.len(),
                figures: scores.iter().map(|(name, score)| (*name, score.corpus)).collect(),
                not_measured,
            });
        }
        for (name, score) in &scores {
            output::line(format_args!("{name:8}{:8.4}", score.corpus))?;
        }
        output::line(format_args!("{:8}{:8}", "images", task.images.len()))?;
        not_measured
            .iter()
            .try_for_each(|(name, why)| output::line(format_args!("{name} was not measured: {why}")))
    }

    fn print_images(&self, ids: &[Id], scores: &[(&'static str, CaptionScore)]) -> Result<()> {
        if !self.json {
            let names: String = scores.iter().map(|(name, _)| format!("{name:>8}")).collect();
            output::line(format_args!("{names}  image"))?;
        }
        for (place, image_id) in ids.iter().enumerate() {
            let figures = scores.iter().map(|(name, score)| (*name, score.per_image[place]));
            if self.json {
                output::json(&ImageRecord {
                    image_id,
                    figures: figures.collect(),
                })?;
            } else {
                let figures: String = figures.map(|(_, figure)| format!("{figure:8.4}")).collect();
                output::line(format_args!("{figures}  {image_id}"))?;
            }
        }
        Ok(())
    }

    fn answers(&self, results: Document, annotations: Document, coverage: Coverage) -> Result<()> {
        let task = vqa_task(results, annotations, coverage)?;
        let accuracy = vqa_accuracy(&task.predictions, &task.questions)?;
        if self.each {
            let each = task.ids.iter().zip(&task.predictions).zip(&accuracy.per_question);
            for ((question_id, answer), &accuracy) in each {
                if self.json {
                    output::json(&QuestionRecord {
                        question_id,
                        answer,
                        accuracy,
                    })?;
                } else {
                    output::line(format_args!("{accuracy:6.2}  question {question_id}: {answer:?}"))?;
                }
            }
        }
        let questions = task.questions.len();
        if self.json {
            return output::json(&VqaRecord {
                task: "vqa",
                questions,
                overall: accuracy.overall,
                per_answer_type: accuracy.per_answer_type,
                per_question_type: accuracy.per_question_type,
            });
        }
        output::line(format_args!(
            "{:6.2}  overall, {questions} questions",
            accuracy.overall
        ))?;
        for (what, groups) in [
            ("answers", &accuracy.per_answer_type),
            ("questions", &accuracy.per_question_type),
        ] {
            for (kind, figure) in groups {
                output::line(format_args!("{figure:6.2}  {what} of the kind `{kind}`"))?;
            }
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", named(path)))
}
