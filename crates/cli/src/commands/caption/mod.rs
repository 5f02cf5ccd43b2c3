//! `blip2 caption`

mod captions_file;
mod lines;
mod pictures;
mod prompts;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use blip2::{Blip2, CaptionRequest, CaptionTask, GenerationConfig};
use clap::{Args, ValueEnum};

use self::captions_file::CaptionsFile;
use self::lines::Lines;
use self::prompts::Prompts;
use super::data_set::DataSet;
use crate::failures::FailureArguments;
use crate::generation::{GenerationArguments, at_least};
use crate::model::{ModelArguments, named};
use crate::pictures::PictureArguments;
use crate::safety::SafetyArguments;
use crate::{progress, wrong_usage};

const EXAMPLES: &str = "\
Examples:
  blip2 caption --model runs/demo picture.png
  blip2 caption --model Salesforce/blip2-opt-2.7b picture.png   from the local Hugging Face cache
  blip2 caption --model runs/demo photos --recursive --out captions.jsonl --resume
  blip2 caption --model runs/demo 'photos/2024-*/*.jpg' --json > captions.jsonl
  blip2 caption --model runs/demo --data parquet:flickr30k#split=test --out captions.jsonl
  blip2 caption --model runs/demo photos --prompts prompts.jsonl --out answers.jsonl
  blip2 caption --model runs/demo picture.png --prompt 'a drawing of' --num-beams 3
  blip2 caption --model runs/demo picture.png --num-captions 3
  blip2 caption --model runs/demo picture.png --num-captions 5 --top-p 0.9 --temperature 0.7 --seed 3
  blip2 caption --model runs/demo picture.png --by qformer      without the language model

IMAGE is a picture, a folder (its picture files in the order of their names), or a glob in quotes. A picture that is named twice
with one prompt is captioned once. With --data, image is the key of a sample; the texts of the data set are not looked at.
With --json, one object a line, in this order: image, prompt, text, ids (of the new tokens alone), score; or, for a picture that
cannot be used, image and error; or, for a caption that --safety keeps back, image, prompt and filtered with its category. A prompt
that it keeps back is an error of each picture that has it. --out writes the same lines to a file, a batch at a time. With --resume, lines that the file
has are kept, a half-written last line is cut, and pictures of which it holds an error are tried again.
--prompts names a file of lines such as {\"image\": \"a.jpg\", \"prompt\": \"a photo of\"}: with IMAGE, a line is for each picture
whose path ends like that, and every picture needs a line or --prompt; without IMAGE, for the picture at that path, seen from
here or from the file's folder. A picture with several lines gets captions for each.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Caption {
    #[command(flatten)]
    model: ModelArguments,
    /// Pictures, folders of pictures, globs
    #[arg(value_name = "IMAGE", required_unless_present_any = ["prompts", "data"])]
    images: Vec<PathBuf>,
    /// The pictures of a data set: `format:path#key=value,...`, see `blip2 data`
    #[arg(long, value_name = "SPEC", conflicts_with_all = ["images", "prompts", "recursive"])]
    data: Option<String>,
    /// Take the pictures of folders within folders, too
    #[arg(long)]
    recursive: bool,
    /// Text that the caption continues [default: the model's own]
    #[arg(long, value_name = "T")]
    prompt: Option<String>,
    /// A prompt for each picture: JSON lines with image and prompt
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Which part of the model writes
    #[arg(long, value_enum, default_value_t = Writer::LanguageModel)]
    by: Writer,
    /// Captions of each picture: as many samples, or the best of the beams [default: the model's own, else 1]
    #[arg(long, value_name = "N", value_parser = at_least(1))]
    num_captions: Option<usize>,
    /// Pictures that are looked at together; captions do not depend on it
    #[arg(long, alias = "batch-size", value_name = "N", default_value_t = 8, value_parser = at_least(1))]
    batch: usize,
    /// File to write the JSON lines to
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Go on with that file
    #[arg(long, requires = "out")]
    resume: bool,
    /// Write one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    failures: FailureArguments,
    #[command(flatten)]
    reading: PictureArguments,
    #[command(flatten)]
    generation: GenerationArguments,
    #[command(flatten)]
    safety: SafetyArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Writer {
    /// The frozen language model, through the bridge of stage 2
    LanguageModel,
    /// The Q-Former alone, as stage 1 trained it
    Qformer,
}

impl From<Writer> for blip2::Writer {
    fn from(writer: Writer) -> Self {
        match writer {
            Writer::LanguageModel => Self::LanguageModel,
            Writer::Qformer => Self::Qformer,
        }
    }
}

/// A picture to caption.
struct Job {
    /// What records call it.
    image: String,
    request: CaptionRequest,
}

impl Job {
    /// What tells its captions from others in a file: picture and prompt.
    fn key(&self) -> (&str, &str) {
        (&self.image, &self.request.prompt)
    }
}

impl Caption {
    pub(crate) fn run(self) -> Result<()> {
        self.check();
        let safety = self.safety.open()?;
        let pictures = pictures::find(&self.images, self.recursive)?;
        let data = self.data.as_deref().map(DataSet::open).transpose()?;
        let prompts = self.prompts.as_deref().map(Prompts::read).transpose()?;
        let model = self.model.load()?;
        let settings = self
            .generation
            .settings(model.caption_settings(), self.num_captions);
        let prompt = match (self.by, &self.prompt) {
            (Writer::Qformer, _) => "",
            (_, None) => model.caption_prompt(),
            (_, Some(prompt)) => prompt,
        };
        let mut jobs = match (&data, prompts) {
            (Some(data), _) => of_data_set(data, prompt),
            (None, None) => each(pictures, prompt),
            (None, Some(prompts)) if self.images.is_empty() => prompts.into_jobs(),
            (None, Some(prompts)) => prompts.of_pictures(pictures, self.prompt.as_deref())?,
        };
        let mut seen = HashSet::new();
        jobs.retain(|job| seen.insert((job.image.clone(), job.request.prompt.clone())));
        let file = match &self.out {
            Some(path) if self.resume => {
                let captions = settings.num_return_sequences;
                Some(CaptionsFile::resume(path, captions, &jobs)?)
            }
            Some(path) => Some(CaptionsFile::create(path)?),
            None => None,
        };
        let many = jobs.len() > 1;
        self.caption(
            &model,
            &settings,
            (jobs, data.as_ref()),
            Lines::new(self.json, many, file, safety),
        )
    }

    /// Ends the program as wrongly used where options contradict each other.
    fn check(&self) {
        self.generation.check("caption", self.num_captions.unwrap_or(1));
        if self.by == Writer::Qformer && (self.prompt.is_some() || self.prompts.is_some()) {
            wrong_usage(
                "caption",
                "the Q-Former was trained to write without a prompt: leave out --prompt and --prompts",
            );
        }
    }

    fn caption(
        &self,
        model: &Blip2,
        settings: &GenerationConfig,
        (mut jobs, data): (Vec<Job>, Option<&DataSet>),
        mut lines: Lines,
    ) -> Result<()> {
        let mut failures = self.failures.among(jobs.len());
        let mut refused = Vec::new();
        for job in &jobs {
            let error = lines.refuse(job)?;
            refused.push(error.is_some());
            error.map_or(Ok(()), |error| failures.note(error))?;
        }
        let mut refused = refused.into_iter();
        jobs.retain(|_| refused.next() != Some(true));
        // Batches stay what they are without a pause: what is computed together decides the last digits of a score.
        let batches = jobs.chunks(self.batch);
        let open = batches.filter(|batch| !batch.iter().all(|job| lines.holds(job)));
        let open: Vec<&Job> = open.flatten().collect();
        let requests: Vec<CaptionRequest> = open.iter().map(|job| job.request.clone()).collect();
        let task = CaptionTask {
            writer: self.by.into(),
            settings,
            batch: self.batch,
            open: &|path| match data {
                Some(data) => data.picture(path, &self.reading),
                None => pictures::open(path, self.recursive, &self.reading),
            },
        };
        let mut open = open.into_iter();
        let start = Instant::now();
        let bar = progress::bar(requests.len() as u64, "captioning");
        model.caption_files(&requests, &task, |results| -> Result<()> {
            bar.inc(results.len() as u64);
            tracing::info!("{} of {} pictures", bar.position(), requests.len());
            bar.suspend(|| {
                let errors = lines.put(results.into_iter().zip(open.by_ref()))?;
                errors
                    .into_iter()
                    .try_for_each(|error| failures.note(error.into()))
            })
        })?;
        bar.finish_and_clear();
        lines.close(requests.len() as f64 / start.elapsed().as_secs_f64())?;
        failures.verdict()
    }
}

/// Each picture of `data` with `prompt`, called by the key of its sample.
fn of_data_set(data: &DataSet, prompt: &str) -> Vec<Job> {
    let samples = data.samples();
    let job = |index| Job {
        image: samples.key(index).unwrap_or_else(|error| error.key),
        request: CaptionRequest {
            file: DataSet::place(index),
            prompt: prompt.to_owned(),
        },
    };
    (0..samples.len()).map(job).collect()
}

/// Each of `pictures` with `prompt`.
fn each(pictures: Vec<PathBuf>, prompt: &str) -> Vec<Job> {
    let job = |file: PathBuf| Job {
        image: named(&file),
        request: CaptionRequest {
            file,
            prompt: prompt.to_owned(),
        },
    };
    pictures.into_iter().map(job).collect()
}
