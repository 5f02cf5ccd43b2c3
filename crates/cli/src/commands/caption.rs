//! `blip2 caption`

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::generation::{GenerationArguments, at_least};
use crate::model::{ModelArguments, named, open_pictures};
use crate::{output, progress, wrong_usage};

const EXAMPLES: &str = "\
Examples:
  blip2 caption --model runs/demo picture.png
  blip2 caption --model Salesforce/blip2-opt-2.7b picture.png   from the local Hugging Face cache
  blip2 caption --model runs/demo *.jpg --json > captions.jsonl
  blip2 caption --model runs/demo picture.png --prompt 'a drawing of' --num-beams 3
  blip2 caption --model runs/demo picture.png --top-p 0.9 --temperature 0.7 --seed 3
  blip2 caption --model runs/demo picture.png --by qformer      without the language model

With --json, one object a line: image, prompt, text, ids (of the new tokens alone), score.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Caption {
    #[command(flatten)]
    model: ModelArguments,
    /// Pictures (PNG, JPEG, WebP)
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    /// Text that the caption continues [default: the model's own]
    #[arg(long, value_name = "T")]
    prompt: Option<String>,
    /// Which part of the model writes
    #[arg(long, value_enum, default_value_t = Writer::LanguageModel)]
    by: Writer,
    /// Pictures that are looked at together
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least(1))]
    batch_size: usize,
    /// Write one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    generation: GenerationArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Writer {
    /// The frozen language model, through the bridge of stage 2
    LanguageModel,
    /// The Q-Former alone, as stage 1 trained it
    Qformer,
}

#[derive(Serialize)]
struct Record<'a> {
    image: String,
    prompt: &'a str,
    #[serde(flatten)]
    written: blip2::Written,
}

impl Caption {
    pub(crate) fn run(self) -> Result<()> {
        self.generation.check("caption");
        if self.by == Writer::Qformer && self.prompt.is_some() {
            wrong_usage(
                "caption",
                "the Q-Former was trained to write without a prompt: leave out --prompt",
            );
        }
        let model = self.model.load()?;
        let settings = self.generation.settings(model.caption_settings());
        let prompt = match self.by {
            Writer::LanguageModel => self.prompt.as_deref().unwrap_or_else(|| model.caption_prompt()),
            Writer::Qformer => "",
        };
        let bar = progress::bar(self.images.len() as u64, "captioning");
        for files in self.images.chunks(self.batch_size) {
            let pictures = open_pictures(files)?;
            let written = match self.by {
                Writer::LanguageModel => {
                    model.caption(&pictures, &vec![prompt.to_owned(); pictures.len()], &settings)?
                }
                Writer::Qformer => model.caption_by_qformer(&pictures, &settings)?,
            };
            bar.suspend(|| {
                files
                    .iter()
                    .zip(written)
                    .try_for_each(|(file, written)| self.print(file, prompt, written))
            })?;
            bar.inc(files.len() as u64);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// The text alone for one picture, with the picture's name for several.
    fn print(&self, file: &std::path::Path, prompt: &str, written: blip2::Written) -> Result<()> {
        if self.json {
            output::json(&Record {
                image: named(file),
                prompt,
                written,
            })
        } else if self.images.len() == 1 {
            output::line(written.text)
        } else {
            output::line(format_args!("{}: {}", named(file), written.text))
        }
    }
}
