//! `blip2 capfilt`

mod job;
mod output;
mod shards;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Instant;

use anyhow::{Result, bail};
use blip2::capfilt::{Captioner, Ranker, Silent, filter, open_captioner, open_ranker};
use blip2::{Blip2Error, RgbImage, home};
use blip2_data::ahead;
use blip2_data::sets::{Dataset, SampleError};
use clap::Args;

use self::job::{Job, Options};
use self::output::{Output, Record};
use crate::device::DeviceChoice;
use crate::model::named;
use crate::part::Part;
use crate::{output as console, progress};

const EXAMPLES: &str = "\
Examples:
  blip2 capfilt folder:photos --captioner runs/demo --ranker runs/demo --out filtered
  blip2 capfilt 'tsv:Train_GCC-training.tsv#images=cc3m' --captioner Salesforce/blip-image-captioning-large \\
        --ranker openai/clip-vit-large-patch14 --out filtered --resume
  blip2 capfilt --recipe recipe.toml --out filtered-1 --shard 1/4       the first quarter; others elsewhere
  blip2 capfilt --recipe recipe.toml --out filtered --shards filtered/shards
  blip2 capfilt folder:photos --number 0 --ranker openai/clip-vit-large-patch14 --out scored

For each picture, captions are drawn from the captioner (10, by nucleus sampling with p = 0.9), ranked together with the picture's
own by the ranker's image-text similarity, and the best are kept (2): CapFilt as in BLIP-2, section 3.4. The folder OUT gets
  captions.jsonl   a line a picture: index, key, captions (best first), scores (cosines), origins (web or model)
  skipped.jsonl    a line for each picture that cannot be used: index, key, reason, problem
  job.json         what was asked for; --resume goes on with the same alone
Train on them by `captions = \"OUT/captions.jsonl\"` in the [[data]] entry of a recipe. With --number 0 nothing is written: the
picture's own captions get their scores, and `filter = { similarity = 0.2, scores = \"OUT/captions.jsonl\" }` keeps out what is below.
What is drawn depends on the seed and the picture's key, not on its neighbours: parts joined by `cat` are the whole, and a run that
was killed and resumed ends with the same bytes. A recipe has these options as keys of a table [capfilt], and one [[data]] entry;
options of the command line count more. With --json, the lines of both files go to stdout, too.";

/// Pictures that wait, decoded, for the models.
const AHEAD: usize = 8;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Capfilt {
    /// The data set: `format:path#key=value,...`, or a TOML file with one [[data]] entry [default: the recipe's]
    #[arg(value_name = "SPEC", required_unless_present = "recipe")]
    spec: Option<String>,
    /// TOML file with a table [capfilt] of the options below, and one [[data]] entry
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Go on with what is in that folder
    #[arg(long)]
    resume: bool,
    /// The part of the data set to work on: the I-th of N runs of neighbours
    #[arg(long, value_name = "I/N", default_value_t = Part::WHOLE)]
    shard: Part,
    /// At the end, write the pictures and their captions as webdataset shards to this folder
    #[arg(long, value_name = "DIR")]
    shards: Option<PathBuf>,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Write one JSON object a picture
    #[arg(long)]
    json: bool,
}

/// A picture with what was said about it.
struct Read {
    key: String,
    picture: Arc<RgbImage>,
    texts: Vec<String>,
}

impl Capfilt {
    pub(crate) fn run(self) -> Result<()> {
        let (job, set) = Job::prepare(
            self.spec.as_deref(),
            self.recipe.as_deref(),
            &self.options,
            self.shard,
        )?;
        let range = self.shard.of(set.len());
        let mut out = match self.resume {
            true => Output::resume(&self.out, &job)?,
            false => Output::create(&self.out, &job)?,
        };
        let open: Vec<u64> = (out.next().max(range.start)..range.end).collect();
        if !open.is_empty() {
            let (home, device, registry) = (home()?, self.device.open()?, blip2_mini::registry());
            let spinner = progress::spinner("loading the models");
            let captioner: Result<Box<dyn Captioner>, Blip2Error> = match &job.captioner {
                Some(captioner) => open_captioner(captioner.as_ref(), &home, &device, &registry),
                None => Ok(Box::new(Silent)),
            };
            let models = captioner.and_then(|captioner| {
                let ranker = open_ranker(job.ranker.as_ref(), &home, &device, &registry)?;
                Ok((captioner, ranker))
            });
            spinner.finish_and_clear();
            let (captioner, ranker) = models?;
            self.filter(&job, &*set, &open, (&*captioner, &*ranker), &mut out)?;
        }
        let (kept, skipped) = out.counts();
        if kept == 0 && !range.is_empty() {
            bail!(
                "none of {skipped} pictures could be used: see {}",
                named(out.skipped())
            );
        }
        if let Some(folder) = &self.shards {
            shards::write(&*set, out.captions(), folder)?;
        }
        if self.json {
            return Ok(());
        }
        console::line(format_args!(
            "captions of {kept} pictures in {}, {skipped} skipped",
            named(out.captions())
        ))
    }

    fn filter(
        &self,
        job: &Job,
        set: &dyn Dataset,
        open: &[u64],
        models: (&dyn Captioner, &dyn Ranker),
        out: &mut Output,
    ) -> Result<()> {
        let threads = available_parallelism().map_or(1, usize::from);
        let (settings, start) = (job.settings(), Instant::now());
        let bar = progress::bar(open.len() as u64, "filtering");
        ahead(
            open,
            threads,
            AHEAD,
            |index| read(set, *index),
            |samples| {
                for (&index, sample) in open.iter().zip(samples) {
                    let record = match sample {
                        Ok(Read { key, picture, texts }) => {
                            let kept = filter(models, &settings, (&key, &picture), &texts);
                            Record::of(index, key, kept)
                        }
                        Err(error) => Record::skipped(index, error),
                    };
                    bar.suspend(|| {
                        if let Record::Skipped { key, problem, .. } = &record {
                            console::warn(format_args!("skipped {key}: {problem}"));
                        }
                        if self.json { console::json(&record) } else { Ok(()) }
                    })?;
                    out.push(&record)?;
                    bar.inc(1);
                    tracing::info!("{} of {} pictures", bar.position(), open.len());
                }
                anyhow::Ok(())
            },
        )?;
        bar.finish_and_clear();
        let rate = open.len() as f64 / start.elapsed().as_secs_f64();
        tracing::info!("{rate:.2} pictures a second");
        Ok(())
    }
}

fn read(set: &dyn Dataset, index: u64) -> Result<Read, SampleError> {
    let sample = set.read(index)?;
    Ok(Read {
        picture: sample.picture.decode(&sample.key)?,
        key: sample.key,
        texts: sample.texts,
    })
}
