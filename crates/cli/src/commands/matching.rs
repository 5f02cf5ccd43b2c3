//! `blip2 match`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::model::{ModelArguments, named};
use crate::pictures::PictureArguments;
use crate::{output, progress};

const EXAMPLES: &str = "\
Examples:
  blip2 match --model runs/demo picture.png --text 'a fox above a pizza' 'a pizza above a fox'
  blip2 match --model runs/demo picture.png --text 'a red car' --json

Two numbers a text: the probability that picture and text belong together, which reads both together (itm), and the
cosine of their embeddings by the best query (itc), which is quick to compare with many.
With --json, one object a line: image, text, itm_probability, itc.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Matching {
    #[command(flatten)]
    model: ModelArguments,
    /// A picture (PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF)
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// Texts to match with it
    #[arg(long, value_name = "T", required = true, num_args = 1..)]
    text: Vec<String>,
    /// Write one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reading: PictureArguments,
}

#[derive(Serialize)]
struct Record {
    image: String,
    text: String,
    #[serde(flatten)]
    scores: blip2::Match,
}

impl Matching {
    pub(crate) fn run(self) -> Result<()> {
        let model = self.model.load()?;
        let picture = self.reading.open(&self.image)?;
        let spinner = progress::spinner("matching");
        let matches = model.match_texts(&picture, &self.text);
        spinner.finish_and_clear();
        let matches = matches?;
        if !self.json {
            output::line("   itm     itc  text")?;
        }
        for (text, scores) in self.text.into_iter().zip(matches) {
            if self.json {
                output::json(&Record {
                    image: named(&self.image),
                    text,
                    scores,
                })?;
            } else {
                output::line(format_args!(
                    "{:6.4}  {:6.4}  {text}",
                    scores.itm_probability, scores.itc
                ))?;
            }
        }
        Ok(())
    }
}
