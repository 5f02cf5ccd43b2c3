//! `blip2 evaluate`

mod answers;
mod captions;
mod examples;
mod journal;
mod measured;
mod page;
mod perplexity;
mod retrieval;
mod units;
mod work;

use std::path::PathBuf;

use anyhow::{Result, bail};
use blip2::{Blip2, GenerationConfig, Stage, caption_settings};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use self::answers::{Asking, Protocol};
use self::captions::Writing;
use self::examples::Examples;
use self::measured::Measured;
use self::page::Heading;
use self::units::Unit;
use self::work::Work;
use super::caption_scores::CaptionScorers;
use super::data_set::DataSet;
use crate::generation::{GenerationArguments, at_least};
use crate::model::ModelArguments;
use crate::part::Part;
use crate::pictures::PictureArguments;
use crate::wrong_usage;

const EXAMPLES: &str = "\
Examples:
  blip2 evaluate --task vqa --model Salesforce/blip2-opt-2.7b --out vqav2 \\
        --data 'vqav2:v2_OpenEnded_mscoco_val2014_questions.json#annotations=v2_mscoco_val2014_annotations.json,images=coco'
  blip2 evaluate --task vqa --model runs/demo --data 'gqa:testdev_balanced_questions.json#images=gqa' --out gqa
  blip2 evaluate --task vqa --model runs/demo --data 'scenes:recipes/mini/demo.toml#split=held-out style,text=answer' \\
        --examples 4 --examples-from 'scenes:recipes/mini/demo.toml#text=answer' --out shown
  blip2 evaluate --task caption --model runs/demo --data 'karpathy:dataset_coco.json#images=coco,split=test' --out coco
  blip2 evaluate --task caption --model runs/demo --data 'nocaps:nocaps_val_4500_captions.json#images=val' --out nocaps
  blip2 evaluate --task retrieval --model runs/demo --data 'karpathy:dataset_flickr30k.json#split=test' --out flickr
  blip2 evaluate --task perplexity --model runs/demo --data folder:photos --out cost
  blip2 evaluate ... --shard 1/4 --out coco                    the first quarter; the others elsewhere, into the same folder

vqa: a question at a time, answers of at most 10 tokens by 5 beams with length penalty -1. VQAv2 (agreement with ten people, in
  percent), OK-VQA (the same, of lemmatised answers), GQA (exactly the true answer), VizWiz (unanswerable also apart); by
  kind of answer and question where the annotations tell them. With --examples each question stands behind others, each with its
  picture and the answer that most people gave, in one text.
caption: 5 beams, 30 tokens at most. The scores of `blip2 score`, for NoCaps by domain, too.
retrieval: contrast of all pictures with all texts, then matching of the k best both ways; R@1, 5, 10 as LAVIS reports them. A
  text counts as below all others of the same score.
perplexity: what the captions of people cost under the language model.

The folder OUT gets
  figures.json      what was measured
  results.json      in the form of the evaluation server: VQAv2 and OK-VQA, GQA, VizWiz, COCO and NoCaps
  report.html       figures, worst and best cases beside their pictures, and where the queries look
  *.jsonl           what was found of each picture or question
The same command goes on with what was broken off, and ends with the same figures. Parts write into one folder; the last to end
measures, and for retrieval each part is run a second time once all have ended. With --json, figures.json goes to stdout.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Evaluate {
    /// What is measured
    #[arg(long, value_enum)]
    task: Task,
    #[command(flatten)]
    model: ModelArguments,
    /// On which data set: `format:path#key=value,...`, see `blip2 data`
    #[arg(long, value_name = "SPEC")]
    data: String,
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Rules for answers [default: those of who made the data set; else gqa where each question has one answer, and vqav2]
    #[arg(long, value_enum)]
    protocol: Option<Protocol>,
    /// Text that captions continue, or that is put around a question, with {} in its place [default: the model's own, and `a
    /// photo of` for captions by a Hugging Face folder that names none]
    #[arg(long, value_name = "T")]
    prompt: Option<String>,
    /// Questions with their pictures and answers that stand in front of each question (in-context examples), drawn by --seed from
    /// 64 of --examples-from
    #[arg(long, value_name = "K", default_value_t = 0, value_parser = at_least(0))]
    examples: usize,
    /// The data set that examples are drawn from; those about the picture of the question itself are left out
    #[arg(long, value_name = "SPEC")]
    examples_from: Option<String>,
    /// Candidates that are re-ranked by matching; 0 ranks by contrast alone
    #[arg(long, value_name = "K", default_value_t = 128, value_parser = at_least(0))]
    k: usize,
    /// Only the first samples of the data set
    #[arg(long, value_name = "N", value_parser = at_least(1))]
    limit: Option<usize>,
    /// The part of the pictures to work on: the I-th of N runs of neighbours
    #[arg(long, value_name = "I/N", default_value_t = Part::WHOLE)]
    shard: Part,
    /// Pictures that are looked at together
    #[arg(long, alias = "batch-size", value_name = "N", default_value_t = 8, value_parser = at_least(1))]
    batch: usize,
    /// Write the figures as a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scorers: CaptionScorers,
    #[command(flatten)]
    reading: PictureArguments,
    #[command(flatten)]
    generation: GenerationArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Task {
    /// Answers to questions
    Vqa,
    /// Captions
    Caption,
    /// Texts by picture and pictures by text
    Retrieval,
    /// Bits a token of people's captions
    Perplexity,
}

impl Task {
    fn name(self) -> String {
        let value = self.to_possible_value().expect("no task is hidden");
        value.get_name().to_owned()
    }
}

/// In front of a caption, where the paper measures a model that was fine-tuned to continue it.
const CAPTION_PROMPT: &str = "a photo of";
/// Why data sets leave out answers whose questions are not among those that are asked.
const QUESTION_NOT_LISTED: &str = "question_not_listed";
/// Tokens of a caption at least, as LAVIS counts them: with those of the prompt in front of it, or with a FlanT5 its start token.
const LEAST_CAPTION: usize = 8;

impl Evaluate {
    pub(crate) fn run(self) -> Result<()> {
        self.check();
        let data = DataSet::open(&self.data)?;
        let limit = self.limit.map_or(u64::MAX, |limit| limit as u64);
        let units = match self.task {
            Task::Vqa => units::questions(data.samples(), limit)?,
            _ => units::pictures(data.samples(), limit)?,
        };
        let examples = match (&self.examples_from, self.examples) {
            (Some(spec), number @ 1..) => {
                Some(Examples::open(spec, number, self.generation.seed(), &units.list)?)
            }
            _ => None,
        };
        let protocol = match self.task {
            Task::Vqa => Protocol::choose(self.protocol, &data.spec, &units.list)?,
            _ => Protocol::Vqav2,
        };
        let model = self.model.load()?;
        let prompt = self.caption_prompt(&model);
        let settings = self.settings(&model, &prompt)?;
        let mut decisions = self.decisions(&data, protocol, &settings, &prompt)?;
        decisions["examples"] = examples.as_ref().map_or(Value::Null, Examples::decisions);
        journal::begin(&self.out, &decisions)?;
        let work = Work {
            model: &model,
            data: &data,
            units: &units.list,
            left_out: &units.left_out,
            folder: &self.out,
            batch: self.batch,
            part: self.shard,
            reading: &self.reading,
        };
        let measured = match self.task {
            Task::Vqa => answers::measure(
                &work,
                &Asking {
                    protocol,
                    prompt: self.prompt.as_deref(),
                    settings: &settings,
                    examples: examples.as_ref(),
                },
            )?,
            Task::Caption => captions::measure(
                &work,
                &Writing {
                    prompt: &prompt,
                    settings: &settings,
                    scorers: &self.scorers,
                },
            )?,
            Task::Retrieval => match lost(&work) {
                0 => retrieval::measure(&work, self.k)?,
                lost => bail!(
                    "{lost} samples could not be read, without which ranks mean nothing: see above, mend them or filter them out, and run this again"
                ),
            },
            Task::Perplexity => perplexity::measure(&work, &prompt)?,
        };
        match measured {
            Some(measured) => self.publish(&work, &measured, &prompt),
            None => Ok(()),
        }
    }

    fn publish(&self, work: &Work, measured: &Measured, prompt: &str) -> Result<()> {
        let task = self.task.name();
        let beside = |unit: &Unit| match &unit.question {
            Some(question) if self.task == Task::Vqa => {
                work.model.read_beside(&question.text, self.prompt.as_deref())
            }
            _ => work.model.reads_instructions().then(|| prompt.to_owned()),
        };
        let retrieves = self.task == Task::Retrieval;
        let heading = Heading {
            title: format!("{task}: {}", work.data.spec.name()),
            about: format!("{} on {}", self.model.name(), self.data),
            writer: retrieves.then_some("Best text"),
            look: match retrieves {
                true => &|picture, _| work.model.looks(picture, None, Some(Stage::First)),
                false => &|picture, unit| work.model.looks(picture, beside(unit).as_deref(), None),
            },
        };
        page::write(work, measured, heading)?;
        measured.publish(work, &task, self.json)?;
        if measured.failed > 0 {
            bail!(
                "{} of {} pictures could not be used: see above; they are tried again when this is run again",
                measured.failed,
                work.units.len()
            );
        }
        match lost(work) {
            0 => Ok(()),
            lost => bail!("{lost} samples could not be read: see above; the figures are of the others"),
        }
    }

    /// Ends the program as wrongly used where options say something about another task.
    fn check(&self) {
        self.generation.check("evaluate", 1);
        if self.protocol.is_some() && self.task != Task::Vqa {
            wrong_usage(
                "evaluate",
                "--protocol is a rule for answers: it goes with --task vqa",
            );
        }
        if self.examples_from.is_some() && self.task != Task::Vqa {
            wrong_usage(
                "evaluate",
                "--examples-from puts questions in front of questions: it goes with --task vqa",
            );
        }
        if self.examples > 0 && self.examples_from.is_none() {
            wrong_usage(
                "evaluate",
                "--examples needs --examples-from: where they are drawn from",
            );
        }
        if self.scorers.are_named() && self.task != Task::Caption {
            wrong_usage(
                "evaluate",
                "--meteor and --spice measure captions: they go with --task caption",
            );
        }
        let around = self.prompt.as_deref().is_none_or(|prompt| prompt.contains("{}"));
        if self.task == Task::Vqa && !around {
            wrong_usage("evaluate", "--prompt has no {} for the question");
        }
        if self.prompt.is_some() && self.task == Task::Retrieval {
            wrong_usage("evaluate", "texts are retrieved as they are: leave out --prompt");
        }
    }

    /// How the paper has answers and captions written, where the model's folder or an option does not say otherwise.
    fn settings(&self, model: &Blip2, prompt: &str) -> Result<GenerationConfig> {
        let usual = match self.task {
            Task::Vqa => model.answer_settings().clone(),
            Task::Caption if !model.is_trained_here() => GenerationConfig {
                min_new_tokens: LEAST_CAPTION.saturating_sub(model.tokens_before(prompt)?),
                end_tokens: model.caption_settings().end_tokens.clone(),
                ..caption_settings()
            },
            _ => model.caption_settings().clone(),
        };
        Ok(self.generation.settings(&usual, Some(1)))
    }

    fn caption_prompt(&self, model: &Blip2) -> String {
        let own = model.caption_prompt();
        match &self.prompt {
            Some(prompt) => prompt.clone(),
            None if own.is_empty() && !model.is_trained_here() => CAPTION_PROMPT.to_owned(),
            None => own.to_owned(),
        }
    }

    /// All that decides what is found: another run goes on only with the same.
    fn decisions(
        &self,
        data: &DataSet,
        protocol: Protocol,
        settings: &GenerationConfig,
        prompt: &str,
    ) -> Result<Value> {
        let mut decisions = json!({
            "task": self.task.name(),
            "model": self.model.name(),
            "files": self.model.files()?,
            "data": self.data,
            "fingerprint": data.samples().fingerprint(),
            "limit": self.limit,
            "batch": self.batch,
            "reading": self.reading.words(),
        });
        match self.task {
            Task::Vqa => {
                decisions["protocol"] = json!(protocol);
                decisions["prompt"] = json!(self.prompt);
                decisions["settings"] = json!(format!("{settings:?}"));
            }
            Task::Caption => {
                decisions["prompt"] = json!(prompt);
                decisions["settings"] = json!(format!("{settings:?}"));
            }
            Task::Retrieval => decisions["k"] = json!(self.k),
            Task::Perplexity => decisions["prompt"] = json!(prompt),
        }
        Ok(decisions)
    }
}

/// Samples that should have been evaluated and could not be read. What a filter was asked to keep out is none, nor is an answer to a
/// question that is not asked.
fn lost(work: &Work) -> usize {
    let lost = work.left_out.iter();
    let lost =
        lost.filter(|(reason, _)| *reason != QUESTION_NOT_LISTED && !work.data.samples().keeps_out(reason));
    lost.map(|(_, count)| count).sum()
}
